"""What a run remembers: which ranges there are, which are done, and what became of their rows.

One small SQLite file a job, written by the conductor alone. A range stands in it before a worker gets it, and it is
done in the same transaction that says so; so after a kill at any moment the next run knows exactly what to read
again: what was under way, at most one range a worker.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from extraction.job import JobError
from extraction.keys import Key, KeyRange
from maredata.settings import Settings

_FORM = 1  # of the tables below
_MOST_REASONS = 20
_TABLES = """
CREATE TABLE IF NOT EXISTS job (
  meaning TEXT NOT NULL,               -- what the rows and documents depend on
  walked TEXT,                         -- the key up to which ranges were cut; NULL before the first
  finished INTEGER NOT NULL DEFAULT 0, -- whether every row up to there is in
  dead_bytes INTEGER NOT NULL DEFAULT 0,
  restore TEXT                         -- settings of the index to put back
);
CREATE TABLE IF NOT EXISTS ranges (
  number INTEGER PRIMARY KEY, after TEXT, upto TEXT,
  begun INTEGER NOT NULL DEFAULT 0,    -- whether a worker ever got it
  tally TEXT, version INTEGER          -- NULL while it is not done
);
"""


@dataclass
class Tally:
    """What became of rows. `existing`: already there (op type create); `newer`: a newer version was there."""

    rows: int = 0
    written: int = 0
    existing: int = 0
    newer: int = 0
    dead: int = 0
    set_aside: int = 0
    zero_dates: int = 0  # values, as all that follow
    ambiguous_times: int = 0
    nonexistent_times: int = 0
    reasons: dict[str, int] = field(default_factory=dict)  # of rows that are dead or set aside

    def add(self, other: Tally) -> None:
        for name, number in vars(other).items():
            if name != "reasons":
                setattr(self, name, getattr(self, name) + number)
        for reason, count in other.reasons.items():
            self.blame(reason, count)

    def blame(self, reason: str, count: int = 1) -> None:
        """Counts a reason; what comes after the first twenty different ones is one."""
        known = reason in self.reasons or len(self.reasons) < _MOST_REASONS
        name = reason if known else "others"
        self.reasons[name] = self.reasons.get(name, 0) + count


@dataclass(frozen=True)
class Range:
    """A range with the number under which it is remembered. `begun`: some of it may be written already."""

    number: int
    part: KeyRange
    begun: bool = False


@dataclass(frozen=True)
class Files:
    """Where a job's run keeps what it remembers."""

    folder: Path
    job: str

    @classmethod
    def of(cls, settings: Settings, job: str) -> Files:
        return cls(settings.home / "state" / "extraction", job)

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"{self.job}.sqlite"

    @property
    def dead(self) -> Path:
        """Rows that are in no index: one JSON object a line."""
        return self.folder / f"{self.job}.dead.ndjson"

    def dead_of(self, number: int) -> Path:
        """The same of a range that is not done."""
        return self.folder / f"{self.job}.dead.{number}.part"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the job for this run and its workers, as long as one of them lives. Raises JobError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{self.job}.lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                raise JobError(
                    f"Job {self.job} is running already (process {file.read().strip() or 'unknown'}):"
                    " wait for its end, or stop that one with Ctrl-C."
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield


class Checkpoint:
    """A job's memory in the file at `path` (None: in memory alone).

    `meaning` is what the documents depend on. Where it differs from that of a run that ended early, JobError is
    raised; a finished one is forgotten, and `anew` says so. `restart` forgets any.
    """

    def __init__(self, path: Path | None, job: str, meaning: dict[str, Any], restart: bool = False) -> None:
        self._connection = sqlite3.connect(path or ":memory:", isolation_level=None)
        self.anew = False
        try:
            self._open(job, meaning, restart)
        except BaseException:
            self.close()
            raise

    def _open(self, job: str, meaning: dict[str, Any], restart: bool) -> None:
        (form,) = self._connection.execute("PRAGMA user_version").fetchone()
        if form not in (0, _FORM):
            raise JobError(f"Job {job} has a checkpoint of another version of Mare Data: begin anew with --restart.")
        self._connection.executescript(f"PRAGMA user_version = {_FORM};{_TABLES}")
        found = self._connection.execute("SELECT meaning, finished FROM job").fetchone()
        if found and not restart and (different := _differences(json.loads(found[0]), meaning)):
            if not found[1]:
                raise JobError(
                    f"Job {job} is half done and {different[0]} differs from what it was begun with: change it back to"
                    " go on, or begin anew with --restart."
                )
            self.anew = True
        if not found or restart or self.anew:
            with self._transaction():
                self._connection.execute("DELETE FROM ranges")
                self._connection.execute("DELETE FROM job")
                self._connection.execute("INSERT INTO job (meaning) VALUES (?)", (json.dumps(meaning),))

    def close(self) -> None:
        self._connection.close()

    @property
    def walked(self) -> Key | None:
        """The key up to which the table is cut into ranges."""
        return _key(self._of_job("walked"))

    @property
    def finished(self) -> bool:
        """Whether every range is done, and the table's end was reached."""
        return bool(self._of_job("finished"))

    @property
    def dead_bytes(self) -> int:
        """How much of the file of dead rows belongs to ranges that are done."""
        return int(self._of_job("dead_bytes"))

    @property
    def restore(self) -> dict[str, Any] | None:
        """Settings that the index had before the run; None where there is nothing to put back."""
        text = self._of_job("restore")
        return None if text is None else dict(json.loads(text))

    @restore.setter
    def restore(self, settings: dict[str, Any] | None) -> None:
        self._connection.execute("UPDATE job SET restore = ?", (None if settings is None else json.dumps(settings),))

    def add(self, part: KeyRange) -> Range:
        """Remembers a range that follows on the last one. Its `upto` is where the next one begins."""
        with self._transaction():
            number = self._connection.execute(
                "INSERT INTO ranges (after, upto) VALUES (?, ?)", (_text(part.after), _text(part.upto))
            ).lastrowid
            self._connection.execute("UPDATE job SET walked = ?, finished = 0", (_text(part.upto),))
        assert number is not None  # noqa: S101  # of an INSERT there is one
        return Range(number, part)

    def begin(self, part: Range) -> None:
        """A worker is about to get the range."""
        self._connection.execute("UPDATE ranges SET begun = 1 WHERE number = ?", (part.number,))

    def done(self, done: Range, tally: Tally, version: int | None, dead_bytes: int) -> None:
        """A range is done, and so many bytes of the file of dead rows count."""
        with self._transaction():
            self._connection.execute(
                "UPDATE ranges SET tally = ?, version = ? WHERE number = ?",
                (json.dumps(asdict(tally)), version, done.number),
            )
            self._connection.execute("UPDATE job SET dead_bytes = ?", (dead_bytes,))

    def finish(self) -> None:
        self._connection.execute("UPDATE job SET finished = 1")

    def open_ranges(self) -> list[Range]:
        """Those that were cut and are not done."""
        rows = self._connection.execute(
            "SELECT number, after, upto, begun FROM ranges WHERE tally IS NULL ORDER BY number"
        )
        return [Range(number, KeyRange(_key(after), _key(upto)), bool(begun)) for number, after, upto, begun in rows]

    def totals(self) -> tuple[int, Tally]:
        """How many ranges are done, and what became of their rows."""
        count, total = 0, Tally()
        for (text,) in self._connection.execute("SELECT tally FROM ranges WHERE tally IS NOT NULL"):
            total.add(Tally(**json.loads(text)))
            count += 1
        return count, total

    def _of_job(self, column: str) -> Any:
        return self._connection.execute(f"SELECT {column} FROM job").fetchone()[0]  # noqa: S608  # a name of ours

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _differences(before: Any, now: Any, place: str = "") -> list[str]:
    """The entries, with dots between their parts, that are not the same in both."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = []
        for name in sorted({*before, *now}):
            found += _differences(before.get(name), now.get(name), f"{place}.{name}" if place else name)
        return found
    return [] if before == now else [place]


def _text(key: Key | None) -> str | None:
    return None if key is None else json.dumps(key)


def _key(text: str | None) -> Key | None:
    return None if text is None else tuple(json.loads(text))
