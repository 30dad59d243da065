"""Names and texts written into SQL. Sessions of `extraction.source` have a sql_mode in which this holds."""

from __future__ import annotations

_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n"})


def identifier(name: str) -> str:
    """A name in backticks."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A text of ours, readable."""
    if all(character.isprintable() or character == "\n" for character in text):
        return f"'{text.translate(_ESCAPES)}'"
    return hexadecimal(text)


def value(text: str) -> str:
    """A text that came from a table: as its bytes, unless nothing in it could mean anything to the server."""
    if text.isascii() and text.isprintable() and not set(text) & set("'\\"):
        return f"'{text}'"
    return hexadecimal(text)


def hexadecimal(text: str) -> str:
    return f"_utf8mb4 X'{text.encode().hex()}'"
