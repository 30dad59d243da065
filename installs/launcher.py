"""`mare up`, `mare down` and what `mare tend` revives: an instance's processes, as a whole."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from installs import artifacts, machine
from installs.engines import engines
from installs.process import Record, Service, await_ready, reap, record_of, start, stop
from installs.services import BUOYS, services
from maredata.errors import EngineAlreadyRunning, MareError
from maredata.settings import Settings

ENGINES = ("elasticsearch", "mariadb", "kafka", "connect")
NAMES = (*ENGINES, "gateway", "tend", "dashboard", *BUOYS)
# Senders first, then whoever would revive the others; Kafka last, since everything hangs on it.
_STOP_ORDER = (*BUOYS, "tend", "dashboard", "gateway", "connect", "elasticsearch", "mariadb", "kafka")
_STOP_SECONDS = 60
_LOCK_SECONDS = 5
_STEADY_SECONDS = 60  # a process that ran this long is revived without a wait when it dies

Progress = Callable[[str], None]


def processes(settings: Settings) -> list[Record]:
    """What was started and not stopped since, in the order of NAMES, dead or alive."""
    return [record for name in NAMES if (record := record_of(settings, name))]


def up(settings: Settings, apply: Callable[[], None], progress: Progress) -> bool:
    """Starts what does not run yet; False where everything did.

    `apply` creates topics, tables, template and connectors once the engines are ready. Whatever goes wrong, what
    this call started is stopped again.

    Raises:
        MachineError: this machine lacks something.
        EngineError: an engine did not start.
    """
    with _locked(settings):
        running = {record.name for record in processes(settings) if record.alive}
        if running >= {*ENGINES, *(service.name for service in services(settings))}:
            return False
        progress("checking this machine")
        java = machine.find_java(settings)
        if not running:
            machine.check_room(settings)
        machine.check_entry(settings, settings.home, settings.engines, java.home)
        artifacts.fetch(settings, java, progress)
        wanted = [service for service in engines(settings, java) if service.name not in running]
        ours = [service for service in services(settings) if service.name not in running]
        machine.check_ports([*wanted, *ours], settings.kafka.host)
        try:
            _start_engines(settings, wanted, progress)
            progress("applying topics, tables, index template and connectors")
            apply()
            _start_ours(settings, ours, progress)
        except (MareError, OSError, KeyboardInterrupt):
            progress("stopping what was started")
            for name in _STOP_ORDER:
                if name not in running:
                    stop(settings, name, _STOP_SECONDS)
            raise
        return True


def down(settings: Settings, progress: Progress) -> list[str]:
    """Stops everything in order, and returns the names of what ran."""
    with _locked(settings):
        stopped = []
        for name in _STOP_ORDER:
            if record_of(settings, name) is not None:
                progress(f"stopping {name}")
                if stop(settings, name, _STOP_SECONDS):
                    stopped.append(name)
        return stopped


def stop_one(settings: Settings, name: str) -> bool:
    """Stops one service for good: `tend` won't revive it, `mare up` will start it again. False where it didn't run."""
    with _locked(settings):
        return stop(settings, name, _STOP_SECONDS)


@dataclass
class Reviver:
    """Restarts processes that died, each with growing waits: the local half of `mare tend`."""

    settings: Settings
    _services: dict[str, Service] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)
    _waits: dict[str, float] = field(default_factory=dict)

    def revive(self) -> list[str]:
        """Starts whatever has a record and no process; the names of what was started. Nothing is waited for.

        While `mare up` or `mare down` works on the instance it does nothing: what they stop must stay stopped.
        """
        revived = []
        with suppress(EngineAlreadyRunning), _locked(self.settings, seconds=0):
            for record in processes(self.settings):
                reap(record)
                if not record.alive and record.name != "tend" and time.time() >= self._not_before.get(record.name, 0):
                    self._restart(record)
                    revived.append(record.name)
        return revived

    def _restart(self, record: Record) -> None:
        name = record.name
        steady = time.time() - record.started > _STEADY_SECONDS
        self._waits[name] = 1 if steady else min(30, 2 * self._waits.get(name, 0.5))
        self._not_before[name] = time.time() + self._waits[name]
        start(self.settings, self._known()[name])

    def _known(self) -> dict[str, Service]:
        if not self._services:
            java = machine.find_java(self.settings)
            everything = (*engines(self.settings, java), *services(self.settings))
            self._services = {service.name: service for service in everything}
        return self._services


def _start_engines(settings: Settings, wanted: list[Service], progress: Progress) -> None:
    """All at once, but for Connect, which can do nothing before Kafka answers."""

    def launch(service: Service) -> None:
        seconds = await_ready(settings, service, start(settings, service))
        progress(f"{service.name} {service.version} ready after {seconds:.0f} s")

    def launch_both() -> None:
        for service in wanted:
            if service.name in ("kafka", "connect"):
                launch(service)

    with ThreadPoolExecutor(len(ENGINES)) as pool:
        progress(f"starting {', '.join(service.name for service in wanted) or 'no engine'}")
        launches = [pool.submit(launch, service) for service in wanted if service.name not in ("kafka", "connect")]
        for launched in (*launches, pool.submit(launch_both)):
            launched.result()


def _start_ours(settings: Settings, ours: list[Service], progress: Progress) -> None:
    """One after the other, since buoys send to the gateway; nothing needs those that may be awaited last."""
    last = [(service, start(settings, service)) for service in ours if service.awaited_last]
    for service in ours:
        if not service.awaited_last:
            await_ready(settings, service, start(settings, service))
            progress(f"{service.name} runs")
    for service, record in last:
        await_ready(settings, service, record)
        progress(f"{service.name} runs")


@contextmanager
def _locked(settings: Settings, seconds: float = _LOCK_SECONDS) -> Iterator[None]:
    """One `up` or `down` at a time. `tend` holds the lock for moments only, which are waited for."""
    settings.home.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + seconds
    with (settings.home / ".lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise EngineAlreadyRunning(
                        "Another `mare up` or `mare down` works on this instance: wait until it is done."
                    ) from None
            time.sleep(0.05)
        yield


def wipe(settings: Settings) -> None:
    """Removes what an instance has written; the engines' programs and the Python environment stay."""
    with _locked(settings):
        alive = [record.name for record in processes(settings) if record.alive]
        if alive:
            raise EngineAlreadyRunning(f"{', '.join(alive)} still runs: `mare down --wipe` stops and wipes.")
        for folder in ("data", "logs", "run", "state"):
            shutil.rmtree(settings.home / folder, ignore_errors=True)
