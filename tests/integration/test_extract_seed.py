"""`mare seed-history` on a real MariaDB: what is made, twice, cut short, and beside what others made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from waiting import await_true

from extraction import seed
from extraction.seed import Options, Report, SeedError, seed_history
from extraction.seed_shape import LEGACY_ZONE
from maredata.errors import StoreError
from maredata.names import FIRST_DEMO_SENSOR, READINGS
from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT, as_environment

if TYPE_CHECKING:
    from databases import Database

pytest_plugins = ("databases",)

LEGACY = "legacy_readings"
SMALL = Options(steps=1440, buoys=5)  # a day
SUM = "SELECT COUNT(*), SUM(CRC32(CONCAT_WS(',', {})))"


@pytest.fixture
def session(mariadb: Database) -> Iterator[Any]:
    """On a database without the tables that are filled here."""
    connection = mariadb.admin()
    mariadb.run(connection, f"DROP TABLE IF EXISTS {READINGS}, {LEGACY}")
    yield connection
    mariadb.run(connection, f"DROP TABLE IF EXISTS {READINGS}, {LEGACY}")
    connection.close()


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seed, "_PORTION", 1000)


def schema_of(database: Database) -> Schema:
    return load_schema(database.settings.reading.toml)


def fill(database: Database, options: Options, portions: int | None = None, schema: Schema | None = None) -> Report:
    """Ends after so many portions."""
    seen: list[int] = []
    return seed_history(
        database.settings,
        schema or schema_of(database),
        options,
        lambda: portions is not None and len(seen) >= portions,
        lambda done, _rows: seen.append(done),
    )


def content(database: Database, session: Any, table: str) -> tuple[Any, ...]:
    """A sum over all but the row's own number."""
    names = [
        name
        for (name,) in database.run(
            session,
            "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE()"
            f" AND table_name = '{table}' AND column_name <> 'id' AND extra NOT LIKE '%GENERATED%'",
        )
    ]
    found: tuple[Any, ...] = database.run(session, f"{SUM.format(', '.join(names))} FROM {table}")[0]
    return found


def test_readings_are_plausible_and_no_identity_comes_twice(mariadb: Database, session: Any) -> None:
    report = fill(mariadb, SMALL)
    assert report.complete and (report.rows, report.found, report.made) == (7200, 0, 7200)
    ((rows, first, last, begin, end, odd),) = mariadb.run(
        session,
        "SELECT COUNT(DISTINCT sensor_id, timestamp), MIN(sensor_id), MAX(sensor_id), MIN(timestamp), MAX(timestamp),"
        f" COUNT(DISTINCT MICROSECOND(timestamp)) FROM {READINGS}",
    )
    assert (rows, first, last) == (7200, FIRST_DEMO_SENSOR, FIRST_DEMO_SENSOR + 4)
    assert str(begin) >= report.begin and str(end) < report.end and odd > 6000, "no microseconds"
    for field in schema_of(mariadb).fields:
        if field.plausible is not None:
            low, high, different = mariadb.run(
                session, f"SELECT MIN({field.name}), MAX({field.name}), COUNT(DISTINCT {field.name}) FROM {READINGS}"
            )[0]
            assert field.plausible[0] < low < high < field.plausible[1] and different > 50, field.name
    ((afternoon, night),) = mariadb.run(
        session,
        "SELECT AVG(IF(HOUR(timestamp) BETWEEN 12 AND 16, temperature, NULL)),"
        f" AVG(IF(HOUR(timestamp) BETWEEN 0 AND 4, temperature, NULL)) FROM {READINGS}",
    )
    assert afternoon > night + 3
    places = mariadb.run(
        session, f"SELECT MAX(location_lon) - MIN(location_lon), MIN(location_lat) FROM {READINGS} GROUP BY sensor_id"
    )
    assert len(places) == 5 and all(0 < moved < 0.002 and 42 < lat < 43 for moved, lat in places)


def test_a_second_run_makes_nothing(mariadb: Database, session: Any) -> None:
    for table in (READINGS, LEGACY):
        options = Options(SMALL.steps, SMALL.buoys, table=table)
        fill(mariadb, options)
        before = content(mariadb, session, table)
        report = fill(mariadb, options)
        assert report.complete and (report.found, report.made) == (7200, 0)
        assert content(mariadb, session, table) == before


