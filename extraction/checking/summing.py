"""Finds the parts of table and index whose sums differ: by ranges of the key, halved, and by days."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from extraction.checking.parts import Days, Group, Walk, Window, days_of, walk_of
from extraction.checking.report import Compared
from extraction.checking.stored import StoredDocuments
from extraction.checking.summaries import Summary, from_sql, same, series_of, sql_columns
from extraction.keys import KeyRange, range_condition, ranges
from extraction.layout import Layout
from extraction.selection import Select
from extraction.source import source_errors
from extraction.spool import chunks

_AT_ONCE = 32  # parts of one request to Elasticsearch
_SMALL = 500  # rows: a part this small is read rather than halved
_MOST = 2_000  # parts that are kept apart; with more of them everything is read


@dataclass
class Suspects:
    """The parts to be read row by row, some rows perhaps twice. `strays`: documents without a key are among them."""

    everything: bool = False
    walk: Walk | None = None
    ranges: list[KeyRange] = field(default_factory=list)
    strays: bool = False
    days: Days | None = None
    groups: list[Group] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def give_up(self) -> None:
        """Too many to tell apart."""
        self.everything = True
        self.notes.append(f"More than {_MOST:,} parts differ: every row was compared.")


@dataclass(frozen=True)
class _Part:
    """A range, and how many entries of the key's index it has at most (the last one may have grown)."""

    range: KeyRange
    entries: int


