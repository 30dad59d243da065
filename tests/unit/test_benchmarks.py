"""The benchmark's own logic: what it sends, what it concludes, and what it refuses. No engine runs here."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
from ports import free_ports
from rich.console import Console

from benchmarks import broker, gateway, latency, machine, measure, peers, receivers, tables
from benchmarks.gateway import Options, Report, own_settings
from benchmarks.kernel import Cpu, parse_receive_buffer, parse_udp, spent, tree, udp_port
from benchmarks.measure import find_limit
from benchmarks.receivers import Count, Gateway, Receiver
from benchmarks.result import Limit, Run, busy_warning, spread, summary, verdict, worst, write_result
from benchmarks.sender import MOST_LINES, Load, Sent, compile_sender, send
from maredata.decoder import Decoder
from maredata.errors import EngineAlreadyRunning, EngineTimedOut, MachineError, SettingsError
from maredata.schema import load_schema
from maredata.settings import Settings

SCHEMA = load_schema(Path(__file__).parent.parent.parent / "maredata" / "reading.toml")
LOAD = Load(rate=1000, seconds=10)
SENT = Sent(10_000, 10_000, 1_870_000, 10.0, 0, 0.001, 0.2, 0.3)
RUN = Run(
    receiver="gateway", round=1, workers=1, load=LOAD, sent=SENT, by_line=True, received=10_000, kernel_dropped=0,
    published=10_000, spooled=0, in_kafka=10_000, receive_buffer=8 << 20,
    processes=(Cpu(7, "parent", 0.01, 0.01), Cpu(8, "worker", 0.05, 0.03)), broker_cpu=0.05, elsewhere_cpu=0.0,
    cores=2, window=11.0, drained=0.1, died=False,
)  # fmt: skip
LOSING = replace(RUN, received=9_900, kernel_dropped=100, published=9_900, in_kafka=9_900)
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler here")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


# --- the sender


def test_without_a_compiler_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"no C compiler.*apt-get install gcc"):
        compile_sender(tmp_path, compilers=("fake-compiler-that-is-not-there",))


def test_a_compiler_that_fails_is_quoted(tmp_path: Path) -> None:
    fake = tmp_path / "fake-compiler"
    fake.write_text("#!/bin/sh\necho 'no such header' >&2\nexit 1\n")
    fake.chmod(0o755)
    with pytest.raises(MachineError, match="no such header"):
        compile_sender(tmp_path, compilers=(str(fake),))


def test_a_run_without_a_compiler_starts_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setenv("PATH", str(settings.home))
    monkeypatch.setattr(broker, "running", lambda *_: started.append("fake broker"))
    with pytest.raises(MachineError, match="C compiler"):
        gateway.run(settings, Options(), "test", lambda _: None)
    assert not started


@needs_compiler
def test_what_is_sent_are_canonical_readings_each_sensor_through_one_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        load = Load(rate=1000, seconds=0.1, lines=3, sensors=10, sockets=4)
        sent = send(compile_sender(tmp_path), "127.0.0.1", receiver.getsockname()[1], load)
        arrived = [receiver.recvfrom(65_536) for _ in range(100)]
    assert (sent.datagrams, sent.lines) == (100, 300)
    assert sum(len(payload) for payload, _ in arrived) == sent.bytes
    decode = Decoder(SCHEMA).decode
    ports, seqs, identities = defaultdict[int, set[int]](set), defaultdict[int, list[int]](list), set()
    for payload, (_, port) in arrived:
        for line in payload.split(b"\n"):
            reading = decode(line)
            assert reading.line == line, "not canonical"
            ports[reading.sensor_id].add(port)
            seqs[reading.sensor_id].append(json.loads(line)["seq"])
            identities.add((reading.sensor_id, reading.micros))
    assert len(identities) == 300
    assert sorted(seqs) == list(range(900_001, 900_011))
    assert all(numbers == list(range(len(numbers))) for numbers in seqs.values())
    assert all(len(used) == 1 for used in ports.values())
    assert len(set.union(*ports.values())) == 4


@needs_compiler
def test_a_sender_that_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="sender failed"):
        send(compile_sender(tmp_path), "not an address", 1, replace(LOAD, seconds=0.1))


def test_a_rate_is_reached_within_a_hundredth() -> None:
    assert SENT.reached(LOAD)
    assert not replace_sent(seconds=10.2).reached(LOAD)


def replace_sent(**changes: Any) -> Sent:
    return Sent(**{name: getattr(SENT, name) for name in Sent.__struct_fields__} | changes)


# --- the verdict


def test_all_numbers_agree() -> None:
    assert RUN.agrees and RUN.kept_up and verdict(RUN) == "all arrived"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kernel_dropped": 100, "received": 9_900, "published": 9_900, "in_kafka": 9_900}, "lost 100 (1.00%)"),
        ({"in_kafka": 10_005}, "5 more in Kafka than sent"),
        ({"received": 9_999}, "all in Kafka, but its own counts differ"),
        ({"published": 9_999}, "all in Kafka, but its own counts differ"),
        ({"kernel_dropped": 1}, "all in Kafka, but its own counts differ"),
        ({"died": True}, "the receiver died"),
    ],
)
def test_what_does_not_agree_is_said(changes: dict[str, Any], said: str) -> None:
    run = replace(RUN, **changes)
    assert not run.agrees and not run.kept_up
    assert verdict(run) == said


def test_a_receiver_that_does_not_count_is_judged_by_kafka() -> None:
    assert replace(RUN, received=None, published=None).agrees
    assert not replace(LOSING, received=None, published=None, kernel_dropped=0).agrees


def test_one_that_finishes_late_lost_nothing_and_did_not_keep_up() -> None:
    late = replace(RUN, drained=2.5)
    assert late.agrees and not late.kept_up
    assert verdict(late) == "all arrived, 2.5 s late"


def test_a_slow_sender_is_not_blamed_on_the_receiver() -> None:
    slow = replace(RUN, sent=replace_sent(seconds=20.0))
    assert verdict(slow) == "not tested: sender reached only 500/s (all arrived)"
    assert slow.agrees and not slow.kept_up


def test_a_datagram_of_ten_lines_is_ten_records_of_ours_and_one_of_a_peer() -> None:
    ten = replace(RUN, load=replace(LOAD, lines=10), sent=replace_sent(lines=100_000), in_kafka=100_000)
    peer = replace(ten, by_line=False, in_kafka=10_000)
    assert (ten.expected, ten.lost, peer.expected, peer.lost) == (100_000, 0, 10_000, 0)
    assert ten.cpu_per_million == peer.cpu_per_million == pytest.approx(1.0)


def test_cpu_is_that_of_all_processes_for_a_million_readings_that_arrived() -> None:
    assert RUN.cpu_per_million == pytest.approx(10.0)
    assert RUN.broker_per_million == pytest.approx(5.0)
    assert replace(RUN, in_kafka=5_000).cpu_per_million == pytest.approx(20.0)
    assert replace(RUN, in_kafka=0).cpu_per_million is None
    assert replace(RUN, in_kafka=5_000).sender_per_million == RUN.sender_per_million == pytest.approx(50.0)


def test_a_summary_has_median_least_and_most_and_the_worst_verdict() -> None:
    runs = [replace(RUN, broker_cpu=cpu) for cpu in (0.05, 0.09, 0.06)]
    found = summary([*runs[:2], replace(LOSING, broker_cpu=0.06)])
    assert found["verdict"] == "lost 100 (1.00%)"
    assert found["lost"] == [0, 0, 100]
    assert summary(runs)["broker_cpu_per_million"] == pytest.approx([6.0, 5.0, 9.0])
    assert spread([None]) is None
    assert worst([LOSING, replace(RUN, died=True), RUN]).died


def test_a_busy_machine_is_warned_of() -> None:
    assert busy_warning([0.05]) is None
    assert "20%" in (busy_warning([0.0, replace(RUN, elsewhere_cpu=4.4).elsewhere_share]) or "")


# --- the search for the limit


def fake_receiver(limit: float, sender_limit: float = inf, hiccup_at: int = -1) -> tuple[list[float], Any]:
    """Keeps up to `limit` datagrams a second, but for its measurement number `hiccup_at`."""
    asked: list[float] = []

    def fake_measure(rate: float) -> Run:
        asked.append(rate)
        load, achieved = replace(LOAD, rate=rate), min(rate, sender_limit)
        sent = replace_sent(seconds=10_000 / achieved)
        whole = achieved <= limit and len(asked) - 1 != hiccup_at
        return replace(RUN if whole else LOSING, load=load, sent=sent)

    return asked, fake_measure


def test_the_limit_is_found_between_the_last_good_and_the_first_bad_rate() -> None:
    _, fake_measure = fake_receiver(limit=2200)
    found = find_limit(fake_measure, 1000)
    assert found.rate is not None and 2200 * 0.97 < found.rate <= 2200
    assert found.ended_by == "loss"


def test_one_bad_moment_is_not_the_limit() -> None:
    _, fake_measure = fake_receiver(limit=2200, hiccup_at=1)
    assert (find_limit(fake_measure, 1000).rate or 0) > 2100


def test_where_the_sender_is_the_limit_it_is_named() -> None:
    _, fake_measure = fake_receiver(limit=9000, sender_limit=1500)
    found = find_limit(fake_measure, 1000)
    assert found.ended_by == "sender"
    assert found.rate is not None and found.rate <= 1500 / 0.99


def test_a_start_that_is_too_high_is_halved() -> None:
    asked, fake_measure = fake_receiver(limit=300)
    assert find_limit(fake_measure, 1000).rate == 250
    assert asked == [1000, 1000, 500, 500, 250, 375, 375]


# --- what the kernel says

UDP = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 0100007F:5208 00000000:0000 07 00000000:00000300 00:00000000 00000000     0        0 11 2 0000000000000000 5
  101: 0100007F:5208 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12 2 0000000000000000 7
  102: 0100007F:5209 0100007F:5208 07 00000000:00000001 00:00000000 00000000     0        0 13 2 0000000000000000 9
"""


