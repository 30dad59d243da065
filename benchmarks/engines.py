"""Engines of a benchmark's own, beside any instance that runs, and gone when it is over."""

from __future__ import annotations

import fcntl
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from installs import artifacts, machine
from installs.process import Port, Service, await_ready, start, stop
from maredata.errors import EngineAlreadyRunning
from maredata.settings import Elasticsearch, MariaDB, Reading, Settings

_STOP_SECONDS = 30
_STOP_ORDER = ("connect", "elasticsearch", "mariadb", "kafka")  # of whatever a benchmark starts
FIRST_PORT = "--first-port"  # the option that moves all ports

Engine = Callable[[Settings, machine.Java], Service]


@contextmanager
def running(settings: Settings, engines: Sequence[Engine], progress: Callable[[str], None]) -> Iterator[dict[str, int]]:
    """The engines, empty and started one after the other; their pids, by name. Afterwards none is left, nor its data.

    Raises:
        MachineError: this machine lacks something.
        EngineError: one did not start.
    """
    java = machine.find_java(settings)
    machine.check_entry(settings, settings.home, settings.engines, java.home)
    artifacts.fetch(settings, java, progress)
    services = [_movable(engine(settings, java)) for engine in engines]
    _remove(settings)  # what a benchmark that was killed has left
    machine.check_ports(services, settings.kafka.host)
    try:
        pids = {}
        for service in services:
            progress(f"starting {service.name}")
            record = start(settings, service)
            await_ready(settings, service, record)
            pids[service.name] = record.pid
        yield pids
    finally:
        _remove(settings)


def both_stores(settings: Settings, first_port: int) -> Settings:
    """A benchmark's own of MariaDB and Elasticsearch: defaults, but for its home and three ports."""
    return settings.model_copy(
        update={
            "home": settings.home / "benchmarks",
            "mariadb": MariaDB(port=first_port),
            "elasticsearch": Elasticsearch(port=first_port + 1, transport_port=first_port + 2),
            "reading": Reading(),
        }
    )


def _movable(service: Service) -> Service:
    """The same, but a port that is in use is told with the option that moves it."""
    return replace(service, ports=tuple(Port(port.number, FIRST_PORT, port.udp) for port in service.ports))


def _remove(settings: Settings) -> None:
    for name in _STOP_ORDER:
        stop(settings, name, _STOP_SECONDS)
    for folder in ("data", "state"):  # a job's checkpoint would hold for the next benchmark's job of that name, too
        shutil.rmtree(settings.home / folder, ignore_errors=True)


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Two benchmarks would have the same ports, and would measure each other. Raises EngineAlreadyRunning."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineAlreadyRunning("Another benchmark runs here: wait until it is done.") from None
        yield


@contextmanager
def ends_in_order() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does, so that nothing that was started is left behind."""
    earlier = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
