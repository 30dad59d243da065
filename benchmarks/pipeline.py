"""`mare bench pipeline`: a rate through everything, from UDP to both stores, on engines of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError

from benchmarks import engines, pipeline_probe
from benchmarks.pipeline_measure import Bench, Offsets
from benchmarks.pipeline_result import Trial, goals, highest
from benchmarks.result import Head
from benchmarks.sender import Load, compile_sender
from installs import services
from installs.engines import connect, elasticsearch, kafka, mariadb
from installs.machine import check_ports, check_room
from installs.process import await_ready, start, stop
from maredata.errors import StoreError
from maredata.settings import Connect, Elasticsearch, Events, Kafka, MariaDB, Metrics, Reading, Settings, Tcp, Udp

STEP = 1.25  # from one rate to the next
MOST_STEPS = 16
_STOP_SECONDS = 30
BASE = (
    "One reading in each datagram. The lag is what the topic holds beyond what each sink has committed, which it does"
    " once a second. A rate is sustained if nothing was lost, and each sink's median lag in the last fifth of the time"
    " is less than a second's readings above that in the third fifth, and less than ten seconds' readings. Latency"
    f" counts from before sendto until a query's answer has the reading: {pipeline_probe.RATE:g} readings a second of a"
    " probe's own, looked for by primary key every 10 ms in MariaDB, and by a search every 50 ms in Elasticsearch; both"
    " are in the numbers. Sender, probe, gateway and all engines share the machine; the caretaker does not run."
)

Progress = Callable[[str], None]
Apply = Callable[[Settings], None]


@dataclass(frozen=True)
class Options:
    """What is measured. `rate` is in readings a second, `duration` and `warm_up` in seconds; `out` the result's file.

    With `step`, `rate` is the first one, and each further one is higher by a quarter, until one is not sustained.
    """

    rate: float = 1_000
    duration: float = 60
    warm_up: float = 60
    step: bool = False
    sensors: int = 1_000
    first_port: int = 21_000
    out: Path | None = None


@dataclass(frozen=True)
class Report:
    """All that was measured; `path` is where it was written."""

    path: Path
    content: dict[str, Any]
    trials: tuple[Trial, ...]
    step: bool

    @property
    def whole(self) -> bool:
        """What was accepted is stored; and, at a rate that was asked for, everything was accepted."""
        return all(trial.counts.kept if self.step else trial.counts.whole for trial in self.trials)


def own_settings(settings: Settings, options: Options) -> Settings:
    """The benchmark's: defaults, but for a home and ports of its own."""
    first = options.first_port
    return settings.model_copy(
        update={
            "home": settings.home / "benchmarks",
            "udp": Udp(port=first),
            "metrics": Metrics(port=first + 1),
            "kafka": Kafka(port=first + 2, controller_port=first + 3),
            "connect": Connect(port=first + 4),
            "mariadb": MariaDB(port=first + 5),
            "elasticsearch": Elasticsearch(port=first + 6, transport_port=first + 7),
            "tcp": Tcp(),
            "events": Events(),
            "reading": Reading(),
        }
    )


def run(settings: Settings, options: Options, command: str, apply: Apply, progress: Progress) -> Report:
    """Measures, and writes the result's file.

    `settings` are the user's instance's; `apply` makes topics, table, template and connectors, as `mare apply` does;
    `command` is what the user typed.

    Raises:
        MareError: this machine lacks something (a C compiler, memory, a free port), or an engine did not start.
    """
    head = Head("pipeline", command)
    own = own_settings(settings, options)
    try:
        with engines.alone(own.home), engines.ends_in_order(), _running(own, apply, progress) as bench:
            trials = _trials(bench, options)
    except (ApiError, TransportError) as error:
        raise StoreError(
            f"Elasticsearch did not do what was asked of it ({error}): look at {own.home / 'logs'}."
        ) from error
    path, content = head.write(
        asdict(options),
        own.home,
        base=BASE,
        highest_sustained=highest(trials),
        goals=goals(trials),
        trials=[trial.as_dict() for trial in trials],
    )
    return Report(path, content, tuple(trials), options.step)


def _trials(bench: Bench, options: Options) -> list[Trial]:
    """The rate, or one step after the other until a rate is not sustained."""
    if options.warm_up:
        # Java compiles what it has run often: its first readings cost several times as much.
        bench.progress(f"warming up for {options.warm_up:.0f} s")
        bench.measure(Load(options.rate, options.warm_up, sensors=options.sensors))
    trials: list[Trial] = []
    for number in range(MOST_STEPS if options.step else 1):
        rate = options.rate * STEP**number
        bench.progress(f"{rate:,.0f} readings/s for {options.duration:.0f} s")
        trials.append(bench.measure(Load(rate, options.duration, sensors=options.sensors)))
        found = trials[-1].as_dict()
        bench.progress("sustained" if found["sustained"] else f"not sustained: {found['bottleneck']}")
        if not found["sustained"]:
            break
    return trials


@contextmanager
def _running(own: Settings, apply: Apply, progress: Progress) -> Iterator[Bench]:
    """Everything that a reading passes, empty; afterwards none of it is left."""
    sender = compile_sender(own.home / "sender")
    check_room(own)
    gateway = services.gateway(own)
    stop(own, gateway.name, _STOP_SECONDS)  # what a benchmark that was killed has left
    check_ports([gateway], own.kafka.host)
    with engines.running(own, (kafka, elasticsearch, lambda chosen, _: mariadb(chosen), connect), progress) as pids:
        progress("applying topics, table, index template and connectors")
        apply(own)
        record = start(own, gateway)
        offsets = Offsets(own)
        try:
            await_ready(own, gateway, record)
            yield Bench(own, pids | {gateway.name: record.pid}, sender, offsets, progress)
        finally:
            offsets.close()
            stop(own, gateway.name, _STOP_SECONDS)
