"""The instance that the matrix breaks: its processes, its load, its books. Whatever faults have in common."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from kafka.errors import KafkaError

from benchmarks.kernel import udp_port
from connect.connectors import states
from installs import services
from installs.engines import engines
from installs.launcher import ENGINES, stop_one
from installs.machine import find_java
from installs.process import Record, Service, await_ready, reap, record_of, start
from maredata.errors import MareError
from maredata.lag import end_offsets, sink_lag
from maredata.names import SINKS, dead_letters
from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT, Settings, as_environment
from maredata.state import ledger_file, read_json
from maredata.timestamps import format_timestamp
from tests.faults import accounts
from tests.faults.disks import SmallDisk
from tests.faults.load import READINGS_A_SECOND, Load
from tests.waiting import await_true

GATEWAY = "gateway"
_FIRST_SENSOR = 2_000_001
_SENSORS_EACH = 1_000
_UP_SECONDS = 900
_RECOVERY_SECONDS = 180
_STORED_SECONDS = 300
_FLOWING = 2 * READINGS_A_SECOND
_LOOK_SECONDS = 0.5


class RealSystem:
    """A `matrix.System` of real engines, in a home and on ports of its own. `disks` are sizes in bytes, by folder."""

    def __init__(self, settings: Settings, disks: Mapping[str, int] | None = None) -> None:
        self.settings = settings
        self.schema: Schema = load_schema(settings.reading.toml)
        self.disks: dict[str, SmallDisk] = {}
        self.load = Load(settings, _FIRST_SENSOR)
        self._sizes = dict(disks or {})
        self._numbers = count()
        self._services: dict[str, Service] = {}
        self._name = ""  # of the present fault
        self._log = settings.home / "accepted.csv"
        self.since = ""  # when the present fault began
        self._accepted_before = 0

    # --- the instance

    def up(self, progress: Callable[[str], None]) -> None:
        """`mare up`, on small disks where they are wanted. Raises MareError."""
        for folder, size in self._sizes.items():
            self.disks[folder] = SmallDisk.mounted(self.settings.home / folder, size)
        progress("mare up")
        self._mare("up", seconds=_UP_SECONDS)

    def down(self) -> None:
        """Removes all of it."""
        self.load.off()
        self._mare("down", seconds=_UP_SECONDS)
        for disk in self.disks.values():
            disk.unmount()
        shutil.rmtree(self.settings.home, ignore_errors=True)

    def renew(self) -> None:
        for disk in self.disks.values():
            disk.empty()
        for name in (*ENGINES, GATEWAY, "tend"):  # a stopped process would not end
            if record_of(self.settings, name) is not None:
                self.signal(name, signal.SIGCONT)
        self._mare("down", "--wipe", seconds=_UP_SECONDS, check=False)
        for folder, disk in self.disks.items():
            disk.unmount()
            self.disks[folder] = SmallDisk.mounted(disk.path, disk.size)
        self._mare("up", seconds=_UP_SECONDS)

    def keep_logs(self) -> None:
        """Beside the home, which goes."""
        kept = self.settings.home.with_name(f"{self._name}-logs")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.settings.home / "logs", kept)

    def service(self, name: str) -> Service:
        if not self._services:
            everything = (*engines(self.settings, find_java(self.settings)), *services.services(self.settings))
            self._services = {service.name: service for service in everything}
        return self._services[name]

    def alive(self, name: str) -> Record | None:
        """The service's process, where it lives."""
        record = record_of(self.settings, name)
        if record is not None:
            reap(record)
        return record if record is not None and record.alive else None

    def living(self, name: str) -> Record:
        """The service's process. Raises AssertionError where it doesn't live."""
        record = self.alive(name)
        assert record is not None, f"{name} does not run"
        return record

    def signal(self, name: str, number: signal.Signals) -> Record:
        """To its whole process group."""
        record = self.living(name)
        os.killpg(record.pid, number)
        return record

    def members(self, record: Record) -> list[psutil.Process]:
        """The living processes of its group."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getpgid(process.pid) == record.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, ProcessLookupError):
                continue
        return found

    def stop(self, name: str) -> None:
        """Properly, and so that `mare tend` does not start it again."""
        stop_one(self.settings, name)

    def start(self, name: str) -> Record:
        """Without waiting until it is ready. The gateway writes an accepted log, which the one of `mare up` doesn't."""
        service = self.service(name)
        if name == GATEWAY:
            service = replace(service, command=(*service.command, "--accepted-log", str(self._log)))
        return start(self.settings, service)

    def ledger(self) -> dict[str, Any]:
        return read_json(ledger_file(self.settings))

    def lines(self, column: str) -> int:
        return int(self.ledger()["lines"][column])

    def dead_letters(self) -> dict[str, int]:
        """Ever written, by sink."""
        found = end_offsets(self.settings, map(dead_letters, SINKS))
        return {sink: found.get(dead_letters(sink), 0) for sink in SINKS}

    def await_accepted(self, more: float) -> None:
        """Returns when the gateway has accepted so many more readings."""
        goal = self.lines("accepted") + more
        await_true(lambda: self.lines("accepted") > goal, what="readings flow")

    # --- what the loop asks for

    def begin(self, name: str) -> None:
        self._name = name
        self.load = Load(self.settings, _FIRST_SENSOR + next(self._numbers) * _SENSORS_EACH)
        self._log = self.settings.home / f"accepted-{name}.csv"
        self.since = format_timestamp(time.time_ns() // 1000)
        self.stop(GATEWAY)
        await_ready(self.settings, self.service(GATEWAY), self.start(GATEWAY))
        self._await(self._unwell, _RECOVERY_SECONDS)
        self._accepted_before = self.lines("accepted")

    def load_on(self) -> None:
        self.load.on()
        self.await_accepted(_FLOWING)

    def load_off(self) -> int:
        self.load.off()
        return self.load.sent

    def await_recovery(self) -> None:
        # So many that they can't be only those from before, and that an emulator which was started anew sends.
        goal = self.lines("accepted") + _FLOWING

        def lacking() -> str:
            return self._unwell() or ("" if self.lines("accepted") > goal else "no reading is accepted")

        self._await(lacking, _RECOVERY_SECONDS)

    def await_stored(self) -> None:
        port = self.settings.udp.port
        await_true(lambda: not udp_port(port).queued_bytes, what="the gateway has read what came")
        # Its ledger is written once a second, and of two that were written since, the second knows of it all.
        for _ in range(2):
            self._await_ledger(self.ledger()["updated"])
        self._await(self._under_way, _STORED_SECONDS)

    def verify(self, since: str | None = None) -> str:
        arguments = ["verify", "--exact", "--since", since or self.since, "--accepted", str(self._log), "--json"]
        answer = self._mare(*arguments, seconds=_STORED_SECONDS, check=False)
        if answer.returncode == 0:
            return ""
        said = answer.stderr.strip() or f"{json.loads(answer.stdout)['differences']['kinds']}"
        return f"`mare verify --exact` ended with {answer.returncode}: {said}"

    def balance(self) -> accounts.Balance:
        sensors = self.load.sensors
        return accounts.balance(
            self.lines("accepted") - self._accepted_before,
            accounts.logged(self._log, sensors),
            accounts.rows(self.settings, sensors),
            accounts.documents(self.settings, sensors),
        )

    def gone_behind(self) -> dict[str, int]:
        """Lag of each sink."""
        return sink_lag(self.settings)

    # --- its health

    def _unwell(self) -> str:
        """What does not run; empty where everything does."""
        for name in (*ENGINES, GATEWAY):
            if self.alive(name) is None or not self.service(name).ready():
                return f"{name} is not ready"
        if self.alive("tend") is None:
            return "tend does not run"
        try:
            waiting = [f"{name} is {state}" for name, state in states(self.settings).items() if state != "RUNNING"]
        except (MareError, KafkaError) as error:
            return f"{error}" or type(error).__name__
        return ", ".join(waiting)

    def _under_way(self) -> str:
        ledger = self.ledger()
        if ledger["lines"]["in_flight"] or ledger["spool"]["messages"]:
            return "readings are in the gateway"
        return ", ".join(f"{sink} is {lag} behind" for sink, lag in self.gone_behind().items() if lag)

    def _await_ledger(self, before: str) -> None:
        await_true(lambda: self.ledger()["updated"] != before, what="the ledger is written anew")

    def _await(self, lacking: Callable[[], str], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while what := lacking():
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
            time.sleep(_LOOK_SECONDS)

    def _mare(self, *arguments: str, seconds: float, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command of ours on this instance. Raises MareError with what it said, unless `check` is off."""
        answer = subprocess.run(
            [sys.executable, "-m", "maredata.cli", *arguments],
            env={**os.environ, **as_environment(self.settings)},
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and answer.returncode:
            said = (answer.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise MareError(f"`mare {arguments[0]}` failed: “{said}”. Look at {self.settings.home / 'logs'}.")
        return answer


_PLACES = (
    *(("kafka", "port"), ("kafka", "controller_port"), ("connect", "port"), ("mariadb", "port")),
    *(("elasticsearch", "port"), ("elasticsearch", "transport_port"), ("metrics", "port"), ("udp", "port")),
    ("dashboard", "port"),
)
PORTS = len(_PLACES)


def own_settings(settings: Settings, home: Path, ports: Sequence[int]) -> Settings:
    """The user's, but for a home, PORTS ports and small heaps of its own, and without the demo's buoys."""
    changes: dict[str, dict[str, Any]] = {
        "kafka": {"heap": "384m"},
        "connect": {"heap": "384m"},
        "elasticsearch": {"heap": "768m"},
    }
    for (section, name), port in zip(_PLACES, ports, strict=True):
        changes.setdefault(section, {})[name] = port
    sections = {name: getattr(settings, name).model_copy(update=update) for name, update in changes.items()}
    return settings.model_copy(update={"home": home, "demo": False, **sections})
