"""Documents of a real MariaDB's rows: written by the server, by Python, and by the live path, and all the same."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from table_jobs import insert, job_of, layout_of, parsed, read
from waiting import await_true

from extraction.convert import Counts
from extraction.job import ColumnOptions, Job, Place, Time
from extraction.keys import KeyRange
from extraction.layout import Layout, readings_parts
from extraction.rows import Documents
from extraction.source import open_source
from maredata.decoder import Decoder
from maredata.errors import StoreError
from maredata.names import READINGS, index_of
from maredata.schema import load_schema

if TYPE_CHECKING:
    from databases import Database

pytest_plugins = ("databases",)

EARLIEST_STAMP, LATEST_STAMP = datetime(1970, 1, 1, 0, 0, 1), datetime(2038, 1, 19, 3, 14, 7)
EVERYTHING = r"""
CREATE OR REPLACE TABLE everything (
  id bigint unsigned PRIMARY KEY,
  tiny tinyint, small smallint unsigned, medium mediumint, whole int(8) zerofill, big bigint, huge bigint unsigned,
  price decimal(30, 10), cost decimal(20, 4), fee decimal(8, 3) zerofill, exact decimal(65, 30),
  f float, f2 float(7, 4), d double, d2 double(10, 3) zerofill, flag bit(1), bits bit(13), wide bit(64), yes tinyint(1),
  words varchar(200), old varchar(50) CHARACTER SET latin1, older varchar(50) CHARACTER SET utf8mb3,
  fixed char(5), body text, kind enum('a', 'b''s', 'c"q', 'é,ü'), marks set('a', 'b''s', 'c"q', 'é', '\\x'),
  j json, at datetime(6), at3 datetime(3), at0 datetime, madrid datetime(6),
  stamp timestamp(6) NULL, stamp0 timestamp NULL,
  day date, t time(6), t0 time, y year, raw blob, bin binary(4), varbin varbinary(20),
  spot point, lon double, lat decimal(9, 6), u uuid, ip inet6, measured datetime(6) NOT NULL, `na``me "x" \` int
) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
"""
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # each example asks a database
OPTIONS: dict[str, dict[str, Any]] = {
    "cost": {"decimal": "string"},
    "fee": {"decimal": "scaled_float"},
    "yes": {"type": "boolean"},
    "at": {"zone": "UTC"},
    "at3": {"zone": "America/Sao_Paulo"},
    'na`me "x" \\': {"field": 'odd "name" \\'},
}


def everything_job(database: Database, **parts: Any) -> Job:
    session = database.session()
    names = [
        row[0]
        for row in database.run(
            session, "SELECT column_name FROM information_schema.columns WHERE table_name = 'everything'"
        )
    ]
    used = {"lon", "lat", "measured"}
    columns = {name: ColumnOptions(**{"field": name, **OPTIONS.get(name, {})}) for name in names if name not in used}
    return job_of(
        database,
        "everything",
        ("id",),
        columns=columns,
        time=Time(column="measured", zone="Europe/Madrid"),
        locations={"location": Place(longitude="lon", latitude="lat")},
        **parts,
    )


# --- any value in any column ------------------------------------------------------------------------------------

