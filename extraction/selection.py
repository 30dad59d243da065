"""The SELECT in which the server writes each row as two lines of a bulk request: an action and a document.

One text for each row, since the client reads one column several times faster than ten. It begins with `{`; before
that stands a `z` for each zero date. What SQL can't decide (times that a change of the clocks repeats or leaves
out, dates with a zero month or day, JSON that only MariaDB takes for JSON, places not in degrees, texts above
max_allowed_packet) becomes `p` and the key as a JSON array: `extraction.convert` writes those rows.
"""

# ruff: noqa: S608  # names are quoted, and texts written by `quoting`

from __future__ import annotations

import json
from collections.abc import Sequence

from extraction.job import JobError
from extraction.keys import KeyRange, id_sql, key_json_sql, plain_id, range_condition, table_sql
from extraction.layout import Field, Kind, Layout
from extraction.quoting import identifier, literal
from extraction.source import TableColumn
from extraction.zones import odd_sql, offset_sql
from maredata.names import READINGS
from maredata.timestamps import LATEST_MICROS, format_timestamp

ZERO = b"z"
BY_PYTHON = b"p"
DEGREES = (0, 4326)  # SRIDs in which x is a longitude and y a latitude
_FRACTION = 6
# MariaDB takes `1.` and `"\x"` for JSON. Where they stand inside a text, Python will find nothing wrong.
_ODD_JSON = r'[0-9][.](?![0-9])|\\(?!["\\/bfnrtu])'


class Select:
    """Writes the SQL of a layout's ranges.

    `where` and the instants (µs since 1970 UTC; `until` is not included) are further conditions on the rows.
    Raises JobError where instants are given and the job has no time column.
    """

    def __init__(
        self, layout: Layout, where: str | None = None, since: int | None = None, until: int | None = None
    ) -> None:
        self._layout = layout
        conditions = [f"({text})" for text in (layout.job.source.where, where) if text]
        for operator, instant in ((">=", since), ("<", until)):
            if instant is not None:
                conditions.append(_instant_condition(layout, operator, instant))
        self._condition = " AND ".join(conditions)

    def sql(self, part: KeyRange, version: int | None = None) -> str:
        """One text for each row of a range. `version` is the documents' external version."""
        return self.over([self._text(version)], range_condition(self._layout, part))

    def over(self, columns: list[str], rows: str) -> str:
        """These columns of the rows for which `rows` and the job's conditions hold."""
        where = f"({rows}) AND {self._condition}" if self._condition else rows
        return f"SELECT {', '.join(columns)} FROM {table_sql(self._layout)} WHERE {where}"

    def _text(self, version: int | None) -> str:
        by_python = f"CONCAT('{BY_PYTHON.decode()}', {key_json_sql(self._layout)})"
        # Anything NULL in it makes the whole NULL: a text that would be too long, a date that is none.
        text = f"COALESCE({_concatenated(self._lines(version))}, {by_python})"
        odd = [condition for field in self._layout.fields for condition in _odd_conditions(self._layout, field)]
        return f"IF({' OR '.join(odd)}, {by_python}, {text})" if odd else text

    def _lines(self, version: int | None) -> list[str]:
        layout = self._layout
        dated = [field.column for field in layout.fields if _may_be_zero(layout, field)]
        parts = [f"IF({identifier(column.name)} = {zero(column)}, '{ZERO.decode()}', '')" for column in dated]
        index = layout.job.index
        operation = f'{{"{"create" if layout.readings else "index"}":{{"_index":"'
        if layout.readings:
            parts += [literal(operation), f"DATE_FORMAT(`timestamp`, '{READINGS}-%Y.%m')", literal('","_id":')]
        else:
            parts.append(literal(f'{operation}{index}","_id":'))
        parts += ["'\"'", id_sql(layout), "'\"'"] if plain_id(layout) else [f"JSON_QUOTE({id_sql(layout)})"]
        external = "" if version is None else f',"version":{version:d},"version_type":"external_gte"'
        parts.append(literal(external + "}}\n{"))
        first, *others = sorted(layout.fields, key=lambda field: not field.always)
        if first.always:
            parts += [*_member(layout, first, ""), *(part for field in others for part in _member(layout, field, ","))]
        else:
            every = [part for field in (first, *others) for part in _member(layout, field, ",")]
            parts.append(f"SUBSTR({_concatenated(every)}, 2)")
        return [*parts, "'}'"]


def zero(column: TableColumn) -> str:
    """The column's zero date."""
    return "'0000-00-00'" if column.data_type == "date" else "'0000-00-00 00:00:00'"


def utc_sql(field: Field) -> str:
    """SQL of a DATETIME field in UTC; NULL where it is no date, or a local time that never was."""
    name = identifier(field.column.name)
    if field.column.data_type == "timestamp":
        return name
    return f"({name} - INTERVAL {offset_sql(name, field.zone)} SECOND)"


def _may_be_zero(layout: Layout, field: Field) -> bool:
    """Whether there can be a zero date in it. Not in what names a reading: that goes to Python (_odd_conditions)."""
    return field.kind in (Kind.DATE, Kind.DATETIME) and not _names_reading(layout, field)


def _names_reading(layout: Layout, field: Field) -> bool:
    return layout.readings and field.kind is Kind.DATETIME


