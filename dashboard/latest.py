"""The last reading of every buoy, kept in memory and brought up to date from Elasticsearch a little at a time.

Asking for all of them each second would read every reading of the whole history again. So most questions are about the
last seconds, few about the last quarter of an hour, and the rarest about everything: those leave out the buoys that
were just heard, which are nearly all. A reading that comes late is seen by the next question that reaches back so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from elasticsearch import Elasticsearch

from maredata.names import READINGS_PATTERN
from maredata.schema import FieldType, Schema
from maredata.timestamps import format_timestamp, parse_timestamp

MOST_BUOYS = 10_000

_SECOND = 1_000_000  # microseconds


@dataclass(frozen=True)
class _Window:
    """How far back a question reaches (0: to the beginning), and how often it is asked at most, in seconds."""

    back: int
    every: float


_LAST = _Window(20, 0)
_RECENT = _Window(900, 15)
_EVERYTHING = _Window(0, 20)
_REST = 50  # a wide question that took long is not asked again before this many times as long


@dataclass(frozen=True)
class Buoy:
    """A buoy's last reading, and where it was last known to be: in degrees, None where it never said."""

    sensor_id: int
    at: int  # microseconds since 1970, UTC
    values: Mapping[str, Any]
    lon: float | None = None
    lat: float | None = None

    def silent(self, now: float, seconds: float) -> bool:
        return now - self.at / _SECOND > seconds


@dataclass(frozen=True)
class Snapshot:
    """All buoys by sensor_id. `version` grows with every change."""

    buoys: Mapping[int, Buoy]
    version: int = 0


class Latest:
    """`refresh` is for one thread; what it returns never changes afterwards."""

    def __init__(self, elasticsearch: Elasticsearch, schema: Schema, clock: Callable[[], float] = time.time) -> None:
        self._elasticsearch = elasticsearch
        self._fields = tuple(field.name for field in schema.measured)
        self._location = next((field.name for field in schema.fields if field.type is FieldType.LOCATION), None)
        self._clock = clock
        self._due = dict.fromkeys((_RECENT, _EVERYTHING), 0.0)
        self._snapshot = Snapshot({})

    def refresh(self) -> Snapshot:
        """Asks for the last readings, and one of the wider questions that are due: the widest may take its time.

        Raises elasticsearch's errors, after which everything that was due still is.
        """
        now = self._clock()
        self._take(self._ask(now, _LAST))
        for window in [window for window, due in self._due.items() if now >= due][:1]:
            began = self._clock()
            self._take(self._ask(now, window))
            took = self._clock() - began
            self._due[window] = now + max(window.every, _REST * took)
        return self._snapshot

    def _ask(self, now: float, window: _Window) -> Iterable[dict[str, Any]]:
        known = self._snapshot.buoys.values()
        fresh = [] if window.back else [buoy.sensor_id for buoy in known if not buoy.silent(now, _RECENT.back)]
        since = format_timestamp(int((now - window.back) * _SECOND)) if window.back else None
        wanted = ["sensor_id", "timestamp", *self._fields, *([self._location] if self._location else [])]
        answer = self._elasticsearch.search(
            index=READINGS_PATTERN, ignore_unavailable=True, **last_readings(since, fresh, wanted)
        )
        for bucket in answer.get("aggregations", {}).get("buoys", {}).get("buckets", ()):
            yield bucket["last"]["hits"]["hits"][0]["_source"]

    def _take(self, readings: Iterable[dict[str, Any]]) -> None:
        there = self._snapshot.buoys
        newer = {}
        for reading in readings:
            buoy = self._buoy(reading)
            before = there.get(buoy.sensor_id)
            if before is None or buoy.at > before.at:
                newer[buoy.sensor_id] = buoy
        if newer:
            self._snapshot = Snapshot({**there, **newer}, self._snapshot.version + 1)

    def _buoy(self, reading: dict[str, Any]) -> Buoy:
        sensor_id = int(reading["sensor_id"])
        before = self._snapshot.buoys.get(sensor_id)
        place = reading.get(self._location) if self._location else None
        lon, lat = (before.lon, before.lat) if before else (None, None)
        if isinstance(place, dict):
            lon, lat = float(place["lon"]), float(place["lat"])
        values = {name: reading.get(name) for name in self._fields}
        return Buoy(sensor_id, parse_timestamp(reading["timestamp"]), values, lon, lat)


def last_readings(since: str | None, without: list[int], wanted: list[str]) -> dict[str, Any]:
    """The search for one reading a buoy, the newest, of those at `since` or later and not of buoys in `without`."""
    newest = {"size": 1, "sort": [{"timestamp": "desc"}], "_source": wanted}
    return {
        "size": 0,
        "track_total_hits": False,
        "query": {
            "bool": {
                "filter": [{"range": {"timestamp": {"gte": since}}}] if since else [],
                "must_not": [{"terms": {"sensor_id": without}}] if without else [],
            }
        },
        "aggs": {
            "buoys": {
                "terms": {"field": "sensor_id", "size": MOST_BUOYS},
                "aggs": {"last": {"top_hits": newest}},
            }
        },
    }
