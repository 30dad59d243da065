"""Keys: how a table is walked along its key, and what a row's `_id` is made of. Texts compare on the server only."""

# ruff: noqa: S608  # names are quoted, and values written by `quoting` or checked

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from extraction.layout import Kind, Layout, kind_of
from extraction.quoting import identifier, value
from extraction.source import TableColumn
from maredata.reading import identity

# A row's key, as JSON can hold it: integers (ENUM by number, as indices sort it), hexadecimal for bytes,
# and for everything else the text that the server prints.
Key = tuple[int | str, ...]

LONGEST_ID = 512  # bytes, Elasticsearch's limit
_HASHED = "%sha256-"
_EMPTY = "%0"
_ESCAPES = (("%", "%25"), ("|", "%7C"))
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_MEMBER = re.compile(r"'(?:[^']|'')*'")
_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit", "enum")


@dataclass(frozen=True)
class KeyRange:
    """Rows with a key after `after`, up to and with `upto`; None: no bound on that side."""

    after: Key | None = None
    upto: Key | None = None


def ranges(
    connection: MySQLConnectionAbstract, layout: Layout, after: Key | None = None, rows: int | None = None
) -> Iterator[KeyRange]:
    """Cuts the rows after `after` into ranges of about `rows` rows (the job's `range_rows`), one at a time.

    Each boundary is found by walking that many entries of the key's index, so gaps and skew don't matter, and no
    row is skipped over twice. The last range is open: what is added at the end meanwhile belongs to it. An empty
    table has that one range.
    """
    size = rows or layout.job.source.range_rows
    while True:
        found = _walk(connection, layout, KeyRange(after), f"LIMIT 1 OFFSET {size - 1}")
        yield KeyRange(after, found)
        if found is None:
            return
        after = found


def bounds(connection: MySQLConnectionAbstract, layout: Layout) -> tuple[Key, Key] | None:
    """The first and the last key; None of an empty table."""
    first = _walk(connection, layout, KeyRange(), "LIMIT 1")
    last = _walk(connection, layout, KeyRange(), "LIMIT 1", descending=True)
    return (first, last) if first is not None and last is not None else None


def range_condition(layout: Layout, part: KeyRange) -> str:
    """SQL for the rows of a range, in a form for which the server uses the key's index."""
    conditions = []
    if part.after is not None:
        conditions.append(_beyond(layout.key, part.after, ">", ">"))
    if part.upto is not None:
        conditions.append(_beyond(layout.key, part.upto, "<", "<="))
    return " AND ".join(conditions) or "TRUE"


def keys_condition(layout: Layout, keys: Sequence[Key]) -> str:
    """SQL for the rows with these keys."""
    parts = (
        " AND ".join(f"{identifier(c.name)} = {_literal(c, v)}" for c, v in zip(layout.key, key, strict=True))
        for key in keys
    )
    return " OR ".join(f"({part})" for part in parts) or "FALSE"


def members(column: TableColumn) -> list[str]:
    """The members of an ENUM or SET, as the catalogue writes them."""
    return _MEMBER.findall(column.column_type)


def key_expressions(layout: Layout) -> list[str]:
    """SQL of each key column, as it is selected for a Key."""
    return [_expression(column) for column in layout.key]


def key_of(layout: Layout, raw: Sequence[Any]) -> Key:
    """The key from the raw values of `key_expressions`."""
    return tuple(
        int(given) if column.data_type in _INTEGERS else bytes(given).decode()
        for column, given in zip(layout.key, raw, strict=True)
    )


def key_json_sql(layout: Layout) -> str:
    """SQL of the key as a JSON array."""
    members = [
        _expression(column) if column.data_type in _INTEGERS else f"JSON_QUOTE({_utf8(_expression(column))})"
        for column in layout.key
    ]
    return "CONCAT('[', " + ", ',', ".join(members) + ", ']')"


# --- _id ---------------------------------------------------------------------------------------------------------


def id_sql(layout: Layout) -> str:
    """SQL of `_id` as text, the same as `id_of`."""
    if layout.readings:
        names = ("`sensor_id`", "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', `timestamp`)")
        return f"CONCAT({names[0]}, '-', {names[1]})"
    parts = [_id_part_sql(column) for column in layout.key]
    joined = parts[0] if len(parts) == 1 else "CONCAT(" + ", '|', ".join(parts) + ")"
    if _longest(layout.key) <= LONGEST_ID:
        return joined
    return f"IF(LENGTH({joined}) > {LONGEST_ID}, CONCAT('{_HASHED}', SHA2({joined}, 256)), {joined})"


def plain_id(layout: Layout) -> bool:
    """Whether nothing in an `_id` needs escaping in JSON."""
    return layout.readings or not any(_is_text(column) for column in layout.key)


