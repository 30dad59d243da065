"""`mare bench sink`: the sink plugin, from Kafka to Elasticsearch, beside plain bulk clients in the same run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError
from kafka.errors import KafkaError

from benchmarks import engines
from benchmarks.documents import readings
from benchmarks.indices import Indices
from benchmarks.result import Head
from benchmarks.sink_measure import Bench, Engines, Worker
from benchmarks.sink_result import ELASTICSEARCH, KAFKA, PLAIN, SINK, WORKER, Pass, order, summary
from installs.engines import connect, elasticsearch, kafka
from installs.machine import check_room
from maredata.errors import StoreError
from maredata.schema import load_schema
from maredata.settings import Connect, Elasticsearch, Kafka, Reading, Settings
from maredata.stores import connect_elasticsearch
from maredata.topics import apply_topics

FEWEST = 10_000  # fewer documents are there before anybody has looked twice
_WARM_UP_SHARE = 2  # of the documents, one in so many

DOES = {
    PLAIN: "processes that only post ready-made bulk bodies, each through one connection: the limit",
    SINK: "Kafka Connect with the connector as the pipeline has it, from the beginning of topic readings, in a new"
    " consumer group; it checks every reading",
}
BASE = (
    "A rate counts from when the first documents were seen in Elasticsearch until the last one was there, without those"
    " first ones; “from start” counts from the creation of the connector, or the clients' first request. CPU seconds"
    " are for a million documents, and count from that start as well."
)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What is measured; `out` is the result's file."""

    documents: int = 1_000_000
    rounds: int = 5
    clients: int = 2
    first_port: int = 21_000
    out: Path | None = None

    @property
    def warm_up(self) -> int:
        return self.documents // _WARM_UP_SHARE


@dataclass(frozen=True)
class Report:
    """All that was measured; `path` is where it was written."""

    path: Path
    content: dict[str, Any]
    warm_up: tuple[Pass, ...]
    passes: tuple[Pass, ...]

    @property
    def whole(self) -> bool:
        """Every document was there after every pass."""
        return all(found.whole for found in (*self.warm_up, *self.passes))


def own_settings(settings: Settings, options: Options) -> Settings:
    """The benchmark's: defaults, but for a home and ports of its own."""
    first = options.first_port
    return settings.model_copy(
        update={
            "home": settings.home / "benchmarks",
            "kafka": Kafka(port=first, controller_port=first + 1),
            "connect": Connect(port=first + 2),
            "elasticsearch": Elasticsearch(port=first + 3, transport_port=first + 4),
            "reading": Reading(),
        }
    )


def run(
    own: Settings, options: Options, command: str, definition: dict[str, str], worker: Worker, progress: Progress
) -> Report:
    """Measures, and writes the result's file.

    `own` are the settings from `own_settings`, `definition` is the sink's and `worker` the client of Kafka Connect
    for them; `command` is what the user typed.

    Raises:
        MareError: this machine lacks something (memory, a free port), or an engine did not start or answer.
    """
    head = Head("sink", command)
    try:
        with engines.alone(own.home), engines.ends_in_order():
            check_room(own)
            with engines.running(own, (kafka, elasticsearch, connect), progress) as pids:
                warm_up, passes = _measure(own, options, pids, definition, worker, progress)
    except (ApiError, TransportError, KafkaError) as error:
        raise StoreError(
            f"An engine of the benchmark did not do what was asked of it ({error}): look at {own.home / 'logs'}."
        ) from error
    path, content = head.write(
        asdict(options) | {"warm_up": options.warm_up},
        own.home,
        does=DOES,
        base=BASE,
        connector=definition,
        summary=summary(passes),
        warm_up=[found.as_dict() for found in warm_up],
        runs=[found.as_dict() for found in passes],
    )
    return Report(path, content, tuple(warm_up), tuple(passes))


def _measure(
    own: Settings,
    options: Options,
    pids: dict[str, int],
    definition: dict[str, str],
    worker: Worker,
    progress: Progress,
) -> tuple[list[Pass], list[Pass]]:
    """The warm-up's passes and the rounds'. Java compiles what it has run often: its first passes are slow."""
    roles = {WORKER: pids["connect"], ELASTICSEARCH: pids["elasticsearch"], KAFKA: pids["kafka"]}
    found = readings(options.documents)
    with connect_elasticsearch(own) as client:
        indices = Indices(client)
        indices.apply_template(own, load_schema(own.reading.toml))
        apply_topics(own, lambda _: None)
        bench = Bench(Engines(own, roles, worker, indices), definition, options.clients, progress)
        progress(f"making {options.warm_up:,} readings for the warm-up")
        bench.fill(found, options.warm_up)
        warm_up = [bench.measure(receiver, 0) for receiver in order(1)]
        progress(f"making the rest of {options.documents:,} readings")
        bench.fill(found, options.documents - options.warm_up)
        return warm_up, bench.rounds(options.rounds)
