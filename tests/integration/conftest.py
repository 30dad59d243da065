"""Instances for tests: the real engines as plain processes, on ports and in folders of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ports import free_ports
from waiting import await_true

from installs.artifacts import fetch
from installs.engines import kafka
from installs.launcher import stop_one
from installs.machine import find_java
from installs.process import Service, await_ready, record_of, start, stop
from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT, STATE, Settings, as_environment
from maredata.state import ledger_file, read_json
from maredata.stores import connect_mariadb
from maredata.topics import apply_topics

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


@dataclass
class Instance:
    """A running instance: engines, `tend` and both sinks; tests start the gateways and emulators they need."""

    settings: Settings
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def schema(self) -> Schema:
        return load_schema(self.settings.reading.toml)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **as_environment(self.settings)}

    def mare(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Runs a command of the CLI on this instance to its end."""
        return subprocess.run(
            [sys.executable, "-m", "maredata.cli", *arguments],
            env=self.environment,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def rows(self, sql: str, bound: tuple[Any, ...] = ()) -> list[Any]:
        """What MariaDB answers."""
        with connect_mariadb(self.settings) as session, session.cursor() as cursor:
            cursor.execute(sql, bound)
            return list(cursor.fetchall()) if cursor.description else []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a command that goes on; it is ended with the instance at the latest."""
        self.started.append(subprocess.Popen([sys.executable, "-m", "maredata.cli", *arguments], env=self.environment))
        return self.started[-1]

    def end(self) -> None:
        for running in self.started:
            if running.poll() is None:
                running.terminate()
        for running in self.started:
            running.wait(30)
        self.started.clear()


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


def launch(settings: Settings, gateway: bool = False) -> Instance:
    """`mare up`; without `gateway` the one that it started is stopped, since most tests start their own."""
    instance = Instance(settings)
    result = instance.mare("up", timeout=900)
    assert result.returncode == 0, f"`mare up` failed: {result.stdout}{result.stderr}"
    assert gateway or stop_one(settings, "gateway"), "`mare up` left no gateway running"
    return instance


def start_gateway(instance: Instance, *arguments: str) -> subprocess.Popen[bytes]:
    """A gateway of the test's own, once it listens."""
    gateway = instance.start("serve", *arguments)
    ledger = ledger_file(instance.settings)
    await_true(lambda: read_json(ledger).get("pid") == gateway.pid, what="the gateway listens")
    return gateway


@dataclass
class Broker:
    """Kafka alone, with our topics: all that a gateway needs."""

    settings: Settings
    service: Service

    def start(self) -> None:
        await_ready(self.settings, self.service, start(self.settings, self.service))

    def stop(self) -> None:
        stop(self.settings, self.service.name, 30)

    def kill(self) -> None:
        record = record_of(self.settings, self.service.name)
        assert record is not None
        os.killpg(record.pid, signal.SIGKILL)
        await_true(lambda: not record.alive, what="Kafka is dead")


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    settings = new_settings(new_home())
    settings.home.chmod(0o755)
    java = find_java(settings)
    fetch(settings, java, lambda _: None)
    running = Broker(settings, kafka(settings, java))
    running.start()
    apply_topics(settings, lambda _: None)
    yield running
    running.stop()
    if not os.environ.get("KEEP_TEST_INSTANCES"):
        shutil.rmtree(settings.home, ignore_errors=True)


def demolish(instance: Instance) -> None:
    """Ends everything, and removes it, unless KEEP_TEST_INSTANCES asks for a look at it."""
    instance.end()
    instance.mare("down", "--wipe")
    if not os.environ.get("KEEP_TEST_INSTANCES"):
        shutil.rmtree(instance.settings.home, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The faults come last: each later look at the topic would have their readings to go through."""
    items.sort(key=lambda item: item.path.name == "test_faults.py")


@pytest.fixture(scope="session")
def instance() -> Iterator[Instance]:
    """One instance for all tests that leave it as it was."""
    running = launch(new_settings(new_home()))
    yield running
    demolish(running)


@pytest.fixture(autouse=True)
def end_what_the_test_started(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "instance" in request.fixturenames:
        request.getfixturevalue("instance").end()


@pytest.fixture
def own_instance() -> Iterator[Callable[..., Instance]]:
    """Makes instances for tests that change the schema, or kill and wipe."""
    made: list[Instance] = []

    def make(gateway: bool = False, **changes: object) -> Instance:
        made.append(launch(new_settings(new_home(), **changes), gateway))
        return made[-1]

    yield make
    for running in made:
        demolish(running)
