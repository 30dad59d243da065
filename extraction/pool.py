"""The worker processes of a run, as the conductor sees them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from extraction.checkpoint import Range
from extraction.tasks import Abandoned, Assignment, Flag
from extraction.worker import work

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

_END_SECONDS = 10.0  # for a worker to end by itself; one that waits for an answer may take longer


@dataclass
class Hand:
    """A worker, the range that it has, its session's number at the source, and what it waits for."""

    process: ForkProcess
    pipe: Connection
    has: Range | None = None
    session: int | None = None
    waiting: str = ""
    cpu_seconds: float = 0.0
    gone: bool = False


class Pool:
    """Starts the workers on entering, and ends them on leaving, whatever they are doing."""

    def __init__(self, assignment: Assignment, count: int) -> None:
        # Forked, a worker shares the conductor's memory, and needs a few milliseconds instead of half a second. It
        # also inherits the job's lock: it is held until the last of them is gone.
        context = multiprocessing.get_context("fork")
        self._assignment, self._count = assignment, count
        self._context = context
        self._stop, self._paused = Flag(), Flag()
        self.hands: list[Hand] = []

    def __enter__(self) -> Self:
        try:
            for number in range(self._count):
                ours, theirs = self._context.Pipe()
                process = self._context.Process(
                    target=work,
                    args=(
                        self._assignment,
                        theirs,
                        [ours, *(hand.pipe for hand in self.hands)],
                        self._stop,
                        self._paused,
                        os.getpid(),
                    ),
                    name=f"mare-extract-{number}",
                    daemon=True,
                )
                process.start()
                theirs.close()
                self.hands.append(Hand(process, ours))
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def idle(self) -> list[Hand]:
        return [hand for hand in self.hands if hand.has is None and not hand.gone]

    @property
    def busy(self) -> list[Hand]:
        return [hand for hand in self.hands if hand.has is not None]

    def give(self, hand: Hand, part: Range) -> None:
        hand.has = part
        with contextlib.suppress(OSError):  # it died; `messages` says so
            hand.pipe.send(part)

    def messages(self, seconds: float) -> Iterator[tuple[Hand, Any]]:
        """What workers say within so many seconds; of one that died, that it did."""
        alive = {hand.pipe: hand for hand in self.hands if not hand.gone}
        for pipe in wait(list(alive), seconds):
            hand = alive[pipe]  # type: ignore[index]  # it is one of those that were given
            try:
                yield hand, hand.pipe.recv()
            except (EOFError, OSError):
                hand.gone = True
                hand.process.join(_END_SECONDS)
                yield hand, Abandoned(f"A worker ended by itself (exit code {hand.process.exitcode})")

    def pause(self, paused: bool) -> None:
        self._paused.set(paused)

    def stop(self) -> None:
        """Asks every worker to give up its range."""
        self._stop.set()

    def end(self) -> None:
        self._stop.set()
        for hand in self.hands:
            try:
                hand.pipe.send(None)
            except OSError:
                hand.gone = True
        for hand in self.hands:
            hand.process.join(_END_SECONDS)
            if hand.process.is_alive():
                hand.process.kill()
                hand.process.join()
            hand.pipe.close()
