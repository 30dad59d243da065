"""`mare up`, `status`, `down`: what a new user does, on the real engines."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from conftest import Instance, start_gateway
from engines import new_home, new_settings
from waiting import await_true

from installs.launcher import NAMES, stop_one
from installs.process import record_of
from installs.services import BUOYS
from maredata.names import ALL_CONNECTORS, FIRST_DEMO_SENSOR, METRICS
from maredata.reading import identity
from maredata.stores import connect_elasticsearch, kafka_consumer
from maredata.timestamps import parse_timestamp

OBSERVATORY = (
    '{"timestamp": "2024-01-21 10:06:04.095931", "temperature": 20.9, "humidity": 59.22, "pressure": 1001.87,'
    ' "sensor_id": 1, "location": {"lon": 3.185785, "lat": 42.488629}}'
)
OBSERVATORY_ID = identity(1, parse_timestamp("2024-01-21 10:06:04.095931"))
BANYULS = (3.1291, 42.4827)  # 4.7 km from the buoy


def document(instance: Instance, id_: str) -> dict[str, Any] | None:
    # A month's index is made by its first reading, and answers 503 until it is ready.
    patient = connect_elasticsearch(instance.settings).options(ignore_status=503)
    answer = patient.search(index="readings-*", query={"ids": {"values": [id_]}}, fields=["timestamp"]).body
    found = answer.get("hits", {}).get("hits", [])
    return found[0] if found else None


def test_the_demo_flows_into_both_stores_and_survives_down_and_up(own_instance: Callable[..., Instance]) -> None:
    instance = own_instance(gateway=True, demo=True)
    assert instance.rows("SELECT MIN(sensor_id) FROM readings")[0][0] >= FIRST_DEMO_SENSOR
    again = instance.mare("up")
    assert (again.returncode, again.stdout) == (0, "Everything runs already; `mare status` shows it.\n"), again.stderr
    seen = json.loads(instance.mare("status", "--json").stdout)
    assert seen["healthy"], seen
    assert [process["name"] for process in seen["processes"]] == list(NAMES)

    assert instance.mare("down").returncode == 0
    assert list((instance.settings.home / "run").iterdir()) == []
    assert instance.mare("down").stdout == "Nothing was running.\n"
    assert instance.mare("up").returncode == 0
    proof = instance.mare("verify", "--exact")
    assert proof.returncode == 0, proof.stdout + proof.stderr

    # `tend` brings back whatever dies, the gateway too, and publishes what it sees.
    first = record_of(instance.settings, "gateway")
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    await_true(
        lambda: (now := record_of(instance.settings, "gateway")) is not None and now.alive and now.pid != first.pid,
        what="the gateway is revived",
    )
    with closing(kafka_consumer(instance.settings, consumer_timeout_ms=30_000)) as consumer:
        consumer.subscribe([METRICS])
        metrics = json.loads(next(consumer).value)
    assert set(metrics["lag"]) == set(metrics["connectors"]) == set(ALL_CONNECTORS)

    for buoy in BUOYS:
        assert stop_one(instance.settings, buoy)
    assert instance.mare("verify").returncode == 0  # nothing is on its way any more
    add_reading_of_a_real_buoy(instance)
    removed = instance.mare("demo", "remove", "--yes")
    assert removed.returncode == 0, removed.stderr
    assert instance.rows("SELECT sensor_id FROM readings") == [(1,)]
    assert connect_elasticsearch(instance.settings).count(index="readings-*")["count"] == 1


def add_reading_of_a_real_buoy(instance: Instance) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(OBSERVATORY.encode(), (instance.settings.udp.host, instance.settings.udp.port))
    await_true(lambda: instance.rows("SELECT 1 FROM readings WHERE sensor_id = 1"), what="in MariaDB")
    await_true(lambda: document(instance, OBSERVATORY_ID), what="in Elasticsearch")


def test_a_reading_keeps_its_microseconds_and_its_place(instance: Instance) -> None:
    gateway = start_gateway(instance)
    add_reading_of_a_real_buoy(instance)
    hit = document(instance, OBSERVATORY_ID)
    assert hit is not None
    row = instance.rows("SELECT `timestamp`, temperature FROM readings WHERE sensor_id = 1")
    assert hit["_source"] == json.loads(OBSERVATORY)
    assert hit["_index"] == "readings-2024.01"
    assert hit["fields"]["timestamp"] == ["2024-01-21 10:06:04.095931"]
    assert (row[0][0].isoformat(" "), row[0][1]) == ("2024-01-21 10:06:04.095931", 20.9)

    place = {"lon": BANYULS[0], "lat": BANYULS[1]}
    for distance, expected in (("6km", 1), ("4km", 0)):
        near = {
            "bool": {
                "filter": [{"term": {"sensor_id": 1}}, {"geo_distance": {"distance": distance, "location": place}}]
            }
        }
        count = connect_elasticsearch(instance.settings).count(index="readings-*", query=near)["count"]
        assert count == expected
    sql = f"SELECT ST_Distance_Sphere(location, POINT({BANYULS[0]}, {BANYULS[1]})) FROM readings WHERE sensor_id = 1"
    assert 4_000 < instance.rows(sql)[0][0] < 6_000
    gateway.terminate()
    assert gateway.wait(30) == 0


def test_a_port_in_use_leaves_nothing_behind() -> None:
    settings = new_settings(new_home())
    with socket.socket() as holder:
        holder.bind((settings.mariadb.host, settings.mariadb.port))
        holder.listen()
        result = Instance(settings).mare("up")
    assert result.returncode == 2
    assert f"Port {settings.mariadb.port} for mariadb is in use" in result.stderr
    assert "MARE_MARIADB__PORT" in result.stderr
    assert not (settings.home / "run").exists()


def test_an_engine_that_does_not_start_leaves_nothing_running() -> None:
    settings = new_settings(new_home(), elasticsearch={"heap": "1m"})
    instance = Instance(settings)
    result = instance.mare("up")
    assert result.returncode == 2
    assert "elasticsearch ended" in result.stderr
    assert [path.name for path in (settings.home / "run").iterdir()] == []
    instance.mare("down", "--wipe")


def test_a_zone_of_the_machine_changes_nothing(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Paris")
    gateway = start_gateway(instance)
    line = '{"sensor_id": 2, "timestamp": "2024-07-01T00:30:00+02:00"}'
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(line.encode(), (instance.settings.udp.host, instance.settings.udp.port))
    hit = await_true(lambda: document(instance, identity(2, parse_timestamp("2024-06-30 22:30:00"))))
    assert hit["_source"]["timestamp"] == "2024-06-30 22:30:00.000000"
    assert hit["_index"] == "readings-2024.06"
    row = await_true(lambda: instance.rows("SELECT `timestamp` FROM readings WHERE sensor_id = 2"))
    assert row[0][0].isoformat(" ") == "2024-06-30 22:30:00"
    proof = instance.mare("verify", "--exact")
    assert proof.returncode == 0, proof.stdout + proof.stderr
    gateway.terminate()
    assert gateway.wait(30) == 0
