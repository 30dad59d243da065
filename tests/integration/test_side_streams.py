"""What is no reading flows on as well: rejected lines, events and metrics into their indices, once each.

And rejected lines get their second chance when the rule that cost them is mended.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer
from conftest import Instance, start_gateway
from waiting import await_true

from connect.rest import Rest
from maredata import already
from maredata.errors import StoreError
from maredata.lag import connector_lag, end_offsets, group_members
from maredata.names import (
    ALL_CONNECTORS,
    EVENTS,
    EVENTS_SINK,
    MARIADB_SINK,
    METRICS_SINK,
    READINGS,
    REJECTED,
    REJECTED_SINK,
    consumer_group,
    dead_letters,
    index_of,
)
from maredata.reading import identity
from maredata.settings import Settings
from maredata.stores import connect_elasticsearch, connect_mariadb
from maredata.timestamps import format_timestamp, parse_timestamp
from udp_server.rejected import list_rejected, replay
from udp_server.rejected_topic import Entry

SENSOR = 660_000  # the first one of this test
NEEDLE = "needle660000"
CUT = b'{"sensor_id": 660001, "note": "' + b"hay " * 15_000 + NEEDLE.encode()  # 60 KB, and no JSON
NO_TEXT = b'{"sensor_id": 660002, "note": "\xc3("}'
WRONG = '{"sensor_id": 660003, "timestamp": "2024-01-21 10:06:04.095931", "temperature": "très chaud"}'.encode()
EARLY = parse_timestamp("1985-05-05 05:05:05.123456")


def send(instance: Instance, *lines: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for line in lines:
            udp.sendto(line, (instance.settings.udp.host, instance.settings.udp.port))


def produce(instance: Instance, topic: str, *values: bytes | None) -> None:
    """Straight into the topic, without a header."""
    producer = Producer({"bootstrap.servers": instance.settings.kafka.bootstrap})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def documents(instance: Instance, indices: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    """The hits, with `_version`. A month's index is made by its first document, and answers 503 until it is ready."""
    patient = connect_elasticsearch(instance.settings).options(ignore_status=503)
    patient.indices.refresh(index=indices)
    answer = patient.search(index=indices, query=query, size=1000, version=True).body
    return list(answer.get("hits", {}).get("hits", []))


def entries(instance: Instance, *lines: bytes) -> dict[bytes, Entry]:
    """The entries of these lines, once all of them are in the topic."""

    def found() -> dict[bytes, Entry]:
        return {entry.line: entry for entry in list_rejected(instance.settings, instance.schema) if entry.line in lines}

    return await_true(lambda: there if len(there := found()) == len(lines) else {}, what="rejected lines in the topic")


def await_stored(instance: Instance, *connectors: str) -> None:
    await_true(lambda: not any(connector_lag(instance.settings)[name] for name in connectors), what="all is stored")


@contextmanager
def grown(instance: Instance, connector: str, letters: int) -> Iterator[None]:
    """Asserts how many dead letters what is done inside makes."""
    topic = dead_letters(connector)
    before = end_offsets(instance.settings, [topic])[topic]
    yield
    await_stored(instance, connector)
    assert end_offsets(instance.settings, [topic])[topic] - before == letters


@contextmanager
def away(instance: Instance, connector: str) -> Iterator[None]:
    """Stops the connector meanwhile."""
    with Rest(instance.settings.connect.url) as rest:
        rest.stop(connector)
        try:
            await_true(lambda: group_members(instance.settings, consumer_group(connector)) == 0, what="it stopped")
            yield
        finally:
            rest.resume(connector)
            await_true(lambda: (now := rest.connector(connector)) and now.running, what="it runs again")


@pytest.fixture(scope="module")
def rejected(instance: Instance) -> dict[bytes, Entry]:
    """Lines that a gateway rejected, as they are in the topic."""
    gateway = start_gateway(instance)
    send(instance, WRONG, NO_TEXT, CUT)
    found = entries(instance, WRONG, NO_TEXT, CUT)
    gateway.terminate()
    assert gateway.wait(30) == 0
    return found


def document_of(instance: Instance, entry: Entry) -> dict[str, Any]:
    await_stored(instance, REJECTED_SINK)
    (hit,) = documents(instance, "rejected-*", {"ids": {"values": [f"{REJECTED}-0-{entry.offset}"]}})
    return hit


