"""Parts of a table and of its index that hold the same rows: ranges of keys, and days of each first key value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from extraction.checking.summaries import moment_sql
from extraction.keys import Key, KeyRange
from extraction.layout import Field, Kind, Layout
from extraction.quoting import identifier
from extraction.source import TableColumn
from maredata.timestamps import format_timestamp

Query = dict[str, Any]

DAY = 86_400_000  # milliseconds
_INTEGERS = ("long", "integer", "short", "byte")
_DATES = ("date", "date_nanos")
_CANONICAL = "uuuu-MM-dd HH:mm:ss.SSSSSS"
_MILLISECOND_DIGITS = 3
_EPOCH = date(1970, 1, 1)


class Group(NamedTuple):
    """The rows of one value of the key's first column, where that is looked at, and of one UTC day.

    `day` counts from 1970. None: documents without the one, or rows without the other.
    """

    first: int | None
    day: int | None


class Window:
    """Which rows and documents are looked at, by the job's time: µs since 1970 UTC, `until` not included."""

    def __init__(self, layout: Layout, since: int | None, until: int | None) -> None:
        self.since, self.until = since, until
        self._field = layout.time

    def query(self) -> list[Query]:
        """Filters for Elasticsearch."""
        bounds = {"gte": self.since, "lt": self.until}
        given = {name: format_timestamp(bound) for name, bound in bounds.items() if bound is not None}
        if not given or self._field is None:
            return []
        if self._field.mapping["type"] in _DATES:
            return [{"range": {self._field.name: {**given, "format": _CANONICAL}}}]
        return [{"range": {self._field.name: given}}]  # canonical texts sort as their times do


class Walk:
    """The key's columns as fields by which documents can be told apart in the same order. Made by `walk_of`."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields

    def query(self, part: KeyRange) -> Query:
        """Of the documents in a range of keys."""
        filters = [{"exists": {"field": field.name}} for field in self._fields]
        if part.after is not None:
            filters.append(_beyond(self._fields, part.after, "gt", "gt"))
        if part.upto is not None:
            filters.append(_beyond(self._fields, part.upto, "lt", "lte"))
        return {"bool": {"filter": filters}}

    def strays(self) -> Query:
        """Of the documents that are in no range, since they lack a field of the key."""
        return {"bool": {"must_not": [self.query(KeyRange())]}}

    def can_end(self, key: Key) -> bool:
        """Whether Elasticsearch understands this key as a bound: it knows no zero dates."""
        return all(
            field.kind is Kind.INTEGER or _moment(str(value)) is not None
            for field, value in zip(self._fields, key, strict=True)
        )


def walk_of(layout: Layout, types: Mapping[str, str]) -> Walk | None:
    """None where the index can't be walked by the key: a column is no field of it, or sorts in another way there."""
    fields = [_key_field(layout, column, types) for column in layout.key]
    return Walk([field for field in fields if field is not None]) if None not in fields else None


