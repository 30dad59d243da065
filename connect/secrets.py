"""Passwords of captured databases: in files that only the worker reads, since a configuration is for all to see."""

from __future__ import annotations

import os
from pathlib import Path

from maredata.errors import ConnectError
from maredata.settings import Settings

PASSWORD = "password"  # noqa: S105  # the name of an entry


def secret_file(settings: Settings, job: str) -> Path:
    """In the folder from which the worker may read secrets (`worker.properties`)."""
    return settings.home / "data" / "connect" / "secrets" / f"capture-{job}.properties"


def write_secret(settings: Settings, job: str, password: str) -> bool:
    """Writes the password where only the worker's account can read it; False where it stood there already."""
    path = secret_file(settings, job)
    content = f"{PASSWORD}={_escaped(password)}\n"
    try:
        if path.exists() and path.read_text("utf-8") == content:
            return False
        owner = path.parent.stat()
        draft = path.with_suffix(".draft")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(content)
        if os.geteuid() == 0:
            os.chown(draft, owner.st_uid, owner.st_gid)
        draft.replace(path)
    except OSError as error:
        raise ConnectError(
            f"The password can't be put where the worker reads it ({error}): start the worker with `mare up` first, as"
            " the same user."
        ) from None
    return True


def _escaped(text: str) -> str:
    """As Java's properties files want it."""
    return "".join(
        char if char.isascii() and char.isalnum() else "".join(f"\\u{unit:04x}" for unit in _units(char))
        for char in text
    )


def _units(char: str) -> list[int]:
    encoded = char.encode("utf-16-be")
    return [int.from_bytes(encoded[at : at + 2]) for at in range(0, len(encoded), 2)]