def test_rejected_line_is_a_document_with_all_that_is_known(instance: Instance, rejected: dict[bytes, Entry]) -> None:
    entry = rejected[WRONG]
    hit = document_of(instance, entry)
    assert hit["_source"] == {
        "timestamp": format_timestamp(entry.received),
        "reason": "wrong_type",
        "detail": entry.detail,
        "sender": entry.sender,
        "sensor_id": 660_003,
        "bytes": len(WRONG),
        "line": WRONG.decode(),
    }
    assert hit["_index"] == index_of(entry.received).replace("readings", "rejected")
    assert abs(entry.received / 1e6 - time.time()) < 600
    assert entry.sender.startswith("127.0.0.1:")
    for query in (
        {"term": {"reason": "wrong_type"}},
        {"term": {"sender": entry.sender}},
        {"term": {"sensor_id": 660_003}},
        {"match": {"line": "chaud"}},
        {"term": {"line.keyword": WRONG.decode()}},
        {"range": {"timestamp": {"gte": format_timestamp(entry.received), "lte": format_timestamp(entry.received)}}},
    ):
        assert hit["_id"] in {found["_id"] for found in documents(instance, "rejected-*", query)}, query


def test_bytes_that_are_no_text_and_long_lines_are_stored(instance: Instance, rejected: dict[bytes, Entry]) -> None:
    no_text = document_of(instance, rejected[NO_TEXT])["_source"]
    assert (no_text["reason"], no_text["bytes"]) == ("encoding", len(NO_TEXT))
    assert "line" not in no_text
    assert no_text["line_base64"] == rejected[NO_TEXT].as_dict()["line_base64"]

    cut = document_of(instance, rejected[CUT])
    assert cut["_source"]["line"] == CUT.decode()
    assert "sensor_id" not in cut["_source"], "what is no JSON has no field"
    assert [hit["_id"] for hit in documents(instance, "rejected-*", {"match": {"line": NEEDLE}})] == [cut["_id"]]


def test_record_without_headers_is_a_document_and_one_without_a_value_a_dead_letter(instance: Instance) -> None:
    with grown(instance, REJECTED_SINK, 1):
        produce(instance, REJECTED, b"bare 660004", None, b"behind 660004")
    (hit,) = documents(instance, "rejected-*", {"match": {"line": "bare"}})
    assert hit["_source"] | {"timestamp": ""} == {
        "timestamp": "",
        "reason": "unknown",
        "bytes": 11,
        "line": "bare 660004",
    }
    assert len(documents(instance, "rejected-*", {"match": {"line": "behind"}})) == 1


def event(sensor_id: int) -> dict[str, Any]:
    return {
        "timestamp": "2024-03-21 10:06:04.095931",
        "sensor_id": sensor_id,
        "event": "variable_null",
        "variable": "temperature",
        "since": "2024-03-21 04:06:04.095931",
        "message": f"Sensor {sensor_id} sends no temperature: it is null since 2024-03-21 04:06:04.095931.",
    }


def test_event_is_found_and_one_that_is_no_json_is_a_dead_letter(instance: Instance) -> None:
    with grown(instance, EVENTS_SINK, 1):
        produce(instance, EVENTS, b"nonsense", json.dumps(event(SENSOR + 5)).encode())
    query = {"bool": {"filter": [{"term": {"event": "variable_null"}}, {"term": {"sensor_id": SENSOR + 5}}]}}
    (hit,) = documents(instance, "events-*", query)
    assert hit["_source"] == event(SENSOR + 5)
    assert hit["_index"] == "events-2024.03"
    assert documents(instance, "events-*", {"match": {"message": str(SENSOR + 5)}})[0]["_id"] == hit["_id"]


