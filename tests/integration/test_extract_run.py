"""`mare extract run` between real engines, killed from all sides: every row arrives once, and little is read twice."""

from __future__ import annotations

import os
import random
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import mysql.connector
import psutil
import pytest
from elasticsearch.client import ClusterClient
from moves import WORKERS, Move, Pair
from mysql.connector.abstracts import MySQLConnectionAbstract
from waiting import await_true

from extraction.capture import setup
from extraction.checkpoint import Tally
from extraction.draft import draft
from extraction.job import JobError, Server, load_job
from extraction.progress import State
from extraction.run import Options, run
from maredata.names import READINGS_PATTERN
from maredata.reading import identity
from maredata.schema import load_schema
from maredata.stores import connect_mariadb

pytest_plugins = ("moves",)

ROWS = 300_000
FEWER_ROWS = 100_000
KILLS = 10
RANGE_ROWS = 5_000
# So slow that a test can look at it while it is under way.
SLOW = ("--max-rows-per-second", "20000")


@pytest.fixture(scope="module")
def big(pair: Pair) -> Pair:
    """With a table of many rows, whose keys have gaps."""
    pair.sql(
        "CREATE OR REPLACE TABLE big (id bigint PRIMARY KEY, v int, t varchar(20))",
        f"INSERT INTO big SELECT seq * 3, seq, CONCAT('row ', seq) FROM seq_1_to_{ROWS}",
    )
    return pair


@pytest.fixture(scope="module")
def medium(pair: Pair) -> Pair:
    pair.sql(
        "CREATE OR REPLACE TABLE medium (id bigint PRIMARY KEY, v int)",
        f"INSERT INTO medium SELECT seq, seq FROM seq_1_to_{FEWER_ROWS}",
    )
    return pair


def assert_exact(move: Move) -> None:
    """Elasticsearch has the table's keys, and each once."""
    keys = sorted(str(key) for (key,) in move.pair.sql(f"SELECT id FROM {move.table}"))
    assert move.ids() == keys


# --- killed ---------------------------------------------------------------------------------------------------------


def test_killed_ten_times_every_row_is_there_once_and_few_are_written_twice(big: Pair) -> None:
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    move = Move(big, "killed", columns=("v", "t"), table="big", range_rows=RANGE_ROWS)
    for number in range(KILLS):
        process = move.begin("--max-rows-per-second", "40000")
        goal = ROWS * (number + chance.random()) / KILLS * 0.9
        await_true(lambda goal=goal: move.count() > goal, seconds=120, what="it goes on")  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.3))  # the moment is meant to be any
        workers = psutil.Process(process.pid).children(recursive=True)
        move.kill(process)
        await_true(lambda gone=workers: not psutil.wait_procs(gone, 0)[1], what="workers are gone")  # type: ignore[misc]
    before_last = move.count()
    assert before_last < ROWS, "it was done before the last kill"
    report = move.run()
    assert_exact(move)
    assert move.indexed() - ROWS <= KILLS * WORKERS * RANGE_ROWS
    assert report["finished"]
    assert 0 < report["resumed_ranges"] <= WORKERS
    assert report["all_runs"]["rows"] == report["all_runs"]["written"] == ROWS
    assert report["run"]["rows"] <= ROWS - before_last + WORKERS * RANGE_ROWS


@pytest.mark.parametrize("whom", ["conductor", "worker"])
def test_one_killed_process_ends_the_run_and_the_next_goes_on(medium: Pair, whom: str) -> None:
    move = Move(medium, f"one-{whom}", table="medium", range_rows=RANGE_ROWS)
    process = move.begin(*SLOW)
    await_true(lambda: move.count() > 2 * RANGE_ROWS, what="it writes")
    workers = psutil.Process(process.pid).children()
    assert len(workers) == WORKERS
    if whom == "worker":
        workers[0].kill()
        assert "A worker ended by itself (exit code -9)" in move.end(process, 1)["said"]
    else:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
    await_true(lambda: not psutil.wait_procs(workers, 0)[1], what="nobody goes on")
    assert move.run()["all_runs"]["rows"] == FEWER_ROWS
    assert_exact(move)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_when_it_is_asked_to(medium: Pair, number: signal.Signals) -> None:
    move = Move(medium, "asked", table="medium", range_rows=RANGE_ROWS)
    process = move.begin(*SLOW)
    await_true(lambda: move.count() > 2 * RANGE_ROWS, what="it writes")
    os.killpg(process.pid, number)  # as a terminal does: to all of them
    report = move.end(process, 130)
    assert not report["finished"]
    assert 0 < report["run"]["rows"] < FEWER_ROWS
    again = move.run()
    assert again["run"]["rows"] == FEWER_ROWS - report["run"]["rows"], "nothing that was done is read again"
    assert again["resumed_ranges"] <= WORKERS
    assert_exact(move)


