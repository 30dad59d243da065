"""What the dashboard asks for: only what was checked gets into a query, and answers become readings, gaps and rates."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import await_true

from dashboard import asked, land
from dashboard.asked import NotUnderstood, Span
from dashboard.latest import MOST_BUOYS, Latest, last_readings
from dashboard.pipeline import Rates, gateway_of, losses
from dashboard.poll import Poll
from dashboard.series import Bucket, SeriesCache, as_csv, fetch, interval_of, search, split
from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT

NOW = 1_795_000_000.0
RUBBISH: tuple[Any, ...] = (
    '1"',
    "1 OR 1=1",
    "-1",
    "1_000",
    "\u0661",
    "",
    None,
    True,
    1.5,
    {"a": 1},
    [[1]],
    "9" * 19,
    "1e3",
)


@pytest.fixture
def schema() -> Schema:
    return load_schema(CHECKOUT / "maredata" / "reading.toml")


# --- what a browser sends -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_only_whole_numbers_become_sensors(rubbish: object) -> None:
    with pytest.raises(NotUnderstood):
        asked.sensors([rubbish])


def test_the_highest_sensor_id_survives_the_browser() -> None:
    assert asked.sensors([str(2**63 - 1), " 7", 7]) == (2**63 - 1, 7)


def test_more_sensors_than_can_be_told_apart_are_refused() -> None:
    with pytest.raises(NotUnderstood, match="at most 8"):
        asked.sensors([str(number) for number in range(9)])


@pytest.mark.parametrize(
    "rubbish", ['temperature"', "sensor_id", "timestamp", "location", "_id", None, ["temperature"]]
)
def test_only_the_schemas_numbers_become_variables(schema: Schema, rubbish: object) -> None:
    with pytest.raises(NotUnderstood):
        asked.variable(schema, rubbish)


def test_names_and_units_come_from_the_schema(schema: Schema) -> None:
    assert asked.title(asked.variable(schema, "temperature")) == "Air temperature (°C)"
    plain = Schema.from_dict({**schema.as_dict(), "salinity": {"type": "number"}})
    assert asked.title(asked.variable(plain, "salinity")) == "salinity"


@given(st.text() | st.integers() | st.none() | st.floats())
def test_whatever_is_no_time_is_refused(text: object) -> None:
    with suppress(NotUnderstood):
        assert 0 <= asked.instant(text) < 2**34


@pytest.mark.parametrize(
    "text", ["2026-11-22", "2026-11-22 00:00", "2026-11-22T01:00:00+01:00", " 2026-11-22T00:00:00Z"]
)
def test_times_are_in_utc(text: str) -> None:
    assert asked.instant(text) == 1_795_305_600


@pytest.mark.parametrize(
    "range_", [("century", None, None), ("own", None, None), ("own", "2026-11-22", "2026-11-22"), (3, 1, 2)]
)
def test_a_range_that_is_none_is_refused(range_: tuple[Any, Any, Any]) -> None:
    with pytest.raises(NotUnderstood):
        asked.span(*range_, NOW)


def test_ranges() -> None:
    assert asked.span("week", None, None, NOW) == Span(NOW - 7 * 86_400, NOW, follows=True)
    assert asked.span("own", "2026-11-01", "", NOW) == Span(1_793_491_200, NOW)


def test_what_a_chart_says_of_its_zoom() -> None:
    edges = {"xaxis.range[0]": "2026-11-22 00:00:00", "xaxis.range[1]": "2026-11-22 00:00:10.5"}
    assert asked.zoom(edges) == Span(1_795_305_600, 1_795_305_610.5)
    assert asked.zoom({"xaxis.autorange": True}) is None
    others: tuple[Any, ...] = ({"autosize": True}, None, [], {"xaxis.range[0]": "2026-11-22"})
    for other in others:
        assert asked.zoom(other) is False
    with pytest.raises(NotUnderstood):
        asked.zoom({**edges, "xaxis.range[1]": '"}}'})


# --- time series ----------------------------------------------------------------------------------------------------


class FakeElasticsearch:
    """Gives one answer to every search, and keeps the bodies."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []

    def search(self, **body: Any) -> dict[str, Any]:
        self.bodies.append(body)
        return self.answer


