"""Tables walked along keys of every kind, and the commands that come before a run: init, plan, grants."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mysql.connector
import pytest
from click.testing import CliRunner
from rich.console import Console
from table_jobs import job_of, layout_of, read

from extraction.convert import Counts, Document
from extraction.draft import draft
from extraction.grants import grants
from extraction.job import ColumnOptions, JobError, Place, Server, Time
from extraction.keys import KeyRange, bounds, ranges
from extraction.plan import make_plan
from extraction.rows import Documents, document_of
from extraction.source import open_source
from maredata.cli import main
from maredata.settings import as_environment

if TYPE_CHECKING:
    from databases import Database

pytest_plugins = ("databases",)


# DDL of the key's columns, the key, and rows as SQL values by number
KEYS: dict[str, tuple[str, str, str]] = {
    "gaps of a billion": ("a bigint unsigned", "a", "seq * 1000000000 + 9223372036854775808"),
    "negative": ("a int", "a", "CAST(seq AS SIGNED) * 7 - 2000"),
    "string": (
        "a varchar(40) COLLATE utf8mb4_unicode_ci",
        "a",
        "CONCAT(ELT(1 + seq % 7, 'é', 'E', 'z', 'Ñ', '😀', 'a''b', 'back\\\\slash'), seq % 10, '|%', seq)",
    ),
    "latin1": ("a varchar(40) CHARACTER SET latin1", "a", "CONCAT(ELT(1 + seq % 3, 'é', 'E', 'ÿ'), seq)"),
    "composite": (
        "a int, b datetime(6), c varchar(10)",
        "a, b, c",
        "seq DIV 200, '2024-01-01' + INTERVAL seq DIV 10 MICROSECOND, CONCAT('k', seq % 10)",
    ),
    "datetime": ("a datetime(6)", "a", "'2024-03-31' + INTERVAL seq * 1000003 MICROSECOND"),
    "timestamp and zero date": ("a timestamp", "a", "IF(seq = 1, 0, '2024-03-31' + INTERVAL seq SECOND)"),
    "date, time": ("a date, b time(3)", "a, b", "'2024-01-01' + INTERVAL seq DIV 9 DAY, SEC_TO_TIME(seq % 9 - 4.5)"),
    "enum": ("a enum('z', 'it''s', 'a'), b int", "a, b", "1 + seq % 3, -seq"),
    "decimal": (
        "a decimal(20, 3) zerofill, b decimal(30, 10)",
        "a, b",
        "12345678901234567 + seq DIV 5 * 0.001, -seq / 7",
    ),
    "bytes": ("a varbinary(8)", "a", "IF(seq = 1, '', UNHEX(LPAD(HEX(seq * 7919), 8, '0')))"),
    "uuid": ("a uuid", "a", "UUID()"),
    "bit, year": ("a bit(20), b year", "a, b", "seq DIV 3, 1999 + seq % 3"),
}


@pytest.mark.parametrize("name", KEYS)
def test_ranges_hold_every_row_once_and_walk_the_index(mariadb: Database, name: str) -> None:
    ddl, key, values = KEYS[name]
    session = mariadb.session()
    mariadb.run(
        session,
        f"CREATE OR REPLACE TABLE walked ({ddl}, v int, PRIMARY KEY ({key})) CHARACTER SET utf8mb4",
        f"INSERT INTO walked SELECT {values}, seq FROM seq_1_to_1000",
    )
    columns = tuple(key.split(", "))
    job = job_of(mariadb, "walked", columns, columns={"v": ColumnOptions(field="v")})
    found = layout_of(mariadb, job)
    with open_source(job, mariadb.settings) as connection:
        before = entries_read(mariadb, connection)
        cut = list(ranges(connection, found, rows=130))
        walked = entries_read(mariadb, connection) - before
        assert [part.upto for part in cut[:-1]] == [part.after for part in cut[1:]]
        assert (cut[0].after, cut[-1].upto) == (None, None)
        assert walked <= 1_200, "each boundary walks its own entries, and no others"
        seen: list[int] = []
        for number, part in enumerate(cut):
            part_again = KeyRange(
                *(None if k is None else tuple(json.loads(json.dumps(k))) for k in (part.after, part.upto))
            )
            before = entries_read(mariadb, connection)
            lines = [line for page in Documents(found).pages(connection, part_again) for line in page.lines]
            assert len(lines) == (130 if number < 7 else 90)
            assert entries_read(mariadb, connection) - before <= 140, "the range is read through the index alone"
            seen += [json.loads(line.split(b"\n")[1])["v"] for line in lines]
            assert len({document_of(line).id for line in lines}) == len(lines)
        assert sorted(seen) == list(range(1, 1_001))
        ends = bounds(connection, found)
        assert ends is not None
        for part, count in ((KeyRange(None, ends[0]), 1), (KeyRange(ends[0], ends[1]), 999), (KeyRange(ends[1]), 0)):
            assert sum(len(page.lines) for page in Documents(found).pages(connection, part)) == count
        assert list(ranges(connection, found, after=ends[1])) == [KeyRange(ends[1], None)]
        (only,) = Documents(found).by_key(connection, [ends[0]])
        assert isinstance(only, Document)
        by_python = {d.id for d in read(mariadb, found, "python")[0]}
        assert by_python == {d.id for d in read(mariadb, found)[0]}


def entries_read(database: Database, connection: Any) -> int:
    names = "('Handler_read_next', 'Handler_read_prev', 'Handler_read_rnd_next')"
    rows = database.run(connection, f"SHOW SESSION STATUS WHERE Variable_name IN {names}")
    # SHOW itself reads rows of a table in memory.
    return sum(int(count) for name, count in rows if name != "Handler_read_rnd_next")


@pytest.mark.parametrize("rows", [0, 1])
def test_a_table_of_no_row_and_of_one(mariadb: Database, rows: int) -> None:
    mariadb.run(
        mariadb.session(),
        "CREATE OR REPLACE TABLE small (id int PRIMARY KEY)",
        *(["INSERT INTO small VALUES (3)"] * rows),
    )
    found = layout_of(mariadb, job_of(mariadb, "small", ("id",), columns={"id": ColumnOptions(field="id")}))
    with open_source(found.job, mariadb.settings) as connection:
        assert list(ranges(connection, found, rows=100)) == [KeyRange()]
        assert bounds(connection, found) == (((3,), (3,)) if rows else None)
    assert [document.id for document in read(mariadb, found)[0]] == ["3"] * rows


# --- the commands ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ddl",
    [
        "(id int)",
        "(id int, UNIQUE (id))",
        "(id varchar(100) NOT NULL, UNIQUE (id(10)))",
        "(a int NOT NULL, b int NOT NULL, UNIQUE (a, b DESC))",
    ],
)
def test_a_table_without_a_usable_key_is_refused(mariadb: Database, tmp_path: Path, ddl: str) -> None:
    mariadb.run(mariadb.session(), f"CREATE OR REPLACE TABLE keyless {ddl}")
    store = mariadb.settings.mariadb
    server = Server(host=store.host, port=store.port, database=store.database, user=store.user)
    with pytest.raises(JobError, match="ALTER TABLE keyless ADD COLUMN id BIGINT"):
        draft(mariadb.settings, server, "keyless", tmp_path / "keyless.toml")
    assert not [*tmp_path.iterdir()]


def test_grants_are_enough_and_no_more(mariadb: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    mariadb.run(
        mariadb.session(),
        "CREATE OR REPLACE TABLE small (id int PRIMARY KEY)",
        "INSERT INTO small VALUES (3)",
        "CREATE OR REPLACE TABLE secret (id int PRIMARY KEY)",
    )
    job = job_of(mariadb, "small", ("id",), columns={"id": ColumnOptions(field="id")})
    job = job.model_copy(update={"source": job.source.model_copy(update={"user": "reader", "password_env": "READER"})})
    script = grants(job.source, job.source.table)
    statements = [line for line in script.splitlines() if line and not line.startswith("--")]
    mariadb.run(mariadb.admin(), "DROP USER IF EXISTS reader", *statements)
    monkeypatch.setenv("READER", "…")
    assert [document.id for document in read(mariadb, layout_of(mariadb, job))[0]] == ["3"]
    plan = make_plan(job, mariadb.settings)
    assert plan.sample is not None
    with open_source(job, mariadb.settings) as connection:
        assert mariadb.run(connection, "SHOW MASTER STATUS")
        for refused in ("SELECT * FROM secret", "INSERT INTO small VALUES (4)"):
            with pytest.raises(mysql.connector.Error, match=r"denied|READ ONLY"):
                mariadb.run(connection, refused)
    wrong = job.model_copy(update={"source": job.source.model_copy(update={"table": "secret"})})
    with pytest.raises(JobError, match="that this user can see"):
        layout_of(mariadb, wrong)


def test_a_plan_shows_what_a_job_would_do(mariadb: Database) -> None:
    mariadb.run(
        mariadb.session(),
        "CREATE OR REPLACE TABLE planned (id int PRIMARY KEY, at datetime NOT NULL, p bigint unsigned, q point)",
        "INSERT INTO planned SELECT seq * 10, '2024-03-31 01:00:00' + INTERVAL seq SECOND, seq, POINT(1, 2)"
        " FROM seq_1_to_3600",
        "UPDATE planned SET at = '0000-00-00' WHERE id = 20",
        "UPDATE planned SET q = ST_GeomFromText('POINT(500000 4600000)', 25831) WHERE id = 30",
        "ANALYZE TABLE planned",
    )
    job = job_of(
        mariadb,
        "planned",
        ("id",),
        columns={"p": ColumnOptions(field="p")},
        time=Time(column="at", zone="Europe/Madrid"),
        locations={"location": Place(point="q")},
        source={"range_rows": 1_000},
    )
    plan = make_plan(job, mariadb.settings)
    assert (plan.first_key, plan.last_key, plan.ranges) == ((10,), (36_000,), 4)
    assert plan.first_ranges == (
        KeyRange(None, (10_000,)),
        KeyRange((10_000,), (20_000,)),
        KeyRange((20_000,), (30_000,)),
    )
    assert plan.sample is not None
    assert json.loads(plan.sample.source) == {
        "timestamp": "2024-03-31 00:00:01.000000",
        "p": 1,
        "location": {"lon": 1, "lat": 2},
    }
    assert plan.sample_counts == Counts(documents=999, zero_dates=1, set_aside=1)
    assert plan.left_out == ("id",)
    assert "SRID 25831" in plan.set_aside[0].reason
    assert any("p need types" in warning for warning in plan.warnings)
    content = json.loads(json.dumps(plan.as_dict()))
    assert content["sample"]["source"]["p"] == 1
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(plan.render())
    for shown in ("3,600", "[10] to [36000]", "legacy-trial", "FORCE INDEX (`PRIMARY`)", "SRID 25831", "1 zero dates"):
        assert shown in console.export_text(clear=False)


def test_from_a_table_to_a_plan(mariadb: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that has nothing to do with buoys."""
    for name, setting in as_environment(mariadb.settings).items():
        monkeypatch.setenv(name, setting)
    mariadb.run(
        mariadb.session(),
        "CREATE OR REPLACE TABLE Orders (shop int, number varchar(20), ordered datetime(3) NOT NULL,"
        " total decimal(10, 2), lng double, lat double, note text, receipt blob, PRIMARY KEY (shop, number))",
        "INSERT INTO Orders VALUES (1, 'a|b', '2024-06-01 12:00:00.5', 9.90, 2.5, 41.5, NULL, x'00ff')",
    )
    path = tmp_path / "orders.toml"
    result = CliRunner().invoke(main, ["extract", "init", "Orders", "--out", str(path)])
    assert result.exit_code == 0, result.output
    assert str(path) in result.output
    again = CliRunner().invoke(main, ["extract", "init", "Orders", "--out", str(path)])
    assert again.exit_code == 2
    assert "exists already" in again.output
    text = path.read_text("utf-8")
    assert mariadb.settings.mariadb.password not in text.replace(mariadb.settings.mariadb.user, "").lower().split()
    path.write_text(text.replace('zone = "UTC"', 'zone = "Europe/Madrid"'), "utf-8")
    result = CliRunner().invoke(main, ["extract", "plan", str(path), "--json"])
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert plan["sample"] == {
        "id": "1|a%7Cb",
        "index": "legacy-orders",
        "source": {
            "shop": 1,
            "number": "a|b",
            "total": 9.9,
            "receipt": "AP8=",
            "timestamp": "2024-06-01 10:00:00.500000",
            "location": {"lon": 2.5, "lat": 41.5},
        },
    }
    result = CliRunner().invoke(main, ["extract", "plan", str(path)])
    assert "legacy-orders/1|a%7Cb" in result.output
    result = CliRunner().invoke(main, ["extract", "grants", str(path), "--from-host", "10.0.0.5"])
    assert "GRANT SELECT ON `observatory`.`Orders` TO 'mare'@'10.0.0.5';" in result.output
