"""What is compared with what, as plain data: no engine is needed to understand or to test this.

Each side gives its readings sorted by identity, and its buckets (one sensor's hour) sorted by (sensor, hour).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from maredata.names import index_of
from maredata.reading import identity
from maredata.schema import FieldType, Schema

HOUR = 3_600_000_000  # microseconds
RANGES_NAMED = 20  # ranges of missing sequence numbers that are listed for one sensor

Key = tuple[int, int]  # sensor_id and micros: the identity
Value = float | int | str | None
Values = tuple[Value, ...]


class TopicRow(NamedTuple):
    """A record of topic `readings`. Sorted, the record that wins is the last one of its identity."""

    sensor_id: int
    micros: int
    partition: int
    offset: int
    values: Values


class StoreRow(NamedTuple):
    """A row of the MariaDB table."""

    sensor_id: int
    micros: int
    values: Values


class Document(NamedTuple):
    """A document of Elasticsearch; `source_key` is the identity its _source has, None where it is no reading."""

    sensor_id: int
    micros: int
    values: Values
    id: str
    stored_in: str
    source_key: Key | None

    @property
    def in_place(self) -> bool:
        """It stands where its identity says, and thus can't be there twice."""
        key = (self.sensor_id, self.micros)
        return self.source_key == key and self.id == identity(*key) and self.stored_in == index_of(self.micros)


class Bucket(NamedTuple):
    """One sensor's hour. `counts` (values that are there), `sums` and the sums' possible errors go by column."""

    sensor_id: int
    hour: int
    readings: int
    counts: tuple[int, ...]
    sums: tuple[float, ...]
    errors: tuple[float, ...]


class Range(NamedTuple):
    """A stretch of readings, `until` excluded. None means every sensor, or no bound."""

    sensor_id: int | None = None
    since: int | None = None
    until: int | None = None


class Kind(StrEnum):
    """How an identity differs. The values appear in `--json`: keep them stable."""

    NOT_IN_MARIADB = "missing in MariaDB"
    NOT_IN_ELASTICSEARCH = "missing in Elasticsearch"
    VALUE = "value differs"
    BAD_ID = "bad _id"
    WRONG_INDEX = "wrong index"
    NO_READING = "no reading"
    # Both stores agree, so this is no disagreement of theirs: somebody may have corrected a value in both.
    TOPIC_VALUE = "value differs from the topic's"


class Difference(msgspec.Struct, frozen=True, array_like=True):
    """One thing that differs about one identity; the values are those of `field`."""

    kind: Kind
    field: str = ""
    mariadb: Value = None
    elasticsearch: Value = None
    topic: Value = None
    document: str = ""


class Candidate(msgspec.Struct, array_like=True):
    """An identity that differed when it was looked at, and what the topic says about it."""

    sensor_id: int
    micros: int
    differences: list[Difference]
    topic: TopicRow | None = None

    @property
    def key(self) -> Key:
        return (self.sensor_id, self.micros)

    @property
    def disagrees(self) -> bool:
        return any(difference.kind is not Kind.TOPIC_VALUE for difference in self.differences)


@dataclass(frozen=True)
class Column:
    """One value of a reading as it is compared: a location is two of them."""

    name: str
    kind: FieldType
    field: str
    part: str = ""

    @property
    def sql(self) -> str:
        return f"`{self.field}_{self.part}`" if self.part else f"`{self.field}`"


def columns_of(schema: Schema) -> tuple[Column, ...]:
    """Everything but the identity, in the schema's order."""
    found: list[Column] = []
    for field in schema.fields:
        if field.type is FieldType.LOCATION:
            found += [Column(f"{field.name}.{p}", FieldType.NUMBER, field.name, p) for p in ("lon", "lat")]
        elif field.name not in ("sensor_id", "timestamp"):
            found.append(Column(field.name, field.type, field.name))
    return tuple(found)


