"""Sums by which a part of the table and of the index are compared, without reading either row by row.

Of each field there is a count of its values; of numbers, times and places also sum, least and greatest value, as
SQL and as an aggregation. No sum depends on the order in which it was made: each comes with what it may be off by.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from extraction.compare import sum_error
from extraction.layout import Field, Kind, Layout
from extraction.quoting import identifier
from extraction.selection import utc_sql
from extraction.source import TableColumn

_INTEGERS = ("long", "integer", "short", "byte")
_NUMBERS = (*_INTEGERS, "double", "float", "scaled_float")
_DATES = ("date", "date_nanos")
_COUNTED = ("keyword", "text", "ip", "wildcard")
_EPSILON = sys.float_info.epsilon
# Elasticsearch compensates its sums for rounding; what is left, and that of making doubles of the values.
_ROUNDING = 16 * _EPSILON
_SINGLE = 2.0**-23  # relative error of what is kept in 32 bits
_PLACE_ERROR = 2e-7  # degrees: a place is kept in twice 32 bits


@dataclass(frozen=True)
class Series:
    """One number of each document: `sql` is NULL where it has none. `part` is that of a place.

    A value may be off by `step` in the index, or by `relative` of its size. Where `sums` is false it is only counted.
    """

    name: str
    field: str
    sql: str
    part: str = ""
    sums: bool = True
    exact: bool = True  # the server sums it without rounding
    step: float = 0.0
    relative: float = 4 * _EPSILON


class Sums(NamedTuple):
    """`off` is how far the sum may be off, `nothing` an empty series'."""

    values: int
    total: float = 0.0
    least: float = 0.0
    greatest: float = 0.0
    off: float = 0.0


class Summary(NamedTuple):
    """Of a part of the table or the index: how many rows or documents, and each series' sums."""

    rows: int
    sums: tuple[Sums, ...]


def same(series: Sequence[Series], ours: Summary, theirs: Summary) -> bool:
    """Whether the sums give no reason to look closer."""
    return ours.rows == theirs.rows and all(map(_same_sums, series, ours.sums, theirs.sums))


def series_of(layout: Layout, types: Mapping[str, str]) -> tuple[Series, ...]:
    """What of the layout can be summed up, given the types that the fields have in the index."""
    usable = (field for field in layout.fields if types.get(field.name) == field.mapping["type"])
    return tuple(series for field in usable for series in _series(field))


def sql_columns(series: Sequence[Series]) -> list[str]:
    """SQL of a Summary's numbers."""
    columns = ["COUNT(*)"]
    for one in series:
        columns.append(f"COUNT({one.sql})")
        if one.sums:
            columns += [f"SUM({one.sql})", f"MIN({one.sql})", f"MAX({one.sql})", f"SUM(ABS({one.sql}))"]
    return columns


def from_sql(series: Sequence[Series], raw: Iterable[Any]) -> Summary:
    """The Summary from the raw values of `sql_columns`."""
    values = iter(raw)
    rows = int(next(values))
    found = []
    for one in series:
        count = int(next(values))
        if not one.sums:
            found.append(Sums(count))
            continue
        total, least, greatest, size = (_float(next(values)) for _ in range(4))
        off = (_ROUNDING + one.relative) * size + one.step * count
        found.append(Sums(count, total, least, greatest, off if one.exact else off + sum_error(count, size)))
    return Summary(rows, tuple(found))


def aggregations(series: Sequence[Series]) -> dict[str, Any]:
    """What `from_buckets` reads."""
    found: dict[str, Any] = {}
    for one in series:
        on = {"field": one.field}
        if one.part:
            found[f"{one.field}:center"] = {"geo_centroid": on}
            found[f"{one.field}:box"] = {"geo_bounds": {**on, "wrap_longitude": False}}
        elif one.sums:
            found[one.field] = {"stats": on}
        else:
            found[one.field] = {"filter": {"exists": on}}
    return found


def from_bucket(series: Sequence[Series], rows: int, bucket: Mapping[str, Any]) -> Summary:
    """The Summary from an answer to `aggregations` over so many documents."""
    return Summary(rows, tuple(_sums(one, bucket) for one in series))


