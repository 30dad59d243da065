"""`mare verify` and `mare demo remove` on the real engines.

Each test writes into a month and to sensors of its own, and compares only that month.
"""

from __future__ import annotations

import json
import math
import random
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer
from conftest import Instance
from elasticsearch import Elasticsearch
from waiting import await_true

from extraction.compare import Range, StoreRow, columns_of
from extraction.demo import remove_demo
from extraction.documents import Elasticsearch as ElasticsearchSide
from extraction.documents import Write
from extraction.mariadb import MariaDB as MariaDBSide
from extraction.report import Report
from extraction.verify import Options, verify
from maredata.errors import StoreError, VerifyTimeout
from maredata.lag import sink_lag
from maredata.names import ELASTICSEARCH_SINK, FIRST_DEMO_SENSOR, MARIADB_SINK, READINGS, READINGS_PATTERN, index_of
from maredata.reading import identity
from maredata.schema import Field, FieldType, Schema
from maredata.settings import Elasticsearch as ElasticsearchSettings
from maredata.settings import Kafka, MariaDB
from maredata.stores import connect_elasticsearch, connect_mariadb
from maredata.timestamps import format_timestamp, parse_timestamp

SECOND = 1_000_000
MONTHS = count(1)
NAMED = ("sensor_id", "timestamp", "kind")