@given(st.floats(1, 40 * 365 * 86_400))
def test_no_range_becomes_more_points_than_a_chart_can_show(seconds: float) -> None:
    interval = interval_of(Span(0, seconds))
    assert seconds / interval <= 400 or interval == 7 * 86_400


def test_a_shorter_range_is_cut_finer() -> None:
    spans = [Span(0, length) for length in (300, 3600, 86_400, 7 * 86_400, 30 * 86_400)]
    assert [interval_of(span) for span in spans] == [1, 10, 300, 1800, 10_800]


def test_elasticsearch_sums_up(schema: Schema) -> None:
    body = search("temperature", (7, 8), Span(NOW, NOW + 3600), 10)
    assert body["size"] == 0
    assert {"terms": {"sensor_id": [7, 8]}} in body["query"]["bool"]["filter"]
    times = body["aggs"]["sensors"]["aggs"]["times"]
    assert times["date_histogram"] == {"field": "timestamp", "fixed_interval": "10s", "min_doc_count": 1}
    assert times["aggs"] == {"values": {"stats": {"field": "temperature"}}}
    json.dumps(body, allow_nan=False)


def bucket(at: float) -> Bucket:
    return Bucket(at, 1.0, 2.0, 3.0, 1)


def times(*moments: float) -> list[Bucket]:
    return [bucket(at) for at in moments]


def test_a_gap_ends_a_run() -> None:
    assert list(split(times(0, 10, 20, 100, 110), 10)) == [times(0, 10, 20), times(100, 110)]


def test_a_buoy_that_sends_seldom_has_no_gap_for_that() -> None:
    assert list(split(times(0, 60, 120, 180, 240), 10)) == [times(0, 60, 120, 180, 240)]
    assert len(list(split(times(0, 60, 120, 600, 660), 10))) == 2


def test_nothing_is_no_run() -> None:
    assert list(split([], 10)) == []
    assert list(split(times(5), 10)) == [times(5)]


ANSWER = {
    "aggregations": {
        "sensors": {
            "buckets": [
                {
                    "key": 7,
                    "times": {
                        "buckets": [
                            {"key": 1_795_305_600_000, "values": {"count": 2, "min": 1.5, "avg": 2.123456789, "max": 3}}
                        ]
                    },
                }
            ]
        }
    }
}


def test_the_csv_file_says_the_unit_and_what_is_summed_up(schema: Schema) -> None:
    series = fetch(FakeElasticsearch(ANSWER), schema["temperature"], (7, 8), Span(1_795_305_600, 1_795_309_200))  # type: ignore[arg-type]
    assert as_csv(series).splitlines() == [
        "sensor_id,from_utc,seconds,readings,temperature_min [°C],temperature_mean [°C],temperature_max [°C]",
        "7,2026-11-22 00:00:00,10,2,1.5,2.12346,3.0",
    ]
    assert series.runs[8] == ()


def test_pages_that_show_the_same_share_an_answer(schema: Schema) -> None:
    elasticsearch = FakeElasticsearch(ANSWER)
    cache = SeriesCache(elasticsearch)  # type: ignore[arg-type]
    for moment in (NOW, NOW + 0.3):
        cache.get(schema["temperature"], (7,), Span(moment - 3600, moment, follows=True))
    assert len(elasticsearch.bodies) == 1
    cache.get(schema["temperature"], (8,), Span(NOW - 3600, NOW, follows=True))
    assert len(elasticsearch.bodies) == 2


# --- the last readings ----------------------------------------------------------------------------------------------


def reading(sensor: int, at: str, **values: Any) -> dict[str, Any]:
    return {"sensor_id": sensor, "timestamp": at, "location": {"lon": 3.1, "lat": 42.4}, **values}


