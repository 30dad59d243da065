"""`mare bench gateway`: the gateway of ours and its peers under the same load, measured from outside, in turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from benchmarks import broker
from benchmarks.engines import alone, ends_in_order
from benchmarks.measure import Bench
from benchmarks.peers import PEERS, RECEIVERS, check_peers, install_peers
from benchmarks.receivers import Gateway
from benchmarks.result import Head, Limit, Run, by_receiver, summary
from benchmarks.sender import MOST_LINES, Load, compile_sender
from maredata.errors import SettingsError
from maredata.settings import Events, Kafka, Metrics, Reading, Settings, Tcp, Udp

# A broker that was just started needs up to three times the CPU, until Java has compiled what it runs most.
_WARM_UP_SECONDS = 5  # each
_MOST_WARM_UPS = 6
_SETTLED = 0.9  # the broker's CPU per million, against the least before: it hardly falls any more

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What is measured. `rate` is in datagrams a second; `out` is the result's file."""

    rate: float = 200_000
    seconds: float = 10
    lines: int = 1
    workers: int = 1
    sensors: int = 1000
    sockets: int = 64
    rounds: int = 3
    peers: tuple[str, ...] = PEERS
    find_limit: bool = False
    latency: bool = False
    install_peers: bool = False
    first_port: int = 21_000
    out: Path | None = None

    @property
    def load(self) -> Load:
        return Load(self.rate, self.seconds, self.lines, self.sensors, self.sockets)

    @property
    def receivers(self) -> tuple[str, ...]:
        return (Gateway.name, *self.peers)


@dataclass(frozen=True)
class Report:
    """All that was measured; `path` is where it was written."""

    path: Path
    content: dict[str, Any]
    runs: tuple[Run, ...]
    limits: tuple[Limit, ...]

    @property
    def kept_all(self) -> bool:
        """The gateway lost nothing, in no run at a rate that was asked for."""
        return all(run.agrees for run in self.runs if run.receiver == Gateway.name)


def run(settings: Settings, options: Options, command: str, progress: Progress) -> Report:
    """Measures, and writes the result's file. `command` is what the user typed; `settings` are the user's instance's.

    Raises:
        MareError: this machine lacks something (a C compiler, a peer, a free port), or an engine did not start.
    """
    if not 1 <= options.lines <= MOST_LINES:
        raise SettingsError(f"--lines must be 1 to {MOST_LINES}, which fit into a datagram.")
    own = own_settings(settings, options)
    sender = compile_sender(own.home / "sender")
    if options.install_peers:
        install_peers()
    check_peers(options.peers)
    head = Head("gateway", command)
    names = options.receivers
    rounds = 0 if options.find_limit or options.latency else options.rounds
    with alone(own.home), ends_in_order(), broker.running(own, progress) as pid:
        bench = Bench(own, sender, pid, progress)
        warmed = warm_up(bench, options.load, progress)
        runs = bench.rounds(names, options.load, rounds)
        limits = bench.limits(names, options.load) if options.find_limit else []
        latencies = bench.latencies(names) if options.latency else {}
    path, content = head.write(
        asdict(options),
        own.home,
        does={name: RECEIVERS[name].does for name in names},
        summary=[summary(found) for found in by_receiver(runs).values()],
        warm_up=[found.as_dict() for found in warmed],
        runs=[found.as_dict() for found in runs],
        limits=[asdict(limit) | {"runs": [found.as_dict() for found in limit.runs]} for limit in limits],
        latency=latencies,
    )
    return Report(path, content, tuple(runs), tuple(limits))


def warm_up(bench: Bench, load: Load, progress: Progress) -> list[Run]:
    """The gateway's load again and again, until the broker's CPU per million falls no further."""
    progress("warming the broker up")
    runs: list[Run] = []
    least = inf
    while len(runs) < _MOST_WARM_UPS:
        runs.append(bench.measure(Gateway.name, replace(load, seconds=_WARM_UP_SECONDS), 0))
        cpu = runs[-1].broker_per_million
        if cpu is None or cpu > _SETTLED * least:
            break
        least = min(least, cpu)
    return runs


def own_settings(settings: Settings, options: Options) -> Settings:
    """The benchmark's: defaults, but for a home and ports of its own and the workers asked for."""
    first = options.first_port
    return settings.model_copy(
        update={
            "home": settings.home / "benchmarks",
            "udp": Udp(port=first, workers=options.workers),
            "metrics": Metrics(port=first + 1),
            "kafka": Kafka(port=first + 2, controller_port=first + 3),
            "tcp": Tcp(),
            "events": Events(),
            "reading": Reading(),
        }
    )