@dataclass
class Sea:
    """One test's readings: its month, its sensors, and the ways to write and to damage them."""

    instance: Instance
    since: int
    until: int
    sensor_id: int

    def reading(self, number: int, sensor_id: int | None = None, **fields: Any) -> dict[str, Any]:
        return {
            "timestamp": format_timestamp(self.micros(number)),
            "temperature": 20.0 + number % 100 / 10,
            "humidity": 59.22,
            "pressure": 1001.87,
            "sensor_id": sensor_id if sensor_id is not None else self.sensor_id,
            "location": {"lon": 3.185785, "lat": 42.488629},
            "seq": number,
            **fields,
        }

    def micros(self, number: int) -> int:
        """Instants a bit more than a second apart, so that all six digits matter."""
        return self.since + number * (SECOND + 1)

    def produce(self, *readings: dict[str, Any] | bytes | None) -> None:
        """Puts records straight into the topic, past the gateway."""
        producer = Producer(
            {"bootstrap.servers": self.instance.settings.kafka.bootstrap, "partitioner": "murmur2_random"}
        )
        for reading in readings:
            if isinstance(reading, dict):
                producer.produce(READINGS, json.dumps(reading).encode(), key=b"%d" % reading["sensor_id"])
            else:
                producer.produce(READINGS, reading, key=b"%d" % self.sensor_id)
        assert producer.flush(30) == 0

    def verify(self, progress: Callable[[str], None] = lambda _: None, **options: Any) -> Report:
        chosen = {"since": self.since, "until": self.until, "exact": True, **options}
        report = verify(self.instance.settings, self.instance.schema, Options(**chosen), progress)
        json.dumps(report.as_dict())
        return report

    def sql(self, query: str, *values: Any) -> None:
        connection = connect_mariadb(self.instance.settings)
        connection.cursor().execute(query, values)
        connection.close()

    def delete_row(self, number: int) -> None:
        self.sql("DELETE FROM readings WHERE sensor_id = %s AND seq = %s", self.sensor_id, number)

    def document(self, number: int) -> dict[str, str]:
        micros = self.micros(number)
        return {"index": index_of(micros), "id": identity(self.sensor_id, micros)}

    @property
    def elasticsearch(self) -> Elasticsearch:
        return connect_elasticsearch(self.instance.settings)

    def named(self, report: Report) -> list[tuple[int, str, str]]:
        """(number, kind, field) of each difference, after checking that it names this test's sensor."""
        found = []
        for one in report.as_dict()["differences"]["named"]:
            assert one["sensor_id"] == self.sensor_id
            micros = parse_timestamp(one["timestamp"])
            found.append(((micros - self.since) // (SECOND + 1), one["kind"], one.get("field", "")))
        return sorted(found)


@pytest.fixture
def sea(instance: Instance) -> Iterator[Sea]:
    """A month nobody else writes to; what the test damaged in it is taken away behind it."""
    number = next(MONTHS)
    since, until = (
        parse_timestamp(f"{1995 + month // 12}-{month % 12 + 1:02}-01 00:00:00") for month in (number, number + 1)
    )
    own = Sea(instance, since, until, 880_000 + number)
    yield own
    own.elasticsearch.indices.delete(index=index_of(since), ignore_unavailable=True)
    window = (format_timestamp(since), format_timestamp(until))
    own.sql("DELETE FROM readings WHERE `timestamp` >= %s AND `timestamp` < %s", *window)


def filled(sea: Sea, readings: int = 50) -> Sea:
    """Readings that have arrived in both stores."""
    sea.produce(*(sea.reading(number) for number in range(readings)))
    query = {"term": {"sensor_id": sea.sensor_id}}
    # A month's index is made by its first reading, and answers 503 until it is ready.
    patient = sea.elasticsearch.options(ignore_status=503)
    await_true(lambda: patient.count(index=READINGS_PATTERN, query=query).get("count") == readings)
    await_true(lambda: not any(sink_lag(sea.instance.settings).values()), what="both sinks have committed")
    return sea


# --- agreement ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [True, False])
def test_what_flowed_through_agrees(sea: Sea, exact: bool) -> None:
    sea.produce(*(sea.reading(number, sea.sensor_id + 1000 * (number % 7)) for number in range(5_000)))
    report = sea.verify(exact=exact)
    assert report.agree
    assert (report.topic.readings, report.mariadb, report.elasticsearch) == (5_000, 5_000, 5_000)
    assert report.looked_at_closely == (5_000 if exact else 0)
    assert report.not_in_topic == 0


@pytest.mark.parametrize("exact", [True, False])
def test_nothing_is_skipped_or_read_twice_between_pages(sea: Sea, exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"mariadb._PAGE": 7, "documents._PAGE": 8, "mariadb._RANGES": 2, "documents._RANGES": 2}.items():
        monkeypatch.setattr(f"extraction.{name}", size)
    monkeypatch.setattr("extraction.documents._SLICE", 20)
    # Sensors of 7, 8 and 21 readings end a page, or a slice; ten hours make ten stretches.
    sizes = [7, 8, 21, 1, 14, 16, 20]
    readings = [
        (number * 3_500, sea.sensor_id + 1000 * more) for more, size in enumerate(sizes) for number in range(size)
    ]
    sea.produce(*(sea.reading(number, sensor_id) for number, sensor_id in readings))
    assert sea.verify().agree
    lost = [0, 6, 7, 14, 15, 35, 36, 37, 86]
    for number, sensor_id in (readings[one] for one in lost):
        sea.sql("DELETE FROM readings WHERE sensor_id = %s AND seq = %s", sensor_id, number)
    report = sea.verify(exact=exact)
    named = [(one["sensor_id"], one["timestamp"]) for one in report.differences.named]
    assert named == [(readings[one][1], format_timestamp(sea.micros(readings[one][0]))) for one in lost]
    assert report.differences.kinds == {"missing in MariaDB": len(lost)}
    assert (report.mariadb, report.elasticsearch) == (87 - len(lost), 87)


@pytest.mark.parametrize("exact", [True, False])
def test_extreme_values_agree(sea: Sea, exact: bool) -> None:
    extremes = [1.7976931348623157e308, 5e-324, -1.2345678901234567e-308, 0.1 + 0.2, -0.0, 1e22, None, 20]
    sea.produce(
        *(sea.reading(number, humidity=value, seq=2**63 - 1 - number) for number, value in enumerate(extremes)),
        {"sensor_id": sea.sensor_id, "timestamp": format_timestamp(sea.micros(100))},
        sea.reading(101, unknown={"a": [1]}, location=None),
    )
    report = sea.verify(exact=exact)
    assert report.agree, report.as_dict()
    assert report.elasticsearch == len(extremes) + 2


def test_of_records_with_one_identity_the_later_one_counts(sea: Sea) -> None:
    sea.produce(sea.reading(1), sea.reading(1, humidity=1.0), sea.reading(2), sea.reading(1, humidity=2.0))
    report = sea.verify()
    assert report.agree
    assert not report.differences.kinds
    assert (report.topic.readings, report.topic.repeated, report.mariadb) == (2, 2, 2)


def test_records_that_are_no_readings_are_counted_by_reason(sea: Sea) -> None:
    before = sea.verify().topic.refused
    poison = [b'{"sensor_id": 1', b"[]", None, b'{"sensor_id": 1, "timestamp": "garbage"}', b'{"a": 1}\n{"a": 2}']
    sea.produce(sea.reading(1), *poison, sea.reading(2, temperature="hot"), sea.reading(3))
    report = sea.verify()
    refused = report.topic.refused
    new = {
        reason: number - before.get(reason, 0) for reason, number in refused.items() if number > before.get(reason, 0)
    }
    assert new == {"malformed": 3, "null": 1, "bad_timestamp": 1, "wrong_type": 1}
    assert report.agree
    assert report.mariadb == 2


def test_nobody_waits_for_dead_letters(sea: Sea) -> None:
    """Nothing comes behind the poison: the sinks must commit its offset all the same."""
    sea.produce(sea.reading(1), b"poison")
    assert sea.verify().agree


def test_a_window_begins_with_since_and_ends_before_until(sea: Sea) -> None:
    sea.produce(*(sea.reading(number) for number in range(1, 5)))
    for exact in (True, False):
        report = sea.verify(exact=exact, since=sea.micros(2), until=sea.micros(4))
        assert report.agree
        assert (report.topic.readings, report.mariadb, report.elasticsearch) == (2, 2, 2)


def test_texts_and_numbers_come_out_of_mariadb_as_they_went_in(sea: Sea) -> None:
    schema = Schema((*sea.instance.schema.fields, Field("remark", FieldType.TEXT)))
    chance = random.Random(7)
    numbers = [struct.unpack("d", chance.randbytes(8))[0] for _ in range(2_000)]
    texts = ['a"b\\c', "\n\t\x00\x01\x1f\x7f", "\u00e9\U0001f600\u2028", "", "/", "[1]", None]
    rows = []
    for number, value in enumerate([number for number in numbers if math.isfinite(number)]):
        given = {"humidity": value, "seq": chance.randrange(-(2**63), 2**63), "remark": texts[number % len(texts)]}
        values = tuple(given.get(column.name) for column in columns_of(schema))
        rows.append(StoreRow(sea.sensor_id, sea.micros(number), values))
    with MariaDBSide(sea.instance.settings, schema) as side:
        # Hides the real table in this session, which has no text.
        side._execute(schema.create_table(READINGS).replace("CREATE TABLE", "CREATE TEMPORARY TABLE"))
        assert side.insert(rows, lambda key, reason: pytest.fail(f"{key}: {reason}")) == len(rows)
        assert list(side.rows([Range()])) == rows
        assert side.lookup([rows[5][:2], (1, 1)]) == {rows[5][:2]: rows[5]}


def test_history_that_never_passed_through_the_topic_is_no_difference(sea: Sea) -> None:
    filled(sea)
    sea.sql(
        "INSERT INTO readings (sensor_id, timestamp) VALUES (%s, %s)", sea.sensor_id, format_timestamp(sea.micros(90))
    )
    source = {"sensor_id": sea.sensor_id, "timestamp": format_timestamp(sea.micros(90))}
    sea.elasticsearch.index(**sea.document(90), document=source)
    for exact in (True, False):
        report = sea.verify(exact=exact)
        assert report.agree
        assert (report.mariadb, report.not_in_topic) == (51, 1)


def test_missing_sequence_numbers_are_told_and_are_no_difference(sea: Sea) -> None:
    sea.produce(*(sea.reading(number) for number in range(50) if number not in (7, 8, 20)))
    report = sea.verify()
    assert report.agree
    (gap,) = report.sequence.named
    assert (gap.sensor_id, gap.missing, gap.ranges) == (sea.sensor_id, 3, ((7, 8), (20, 20)))
    # Lost by a store is not lost on the way from the buoy.
    sea.delete_row(30)
    assert sea.verify().sequence.missing == 3


# --- differences --------------------------------------------------------------------------------------------------


def lose_row(sea: Sea) -> None:
    sea.delete_row(3)


def lose_document(sea: Sea) -> None:
    sea.elasticsearch.delete(**sea.document(3))


def lose_both(sea: Sea) -> None:
    lose_row(sea)
    lose_document(sea)


def change_document(sea: Sea) -> None:
    source = sea.reading(3, temperature=-5.5, unknown="kept")
    sea.elasticsearch.index(**sea.document(3), document=source)


def move_document(sea: Sea) -> None:
    # Small for an average, and a metre at sea.
    source = sea.reading(3, location={"lon": 3.185785, "lat": 42.489629})
    sea.elasticsearch.index(**sea.document(3), document=source)


def change_row(sea: Sea) -> None:
    sea.sql("UPDATE readings SET temperature = 99.5 WHERE sensor_id = %s AND seq = 3", sea.sensor_id)


def empty_row(sea: Sea) -> None:
    sea.sql("UPDATE readings SET temperature = NULL WHERE sensor_id = %s AND seq = 3", sea.sensor_id)


DAMAGES = {
    lose_row: [(3, "missing in MariaDB", "")],
    lose_document: [(3, "missing in Elasticsearch", "")],
    lose_both: [(3, "missing in Elasticsearch", ""), (3, "missing in MariaDB", "")],
    change_document: [(3, "value differs", "temperature")],
    move_document: [(3, "value differs", "location.lat")],
    change_row: [(3, "value differs", "temperature")],
    empty_row: [(3, "value differs", "temperature")],
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_named_and_mended(sea: Sea, damage: Callable[[Sea], None]) -> None:
    filled(sea)
    damage(sea)
    for exact in (True, False):
        report = sea.verify(exact=exact)
        assert not report.agree
        assert sea.named(report) == DAMAGES[damage]
        assert report.differences.identities == 1
    mended = sea.verify(repair=True)
    assert mended.agree, mended.as_dict()
    assert mended.repairs is not None
    assert len(mended.repairs.changed) == (DAMAGES[damage][0][1] == "value differs")
    report = sea.verify()
    assert report.agree
    assert (report.mariadb, report.elasticsearch) == (50, 50)


def test_repair_takes_mariadbs_value_and_fills_in_what_it_lacks(sea: Sea) -> None:
    filled(sea)
    change_row(sea)
    source = sea.reading(4, temperature=-5.5, unknown="kept")
    sea.elasticsearch.index(**sea.document(4), document=source)
    sea.sql("UPDATE readings SET humidity = NULL WHERE sensor_id = %s AND seq = 5", sea.sensor_id)
    repairs = sea.verify(repair=True).repairs
    assert repairs is not None
    changed = {(difference.field, difference.mariadb, difference.elasticsearch) for _, difference in repairs.changed}
    assert changed == {("temperature", 99.5, 20.3), ("temperature", 20.4, -5.5), ("humidity", None, 59.22)}
    assert (repairs.replaced_in_elasticsearch, repairs.filled_in_mariadb) == (2, 1)
    assert sea.elasticsearch.get(**sea.document(3))["_source"]["temperature"] == 99.5
    assert sea.elasticsearch.get(**sea.document(4))["_source"] == sea.reading(4, unknown="kept")
    report = sea.verify()
    assert report.agree
    assert sea.named(report) == [(3, "value differs from the topic's", "temperature")]


def test_a_row_that_mariadb_refuses_is_named_and_holds_up_no_other(sea: Sea) -> None:
    schema = Schema((*sea.instance.schema.fields, Field("remark", FieldType.TEXT, max_length=3)))
    rows = [
        StoreRow(sea.sensor_id, sea.micros(n), tuple(text if c.name == "remark" else None for c in columns_of(schema)))
        for n, text in enumerate(["one", "three", "two"])
    ]
    refused: list[tuple[Any, str]] = []
    with MariaDBSide(sea.instance.settings, schema) as side:
        side._execute(schema.create_table(READINGS).replace("CREATE TABLE", "CREATE TEMPORARY TABLE"))
        assert side.insert(rows, lambda key, reason: refused.append((key, reason))) == 2
        assert list(side.rows([Range()])) == [rows[0], rows[2]]
    ((key, reason),) = refused
    assert key == rows[1][:2]
    assert "too long" in reason


def test_repair_overwrites_nothing_that_came_meanwhile(sea: Sea) -> None:
    filled(sea)
    key = (sea.sensor_id, sea.micros(3))
    with MariaDBSide(sea.instance.settings, sea.instance.schema) as mariadb:
        row = mariadb.lookup([key])[key]
        assert mariadb.insert([row._replace(values=tuple(None for _ in row.values))], lambda *_: None) == 0
        assert mariadb.lookup([key])[key] == row
    with ElasticsearchSide(sea.instance.settings, sea.instance.schema) as elasticsearch:
        (looked_up,) = elasticsearch.lookup([key])[key]
        newer = sea.reading(3, humidity=1.0)
        sea.elasticsearch.index(**sea.document(3), document=newer)
        for instead in (looked_up, None):
            assert elasticsearch.write([Write(key, sea.reading(3, humidity=2.0), instead)], lambda *_: None) == 0
        assert sea.elasticsearch.get(**sea.document(3))["_source"] == newer


def test_documents_out_of_place_are_named_and_never_deleted(sea: Sea) -> None:
    filled(sea)
    index = index_of(sea.since)
    sea.elasticsearch.index(index=index, id="rubbish", document=sea.reading(3))
    sea.elasticsearch.index(index="readings-1994.01", id=sea.document(4)["id"], document=sea.reading(4))
    sea.elasticsearch.index(index=index, id="nothing", document={"hello": 1})
    try:
        report = sea.verify(repair=True)
        assert not report.agree
        assert sea.named(report) == [(3, "bad _id", ""), (4, "wrong index", "")]
        assert (report.unidentified, report.unidentified_named) == (1, [f"{index}/nothing"])
        assert sea.elasticsearch.exists(index=index, id="rubbish")
    finally:
        sea.elasticsearch.indices.delete(index="readings-1994.01")


def test_accepted_readings_must_be_in_both_stores(sea: Sea, tmp_path: Path) -> None:
    filled(sea)
    accepted = tmp_path / "accepted"
    accepted.write_text("".join(f"{sea.sensor_id},{number},{sea.micros(number)}\n" for number in range(50)))
    assert sea.verify(accepted=accepted, exact=False).accepted == 50
    with accepted.open("a") as file:
        file.write(f"{sea.sensor_id},60,{sea.micros(60)}\n{sea.sensor_id},61,17")
    for exact in (True, False):
        report = sea.verify(accepted=accepted, exact=exact)
        assert sea.named(report) == [(60, "missing in Elasticsearch", ""), (60, "missing in MariaDB", "")]
        assert len(report.notes) == 1, "the last line is cut off"


def test_the_named_differences_are_bounded_and_the_counts_are_not(sea: Sea) -> None:
    filled(sea, 3_000)
    sea.sql("DELETE FROM readings WHERE sensor_id = %s", sea.sensor_id)
    report = sea.verify(limit=10)
    assert len(report.differences.named) == 10
    assert report.differences.kinds == {"missing in MariaDB": 3_000}
    mended = sea.verify(repair=True, limit=10)
    assert mended.agree
    assert mended.repairs is not None
    assert mended.repairs.added_to_mariadb == 3_000


# --- while readings flow ------------------------------------------------------------------------------------------


def pause(sea: Sea, sink: str, action: str) -> None:
    url = f"{sea.instance.settings.connect.url}/connectors/{sink}"
    httpx.put(f"{url}/{action}").raise_for_status()
    wanted = {"pause": "PAUSED", "resume": "RUNNING"}[action]

    def arrived() -> bool:
        status = httpx.get(f"{url}/status").json()
        return {task["state"] for task in status["tasks"]} == {wanted}

    await_true(arrived, what=f"{sink} is {wanted}")


@pytest.mark.parametrize("sink", [MARIADB_SINK, ELASTICSEARCH_SINK])
def test_readings_on_their_way_are_waited_for(sea: Sea, sink: str) -> None:
    pause(sea, sink, "pause")
    try:
        sea.produce(*(sea.reading(number) for number in range(20)))
        with pytest.raises(VerifyTimeout, match=f"{sink} 20[^0-9,]") as late:
            sea.verify(wait=8)
        assert late.value.exit_status == 3
    finally:
        pause(sea, sink, "resume")
    report = sea.verify()
    assert report.agree
    assert report.mariadb == 20


@pytest.mark.parametrize("exact", [True, False])
def test_a_difference_that_vanishes_is_none(sea: Sea, exact: bool) -> None:
    """One store is ahead of the other when they are read, and has been caught up with when it is looked at again."""
    filled(sea)
    new = {"sensor_id": sea.sensor_id, "timestamp": format_timestamp(sea.micros(60))}
    steps: list[str] = []

    def meanwhile(text: str) -> None:
        if not steps and text.startswith(("reading by reading", "counts and sums")):
            steps.append("MariaDB is ahead")
            sea.sql("INSERT INTO readings (sensor_id, timestamp) VALUES (%s, %s)", *new.values())
        elif len(steps) == 1 and "looking again" in text:
            steps.append("Elasticsearch has caught up")
            sea.elasticsearch.index(**sea.document(60), document=new)

    report = sea.verify(meanwhile, exact=exact)
    assert len(steps) == 2
    assert report.agree
    assert not report.differences.kinds


def test_a_record_that_comes_meanwhile_is_the_one_that_counts(sea: Sea) -> None:
    filled(sea)
    steps: list[str] = []

    def meanwhile(text: str) -> None:
        if not steps and text == "reading by reading":
            steps.append("overwritten")
            sea.produce(sea.reading(3, humidity=1.0))
            expected = {
                "query": {"bool": {"filter": [{"term": {"sensor_id": sea.sensor_id}}, {"term": {"humidity": 1.0}}]}}
            }
            await_true(lambda: sea.elasticsearch.count(index=READINGS_PATTERN, body=expected)["count"], what="arrived")

    report = sea.verify(meanwhile)
    assert steps
    assert report.agree
    assert not report.differences.kinds, "the topic's newer record was read too"


@pytest.mark.parametrize("exact", [True, False])
def test_readings_that_arrive_during_the_comparison_are_no_differences(sea: Sea, exact: bool) -> None:
    stop = threading.Event()

    def flow() -> None:
        for number in count(step=20):
            if stop.wait(0.1):
                return
            # Every tenth is sent again with another value: conflicts flow too.
            readings = [sea.reading(number + more, sea.sensor_id + 1000 * more) for more in range(20)]
            sea.produce(*readings, *({**reading, "pressure": 990.0} for reading in readings[::10]))

    thread = threading.Thread(target=flow)
    thread.start()
    try:
        await_true(lambda: sea.verify(exact=exact).mariadb, what="readings flow")
        reports = [sea.verify(exact=exact) for _ in range(2)]
    finally:
        stop.set()
        thread.join()
    for report in reports:
        assert report.agree, report.as_dict()
        assert not report.differences.kinds
    assert reports[0].mariadb < reports[1].mariadb
    assert sea.verify().agree


# --- the command, the demo, stores that are away ------------------------------------------------------------------


def test_the_command_says_it_with_its_exit_status(sea: Sea) -> None:
    filled(sea)
    window = ("--since", format_timestamp(sea.since), "--until", format_timestamp(sea.until))
    agreed = sea.instance.mare("verify", *window)
    assert agreed.returncode == 0, agreed.stdout + agreed.stderr
    assert "They agree." in agreed.stdout
    sea.delete_row(3)
    differs = sea.instance.mare("verify", "--exact", "--json", *window)
    assert differs.returncode == 1
    (named,) = json.loads(differs.stdout)["differences"]["named"]
    assert [named[name] for name in NAMED] == [sea.sensor_id, format_timestamp(sea.micros(3)), "missing in MariaDB"]
    assert sea.instance.mare("verify", "--repair", *window).returncode == 0


def test_demo_remove_deletes_exactly_the_emulated_buoys(sea: Sea) -> None:
    emulated = [FIRST_DEMO_SENSOR, FIRST_DEMO_SENSOR + 5, 2**62]
    sensors = [sea.sensor_id, FIRST_DEMO_SENSOR - 1, *emulated]
    sea.produce(*(sea.reading(number, sensor_id) for sensor_id in sensors for number in range(10)))
    assert sea.verify().mariadb == 50
    removed = remove_demo(sea.instance.settings, lambda _: None)
    assert min(removed.values()) >= 30
    report = sea.verify()
    assert report.agree, "what was removed on purpose is not missed, though the topic still has it"
    assert (report.mariadb, report.elasticsearch, report.topic.removed_demo) == (20, 20, 30)
    assert remove_demo(sea.instance.settings, lambda _: None) == {"mariadb": 0, "elasticsearch": 0}
    # What comes later is compared again.
    sea.produce(sea.reading(11, FIRST_DEMO_SENSOR))
    assert sea.verify().mariadb == 21


@pytest.mark.parametrize(
    ("away", "sentence"),
    [
        ({"kafka": Kafka(port=1)}, "Kafka at 127.0.0.1:1 "),
        ({"mariadb": MariaDB(port=1)}, "MariaDB at 127.0.0.1:1 "),
        ({"elasticsearch": ElasticsearchSettings(port=1)}, "Elasticsearch at http://127.0.0.1:1 "),
    ],
)
def test_a_side_that_is_away_is_named(instance: Instance, away: dict[str, Any], sentence: str) -> None:
    settings = instance.settings.model_copy(update=away)
    with pytest.raises(StoreError, match=sentence) as error:
        replace(Sea(instance, 0, 1, 1), instance=Instance(settings)).verify()
    assert "mare status" in str(error.value)
