"""A job joined with its table: which fields a document has, from which columns, and how they are mapped."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from extraction.job import Blobs, ColumnOptions, Decimals, Job, JobError, Place, Time, moves_readings
from extraction.source import Index, SourceTable, TableColumn, inspect, source_errors
from maredata.schema import TIMESTAMP_FORMAT, FieldType, Schema, load_schema
from maredata.settings import Settings

_LONGEST_KEYWORD = 8191  # characters; Lucene refuses a term above 32,766 bytes
_DATE_FORMAT = "uuuu-MM-dd||strict_date_optional_time_nanos"
_MILLISECOND_DIGITS = 3
_LONG_BITS = 63


class Kind(StrEnum):
    """How a field's value is written as JSON."""

    INTEGER = "integer"
    BOOLEAN = "boolean"
    DECIMAL = "decimal"
    DOUBLE = "double"
    TEXT = "text"
    SET = "set"
    JSON = "json"
    TIME = "time"
    DATE = "date"
    DATETIME = "datetime"
    BYTES = "bytes"
    POINT = "point"  # a POINT column
    PLACE = "place"  # a longitude and a latitude column


_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"), Kind.INTEGER),
    **dict.fromkeys(("decimal", "numeric"), Kind.DECIMAL),
    **dict.fromkeys(("float", "double"), Kind.DOUBLE),
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), Kind.TEXT),
    **dict.fromkeys(("enum", "uuid", "inet4", "inet6"), Kind.TEXT),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), Kind.BYTES),
    **dict.fromkeys(("datetime", "timestamp"), Kind.DATETIME),
    **{kind.value: kind for kind in (Kind.SET, Kind.JSON, Kind.TIME, Kind.DATE, Kind.POINT)},
}
_NUMBERS = ("long", "integer", "short", "byte", "unsigned_long", "double", "float", "keyword")
# The types of Elasticsearch that take what a kind is written as.
_TYPES: dict[Kind, tuple[str, ...]] = {
    Kind.INTEGER: (*_NUMBERS, "boolean"),
    Kind.BOOLEAN: ("boolean", "keyword"),
    Kind.DECIMAL: ("double", "float", "keyword"),
    Kind.DOUBLE: ("double", "float", "keyword"),
    Kind.TEXT: ("keyword", "text", "ip", "wildcard"),
    Kind.SET: ("keyword", "text"),
    Kind.JSON: ("object", "flattened"),
    Kind.TIME: ("keyword",),
    Kind.DATE: ("date", "date_nanos", "keyword"),
    Kind.DATETIME: ("date", "date_nanos", "keyword"),
    Kind.BYTES: ("binary",),
    Kind.POINT: ("geo_point",),
    Kind.PLACE: ("geo_point",),
}
_KEY_KINDS = frozenset(Kind) - {Kind.DOUBLE, Kind.SET, Kind.JSON, Kind.POINT}


@dataclass(frozen=True)
class Field:
    """A field of the documents. `columns` are one, or longitude and latitude; `zone` is that of a DATETIME."""

    name: str
    kind: Kind
    columns: tuple[TableColumn, ...]
    mapping: dict[str, Any]
    zone: str = "UTC"
    as_string: bool = False  # a DECIMAL as JSON string

    @property
    def column(self) -> TableColumn:
        return self.columns[0]

    @property
    def nullable(self) -> bool:
        return any(column.nullable for column in self.columns)

    @property
    def always(self) -> bool:
        """Whether every document has it: zero dates are left out as NULL is."""
        return not self.nullable and self.kind not in (Kind.DATE, Kind.DATETIME)


