"""`mare bench extraction`: `extract run`, from MariaDB to Elasticsearch, beside its peers and the limit in one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mysql.connector
from elastic_transport import TransportError
from elasticsearch import ApiError

from benchmarks import engines, ingestr
from benchmarks.extraction_measure import Bench, Engines, Room
from benchmarks.extraction_result import (
    ELASTICSEARCH,
    EXTRACT,
    INGESTR,
    LIMIT,
    MARIADB,
    MOVERS,
    PANDAS,
    SELECT,
    WIDER,
    Trial,
    summary,
)
from benchmarks.indices import Indices
from benchmarks.result import Head
from installs.engines import elasticsearch, mariadb
from installs.machine import check_room
from maredata.errors import StoreError
from maredata.schema import Schema, load_schema
from maredata.settings import Settings
from maredata.stores import connect_elasticsearch

BUOYS = 100
_EVERY = 600  # seconds: a million readings span ten weeks, and so some monthly indices

DOES = {
    LIMIT: "processes that only post the same documents as ready-made bulk bodies, each through one connection",
    EXTRACT: "`mare extract run` with a drafted job and its defaults, from the start of the process to its end",
    PANDAS: "`pandas.read_sql` in chunks and `helpers.bulk`: no _id, no geo_point",
    INGESTR: "`ingestr ingest` with its defaults, into an index of its own",
    SELECT: "a plain SELECT of the stored columns, read through mysql-connector-python, and nothing done with it",
    WIDER: "as 2 clients; it shows what Elasticsearch could take",
}
BASE = (
    "A rate is rows ÷ seconds from a mover's start to its end; plain clients have their bodies in memory before they"
    " start. CPU seconds are for a million rows; those of a client include the children that it has waited for. Memory"
    " is the sum of the peaks (VmHWM) of its processes, so what they share counts several times."
)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What is measured; `out` is the result's file. `rows` are rounded down to whole steps of all buoys."""

    rows: int = 1_000_000
    rounds: int = 3
    install_peers: bool = False
    first_port: int = 21_000
    out: Path | None = None

    @property
    def steps(self) -> int:
        return self.rows // BUOYS


@dataclass(frozen=True)
class Report:
    """All that was measured; `path` is where it was written."""

    path: Path
    content: dict[str, Any]
    warm_up: tuple[Trial, ...]
    trials: tuple[Trial, ...]

    @property
    def whole(self) -> bool:
        """Every mover moved every row, each time."""
        return all(trial.whole for trial in (*self.warm_up, *self.trials))


def run(settings: Settings, options: Options, command: str, room: Room, progress: Progress) -> Report:
    """Measures, and writes the result's file; `command` is what the user typed.

    Raises:
        MareError: this machine lacks something (memory, a free port), or an engine did not start or answer.
    """
    own = engines.both_stores(settings, options.first_port)
    schema = load_schema(own.reading.toml)
    head = Head("extraction", command)
    try:
        with engines.alone(own.home), engines.ends_in_order():
            check_room(own)
            head.machine["slow_connector"] = room.slow_connector()
            movers, missing = _movers(own, options, head.machine, progress)
            with engines.running(own, (lambda chosen, _: mariadb(chosen), elasticsearch), progress) as pids:
                warm_up, trials = _measure(own, schema, options, movers, pids, room, progress)
    except (ApiError, TransportError, mysql.connector.Error) as error:
        raise StoreError(
            f"An engine of the benchmark did not do what was asked of it ({error}): look at {own.home / 'logs'}."
        ) from error
    path, content = head.write(
        asdict(options),
        own.home,
        does={mover: DOES[mover] for mover in movers},
        missing=missing,
        base=BASE,
        summary=summary(trials),
        warm_up=[trial.as_dict() for trial in warm_up],
        runs=[trial.as_dict() for trial in trials],
    )
    return Report(path, content, tuple(warm_up), tuple(trials))


def _movers(
    own: Settings, options: Options, facts: dict[str, Any], progress: Progress
) -> tuple[list[str], dict[str, str]]:
    """Those that can be measured here; and why the others can't."""
    missing: dict[str, str] = {}
    if find_spec("pandas") is None:
        missing[PANDAS] = "it is not installed; pip does so"
    version, why = ingestr.find(own.home, options.install_peers, progress)
    facts["versions"]["ingestr"] = version
    if version is None:
        missing[INGESTR] = why
    for mover, reason in missing.items():
        progress(f"not measured: {mover}: {reason}")
    return [mover for mover in MOVERS if mover not in missing], missing


def _measure(
    own: Settings,
    schema: Schema,
    options: Options,
    movers: list[str],
    pids: dict[str, int],
    room: Room,
    progress: Progress,
) -> tuple[list[Trial], list[Trial]]:
    """The warm-up's trials and the rounds'. Java compiles what it has run often: its first trials are slow."""
    rows = options.steps * BUOYS
    progress(f"making {rows:,} readings")
    room.fill(own, options.steps, BUOYS, _EVERY)
    with connect_elasticsearch(own) as client:
        Indices(client).apply_template(own, schema)
        roles = {MARIADB: pids["mariadb"], ELASTICSEARCH: pids["elasticsearch"]}
        bench = Bench(Engines(own, schema, roles, client, room), rows, progress)
        bench.fill_bodies()
        warm_up = [bench.measure(mover, 0) for mover in (LIMIT, EXTRACT, SELECT)]
        return warm_up, bench.rounds(options.rounds, movers)
