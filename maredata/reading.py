"""A reading: its members, its identity, and the reasons for which a line is none."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, Meta

from maredata.schema import LATITUDES, LONGITUDES


class Reason(StrEnum):
    """Why a line is refused. The values are written into `readings.rejected` and dead letters: keep them stable."""

    EMPTY = "empty"
    TOO_LONG = "too_long"
    ENCODING = "encoding"
    MALFORMED = "malformed"
    TOO_DEEP = "too_deep"
    DUPLICATE_FIELD = "duplicate_field"
    FIELD_NAME = "field_name"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    OUT_OF_LIMITS = "out_of_limits"
    BAD_TIMESTAMP = "bad_timestamp"
    TOO_EARLY = "too_early"
    TOO_FAR_AHEAD = "too_far_ahead"


class Refused(Exception):
    """A line is no reading: the reason, and a sentence for whoever has to mend the sender."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Place(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    lon: Annotated[float, Meta(ge=LONGITUDES[0], le=LONGITUDES[1])]
    lat: Annotated[float, Meta(ge=LATITUDES[0], le=LATITUDES[1])]


class Reading(msgspec.Struct, frozen=True, gc=False):
    """An accepted line.

    `line` is its canonical form: the bytes that came, but for a timestamp written otherwise. `micros` is the
    instant in microseconds since 1970 UTC. `unknown` holds the names of fields that the schema doesn't know.
    """

    sensor_id: int
    micros: int
    line: bytes
    record: Any  # the schema's fields as attributes, UNSET where absent
    unknown: tuple[str, ...] = ()
    usual: bool = False  # no value is outside its plausible range

    @property
    def values(self) -> dict[str, Any]:
        """The schema's fields that were present: None for null, a pair (lon, lat) for a location, or microseconds."""
        found = {name: getattr(self.record, name) for name in self.record.__struct_fields__}
        for name, value in found.items():
            if isinstance(value, Place):
                found[name] = (value.lon, value.lat)
        found["timestamp"] = self.micros
        return {name: value for name, value in found.items() if value is not UNSET}

    @property
    def key(self) -> bytes:
        """Kafka's key: sensor_id in decimal ASCII."""
        return b"%d" % self.sensor_id

    @property
    def id(self) -> str:
        return identity(self.sensor_id, self.micros)


class Readings(NamedTuple):
    """Accepted lines side by side, in their order: each list holds what the member of a `Reading` would."""

    sensor_ids: list[int]
    micros: list[int]
    lines: list[bytes]
    records: list[Any]

    @classmethod
    def none(cls) -> Readings:
        return cls([], [], [], [])

    def add(self, reading: Reading) -> None:
        self.sensor_ids.append(reading.sensor_id)
        self.micros.append(reading.micros)
        self.lines.append(reading.line)
        self.records.append(reading.record)


def identity(sensor_id: int, micros: int) -> str:
    """`_id` of a reading in Elasticsearch; (sensor_id, timestamp) is the same in MariaDB."""
    return f"{sensor_id}-{micros}"
