"""One rate through the running pipeline, with a probe beside it, watched from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Consumer, TopicPartition

from benchmarks import cpu_window, kernel, pipeline_probe
from benchmarks.pipeline_result import ELASTICSEARCH, MARIADB, SINK_OF, STORES, Counts, Lag, Trial
from benchmarks.sender import Load, Sent, send
from maredata.errors import MachineError
from maredata.names import READINGS, READINGS_PATTERN, consumer_group
from maredata.settings import Settings, as_environment
from maredata.state import ledger_file, read_json
from maredata.stores import connect_elasticsearch, connect_mariadb

_LOOK_SECONDS = 1.0
_DRAIN_SECONDS = 120.0
_SETTLE_SECONDS = 30.0  # for the gateway's ledger, which is written once a second
_ASK_SECONDS = 10.0
_PROBE_SECONDS = 90.0  # after its last reading

Progress = Callable[[str], None]


class Offsets:
    """The topic's end and what each sink has committed. It asks in the sinks' names, and joins no group."""

    def __init__(self, settings: Settings) -> None:
        self._partitions = [TopicPartition(READINGS, number) for number in range(settings.kafka.partitions)]
        self._consumers = {
            store: Consumer(
                {
                    "bootstrap.servers": settings.kafka.bootstrap,
                    "group.id": consumer_group(SINK_OF[store]),
                    "enable.auto.commit": False,
                }
            )
            for store in STORES
        }

    def end(self) -> int:
        """Readings ever written to the topic."""
        asked = self._consumers[MARIADB]
        return sum(
            asked.get_watermark_offsets(partition, timeout=_ASK_SECONDS, cached=False)[1]
            for partition in self._partitions
        )

    def behind(self) -> dict[str, int]:
        """Lag of each sink, by its connector's name. The topic's end is asked for last, so none is below 0."""
        committed = {
            store: sum(max(0, found.offset) for found in consumer.committed(self._partitions, timeout=_ASK_SECONDS))
            for store, consumer in self._consumers.items()
        }
        end = self.end()
        return {SINK_OF[store]: end - offset for store, offset in committed.items()}

    def close(self) -> None:
        for consumer in self._consumers.values():
            consumer.close()


@dataclass
class Bench:
    """A running pipeline: pids by role, and the sender's program."""

    settings: Settings
    pids: Mapping[str, int]
    sender: Path
    offsets: Offsets
    progress: Progress

    def measure(self, load: Load) -> Trial:
        """The load, and everything it brought, stored or given up."""
        before = self._counts(0)
        with _probe(self.settings, load.seconds) as probe, ThreadPoolExecutor(1) as pool:
            pids = {role: [pid] for role, pid in {**self.pids, "probe": probe.pid}.items()}
            first, began = cpu_window.look(pids), time.monotonic()
            udp = self.settings.udp
            sending = pool.submit(send, self.sender, udp.host, udp.port, load)
            lags, memory = self._watch(sending, pids, began)
            sent, window = sending.result(), time.monotonic() - began
            used = cpu_window.used(first, cpu_window.look(pids))
            drained = self._drain()
            said = _answer(probe)
        counts = self._settled(before, sent.lines + said["sent"])
        return Trial(
            load=load,
            sent=sent,
            counts=counts,
            latency={store: said["stores"][store]["seconds"] for store in STORES},
            missing={store: said["stores"][store]["missing"] for store in STORES},
            looks={store: said["stores"][store]["looks"] for store in STORES},
            lags=tuple(lags),
            drained=drained,
            window=window,
            cpu=used.cpu,
            memory=memory,
            # The benchmark's own is no other program's; the sender has told us of its own.
            elsewhere=used.elsewhere - sent.user - sent.system,
            cores=os.cpu_count() or 1,
        )

    def _watch(
        self, sending: Future[Sent], pids: Mapping[str, list[int]], began: float
    ) -> tuple[list[Lag], dict[str, int]]:
        """Lags while the load is on, and the most memory that each role had."""
        lags: list[Lag] = []
        memory = dict.fromkeys(pids, 0)
        while not sending.done():
            lags.append(Lag(time.monotonic() - began, self.offsets.behind()))
            for role, some in pids.items():
                memory[role] = max(memory[role], sum(map(resident, some)))
            time.sleep(_LOOK_SECONDS)
        return lags, memory

    def _drain(self) -> float | None:
        """Seconds until both sinks have stored everything; None where they did not within two minutes."""
        ended = time.monotonic()

        def done() -> bool:
            queued = kernel.udp_port(self.settings.udp.port).queued_bytes
            return not queued and not any(self.offsets.behind().values())

        return time.monotonic() - ended if cpu_window.until(done, _DRAIN_SECONDS, 0.2) else None

    def _settled(self, before: Counts, sent: int) -> Counts:
        """The counts, once the ledger accounts for all that was sent."""

        def accounted() -> bool:
            ledger = read_json(ledger_file(self.settings))
            arrived = ledger["datagrams"]["received"] + ledger["datagrams"]["kernel_dropped"]
            return bool(arrived - before.received - before.kernel_dropped >= sent and not ledger["lines"]["in_flight"])

        cpu_window.until(accounted, _SETTLE_SECONDS, 0.2)
        self._drain()
        after = self._counts(sent)
        return Counts(sent, *(getattr(after, name) - getattr(before, name) for name in _COUNTED))

    def _counts(self, sent: int) -> Counts:
        """Of everything so far."""
        ledger = read_json(ledger_file(self.settings))
        lines = ledger["lines"]
        with connect_mariadb(self.settings, read_timeout=300) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT COUNT(*) FROM {READINGS}")  # noqa: S608  # our own name
            rows: Any = cursor.fetchone()
        with connect_elasticsearch(self.settings) as client:
            client.indices.refresh(index=READINGS_PATTERN, ignore_unavailable=True)
            documents = client.count(index=READINGS_PATTERN, ignore_unavailable=True)["count"]
        dropped = ledger["datagrams"]["kernel_dropped"]
        return Counts(sent, dropped, lines["received"], lines["accepted"], self.offsets.end(), rows[0], documents)


_COUNTED = ("kernel_dropped", "received", "accepted", "kafka", MARIADB, ELASTICSEARCH)


def resident(pid: int) -> int:
    """Bytes in memory of the process and all it has started; shared pages count for each."""
    try:
        process = psutil.Process(pid)
        return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))
    except psutil.Error:
        return 0


@contextmanager
def _probe(settings: Settings, seconds: float) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", pipeline_probe.__name__, str(seconds)],
        env={**os.environ, **as_environment(settings)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _answer(probe: subprocess.Popen[str]) -> dict[str, Any]:
    try:
        said, _ = probe.communicate(timeout=_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        raise MachineError("The benchmark's probe did not end: this machine is too busy for it.") from None
    if probe.returncode:
        raise MachineError(f"The benchmark's probe ended with status {probe.returncode}: see what it said above.")
    answer: dict[str, Any] = json.loads(said)
    return answer