class Summing:
    """Sums up both sides of a job."""

    def __init__(
        self,
        layout: Layout,
        connection: MySQLConnectionAbstract,
        stored: StoredDocuments,
        types: Mapping[str, str],
        window: Window,
        progress: Callable[[str], None],
    ) -> None:
        self._layout, self._connection, self._stored = layout, connection, stored
        self._window, self._progress = window, progress
        self._series = series_of(layout, types)
        self._walk, self._days = walk_of(layout, types), days_of(layout, types)
        self._select = Select(layout, None, window.since, window.until)

    def suspects(self, compared: Compared) -> Suspects:
        """Where the sides' sums differ; `compared` hears what was summed up. Raises StoreError."""
        found = Suspects(walk=self._walk, days=self._days)
        compared.sums = [one.name for one in self._series if one.sums]
        compared.counts = [one.name for one in self._series if not one.sums]
        summed = {one.field for one in self._series}
        compared.not_summed = [one.name for one in self._layout.fields if one.name not in summed]
        with source_errors(self._layout.job.source):
            if self._walk is not None:
                self._by_key(self._walk, found, compared)
            if self._days is not None and not found.everything:
                self._by_day(self._days, found, compared)
        if self._walk is None and self._days is None:
            found.everything = True
            found.notes.append("Neither key nor time of the job can be summed up in the index: every row was compared.")
        return found

    def _by_key(self, walk: Walk, found: Suspects, compared: Compared) -> None:
        suspicious: list[_Part] = []
        for parts in chunks(self._cut(walk), _AT_ONCE):
            for part, ours, theirs in self._compare(walk, parts):
                compared.add_range(ours.rows, theirs.rows)
                if not same(self._series, ours, theirs):
                    suspicious.append(part)
            self._progress(f"sums by key range: {compared.ranges:,} ranges, {len(suspicious):,} differ")
            if len(suspicious) > _MOST:
                break
        while len(suspicious) <= _MOST and any(part.entries > _SMALL for part in suspicious):
            suspicious = [smaller for parts in chunks(suspicious, _AT_ONCE) for smaller in self._narrow(walk, parts)]
            self._progress(f"halving: {len(suspicious):,} parts differ")
        if len(suspicious) > _MOST:
            found.give_up()
        else:
            found.ranges = [part.range for part in suspicious]
        strays = self._stored.count(self._inside(walk.strays()))
        compared.documents += strays
        found.strays = strays > 0

    def _cut(self, walk: Walk) -> Iterator[_Part]:
        """The job's ranges; one that ends where Elasticsearch can't is joined with the next."""
        size, after, joined = self._layout.job.source.range_rows, None, 0
        for part in ranges(self._connection, self._layout):
            joined += size
            if part.upto is None or walk.can_end(part.upto):
                yield _Part(KeyRange(after, part.upto), joined)
                after, joined = part.upto, 0

    def _narrow(self, walk: Walk, parts: Sequence[_Part]) -> list[_Part]:
        """The halves that differ; parts too small for that stay."""
        small = [part for part in parts if part.entries <= _SMALL]
        halves = [half for part in parts if part.entries > _SMALL for half in self._halves(walk, part)]
        differing = [part for part, *sums in self._compare(walk, halves) if not same(self._series, *sums)]
        return [*small, *differing]

    def _halves(self, walk: Walk, part: _Part) -> list[_Part]:
        middle = -(-part.entries // 2)
        end = next(ranges(self._connection, self._layout, part.range.after, middle)).upto
        if end is None or end == part.range.upto or not walk.can_end(end):
            return [_Part(part.range, _SMALL)]
        return [
            _Part(KeyRange(part.range.after, end), middle),
            _Part(KeyRange(end, part.range.upto), part.entries - middle),
        ]

    def _compare(self, walk: Walk, parts: Sequence[_Part]) -> Iterator[tuple[_Part, Summary, Summary]]:
        queries = [self._inside(walk.query(part.range)) for part in parts]
        theirs = self._stored.summaries(queries, self._series)
        columns = sql_columns(self._series)
        for part, stored in zip(parts, theirs, strict=True):
            (row,) = self._rows(self._select.over(columns, range_condition(self._layout, part.range)))
            yield part, from_sql(self._series, row), stored

    def _by_day(self, days: Days, found: Suspects, compared: Compared) -> None:
        counted, differing = self._walk is None, 0
        self._progress("sums by day")
        theirs = self._stored.groups(days, self._inside(), self._series)
        for number, (group, ours, stored) in enumerate(_aligned(self._groups(days), theirs), 1):
            compared.add_group(ours.rows if ours else 0, stored.rows if stored else 0, counted)
            if ours is None or stored is None or not same(self._series, ours, stored):
                differing += 1
                if differing <= _MOST:
                    found.groups.append(group)
            if number % 1_000 == 0:
                self._progress(f"sums by day: {number:,} days, {differing:,} differ")
        if differing > _MOST:
            found.give_up()
        compared.by_first = days.first.name if days.first is not None else ""

    def _groups(self, days: Days) -> Iterator[tuple[Group, Summary]]:
        sql = self._select.over([*days.sql_columns, *sql_columns(self._series)], "TRUE")
        for first, day, *sums in self._rows(f"{sql} GROUP BY 1, 2 ORDER BY 1, 2"):
            yield Group(_integer(first), _integer(day)), from_sql(self._series, sums)

    def _rows(self, sql: str) -> Iterator[Any]:
        cursor = self._connection.cursor(raw=True)
        cursor.execute(sql)
        while rows := cursor.fetchmany(1_000):
            yield from rows
        cursor.close()

    def _inside(self, *queries: dict[str, Any]) -> dict[str, Any]:
        return {"bool": {"filter": [*self._window.query(), *queries]}}


def _aligned(
    ours: Iterator[tuple[Group, Summary]], theirs: Iterator[tuple[Group, Summary]]
) -> Iterator[tuple[Group, Summary | None, Summary | None]]:
    """Walks the sorted sides side by side."""
    one, other = next(ours, None), next(theirs, None)
    while one is not None or other is not None:
        if other is None or (one is not None and _order(one[0]) < _order(other[0])):
            assert one is not None  # noqa: S101  # for mypy
            yield one[0], one[1], None
            one = next(ours, None)
        elif one is None or _order(other[0]) < _order(one[0]):
            yield other[0], None, other[1]
            other = next(theirs, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(ours, None), next(theirs, None)


def _order(group: Group) -> tuple[float, float]:
    """None first, as both sides sort it."""
    first, day = (float("-inf") if number is None else number for number in group)
    return first, day


def _integer(raw: Any) -> int | None:
    return int(raw) if raw is not None else None
