"""Records that are no readings, straight in the topic: each a dead letter of both sinks, none in a store."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from confluent_kafka import Message, Producer
from conftest import Instance
from kafka import TopicPartition
from waiting import await_true

from maredata.lag import sink_lag
from maredata.names import ALL_CONNECTORS, READINGS, SINKS, dead_letters
from maredata.stores import connect_elasticsearch, connect_mariadb, kafka_consumer
from maredata.timestamps import format_timestamp

FIRST, LAST = 770_000, 770_999  # sensors of this test
MARK = 7.0077  # the temperature in every poison that has one


def record(sensor_id: int | None, **values: Any) -> bytes:
    now = format_timestamp(time.time_ns() // 1000)
    return json.dumps({"timestamp": now, "sensor_id": sensor_id, "temperature": MARK, **values}).encode()


POISON: dict[str, tuple[bytes | None, str]] = {
    "broken JSON": (record(FIRST)[:-9], "malformed"),
    "garbage for a timestamp": (record(FIRST + 1, timestamp="garbage"), "bad_timestamp"),
    "no sensor": (record(None), "missing_field"),
    "a word for a number": (record(FIRST + 2, temperature="hot"), "wrong_type"),
    "a number in quotes": (record(FIRST + 3, temperature="12.5"), "wrong_type"),
    "an array": (b"[" + record(FIRST + 4) + b"]", "malformed"),
    "two objects on two lines": (record(FIRST + 5) + b"\n" + record(FIRST + 6), "malformed"),
    "nothing": (None, "null_value"),
}


# Nobody of ours sends headers, but whoever produces into the topic may. Debezium's sink fails on these for good.
HEADERS: dict[str, list[tuple[str, bytes | None]]] = {
    "a header": [("source", b"elsewhere")],
    "a header without a value": [("empty", None)],
    "a header twice": [("twice", b"1"), ("twice", b"2")],
    "a header named as a field": [("temperature", b"hot")],
}
GOOD = len(POISON) + len(HEADERS)


@pytest.fixture(scope="module")
def poisoned(instance: Instance) -> dict[str, Message]:
    """Each poison with a good reading behind it, all in one partition; Kafka's word on each poison, by name."""
    producer = Producer({"bootstrap.servers": instance.settings.kafka.bootstrap, "partitioner": "murmur2_random"})
    produced: dict[str, Message] = {}

    def produce(name: str, value: bytes | None) -> None:
        producer.produce(
            READINGS, key=b"poison", value=value, on_delivery=lambda _, message: produced.update({name: message})
        )

    for number, (name, (value, _)) in enumerate(POISON.items()):
        produce(name, value)
        produce(f"good {number}", record(LAST - number, temperature=20.0))
    for number, headers in enumerate(HEADERS.values(), len(POISON)):
        producer.produce(READINGS, key=b"poison", value=record(LAST - number, temperature=20.0), headers=headers)
    assert producer.flush(30) == 0
    return {name: produced[name] for name in POISON}


def letters(instance: Instance, sink: str) -> dict[tuple[int, int], Any]:
    """The sink's dead letters, by the partition and offset at which the record was in the topic."""
    found = {}
    with kafka_consumer(instance.settings, consumer_timeout_ms=1000) as consumer:
        partition = TopicPartition(dead_letters(sink), 0)
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        for letter in consumer:
            headers = dict(letter.headers)
            place = (int(headers["__connect.errors.partition"]), int(headers["__connect.errors.offset"]))
            found[place] = letter
    return found


@pytest.mark.parametrize("sink", SINKS)
def test_each_poison_is_a_dead_letter_with_its_reason(
    instance: Instance, poisoned: dict[str, Message], sink: str
) -> None:
    places = {name: (message.partition(), message.offset()) for name, message in poisoned.items()}
    await_true(lambda: set(places.values()) <= set(letters(instance, sink)), what=f"dead letters of {sink}")
    found = letters(instance, sink)
    for name, (value, reason) in POISON.items():
        letter = found[places[name]]
        assert letter.value == value, name
        message = dict(letter.headers)["__connect.errors.exception.message"].decode()
        assert message.startswith(f"{reason}: "), f"{name}: {message}"


def test_good_readings_behind_poison_are_in_both_stores_and_nothing_of_the_poison(
    instance: Instance, poisoned: dict[str, Message]
) -> None:
    good = sorted(LAST - number for number in range(GOOD))
    await_true(lambda: in_mariadb(instance) == good, what="good readings in MariaDB")
    await_true(lambda: in_elasticsearch(instance) == good, what="good readings in Elasticsearch")


def in_mariadb(instance: Instance) -> list[int]:
    with connect_mariadb(instance.settings) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT sensor_id FROM readings WHERE sensor_id BETWEEN %s AND %s OR temperature = %s ORDER BY sensor_id",
            (FIRST, LAST, MARK),
        )
        rows: list[Any] = cursor.fetchall()
    return [row[0] for row in rows]


def in_elasticsearch(instance: Instance) -> list[int]:
    ours = [{"range": {"sensor_id": {"gte": FIRST, "lte": LAST}}}, {"term": {"temperature": MARK}}]
    with connect_elasticsearch(instance.settings) as search:
        found = search.search(index="readings-*", size=100, query={"bool": {"should": ours}})
    return sorted(hit["_source"]["sensor_id"] for hit in found["hits"]["hits"])


def test_both_sinks_go_on_running(instance: Instance, poisoned: dict[str, Message]) -> None:
    states = {item["name"]: item["running"] for item in json.loads(instance.mare("connect", "status", "--json").stdout)}
    assert states == dict.fromkeys(ALL_CONNECTORS, True)


def test_sinks_commit_what_they_put_aside(instance: Instance, poisoned: dict[str, Message]) -> None:
    """Poison at the very end of a partition: nobody may wait for it for ever, nor find it a dead letter twice."""
    last = next(iter(poisoned.values())).partition()
    assert last is not None
    producer = Producer({"bootstrap.servers": instance.settings.kafka.bootstrap})
    producer.produce(READINGS, key=b"poison", value=b"the last one", partition=last)
    assert producer.flush(30) == 0
    await_true(lambda: not any(sink_lag(instance.settings).values()), 30, "no lag behind poison")
