"""What a table's columns become: kinds, mappings, and the job file that is drafted for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from extraction.draft import draft, write
from extraction.job import ColumnOptions, Job, JobError, Place, Server, Source, Time, load_job
from extraction.layout import Kind, layout, readings_parts
from extraction.selection import Select
from extraction.source import Index, SourceTable, TableColumn
from extraction.target import index_pattern, index_template, mapping, needs_modules
from maredata.schema import load_schema
from maredata.settings import CHECKOUT, Settings

SCHEMA = load_schema(CHECKOUT / "maredata" / "reading.toml")


def column(name: str, column_type: str, nullable: bool = True, **more: Any) -> TableColumn:
    data_type = column_type.split("(", maxsplit=1)[0].split(maxsplit=1)[0]
    return TableColumn(name, data_type, column_type, nullable, **more)


ID = column("id", "int(11)", False)
COLUMNS = (
    ID,
    column("huge", "bigint(20) unsigned"),
    column("price", "decimal(10,2)", scale=2),
    column("f", "float"),
    column("flag", "bit(1)", precision=1),
    column("bits", "bit(64)", precision=64),
    column("name", "varchar(20)", octets=80, charset="utf8mb4"),
    column("essay", "text", octets=65535, charset="latin1"),
    column("marks", "set('a','b')", octets=12, charset="utf8mb4"),
    column("doc", "longtext", octets=2**32 - 1, charset="utf8mb4", json=True),
    column("_at", "datetime(6)", digits=6),
    column("at0", "datetime"),
    column("day", "date"),
    column("photo", "longblob"),
    column("area", "polygon"),
    column("gps_lon", "double"),
    column("gps_lat", "double"),
    column("spot", "point"),
    column("timestamp", "timestamp", False),
)
TABLE = SourceTable("shop", "orders", "11.4.5-MariaDB", COLUMNS, (Index("PRIMARY", ("id",)),), 7)
SERVER = Server(host="db.example", database="shop", user="u", password_env="P")  # noqa: S106  # a variable's name


def job(**parts: Any) -> Job:
    return Job(name="j", source=Source(database="shop", table="orders", user="u", key=("id",)), **parts)


def columns(**options: dict[str, Any]) -> dict[str, ColumnOptions]:
    return {name: ColumnOptions(**{"field": name, **given}) for name, given in options.items()}


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("id", {}, {"type": "long", "coerce": False}),
        ("huge", {}, {"type": "unsigned_long"}),
        ("price", {}, {"type": "double", "coerce": False}),
        ("price", {"decimal": "scaled_float"}, {"type": "scaled_float", "scaling_factor": 100, "coerce": False}),
        ("price", {"decimal": "string"}, {"type": "keyword"}),
        ("flag", {}, {"type": "boolean"}),
        ("bits", {}, {"type": "unsigned_long"}),
        ("name", {}, {"type": "keyword", "ignore_above": 8191}),
        ("name", {"type": "ip"}, {"type": "ip"}),
        ("essay", {}, {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}),
        ("doc", {}, {"type": "object", "enabled": False}),
        ("photo", {}, {"type": "binary"}),
    ],
)
def test_a_columns_mapping(name: str, options: dict[str, Any], expected: dict[str, Any]) -> None:
    found = mapping(layout(job(columns=columns(**{name: options})), TABLE))
    assert found == {"dynamic": False, "properties": {name: expected}}


def test_times_keep_their_digits() -> None:
    found = layout(job(columns=columns(_at={"field": "at"}, at0={}, day={})), TABLE)
    assert [field.mapping["type"] for field in found.fields] == ["date_nanos", "date", "date"]


def test_zones_are_those_of_datetimes_alone() -> None:
    chosen = columns(_at={"field": "at", "zone": "UTC"}, timestamp={"field": "stamp"})
    found = layout(job(columns=chosen, time=Time(column="at0", zone="Europe/Madrid")), TABLE)
    assert {field.name: field.zone for field in found.fields} == {
        "at": "UTC",
        "stamp": "UTC",
        "timestamp": "Europe/Madrid",
    }


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"columns": columns(nothing={})}, "has no column nothing"),
        ({"columns": columns(area={})}, "a polygon, which can't be moved"),
        ({"columns": columns(name={"decimal": "string"})}, "decimal means nothing for column name"),
        ({"columns": columns(name={"blob": "omit"})}, "blob means nothing for column name"),
        ({"columns": columns(price={"factor": 10})}, "factor of column price needs"),
        ({"columns": columns(name={"type": "geo_point"})}, "column name can't have the type geo_point"),
        ({"columns": columns(timestamp={"zone": "Europe/Madrid", "field": "x"})}, "has no zone"),
        ({"time": Time(column="timestamp", zone="Europe/Madrid")}, 'write zone = "UTC"'),
        ({"time": Time(column="name", zone="UTC")}, "name a DATETIME, TIMESTAMP or DATE column"),
        ({"locations": {"location": Place(point="gps_lon")}}, "needs a POINT"),
        ({"locations": {"location": Place(longitude="name", latitude="gps_lat")}}, "needs a number"),
    ],
)
def test_what_does_not_fit_is_named(parts: dict[str, Any], sentence: str) -> None:
    with pytest.raises(JobError) as caught:
        layout(job(**parts), TABLE)
    assert sentence in str(caught.value)


def test_a_table_without_a_key_is_refused_with_advice() -> None:
    chosen = job(columns=columns(id={}))
    with pytest.raises(JobError, match="ADD COLUMN id BIGINT UNSIGNED"):
        layout(chosen, dataclasses.replace(TABLE, keys=()))
    with pytest.raises(JobError, match=r"write key = \[name\]"):
        layout(chosen, dataclasses.replace(TABLE, keys=(Index("by_name", ("name",)),)))
    source = chosen.source.model_copy(update={"key": ("f",)})
    with pytest.raises(JobError, match="can't be walked by key column f, a float"):
        layout(chosen.model_copy(update={"source": source}), dataclasses.replace(TABLE, keys=(Index("k", ("f",)),)))


def test_a_blob_can_be_left_out() -> None:
    found = layout(job(columns=columns(id={}, photo={"blob": "omit"})), TABLE)
    assert [field.name for field in found.fields] == ["id"]
    assert "photo" in found.left_out


def test_a_job_has_an_index_of_its_own() -> None:
    found = layout(job(columns=columns(id={})), TABLE)
    template = index_template(found, Settings())
    assert template is not None
    assert template["index_patterns"] == [index_pattern(found)] == ["legacy-j"]
    assert template["template"]["mappings"] == mapping(found)
    assert needs_modules(layout(job(columns=columns(id={}, huge={})), TABLE)) == ("huge",)


def test_a_time_needs_a_time_column() -> None:
    with pytest.raises(JobError, match="has no \\[time\\] column"):
        Select(layout(job(columns=columns(id={})), TABLE), since=0)


# --- the store's own readings -----------------------------------------------------------------------------------

READINGS = SourceTable(
    "observatory",
    "readings",
    "11.4.5-MariaDB",
    tuple(
        column(name, kind, name not in ("sensor_id", "timestamp"), digits=6 * (name == "timestamp"))
        for name, kind in [*SCHEMA.columns(), ("location", "point")]
    ),
    (Index("PRIMARY", ("sensor_id", "timestamp")),),
    0,
)


def test_readings_are_written_as_the_live_path_does_or_not_at_all() -> None:
    chosen, time, places = readings_parts(SCHEMA)
    source = Source(database="observatory", table="readings", user="u", key=("sensor_id", "timestamp"))
    right = Job(name="history", source=source, columns=chosen, time=time, locations=places)
    found = layout(right, READINGS, SCHEMA)
    assert found.readings
    assert mapping(found)["properties"] == SCHEMA.mapping_properties()
    assert index_pattern(found) == "readings-*"
    assert index_template(found, Settings()) is None
    changes: tuple[dict[str, Any], ...] = (
        {"columns": {**chosen, "temperature": ColumnOptions(field="temp")}},
        {"columns": {name: options for name, options in chosen.items() if name != "seq"}},
        {"time": Time(column="timestamp", zone="Europe/Madrid")},
        {"locations": {}},
    )
    for change in changes:
        with pytest.raises(JobError, match="extract init readings"):
            layout(right.model_copy(update=change), READINGS, SCHEMA)


# --- the first draft --------------------------------------------------------------------------------------------


def test_a_draft_is_a_job_that_fits_its_table(tmp_path: Path) -> None:
    path = tmp_path / "orders.toml"
    path.write_text(write(TABLE, SERVER, path, Settings()), "utf-8")
    drafted = load_job(path)
    found = layout(drafted, TABLE)
    assert drafted.source.key == ("id",)
    assert drafted.time == Time(column="timestamp", field="timestamp", zone="UTC")
    assert drafted.locations == {
        "location": Place(longitude="gps_lon", latitude="gps_lat"),
        "spot": Place(point="spot"),
    }
    assert drafted.columns["_at"].field == "at"
    assert found.left_out == ("area",)
    assert "# left out: area, polygon" in path.read_text("utf-8")
    assert {field.kind for field in found.fields} == set(Kind) - {Kind.TIME}


def test_a_draft_of_readings_is_that_of_the_live_path(tmp_path: Path) -> None:
    settings = Settings()
    path = tmp_path / "history.toml"
    store = settings.mariadb
    server = Server(host=store.host, port=store.port, database=store.database, user=store.user)
    path.write_text(write(READINGS, server, path, settings), "utf-8")
    assert layout(load_job(path), READINGS, SCHEMA).readings


def test_a_draft_of_odd_names_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    odd = ("a b", 'q"uote', "dot.ted", "dot_ted", "new\nline", "back\\slash", "timestamp", "é")
    made = tuple(column(name, "int(11)") for name in odd)
    table = dataclasses.replace(TABLE, columns=(ID, *made, column("at", "datetime")))
    path.write_text(write(table, SERVER, path, Settings()), "utf-8")
    found = load_job(path)
    assert [*found.columns] == ["id", *odd]
    assert found.columns["timestamp"].field == "timestamp_2"
    assert len({options.field for options in found.columns.values()}) == len(odd) + 1


def test_a_draft_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "orders.toml"
    path.write_text("mine", "utf-8")
    with pytest.raises(JobError, match="exists already"):
        draft(Settings(), SERVER, "orders", path)
    assert path.read_text("utf-8") == "mine"
