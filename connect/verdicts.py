"""What becomes of each dead letter in a replay, and the count of it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

from connect.dead_letters import DeadLetter, Origin
from connect.replayed import Span
from maredata.already import Lookup, await_sink, open_lookup
from maredata.decoder import Decoder
from maredata.errors import StoreError
from maredata.names import READINGS, SINKS
from maredata.reading import Refused
from maredata.records import Records
from maredata.schema import Schema
from maredata.settings import Settings
from maredata.state import read_json, schema_file

_NULL = "null_value"  # as the sinks say
_REPLAYED = -1  # instead of an offset

Traced = list[tuple[DeadLetter, Origin]]  # those of which is known where they came from
# Of the letters given, those to be published, and the offsets of those that stay to be replayed.
Sort = Callable[[list[DeadLetter]], tuple[Traced, list[int]]]


@dataclass
class Replay:
    """What became of the dead letters: each that was looked at is in one of the other columns."""

    connector: str
    looked_at: int = 0
    unknown: int = 0  # nothing says where it came from
    refused: Counter[str] = field(default_factory=Counter)  # still, by today's reason
    superseded: int = 0  # another dead letter is the same record, or a later one the same reading
    already_there: int = 0  # in the connector's store
    published: int = 0  # in a dry run: would be
    dry_run: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"refused": dict(self.refused)}

    def render(self) -> Table:
        table = Table(f"dead letters of {self.connector}", "count")
        table.add_row("looked at", f"{self.looked_at:,}", end_section=True)
        table.add_row("unknown where from, and left", f"{self.unknown:,}")
        for reason, count in sorted(self.refused.items()):
            table.add_row(f"still refused: {reason}", f"{count:,}")
        table.add_row("the same as another", f"{self.superseded:,}")
        table.add_row("already there", f"{self.already_there:,}")
        table.add_row("would be published" if self.dry_run else "published", f"{self.published:,}")
        return table


@contextmanager
def open_sorter(
    settings: Settings,
    schema: Schema,
    connector: str,
    overwrite: bool,
    letters: Records[DeadLetter],
    portions: list[Span],
    done: Replay,
) -> Iterator[Sort]:
    """Counts in `done` what it sorts out. It is to be given all of the portions."""
    with ExitStack() as opened:
        judge: _Judge = _as_record
        lookup = None
        if connector in SINKS and portions:
            _refuse_unapplied(settings, schema)
            judge = _AsReadings(Decoder(schema)).judge
            if not overwrite:
                await_sink(settings, connector)
                lookup = opened.enter_context(open_lookup(settings, connector))
        known = _Origins(letters)
        sorter = _Sorter(known, judge, lookup, opened.enter_context(closing(_Latest())), done)
        for portion in portions:
            sorter.look_ahead(letters.between(*portion))
        if connector not in SINKS:  # whose store nobody asks
            for portion in _left_out(letters, portions):
                sorter.look_back(letters.between(*portion))
        yield sorter.sort


def _left_out(letters: Records[DeadLetter], portions: list[Span]) -> Iterator[Span]:
    """What is before and between the portions: earlier replays are done with it."""
    start = letters.first
    for first, end in portions:
        yield from letters.portions(start, first)
        start = end


def _refuse_unapplied(settings: Settings, schema: Schema) -> None:
    ready = read_json(schema_file(settings)).get("fingerprint", schema.fingerprint)
    if ready != schema.fingerprint:
        raise StoreError("The sinks do not know today's reading.toml yet: run `mare apply`, and then replay.")


class _Origins:
    """Says where dead letters came from, as far as that is still there."""

    def __init__(self, letters: Records[DeadLetter]) -> None:
        self._letters = letters
        self._partitions: dict[str, set[int]] = {}

    def of(self, chunk: list[DeadLetter]) -> Traced:
        return [(letter, origin) for letter in chunk if (origin := self._origin(letter)) is not None]

    def _origin(self, letter: DeadLetter) -> Origin | None:
        origin = letter.origin
        if origin is None:
            return None
        if origin.topic not in self._partitions:
            self._partitions[origin.topic] = self._letters.partitions_of(origin.topic)
        partitions = self._partitions[origin.topic]
        if not partitions:
            return None
        return origin if origin.partition in partitions else Origin(origin.topic, -1, origin.offset)


# What tells one record from another: where it was, or which reading it is; or the reason why it is none today.
_Verdict = tuple[str, int, int] | str
_Judge = Callable[[DeadLetter], _Verdict]


def _as_record(letter: DeadLetter) -> _Verdict:
    """A sink that is restarted puts the same record aside again: that is one record all the same."""
    origin = letter.origin
    if origin is None or origin.partition < 0 or origin.offset < 0:
        return "", 0, letter.offset
    return origin.topic, origin.partition, origin.offset


class _AsReadings:
    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def judge(self, letter: DeadLetter) -> _Verdict:
        if letter.value is None:
            return _NULL
        try:
            reading = self._decoder.decode(letter.value)
        except Refused as refused:
            return str(refused.reason)
        return READINGS, reading.sensor_id, reading.micros


class _Sorter:
    """Sorts dead letters of which it has seen all before."""

    def __init__(self, known: _Origins, judge: _Judge, lookup: Lookup | None, latest: _Latest, done: Replay) -> None:
        self._known = known
        self._judge = judge
        self._lookup = lookup
        self._latest = latest
        self._done = done

    def look_ahead(self, chunk: list[DeadLetter]) -> None:
        """To be called with all that are to be sorted, in order, before any is."""
        self._note((letter, letter.offset) for letter, _ in self._known.of(chunk))

    def look_back(self, chunk: list[DeadLetter]) -> None:
        """To be called then with those that were replayed: whatever is the same record is not published again."""
        self._note((letter, _REPLAYED) for letter, _ in self._known.of(chunk))

    def _note(self, letters: Iterable[tuple[DeadLetter, int]]) -> None:
        judged = ((self._judge(letter), offset) for letter, offset in letters)
        self._latest.note((*verdict, offset) for verdict, offset in judged if not isinstance(verdict, str))

    def sort(self, chunk: list[DeadLetter]) -> tuple[Traced, list[int]]:
        traced = self._known.of(chunk)
        self._done.looked_at += len(chunk)
        self._done.unknown += len(chunk) - len(traced)
        publish, refused = [], []
        for letter, origin in traced:
            verdict = self._judge(letter)
            if isinstance(verdict, str):
                self._done.refused[verdict] += 1
                refused.append(letter.offset)
            elif self._latest.offset(verdict) != letter.offset:
                self._done.superseded += 1
            else:
                publish.append((verdict[1:], (letter, origin)))
        there = self._lookup(identity for identity, _ in publish) if self._lookup is not None else set()
        self._done.already_there += len(there)
        return [traced for identity, traced in publish if identity not in there], refused


class _Latest:
    """The last offset of each record; maybe more than memory holds: SQLite keeps it in a nameless file."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(
            "CREATE TABLE latest (topic TEXT, a INTEGER, b INTEGER, offset INTEGER, PRIMARY KEY (topic, a, b))"
            " WITHOUT ROWID"
        )

    def note(self, found: Iterable[tuple[str, int, int, int]]) -> None:
        """Of what tells it from others, and its offset."""
        self._database.executemany("INSERT OR REPLACE INTO latest VALUES (?, ?, ?, ?)", found)

    def offset(self, record: tuple[str, int, int]) -> int:
        found = self._database.execute("SELECT offset FROM latest WHERE topic = ? AND a = ? AND b = ?", record)
        return int(found.fetchone()[0])

    def close(self) -> None:
        self._database.close()
