"""`mare bench analytics`: analysts' questions on MariaDB and on Elasticsearch, and what they do to transactions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mysql.connector
from elastic_transport import TransportError
from elasticsearch import ApiError

from benchmarks import analytics_plots, analytics_seed, engines
from benchmarks.analytics_alone import CLIENTS, Alone, speedup
from benchmarks.analytics_pair import CONNECTIONS, Load, Pair
from benchmarks.analytics_schedule import geometric_mean
from benchmarks.analytics_seed import History, Size
from benchmarks.analytics_servers import Servers, running
from benchmarks.analytics_stores import STORES, AskElasticsearch, AskMariaDB
from benchmarks.cpu_window import await_quiet
from benchmarks.questions import IF_ELASTICSEARCH_LOSES, QUESTIONS, Question
from benchmarks.result import Head
from installs.machine import check_room, parse_size
from maredata.errors import MareError, StoreError
from maredata.schema import load_schema
from maredata.settings import Settings

_LEAST_EVERY = 60  # seconds from one reading of a buoy to its next, and
_LEAST_SPAN = 60 * 86_400  # what all of them span at the least: there have to be 30 days to be drawn
_LONGEST_QUIET = 120.0
_QUIET_LOOK_SECONDS = 1.0
ALL, NONE = "all", "none"

BASE = (
    "A latency is from the question to the answer in the client, decoded, with parameters drawn anew for each; p50, p95"
    f" and p99 are those of one client, throughput is that of {CLIENTS} at once. Elasticsearch's request cache is left"
    " out. Cold is the first answer of an engine that has just been started. A transaction's latency counts from the"
    f" instant at which it was due, whatever became of those before it; {CONNECTIONS} connections carry them. Analysts"
    " and transactions are Locust processes of their own."
)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What is measured; `out` is the result's file. `rows` are rounded down to whole steps of all buoys.

    `seconds` are for each question on each store; `pair_seconds` for the transactions, each time. `memory` is each
    engine's. `cold` names the questions that are also asked of engines just started: all, none, or their names.
    """

    rows: int = 10_000_000
    buoys: int = 50
    seconds: float = 10.0
    pair_seconds: float = 60.0
    rate: float = 100.0
    analysts: int = 10
    every: float = 2.0
    memory: str = "2g"
    cold: str = ALL
    seed: int = 1
    first_port: int = 21_000
    out: Path | None = None

    @property
    def size(self) -> Size:
        steps = self.rows // self.buoys
        return Size(steps, self.buoys, max(_LEAST_EVERY, math.ceil(_LEAST_SPAN / steps)))

    @property
    def load(self) -> Load:
        return Load(self.rate, self.analysts, self.every, self.pair_seconds, self.pair_seconds / 6, self.seed)

    def cold_questions(self) -> list[Question]:
        """Raises MareError for a name that no question has."""
        if self.cold in (ALL, NONE):
            return list(QUESTIONS) if self.cold == ALL else []
        names = [name.strip() for name in self.cold.split(";")]
        known = {question.name: question for question in QUESTIONS}
        if unknown := [name for name in names if name not in known]:
            raise MareError(f"There is no question “{unknown[0]}”: name some of {'; '.join(known)}, or all, or none.")
        return [known[name] for name in names]


@dataclass(frozen=True)
class Report:
    """All that was measured; `path` is where it was written, with the plots beside it."""

    path: Path
    content: dict[str, Any]
    plots: tuple[Path, ...]

    @property
    def whole(self) -> bool:
        """Everything that was asked for was answered."""
        return not any(
            part["errors"] for seen in self.content["pair"] for part in (seen["transactions"], seen["answers"]) if part
        )


def run(settings: Settings, options: Options, command: str, history: History, progress: Progress) -> Report:
    """Measures, and writes the result's file and its plots; `command` is what the user typed.

    Raises:
        AnswersDiffer: both stores were asked the same, and answered differently.
        MareError: this machine lacks something (memory, a free port), or an engine did not start or answer.
    """
    own = engines.both_stores(settings, options.first_port)
    cold = options.cold_questions()
    head = Head("analytics", command)
    try:
        with engines.alone(own.home), engines.ends_in_order():
            check_room(own)
            with running(own, parse_size(options.memory), progress) as (chosen, servers):
                seen = _measure(chosen, options, cold, servers, history, progress)
    except (ApiError, TransportError, mysql.connector.Error) as error:
        raise StoreError(
            f"An engine of the benchmark did not do what was asked of it ({error}): look at {own.home / 'logs'}."
        ) from error
    path, content = head.write(
        asdict(options),
        own.home,
        base=BASE,
        **seen,
    )
    return Report(path, content, analytics_plots.draw(content, path.with_suffix("")))


def _measure(
    own: Settings,
    options: Options,
    cold: Sequence[Question],
    servers: Servers,
    history: History,
    progress: Progress,
) -> dict[str, Any]:
    schema = load_schema(own.reading.toml)
    seconds = analytics_seed.fill(own, schema, options.size, history, progress)
    with AskMariaDB(own) as mariadb, AskElasticsearch(own) as elasticsearch:
        ground, sensors = analytics_seed.ground_of(mariadb, schema)
        sizes = analytics_seed.sizes(mariadb, elasticsearch)
    await_quiet({store: [pid] for store, pid in servers.pids.items()}, _LONGEST_QUIET, _QUIET_LOOK_SECONDS)
    alone = Alone(own, ground, options.seconds, options.seed, progress)
    progress("comparing the answers of both stores")
    seen = alone.compare()
    progress("measuring each question on each store")
    warm = alone.warm()
    first, dropped = alone.cold(cold, servers.restart_cold)
    if cold:
        alone.warm_up()
    pair = Pair(own, ground, sensors, servers.pids, progress).measure(options.load)
    questions = [_question(question, seen[question.name], warm[question.name], first) for question in QUESTIONS]
    return {
        "readings": options.size.rows,
        "bytes": sizes,
        "seeding_seconds": seconds,
        "memory": servers.memory.as_dict(),
        "page_cache_dropped": dropped if cold else None,
        "questions": questions,
        "geometric_mean": means([question["speedup"] for question in questions]),
        "pair": pair,
    }


def _question(
    question: Question,
    compared: dict[str, Any],
    warm: dict[str, Any],
    cold: dict[str, dict[str, float]],
) -> dict[str, Any]:
    for store, seconds in cold.get(question.name, {}).items():
        warm[store]["cold"] = seconds
    found = speedup(warm)
    return {
        "name": question.name,
        "text": question.text,
        "index": question.index,
        **compared,
        **{store: warm[store] for store in STORES},
        "speedup": found,
        "why": IF_ELASTICSEARCH_LOSES if found["warm"] < 1 else "",
    }


def means(speedups: Sequence[dict[str, float]]) -> dict[str, float | None]:
    """The geometric mean over all questions of each kind of speedup; None where not all have it."""
    kinds = ("warm", "throughput", "cold")
    return {
        kind: geometric_mean(found[kind] for found in speedups) if all(kind in found for found in speedups) else None
        for kind in kinds
    }
