"""What is known of a job's capture from one command to the next: a small file under the state folder."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from extraction.capture.version import Position
from maredata.settings import Settings
from maredata.state import read_json, write_json

_LEAST_REPLICA_ID, _REPLICA_IDS = 1_000_000, 2_000_000_000


@dataclass(frozen=True)
class Log:
    """A binary log, as a server shows it: whose it is, how far it is, and each domain's last GTID number."""

    server_id: int
    server_uid: str  # empty where the server has none
    file: int
    offset: int
    gtids: dict[str, int] = field(default_factory=dict)

    @property
    def position(self) -> Position:
        return Position(self.file, self.offset)


@dataclass(frozen=True)
class Counts:
    """Changes that the topic held, up to `offset`. `topic` tells it from one made anew under its name."""

    inserts: int = 0
    updates: int = 0
    deletes: int = 0
    not_counted: int = 0  # retention was quicker
    offset: int = 0
    topic: str = ""


@dataclass(frozen=True)
class Noted:
    """A job's capture. `files_before` is added to the binary log's file numbers, and grows when the log begins anew.

    `replica_id` is the server id under which the connector reads. `source` says which table is meant; `active`
    is false once the capture was removed: then only what its successor must know is left.
    """

    begun: str
    replica_id: int
    files_before: int
    source: str
    log: Log
    counts: Counts = Counts()
    active: bool = True

    def seen(self, log: Log) -> Noted:
        return replace(self, log=log)


def load(settings: Settings, job: str) -> Noted | None:
    """What was noted of the job's capture; None where there was never one."""
    content = read_json(_file(settings, job))
    if not content:
        return None
    return Noted(**{**content, "log": Log(**content["log"]), "counts": Counts(**content["counts"])})


def active(settings: Settings, job: str) -> Noted | None:
    """What was noted of the job's capture; None where there is none now."""
    found = load(settings, job)
    return found if found is not None and found.active else None


def save(settings: Settings, job: str, noted: Noted) -> None:
    content: dict[str, Any] = asdict(noted)
    write_json(_file(settings, job), content)


def new_replica_id() -> int:
    """One that no other reader of the source's binary log has: a server throws out the elder of two."""
    return _LEAST_REPLICA_ID + secrets.randbelow(_REPLICA_IDS)


def _file(settings: Settings, job: str) -> Path:
    return settings.home / "state" / "capture" / f"{job}.json"
