"""Small files through which processes of one instance tell each other something.

They live under `<home>/state`. The gateway writes its ledger there; `mare apply` leaves the fingerprint of the
schema that the stores are ready for, on which the gateway reloads.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from maredata.settings import Settings


def ledger_file(settings: Settings) -> Path:
    """Written by the gateway every second and at its end."""
    return settings.home / "state" / "gateway.json"


def schema_file(settings: Settings) -> Path:
    """Written by `mare apply` when both stores are ready for the schema: `{"fingerprint": …}`."""
    return settings.home / "state" / "schema.json"


def read_json(path: Path) -> dict[str, Any]:
    """The file's content, or an empty dict where there is none yet."""
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replaces the file in one step: a reader sees the old content or the new, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(content), "utf-8")
    draft.replace(path)
