"""Awaits conditions, so that no test sleeps for a time that is too long here and too short there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def await_true(condition: Callable[[], T], seconds: float = 60, what: str = "") -> T:
    """The condition's first truthy answer; an assertion error that says `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(0.05)
    return answer
