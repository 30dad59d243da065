"""`mare extract verify` on a real MariaDB and a real Elasticsearch."""

from __future__ import annotations

import io
import json
import resource
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from click.testing import CliRunner
from elasticsearch import Elasticsearch
from rich.console import Console
from table_jobs import job_of, layout_of

from extraction.bulk import BulkWriter
from extraction.checking.check import Options, check
from extraction.checking.looking import Looking
from extraction.checking.report import CheckReport
from extraction.checking.stored import StoredDocuments
from extraction.job import ColumnOptions, Job, Place, Time, load_job
from extraction.keys import KeyRange
from extraction.layout import readings_parts
from extraction.rows import Documents
from extraction.source import open_source
from extraction.target import index_pattern, index_template
from maredata.cli import main
from maredata.errors import StoreError
from maredata.names import READINGS
from maredata.schema import load_schema
from maredata.timestamps import parse_timestamp

if TYPE_CHECKING:
    from databases import Database

pytest_plugins = ("databases",)

ROWS = 3_000
DDL = r"""
CREATE OR REPLACE TABLE sightings (
  station int, at datetime(6), n bigint, price decimal(30, 10), d double, f float, yes tinyint(1), words varchar(200),
  kind enum('a', 'B''s'), marks set('x', 'y'), j json, day date, t time(3), y year, raw varbinary(20),
  lon double, lat double, spot point, seen datetime(3), %s
) CHARACTER SET utf8mb4
"""
VALUES = """
 seq DIV 1000, '2024-01-01' + INTERVAL seq * 997 SECOND, seq * 7, seq / 7, SQRT(seq), seq / 3, seq %% 2,
 CONCAT('word ', seq), 1 + seq %% 2, 1 + seq %% 3, CONCAT('{"a": ', seq, '.50}'), '2020-02-28' + INTERVAL seq DAY,
 SEC_TO_TIME(seq), 1990 + seq %% 50, UNHEX(HEX(seq)), seq / 100, -seq / 100, POINT(seq / 50, seq / 90),
 '2021-06-01 12:00:00.5' + INTERVAL seq MINUTE
"""
FIELDS = ("n", "price", "d", "f", "yes", "words", "kind", "marks", "j", "day", "t", "y", "raw", "seen")
# What makes a document differ in a field, by an UPDATE of the row behind its back.
CHANGES: dict[str, str] = {
    "n": "n + 1",
    "price": "price + 0.0000000001",
    "d": "d + 0.001",
    "f": "f + 1",
    "yes": "1 - yes",
    "words": "'other'",
    "kind": "3 - kind",
    "marks": "IF(marks = 'x', 'y', 'x')",
    "j": "'{\"a\": 1.5000000000000000001}'",
    "day": "day + INTERVAL 1 DAY",
    "t": "ADDTIME(t, '0:0:1')",
    "y": "y + 1",
    "raw": "'?'",
    "seen": "seen + INTERVAL 1 HOUR",
    "location": "",
    "spot": "POINT(1, 2)",
}
BY_SUMS = ("n", "d", "f", "yes", "day", "seen", "location", "spot", "y")


@dataclass
class Move:
    """A table, its job, and the documents made of it."""

    database: Database
    client: Elasticsearch
    job: Job

    @property
    def index(self) -> str:
        return index_pattern(layout_of(self.database, self.job))

    def fill(self) -> None:
        """The index anew, with the document of each row."""
        layout = layout_of(self.database, self.job)
        self.client.indices.delete(index="legacy-*,readings-*", expand_wildcards="all")
        template = index_template(layout, self.database.settings)
        if template is not None:
            self.client.indices.put_index_template(name=self.index, **template)
            self.client.indices.create(index=self.index)
        with open_source(self.job, self.database.settings) as connection:
            for page in Documents(layout).pages(connection, KeyRange()):
                if page.lines:
                    answer = self.client.bulk(operations=cast(Any, page.lines), refresh=True)
                    assert not answer["errors"], answer

    def sql(self, *statements: str) -> list[Any]:
        session = self.database.session()
        try:
            return self.database.run(session, *statements)
        finally:
            session.close()

    def verify(self, **options: Any) -> CheckReport:
        return check(self.job, self.database.settings, Options(**{"wait": 0, **options}), lambda _: None)

    def document(self, name: str) -> dict[str, Any]:
        return dict(self.client.get(index=self.index, id=name)["_source"])

    def change(self, name: str, **fields: Any) -> None:
        self.client.index(index=self.index, id=name, document={**self.document(name), **fields}, refresh=True)

    def drop(self, name: str) -> None:
        self.client.delete(index=self.index, id=name, refresh=True)

    def ids(self) -> set[str]:
        self.client.indices.refresh(index=self.index)
        found: set[str] = {
            hit["_id"] for hit in self.client.search(index=self.index, size=10_000, source=False)["hits"]["hits"]
        }
        return found