texts = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["", "\x00\x01\x1f\x7f\x85\u2028", "\"\\\\'`%s|%", "line\nbreak\r\n", "é€ÿ😀𝄞", " trailing  ", "null"]
    ),
)
dates = st.one_of(
    st.datetimes().map(lambda moment: moment.isoformat(" ")),
    st.sampled_from(
        [
            *("0000-00-00 00:00:00", "2024-00-15 10:00:00", "2024-03-00 10:00:00", "2023-02-31 10:00:00"),
            *("0000-05-05 00:00:00", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "1970-01-01 00:00:00"),
            *("2024-03-31 01:59:59.999999", "2024-03-31 02:00:00", "2024-03-31 02:59:59.999999", "2024-03-31 03:00:00"),
            *("2024-10-27 01:59:59.999999", "2024-10-27 02:00:00", "2024-10-27 02:59:59.999999", "2024-10-27 03:00:00"),
            *("2018-11-04 00:30:00", "2018-02-17 23:30:00", "1899-12-31 23:59:59", "2100-07-01 12:00:00"),
        ]
    ),
)
instants = st.one_of(
    st.datetimes(min_value=EARLIEST_STAMP, max_value=LATEST_STAMP).map(lambda moment: moment.isoformat(" ")),
    st.just("0000-00-00 00:00:00"),
)
doubles = st.floats(allow_nan=False, allow_infinity=False)
decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**19), max_value=10**19).map(str)
jsons = st.one_of(
    st.recursive(
        st.none() | st.booleans() | st.integers() | doubles | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    ).flatmap(lambda value: st.sampled_from([json.dumps(value), json.dumps(value, indent=1, ensure_ascii=False)])),
    st.sampled_from(
        ["[1.]", '{"a": "\\x"}', "1.10", "1e400", "[0.1000, -0]", '"5. of May"', '{"a":\t1}', "[" * 32 + "]" * 32]
    ),
)
numbers: dict[str, tuple[int, int]] = {
    **{"tiny": (-(2**7), 2**7 - 1), "small": (0, 2**16 - 1), "medium": (-(2**23), 2**23 - 1), "whole": (0, 2**32 - 1)},
    **{"big": (-(2**63), 2**63 - 1), "huge": (0, 2**64 - 1), "flag": (0, 1), "bits": (0, 2**13 - 1)},
    **{"wide": (0, 2**64 - 1), "yes": (-1, 2), "y": (1901, 2155), 'na`me "x" \\': (-5, 5)},
}
times = st.sampled_from(["-838:59:59.999999", "838:59:59.999999", "-00:00:00.000001", "00:00:00", "25:00:00.5"])
points = st.tuples(doubles, doubles, st.sampled_from([0, 4326, 25830]))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    **{name: st.integers(low, high) for name, (low, high) in numbers.items()},
    **dict.fromkeys(("price", "cost", "exact"), decimals),
    "fee": st.decimals(0, 99_999, places=3).map(str),
    **dict.fromkeys(("f", "f2"), st.floats(width=32, allow_nan=False, allow_infinity=False)),
    "d": doubles,
    "d2": st.floats(0, 1e6),
    **dict.fromkeys(("words", "old", "older", "body"), texts),
    "fixed": st.text(max_size=5),
    "kind": st.sampled_from(["", "a", "b's", 'c"q', "é,ü"]),
    "marks": st.sets(st.sampled_from(["a", "b's", 'c"q', "é", "\\x"])).map(",".join),
    "j": jsons,
    **dict.fromkeys(("at", "at3", "at0", "madrid", "measured"), dates),
    **dict.fromkeys(("stamp", "stamp0"), instants),
    "day": dates.map(lambda text: text[:10]),
    **dict.fromkeys(("t", "t0"), times),
    **dict.fromkeys(("raw", "varbin"), st.binary(max_size=100)),
    "bin": st.binary(max_size=4),
    "spot": points,
    "lon": st.floats(-180, 180),
    "lat": st.decimals(-90, 90, places=6).map(str),
    "u": st.uuids().map(str),
    "ip": st.ip_addresses().map(str),
}
any_row = st.fixed_dictionaries(
    {name: (values if name == "measured" else st.none() | values) for name, values in VALUES.items()}
)


# What chance finds too rarely.
EDGES: list[dict[str, Any]] = [
    {
        "raw": bytes(range(256)),
        "words": '\x00\x01\b\t\n\v\f\r\x1f"\\\\/\x7f\x85\u2028😀',
        "old": "é€ÿ",
        "spot": (1.5, -2.0, 0),
    },
    {
        "j": '{\n "a": [1, 2.50],\r\n "b": "x\\\\ny"}',
        "f": 42.488629,
        "d": 1e-7,
        "huge": 2**64 - 1,
        "spot": (3.185785, 42.488629, 4326),
    },
    {"j": "[1]", "spot": (1.5, -2.0, 25830)},
    {"j": "[1.]", "d": 1.7976931348623157e308, "big": -(2**63), "marks": "", "kind": "", "wide": 2**64 - 1},
    {"j": '["\\\\x"]', "d": 5e-324, "t": "-838:59:59.999999", "whole": 42, "fee": "0.5", "raw": b"", "lon": 1.5},
    {"j": '"5. of May"', "lat": "1.5", "y": 0, "day": "2024-02-00", "price": "12345678901234567890.1234567891"},
    {
        "at3": "2018-11-04 00:30:00",
        "at0": "2024-10-27 02:30:00",
        "stamp": "0000-00-00 00:00:00",
        "lon": 1.5,
        "lat": "2.5",
    },
]


