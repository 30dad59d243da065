"""The gateway as the operator meets it: `mare serve` as a real process, with a Kafka that is not there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import waiting
from click.testing import CliRunner
from ports import free_ports
from prometheus_client.parser import text_string_to_metric_families

from maredata.cli import main
from maredata.names import READINGS
from maredata.settings import CHECKOUT, Kafka, Metrics, Settings, Tcp, Udp, load_settings
from maredata.state import ledger_file, read_json
from udp_server import gateway as gateway_module
from udp_server import lagging, metrics
from udp_server.files import WorkerFiles, all_workers
from udp_server.sockets import listen
from udp_server.spool import Spool
from udp_server.workers import Workers

await_true = partial(waiting.await_true, seconds=30)

ADDRESS = "127.0.0.1"
PATIENT = {"MARE_UDP__SPOOL_AFTER_SECONDS": "3600"}  # what Kafka has not taken stays in flight
COLUMNS = ("accepted", "rejected", "refused", "in_flight", "lost_in_crash")


class Gateway:
    """A process of `mare serve`, and what it writes down."""

    def __init__(self, home: Path, ports: Sequence[int], arguments: list[str], others: Mapping[str, str]) -> None:
        self.home, self.port = home, ports[0]
        self.settings = Settings(home=home)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MARE_")},
            "MARE_HOME": str(home),
            "MARE_UDP__HOST": ADDRESS,
            "MARE_UDP__PORT": str(ports[0]),
            "MARE_UDP__RECEIVE_BUFFER": str(4 << 20),
            "MARE_UDP__SPOOL_AFTER_SECONDS": "0.1",
            "MARE_METRICS__HOST": ADDRESS,
            "MARE_METRICS__PORT": str(ports[1]),
            "MARE_KAFKA__PORT": "1",
            **others,
        }
        self.web = httpx.Client(base_url=f"http://{ADDRESS}:{ports[1]}", trust_env=False, timeout=30)
        self.log = home.parent / f"log-{len(list(home.parent.glob('log-*')))}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "maredata.cli", "serve", *arguments],
                env=self.environment,
                cwd=CHECKOUT,
                stderr=log,
            )
        self.started: list[psutil.Process] = []  # all of its workers that this test has seen

    def await_ready(self) -> None:
        await_true(lambda: self.ledger().get("pid") == self.process.pid or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text("utf-8")
        self.workers()

    def await_end(self) -> int:
        return self.process.wait(60)

    def ledger(self) -> dict[str, Any]:
        return read_json(ledger_file(self.settings))

    def lines(self) -> dict[str, int]:
        counts: dict[str, int] = self.ledger()["lines"]
        return counts

    def await_lines(self, before: Mapping[str, int], accepted: int, rejected: int = 0) -> None:
        """Until the ledger has them all: each worker writes its own every so often, not with each line."""
        wanted = (before["accepted"] + accepted, before["rejected"] + rejected)
        await_true(lambda: (self.lines()["accepted"], self.lines()["rejected"]) == wanted)

    def worker(self, number: int) -> dict[str, Any]:
        content: dict[str, Any] = WorkerFiles(self.settings, number).read_ledger()
        return content

    def workers(self) -> dict[int, psutil.Process]:
        """Those that run, by number."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # a zombie for one
                orders = "".join(child.cmdline()[-1:])
                if orders.startswith("{"):  # not before it has become a worker
                    found[int(json.loads(orders)["number"])] = child
        self.started += [child for child in found.values() if child not in self.started]
        return found

    def kill_worker(self, number: int) -> None:
        killed = self.workers()[number]
        killed.kill()
        await_true(lambda: not killed.is_running() or killed.status() == psutil.STATUS_ZOMBIE)

    def left(self) -> list[psutil.Process]:
        """Those of its workers that still run, with or without it."""
        return [process for process in self.started if process.is_running() and not _is_dead(process)]

    def mare(self, *arguments: str) -> tuple[int, str]:
        """Exit status and output of a command with the same settings."""
        result = CliRunner().invoke(main, arguments, env=self.environment)
        return result.exit_code, result.output

    def report(self) -> dict[str, Any]:
        status, output = self.mare("ledger", "--json")
        content: dict[str, Any] = json.loads(output)
        assert (content["missing"], status) == (0, 0)
        return content

    def end(self) -> None:
        self.web.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        for process in self.left():
            process.kill()