@pytest.fixture(scope="session")
def client(mariadb: Database) -> Iterator[Elasticsearch]:
    mariadb.engines.add("elasticsearch", mariadb.settings)
    mariadb.engines.start("elasticsearch")
    with mariadb.engines.store as found:
        # Tests delete whole families of indices.
        found.cluster.put_settings(persistent={"action.destructive_requires_name": False})
        yield found


def sightings(mariadb: Database, client: Elasticsearch, key: str = "station, at", **parts: Any) -> Move:
    """ROWS rows of every kind of column. `key` may be a new column: an id made of seq."""
    columns = {"id bigint": "seq", "code varchar(600)": "CONCAT('c|%%', seq, REPEAT('é', seq %% 2 * 300))"}
    new = next((column for column in columns if column.startswith(f"{key} ")), None)
    more = f"{new}, PRIMARY KEY ({key})" if new else f"PRIMARY KEY ({key})"
    values = (VALUES + (f", {columns[new]}" if new else "")).replace("%%", "%")
    mariadb.run(
        mariadb.session(), DDL % more, f"INSERT INTO sightings SELECT {values} FROM seq_1_to_{parts.pop('rows', ROWS)}"
    )
    names = [*FIELDS, "station", *(["id"] if new and key == "id" else [])]
    options = {"yes": {"type": "boolean"}, **parts.pop("options", {})}
    job = job_of(
        mariadb,
        "sightings",
        tuple(key.split(", ")),
        columns={name: ColumnOptions(**{"field": name, **options.get(name, {})}) for name in names},
        **{"time": Time(column="at", zone="UTC"), **parts},
        locations={"location": Place(longitude="lon", latitude="lat"), "spot": Place(point="spot")},
        source={"range_rows": 700},
    )
    move = Move(mariadb, client, job)
    move.fill()
    return move


def kinds(report: CheckReport) -> dict[str, int]:
    return dict(report.differences.kinds)


def printed(report: CheckReport) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(report.render())
    return console.export_text()


KEYS = ("station, at", "id", "code")  # a composite one, an integer, and a text that no index is walked by