@dataclass(frozen=True)
class Layout:
    """A job on its table. `readings`: it is the store's own, whose documents are those of the live path."""

    job: Job
    table: SourceTable
    index: Index  # the key that the table is walked by
    fields: tuple[Field, ...]
    readings: bool

    @property
    def key(self) -> tuple[TableColumn, ...]:
        return tuple(self.table[name] for name in self.index.columns)

    @property
    def time(self) -> Field | None:
        """The field of the job's time column."""
        name = self.job.time.field if self.job.time else None
        return next((field for field in self.fields if field.name == name), None)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Columns of the table that no document has."""
        used = {column.name for field in self.fields for column in field.columns}
        return tuple(name for name in self.table.names if name not in used)


def open_layout(job: Job, connection: MySQLConnectionAbstract, settings: Settings) -> Layout:
    """The job on the table as it is now. Raises JobError where they don't fit, StoreError where it can't be read."""
    with source_errors(job.source):
        table = inspect(connection, job.source.table)
    own = moves_readings(job.source, job.source.table, settings)
    return layout(job, table, load_schema(settings.reading.toml) if own else None)


def layout(job: Job, table: SourceTable, schema: Schema | None = None) -> Layout:
    """The job on the table; `schema` where that is the store's own table of readings. Raises JobError."""
    fields = [_field(job, table, name, options) for name, options in job.columns.items()]
    if job.time is not None:
        fields.append(_time_field(job, table, job.time))
    fields += [_place_field(job, table, name, place) for name, place in job.locations.items()]
    kept = tuple(field for field in fields if not _omitted(job, field))
    if schema is not None:
        _refuse_other_readings(job, schema)
        mappings = schema.mapping_properties()
        kept = tuple(Field(f.name, f.kind, f.columns, mappings[f.name], f.zone) for f in kept)
    return Layout(job, table, _index(job, table), kept, schema is not None)


def kind_of(column: TableColumn) -> Kind | None:
    """None for a type that becomes no field: geometries other than POINT, and what is not known here."""
    if column.json:
        return Kind.JSON
    if column.data_type == "bit" and column.precision == 1:
        return Kind.BOOLEAN
    return _KINDS.get(column.data_type)


def readings_parts(schema: Schema) -> tuple[dict[str, ColumnOptions], Time, dict[str, Place]]:
    """Columns, time and locations of a job that moves the store's own readings."""
    columns, places = {}, {}
    for field in schema.fields:
        if field.type is FieldType.LOCATION:
            places[field.name] = Place(longitude=f"{field.name}_lon", latitude=f"{field.name}_lat")
        elif field.type is not FieldType.TIMESTAMP:
            columns[field.name] = ColumnOptions(field=field.name)
    return columns, Time(column="timestamp", field="timestamp", zone="UTC"), places


def _refuse_other_readings(job: Job, schema: Schema) -> None:
    if (job.columns, job.time, job.locations) != readings_parts(schema):
        raise JobError(
            f"Job {job.name} moves the store's own readings, and must write them as the live path does:"
            " make the file anew with `mare extract init readings`."
        )


def _index(job: Job, table: SourceTable) -> Index:
    found = next((index for index in table.keys if index.columns == job.source.key), None)
    if found is None:
        known = " or ".join(f"[{', '.join(index.columns)}]" for index in table.keys)
        advice = f"write key = {known}" if known else keyless(table)
        raise JobError(
            f"{table.name} has no primary key or unique NOT NULL key on ({', '.join(job.source.key)}): {advice}."
        )
    for column in (table[name] for name in found.columns):
        if kind_of(column) not in _KEY_KINDS:
            raise JobError(
                f"{table.name} can't be walked by key column {column.name}, a {column.data_type}:"
                " name a key of integers, decimals, texts or times in source.key."
            )
    return found


def keyless(table: SourceTable) -> str:
    """What to do about a table without a usable key."""
    return (
        f"give it one, such as `ALTER TABLE {table.name} ADD COLUMN id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT"
        " PRIMARY KEY`, or declare the columns that name a row UNIQUE and NOT NULL, whole and all in one direction"
    )


def _column(job: Job, table: SourceTable, name: str) -> TableColumn:
    if name not in table.names:
        raise JobError(f"Table {table.name} has no column {name}: take it out of job {job.name}, or correct it.")
    return table[name]


def _field(job: Job, table: SourceTable, name: str, options: ColumnOptions) -> Field:
    column = _column(job, table, name)
    kind = kind_of(column)
    if kind is None:
        raise JobError(f"Column {name} is a {column.data_type}, which can't be moved: take it out of [columns].")
    _refuse_unfitting(job, name, kind, column, options)
    zone = options.zone or (job.time.zone if job.time else "UTC")
    mapping = _mapping(column, kind, options)
    return Field(
        options.field,
        Kind.BOOLEAN if kind is Kind.INTEGER and mapping["type"] == "boolean" else kind,
        (column,),
        mapping,
        zone if column.data_type == "datetime" else "UTC",
        options.decimal is Decimals.STRING,
    )


