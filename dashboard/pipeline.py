"""How the pipeline fares: each engine and the gateway is asked by a poll of its own, and its answers become rates."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from dashboard.poll import Answer, Poll
from maredata.errors import EngineError
from maredata.lag import connector_lag, end_offsets, sink_offsets
from maredata.names import ALL_CONNECTORS, ELASTICSEARCH_SINK, MARIADB_SINK, dead_letters
from maredata.settings import Settings
from maredata.stores import connect_mariadb

# Asked of the command, since other rooms know them: the connectors' states, and what the ledger says of each sensor.
States = Callable[[], dict[str, str]]
SensorRows = Callable[[], list[dict[str, Any]]]

_RATE_SECONDS = 12.0  # sinks commit every few seconds: a shorter look would see nothing, or a heap
_MOST_LOSSES = 10
_METRIC = "mare_gateway_"
_UNKNOWN_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104  # where to ask, not to listen


@dataclass
class Rates:
    """Rates of growing counters, over the last seconds. Pure: the caller says what time it is."""

    seconds: float = _RATE_SECONDS
    _seen: deque[tuple[float, Mapping[str, float]]] = field(default_factory=deque)

    def take(self, at: float, totals: Mapping[str, float]) -> dict[str, float]:
        """A second's growth of each; nothing at first, or after a counter has begun anew."""
        if self._seen and any(totals.get(name, 0) < count for name, count in self._seen[-1][1].items()):
            self._seen.clear()
        self._seen.append((at, totals))
        while len(self._seen) > 2 and at - self._seen[1][0] >= self.seconds:
            self._seen.popleft()
        first, before = self._seen[0]
        return (
            {name: (count - before.get(name, 0)) / (at - first) for name, count in totals.items()} if at > first else {}
        )


@dataclass(frozen=True)
class Gateway:
    """From its /metrics. Lines are counted since the instance's first start."""

    accepted_rate: float | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    in_flight: int = 0
    in_spool: int = 0


@dataclass(frozen=True)
class Kafka:
    """What the topics hold, and how far the connectors are in them. A sink's rate is what it has committed."""

    rates: Mapping[str, float] = field(default_factory=dict)  # by Kafka, MariaDB, Elasticsearch
    lag: Mapping[str, int] = field(default_factory=dict)  # by connector
    dead_letters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    sensor_id: int
    readings: int
    missing: int

    @property
    def share(self) -> float:
        return self.missing / (self.readings + self.missing)


@dataclass(frozen=True)
class State:
    """One look at all answers."""

    gateway: Answer[Gateway]
    kafka: Answer[Kafka]
    mariadb: Answer[None]
    connect: Answer[dict[str, str]]
    losses: Answer[tuple[Loss, ...]]

    @property
    def troubles(self) -> list[str]:
        """The names of those that do not answer."""
        asked = (
            ("The gateway", self.gateway.trouble),
            ("Kafka", self.kafka.trouble),
            ("MariaDB", self.mariadb.trouble),
            ("Connect", self.connect.trouble),
        )
        return [name for name, trouble in asked if trouble]


class Pipeline:
    def __init__(self, settings: Settings, states: States, sensor_rows: SensorRows) -> None:
        self._gateway = Poll("the gateway", _GatewayLook(settings), Gateway(), 2)
        self._kafka = Poll("Kafka", _KafkaLook(settings), Kafka(), 3)
        self._mariadb = Poll("MariaDB", lambda: _greet_mariadb(settings), None, 3)
        self._connect: Poll[dict[str, str]] = Poll("Kafka Connect", states, {}, 3)
        self._losses: Poll[tuple[Loss, ...]] = Poll("the ledger", lambda: losses(sensor_rows()), (), 10)

    def start(self) -> None:
        for poll in (self._gateway, self._kafka, self._mariadb, self._connect, self._losses):
            poll.start()

    def read(self) -> State:
        return State(
            self._gateway.read(), self._kafka.read(), self._mariadb.read(), self._connect.read(), self._losses.read()
        )


class _GatewayLook:
    def __init__(self, settings: Settings) -> None:
        host = _UNKNOWN_HOSTS.get(settings.metrics.host, settings.metrics.host)
        self._url = f"http://{host}:{settings.metrics.port}/metrics"
        self._client = httpx.Client(timeout=3, trust_env=False)
        self._rates = Rates()

    def __call__(self) -> Gateway:
        answer = self._client.get(self._url)
        if answer.is_error:
            raise EngineError(f"The gateway's metrics answer with HTTP status {answer.status_code}.")
        return gateway_of(answer.text, self._rates, time.monotonic())


def gateway_of(text: str, rates: Rates, at: float) -> Gateway:
    """What a scrape says; `at` in seconds."""
    single: dict[str, float] = {}
    by_reason: dict[str, dict[str, int]] = {f"{_METRIC}lines_rejected_total": {}, f"{_METRIC}lines_refused_total": {}}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in by_reason and "reason" in sample.labels:
                by_reason[sample.name][sample.labels["reason"]] = int(sample.value)
            elif not sample.labels:
                single[sample.name] = sample.value
    growing = rates.take(at, {"accepted": single.get(f"{_METRIC}lines_accepted_total", 0)})
    rejected, refused = (
        {reason: count for reason, count in sorted(counts.items(), key=lambda it: -it[1]) if count}
        for counts in by_reason.values()
    )
    return Gateway(
        growing.get("accepted"),
        rejected,
        refused,
        int(single.get(f"{_METRIC}lines_in_flight", 0)),
        int(single.get(f"{_METRIC}spool_messages", 0)),
    )


class _KafkaLook:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rates = Rates()

    def __call__(self) -> Kafka:
        offsets = sink_offsets(self._settings)
        # Not by counting rows: over years of readings that takes MariaDB seconds.
        totals = {
            "Kafka": sum(offsets.ends.values()),
            "MariaDB": sum(offsets.committed[MARIADB_SINK].values()),
            "Elasticsearch": sum(offsets.committed[ELASTICSEARCH_SINK].values()),
        }
        rates = self._rates.take(time.monotonic(), totals)
        ends = end_offsets(self._settings, map(dead_letters, ALL_CONNECTORS))
        dead = {sink: ends[dead_letters(sink)] for sink in ALL_CONNECTORS if dead_letters(sink) in ends}
        return Kafka(rates, connector_lag(self._settings), dead)


def losses(rows: Sequence[Mapping[str, Any]]) -> tuple[Loss, ...]:
    """The buoys that lost most, by the ledger's rows: sequence numbers that did not come although a higher one did."""
    found = [Loss(row["sensor_id"], row["readings"], row["missing"]) for row in rows if row["missing"]]
    return tuple(sorted(found, key=lambda loss: (-loss.missing, loss.sensor_id))[:_MOST_LOSSES])


def _greet_mariadb(settings: Settings) -> None:
    with connect_mariadb(settings, connection_timeout=3) as connection:
        connection.ping()