@pytest.mark.parametrize("key", KEYS)
def test_they_agree_then_each_kind_of_difference_is_found_and_mended(
    mariadb: Database, client: Elasticsearch, key: str
) -> None:
    move = sightings(mariadb, client, key)
    report = move.verify()
    assert report.agree, report.as_dict()
    assert (report.compared.rows, report.compared.documents) == (ROWS, ROWS)
    assert report.compared.rows_closely == 0, "agreement is seen by sums alone"
    assert (report.compared.ranges, report.compared.days) == (0 if key == "code" else 5, report.compared.days)
    assert report.compared.days > 30
    exact = move.verify(exact=True)
    assert exact.agree and exact.compared.rows_closely == ROWS

    layout = layout_of(mariadb, move.job)
    names = sorted(move.ids())
    missing, differing, stranger = names[7], names[ROWS // 2], names[70]
    stranger_id = {"station, at": "2|1999-01-01T00:00:00.000000", "id": "987654321", "code": "nobody's"}[key]
    move.drop(missing)
    move.change(differing, n=-1)
    client.index(
        index=move.index,
        id=stranger_id,
        document={**move.document(stranger), **({"id": 987654321} if key == "id" else {})},
        refresh=True,
    )
    for options in ({}, {"exact": True}):
        report = move.verify(**options)
        found = {(one.id, one.kind.value) for one in report.differences.named}
        assert found == {
            (missing, "missing in the target"),
            (differing, "differs"),
            (stranger_id, "extra in the target"),
        }
        assert [field.field for one in report.differences.named for field in one.fields] == ["n"]
        if not options and key != "code":
            assert report.compared.rows_closely <= 1_500, "halving leaves little to read"
        assert not report.agree
    with open_source(move.job, mariadb.settings) as connection, StoredDocuments(mariadb.settings, layout) as stored:
        (view,) = Looking(layout, connection, stored).at([(move.index, missing)])
    assert view.row is not None and view.stored is None

    report = move.verify(repair=True)
    assert kinds(report) == {"extra in the target": 1}
    assert report.mended is not None
    assert (report.mended.added, report.mended.replaced, report.mended.deleted, report.mended.left) == (1, 1, 0, 1)
    assert stranger_id in move.ids()
    assert "Extra documents go only with --repair --delete-extra" in printed(report)
    report = move.verify(repair=True, delete_extra=True)
    assert report.agree, report.as_dict()
    assert report.mended is not None and report.mended.deleted == 1
    assert sorted(move.ids()) == names
    assert move.verify(exact=True).agree


@pytest.mark.parametrize("key", ["station, at", "id"])
def test_a_difference_in_each_kind_of_column_is_found(mariadb: Database, client: Elasticsearch, key: str) -> None:
    move = sightings(mariadb, client, key)
    wanted = {}
    for number, (field, change) in enumerate(CHANGES.items(), 100):
        set_to = f"{field} = {change}" if change else "lat = lat + 0.5"
        move.sql(f"UPDATE sightings SET {set_to} WHERE n = {number * 14}")
        wanted[number * 2] = field
    by_key = {
        int(row[0]): str(row[1])
        for row in move.sql("SELECT n DIV 7, CONCAT(station, '|', DATE_FORMAT(at, '%Y-%m-%dT%T.%f')) FROM sightings")
    }
    by_id = {str(seq) if key == "id" else by_key[seq]: field for seq, field in wanted.items() if field != "n"}
    report = move.verify(exact=True)
    found = {one.id: [difference.field for difference in one.fields] for one in report.differences.named}
    assert len(found) == len(CHANGES)
    assert {name: fields for name, fields in found.items() if fields != ["n"]} == {
        name: [field] for name, field in by_id.items()
    }
    summed = {difference.field for one in move.verify().differences.named for difference in one.fields}
    assert summed >= set(BY_SUMS)
    assert "words" in move.verify().compared.counts
    text = printed(move.verify())
    assert "Only counted" in text and "They do not agree" in text and "--repair" in text
    content = json.loads(json.dumps(report.as_dict()))
    assert content["differences"]["total"] == len(CHANGES) and content["agree"] is False
    assert move.verify(exact=True, repair=True).agree


def test_values_swapped_within_a_range_of_the_key_are_found_by_day(mariadb: Database, client: Elasticsearch) -> None:
    move = sightings(mariadb, client, "id")
    one, other = move.document("1000"), move.document("1300")
    for field in ("n", "seen"):
        move.change("1000", **{field: other[field]})
        move.change("1300", **{field: one[field]})
    report = move.verify()
    assert {one.id for one in report.differences.named} == {"1000", "1300"}


def test_a_stray_without_key_or_time_is_extra(mariadb: Database, client: Elasticsearch) -> None:
    move = sightings(mariadb, client, "id")
    client.index(index=move.index, id="stray", document={"n": 3}, refresh=True)
    for exact in (False, True):
        assert [(one.id, one.key) for one in move.verify(exact=exact).differences.named] == [("stray", None)]


def test_a_stray_of_a_job_without_a_time(mariadb: Database, client: Elasticsearch) -> None:
    move = sightings(mariadb, client, "id", time=None)
    client.index(index=move.index, id="stray", document={"n": 3}, refresh=True)
    report = move.verify()
    assert kinds(report) == {"extra in the target": 1} and report.compared.rows_closely == 0


def test_what_was_purged_is_left_out_on_both_sides(mariadb: Database, client: Elasticsearch) -> None:
    move = sightings(mariadb, client, target={"purged_before": datetime(2024, 1, 10, tzinfo=UTC)})
    gone = move.sql("SELECT COUNT(*) FROM sightings WHERE at < '2024-01-10'")[0][0]
    move.sql("DELETE FROM sightings WHERE at < '2024-01-05'")
    for options in ({}, {"exact": True}, {"since": parse_timestamp("2024-01-02 00:00:00")}):
        report = move.verify(**options)
        assert report.agree, report.as_dict()
        assert report.compared.rows == ROWS - gone
        assert "from before 2024-01-10 00:00:00.000000 were left out" in printed(report)
    assert move.verify(repair=True, delete_extra=True).agree
    assert len(move.ids()) == ROWS, "nothing of what was purged disappears"
    unpurged = Move(
        mariadb,
        client,
        move.job.model_copy(update={"target": move.job.target.model_copy(update={"purged_before": None})}),
    )
    assert set(kinds(unpurged.verify())) == {"extra in the target"}


def test_only_what_is_asked_for_is_compared(mariadb: Database, client: Elasticsearch) -> None:
    move = sightings(mariadb, client)
    move.change(sorted(move.ids())[0], d=-1.0)  # the first row, of 2024-01-01
    inside = {"since": parse_timestamp("2024-01-02 00:00:00"), "until": parse_timestamp("2024-01-20 00:00:00")}
    for exact in (False, True):
        report = move.verify(**inside, exact=exact)
        assert report.agree and 1_000 < report.compared.rows == report.compared.documents < ROWS
        assert kinds(move.verify(until=inside["since"], exact=exact)) == {"differs": 1}


def test_a_zone_zero_dates_and_rows_that_are_set_aside(mariadb: Database, client: Elasticsearch) -> None:
    move = sightings(mariadb, client, "id", time=Time(column="at", zone="Europe/Madrid"))
    move.sql(
        "UPDATE sightings SET at = '2024-03-31 02:30:00' WHERE id IN (5, 6)",
        "UPDATE sightings SET at = '2024-10-27 02:30:00' WHERE id = 7",
        "UPDATE sightings SET at = NULL WHERE id = 8",
        "UPDATE sightings SET at = 0, seen = 0 WHERE id = 9",
        "UPDATE sightings SET spot = ST_GeomFromText('POINT(500000 4600000)', 25831) WHERE id = 10",
        "UPDATE sightings SET lat = NULL, n = NULL, j = NULL WHERE id = 11",
    )
    move.fill()
    for exact in (False, True):
        report = move.verify(exact=exact)
        assert report.agree, report.as_dict()
        assert report.set_aside.total == 3
        assert {one.id for one in report.set_aside.named} == {"[5]", "[6]", "[10]"}
        assert "3 rows can't become documents and were left out" in printed(report)
    client.index(index=move.index, id="5", document=move.document("4"), refresh=True)
    report = move.verify(repair=True, delete_extra=True)
    assert kinds(report) == {"row is set aside": 1}
    assert report.mended is not None and "Europe/Madrid never showed" in report.mended.refused[0][1]
    assert "5" in move.ids(), "it is not deleted: its row is there"


def test_a_difference_that_goes_away_by_itself_does_not_count(mariadb: Database, client: Elasticsearch) -> None:
    move = sightings(mariadb, client, "id")
    kept = move.document("77")
    move.drop("77")
    move.change("78", words="later")

    def heal(text: str) -> None:
        if "looking again" in text and not healed.is_set():
            healed.set()
            client.index(index=move.index, id="77", document=kept)

    healed = threading.Event()
    report = check(move.job, mariadb.settings, Options(exact=True, wait=0.5), heal)
    assert healed.is_set()
    assert [one.id for one in report.differences.named] == ["78"]


def test_what_changes_on_both_sides_while_they_are_read_does_not_count(
    mariadb: Database, client: Elasticsearch
) -> None:
    move = sightings(mariadb, client, "id")
    changed: list[str] = []

    def change(text: str) -> None:
        if "now the documents" in text:
            changed.append(text)
            move.sql("UPDATE sightings SET n = -1 WHERE id = 78", "DELETE FROM sightings WHERE id = 79")
            move.change("78", n=-1)
            move.drop("79")

    assert check(move.job, mariadb.settings, Options(exact=True, wait=0), change).agree
    assert changed


def test_a_repair_never_overwrites_what_came_meanwhile(mariadb: Database, client: Elasticsearch) -> None:
    move = sightings(mariadb, client, "id")
    move.drop("5")
    move.change("6", n=-1)
    newest = {"5": {"n": 50}, "6": {"n": 60}}

    send = BulkWriter.send

    def late(writer: Any, lines: list[bytes]) -> Any:
        for name, document in newest.items():
            client.index(index=move.index, id=name, document=document, refresh=True)
        return send(writer, lines)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BulkWriter, "send", late)
        report = move.verify(repair=True)
    assert report.mended is not None and report.mended.changed_meanwhile == 2
    assert {name: move.document(name) for name in newest} == newest


