"""Time series of one variable: what Elasticsearch is asked for, and what is made of its answer.

Elasticsearch sums up: for each buoy and interval the lowest, the mean and the highest value. The shorter the range, the
shorter the intervals, down to one second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from elasticsearch import Elasticsearch

from dashboard.asked import Span
from maredata.names import READINGS_PATTERN
from maredata.schema import Field
from maredata.timestamps import format_timestamp

_MOST_POINTS = 400  # about as many as a chart has pixels for
_INTERVALS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 7 * 86_400)
_DIGITS = 6
_MOST_KEPT = 64


@dataclass(frozen=True)
class Bucket:
    """One interval that has values; `at` is its beginning in seconds since 1970 UTC."""

    at: float
    lowest: float
    mean: float
    highest: float
    count: int


@dataclass(frozen=True)
class Series:
    """One variable of one or more buoys. Each run of buckets is one without a gap."""

    field: Field
    span: Span
    interval: int  # seconds
    runs: Mapping[int, tuple[tuple[Bucket, ...], ...]]  # by sensor_id

    @property
    def rests(self) -> float:
        """Seconds for which it is not worth asking again."""
        return min(60.0, max(1.0, self.interval / 10))


class SeriesCache:
    """Answers of the last moments, for all pages that show the same."""

    def __init__(self, elasticsearch: Elasticsearch) -> None:
        self._elasticsearch = elasticsearch
        self._kept: dict[tuple[Any, ...], tuple[float, Series]] = {}
        self._lock = threading.Lock()

    def get(self, field: Field, sensors: tuple[int, ...], span: Span) -> Series:
        """Raises elasticsearch's errors."""
        # What follows the present is the same question in every page, though each asks a moment later.
        key = (field, sensors, round(span.seconds) if span.follows else span)
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and time.monotonic() - kept[0] < kept[1].rests:
            return kept[1]
        found = fetch(self._elasticsearch, field, sensors, span)
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = (time.monotonic(), found)
            while len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        return found


def fetch(elasticsearch: Elasticsearch, field: Field, sensors: tuple[int, ...], span: Span) -> Series:
    interval = interval_of(span)
    runs: dict[int, tuple[tuple[Bucket, ...], ...]] = dict.fromkeys(sensors, ())
    if sensors:
        answer = elasticsearch.search(
            index=READINGS_PATTERN, ignore_unavailable=True, **search(field.name, sensors, span, interval)
        )
        for sensor in answer.get("aggregations", {}).get("sensors", {}).get("buckets", ()):
            buckets = list(_buckets(sensor["times"]["buckets"]))
            runs[int(sensor["key"])] = tuple(map(tuple, split(buckets, interval)))
    return Series(field, span, interval, runs)


def interval_of(span: Span) -> int:
    """The shortest interval in seconds that cuts the span into no more parts than can be seen."""
    return next((it for it in _INTERVALS if span.seconds / it <= _MOST_POINTS), _INTERVALS[-1])


def search(name: str, sensors: tuple[int, ...], span: Span, interval: int) -> dict[str, Any]:
    """The body: filters, then a bucket for each buoy, and in it one for each interval."""
    begin, end = (format_timestamp(int(edge * 1_000_000)) for edge in (span.begin, span.end))
    return {
        "size": 0,
        "track_total_hits": False,
        "query": {
            "bool": {
                "filter": [
                    {"terms": {"sensor_id": list(sensors)}},
                    {"range": {"timestamp": {"gte": begin, "lt": end}}},
                    {"exists": {"field": name}},
                ]
            }
        },
        "aggs": {
            "sensors": {
                "terms": {"field": "sensor_id", "size": len(sensors)},
                "aggs": {
                    "times": {
                        "date_histogram": {"field": "timestamp", "fixed_interval": f"{interval}s", "min_doc_count": 1},
                        "aggs": {"values": {"stats": {"field": name}}},
                    }
                },
            }
        },
    }


def split(buckets: list[Bucket], interval: int) -> Iterator[list[Bucket]]:
    """The runs between gaps. A buoy that sends less often than the interval has none of them for that."""
    if not buckets:
        return
    distances = [later.at - earlier.at for earlier, later in pairwise(buckets)]
    usual = median(distances) if distances else interval
    run = [buckets[0]]
    for distance, bucket in zip(distances, buckets[1:], strict=True):
        if distance > max(2 * interval, 3 * usual):
            yield run
            run = []
        run.append(bucket)
    yield run


def as_csv(series: Series) -> str:
    """One row for each buoy and interval, in order, with the unit in the heading."""
    unit = f" [{series.field.unit}]" if series.field.unit else ""
    name = series.field.name
    lines = [f"sensor_id,from_utc,seconds,readings,{name}_min{unit},{name}_mean{unit},{name}_max{unit}"]
    for sensor, runs in series.runs.items():
        for bucket in (bucket for run in runs for bucket in run):
            begin = format_timestamp(int(bucket.at * 1_000_000))[:19]
            numbers = f"{bucket.lowest},{bucket.mean},{bucket.highest}"
            lines.append(f"{sensor},{begin},{series.interval},{bucket.count},{numbers}")
    return "\r\n".join(lines) + "\r\n"


def _buckets(found: list[dict[str, Any]]) -> Iterator[Bucket]:
    for entry in found:
        stats = entry["values"]
        if stats["count"]:
            lowest, mean, highest = (_short(stats[name]) for name in ("min", "avg", "max"))
            yield Bucket(entry["key"] / 1000, lowest, mean, highest, stats["count"])


def _short(value: float) -> float:
    """Without digits that nobody can see, and everybody would have to load."""
    return float(f"{value:.{_DIGITS}g}")
