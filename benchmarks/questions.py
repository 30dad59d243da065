"""The analysts' questions: each as SQL and as an Elasticsearch search, with answers that can be laid side by side.

Whoever asks draws the parameters anew each time. MariaDB gets the indexes that serve these questions best (`INDEXES`):
each question is answered from one covering index, whose first columns are what the question selects by.
"""
# ruff: noqa: S608  # the names in these queries are ours, or the schema's, which checks them

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from benchmarks.questions_answers import Answer, Between
from maredata.names import READINGS
from maredata.schema import FieldType, Schema
from maredata.timestamps import format_timestamp, parse_timestamp

HOUR_MICROS = 3_600_000_000
_YEAR_0 = 62_167_219_200  # TO_SECONDS('1970-01-01')
_EARTH = 6_371_008.7714  # metres: Elasticsearch's radius
_METRES_A_DEGREE = math.radians(_EARTH)
_RADIUS = 10_000.0  # metres
# No buoy is moored so near the edge of a circle: it swings by 40 m, and positions are rounded differently.
_MARGIN = 150.0
_MOST_DRAWS = 10_000
_PERCENTS = (50, 95, 99)
_RANK_TOLERANCE = 1  # percent: t-digest, by which Elasticsearch computes percentiles, is an approximation
_COMPRESSION = 500  # of t-digest: by default its median may be two percent of all ranks away
_LATEST_HOURS = 24
_MOST_SENSORS = 1000
_MILLIS = 3_600_000

IF_ELASTICSEARCH_LOSES = "so few readings are read that a search's fixed cost is more than what columns save"

# The last one is the project's own, which the table has in any case.
BY_TIME, BY_PLACE, BY_OWN_TIME = "analysts_time", "analysts_place", "by_time"


@dataclass(frozen=True)
class Ground:
    """What can be asked about: full hours since 1970 (`end` is the first without readings), numbers, moorings."""

    begin: int
    end: int
    variables: tuple[str, ...]
    moorings: tuple[tuple[float, float], ...]  # lon, lat


@dataclass(frozen=True)
class Query:
    """One question with its parameters: SQL and what is bound to it, and the body of a search."""

    sql: str
    bound: tuple[Any, ...]
    body: dict[str, Any]


@dataclass(frozen=True)
class Question:
    """`index` is MariaDB's that serves it. `ordered` answers must come in the same order."""

    name: str
    text: str
    index: str
    draw: Callable[[Random, Ground], Query]
    of_rows: Callable[[Sequence[Sequence[Any]]], Answer]
    of_response: Callable[[Mapping[str, Any]], Answer]
    ordered: bool = False


def indexes(schema: Schema) -> str:
    """One statement that gives the table of readings what serves the questions best.

    With the hour as a column of its own, groups come out of the index in their order: no temporary table is needed.
    """
    numbers = ", ".join(f"`{name}`" for name in variables(schema))
    return (
        f"ALTER TABLE `{READINGS}`"
        f" ADD COLUMN `hour` int GENERATED ALWAYS AS ((TO_SECONDS(`timestamp`) - {_YEAR_0}) DIV 3600) VIRTUAL,"
        f" ADD INDEX `{BY_TIME}` (`hour`, `sensor_id`, {numbers}),"
        f" ADD INDEX `{BY_PLACE}` (`location_lat`, `location_lon`, {numbers})"
    )


def variables(schema: Schema) -> tuple[str, ...]:
    return tuple(field.name for field in schema.fields if field.type is FieldType.NUMBER)


# --- hourly averages by sensor -----------------------------------------------------------------------------------


