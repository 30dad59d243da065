"""The views beside the table, on a real MariaDB: what they show, what they cost, who may read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import mysql.connector
import pytest
from databases import Database

from maredata.apply import _apply_table
from maredata.names import READINGS
from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT, Settings
from maredata.stores import connect_mariadb
from maredata.views import LATEST, PER_DAY, apply_views

pytest_plugins = ("databases",)

SHIPPED = load_schema(CHECKOUT / "maredata" / "reading.toml")
BUOYS = 20
ROWS = 5_000  # of each, of long ago
RECENT = 200
NUMBERS = count(1)
READER_SQL = CHECKOUT / "installs" / "compose" / "mariadb" / "reader.sql"


@dataclass
class Place:
    """A database of the test's own, with the table, and the views once they are applied."""

    database: Database
    settings: Settings
    said: list[str]

    def apply(self, schema: Schema = SHIPPED, **account: str) -> list[str]:
        """Table and views, as `mare apply` does them; what it said of this."""
        self.said.clear()
        with connect_mariadb(self.settings) as ours:
            _apply_table(schema, ours, lambda _: None)
        with connect_mariadb(self.settings, **account) as session:
            apply_views(schema, session, self.said.append)
        return list(self.said)

    def sql(self, *statements: str, **account: str) -> list[Any]:
        """Runs them in one session; the last one's rows."""
        with connect_mariadb(self.settings, **account) as session:
            return self.database.run(session, *statements)

    def admin(self, *statements: str) -> list[Any]:
        with self.database.admin() as session:
            return self.database.run(session, *statements)

    def columns(self, view: str) -> list[str]:
        return [str(row[0]) for row in self.sql(f"SHOW COLUMNS FROM `{view}`")]

    def one(self, query: str, **account: str) -> tuple[Any, ...]:
        (row,) = self.sql(query, **account)
        return tuple(row)


@pytest.fixture
def place(mariadb: Database) -> Iterator[Place]:
    name = f"views_{next(NUMBERS)}"
    chosen = mariadb.settings.mariadb.model_copy(update={"database": name})
    own = Place(mariadb, mariadb.settings.model_copy(update={"mariadb": chosen}), [])
    own.admin(f"CREATE DATABASE {name}", f"GRANT ALL PRIVILEGES ON {name}.* TO '{chosen.user}'@'%'")
    yield own
    own.admin(f"DROP DATABASE {name}")


def plus(**fields: dict[str, Any]) -> Schema:
    return Schema.from_dict({**SHIPPED.as_dict(), **fields})


def insert(place: Place, sensor_id: int, at: datetime, temperature: float | None) -> None:
    value = "NULL" if temperature is None else temperature
    place.sql(f"INSERT INTO readings (sensor_id, timestamp, temperature) VALUES ({sensor_id}, '{at}', {value})")


def noon(days_ago: int) -> datetime:
    return datetime.combine(datetime.now(UTC).date() - timedelta(days_ago), datetime.min.time()) + timedelta(hours=12)


# --- what they show -------------------------------------------------------------------------------------------------


