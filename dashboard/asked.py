"""What a page asks for, checked: whatever comes from a browser becomes numbers, instants and the schema's own fields.

Only what is made here gets into a query.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from maredata.errors import MareError
from maredata.schema import Field, FieldType, Schema
from maredata.timestamps import LATEST_MICROS

MOST_SENSORS = 8  # in one chart: as many colours as can be told apart
RANGES = {"hour": 3600, "day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400}
OWN = "own"

_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECONDS = LATEST_MICROS // 1_000_000
_HIGHEST_ID = 2**63 - 1


class NotUnderstood(MareError):
    """What a page asked for is not possible; the sentence says why."""


@dataclass(frozen=True)
class Span:
    """From `begin` to before `end`, in seconds since 1970 UTC. `follows`: the end is now, and moves on."""

    begin: float
    end: float
    follows: bool = False

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def numbers(schema: Schema) -> tuple[Field, ...]:
    """The variables that can be drawn."""
    return tuple(field for field in schema.measured if field.type is FieldType.NUMBER)


def title(field: Field) -> str:
    """The variable's name as reading.toml has it, with its unit."""
    return f"{field.label or field.name} ({field.unit})" if field.unit else field.label or field.name


def variable(schema: Schema, name: Any) -> Field:
    for field in numbers(schema):
        if field.name == name:
            return field
    raise NotUnderstood("Choose one of the variables that reading.toml has as numbers.")


def sensors(wanted: Any) -> tuple[int, ...]:
    """Sensor ids, each once. They come as text, since a browser's numbers end at 2^53."""
    listed = wanted if isinstance(wanted, list | tuple) else [wanted]
    found = tuple(dict.fromkeys(_sensor(entry) for entry in listed))
    if len(found) > MOST_SENSORS:
        raise NotUnderstood(f"Choose at most {MOST_SENSORS} buoys: more can't be told apart in one chart.")
    return found


def span(name: Any, begin: Any, end: Any, now: float) -> Span:
    """The range of that name up to now, or one's own from `begin` to `end`."""
    if isinstance(name, str) and name in RANGES:
        return Span(now - RANGES[name], now, follows=True)
    if name != OWN:
        raise NotUnderstood("Choose a range of time.")
    if begin in (None, "") and end in (None, ""):
        raise NotUnderstood("Write the first and the last moment of your range, such as 2026-11-22 06:00.")
    return between(instant(begin), now if end in (None, "") else instant(end))


def between(begin: float, end: float) -> Span:
    if end - begin < 1:
        raise NotUnderstood("The range must end at least a second after it begins.")
    return Span(begin, end)


def zoom(relayout: Any) -> Span | bool | None:
    """What a chart says after it was zoomed: the span it shows now, None where it went back, False for anything else.

    Raises NotUnderstood.
    """
    if not isinstance(relayout, dict):
        return False
    if relayout.get("xaxis.autorange"):
        return None
    edges = (relayout.get("xaxis.range[0]"), relayout.get("xaxis.range[1]"))
    return between(*map(instant, edges)) if None not in edges else False


def instant(text: Any) -> float:
    """Seconds since 1970 of an ISO 8601 time or day; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(str(text).strip()[:40])
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise NotUnderstood("Write times like 2026-11-22 or 2026-11-22 06:00; they are in UTC.") from None
    return possible((found - _FIRST) / timedelta(seconds=1))


def possible(seconds: float) -> float:
    """The same, where readings can be so old or so new. Not a number is neither."""
    if not 0 <= seconds <= _LAST_SECONDS:
        raise NotUnderstood("Choose times between 1970 and 2262.")
    return seconds


def _sensor(entry: Any) -> int:
    text = str(entry).strip()
    # Not what int() takes: it knows underscores, and the digits of every script.
    if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _HIGHEST_ID:
        return int(text)
    raise NotUnderstood("A sensor_id is a whole number from 0 up.")
