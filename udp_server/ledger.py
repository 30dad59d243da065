"""The ledger: every line that came is in exactly one of its columns.

    lines received = accepted + rejected + refused + in flight + lost in crash

accepted       Kafka acknowledged it, or it is fsynced in the spool
rejected       it is no reading, or came too early or too far ahead; by reason
refused        it may be a reading, but was not taken; by reason: the spool was full or broken, its sender may not
               send, or sends too much
in flight      on its way to Kafka, and in memory only
lost in crash  it was in flight when the gateway ended without Kafka's word on it; some may have arrived

Beside it: accepted = acknowledged + waiting in the spool; spooled = replayed + waiting in the spool. The copies of
rejected lines in topic `readings.rejected` are an account of their own: a line is rejected at once, wherever its
copy is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import reduce
from typing import Any

from maredata.reading import Reason

MOST_NAMES = 100  # of unknown fields that are counted each by its name
LONGEST_NAME = 64
OTHER_NAMES = "(other)"

# Seconds; the finest ones are for a quiet machine, the last for a broker that was away.
LATENCY_BOUNDS = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Refusal(StrEnum):
    """Why a line was not taken although it may be a reading."""

    SPOOL_FULL = "spool_full"
    SPOOL_FAILED = "spool_failed"
    UNAUTHORIZED = "unauthorized"
    RATE_LIMITED = "rate_limited"


@dataclass(slots=True)
class Account:
    """What became of the messages handed over for one topic."""

    accepted: int = 0
    in_flight: int = 0
    lost_in_crash: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    spooled: int = 0
    replayed: int = 0  # of the spooled ones, acknowledged since
    was_in_flight: int = field(default=0, compare=False)  # when the gateway before this one ended

    @property
    def in_spool(self) -> int:
        return self.spooled - self.replayed

    @property
    def acknowledged(self) -> int:
        """By Kafka."""
        return self.accepted - self.in_spool

    def total(self) -> int:
        return self.accepted + self.refused.total() + self.in_flight + self.lost_in_crash

    def as_dict(self) -> dict[str, int]:
        return {
            "accepted": self.accepted,
            "refused": self.refused.total(),
            "in_flight": self.in_flight,
            "lost_in_crash": self.lost_in_crash,
            "acknowledged": self.acknowledged,
            "spooled": self.spooled,
            "replayed": self.replayed,
        }

    def recover(self, waiting: int, unknown: int) -> int:
        """Reconciles with the spool at the start; returns how many lines were in no column at all yet.

        `waiting` messages are in the spool. `unknown` of them were put there after the ledger was last written, by
        a gateway that was killed: they are accepted, whether the ledger has them in flight or never heard of them.
        """
        self.accepted += unknown
        self.spooled += unknown
        self.replayed = self.spooled - waiting
        called_lost = min(unknown, self.was_in_flight)
        self.lost_in_crash -= called_lost
        return unknown - called_lost

    @classmethod
    def continued(cls, earlier: dict[str, int], refused: dict[str, int]) -> Account:
        """What an earlier gateway still had in flight, nobody will acknowledge any more."""
        return cls(
            accepted=earlier.get("accepted", 0),
            lost_in_crash=earlier.get("lost_in_crash", 0) + earlier.get("in_flight", 0),
            was_in_flight=earlier.get("in_flight", 0),
            refused=Counter(refused),
            spooled=earlier.get("spooled", 0),
            replayed=earlier.get("replayed", 0),
        )


@dataclass(slots=True)
class Latency:
    """How long acknowledged readings took from their arrival to Kafka's word: a histogram, in seconds.

    `counts` has one entry for each of LATENCY_BOUNDS and one for what took longer; they are not cumulative.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS) + 1))
    sum: float = 0.0

    def observe(self, seconds: float, readings: int) -> None:
        self.counts[bisect_left(LATENCY_BOUNDS, seconds)] += readings
        self.sum += seconds * readings

    def as_dict(self) -> dict[str, Any]:
        return {"counts": self.counts, "sum": self.sum}


@dataclass(slots=True)
class Ledger:
    """One worker's counters since the instance's first start. Each part of it adds to those it knows about."""

    datagrams: int = 0
    kernel_dropped: int = 0
    lines: int = 0
    readings: Account = field(default_factory=Account)
    rejected: Counter[str] = field(default_factory=Counter)
    copies: Account = field(default_factory=Account)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    implausible: Counter[str] = field(default_factory=Counter)
    latency: Latency = field(default_factory=Latency)

    @classmethod
    def continued(cls, earlier: dict[str, Any]) -> Ledger:
        """The ledger that goes on where an earlier worker's ended; an empty dict begins a new one."""
        datagrams, lines = earlier.get("datagrams", {}), earlier.get("lines", {})
        latency = earlier.get("latency", {})
        ledger = cls(
            datagrams=datagrams.get("received", 0),
            kernel_dropped=datagrams.get("kernel_dropped", 0),
            lines=lines.get("received", 0),
            readings=Account.continued(lines, earlier.get("refused", {})),
            rejected=Counter(earlier.get("rejected", {})),
            copies=Account.continued(earlier.get("rejected_copies", {}), earlier.get("refused_copies", {})),
            unknown_fields=Counter(earlier.get("unknown_fields", {})),
            implausible=Counter(earlier.get("implausible", {})),
        )
        if len(latency.get("counts", ())) == len(LATENCY_BOUNDS) + 1:
            ledger.latency = Latency(latency["counts"], latency["sum"])
        return ledger

    def missing(self) -> int:
        """Lines that are in no column or, below 0, in two. Always 0, or the gateway has a bug."""
        return self.lines - self.readings.total() - self.rejected.total()

    def count_rejected(self, reason: Reason) -> None:
        self.rejected[reason.value] += 1

    def count_unknown(self, names: tuple[str, ...]) -> None:
        """Senders choose these names, so neither their number nor their length may grow without end."""
        for name in names:
            short = name[:LONGEST_NAME]
            known = short in self.unknown_fields or len(self.unknown_fields) < MOST_NAMES
            self.unknown_fields[short if known else OTHER_NAMES] += 1

    def as_dict(self) -> dict[str, Any]:
        """What the file holds; `continued` reads it back."""
        return {
            "datagrams": {"received": self.datagrams, "kernel_dropped": self.kernel_dropped},
            "lines": {"received": self.lines, "rejected": self.rejected.total(), **self.readings.as_dict()},
            "rejected": dict(self.rejected),
            "refused": dict(self.readings.refused),
            "rejected_copies": self.copies.as_dict(),
            "refused_copies": dict(self.copies.refused),
            "unknown_fields": dict(self.unknown_fields),
            "implausible": dict(self.implausible),
            "latency": self.latency.as_dict(),
        }


def merged(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One ledger of all workers' ledgers: numbers are added, whatever they are nested in."""
    total: dict[str, Any] = reduce(_added, parts, {})
    if "latency" in total:
        total["latency"]["bounds"] = list(LATENCY_BOUNDS)
    return total


def _added(one: Any, other: Any) -> Any:
    if isinstance(other, dict):
        return {**one, **{name: _added(one[name], value) if name in one else value for name, value in other.items()}}
    if isinstance(other, list):
        return [_added(mine, theirs) for mine, theirs in zip(one, other, strict=True)]
    return one + other