def values_of_reading(columns: Sequence[Column], fields: dict[str, Any]) -> Values:
    """The values of `maredata.reading.Reading.values`, whose locations are pairs (lon, lat)."""
    found: list[Value] = []
    for column in columns:
        value = fields.get(column.field)
        found.append(value[column.part == "lat"] if column.part and value is not None else value)
    return tuple(found)


def values_of_source(columns: Sequence[Column], source: dict[str, Any]) -> Values:
    """The values of a `_source`. One of a wrong type becomes its JSON text, which equals no number."""
    found: list[Value] = []
    for column in columns:
        value = source.get(column.field)
        if column.part and isinstance(value, dict):
            value = value.get(column.part)
        found.append(_typed(column.kind, value))
    return tuple(found)


def _typed(kind: FieldType, value: Any) -> Value:
    if value is None:
        return None
    if kind is FieldType.NUMBER and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is FieldType.INTEGER and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is FieldType.TEXT and isinstance(value, str):
        return value
    return f"{type(value).__name__} {value!r}"[:200]


def align(*streams: Iterable[Any]) -> Iterator[tuple[Key, tuple[list[Any], ...]]]:
    """Walks sorted streams side by side: each key (an item's first two members) with every stream's items of it."""
    iterators = [iter(stream) for stream in streams]
    heads = [next(iterator, None) for iterator in iterators]
    while True:
        keys = [head[:2] for head in heads if head is not None]
        if not keys:
            return
        key = min(keys)
        found: tuple[list[Any], ...] = tuple([] for _ in heads)
        for number, head in enumerate(heads):
            item = head
            while item is not None and item[:2] == key:
                found[number].append(item)
                item = next(iterators[number], None)
            heads[number] = item
        yield key, found


def latest(rows: Iterable[TopicRow]) -> Iterator[TopicRow]:
    """Of sorted records with one identity the last: the later in the topic wins."""
    waiting: TopicRow | None = None
    for row in rows:
        if waiting is not None and waiting[:2] != row[:2]:
            yield waiting
        waiting = row
    if waiting is not None:
        yield waiting


def judge(
    columns: Sequence[Column], topic: TopicRow | None, row: StoreRow | None, documents: Sequence[Document]
) -> list[Difference]:
    """What differs about an identity that at least one side has. The topic may be silent: it forgets old readings."""
    found: list[Difference] = []
    stored: Document | None = None
    for document in documents:
        if document.in_place:
            stored = document
        else:
            found.append(Difference(_misplaced(document), document=f"{document.stored_in}/{document.id}"))
    if row is None:
        found.append(Difference(Kind.NOT_IN_MARIADB))
    if stored is None:
        found.append(Difference(Kind.NOT_IN_ELASTICSEARCH))
    if row is None or stored is None or (row.values == stored.values and topic is None):
        return found
    said = topic.values if topic is not None else row.values
    if row.values == stored.values == said:
        return found
    for column, ours, theirs, sent in zip(columns, row.values, stored.values, said, strict=True):
        if ours != theirs:
            found.append(Difference(Kind.VALUE, column.name, ours, theirs, sent if topic else None))
        elif ours != sent:
            found.append(Difference(Kind.TOPIC_VALUE, column.name, ours, theirs, sent))
    return found


def _misplaced(document: Document) -> Kind:
    if document.source_key != (document.sensor_id, document.micros):
        return Kind.NO_READING
    return Kind.BAD_ID if document.id != identity(*document.source_key) else Kind.WRONG_INDEX


def bucket_of(columns: Sequence[Column], sensor_id: int, hour: int, rows: Iterable[Values]) -> Bucket:
    """The bucket of these rows, summed up here."""
    count = 0
    counts, sums, sizes = [0] * len(columns), [0.0] * len(columns), [0.0] * len(columns)
    for values in rows:
        count += 1
        for number, value in enumerate(values):
            if value is not None:
                counts[number] += 1
                if not isinstance(value, str):
                    sums[number] += value
                    sizes[number] += abs(value)
    errors = [sum_error(*pair) for pair in zip(counts, sizes, strict=True)]
    return Bucket(sensor_id, hour, count, tuple(counts), tuple(sums), tuple(errors))