def _hourly(days: int) -> Question:
    def draw(random: Random, ground: Ground) -> Query:
        """MariaDB, too, answers in JSON: mysql-connector-python would take longer for the rows than the server."""
        name = random.choice(ground.variables)
        begin, end = _window(random, ground, 24 * days)
        means = (
            f"SELECT `sensor_id`, `hour`, COUNT(*) AS `readings`, AVG(`{name}`) AS `mean`"
            f" FROM `{READINGS}` FORCE INDEX (`{BY_TIME}`)"
            " WHERE `hour` >= %s AND `hour` < %s GROUP BY `hour`, `sensor_id`"
        )
        sql = (
            "SELECT `sensor_id`, JSON_ARRAYAGG(JSON_ARRAY(`hour`, `readings`, `mean`))"
            f" FROM ({means}) AS `means` GROUP BY `sensor_id`"
        )
        return Query(sql, (begin, end), _search(begin, end, {"sensors": _terms({"hours": _hours(name)})}))

    span = f"{days} day{'s' if days > 1 else ''}"
    return Question(
        f"hourly, {span}",
        f"hourly averages of a drawn variable by sensor, over a drawn span of {span}",
        BY_TIME,
        draw,
        _hourly_of_rows,
        _hourly_of_response,
    )


def _hourly_of_rows(rows: Sequence[Sequence[Any]]) -> Answer:
    return {
        (sensor, hour): (count, float(mean)) for sensor, text in rows for hour, count, mean in msgspec.json.decode(text)
    }