def test_elasticsearch_killed_midway_is_waited_for(medium: Pair) -> None:
    move = Move(medium, "search-killed", table="medium")
    process = move.begin(*SLOW)
    await_true(lambda: move.count() > FEWER_ROWS // 10, what="it writes")
    medium.kill("elasticsearch")
    await_true(lambda: "waiting for Elasticsearch" in move.said(process), what="it waits")
    medium.start("elasticsearch")
    report = move.end(process)
    assert "waiting for Elasticsearch" in report["said"]
    assert report["run"]["rows"] == FEWER_ROWS
    assert_exact(move)


def test_mariadb_killed_midway_is_waited_for(medium: Pair) -> None:
    move = Move(medium, "source-killed", table="medium")
    process = move.begin(*SLOW)
    await_true(lambda: move.count() > FEWER_ROWS // 10, what="it writes")
    medium.kill("mariadb")
    await_true(lambda: "waiting for the source" in move.said(process), what="it waits")
    medium.start("mariadb")
    report = move.end(process)
    assert "waiting for the source" in report["said"]
    assert report["run"]["rows"] == report["run"]["written"] == FEWER_ROWS, "what was read twice counts once"
    assert_exact(move)


# --- going on, and not ----------------------------------------------------------------------------------------------


@pytest.fixture
def small(pair: Pair) -> Pair:
    pair.sql(
        "CREATE OR REPLACE TABLE small (id int PRIMARY KEY, v int, at datetime NOT NULL)",
        "INSERT INTO small SELECT seq * 10, seq, '2024-01-01' + INTERVAL seq HOUR FROM seq_1_to_1000",
    )
    return pair


def test_done_it_looks_for_rows_after_the_last_key(small: Pair) -> None:
    move = Move(small, "more", table="small", range_rows=300)
    first = move.run()
    assert (first["ranges"], first["run"]["written"]) == (4, 1_000)
    again = move.run()
    assert (again["ranges"], again["run"]["rows"], again["finished"]) == (0, 0, True)
    assert "is done up to key [10000]" in again["said"]
    small.sql("INSERT INTO small VALUES (10001, 7, '2024-05-01'), (10002, 8, '2024-05-01'), (5, 9, '2024-05-01')")
    third = move.run()
    assert (third["ranges"], third["run"]["rows"], third["all_runs"]["rows"]) == (1, 2, 1_002)
    assert set(move.ids()) >= {"10001", "10002"}
    assert "5" not in move.ids(), "before the last key it does not look"
    assert move.run("--restart")["run"]["rows"] == 1_003
    assert_exact(move)


def test_a_changed_job_does_not_go_on_from_another_ones_ranges(small: Pair) -> None:
    move = Move(small, "changed", table="small", range_rows=100)
    process = move.begin("--max-rows-per-second", "200", "--workers", "1")
    await_true(lambda: move.count() > 100, what="it writes")
    os.kill(process.pid, signal.SIGINT)
    move.end(process, 130)
    assert "half done and --where differs" in move.run("--where", "v < 5", status=2)["said"]
    move.write(columns=("v", "at"))
    assert "half done and columns.at" in move.run(status=2)["said"]
    done = move.run("--restart")
    assert done["run"]["rows"] == 1_000
    assert move.documents()["10"] == {"v": 1, "at": "2024-01-01 01:00:00.000000"}
    # Done, it may be another one; and an index that was deleted has nothing in it.
    move.write(columns=("v",))
    assert "begins anew" in move.run()["said"]
    small.store.indices.delete(index=move.index)
    assert move.run()["run"]["rows"] == 1_000
    assert_exact(move)


def test_a_second_run_at_once_is_refused(small: Pair) -> None:
    move = Move(small, "twice", table="small", range_rows=100)
    process = move.begin("--max-rows-per-second", "100")
    await_true(lambda: move.count() > 0, what="it writes")
    assert f"is running already (process {process.pid})" in move.run(status=2)["said"]
    os.kill(process.pid, signal.SIGINT)
    move.end(process, 130)


def test_filters_choose_rows(small: Pair) -> None:
    move = Move(small, "chosen", table="small", more='where = "v > 10"\n[time]\ncolumn = "at"\nzone = "Europe/Madrid"')
    report = move.run("--since", "2024-01-02T00:00:00Z", "--until", "2024-01-03T00:00:00Z", "--where", "v % 2 = 0")
    # at is in Madrid, an hour ahead: v hours after midnight there.
    assert sorted(map(int, move.ids())) == [10 * v for v in range(25, 49) if v % 2 == 0]
    assert report["run"]["rows"] == 12
    assert move.run()["run"]["rows"] == 990


def test_a_dry_run_reads_everything_and_leaves_nothing(small: Pair) -> None:
    move = Move(small, "dry", table="small", range_rows=100)
    report = move.run("--dry-run")
    assert (report["run"]["rows"], report["run"]["written"], report["ranges"]) == (1_000, 0, 10)
    assert not small.store.indices.exists(index=move.index)
    assert not [*(small.settings.home / "state").glob("extraction/dry*")]


def test_it_is_no_faster_than_it_may_be(small: Pair) -> None:
    move = Move(small, "slow", table="small", range_rows=100)
    began = time.monotonic()
    move.run("--max-rows-per-second", "500")
    assert time.monotonic() - began > 1.5, "1,000 rows take two seconds, less what the first ones were ahead"


@contextmanager
def busy_threads(pair: Pair, count: int) -> Iterator[None]:
    """So many sessions of the source are at work."""
    sessions = [connect_mariadb(pair.settings) for _ in range(count)]
    ids = [session.connection_id for session in sessions]

    def work(session: MySQLConnectionAbstract) -> None:
        with suppress(mysql.connector.Error), session.cursor() as cursor:
            cursor.execute("SELECT SLEEP(300)")
            cursor.fetchall()

    threads = [threading.Thread(target=work, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for number in ids:
            pair.sql(f"KILL {number}")
        for thread in threads:
            thread.join()


def test_it_pauses_while_the_source_is_busy(small: Pair) -> None:
    move = Move(small, "polite", table="small", range_rows=100)
    with busy_threads(small, 3):
        process = move.begin("--max-rows-per-second", "300", "--pause-when-threads-running", "2")
        await_true(lambda: "paused: the source is busy" in move.said(process), what="it pauses")
        paused = move.count()
        assert paused < 800
        time.sleep(2)  # in which it would write 600 rows
        assert move.count() == paused, "it is paused"
    report = move.end(process)
    assert report["run"]["rows"] == 1_000
    assert "paused: the source is busy" in report["said"]


def test_it_does_not_take_itself_for_the_source_being_busy(small: Pair) -> None:
    move = Move(small, "alone", table="small", range_rows=100)
    assert "paused" not in move.run("--max-rows-per-second", "400", "--pause-when-threads-running", "1")["said"]


# --- what is not taken ----------------------------------------------------------------------------------------------


def test_what_is_not_taken_is_in_a_file_with_the_reason(pair: Pair) -> None:
    pair.sql(
        "CREATE OR REPLACE TABLE odd (id int PRIMARY KEY, a varchar(40), at datetime NOT NULL)",
        "INSERT INTO odd SELECT seq, CONCAT('10.0.0.', seq), '2024-01-01' FROM seq_1_to_250",
        "UPDATE odd SET a = 'no address' WHERE id IN (7, 207)",
        "UPDATE odd SET at = '2024-03-31 02:30:00' WHERE id = 9",
    )
    more = '[columns.a]\nfield = "a"\ntype = "ip"\n[time]\ncolumn = "at"\nzone = "Europe/Madrid"'
    move = Move(pair, "odd", columns=(), more=more, range_rows=100)
    report = move.run(status=1)
    assert (report["run"]["written"], report["run"]["dead"], report["run"]["set_aside"]) == (247, 2, 1)
    assert sum(report["run"]["reasons"].values()) == 3
    assert Path(report["dead_file"]).read_text("utf-8").count("\n") == 3
    by_id = {entry["_id"]: entry for entry in move.dead if "_id" in entry}
    assert set(by_id) == {"7", "207"}
    assert (by_id["7"]["document"]["a"], by_id["7"]["status"]) == ("no address", 400)
    assert "'no address' is not an IP string literal" in by_id["7"]["reason"]
    (aside,) = [entry for entry in move.dead if "key" in entry]
    assert aside["key"] == [9]
    assert "never showed" in aside["reason"]
    # They stay what they are, once each, whatever runs again.
    assert move.run(status=1)["run"]["rows"] == 0
    assert len(move.dead) == 3
    pair.sql("UPDATE odd SET a = '10.0.0.7', at = '2024-01-01'")
    assert move.run("--restart")["dead_file"] is None
    assert_exact(move)
    assert not move.dead


def test_dead_rows_of_a_killed_run_are_in_the_file_once(pair: Pair) -> None:
    pair.sql(
        "CREATE OR REPLACE TABLE bad (id int PRIMARY KEY, a varchar(40))",
        "INSERT INTO bad SELECT seq, IF(seq % 10, '10.0.0.1', 'none') FROM seq_1_to_20000",
    )
    move = Move(pair, "bad", columns=(), more='[columns.a]\nfield = "a"\ntype = "ip"', range_rows=1_000)
    for _ in range(3):
        process = move.begin("--max-rows-per-second", "4000")
        before = move.count()
        await_true(lambda before=before: move.count() > before + 1_000, what="it writes")  # type: ignore[misc]
        move.kill(process)
    # As one that was killed after it wrote them, and before it remembered that their range is done.
    with (pair.settings.home / "state" / "extraction" / "bad.dead.ndjson").open("a") as file:
        file.write('{"_id": "10"}\n')
    assert move.run(status=1)["all_runs"]["dead"] == 2_000
    assert sorted(int(entry["_id"]) for entry in move.dead) == list(range(10, 20_001, 10))
    assert move.count() == 18_000


def test_a_blocked_index_and_the_limit_on_shards_are_waited_for(small: Pair) -> None:
    move = Move(small, "blocked", table="small", range_rows=100)
    move.run("--where", "v < 0")
    small.store.indices.put_settings(index=move.index, settings={"index.blocks.write": True})
    process = move.begin()
    await_true(lambda: "waiting for Elasticsearch" in move.said(process), what="it waits")
    small.store.indices.put_settings(index=move.index, settings={"index.blocks.write": None})
    report = move.end(process)
    assert report["run"]["written"] == 1_000
    assert "waiting for Elasticsearch" in report["said"]


def test_an_index_with_other_types_is_refused(small: Pair) -> None:
    move = Move(small, "other", table="small")
    small.store.indices.create(index=move.index, mappings={"properties": {"v": {"type": "keyword"}}})
    said = move.run(status=2)["said"]
    assert "holds field v as keyword, not long" in said
    assert move.count() == 0


def test_settings_of_the_index_are_put_back(small: Pair) -> None:
    move = Move(small, "settings", table="small", range_rows=100)
    move.run("--where", "v < 0")
    small.store.indices.put_settings(index=move.index, settings={"index.gc_deletes": "7m"})

    def gc_deletes() -> str | None:
        found = small.store.indices.get_settings(index=move.index, flat_settings=True)
        value: str | None = found[move.index]["settings"].get("index.gc_deletes")
        return value

    process = move.begin("--max-rows-per-second", "300")
    await_true(lambda: gc_deletes() == "1h", what="it is raised")
    move.kill(process)
    assert gc_deletes() == "1h"
    move.run()
    assert gc_deletes() == "7m"


# --- what is written over what --------------------------------------------------------------------------------------


class NothingShown:
    def update(self, state: State) -> None:
        pass

    def say(self, text: str) -> None:
        pass


def test_versions_keep_what_is_newer(small: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    move = Move(small, "versions", table="small", range_rows=300)

    def moved(version: int) -> Tally:
        # Where a captured table's binary log is, at each snapshot.
        monkeypatch.setattr(setup, "version_of", lambda *_: lambda _: version)
        options = Options(workers=1, restart=True)
        return run(load_job(move.job), small.settings, options, lambda: False, NothingShown()).run

    assert moved(7).written == 1_000
    small.store.index(index=move.index, id="10", document={"v": -1}, version=9, version_type="external_gte")
    small.store.delete(index=move.index, id="20", version=9, version_type="external_gte")
    again = moved(8)
    assert (again.written, again.newer, again.dead) == (998, 2, 0)
    documents = move.documents()
    assert documents["10"] == {"v": -1}
    assert "20" not in documents, "what was deleted meanwhile does not come back"


def test_history_never_overwrites_a_live_reading(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = load_schema(pair.settings.reading.toml)
    body = schema.index_template(READINGS_PATTERN, 1, 0)
    pair.sql(schema.create_table("readings"))
    pair.sql(
        "INSERT INTO readings (sensor_id, timestamp, temperature)"
        " SELECT 1 + seq % 3, '2024-01-31 23:00:00.5' + INTERVAL seq MINUTE, seq FROM seq_1_to_120"
    )
    job = pair.settings.home / "history.toml"
    server = Server(**pair.settings.mariadb.model_dump(include={"host", "port", "database", "user"}))
    draft(pair.settings, server, "readings", job)
    options = Options()
    with pytest.raises(JobError, match="mare apply"):
        run(load_job(job), pair.settings, options, lambda: False, NothingShown())
    pair.store.indices.put_index_template(name="readings", **body)
    live = identity(2, 1_706_742_060_500_000)
    pair.store.index(index="readings-2024.01", id=live, document={"sensor_id": 2, "temperature": 99})
    done = run(load_job(job), pair.settings, options, lambda: False, NothingShown())
    assert (done.run.written, done.run.existing, done.exit_status) == (119, 1, 0)
    assert pair.store.get(index="readings-2024.01", id=live)["_source"]["temperature"] == 99
    assert pair.store.count(index="readings-2024.02")["count"] == 61
    assert pair.store.count(index="readings-2024.01")["count"] == 59
    found = pair.store.indices.get_settings(index="readings-2024.01", name="index.gc_deletes")
    assert not found.body, "nothing is set on indices of readings"
    assert run(load_job(job), pair.settings, options, lambda: False, NothingShown()).run.rows == 0
    monkeypatch.setattr(ClusterClient, "state", lambda *_, **__: {"cluster_uuid": "another"})
    again = run(load_job(job), pair.settings, options, lambda: False, NothingShown())
    assert again.run.rows == 120, "another cluster has nothing of what was moved"


def test_what_is_no_instant_of_a_reading_is_set_aside(pair: Pair) -> None:
    schema = load_schema(pair.settings.reading.toml)
    body = schema.index_template(READINGS_PATTERN, 1, 0)
    pair.store.indices.put_index_template(name="readings", **body)
    odd = ("0000-00-00", "2024-00-10", "2024-05-00", "2024-02-31 12:00:00", "1969-12-31 23:59:59.999999", "2300-01-01")
    rows = ", ".join(f"(7, '{text}', 1)" for text in (*odd, "2031-03-01 00:00:00.25"))
    pair.sql(
        f"CREATE OR REPLACE {schema.create_table('readings').removeprefix('CREATE ')}".replace("IF NOT EXISTS ", ""),
        "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'",
        f"INSERT INTO readings (sensor_id, timestamp, temperature) VALUES {rows}",
    )
    job = pair.settings.home / "odd-readings.toml"
    server = Server(**pair.settings.mariadb.model_dump(include={"host", "port", "database", "user"}))
    draft(pair.settings, server, "readings", job)
    done = run(load_job(job), pair.settings, Options(), lambda: False, NothingShown())
    # MariaDB can name 31 February in microseconds, so it is Elasticsearch that refuses it.
    assert (done.run.written, done.run.dead, done.run.set_aside) == (1, 1, len(odd) - 1), done.run
    found = pair.store.search(index="readings-2031.03", query={"match_all": {}})["hits"]["hits"]
    assert [(hit["_id"], hit["_source"]["timestamp"]) for hit in found] == [
        (identity(7, 1_930_089_600_250_000), "2031-03-01 00:00:00.250000")
    ]


def test_a_range_is_of_one_moment_however_long_it_takes(pair: Pair) -> None:
    # Row 5 is read last, by way of Python: MariaDB takes its JSON for good, and JSON has no such number.
    pair.sql(
        "CREATE OR REPLACE TABLE moment (id int PRIMARY KEY, v int, j json)",
        "INSERT INTO moment SELECT seq, 0, IF(seq = 5, '[1.]', '[1]') FROM seq_1_to_1000",
    )
    move = Move(pair, "moment", columns=("v", "j"), table="moment")
    ((before,),) = pair.sql("SELECT MAX(id) FROM information_schema.processlist")
    waiting = f"SELECT COUNT(*) FROM information_schema.processlist WHERE id > {before} AND time_ms > 1000"
    process = move.begin("--workers", "1", "--max-rows-per-second", "200")
    # The worker begins its range as soon as it has a session, and then waits for most of five seconds.
    await_true(lambda: pair.sql(waiting) == [(2,)], what="walker and worker have asked what they wanted")
    pair.sql("UPDATE moment SET v = 1")
    assert move.end(process)["run"]["rows"] == 1_000
    assert len({document["v"] for document in move.documents().values()}) == 1


def test_a_type_that_this_elasticsearch_lacks_is_named(pair: Pair) -> None:
    pair.sql("CREATE OR REPLACE TABLE lacking (id int PRIMARY KEY, big bigint unsigned)")
    said = Move(pair, "lacking", columns=("big",), table="lacking").run(status=2)["said"]
    assert "[unsigned_long]" in said and "Give the column another `type`" in said


# --- tables of all shapes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "ddl", "key", "rows"),
    [
        ("empty", "id int PRIMARY KEY, v int", "id", ""),
        ("one-row", "id int PRIMARY KEY, v int", "id", "SELECT 3, 1"),
        (
            "gaps",
            "id bigint unsigned PRIMARY KEY, v int",
            "id",
            "SELECT seq * 1000000000 + 9223372036854775808, seq FROM seq_1_to_1000",
        ),
        (
            "composite",
            "a int, b datetime(6), v int, PRIMARY KEY (a, b)",
            "a, b",
            "SELECT seq DIV 30, '2024-01-01' + INTERVAL seq MICROSECOND, seq FROM seq_1_to_1000",
        ),
        (
            "strings",
            "a varchar(40) COLLATE utf8mb4_unicode_ci PRIMARY KEY, v int",
            "a",
            "SELECT CONCAT(ELT(1 + seq % 6, 'é', 'E', 'z', 'Ñ', '😀', 'a''b|%'), seq), seq FROM seq_1_to_1000",
        ),
    ],
)
def test_every_row_of_a_table_of_any_shape_arrives(pair: Pair, name: str, ddl: str, key: str, rows: str) -> None:
    table = f"shape_{name.replace('-', '_')}"
    pair.sql(
        f"CREATE OR REPLACE TABLE {table} ({ddl}) CHARACTER SET utf8mb4",
        *([f"INSERT INTO {table} {rows}"] if rows else []),
    )
    move = Move(pair, f"shape-{name}", key=tuple(key.split(", ")), table=table, range_rows=130)
    report = move.run()
    values = sorted(value for (value,) in pair.sql(f"SELECT v FROM {table}"))
    assert sorted(document["v"] for document in move.documents().values()) == values
    assert report["run"]["written"] == len(values)
    assert report["ranges"] == -(-len(values) // 130)
    assert move.run()["run"]["rows"] == 0


def test_a_table_without_a_key_is_refused(pair: Pair) -> None:
    pair.sql("CREATE OR REPLACE TABLE keyless (id int, v int)")
    move = Move(pair, "keyless")
    said = move.run(status=2)["said"]
    assert "ALTER TABLE keyless ADD COLUMN id BIGINT" in said
    assert not pair.store.indices.exists(index=move.index)


def test_long_rows_stay_within_memory(pair: Pair) -> None:
    pair.sql(
        "CREATE OR REPLACE TABLE long_rows (id int PRIMARY KEY, v longtext)",
        "INSERT INTO long_rows SELECT seq, REPEAT('x', 1000000) FROM seq_1_to_400",
    )
    move = Move(pair, "long-rows", table="long_rows", range_rows=400)
    process = move.begin("--workers", "1")
    most = 0
    while process.poll() is None:
        most = max(most, _resident(process.pid))
        time.sleep(0.02)
    move.end(process)
    assert move.count() == 400
    assert 0 < most < 300 << 20


def _resident(pid: int) -> int:
    """Bytes of all processes of a run."""
    total = 0
    try:
        for process in [psutil.Process(pid), *psutil.Process(pid).children()]:
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total
