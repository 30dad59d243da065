"""Rejected lines are found again as they were, and get their second chance once and not more."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import mysql.connector
import pytest
from confluent_kafka import KafkaException
from faking import FakeConsumer, FakeMariaDB
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import KafkaTimeoutError
from rich.console import Console, RenderableType

from maredata import already, records
from maredata.errors import StoreError
from maredata.lag import SinkOffsets
from maredata.names import ELASTICSEARCH_SINK, MARIADB_SINK, READINGS
from maredata.schema import load_schema
from maredata.settings import CHECKOUT, Settings
from maredata.timestamps import format_timestamp, parse_timestamp
from udp_server import rejected_stores, rejected_topic
from udp_server.rejected import Replay, list_rejected, replay
from udp_server.rejected_topic import Entry, entry_of, render

SCHEMA = load_schema(CHECKOUT / "maredata" / "reading.toml")
SETTINGS = Settings()
ARRIVAL = parse_timestamp("2024-01-21 10:06:04.095931")
SECOND = 1_000_000
EARLY = parse_timestamp("1985-05-05 05:05:05.000000")  # before what the settings allow
ALLOWED = SETTINGS.model_copy(
    update={"reading": SETTINGS.reading.model_copy(update={"earliest": SETTINGS.reading.earliest.replace(year=1980)})}
)

Identity = tuple[int, int]


def line(sensor_id: int = 1, micros: int = EARLY, **values: Any) -> bytes:
    return json.dumps({"sensor_id": sensor_id, "timestamp": format_timestamp(micros), **values}).encode()


def record(offset: int, value: bytes | None, received: int | None = None, **headers: str) -> Any:
    """A record as kafka-python gives it, with the headers that the gateway gives it."""
    at = ARRIVAL + offset * SECOND if received is None else received
    given_headers = {"reason": "too_early", "sender": "10.0.0.1:4711", "detail": "before 1990", **headers}
    instant = f"{format_timestamp(at).replace(' ', 'T')}+00:00"
    return SimpleNamespace(
        offset=offset,
        value=value,
        timestamp=at // 1000 + 5,
        headers=[(name, text.encode()) for name, text in given_headers.items()] + [("received", instant.encode())],
    )


@dataclass
class FakeProducer:
    """Stands in for confluent_kafka.Producer; what it acknowledges is in `log`."""

    log: list[tuple[bytes, bytes]] = field(default_factory=list)  # key, value
    configuration: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    unanswered: int = 0
    raises: Exception | None = None
    waiting: list[Any] = field(default_factory=list)

    def produce(self, topic: str, value: bytes, key: bytes, on_delivery: Any) -> None:
        assert topic == READINGS
        if self.raises is not None:
            raise self.raises
        self.waiting.append((key, value, on_delivery))

    def flush(self, _seconds: float) -> int:
        for key, value, heard in self.waiting:
            heard(self.error, None)
            if self.error is None:
                self.log.append((key, value))
        self.waiting = []
        return self.unanswered


@dataclass
class World:
    """Kafka and MariaDB, all faked."""

    consumer: FakeConsumer
    mariadb: FakeMariaDB = field(default_factory=FakeMariaDB)
    producer: FakeProducer = field(default_factory=FakeProducer)
    offsets: list[SinkOffsets] = field(default_factory=list)  # one for each look; the last one stays

    def look(self, _settings: Settings) -> SinkOffsets:
        return self.offsets.pop(0) if len(self.offsets) > 1 else self.offsets[0]

    def make_producer(self, configuration: dict[str, Any]) -> FakeProducer:
        self.producer.configuration = configuration
        return self.producer

    def store(self) -> None:
        """MariaDB's sink stores what was published."""
        for key, value in self.producer.log:
            self.mariadb.there.add((int(key), parse_timestamp(json.loads(value)["timestamp"])))


def passed(end: int, committed: int) -> SinkOffsets:
    return SinkOffsets({0: end}, {MARIADB_SINK: {0: committed}, ELASTICSEARCH_SINK: {0: 0}})