class Days:
    """Groups of a first key column, where that is an integer of several, and days. Made by `days_of`."""

    def __init__(self, first: Field | None, time: Field, keyed: bool) -> None:
        self.first, self._time, self._keyed = first, time, keyed
        self._day = f"DATEDIFF({moment_sql(time)}, '1970-01-01')"

    @property
    def sql_columns(self) -> list[str]:
        """SQL of the first key value and the day, to group and to sort by."""
        return ["NULL" if self.first is None else f"({identifier(self.first.column.name)} + 0)", self._day]

    @property
    def sources(self) -> list[Query]:
        """The same for a composite aggregation."""
        day = {"date_histogram": {"field": self._time.name, "fixed_interval": "1d", "missing_bucket": True}}
        first = [] if self.first is None else [{"first": {"terms": {"field": self.first.name, "missing_bucket": True}}}]
        return [*first, {"day": day}]

    def condition(self, groups: Sequence[Group]) -> str:
        """SQL for the rows of these groups."""
        return " OR ".join(f"({self._one(group)})" for group in groups) or "FALSE"

    def query(self, groups: Sequence[Group]) -> Query:
        """Of the documents of these groups."""
        return {"bool": {"should": [self._query(group) for group in groups], "minimum_should_match": 1}}

    def _one(self, group: Group) -> str:
        day = f"{self._day} IS NULL" if group.day is None else f"{self._day} = {group.day:d}"
        if self.first is None:
            return day
        if group.first is None:
            return "FALSE"  # no key column is NULL
        found = f"{identifier(self.first.column.name)} = {group.first:d} AND {day}"
        if group.day is None or not self._keyed:
            return found
        # The day once more, in a form for which the server uses the key's index.
        name, begin = identifier(self._time.column.name), _EPOCH + timedelta(group.day)
        return f"{found} AND {name} >= '{begin}' AND {name} < '{begin + timedelta(1)}'"

    def _query(self, group: Group) -> Query:
        filters: list[Query] = []
        absent: list[Query] = []
        if self.first is not None and group.first is None:
            absent.append({"exists": {"field": self.first.name}})
        elif self.first is not None:
            filters.append({"term": {self.first.name: group.first}})
        if group.day is None:
            absent.append({"exists": {"field": self._time.name}})
        else:
            bounds = {"gte": group.day * DAY, "lt": (group.day + 1) * DAY, "format": "epoch_millis"}
            filters.append({"range": {self._time.name: bounds}})
        return {"bool": {"filter": filters, "must_not": absent}}


def days_of(layout: Layout, types: Mapping[str, str]) -> Days | None:
    """None where the job has no time, or the index none that is a date."""
    time = layout.time
    if time is None or time.mapping["type"] not in _DATES or types.get(time.name) != time.mapping["type"]:
        return None
    first = _key_field(layout, layout.key[0], types) if len(layout.key) > 1 else None
    keyed = time.column in layout.key and time.zone == "UTC"
    return Days(first if first is not None and first.kind is Kind.INTEGER else None, time, keyed)


def _key_field(layout: Layout, column: TableColumn, types: Mapping[str, str]) -> Field | None:
    found = next((field for field in layout.fields if field.columns == (column,)), None)
    if found is None or types.get(found.name) != found.mapping["type"]:
        return None
    kind = found.mapping["type"]
    if found.kind is Kind.INTEGER:
        return found if kind in _INTEGERS else None
    if found.kind not in (Kind.DATE, Kind.DATETIME) or found.zone != "UTC":
        return None
    fine = kind == "date_nanos" or (kind == "date" and column.digits <= _MILLISECOND_DIGITS)
    return found if fine else None


def _beyond(fields: Sequence[Field], key: Key, strict: str, last: str) -> Query:
    """As its like in `extraction.keys`: beyond the first value, or there and beyond the rest."""
    field, value = fields[0], _value(fields[0], key[0])
    if len(fields) == 1:
        return _range(field, last, value)
    there = {"bool": {"filter": [_term(field, value), _beyond(fields[1:], key[1:], strict, last)]}}
    return {"bool": {"should": [_range(field, strict, value), there], "minimum_should_match": 1}}


def _term(field: Field, value: int | str) -> Query:
    if field.kind is Kind.INTEGER:
        return {"term": {field.name: value}}
    return {"range": {field.name: {"gte": value, "lte": value, "format": _CANONICAL}}}


def _range(field: Field, operator: str, value: int | str) -> Query:
    bounds = {operator: value}
    return {"range": {field.name: bounds if field.kind is Kind.INTEGER else {**bounds, "format": _CANONICAL}}}


def _value(field: Field, value: int | str) -> int | str:
    if field.kind is Kind.INTEGER:
        return value
    moment = _moment(str(value))
    if moment is None:
        raise ValueError(f"{value!r} of {field.name} is no time")
    return moment


def _moment(text: str) -> str | None:
    """A printed date or time with six fractional digits; None where no calendar has it."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return f"{found.date()} {found:%H:%M:%S.%f}"
