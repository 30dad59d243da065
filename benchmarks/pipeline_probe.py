"""Latency of the whole pipeline, seen from outside: a process that sends readings of its own, and looks for them.

    python -m benchmarks.pipeline_probe SECONDS

Its few readings (RATE a second, of SENSORS sensors, so that they come through every partition) go the same way as the
load's. Both stores are asked for those that were not seen yet, by identity: MariaDB by its primary key every 10 ms,
Elasticsearch by a search for `_id` every 50 ms, since only what a search finds is searchable. A latency counts from
before `sendto` until the answer that has the reading, so it is too long by up to one such interval. One JSON object is
printed at the end.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError

from maredata.names import READINGS, READINGS_PATTERN
from maredata.reading import identity
from maredata.settings import Settings, load_settings
from maredata.stores import connect_elasticsearch, connect_mariadb
from maredata.timestamps import format_timestamp

RATE = 20.0  # readings a second
SENSORS = 60
FIRST_SENSOR = 990_001
_MARIADB_SECONDS = 0.010
_ELASTICSEARCH_SECONDS = 0.050
_LONGEST_WAIT = 60.0  # for the last ones
# Of those that were not seen yet, the oldest. MariaDB plans for 200 keys for 23 ms, for 20 in one: with more, a store
# that falls behind would be slowed down by whoever looks.
_ASKED_OF_MARIADB = 20
_ASKED_OF_ELASTICSEARCH = 100

Key = tuple[int, int]  # sensor_id, microseconds


@dataclass
class Store:
    """What was sent and not seen yet in one store, and how long the others took, in seconds.

    `at_once` are asked for in one look.
    """

    name: str
    at_once: int
    seen: list[float] = field(default_factory=list)
    missing: dict[Key, float] = field(default_factory=dict)  # when each was sent, on the monotonic clock
    looks: int = 0

    def sent(self, key: Key, when: float) -> None:
        self.missing[key] = when

    def look(self, find: Callable[[Sequence[Key]], Sequence[Key]]) -> None:
        """Asks for the oldest ones that are missing; `find` returns those that are there."""
        wanted = list(self.missing)[: self.at_once]  # a dict keeps their order; copied at once
        if not wanted:
            return
        self.looks += 1
        found = find(wanted)
        now = time.monotonic()
        for key in found:
            self.seen.append(now - self.missing.pop(key))

    def as_dict(self) -> dict[str, Any]:
        return {"seconds": self.seen, "missing": len(self.missing), "looks": self.looks}


def main(seconds: float) -> dict[str, Any]:
    settings = load_settings(None)
    stores = (Store("mariadb", _ASKED_OF_MARIADB), Store("elasticsearch", _ASKED_OF_ELASTICSEARCH))
    over = threading.Event()
    finders = (_in_mariadb(settings), _in_elasticsearch(settings))
    pauses = (_MARIADB_SECONDS, _ELASTICSEARCH_SECONDS)
    with ThreadPoolExecutor(len(stores)) as pool:
        watching = [
            pool.submit(_watch, store, find, pause, over)
            for store, find, pause in zip(stores, finders, pauses, strict=True)
        ]
        try:
            count = _send(settings, seconds, stores)
            _await_seen(stores, watching)
        finally:
            over.set()
        for watched in watching:
            watched.result()  # a store that nobody looked at any more must not count as slow
    return {"sent": count, "rate": RATE, "stores": {store.name: store.as_dict() for store in stores}}


def _send(settings: Settings, seconds: float, stores: Sequence[Store]) -> int:
    """How many were sent."""
    began, number = time.monotonic(), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((settings.udp.host, settings.udp.port))
        while number < seconds * RATE:
            time.sleep(max(0.0, began + number / RATE - time.monotonic()))
            key = (FIRST_SENSOR + number % SENSORS, time.time_ns() // 1000)
            line = {"timestamp": format_timestamp(key[1]), "temperature": 20.9, "sensor_id": key[0], "seq": number}
            payload = json.dumps(line).encode()
            when = time.monotonic()
            for store in stores:  # before it can be seen
                store.sent(key, when)
            sender.send(payload)
            number += 1
    return number


def _await_seen(stores: Sequence[Store], watching: Sequence[Future[None]]) -> None:
    """Returns when the last ones were seen, after a minute, or when a watcher has failed."""
    deadline = time.monotonic() + _LONGEST_WAIT
    while any(store.missing for store in stores) and time.monotonic() < deadline:
        if any(watched.done() for watched in watching):
            return
        time.sleep(0.1)


def _watch(store: Store, find: Callable[[Sequence[Key]], Sequence[Key]], pause: float, over: threading.Event) -> None:
    while not over.wait(pause):
        store.look(find)


def _in_mariadb(settings: Settings) -> Callable[[Sequence[Key]], Sequence[Key]]:
    connection = connect_mariadb(settings)

    def find(keys: Sequence[Key]) -> list[Key]:
        texts = {(sensor, format_timestamp(micros)): (sensor, micros) for sensor, micros in keys}
        places = ", ".join(["(%s, %s)"] * len(texts))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT sensor_id, CAST(`timestamp` AS CHAR) FROM {READINGS}"  # noqa: S608  # no text of anybody's
                f" WHERE (sensor_id, `timestamp`) IN ({places})",
                [value for pair in texts for value in pair],
            )
            rows: list[Any] = cursor.fetchall()
        return [texts[int(sensor), str(instant)] for sensor, instant in rows]

    return find


def _in_elasticsearch(settings: Settings) -> Callable[[Sequence[Key]], Sequence[Key]]:
    client = connect_elasticsearch(settings)

    def find(keys: Sequence[Key]) -> list[Key]:
        ids = {identity(*key): key for key in keys}
        try:
            found = client.search(
                index=READINGS_PATTERN,
                query={"ids": {"values": list(ids)}},
                source=False,
                size=len(ids),
                track_total_hits=False,
                request_cache=False,
            )
        except (ApiError, TransportError):  # a month's index is only being made
            return []
        return [ids[hit["_id"]] for hit in found["hits"]["hits"]]

    return find


if __name__ == "__main__":
    print(json.dumps(main(float(sys.argv[1]))))
