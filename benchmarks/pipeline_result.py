"""What one rate did to the whole pipeline: counts at each stage, latency, lag, CPU, memory; and who was in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.sender import Load, Sent

MARIADB, ELASTICSEARCH = STORES = ("mariadb", "elasticsearch")
SINK_OF = {MARIADB: "mariadb-readings", ELASTICSEARCH: "elasticsearch-readings"}
ROLES = ("gateway", "kafka", "connect", "mariadb", "elasticsearch", "probe")
SHARES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
GOALS = {ELASTICSEARCH: 3.0, MARIADB: 1.5}  # seconds, p99 at GOAL_RATE
GOAL_RATE = 1_000.0
GOAL_SUSTAINED = 10_000.0  # readings a second
_GROWTH_SECONDS = 1.0  # of the rate: a lag that grew by less, from the middle to the end, is stable
_MOST_SECONDS = 10.0  # of the rate: a lag that is longer in the end is not
_FULL = 0.9  # of all cores, or of one
_OTHERS = 0.05  # of all cores: they are then a part of the reason


@dataclass(frozen=True)
class Lag:
    """`seconds` since the load's begin, and readings that each sink was behind."""

    seconds: float
    behind: dict[str, int]


@dataclass(frozen=True)
class Counts:
    """Readings, load and probe together, that came as far as each stage."""

    sent: int
    kernel_dropped: int
    received: int
    accepted: int
    kafka: int
    mariadb: int
    elasticsearch: int

    @property
    def whole(self) -> bool:
        """Nothing was lost anywhere, nor is anything there twice."""
        return len({self.sent, self.received, self.accepted, self.kafka, self.mariadb, self.elasticsearch}) == 1

    @property
    def kept(self) -> bool:
        """What was accepted is stored."""
        return len({self.accepted, self.kafka, self.mariadb, self.elasticsearch}) == 1


@dataclass(frozen=True)
class Trial:
    """One rate for one duration. `latency` has the seconds of the probe's readings by store, `missing` its unseen ones.

    `lags` were looked at while the load was on, `drained` are the seconds from its end until both sinks had all. CPU
    is in seconds, from the load's begin to its end (`window`); `memory` are the most bytes seen. `elsewhere` is the
    CPU of other programs and of the kernel on nobody's account.
    """

    load: Load
    sent: Sent
    counts: Counts
    latency: dict[str, list[float]]
    missing: dict[str, int]
    looks: dict[str, int]
    lags: tuple[Lag, ...]
    drained: float | None
    window: float
    cpu: dict[str, float]
    memory: dict[str, int]
    elsewhere: float
    cores: int

    @property
    def growth(self) -> dict[str, float]:
        """Readings by which each sink's lag grew: its median in the last fifth of the load, less that in the third."""
        return {
            sink: _middle(self.lags, sink, 0.8, 1.0) - _middle(self.lags, sink, 0.4, 0.6)
            for sink in (self.lags[-1].behind if self.lags else {})
        }

    @property
    def growing(self) -> list[str]:
        """Sinks that don't keep up."""
        rate = self.sent.rate
        return [
            sink
            for sink, grown in self.growth.items()
            if grown > _GROWTH_SECONDS * rate or _middle(self.lags, sink, 0.8, 1.0) > _MOST_SECONDS * rate
        ]

    @property
    def sustained(self) -> bool:
        """At the rate that was asked for nothing was lost, and no lag grew."""
        reached = self.sent.reached(self.load)
        return reached and self.counts.whole and not self.growing and self.drained is not None

    @property
    def busy(self) -> float:
        """Share of all cores."""
        known = sum(self.cpu.values()) + self.sent.user + self.sent.system
        return (known + max(0.0, self.elsewhere)) / (self.cores * self.window)

    @property
    def elsewhere_share(self) -> float:
        return max(0.0, self.elsewhere) / (self.cores * self.window)

    def quantiles(self, store: str) -> dict[str, float | None]:
        """Seconds; None where nothing was seen. A reading that was never seen took longer than any other."""
        found = sorted(self.latency[store])
        count = len(found) + self.missing[store]
        places = {name: min(count - 1, int(share * count)) for name, share in SHARES.items()}
        return {name: found[place] if 0 <= place < len(found) else None for name, place in places.items()} | {
            "max": found[-1] if found and not self.missing[store] else None
        }

    def as_dict(self) -> dict[str, Any]:
        kept = {name: value for name, value in asdict(self).items() if name not in ("latency", "sent")}
        return kept | {
            "sent": {name: getattr(self.sent, name) for name in Sent.__struct_fields__},
            "sent_rate": self.sent.rate,
            "latency_seconds": {store: self.quantiles(store) for store in STORES},
            "samples": {store: len(self.latency[store]) for store in STORES},
            "lag_at_start": self.lags[0].behind if self.lags else None,
            "lag_at_end": self.lags[-1].behind if self.lags else None,
            "lag_growth": self.growth,
            "cores_used": {role: used / self.window for role, used in self.cpu.items()},
            "busy": self.busy,
            "elsewhere_share": self.elsewhere_share,
            "sustained": self.sustained,
            "bottleneck": bottleneck(self),
        }


