"""What a run has shown: its numbers, the verdict on them, and the file that documentation cites."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.kernel import Cpu, total
from benchmarks.machine import facts
from benchmarks.sender import Load, Sent

LATE_SECONDS = 1.0  # a receiver that is done so long after the sender only buffered, and did not keep up
_BUSY_SHARE = 0.1  # of the machine, used by others: too much to trust the numbers


@dataclass(frozen=True)
class Run:
    """One receiver under one load. `received` counts datagrams; `published` and `in_kafka` count records.

    `window` is the seconds in which CPU was counted: from before the first datagram until nothing moved any more.
    `drained` is the seconds from the sender's end to the last record in Kafka. `elsewhere_cpu` is what neither the
    receiver nor the broker nor the sender used: other programs, and the kernel on nobody's account.
    """

    receiver: str
    round: int
    workers: int
    load: Load
    sent: Sent
    by_line: bool
    received: int | None
    kernel_dropped: int
    published: int | None
    spooled: int
    in_kafka: int
    receive_buffer: int | None
    processes: tuple[Cpu, ...]
    broker_cpu: float
    elsewhere_cpu: float
    cores: int
    window: float
    drained: float
    died: bool

    @property
    def expected(self) -> int:
        """Records that should be in Kafka."""
        return self.sent.lines if self.by_line else self.sent.datagrams

    @property
    def lost(self) -> int:
        """Records; below 0 when there are more than were sent."""
        return self.expected - self.in_kafka

    @property
    def readings_in_kafka(self) -> int:
        return self.in_kafka if self.by_line else self.in_kafka * self.load.lines

    @property
    def cpu_per_million(self) -> float | None:
        """CPU seconds of all its processes for a million readings in Kafka."""
        return self._per_million(total(self.processes))

    @property
    def broker_per_million(self) -> float | None:
        return self._per_million(self.broker_cpu)

    @property
    def sender_per_million(self) -> float:
        """For a million readings sent: what was lost cost the sender as much."""
        return (self.sent.user + self.sent.system) / self.sent.lines * 1e6

    @property
    def elsewhere_share(self) -> float:
        """Of all cores' time in the window."""
        return max(0.0, self.elsewhere_cpu) / (self.cores * self.window)

    @property
    def agrees(self) -> bool:
        """All numbers say that nothing was lost and nothing was doubled."""
        return (
            not self.died
            and self.kernel_dropped == 0
            and self.received in (None, self.sent.datagrams)
            and self.published in (None, self.expected)
            and self.in_kafka == self.expected
        )

    @property
    def kept_up(self) -> bool:
        """Nothing was lost, at the rate that was asked for, and nothing was left for later."""
        return self.agrees and self.sent.reached(self.load) and self.drained <= LATE_SECONDS

    def as_dict(self) -> dict[str, Any]:
        derived = {
            "expected": self.expected,
            "lost": self.lost,
            "sent_rate": self.sent.rate,
            "cpu": total(self.processes),
            "cpu_per_million": self.cpu_per_million,
            "broker_cpu_per_million": self.broker_per_million,
            "sender_cpu_per_million": self.sender_per_million,
            "elsewhere_share": self.elsewhere_share,
            "verdict": verdict(self),
        }
        return asdict(self) | {"sent": {name: getattr(self.sent, name) for name in Sent.__struct_fields__}} | derived

    def _per_million(self, seconds: float) -> float | None:
        return seconds / self.readings_in_kafka * 1e6 if self.readings_in_kafka else None


def verdict(run: Run) -> str:
    """One phrase. A rate that the sender did not reach is the sender's failure, and says nothing of the receiver."""
    fate = _fate(run)
    if run.sent.reached(run.load):
        return fate
    return f"not tested: sender reached only {run.sent.rate:,.0f}/s ({fate})"


def _fate(run: Run) -> str:
    if run.died:
        return "the receiver died"
    if run.lost > 0:
        return f"lost {run.lost:,} ({run.lost / run.expected:.2%})"
    if run.lost < 0:
        return f"{-run.lost:,} more in Kafka than sent"
    if not run.agrees:
        return "all in Kafka, but its own counts differ"
    if run.drained > LATE_SECONDS:
        return f"all arrived, {run.drained:.1f} s late"
    return "all arrived"


@dataclass(frozen=True)
class Limit:
    """The highest rate that a receiver kept up with, in datagrams a second; None where it kept up with none.

    `ended_by` is what the next higher rate failed by: "loss", or "sender", whose limit it then is.
    """

    receiver: str
    workers: int
    rate: float | None
    ended_by: str
    runs: tuple[Run, ...]


def worst(runs: Sequence[Run]) -> Run:
    """The run whose verdict stands for all rounds."""
    return max(runs, key=lambda run: (run.died, not run.agrees, abs(run.lost), not run.sent.reached(run.load)))


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Of one receiver's rounds: [median, least, most] of what varies."""
    return {
        "receiver": runs[0].receiver,
        "workers": runs[0].workers,
        "rounds": len(runs),
        "sent_rate": spread(run.sent.rate for run in runs),
        "lost": spread(run.lost for run in runs),
        "kernel_dropped": spread(run.kernel_dropped for run in runs),
        "in_kafka": spread(run.in_kafka for run in runs),
        "cpu_per_million": spread(run.cpu_per_million for run in runs),
        "broker_cpu_per_million": spread(run.broker_per_million for run in runs),
        "sender_cpu_per_million": spread(run.sender_per_million for run in runs),
        "drained": spread(run.drained for run in runs),
        "verdict": verdict(worst(runs)),
    }


def spread(values: Iterable[float | None]) -> list[float] | None:
    known = [value for value in values if value is not None]
    return [median(known), min(known), max(known)] if known else None


def by_receiver(runs: Iterable[Run]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.receiver, []).append(run)
    return found


def busy_warning(shares: Iterable[float]) -> str | None:
    """A sentence where others used so much of the machine that the numbers can't be trusted."""
    most = max(shares, default=0.0)
    if most < _BUSY_SHARE:
        return None
    return f"Other programs and the kernel used up to {most:.0%} of this machine meanwhile: repeat it when it is quiet."


@dataclass(frozen=True)
class Head:
    """What every result begins with, noted before anything is measured. `machine` are its facts."""

    benchmark: str
    command: str  # what the user typed
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    machine: dict[str, Any] = field(default_factory=facts)

    def write(self, options: Mapping[str, Any], folder: Path, **seen: Any) -> tuple[Path, dict[str, Any]]:
        """Writes the result to the file that option `out` names, or to one in `folder`; the file and its content."""
        content = {
            "benchmark": self.benchmark,
            "began": self.began.isoformat(timespec="seconds"),
            "command": self.command,
            "machine": self.machine,
            "options": options,
            **seen,
        }
        path = options["out"] or folder / "results" / f"{self.benchmark}-{self.began:%Y%m%dT%H%M%SZ}.json"
        write_result(path, content)
        return path, content


def write_result(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, default=str) + "\n", "utf-8")