class FakeReadings(FakeElasticsearch):
    """Answers every question for last readings with `readings`."""

    def __init__(self, *readings: dict[str, Any]) -> None:
        super().__init__({})
        self.readings = list(readings)

    def search(self, **body: Any) -> dict[str, Any]:
        self.bodies.append(body)
        hits = [{"key": it["sensor_id"], "last": {"hits": {"hits": [{"_source": it}]}}} for it in self.readings]
        return {"aggregations": {"buoys": {"buckets": hits}}}


class Clock:
    now = 1_795_305_600.0

    def __call__(self) -> float:
        return self.now


def latest(schema: Schema, elasticsearch: FakeReadings, clock: Clock) -> Latest:
    return Latest(elasticsearch, schema, clock)  # type: ignore[arg-type]


def test_a_later_reading_replaces_an_earlier_one_and_never_the_other_way(schema: Schema) -> None:
    elasticsearch, clock = FakeReadings(reading(7, "2026-11-22 00:00:00.000000", temperature=1.0)), Clock()
    known = latest(schema, elasticsearch, clock)
    first = known.refresh()
    elasticsearch.readings = [reading(7, "2026-11-21 23:59:59.000000", temperature=0.0)]
    assert known.refresh() is first
    elasticsearch.readings = [{"sensor_id": 7, "timestamp": "2026-11-22 00:00:01.500000"}]
    second = known.refresh()
    assert second.version == first.version + 1
    buoy = second.buoys[7]
    assert (buoy.at, buoy.lon, buoy.lat) == (1_795_305_601_500_000, 3.1, 42.4)
    assert buoy.values["temperature"] is None
    assert first.buoys[7].values["temperature"] == 1.0


def test_everything_is_asked_seldom_and_without_the_buoys_just_heard(schema: Schema) -> None:
    fresh, old = reading(7, "2026-11-22 00:00:00.000000"), reading(8, "2026-10-01 00:00:00.000000")
    elasticsearch, clock = FakeReadings(fresh, old), Clock()
    known = latest(schema, elasticsearch, clock)
    for _ in range(15):
        known.refresh()
        clock.now += 1
    questions = [body["query"]["bool"] for body in elasticsearch.bodies]
    everything = [question for question in questions if not question["filter"]]
    assert [question["must_not"] for question in everything] == [[{"terms": {"sensor_id": [7]}}]]
    assert len(questions) == 15 + 1 + 1  # the last seconds each time, 15 minutes once, everything once


class SlowReadings(FakeReadings):
    """Takes ten seconds for everything."""

    clock = Clock()

    def search(self, **body: Any) -> dict[str, Any]:
        self.clock.now += 0 if body["query"]["bool"]["filter"] else 10
        return super().search(**body)


def test_a_question_that_took_long_is_not_asked_again_soon(schema: Schema) -> None:
    elasticsearch = SlowReadings(reading(7, "2026-10-01 00:00:00.000000"))
    known = latest(schema, elasticsearch, elasticsearch.clock)
    for _ in range(100):
        known.refresh()
        elasticsearch.clock.now += 1
    assert sum(not body["query"]["bool"]["filter"] for body in elasticsearch.bodies) == 1


def test_a_question_that_failed_is_asked_again(schema: Schema) -> None:
    elasticsearch, clock = FakeReadings(), Clock()
    known = latest(schema, elasticsearch, clock)
    elasticsearch.readings = [{"sensor_id": 7}]  # without a timestamp
    for _ in range(2):
        with pytest.raises(KeyError):
            known.refresh()
    assert len(elasticsearch.bodies) == 2


def test_the_question_holds_no_text_of_others() -> None:
    body = last_readings("2026-11-22 00:00:00.000000", [1, 2], ["timestamp"])
    assert body["aggs"]["buoys"]["terms"] == {"field": "sensor_id", "size": MOST_BUOYS}
    assert body["query"]["bool"]["must_not"] == [{"terms": {"sensor_id": [1, 2]}}]


