"""Engines as plain processes, on ports and in a folder of a test's own; nobody tends them."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import uuid
from pathlib import Path
from typing import Any, Self

from elasticsearch import Elasticsearch
from ports import free_ports
from waiting import await_true

from installs.artifacts import fetch
from installs.engines import connect, elasticsearch, kafka, mariadb
from installs.machine import find_java
from installs.process import Service, await_ready, record_of, start, stop
from maredata.settings import CHECKOUT, STATE, Settings
from maredata.stores import connect_elasticsearch

ADMIN = "administrator"  # of MariaDB, and its password: may do everything
_SETTINGS_WITH_PORT = (
    ("kafka", "port"),
    ("kafka", "controller_port"),
    ("connect", "port"),
    ("mariadb", "port"),
    ("elasticsearch", "port"),
    ("elasticsearch", "transport_port"),
    ("metrics", "port"),
    ("udp", "port"),
    ("dashboard", "port"),
)


class Engines:
    """Those named, once `with` was entered; at its end they are removed. A test may stop, kill and start them.

    Where `failed` is set by then, their logs are kept.
    """

    def __init__(self, *names: str, **changes: object) -> None:
        self.settings = new_settings(new_home(), **changes)
        self.failed = False
        self.commands: list[subprocess.Popen[str]] = []  # that a test began: each leads a process group
        self._java = find_java(self.settings)
        self._engines: dict[str, tuple[Settings, Service]] = {}
        fetch(self.settings, self._java, lambda _: None)
        for name in names:
            self.add(name, self.settings)

    def __enter__(self) -> Self:
        try:
            self.start(*(name for name in self._engines if name != "connect"))
            self.start(*self._engines)  # a worker needs Kafka
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for command in self.commands:
            if command.poll() is None:  # a failed test's: it would wait for its engines without end
                os.killpg(command.pid, signal.SIGKILL)
                command.wait()
        for name in reversed(self._engines):
            self.stop(name)
        if self.failed and not keep():
            for settings, _service in self._engines.values():
                shutil.rmtree(settings.home / "data", ignore_errors=True)
        elif not keep():
            shutil.rmtree(self.settings.home, ignore_errors=True)

    def add(self, name: str, settings: Settings, kind: str = "") -> None:
        """One more, which is not started yet, of the `kind` that its name says unless told otherwise."""
        (settings.home / "logs").mkdir(parents=True, exist_ok=True)
        settings.home.chmod(0o755)  # for the account that engines run as
        made = {
            "kafka": lambda: kafka(settings, self._java),
            "connect": lambda: connect(settings, self._java),
            "elasticsearch": lambda: elasticsearch(settings, self._java),
            "mariadb": lambda: _with_administrator(settings, mariadb(settings)),
        }
        self._engines[name] = (settings, made[kind or name]())

    @property
    def store(self) -> Elasticsearch:
        return connect_elasticsearch(self.settings).options(request_timeout=120)

    def start(self, *names: str) -> None:
        """Starts those that don't run, all at once, and waits until they are ready."""
        started = {name: start(*self._engines[name]) for name in names if not self.running(name)}
        for name, record in started.items():
            await_ready(*self._engines[name], record)

    def running(self, name: str) -> bool:
        settings, service = self._engines[name]
        record = record_of(settings, service.name)
        return record is not None and record.alive

    def stop(self, name: str) -> None:
        settings, service = self._engines[name]
        stop(settings, service.name, 30)

    def kill(self, name: str) -> None:
        """kill -9 of the whole process group."""
        settings, service = self._engines[name]
        record = record_of(settings, service.name)
        assert record is not None and record.alive, f"{name} isn't there to be killed"
        os.killpg(record.pid, signal.SIGKILL)
        # Its port can outlive it by a moment, and would make the next process look ready.
        await_true(lambda: not record.alive and not service.ready(), what=f"{name} is dead")


def keep() -> bool:
    """Whether somebody wants to look at what a test leaves."""
    return bool(os.environ.get("KEEP_TEST_INSTANCES"))


def new_settings(home: Path, **changes: object) -> Settings:
    """Settings of an instance in `home`, with free ports and a copy of reading.toml that a test may edit."""
    home.mkdir(parents=True)
    shutil.copy(CHECKOUT / "maredata" / "reading.toml", home / "reading.toml")
    sections: dict[str, Any] = {
        "udp": {},
        "metrics": {},
        "reading": {"toml": home / "reading.toml"},
        "kafka": {"heap": "384m"},
        "connect": {"heap": "384m"},
        "mariadb": {},
        "elasticsearch": {"heap": "768m"},
        "dashboard": {},
    }
    for (section, name), port in zip(_SETTINGS_WITH_PORT, free_ports(len(_SETTINGS_WITH_PORT)), strict=True):
        sections[section][name] = port
    for name, change in changes.items():
        if isinstance(change, dict):
            sections[name].update(change)
        else:
            sections[name] = change
    # Compiled quickly rather than well: half the CPU until Elasticsearch answers, and tests start engines often.
    return Settings.model_validate({"home": home, "demo": False, "java_options": "-XX:TieredStopAtLevel=1", **sections})


def new_home() -> Path:
    """A folder that the account that engines run as can enter: pytest's own temporary ones are closed to it."""
    return STATE / "test" / uuid.uuid4().hex[:8]


def _with_administrator(settings: Settings, service: Service) -> Service:
    def prepare() -> None:
        service.prepare()
        with (settings.home / "data" / "mariadb" / "init.sql").open("a") as script:
            script.write(f"CREATE USER IF NOT EXISTS '{ADMIN}'@'%' IDENTIFIED BY '{ADMIN}';\n")
            script.write(f"GRANT ALL PRIVILEGES ON *.* TO '{ADMIN}'@'%' WITH GRANT OPTION;\n")

    return dataclasses.replace(service, prepare=prepare)