@pytest.fixture(scope="module")
def everything(mariadb: Database) -> Layout:
    mariadb.run(mariadb.session(), EVERYTHING)
    return layout_of(mariadb, everything_job(mariadb))


@settings(max_examples=60, phases=NO_SHRINKING, suppress_health_check=list(HealthCheck))
@example(rows=[{"measured": "2024-01-01 00:00:00", **row} for row in EDGES])
@given(rows=st.lists(any_row, min_size=1, max_size=8))
def test_server_and_python_write_the_same_documents(
    mariadb: Database, everything: Layout, rows: list[dict[str, Any]]
) -> None:
    session = mariadb.session()
    mariadb.run(session, "TRUNCATE TABLE everything")
    insert(mariadb, session, "everything", rows)
    ((stored,),) = mariadb.run(session, "SELECT COUNT(*) FROM everything")  # MariaDB checks JSON by itself
    session.close()
    by_server, aside, counts = read(mariadb, everything)
    by_python, python_aside, python_counts = read(mariadb, everything, "python")
    ours, theirs = parsed(by_server), parsed(by_python)
    for name in ours.keys() & theirs.keys():
        for field in ours[name].keys() | theirs[name].keys():
            pair = ours[name].get(field), theirs[name].get(field)
            assert pair[0] == pair[1], field
    assert ours.keys() == theirs.keys()
    assert sorted(aside) == sorted(python_aside)
    assert counts == python_counts
    assert counts.documents + counts.set_aside == stored


# --- times --------------------------------------------------------------------------------------------------------

MADRID = (
    # local, UTC: None where the clocks left it out
    ("2024-03-31 01:59:59.999999", "2024-03-31 00:59:59.999999"),
    ("2024-03-31 02:00:00.000000", None),
    ("2024-03-31 02:59:59.999999", None),
    ("2024-03-31 03:00:00.000000", "2024-03-31 01:00:00.000000"),
    ("2024-10-27 01:59:59.999999", "2024-10-26 23:59:59.999999"),
    ("2024-10-27 02:00:00.000000", "2024-10-27 00:00:00.000000"),
    ("2024-10-27 02:59:59.999999", "2024-10-27 00:59:59.999999"),
    ("2024-10-27 03:00:00.000000", "2024-10-27 02:00:00.000000"),
)


@pytest.mark.parametrize("path", ["sql", "python"])
def test_a_change_of_the_clocks(mariadb: Database, path: str) -> None:
    session = mariadb.session()
    mariadb.run(session, "CREATE OR REPLACE TABLE clocks (id int PRIMARY KEY, at datetime(6))")
    insert(mariadb, session, "clocks", [{"at": local} for local, _ in MADRID])
    job = job_of(mariadb, "clocks", ("id",), time=Time(column="at", zone="Europe/Madrid"))
    documents, aside, counts = read(mariadb, layout_of(mariadb, job), path)
    expected = {str(number): {"timestamp": utc} for number, (_, utc) in enumerate(MADRID) if utc}
    assert parsed(documents) == expected
    assert sorted(row.key for row in aside) == [(1,), (2,)]
    assert all("never showed 2024-03-31 02:" in row.reason for row in aside)
    assert (counts.ambiguous_times, counts.nonexistent_times, counts.set_aside) == (2, 2, 2)


def test_the_servers_zone_tables_are_not_needed(mariadb: Database) -> None:
    ((answer,),) = mariadb.run(mariadb.session(), "SELECT CONVERT_TZ('2024-01-01', 'Europe/Madrid', 'UTC')")
    assert answer is None, "with zone tables this server could not show it"


