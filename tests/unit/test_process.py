"""Processes of an instance: found again, ended with all their children, and their failures told in a sentence."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
import waiting

from installs import process
from installs.launcher import Reviver
from installs.process import Service, await_ready, record_of, start, stop
from maredata.errors import EngineExited, EngineTimedOut
from maredata.settings import Settings
from maredata.state import read_json, write_json

await_true = partial(waiting.await_true, seconds=20)

SLEEPER = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
)
WITH_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPER!r}])"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    made = Settings.model_validate({"home": tmp_path})
    yield made
    for record in (tmp_path / "run").glob("*.json"):
        stop(made, record.stem, 0)


def service(code: str, ready: Callable[[], bool] = lambda: True, seconds: float = 20) -> Service:
    return Service(
        name="thing",
        version="1",
        address="here",
        command=(sys.executable, "-c", code),
        environment=dict(os.environ),
        ready=ready,
        ready_seconds=seconds,
    )


def test_a_process_is_found_again_and_stopped(settings: Settings) -> None:
    started = start(settings, service(SLEEPER))
    assert record_of(settings, "thing") == started
    assert started.alive
    assert stop(settings, "thing", 20)
    assert not started.alive
    assert record_of(settings, "thing") is None
    assert not stop(settings, "thing", 20)


def test_one_that_does_not_listen_is_killed(settings: Settings) -> None:
    started = start(settings, service(STUBBORN))
    await_true(lambda: "deaf" in process.log_file(settings, "thing").read_text())
    assert stop(settings, "thing", 0.2)
    assert not started.alive


def test_its_children_end_with_it_even_where_it_died_before_them(settings: Settings) -> None:
    started = start(settings, service(WITH_CHILD))
    await_true(lambda: bool(psutil.Process(started.pid).children()))
    child = psutil.Process(started.pid).children()[0]
    os.kill(started.pid, signal.SIGKILL)
    await_true(lambda: not started.alive)
    assert child.is_running()
    start(settings, service(SLEEPER))
    await_true(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_number_that_belongs_to_somebody_else_by_now_is_left_alone(settings: Settings) -> None:
    start(settings, service(SLEEPER))
    path = settings.home / "run" / "thing.json"
    other = psutil.Process()
    stale = read_json(path) | {"pid": other.pid, "started": other.create_time() - 1000}
    os.killpg(read_json(path)["pid"], signal.SIGKILL)
    write_json(path, stale)
    assert not stop(settings, "thing", 0.1)
    assert other.is_running()


def test_one_that_ends_at_once_says_why(settings: Settings) -> None:
    broken = service("import sys; sys.exit('Error: no such disk')", ready=lambda: False)
    with pytest.raises(EngineExited, match=r"thing ended .* “Error: no such disk”. See `mare logs thing`."):
        await_ready(settings, broken, start(settings, broken))


def test_one_that_is_never_ready_says_so(settings: Settings) -> None:
    slow = service(SLEEPER, ready=lambda: False, seconds=0.3)
    with pytest.raises(EngineTimedOut, match="thing was not ready within 0 s"):
        await_ready(settings, slow, start(settings, slow))


def test_what_died_is_revived_and_what_was_stopped_is_not(settings: Settings) -> None:
    gateway = Service(**{**vars(service(SLEEPER)), "name": "gateway"})
    reviver = Reviver(settings, {"gateway": gateway})
    first = start(settings, gateway)
    assert reviver.revive() == []
    os.kill(first.pid, signal.SIGKILL)
    await_true(lambda: reviver.revive() == ["gateway"])
    second = record_of(settings, "gateway")
    assert second is not None
    assert second.pid != first.pid
    stop(settings, "gateway", 20)
    assert reviver.revive() == []


def test_nothing_is_revived_while_up_or_down_work_on_it(settings: Settings) -> None:
    gateway = Service(**{**vars(service(SLEEPER)), "name": "gateway"})
    reviver = Reviver(settings, {"gateway": gateway})
    first = start(settings, gateway)
    os.kill(first.pid, signal.SIGKILL)
    await_true(lambda: not first.alive)
    with (settings.home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert reviver.revive() == []
    assert reviver.revive() == ["gateway"]


def test_one_that_dies_again_and_again_is_revived_with_growing_waits(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Service(**{**vars(service("pass")), "name": "gateway"})
    reviver = Reviver(settings, {"gateway": gateway})
    clock = time.time()
    monkeypatch.setattr("installs.launcher.time.time", lambda: clock)
    start(settings, gateway)
    waits = []
    for _ in range(7):
        await_true(lambda: not record_of(settings, "gateway").alive)  # type: ignore[union-attr]
        before = clock
        while not reviver.revive():
            clock += 0.5
        waits.append(clock - before)
    assert waits == [0, 1, 2, 4, 8, 16, 30]