def _sums(one: Series, bucket: Mapping[str, Any]) -> Sums:
    if one.part:
        center, box = bucket[f"{one.field}:center"], bucket[f"{one.field}:box"]
        count = center["count"]
        if not count:
            return Sums(0)
        low, high = ("bottom_right", "top_left") if one.part == "lat" else ("top_left", "bottom_right")
        edges = (box["bounds"][corner][one.part] for corner in (low, high))
        return Sums(count, center["location"][one.part] * count, *edges)
    found = bucket[one.field]
    if not one.sums:
        return Sums(found["doc_count"])
    if not found["count"]:
        return Sums(0)
    return Sums(found["count"], float(found["sum"]), float(found["min"]), float(found["max"]))


def _same_sums(one: Series, ours: Sums, theirs: Sums) -> bool:
    if ours.values != theirs.values or not one.sums:
        return ours.values == theirs.values
    # An overflown sum is infinite or no number, compares false, and is looked at closely.
    return abs(ours.total - theirs.total) <= ours.off and all(
        abs(a - b) <= one.step + one.relative * abs(a)
        for a, b in ((ours.least, theirs.least), (ours.greatest, theirs.greatest))
    )


def _series(field: Field) -> list[Series]:  # noqa: PLR0911  # one for each kind
    kind = field.mapping["type"]
    name = identifier(field.column.name)
    match field.kind:
        case Kind.INTEGER | Kind.DECIMAL | Kind.DOUBLE if kind in _NUMBERS:
            steps = {"scaled_float": 1.0 / field.mapping.get("scaling_factor", 1), "float": 0.0}
            relative = _SINGLE if kind == "float" else 4 * _EPSILON
            sql, exact = number_sql(field.column), field.kind is not Kind.DOUBLE
            return [Series(field.name, field.name, sql, exact=exact, step=steps.get(kind, 0.0), relative=relative)]
        case Kind.BOOLEAN if kind == "boolean":
            return [Series(field.name, field.name, f"({name} + 0 <> 0)")]
        case Kind.DATE | Kind.DATETIME if kind in _DATES:
            # Elasticsearch sums up times in whole milliseconds.
            millis = f"FLOOR(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {moment_sql(field)}) / 1000)"
            return [Series(field.name, field.name, millis)]
        case Kind.DATE | Kind.DATETIME if kind == "keyword":
            return [Series(field.name, field.name, moment_sql(field), sums=False)]
        case Kind.PLACE:
            lon, lat = (f"({number_sql(column)} + 0e0)" for column in field.columns)
            return [_place(field, "lon", f"({lon} + 0 * {lat})"), _place(field, "lat", f"({lat} + 0 * {lon})")]
        case Kind.POINT:
            return [_place(field, "lon", f"ST_X({name})"), _place(field, "lat", f"ST_Y({name})")]
        case Kind.SET if kind in _COUNTED:
            return [Series(field.name, field.name, f"NULLIF({name}, '')", sums=False)]
        case Kind.JSON | Kind.BYTES:
            return []  # stored, and not indexed
        case _ if kind in _COUNTED:
            return [Series(field.name, field.name, name, sums=False)]
        case _:
            return []


def _place(field: Field, part: str, sql: str) -> Series:
    return Series(f"{field.name}.{part}", field.name, sql, part, exact=False, step=_PLACE_ERROR)


def number_sql(column: TableColumn) -> str:
    """A number as such: without ZEROFILL's zeros, and FLOAT with all its digits."""
    name = identifier(column.name)
    return f"({name} + {'0e0' if column.data_type in ('float', 'double') else '0'})"


def moment_sql(field: Field) -> str:
    """A date or time in UTC; NULL for zero dates and days that no calendar has."""
    plain = identifier(field.column.name) if field.kind is Kind.DATE else utc_sql(field)
    return f"({plain} + INTERVAL 0 DAY)"


def _float(raw: Any) -> float:
    return float(bytes(raw)) if raw is not None else 0.0
