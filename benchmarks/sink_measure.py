"""Plain bulk clients and the sink plugin in turns: the same documents, each time into a new index."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from confluent_kafka import Producer

from benchmarks.broker import EndOffsets
from benchmarks.cpu_window import Look, await_quiet, look, until, used
from benchmarks.documents import Reading, batches, bulk_body
from benchmarks.indices import Indices
from benchmarks.plain_bulk import Clients
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
    verdict,
)
from maredata.errors import StoreError
from maredata.lag import group_members
from maredata.names import ELASTICSEARCH_SINK, READINGS, consumer_group
from maredata.settings import Settings

_LOOK_SECONDS = 0.1  # each look costs CPU that the engines want
_DOUBT_SECONDS = 3.0  # nothing came for so long: the receiver is asked whether it is well
_STUCK_SECONDS = 60.0  # nothing came for so long: the pass has failed
_QUIET_LOOK_SECONDS = 0.5
_LONGEST_QUIET = 10.0
_MOST_WAITING = 200_000  # readings in the producer's queue
_FLUSH_SECONDS = 60.0

Progress = Callable[[str], None]


class Status(Protocol):
    """What Kafka Connect says of a connector."""

    @property
    def failed(self) -> bool: ...

    @property
    def trouble(self) -> str: ...


class Worker(Protocol):
    """Kafka Connect's REST API."""

    def put_config(self, name: str, config: dict[str, str]) -> None: ...

    def connector(self, name: str) -> Status | None: ...

    def delete(self, name: str) -> bool: ...


@dataclass(frozen=True)
class Engines:
    """The benchmark's own, with `pids` by role."""

    settings: Settings
    pids: Mapping[str, int]
    worker: Worker
    indices: Indices


class Bench:
    """One measurement after the other. `definition` is the sink's; `clients` says how many post plainly."""

    def __init__(self, engines: Engines, definition: dict[str, str], clients: int, progress: Progress) -> None:
        self._engines = engines
        self._definition = definition
        self._clients = clients
        self._progress = progress
        self._filled = 0
        self._passes = 0
        self._bodies = engines.settings.home / "data" / "bodies"

    def fill(self, readings: Iterator[Reading], count: int) -> None:
        """Puts the next `count` readings into the topic, and into bodies for the plain clients.

        Raises StoreError where Kafka does not take all of them.
        """
        settings, size = self._engines.settings, int(self._definition["batch.documents"])
        self._bodies.mkdir(parents=True, exist_ok=True)
        producer = Producer(
            {
                "bootstrap.servers": settings.kafka.bootstrap,
                "partitioner": "murmur2_random",  # the gateway's
                "linger.ms": 10,  # batches that grow as the gateway's do
                "queue.buffering.max.messages": 2 * _MOST_WAITING,
            }
        )
        for batch in batches(islice(readings, count), size):
            (self._bodies / f"{self._filled:012}.ndjson").write_bytes(bulk_body(batch))
            for reading in batch:
                producer.produce(READINGS, reading.line, key=reading.key)
            self._filled += len(batch)
            producer.poll(0)
            while len(producer) > _MOST_WAITING:
                producer.poll(_LOOK_SECONDS)
        left = producer.flush(_FLUSH_SECONDS)
        offsets = EndOffsets(settings, READINGS)
        there = offsets.total()
        offsets.close()
        if left or there != self._filled:
            raise StoreError(f"Topic {READINGS} holds {there:,} readings instead of {self._filled:,}: try it again.")

    def rounds(self, count: int) -> list[Pass]:
        """Both receivers in each; who is first alternates."""
        return [self.measure(receiver, number + 1) for number in range(count) for receiver in order(number + 1)]

    def measure(self, receiver: str, number: int) -> Pass:
        """One receiver, with all that the topic holds, into a new index."""
        self._engines.indices.clear()
        self._passes += 1
        found = (self._plain if receiver == PLAIN else self._sink)(number)
        rate = "" if found.rate is None else f", {found.rate:,.0f} documents/s"
        self._progress(f"{f'round {number}' if number else 'warm-up'}: {receiver}: {verdict(found)}{rate}")
        return found

    def _plain(self, number: int) -> Pass:
        with Clients(self._engines.settings, self._bodies, self._clients) as clients:
            self._await_quiet()
            before = look(self._pids(clients.pids))
            course = self._follow(clients.go, clients.trouble)
            after = look(self._pids(clients.pids))
            seconds = () if course.trouble else tuple(clients.seconds())
            return self._pass(PLAIN, number, course, before, after, seconds)

    def _sink(self, number: int) -> Pass:
        """A new name is a new consumer group: it begins at the topic's beginning."""
        engines, name = self._engines, f"{ELASTICSEARCH_SINK}-{self._passes}"
        self._await_quiet()
        before = look(self._pids([]))
        course = self._follow(
            lambda: engines.worker.put_config(name, self._definition | {"name": name}),
            lambda: _trouble(engines.worker.connector(name)),
        )
        after = look(self._pids([]))
        found = self._pass(SINK, number, course, before, after)
        engines.worker.delete(name)
        until(lambda: group_members(engines.settings, consumer_group(name)) == 0, _STUCK_SECONDS, _LOOK_SECONDS)
        return found

    def _follow(self, start: Callable[[], None], trouble: Callable[[], str]) -> Course:
        began = time.monotonic()
        start()
        return follow(self._engines.indices.indexed, self._filled, trouble, began)

    def _pass(
        self,
        receiver: str,
        number: int,
        course: Course,
        before: Look,
        after: Look,
        seconds: tuple[float | None, ...] = (),
    ) -> Pass:
        spent = used(before, after)
        return Pass(
            receiver=receiver,
            round=number,
            documents=self._filled,
            counted=self._engines.indices.documents(),
            course=course,
            cpu=spent.cpu,
            own_cpu=spent.own,
            elsewhere_cpu=spent.elsewhere,
            cores=os.cpu_count() or 1,
            client_seconds=seconds,
        )

    def _pids(self, clients: list[int]) -> dict[str, list[int]]:
        return {role: [self._engines.pids[role]] for role in (WORKER, ELASTICSEARCH, KAFKA)} | {CLIENTS: clients}

    def _await_quiet(self) -> None:
        await_quiet(self._pids([]), _LONGEST_QUIET, _QUIET_LOOK_SECONDS)


def follow(
    indexed: Callable[[], int],
    expected: int,
    trouble: Callable[[], str],
    began: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Course:
    """Looks until `expected` documents are indexed, the receiver is in `trouble`, or nothing has come for a minute.

    `began` is when the receiver was started, by `clock`; `trouble` says why it can't go on, or nothing.
    """
    count = at_first = 0
    first: float | None = None
    changed = asked = began
    while True:
        seen, now = indexed(), clock()
        if seen and first is None:
            first, at_first = now - began, seen
        if seen != count:
            count, changed = seen, now
        why = ""
        if now - max(changed, asked) > _DOUBT_SECONDS:
            why, asked = trouble(), now
        if now - changed > _STUCK_SECONDS:
            why = why or f"nothing came for {_STUCK_SECONDS:.0f} s"
        if count >= expected or why:
            return Course(count, at_first, first, now - began, why)
        sleep(_LOOK_SECONDS)


def _trouble(status: Status | None) -> str:
    return f"the connector failed: {status.trouble}" if status is not None and status.failed else ""
