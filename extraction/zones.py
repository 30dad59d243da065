"""Local times of a named zone as UTC, in SQL: the zone's transitions are written into the query.

The server's own `CONVERT_TZ` is NULL where its zone tables are not loaded, and says nothing of times that a change
of the clocks repeats or leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

FIRST, LAST = datetime(1900, 1, 1), datetime(2100, 1, 1)
_STEP = timedelta(hours=12)  # no zone changes its clocks twice within it
_SECOND = timedelta(seconds=1)


class Stretch(NamedTuple):
    """Local times from `start` on that are `offset` seconds ahead of UTC. None: the clocks leave them out."""

    start: datetime
    offset: int | None
    twice: bool = False  # the clocks show them twice; the offset is the first one's


@lru_cache(maxsize=16)
def stretches(zone: str) -> tuple[Stretch, ...]:
    """Sorted, from FIRST to LAST, without gaps."""
    info = ZoneInfo(zone)
    at, offset = FIRST, _offset(info, FIRST)
    found = [Stretch(datetime.min, offset)]
    while at < LAST:
        later = at + _STEP
        after = _offset(info, later)
        if after != offset:
            change = _change(info, at, later, offset)
            before_change, after_change = (change + timedelta(seconds=seconds) for seconds in (offset, after))
            if after > offset:
                found += [Stretch(before_change, None), Stretch(after_change, after)]
            else:
                found += [Stretch(after_change, offset, True), Stretch(before_change, after)]
        at, offset = later, after
    return tuple(found)


def offset_sql(column: str, zone: str) -> str:
    """Seconds ahead of UTC of the local time in `column`; NULL where the clocks leave it out."""
    return _tree(column, stretches(zone), lambda stretch: "NULL" if stretch.offset is None else str(stretch.offset))


def odd_sql(column: str, zone: str) -> str:
    """1 where a local time is left out or repeated, or beyond the transitions written here; else 0."""
    odd = _tree(column, stretches(zone), lambda stretch: "1" if stretch.twice or stretch.offset is None else "0")
    return f"IF({column} < {_literal(FIRST)} OR {column} >= {_literal(LAST)}, 1, {odd})"


def _tree(column: str, parts: Sequence[Stretch], leaf: Callable[[Stretch], str]) -> str:
    """Nested IFs that halve the stretches: eight comparisons a row instead of hundreds."""
    if len({leaf(part) for part in parts}) == 1:
        return leaf(parts[0])
    middle = len(parts) // 2
    lower, upper = _tree(column, parts[:middle], leaf), _tree(column, parts[middle:], leaf)
    return f"IF({column} < {_literal(parts[middle].start)}, {lower}, {upper})"


def _literal(moment: datetime) -> str:
    return f"TIMESTAMP'{moment:%Y-%m-%d %H:%M:%S}'"


def _offset(info: ZoneInfo, utc: datetime) -> int:
    offset = utc.replace(tzinfo=UTC).astimezone(info).utcoffset()
    assert offset is not None  # noqa: S101  # a ZoneInfo always has one
    return offset // _SECOND


def _change(info: ZoneInfo, before: datetime, after: datetime, offset: int) -> datetime:
    """The first second in UTC that no longer has the offset."""
    while after - before > _SECOND:
        middle = before + (after - before) // _SECOND // 2 * _SECOND
        before, after = (middle, after) if _offset(info, middle) == offset else (before, middle)
    return after