def test_rows_between_two_instants(mariadb: Database) -> None:
    session = mariadb.session()
    mariadb.run(session, "CREATE OR REPLACE TABLE clocks (id int PRIMARY KEY, at datetime(6))")
    insert(mariadb, session, "clocks", [{"at": local} for local, _ in MADRID])
    job = job_of(mariadb, "clocks", ("id",), time=Time(column="at", zone="Europe/Madrid"))
    midnight = 1_729_987_200_000_000  # 2024-10-27 00:00 UTC
    found, _, _ = read(mariadb, layout_of(mariadb, job), since=midnight, until=midnight + 7_200_000_000)
    assert sorted(document.id for document in found) == ["5", "6"]
    found, _, _ = read(mariadb, layout_of(mariadb, job), where="id % 2 = 1", since=midnight)
    assert sorted(document.id for document in found) == ["5", "7"]


def test_zero_dates_are_left_out_and_counted(mariadb: Database) -> None:
    session = mariadb.session()
    mariadb.run(
        session, "CREATE OR REPLACE TABLE zeros (id int PRIMARY KEY, a date NOT NULL, b datetime, c timestamp NULL)"
    )
    zero = {"a": "0000-00-00", "b": "0000-00-00", "c": "0000-00-00"}
    rows: list[dict[str, Any]] = [
        zero,
        {"a": "2024-00-01", "b": "2023-02-30", "c": None},
        {"a": "2024-01-01", "b": None, "c": None},
    ]
    insert(mariadb, session, "zeros", rows)
    job = job_of(mariadb, "zeros", ("id",), columns={name: ColumnOptions(field=name) for name in "abc"})
    documents, _, counts = read(mariadb, layout_of(mariadb, job))
    assert parsed(documents) == {"0": {}, "1": {}, "2": {"a": "2024-01-01"}}
    assert counts == Counts(documents=3, zero_dates=5)


# --- readings: history beside the live path -----------------------------------------------------------------------