def test_metrics_of_tend_are_found_whatever_senders_call_their_fields(instance: Instance) -> None:
    gateway = start_gateway(instance)
    now = format_timestamp(time.time_ns() // 1000)
    blank = " " * 64
    # Cut to 64 characters nothing is left of this name that Elasticsearch could take for one.
    send(instance, json.dumps({"sensor_id": SENSOR + 6, "timestamp": now, blank + "x": 1}).encode())
    query = {
        "bool": {
            "filter": [
                {"range": {"timestamp": {"gt": now}}},
                {"range": {"ledger.lines.received": {"gte": 1}}},
                {"range": {"lag.mariadb-readings": {"gte": 0}}},
                {"range": {"dead_letters.elasticsearch-rejected": {"gte": 0}}},
                {"term": {"connectors.elasticsearch-pipeline": "RUNNING"}},
            ]
        }
    }

    def found() -> list[dict[str, Any]]:
        hits = documents(instance, "pipeline-*", query)
        return [hit for hit in hits if blank in hit["_source"]["ledger"]["unknown_fields"]]

    document = await_true(found, what="a document of tend's with the strange name")[0]["_source"]
    assert set(document["lag"]) == set(document["dead_letters"]) == set(ALL_CONNECTORS)
    topic = dead_letters(METRICS_SINK)
    assert end_offsets(instance.settings, [topic])[topic] == 0
    gateway.terminate()
    assert gateway.wait(30) == 0


@pytest.mark.parametrize("connector", [REJECTED_SINK, EVENTS_SINK, METRICS_SINK])
def test_everything_again_is_stored_once(instance: Instance, rejected: dict[bytes, Entry], connector: str) -> None:
    indices = f"{connector.removeprefix('elasticsearch-')}-*"
    await_true(lambda: documents(instance, indices, {"match_all": {}}), what="something is there")
    await_stored(instance, connector)
    before = {hit["_id"]: hit["_version"] for hit in documents(instance, indices, {"match_all": {}})}
    first = min(before, key=lambda id_: int(id_.rpartition("-")[2]))
    with Rest(instance.settings.connect.url) as rest:
        rest.restart(connector, only_failed=False)
        await_true(lambda: (now := rest.connector(connector)) and now.running, what="it runs again")
        await_stored(instance, connector)
    with away(instance, connector):
        reset = httpx.delete(f"{instance.settings.connect.url}/connectors/{connector}/offsets", timeout=60)
        assert reset.is_success, reset.text
    query = {"ids": {"values": [first]}}
    await_true(
        lambda: documents(instance, indices, query)[0]["_version"] > before[first], what="the first one came again"
    )
    await_stored(instance, connector)
    after = {hit["_id"]: hit["_version"] for hit in documents(instance, indices, {"ids": {"values": list(before)}})}
    assert after.keys() == before.keys()
    assert all(after[id_] > version for id_, version in before.items()), "each came again, over itself"
    total = connect_elasticsearch(instance.settings).count(index=indices)["count"]
    # An offset, one document at most; tend goes on publishing meanwhile.
    held = end_offsets(instance.settings, [ALL_CONNECTORS[connector]])[ALL_CONNECTORS[connector]]
    assert total <= held


def reading(**values: Any) -> bytes:
    return json.dumps({"sensor_id": SENSOR + 7, "timestamp": format_timestamp(EARLY), **values}).encode()


def test_mended_rule_brings_rejected_lines_into_both_stores_once(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = start_gateway(instance)
    # A line above 1000 bytes goes the checks' long way, and an unknown field stays in Elasticsearch.
    lines = [reading(temperature=1.5, note="x" * 2000), reading(temperature=2.5, note="later")]
    for line in lines:  # in this order, which a sender's next datagrams keep
        send(instance, line)
    found = entries(instance, *lines)
    gateway.terminate()
    assert gateway.wait(30) == 0
    assert {entry.now for entry in found.values()} == {"too_early"}
    rules = instance.settings.reading
    mended: Settings = instance.settings.model_copy(
        update={"reading": rules.model_copy(update={"earliest": rules.earliest.replace(year=1980)})}
    )
    only_ours = partial(
        replay,
        schema=instance.schema,
        reason="too_early",
        sender=found[lines[0]].sender.rpartition(":")[0],
        since=found[lines[0]].received,
    )

    assert only_ours(instance.settings).published == 0
    tried = only_ours(mended, dry_run=True)
    assert (tried.published, tried.superseded) == (1, 1)
    assert stored(instance) == (None, None)
    done = only_ours(mended)
    assert (done.published, done.superseded, done.already_there) == (1, 1, 0)
    await_true(lambda: stored(instance) == (2.5, 2.5), what="the later line in both stores")
    again = only_ours(mended)
    assert (again.published, again.superseded, again.already_there) == (0, 1, 1)

    # A corrected reading stays as it is, and while MariaDB does not have it yet, nothing is put over it.
    with away(instance, MARIADB_SINK):
        producer = Producer({"bootstrap.servers": instance.settings.kafka.bootstrap, "partitioner": "murmur2_random"})
        producer.produce(READINGS, reading(temperature=3.5), key=b"%d" % (SENSOR + 7))
        assert producer.flush(30) == 0
        with monkeypatch.context() as patch, pytest.raises(StoreError, match="still 1 readings behind the topic"):
            patch.setattr(already, "_STORED", 0.0)
            only_ours(mended)
    assert only_ours(mended).published == 0
    await_true(lambda: stored(instance) == (3.5, 3.5), what="the corrected one in both stores")

    assert only_ours(mended, overwrite=True).published == 1
    await_true(lambda: stored(instance) == (2.5, 2.5), what="overwritten in both stores")


def stored(instance: Instance) -> tuple[float | None, float | None]:
    """The temperature of the replayed reading in MariaDB and in Elasticsearch."""
    with connect_mariadb(instance.settings) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT temperature FROM readings WHERE sensor_id = %s", (SENSOR + 7,))
        rows: list[Any] = cursor.fetchall()
    hits = documents(instance, "readings-*", {"ids": {"values": [identity(SENSOR + 7, EARLY)]}})
    assert len(rows) <= 1
    assert len(hits) <= 1
    return (rows[0][0] if rows else None), (hits[0]["_source"]["temperature"] if hits else None)
