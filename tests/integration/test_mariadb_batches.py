"""MariaDB gets many readings in one statement: a statement for each costs it five times as much."""

from __future__ import annotations

import json

from confluent_kafka import Producer
from conftest import Instance
from waiting import await_true

from maredata.lag import sink_lag
from maredata.names import READINGS
from maredata.timestamps import format_timestamp

READING_COUNT = 20_000
SENSORS = range(760_001, 760_101)
FIRST_MICROS = 1_700_000_000_000_000


def reading(number: int, temperature: float) -> bytes:
    at = format_timestamp(FIRST_MICROS + number * 1000)
    values = {"timestamp": at, "sensor_id": SENSORS[number % len(SENSORS)], "temperature": temperature}
    if number % 3:  # what is missing is NULL, in the midst of those that have it
        values["humidity"] = 50.5
    return json.dumps(values).encode()


def inserts(instance: Instance) -> int:
    """INSERT statements since MariaDB's start; one with many rows counts once."""
    return int(instance.rows("SHOW GLOBAL STATUS LIKE 'Com_insert'")[0][1])


def test_many_readings_are_one_statement(instance: Instance) -> None:
    producer = Producer({"bootstrap.servers": instance.settings.kafka.bootstrap, "linger.ms": 1000})
    before = inserts(instance)
    for number in range(READING_COUNT):
        producer.produce(READINGS, key=b"batches", value=reading(number, 0.1))
        # Once more with another value, which counts: mostly in the same statement.
        producer.produce(READINGS, key=b"batches", value=reading(number, 20.25))
    assert producer.flush(30) == 0
    await_true(lambda: not any(sink_lag(instance.settings).values()), 120, "both sinks are done")

    of_ours = f"FROM readings WHERE sensor_id BETWEEN {SENSORS[0]} AND {SENSORS[-1]}"
    found = instance.rows(f"SELECT COUNT(*), MIN(temperature), MAX(temperature), COUNT(humidity) {of_ours}")
    with_humidity = sum(1 for number in range(READING_COUNT) if number % 3)
    assert found == [(READING_COUNT, 20.25, 20.25, with_humidity)]
    proof = instance.mare("verify", "--exact")
    assert proof.returncode == 0, proof.stdout + proof.stderr
    statements = inserts(instance) - before
    print(f"{2 * READING_COUNT} readings in {statements} statements")
    assert 0 < statements < READING_COUNT / 50
