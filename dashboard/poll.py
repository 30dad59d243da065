"""Asking in the background: pages are answered from memory, so that an engine that hangs holds up none of them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

_WATCHED_SECONDS = 30.0  # after the last page's last question nobody is asked any more

T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What was last heard. `trouble` says why there is nothing newer; empty while all is well."""

    value: T
    at: float = 0.0  # seconds since 1970 of `value`; 0: never
    trouble: str = ""


class Poll(Generic[T]):
    """Calls `ask` every `seconds` in a thread of its own, until nobody has read the answer for `watched` seconds.

    Whatever `ask` raises becomes the answer's trouble; the value before it stays.
    """

    def __init__(
        self, name: str, ask: Callable[[], T], first: T, seconds: float, watched: float = _WATCHED_SECONDS
    ) -> None:
        self.name = name
        self._ask = ask
        self._answer = Answer(first)
        self._seconds = seconds
        self._watched = watched
        self._read_at = 0.0
        self._wanted = threading.Event()
        self._tried = threading.Condition()

    def start(self) -> None:
        threading.Thread(target=self._run, name=self.name, daemon=True).start()

    def read(self, patience: float = 0.0) -> Answer[T]:
        """The last answer. Where nobody has asked for long, waits up to `patience` seconds for a new one."""
        idle = time.monotonic() - self._read_at > self._watched
        self._read_at = time.monotonic()
        if idle:
            with self._tried:
                self._wanted.set()
                self._tried.wait(patience)
        return self._answer

    def look(self) -> None:
        """Asks once, now."""
        try:
            self._answer = Answer(self._ask(), time.time())
        except Exception as error:  # the thread must outlive whatever it asks
            if not self._answer.trouble:
                log.warning("%s does not answer: %s", self.name, error or type(error).__name__)
                log.debug("%s does not answer", self.name, exc_info=error)
            self._answer = Answer(self._answer.value, self._answer.at, str(error) or type(error).__name__)
        with self._tried:
            self._tried.notify_all()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            if time.monotonic() - self._read_at > self._watched:
                self._wanted.clear()
                continue
            began = time.monotonic()
            self.look()
            time.sleep(max(0.05, self._seconds - (time.monotonic() - began)))
