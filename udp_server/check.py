"""A line becomes a reading or a rejection. Pure: no clock, no socket, no Kafka."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from maredata import settings
from maredata.reading import Decoder, Reading, Reason, Refused, format_timestamp
from maredata.schema import Schema

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A line that is no reading, as it came, with the reason and a sentence for the sender."""

    line: bytes
    reason: Reason
    detail: str


def lines_of(payload: bytes) -> list[bytes]:
    """The lines of a datagram, without their `\\n`.

    A line break at the end ends the last line and begins no further one. Blank lines and an empty datagram
    are lines, which `Checker` rejects as empty: a sender that makes them should find out.
    """
    if b"\n" not in payload:
        return [payload]
    return payload.removesuffix(b"\n").split(b"\n")


class Checker:
    """One schema and the rules of arrival. A changed schema needs a new Checker."""

    def __init__(self, schema: Schema, rules: settings.Reading) -> None:
        self.schema = schema
        self._decode = Decoder(schema).decode
        self._earliest = int(rules.earliest.timestamp()) * 1_000_000 + rules.earliest.microsecond
        self._max_ahead = rules.max_ahead_seconds * 1_000_000
        self._plausible = [(field.name, *field.plausible) for field in schema.fields if field.plausible is not None]

    def check(self, line: bytes, now: int) -> Reading | Rejection:
        """What `line` is when it arrives at `now`, in microseconds since 1970 UTC. Never raises."""
        try:
            reading = self._decode(line)
        except Refused as refused:
            return Rejection(line, refused.reason, refused.detail)
        except Exception as error:  # the gateway must outlive a mistake of ours, and the line must be kept
            log.exception("checking a line failed: please report this")
            return Rejection(line, Reason.MALFORMED, f"the check itself failed: {error!r}")
        if reading.micros < self._earliest:
            return Rejection(line, Reason.TOO_EARLY, f"before {_instant(self._earliest)}")
        if reading.micros > now + self._max_ahead:
            return Rejection(line, Reason.TOO_FAR_AHEAD, f"arrived {format_timestamp(now)}, long before its timestamp")
        return reading

    def implausible(self, reading: Reading) -> list[str]:
        """Names of the fields whose value is unusual. That is data all the same."""
        found = []
        for name, low, high in self._plausible:
            value = reading.values.get(name)
            if value is not None and not low <= value <= high:
                found.append(name)
        return found


def _instant(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, UTC).isoformat()
