"""A line becomes a reading or a rejection. Pure: no clock, no socket, no Kafka."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from maredata import settings
from maredata.decoder import Decoder
from maredata.reading import Reading, Readings, Reason, Refused
from maredata.schema import Schema
from maredata.timestamps import format_timestamp

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
        decoder = Decoder(schema)
        self.decode = decoder.decode  # raises Refused
        self._decode_usual = decoder.decode_usual
        self._earliest = int(rules.earliest.timestamp()) * 1_000_000 + rules.earliest.microsecond
        self._max_ahead = rules.max_ahead_seconds * 1_000_000
        self._plausible = [(field.name, *field.plausible) for field in schema.fields if field.plausible is not None]

    def usual(self, lines: Sequence[bytes], now: int) -> Readings | None:
        """All the lines, where nothing at all is unusual about any of them; else `check` has to look at each."""
        try:
            readings = self._decode_usual(lines)
        except Exception:  # a mistake of ours: then `check`, which finds the line and says so
            return None
        if readings is None:
            return None
        earliest, latest = self.window(now)
        return readings if earliest <= min(readings.micros) and max(readings.micros) <= latest else None

    def check(self, line: bytes, now: int) -> Reading | Rejection:
        """What `line` is when it arrives at `now`, in microseconds since 1970 UTC. Never raises."""
        try:
            return self.timely(self.decode(line), now)
        except Exception as error:
            return self.rejection(line, error)

    def window(self, now: int) -> tuple[int, int]:
        """The first and the last instant that a reading may name that arrives at `now`."""
        return self._earliest, now + self._max_ahead

    def timely(self, reading: Reading, now: int) -> Reading:
        """The reading itself. Raises Refused where its instant is outside the window."""
        earliest, latest = self.window(now)
        if reading.micros < earliest:
            raise Refused(Reason.TOO_EARLY, f"before {_instant(earliest)}")
        if reading.micros > latest:
            raise Refused(Reason.TOO_FAR_AHEAD, f"arrived {format_timestamp(now)}, long before its timestamp")
        return reading

    def rejection(self, line: bytes, error: Exception) -> Rejection:
        """The gateway must outlive a mistake of ours, and the line must be kept: so any error is a rejection."""
        if isinstance(error, Refused):
            return Rejection(line, error.reason, error.detail)
        log.error("checking a line failed: please report this", exc_info=error)
        return Rejection(line, Reason.MALFORMED, f"the check itself failed: {error!r}")

    def implausible(self, reading: Reading) -> list[str]:
        """Names of the fields whose value is unusual. That is data all the same."""
        found = []
        values = reading.values
        for name, low, high in self._plausible:
            value = values.get(name)
            if value is not None and not low <= value <= high:
                found.append(name)
        return found


def _instant(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, UTC).isoformat()