@contextmanager
def world(held: list[Any], first: int = 0, chunk: int = 3) -> Iterator[World]:
    made = World(FakeConsumer(held, first), offsets=[passed(7, 7)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_CHUNK", chunk)
        patch.setattr(records, "kafka_consumer", lambda _settings, **_: made.consumer)
        patch.setattr(already, "connect_mariadb", lambda _settings: made.mariadb)
        patch.setattr(rejected_stores, "Producer", made.make_producer)
        patch.setattr(already, "sink_offsets", made.look)
        patch.setattr(already, "_LOOK", 0)
        yield made


def shown(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=400, force_terminal=True, highlight=False)
    console.print(what)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


# --- entries -----------------------------------------------------------------------------------------------------


def test_entry_has_what_the_headers_say() -> None:
    assert entry_of(record(4, b"x", ARRIVAL, sender="[::1]:9")) == Entry(
        4, ARRIVAL, "too_early", "before 1990", "[::1]:9", b"x"
    )


def test_record_without_headers_is_an_entry_of_its_own_time() -> None:
    bare = SimpleNamespace(offset=3, value=b"x", timestamp=1_705_831_564_095, headers=[])
    assert entry_of(bare) == Entry(3, 1_705_831_564_095_000, "unknown", "", "", b"x")


def test_headers_that_are_broken_cost_no_entry() -> None:
    broken = SimpleNamespace(
        offset=3, value=None, timestamp=1000, headers=[("received", b"soon"), ("sender", None), ("detail", b"a\xff")]
    )
    assert entry_of(broken) == Entry(3, 1_000_000, "unknown", "a�", "", b"")


@pytest.mark.parametrize(("value", "said"), [("hôt\0", {"line": "hôt\0"}), (b"\xc3(", {"line_base64": "wyg="})])
def test_entry_as_json(value: str | bytes, said: dict[str, str]) -> None:
    entry = Entry(1, ARRIVAL, "r", "d", "s", value.encode() if isinstance(value, str) else value, "accepted")
    known = {"offset": 1, "received": "2024-01-21 10:06:04.095931", "reason": "r", "detail": "d", "sender": "s"}
    assert json.loads(json.dumps(entry.as_dict())) == {**known, "now": "accepted", **said}


def test_table_shows_what_senders_wrote_and_does_nothing_of_it() -> None:
    evil = b"\x1b[2J\x07[red]\xff\n" + b"x" * 1000
    text = shown(render([Entry(1, ARRIVAL, "r", "\x1b]0;d", "[bold]s", evil, "malformed")]))
    assert "\x1b[2J" not in text
    assert "\x1b]0;" not in text
    assert "\x07" not in text
    assert r"\x1b[2J\x07[red]\xff\nxxx" in text
    assert "[bold]s" in text
    assert "x" * 200 not in text


# --- the list ----------------------------------------------------------------------------------------------------


def offsets(entries: Iterator[Entry]) -> list[int]:
    return [entry.offset for entry in entries]


def test_list_gives_the_newest_ones_newest_last_and_reads_no_more_than_it_must() -> None:
    with world([record(offset, line()) for offset in range(100)]) as made:
        assert offsets(list_rejected(SETTINGS, SCHEMA, limit=5)) == [95, 96, 97, 98, 99]
        assert min(made.consumer.polled) >= 90
        assert made.consumer.closed


@pytest.mark.parametrize("limit", [None, 1000])
def test_list_gives_everything_that_is_left(limit: int | None) -> None:
    with world([record(offset, line()) for offset in range(5, 20)], first=5):
        assert offsets(list_rejected(SETTINGS, SCHEMA, limit=limit)) == list(range(5, 20))


def test_chunks_are_small_whatever_the_topic_holds() -> None:
    with world([record(offset, line()) for offset in range(50)]), rejected_topic.open_entries(SETTINGS, None) as found:
        chunks = list(found.chunks(newest_first=True))
    assert max(map(len, chunks)) == 3
    assert [entry.offset for chunk in chunks for entry in chunk] == list(reversed(range(50)))


def test_offsets_without_a_record_are_passed_over() -> None:
    with world([record(offset, line()) for offset in (0, 1, 7, 20, 21, 22)]):
        assert offsets(list_rejected(SETTINGS, SCHEMA)) == [0, 1, 7, 20, 21, 22]


def test_retention_that_takes_records_meanwhile_is_no_error() -> None:
    with world([record(offset, line()) for offset in range(30)]) as made:
        found = list_rejected(SETTINGS, SCHEMA, limit=None)
        assert next(found).offset == 0
        made.consumer.first = 25
        assert offsets(found) == [1, 2, *range(25, 30)]


def test_empty_topic_has_no_entries() -> None:
    with world([], first=40):
        assert offsets(list_rejected(SETTINGS, SCHEMA)) == []


SENDERS = ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1", "[fe80::1]:1", "10.0.0.1:22"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"reason": "malformed"}, [1, 3]),
        ({"sender": "10.0.0.1"}, [0, 1, 4]),
        ({"sender": "10.0.0.1:2"}, [1]),
        ({"sender": "fe80::1"}, [3]),
        ({"sender": "[fe80::1]:1"}, [3]),
        ({"sender": "10.0.0"}, []),
        ({"reason": "malformed", "sender": "fe80::1"}, [3]),
        ({"since": ARRIVAL + 2 * SECOND}, [2, 3, 4]),
        ({"since": ARRIVAL + 2 * SECOND + 1}, [3, 4]),
        ({"since": ARRIVAL + 10 * SECOND}, []),
        ({"reason": "malformed", "limit": 1}, [3]),
    ],
)
def test_list_is_filtered(chosen: dict[str, Any], expected: list[int]) -> None:
    reasons = ["too_early", "malformed"] * 3
    with world([record(n, line(), sender=SENDERS[n], reason=reasons[n]) for n in range(5)]):
        assert offsets(list_rejected(SETTINGS, SCHEMA, **chosen)) == expected


