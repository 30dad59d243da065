"""Which buoys are silent, and which of their variables are stuck. Pure: no clock, no I/O.

silent           nothing came from the buoy for `silence_seconds`; its variables then raise nothing
back             it sends again
variable_null    the variable was null in all that came for `steady_seconds`
variable_steady  it had one value in all that came for so long
variable_back    it changes again, and is not null

Only what is out of order is remembered by name, so a look at many healthy buoys costs little.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from maredata.timestamps import format_timestamp
from udp_server.sensors import Sensor

_SECOND = 1_000_000


class Kind(StrEnum):
    """The values are written into topic `buoy.events`: keep them stable."""

    SILENT = "silent"
    BACK = "back"
    VARIABLE_NULL = "variable_null"
    VARIABLE_STEADY = "variable_steady"
    VARIABLE_BACK = "variable_back"


_SENTENCES = {
    Kind.SILENT: "Sensor {sensor_id} is silent: nothing came from it since {since}.",
    Kind.BACK: "Sensor {sensor_id} sends again: it was silent since {since}.",
    Kind.VARIABLE_NULL: "Sensor {sensor_id} sends no {variable}: it has been null since {since}.",
    Kind.VARIABLE_STEADY: "Sensor {sensor_id} has sent the same {variable} since {since}.",
    Kind.VARIABLE_BACK: "Sensor {sensor_id} sends a changing {variable} again: it was null or the same since {since}.",
}


class Event(msgspec.Struct, frozen=True):
    """`timestamp` is when it was noticed, `since` when what it tells or ends began: microseconds since 1970."""

    timestamp: int
    sensor_id: int
    event: Kind
    variable: str | None
    since: int

    @property
    def is_trouble(self) -> bool:
        return self.event not in (Kind.BACK, Kind.VARIABLE_BACK)

    @property
    def message(self) -> str:
        """One sentence; times are UTC."""
        return _SENTENCES[self.event].format(
            sensor_id=self.sensor_id, variable=self.variable, since=format_timestamp(self.since)
        )

    def as_dict(self) -> dict[str, Any]:
        """What becomes JSON; `variable` is left out where the event is the whole buoy's."""
        return {
            "timestamp": format_timestamp(self.timestamp),
            "sensor_id": self.sensor_id,
            "event": self.event.value,
            **({} if self.variable is None else {"variable": self.variable}),
            "since": format_timestamp(self.since),
            "message": self.message,
        }


class Trouble(msgspec.Struct, frozen=True, gc=False):
    """What was told of a variable and has not ended."""

    event: Kind
    since: int


class Watch:
    """Tells each event once. `known` is what `as_dict` gave before a restart, so also across restarts."""

    def __init__(self, silence_seconds: float, steady_seconds: float, known: dict[str, Any] | None = None) -> None:
        self._silence = int(silence_seconds * _SECOND)
        self._steady = int(steady_seconds * _SECOND)
        known = known or {}
        self._silent: dict[int, int] = {int(id_): since for id_, since in known.get("silent", {}).items()}
        self._troubled: dict[int, dict[str, Trouble]] = {
            int(id_): msgspec.convert(variables, dict[str, Trouble])
            for id_, variables in known.get("variables", {}).items()
        }
        # Until a reading later than this came from a buoy, none of its variables can have become steady.
        self._steady_after: dict[int, int] = {}

    @property
    def silent(self) -> int:
        """Buoys that were told as silent and have not come back."""
        return len(self._silent)

    def as_dict(self) -> dict[str, Any]:
        """What was told and has not ended; can be written as JSON, and given to another Watch."""
        return {
            "silent": {str(id_): since for id_, since in self._silent.items()},
            "variables": {str(id_): msgspec.to_builtins(troubles) for id_, troubles in self._troubled.items()},
        }

    def look(self, sensors: Mapping[int, Sensor], now: int, listening_since: int) -> list[Event]:
        """What has begun or ended since the last look.

        `sensors` must be complete: one that is not in it is forgotten, and what was told of it too. `now` and
        `listening_since` are in microseconds since 1970. Before `listening_since` the gateway was down: that time
        counts neither as a buoy's silence nor as a variable's steadiness.
        """
        found: list[Event] = []
        self._forget(sensors)
        silent, troubled, steady_after = self._silent, self._troubled, self._steady_after
        quiet_before = now - self._silence
        grace = listening_since >= quiet_before
        for sensor_id, seen in sensors.items():
            last_seen = seen.last_seen
            if last_seen < quiet_before:
                if sensor_id not in silent and not grace:
                    silent[sensor_id] = last_seen
                    found.append(Event(now, sensor_id, Kind.SILENT, None, last_seen))
                continue
            if sensor_id in silent:
                if last_seen <= silent[sensor_id]:  # only silence_seconds has become longer
                    continue
                found.append(Event(now, sensor_id, Kind.BACK, None, silent.pop(sensor_id)))
                # Nobody knows how its variables were meanwhile.
                steady_after[sensor_id] = last_seen + self._steady
            if sensor_id in troubled:
                self._look_for_ends(sensor_id, seen, now, found)
            if last_seen > steady_after.get(sensor_id, 0):
                self._look_for_steady(sensor_id, seen, now, listening_since, found)
        return found

    def _look_for_ends(self, sensor_id: int, seen: Sensor, now: int, found: list[Event]) -> None:
        troubles = self._troubled[sensor_id]
        for name, trouble in list(troubles.items()):
            variable = seen.variables.get(name)
            if variable is not None and (variable.null or variable.changed <= trouble.since):
                continue
            del troubles[name]
            if variable is not None:
                found.append(Event(now, sensor_id, Kind.VARIABLE_BACK, name, trouble.since))
        if not troubles:
            del self._troubled[sensor_id]

    def _look_for_steady(
        self, sensor_id: int, seen: Sensor, now: int, listening_since: int, found: list[Event]
    ) -> None:
        """Tells what has become steady, and computes when the next variable can."""
        troubles = self._troubled.get(sensor_id, {})
        next_after = seen.last_seen + self._steady
        for name, variable in seen.variables.items():
            kind = Kind.VARIABLE_NULL if variable.null else Kind.VARIABLE_STEADY
            told = troubles.get(name)
            # One that was steady and became null has not come back. It is told anew when it stays null.
            if told is not None and (told.event is kind or not variable.null):
                continue
            steady_after = max(variable.changed, listening_since) + self._steady
            if seen.last_seen > steady_after:
                self._troubled.setdefault(sensor_id, {})[name] = Trouble(kind, variable.changed)
                found.append(Event(now, sensor_id, kind, name, variable.changed))
            else:
                next_after = min(next_after, steady_after)
        self._steady_after[sensor_id] = next_after

    def _forget(self, sensors: Mapping[int, Sensor]) -> None:
        for remembered in (self._silent, self._troubled, self._steady_after):
            # Usually nothing has to be looked for: what is remembered by name are few, and the last holds at most all.
            if remembered is not self._steady_after or len(remembered) > len(sensors):
                for sensor_id in [sensor_id for sensor_id in remembered if sensor_id not in sensors]:
                    del remembered[sensor_id]
