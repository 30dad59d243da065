"""What one mover did in one round of `mare bench extraction`, and what all rounds come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.result import spread

EXTRACT, PANDAS, INGESTR, SELECT = "extract run", "pandas", "ingestr", "plain SELECT"
LIMIT, WIDER = "2 clients", "4 clients"
MOVERS = (LIMIT, EXTRACT, PANDAS, INGESTR, SELECT, WIDER)
CLIENT, MARIADB, ELASTICSEARCH = ROLES = ("client", "mariadb", "elasticsearch")

BUSY = 0.9  # of all cores' time: more can't be had of this machine
SHARE = 0.9  # of the limit
TIMES_INGESTR = 2.0
CLIENT_CPU = 8.0  # seconds for a million rows
MEMORY = 300_000_000  # bytes


@dataclass(frozen=True)
class Trial:
    """One mover in one round. `counted` are the documents in the end (of a SELECT the rows it saw).

    `seconds` is from its start to its end (of plain clients until the last document was there), `coming` from when
    the first documents were seen until all were there. `cpu` is in seconds by role, `memory` the sum of the peaks of
    its processes in bytes; None where it was not looked at.
    """

    mover: str
    round: int
    rows: int
    counted: int
    seconds: float
    coming: float | None
    cpu: dict[str, float]
    own_cpu: float
    elsewhere_cpu: float
    cores: int
    memory: int | None = None
    trouble: str = ""

    @property
    def whole(self) -> bool:
        return self.counted == self.rows and not self.trouble

    @property
    def rate(self) -> float | None:
        """Rows a second, end to end; None where not exactly all came."""
        return self.rows / self.seconds if self.whole else None

    def per_million(self, role: str) -> float | None:
        """CPU seconds for a million rows."""
        return self.cpu[role] / self.rows * 1e6 if self.whole else None

    @property
    def busy(self) -> float:
        """Share of all cores' time that somebody used meanwhile."""
        return (sum(self.cpu.values()) + self.own_cpu + max(0.0, self.elsewhere_cpu)) / (self.cores * self.seconds)

    @property
    def elsewhere_share(self) -> float:
        return max(0.0, self.elsewhere_cpu) / (self.cores * self.seconds)

    @property
    def bound(self) -> float | None:
        """Rows a second if all cores did nothing else than what each row costs client and stores."""
        each = sum(self.cpu.values()) / self.rows
        return self.cores / each if self.whole and each else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "rate": self.rate,
            "cpu_per_million": {role: self.per_million(role) for role in ROLES},
            "busy": self.busy,
            "elsewhere_share": self.elsewhere_share,
            "verdict": verdict(self),
        }


@dataclass(frozen=True)
class Goal:
    """What is wanted beside what was seen; `met` is None where it can't be said."""

    what: str
    seen: float | None
    wanted: str
    met: bool | None
    note: str = ""


def verdict(trial: Trial) -> str:
    """One phrase."""
    if trial.whole:
        return "all there"
    counts = f"{trial.counted:,} instead of {trial.rows:,}"
    return f"failed: {counts}{'; ' if trial.trouble else ''}{trial.trouble}"


def order(number: int, movers: Sequence[str]) -> list[str]:
    """The movers of a round: another one is first each time, and every second round goes backwards."""
    begin = number % len(movers)
    first, *others = [*movers[begin:], *movers[:begin]]
    return [first, *(others[::-1] if number % 2 else others)]


def of(mover: str, trials: Iterable[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.mover == mover]


def middle(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def rate_of(mover: str, trials: Iterable[Trial]) -> float | None:
    return middle(trial.rate for trial in of(mover, trials))


def cpu_of(mover: str, role: str, trials: Iterable[Trial]) -> float | None:
    return middle(trial.per_million(role) for trial in of(mover, trials))


def goals(trials: Sequence[Trial]) -> list[Goal]:
    """By the medians of the rounds."""
    rate, ingestr = rate_of(EXTRACT, trials), rate_of(INGESTR, trials)
    client = cpu_of(EXTRACT, CLIENT, trials)
    source, plain = cpu_of(EXTRACT, MARIADB, trials), cpu_of(SELECT, MARIADB, trials)
    memory = max((trial.memory or 0 for trial in of(EXTRACT, trials) if trial.whole), default=None)
    times = None if rate is None or ingestr is None else rate / ingestr
    share, wanted = (None if source is None or plain is None else source), f"{plain:.2f} or less" if plain else "?"
    return [
        _limit_goal(trials),
        Goal("rate ÷ ingestr's", times, f"{TIMES_INGESTR:.1f} or more", _at_least(times, TIMES_INGESTR)),
        Goal("client's CPU seconds for a million", client, f"{CLIENT_CPU:.0f} or less", _at_most(client, CLIENT_CPU)),
        Goal("MariaDB's, beside a plain SELECT's", share, wanted, _at_most(share, plain)),
        Goal(
            "peak memory of all its processes, MB",
            None if memory is None else memory / 1e6,
            f"below {MEMORY / 1e6:.0f}",
            None if memory is None else memory < MEMORY,
        ),
    ]


def _limit_goal(trials: Sequence[Trial]) -> Goal:
    """Of the two clients' rate; but where the cores are busy with less than that, of what the cores can do."""
    own = of(EXTRACT, trials)
    rate, limit = rate_of(EXTRACT, trials), rate_of(LIMIT, trials)
    bound, busy = middle(trial.bound for trial in own), middle(trial.busy for trial in own if trial.whole)
    cores = bound is not None and busy is not None and busy >= BUSY and (limit is None or bound < limit)
    against = bound if cores else limit
    seen = None if rate is None or against is None else rate / against
    if cores:
        what = "rate ÷ what the cores can do"
        note = f"applied: all cores are busy ({busy:.0%}), cores ÷ CPU for each row = {bound:,.0f} rows/s"
    else:
        what = "rate ÷ that of 2 clients"
        note = f"applied: the clients' {limit:,.0f} rows/s" if limit else ""
        note += "" if busy is None else f"; cores were {busy:.0%} busy"
    return Goal(what, seen, f"{SHARE:.2f} or more", _at_least(seen, SHARE), note)


def _at_least(seen: float | None, goal: float | None) -> bool | None:
    return None if seen is None or goal is None else seen >= goal


def _at_most(seen: float | None, goal: float | None) -> bool | None:
    return None if seen is None or goal is None else seen <= goal


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    """By mover [median, least, most] of what varies; and the goals."""
    movers = {}
    for mover in dict.fromkeys(trial.mover for trial in trials):
        own = of(mover, trials)
        movers[mover] = {
            "rate": spread(trial.rate for trial in own),
            "cpu_per_million": {role: spread([trial.per_million(role) for trial in own]) for role in ROLES},
            "memory": spread(trial.memory for trial in own),
            "whole": all(trial.whole for trial in own),
        }
    return {"movers": movers, "goals": [asdict(goal) for goal in goals(trials)]}