def test_what_is_long_before_since_is_not_even_read() -> None:
    hour = 3600 * SECOND
    with world([record(n, line(), ARRIVAL + n * hour) for n in range(50)]) as made:
        found = offsets(list_rejected(SETTINGS, SCHEMA, since=ARRIVAL + 40 * hour))
        assert found == list(range(40, 50))
        assert min(made.consumer.polled) == 39, "the gateway's clock may be ahead of Kafka's by an hour"


def test_list_says_what_todays_rules_say() -> None:
    lines = [line(), line(micros=ARRIVAL), b"{", line(micros=ARRIVAL + 40 * 3600 * SECOND)]
    with world([record(offset, one) for offset, one in enumerate(lines)]):
        said = [entry.now for entry in list_rejected(SETTINGS, SCHEMA)]
        after = [entry.now for entry in list_rejected(ALLOWED, SCHEMA)]
    assert said == ["too_early", "accepted", "malformed", "too_far_ahead"]
    assert after == ["accepted", "accepted", "malformed", "too_far_ahead"]


def test_topic_that_is_not_there_is_said() -> None:
    with world([]) as made, pytest.raises(StoreError, match=r"no topic readings\.rejected: run `mare up`"):
        made.consumer.partitions = {"other": {0}}
        next(list_rejected(SETTINGS, SCHEMA))


def test_kafka_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_SILENCE", 0.0)
    with world([record(0, line())]) as made, pytest.raises(StoreError, match="Kafka stopped sending"):
        made.consumer.silent = True
        next(list_rejected(SETTINGS, SCHEMA))


def test_kafka_that_is_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_settings: Settings, **_options: Any) -> FakeConsumer:
        raise KafkaTimeoutError

    monkeypatch.setattr(records, "kafka_consumer", away)
    with pytest.raises(StoreError, match=f"Kafka at {SETTINGS.kafka.bootstrap} could not be asked"):
        next(list_rejected(SETTINGS, SCHEMA))


# --- the replay --------------------------------------------------------------------------------------------------


def test_replay_publishes_what_is_accepted_now_in_its_canonical_form() -> None:
    odd = b'{"timestamp": "1985-05-05T06:05:05+01:00", "sensor_id": 12}'
    with world([record(0, line(7)), record(1, b"{"), record(2, odd)], chunk=10) as made:
        done = replay(ALLOWED, SCHEMA)
        assert made.producer.log == [
            (b"7", line(7)),
            (b"12", b'{"timestamp":"1985-05-05 05:05:05.000000","sensor_id":12}'),
        ]
        assert made.producer.configuration["partitioner"] == "murmur2_random"
        assert made.producer.configuration["acks"] == "all"
    assert done == Replay(looked_at=3, refused=done.refused, published=2)
    assert done.refused == {"malformed": 1}


def test_replay_before_the_rule_is_mended_publishes_nothing() -> None:
    with world([record(0, line())]) as made:
        assert replay(SETTINGS, SCHEMA).as_dict() == {
            "looked_at": 1,
            "refused": {"too_early": 1},
            "superseded": 0,
            "already_there": 0,
            "published": 0,
            "dry_run": False,
        }
        assert made.producer.log == []


def test_second_replay_publishes_nothing() -> None:
    with world([record(n, line(n % 4, temperature=n)) for n in range(20)]) as made:
        assert replay(ALLOWED, SCHEMA).published == 4
        made.store()
        again = replay(ALLOWED, SCHEMA)
        assert (again.published, again.already_there, again.superseded) == (0, 4, 16)
        assert len(made.producer.log) == 4


def test_what_mariadb_has_stays_unless_asked_for() -> None:
    with world([record(0, line(1)), record(1, line(2))]) as made:
        made.mariadb.there = {(1, EARLY), (3, EARLY), (2, EARLY + 1)}
        assert replay(ALLOWED, SCHEMA).already_there == 1
        assert [key for key, _ in made.producer.log] == [b"2"]
        assert replay(ALLOWED, SCHEMA, overwrite=True).published == 2


