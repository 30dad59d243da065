"""What conductor and workers tell each other, and what all workers of a run have in common."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawValue

from mysql.connector.abstracts import MySQLConnectionAbstract

from extraction.checkpoint import Files, Tally
from extraction.layout import Layout
from maredata.settings import Settings

# Reads the binary log's position for the session's snapshot, as the version of the documents that are read in it.
VersionOf = Callable[[MySQLConnectionAbstract], int | None]


@dataclass(frozen=True)
class Assignment:
    """What all workers of a run have in common."""

    layout: Layout
    settings: Settings
    files: Files
    where: str | None = None
    since: int | None = None
    until: int | None = None
    rows_per_second: float | None = None  # of one worker
    write: bool = True  # False: a dry run
    version_of: VersionOf | None = None


@dataclass(frozen=True)
class Progress:
    """What was read and settled since the last message; `waiting` says for what the worker waits, if it does."""

    rows: int = 0
    errors: int = 0
    waiting: str = ""


@dataclass(frozen=True)
class Opened:
    """The worker has a session, which the source knows by this number."""

    session: int


@dataclass(frozen=True)
class Done:
    tally: Tally
    version: int | None
    cpu_seconds: float  # of the process since its start


@dataclass(frozen=True)
class Abandoned:
    """A range was given up: `error` says why, where it was not asked for."""

    error: str = ""
    exit_status: int = 1


class Flag:
    """One that the conductor sets and its workers look at, for those forked after it was made.

    `multiprocessing.Event` has a lock, which a worker that is killed while it looks would keep for ever.
    """

    def __init__(self) -> None:
        self._value = RawValue(ctypes.c_bool, False)

    def set(self, value: bool = True) -> None:
        self._value.value = value

    def is_set(self) -> bool:
        return bool(self._value.value)
