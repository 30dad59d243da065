"""`mare bench analytics`: what it asks, how answers are compared, how latencies are counted. No engine runs here."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping
from itertools import count, takewhile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks import analytics, analytics_plots, analytics_tables
from benchmarks.analytics import Options, Report, means
from benchmarks.analytics_alone import AnswersDiffer, refuse_differing, speedup
from benchmarks.analytics_memory import Group, drop_page_cache, own_folder
from benchmarks.analytics_pair import Load, answers, transactions
from benchmarks.analytics_profile import FINDING, in_words, parts
from benchmarks.analytics_schedule import Arrivals, Record, Sample, curve, digest, geometric_mean, percentile, within
from benchmarks.analytics_seed import Size
from benchmarks.analytics_servers import Memory
from benchmarks.engines import both_stores
from benchmarks.questions import QUESTIONS, Ground, Question, distance, indexes, variables
from benchmarks.questions_answers import Between, differences
from maredata.cli import main
from maredata.errors import MareError
from maredata.schema import load_schema
from maredata.settings import Settings

SCHEMA = load_schema(Settings().reading.toml)
GROUND = Ground(
    494_000,
    494_000 + 60 * 24,
    ("temperature", "humidity", "pressure"),
    tuple((3.185785 + east / 100, 42.488629 + north / 50) for east in range(7) for north in range(7)),
)
BY_NAME = {question.name: question for question in QUESTIONS}
HOURLY, LATEST = BY_NAME["hourly, 1 day"], BY_NAME["last reading per buoy"]
NEAR, PERCENTILES = BY_NAME["within 10 km"], BY_NAME["percentiles, 30 days"]
HOTTEST = BY_NAME["top-10 hottest hours"]
LOAD = Load(rate=10, analysts=2, every=1.0, seconds=4, warm_up=1, seed=1)


# --- what is asked -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_parameters_are_drawn_anew_and_are_the_same_for_the_same_seed(question: Question) -> None:
    def draws(seed: int) -> list[Any]:
        random = Random(seed)
        return [question.draw(random, GROUND) for _ in range(20)]

    assert draws(1) == draws(1) != draws(2)
    assert len({str(query) for query in draws(1)}) > 15


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_every_placeholder_is_bound_and_the_index_is_the_one_that_is_named(question: Question) -> None:
    query = question.draw(Random(3), GROUND)
    assert query.sql.count("%s") == len(query.bound)
    assert f"FORCE INDEX (`{question.index}`)" in query.sql
    assert question.index == "by_time" or f"ADD INDEX `{question.index}`" in indexes(SCHEMA)


@pytest.mark.parametrize("question", [HOURLY, PERCENTILES, HOTTEST], ids=lambda question: question.name)
@pytest.mark.parametrize("seed", range(20))
def test_both_stores_are_asked_about_the_same_span_within_what_there_is(question: Question, seed: int) -> None:
    query = question.draw(Random(seed), GROUND)
    begin, end = query.bound
    times = query.body["query"]["bool"]["filter"][0]["range"]["timestamp"]
    assert (times["gte"], times["lt"]) == (begin * 3_600_000, end * 3_600_000)
    assert GROUND.begin <= begin < end <= GROUND.end


def test_a_span_is_all_there_is_where_there_is_less() -> None:
    short = Ground(1000, 1005, GROUND.variables, GROUND.moorings)
    assert PERCENTILES.draw(Random(1), short).bound == (1000, 1005)


@given(st.integers())
def test_no_buoy_is_moored_at_the_edge_of_a_circle_and_one_is_within(seed: int) -> None:
    body = NEAR.draw(Random(seed), GROUND).body
    place = body["query"]["bool"]["filter"][0]["geo_distance"]["location"]
    metres = [distance((place["lon"], place["lat"]), mooring) for mooring in GROUND.moorings]
    assert min(metres) < 10_000
    assert all(abs(away - 10_000) > 140 for away in metres)


@given(st.integers(), st.floats(0, math.tau))
def test_the_bounding_box_holds_the_whole_circle(seed: int, bearing: float) -> None:
    south, north, west, east, lon, lat = NEAR.draw(Random(seed), GROUND).bound
    degrees = 9_999 / math.radians(6_371_008.7714)
    edge_lat = lat + degrees * math.cos(bearing)
    edge_lon = lon + degrees * math.sin(bearing) / math.cos(math.radians(edge_lat))
    if distance((lon, lat), (edge_lon, edge_lat)) <= 10_000:
        assert south <= edge_lat <= north
        assert west <= edge_lon <= east


def test_distances_are_those_of_a_sphere() -> None:
    assert distance((3.0, 42.0), (3.0, 43.0)) == pytest.approx(111_195, abs=1)
    assert distance((3.0, 60.0), (4.0, 60.0)) == pytest.approx(111_195 / 2, rel=1e-4)


def test_the_time_index_covers_every_variable_of_the_schema() -> None:
    assert variables(SCHEMA) == ("temperature", "humidity", "pressure")
    assert "(`hour`, `sensor_id`, `temperature`, `humidity`, `pressure`)" in indexes(SCHEMA)


# --- answers in one form -----------------------------------------------------------------------------------------


def test_hourly_means_of_both_have_one_form() -> None:
    hour = {"key": 494_000 * 3_600_000, "doc_count": 3, "mean": {"value": 20.5}}
    response = {"aggregations": {"sensors": {"buckets": [{"key": 900_001, "hours": {"buckets": [hour]}}]}}}
    assert HOURLY.of_response(response) == HOURLY.of_rows([(900_001, "[[494000,3,20.5]]")])


def test_last_readings_of_both_have_one_form() -> None:
    fields = {"sensor_id": [1], "timestamp": ["2024-01-21 10:06:04.095931"], "temperature": [20.9]}
    response = {"hits": {"hits": [{"fields": fields}]}}
    assert LATEST.of_response(response) == LATEST.of_rows([(1, 1_705_831_564_095_931, 20.9)])


def test_counts_within_a_circle_of_both_have_one_form() -> None:
    response = {"hits": {"total": {"value": 7}}, "aggregations": {"mean": {"value": 1013.2}}}
    assert NEAR.of_response(response) == NEAR.of_rows([(7, 1013.2)])


def test_percentiles_of_elasticsearch_may_be_those_of_ranks_a_percent_away() -> None:
    values = [{"key": 50.0, "value": 15.04}, {"key": 95.0, "value": 19.0}, {"key": 99.0, "value": 20.0}]
    found = PERCENTILES.of_response({"aggregations": {"percentiles": {"values": values}}})
    exact = PERCENTILES.of_rows([(14.9, 15.0, 15.1, 18.9, 19.0, 19.1, 19.9, 20.0, 20.1)])
    assert differences(exact, found) == []
    wrong = PERCENTILES.of_rows([(14.9, 15.0, 15.03, 18.9, 19.0, 19.1, 19.9, 20.0, 20.1)])
    assert len(differences(wrong, found)) == 1


def test_the_hottest_hours_are_the_ten_highest_means_in_order() -> None:
    hours = [{"key": n * 3_600_000, "doc_count": 1, "mean": {"value": float(n * 7 % 12)}} for n in range(12)]
    empty = {"key": 99 * 3_600_000, "doc_count": 0, "mean": {"value": None}}
    found = HOTTEST.of_response({"aggregations": {"hours": {"buckets": [*hours, empty]}}})
    assert [value for _, value in found.values()] == [float(n) for n in range(11, 1, -1)]
    assert HOTTEST.ordered


# --- where they differ -------------------------------------------------------------------------------------------

ANSWER = {(1, 10): (60, 20.5), (2, 10): (60, 21.5)}


def test_equal_answers_do_not_differ_whatever_their_order() -> None:
    assert differences(ANSWER, dict(reversed(ANSWER.items()))) == []


@pytest.mark.parametrize(
    "other",
    [
        {(1, 10): (59, 20.5), (2, 10): (60, 21.5)},
        {(1, 10): (60, 20.500001), (2, 10): (60, 21.5)},
        {(1, 10): (60, None), (2, 10): (60, 21.5)},
        {(1, 10): (60, 20.5)},
        {**ANSWER, (3, 10): (60, 22.5)},
        {(1, 10): (60,), (2, 10): (60, 21.5)},
    ],
)
def test_any_other_count_value_or_group_is_a_difference(other: Any) -> None:
    assert len(differences(ANSWER, other)) == len(differences(other, ANSWER)) == 1


def test_a_sum_in_another_order_is_no_difference() -> None:
    assert differences({(): (3, 0.1 + 0.2)}, {(): (3, 0.3)}) == []


def test_order_counts_where_the_question_has_one() -> None:
    turned = dict(reversed(ANSWER.items()))
    assert differences(ANSWER, turned, ordered=True) != []
    assert differences(ANSWER, ANSWER, ordered=True) == []


def test_only_the_first_differences_are_said() -> None:
    found = differences({(n,): (1,) for n in range(20)}, {})
    assert len(found) == 6
    assert found[-1] == "and 15 more"


def test_a_value_beyond_its_bounds_is_a_difference() -> None:
    assert differences({(): (Between(1.0, 2.0, 3.0),)}, {(): (3.0,)}) == []
    assert differences({(): (Between(1.0, 2.0, 3.0),)}, {(): (3.001,)}) != []
    assert differences({(): (Between(1.0, 2.0, 3.0),)}, {(): (None,)}) != []


def test_nothing_is_measured_where_they_differ() -> None:
    refuse_differing(HOURLY, ANSWER, dict(ANSWER))
    with pytest.raises(AnswersDiffer, match=r"hourly, 1 day.*only MariaDB has"):
        refuse_differing(HOURLY, ANSWER, {})


# --- how latencies are counted -----------------------------------------------------------------------------------


def due_of(arrivals: Arrivals) -> list[float]:
    return [
        due for due in takewhile(lambda due: due is not None, (arrivals.take() for _ in count())) if due is not None
    ]


@given(st.floats(0.5, 500), st.floats(0.1, 20))
def test_arrivals_are_evenly_spread_over_the_time(rate: float, seconds: float) -> None:
    found = due_of(Arrivals(1000.0, rate, seconds))
    assert found[0] == 1000.0
    assert found[-1] < 1000.0 + seconds + 1e-6
    assert len(found) == math.ceil(rate * seconds - 1e-9)
    assert all(due == pytest.approx(1000 + number / rate) for number, due in enumerate(found))


def test_a_server_that_stands_still_makes_all_late_that_were_due_meanwhile() -> None:
    """One connection, 100 a second for 10 s, and a server that stands still from second 4 to second 5."""
    arrivals, now, latencies = Arrivals(0.0, 100, 10), 0.0, []
    while (due := arrivals.take()) is not None:
        begins = max(due, now)
        now = (5.0 if 4.0 <= begins < 5.0 else begins) + 0.001
        latencies.append(now - due)
    found = digest(latencies)
    assert found is not None
    assert len(latencies) == 1000
    # It is late for a tenth of the time, and afterwards it has to catch up. Counted from when each was really begun,
    # one alone would be late, and the 99th percentile would be a millisecond.
    assert 100 < sum(latency > 0.002 for latency in latencies) < 120
    assert found.p50 == pytest.approx(0.001)
    assert found.p95 > 0.5
    assert found.p99 > 0.9


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.sampled_from([0, 1, 50, 95, 99, 99.9, 100]))
def test_a_percentile_is_the_least_that_so_many_do_not_exceed(values: list[float], percent: float) -> None:
    values.sort()
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= percent / 100 * len(values) - 1e-6
    assert sum(value < found for value in values) < max(1, percent / 100 * len(values))


def test_of_a_hundred_the_ninety_fifth_is_the_95th_percentile() -> None:
    found = digest(float(n) for n in range(100, 0, -1))
    assert found is not None
    assert (found.count, found.mean, found.p50, found.p95, found.p99, found.most) == (100, 50.5, 50, 95, 99, 100)
    assert digest([]) is None
    assert curve([]) == []


@given(st.lists(st.floats(0, 100), min_size=1))
def test_a_curve_rises_from_the_least_to_the_most(values: list[float]) -> None:
    points = curve(values)
    assert points == sorted(points)
    assert points[0][1] == min(values)
    assert points[-1] == (100, max(values))


def test_what_was_due_within_counts_however_long_it_took() -> None:
    samples = [Sample("read", 0.9, 9.0), Sample("read", 1.0, 90.0), Sample("read", 4.9, 0.1), Sample("read", 5.0, 0.1)]
    assert [sample.offset for sample in within(samples, 1, 5)] == [1.0, 4.9]


def test_transactions_of_the_warm_up_do_not_count() -> None:
    early = [Sample("read", 0.5, 100.0)]
    late = [Sample("read", 1.5, 0.002), Sample("read", 2.5, 0.003), Sample("insert", 3.5, 0.01)]
    found = transactions(Record(samples=early + late, errors={"x": 2}), LOAD)
    assert found["all"]["count"] == 3
    assert found["all"]["most"] == found["insert"]["p99"] == 0.01
    assert found["read"]["count"] == 2
    assert (found["due"], found["errors"]) == (40, {"x": 2})


def test_answers_count_when_they_come_and_their_latency_whenever_they_come() -> None:
    name = HOURLY.name
    asked = [Sample(name, 0.5, 1.0), Sample(name, 0.7, 0.5), Sample(name, 2.0, 1.0), Sample(name, 4.0, 30.0)]
    found = answers(Record(samples=asked), LOAD)
    assert found["per_second"] == 3 / 4  # of those that came from second 1 to second 5
    assert found["wanted_per_second"] == 2
    assert (found["all"]["count"], found["all"]["most"]) == (2, 30.0)
    assert found["by_question"][name]["count"] == 2
    assert found["by_question"][LATEST.name] is None


def test_the_geometric_mean_of_twice_and_half_as_fast_is_as_fast() -> None:
    assert geometric_mean([2.0, 0.5]) == pytest.approx(1)
    assert geometric_mean([1.0, 10.0, 100.0]) == pytest.approx(10)
    assert geometric_mean([]) is None


def test_a_mean_is_of_all_questions_or_there_is_none() -> None:
    found = means([{"warm": 4.0, "throughput": 2.0, "cold": 3.0}, {"warm": 1.0, "throughput": 2.0}])
    assert found == {"warm": pytest.approx(2), "throughput": pytest.approx(2), "cold": None}


def measured(p50: float, rate: float, cold: float | None = None) -> dict[str, Any]:
    warm = {"count": 9, "mean": p50, "p50": p50, "p95": 2 * p50, "p99": 3 * p50, "most": 4 * p50}
    return {"warm": warm, "throughput": rate, "client_cpu": 0.001, **({} if cold is None else {"cold": cold})}


def test_a_speedup_is_above_1_where_elasticsearch_is_faster() -> None:
    found = speedup({"mariadb": measured(1.0, 2.0, cold=3.0), "elasticsearch": measured(0.1, 40.0, cold=0.5)})
    assert found == {"warm": 10, "throughput": 20, "cold": 6}
    assert "cold" not in speedup({"mariadb": measured(1.0, 2.0), "elasticsearch": measured(0.1, 40.0)})


# --- memory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("4:memory:/some/group\n1:cpu:/\n0::/other\n", "memory/some/group"),
        ("4:memory:/not/to/be/seen\n", "memory"),
        ("0::/some/group\n", "some/group"),
        ("0::/\n", ""),
    ],
)
def test_the_own_control_group_is_found(tmp_path: Path, text: str, folder: str) -> None:
    for name in ("memory/some/group", "some/group"):
        (tmp_path / name).mkdir(parents=True)
    assert own_folder(tmp_path, text) == tmp_path / folder


def test_what_is_started_in_a_group_is_in_it_and_this_process_is_not_any_more(tmp_path: Path) -> None:
    group = Group(tmp_path, 1 << 30)
    (folder,) = tmp_path.iterdir()
    assert (folder / "memory.limit_in_bytes").read_text() == str(1 << 30)
    with group.entered():
        assert (folder / "cgroup.procs").read_text() == str(os.getpid())
        assert not (tmp_path / "cgroup.procs").exists()
    assert (tmp_path / "cgroup.procs").read_text() == str(os.getpid())


def test_the_page_cache_is_dropped_after_what_is_unwritten_is_written(tmp_path: Path) -> None:
    file = tmp_path / "drop_caches"
    synced: list[bool] = []
    assert drop_page_cache(lambda: synced.append(file.exists()), file)
    assert (synced, file.read_text()) == ([False], "3")
    assert not drop_page_cache(lambda: None, tmp_path / "missing" / "drop_caches")


def test_memory_is_said_plainly() -> None:
    held = Memory(2 << 30, 3 << 29, 1 << 30, limited=True)
    assert "control group of 2,048 MiB" in held.sentence
    assert "buffer pool has 1,536 MiB" in held.sentence
    assert "Not limited" in Memory(2 << 30, 3 << 29, 1 << 30, limited=False).sentence


# --- options and output ------------------------------------------------------------------------------------------


def test_readings_span_the_30_days_that_are_asked_about() -> None:
    assert Options().size == Size(200_000, 50, 60)
    for rows in (20_000, 200_000, 1_000_000):
        size = Options(rows=rows).size
        assert size.rows == rows
        assert size.steps * size.every >= 60 * 86_400


def test_cold_questions_are_named() -> None:
    assert Options(cold="all").cold_questions() == list(QUESTIONS)
    assert Options(cold="none").cold_questions() == []
    assert Options(cold="hourly, 1 day; last reading per buoy").cold_questions() == [HOURLY, LATEST]
    with pytest.raises(MareError, match="no question “rain”"):
        Options(cold="rain").cold_questions()


def test_a_benchmark_has_a_home_and_ports_of_its_own() -> None:
    own = both_stores(Settings(), 23_000)
    assert own.home == Settings().home / "benchmarks"
    assert (own.mariadb.port, own.elasticsearch.port, own.elasticsearch.transport_port) == (23_000, 23_001, 23_002)


def seen_question(question: Question, mariadb: float, elasticsearch: float) -> dict[str, Any]:
    both = {"mariadb": measured(mariadb, 1.0, 2.0), "elasticsearch": measured(elasticsearch, 9.0, 1.0)}
    explain = [{"table": "readings", "type": "range", "key": question.index, "Extra": None}]
    return analytics._question(
        question,
        {
            "compared": 5,
            "groups": 9,
            "sql": "SELECT 'a|b'",
            "bound": [],
            "body": {},
            "explain": explain,
            "profile": {"sensors": 1},
        },
        both,
        {},
    )


def seen_pair(asked: str, p99: float, errors: Mapping[str, int]) -> dict[str, Any]:
    done = measured(p99 / 3, 1.0)["warm"]
    answered = {"per_second": 1.5, "wanted_per_second": 5.0, "all": done, "by_question": {}, "errors": {}}
    own = {"all": done, "curve": [[0.0, p99 / 9], [100.0, p99]], "read": done, "insert": None, "due": 9}
    return {
        "analysts": asked,
        "transactions": {**own, "errors": dict(errors)},
        "answers": None if asked == "nobody" else answered,
        "cores_used": {},
        "elsewhere_share": 0.5,
    }


def content_of(errors: Mapping[str, int] | None = None) -> dict[str, Any]:
    times = {LATEST.name: (0.001, 0.01)}
    questions = [seen_question(question, *times.get(question.name, (1.0, 0.1))) for question in QUESTIONS]
    versions = dict.fromkeys(("mariadb", "elasticsearch", "mysql-connector-python", "python"), "1.2")
    machine = {"cores": 2, "model": "x", "memory_bytes": 1 << 33, "kernel": "6", "commit": None, "dirty": None}
    return {
        "benchmark": "analytics",
        "began": "2026-11-23T10:00:00+00:00",
        "command": "mare bench analytics",
        "machine": {**machine, "versions": versions},
        "options": {"rate": 100.0, "analysts": 10},
        "base": analytics.BASE,
        "readings": 10_000_000,
        "bytes": {"mariadb_table": 10**9, "mariadb_indexes": 10**9, "elasticsearch": 10**9},
        "seeding_seconds": {"making": 1.0, "moving": 2.0, "indexes": 3.0},
        "memory": Memory(2 << 30, 3 << 29, 1 << 30, limited=True).as_dict(),
        "page_cache_dropped": True,
        "questions": questions,
        "geometric_mean": means([question["speedup"] for question in questions]),
        "pair": [seen_pair("nobody", 0.01, {}), seen_pair("mariadb", 2.0, errors or {}),
                 seen_pair("elasticsearch", 0.05, {})],
    }  # fmt: skip


def test_every_question_is_shown_and_a_loser_with_the_reason() -> None:
    console = Console(width=200, record=True)
    console.print(analytics_tables.render(content_of(), [Path("result.json")]))
    text = console.export_text()
    for question in QUESTIONS:
        assert text.count(question.name) >= 2
    assert text.count("so few readings are read that") == 1
    assert "geometric mean" in text
    assert "5.18" in text  # the seventh root of 10⁶ ÷ 10
    assert "Other programs and the kernel used up to 50%" in text


def test_what_analysts_do_to_transactions_is_shown_side_by_side() -> None:
    _, columns, rows = analytics_tables.pair(content_of({"gone": 3}))
    p99, errors = columns.index("p99"), columns.index("errors")
    assert [row[p99] for row in rows] == ["10.0", "2,000.0", "50.0"]
    assert [row[errors] for row in rows] == ["0", "3", "0"]


def test_an_error_makes_it_not_whole() -> None:
    assert Report(Path("x"), content_of(), ()).whole
    assert not Report(Path("x"), content_of({"gone": 3}), ()).whole
    broken = copy.deepcopy(content_of())
    broken["pair"][2]["answers"]["errors"] = {"late": 1}
    assert not Report(Path("x"), broken, ()).whole


def test_the_pair_is_drawn_as_a_picture_and_as_a_page_that_needs_nothing_else(tmp_path: Path) -> None:
    picture, page = analytics_plots.draw(content_of(), tmp_path / "analytics-1.5")
    assert (picture.name, page.name) == ("analytics-1.5.png", "analytics-1.5.html")
    assert picture.read_bytes().startswith(b"\x89PNG")
    text = page.read_text("utf-8")
    assert all(label in text for label in analytics_plots.LABELS.values())
    assert "<script src" not in text.replace('charset="utf-8" ', "")


def test_the_same_result_gives_the_same_picture(tmp_path: Path) -> None:
    first, second = (analytics_plots.picture(content_of(), tmp_path / f"{n}.png").read_bytes() for n in (1, 2))
    assert first == second


def test_the_command_fails_where_the_stores_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    def differ(*_: Any) -> Any:
        raise AnswersDiffer("The stores differ.")

    monkeypatch.setattr(analytics, "run", differ)
    result = CliRunner().invoke(main, ["bench", "analytics"])
    assert result.exit_code == 1
    assert "The stores differ." in result.output


def test_a_search_is_taken_apart_without_counting_anything_twice() -> None:
    mean = {"description": "mean", "time_in_nanos": 2_000_000_000}
    hours = {"description": "hours", "time_in_nanos": 5_000_000_000, "children": [mean]}
    shard = {"searches": [{"query": [{"time_in_nanos": 1_000_000_000}]}], "aggregations": [hours]}
    found = parts([shard, shard, {"searches": [{"query": [{"time_in_nanos": 100_000_000}]}]}])
    assert found == {"hours": 6.0, "mean": 4.0, FINDING: 2.1}
    assert in_words(found) == "hours 50 %, mean 33 %, finding readings 17 %"
    assert in_words({"hours": 0.99, "mean": 0.01}) == "hours 99 %"
    assert in_words({}) == ""
    assert parts([{"searches": [], "aggregations": [hours | {"time_in_nanos": 1}]}]) == {"mean": 2.0, "hours": 0.0}