def test_dry_run_counts_and_publishes_nothing() -> None:
    with world([record(n, line(n)) for n in range(5)]) as made:
        made.mariadb.there = {(1, EARLY)}
        done = replay(ALLOWED, SCHEMA, dry_run=True)
        assert (done.published, done.already_there, done.dry_run) == (4, 1, True)
        assert made.producer.log == made.producer.waiting == []
        assert made.producer.configuration == {}, "no producer was made"


def test_replay_is_filtered() -> None:
    with world([record(n, line(n), sender=SENDERS[n]) for n in range(5)]) as made:
        assert replay(ALLOWED, SCHEMA, sender="10.0.0.2", reason="too_early", since=ARRIVAL).looked_at == 1
        assert replay(ALLOWED, SCHEMA, reason="malformed").looked_at == 0
        assert [key for key, _ in made.producer.log] == [b"2"]


@given(
    lines=st.lists(st.sampled_from([b"{", line(1), line(1, a=1), line(2), line(2, b=2), line(3), line(3, EARLY + 1)])),
    there=st.sets(st.sampled_from([(1, EARLY), (2, EARLY), (3, EARLY)])),
    chunk=st.integers(1, 6),
)
def test_each_reading_is_published_once_as_it_was_last(lines: list[bytes], there: set[Identity], chunk: int) -> None:
    with world([record(offset, one) for offset, one in enumerate(lines)], chunk=chunk) as made:
        made.mariadb.there = there
        done = replay(ALLOWED, SCHEMA)
    last = {(json.loads(one)["sensor_id"], json.loads(one)["timestamp"]): one for one in lines if one != b"{"}
    missing = [one for (sensor, at), one in last.items() if (sensor, parse_timestamp(at)) not in there]
    assert sorted(value for _, value in made.producer.log) == sorted(missing)
    assert done.published == len(missing)
    assert done.already_there == len(last) - len(missing)
    assert done.looked_at == len(lines)
    assert done.looked_at == done.refused.total() + done.superseded + done.already_there + done.published


def test_mariadb_is_asked_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(already, "_LOOKUP", 8)
    with world([record(n, line(n)) for n in range(50)], chunk=20) as made:
        made.mariadb.there = {(n, EARLY) for n in range(0, 50, 2)}
        assert replay(ALLOWED, SCHEMA).already_there == 25
        assert max(made.mariadb.asked) == 8
        assert sum(made.mariadb.asked) == 50


def test_replay_waits_for_what_was_in_the_topic_at_its_start() -> None:
    # The topic grows on: what came later need not be waited for.
    looks = [passed(10, 4), passed(10, 4), passed(30, 9), passed(60, 10), passed(90, 11)]
    with world([record(0, line())]) as made:
        made.offsets = list(looks)
        assert replay(ALLOWED, SCHEMA).published == 1
        assert made.offsets == looks[4:]


def test_mariadb_that_does_not_catch_up_is_said_and_nothing_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(already, "_STORED", 0.0)
    with world([record(0, line())]) as made:
        made.offsets = [passed(10, 4)]
        with pytest.raises(StoreError, match="still 6 readings behind the topic"):
            replay(ALLOWED, SCHEMA)
        assert made.producer.log == []
        assert replay(ALLOWED, SCHEMA, overwrite=True).published == 1


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ({"error": "message timed out"}, "did not acknowledge all readings .message timed out."),
        ({"unanswered": 1}, "did not acknowledge all readings .1 without an answer."),
        ({"raises": KafkaException("fatal")}, "fatal"),
        ({"raises": BufferError("queue full")}, "queue full"),
    ],
)
def test_what_kafka_does_not_acknowledge_is_an_error(trouble: dict[str, Any], sentence: str) -> None:
    with world([record(0, line())]) as made:
        for name, value in trouble.items():
            setattr(made.producer, name, value)
        with pytest.raises(StoreError, match=sentence):
            replay(ALLOWED, SCHEMA)


def test_mariadb_that_is_away_is_said_and_nothing_is_published() -> None:
    with world([record(0, line())]) as made:
        made.mariadb.error = mysql.connector.errors.OperationalError("gone away")
        with pytest.raises(StoreError, match=r"MariaDB at \S+ could not be asked \(gone away\)"):
            replay(ALLOWED, SCHEMA)
        assert made.producer.log == []


def test_replay_is_shown() -> None:
    done = Replay(looked_at=1234, published=1200, superseded=3, already_there=30)
    done.refused["malformed"] = 1
    text = shown(done.render())
    assert "1,234" in text
    assert "still refused: malformed" in text
    assert "│ published" in text
    done.dry_run = True
    assert "would be published" in shown(done.render())
