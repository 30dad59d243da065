"""What `mare bench pipeline` makes of its measurements."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks import machine, pipeline
from benchmarks.pipeline import Options, Report, own_settings
from benchmarks.pipeline_probe import Key, Store
from benchmarks.pipeline_result import (
    ELASTICSEARCH,
    MARIADB,
    ROLES,
    SINK_OF,
    Counts,
    Lag,
    Trial,
    bottleneck,
    goals,
    highest,
)
from benchmarks.pipeline_tables import render
from benchmarks.sender import Load, Sent
from maredata.settings import Settings

SECONDS = 50
ALL = Counts(50_020, 0, 50_020, 50_020, 50_020, 50_020, 50_020)


def lags(mariadb: Callable[[int], int], elasticsearch: Callable[[int], int]) -> tuple[Lag, ...]:
    """Of each second."""
    return tuple(
        Lag(second, {SINK_OF[MARIADB]: mariadb(second), SINK_OF[ELASTICSEARCH]: elasticsearch(second)})
        for second in range(SECONDS + 1)
    )


def trial(rate: float = 1_000, **changes: object) -> Trial:
    """One that went well."""
    sent = Sent(int(rate * SECONDS), int(rate * SECONDS), 0, float(SECONDS), 0, 0.0, 1.0, 1.0)
    good = Trial(
        load=Load(rate, SECONDS),
        sent=sent,
        counts=ALL,
        latency={MARIADB: [0.5] * 100, ELASTICSEARCH: [1.5] * 100},
        missing={MARIADB: 0, ELASTICSEARCH: 0},
        looks={MARIADB: 100, ELASTICSEARCH: 100},
        lags=lags(lambda _: 800, lambda _: 900),
        drained=1.5,
        window=float(SECONDS),
        cpu=dict.fromkeys(ROLES, 5.0),
        memory=dict.fromkeys(ROLES, 100 << 20),
        elsewhere=0.0,
        cores=2,
    )
    return replace(good, **changes)


def test_a_rate_with_all_there_and_a_steady_lag_is_sustained() -> None:
    found = trial()
    assert found.sustained
    assert bottleneck(found) == ""
    assert found.growth == {SINK_OF[MARIADB]: 0, SINK_OF[ELASTICSEARCH]: 0}


@pytest.mark.parametrize("stage", ["sent", "received", "accepted", "kafka", "mariadb", "elasticsearch"])
def test_a_reading_lost_at_any_stage_is_not_sustained(stage: str) -> None:
    counts = replace(ALL, **{stage: getattr(ALL, stage) - 1})
    assert not trial(counts=counts).sustained
    assert not counts.whole
    assert counts.kept == (stage in ("sent", "received"))


def test_a_lag_that_grows_steadily_is_named() -> None:
    found = trial(lags=lags(lambda second: 800 + 100 * second, lambda _: 900))
    assert not found.sustained
    assert found.growing == [SINK_OF[MARIADB]]
    assert "mariadb-readings falls behind by" in bottleneck(found)


def test_a_lag_that_is_long_and_does_not_grow_is_no_stability() -> None:
    assert trial(lags=lags(lambda _: 800, lambda _: 11_000)).growing == [SINK_OF[ELASTICSEARCH]]


def test_a_lag_that_swings_is_stable() -> None:
    found = trial(lags=lags(lambda second: 500 + 400 * (second % 3), lambda second: 2_000 * (second % 10 == 0)))
    assert found.growing == []


def test_sinks_that_never_come_to_the_end_sustain_nothing() -> None:
    found = trial(drained=None)
    assert not found.sustained
    assert bottleneck(found).startswith("the sinks did not come to the end")


def test_the_bottleneck_is_the_first_stage_and_who_uses_the_machine() -> None:
    full = {**dict.fromkeys(ROLES, 2.0), "elasticsearch": 60.0, "connect": 35.0}
    lost = replace(ALL, received=50_000, accepted=50_000, kafka=50_000, mariadb=50_000, elasticsearch=50_000)
    found = bottleneck(trial(counts=lost, cpu=full))
    assert found.startswith("the gateway took 50,000 of 50,020: all 2 cores are ")
    assert "most of it elasticsearch (1.20 cores)" in found
    assert "other programs" not in found
    assert "other programs took 20%" in bottleneck(trial(counts=lost, cpu=full, elsewhere=20.0))
    slow = trial(sent=replace_sent(900), cpu=full)
    assert bottleneck(slow).startswith("the sender reached 900/s only")


def test_the_bottleneck_on_a_machine_with_room_is_the_process_that_fills_a_core() -> None:
    cpu = {**dict.fromkeys(ROLES, 1.0), "connect": 47.0}
    found = bottleneck(trial(lags=lags(lambda _: 800, lambda second: 500 * second), cpu=cpu))
    assert found.startswith("elasticsearch-readings falls behind")
    assert "connect uses 0.94 cores" in found


def replace_sent(rate: float) -> Sent:
    return Sent(int(rate * SECONDS), int(rate * SECONDS), 0, float(SECONDS), 0, 0.0, 1.0, 1.0)


@given(st.lists(st.floats(0.001, 100), min_size=1), st.integers(0, 200))
def test_a_reading_that_was_never_seen_took_longer_than_all_others(seen: list[float], missing: int) -> None:
    found = trial(latency={MARIADB: seen, ELASTICSEARCH: []}, missing={MARIADB: missing, ELASTICSEARCH: 0})
    quantiles = found.quantiles(MARIADB)
    everything = sorted(seen) + [float("inf")] * missing
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        wanted = everything[min(len(everything) - 1, int(share * len(everything)))]
        assert quantiles[name] == (None if wanted == float("inf") else wanted)
    assert quantiles["max"] == (None if missing else max(seen))
    assert set(found.quantiles(ELASTICSEARCH).values()) == {None}


def test_the_highest_rate_is_one_that_was_sustained() -> None:
    assert highest([trial(1000), trial(1250), trial(1562.5, drained=None)]) == 1250
    assert highest([trial(1000, drained=None)]) is None


def test_goals_are_judged_where_their_rate_was_measured() -> None:
    (mariadb, elasticsearch) = sorted(goals([trial(1000)]), key=lambda goal: goal["goal"])
    assert (mariadb["seen"], mariadb["met"]) == (0.5, True)
    assert (elasticsearch["seen"], elasticsearch["met"]) == (1.5, True)
    late = trial(1000, latency={MARIADB: [1.6] * 10, ELASTICSEARCH: [3.1] * 10})
    assert [goal["met"] for goal in goals([late])] == [False, False]
    assert goals([trial(2000)]) == []
    assert [goal["met"] for goal in goals([trial(10_000, drained=None)])] == [False]
    assert [goal["met"] for goal in goals([trial(10_000)])] == [True]


# --- the probe


def test_the_probe_asks_for_the_oldest_and_times_what_is_found() -> None:
    store = Store("mariadb", at_once=200)
    asked: list[list[Key]] = []

    def find(keys: Sequence[Key]) -> list[Key]:
        asked.append(list(keys))
        return [key for key in keys if key[0] % 2]

    store.look(find)
    assert asked == []
    for number in range(300):
        store.sent((number, 7), 0.0)
    store.look(find)
    assert asked == [[(number, 7) for number in range(200)]]
    assert (len(store.seen), len(store.missing), store.looks) == (100, 200, 1)
    assert all(seconds > 0 for seconds in store.seen)
    store.look(find)
    assert (299, 7) in asked[1]


# --- steps, settings, the report


class FakeBench:
    """Sustains every rate below `limit`."""

    def __init__(self, limit: float) -> None:
        self.loads: list[Load] = []
        self._limit = limit

    def progress(self, text: str) -> None:
        pass

    def measure(self, load: Load) -> Trial:
        self.loads.append(load)
        return trial(load.rate, drained=1.0 if load.rate < self._limit else None)


def test_steps_climb_by_a_quarter_until_one_is_not_sustained() -> None:
    bench = FakeBench(limit=1_500)
    found = pipeline._trials(bench, Options(rate=1_000, duration=20, warm_up=10, step=True))  # type: ignore[arg-type]
    assert [(load.rate, load.seconds) for load in bench.loads] == [(1000, 10), (1000, 20), (1250, 20), (1562.5, 20)]
    assert [one.load.rate for one in found] == [1000, 1250, 1562.5]
    assert highest(found) == 1250


def test_without_steps_one_rate_is_measured() -> None:
    bench = FakeBench(limit=10)
    assert len(pipeline._trials(bench, Options(rate=1_000, warm_up=0))) == 1  # type: ignore[arg-type]
    assert len(bench.loads) == 1


def test_its_ports_and_home_are_its_own(tmp_path: Path) -> None:
    own = own_settings(Settings(home=tmp_path), Options(first_port=30_000))
    ports = [own.udp.port, own.metrics.port, own.kafka.port, own.kafka.controller_port, own.connect.port]
    ports += [own.mariadb.port, own.elasticsearch.port, own.elasticsearch.transport_port]
    assert sorted(ports) == list(range(30_000, 30_008))
    assert own.home == tmp_path / "benchmarks"


def test_the_report_shows_latency_loss_lag_and_the_bottleneck(tmp_path: Path) -> None:
    lost = replace(ALL, elasticsearch=50_000)
    trials = (trial(1000), trial(10_000, counts=lost, lags=lags(lambda _: 0, lambda second: 5_000 * second)))
    content = {
        "machine": machine.facts(),
        "options": asdict(Options()),
        "base": pipeline.BASE,
        "highest_sustained": highest(trials),
        "goals": goals(trials),
        "trials": json.loads(json.dumps([one.as_dict() for one in trials])),
    }
    report = Report(tmp_path / "x.json", content, trials, step=False)
    console = Console(width=150)
    with console.capture() as captured:
        console.print(render(report))
    text = captured.get()
    for part in ("0.50", "1.50", "50,020", "LOST", "falls behind", "Highest rate sustained here: 1,000", "10,000/s: "):
        assert part in text, part
    assert content["trials"][0]["latency_seconds"]["mariadb"]["p99"] == 0.5
    assert content["trials"][1]["bottleneck"].startswith("elasticsearch-readings falls behind")
    assert not report.whole
    assert Report(tmp_path / "x.json", content, trials[:1], step=False).whole


def test_a_step_too_far_may_be_refused_but_not_lost(tmp_path: Path) -> None:
    dropped = replace(ALL, kernel_dropped=20, received=50_000, accepted=50_000, kafka=50_000)
    kept = replace(dropped, mariadb=50_000, elasticsearch=50_000)
    assert Report(tmp_path, {}, (trial(counts=kept),), step=True).whole
    assert not Report(tmp_path, {}, (trial(counts=kept),), step=False).whole
    assert not Report(tmp_path, {}, (trial(counts=replace(kept, mariadb=49_999)),), step=True).whole