def test_latest_is_one_row_a_buoy_with_its_age(place: Place) -> None:
    place.apply()
    now = datetime.now(UTC).replace(tzinfo=None)
    for sensor_id, minutes, temperature in ((1, 30, 10.0), (1, 10, 11.5), (1, 20, 12.0), (2, 90, None)):
        insert(place, sensor_id, now - timedelta(minutes=minutes), temperature)
    rows = place.sql(f"SELECT sensor_id, timestamp, age_seconds, temperature FROM {LATEST} ORDER BY sensor_id")
    assert [(row[0], row[1], row[3]) for row in rows] == [
        (1, now - timedelta(minutes=10), 11.5),
        (2, now - timedelta(minutes=90), None),
    ]
    assert [row[2] // 60 for row in rows] == [10, 90], "the session's time zone plays no part"
    away = place.sql("SET time_zone = '+05:00'", f"SELECT age_seconds FROM {LATEST} WHERE sensor_id = 2")
    assert away[0][0] // 60 == 90


def test_per_day_counts_and_sums_up_the_last_week(place: Place) -> None:
    place.apply()
    for days_ago, temperature in ((0, 1.0), (0, None), (7, 4.0), (8, 9.0)):
        insert(place, 1, noon(days_ago) + timedelta(seconds=temperature or 0), temperature)
    insert(place, 1, noon(0) + timedelta(seconds=5), 2.0)
    insert(place, 2, noon(7), 5.0)
    columns = "sensor_id, day, readings, temperature_min, temperature_avg, temperature_max, humidity_avg"
    assert place.sql(f"SELECT {columns} FROM {PER_DAY} ORDER BY sensor_id, day") == [
        (1, day(7), 1, 4.0, 4.0, 4.0, None),
        (1, day(0), 3, 1.0, 1.5, 2.0, None),
        (2, day(7), 1, 5.0, 5.0, 5.0, None),
    ]


def day(ago: int) -> date:
    return noon(ago).date()


def test_views_show_a_field_that_is_added(place: Place) -> None:
    said = place.apply()
    assert said == [f"view {LATEST}: created", f"view {PER_DAY}: created"]
    assert place.apply() == []
    more = plus(salinity={"type": "number"}, note={"type": "text"}, anchor={"type": "location"})
    assert place.apply(more) == [f"view {LATEST}: brought up to date", f"view {PER_DAY}: brought up to date"]
    assert {"salinity", "note", "anchor_lon", "anchor_lat"} <= set(place.columns(LATEST))
    assert {"salinity_min", "salinity_avg", "salinity_max"} <= set(place.columns(PER_DAY))
    place.sql(f"INSERT INTO readings (sensor_id, timestamp, salinity) VALUES (1, '{noon(0)}', 38.5)")
    assert place.one(f"SELECT salinity FROM {LATEST}") == (38.5,)
    assert place.one(f"SELECT salinity_max FROM {PER_DAY}") == (38.5,)
    assert place.apply(more) == []


def test_fields_named_like_columns_of_the_views(place: Place) -> None:
    odd = plus(
        age_seconds={"type": "number"}, readings={"type": "number"}, day={"type": "number"},
        readings_min={"type": "number"}, **{"l" * 59: {"type": "number"}},
    )  # fmt: skip
    assert len(place.apply(odd)) == 2 and place.apply(odd) == []
    place.sql(f"INSERT INTO readings (sensor_id, timestamp, age_seconds, readings) VALUES (1, '{noon(0)}', 7, 8)")
    assert place.one(f"SELECT age_seconds FROM {LATEST}") == (7.0,)
    assert place.one(f"SELECT readings, readings_max FROM {PER_DAY}") == (1, 8.0)


# --- what they cost -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", [LATEST, PER_DAY])
def test_views_do_not_read_what_is_older(place: Place, view: str) -> None:
    place.apply()
    place.sql(
        f"INSERT INTO readings (sensor_id, timestamp) SELECT b.seq, '2024-01-01' + INTERVAL t.seq SECOND"
        f" FROM seq_1_to_{BUOYS} AS b, seq_1_to_{ROWS} AS t",
        f"INSERT INTO readings (sensor_id, timestamp) SELECT 1 + seq % 2, '{noon(1)}' + INTERVAL seq SECOND"
        f" FROM seq_1_to_{RECENT}",
        "ANALYZE TABLE readings",
    )
    for query in (f"SELECT * FROM {view}", f"SELECT * FROM {view} LIMIT 25", f"SELECT COUNT(*) FROM {view}"):
        assert 0 < rows_read(place, query) < 5 * RECENT, query
    assert place.one(f"SELECT COUNT(*) FROM {view}") == (2,)
    plan = place.sql(f"EXPLAIN SELECT * FROM {view}")
    assert {step[3] for step in plan if step[2] not in ("r", "<derived2>", "<derived3>")} == {"range"}, plan


def test_latest_reads_the_index_and_one_row_a_buoy(place: Place) -> None:
    place.apply()
    place.sql(
        f"INSERT INTO readings (sensor_id, timestamp) SELECT b.seq, '{noon(1)}' + INTERVAL t.seq SECOND"
        f" FROM seq_1_to_{BUOYS} AS b, seq_1_to_1000 AS t",
        "ANALYZE TABLE readings",
    )
    plan = {step[2]: (step[3], step[5], step[-1]) for step in place.sql(f"EXPLAIN SELECT * FROM {LATEST}")}
    assert plan["r"][:2] == ("eq_ref", "PRIMARY")
    assert plan["readings"][1] == "by_time" and "Using index" in plan["readings"][2]
    assert rows_read(place, f"SELECT * FROM {LATEST}") < 3 * BUOYS * 1000


def rows_read(place: Place, query: str) -> int:
    """Of tables and indices, by a session that does nothing else."""
    counters = place.sql(query, "SHOW SESSION STATUS LIKE 'Handler_read%'")
    return sum(int(value) for _, value in counters)


# --- whose they are -------------------------------------------------------------------------------------------------


@pytest.fixture
def reader(place: Place) -> dict[str, str]:
    """The account that people have in phpMyAdmin, made by the containers' own file."""
    script = READER_SQL.read_text("utf-8").replace("$database", place.settings.mariadb.database)
    statements = [line for line in script.splitlines() if line and not line.startswith("--")]
    place.admin(*(line.rstrip(";").replace("$reader_password", "seven seas") for line in statements))
    return {"user": "reader", "password": "seven seas"}


def test_reader_reads_the_views_and_writes_nothing(place: Place, reader: dict[str, str]) -> None:
    place.apply()
    insert(place, 1, noon(0), 20.0)
    assert place.one(f"SELECT temperature FROM {LATEST}", **reader) == (20.0,)
    assert place.one(f"SELECT readings FROM {PER_DAY}", **reader) == (1,)
    assert place.one(f"SHOW CREATE VIEW {LATEST}", **reader)[0] == LATEST  # phpMyAdmin's structure page asks for it
    for statement in (
        f"UPDATE {LATEST} SET temperature = 0",
        f"DELETE FROM {LATEST}",
        f"INSERT INTO {READINGS} (sensor_id, timestamp) VALUES (9, '2024-01-01')",
        f"UPDATE {READINGS} SET temperature = 0",
        f"DELETE FROM {READINGS}",
        f"DROP VIEW {PER_DAY}",
        f"CREATE OR REPLACE VIEW {PER_DAY} AS SELECT 1",
        "CREATE TABLE mine (a int)",
    ):
        with pytest.raises(mysql.connector.Error) as refused:
            place.sql(statement, **reader)
        assert refused.value.errno in (1044, 1142, 1288), statement
    assert place.one(f"SELECT temperature FROM {LATEST}", **reader) == (20.0,)


def test_views_outlive_the_account_that_made_them(place: Place, reader: dict[str, str]) -> None:
    name = place.settings.mariadb.database
    place.admin("CREATE USER passing IDENTIFIED BY 'by'", f"GRANT ALL ON {name}.* TO passing")
    place.apply(user="passing", password="by")  # noqa: S106  # of an engine that lives for a test
    place.admin("DROP USER passing")
    insert(place, 1, noon(0), 20.0)
    assert place.one(f"SELECT temperature FROM {LATEST}", **reader) == (20.0,)


def test_an_account_that_may_not_make_views_is_told_once(place: Place) -> None:
    name = place.settings.mariadb.database
    place.admin("CREATE USER bare IDENTIFIED BY 'bones'", f"GRANT SELECT, INSERT ON {name}.* TO bare")
    said = place.apply(user="bare", password="bones")  # noqa: S106
    assert len(said) == 1
    assert "not made, and nothing else needs it" in said[0] and "CREATE VIEW" in said[0]
    place.admin("DROP USER bare")


@pytest.mark.parametrize("theirs", ["CREATE TABLE {} (a int)", "CREATE VIEW {} AS SELECT 1 AS a"])
def test_what_is_somebody_elses_is_left_alone(place: Place, theirs: str) -> None:
    place.sql(theirs.format(PER_DAY))
    said = place.apply()
    assert said == [
        f"view {LATEST}: created",
        f"view {PER_DAY}: not made, since something of that name is there that is not ours",
    ]
    assert place.columns(PER_DAY) == ["a"]


def test_a_server_that_went_away_is_no_matter_of_rights(place: Place) -> None:
    place.apply()
    with connect_mariadb(place.settings) as session:
        place.admin(f"KILL {session.connection_id}")
        with pytest.raises(mysql.connector.Error):
            apply_views(plus(salinity={"type": "number"}), session, place.said.append)
