"""What a run shows while it runs: a bar on a terminal, elsewhere a line every ten seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_EVERY = 10.0  # seconds between two lines
_WINDOW = 20.0  # seconds over which the rate is taken


@dataclass(frozen=True)
class State:
    """How far a run is. `total` is an estimate of all rows, None where there is none."""

    rows: int
    total: int | None
    errors: int
    waiting: str = ""


class Shown(Protocol):
    """Where a run shows its state; `say` is for what should stay readable."""

    def update(self, state: State) -> None: ...

    def say(self, text: str) -> None: ...


class Rate:
    """Rows a second over the last seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: list[tuple[float, int]] = []

    def of(self, rows: int) -> float:
        self._seen.append((self._now(), rows))
        while len(self._seen) > 2 and self._seen[-1][0] - self._seen[1][0] >= _WINDOW:
            self._seen.pop(0)
        (began, before), (ended, after) = self._seen[0], self._seen[-1]
        return max(0, after - before) / (ended - began) if ended > began else 0.0


class Bar:
    """On a terminal."""

    def __init__(self, console: Console, name: str) -> None:
        self._rate = Rate()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:,.0f} rows/s"),
            TimeRemainingColumn(),
            TextColumn("[red]{task.fields[trouble]}"),
            console=console,
            auto_refresh=False,  # a thread more for what the run's own loop does anyway
        )
        self._task = self._progress.add_task(name, total=None, rate=0.0, trouble="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, state: State) -> None:
        trouble = state.waiting or (f"{state.errors:,} rows not taken" if state.errors else "")
        self._progress.update(
            self._task,
            completed=state.rows,
            # An estimate can be too low, and 120 % says nothing.
            total=None if state.total is None else max(state.total, state.rows),
            rate=self._rate.of(state.rows),
            trouble=trouble.replace("[", "\\["),
            refresh=True,
        )

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False)


class Lines:
    """Elsewhere, such as in a log."""

    def __init__(self, write: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._write, self._now = write, now
        self._rate = Rate(now)
        self._due = now() + _EVERY
        self._waiting = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def update(self, state: State) -> None:
        rate = self._rate.of(state.rows)
        news = bool(state.waiting) and not self._waiting
        self._waiting = state.waiting
        if self._now() < self._due and not news:
            return
        self._due = self._now() + _EVERY
        self._write(line(state, rate))

    def say(self, text: str) -> None:
        self._write(text)


def line(state: State, rate: float) -> str:
    parts = [f"{state.rows:,} rows" + (f" of about {state.total:,}" if state.total else ""), f"{rate:,.0f} rows/s"]
    if state.total and rate and state.total > state.rows:
        parts.append(f"{_duration((state.total - state.rows) / rate)} left")
    if state.errors:
        parts.append(f"{state.errors:,} rows not taken")
    if state.waiting:
        parts.append(state.waiting)
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(max(1, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
