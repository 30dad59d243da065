"""The gateway as a process of its own, publishing to the real Kafka."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from kafka import TopicPartition

from maredata.names import READINGS, REJECTED
from maredata.settings import Settings, as_environment
from maredata.state import ledger_file, read_json
from maredata.stores import kafka_consumer

SENSORS = 20
COLUMNS = ("accepted", "rejected", "refused", "in_flight", "lost_in_crash")


@dataclass
class Gateway:
    settings: Settings
    process: subprocess.Popen[bytes]

    def ledger(self) -> dict[str, Any]:
        ledger = read_json(ledger_file(self.settings))
        assert ledger["lines"]["received"] == sum(ledger["lines"][column] for column in COLUMNS)
        return ledger

    def send(self, payloads: list[bytes]) -> None:
        """No faster than the gateway takes them in: what the kernel drops, no test could count on."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for start in range(0, len(payloads), 20):
                while queued_bytes(self.settings.udp.port) > 1 << 20:
                    assert self.process.poll() is None, "the gateway has ended"
                    time.sleep(0.005)
                for payload in payloads[start : start + 20]:
                    sender.sendto(payload, (self.settings.udp.host, self.settings.udp.port))

    def wait_until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while not condition(self.ledger()):
            assert self.process.poll() is None, "the gateway has ended"
            assert time.monotonic() < deadline, self.ledger()
            time.sleep(0.1)
        return self.ledger()


@pytest.fixture
def settings(instance: Any, tmp_path: Path) -> Settings:
    """The instance's engines, with a home and a port of this test's own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        udp = {"host": "127.0.0.1", "port": probe.getsockname()[1]}
    found: Settings = instance.settings
    return found.model_copy(update={"home": tmp_path / "home", "udp": found.udp.model_copy(update=udp)})


@contextmanager
def gateway(settings: Settings, *options: str) -> Iterator[Gateway]:
    before = read_json(ledger_file(settings)).get("started")
    process = subprocess.Popen(
        [sys.executable, "-m", "maredata.cli", "serve", *options], env={**os.environ, **as_environment(settings)}
    )
    started = Gateway(settings, process)
    try:
        deadline = time.monotonic() + 30
        while read_json(ledger_file(settings)).get("started") == before:
            assert process.poll() is None, "the gateway did not start"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield started
    finally:
        process.kill()
        process.wait()


def queued_bytes(port: int) -> int:
    """What the sockets on this UDP port have received and nobody has read yet."""
    rows = [row.split() for row in Path("/proc/net/udp").read_text("ascii").splitlines()[1:]]
    return sum(int(row[4].split(":")[1], 16) for row in rows if row[1].endswith(f":{port:04X}"))


def ends(settings: Settings, topic: str) -> dict[TopicPartition, int]:
    consumer = kafka_consumer(settings)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    found: dict[TopicPartition, int] = consumer.end_offsets(partitions)
    consumer.close()
    return found


def records_since(settings: Settings, topic: str, starts: dict[TopicPartition, int]) -> list[Any]:
    """The topic's records from `starts` on, each partition in its order."""
    consumer = kafka_consumer(settings)
    consumer.assign(list(starts))
    for partition, offset in starts.items():
        consumer.seek(partition, offset)
    found: list[Any] = []
    goals = ends(settings, topic)
    while any(consumer.position(partition) < end for partition, end in goals.items()):
        for records in consumer.poll(timeout_ms=500).values():
            found += records
    consumer.close()
    return found


def good(number: int) -> bytes:
    """A reading; number // SENSORS is the sensor's seq."""
    record = {
        "timestamp": f"2025-03-01 00:{number // 60000:02d}:{number // 1000 % 60:02d}.{number % 1000:03d}000",
        "temperature": 20.9,
        "sensor_id": number % SENSORS + 1,
        "seq": number // SENSORS,
    }
    return json.dumps(record).encode()


