"""What becomes of a line: the scenarios as data, and the rules of arrival at their edges."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maredata import settings
from maredata.reading import Reading, Reason
from maredata.schema import Schema, load_schema
from maredata.timestamps import parse_timestamp
from udp_server.check import Checker, Rejection, lines_of

SCENARIOS = Path(__file__).parent.parent / "scenarios" / "datagrams"
NAMES = sorted(folder.name for folder in SCENARIOS.iterdir() if folder.is_dir())
ARRIVAL = parse_timestamp("2026-01-01 00:00:00.000000")


@pytest.fixture(scope="module")
def checker() -> Checker:
    return Checker(load_schema(settings.CHECKOUT / "maredata" / "reading.toml"), settings.Reading())


@pytest.mark.parametrize("name", NAMES)
def test_scenario(name: str, checker: Checker) -> None:
    folder = SCENARIOS / name
    accepted: list[bytes] = []
    rejected: list[dict[str, str]] = []
    for datagram in sorted(folder.glob("input*")):
        for line in lines_of(datagram.read_bytes()):
            outcome = checker.check(line, ARRIVAL)
            if isinstance(outcome, Rejection):
                text = outcome.line.decode("utf-8", "backslashreplace")
                rejected.append({"reason": outcome.reason.value, "line": text})
            else:
                accepted.append(outcome.line)
    assert b"".join(line + b"\n" for line in accepted) == (folder / "accepted.ndjson").read_bytes()
    assert rejected == json.loads((folder / "rejected.json").read_text("utf-8"))


def test_there_are_scenarios() -> None:
    assert len(NAMES) > 20


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line), min_size=1))
def test_lines_survive_being_joined_whether_or_not_the_last_is_ended(lines: list[bytes]) -> None:
    assert lines_of(b"\n".join(lines) + b"\n") == lines
    if lines[-1]:
        assert lines_of(b"\n".join(lines)) == lines


INSTANTS = [
    ("1989-12-31 23:59:59.999999", Reason.TOO_EARLY),
    ("1990-01-01 00:00:00.000000", None),
    ("2026-01-01 00:00:00.000000", None),
    ("2026-01-02 00:00:00.000000", None),
    ("2026-01-02 00:00:00.000001", Reason.TOO_FAR_AHEAD),
]


@pytest.mark.parametrize(("instant", "reason"), INSTANTS)
def test_the_window_of_arrival_holds_its_ends(instant: str, reason: Reason | None, checker: Checker) -> None:
    line = b'{"sensor_id": 1, "timestamp": "%s"}' % instant.encode()
    for _ in range(2):  # of a shape that was met, too
        outcome = checker.check(line, ARRIVAL)
        assert (outcome.reason if isinstance(outcome, Rejection) else None) == reason
    earliest, latest = checker.window(ARRIVAL)
    assert (reason is None) == (earliest <= parse_timestamp(instant) <= latest)


def test_the_rules_of_arrival_are_the_settings() -> None:
    earliest = datetime.fromisoformat("2025-12-31T23:00:00.000001+01:00")
    rules = settings.Reading(earliest=earliest, max_ahead_seconds=0)
    checker = Checker(load_schema(settings.CHECKOUT / "maredata" / "reading.toml"), rules)
    assert checker.window(ARRIVAL) == (parse_timestamp("2025-12-31 22:00:00.000001"), ARRIVAL)


def test_an_implausible_value_is_named_and_accepted(checker: Checker) -> None:
    line = b'{"sensor_id": 1, "timestamp": "2025-01-01 00:00:00.000000", "temperature": 50.1, "humidity": 100.0}'
    reading = checker.check(line, ARRIVAL)
    assert isinstance(reading, Reading)
    assert checker.implausible(reading) == ["temperature"]


def test_a_mistake_in_the_check_rejects_the_line_and_does_not_raise() -> None:
    class BrokenChecker(Checker):
        def __init__(self, schema: Schema, rules: settings.Reading) -> None:
            super().__init__(schema, rules)
            self.decode = self._fail

        @staticmethod
        def _fail(line: bytes) -> Reading:
            raise ZeroDivisionError(line)

    broken = BrokenChecker(load_schema(settings.CHECKOUT / "maredata" / "reading.toml"), settings.Reading())
    outcome = broken.check(b"{}", ARRIVAL)
    assert isinstance(outcome, Rejection)
    assert outcome.line == b"{}"
    assert "ZeroDivisionError" in outcome.detail
