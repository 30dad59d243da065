"""What a run did, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from extraction.checkpoint import Tally

STOPPED_STATUS = 130  # as a shell says of Ctrl-C


@dataclass(frozen=True)
class Report:
    """What a run did, and what all runs of the job did. `dead_file` holds the rows that are not in."""

    job: str
    index: str
    dry_run: bool
    finished: bool
    seconds: float
    cpu_seconds: float  # of all our processes
    ranges: int
    resumed_ranges: int
    run: Tally
    all_ranges: int
    all_runs: Tally
    dead_file: Path | None

    @property
    def exit_status(self) -> int:
        if not self.finished:
            return STOPPED_STATUS
        return 1 if self.all_runs.dead or self.all_runs.set_aside else 0

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        rate = self.run.rows / self.seconds if self.seconds else 0.0
        return {
            **asdict(self),
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "rows_per_second": round(rate),
            "dead_file": None if self.dead_file is None else str(self.dead_file),
        }

    def render(self) -> RenderableType:
        again = self.all_ranges > self.ranges
        table = Table("", *(["this run", "all runs"] if again else ["this run"]), title=f"Job {self.job}: {self.index}")
        columns = [(self.ranges, self.run), (self.all_ranges, self.all_runs)] if again else [(self.ranges, self.run)]
        for name, value in _ROWS:
            numbers = [value(ranges, tally) for ranges, tally in columns]
            if any(numbers) or name in _ALWAYS:
                table.add_row(name, *(f"{number:,}" for number in numbers))
        for reason in sorted(self.all_runs.reasons, key=self.all_runs.reasons.__getitem__, reverse=True):
            table.add_row(Text(f"  {reason}"), *(f"{tally.reasons.get(reason, 0):,}" for _, tally in columns))
        rate = self.run.rows / self.seconds if self.seconds else 0
        parts: list[RenderableType] = [table, f"{self.seconds:.1f} s, {rate:,.0f} rows/s"]
        if self.resumed_ranges:
            parts.append(f"{self.resumed_ranges:,} of the ranges had been begun by an earlier run")
        return Group(*parts, *map(Text, self._advice()))

    def _advice(self) -> Iterator[str]:
        if self.dry_run:
            yield "A dry run: nothing was written."
        elif not self.finished:
            yield "Stopped. The same command goes on from here; --restart begins anew."
        if self.dead_file is not None:
            yield f"Rows that are not in Elasticsearch, with the reasons: {self.dead_file}"


_ROWS: tuple[tuple[str, Callable[[int, Tally], int]], ...] = (
    ("ranges", lambda ranges, _: ranges),
    ("rows read", lambda _, tally: tally.rows),
    ("written", lambda _, tally: tally.written),
    ("already there", lambda _, tally: tally.existing),
    ("newer there", lambda _, tally: tally.newer),
    ("zero dates left out", lambda _, tally: tally.zero_dates),
    ("ambiguous local times", lambda _, tally: tally.ambiguous_times),
    ("set aside", lambda _, tally: tally.set_aside),
    ("refused by Elasticsearch", lambda _, tally: tally.dead),
)
_ALWAYS = ("ranges", "rows read", "written", "set aside", "refused by Elasticsearch")
