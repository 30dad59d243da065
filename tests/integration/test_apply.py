"""`mare apply` on the real engines: fields are added while readings flow, and nothing is lost by it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from conftest import Instance, demolish, launch
from engines import new_home, new_settings
from waiting import await_true

from connect import connectors
from connect.rest import Rest
from maredata.apply import apply
from maredata.errors import SettingsError
from maredata.lag import sink_lag
from maredata.names import ALL_CONNECTORS, READINGS, SINKS
from maredata.reading import identity
from maredata.state import ledger_file, read_json
from maredata.stores import connect_elasticsearch
from maredata.timestamps import format_timestamp

SENSORS = 100
ODD_TEXT = """it's a "buoy" \\ ? % `é`"""  # it stands in an SQL statement
RATE = 1000  # readings a second of all of them
FIRST_SENSOR, OTHER_SENSOR = 800_001, 700_001
NEW_FIELDS = """
[fields.salinity]
type = "number"
unit = "PSU"
limits = [0, 100]

[fields.note]
type = "text"
max_length = 40
"""


@dataclass
class Sender:
    """Sends readings that have the new fields, from before they are known until stopped."""

    port: int
    sent: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        began = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            while not self.stop.is_set():
                while self.sent < (time.monotonic() - began) * RATE:
                    udp.sendto(self._line(), ("127.0.0.1", self.port))
                    self.sent += 1
                time.sleep(0.005)

    def _line(self) -> bytes:
        reading = {
            "timestamp": format_timestamp(time.time_ns() // 1000),
            "sensor_id": FIRST_SENSOR + self.sent % SENSORS,
            "seq": self.sent // SENSORS,
            "salinity": 38.0 + self.sent % 7 / 10,
            "note": f"{self.sent} {ODD_TEXT}",
        }
        return json.dumps(reading).encode()


@contextmanager
def flow(instance: Instance) -> Iterator[Sender]:
    sender = Sender(instance.settings.udp.port)
    thread = threading.Thread(target=sender.run, daemon=True)
    thread.start()
    try:
        yield sender
    finally:
        sender.stop.set()
        thread.join()


def serve(instance: Instance) -> tuple[subprocess.Popen[bytes], Path]:
    accepted_log = instance.settings.home / "accepted.csv"
    gateway = instance.start("serve", "--accepted-log", str(accepted_log))
    await_true(lambda: read_json(ledger_file(instance.settings)).get("pid") == gateway.pid, what="gateway ready")
    return gateway, accepted_log


def accepted(path: Path) -> dict[str, int]:
    """Microseconds of each accepted reading by its `_id`."""
    lines = [line.split(",") for line in path.read_text("utf-8").splitlines()]
    return {identity(int(sensor_id), int(micros)): int(micros) for sensor_id, _, micros in lines}


def in_mariadb(instance: Instance) -> dict[str, tuple[Any, ...]]:
    """(salinity, note) of each reading by its `_id`."""
    rows = instance.rows(
        "SELECT sensor_id, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', timestamp), salinity, note FROM readings"
        " WHERE sensor_id >= %s",
        (FIRST_SENSOR,),
    )
    return {identity(sensor_id, micros): (salinity, note) for sensor_id, micros, salinity, note in rows}


def in_elasticsearch(instance: Instance) -> dict[str, tuple[Any, ...]]:
    """(salinity, note) of each reading by its `_id`, as the index knows them: None where it can't be searched for."""
    found: dict[str, tuple[Any, ...]] = {}
    after: list[Any] | None = None
    with connect_elasticsearch(instance.settings) as search:
        search.indices.refresh(index="readings-*")
        while True:
            hits = search.search(
                index="readings-*",
                size=10_000,
                query={"range": {"sensor_id": {"gte": FIRST_SENSOR}}},
                sort=["sensor_id", "seq"],
                search_after=after,
                source=False,
                docvalue_fields=["salinity", "note"],
            )["hits"]["hits"]
            if not hits:
                return found
            for hit in hits:
                fields = hit.get("fields", {})
                found[hit["_id"]] = (fields.get("salinity", [None])[0], fields.get("note", [None])[0])
            after = hits[-1]["sort"]


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """One of this module's own, since fields stay for good: each test adds others."""
    running = launch(new_settings(new_home()))
    yield running
    demolish(running)


def add_fields(instance: Instance, fields: str) -> None:
    toml = instance.settings.reading.toml
    toml.write_text(toml.read_text("utf-8") + fields, "utf-8")


def test_fields_are_added_while_readings_flow(instance: Instance) -> None:
    gateway, accepted_log = serve(instance)
    with flow(instance) as sender:
        await_true(lambda: sender.sent > 3 * RATE, what="readings flow")
        add_fields(instance, NEW_FIELDS)
        result = instance.mare("apply")
        applied = time.time_ns() // 1000
        assert result.returncode == 0, result.stdout + result.stderr
        assert read_json(ledger_file(instance.settings))["fingerprint"] == instance.schema.fingerprint
        goal = sender.sent + 5 * RATE
        await_true(lambda: sender.sent > goal, what="readings flow on")
    gateway.send_signal(signal.SIGTERM)
    assert gateway.wait(30) == 0
    await_true(lambda: not any(sink_lag(instance.settings).values()), what="both sinks are done")

    expected = accepted(accepted_log)
    assert len(expected) > 0.9 * sender.sent, "the kernel dropped more than this test can bear"
    after = {id_ for id_, micros in expected.items() if micros >= applied}
    assert len(after) > 3 * RATE
    mariadb, elasticsearch = in_mariadb(instance), in_elasticsearch(instance)
    assert mariadb.keys() == elasticsearch.keys() == expected.keys()
    assert [id_ for id_ in after if None in mariadb[id_] or mariadb[id_] != elasticsearch[id_]] == []

    again = instance.mare("apply")
    assert (again.returncode, again.stdout) == (0, ""), again.stderr


def test_removal_is_refused_before_anything_is_changed(instance: Instance) -> None:
    toml = instance.settings.reading.toml
    before = toml.read_text("utf-8")
    toml.write_text(before.replace("[fields.humidity]", "[fields.wind_speed]"), "utf-8")
    try:
        refused = instance.mare("apply")
    finally:
        toml.write_text(before, "utf-8")
    assert refused.returncode == 2
    assert "Field humidity is stored already and can't be removed" in refused.stderr
    assert "wind_speed" not in columns(instance)


def test_other_number_of_partitions_is_refused(instance: Instance) -> None:
    there = instance.settings.kafka.partitions
    other = instance.settings.model_copy(
        update={"kafka": instance.settings.kafka.model_copy(update={"partitions": there + 1})}
    )
    with pytest.raises(SettingsError, match=f"has {there} partitions, .* set MARE_KAFKA__PARTITIONS={there}"):
        apply(other, instance.schema, lambda: pytest.fail("connectors were touched"), lambda _: None)


class Interrupted(Exception):
    """Stands for a kill: apply catches nothing of the kind."""


def test_apply_that_is_interrupted_after_each_step_goes_on(instance: Instance) -> None:
    text = '[fields.remark]\ntype = "text"\nmax_length = 40\n'
    add_fields(instance, f'[fields.turbidity]\ntype = "number"\n{text}[fields.anchor]\ntype = "location"\n')
    settings, schema = instance.settings, instance.schema
    steps: list[str] = []

    def die(step: str) -> None:
        steps.append(step)
        raise Interrupted

    finished = False
    while not finished:
        try:
            apply(settings, schema, lambda: connectors.apply(settings, schema, die), die)
            finished = True
        except Interrupted:
            assert len(steps) == len(set(steps)), "a step was done twice"
    print(steps)
    assert len(steps) >= 5
    assert {"turbidity", "remark", "anchor_lon", "anchor_lat", "anchor"} <= set(columns(instance))
    assert in_force(instance)


def test_connector_that_an_interrupted_apply_left_stopped_runs_again(instance: Instance) -> None:
    add_fields(instance, '[fields.oxygen]\ntype = "number"\n')
    stopped, configured = SINKS
    wanted = connectors.definitions(instance.settings, instance.schema)
    with Rest(instance.settings.connect.url) as rest:
        for name in SINKS:
            rest.stop(name)
        rest.put_config(configured, wanted[configured])
    result = instance.mare("apply")
    assert result.returncode == 0, result.stdout + result.stderr
    assert stopped in result.stdout
    assert in_force(instance)


def test_reading_of_the_moment_after_has_its_new_field(instance: Instance) -> None:
    """No task of the earlier configuration may be left, not even for a moment: so this looks several times."""
    producer = Producer({"bootstrap.servers": instance.settings.kafka.bootstrap})
    for number in range(4):
        add_fields(instance, f'[fields.extra_{number}]\ntype = "number"\n')
        # Readings keep the earlier tasks busy.
        for second in range(2000):
            producer.produce(READINGS, key=b"busy", value=plain(OTHER_SENSOR + number, second))
        apply(instance.settings, instance.schema, partial(reapply, instance), lambda _: None)
        producer.produce(READINGS, key=b"busy", value=plain(OTHER_SENSOR + 50 + number, 0, f"extra_{number}"))
        assert producer.flush(30) == 0
    await_true(lambda: not any(sink_lag(instance.settings).values()), what="both sinks are done")
    for number in range(4):
        rows = instance.rows(f"SELECT extra_{number} FROM readings WHERE sensor_id = {OTHER_SENSOR + 50 + number}")
        assert rows == [(1.5,)], number


def reapply(instance: Instance) -> None:
    connectors.apply(instance.settings, instance.schema, lambda _: None)


def plain(sensor_id: int, second: int, field_name: str = "temperature") -> bytes:
    at = format_timestamp(1_700_000_000_000_000 + second * 1_000_000)
    return json.dumps({"timestamp": at, "sensor_id": sensor_id, field_name: 1.5}).encode()


def in_force(instance: Instance) -> bool:
    """All connectors run, with the current definitions."""
    wanted = connectors.definitions(instance.settings, instance.schema)
    with Rest(instance.settings.connect.url) as rest:
        running = {connector.name for connector in rest.connectors() if connector.running}
        return running == set(ALL_CONNECTORS) and all(rest.config(name) == wanted[name] for name in ALL_CONNECTORS)


def columns(instance: Instance) -> list[str]:
    return [row[0] for row in instance.rows("SHOW COLUMNS FROM readings")]