def _is_dead(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Buoys:
    """Senders, each from an address of its own, so that the kernel spreads them over the workers."""

    def __init__(self, port: int, first: int, count: int = 32) -> None:
        self.sensors = range(first, first + count)
        self.sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in self.sensors]
        for each in self.sockets:
            each.connect((ADDRESS, port))
        self.sent: list[tuple[int, int]] = []  # sensor_id, seq
        self._seq = 0

    def send(self, rounds: int = 1) -> int:
        """One reading of each sensor, a few times; how many readings that are."""
        for _ in range(rounds):
            for sensor, each in zip(self.sensors, self.sockets, strict=True):
                each.send(reading(sensor, self._seq))
                self.sent.append((sensor, self._seq))
            self._seq += 1
        return rounds * len(self.sensors)

    def close(self) -> None:
        for each in self.sockets:
            each.close()


def reading(sensor: int, seq: int) -> bytes:
    fields = {"sensor_id": sensor, "timestamp": f"2025-01-01 00:00:00.{seq:06}", "temperature": 20.5, "seq": seq}
    return json.dumps(fields).encode()


@contextmanager
def serving(
    home: Path,
    *arguments: str,
    ports: Sequence[int] | None = None,
    ready: bool = True,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Gateway]:
    gateway = Gateway(home, ports or free_ports(2), [*arguments] or ["--workers", "2"], variables or {})
    try:
        if ready:
            gateway.await_ready()
        yield gateway
    finally:
        gateway.end()


