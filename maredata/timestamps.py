"""Timestamps: microseconds since 1970 UTC, and the texts that stand for them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from maredata.reading import Reason, Refused

LATEST_MICROS = 9_223_372_036_854_775  # 2262-04-11 23:47:16.854775, the last microsecond of date_nanos
CANONICAL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}")

_EPOCH = datetime(1970, 1, 1)  # UTC, like every time here; without a zone it is quicker
_ACCEPTABLE = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2})(?::?([0-9]{2}))?)?"
)


def parse_timestamp(text: str) -> int:
    """Microseconds since 1970 UTC of an ISO 8601 timestamp; without a zone it is UTC, digits beyond six are cut.

    Raises Refused (bad_timestamp).
    """
    try:
        micros = _micros(text) if CANONICAL.fullmatch(text) else _zoned_micros(text)
    except ValueError as error:
        raise Refused(Reason.BAD_TIMESTAMP, f"{text[:64]!r}: {error}") from None
    if not 0 <= micros <= LATEST_MICROS:
        raise Refused(Reason.BAD_TIMESTAMP, f"{text[:64]!r} is outside 1970 to 2262")
    return micros


def _micros(text: str) -> int:
    since = datetime.fromisoformat(text) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _zoned_micros(text: str) -> int:
    match = _ACCEPTABLE.fullmatch(text)
    if match is None:
        raise ValueError("no timestamp such as 2024-01-21 10:06:04.095931")
    day, time, fraction, sign, hours, minutes = match.groups()
    offset = int(hours or 0) * 60 + int(minutes or 0)
    if offset > 18 * 60 or int(minutes or 0) > 59:
        raise ValueError("there is no such zone")
    digits = (fraction or "")[:6].ljust(6, "0")
    return _micros(f"{day} {time}.{digits}") - offset * 60_000_000 * (-1 if sign == "-" else 1)


def format_timestamp(micros: int) -> str:
    """The canonical form: UTC with exactly six fractional digits."""
    return (_EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%d %H:%M:%S.%f")
