"""Structured logs on stderr: one line for each record, as logfmt or JSON, and repeated warnings held back."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

_PERIOD = 60.0  # seconds in which the same warning appears once
_MOST_REMEMBERED = 1000
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Logfmt(logging.Formatter):
    """`ts=… level=… logger=… msg="…"`, then what the caller gave as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{name}={_value(value)}" for name, value in _fields(self, record).items())


class JsonLines(logging.Formatter):
    """The same fields as one JSON object, always on one line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(self, record)
        try:
            return json.dumps(fields, default=str, allow_nan=False)
        except (TypeError, ValueError):  # no JSON has NaN, a tuple as a key, or a dict that holds itself
            return json.dumps({name: str(value) for name, value in fields.items()})


class Repeats(logging.Filter):
    """Lets a warning or error of one wording through once a period, saying how many were held back since.

    The wording is the message before its arguments are put in: what varies belongs into `extra`.
    """

    def __init__(self, period: float = _PERIOD) -> None:
        super().__init__()
        self._period = period
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        if len(self._seen) > _MOST_REMEMBERED:
            self._seen.clear()
        wording = (record.name, str(record.msg))
        last, held = self._seen.get(wording, (float("-inf"), 0))
        if 0 <= record.created - last < self._period:  # a clock that was set back holds nothing back
            self._seen[wording] = (last, held + 1)
            return False
        self._seen[wording] = (record.created, 0)
        if held:
            record.held_back = held
        return True


class Without(logging.Filter):
    """Drops records that contain `text`: a library's notice of what we know."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def filter(self, record: logging.LogRecord) -> bool:
        return self._text not in record.getMessage()


def log_to_stderr(
    loggers: str | Iterable[str],
    log_format: Literal["logfmt", "json"],
    *filters: logging.Filter,
    hold_back_seconds: float = _PERIOD,
) -> None:
    """Once, by the process whose main work `loggers` (names of packages or modules) are.

    `filters` see each record before it is written. A warning of the same wording appears once in
    `hold_back_seconds`; with 0 every one does.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if log_format == "json" else Logfmt())
    for each in (*filters, Repeats(hold_back_seconds)):
        handler.addFilter(each)
    for name in [loggers] if isinstance(loggers, str) else loggers:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = {
        "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "msg": record.getMessage(),
    }
    fields |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if record.exc_info:
        fields["exception"] = formatter.formatException(record.exc_info)
    return fields


def _value(value: object) -> str:
    text = str(value)
    plain = text != "" and text.isascii() and text.isprintable() and not set(text) & set(' "=\\')
    return text if plain else json.dumps(text)