@pytest.mark.usefixtures("small_portions")
@pytest.mark.parametrize("table", [READINGS, LEGACY])
def test_one_that_was_stopped_goes_on_and_makes_the_same(mariadb: Database, session: Any, table: str) -> None:
    options = Options(SMALL.steps, SMALL.buoys, table=table)
    fill(mariadb, options)
    whole = content(mariadb, session, table)
    mariadb.run(session, f"DROP TABLE {table}")
    report = fill(mariadb, options, portions=3)
    assert not report.complete and report.made == 3000
    report = fill(mariadb, options)
    assert report.complete and (report.found, report.made) == (3000, 4200)
    assert content(mariadb, session, table) == whole


@pytest.mark.parametrize("table", [READINGS, LEGACY])
def test_one_that_was_killed_goes_on(mariadb: Database, session: Any, table: str) -> None:
    command = [sys.executable, "-m", "maredata.cli", "seed-history", "--days", "3", "--buoys", "50", "--table", table]
    environment = {**os.environ, **as_environment(mariadb.settings)}
    killed = subprocess.Popen([*command, "--json"], cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE)

    def some() -> bool:
        there = mariadb.run(session, f"SELECT 1 FROM information_schema.tables WHERE table_name = '{table}'")
        return bool(there and mariadb.run(session, f"SELECT 1 FROM {table} LIMIT 1"))

    await_true(some, what="a first portion")
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    done = subprocess.run([*command, "--json"], cwd=CHECKOUT, env=environment, capture_output=True, check=True)
    report = json.loads(done.stdout)
    assert report["complete"] and report["rows"] == 216_000 and report["found"] >= 50_000
    assert content(mariadb, session, table)[0] == 216_000


def test_a_signal_ends_it_after_a_portion(mariadb: Database, session: Any) -> None:
    command = [sys.executable, "-m", "maredata.cli", "seed-history", "--days", "365", "--buoys", "20", "--json"]
    environment = {**os.environ, **as_environment(mariadb.settings)}
    running = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE)
    there = f"SELECT 1 FROM information_schema.tables WHERE table_name = '{READINGS}'"
    await_true(lambda: bool(mariadb.run(session, there)), what="the table")
    await_true(lambda: bool(mariadb.run(session, f"SELECT 1 FROM {READINGS} LIMIT 1")), what="a first portion")
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=60)
    report = json.loads(said)
    assert running.returncode == 1 and not report["complete"]
    assert content(mariadb, session, READINGS)[0] == report["made"] > 0


def test_a_table_with_real_readings_is_left_alone(mariadb: Database, session: Any) -> None:
    mariadb.run(session, schema_of(mariadb).create_table(READINGS))
    mariadb.run(session, f"INSERT INTO {READINGS} (sensor_id, timestamp) VALUES (900000, '2024-01-21 10:06:04.095931')")
    with pytest.raises(SeedError, match=r"real sensors \(sensor_id 900000\)"):
        fill(mariadb, SMALL)
    assert mariadb.run(session, f"SELECT COUNT(*) FROM {READINGS}") == [(1,)]


def test_live_readings_of_emulated_buoys_stay_as_they_are(mariadb: Database, session: Any) -> None:
    fill(mariadb, SMALL)
    mariadb.run(session, f"DELETE FROM {READINGS} WHERE seq > 5", f"UPDATE {READINGS} SET temperature = 99")
    mariadb.run(session, f"INSERT INTO {READINGS} (sensor_id, timestamp) VALUES (900001, NOW(6))")
    report = fill(mariadb, SMALL)
    assert report.complete and report.made == 7200
    assert mariadb.run(session, f"SELECT COUNT(*), SUM(temperature = 99) FROM {READINGS}") == [(7201, 30)]