@contextmanager
def buoys(gateway: Gateway, first: int = 1, count: int = 32) -> Iterator[Buoys]:
    made = Buoys(gateway.port, first, count)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for all tests that leave it as it was, but for what it has counted."""
    folder = tmp_path_factory.mktemp("gateway")
    with serving(folder / "home", "--workers", "2", "--accepted-log", str(folder / "accepted.log")) as gateway:
        yield gateway


def spooled(settings: Settings) -> Counter[tuple[int, int]]:
    """Sensor and seq of each reading in the spools of a gateway that has ended."""
    found: Counter[tuple[int, int]] = Counter()
    for files in all_workers(settings):
        spool = Spool(files.spool / READINGS, 1 << 30)
        position = spool.head
        while (record := spool.read(position)) is not None:
            messages, position = record
            decoded = [json.loads(message.value) for message in messages]
            found.update((each["sensor_id"], each["seq"]) for each in decoded)
        spool.close()
    return found


# --- while all is well


def test_all_workers_receive_and_one_ledger_has_it_all(shared: Gateway) -> None:
    before = shared.lines()
    workers_before = [shared.worker(number)["ledger"]["lines"]["received"] for number in range(2)]
    with buoys(shared, 1000) as some:
        count = some.send(5)
        some.sockets[0].send(b"nonsense\n")
        shared.await_lines(before, count, rejected=1)
    after = shared.lines()
    assert after["received"] == before["received"] + count + 1
    workers = [shared.worker(number)["ledger"]["lines"]["received"] for number in range(2)]
    assert all(now > then for now, then in zip(workers, workers_before, strict=True))
    assert sum(workers) == after["received"]
    content = shared.report()
    assert content["workers"] == 2
    assert content["fingerprint"] == shared.worker(0)["fingerprint"]

    def readings() -> list[tuple[int, int]]:
        rows = shared.report()["by_sensor"]  # written every second or so
        return [(row["readings"], row["missing"]) for row in rows if row["sensor_id"] in some.sensors]

    await_true(lambda: readings() == [(5, 0)] * 32)


def test_tcp_has_the_same_port_and_the_same_ledger(shared: Gateway) -> None:
    before = shared.ledger()
    for number in range(4):
        with socket.create_connection((ADDRESS, shared.port), timeout=30) as sender:
            sender.sendall(b"".join(reading(2000 + number, seq) + b"\n" for seq in range(10)))
            sender.shutdown(socket.SHUT_WR)
            with sender.makefile("rb") as totals:
                assert int([*totals][-1]) == 10
    with buoys(shared, 2100, 8) as some:
        count = some.send()
        shared.await_lines(before["lines"], 40 + count)
    content = shared.report()
    assert content["lines"]["received"] == before["lines"]["received"] + 40 + count
    assert content["datagrams"]["received"] == before["datagrams"]["received"] + count
    assert content["tcp"]["accepted"] == before["tcp"]["accepted"] + 4


def test_each_accepted_reading_is_in_the_accepted_log_once(shared: Gateway) -> None:
    log = shared.home.parent / "accepted.log"

    def logged() -> list[str]:
        return [line for line in log.read_text("ascii").splitlines() if line.startswith("3")]

    before = shared.lines()
    with buoys(shared, 3000) as some:
        count = some.send(4)
        some.sockets[0].send(b'{"sensor_id": 3999}')  # is rejected
        await_true(lambda: len(logged()) >= count)
        shared.await_lines(before, count, rejected=1)
    midnight = 1_735_689_600_000_000
    assert Counter(logged()) == Counter(f"{sensor},{seq},{midnight + seq}" for sensor, seq in some.sent)


def test_the_ledger_holds_every_number_that_metrics_names(shared: Gateway) -> None:
    real = shared.ledger()
    named = [line[0] for table in (metrics._COUNTERS, metrics._GAUGES, metrics._LABELLED) for line in table]
    assert len(named) > 40
    assert [path for path in named if metrics._at(real, path) is None] == []
    assert {"bounds", "counts", "sum"} <= set(real["latency"])
    assert len(real["latency"]["counts"]) == len(real["latency"]["bounds"]) + 1


def test_metrics_and_health_agree_with_the_ledger(shared: Gateway) -> None:
    with buoys(shared, 4000) as some:
        before = shared.lines()
        count = some.send(2)
        some.sockets[0].send(b"nonsense")
        shared.await_lines(before, count, rejected=1)
    real = shared.ledger()

    def samples() -> dict[str, float]:
        families = text_string_to_metric_families(shared.web.get("/metrics").text)
        return {
            sample.name + "".join(sample.labels.values()): sample.value for each in families for sample in each.samples
        }

    await_true(lambda: samples()["mare_gateway_lines_received_total"] == real["lines"]["received"])
    found = samples()
    for path, name, _ in metrics._COUNTERS:
        assert found[f"mare_gateway_{name}_total"] == metrics._at(real, path), path
    for path in ("workers", "receive_buffer", "spool.messages", "sensors.followed"):
        (name,) = [name for at, name, _ in metrics._GAUGES if at == path]
        assert found[f"mare_gateway_{name}"] == metrics._at(real, path) > 0, path
    assert found["mare_gateway_lines_rejected_totalmalformed"] == real["rejected"]["malformed"] > 0
    assert found["mare_gateway_lines_accepted_total"] == real["lines"]["accepted"] > 0
    health = shared.web.get("/healthz")
    assert (health.status_code, health.json()) == (200, {"status": "ok"})


def test_mare_ledger_says_where_every_line_is(shared: Gateway) -> None:
    with buoys(shared, 5000) as some:
        before = shared.lines()
        count = some.send(3)
        shared.await_lines(before, count)
        await_true(lambda: [row["readings"] for row in shared.report()["by_sensor"]].count(3) >= count / 3)
    status, output = shared.mare("ledger")
    assert status == 0
    assert f"{shared.lines()['accepted']:,}" in output
    assert "20 of " in output
    every = shared.mare("ledger", "--all")[1]
    assert all(f" {sensor} " in every for sensor in some.sensors)
    one = shared.mare("ledger", "--sensor", "5001")
    assert (one[0], "1 of 1 sensors" in one[1]) == (0, True)
    (row,) = json.loads(shared.mare("ledger", "--sensor", "5001", "--json")[1])["by_sensor"]
    assert (row["sensor_id"], row["readings"], row["variables"]["temperature"]["value"]) == (5001, 3, 20.5)
    status, output = shared.mare("ledger", "--sensor", "77")
    assert status == 2
    assert "not heard sensor 77" in output


def test_mare_ledger_without_a_gateway_says_what_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["ledger"], env={"MARE_HOME": str(tmp_path)})
    assert result.exit_code == 2
    assert "No gateway has run" in result.output


# --- what is refused


@pytest.fixture(scope="module")
def refused(shared: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Gateway]]:
    """Gateways that can't start, all at once; one of them waits for a port for seconds, while other tests go on."""
    names = ("port", "state", "folder", "schema", "worker")
    homes = {name: tmp_path_factory.mktemp(name) / "home" for name in names}
    for name, path in (("state", "state"), ("folder", "state/gateway/0"), ("worker", "state/gateway/0/spool")):
        in_the_way = homes[name] / path
        in_the_way.parent.mkdir(parents=True)
        in_the_way.write_text("no folder", "utf-8")
    broken = homes["schema"].parent / "reading.toml"
    broken.write_text("[fields", "utf-8")
    with ExitStack() as held:

        def start(home: Path, ports: Sequence[int] | None = None, **variables: str) -> Gateway:
            return held.enter_context(serving(home, "--workers", "1", ports=ports, ready=False, variables=variables))

        gateways = {
            "home": start(shared.home),
            "port": start(homes["port"], (shared.port, free_ports(1)[0])),
            "schema": start(homes["schema"], MARE_READING__TOML=str(broken)),
            **{name: start(homes[name]) for name in ("state", "folder", "worker")},
        }
        yield gateways


