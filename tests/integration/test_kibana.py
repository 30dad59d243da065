"""What Kibana would ask for each panel, asked of a real Elasticsearch with known documents. No Kibana is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from elasticsearch import Elasticsearch, NotFoundError
from elasticsearch.helpers import bulk
from engines import Engines

from kibana.check import Answer, Report, check
from maredata.data_views import write_data_view
from maredata.indices import apply_index_templates
from maredata.names import (
    ALL_CONNECTORS,
    EVENTS_INDICES,
    METRICS_INDICES,
    READINGS,
    READINGS_PATTERN,
    READINGS_TEMPLATE,
    REJECTED_INDICES,
    index_of,
)
from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT, Settings, as_environment
from maredata.stores import connect_elasticsearch
from maredata.timestamps import format_timestamp

MINUTE = 60_000_000
TALKING, SILENT = 900_001, 900_002  # the second one sent its last reading two hours ago
READINGS_OF_EACH = 10
SENSOR_COUNTERS = ("missing", "duplicates", "conflicts", "out_of_order", "late", "clock_ahead")


@dataclass(frozen=True)
class Store:
    settings: Settings
    schema: Schema
    now: int  # microseconds


def minutes_ago(now: int, minutes: int) -> str:
    return format_timestamp(now - minutes * MINUTE)


def readings(now: int) -> Iterator[dict[str, Any]]:
    """Of each sensor ten, a minute apart, 10 to 19 °C; the talking one drifts east, and sends no pressure at last."""
    for sensor, ended in ((TALKING, 1), (SILENT, 120)):
        for number in range(READINGS_OF_EACH):
            yield {
                "sensor_id": sensor,
                "timestamp": minutes_ago(now, ended + READINGS_OF_EACH - 1 - number),
                "temperature": 10.0 + number,
                "humidity": 50.0,
                "pressure": None if sensor == TALKING and number == READINGS_OF_EACH - 1 else 1000.0 + number,
                "location": {"lon": 3.0 + number / 10, "lat": 42.5 if sensor == TALKING else 39.0},
            }


def others(now: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """(stem of the index, document) of what is no reading."""
    for number, reason in enumerate(("wrong_type", "wrong_type", "not_json")):
        yield "rejected", {"timestamp": minutes_ago(now, 5 + number), "reason": reason, "line": "?"}
    yield "events", {"timestamp": minutes_ago(now, 1), "sensor_id": SILENT, "event": "silent", "message": "?"}
    yield "events", {"timestamp": minutes_ago(now, 300), "sensor_id": TALKING, "event": "silent", "message": "?"}
    yield "events", {"timestamp": minutes_ago(now, 200), "sensor_id": TALKING, "event": "back", "message": "?"}
    for number in range(6):
        yield (
            "pipeline",
            {
                "timestamp": minutes_ago(now, number),
                "lag": dict.fromkeys(ALL_CONNECTORS, 100 * number),
                "dead_letters": dict.fromkeys(ALL_CONNECTORS, 7 - number),
                "ledger": {
                    "datagrams": {"received": 50, "kernel_dropped": 3},
                    "lines": {"received": 60, "accepted": 55, "rejected": 4, "refused": 2, "lost_in_crash": 1},
                    "sensors": dict(zip(SENSOR_COUNTERS, range(11, 17), strict=True)),
                },
            },
        )


@pytest.fixture(scope="module")
def bare() -> Iterator[Store]:
    """Before the first `mare apply`, or after its data were lost."""
    with Engines("elasticsearch") as engines:
        yield Store(engines.settings, load_schema(engines.settings.reading.toml), time.time_ns() // 1000)


@pytest.mark.parametrize("stem", [READINGS, REJECTED_INDICES, EVENTS_INDICES, METRICS_INDICES])
def test_a_sink_can_make_no_index_whose_fields_nobody_has_told(bare: Store, stem: str) -> None:
    """With `no such index` a sink waits; with guessed fields the month would be lost for maps and ranges of time."""
    with connect_elasticsearch(bare.settings) as client, pytest.raises(NotFoundError, match="auto_create_index"):
        client.index(index=f"{stem}-2024.01", document={"timestamp": "2024-01-01"})


@pytest.fixture(scope="module")
def store(bare: Store) -> Store:
    fill(bare)
    return bare


def fill(store: Store) -> None:
    with connect_elasticsearch(store.settings) as client:
        body = store.schema.index_template(READINGS_PATTERN, 1, 0)
        client.indices.put_index_template(name=READINGS_TEMPLATE, **body)
        apply_index_templates(store.settings, client, lambda _: None)
        month = index_of(store.now).removeprefix("readings")
        documents = [("readings", reading) for reading in readings(store.now)] + list(others(store.now))
        bulk(client, [{"_index": f"{stem}{month}", "_source": source} for stem, source in documents], refresh=True)


@pytest.fixture(scope="module")
def report(store: Store) -> Report:
    with connect_elasticsearch(store.settings) as client:
        return check(store.settings, store.schema, client)


def answer_to(report: Report, request: str) -> Answer:
    found = [answer for answer in report.answers if answer.request == request]
    assert len(found) == 1, f"{request}: {[answer.request for answer in report.answers]}"
    return found[0]


def buckets(report: Report, request: str, name: str) -> dict[Any, dict[str, Any]]:
    return {bucket["key"]: bucket for bucket in answer_to(report, request).aggregations[name]["buckets"]}


def over_time(bucket: dict[str, Any], name: str = "y") -> list[float]:
    """The metric in each bucket of time that has any document."""
    return [inner[name]["value"] for inner in bucket["x"]["buckets"] if inner["doc_count"]]


def mean_of(values: list[float]) -> float:
    return sum(values) / len(values)


def test_every_panel_is_run_and_nothing_is_wrong(report: Report) -> None:
    assert [str(problem) for problem in report.problems] == []
    assert report.elasticsearch == ""
    empty = {answer.request for answer in report.answers if not answer.hits}
    assert empty == {"index-pattern:mare-legacy"}  # nothing was extracted


def test_what_could_not_be_run_as_it_is_is_named(report: Report) -> None:
    assert {answer.request for answer in report.substituted} == {"lens:mare-last-values"}
    assert "top_metrics" in report.substituted[0].missing


def test_the_table_of_last_values_skips_nulls(report: Report) -> None:
    rows = buckets(report, "lens:mare-last-values", "s")
    assert set(rows) == {TALKING, SILENT}

    def last(sensor: int, variable: str) -> float:
        hit = rows[sensor][f"v-{variable}"]["value"]["hits"]["hits"][0]
        value: float = hit["_source"][variable]
        return value

    assert (last(TALKING, "temperature"), last(SILENT, "temperature")) == (19.0, 19.0)
    assert (last(TALKING, "pressure"), last(SILENT, "pressure")) == (1008.0, 1009.0)


def test_freshness_shows_the_silent_buoy_first_and_empty(report: Report, store: Store) -> None:
    rows = answer_to(report, "lens:mare-freshness").aggregations["s"]["buckets"]
    assert [row["key"] for row in rows] == [SILENT, TALKING]
    # The talking one's eleventh minute is over: nine of its readings are from the last 600 s, or all ten.
    assert rows[0]["recent"]["doc_count"] == 0
    assert rows[1]["recent"]["doc_count"] >= READINGS_OF_EACH - 2
    assert rows[0]["last"]["value"] == pytest.approx((store.now - 120 * MINUTE) / 1000, abs=1)


def test_a_variable_is_averaged_by_sensor_and_time(report: Report) -> None:
    for sensor, row in buckets(report, "lens:mare-variable-temperature", "s").items():
        counts = [inner["doc_count"] for inner in row["x"]["buckets"] if inner["doc_count"]]
        total = sum(count * mean for count, mean in zip(counts, over_time(row), strict=True))
        assert total / READINGS_OF_EACH == pytest.approx(mean_of([10.0 + number for number in range(10)])), sensor
    assert set(buckets(report, "lens:mare-variable-humidity", "s")) == {TALKING, SILENT}
    assert set(buckets(report, "lens:mare-variable-pressure", "s")) == {TALKING, SILENT}


def test_the_map_has_the_last_position_of_each_buoy_with_its_temperature(report: Report) -> None:
    rows = buckets(report, "map:mare-map layer last", "map")
    hits = {sensor: row["hits"]["hits"]["hits"] for sensor, row in rows.items()}
    assert {sensor: len(found) for sensor, found in hits.items()} == {TALKING: 1, SILENT: 1}
    fields = hits[TALKING][0]["fields"]
    assert fields["temperature"] == [19.0]
    assert fields["location"][0]["coordinates"] == pytest.approx([3.9, 42.5])


def test_tracks_have_all_positions_in_order_and_density_counts_them(report: Report) -> None:
    rows = buckets(report, "map:mare-map layer tracks", "map")
    assert [hit["fields"]["location"][0]["coordinates"][0] for hit in rows[TALKING]["hits"]["hits"]["hits"]] == (
        pytest.approx([3.9 - number / 10 for number in range(10)])
    )
    cells = answer_to(report, "map:mare-map layer density").aggregations["map"]["buckets"]
    assert sum(cell["doc_count"] for cell in cells) == 2 * READINGS_OF_EACH


def test_rejected_lines_are_counted_by_reason_and_events_by_buoy(report: Report) -> None:
    reasons = {reason: row["doc_count"] for reason, row in buckets(report, "lens:mare-rejected-by-reason", "s").items()}
    assert reasons == {"wrong_type": 2, "not_json": 1}
    assert list(buckets(report, "lens:mare-events-of-buoys", "s")) == [SILENT, TALKING]  # the latest first
    assert set(buckets(report, "dashboard:mare-buoys control sensor", "options")) == {TALKING, SILENT}


def test_the_rule_finds_the_silent_buoy_and_no_other(report: Report) -> None:
    rows = buckets(report, "rule:Silent buoys", "g")
    assert {sensor: row["doc_count"] for sensor, row in rows.items()} == {SILENT: 1}


def test_the_pipeline_panels_have_their_counters(report: Report) -> None:
    def highest(panel: str) -> list[float]:
        rows = answer_to(report, f"lens:{panel}").aggregations["x"]["buckets"]
        names = [name for name in rows[-1] if name.startswith("y")]
        return [max(row[name]["value"] or 0 for row in rows) for name in sorted(names)]

    assert highest("mare-lag") == [500.0] * 5
    assert highest("mare-dead-letters") == [7.0] * 5
    assert highest("mare-lines") == [60.0, 55.0, 4.0]
    assert highest("mare-losses") == [3.0, 2.0, 1.0]
    assert highest("mare-sensors") == [11.0, 12.0, 13.0, 14.0, 15.0, 16.0]
    assert answer_to(report, "lens:mare-reports").hits == 6


def test_a_job_s_data_view_is_looked_at_too(store: Store) -> None:
    client: Elasticsearch
    with connect_elasticsearch(store.settings) as client:
        client.index(index="legacy-stations", document={"seen": "2024-01-21T10:06:04Z"}, refresh=True)
        path = write_data_view(store.settings, "stations", "legacy-stations", "seen")
        try:
            good = check(store.settings, store.schema, client)
            write_data_view(store.settings, "stations", "legacy-stations", "sene")
            bad = check(store.settings, store.schema, client)
        finally:
            path.unlink()
            client.indices.delete(index="legacy-stations")
    assert good.problems == []
    assert [problem.object for problem in bad.problems] == ["index-pattern:mare-legacy-stations"]
    assert "sene" in bad.problems[0].text


def test_the_command_says_all_that(store: Store) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "maredata.cli", "kibana", "check", "--json"],
        env={**os.environ, **as_environment(store.settings)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["problems"], said["elasticsearch"]) == ([], "")
    assert {"lens:mare-last-values"} == {answer["request"] for answer in said["answers"] if answer["missing"]}