def test_the_stores_own_readings(mariadb: Database, client: Elasticsearch) -> None:
    schema = load_schema(mariadb.settings.reading.toml)
    columns, time, places = readings_parts(schema)
    client.indices.put_index_template(name=READINGS, **schema.index_template("readings-*", 1, 0))
    mariadb.run(
        mariadb.session(),
        f"DROP TABLE IF EXISTS {READINGS}",
        schema.create_table(READINGS),
        f"INSERT INTO {READINGS} (sensor_id, timestamp, temperature) SELECT 1 + seq % 3,"
        " '2024-01-30' + INTERVAL seq * 1000000007 MICROSECOND, seq / 10 FROM seq_1_to_2000",
    )
    job = job_of(mariadb, READINGS, ("sensor_id", "timestamp"), columns=columns, time=time, locations=places)
    move = Move(mariadb, client, job)
    move.fill()
    assert len(client.indices.get(index="readings-*")) >= 1
    one = client.search(index="readings-*", size=1, query={"term": {"sensor_id": 1}})["hits"]["hits"][0]
    live = {**one["_source"], "humidity": None, "salinity": 3.5}
    client.index(index=one["_index"], id=one["_id"], document=live, refresh=True)
    for exact in (False, True):
        assert move.verify(exact=exact).agree, "a live reading has more, and null is no value"
    client.index(index=one["_index"], id=one["_id"], document={**live, "temperature": -1.0}, refresh=True)
    client.index(index="readings-1999.01", id=one["_id"], document=live, refresh=True)
    report = move.verify()
    assert {(found.index, found.kind.value) for found in report.differences.named} == {
        (one["_index"], "differs"),
        ("readings-1999.01", "extra in the target"),
    }
    assert move.verify(repair=True, delete_extra=True).agree
    mended = client.get(index=one["_index"], id=one["_id"])["_source"]
    assert mended["salinity"] == 3.5 and mended["temperature"] == one["_source"]["temperature"]
    client.indices.delete(index="readings-*")


