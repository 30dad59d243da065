"""Rejected lines, and their second chance.

A rule that was wrong (an instant that is too early, a limit in reading.toml) is mended, and then the lines that it
cost are published after all. MariaDB is asked what is there already, so doing it again does no harm.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from rich.table import Table

from maredata.already import Identity, await_sink, open_lookup
from maredata.names import MARIADB_SINK
from maredata.reading import Reading
from maredata.schema import Schema
from maredata.settings import Settings
from udp_server.rejected_stores import Outlet
from udp_server.rejected_topic import Entry, Wanted, open_entries

if TYPE_CHECKING:
    from udp_server.check import Checker

ACCEPTED = "accepted"


@dataclass
class Replay:
    """What became of the lines: each that was looked at is in one of the other columns."""

    looked_at: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # still, by today's reason
    superseded: int = 0  # a later rejected line is the same reading
    already_there: int = 0  # in MariaDB
    published: int = 0  # in a dry run: would be
    dry_run: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"refused": dict(self.refused)}

    def render(self) -> Table:
        table = Table("rejected lines", "count")
        table.add_row("looked at", f"{self.looked_at:,}", end_section=True)
        for reason, count in sorted(self.refused.items()):
            table.add_row(f"still refused: {reason}", f"{count:,}")
        table.add_row("a later one is the same reading", f"{self.superseded:,}")
        table.add_row("already in MariaDB", f"{self.already_there:,}")
        table.add_row("would be published" if self.dry_run else "published", f"{self.published:,}")
        return table


def list_rejected(
    settings: Settings,
    schema: Schema,
    reason: str | None = None,
    sender: str | None = None,
    since: int | None = None,
    limit: int | None = 100,
) -> Iterator[Entry]:
    """The newest `limit` entries of those that are in the topic now, or with None all of them; newest last.

    `since` is in microseconds since 1970 UTC. In memory are `limit` lines at once, or with None a bounded number.

    Raises StoreError where Kafka does not answer, or has no such topic.
    """
    wanted = Wanted(reason, sender, since)
    checker = _checker(settings, schema)
    with open_entries(settings, since) as entries:
        chunks = entries.chunks(newest_first=limit is not None)
        found: Iterable[Entry] = (entry for chunk in chunks for entry in chunk if entry in wanted)
        if limit is not None:
            found = reversed(list(islice(found, limit)))
        for entry in found:
            yield replace(entry, now=_judge(checker, entry)[0])


def replay(
    settings: Settings,
    schema: Schema,
    reason: str | None = None,
    sender: str | None = None,
    since: int | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
) -> Replay:
    """Publishes into topic `readings` those rejected lines that today's rules accept, each reading once.

    One that MariaDB has already stays as it is, unless `overwrite`: it may be a later, corrected one. Of several
    rejected lines of one reading the last is taken. When this returns, Kafka has acknowledged all of `published`;
    with `dry_run` nothing is published.

    Raises StoreError where a store does not answer, or MariaDB's sink does not catch up; repeating it is harmless.
    """
    wanted = Wanted(reason, sender, since)
    checker = _checker(settings, schema)
    done = Replay(dry_run=dry_run)
    outlet = None if dry_run else Outlet(settings)
    if not overwrite:
        await_sink(settings, MARIADB_SINK)
    with (
        open_entries(settings, since) as entries,
        open_lookup(settings, MARIADB_SINK) as stored,
        closing(_Identities()) as seen,
    ):
        for chunk in entries.chunks(newest_first=True):
            readings = _last_of_each(checker, (entry for entry in chunk if entry in wanted), seen, done)
            there = set() if overwrite else stored(map(_identity, readings))
            missing = [reading for reading in readings if _identity(reading) not in there]
            if outlet is not None:
                outlet.publish(missing[::-1])
            done.already_there += len(readings) - len(missing)
            done.published += len(missing)
    return done


def _last_of_each(checker: Checker, newest_first: Iterable[Entry], seen: _Identities, done: Replay) -> list[Reading]:
    """The readings among the lines, newest first, whose identity was not `seen` yet: so no later line is the same."""
    found = []
    for entry in newest_first:
        done.looked_at += 1
        verdict, reading = _judge(checker, entry)
        if reading is None:
            done.refused[verdict] += 1
        elif seen.add(_identity(reading)):
            found.append(reading)
        else:
            done.superseded += 1
    return found


# --- today's rules -----------------------------------------------------------------------------------------------


def _checker(settings: Settings, schema: Schema) -> Checker:
    from udp_server.check import Checker  # noqa: PLC0415  # only where lines are judged

    return Checker(schema, settings.reading)


def _judge(checker: Checker, entry: Entry) -> tuple[str, Reading | None]:
    """Accepted or the reason, and the reading. As of the line's arrival: what came before its time was wrong."""
    outcome = checker.check(entry.line, entry.received)
    return (ACCEPTED, outcome) if isinstance(outcome, Reading) else (str(outcome.reason), None)


def _identity(reading: Reading) -> Identity:
    return reading.sensor_id, reading.micros


class _Identities:
    """A set that may be larger than memory: SQLite keeps it in a nameless file, which goes with it."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(
            "CREATE TABLE seen (sensor_id INTEGER, micros INTEGER, PRIMARY KEY (sensor_id, micros)) WITHOUT ROWID"
        )

    def add(self, identity: Identity) -> bool:
        """False if it was in there."""
        return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", identity).rowcount == 1

    def close(self) -> None:
        self._database.close()
