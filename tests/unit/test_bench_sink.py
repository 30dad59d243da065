"""`mare bench sink`: what it stores, how it counts, in which turns, and what it leaves behind. No engine runs here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from rich.console import Console
from waiting import await_true

import installs.artifacts
import installs.machine
from benchmarks import engines, machine, sink, sink_measure, sink_tables
from benchmarks.documents import Reading, batches, bulk_body, readings
from benchmarks.plain_bulk import Clients
from benchmarks.sink import Options, Report, own_settings
from benchmarks.sink_measure import Bench, Engines, follow
from benchmarks.sink_result import (
    CLIENTS,
    ELASTICSEARCH,
    KAFKA,
    PLAIN,
    SINK,
    WORKER,
    Course,
    Pass,
    order,
    ratio,
    summary,
    verdict,
)
from connect.connectors import definitions
from installs.machine import Java
from installs.process import Service, record_of
from maredata.cli import main
from maredata.decoder import Decoder
from maredata.errors import EngineError, EngineExited, StoreError
from maredata.names import ELASTICSEARCH_SINK, READINGS, index_of
from maredata.reading import identity
from maredata.schema import load_schema
from maredata.settings import Settings

SCHEMA = load_schema(Settings().reading.toml)
CPU = {WORKER: 0.4, ELASTICSEARCH: 2.0, KAFKA: 0.05, CLIENTS: 0.0}
PASS = Pass(
    receiver=SINK, round=1, documents=100_000, counted=100_000, course=Course(100_000, 10_000, 0.5, 2.0), cpu=CPU,
    own_cpu=0.1, elsewhere_cpu=0.2, cores=2,
)  # fmt: skip
FAILED = replace(PASS, counted=99_999)
STUCK = replace(PASS, counted=5, course=Course(5, 5, 0.1, 61.0, "nothing came for 60 s"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


# --- what is stored


def test_the_readings_are_canonical_and_no_identity_comes_twice() -> None:
    decode = Decoder(SCHEMA).decode
    found = list(readings(2500))
    decoded = [decode(reading.line) for reading in found]
    assert [reading.line for reading in decoded] == [reading.line for reading in found], "not canonical"
    assert [(reading.sensor_id, reading.micros, reading.key) for reading in decoded] == [
        (reading.sensor_id, reading.micros, reading.key) for reading in found
    ]
    assert len({reading.id for reading in decoded}) == 2500
    assert len({reading.sensor_id for reading in decoded}) == 1000
    assert all(reading.usual for reading in decoded[1:]), "not plausible"
    # So none comes twice among more of them, either.
    assert all(later.micros - earlier.micros > 1_000_000 for earlier, later in pairwise(found[::1000]))
    assert len({reading.micros % 10 for reading in found}) == 10, "no microseconds"


def test_the_readings_are_the_same_each_time_however_many() -> None:
    assert list(islice(readings(1000), 10)) == list(readings(10))


def test_a_body_has_an_action_with_index_and_identity_and_the_line_as_it_is() -> None:
    found = [*readings(3), Reading(7, 1_706_745_600_000_001, b'{"any": "bytes"}')]
    lines = bulk_body(found).split(b"\n")
    assert lines.pop() == b"", "a bulk ends with a line break"
    assert lines[1::2] == [reading.line for reading in found]
    for action, reading in zip(lines[::2], found, strict=True):
        expected: dict[str, Any] = {
            "_index": index_of(reading.micros),
            "_id": identity(reading.sensor_id, reading.micros),
        }
        if reading.offset is not None:
            expected |= {"version": reading.offset, "version_type": "external"}
        assert json.loads(action) == {"index": expected}
    assert lines[6] == b'{"index":{"_index":"readings-2024.02","_id":"7-1706745600000001"}}'


def test_the_sink_is_told_to_make_the_same_documents() -> None:
    definition = definitions(Settings(), SCHEMA)[ELASTICSEARCH_SINK]
    assert definition["index"] == "readings-{timestamp:yyyy.MM}"
    assert definition["document.id"] == "{sensor_id}-{timestamp:epoch_micros}"
    assert definition["value.converter.output"] == "json", "it would not pass bytes through"
    assert definition["document.version"] == "offset"
    changing = {"document.coordinates", "write.operation", "transforms"}
    assert not changing & definition.keys()


def test_batches_hold_all_in_order() -> None:
    assert [len(batch) for batch in batches(readings(10), 4)] == [4, 4, 2]
    assert [reading for batch in batches(readings(10), 4) for reading in batch] == list(readings(10))


# --- what it comes to


def test_a_rate_leaves_out_what_was_there_at_the_first_look() -> None:
    assert PASS.rate == pytest.approx(90_000 / 1.5)
    assert PASS.rate_from_start == pytest.approx(50_000)
    assert replace(PASS, course=Course(100_000, 100_000, 0.5, 0.5)).rate is None, "no time has passed"


def test_cpu_is_for_a_million_documents() -> None:
    assert PASS.per_million(WORKER) == pytest.approx(4.0)
    assert PASS.per_million(ELASTICSEARCH) == pytest.approx(20.0)
    assert PASS.elsewhere_share == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (PASS, "all there"),
        (FAILED, "failed: 99,999 documents instead of 100,000"),
        (replace(PASS, counted=100_001), "failed: 100,001 documents instead of 100,000"),
        (STUCK, "failed: 5 documents instead of 100,000; nothing came for 60 s"),
    ],
)
def test_only_exactly_all_documents_will_do(found: Pass, said: str) -> None:
    assert verdict(found) == said
    whole = found is PASS
    assert found.whole == whole
    for number in (found.rate, found.rate_from_start, found.per_million(WORKER)):
        assert (number is not None) == whole
    assert found.as_dict()["verdict"] == said


def at_rate(receiver: str, rate: float, worker: float = 0.4) -> Pass:
    course = Course(100_000, 0, 1.0, 1.0 + 100_000 / rate)
    return replace(PASS, receiver=receiver, course=course, cpu=CPU | {WORKER: worker})


def test_the_ratio_is_that_of_the_medians() -> None:
    plain = [at_rate(PLAIN, rate) for rate in (50_000, 80_000, 200_000)]
    sinks = [at_rate(SINK, rate) for rate in (10_000, 60_000, 70_000)]
    assert ratio([*plain, *sinks]) == pytest.approx(0.75)
    assert ratio([*plain, *sinks, replace(at_rate(SINK, 1e6), counted=5)]) == pytest.approx(0.75), "a failed one counts"
    assert ratio(plain) is None and ratio(sinks) is None


def test_the_summary_has_medians_and_the_goals() -> None:
    sinks = [at_rate(SINK, rate, worker) for rate, worker in ((50_000, 0.5), (60_000, 0.3), (90_000, 0.6))]
    found = summary([at_rate(PLAIN, 80_000), *sinks])
    assert found["ratio"] == {"seen": pytest.approx(0.75), "goal": 0.8}
    assert found["worker_cpu_per_million"] == {"seen": pytest.approx(5.0), "goal": 5.0}
    assert found["receivers"][SINK]["rate"] == pytest.approx([60_000, 50_000, 90_000])
    assert found["receivers"][SINK]["cpu_per_million"][WORKER] == pytest.approx([5.0, 3.0, 6.0])
    assert found["receivers"][SINK]["whole"] and not summary([FAILED])["receivers"][SINK]["whole"]


# --- how documents are counted


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def followed(indexed: Callable[[float], int], trouble: Callable[[float], str] = lambda _: "") -> Course:
    """Of 1000 documents; both are asked with the seconds since the start."""
    clock = FakeClock()
    began = clock.now
    return follow(
        lambda: indexed(clock.now - began), 1000, lambda: trouble(clock.now - began), began, clock, clock.sleep
    )


def test_the_clock_runs_from_the_first_look_that_sees_any_to_the_last_document() -> None:
    course = followed(lambda seconds: 0 if seconds < 2 else min(1000, int(100 * seconds)))
    assert (course.indexed, course.trouble) == (1000, "")
    assert course.first_seconds == pytest.approx(2.0, abs=0.11)
    assert course.at_first == pytest.approx(200, abs=11)
    assert course.seconds == pytest.approx(10.0, abs=0.11)


def test_pauses_are_no_failure() -> None:
    assert followed(lambda seconds: 500 * (1 + int(seconds // 50)) // 2).trouble == ""


def test_one_that_brings_nothing_is_given_up() -> None:
    course = followed(lambda _: 999)
    assert (course.indexed, course.trouble) == (999, "nothing came for 60 s")
    assert followed(lambda _: 0).first_seconds is None


def test_one_in_trouble_is_not_waited_for() -> None:
    course = followed(lambda _: 500, lambda seconds: "it failed" if seconds > 4 else "")
    assert course.trouble == "it failed"
    assert course.seconds < 10


# --- the plain clients


class FakeElasticsearch(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer: bytes
    posted: list[tuple[int, bytes]]  # the client's port, which is its connection, and the body

    def do_POST(self) -> None:
        assert self.path.startswith("/_bulk")
        self.posted.append((self.client_address[1], self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def store(settings: Settings) -> Iterator[tuple[Settings, type[FakeElasticsearch]]]:
    handler = type("Fake", (FakeElasticsearch,), {"answer": b'{"errors":false}', "posted": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = settings.elasticsearch.model_copy(update={"port": server.server_address[1]})
        yield settings.model_copy(update={"elasticsearch": found}), handler
        server.shutdown()


@pytest.fixture
def bodies(tmp_path: Path) -> Path:
    folder = tmp_path / "bodies"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number:012}.ndjson").write_bytes(b"body %d\n" % number)
    return folder


def test_the_clients_post_each_body_once_each_through_one_connection(
    store: tuple[Settings, type[FakeElasticsearch]], bodies: Path
) -> None:
    settings, fake = store
    with Clients(settings, bodies, 2) as clients:
        assert len(set(clients.pids)) == 2 and not fake.posted, "they wait for the word"
        clients.go()
        assert all(seconds is not None and seconds > 0 for seconds in clients.seconds())
        with pytest.raises(subprocess.TimeoutExpired):  # they stay until their CPU was counted
            clients._processes[0].wait(1)
        assert clients.trouble() == ""
    assert not any(map(psutil.pid_exists, clients.pids))
    assert sorted(body for _, body in fake.posted) == [b"body %d\n" % number for number in range(5)]
    by_client = {port: [body for client, body in fake.posted if client == port] for port, _ in fake.posted}
    assert sorted(by_client.values()) == [[b"body 0\n", b"body 2\n", b"body 4\n"], [b"body 1\n", b"body 3\n"]]


def test_a_client_whose_bulk_is_refused_says_so(store: tuple[Settings, type[FakeElasticsearch]], bodies: Path) -> None:
    settings, fake = store
    fake.answer = b'{"errors":true}'
    with Clients(settings, bodies, 1) as clients:
        clients.go()
        client = psutil.Process(clients.pids[0])
        await_true(lambda: client.status() == psutil.STATUS_ZOMBIE, what="the client ended")
        assert (
            clients.trouble() == 'a plain client failed: Elasticsearch refused a bulk, with status 200: {"errors":true}'
        )
        assert clients.seconds() == [None]


def test_a_client_that_reaches_no_store_is_an_error(settings: Settings, bodies: Path) -> None:
    nowhere = settings.elasticsearch.model_copy(update={"port": 1})
    with (
        pytest.raises(EngineExited, match=r"did not start.*refused"),
        Clients(settings.model_copy(update={"elasticsearch": nowhere}), bodies, 1),
    ):
        pass


# --- the rounds


class FakeIndices:
    """Has `there` documents once it was cleared."""

    there = 20

    def __init__(self) -> None:
        self.calls: list[str] = []

    def clear(self) -> None:
        self.calls.append("clear")

    def indexed(self) -> int:
        return 20

    def documents(self) -> int:
        return self.there


class FakeStatus:
    failed = True
    trouble = "no luck"


class FakeWorker:
    def __init__(self, calls: list[str]) -> None:
        self.calls = calls
        self.configs: list[dict[str, str]] = []

    def put_config(self, name: str, config: dict[str, str]) -> None:
        self.calls.append(f"put {name}")
        self.configs.append(config)

    def connector(self, _name: str) -> FakeStatus:
        return FakeStatus()

    def delete(self, name: str) -> bool:
        self.calls.append(f"delete {name}")
        return True


class FakeProducer:
    made: list[tuple[str, bytes, bytes]]
    configuration: dict[str, Any]

    def __init__(self, configuration: dict[str, Any]) -> None:
        FakeProducer.configuration = configuration

    def produce(self, topic: str, value: bytes, key: bytes) -> None:
        self.made.append((topic, value, key))

    def poll(self, _seconds: float) -> int:
        return 0

    def flush(self, _seconds: float) -> int:
        return 0

    def __len__(self) -> int:
        return 0


class FakeOffsets:
    lost = 0

    def __init__(self, *_: object) -> None:
        pass

    def total(self) -> int:
        return len(FakeProducer.made) - self.lost

    def close(self) -> None:
        pass


@pytest.fixture
def indices(monkeypatch: pytest.MonkeyPatch) -> FakeIndices:
    FakeProducer.made = []
    monkeypatch.setattr(sink_measure, "Producer", FakeProducer)
    monkeypatch.setattr(sink_measure, "EndOffsets", FakeOffsets)
    monkeypatch.setattr(sink_measure, "group_members", lambda *_: 0)
    monkeypatch.setattr(sink_measure, "_LONGEST_QUIET", 0)
    monkeypatch.setattr(sink_measure, "_QUIET_LOOK_SECONDS", 0)
    return FakeIndices()


@pytest.fixture
def bench(settings: Settings, indices: FakeIndices) -> Bench:
    pids = dict.fromkeys((WORKER, ELASTICSEARCH, KAFKA), os.getpid())
    worker = FakeWorker(indices.calls)
    definition = {"name": ELASTICSEARCH_SINK, "batch.documents": "8"}
    return Bench(Engines(settings, pids, worker, indices), definition, 2, lambda _: None)  # type: ignore[arg-type]


def test_topic_and_bodies_hold_the_same_readings(bench: Bench, settings: Settings) -> None:
    found = readings(20)
    bench.fill(found, 12)
    bench.fill(found, 8)
    assert FakeProducer.made == [(READINGS, reading.line, reading.key) for reading in readings(20)]
    assert FakeProducer.configuration["partitioner"] == "murmur2_random"
    files = sorted((settings.home / "data" / "bodies").iterdir())
    assert [path.read_bytes().count(b"\n") // 2 for path in files] == [8, 4, 8]
    assert b"".join(path.read_bytes() for path in files) == bulk_body(readings(20))


def test_a_topic_that_lacks_readings_is_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeOffsets, "lost", 1)
    with pytest.raises(StoreError, match="holds 19 readings instead of 20"):
        bench.fill(readings(20), 20)


def test_each_pass_of_the_sink_has_a_new_index_and_a_new_consumer_group(bench: Bench, indices: FakeIndices) -> None:
    bench.fill(readings(20), 20)
    found = [bench.measure(SINK, number) for number in (1, 2)]
    first, second = f"{ELASTICSEARCH_SINK}-1", f"{ELASTICSEARCH_SINK}-2"
    assert indices.calls == [
        "clear", f"put {first}", f"delete {first}", "clear", f"put {second}", f"delete {second}"
    ]  # fmt: skip
    assert all(one.whole and one.documents == 20 for one in found)
    worker = bench._engines.worker
    assert isinstance(worker, FakeWorker)
    assert worker.configs[1] == {"name": second, "batch.documents": "8"}


def test_a_pass_after_which_one_is_missing_has_failed(bench: Bench, indices: FakeIndices) -> None:
    bench.fill(readings(20), 20)
    indices.there = 19
    assert not bench.measure(SINK, 1).whole


def test_a_connector_that_fails_is_quoted(bench: Bench, indices: FakeIndices, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.fill(readings(20), 20)
    monkeypatch.setattr(indices, "indexed", lambda: 19)
    monkeypatch.setattr(sink_measure, "_DOUBT_SECONDS", 0)
    assert "the connector failed: no luck" in verdict(bench.measure(SINK, 1))


def test_the_plain_clients_begin_in_odd_rounds_and_the_sink_in_even_ones(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake_measure(_bench: object, receiver: str, number: int) -> Pass:
        return replace(PASS, receiver=receiver, round=number)

    monkeypatch.setattr(Bench, "measure", fake_measure)
    assert [(found.round, found.receiver) for found in bench.rounds(3)] == [
        (1, PLAIN), (1, SINK), (2, SINK), (2, PLAIN), (3, PLAIN), (3, SINK)
    ]  # fmt: skip
    assert order(1) == (PLAIN, SINK)


# --- its engines


def fake_engine(name: str, *command: str, ready: bool = True) -> engines.Engine:
    def make(settings: Settings, _java: object) -> Service:
        folder = settings.home / "data" / name
        return Service(name, "0", "nowhere", command, lambda: ready, lambda: folder.mkdir(parents=True))

    return make


@pytest.fixture
def no_java(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(installs.machine, "find_java", lambda _: Java(settings.home, 17))
    monkeypatch.setattr(installs.machine, "check_entry", lambda *_: None)
    monkeypatch.setattr(installs.artifacts, "fetch", lambda *_: None)
    return settings


def test_engines_are_gone_with_their_data_whatever_ended_it(no_java: Settings) -> None:
    pids: list[int] = []

    def interrupted() -> None:
        with engines.running(no_java, [fake_engine("kafka", "sleep", "60")], lambda _: None) as found:
            pids.append(found["kafka"])
            assert psutil.Process(pids[0]).is_running() and (no_java.home / "data" / "kafka").exists()
            os.kill(os.getpid(), signal.SIGTERM)

    with engines.ends_in_order(), pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not psutil.pid_exists(pids[0])
    assert not (no_java.home / "data" / "kafka").exists()


def test_one_that_does_not_start_takes_the_others_with_it(no_java: Settings) -> None:
    started = fake_engine("kafka", "sleep", "60"), fake_engine("connect", "false", ready=False)
    with pytest.raises(EngineError, match="connect ended"), engines.running(no_java, started, lambda _: None):
        pass
    assert record_of(no_java, "kafka") is None
    assert not (no_java.home / "data" / "kafka").exists()


def test_it_has_a_home_and_ports_of_its_own(settings: Settings) -> None:
    theirs = settings.model_copy(update={"connect": settings.connect.model_copy(update={"tasks": 7})})
    own = own_settings(theirs, Options(first_port=23_000))
    ports = (own.kafka.port, own.kafka.controller_port, own.connect.port)
    assert (*ports, own.elasticsearch.port, own.elasticsearch.transport_port) == tuple(range(23_000, 23_005))
    assert own.home == settings.home / "benchmarks"
    assert own.connect.tasks == 1, "the user's own instance's"


# --- what is told


@pytest.fixture
def report(tmp_path: Path) -> Report:
    passes = (at_rate(PLAIN, 80_000), at_rate(SINK, 60_000), replace(at_rate(SINK, 70_000), round=2))
    content = {
        "machine": machine.facts(),
        "options": {"warm_up": 50_000, "clients": 2},
        "does": sink.DOES,
        "base": sink.BASE,
        "summary": summary(passes),
    }
    return Report(tmp_path / "result.json", content, (replace(PASS, round=0, receiver=PLAIN),), passes)


def test_the_tables_tell_it_all(report: Report) -> None:
    console = Console(width=200, record=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
    console.print(sink_tables.render(report))
    shown = console.export_text()
    rows = {" ".join(line.split()) for line in shown.splitlines()}
    assert "warm-up plain 60,000 50,000 5% all there" in rows
    assert any(row.startswith("sink 65,000 (60,000-70,000) ") and "4.00 20.00 0.50" in row for row in rows), shown
    assert "sink's documents/s ÷ plain's (medians) 0.81 0.80 or more met" in rows
    assert "worker's CPU seconds for a million 4.00 5 or less met" in rows
    assert "warmed up by 50,000 documents" in shown and "A rate counts from" in shown
    assert "elasticsearch 8" in shown


def test_a_goal_that_is_missed_is_said_and_an_unknown_one_not_judged(report: Report) -> None:
    table = sink_tables.goals_table(summary([at_rate(PLAIN, 80_000), at_rate(SINK, 60_000, worker=0.6)]))
    assert list(table.columns[3].cells) == ["missed", "missed"]
    assert list(sink_tables.goals_table(summary([FAILED])).columns[3].cells) == ["?", "?"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [({}, 0), ({"passes": (PASS, FAILED)}, 1), ({"passes": (PASS, STUCK)}, 1), ({"warm_up": (FAILED,)}, 1)],
)
def test_a_failed_pass_is_exit_status_1(
    report: Report, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], status: int
) -> None:
    asked: list[Options] = []

    def fake_run(_own: Settings, options: Options, *_: object) -> Report:
        asked.append(options)
        return replace(report, **changes)

    monkeypatch.setattr(sink, "run", fake_run)
    result = CliRunner().invoke(main, ["bench", "sink", "--json", "--documents", "10000", "--rounds", "2"])
    assert (result.exit_code, json.loads(result.stdout)["options"]["clients"]) == (status, 2)
    assert (asked[0].documents, asked[0].rounds, asked[0].clients, asked[0].warm_up) == (10_000, 2, 2, 5_000)
