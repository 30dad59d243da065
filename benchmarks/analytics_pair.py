"""The transactional user while analysts ask nobody, MariaDB or Elasticsearch: the project's reason, in figures.

Users and analysts are Locust processes of their own (`tests/load`), so that none takes another one's time.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.analytics_schedule import Plan, Record, as_json, curve, digest, within
from benchmarks.analytics_stores import ELASTICSEARCH, MARIADB
from benchmarks.cpu_window import look, until, used
from benchmarks.program import Program
from benchmarks.questions import QUESTIONS, Ground
from maredata.errors import StoreError
from maredata.settings import CHECKOUT, Settings, as_environment

NOBODY = "nobody"
CONDITIONS = (NOBODY, MARIADB, ELASTICSEARCH)
CONNECTIONS = 32  # of the transactional user
TRANSACTIONS, ANALYSTS = "transactions", "analysts"
_READY_SECONDS = 90.0
_HEAD_SECONDS = 0.5  # from the word to the beginning
_LONGEST_REST = 600.0  # for the answers to what was asked before the end
_LOOK_SECONDS = 0.1

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Load:
    """`rate` transactions a second; each of the analysts asks a question `every` seconds. What happens in the first
    `warm_up` seconds is not counted, and `seconds` come after it."""

    rate: float
    analysts: int
    every: float
    seconds: float
    warm_up: float
    seed: int


class Pair:
    """The same transactions three times; `pids` are the engines' now, by store."""

    def __init__(
        self,
        settings: Settings,
        ground: Ground,
        sensors: tuple[int, int],
        pids: Mapping[str, int],
        progress: Progress,
    ) -> None:
        self._settings = settings
        self._ground = ground
        self._sensors = sensors
        self._pids = pids
        self._progress = progress

    def measure(self, load: Load) -> list[dict[str, Any]]:
        return [self._condition(name, load) for name in CONDITIONS]

    def _condition(self, asked: str, load: Load) -> dict[str, Any]:
        folder = self._settings.home / "data" / "load"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        seconds = load.warm_up + load.seconds
        plans = {TRANSACTIONS: self._plan(folder, "", CONNECTIONS, seconds, load)}
        if asked != NOBODY:
            plans[ANALYSTS] = self._plan(folder, asked, load.analysts, seconds, load)
        with ExitStack() as held:
            programs = {name: held.enter_context(self._start(name, plan)) for name, plan in plans.items()}
            self._await(programs, {name: plan.ready for name, plan in plans.items()}, _READY_SECONDS)
            begin = time.time() + _HEAD_SECONDS
            _write(plans[TRANSACTIONS].go, repr(begin))
            time.sleep(max(0.0, begin + load.warm_up - time.time()))
            pids = {store: [pid] for store, pid in self._pids.items()}
            pids |= {name: [program.pid] for name, program in programs.items()}
            before, since = look(pids), time.monotonic()
            time.sleep(max(0.0, begin + seconds - time.time()))
            spent, window = used(before, look(pids)), time.monotonic() - since
            self._await(programs, {name: plan.record for name, plan in plans.items()}, _LONGEST_REST)
        records = {name: msgspec.json.decode(plan.record.read_bytes(), type=Record) for name, plan in plans.items()}
        cores = os.cpu_count() or 1
        found = {
            "analysts": asked,
            "transactions": transactions(records[TRANSACTIONS], load),
            "answers": answers(records[ANALYSTS], load) if ANALYSTS in records else None,
            "cores_used": {name: cpu / window for name, cpu in spent.cpu.items()},
            "elsewhere_share": max(0.0, spent.elsewhere) / (cores * window),
        }
        self._progress(f"analysts ask {asked}: {_said(found)}")
        return found

    def _plan(self, folder: Path, store: str, users: int, seconds: float, load: Load) -> Plan:
        return Plan(store, self._ground, self._sensors, load.seed, users, load.rate, load.every, seconds, str(folder))

    def _start(self, name: str, plan: Plan) -> Program:
        file = Path(plan.folder) / f"{name}.json"
        file.write_bytes(msgspec.json.encode(plan))
        script = CHECKOUT / "tests" / "load" / f"{name}.py"
        command = (
            sys.executable, "-m", "locust", "-f", str(script), "--headless", "--plan", str(file),
            "--users", str(plan.users), "--spawn-rate", str(plan.users), "--reset-stats", "--exit-code-on-error", "0",
        )  # fmt: skip
        environment = {**os.environ, **as_environment(self._settings)}
        return Program(command, environment, self._settings.home / "logs" / f"load-{name}.log")

    def _await(self, programs: Mapping[str, Program], files: Mapping[str, Path], seconds: float) -> None:
        """Raises StoreError where a process ended without its file, or is too late with it."""
        deadline = time.monotonic() + seconds
        for name, file in files.items():

            def there(name: str = name, file: Path = file) -> bool:
                return file.exists() or programs[name].ended

            if not until(there, max(0.0, deadline - time.monotonic()), _LOOK_SECONDS) or not file.exists():
                why = programs[name].failure or f"it was not there within {seconds:.0f} s"
                log = self._settings.home / "logs" / f"load-{name}.log"
                raise StoreError(f"The load process “{name}” did not do its part ({why}): look at {log}.")


def transactions(record: Record, load: Load) -> dict[str, Any]:
    """Latencies from the instant at which each was due, of those due after the warm-up."""
    samples = within(record.samples, load.warm_up, load.warm_up + load.seconds)
    kinds = {name: [sample.seconds for sample in samples if sample.name == name] for name in ("read", "insert")}
    every = [sample.seconds for sample in samples]
    return {
        "all": as_json(digest(every)),
        "curve": curve(every),
        **{name: as_json(digest(seconds)) for name, seconds in kinds.items()},
        "due": round(load.rate * load.seconds),
        "errors": record.errors,
    }


def answers(record: Record, load: Load) -> dict[str, Any]:
    """What the analysts asked after the warm-up; `per_second` counts the answers that came before the end."""
    end = load.warm_up + load.seconds
    samples = within(record.samples, load.warm_up, end)
    came = sum(load.warm_up <= sample.offset + sample.seconds < end for sample in record.samples)
    names = [question.name for question in QUESTIONS]
    by_question = {name: [sample.seconds for sample in samples if sample.name == name] for name in names}
    return {
        "per_second": came / load.seconds,
        "wanted_per_second": load.analysts / load.every,
        "all": as_json(digest(sample.seconds for sample in samples)),
        "by_question": {name: as_json(digest(seconds)) for name, seconds in by_question.items()},
        "errors": record.errors,
    }


def _said(found: Mapping[str, Any]) -> str:
    seen, asked = found["transactions"]["all"], found["answers"]
    latency = f"transactions p50 {1000 * seen['p50']:,.1f} ms, p99 {1000 * seen['p99']:,.1f} ms" if seen else "none"
    return latency + (f"; {asked['per_second']:.1f} answers/s" if asked else "")


def _write(file: Path, text: str) -> None:
    """At once: whoever sees the file finds all of it."""
    part = file.with_suffix(".part")
    part.write_text(text, "utf-8")
    part.rename(file)