def test_the_command(mariadb: Database, client: Elasticsearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mariadb.run(
        mariadb.session(),
        "CREATE OR REPLACE TABLE orders (id int PRIMARY KEY, v int)",
        "INSERT INTO orders SELECT seq, seq FROM seq_1_to_10",
    )
    source = mariadb.settings.mariadb
    path = tmp_path / "orders.toml"
    path.write_text(
        f'[source]\nhost = "{source.host}"\nport = {source.port}\ndatabase = "{source.database}"\ntable = "orders"\n'
        f'user = "{source.user}"\nkey = ["id"]\n[columns]\nid = "id"\nv = "v"\n'
    )
    move = Move(mariadb, client, load_job(path))
    move.fill()
    monkeypatch.setattr("maredata.cli.load_settings", lambda: mariadb.settings)

    def verify(*options: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["extract", "verify", str(path), "--wait", "0", *options])
        return result.exit_code, result.stdout

    assert verify() == (0, verify()[1])
    assert "They agree." in verify()[1]
    move.drop("3")
    status, text = verify("--json")
    assert status == 1
    assert json.loads(text)["differences"]["kinds"] == {"missing in the target": 1}
    assert verify("--delete-extra")[0] == 2
    assert verify("--since", "2024-01-01")[0] == 2, "the job has no time to compare with"
    assert verify("--repair")[0] == 0
    assert verify("--exact")[0] == 0


def test_without_an_index_it_says_what_to_do(mariadb: Database, client: Elasticsearch) -> None:
    move = sightings(mariadb, client, "id", rows=10)
    client.indices.delete(index=move.index)
    with pytest.raises(StoreError, match="mare extract run"):
        move.verify()


def test_200_000_rows_in_bounded_memory(mariadb: Database, client: Elasticsearch) -> None:
    move = sightings(mariadb, client, "id", rows=10)
    mariadb.run(
        mariadb.session(),
        "CREATE OR REPLACE TABLE many (id bigint PRIMARY KEY, at datetime(6) NOT NULL, v double, words varchar(500))",
        "INSERT INTO many SELECT seq, '2024-01-01' + INTERVAL seq SECOND, seq / 7, REPEAT('x', 300)"
        " FROM seq_1_to_200000",
    )
    job = job_of(
        mariadb,
        "many",
        ("id",),
        columns={name: ColumnOptions(field=name) for name in ("id", "v", "words")},
        time=Time(column="at", zone="UTC"),
    )
    move = Move(mariadb, client, job)
    move.fill()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for exact in (False, True):
        assert move.verify(exact=exact).agree
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 100, f"{grown:.0f} MB more for 200,000 documents of 400 bytes"
