"""`mare capture` on real engines: the index follows its table, whatever is killed, and nothing old wins over new."""

from __future__ import annotations

import json
import os
import random
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from fake_kibana import FakeKibana
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from table_jobs import insert, layout_of, parsed, read
from test_extract_documents import EDGES, EVERYTHING, VALUES
from waiting import await_true

from connect.capture import remove
from connect.capture_definitions import topic_name
from extraction.capture.setup import set_up
from extraction.checking.stored import StoredDocuments
from extraction.convert import Document
from extraction.job import JobError
from maredata.settings import CHECKOUT, as_environment
from maredata.stores import kafka_admin

if TYPE_CHECKING:
    from captures import Captured, Followed

pytest_plugins = ("captures",)

SIMPLE = "id int PRIMARY KEY, v int, at datetime(6) NULL"
SIMPLE_COLUMNS = 'v = "v"\nat = "at"'
MIRROR = 'deletes = "mirror"'


@contextmanager
def followed(engines: Captured, name: str, ddl: str = SIMPLE, rows: str = "", **parts: Any) -> Iterator[Followed]:
    """A job that is captured, on a table that had these rows before."""
    from captures import Followed

    one = Followed(engines, name, ddl, **{"columns": SIMPLE_COLUMNS, **parts})
    if rows:
        engines.sql(f"INSERT INTO `{name}` {rows}")
    one.capture()
    yield one
    one.remove()


# --- every change ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deletes", ["keep", "mirror"])
def test_every_change_arrives(engines: Captured, deletes: str) -> None:
    with followed(engines, f"changes_{deletes}", target=f'deletes = "{deletes}"') as one:
        assert "Everything runs already" in one.capture()
        table = one.name
        engines.sql(
            f"INSERT INTO {table} VALUES (1, 1, '2024-01-01 00:00:00.000001')",
            f"INSERT INTO {table} VALUES (2, 2, NULL), (3, 3, NULL), (4, 4, NULL)",
            f"UPDATE {table} SET v = v + 10 WHERE id <= 2",
            f"UPDATE {table} SET at = '2025-02-02 02:02:02' WHERE id = 1",  # the time column
            f"UPDATE {table} SET id = 30 WHERE id = 3",  # the key
            f"DELETE FROM {table} WHERE id = 4",
        )
        wanted: dict[str, Any] = {
            "1": {"v": 11, "at": "2025-02-02 02:02:02.000000"},
            "2": {"v": 12},
            "30": {"v": 3},
            **({"4": {"v": 4}} if deletes == "keep" else {}),
        }
        one.await_documents(wanted)
        found = one.status()
        assert [found[name] for name in ("inserts", "updates", "deletes")] == [4, 4, 1]
        assert found["deletes_kept"] == (deletes == "keep")
        assert found["healthy"] and found["dead_letters"] == 0
        one.run()
        assert one.documents() == wanted
        report = one.verify()
        assert report["agree"] and report["kept"]["documents"] == (deletes == "keep")


def test_one_transaction_can_change_a_row_often(engines: Captured) -> None:
    """All of its changes have one position in MariaDB's binary log, and the last one counts."""
    with followed(engines, "often", target=MIRROR) as one:
        with engines.session(autocommit=False) as session, session.cursor() as cursor:
            cursor.execute("INSERT INTO often SELECT seq, 0, NULL FROM seq_1_to_900")
            for value in range(1, 15):
                cursor.execute("UPDATE often SET v = %s WHERE id % 7 = %s", (value, value % 7))
            cursor.execute("UPDATE often SET id = id + 1 ORDER BY id DESC")  # each key is freed and taken
            cursor.execute("DELETE FROM often WHERE id = 2")
            cursor.execute("INSERT INTO often VALUES (2, -1, NULL)")
            cursor.execute("DELETE FROM often WHERE id = 901")
            session.commit()
        engines.sql("INSERT INTO often VALUES (9999, 9, NULL)")
        one.await_stored("9999")
        rows = engines.sql("SELECT id, v FROM often")
        one.await_documents({str(number): {"v": v} for number, v in rows})