def id_of(layout: Layout, parts: Sequence[int | str]) -> str:
    """`_id` from the key columns' values: integers, or texts as the server prints them (bytes as hexadecimal).

    Of the store's readings: sensor_id and microseconds since 1970 UTC.

    Parts are joined by |. In texts % and | become %25 and %7C, and an empty text %0, so that no two keys have one
    `_id`. One above 512 bytes becomes %sha256- and its SHA-256: nothing else begins with %s.
    """
    if layout.readings:
        sensor_id, micros = map(int, parts)
        return identity(sensor_id, micros)
    joined = "|".join(
        _escaped(str(part)) if _is_text(column) else str(part) or _EMPTY
        for column, part in zip(layout.key, parts, strict=True)
    )
    encoded = joined.encode()
    return joined if len(encoded) <= LONGEST_ID else _HASHED + hashlib.sha256(encoded).hexdigest()


def id_expressions(layout: Layout) -> list[str]:
    """SQL of each part that `id_of` takes, but for escaping."""
    if layout.readings:
        return ["`sensor_id`", "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', `timestamp`)"]
    return [_printed(column) for column in layout.key]


def _escaped(text: str) -> str:
    for character, escape in _ESCAPES:
        text = text.replace(character, escape)
    return text or _EMPTY


def _id_part_sql(column: TableColumn) -> str:
    printed = _printed(column)
    if not _is_text(column) and kind_of(column) is not Kind.BYTES:
        return printed
    escaped = printed
    if _is_text(column):
        for character, escape in _ESCAPES:
            escaped = f"REPLACE({escaped}, '{character}', '{escape}')"
    return f"IF(LENGTH({identifier(column.name)}) = 0, '{_EMPTY}', {escaped})"


def _printed(column: TableColumn) -> str:
    """SQL of a key column as it stands in an `_id`: of each value there is one text."""
    name = identifier(column.name)
    match kind_of(column):
        case Kind.DATETIME:
            return f"DATE_FORMAT({name}, '%Y-%m-%dT%H:%i:%S.%f')"
        case Kind.BYTES:
            return f"LOWER(HEX({name}))"
        case Kind.INTEGER | Kind.BOOLEAN | Kind.DECIMAL:
            return _expression(column)
        case _:
            return _utf8(name)


def _is_text(column: TableColumn) -> bool:
    return kind_of(column) is Kind.TEXT


def _longest(key: Sequence[TableColumn]) -> int:
    """Bytes of the longest `_id` there can be: a character of one byte can take four in UTF-8, or three escaped."""
    # No other type than texts and bytes takes more than 84 characters in print.
    return sum(max(84, 4 * column.octets) + 1 for column in key)


# --- walking -----------------------------------------------------------------------------------------------------


def _walk(
    connection: MySQLConnectionAbstract, layout: Layout, part: KeyRange, limit: str, descending: bool = False
) -> Key | None:
    direction = " DESC" if descending else ""
    order = ", ".join(identifier(column.name) + direction for column in layout.key)
    cursor = connection.cursor(raw=True)
    try:
        cursor.execute(
            f"SELECT {', '.join(key_expressions(layout))} FROM {table_sql(layout)}"
            f" WHERE {range_condition(layout, part)} ORDER BY {order} {limit}"
        )
        rows: list[Any] = cursor.fetchall()
    finally:
        cursor.close()
    return key_of(layout, rows[0]) if rows else None


def table_sql(layout: Layout) -> str:
    return f"{identifier(layout.table.name)} FORCE INDEX ({identifier(layout.index.name)})"


def _beyond(columns: Sequence[TableColumn], key: Key, strict: str, last: str) -> str:
    """`(a > 1 OR (a = 1 AND b > 2))`: MariaDB makes no range of `(a, b) > (1, 2)`, and reads the whole index."""
    column, first = columns[0], key[0]
    if len(columns) == 1:
        return _compared(column, last, first)
    same = f"{identifier(column.name)} = {_literal(column, first)}"
    return f"({_compared(column, strict, first)} OR ({same} AND {_beyond(columns[1:], key[1:], strict, last)}))"


def _compared(column: TableColumn, operator: str, given: int | str) -> str:
    if column.data_type != "enum":
        return f"{identifier(column.name)} {operator} {_literal(column, given)}"
    # The server makes no range of an inequality of ENUMs, but one of a list.
    number, most = int(given), len(members(column))
    numbers = {">": range(number + 1, most + 1), "<": range(number), "<=": range(number + 1)}[operator]
    return f"{identifier(column.name)} IN ({', '.join(map(str, numbers))})" if numbers else "FALSE"


def _expression(column: TableColumn) -> str:
    name = identifier(column.name)
    if column.zerofill or column.data_type in ("bit", "year", "enum"):
        return f"({name} + 0)"  # a number, and without zeros before it
    return f"HEX({name})" if kind_of(column) is Kind.BYTES else name


def _literal(column: TableColumn, given: int | str) -> str:
    if column.data_type in _INTEGERS:
        return str(int(given))
    text = str(given)
    if kind_of(column) is Kind.DECIMAL:
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"{text!r} is no key of {column.name}")
        return text  # as a number: a text is compared with a DECIMAL as double, says MySQL's manual
    return f"X'{bytes.fromhex(text).hex()}'" if kind_of(column) is Kind.BYTES else value(text)


def _utf8(sql: str) -> str:
    return f"CONVERT({sql} USING utf8mb4)"
