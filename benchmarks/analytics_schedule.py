"""When something is due, and how long it took: what the load tests' users and the benchmark share.

An arrival has its place in time, whatever became of those before it, and its latency counts from there: a server that
stands still for a second makes all that were due meanwhile late, not only the one that it was asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.questions import Ground


class Arrivals:
    """A fixed rate from `begin` on, for so many seconds; whoever is free takes the next one."""

    def __init__(self, begin: float, rate: float, seconds: float) -> None:
        self._begin = begin
        self._rate = rate
        self._count = math.ceil(rate * seconds - 1e-9)  # the rest keeps rounding from adding one
        self._taken = 0

    def take(self) -> float | None:
        """The instant at which the next one is due; None after the last one."""
        if self._taken >= self._count:
            return None
        self._taken += 1
        return self._begin + (self._taken - 1) / self._rate


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """Something that was asked for `offset` seconds after the beginning, and took `seconds`."""

    name: str
    offset: float
    seconds: float


class Record(msgspec.Struct):
    """What one load process writes when it is done. `errors` counts by message."""

    samples: list[Sample] = []
    errors: dict[str, int] = {}

    def failed(self, error: object) -> None:
        text = f"{type(error).__name__}: {error}"[:300]
        self.errors[text] = self.errors.get(text, 0) + 1


class Plan(msgspec.Struct, frozen=True):
    """What a load process is told. The file `go` says when it begins, in seconds since 1970; `record` is its answer.

    `rate` is that of all transactions a second, `every` the seconds from one question of an analyst to his next.
    """

    store: str
    ground: Ground
    sensors: tuple[int, int]  # the first and the last that have readings
    seed: int
    users: int
    rate: float
    every: float
    seconds: float
    folder: str

    @property
    def go(self) -> Path:
        return Path(self.folder) / "go"

    @property
    def ready(self) -> Path:
        return Path(self.folder) / f"ready-{self.store or 'transactions'}"

    @property
    def record(self) -> Path:
        return Path(self.folder) / f"record-{self.store or 'transactions'}.json"


@dataclass(frozen=True)
class Digest:
    """Seconds. Percentiles are those of the nearest rank: each is a latency that somebody had."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    most: float


# Percentages at which a curve is kept, so that it can be drawn again from the result.
_CURVE = (*range(0, 90, 5), *(90 + tenth / 2 for tenth in range(18)), 99, 99.5, 99.9, 100)


def digest(seconds: Iterable[float]) -> Digest | None:
    """None of nothing."""
    found = sorted(seconds)
    if not found:
        return None
    at = {percent: percentile(found, percent) for percent in (50, 95, 99)}
    return Digest(len(found), sum(found) / len(found), at[50], at[95], at[99], found[-1])


def curve(seconds: Iterable[float]) -> list[tuple[float, float]]:
    """(percent, seconds), rising in both."""
    found = sorted(seconds)
    return [(float(percent), percentile(found, percent)) for percent in _CURVE] if found else []


def percentile(in_order: Sequence[float], percent: float) -> float:
    """The least value that so many percent of all don't exceed; of at least one value in rising order."""
    return in_order[max(0, math.ceil(len(in_order) * percent / 100 - 1e-9) - 1)]


def geometric_mean(values: Iterable[float]) -> float | None:
    """None of nothing. Of ratios, since twice as fast and half as fast come to equally fast."""
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else None


def within(samples: Iterable[Sample], begin: float, end: float) -> list[Sample]:
    """Those that were due from `begin` on and before `end`: how long they took changes nothing of that."""
    return [sample for sample in samples if begin <= sample.offset < end]


def as_json(found: Digest | None) -> Mapping[str, Any] | None:
    return None if found is None else dict(vars(found))