def test_a_job_by_another_key_than_the_primary(engines: Captured) -> None:
    with followed(
        engines, "other_key", "id int PRIMARY KEY, code varchar(20) NOT NULL, n int NOT NULL, v int, UNIQUE (code, n)",
        columns='v = "v"', key=("code", "n"), target=MIRROR,
    ) as one:  # fmt: skip
        engines.sql(
            "INSERT INTO other_key VALUES (1, 'a|%', 1, 1), (2, '', 2, 2), (3, 'x', 3, 3)",
            "UPDATE other_key SET code = 'y' WHERE id = 3",
            "UPDATE other_key SET id = 7 WHERE id = 1",
            "DELETE FROM other_key WHERE id = 2",
        )
        one.await_documents({"a%7C%25|1": {"v": 1}, "y|3": {"v": 3}})


# --- fidelity -------------------------------------------------------------------------------------------------------

# UUID and INET6 are refused: see extraction/capture/checks.py.
ALL_DDL = EVERYTHING.split("(", 1)[1].rsplit(") CHARACTER SET", 1)[0].replace("u uuid, ip inet6, ", "")
# unsigned_long and scaled_float come with modules that local mode's Elasticsearch lacks.
OPTIONS = {"cost": 'decimal = "string"', "yes": 'type = "boolean"', "at": 'zone = "UTC", type = "keyword"'}
OPTIONS |= {"at3": 'zone = "America/Sao_Paulo"', **dict.fromkeys(("huge", "wide", "madrid"), 'type = "keyword"')}
PLACED = ("lon", "lat", "measured")
# Days that no calendar has stop Debezium, and a zero date in a NOT NULL column arrives as 1970.
real_moments = st.one_of(
    st.datetimes().map(lambda moment: moment.isoformat(" ")),
    st.sampled_from(
        [
            *("0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "1970-01-01 00:00:00.000001", "2024-03-31 01:59:59"),
            *("2024-03-31 02:30:00", "2024-03-31 03:00:00", "2024-10-27 02:00:00", "2024-10-27 02:59:59.999999"),
            *("2018-11-04 00:30:00", "2018-02-17 23:30:00", "1899-12-31 23:59:59", "2100-07-01 12:00:00"),
        ]
    ),
)
moments = st.one_of(real_moments, st.sampled_from(["0000-00-00 00:00:00", "2024-00-15 10:00:00"]))
CAPTURED: dict[str, st.SearchStrategy[Any]] = {name: v for name, v in VALUES.items() if name not in ("u", "ip")}
CAPTURED |= dict.fromkeys(("at", "at3", "at0", "madrid"), moments)
# What Elasticsearch takes: date_nanos from 1970 to 2262, and places on the globe.
CAPTURED["measured"] = st.datetimes(datetime(1970, 1, 2), datetime(2262, 1, 1)).map(str)
CAPTURED["spot"] = st.tuples(st.floats(-180, 180), st.floats(-90, 90), st.sampled_from([0, 4326, 25830]))
# Debezium takes MariaDB's latin1 for windows-1252, which lacks five control characters.
CAPTURED["old"] = st.text(st.characters(codec="latin-1", exclude_characters="\x81\x8d\x8f\x90\x9d"), max_size=50)
CAPTURED |= {"day": moments.map(lambda text: text[:10])}
any_rows = st.lists(
    st.fixed_dictionaries({n: (v if n == "measured" else st.none() | v) for n, v in CAPTURED.items()}),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def everything(engines: Captured) -> Iterator[Followed]:
    columns = "".join(
        f"{json.dumps(name)} = {{ field = {json.dumps(name)}{', ' + OPTIONS[name] if name in OPTIONS else ''} }}\n"
        for name in CAPTURED
        if name not in PLACED
    )
    more = '[time]\ncolumn = "measured"\nzone = "Europe/Madrid"\n'
    more += '[locations]\nlocation = { longitude = "lon", latitude = "lat" }'
    with followed(engines, "everything", ALL_DDL, columns=columns, more=more) as one:
        yield one


@settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.generate), suppress_health_check=[*HealthCheck])
@example(rows=[{"measured": "2024-01-01 00:00:00", **row} for row in EDGES])
@given(rows=any_rows)
def test_the_live_document_is_the_extracted_one(engines: Captured, everything: Followed, rows: list[Any]) -> None:
    one, database = everything, cast("Any", engines)
    ((last,),) = engines.sql("SELECT COALESCE(MAX(id), 0) FROM everything")
    numbered = [{"id": last + number, **row} for number, row in enumerate(rows, 1)]
    mark = last + len(rows) + 1
    with engines.session(sql_mode="ALLOW_INVALID_DATES") as session:
        insert(database, session, "everything", [*numbered, {"id": mark, "measured": "2024-01-01"}])
    one.await_stored(str(mark))
    found = layout_of(database, one.job)
    extracted, aside, _ = read(database, found, where=f"id > {last}")
    names = [str(row["id"]) for row in numbered] + [str(mark)]
    engines.store.indices.refresh(index=one.index)
    with StoredDocuments(engines.settings, found) as stored:
        documents = [Document(hit.id, hit.index, hit.source) for hit in stored.lookup(names)]
    live, ours = parsed(documents), parsed(extracted)
    for name in live.keys() & ours.keys():
        for field in live[name].keys() | ours[name].keys():
            assert live[name].get(field) == ours[name].get(field), (name, field)
    assert live.keys() == ours.keys(), f"{len(aside)} set aside by extraction: {aside}"


