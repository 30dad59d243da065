"""What the matrix found: a table, and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmarks.machine import describe
from tests.faults.load import BUOYS, RATE, READINGS_A_SECOND
from tests.faults.matrix import Outcome

WIDTH = 130  # characters
_PROGRAMS = ("kafka", "elasticsearch", "mariadb", "python")


@dataclass(frozen=True)
class Report:
    """`began` and `ended` are in UTC; `machine` is what `benchmarks.machine.facts` said at the beginning."""

    began: datetime
    ended: datetime
    command: str
    machine: dict[str, Any]
    outcomes: Sequence[Outcome]

    @property
    def passed(self) -> bool:
        return bool(self.outcomes) and all(outcome.passed for outcome in self.outcomes)

    def as_dict(self) -> dict[str, Any]:
        return {
            "benchmark": "faults",
            "began": self.began.astimezone(UTC).isoformat(timespec="seconds"),
            "seconds": (self.ended - self.began).total_seconds(),
            "command": self.command,
            "machine": self.machine,
            "load": {"buoys": BUOYS, "rate": RATE},
            "passed": self.passed,
            "faults": [outcome.as_dict() for outcome in self.outcomes],
        }

    def render(self) -> Group:
        table = Table(box=box.SIMPLE, pad_edge=False, title_justify="left")
        table.title = f"Faults under {READINGS_A_SECOND:,.0f} readings a second of {BUOYS} emulated buoys"
        table.add_column("fault", no_wrap=True)
        for head in ("sent", "accepted", "MariaDB", "Elasticsearch", "lost", "duplicated", "recovered in"):
            table.add_column(head, justify="right")
        table.add_column("verdict")
        for outcome in self.outcomes:
            numbers = (outcome.sent, outcome.accepted, outcome.mariadb, outcome.elasticsearch)
            table.add_row(
                outcome.fault,
                *(f"{number:,}" for number in (*numbers, outcome.lost, outcome.duplicated)),
                "" if outcome.seconds is None else f"{outcome.seconds:.1f} s",
                "passed" if outcome.passed else "FAILED",
            )
        failed = [Text(f"{found.fault} failed: {found.trouble}", "bold") for found in self.outcomes if found.trouble]
        minutes = (self.ended - self.began).total_seconds() / 60
        took = Text(f"{len(self.outcomes)} faults in {minutes:.1f} minutes; `mare verify --exact` after each.")
        return Group(Text(describe(self.machine, _PROGRAMS)), table, *failed, took)