def test_refused_gateways_disturb_none_that_runs(refused: dict[str, Gateway], shared: Gateway) -> None:
    before = shared.lines()
    with buoys(shared, 6000) as some:
        count = some.send()
        shared.await_lines(before, count)
    assert shared.ledger()["pid"] == shared.process.pid
    assert len(shared.workers()) == 2


@pytest.mark.parametrize("content", ['{"lines": {"received": 1}, "rejected": {}}', '{"pid": 1, "lin', "{}"])
def test_a_ledger_of_another_version_is_no_reason_not_to_start(
    tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lagging, "_JOIN_SECONDS", 0.0)
    ports = free_ports(2)
    settings = Settings(
        home=tmp_path,
        udp=Udp(host=ADDRESS, port=ports[0]),
        metrics=Metrics(host=ADDRESS, port=ports[1]),
        kafka=Kafka(port=1),
    )
    ledger_file(settings).parent.mkdir(parents=True)
    ledger_file(settings).write_text(content, "utf-8")
    with ExitStack() as held:
        gateway_module.Gateway(settings)._startup(held)


def test_workers_have_the_settings_of_their_parent_wherever_those_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path, udp=Udp(port=0, rate_limit=7), tcp=Tcp(longest_line=99), kafka=Kafka(port=1))
    sockets = listen(settings)
    environment = Workers(settings, sockets, None)._environment
    sockets.close()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert load_settings(env_file=None) == settings


# --- what dies


def test_a_worker_that_is_killed_is_replaced_and_what_waits_in_its_socket_is_not_lost(tmp_path: Path) -> None:
    with serving(tmp_path / "home", variables=PATIENT) as gateway, buoys(gateway) as some:
        some.send(3)
        await_true(lambda: gateway.lines()["in_flight"] == 96)
        lost = gateway.worker(0)["ledger"]["lines"]["in_flight"]
        assert 0 < lost < 96
        killed = gateway.workers()[0]
        gateway.kill_worker(0)
        while 0 not in gateway.workers():
            some.send()  # nobody reads one of the two sockets
        sent = len(some.sent)
        await_true(lambda: gateway.lines()["received"] == sent)
        assert gateway.workers()[0] != killed
        content = gateway.report()
        assert content["lines"]["lost_in_crash"] == lost
        assert content["lines"]["in_flight"] == sent - lost
        assert content["datagrams"] == {"received": sent, "kernel_dropped": 0}
        assert gateway.web.get("/healthz").status_code == 200
        assert "a worker died and is started again" in gateway.log.read_text("utf-8")


def test_one_worker_whose_spool_is_nearly_full_is_no_health(tmp_path: Path) -> None:
    small = {"MARE_UDP__SPOOL_BYTES": str(1 << 20), "MARE_UDP__QUEUE_MESSAGES": "100"}
    with serving(tmp_path / "home", variables=small) as gateway, buoys(gateway, count=1) as only_one:
        while gateway.web.get("/healthz").status_code == 200:
            only_one.send(500)
        health = gateway.web.get("/healthz")
        assert health.status_code == 503
        assert "the spool is nearly full" in health.text
        full = [gateway.worker(number)["ledger"]["spool"]["bytes"] > 900_000 for number in range(2)]
        assert sorted(full) == [False, True]


def test_what_was_accepted_is_in_the_spool_whenever_a_worker_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as gateway, buoys(gateway) as some:
        accepted = some.send(3)
        await_true(lambda: gateway.lines()["accepted"] == accepted)
        gateway.kill_worker(0)
        some.send(3)
        await_true(lambda: gateway.lines()["accepted"] == 2 * accepted)
        received = gateway.worker(0)["ledger"]["lines"]["received"]
        some.send(3)
        await_true(lambda: gateway.worker(0)["ledger"]["lines"]["received"] > received)
        gateway.kill_worker(0)  # in the middle of it
        await_true(lambda: 0 in gateway.workers() and gateway.worker(0)["pid"] == gateway.workers()[0].pid)
        await_true(lambda: gateway.report()["lines"]["in_flight"] == 0)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.await_end() == 0
    content = gateway.report()
    safe = spooled(gateway.settings)
    assert content["lines"]["accepted"] == content["spool"]["messages"] == safe.total() >= 2 * accepted
    assert safe == safe & Counter(some.sent)  # none twice