def bottleneck(trial: Trial) -> str:
    """Which stage did not keep up, and what it lacked; empty where all did."""
    if trial.sustained:
        return ""
    most = max(trial.cpu, key=lambda role: trial.cpu[role])
    if trial.busy >= _FULL:
        lacked = f"all {trial.cores} cores are {trial.busy:.0%} busy, most of it {most} ({_cores(trial, most)})"
    else:
        full = [role for role, used in trial.cpu.items() if used >= _FULL * trial.window]
        lacked = ", ".join(f"{role} uses {_cores(trial, role)}" for role in full or [most])
        lacked += f", and all {trial.cores} cores are {trial.busy:.0%} busy"
    others = f"; other programs took {trial.elsewhere_share:.0%}" if trial.elsewhere_share >= _OTHERS else ""
    return f"{_stage(trial)}: {lacked}{others}"


def _stage(trial: Trial) -> str:
    """The first one, on a reading's way, that did not keep up."""
    counts = trial.counts
    if not trial.sent.reached(trial.load):
        return f"the sender reached {trial.sent.rate:,.0f}/s only"
    if counts.accepted < counts.sent:
        return f"the gateway took {counts.accepted:,} of {counts.sent:,}"
    if trial.growing:
        return " and ".join(f"{sink} falls behind by {trial.growth[sink]:,.0f}" for sink in trial.growing)
    if trial.drained is None:
        return "the sinks did not come to the end"
    return "the stores don't have what was accepted"


def _cores(trial: Trial, role: str) -> str:
    return f"{trial.cpu[role] / trial.window:.2f} cores"


def _middle(lags: Sequence[Lag], sink: str, begin: float, end: float) -> float:
    """The median between two shares of the time."""
    last = lags[-1].seconds
    inside = [lag.behind[sink] for lag in lags if begin * last <= lag.seconds <= end * last]
    return median(inside) if inside else lags[-1].behind[sink]


def highest(trials: Sequence[Trial]) -> float | None:
    """Of the rates that were sustained, in readings a second; None where none was."""
    return max((trial.load.rate for trial in trials if trial.sustained), default=None)


def goals(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """What is wanted beside what was seen, for those goals that a trial says something about; no exit status."""
    found = []
    for trial in trials:
        if trial.load.rate == GOAL_RATE:
            for store, goal in GOALS.items():
                seen = trial.quantiles(store)["p99"]
                met = seen is not None and seen < goal
                found.append({"what": f"p99 until {store}, {GOAL_RATE:,.0f}/s", "seen": seen, "goal": goal, "met": met})
        if trial.load.rate >= GOAL_SUSTAINED:
            what = f"{trial.load.rate:,.0f}/s for {trial.load.seconds:.0f} s"
            found.append({"what": what, "seen": trial.sustained, "goal": True, "met": trial.sustained})
    return found


def by_role(values: Mapping[str, float]) -> list[tuple[str, float]]:
    return [(role, values[role]) for role in ROLES if role in values]
