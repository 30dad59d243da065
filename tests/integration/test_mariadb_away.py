"""MariaDB stays away for longer than the sink's own tries: the sink waits, and is never FAILED."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

from conftest import Instance, start_gateway
from waiting import await_true

from connect.rest import FAILED, Rest
from installs.engines import engines
from installs.launcher import stop_one
from installs.machine import find_java
from installs.process import await_ready, start
from maredata.lag import sink_lag
from maredata.names import MARIADB_SINK
from maredata.timestamps import format_timestamp

BUOYS, RATE = 100, 2
FIRST_SENSOR = 500_001
LINE = "Nothing is lost, it will be tried again with new connections"
# What is sent meanwhile takes 20 s; Debezium gives up after 2 tries, a second apart.
MISSED = 20 * BUOYS * RATE


def test_the_sink_waits_for_mariadb_without_failing(instance: Instance) -> None:
    since = format_timestamp(time.time_ns() // 1000)
    accepted = instance.settings.home / "accepted-away.csv"
    logs = {name: Log(instance.settings.home / "logs" / f"{name}.log") for name in ("connect", "tend")}
    gateway = start_gateway(instance, "--accepted-log", str(accepted))
    emulator = instance.start(
        *("emulate", "--first-sensor-id", str(FIRST_SENSOR), "--buoys", str(BUOYS), "--rate", str(RATE))
    )
    await_true(lambda: accepted.exists() and accepted.stat().st_size, what="readings flow")
    with Rest(instance.settings.connect.url) as rest:
        assert stop_one(instance.settings, "mariadb")

        await_true(lambda: behind(instance, rest) > MISSED // 2, what="the sink is behind")
        # A task that starts without a database.
        rest.restart_part(MARIADB_SINK, 0)
        await_true(lambda: behind(instance, rest) > MISSED, what="the sink is further behind")
        (mariadb,) = (it for it in engines(instance.settings, find_java(instance.settings)) if it.name == "mariadb")
        await_ready(instance.settings, mariadb, start(instance.settings, mariadb))
        await_true(lambda: behind(instance, rest) < BUOYS * RATE * 2, what="the sink has caught up")
    emulator.send_signal(signal.SIGINT)
    assert emulator.wait(30) == 0
    gateway.send_signal(signal.SIGTERM)
    assert gateway.wait(30) == 0

    proof = instance.mare("verify", "--exact", "--since", since, "--accepted", str(accepted), "--wait", "60")
    assert proof.returncode == 0, proof.stdout + proof.stderr
    assert not re.findall(rf".*task {MARIADB_SINK}.*", logs["tend"].new()), "tend had to restart it"
    said = logs["connect"].new()
    assert 1 <= said.count(LINE) <= 4, said  # one a minute of each task, the one that was restarted included
    assert "RetriableException from SinkTask" not in said


class Log:
    """What a log says from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = path.stat().st_size

    def new(self) -> str:
        with self._path.open("rb") as file:
            file.seek(self._before)
            return file.read().decode(errors="replace")


def behind(instance: Instance, rest: Rest) -> int:
    """Readings that the sink has still to store; AssertionError if it, or its task, failed."""
    (sink,) = (connector for connector in rest.connectors() if connector.name == MARIADB_SINK)
    assert FAILED not in [sink.state, *(task.state for task in sink.tasks)], sink.trouble
    return sink_lag(instance.settings)[MARIADB_SINK]
