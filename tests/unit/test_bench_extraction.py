"""`mare bench extraction`: what it compares, how it counts, in which turns, and what it says. No engine runs here."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from click.testing import CliRunner
from rich.console import Console
from waiting import await_true

from benchmarks import cpu_window, extraction, extraction_measure, extraction_tables, ingestr, machine
from benchmarks.engines import both_stores
from benchmarks.extraction import Options, Report
from benchmarks.extraction_measure import Bench, Engines, Room, document
from benchmarks.extraction_result import (
    CLIENT,
    ELASTICSEARCH,
    EXTRACT,
    INGESTR,
    LIMIT,
    MARIADB,
    MOVERS,
    PANDAS,
    SELECT,
    WIDER,
    Goal,
    Trial,
    goals,
    order,
    summary,
    verdict,
)
from benchmarks.indices import Indices
from benchmarks.plain_pandas import actions
from benchmarks.plain_select import INDEX, query
from benchmarks.program import Program
from maredata.cli import main
from maredata.decoder import Decoder
from maredata.reading import identity
from maredata.schema import load_schema
from maredata.settings import Settings
from maredata.timestamps import parse_timestamp

SCHEMA = load_schema(Settings().reading.toml)
TRIAL = Trial(
    EXTRACT, 1, 100_000, 100_000, seconds=2.0, coming=1.5, cpu={CLIENT: 0.7, MARIADB: 0.3, ELASTICSEARCH: 2.0},
    own_cpu=0.1, elsewhere_cpu=0.1, cores=2, memory=200_000_000,
)  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def of(mover: str, seconds: float = 2.0, **cpu: float) -> Trial:
    return replace(TRIAL, mover=mover, seconds=seconds, cpu=TRIAL.cpu | cpu)


def goal(trials: list[Trial], what: str) -> Goal:
    return next(found for found in goals(trials) if what in found.what)


# --- what it comes to


def test_numbers_of_a_trial() -> None:
    assert TRIAL.rate == 50_000
    assert TRIAL.per_million(CLIENT) == pytest.approx(7.0)
    assert TRIAL.busy == pytest.approx(3.2 / 4)
    assert TRIAL.elsewhere_share == pytest.approx(0.025)
    assert TRIAL.bound == pytest.approx(2 / 3.0e-5)


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        (TRIAL, "all there"),
        (replace(TRIAL, counted=99_999), "failed: 99,999 instead of 100,000"),
        (replace(TRIAL, counted=100_001), "failed: 100,001 instead of 100,000"),
        (replace(TRIAL, trouble="it hung"), "failed: 100,000 instead of 100,000; it hung"),
    ],
)
def test_only_exactly_all_rows_will_do(trial: Trial, said: str) -> None:
    assert verdict(trial) == said == trial.as_dict()["verdict"]
    for number in (trial.rate, trial.per_million(CLIENT), trial.bound):
        assert (number is not None) == (trial is TRIAL)


def test_the_rate_is_judged_by_the_two_clients() -> None:
    found = goal([TRIAL, of(LIMIT, 1.9), of(WIDER, 1.0)], "that of 2 clients")
    assert (found.seen, found.met) == (pytest.approx(0.95), True)
    assert found.note == "applied: the clients' 52,632 rows/s; cores were 80% busy"
    assert goal([TRIAL, of(LIMIT, 1.7)], "that of 2 clients").met is False
    assert goal([TRIAL], "that of 2 clients").met is None
    assert goal([replace(TRIAL, counted=5), of(LIMIT)], "that of 2 clients").met is None


def test_where_all_cores_are_busy_it_is_judged_by_what_they_can_do() -> None:
    busy = of(EXTRACT, 2.0, elasticsearch=2.8)  # 3.8 of 4 core seconds, so 52,632 rows/s at most
    found = goal([busy, of(LIMIT, 1.0)], "what the cores can do")
    assert (found.seen, found.met) == (pytest.approx(0.95), True)
    assert found.note == "applied: all cores are busy (100%), cores ÷ CPU for each row = 52,632 rows/s"
    # It never makes the goal harder than the clients'.
    assert goal([busy, of(LIMIT, 2.1)], "that of 2 clients").seen == pytest.approx(1.05)
    # Others' work is none that rows need.
    elsewhere = replace(busy, cpu=TRIAL.cpu | {ELASTICSEARCH: 1.0}, elsewhere_cpu=2.0)
    assert goal([elsewhere, of(LIMIT, 0.8)], "what the cores can do").met is False


def test_the_other_goals() -> None:
    trials = [TRIAL, of(INGESTR, 4.4), of(SELECT, mariadb=0.31), of(LIMIT)]
    assert [found.met for found in goals(trials)] == [True] * 5
    assert goal(trials, "ingestr").seen == pytest.approx(2.2)
    assert goal([TRIAL, of(INGESTR, 3.9)], "ingestr").met is False
    assert goal([of(EXTRACT, client=0.81)], "client's").met is False
    assert goal([TRIAL, of(SELECT, mariadb=0.29)], "plain SELECT").met is False
    assert goal([TRIAL, replace(TRIAL, memory=300_000_000)], "memory").met is False
    assert [found.met for found in goals([of(PANDAS)])] == [None] * 5


def test_goals_are_those_of_medians() -> None:
    trials = [of(EXTRACT, seconds) for seconds in (1.0, 2.0, 9.0)] + [of(LIMIT, seconds) for seconds in (1.0, 2.2, 8.0)]
    assert goal(trials, "that of 2 clients").seen == pytest.approx(1.1)
    found = summary(trials)["movers"][EXTRACT]
    assert found["rate"] == pytest.approx([50_000, 100_000 / 9, 100_000]) and found["whole"]
    assert not summary([replace(TRIAL, counted=0)])["movers"][EXTRACT]["whole"]


def test_each_mover_is_first_once_and_neighbours_change_places() -> None:
    rounds = [order(number, MOVERS) for number in range(len(MOVERS))]
    assert all(sorted(movers) == sorted(MOVERS) for movers in rounds)
    assert [movers[0] for movers in rounds] == list(MOVERS)
    assert rounds[1] == [EXTRACT, LIMIT, WIDER, SELECT, INGESTR, PANDAS]
    before = {pair for movers in rounds[:2] for pair in pairwise(movers)}
    assert (INGESTR, PANDAS) in before and (PANDAS, INGESTR) in before


# --- what is moved


ROW: dict[str, Any] = {
    "sensor_id": 900_001, "timestamp": datetime(2024, 1, 21, 10, 6, 4, 95_931), "temperature": 20.9, "humidity": 59.22,
    "pressure": None, "location_lon": 3.185785, "location_lat": 42.488629, "seq": 7,
}  # fmt: skip


def test_ready_made_documents_are_canonical_readings() -> None:
    micros = parse_timestamp("2024-01-21 10:06:04.095931")
    made = document(SCHEMA, micros, ROW)
    decoded = Decoder(SCHEMA).decode(made.line)
    assert decoded.id == identity(900_001, micros) == identity(made.sensor_id, made.micros)
    assert json.loads(made.line) == {
        "sensor_id": 900_001, "timestamp": "2024-01-21 10:06:04.095931", "temperature": 20.9, "humidity": 59.22,
        "location": {"lon": 3.185785, "lat": 42.488629}, "seq": 7,
    }  # fmt: skip
    assert b"location" not in document(SCHEMA, micros, ROW | {"location_lon": None}).line


def test_the_plain_select_reads_what_is_stored_and_nothing_generated() -> None:
    assert query(SCHEMA) == (
        "SELECT `sensor_id`, `timestamp`, `temperature`, `humidity`, `pressure`, `location_lon`, `location_lat`, `seq`"
        " FROM `readings`"
    )


def test_the_pandas_script_writes_rows_as_they_come() -> None:
    frame = pd.DataFrame([{"sensor_id": 1, "temperature": 2.5}])
    assert list(actions(frame)) == [{"_index": INDEX, "_source": {"sensor_id": 1, "temperature": 2.5}}]


# --- programs that are measured


def program(tmp_path: Path, text: str) -> Program:
    return Program([sys.executable, "-c", text], dict(os.environ), tmp_path / "logs" / "program.log")


def test_cpu_and_memory_are_those_of_all_its_processes(tmp_path: Path) -> None:
    child = "x = bytearray(60_000_000); import time; t = time.process_time()\nwhile time.process_time() < t + 0.3: pass"
    parent = f"import subprocess, sys; c = {child!r}; [p.wait() for p in [subprocess.Popen([sys.executable, '-c', c])"
    with program(tmp_path, parent + " for _ in range(2)]]") as found:
        assert found.await_end(60)
    assert found.failure == ""
    assert found.cpu is not None and found.cpu >= 0.6
    assert 120_000_000 < found.memory < 300_000_000
    assert found.seconds is not None and found.seconds >= 0.3


def test_one_that_fails_is_quoted(tmp_path: Path) -> None:
    with program(tmp_path, "print('one'); raise SystemExit('no luck')") as found:
        assert found.await_end(60)
    assert found.failure == "it ended with status 1: no luck"


def test_what_goes_on_is_ended_with_its_children(tmp_path: Path) -> None:
    text = (
        "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); time.sleep(60)"
    )
    with program(tmp_path, text) as found:
        await_true(lambda: found.output().strip().isdecimal(), what="its child")
        child = int(found.output())
        assert not found.ended

    def gone() -> bool:
        return not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE

    await_true(gone, what="its child is gone")
    assert found.seconds is not None and not psutil.pid_exists(found.pid)


# --- the trials


class FakeIndices(Indices):
    """Holds `there` documents."""

    there = 20
    cleared = 0

    def __init__(self, *_: object) -> None:
        pass

    def clear(self) -> None:
        FakeIndices.cleared += 1

    def indexed(self) -> int:
        return self.there

    def documents(self) -> int:
        return self.there


@pytest.fixture
def bench(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(extraction_measure, "Indices", FakeIndices)
    monkeypatch.setattr(extraction_measure, "_LONGEST_QUIET", 0)
    monkeypatch.setattr(extraction_measure, "_QUIET_LOOK_SECONDS", 0)
    monkeypatch.setattr(FakeIndices, "cleared", 0)
    pids = dict.fromkeys((MARIADB, ELASTICSEARCH), os.getpid())
    room = Room(lambda *_: None, lambda *_: None, lambda: None)
    return Bench(Engines(settings, SCHEMA, pids, None, room), 20, lambda _: None)  # type: ignore[arg-type]


def runs(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    command = ((sys.executable, "-c", text), dict(os.environ))
    monkeypatch.setattr(Bench, "_command", lambda *_: command)


def test_a_mover_is_measured_to_its_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, "import time; time.sleep(0.3)")
    trial = bench.measure(EXTRACT, 1)
    assert trial.whole and trial.seconds >= 0.3 and trial.cpu[CLIENT] > 0 and (trial.memory or 0) > 1_000_000
    assert FakeIndices.cleared == 2, "what was there before was counted"


def test_a_mover_that_fails_or_lacks_one_has_failed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, "raise SystemExit('no luck')")
    assert verdict(bench.measure(EXTRACT, 1)) == "failed: 20 instead of 20; it ended with status 1: no luck"
    runs(monkeypatch, "")
    monkeypatch.setattr("benchmarks.sink_measure._DOUBT_SECONDS", 0)
    monkeypatch.setattr(FakeIndices, "there", 19)
    assert verdict(bench.measure(PANDAS, 1)) == "failed: 19 instead of 20; it ended before all was there"
    monkeypatch.setattr(FakeIndices, "there", 21)
    assert not bench.measure(PANDAS, 1).whole


def test_a_select_must_see_all_rows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, "print(20)")
    assert bench.measure(SELECT, 1).whole
    runs(monkeypatch, "print(19)")
    assert verdict(bench.measure(SELECT, 1)) == "failed: 19 instead of 20"
    runs(monkeypatch, "raise SystemExit('no luck')")
    assert "no luck" in verdict(bench.measure(SELECT, 1))


def test_each_run_of_extraction_is_a_job_that_has_not_begun(bench: Bench) -> None:
    drafted: list[Path] = []
    room = Room(lambda *_: None, lambda _settings, _table, path: drafted.append(path), lambda: None)
    bench._engines = replace(bench._engines, room=room)
    commands = []
    for _ in range(2):
        bench._trials += 1
        commands.append(bench._command(EXTRACT))
    assert [command[-1] for command, _ in commands] == list(map(str, drafted))
    assert len(set(drafted)) == 2
    assert commands[0][0][1:5] == ("-m", "maredata.cli", "extract", "run")
    assert commands[0][1]["MARE_HOME"] == str(bench._engines.settings.home)


def test_rounds_hold_every_mover_in_turns(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "measure", lambda _self, mover, number: replace(TRIAL, mover=mover, round=number))
    found = bench.rounds(2, (LIMIT, EXTRACT, SELECT))
    assert [(trial.round, trial.mover) for trial in found] == [
        (1, LIMIT), (1, EXTRACT), (1, SELECT), (2, EXTRACT), (2, LIMIT), (2, SELECT),
    ]  # fmt: skip


def test_waiting_ends_when_it_came_true_or_time_is_up() -> None:
    looks = iter([False, False, True])
    assert cpu_window.until(lambda: next(looks), 60, 0)
    assert not cpu_window.until(lambda: False, 0, 0)


# --- ingestr


def installed(home: Path, script: str) -> None:
    path = ingestr.folder(home) / "bin" / "ingestr"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_ingestr_that_cannot_be_measured_says_why(tmp_path: Path) -> None:
    assert ingestr.find(tmp_path, False, lambda _: None) == (
        None, "it is not installed; --install-peers does so, by pip"
    )  # fmt: skip
    installed(tmp_path, "echo trying >&2; echo its program could not be fetched >&2; exit 3")
    assert ingestr.find(tmp_path, True, lambda _: None) == (
        None, "it does not run here: its program could not be fetched"
    )  # fmt: skip


def test_ingestr_is_told_where_all_is(settings: Settings) -> None:
    installed(settings.home, "echo ingestr 1.2.3")
    assert ingestr.find(settings.home, False, lambda _: None) == ("ingestr 1.2.3", "")
    store = settings.mariadb.model_copy(update={"password": "p@ss/word"})
    command = ingestr.command(settings.model_copy(update={"mariadb": store}))
    assert "--source-uri=mysql://mare:p%40ss%2Fword@127.0.0.1:3306/observatory" in command
    assert "--dest-uri=elasticsearch://127.0.0.1:9200?secure=false" in command
    assert ingestr.environment(settings.home)["HOME"].startswith(str(settings.home))


def test_what_is_not_there_is_left_out_and_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    facts: dict[str, Any] = {"versions": {}}
    movers, missing = extraction._movers(settings, Options(), facts, said.append)
    assert movers == [LIMIT, EXTRACT, PANDAS, SELECT, WIDER] and list(missing) == [INGESTR]
    assert said == ["not measured: ingestr: it is not installed; --install-peers does so, by pip"]
    monkeypatch.setattr(extraction, "find_spec", lambda _: None)
    installed(settings.home, "echo ingestr 1.2.3")
    movers, missing = extraction._movers(settings, Options(), facts, said.append)
    assert INGESTR in movers and list(missing) == [PANDAS] and facts["versions"]["ingestr"] == "ingestr 1.2.3"


# --- what is told


def test_it_has_a_home_and_ports_of_its_own(settings: Settings) -> None:
    own = both_stores(settings, 23_000)
    ports = (own.mariadb.port, own.elasticsearch.port, own.elasticsearch.transport_port)
    assert ports == (23_000, 23_001, 23_002) and own.home == settings.home / "benchmarks"


@pytest.fixture
def report(tmp_path: Path) -> Report:
    trials = (TRIAL, of(LIMIT, 1.9), of(SELECT, mariadb=0.31))
    facts = machine.facts()
    facts["versions"]["ingestr"] = None
    content = {
        "machine": facts | {"slow_connector": "it is slow"},
        "does": extraction.DOES,
        "missing": {INGESTR: "no luck"},
        "base": extraction.BASE,
        "summary": summary(trials),
        "options": {"rows": 7},
    }
    return Report(tmp_path / "result.json", content, (replace(TRIAL, round=0),), trials)


def test_the_tables_tell_it_all(report: Report) -> None:
    console = Console(width=200, record=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
    console.print(extraction_tables.render(report))
    shown = console.export_text()
    rows = {" ".join(line.split()) for line in shown.splitlines()}
    assert "warm-up extract run 50,000 66,667 80% 2% all there" in rows, shown
    assert "extract run 50,000 7.00 3.00 20.00 200" in rows, shown
    assert any(row.startswith("rate ÷ that of 2 clients 0.95 0.90 or more met; applied: the clients'") for row in rows)
    assert "MariaDB's, beside a plain SELECT's 3.00 3.10 or less met" in rows
    assert "rate ÷ ingestr's ? 2.0 or more ?" in rows
    assert "not measured: ingestr: no luck" in rows and "it is slow" in rows


@pytest.mark.parametrize(
    ("changes", "status"),
    [({}, 0), ({"trials": (TRIAL, replace(TRIAL, counted=1))}, 1), ({"warm_up": (replace(TRIAL, counted=1),)}, 1)],
)
def test_a_failed_trial_is_exit_status_1(
    report: Report, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], status: int
) -> None:
    asked: list[Options] = []

    def fake_run(_settings: Settings, options: Options, *_: object) -> Report:
        asked.append(options)
        return replace(report, **changes)

    monkeypatch.setattr(extraction, "run", fake_run)
    result = CliRunner().invoke(main, ["bench", "extraction", "--json", "--rows", "20050", "--rounds", "2"])
    assert (result.exit_code, json.loads(result.stdout)["options"]["rows"]) == (status, 7)
    assert (asked[0].rows, asked[0].rounds, asked[0].steps) == (20_050, 2, 200)