def _hourly_of_response(response: Mapping[str, Any]) -> Answer:
    return {
        (sensor["key"], hour["key"] // _MILLIS): (hour["doc_count"], hour["mean"]["value"])
        for sensor in response["aggregations"]["sensors"]["buckets"]
        for hour in sensor["hours"]["buckets"]
    }


# --- last reading of each buoy -----------------------------------------------------------------------------------


def _draw_latest(random: Random, ground: Ground) -> Query:
    """As of a drawn second. In SQL it is what the view `latest_per_buoy` does, whose bound is 30 days.

    Jumping in the primary key from buoy to buoy would need no bound, but MariaDB 11.0 to 11.4.9 can't (MDEV-38426).
    """
    name = random.choice(ground.variables)
    first = min(ground.begin + _LATEST_HOURS, ground.end - 1)
    until = random.randrange(first * 3600, ground.end * 3600)
    since = until - _LATEST_HOURS * 3600
    newest = (
        f"SELECT `sensor_id`, MAX(`timestamp`) AS `timestamp` FROM `{READINGS}` FORCE INDEX (`{BY_OWN_TIME}`)"
        " WHERE `timestamp` >= %s AND `timestamp` < %s GROUP BY `sensor_id`"
    )
    sql = (
        f"SELECT `r`.`sensor_id`, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', `r`.`timestamp`), `r`.`{name}`"
        f" FROM ({newest}) AS `newest` STRAIGHT_JOIN `{READINGS}` AS `r`"
        " ON `r`.`sensor_id` = `newest`.`sensor_id` AND `r`.`timestamp` = `newest`.`timestamp`"
    )
    bound = tuple(format_timestamp(second * 1_000_000) for second in (since, until))
    body = _search_millis(since * 1000, until * 1000, {}) | {
        "size": _MOST_SENSORS,
        "collapse": {"field": "sensor_id"},
        "sort": [{"timestamp": "desc"}],
        # Columns alone: `fields`, or a hit's `_id`, would read whole readings from the disk.
        "stored_fields": "_none_",
        "docvalue_fields": ["sensor_id", "timestamp", name],
    }
    return Query(sql, bound, body)


def _latest_of_response(response: Mapping[str, Any]) -> Answer:
    found: Answer = {}
    for hit in response["hits"]["hits"]:
        fields = dict(hit["fields"])
        (sensor,), (time,) = fields.pop("sensor_id"), fields.pop("timestamp")
        ((value,),) = fields.values()
        found[(sensor,)] = (parse_timestamp(time), float(value))
    return found


_LATEST = Question(
    "last reading per buoy",
    f"the last reading of each buoy before a drawn second, of those heard in the {_LATEST_HOURS} hours before it",
    BY_OWN_TIME,
    _draw_latest,
    lambda rows: {(sensor,): (micros, value) for sensor, micros, value in rows},
    _latest_of_response,
)


# --- readings within 10 km ---------------------------------------------------------------------------------------


def _draw_near(random: Random, ground: Ground) -> Query:
    name, (lon, lat) = random.choice(ground.variables), _centre(random, ground.moorings)
    high = _RADIUS / _METRES_A_DEGREE
    wide = high / math.cos(math.radians(lat)) * 1.001  # the circle's widest parallel is a little off its centre
    sql = (
        f"SELECT COUNT(*), AVG(`{name}`) FROM `{READINGS}` FORCE INDEX (`{BY_PLACE}`)"
        " WHERE `location_lat` BETWEEN %s AND %s AND `location_lon` BETWEEN %s AND %s"
        f" AND ST_Distance_Sphere(POINT(`location_lon`, `location_lat`), POINT(%s, %s), {_EARTH}) <= {_RADIUS}"
    )
    circle = {"distance": f"{_RADIUS:.0f}m", "location": {"lon": lon, "lat": lat}}
    body = {
        "size": 0,
        "track_total_hits": True,
        "query": {"bool": {"filter": [{"geo_distance": circle}]}},
        "aggs": {"mean": {"avg": {"field": name}}},
    }
    return Query(sql, (lat - high, lat + high, lon - wide, lon + wide, lon, lat), body)


def _centre(random: Random, moorings: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Within 10 km of some buoy, and so that none is near the circle's edge: then both stores count the same."""
    for _ in range(_MOST_DRAWS):
        lon, lat = random.choice(moorings)
        bearing, metres = random.uniform(0, math.tau), random.uniform(0, _RADIUS)
        lat += metres * math.cos(bearing) / _METRES_A_DEGREE
        lon += metres * math.sin(bearing) / (_METRES_A_DEGREE * math.cos(math.radians(lat)))
        if all(abs(distance((lon, lat), mooring) - _RADIUS) > _MARGIN for mooring in moorings):
            return round(lon, 6), round(lat, 6)
    raise ValueError("no circle of 10 km has all buoys well inside or well outside")


def distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Metres between two (lon, lat) on a sphere."""
    (lon, lat), (to_lon, to_lat) = (map(math.radians, place) for place in (one, other))
    half = math.sin((to_lat - lat) / 2) ** 2 + math.cos(lat) * math.cos(to_lat) * math.sin((to_lon - lon) / 2) ** 2
    return 2 * _EARTH * math.asin(math.sqrt(half))


_NEAR = Question(
    "within 10 km",
    "how many readings there are within 10 km of a drawn point, and a drawn variable's mean there",
    BY_PLACE,
    _draw_near,
    lambda rows: {(): tuple(rows[0])},
    lambda response: {(): (response["hits"]["total"]["value"], response["aggregations"]["mean"]["value"])},
)


# --- percentiles -------------------------------------------------------------------------------------------------


def _draw_percentiles(random: Random, ground: Ground) -> Query:
    """MariaDB counts by value first, since instruments show few different ones: far quicker than ranking each row."""
    name = random.choice(ground.variables)
    begin, end = _window(random, ground, 24 * 30)
    ranks = [share for percent in _PERCENTS for share in _around(percent)]
    sql = (
        f"SELECT {', '.join(f'MIN(IF(`up_to` >= {rank / 100} * `readings`, `value`, NULL))' for rank in ranks)} FROM"
        f" (SELECT `{name}` AS `value`, SUM(COUNT(*)) OVER (ORDER BY `{name}`) AS `up_to`,"
        f" SUM(COUNT(*)) OVER () AS `readings` FROM `{READINGS}` FORCE INDEX (`{BY_TIME}`)"
        f" WHERE `hour` >= %s AND `hour` < %s GROUP BY `{name}`) AS `counted`"
    )
    digest = {"tdigest": {"compression": _COMPRESSION}}
    aggregation = {"percentiles": {"field": name, "percents": list(_PERCENTS), "keyed": False, **digest}}
    return Query(sql, (begin, end), _search(begin, end, {"percentiles": aggregation}))


def _around(percent: int) -> tuple[int, int, int]:
    return percent - _RANK_TOLERANCE, percent, percent + _RANK_TOLERANCE


def _percentiles_of_rows(rows: Sequence[Sequence[Any]]) -> Answer:
    values = [float(value) for value in rows[0]]
    return {(percent,): (Between(*values[3 * at : 3 * at + 3]),) for at, percent in enumerate(_PERCENTS)}


_PERCENTILES = Question(
    "percentiles, 30 days",
    "the 50th, 95th and 99th percentile of a drawn variable over a drawn span of 30 days",
    BY_TIME,
    _draw_percentiles,
    _percentiles_of_rows,
    lambda response: {
        (round(found["key"]),): (found["value"],) for found in response["aggregations"]["percentiles"]["values"]
    },
)


# --- hottest hours -----------------------------------------------------------------------------------------------

_TOP = 10


def _draw_hottest(random: Random, ground: Ground) -> Query:
    """Since a drawn hour in the first half of what there is."""
    name = "temperature" if "temperature" in ground.variables else ground.variables[0]
    begin = random.randrange(ground.begin, max(ground.begin + 1, (ground.begin + ground.end) // 2))
    sql = (
        f"SELECT `hour`, COUNT(*), AVG(`{name}`) AS `mean` FROM `{READINGS}` FORCE INDEX (`{BY_TIME}`)"
        f" WHERE `hour` >= %s AND `hour` < %s GROUP BY `hour` ORDER BY `mean` DESC LIMIT {_TOP}"
    )
    return Query(sql, (begin, ground.end), _search(begin, ground.end, {"hours": _hours(name)}))


def _hottest_of_response(response: Mapping[str, Any]) -> Answer:
    hours = [hour for hour in response["aggregations"]["hours"]["buckets"] if hour["doc_count"]]
    hours.sort(key=lambda hour: hour["mean"]["value"], reverse=True)
    return {(hour["key"] // _MILLIS,): (hour["doc_count"], hour["mean"]["value"]) for hour in hours[:_TOP]}


_HOTTEST = Question(
    "top-10 hottest hours",
    "the ten hours with the highest mean over all buoys, since a drawn hour in the first half of all readings",
    BY_TIME,
    _draw_hottest,
    lambda rows: {(hour,): (count, mean) for hour, count, mean in rows},
    _hottest_of_response,
    ordered=True,
)

QUESTIONS = (_hourly(1), _hourly(7), _hourly(30), _LATEST, _NEAR, _PERCENTILES, _HOTTEST)


# --- what searches share -----------------------------------------------------------------------------------------


def _window(random: Random, ground: Ground, hours: int) -> tuple[int, int]:
    """A span of so many hours within what there is; all of it where there is less."""
    begin = random.randrange(ground.begin, max(ground.begin + 1, ground.end - hours + 1))
    return begin, min(begin + hours, ground.end)


def _search(begin: int, end: int, aggregations: dict[str, Any]) -> dict[str, Any]:
    return _search_millis(begin * _MILLIS, end * _MILLIS, aggregations)


def _search_millis(begin: int, end: int, aggregations: dict[str, Any]) -> dict[str, Any]:
    times = {"gte": begin, "lt": end, "format": "epoch_millis"}
    query = {"bool": {"filter": [{"range": {"timestamp": times}}]}}
    return {"size": 0, "track_total_hits": False, "query": query, "aggs": aggregations}


def _terms(inner: dict[str, Any]) -> dict[str, Any]:
    return {"terms": {"field": "sensor_id", "size": _MOST_SENSORS}, "aggs": inner}


def _hours(name: str) -> dict[str, Any]:
    histogram = {"field": "timestamp", "fixed_interval": "1h", "format": "epoch_second", "min_doc_count": 1}
    return {"date_histogram": histogram, "aggs": {"mean": {"avg": {"field": name}}}}
