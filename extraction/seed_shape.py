"""The tables that emulated history goes into: the store's own `readings`, and one as legacy applications have them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from extraction.quoting import identifier
from extraction.seed_sql import numbers, position, text, value
from maredata.names import READINGS
from maredata.schema import Field, FieldType, Schema

LEGACY_ZONE = "Europe/Madrid"  # whose local time a legacy-shaped table has
_LEGACY_NAMES = {"sensor_id": "station_id", "timestamp": "measured_at", "seq": "message_number"}
_LEGACY_INDEX = "by_station"
_DIGITS = 18  # of a DECIMAL
_HOUR = 3600


@dataclass(frozen=True)
class Shape:
    """A table: how it is made, and each column's value in SQL over `extraction.seed_sql.steps`.

    `sensor` and `time` are the columns that a reading is found by; `by_buoy` is the order in which rows go in.
    """

    table: str
    create: str
    columns: dict[str, str]
    sensor: str
    time: str
    by_buoy: bool


def readings_shape(schema: Schema, begin: int) -> Shape:
    """The table that `mare apply` makes; `begin` is in seconds since 1970 UTC."""
    columns: dict[str, str] = {}
    for field in schema.fields:
        names = [f"{field.name}_lon", f"{field.name}_lat"] if field.type is FieldType.LOCATION else [field.name]
        columns |= dict(zip(names, _values(schema, field, _instant(begin, "at")), strict=True))
    return Shape(READINGS, schema.create_table(READINGS), columns, "sensor_id", "timestamp", by_buoy=True)


def legacy_shape(schema: Schema, table: str, begin: int, end: int) -> Shape:
    """Other names, DECIMAL instead of DOUBLE, local time, a number of its own for each row, in order of time."""
    instant = _instant(begin, f"(at + {_offset(begin, end)} * 1000000)")
    definitions, columns = ["`id` bigint NOT NULL AUTO_INCREMENT"], {}
    for field in schema.fields:
        for (name, kind), sql in zip(_legacy_columns(schema, field), _values(schema, field, instant), strict=True):
            null = "NOT NULL" if field.required else "NULL"
            definitions.append(f"{identifier(name)} {kind} {null}")
            columns[name] = sql
    sensor, time = _LEGACY_NAMES["sensor_id"], _LEGACY_NAMES["timestamp"]
    definitions += ["PRIMARY KEY (`id`)", f"KEY `{_LEGACY_INDEX}` (`{sensor}`, `{time}`)"]
    body = ",\n  ".join(definitions)
    create = f"CREATE TABLE {identifier(table)} (\n  {body}\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
    return Shape(table, create, columns, sensor, time, by_buoy=False)


def _values(schema: Schema, field: Field, instant: str) -> tuple[str, ...]:
    match field.type:
        case FieldType.TIMESTAMP:
            return (instant,)
        case FieldType.LOCATION:
            return position()
        case FieldType.TEXT:
            return (text(field),)
    if field.name == "sensor_id":
        return ("sensor_id",)
    if field.name == "seq":
        return ("step",)
    return (value(numbers(schema)[field.name], schema.names.index(field.name)),)


def _legacy_columns(schema: Schema, field: Field) -> list[tuple[str, str]]:
    name = _LEGACY_NAMES.get(field.name) or field.standard_name or field.name
    match field.type:
        case FieldType.TIMESTAMP:
            return [(name, f"datetime(6) COMMENT 'local time of {LEGACY_ZONE}'")]
        case FieldType.LOCATION:
            prefix = "" if field.name == "location" else f"{field.name}_"
            return [(f"{prefix}lon", "decimal(9,6)"), (f"{prefix}lat", "decimal(8,6)")]
        case FieldType.TEXT:
            return [(name, f"varchar({field.max_length})")]
        case FieldType.NUMBER:
            return [(name, f"decimal({_DIGITS},{numbers(schema)[field.name].decimals})")]
    return [(name, "int unsigned" if field.name == "sensor_id" else "bigint")]


def _instant(begin: int, microseconds: str) -> str:
    start = f"{datetime.fromtimestamp(begin, UTC):%Y-%m-%d %H:%M:%S}"
    return f"TIMESTAMP'{start}.000000' + INTERVAL {microseconds} MICROSECOND"


def _offset(begin: int, end: int) -> str:
    """Seconds by which the local time is ahead of UTC, by `t`."""
    sql = ""
    changes = list(_changes(begin, end))
    for at, before in changes:
        sql += f"IF(t < {at}, {before}, "
    return f"{sql}{_offset_at(end)}{')' * len(changes)}"


def _changes(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Each instant at which clocks are changed, and the offset before it. Clocks are changed at full hours of UTC."""
    offset = _offset_at(begin)
    for at in range(begin - begin % _HOUR, end, _HOUR):
        if _offset_at(at) != offset:
            yield at, offset
            offset = _offset_at(at)


def _offset_at(second: int) -> int:
    offset = datetime.fromtimestamp(second, ZoneInfo(LEGACY_ZONE)).utcoffset()
    assert offset is not None  # noqa: S101  # a ZoneInfo always has one
    return offset // timedelta(seconds=1)
