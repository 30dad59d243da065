"""Instances for tests: the real engines as plain processes, on ports and in folders of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from engines import Engines, keep, new_home, new_settings
from waiting import await_true

from installs.launcher import stop_one
from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT, Settings, as_environment
from maredata.state import ledger_file, read_json
from maredata.stores import connect_mariadb
from maredata.topics import apply_topics


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


@pytest.fixture(scope="session")
def broker() -> Iterator[Engines]:
    """Kafka alone, with our topics: all that a gateway needs."""
    with Engines("kafka") as engines:
        apply_topics(engines.settings, lambda _: None)
        yield engines


def demolish(instance: Instance) -> None:
    """Ends everything, and removes it, unless KEEP_TEST_INSTANCES asks for a look at it."""
    instance.end()
    instance.mare("down", "--wipe")
    if not keep():
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