def _refuse_unfitting(job: Job, name: str, kind: Kind, column: TableColumn, options: ColumnOptions) -> None:
    given = options.model_fields_set
    for option, kinds in (("decimal", (Kind.DECIMAL,)), ("factor", (Kind.DECIMAL,)), ("blob", (Kind.BYTES,))):
        if option in given and kind not in kinds:
            raise JobError(f"Job {job.name}: {option} means nothing for column {name}, a {column.data_type}.")
    if options.factor is not None and options.decimal is not Decimals.SCALED_FLOAT:
        raise JobError(f'Job {job.name}: factor of column {name} needs decimal = "scaled_float".')
    if options.type is not None and (options.type not in _TYPES[kind] or "decimal" in given):
        allowed = "decimal decides it" if "decimal" in given else f"it can be {', '.join(_TYPES[kind])}"
        raise JobError(f"Job {job.name}: column {name} can't have the type {options.type}: {allowed}.")
    if options.zone not in (None, "UTC") and column.data_type != "datetime":
        raise JobError(f"Job {job.name}: column {name} is a {column.data_type}, which has no zone: leave it out.")


def _time_field(job: Job, table: SourceTable, time: Time) -> Field:
    column = _column(job, table, time.column)
    if kind_of(column) not in (Kind.DATETIME, Kind.DATE):
        raise JobError(
            f"The time column {time.column} is a {column.data_type}: name a DATETIME, TIMESTAMP or DATE column"
            " under [time], or leave [time] out."
        )
    if column.data_type != "datetime" and time.zone != "UTC":
        raise JobError(f'The time column {time.column} is a {column.data_type}, read in UTC: write zone = "UTC".')
    return _field(job, table, time.column, ColumnOptions(field=time.field))


def _place_field(job: Job, table: SourceTable, name: str, place: Place) -> Field:
    columns = tuple(_column(job, table, column) for column in place.columns)
    wanted = (Kind.POINT,) if place.point else (Kind.INTEGER, Kind.DECIMAL, Kind.DOUBLE)
    for column in columns:
        if kind_of(column) not in wanted:
            need = "a POINT" if place.point else "a number"
            raise JobError(f"Location {name} needs {need}, and column {column.name} is a {column.data_type}.")
    return Field(name, Kind.POINT if place.point else Kind.PLACE, columns, {"type": "geo_point"})


def _omitted(job: Job, field: Field) -> bool:
    options = job.columns.get(field.column.name)
    return field.kind is Kind.BYTES and options is not None and options.blob is Blobs.OMIT


def _mapping(column: TableColumn, kind: Kind, options: ColumnOptions) -> dict[str, Any]:  # noqa: PLR0911
    if kind is Kind.DECIMAL and options.decimal is Decimals.SCALED_FLOAT:
        return {"type": "scaled_float", "scaling_factor": options.factor or 10**column.scale, "coerce": False}
    if kind is Kind.DECIMAL and options.decimal is Decimals.STRING:
        return {"type": "keyword"}
    chosen = options.type or _usual_type(column, kind)
    if chosen == "object":
        return {"type": "object", "enabled": False}  # stored, not searched: any JSON is welcome
    if chosen in ("date", "date_nanos"):
        return {"type": chosen, "format": _DATE_FORMAT if kind is Kind.DATE else TIMESTAMP_FORMAT}
    if chosen == "text":
        return {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
    if chosen == "keyword" and kind in (Kind.TEXT, Kind.SET):
        return {"type": "keyword", "ignore_above": _LONGEST_KEYWORD}
    if chosen in _NUMBERS and chosen not in ("keyword", "unsigned_long"):
        return {"type": chosen, "coerce": False}
    return {"type": chosen}


def _usual_type(column: TableColumn, kind: Kind) -> str:
    match kind:
        case Kind.INTEGER:
            bits = 64 if column.data_type == "bigint" and column.unsigned else 0
            return "unsigned_long" if max(bits, column.precision * (column.data_type == "bit")) > _LONG_BITS else "long"
        case Kind.TEXT if column.data_type.endswith("text") or column.octets > 4 * _LONGEST_KEYWORD:
            return "text"
        case Kind.TEXT if column.data_type.startswith("inet"):
            return "ip"
        case Kind.DATETIME if column.digits > _MILLISECOND_DIGITS:
            return "date_nanos"
        case Kind.DATETIME:
            return "date"
        case _:
            return _TYPES[kind][0]