def malformed(count: int) -> list[bytes]:
    """Datagrams of lines of which hardly one is a reading: the same in every run."""
    reading = good(7)
    lines = st.one_of(
        st.integers(0, len(reading) - 1).map(lambda end: reading[:end]),
        st.tuples(st.integers(0, len(reading) - 1), st.binary(min_size=1, max_size=4)).map(
            lambda change: reading[: change[0]] + change[1] + reading[change[0] + 1 :]
        ),
        st.floats().map(lambda number: json.dumps({"sensor_id": number, "timestamp": number}).encode()),
        st.integers(-(10**300), 10**300).map(lambda number: b'{"sensor_id": %d}' % number),
        st.sampled_from([b"", b"null", b"[]", b'{"sensor_id": 1, "temperature": NaN}', b"\xff" * 9, b"{" * 9000]),
        st.binary(max_size=100),
        st.text(max_size=50).map(lambda text: json.dumps(text).encode()),
    )
    datagrams = st.one_of(
        lines,
        st.lists(lines, max_size=8).map(b"\n".join),
        st.binary(min_size=1, max_size=8).map(lambda part: (part * 65_507)[:65_507].replace(b"\n", b" ")),
    )
    found: list[bytes] = []

    @hypothesis_settings(
        derandomize=True,
        max_examples=count,  # one each: within an example Hypothesis repeats itself
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(datagrams)
    def collect(datagram: bytes) -> None:
        found.append(datagram[:65_507])

    collect()
    return found[:count]


def count_lines(datagram: bytes) -> int:
    return max(1, datagram.count(b"\n") + (not datagram.endswith(b"\n")))


def test_ten_thousand_malformed_datagrams_leave_it_running_and_the_ledger_right(settings: Settings) -> None:
    datagrams = malformed(10_000)
    assert len(datagrams) == 10_000
    lines = sum(count_lines(datagram) for datagram in datagrams)
    readings, copies = ends(settings, READINGS), ends(settings, REJECTED)
    with gateway(settings) as running:
        running.send(datagrams)
        running.send([good(0)])
        ledger = running.wait_until(
            lambda now: (
                now["lines"]["received"] == lines + 1
                and now["lines"]["in_flight"] == now["rejected_copies"]["in_flight"] == 0
            )
        )
    assert ledger["datagrams"] == {"received": 10_001, "kernel_dropped": 0}
    assert ledger["lines"]["refused"] == ledger["rejected_copies"]["refused"] == 0
    assert ledger["lines"]["rejected"] > 9_000
    assert ledger["lines"]["accepted"] == grown(settings, READINGS, readings)
    assert ledger["lines"]["rejected"] == grown(settings, REJECTED, copies) == sum(ledger["rejected"].values())


def grown(settings: Settings, topic: str, starts: dict[TopicPartition, int]) -> int:
    return sum(ends(settings, topic).values()) - sum(starts.values())


def test_sigterm_takes_in_what_was_sent_and_flushes_and_a_restart_goes_on_counting(
    settings: Settings, tmp_path: Path
) -> None:
    accepted_log = tmp_path / "accepted.csv"
    starts = ends(settings, READINGS)
    for part in (0, 1):
        with gateway(settings, "--accepted-log", str(accepted_log)) as running:
            running.send([good(part * 5000 + number) for number in range(5000)])
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(30) == 0
            ledger = running.ledger()
        assert ledger["stopped"]
        assert ledger["lines"]["accepted"] == ledger["lines"]["received"] == (part + 1) * 5000
    records = records_since(settings, READINGS, starts)
    assert sorted(record.value for record in records) == sorted(good(number) for number in range(10_000))
    accepted = [line.rsplit(",", 1)[0] for line in accepted_log.read_text("ascii").splitlines()]
    assert sorted(accepted) == sorted(f"{number % SENSORS + 1},{number // SENSORS}" for number in range(10_000))


def test_a_sensor_stays_in_order_under_its_key(settings: Settings) -> None:
    starts = ends(settings, READINGS)
    with gateway(settings) as running:
        running.send([good(number) for number in range(2000)])
        running.wait_until(lambda now: bool(now["lines"]["accepted"] == 2000))
    by_key: dict[bytes, list[tuple[int, int]]] = {}
    for record in records_since(settings, READINGS, starts):
        by_key.setdefault(record.key, []).append((record.partition, json.loads(record.value)["seq"]))
    assert sorted(by_key) == sorted(b"%d" % (number + 1) for number in range(SENSORS))
    for found in by_key.values():
        assert len({partition for partition, _ in found}) == 1
        assert [seq for _, seq in found] == list(range(100))


def test_a_rejected_line_is_kept_with_its_reason_and_sender(settings: Settings) -> None:
    starts = ends(settings, REJECTED)
    with gateway(settings) as running, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"\xff\x00 nonsense", (settings.udp.host, settings.udp.port))
        port = sender.getsockname()[1]
        running.wait_until(lambda now: bool(now["rejected_copies"]["accepted"] == 1))
    (record,) = records_since(settings, REJECTED, starts)
    headers = dict(record.headers)
    assert (record.key, record.value) == (None, b"\xff\x00 nonsense")
    assert headers["reason"] == b"encoding"
    assert headers["sender"] == b"127.0.0.1:%d" % port
    assert set(headers) == {"reason", "detail", "sender", "received"}


def test_what_was_in_flight_at_a_kill_is_shown_as_lost_in_the_crash(settings: Settings) -> None:
    away = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"port": 1})})
    with gateway(away) as running:
        running.send([good(number) for number in range(100)])
        running.wait_until(lambda now: bool(now["lines"]["in_flight"] == 100))
        running.process.kill()
    with gateway(settings) as running:
        running.send([good(100)])
        ledger = running.wait_until(lambda now: bool(now["lines"]["accepted"] == 1))
    assert ledger["lines"]["lost_in_crash"] == 100
    assert ledger["lines"]["received"] == 101