def test_a_port_is_all_of_its_sockets() -> None:
    found = parse_udp(0x5208, UDP)
    assert (found.sockets, found.queued_bytes, found.dropped) == (2, 0x300, 12)
    assert parse_udp(1, UDP).sockets == 0


def test_a_bound_port_is_seen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        assert udp_port(bound.getsockname()[1]).sockets == 1


def test_the_receive_buffer_is_the_least_and_not_doubled() -> None:
    shown = (
        "UNCONN 0 0 127.0.0.1:1 0.0.0.0:*\n\t skmem:(r0,rb16777216,t0,tb212992,f0,w0,o0,bl0,d0)\n\t skmem:(r0,rb8192,t0"
    )
    assert parse_receive_buffer(shown) == 4096
    assert parse_receive_buffer("") is None


def test_cpu_is_counted_from_the_start_of_the_window() -> None:
    before = {1: Cpu(1, "parent", 5.0, 1.0)}
    after = {1: Cpu(1, "parent", 5.5, 1.25), 2: Cpu(2, "worker", 2.0, 1.0)}
    assert spent(before, after) == (Cpu(1, "parent", 0.5, 0.25), Cpu(2, "worker", 2.0, 1.0))


def test_the_tree_has_the_process_and_its_children() -> None:
    program = "import subprocess, sys; child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            assert {pid: cpu.role for pid, cpu in tree(parent.pid).items()} == {parent.pid: "parent", child: "worker"}
        finally:
            os.kill(child, 9)
            parent.kill()