LINES = (
    '{"timestamp": "2024-01-21 10:06:04.095931", "temperature": 20.9, "humidity": 59.22, "pressure": 1001.87,'
    ' "sensor_id": 1, "location": {"lon": 3.185785, "lat": 42.488629}}',
    '{"sensor_id": 2, "timestamp": "2024-01-31T23:59:59.9999999Z", "seq": 9223372036854775807, "temperature": null}',
    '{"sensor_id": 2, "timestamp": "2024-02-01 01:00:00+01:00", "humidity": 1e-7, "pressure": -1.7976931348623157e308}',
    '{"sensor_id": 3, "timestamp": "1990-01-01 00:00:00", "temperature": 0.30000000000000004, "location": null}',
)
live_readings = st.lists(
    st.fixed_dictionaries(
        {
            "sensor_id": st.integers(0, 2**63 - 1),
            "timestamp": st.datetimes(datetime(1990, 1, 1), datetime(2262, 4, 11)).map(str),
        },
        optional={
            "temperature": st.none() | st.floats(-273.15, 1000),
            "humidity": st.none() | doubles,
            "pressure": st.none() | doubles | st.integers(-(2**53), 2**53),
            "seq": st.none() | st.integers(0, 2**63 - 1),
            "location": st.none() | st.fixed_dictionaries({"lon": st.floats(-180, 180), "lat": st.floats(-90, 90)}),
        },
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda reading: (reading["sensor_id"], reading["timestamp"]),
).map(lambda readings: [json.dumps(reading) for reading in readings])


def readings_layout(database: Database) -> Layout:
    schema = load_schema(database.settings.reading.toml)
    database.run(database.session(), schema.create_table(READINGS))
    columns, time, places = readings_parts(schema)
    job = job_of(database, READINGS, ("sensor_id", "timestamp"), columns=columns, time=time, locations=places)
    return layout_of(database, job)


@settings(max_examples=20, phases=NO_SHRINKING, suppress_health_check=list(HealthCheck))
@given(lines=st.just(list(LINES)) | live_readings)
def test_history_is_written_as_the_live_path_writes_it(mariadb: Database, lines: list[str]) -> None:
    found = readings_layout(mariadb)
    assert found.readings
    schema = load_schema(mariadb.settings.reading.toml)
    session = mariadb.session()
    mariadb.run(session, f"TRUNCATE TABLE {READINGS}")
    live = {}
    for line in lines:
        reading = Decoder(schema).decode(line.encode())
        content = json.loads(reading.line)
        live[reading.id] = (
            index_of(reading.micros),
            {name: value for name, value in content.items() if value is not None},
        )
        place = content.pop("location", None) or {}
        row = {**content, "location_lon": place.get("lon"), "location_lat": place.get("lat")}
        with session.cursor() as cursor:
            names = ", ".join(row)
            cursor.execute(f"INSERT INTO {READINGS} ({names}) VALUES ({', '.join(['%s'] * len(row))})", [*row.values()])
    for path in ("sql", "python"):
        documents, aside, _ = read(mariadb, found, path)
        assert {d.id: (d.index, json.loads(d.source)) for d in documents} == live
        assert not aside
        for document in documents:
            assert Decoder(schema).decode(document.source).id == document.id


def test_history_never_overwrites_and_others_do_by_version(mariadb: Database) -> None:
    found = readings_layout(mariadb)
    session = mariadb.session()
    mariadb.run(
        session,
        f"TRUNCATE TABLE {READINGS}",
        f"INSERT INTO {READINGS} (sensor_id, timestamp) VALUES (1, '2024-01-21 10:06:04.095931')",
        "CREATE OR REPLACE TABLE clocks (id int PRIMARY KEY, at datetime(6))",
        "INSERT INTO clocks VALUES (5, '2024-01-01')",
    )
    other = layout_of(mariadb, job_of(mariadb, "clocks", ("id",), time=Time(column="at", zone="UTC")))
    with open_source(other.job, mariadb.settings) as connection:
        (page,) = Documents(found).pages(connection, KeyRange())
        assert page.lines[0].split(b"\n")[0] == (b'{"create":{"_index":"readings-2024.01","_id":"1-1705831564095931"}}')
        assert page.body == page.lines[0] + b"\n"
        for path in ("sql", "python"):
            same = replace(other, job=other.job.model_copy(update={"path": path}))
            (page,) = Documents(same).pages(connection, KeyRange(), version=7)
            assert page.lines[0].split(b"\n")[0] == (
                b'{"index":{"_index":"legacy-trial","_id":"5","version":7,"version_type":"external_gte"}}'
            )


def test_a_row_that_is_no_reading_is_set_aside(mariadb: Database) -> None:
    found = readings_layout(mariadb)
    times = (
        "0000-00-00 00:00:00",
        "1969-12-31 23:59:59.999999",
        "2262-04-11 23:47:16.854776",
        "2262-04-11 23:47:16.854775",
    )
    session = mariadb.session()
    mariadb.run(session, f"TRUNCATE TABLE {READINGS}")
    mariadb.run(
        session, *(f"INSERT INTO {READINGS} (sensor_id, timestamp) VALUES (1, '{instant}')" for instant in times)
    )
    for path in ("sql", "python"):
        documents, aside, counts = read(mariadb, found, path)
        assert [document.id for document in documents] == ["1-9223372036854775"]
        assert [row.key[1] for row in aside] == ["0000-00-00 00:00:00.000000", *times[1:3]]
        assert counts.set_aside == 3


# --- what the server's configuration must not change ---------------------------------------------------------------


def test_a_servers_sql_mode_changes_nothing(mariadb: Database, everything: Layout) -> None:
    session, admin = mariadb.session(), mariadb.admin()
    mariadb.run(session, "TRUNCATE TABLE everything")
    rows = [
        {
            "measured": "2024-01-01",
            "stamp": "2024-06-01 12:00:00",
            "words": "a\\'\"`\n%s",
            "raw": bytes(range(256)),
            "j": '["\\\\"]',
            "marks": 'c"q,\\x',
        }
    ]
    insert(mariadb, session, "everything", rows)
    before, _, _ = read(mariadb, everything)
    ((mode,),) = mariadb.run(admin, "SELECT @@GLOBAL.sql_mode")
    try:
        modes = "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,PAD_CHAR_TO_FULL_LENGTH,NO_ZERO_DATE,NO_ZERO_IN_DATE"
        mariadb.run(admin, f"SET GLOBAL sql_mode = '{modes}'", "SET GLOBAL time_zone = '+05:00'")
        after, _, _ = read(mariadb, everything)
    finally:
        mariadb.run(admin, f"SET GLOBAL sql_mode = '{mode}'", "SET GLOBAL time_zone = '+00:00'")
    assert before == after
    assert parsed(after)["0"]["words"] == rows[0]["words"]


def test_a_text_above_max_allowed_packet_is_not_lost(mariadb: Database) -> None:
    session, admin = mariadb.session(), mariadb.admin()
    mariadb.run(
        session,
        "CREATE OR REPLACE TABLE long_texts (id int PRIMARY KEY, a longtext)",
        *(
            f"INSERT INTO long_texts VALUES ({number}, REPEAT('\"', {size}))"
            for number, size in ((1, 10), (2, 20_000_000))
        ),
    )
    job = job_of(mariadb, "long_texts", ("id",), columns={"a": ColumnOptions(field="a")})
    try:
        mariadb.run(admin, "SET GLOBAL max_allowed_packet = 33554432")
        documents, _, counts = read(mariadb, layout_of(mariadb, job))
    finally:
        mariadb.run(admin, "SET GLOBAL max_allowed_packet = 67108864")
    assert {document.id: len(json.loads(document.source)["a"]) for document in documents} == {"1": 10, "2": 20_000_000}
    assert counts.documents == 2


def test_pages_are_small_and_can_be_left(mariadb: Database) -> None:
    mariadb.run(
        mariadb.session(),
        "CREATE OR REPLACE TABLE many (id int PRIMARY KEY, a mediumtext)",
        "INSERT INTO many SELECT seq, REPEAT('x', IF(seq > 1000, 100000, 10)) FROM seq_1_to_1500",
    )
    found = layout_of(mariadb, job_of(mariadb, "many", ("id",), columns={"a": ColumnOptions(field="a")}))
    with open_source(found.job, mariadb.settings) as connection:
        sizes = [len(page.lines) for page in Documents(found).pages(connection, KeyRange(), size=500)]
        assert sum(sizes) == 1_500
        assert max(sizes) <= 500, "at most so many rows"
        assert len(sizes) >= 4, "and fewer where they are large"
        thread, admin = connection.connection_id, mariadb.admin()
        pages = Documents(found).pages(connection, KeyRange(), size=100)
        next(pages)
        pages.close()
        await_true(
            lambda: all(row[0] != thread for row in mariadb.run(admin, "SHOW PROCESSLIST")),
            what="the session is closed: its other rows are still on the wire",
            seconds=20,
        )


def test_a_source_that_goes_away_is_named(mariadb: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    mariadb.run(mariadb.session(), "CREATE OR REPLACE TABLE many (id int PRIMARY KEY)")
    job = job_of(mariadb, "many", ("id",), columns={"id": ColumnOptions(field="id")})
    found = layout_of(mariadb, job)
    connection = open_source(job, mariadb.settings)
    mariadb.run(mariadb.admin(), f"KILL {connection.connection_id}")
    with pytest.raises(StoreError, match="could not be asked"):
        list(Documents(found).pages(connection, KeyRange()))
    monkeypatch.setenv("WRONG_PASSWORD", "x")
    for change, sentence in (({"port": 1}, "is it running there"), ({"user": "root"}, "does not let root read")):
        source = job.source.model_copy(update={"password_env": "WRONG_PASSWORD", **change})
        with pytest.raises(StoreError, match=sentence):
            open_source(job.model_copy(update={"source": source}), mariadb.settings)


def test_a_jobs_session_writes_nothing(mariadb: Database) -> None:
    job = job_of(mariadb, "clocks", ("id",), time=Time(column="at", zone="UTC"))
    with open_source(job, mariadb.settings) as connection, pytest.raises(Exception, match="READ ONLY"):
        mariadb.run(connection, "CREATE TABLE x (id int)")