def test_when_the_parent_is_killed_its_workers_end_and_another_goes_on_at_once(tmp_path: Path) -> None:
    ports = free_ports(2)
    with serving(tmp_path / "home", ports=ports, variables=PATIENT) as first, buoys(first) as some:
        count = some.send(3)
        await_true(lambda: first.lines()["in_flight"] == count)
        first.process.kill()
        first.await_end()
        with serving(tmp_path / "home", ports=ports) as second:
            assert first.left() == []
            lines = second.lines()
            assert (lines["accepted"], lines["lost_in_crash"], lines["in_flight"]) == (count, 0, 0)
            count += some.send(2)
            await_true(lambda: second.lines()["accepted"] == count)
            assert second.report()["lines"]["received"] == count
            second.process.send_signal(signal.SIGINT)
            assert second.await_end() == 0
        assert second.left() == []
    assert spooled(second.settings) == Counter(some.sent)


def test_with_fewer_workers_the_spool_of_the_others_is_kept_and_counted(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as first, buoys(first) as some:
        count = some.send(3)
        await_true(lambda: first.lines()["accepted"] == count)
        children = psutil.Process(first.process.pid).children(recursive=True)
        assert len(children) == 2
        first.process.send_signal(signal.SIGTERM)
        assert first.await_end() == 0
        assert not [child for child in children if child.is_running()]
    left = first.worker(1)["ledger"]["lines"]["accepted"]
    assert 0 < left < count
    ended = first.report()
    assert ended["stopped"]
    assert (ended["lines"]["accepted"], ended["lines"]["in_flight"]) == (count, 0)
    empty = WorkerFiles(first.settings, 9)
    empty.folder.mkdir()
    with serving(tmp_path / "home", "--workers", "1", ports=(first.port, free_ports(1)[0])) as second:
        assert second.lines()["accepted"] == count
        await_true(lambda: second.worker(1)["pid"] == second.workers()[1].pid)  # waits for Kafka
        with buoys(second, 500) as more:
            count += more.send()
            await_true(lambda: second.lines()["accepted"] == count)
        assert second.worker(1)["ledger"]["lines"]["received"] == left
        await_true(lambda: "the spool that an earlier worker left is empty" in second.log.read_text("utf-8"))
        assert set(second.workers()) == {0, 1}  # 9 had nothing to do
        assert second.report()["workers"] == 1
        assert second.web.get("/healthz").json() == {"status": "ok"}
        second.process.send_signal(signal.SIGTERM)
        assert second.await_end() == 0
        assert second.left() == []
        assert "a worker does not end" not in first.log.read_text("utf-8") + second.log.read_text("utf-8")
    assert second.report()["spool"]["messages"] == count
    assert spooled(second.settings) == Counter(some.sent + more.sent)


# --- what was refused meanwhile


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("home", "A gateway runs already with"),
        ("port", "is in use, probably by a gateway that runs already"),
        ("schema", "reading.toml"),
        ("state", "can't keep its state"),
        ("folder", "can't keep its state"),
        ("worker", "Worker 0 of the gateway did not start: its log is above."),
    ],
)
def test_a_gateway_that_cant_start_ends_with_one_sentence(
    refused: dict[str, Gateway], name: str, sentence: str
) -> None:
    gateway = refused[name]
    assert gateway.await_end() == 2
    log = gateway.log.read_text("utf-8").splitlines()
    assert [line for line in log if line.startswith("mare: ")] == log[-1:]
    assert sentence in log[-1]
    # Only a worker's own traceback may be above.
    assert ("Traceback (most recent call last):" in log) is (name == "worker")


def test_a_start_that_failed_leaves_a_ledger_that_can_be_read(refused: dict[str, Gateway]) -> None:
    refused["worker"].await_end()
    content = refused["worker"].report()
    assert content["stopped"]
    assert content["lines"]["received"] == 0
    assert refused["worker"].mare("ledger")[0] == 0