# --- receivers


def test_peers_are_read_from_a_list_of_names() -> None:
    assert peers.parse_peers("bare, rsyslog") == ("bare", "rsyslog")
    assert peers.parse_peers("none") == ()
    with pytest.raises(SettingsError, match="'syslog-ng'"):
        peers.parse_peers("bare,syslog-ng")


def test_a_peer_that_is_not_installed_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "rsyslog_installed", lambda: False)
    peers.check_peers(("bare",))
    with pytest.raises(MachineError, match="apt-get install rsyslog rsyslog-kafka"):
        peers.check_peers(("bare", "rsyslog"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MachineError, match="needs root"):
        peers.install_peers()


def test_rsyslog_is_told_everything(settings: Settings) -> None:
    receiver = peers.Rsyslog(own_settings(settings, Options(first_port=23_000)))
    receiver.folder.mkdir(parents=True)
    receiver.prepare()
    conf = (receiver.folder / "conf").read_text()
    assert 'port="23000" rcvbufSize="8388608"' in conf
    assert 'broker=["127.0.0.1:23002"] topic="bench.rsyslog"' in conf
    assert "$" not in conf.partition("global(")[2]


def test_rsyslogs_own_counts_are_its_last_ones() -> None:
    stats = "\n".join(
        f"Sun Nov 22 19:00:0{second} 2026: " + json.dumps(counter)
        for second, count in enumerate((10, 30))
        for counter in (
            {"name": "imudp(127.0.0.1:1)", "origin": "imudp", "submitted": count},
            {"name": "imudp(w0)", "origin": "imudp", "called.recvmmsg": 3, "msgs.received": count},
            {"name": "omkafka", "origin": "omkafka", "submitted": count - 1, "failures": 2},
        )
    )
    assert peers.rsyslog_count(stats + '\nSun Nov 22 19:00:03 2026: { "na') == Count(30, 27)
    assert peers.rsyslog_count("") == Count(None, None)


def test_the_gateway_is_asked_for_its_ledger_only_once_it_has_stopped(settings: Settings) -> None:
    receiver = Gateway(settings)
    ledger = {
        "datagrams": {"received": 5, "kernel_dropped": 0},
        "lines": {"received": 9, "accepted": 8, "spooled": 2},
        "stopped": None,
    }
    path = receiver.folder / "state" / "gateway.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(ledger))
    assert receiver.counted() == Count(None, None)
    path.write_text(json.dumps(ledger | {"stopped": "2026-11-22T19:00:00+00:00"}))
    assert receiver.counted() == Count(5, 8, 2)


def test_the_gateway_runs_with_a_home_and_ports_of_its_own(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARE_UDP__RATE_LIMIT", "5")
    environment = Gateway(own_settings(settings, Options(first_port=23_000, workers=2))).environment()
    assert environment["MARE_HOME"] == str(settings.home / "benchmarks" / "gateway")
    assert (environment["MARE_UDP__PORT"], environment["MARE_KAFKA__PORT"]) == ("23000", "23002")
    assert environment["MARE_UDP__RATE_LIMIT"] == "0", "the user's own instance's"
    assert environment["MARE_UDP__WORKERS"] == "2"


class FakeReceiver(Receiver):
    """Ends at once, or does not listen, as told."""

    name = "fake"
    topic = "fake"
    does = "nothing"

    def command(self) -> list[str]:
        return [sys.executable, "-c", "import sys; sys.exit('no luck')"]


def test_one_that_ends_at_once_is_an_error_that_names_its_log(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "_READY_SECONDS", inf)
    receiver = FakeReceiver(
        settings.model_copy(update={"udp": settings.udp.model_copy(update={"port": free_ports(1)[0]})})
    )
    with pytest.raises(EngineTimedOut, match="fake does not listen"):
        receiver.start()
    assert "no luck" in receiver.log.read_text()


def test_a_port_that_somebody_has_is_not_taken_for_the_receivers(settings: Settings) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        udp = settings.udp.model_copy(update={"port": other.getsockname()[1]})
        with pytest.raises(MachineError, match="in use"):
            FakeReceiver(settings.model_copy(update={"udp": udp})).start()


# --- rounds


def test_each_round_begins_with_another_receiver(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def fake_measure(_bench: object, name: str, load: Load, number: int) -> Run:
        measured.append(name)
        return replace(RUN, receiver=name, round=number, load=load)

    monkeypatch.setattr(measure.Bench, "measure", fake_measure)
    runs = measure.Bench(settings, Path("fake"), 1, lambda _: None).rounds(("gateway", "bare", "rsyslog"), LOAD, 2)
    assert measured == ["gateway", "bare", "rsyslog", "bare", "rsyslog", "gateway"]
    assert [(run.round, run.receiver) for run in runs] == [
        (number, name) for number in (1, 2) for name in ("gateway", "bare", "rsyslog")
    ]


@pytest.mark.parametrize(
    ("cpu", "runs"),
    [
        ([12.0, 11.5], 2),  # settled already
        ([12.0, 7.0, 4.0, 3.9], 4),
        ([12.0, 6.0, 6.6], 3),  # noise, after the fall
        ([64.0, 32.0, 16.0, 8.0, 4.0, 2.0, 1.0], 6),  # at most
        ([None], 1),  # nothing arrived: the runs themselves will show it
    ],
)
def test_the_broker_is_warm_once_it_needs_no_less(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, cpu: list[float | None], runs: int
) -> None:
    left = iter(cpu)

    def fake_measure(_bench: object, name: str, load: Load, number: int) -> Run:
        per_million = next(left)
        arrived = 0 if per_million is None else RUN.in_kafka
        used = 0 if per_million is None else per_million * RUN.readings_in_kafka / 1e6
        return replace(RUN, receiver=name, in_kafka=arrived, broker_cpu=used)

    monkeypatch.setattr(measure.Bench, "measure", fake_measure)
    bench = measure.Bench(settings, Path("fake"), 1, lambda _: None)
    assert len(gateway.warm_up(bench, LOAD, lambda _: None)) == runs


def test_two_benchmarks_do_not_run_at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "compile_sender", lambda _: Path("fake"))
    with (
        gateway.alone(settings.home / "benchmarks"),
        pytest.raises(EngineAlreadyRunning, match="Another benchmark"),
    ):
        gateway.run(settings, Options(peers=()), "test", lambda _: None)


def test_too_many_lines_for_a_datagram_are_refused(settings: Settings) -> None:
    with pytest.raises(SettingsError, match=str(MOST_LINES)):
        gateway.run(settings, Options(lines=MOST_LINES + 1), "test", lambda _: None)


# --- latency

METRICS = """\
# TYPE mare_gateway_acknowledge_seconds histogram
mare_gateway_acknowledge_seconds_bucket{le="0.001"} 10
mare_gateway_acknowledge_seconds_bucket{le="0.01"} 90
mare_gateway_acknowledge_seconds_bucket{le="0.02"} 100
mare_gateway_acknowledge_seconds_bucket{le="+Inf"} 100
mare_gateway_acknowledge_seconds_count 100
mare_gateway_acknowledge_seconds_sum 0.5
# TYPE other_seconds histogram
other_seconds_bucket{le="+Inf"} 7
"""


def test_quantiles_come_from_the_histogram() -> None:
    found = latency.buckets(METRICS)
    assert found == [(0.001, 10), (0.01, 90), (0.02, 100), (inf, 100)]
    median, p99 = latency.quantile(0.5, found), latency.quantile(0.99, found)
    assert median is not None and median.estimate == pytest.approx(0.0055) and median.at_most == 0.01
    assert p99 is not None and p99.estimate == pytest.approx(0.019) and p99.at_most == 0.02


def test_what_no_bound_holds_is_unknown() -> None:
    beyond = latency.quantile(0.99, [(1.0, 5), (inf, 100)])
    assert beyond is not None and beyond.estimate == inf
    assert latency.quantile(0.5, [(1.0, 0), (inf, 0)]) is None
    assert latency.quantile(0.5, []) is None


# --- what is told


@pytest.fixture
def report(tmp_path: Path) -> Report:
    content = {
        "machine": machine.facts(),
        "does": {"gateway": Gateway.does},
        "latency": {
            "load": {"rate": 5000, "seconds": 20},
            "gateway": {
                "acknowledged": {
                    "p50": {"estimate": 0.0061, "at_most": 0.0075},
                    "p99": {"estimate": 0.0123, "at_most": 0.015},
                },
                "appended": {"records": 100_000, "p50_ms": 4.0, "p99_ms": 9.0, "max_ms": 31.0},
                "run": {"verdict": "all arrived", "elsewhere_share": 0.45},
            },
        },
    }
    limit = Limit("gateway", 1, 212_345.0, "sender", (RUN,))
    lossy = replace(LOSING, receiver="bare", by_line=False, processes=(Cpu(9, "process", 0.1, 0.1),))
    return Report(tmp_path / "result.json", content, (RUN, replace(RUN, round=2, broker_cpu=0.06), lossy), (limit,))


def test_the_tables_tell_it_all(report: Report) -> None:
    console = Console(width=200, record=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
    console.print(tables.render(report))
    shown = console.export_text()
    rows = {" ".join(line.split()) for line in shown.splitlines()}
    assert "1 gateway 10,000 10,000 0 10,000 10,000 10,000 0 0.1 s 8.0 MiB" in rows
    assert "lost 100 (1.00%)" in shown and "all arrived" in shown
    assert "10.00 5.50 (5.00-6.00) 50.00 all arrived" in " ".join(shown.split())
    assert "parent 7: 0.01 user + 0.01 system; worker 8: 0.05 user + 0.03 system" in shown
    assert "212,345/s" in shown and "the sender, whose limit this is" in shown
    assert "gateway 6.1 12.3 15.0 4.0 9.0 31.0 100,000 all arrived" in rows
    assert "used up to 45% of this machine" in shown
    assert Gateway.does in " ".join(shown.split())


def test_only_a_loss_of_the_gateways_fails(report: Report) -> None:
    assert report.kept_all
    assert not replace(report, runs=(*report.runs, LOSING)).kept_all


def test_the_result_file_holds_runs_with_what_was_derived(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    write_result(path, {"runs": [LOSING.as_dict()], "out": Path("x")})
    (run,) = json.loads(path.read_text())["runs"]
    assert run["cpu_per_million"] == pytest.approx(10.1, abs=0.01) and run["elsewhere_share"] == 0
    assert (run["lost"], run["verdict"], run["sent"]["datagrams"]) == (100, "lost 100 (1.00%)", 10_000)
    assert run["processes"][1] == {"pid": 8, "role": "worker", "user": 0.05, "system": 0.03}


def test_the_machine_is_described(tmp_path: Path) -> None:
    facts = machine.facts()
    assert facts["cores"] == os.cpu_count() and facts["memory_bytes"] > 0
    assert {"kafka", "python", "confluent-kafka", "msgspec"} <= facts["versions"].keys()
    assert machine.cpu_model("processor\t: 0\nmodel name\t: AMD EPYC\n") == "AMD EPYC"
    assert machine.commit(tmp_path) == {"commit": None, "dirty": None}


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Path]:
    identity = ["-c", "user.name=fake", "-c", "user.email=fake@example.org"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "fake"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    yield tmp_path


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")
def test_a_tree_with_changes_is_dirty(repository: Path) -> None:
    clean = machine.commit(repository)
    assert len(clean["commit"]) == 40 and clean["dirty"] is False
    (repository / "new").touch()
    assert machine.commit(repository)["dirty"] is True
