"""`extract init`: writes a first job file by looking at a table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from extraction.job import (
    STORE_PASSWORD,
    ColumnOptions,
    JobError,
    Place,
    Server,
    Time,
    job_name,
    moves_readings,
    password_of,
)
from extraction.layout import Kind, keyless, kind_of, readings_parts
from extraction.source import Index, SourceTable, TableColumn, connect, inspect, source_errors
from maredata.schema import load_schema
from maredata.settings import Settings

_LONGITUDE = re.compile(r"(.*?)(longitude|long|lon|lng)(.*)", re.IGNORECASE)
_LATITUDES = ("latitude", "lat")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TIME_NAMES = ("timestamp", "datetime", "time", "instant")

_HEAD = """\
# Job {name}: table {table} of {database}, moved to {index}.
# Written by `mare extract init`; look through it, then run `mare extract plan {path}`.

[source]
host = {host}
port = {port}
database = {database_text}
table = {table_text}
user = {user}
{password}
# tls = true                 # by default everywhere but on loopback
key = {key}  # names each row, and is what the table is read along
range_rows = 50000           # rows that are read, and after a failure read again, together
# where = "station_id > 0"   # only these rows

[target]
deletes = "keep"             # or "mirror": what is deleted in the source is deleted in the target, too
# purged_before = 2020-01-01 # rows before it may be gone from the source
"""
_COLUMNS = """
# The other columns, each with the name of its field. What can be said of one, such as
#   price = { field = "price", decimal = "scaled_float", factor = 100 }
#   decimal   "double": a number with all its digits, searched as a double; "scaled_float"; "string"
#   blob      "base64" or "omit"
#   zone      of a DATETIME; by default that of [time]
#   type      another type of Elasticsearch, such as "text" instead of "keyword"
[columns]
"""


def server_of(
    settings: Settings,
    host: str | None = None,
    port: int | None = None,
    database: str | None = None,
    user: str | None = None,
    password_env: str | None = None,
) -> Server:
    """Where a table is: what is not said is that of the settings' store. Raises JobError."""
    store = settings.mariadb
    elsewhere = (host, port, user) != (None, None, None)
    try:
        return Server(
            host=host or store.host,
            port=port or store.port,
            database=database or store.database,
            user=user or store.user,
            # The store's password is for the store alone.
            password_env=password_env or (None if elsewhere else STORE_PASSWORD),
        )
    except ValidationError as error:
        raise JobError(f"The source can't be {host}:{port}: {error.errors()[0]['msg']}.") from None