def _member(layout: Layout, field: Field, comma: str) -> list[str]:
    """Parts of `"name":value`; an empty text for what is left out: NULL, and zero dates."""
    head = literal(f"{comma}{json.dumps(field.name, ensure_ascii=False)}:")
    if _names_reading(layout, field):
        # Printed as it is: the `_id` is NULL where it is no date, which spares the server the sum of `utc_sql`.
        return [head, "'\"'", identifier(field.column.name), literal(_filling(field.column) + '"')]
    written = [head, *_value(field)]
    absent = [f"{identifier(column.name)} IS NULL" for column in field.columns if column.nullable]
    if _may_be_zero(layout, field):
        absent.append(f"{identifier(field.column.name)} = {zero(field.column)}")
    return [f"IF({' OR '.join(absent)}, '', {_concatenated(written)})"] if absent else written


def _concatenated(parts: Sequence[str]) -> str:
    """CONCAT of the parts, neighbouring texts as one: each argument costs the server time."""
    joined: list[str] = []
    for part in parts:
        if joined and part.startswith("'") and joined[-1].startswith("'"):
            joined[-1] = joined[-1][:-1] + part[1:]
        else:
            joined.append(part)
    return f"CONCAT({', '.join(joined)})"


def _value(field: Field) -> list[str]:  # noqa: PLR0911, PLR0912  # one for each kind
    """Parts that make up the value's JSON text. NULL for what the value can't be written as."""
    column = field.column
    name = identifier(column.name)
    match field.kind:
        case Kind.BOOLEAN:
            return [f"IF({name} = 0, 'false', 'true')"]
        case Kind.TEXT if column.charset is None:
            return ["'\"'", name, "'\"'"]  # a UUID or an address
        case Kind.TEXT:
            return [f"JSON_QUOTE({_utf8(column)})"]
        case Kind.SET:
            members = f"""REPLACE(JSON_QUOTE({_utf8(column)}), ',', '","')"""
            return [f"IF({name} = '', '[]', CONCAT('[', {members}, ']'))"]
        case Kind.JSON:
            return [_json_sql(column)]
        case Kind.TIME:
            return ["'\"'", name, "'\"'"]
        case Kind.DATE:
            return ["'\"'", f"({name} + INTERVAL 0 DAY)", "'\"'"]
        case Kind.DATETIME:
            return ["'\"'", utc_sql(field), literal(_filling(column) + '"')]
        case Kind.BYTES:
            return ["'\"'", f"REPLACE(TO_BASE64({name}), '\\n', '')", "'\"'"]
        case Kind.POINT:
            return [literal('{"lon":'), f"ST_X({name})", literal(',"lat":'), f"ST_Y({name})", "'}'"]
        case Kind.PLACE:
            longitude, latitude = map(_number, field.columns)
            return [literal('{"lon":'), longitude, literal(',"lat":'), latitude, "'}'"]
        case Kind.DECIMAL if field.as_string:
            return ["'\"'", _number(column), "'\"'"]
        case _:
            return [_number(column)]


def _number(column: TableColumn) -> str:
    name = identifier(column.name)
    if column.data_type == "float" or (column.data_type == "double" and column.column_type != "double"):
        return f"({name} + 0e0)"  # FLOAT prints six digits; widened, it prints all that it has
    if column.zerofill or column.data_type in ("bit", "year"):
        return f"({name} + 0)"  # no zeros before it: they are no JSON
    return name


def _json_sql(column: TableColumn) -> str:
    """JSON on one line. MySQL's own type is that when it is printed; MariaDB's is the text that was stored."""
    name = identifier(column.name)
    return f"CAST({name} AS CHAR)" if column.data_type == "json" else f"JSON_COMPACT({name})"


def _utf8(column: TableColumn) -> str:
    name = identifier(column.name)
    return name if column.charset == "utf8mb4" else f"CONVERT({name} USING utf8mb4)"


def _filling(column: TableColumn) -> str:
    """What a printed time lacks of six fractional digits."""
    return ("" if column.digits else ".") + "0" * (_FRACTION - column.digits)


def _odd_conditions(layout: Layout, field: Field) -> list[str]:
    """SQL that is true for values that Python has to look at."""
    name = identifier(field.column.name)
    if field.kind is Kind.JSON and field.column.data_type != "json":
        return [f"COALESCE(JSON_COMPACT({name}) REGEXP {literal(_ODD_JSON)}, 0)"]
    if field.kind is Kind.POINT:
        return [f"COALESCE(ST_SRID({name}) NOT IN {DEGREES}, 0)"]
    if field.kind is Kind.DATETIME and field.zone != "UTC":
        return [f"COALESCE({name} <> {zero(field.column)} AND {odd_sql(name, field.zone)}, 0)"]
    if _names_reading(layout, field):
        # Outside of it a reading has no identity.
        return [f"{name} < '1970-01-01'", f"{name} > '{format_timestamp(LATEST_MICROS)}'"]
    return []


def _instant_condition(layout: Layout, operator: str, micros: int) -> str:
    field = layout.time
    if field is None:
        raise JobError(f"Job {layout.job.name} has no [time] column to compare a time with.")
    sql = utc_sql(field) if field.kind is Kind.DATETIME and field.zone != "UTC" else identifier(field.column.name)
    return f"{sql} {operator} '{format_timestamp(micros)}'"
