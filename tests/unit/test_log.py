"""Log lines are one line each, whatever is in them, and the same warning does not fill the disk."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maredata.log import JsonLines, Logfmt, Repeats, Without, log_to_stderr

NAMES = ("test_log.a", "test_log.b")


@pytest.fixture(autouse=True)
def loggers_of_the_test() -> Iterator[None]:
    yield
    for name in NAMES:
        logging.getLogger(name).handlers = []


def record(
    message: str = "m", created: float = 0.0, level: int = logging.WARNING, **extra: object
) -> logging.LogRecord:
    levelname = logging.getLevelName(level)
    return logging.makeLogRecord(
        {"name": "n", "msg": message, "levelno": level, "levelname": levelname, "created": created, **extra}
    )


def failed() -> logging.LogRecord:
    try:
        raise ValueError("no\nluck")
    except ValueError as error:
        return record(exc_info=(ValueError, error, error.__traceback__))


def test_logfmt_has_time_level_logger_message_and_extras() -> None:
    line = Logfmt().format(record('a "b"\nc', 1.5, port=1, host="::1", empty=""))
    assert (
        line == 'ts=1970-01-01T00:00:01.500+00:00 level=warning logger=n msg="a \\"b\\"\\nc" port=1 host=::1 empty=""'
    )


def test_json_has_the_same_fields_with_their_types() -> None:
    line = JsonLines().format(record('a "b"\nc', 1.5, port=1, known=None, ids=[1, 2]))
    assert json.loads(line) == {
        "ts": "1970-01-01T00:00:01.500+00:00",
        "level": "warning",
        "logger": "n",
        "msg": 'a "b"\nc',
        "port": 1,
        "known": None,
        "ids": [1, 2],
    }


def test_an_exception_stays_on_the_line() -> None:
    assert 'exception="Traceback' in Logfmt().format(failed())
    assert "ValueError: no\nluck" in json.loads(JsonLines().format(failed()))["exception"]


@pytest.mark.parametrize("formatter", [Logfmt(), JsonLines()])
@given(message=st.text(), value=st.one_of(st.text(), st.floats(), st.binary(), st.integers()))
def test_whatever_is_logged_is_one_printable_line(formatter: logging.Formatter, message: str, value: object) -> None:
    line = formatter.format(record(message, value=value))
    assert line.isascii()
    assert line.isprintable()


def test_json_is_what_every_reader_takes() -> None:
    """NaN is none, a set is unknown to it, and a tuple can't be a key."""
    for value in (float("nan"), {1, 2}, {(1, 2): 3}):
        line = JsonLines().format(record(value=value))
        assert json.loads(line, parse_constant=pytest.fail)["msg"] == "m"


def test_repeated_warnings_are_held_back_and_counted() -> None:
    repeats = Repeats(period=60)
    passed = [bool(repeats.filter(record(created=at))) for at in (0, 1, 59, 60, 61)]
    assert passed == [True, False, False, True, False]
    last = record(created=200)
    assert repeats.filter(last)
    assert vars(last)["held_back"] == 1
    assert repeats.filter(record("another wording", 200))
    assert all(repeats.filter(record(created=200, level=logging.INFO)) for _ in range(2))


def test_a_clock_that_is_set_back_holds_nothing_back() -> None:
    repeats = Repeats(period=60)
    assert [bool(repeats.filter(record(created=at))) for at in (1000, 10, 11)] == [True, True, False]


@pytest.mark.parametrize(("log_format", "expected"), [("logfmt", "level=warning"), ("json", '"level": "warning"')])
def test_it_writes_to_stderr_in_the_format_asked_for(
    log_format: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr(NAMES, log_format, Without("we know"))  # type: ignore[arg-type]
    for name in NAMES:
        logging.getLogger(f"{name}.module").warning("hello")
        logging.getLogger(name).warning("this we know")
    lines = capsys.readouterr().err.splitlines()
    assert [expected in line for line in lines] == [True, True]


def test_repeats_are_held_back_unless_every_one_counts(capsys: pytest.CaptureFixture[str]) -> None:
    for seconds, lines in ((60, 1), (0, 3)):
        log_to_stderr(NAMES[0], "logfmt", hold_back_seconds=seconds)
        for _ in range(3):
            logging.getLogger(NAMES[0]).warning("again")
        assert len(capsys.readouterr().err.splitlines()) == lines