def draft(settings: Settings, server: Server, table: str, path: Path) -> None:
    """Writes the job file at `path`; it overwrites nothing.

    Raises:
        JobError: the file exists or has no usable name, there is no such table, or it has no usable key.
        StoreError: the source does not answer, or does not let the user in.
    """
    job_name(path)
    if path.exists():
        raise JobError(f"{path} exists already and stays as it is: name another file with --out, or remove it.")
    with source_errors(server), connect(server, password_of(server, settings)) as connection:
        found = inspect(connection, table)
    if not found.keys:
        raise JobError(f"{found.name} has no primary key and no unique NOT NULL key to read it by: {keyless(found)}.")
    text = write(found, server, path, settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise JobError(f"{path} could not be written ({error.strerror}): name another file with --out.") from None


def write(table: SourceTable, server: Server, path: Path, settings: Settings) -> str:
    """The text of a job file for the table."""
    own = moves_readings(server, table.name, settings)
    time: Time | None
    if own:
        columns, time, places = readings_parts(load_schema(settings.reading.toml))
    else:
        time, places = _time(table), _places(table)
        columns = _columns(table, time, places)
    lines = [_head(table, server, path, "readings-yyyy.MM, as the live ones" if own else f"legacy-{path.stem}")]
    if time is not None:
        lines.append(_time_text(table, time))
    for name, place in places.items():
        entries = [f"{key} = {_toml(value)}" for key, value in place.model_dump(exclude_none=True).items()]
        lines.append("\n".join(["", f"[locations.{_key(name)}]", *entries, ""]))
    lines.append(_COLUMNS)
    lines += [f"{_column_line(table[name], options)}\n" for name, options in columns.items()]
    used = {*columns, *(name for place in places.values() for name in place.columns), time.column if time else ""}
    lines += [f"# left out: {_comment(column)}\n" for column in table.columns if column.name not in used]
    return "".join(lines)


def _head(table: SourceTable, server: Server, path: Path, index: str) -> str:
    password = (
        f"password_env = {_toml(server.password_env)}  # the variable that holds the password"
        if server.password_env
        else '# password_env = "SOURCE_PASSWORD"  # the variable that holds the password; here: that of the store'
    )
    return _HEAD.format(
        name=path.stem,
        table=table.name,
        database=table.database,
        index=index,
        path=path,
        host=_toml(server.host),
        port=server.port,
        database_text=_toml(server.database),
        table_text=_toml(table.name),
        user=_toml(server.user),
        password=password,
        key="[" + ", ".join(map(_toml, _key_of(table).columns)) + "]",
    )


def _key_of(table: SourceTable) -> Index:
    return table.keys[0]


def _time(table: SourceTable) -> Time | None:
    """The likeliest time column: named as one, or in the key, or never NULL, in this order."""
    candidates = [column for column in table.columns if kind_of(column) is Kind.DATETIME]
    key = _key_of(table).columns

    def likelihood(column: TableColumn) -> tuple[bool, bool, bool]:
        return (column.name.lower() not in _TIME_NAMES, column.name not in key, column.nullable)

    if not candidates:
        return None
    return Time(column=min(candidates, key=likelihood).name, zone="UTC")


def _time_text(table: SourceTable, time: Time) -> str:
    others = [c.name for c in table.columns if kind_of(c) is Kind.DATETIME and c.name != time.column]
    choice = f"  # {table[time.column].column_type}; or {', '.join(others)}" if others else ""
    return f"""
# When a row's event was. A DATETIME is a local time of this zone, such as "Europe/Madrid"; a TIMESTAMP is read in UTC.
[time]
column = {_toml(time.column)}{choice}
field = {_toml(time.field)}
zone = {_toml(time.zone)}
"""


def _places(table: SourceTable) -> dict[str, Place]:
    """Longitude and latitude columns by their names, and POINT columns; the first one becomes `location`."""
    found: list[tuple[str, Place]] = []
    numbers = {c.name.lower(): c.name for c in table.columns if kind_of(c) in (Kind.DOUBLE, Kind.DECIMAL)}
    for lower, name in numbers.items():
        match = _LONGITUDE.fullmatch(lower)
        latitude = next(
            (numbers[f"{match[1]}{lat}{match[3]}"] for lat in _LATITUDES if f"{match[1]}{lat}{match[3]}" in numbers)
            if match
            else iter(()),
            None,
        )
        if match and latitude:
            found.append(((match[1] + match[3]).strip("_ "), Place(longitude=name, latitude=latitude)))
    for column in table.columns:
        # One that is generated says what its columns say.
        if kind_of(column) is Kind.POINT and not (column.generated and found):
            found.append((column.name, Place(point=column.name)))
    places: dict[str, Place] = {}
    for name, place in found:
        places[_unused(_field_name(name) if places and name else "location", places)] = place
    return places


def _columns(table: SourceTable, time: Time | None, places: dict[str, Place]) -> dict[str, ColumnOptions]:
    elsewhere = {name for place in places.values() for name in place.columns} | ({time.column} if time else set())
    fields = [*places, *([time.field] if time else [])]
    columns = {}
    for column in table.columns:
        kind = kind_of(column)
        if column.name in elsewhere or kind in (None, Kind.POINT):
            continue
        name = _unused(_field_name(column.name), fields)
        fields.append(name)
        columns[column.name] = ColumnOptions(field=name)
    return columns


def _field_name(column: str) -> str:
    return column.replace(".", "_").lstrip("_ ").rstrip() or "field"


def _unused(name: str, taken: Sequence[str] | dict[str, Place]) -> str:
    candidates: Iterator[str] = (f"{name}_{number}" if number else name for number in [0, *range(2, 10_000)])
    return next(candidate for candidate in candidates if candidate not in taken)


def _column_line(column: TableColumn, options: ColumnOptions) -> str:
    said = {Kind.DECIMAL: 'decimal = "double"', Kind.BYTES: 'blob = "base64"'}
    extra = said.get(kind_of(column) or Kind.TEXT)
    field = _toml(options.field)
    value = f"{{ field = {field}, {extra} }}" if extra else field
    return f"{_key(column.name)} = {value}  # {_comment(column, named=False)}"


def _comment(column: TableColumn, named: bool = True) -> str:
    text = f"{column.name}, {column.column_type}" if named else column.column_type
    text = "JSON" if column.json and not named else text
    return "".join(character if character.isprintable() else "?" for character in text)[:100]


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _toml(name)


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
