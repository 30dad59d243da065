"""Gateways as processes of their own, senders, and what came of it in Kafka."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Consumer, KafkaException, TopicPartition
from ports import free_ports
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed
from waiting import await_true

from maredata.settings import Settings, as_environment
from maredata.state import ledger_file, read_json

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

    def wait_until(self, condition: Callable[[dict[str, Any]], bool], seconds: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while not condition(self.ledger()):
            assert self.process.poll() is None, "the gateway has ended"
            assert time.monotonic() < deadline, self.ledger()
            time.sleep(0.1)
        return self.ledger()

    def workers(self) -> list[psutil.Process]:
        """The receiving processes that live now."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if child.status() != psutil.STATUS_ZOMBIE:
                    found.append(child)
        return found


@contextmanager
def gateway(settings: Settings, *options: str, prefix: tuple[str, ...] = ()) -> Iterator[Gateway]:
    """A gateway that listens; whatever is left of it in the end is killed. `prefix` is a command that starts it."""
    before = read_json(ledger_file(settings)).get("started")
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "maredata.cli", "serve", *options],
        env={**os.environ, **as_environment(settings)},
        start_new_session=True,
    )
    started = Gateway(settings, process)
    try:
        await_true(
            lambda: process.poll() is not None or read_json(ledger_file(settings)).get("started") != before,
            seconds=30,
            what="the gateway listens",
        )
        assert process.poll() is None, "the gateway did not start"
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def queued_bytes(port: int) -> int:
    """What the sockets on this UDP port have received and nobody has read yet."""
    rows = [row.split() for row in Path("/proc/net/udp").read_text("ascii").splitlines()[1:]]
    return sum(int(row[4].split(":")[1], 16) for row in rows if row[1].endswith(f":{port:04X}"))


def ends(settings: Settings, topic: str) -> dict[int, int]:
    """The end offset of each partition."""
    consumer = _consumer(settings)
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    found = {number: _end(consumer, TopicPartition(topic, number)) for number in partitions}
    consumer.close()
    return found


@retry(retry=retry_if_exception_type(KafkaException), stop=stop_after_delay(30), wait=wait_fixed(0.2), reraise=True)
def _end(consumer: Consumer, partition: TopicPartition) -> int:
    """A broker that was just started may not lead the partition yet."""
    return int(consumer.get_watermark_offsets(partition, timeout=30, cached=False)[1])


def grown(settings: Settings, topic: str, starts: dict[int, int]) -> int:
    return sum(ends(settings, topic).values()) - sum(starts.values())


@dataclass(frozen=True)
class Record:
    partition: int
    key: bytes | None
    value: bytes
    headers: dict[str, bytes]


def records_since(settings: Settings, topic: str, starts: dict[int, int]) -> Iterator[Record]:
    """The topic's records from `starts` on, each partition in its order."""
    consumer = _consumer(settings)
    left = {number: end - starts[number] for number, end in ends(settings, topic).items()}
    consumer.assign([TopicPartition(topic, number, start) for number, start in starts.items()])
    deadline = time.monotonic() + 120
    while any(count > 0 for count in left.values()):
        assert time.monotonic() < deadline, f"these did not come: {left}"
        for message in consumer.consume(10_000, timeout=1):
            assert message.error() is None, message.error()
            left[message.partition()] -= 1
            yield Record(message.partition(), message.key(), message.value(), dict(message.headers() or ()))
    consumer.close()


def _consumer(settings: Settings) -> Consumer:
    return Consumer({"bootstrap.servers": settings.kafka.bootstrap, "group.id": "tests", "enable.auto.commit": False})


def good(number: int) -> bytes:
    """A reading; number // SENSORS is the sensor's seq."""
    record = {
        "timestamp": f"2025-03-01 00:{number // 60000:02d}:{number // 1000 % 60:02d}.{number % 1000:03d}000",
        "temperature": 20.9,
        "sensor_id": number % SENSORS + 1,
        "seq": number // SENSORS,
    }
    return json.dumps(record).encode()


def count_lines(datagram: bytes) -> int:
    return max(1, datagram.count(b"\n") + (not datagram.endswith(b"\n")))


def own_gateway(settings: Settings, home: Path, **udp: object) -> Settings:
    """The same engines, for a gateway with a home and ports of its own."""
    port, metrics = free_ports(2)
    changed = {"port": port, **udp}
    return settings.model_copy(
        update={
            "home": home,
            "udp": settings.udp.model_copy(update=changed),
            "metrics": settings.metrics.model_copy(update={"port": metrics}),
        }
    )