# --- polls, rates, losses -------------------------------------------------------------------------------------------


def test_a_poll_keeps_its_last_value_and_tells_the_trouble() -> None:
    answers: list[Any] = [1, OSError("away"), 2]

    def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

    poll = Poll("it", ask, 0, 1)
    assert poll.read().at == 0
    seen = []
    for _ in range(3):
        poll.look()
        seen.append((poll.read().value, poll.read().trouble))
    assert seen == [(1, ""), (1, "away"), (2, "")]


def test_nobody_is_asked_while_nobody_looks() -> None:
    asked_for: list[float] = []
    poll = Poll("it", lambda: asked_for.append(time.monotonic()), None, 1)
    poll.start()
    assert asked_for == []
    assert poll.read(patience=30).at > 0
    assert len(asked_for) == 1


def test_after_the_last_look_nobody_is_asked_any_more() -> None:
    asked_for: list[float] = []
    poll = Poll("it", lambda: asked_for.append(time.monotonic()), None, 0.01, watched=0.1)
    poll.start()
    for _ in range(2):
        poll.read(patience=30)
        await_true(lambda: not poll._wanted.is_set(), 30, "it rests")
    rested = len(asked_for)
    poll.read(patience=30)
    assert len(asked_for) > rested


def test_rates_are_of_the_last_seconds_and_begin_anew_with_a_counter() -> None:
    rates = Rates(10)
    assert rates.take(0, {"a": 100}) == {}
    assert rates.take(5, {"a": 200}) == {"a": 20}
    assert rates.take(10, {"a": 200}) == {"a": 10}
    assert rates.take(20, {"a": 200}) == {"a": 0}
    assert rates.take(25, {"a": 5}) == {}
    assert rates.take(30, {"a": 10}) == {"a": 1}


def test_the_gateways_metrics_become_a_rate_and_reasons() -> None:
    text = """# TYPE mare_gateway_lines_accepted_total counter
mare_gateway_lines_accepted_total {accepted}
# TYPE mare_gateway_lines_rejected_total counter
mare_gateway_lines_rejected_total{{reason="bad_json"}} 3
mare_gateway_lines_rejected_total{{reason="too_early"}} 0
# TYPE mare_gateway_spool_messages gauge
mare_gateway_spool_messages 4
"""
    rates = Rates(10)
    gateway_of(text.format(accepted=100), rates, 0)
    seen = gateway_of(text.format(accepted=150), rates, 10)
    assert (seen.accepted_rate, seen.rejected, seen.in_spool) == (5, {"bad_json": 3}, 4)


def test_the_greatest_losses_come_first() -> None:
    rows = [{"sensor_id": number, "readings": 90, "missing": missing} for number, missing in ((1, 0), (2, 10), (3, 30))]
    found = losses(rows)
    assert [(loss.sensor_id, loss.missing, loss.share) for loss in found] == [(3, 30, 0.25), (2, 10, 0.1)]


# --- the coastline --------------------------------------------------------------------------------------------------


def test_a_topology_becomes_a_path() -> None:
    topology = {
        "transform": {"scale": [1, 1], "translate": [0, 0]},
        "objects": {"land": {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "arcs": [[0, -2]]}]}},
        "arcs": [[[0, 0], [10, 0]], [[0, 0], [5, 8], [5, -8]]],
    }
    svg = land.to_svg(topology)
    assert 'd="M18000 9000l1000 0-500-800-500 800z"' in svg


def test_the_bundled_land_lies_where_the_axes_have_it() -> None:
    layer = land.as_layer()
    assert (layer["x"], layer["y"], layer["sizex"], layer["sizey"]) == (-180, 90, 360, 180)
    text = Path(land.FILE).read_text("utf-8")
    assert text.startswith("<svg") and "http" not in text.replace("http://www.w3.org/2000/svg", "")