def test_a_table_of_somebody_elses_is_left_alone(mariadb: Database, session: Any) -> None:
    mariadb.run(session, f"CREATE TABLE {LEGACY} (id INT PRIMARY KEY) COMMENT = 'stations'")
    with pytest.raises(SeedError, match="was not made by"):
        fill(mariadb, Options(10, 2, table=LEGACY))
    assert mariadb.run(session, f"SELECT COUNT(*) FROM {LEGACY}") == [(0,)]
    mariadb.run(session, f"DROP TABLE {LEGACY}", f"CREATE VIEW {LEGACY} AS SELECT 1")
    try:
        with pytest.raises(SeedError, match="is a view"):
            fill(mariadb, Options(10, 2, table=LEGACY))
    finally:
        mariadb.run(session, f"DROP VIEW {LEGACY}")


@pytest.mark.parametrize(("table", "remedy"), [(READINGS, "mare demo remove"), (LEGACY, f"DROP TABLE {LEGACY}")])
def test_other_history_beside_what_is_there_is_refused(
    mariadb: Database, session: Any, table: str, remedy: str
) -> None:
    fill(mariadb, Options(100, 2, table=table))
    with pytest.raises(SeedError, match=rf"100 readings of 2 buoys each, every 60 s.*{remedy}"):
        fill(mariadb, Options(100, 3, table=table))
    assert content(mariadb, session, table)[0] == 200
    mariadb.run(session, f"DELETE FROM {table}")
    assert fill(mariadb, Options(100, 3, table=table)).made == 300


def test_two_at_once_are_refused(mariadb: Database, session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seed, "_LOCK_SECONDS", 0)
    mariadb.run(session, f"SELECT GET_LOCK(CONCAT(DATABASE(), '.{READINGS} seed'), 0)")
    with pytest.raises(StoreError, match="Another `mare seed-history`"):
        fill(mariadb, SMALL)


def test_a_legacy_table_has_the_same_readings_in_local_time(
    mariadb: Database, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Autumn(datetime):
        """The day after clocks were put back."""

        @classmethod
        def now(cls, tz: Any = None) -> Autumn:
            return cls(2024, 10, 28, 12, tzinfo=tz)

    monkeypatch.setattr(seed, "datetime", Autumn)
    fill(mariadb, SMALL)
    fill(mariadb, Options(SMALL.steps, SMALL.buoys, table=LEGACY))
    legacy = mariadb.run(
        session,
        "SELECT station_id, message_number, measured_at, air_temperature, relative_humidity, air_pressure, lon, lat"
        f" FROM {LEGACY} ORDER BY station_id, message_number",
    )
    live = mariadb.run(
        session,
        "SELECT sensor_id, seq, timestamp, temperature, humidity, pressure, location_lon, location_lat"
        f" FROM {READINGS} ORDER BY sensor_id, seq",
    )
    zone = ZoneInfo(LEGACY_ZONE)
    for (*key, local, temperature, humidity, pressure, lon, lat), reading in zip(legacy, live, strict=True):
        assert key == list(reading[:2])
        assert local == reading[2].replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None)
        assert tuple(map(float, (temperature, humidity, pressure, lon, lat))) == reading[3:]
    ((late,),) = mariadb.run(session, f"SELECT COUNT(*) FROM {LEGACY} WHERE HOUR(measured_at) = 2")
    assert late == 5 * 120, "two hours of it are one on the clock"
    ((disorder,),) = mariadb.run(
        session, f"SELECT COUNT(*) FROM {LEGACY} a JOIN {LEGACY} b ON b.id = a.id + 1"
        " WHERE b.message_number < a.message_number"
    )  # fmt: skip
    assert disorder == 0, "ids do not follow time"


def test_a_variable_of_the_users_is_made_too(mariadb: Database, session: Any) -> None:
    extra = {"type": "number", "plausible": [30, 40]}
    schema = Schema.from_dict(schema_of(mariadb).as_dict() | {"salinity": extra, "station": {"type": "text"}})
    fill(mariadb, Options(100, 2), schema=schema)
    ((low, high, station),) = mariadb.run(session, f"SELECT MIN(salinity), MAX(salinity), MIN(station) FROM {READINGS}")
    assert 30 < low < high < 40 and station == "buoy-900001"


def test_a_table_that_lacks_a_column_is_told_with_what_to_do(mariadb: Database, session: Any) -> None:
    mariadb.run(session, f"CREATE TABLE {READINGS} (sensor_id BIGINT, timestamp DATETIME(6))")
    with pytest.raises(StoreError, match=r"Unknown column.*mare apply"):
        fill(mariadb, SMALL)
