"""Load tests' users on real engines: small, to see that all of it works and is counted."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from engines import Engines
from ports import free_ports
from waiting import await_true

from benchmarks.analytics_schedule import Plan, Record
from benchmarks.questions import Ground
from maredata.names import READINGS
from maredata.schema import load_schema
from maredata.settings import CHECKOUT, Settings, as_environment
from maredata.stores import connect_mariadb

LOAD = CHECKOUT / "tests" / "load"
TWO_GREENLETS = """
import locust  # patches the standard library, as in every Locust process
import gevent
from benchmarks.analytics_stores import AskMariaDB
from maredata.settings import load_settings

def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.01)

ticks = []
with AskMariaDB(load_settings(None)) as mariadb:
    gevent.spawn(tick)
    mariadb.rows("SELECT SLEEP(1)")
print(len(ticks))
"""
RATE, SECONDS, LOCKED_SECONDS = 200.0, 3.0, 1.0
CONNECTIONS = 10


def environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, **as_environment(settings)}


@pytest.fixture(scope="module")
def database() -> Iterator[Settings]:
    """MariaDB alone, with an empty table of readings."""
    with Engines("mariadb") as engines:
        with closing(connect_mariadb(engines.settings)) as connection, connection.cursor() as cursor:
            cursor.execute(load_schema(engines.settings.reading.toml).create_table(READINGS))
        yield engines.settings


def test_a_question_to_mariadb_does_not_block_the_other_users_of_its_process(database: Settings) -> None:
    command = [sys.executable, "-c", TWO_GREENLETS]
    result = subprocess.run(
        command, env=environment(database), cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=True
    )
    assert int(result.stdout) > 10  # a hundred where nobody else uses the machine, and one where it blocks


def test_transactions_that_were_due_while_mariadb_stood_still_are_all_late(database: Settings, tmp_path: Path) -> None:
    """For a second nobody gets at the table. Counted from when each was begun, only those under way would be late."""
    ground = Ground(494_000, 494_100, ("temperature", "humidity", "pressure"), ((3.2, 42.5),))
    plan = Plan("", ground, (1, 9), 1, CONNECTIONS, RATE, 1.0, SECONDS, str(tmp_path))
    (tmp_path / "plan.json").write_bytes(msgspec.json.encode(plan))
    command = [sys.executable, "-m", "locust", "-f", str(LOAD / "transactions.py"), "--headless"]
    users = ["--users", str(CONNECTIONS), "--spawn-rate", str(CONNECTIONS), "--plan", str(tmp_path / "plan.json")]
    with (
        closing(connect_mariadb(database)) as connection,
        connection.cursor() as cursor,
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen([*command, *users], env=environment(database), cwd=CHECKOUT, stdout=log, stderr=log) as locust,
    ):
        await_true(plan.ready.exists, what="all users are connected")
        begin = time.time() + 0.2
        (tmp_path / "go.part").write_text(repr(begin))
        (tmp_path / "go.part").rename(plan.go)
        await_true(lambda: time.time() > begin + 1, what="a third of the transactions were due")
        cursor.execute(f"LOCK TABLES `{READINGS}` WRITE")
        cursor.execute(f"SELECT SLEEP({LOCKED_SECONDS})")
        cursor.fetchall()
        cursor.execute("UNLOCK TABLES")
        await_true(plan.record.exists, what="the record is written")
        assert locust.wait(30) == 0, (tmp_path / "log").read_text()
    record = msgspec.json.decode(plan.record.read_bytes(), type=Record)
    assert record.errors == {}
    assert len(record.samples) == RATE * SECONDS
    late = [sample for sample in record.samples if sample.seconds > LOCKED_SECONDS / 10]
    assert len(late) > 0.8 * RATE * LOCKED_SECONDS
    assert max(sample.seconds for sample in record.samples) > 0.8 * LOCKED_SECONDS
    kinds = Counter(sample.name for sample in record.samples)
    assert 0.1 < kinds["insert"] / kinds.total() < 0.3


def test_buoys_send_their_own_readings_one_after_the_other(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    sensors, log = range(910_001, 910_004), tmp_path / "log"
    seqs: dict[int, list[int]] = {sensor: [] for sensor in sensors}
    command = [sys.executable, "-m", "locust", "-f", str(LOAD / "buoys.py"), "--headless", "-u", "3", "-r", "3"]
    options = ["--readings-per-second", "20", "--first-sensor-id", str(sensors[0])]
    variables = {**os.environ, "MARE_UDP__PORT": str(port), "MARE_UDP__HOST": "127.0.0.1"}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, log.open("wb") as said:
        receiver.bind(("127.0.0.1", port))
        receiver.settimeout(60)
        with subprocess.Popen([*command, *options], env=variables, cwd=CHECKOUT, stdout=said, stderr=said) as locust:
            try:
                while min(map(len, seqs.values())) < 6:
                    reading = json.loads(receiver.recv(65_535))
                    seqs[reading["sensor_id"]].append(reading["seq"])
            finally:
                locust.terminate()
    assert locust.returncode == 0, log.read_text()
    for sent in seqs.values():
        assert sent == list(range(len(sent)))


def test_users_without_a_plan_say_what_they_need() -> None:
    command = [sys.executable, "-m", "locust", "-f", str(LOAD / "analysts.py"), "--headless", "-u", "1", "-t", "5s"]
    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    assert "need a plan" in result.stdout + result.stderr
