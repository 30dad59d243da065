"""What the ledger knows of each sensor: when it was heard, what it lost, and what it sent oddly.

Nothing here refuses a reading. Readings of one identity (sensor_id, instant) are told apart by a hash of their
line: equal ones are duplicates, others are conflicts, of which the later one wins in both stores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from msgspec import UNSET

from maredata.reading import Readings
from maredata.schema import FieldType, Schema
from maredata.settings import Udp

MOST_SENSORS = 50_000  # senders choose the ids, so their number may not grow without end
_MOST_IDENTITIES = 100_000  # that are remembered in all, while there are few sensors
_MOST_REMEMBERED = 2 * 200  # of one sensor, each taking two places
_LEAST_REMEMBERED = 2 * 8
_SAME_RUN = 1000  # a seq that falls by more than this, with a later time, is a buoy that was switched on again
_RATE_MICROS = 10_000_000
_AT_ONCE = 500
_ADDED = (
    *("readings", "rate", "in_run", "missing_before", "restarts"),
    *("duplicates", "conflicts", "out_of_order", "late", "clock_ahead"),
)
_NOT_WATCHED = ("sensor_id", "timestamp", "seq", "location")


@dataclass(slots=True)
class Variable:
    """One variable of one sensor. `changed` is the arrival, in microseconds since 1970, of the first such value."""

    changed: int
    value: float | int | None

    @property
    def null(self) -> bool:
        return self.value is None


@dataclass(slots=True)
class Sensor:
    """Counters since this instance's first start; times in microseconds since 1970 UTC."""

    sensor_id: int
    first_seen: int  # arrival
    last_seen: int  # arrival
    latest: int = -1  # the latest instant that a reading of it named
    readings: int = 0
    rate: float = 0.0  # readings a second, over the last ten or more
    seq: int = -1  # the highest sequence number of this run
    first_seq: int = -1  # the lowest
    in_run: int = 0  # readings of this run that had a number; several workers may have heard some each
    missing_before: int = 0  # in earlier runs
    restarts: int = 0  # its sequence began anew
    duplicates: int = 0
    conflicts: int = 0
    out_of_order: int = 0
    late: int = 0
    clock_ahead: int = 0
    variables: dict[str, Variable] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Sequence numbers that did not come, although a higher one did."""
        expected = self.seq - self.first_seq + 1 if self.in_run else 0
        return self.missing_before + max(0, expected - self.in_run)


class _Followed:
    """A sensor, and what is needed to go on counting."""

    __slots__ = ("counted", "key", "rated", "recent", "record", "sensor")

    def __init__(self, sensor: Sensor, remembered: int) -> None:
        self.sensor = sensor
        self.key = b"%d" % sensor.sensor_id
        self.record: Any = None  # of the first reading since the last survey: one that is let go at once costs less
        self.recent: deque[int] = deque(maxlen=remembered)  # instant and hash of the line, in turn
        self.counted = sensor.readings  # when the rate was last computed
        self.rated = sensor.last_seen  # and when that was


class Sensors:
    """All sensors of one worker."""

    def __init__(self, schema: Schema, settings: Udp, earlier: list[Sensor]) -> None:
        self._remembered = _MOST_REMEMBERED
        self._variables: list[str] = []
        self._followed = {sensor.sensor_id: _Followed(sensor, self._remembered) for sensor in earlier[:MOST_SENSORS]}
        self._late = settings.late_seconds * 1_000_000
        self._ahead = -settings.ahead_seconds * 1_000_000
        self.not_followed = 0
        self.use(schema)

    def use(self, schema: Schema) -> None:
        """Watches the variables of this schema from now on."""
        for followed in self._followed.values():
            self._look_at_variables(followed)
        self._variables = [
            field.name
            for field in schema.fields
            if field.type in (FieldType.NUMBER, FieldType.INTEGER) and field.name not in _NOT_WATCHED
        ]

    def observe(self, readings: Readings, now: int) -> list[bytes | None]:
        """Counts readings that arrived at `now`; returns the key of each for Kafka.

        The path of every reading: what most of them have in common stands here, without a call more than it needs.
        """
        everyone, late, ahead = self._followed, now - self._late, now - self._ahead
        keys: list[bytes | None] = []
        for sensor_id, micros, line, record in zip(*readings, strict=True):
            followed = everyone.get(sensor_id)
            if followed is None:
                followed = self._meet(sensor_id, now)
                if followed is None:
                    keys.append(b"%d" % sensor_id)
                    continue
            keys.append(followed.key)
            sensor, recent = followed.sensor, followed.recent
            again = False
            if micros > sensor.latest:
                sensor.latest = micros
            else:
                again = _look_back(sensor, recent, micros, line)
            recent.append(micros)
            recent.append(hash(line))
            if followed.record is None:
                followed.record = record
            seq = record.seq
            if seq.__class__ is int and not again:
                if seq <= sensor.seq or not sensor.in_run:
                    _fall_back(sensor, seq, micros)
                else:
                    sensor.seq = seq
                sensor.in_run += 1
            if micros < late:
                sensor.late += 1
            elif micros > ahead:
                sensor.clock_ahead += 1
            sensor.readings += 1
            sensor.last_seen = now
        return keys

    def survey(self, now: int) -> Iterator[list[Sensor]]:
        """Every sensor, its rate and its variables up to date, a few at a time: whoever receives can't wait long."""
        everyone = list(self._followed.values())
        share = 2 * (_MOST_IDENTITIES // max(1, len(everyone)))  # in pairs
        self._remembered = max(_LEAST_REMEMBERED, min(_MOST_REMEMBERED, share))
        for start in range(0, len(everyone), _AT_ONCE):
            some = everyone[start : start + _AT_ONCE]
            for followed in some:
                self._look_at_variables(followed)
                _rate(followed, now)
                if followed.recent.maxlen != self._remembered:
                    followed.recent = deque(followed.recent, self._remembered)
            yield [followed.sensor for followed in some]

    def _meet(self, sensor_id: int, now: int) -> _Followed | None:
        if len(self._followed) >= MOST_SENSORS:
            self.not_followed += 1
            return None
        followed = _Followed(Sensor(sensor_id, first_seen=now, last_seen=now), self._remembered)
        self._followed[sensor_id] = followed
        return followed

    def _look_at_variables(self, followed: _Followed) -> None:
        record, sensor = followed.record, followed.sensor
        followed.record = None
        if record is None:
            return
        for name in self._variables:
            value = getattr(record, name, UNSET)
            if value is UNSET:
                continue
            variable = sensor.variables.get(name)
            if variable is None:
                sensor.variables[name] = Variable(sensor.last_seen, value)
            elif variable.value != value:
                variable.changed, variable.value = sensor.last_seen, value


def _look_back(sensor: Sensor, recent: deque[int], instant: int, line: bytes) -> bool:
    """Whether this very identity came lately; if not, its reading is older than another that came before."""
    instants, lines = islice(recent, 0, None, 2), islice(recent, 1, None, 2)
    hashes = [hashed for micros, hashed in zip(instants, lines, strict=True) if micros == instant]
    if not hashes:
        sensor.out_of_order += 1
    elif hashes[-1] == hash(line):
        sensor.duplicates += 1
    else:
        sensor.conflicts += 1
    return bool(hashes)


def _fall_back(sensor: Sensor, seq: int, micros: int) -> None:
    """A number that is not higher than those before: it comes late, or begins another run."""
    begins_anew = micros == sensor.latest and (seq == 0 or sensor.seq - seq > _SAME_RUN)
    if sensor.in_run and not begins_anew:
        sensor.first_seq = min(sensor.first_seq, seq)
        return
    sensor.missing_before = sensor.missing
    sensor.restarts += sensor.in_run > 0
    sensor.seq = sensor.first_seq = seq
    sensor.in_run = 0


def _rate(followed: _Followed, now: int) -> None:
    elapsed = now - followed.rated
    if elapsed >= _RATE_MICROS:
        followed.sensor.rate = (followed.sensor.readings - followed.counted) * 1_000_000 / elapsed
        followed.counted, followed.rated = followed.sensor.readings, now


def merged(parts: Iterable[list[Sensor]]) -> dict[int, Sensor]:
    """One of each: a sensor whose address changed has been heard by several workers."""
    found: dict[int, Sensor] = {}
    for sensor in (sensor for part in parts for sensor in part):
        there = found.get(sensor.sensor_id)
        found[sensor.sensor_id] = sensor if there is None else _sum(there, sensor)
    return found


def _sum(one: Sensor, other: Sensor) -> Sensor:
    older, newer = sorted((one, other), key=lambda sensor: sensor.last_seen)
    sums = {name: getattr(one, name) + getattr(other, name) for name in _ADDED}
    return replace(
        newer,
        first_seen=min(one.first_seen, other.first_seen),
        latest=max(one.latest, other.latest),
        seq=max(one.seq, other.seq),
        first_seq=min(sensor.first_seq for sensor in (one, other) if sensor.in_run or not one.in_run + other.in_run),
        variables={**older.variables, **newer.variables},
        **sums,
    )