def sum_error(count: int, size: float) -> float:
    """How far a sum of `count` doubles may be off, in whatever order it was made; `size` sums their amounts."""
    return (count + 4) * sys.float_info.epsilon * size


def buckets_of(columns: Sequence[Column], rows: Iterable[TopicRow]) -> Iterator[Bucket]:
    """The buckets of sorted rows."""
    for (sensor_id, hour), group in groupby(rows, lambda row: (row.sensor_id, row.micros // HOUR)):
        yield bucket_of(columns, sensor_id, hour, (row.values for row in group))


def same_bucket(one: Bucket, other: Bucket) -> bool:
    if one.readings != other.readings or one.counts != other.counts:
        return False
    # An overflown sum is nan or inf, compares false and is looked at closely.
    return all(
        abs(a - b) <= slack + other_slack
        for a, b, slack, other_slack in zip(one.sums, other.sums, one.errors, other.errors, strict=True)
    )


def differing_hours(
    topic: Iterable[Bucket],
    mariadb: Iterable[Bucket],
    elasticsearch: Iterable[Bucket],
    accepted: Iterable[Key],
) -> Iterator[Range]:
    """Stretches of a sensor's hours that must be looked at reading by reading.

    An hour in which the stores hold more than the topic is one of them: a sum can't tell whether what they hold
    contains the topic's. So is every hour of an accepted identity, since an identity can't be proven by counting.
    """
    found: Range | None = None
    for (sensor_id, hour), (said, ours, theirs, accepted_hours) in align(topic, mariadb, elasticsearch, accepted):
        agreed = ours and theirs and same_bucket(ours[0], theirs[0]) and (not said or same_bucket(said[0], ours[0]))
        if agreed and not accepted_hours:
            continue
        since = hour * HOUR
        if found is not None and found.sensor_id == sensor_id and found.until == since:
            found = found._replace(until=since + HOUR)
            continue
        if found is not None:
            yield found
        found = Range(sensor_id, since, since + HOUR)
    if found is not None:
        yield found


def clip(ranges: Iterable[Range], window: Range) -> Iterator[Range]:
    """The ranges' parts inside the window."""
    for part in ranges:
        since = max((bound for bound in (part.since, window.since) if bound is not None), default=None)
        until = min((bound for bound in (part.until, window.until) if bound is not None), default=None)
        yield Range(part.sensor_id, since, until)


def within(rows: Iterable[Any], ranges: Sequence[Range]) -> Iterator[Any]:
    """Those of the sorted rows that lie in one of the ranges, which are sorted too."""
    if any(part.sensor_id is None for part in ranges):
        yield from rows
        return
    parts = iter(ranges)
    part = next(parts, None)
    for row in rows:
        sensor_id, micros = row[0], row[1]
        while part is not None and (part.sensor_id, part.until) <= (sensor_id, micros):
            part = next(parts, None)
        if part is None:
            return
        if part.sensor_id == sensor_id and part.since <= micros:
            yield row


class Island(NamedTuple):
    """Consecutive numbers of a sensor's `seq`, from first to last."""

    sensor_id: int
    first: int
    last: int


@dataclass(frozen=True)
class Gaps:
    """The numbers of a sensor's `seq` that nobody has, between the first and the last that somebody has."""

    sensor_id: int
    first: int
    last: int
    missing: int
    ranges: tuple[tuple[int, int], ...]


def gaps(islands: Iterable[Island]) -> Iterator[Gaps]:
    """Gaps between sorted islands, which may overlap; sensors without a gap are left out."""
    for sensor_id, group in groupby(islands, lambda island: island[0]):
        _, lowest, highest = next(group)
        missing = 0
        ranges: list[tuple[int, int]] = []
        for _, low, high in group:  # noqa: B031  # goes on behind the first one
            if low > highest + 1:
                missing += low - highest - 1
                if len(ranges) < RANGES_NAMED:
                    ranges.append((highest + 1, low - 1))
            highest = max(highest, high)
        if missing:
            yield Gaps(sensor_id, lowest, highest, missing, tuple(ranges))
