"""When the caretaker restarts what failed. Time is a fake clock that the test turns."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass

import pytest

from connect.rest import Connector, Task
from connect.tend import Restarts, _Outages

HEALTHY = Connector("sink", "RUNNING", (Task(0, "RUNNING"),))
BROKEN = Connector("sink", "RUNNING", (Task(0, "FAILED", "Oops"),), "Oops")


@dataclass
class FakeClock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def restarts_within(restarts: Restarts, clock: FakeClock, connector: Connector, seconds: int) -> list[int]:
    """The seconds, from now, in which a connector that stays like this is restarted."""
    found = []
    for second in range(seconds):
        if restarts.due([connector]):
            found.append(second)
        clock.now += 1
    return found


def test_waits_double_up_to_a_minute() -> None:
    clock = FakeClock()
    at = restarts_within(Restarts(clock), clock, BROKEN, 400)
    # After each restart it is seen to have failed again a second later.
    waits = [later - earlier - 1 for earlier, later in itertools.pairwise(at)]
    assert at[0] == 1
    assert waits[:7] == [2, 4, 8, 16, 32, 60, 60]


def test_only_what_failed_is_restarted() -> None:
    clock = FakeClock()
    restarts = Restarts(clock)
    connector = Connector("sink", "RUNNING", (Task(0, "RUNNING"), Task(1, "FAILED", "Oops")))
    assert restarts.due([connector]) == []
    clock.now += 1
    assert restarts.due([connector]) == [("sink", 1, "Oops")]


def test_connector_itself_can_fail() -> None:
    clock = FakeClock()
    restarts = Restarts(clock)
    failed = Connector("sink", "FAILED", (), "no such class")
    restarts.due([failed])
    clock.now += 1
    assert restarts.due([failed]) == [("sink", None, "no such class")]


def test_task_that_ran_for_a_while_begins_with_the_first_wait_again() -> None:
    clock = FakeClock()
    restarts = Restarts(clock)
    restarts_within(restarts, clock, BROKEN, 30)
    assert restarts_within(restarts, clock, HEALTHY, 90) == []
    assert restarts_within(restarts, clock, BROKEN, 3)[0] == 1


def test_task_that_ran_for_a_moment_only_does_not() -> None:
    clock = FakeClock()
    restarts = Restarts(clock)
    restarts_within(restarts, clock, BROKEN, 30)
    restarts_within(restarts, clock, HEALTHY, 5)
    assert restarts_within(restarts, clock, BROKEN, 60)[0] > 10


def test_connector_that_vanished_is_forgotten() -> None:
    clock = FakeClock()
    restarts = Restarts(clock)
    restarts_within(restarts, clock, BROKEN, 30)
    assert restarts.due([]) == []
    assert restarts_within(restarts, clock, BROKEN, 3)[0] == 1


def test_engine_that_is_brought_back_ends_long_waits() -> None:
    clock = FakeClock()
    restarts = Restarts(clock)
    restarts_within(restarts, clock, BROKEN, 200)
    restarts.hurry()
    assert restarts_within(restarts, clock, BROKEN, 3)[0] == 1


def test_outage_is_said_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    outages = _Outages()
    with caplog.at_level(logging.INFO, "connect.tend"):
        for _ in range(3):
            with outages.said_once("Kafka Connect"):
                raise ConnectionError("refused")
        for _ in range(2):
            with outages.said_once("Kafka Connect"):
                pass
    assert [record.getMessage() for record in caplog.records] == [
        "Kafka Connect does not answer: refused",
        "Kafka Connect answers again",
    ]