# --- beside extraction ----------------------------------------------------------------------------------------------


def test_rows_may_change_while_they_are_extracted(engines: Captured) -> None:
    rows = "SELECT seq AS id, 0 AS v, NULL AS at FROM seq_1_to_12000"
    with followed(engines, "busy", source="range_rows = 500", target=MIRROR, rows=rows) as one:
        ended = threading.Event()

        def write() -> None:
            chance = random.Random(7)
            with engines.session(autocommit=False) as session, session.cursor() as cursor:
                while not ended.is_set():
                    first = chance.randrange(1, 12_000)
                    cursor.execute("UPDATE busy SET v = v + 1 WHERE id BETWEEN %s AND %s", (first, first + 20))
                    cursor.execute("DELETE FROM busy WHERE id = %s", (chance.randrange(1, 12_000),))
                    cursor.execute("INSERT IGNORE INTO busy VALUES (%s, 1, NULL)", (chance.randrange(1, 13_000),))
                    session.commit()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            report = one.run("--max-rows-per-second", "3000")
        finally:
            ended.set()
            writer.join()
        assert report["finished"]
        engines.sql("INSERT INTO busy VALUES (99999, 9, NULL)")
        one.await_stored("99999")
        report = one.verify()
        assert report["agree"], report["differences"]
        assert report["differences"]["total"] == 0 and report["compared"]["rows"] > 1_000


def test_a_deleted_row_does_not_come_back_with_a_late_bulk(engines: Captured) -> None:
    with followed(engines, "late", target=MIRROR) as one:
        engines.sql("INSERT INTO late SELECT seq, 0, NULL FROM seq_1_to_900")
        one.await_stored("900")
        store = engines.store
        store.indices.put_settings(index=one.index, settings={"index.gc_deletes": "100ms"})
        ((before,),) = engines.sql("SELECT MAX(id) FROM information_schema.processlist")
        arguments = ("--json", "--workers", "1", "--max-rows-per-second", "100")
        process = engines.begin("extract", "run", str(one.path), *arguments)
        # Two sessions, the walker's and the worker's, both of which have got their answers: the snapshot is taken.
        sessions = (
            "SELECT COUNT(*) >= 2 AND MIN(time_ms) > 300 FROM information_schema.processlist"
            f" WHERE user = 'follower' AND id > {before}"
        )
        await_true(lambda: engines.sql(sessions)[0][0] or process.poll() is not None, what="the range's snapshot")
        assert process.poll() is None, process.communicate()
        engines.sql("DELETE FROM late WHERE id = 5")
        await_true(lambda: not store.exists(index=one.index, id="5"), what="the delete has arrived")
        assert process.poll() is None, "the run is still reading, and its documents are not written yet"
        while process.poll() is None:
            # A refresh is when deletes are forgotten that gc_deletes does not keep.
            store.index(index=one.index, id="other", document={"v": 1}, refresh=True)
        engines.end(process)
        assert not store.exists(index=one.index, id="5")
        found = store.indices.get_settings(index=one.index, name="index.gc_deletes", flat_settings=True)
        assert found[one.index]["settings"]["index.gc_deletes"] == "100ms", "as it was before the run"


