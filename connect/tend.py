"""`mare tend`: the caretaker. It restarts what failed, and tells topic `pipeline.metrics` how things are.

Nothing it asks may end it: an engine that is away is said once, and asked again.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from connect import room
from connect.connectors import states
from connect.rest import FAILED, Connector, Rest
from maredata.lag import connector_lag, end_offsets
from maredata.log import log_to_stderr
from maredata.names import ALL_CONNECTORS, METRICS, dead_letters
from maredata.settings import Settings
from maredata.state import ledger_file, read_json
from maredata.timestamps import format_timestamp

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_PUBLISH_SECONDS = 10.0
_ROOM_LOOK_SECONDS = 5.0
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
_LAST_REPORT_SECONDS = 5.0
_STEADY_SECONDS = 60.0  # what has run for so long begins again with the first wait


@dataclass
class _Patient:
    """What is known of one connector or task that has failed before."""

    wait: float = _FIRST_WAIT
    restart_at: float | None = None
    restarted_at: float = 0.0


@dataclass
class Restarts:
    """Says what is to be restarted now: a second after its first failure, then with doubling waits."""

    clock: Callable[[], float] = time.monotonic
    _patients: dict[tuple[str, int | None], _Patient] = field(default_factory=dict)

    def due(self, connectors: Iterable[Connector]) -> list[tuple[str, int | None, str]]:
        """(connector's name, task's id or None for itself, trouble) of each that is to be restarted now."""
        found = []
        seen = set()
        for connector in connectors:
            for part, state, trouble in _parts(connector):
                key = (connector.name, part)
                seen.add(key)
                if self._is_due(key, state == FAILED):
                    found.append((connector.name, part, trouble))
        # One that vanished was deleted on purpose; if it comes back, it begins anew.
        self._patients = {key: patient for key, patient in self._patients.items() if key in seen}
        return found

    def hurry(self) -> None:
        """An engine is being brought back: whatever failed for want of it is tried again soon."""
        self._patients.clear()

    def _is_due(self, key: tuple[str, int | None], failed: bool) -> bool:
        now = self.clock()
        patient = self._patients.get(key)
        if not failed:
            if patient is not None and now - patient.restarted_at >= _STEADY_SECONDS:
                del self._patients[key]
            elif patient is not None:
                patient.restart_at = None
            return False
        if patient is None:
            patient = self._patients[key] = _Patient()
        if patient.restart_at is None:
            patient.restart_at = now + patient.wait
        if now < patient.restart_at:
            return False
        patient.wait = min(_LONGEST_WAIT, 2 * patient.wait)
        patient.restart_at = None
        patient.restarted_at = now
        return True


def tend(settings: Settings, revive: Callable[[], list[str]], stopped: Callable[[], bool]) -> None:
    """Looks after the instance until `stopped`. `revive` restarts dead processes and returns their names."""
    # Every restart is a line of its own: whoever reads them asks how often.
    log_to_stderr("connect", settings.log_format, hold_back_seconds=0)
    outages = _Outages()
    # In threads of their own, since it takes time to see that Kafka or MariaDB is away.
    others = [
        threading.Thread(target=work, args=(settings, outages, stopped), name=work.__name__, daemon=True)
        for work in (_report, _watch_sessions)
    ]
    log.info("watching")
    for thread in others:
        thread.start()
    restarts = Restarts()
    # One try each round: a worker that is away must not hold up what else there is to revive.
    with Rest(settings.connect.url, patience=0, timeout=5) as rest:
        while not stopped():
            with outages.said_once("the launcher"):
                _revive(revive, restarts)
            with outages.said_once("Kafka Connect"):
                _restart_failed(rest, restarts)
            time.sleep(_LOOK_SECONDS)
    for thread in others:
        thread.join(_LAST_REPORT_SECONDS)
    log.info("stopped")


def _revive(revive: Callable[[], list[str]], restarts: Restarts) -> None:
    for name in revive():
        log.warning("%s had died and was started again", name)
        restarts.hurry()


def _restart_failed(rest: Rest, restarts: Restarts) -> None:
    for name, task, trouble in restarts.due(rest.connectors()):
        what = f"connector {name}" if task is None else f"task {name}-{task}"
        log.warning("%s failed and is restarted: %s", what, trouble or "it did not say why")
        rest.restart_part(name, task)


def _report(settings: Settings, outages: _Outages, stopped: Callable[[], bool]) -> None:
    """Publishes a document every ten seconds."""
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka.bootstrap,
            "message.timeout.ms": 60_000,
            "log_level": 0,  # it would repeat for each connection what is said here once
        }
    )
    publish_at = 0.0
    while not stopped():
        if time.monotonic() >= publish_at:
            publish_at = time.monotonic() + _PUBLISH_SECONDS
            with outages.said_once("Kafka"):
                producer.produce(METRICS, json.dumps(_document(settings, outages)).encode(), on_delivery=_delivered)
        producer.poll(0.5)
    producer.flush(_LAST_REPORT_SECONDS)


def _watch_sessions(settings: Settings, outages: _Outages, stopped: Callable[[], bool]) -> None:
    """Ends what waits in MariaDB for room on a disk that has some."""
    look_at = 0.0
    while not stopped():
        if time.monotonic() >= look_at:
            look_at = time.monotonic() + _ROOM_LOOK_SECONDS
            with outages.said_once("MariaDB"):
                for number in room.end_waiting(settings):
                    log.warning("MariaDB's session %d did not see that its disk has room again, and was ended", number)
        time.sleep(0.5)


def _document(settings: Settings, outages: _Outages) -> dict[str, Any]:
    """How things are now. What can't be asked is left out; without Kafka there is nobody to tell."""
    document: dict[str, Any] = {"timestamp": format_timestamp(time.time_ns() // 1000)}
    with outages.said_once("the connectors' state"):
        document["connectors"] = states(settings)
    with outages.said_once("the ledger"):
        document["ledger"] = read_json(ledger_file(settings))
    document["lag"] = connector_lag(settings)
    ends = end_offsets(settings, map(dead_letters, ALL_CONNECTORS))
    document["dead_letters"] = {sink: ends[dead_letters(sink)] for sink in ALL_CONNECTORS if dead_letters(sink) in ends}
    return document


def _delivered(error: KafkaError | None, _message: Message) -> None:
    if error is not None:
        log.warning("a document for %s was lost: %s", METRICS, error)


class _Outages:
    """Says once that something is away, and once that it is back."""

    def __init__(self) -> None:
        self._away: set[str] = set()

    @contextmanager
    def said_once(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the caretaker must outlive whatever it takes care of
            if what not in self._away:
                self._away.add(what)
                log.warning("%s does not answer: %s", what, error or type(error).__name__)
                log.debug("%s does not answer", what, exc_info=error)
            return
        if what in self._away:
            self._away.remove(what)
            log.info("%s answers again", what)


def _parts(connector: Connector) -> list[tuple[int | None, str, str]]:
    """(task's id or None for the connector itself, state, trouble) of everything that can fail."""
    own: tuple[int | None, str, str] = (None, connector.state, connector.trouble)
    return [own, *((task.id, task.state, task.trouble) for task in connector.tasks)]
