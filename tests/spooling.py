"""What the tests of the spool share: messages that are numbers, and fakes of a disk that fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from udp_server.message import Message
from udp_server.spool import Spool


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class FakeFailure:
    """Stands in for a call to the disk: raises on its `at`th call, and really does the others."""

    def __init__(self, real: Any, number: int = errno.EIO, at: int = 1, times: int = 1) -> None:
        self.real, self.number, self.at, self.times, self.calls = real, number, at, times, 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.at <= self.calls < self.at + self.times:
            raise OSError(self.number, os.strerror(self.number))
        return self.real(*arguments)


def batch(first: int, count: int = 3, padding: int = 20) -> list[Message]:
    return [Message(b"7", b"%d " % number + b"x" * padding) for number in range(first, first + count)]


def numbers(messages: list[Message]) -> list[int]:
    return [int(message.value.split()[0]) for message in messages]


def drained(spool: Spool, position: int = 0) -> list[int]:
    """The numbers of all that is to be read from a position on."""
    found: list[int] = []
    while (read := spool.read(position)) is not None:
        messages, position = read
        found += numbers(messages)
    return found


def logs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