def test_what_ran_before_the_capture_is_run_again(engines: Captured) -> None:
    from captures import Followed

    one = Followed(engines, "before", SIMPLE, SIMPLE_COLUMNS)
    engines.sql("INSERT INTO before VALUES (1, 1, NULL)".replace("before", "`before`"))
    assert one.run()["run"]["rows"] == 1
    engines.sql("UPDATE `before` SET v = 2")  # which nobody captures
    one.capture()
    assert one.run()["run"]["rows"] == 1
    one.await_documents({"1": {"v": 2}})
    one.remove()


def test_a_repair_overwrites_nothing_newer(engines: Captured) -> None:
    with followed(engines, "mended", target=MIRROR) as one:
        engines.sql("INSERT INTO mended VALUES (1, 1, NULL), (2, 2, NULL), (3, 3, NULL)")
        one.await_documents({str(number): {"v": number} for number in (1, 2, 3)})
        store = engines.store
        before = store.get(index=one.index, id="1")["_version"]
        store.delete(index=one.index, id="1")
        store.index(index=one.index, id="2", document={"v": 99})
        assert one.verify(status=1)["differences"]["total"] == 2
        repaired = one.verify("--repair")
        assert (repaired["repair"]["added"], repaired["repair"]["replaced"]) == (1, 1)
        assert store.get(index=one.index, id="1")["_version"] > before, "a place in the binary log, not a count"
        engines.sql("UPDATE mended SET v = v + 10")
        one.await_documents({str(number): {"v": number + 10} for number in (1, 2, 3)})


# --- deletes --------------------------------------------------------------------------------------------------------


def test_a_purged_month_stays(engines: Captured) -> None:
    time = '[time]\ncolumn = "at"\nzone = "UTC"'
    with followed(engines, "purged", columns='v = "v"', more=time) as one:
        engines.sql("INSERT INTO purged SELECT seq, seq, '2024-01-01' + INTERVAL seq HOUR FROM seq_1_to_1500")
        one.run()
        one.await_stored("1500")
        assert one.verify()["agree"]
        engines.sql("DELETE FROM purged WHERE at < '2024-02-01'", "UPDATE purged SET v = -1 WHERE id = 1500")
        ((left,),) = engines.sql("SELECT COUNT(*) FROM purged")
        await_true(lambda: one.documents()["1500"]["v"] == -1, what="what came after the purge has arrived")
        assert len(one.documents()) == 1_500
        report = one.verify("--repair", "--delete-extra")
        assert report["agree"] and report["kept"]["documents"] == 1_500 - left and report["repair"] is None
        assert len(one.documents()) == 1_500
        one.path.write_text(one.path.read_text().replace("[target]", "[target]\npurged_before = 2024-02-01"))
        report = one.verify()
        assert report["agree"] and report["kept"]["documents"] == 0 and report["compared"]["documents"] == left
        assert one.status()["deletes_kept"] == 1_500 - left


# --- outages --------------------------------------------------------------------------------------------------------


def test_stopped_killed_and_restarted_it_goes_on(engines: Captured) -> None:
    with followed(engines, "outages", target=MIRROR) as one:
        engines.sql("INSERT INTO outages VALUES (1, 1, NULL)")
        one.await_documents({"1": {"v": 1}})
        one.capture("--stop")
        engines.sql("INSERT INTO outages VALUES (2, 2, NULL)", "FLUSH BINARY LOGS")
        one.capture()
        one.await_documents({"1": {"v": 1}, "2": {"v": 2}})

        engines.kill("connect")
        engines.sql("INSERT INTO outages VALUES (3, 3, NULL)", "DELETE FROM outages WHERE id = 1")
        engines.start("connect")
        one.await_documents({"2": {"v": 2}, "3": {"v": 3}}, 120)

        engines.stop("mariadb")
        engines.start("mariadb")
        engines.sql("INSERT INTO outages VALUES (4, 4, NULL)")
        one.capture()  # as `mare tend` would, it starts again what failed meanwhile
        one.await_documents({"2": {"v": 2}, "3": {"v": 3}, "4": {"v": 4}}, 120)


