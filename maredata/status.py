"""What `mare status` shows: processes, connectors, lag, counts and rates, each as far as it can be asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import mysql.connector
from elastic_transport import TransportError
from elasticsearch import ApiError
from kafka.errors import KafkaError
from rich.console import Group, RenderableType
from rich.table import Table

from maredata.errors import MareError
from maredata.lag import connector_lag, end_offsets
from maredata.names import ALL_CONNECTORS, READINGS, READINGS_PATTERN, REJECTED, dead_letters
from maredata.settings import Settings
from maredata.state import ledger_file, read_json
from maredata.stores import connect_elasticsearch, connect_mariadb

UNREACHABLE = (KafkaError, mysql.connector.Error, ApiError, TransportError, MareError, OSError)


class Process(Protocol):
    """A process of the local launcher; in containers there are none to show."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def alive(self) -> bool: ...


@dataclass(frozen=True)
class Status:
    """One look at an instance. What could not be asked is None, or missing from its dict."""

    processes: list[dict[str, Any]]
    connectors: dict[str, str]
    readings: dict[str, int | None]
    lag: dict[str, int]
    dead_letters: dict[str, int]
    ledger: dict[str, Any]
    rates: dict[str, float] = field(default_factory=dict)
    at: float = field(default_factory=time.time)

    @property
    def healthy(self) -> bool:
        """Everything that should run does, and every connector too."""
        return (
            all(process["alive"] for process in self.processes)
            and all(count is not None for count in self.readings.values())
            and all(state == "RUNNING" for state in self.connectors.values())
            and set(self.connectors) >= set(ALL_CONNECTORS)
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"healthy": self.healthy}

    def render(self) -> RenderableType:
        return Group(self._processes(), self._connectors(), self._flow())

    def _processes(self) -> Table:
        table = Table("what", "state", "address", "pid", "version", title="Processes", title_justify="left")
        for process in self.processes:
            state = "[green]runs[/]" if process["alive"] else "[red]dead[/]"
            pid = str(process["pid"])
            table.add_row(process["name"], state, process["address"], pid, process["version"])
        return table

    def _connectors(self) -> Table:
        table = Table("connector", "state", "lag", "dead letters", title="Connectors", title_justify="left")
        for name in sorted(ALL_CONNECTORS.keys() | self.connectors.keys()):
            state = self.connectors.get(name, "not there" if self.connectors else "not known")
            colour = "green" if state == "RUNNING" else "red"
            behind = f"{self.lag[name]:,}" if name in self.lag else ""
            dead = f"{self.dead_letters[name]:,}" if name in self.dead_letters else ""
            table.add_row(name, f"[{colour}]{state.lower()}[/]", behind, dead)
        return table

    def _flow(self) -> Table:
        table = Table("where", "readings", "a second", title="Readings", title_justify="left")
        for place, count in self.readings.items():
            rate = f"{self.rates[place]:,.1f}" if place in self.rates else ""
            table.add_row(place, "[red]not reached[/]" if count is None else f"{count:,}", rate)
        return table


def look(
    settings: Settings,
    processes: Sequence[Process],
    connectors: Callable[[], dict[str, str]],
    before: Status | None = None,
) -> Status:
    """Asks everything once, side by side. `before` is an earlier look, from which rates are made."""
    with ThreadPoolExecutor(5) as pool:
        states = pool.submit(_or_nothing, connectors)
        lag = pool.submit(_or_nothing, lambda: connector_lag(settings))
        asked = [READINGS, REJECTED, *map(dead_letters, ALL_CONNECTORS)]
        ends = pool.submit(_or_nothing, lambda: end_offsets(settings, asked))
        counts = pool.submit(counts_of_stores, settings)
        ledger = read_json(ledger_file(settings))
        topics = ends.result()
        status = Status(
            processes=[
                {key: getattr(process, key) for key in ("name", "version", "address", "pid", "alive")}
                for process in processes
            ],
            connectors=states.result(),
            readings={"Kafka": topics.get(READINGS), **counts.result()},
            lag=lag.result(),
            dead_letters={sink: topics[dead_letters(sink)] for sink in ALL_CONNECTORS if dead_letters(sink) in topics},
            ledger=ledger,
        )
    status.rates.update(_rates(before, status))
    return status


def counts_of_stores(settings: Settings) -> dict[str, int | None]:
    """Readings visible in each store, None for one that does not answer."""
    counts: dict[str, int | None] = {"MariaDB": None, "Elasticsearch": None}
    with suppress(*UNREACHABLE), connect_mariadb(settings, connection_timeout=5) as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT COUNT(*) FROM `{READINGS}`")  # noqa: S608  # a name of ours
        counts["MariaDB"] = int(next(iter(cursor))[0])  # type: ignore[call-overload]
    with suppress(*UNREACHABLE):
        answer = connect_elasticsearch(settings).count(index=READINGS_PATTERN, ignore_unavailable=True)
        counts["Elasticsearch"] = int(answer["count"])
    return counts


def _or_nothing(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return ask()
    except UNREACHABLE:
        return {}


def _rates(before: Status | None, now: Status) -> dict[str, float]:
    if before is None or now.at <= before.at:
        return {}
    rates = {}
    for place, count in now.readings.items():
        earlier = before.readings.get(place)
        if count is not None and earlier is not None:
            rates[place] = (count - earlier) / (now.at - before.at)
    return rates
