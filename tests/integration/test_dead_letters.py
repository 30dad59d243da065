"""Dead letters on the real engines: listed, shown, and replayed into their topic once their cause is mended."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer
from conftest import Instance, demolish, launch
from engines import new_home, new_settings
from kafka import TopicPartition
from waiting import await_true

from connect.rest import Rest
from maredata.lag import connector_lag, end_offsets, group_members
from maredata.names import (
    ELASTICSEARCH_SINK,
    EVENTS,
    EVENTS_SINK,
    MARIADB_SINK,
    READINGS,
    SINKS,
    consumer_group,
    dead_letters,
    index_of,
)
from maredata.reading import identity
from maredata.settings import CHECKOUT
from maredata.stores import connect_elasticsearch, connect_mariadb, kafka_consumer
from maredata.timestamps import format_timestamp, parse_timestamp

SENSOR = 550_000  # the first one of this test
INSTANT = parse_timestamp("2024-01-21 10:06:04.095931")
LIMITS = "limits = [-273.15, 1000.0]"
MENDED = "limits = [-273.15, 10000.0]"
PARTITION = 4
OWN = [("trace", b"\xff\x01"), ("source", b"by hand")]


def reading(number: int, temperature: float) -> bytes:
    values = {"sensor_id": SENSOR + number, "timestamp": format_timestamp(INSTANT), "temperature": temperature}
    return json.dumps(values).encode()


HOT = reading(0, 5000.0)
FIRST_OF_TWO, LAST_OF_TWO = reading(1, 6000.0), reading(1, 5500.0)
WRONG, CORRECTED = reading(2, 7000.0), reading(2, 20.0)
BROKEN = reading(3, 20.0)[:-5]
REFUSED = [HOT, FIRST_OF_TWO, LAST_OF_TWO, WRONG, BROKEN]


@pytest.fixture(scope="module")
def poisoned() -> Iterator[Instance]:
    """An instance whose reading.toml a test may mend, with dead letters of both sinks. All in one partition."""
    running = launch(new_settings(new_home()))
    try:
        produce(running, READINGS, *REFUSED, CORRECTED, partition=PARTITION)
        for sink in SINKS:
            await_true(lambda sink=sink: len(listed(running, sink)) == len(REFUSED), what=f"dead letters of {sink}")
        yield running
    finally:
        demolish(running)


def produce(instance: Instance, topic: str, *values: bytes, partition: int) -> None:
    producer = Producer({"bootstrap.servers": instance.settings.kafka.bootstrap})
    for value in values:
        producer.produce(topic, value, key=b"poison", partition=partition, headers=[*OWN])
    assert producer.flush(30) == 0


def asked(instance: Instance, *arguments: str) -> list[dict[str, Any]]:
    """The objects that a `mare dead-letters` command prints, one a line."""
    result = instance.mare("dead-letters", *arguments, "--json")
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def listed(instance: Instance, connector: str, *options: str) -> list[dict[str, Any]]:
    return asked(instance, "list", connector, *options)


def replayed(instance: Instance, connector: str, *options: str) -> dict[str, Any]:
    """What became of how many, without what became of none."""
    (done,) = asked(instance, "replay", connector, *options)
    return {what: count for what, count in done.items() if count and what not in ("connector", "dry_run")}


def records(instance: Instance, topic: str, partition: int) -> list[Any]:
    found: list[Any] = []
    with kafka_consumer(instance.settings) as consumer:
        there = TopicPartition(topic, partition)
        consumer.assign([there])
        consumer.seek_to_beginning(there)
        end = consumer.end_offsets([there])[there]
        while consumer.position(there) < end:
            found += consumer.poll(timeout_ms=500).get(there, [])
    return found


def temperatures(instance: Instance) -> tuple[list[float | None], list[float | None]]:
    """Of the first three sensors, in MariaDB and in Elasticsearch."""
    with connect_mariadb(instance.settings) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT sensor_id, temperature FROM readings WHERE sensor_id >= %s", (SENSOR,))
        rows: list[Any] = cursor.fetchall()
    with connect_elasticsearch(instance.settings) as search:
        ids = [identity(SENSOR + number, INSTANT) for number in range(3)]
        documents = search.mget(index=index_of(INSTANT), ids=ids)["docs"]
    in_mariadb = {sensor_id - SENSOR: temperature for sensor_id, temperature in rows}
    return (
        [in_mariadb.get(number) for number in range(3)],
        [document["_source"]["temperature"] if document["found"] else None for document in documents],
    )


@pytest.mark.parametrize("sink", SINKS)
def test_list_says_what_was_wrong_and_where_it_was(poisoned: Instance, sink: str) -> None:
    places = {record.value: record.offset for record in records(poisoned, READINGS, PARTITION)}
    found = listed(poisoned, sink)
    assert [one["value"].encode() for one in found] == REFUSED, "the newest last"
    for one in found:
        value = one["value"].encode()
        assert one["from"] == {"topic": READINGS, "partition": PARTITION, "offset": places[value]}
        assert one["reason"].startswith(
            "RefusedException: malformed" if value == BROKEN else "RefusedException: out_of"
        )
        assert one["key"] == "poison"
    hot = listed(poisoned, sink, "--reason", "out_of_limits", "--limit", "2", "--since", found[1]["written"])
    assert [one["value"].encode() for one in hot] == [LAST_OF_TWO, WRONG]
    shown = poisoned.mare("dead-letters", "list", sink)
    assert shown.returncode == 0
    assert "out_of_limits" in shown.stdout


def test_show_has_the_record_whole(poisoned: Instance) -> None:
    offset = listed(poisoned, MARIADB_SINK)[0]["offset"]
    (whole,) = asked(poisoned, "show", MARIADB_SINK, str(offset))
    assert whole["value"].encode() == HOT
    assert whole["headers"][:2] == [{"name": "trace", "value_base64": "/wE="}, {"name": "source", "value": "by hand"}]
    headers = {one["name"]: one.get("value") for one in whole["headers"]}
    assert headers["__connect.errors.connector.name"] == MARIADB_SINK
    assert headers["__connect.errors.stage"] == "VALUE_CONVERTER"
    assert "\tat org.maredata.connect.ReadingConverter" in headers["__connect.errors.exception.stacktrace"]
    shown = poisoned.mare("dead-letters", "show", MARIADB_SINK, str(offset))
    assert "ReadingConverter" in shown.stdout
    missing = poisoned.mare("dead-letters", "show", MARIADB_SINK, "4711")
    assert missing.returncode == 1
    assert "There is no dead letter 4711 of mariadb-readings" in missing.stderr


def test_unknown_connector_is_told_which_there_are(poisoned: Instance) -> None:
    for command in (("list", "nonsense"), ("show", "nonsense", "0"), ("replay", "nonsense")):
        result = poisoned.mare("dead-letters", *command)
        assert result.returncode == 1
        assert MARIADB_SINK in result.stderr
        assert EVENTS_SINK in result.stderr


def test_mended_rule_brings_dead_letters_into_both_stores_once(poisoned: Instance) -> None:
    assert replayed(poisoned, MARIADB_SINK) == {"looked_at": 5, "refused": {"out_of_limits": 4, "malformed": 1}}
    rules = poisoned.settings.reading.toml
    rules.write_text(rules.read_text("utf-8").replace(LIMITS, MENDED), "utf-8")
    early = poisoned.mare("dead-letters", "replay", MARIADB_SINK)
    assert early.returncode == 1
    assert "run `mare apply`, and then replay" in early.stderr
    applied = poisoned.mare("apply")
    assert applied.returncode == 0, applied.stderr

    outcome = {"looked_at": 5, "refused": {"malformed": 1}, "superseded": 1, "already_there": 1, "published": 2}
    assert replayed(poisoned, MARIADB_SINK, "--dry-run") == outcome
    assert temperatures(poisoned) == ([None, None, 20.0], [None, None, 20.0])
    assert replayed(poisoned, MARIADB_SINK) == outcome
    expected = [5000.0, 5500.0, 20.0]
    await_true(lambda: temperatures(poisoned) == (expected, expected), what="replayed readings in both stores")
    again = records(poisoned, READINGS, PARTITION)[len(REFUSED) + 1 :]
    assert [(one.key, one.value, list(one.headers)) for one in again] == [
        (b"poison", HOT, OWN),
        (b"poison", LAST_OF_TWO, OWN),
    ]

    # What one connector's replay brought back, the other's finds there.
    there = {"looked_at": 5, "refused": {"malformed": 1}, "superseded": 1, "already_there": 3}
    assert replayed(poisoned, ELASTICSEARCH_SINK) == there
    for sink in SINKS:
        assert replayed(poisoned, sink, "--overwrite") == {"looked_at": 1, "refused": {"malformed": 1}}
        assert replayed(poisoned, sink, "--all") == there
    counts = {one["connector"]: (one["dead_letters"], one["not_replayed"]) for one in asked(poisoned, "list")}
    assert counts == {name: (5, 1) if name in SINKS else (0, 0) for name in counts}
    assert len(counts) == 5
    assert len(records(poisoned, READINGS, PARTITION)) == len(REFUSED) + 3

    assert replayed(poisoned, ELASTICSEARCH_SINK, "--all", "--overwrite")["published"] == 3
    expected = [5000.0, 5500.0, 7000.0]
    await_true(lambda: temperatures(poisoned) == (expected, expected), what="overwritten in both stores")


def test_two_replays_at_once_publish_each_record_once(poisoned: Instance) -> None:
    count = 5000  # more than are looked at together
    produce(poisoned, EVENTS, *(b"nonsense %d" % number for number in range(count)), partition=0)
    letters = dead_letters(EVENTS_SINK)
    await_true(lambda: end_offsets(poisoned.settings, [letters])[letters] == count, what="dead letters of events")
    await_true(lambda: connector_lag(poisoned.settings)[EVENTS_SINK] == 0, what="the sink is done")
    with Rest(poisoned.settings.connect.url) as rest:
        rest.stop(EVENTS_SINK)  # it would put each of them aside again
    await_true(lambda: group_members(poisoned.settings, consumer_group(EVENTS_SINK)) == 0, what="the sink stopped")
    command = [sys.executable, "-m", "maredata.cli", "dead-letters", "replay", EVENTS_SINK, "--json"]
    replays = [
        subprocess.Popen(
            command, env=poisoned.environment, cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    published = 0
    for one in replays:
        stdout, stderr = one.communicate(timeout=120)
        if one.returncode:
            assert "Another `mare dead-letters replay` works on this instance" in stderr
        else:
            published += json.loads(stdout)["published"]
    assert published == count
    assert [one.value for one in records(poisoned, EVENTS, 0)] == [b"nonsense %d" % n for n in range(count)] * 2