def test_a_topic_made_anew_does_no_harm(engines: Captured) -> None:
    with followed(engines, "anew") as one:
        engines.sql("INSERT INTO anew SELECT seq, 1, NULL FROM seq_1_to_50")
        one.await_stored("50")
        assert one.status()["inserts"] == 50
        one.capture("--stop")
        with kafka_admin(engines.settings) as admin:
            admin.delete_topics([topic_name(one.name)])
            await_true(lambda: topic_name(one.name) not in admin.list_topics(), what="the topic is gone")
        assert f"topic {topic_name(one.name)}: created" in one.capture()
        engines.sql("UPDATE anew SET v = 2 WHERE id <= 3", "INSERT INTO anew VALUES (51, 1, NULL)")
        one.await_documents({str(n): {"v": 2 if n <= 3 else 1} for n in range(1, 52)})
        found = one.status()
        assert (found["inserts"], found["updates"]) == (51, 3)


def test_a_worker_that_forgot_is_not_trusted(engines: Captured) -> None:
    with followed(engines, "forgotten") as one:
        remove(one.name, engines.settings)  # as if Kafka's disk had been lost: our own notes are still there
        assert "no longer knows how far capture of job forgotten had come" in one.capture(status=1)


# --- refusals -------------------------------------------------------------------------------------------------------


def refused(one: Followed) -> str:
    with pytest.raises(JobError) as error:
        set_up(one.job, one.engines.settings)
    return str(error.value)


def test_a_server_that_does_not_do_is_refused(engines: Captured) -> None:
    from captures import FOLLOWER, Followed

    one = Followed(engines, "server", SIMPLE, SIMPLE_COLUMNS)
    for name, wrong, right in (("binlog_format", "STATEMENT", "ROW"), ("binlog_row_image", "MINIMAL", "FULL")):
        engines.sql(f"SET GLOBAL {name} = {wrong}")
        try:
            assert f"The source's {name} is {wrong}: SET GLOBAL {name} = {right}" in refused(one)
        finally:
            engines.sql(f"SET GLOBAL {name} = {right}")
    for right, sentence in (
        ("BINLOG MONITOR", "lacks BINLOG MONITOR"),
        ("REPLICATION SLAVE", "lacks REPLICATION SLAVE"),
    ):
        engines.sql(f"REVOKE {right} ON *.* FROM '{FOLLOWER}'@'%'")
        assert sentence in refused(one)
        one.grant()
    assert set_up(one.job, engines.settings).new, "the printed grants are enough"


def test_a_table_that_can_not_be_read_is_refused(engines: Captured) -> None:
    from captures import Followed

    for number, (column, sentence) in enumerate(
        (
            ("w inet6", "Column w is INET6"),
            ("v uuid", "Column v is a UUID"),
            ("v int AS (id + 1)", "Column v is generated"),
        )
    ):
        more = "" if "v" in column.split()[0] else ", v int"
        one = Followed(engines, f"unfit_{number}", f"id int PRIMARY KEY, {column}{more}")
        assert sentence in refused(one)
    assert "has source.where" in refused(Followed(engines, "filtered", SIMPLE, source='where = "v > 1"'))


