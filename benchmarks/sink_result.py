"""What one receiver did in one round of `mare bench sink`, and what all rounds come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.result import spread

PLAIN, SINK = "plain", "sink"
WORKER, ELASTICSEARCH, KAFKA, CLIENTS = ROLES = ("worker", "elasticsearch", "kafka", "clients")
GOAL_RATIO = 0.8  # the sink's rate, as a share of the plain clients'
GOAL_WORKER_CPU = 5.0  # seconds for a million documents


@dataclass(frozen=True)
class Course:
    """How documents came, as Elasticsearch counts them. Seconds are counted from the start of the receiver.

    `at_first` of them were there when the first were seen. `seconds` is when all were there, or when it was given up;
    `trouble` is why, and empty where all came.
    """

    indexed: int
    at_first: int
    first_seconds: float | None
    seconds: float
    trouble: str = ""


@dataclass(frozen=True)
class Pass:
    """One receiver in one round. `counted` are the documents in the end, which must be as many as `documents`.

    `cpu` is in seconds, by role, from before the start until the last document; `own_cpu` is what the benchmark's own
    looking cost meanwhile, `elsewhere_cpu` what all others used. `client_seconds` is what the plain clients' own
    clocks said.
    """

    receiver: str
    round: int
    documents: int
    counted: int
    course: Course
    cpu: dict[str, float]
    own_cpu: float
    elsewhere_cpu: float
    cores: int
    client_seconds: tuple[float | None, ...] = ()

    @property
    def whole(self) -> bool:
        return self.counted == self.documents and not self.course.trouble

    @property
    def rate(self) -> float | None:
        """Documents a second, from when the first were seen until all were there; without those seen at first.

        None where not all came, and where all were there at the first look.
        """
        course = self.course
        later = self.documents - course.at_first
        if not self.whole or course.first_seconds is None or later <= 0:
            return None
        return later / (course.seconds - course.first_seconds)

    @property
    def rate_from_start(self) -> float | None:
        """Documents a second, from the start of the receiver until all were there."""
        return self.documents / self.course.seconds if self.whole else None

    def per_million(self, role: str) -> float | None:
        """CPU seconds for a million documents, the receiver's start included."""
        return self.cpu[role] / self.documents * 1e6 if self.whole else None

    @property
    def elsewhere_share(self) -> float:
        """Of all cores' time in the window."""
        return max(0.0, self.elsewhere_cpu) / (self.cores * self.course.seconds)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "rate": self.rate,
            "rate_from_start": self.rate_from_start,
            "cpu_per_million": {role: self.per_million(role) for role in ROLES},
            "elsewhere_share": self.elsewhere_share,
            "verdict": verdict(self),
        }


def verdict(found: Pass) -> str:
    """One phrase."""
    if found.whole:
        return "all there"
    counts = f"{found.counted:,} documents instead of {found.documents:,}"
    return f"failed: {counts}{'; ' if found.course.trouble else ''}{found.course.trouble}"


def order(number: int) -> tuple[str, str]:
    """Who is measured first in a round, and who second: what one leaves behind must not always hit the other."""
    return (PLAIN, SINK) if number % 2 else (SINK, PLAIN)


def of(receiver: str, passes: Iterable[Pass]) -> list[Pass]:
    return [found for found in passes if found.receiver == receiver]


def ratio(passes: Sequence[Pass]) -> float | None:
    """The sink's median rate, divided by the plain clients'; None where either has none."""
    sink, plain = (
        [found.rate for found in of(receiver, passes) if found.rate is not None] for receiver in (SINK, PLAIN)
    )
    return median(sink) / median(plain) if sink and plain else None


def summary(passes: Sequence[Pass]) -> dict[str, Any]:
    """By receiver [median, least, most] of what varies; the ratio; the goals beside what was seen."""
    receivers = {}
    for receiver in (PLAIN, SINK):
        own = of(receiver, passes)
        receivers[receiver] = {
            "rate": spread(found.rate for found in own),
            "rate_from_start": spread(found.rate_from_start for found in own),
            "cpu_per_million": {role: spread([found.per_million(role) for found in own]) for role in ROLES},
            "whole": all(found.whole for found in own),
        }
    worker = spread(found.per_million(WORKER) for found in of(SINK, passes))
    return {
        "receivers": receivers,
        "ratio": {"seen": ratio(passes), "goal": GOAL_RATIO},
        "worker_cpu_per_million": {"seen": worker[0] if worker else None, "goal": GOAL_WORKER_CPU},
    }
