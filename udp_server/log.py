"""Structured logs: one logfmt line on stderr for each record, and repeated warnings held back."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

_PERIOD = 60.0  # seconds in which the same warning appears once
_MOST_REMEMBERED = 1000
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Logfmt(logging.Formatter):
    """`ts=… level=… logger=… msg="…"`, then what the caller gave as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        fields |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return " ".join(f"{name}={_value(value)}" for name, value in fields.items())


class Repeats(logging.Filter):
    """Lets a warning or error of one wording through once a period, saying how many were held back since."""

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
        if record.created - last < self._period:
            self._seen[wording] = (last, held + 1)
            return False
        self._seen[wording] = (record.created, 0)
        if held:
            record.held_back = held
        return True


class NoExperimentalNotice(logging.Filter):
    """librdkafka says at each start that the gapless guarantee is experimental. We know."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "enable.gapless.guarantee" not in record.getMessage()


def log_to_stderr() -> None:
    """Once, by the process whose main work the gateway is."""
    handler = logging.StreamHandler()
    handler.setFormatter(Logfmt())
    handler.addFilter(NoExperimentalNotice())
    handler.addFilter(Repeats())
    logger = logging.getLogger("udp_server")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _value(value: object) -> str:
    text = str(value)
    plain = text != "" and text.isascii() and text.isprintable() and not set(text) & set(' "=\\')
    return text if plain else json.dumps(text)