def test_reset_master_is_refused_and_can_be_overcome(engines: Captured) -> None:
    """The last one here: it does to the binary log what no capture survives."""
    with followed(engines, "reset", target=MIRROR) as one:
        engines.sql("INSERT INTO reset VALUES (1, 1, NULL), (2, 2, NULL)".replace("reset", "`reset`"))
        one.await_documents({"1": {"v": 1}, "2": {"v": 2}})
        highest = engines.store.get(index=one.index, id="1")["_version"]
        assert one.status()["healthy"]
        engines.sql("FLUSH BINARY LOGS")
        one.status()
        engines.sql("RESET MASTER", "UPDATE `reset` SET v = 3 WHERE id = 1")
        for command in (("capture",), ("extract", "run")):
            said = engines.end(engines.begin(*command, str(one.path)), 2)
            assert "binary log is not the one that capture of job reset reads" in said and "RESET MASTER" in said
        one.capture("--remove")
        one.capture()
        one.run()
        one.await_documents({"1": {"v": 3}, "2": {"v": 2}})
        engines.sql("DELETE FROM `reset` WHERE id = 2")
        one.await_documents({"1": {"v": 3}})
        assert engines.store.get(index=one.index, id="1")["_version"] > highest


# --- as the README says ---------------------------------------------------------------------------------------------


def readme_commands() -> list[list[str]]:
    """What the README's section "Your own table" has a user type, in order: variables and arguments of `./mare`."""
    section = (CHECKOUT / "README.md").read_text("utf-8").split("## Your own table\n")[1].split("\n## ")[0]
    block = section.split("```console\n")[1].split("```")[0]
    return [shlex.split(line.removeprefix("$ ")) for line in block.splitlines()]


def test_the_readme_leads_a_table_to_kibana(engines: Captured, tmp_path: Path) -> None:
    """A shop's orders, with the README's own commands: only where the database and Kibana are is put in."""
    from captures import statements_of

    engines.sql(
        "CREATE DATABASE shop",
        "CREATE TABLE shop.orders (number varchar(20) PRIMARY KEY, placed datetime(6) NOT NULL, total decimal(12,2),"
        " state enum('new', 'paid', 'sent') NOT NULL, note text)",
        "INSERT INTO shop.orders SELECT CONCAT('A-', seq), '2024-03-01' + INTERVAL seq MINUTE, seq / 4,"
        " ELT(1 + seq % 3, 'new', 'paid', 'sent'), IF(seq % 2, NULL, 'größer | 100 %') FROM seq_1_to_2000",
    )
    source = engines.settings.mariadb
    with FakeKibana().serving() as kibana:
        environment = {
            **os.environ,
            **as_environment(engines.settings),
            "SHOP_PASSWORD": "seven seas",
            "MARE_KIBANA__PORT": str(kibana.port),
        }
        done = []
        for words in readme_commands():
            variables = [word for word in words if "=" in word and not word.startswith("-")]
            arguments = [word.replace("db.example", source.host) for word in words[len(variables) + 1 :]]
            if "--host" in arguments:
                arguments += ["--port", str(source.port)]
            result = subprocess.run(
                [sys.executable, "-m", "maredata.cli", *arguments],
                env={**environment, **dict(variable.split("=", 1) for variable in variables)},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert result.returncode == 0, (arguments, result.stdout, result.stderr)
            done.append(arguments[:2])
            if arguments[1] == "grants":
                engines.sql(*statements_of(result.stdout.replace("'…'", "'seven seas'")))
        assert [words[-1] for words in done if words[0] != "capture"] == [
            "grants", "init", "plan", "run", "verify", "import",
        ]  # fmt: skip
        assert ["capture", "orders.toml"] in done
        view = kibana.objects["index-pattern:mare-legacy-orders"]["attributes"]
        assert (view["title"], view["timeFieldName"]) == ("legacy-orders", "timestamp")
    engines.store.indices.refresh(index="legacy-orders")
    found = engines.store.get(index="legacy-orders", id="A-2")["_source"]
    assert found == {
        "number": "A-2",
        "timestamp": "2024-03-01 00:02:00.000000",
        "total": 0.5,
        "state": "sent",
        "note": "größer | 100 %",
    }
    assert engines.store.count(index="legacy-orders")["count"] == 2_000
    engines.sql("UPDATE shop.orders SET state = 'sent' WHERE number = 'A-3'")
    await_true(
        lambda: engines.store.get(index="legacy-orders", id="A-3")["_source"]["state"] == "sent",
        what="the index follows the table",
    )
