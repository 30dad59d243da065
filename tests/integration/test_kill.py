"""An engine killed at random moments under load: it comes back by itself, and nothing accepted is lost."""

from __future__ import annotations

import os
import random
import secrets
import signal
import time
from pathlib import Path

import pytest
from conftest import Instance, start_gateway
from waiting import await_true

from installs.engines import engines
from installs.machine import find_java
from installs.process import Record, record_of
from maredata.timestamps import format_timestamp

KILLS = 3
BUOYS = 500
RATE = 2  # readings a second of each buoy: 1,000 in all
FIRST_SENSOR = {"kafka": 100_001, "connect": 200_001, "elasticsearch": 300_001, "mariadb": 400_001}


@pytest.mark.parametrize("engine", FIRST_SENSOR)
def test_nothing_accepted_is_lost_when_it_is_killed(instance: Instance, engine: str) -> None:
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    accepted_log = instance.settings.home / f"accepted-{engine}.csv"
    # Other tests took what they had damaged out of the stores again, but not out of the topic.
    since = format_timestamp(time.time_ns() // 1000)
    gateway = start_gateway(instance, "--accepted-log", str(accepted_log))
    emulator = instance.start(
        *("emulate", "--first-sensor-id", str(FIRST_SENSOR[engine]), "--buoys", str(BUOYS), "--rate", str(RATE))
    )

    for _ in range(KILLS):
        goal = lines(accepted_log) + chance.randint(1_000, 6_000)
        await_true(lambda goal=goal: lines(accepted_log) > goal, what="readings flow")
        before = alive(instance, engine)
        os.killpg(before.pid, signal.SIGKILL)
        await_true(lambda before=before: not before.alive, what=f"{engine} is dead")
        await_true(lambda before=before: alive(instance, engine).pid != before.pid, what=f"{engine} is revived")

    ready = {service.name: service.ready for service in engines(instance.settings, find_java(instance.settings))}
    await_true(ready[engine], what=f"{engine} is back")
    goal = lines(accepted_log) + 3_000
    await_true(lambda: lines(accepted_log) > goal, what="readings flow again")
    emulator.send_signal(signal.SIGINT)
    assert emulator.wait(30) == 0
    gateway.send_signal(signal.SIGTERM)
    assert gateway.wait(30) == 0

    began = time.monotonic()
    proof = instance.mare("verify", "--exact", "--since", since, "--accepted", str(accepted_log), "--wait", "60")
    print(f"{engine}: {lines(accepted_log)} accepted, verified {time.monotonic() - began:.0f} s after the end of flow")
    assert proof.returncode == 0, proof.stdout + proof.stderr


def lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0


def alive(instance: Instance, name: str) -> Record:
    """The service's process once it lives: `tend` may be about to start it anew."""

    def find() -> Record | None:
        record = record_of(instance.settings, name)
        return record if record is not None and record.alive else None

    return await_true(find, what=f"{name} runs")
