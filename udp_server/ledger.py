"""The ledger: every line that came is in exactly one of its columns.

    lines received = accepted + rejected + refused + in flight + lost in crash

accepted       Kafka acknowledged it
rejected       it is no reading, or came too early or too far ahead; by reason
refused        it is a reading, but the queue for Kafka was full
in flight      on its way to Kafka
lost in crash  it was in flight when the gateway ended without Kafka's word on it; some may have arrived

The copies of rejected lines in topic `readings.rejected` are an account of their own: a line is rejected at
once, wherever its copy is. The file is written every second, so a gateway that is killed forgets what it
counted since.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from maredata.reading import Reason

MOST_NAMES = 100  # of unknown fields that are counted each by its name
LONGEST_NAME = 64
OTHER_NAMES = "(other)"


@dataclass(slots=True)
class Account:
    """What became of the messages handed over for one topic."""

    accepted: int = 0
    refused: int = 0
    in_flight: int = 0
    lost_in_crash: int = 0

    def total(self) -> int:
        return self.accepted + self.refused + self.in_flight + self.lost_in_crash

    def as_dict(self) -> dict[str, int]:
        return {
            "accepted": self.accepted,
            "refused": self.refused,
            "in_flight": self.in_flight,
            "lost_in_crash": self.lost_in_crash,
        }

    @classmethod
    def continued(cls, earlier: dict[str, int]) -> Account:
        """What an earlier gateway still had in flight, nobody will acknowledge any more."""
        lost = earlier.get("lost_in_crash", 0) + earlier.get("in_flight", 0)
        return cls(earlier.get("accepted", 0), earlier.get("refused", 0), 0, lost)


@dataclass(slots=True)
class Ledger:
    """Counters since this instance's first start. Each part of the gateway adds to those it knows about."""

    datagrams: int = 0
    kernel_dropped: int = 0
    lines: int = 0
    readings: Account = field(default_factory=Account)
    rejected: Counter[str] = field(default_factory=Counter)
    copies: Account = field(default_factory=Account)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    implausible: Counter[str] = field(default_factory=Counter)

    @classmethod
    def continued(cls, earlier: dict[str, Any]) -> Ledger:
        """The ledger that goes on where an earlier gateway's file ends; an empty dict begins a new one."""
        datagrams, lines = earlier.get("datagrams", {}), earlier.get("lines", {})
        return cls(
            datagrams=datagrams.get("received", 0),
            kernel_dropped=datagrams.get("kernel_dropped", 0),
            lines=lines.get("received", 0),
            readings=Account.continued(lines),
            rejected=Counter(earlier.get("rejected", {})),
            copies=Account.continued(earlier.get("rejected_copies", {})),
            unknown_fields=Counter(earlier.get("unknown_fields", {})),
            implausible=Counter(earlier.get("implausible", {})),
        )

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

    def count_implausible(self, name: str) -> None:
        self.implausible[name] += 1

    def as_dict(self) -> dict[str, Any]:
        """What the file holds; `continued` reads it back."""
        return {
            "datagrams": {"received": self.datagrams, "kernel_dropped": self.kernel_dropped},
            "lines": {"received": self.lines, "rejected": self.rejected.total(), **self.readings.as_dict()},
            "rejected": dict(self.rejected),
            "rejected_copies": self.copies.as_dict(),
            "unknown_fields": dict(self.unknown_fields),
            "implausible": dict(self.implausible),
        }
