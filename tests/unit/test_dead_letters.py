"""Dead letters say why they are some, and each gets its second chance once, after its cause was mended."""

from __future__ import annotations

import fcntl
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import mysql.connector
import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaException
from elastic_transport import ConnectionError as AwayError
from faking import FakeConsumer, FakeMariaDB
from hypothesis import example, given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.errors import NoError, UnknownMemberIdError
from kafka.structs import OffsetAndMetadata
from rich.console import Console, RenderableType

from connect import replay as replay_module
from connect import replayed, verdicts
from connect.dead_letters import (
    DeadLetter,
    Origin,
    list_dead_letters,
    one_dead_letter,
    render,
    render_one,
    render_summary,
    summarize,
)
from connect.replay import replay
from connect.replayed import Marks
from connect.verdicts import Replay
from maredata import already, records
from maredata.already import await_sink, open_lookup
from maredata.cli import main
from maredata.errors import MachineError, StoreError
from maredata.lag import SinkOffsets
from maredata.names import (
    ELASTICSEARCH_SINK,
    MARIADB_SINK,
    READINGS,
    REJECTED,
    REJECTED_SINK,
    SINKS,
    dead_letters,
)
from maredata.schema import load_schema
from maredata.settings import CHECKOUT, Settings
from maredata.state import schema_file, write_json
from maredata.timestamps import format_timestamp, parse_timestamp

SCHEMA = load_schema(CHECKOUT / "maredata" / "reading.toml")
ARRIVAL = parse_timestamp("2024-01-21 10:06:04.095000")
SECOND = 1_000_000
TRACE = """org.apache.kafka.connect.errors.ConnectException: The batch was not stored
\tat org.example.Task.put(Task.java:1)
Caused by: org.example.StoreException: refused
by the store
\tat org.example.Store.write(Store.java:2)
\t... 3 more
Caused by: java.net.SocketException
\tat java.base/java.net.Socket.read(Socket.java:3)
"""

Identity = tuple[int, int]
Headers = list[tuple[str, bytes | None]]


def line(sensor_id: int = 1, second: int = 0, **values: Any) -> bytes:
    instant = format_timestamp(ARRIVAL + second * SECOND)
    return json.dumps({"sensor_id": sensor_id, "timestamp": instant, **values}).encode()


def said(**said: str) -> Headers:
    return [(f"__connect.errors.{name.replace('__', '.')}", text.encode()) for name, text in said.items()]


def record(
    offset: int, value: bytes | None, /, own: Headers | None = None, key: bytes | None = b"1", **changed: str | None
) -> Any:
    """A record of a dead-letter topic as kafka-python gives it, with the headers that Connect gives it."""
    headers: dict[str, str | None] = {
        "topic": READINGS,
        "partition": "2",
        "offset": str(100 + offset),
        "exception__class__name": "org.maredata.connect.RefusedException",
        "exception__message": "out_of_limits: temperature is 5000",
        **changed,
    }
    return SimpleNamespace(
        offset=offset,
        key=key,
        value=value,
        timestamp=ARRIVAL // 1000 + offset * 1000,
        headers=(own or []) + said(**{name: text for name, text in headers.items() if text is not None}),
    )


@dataclass
class FakeAdmin:
    """Stands in for KafkaAdminClient as far as it keeps committed offsets."""

    groups: dict[str, dict[TopicPartition, OffsetAndMetadata]] = field(default_factory=dict)
    error: Any = NoError

    def __enter__(self) -> FakeAdmin:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def list_group_offsets(self, groups: dict[str, None]) -> dict[str, Any]:
        return {name: self.groups.get(name, {}) for name in groups}

    def alter_group_offsets(self, group: str, offsets: dict[TopicPartition, OffsetAndMetadata]) -> dict[Any, Any]:
        if self.error is NoError:
            assert all(len(committed.metadata.encode()) <= 4096 for committed in offsets.values()), "Kafka's limit"
            self.groups.setdefault(group, {}).update(offsets)
        return dict.fromkeys(offsets, self.error)


@dataclass
class FakeProducer:
    """Stands in for confluent_kafka.Producer; what it acknowledges is in `log`."""

    log: list[dict[str, Any]] = field(default_factory=list)
    configuration: dict[str, Any] = field(default_factory=dict)
    acknowledges: int = 1_000_000  # then every further one fails
    raises: Exception | None = None
    unanswered: int = 0
    at_flush: Callable[[], None] = lambda: None  # when nothing is acknowledged yet
    after_flush: Callable[[], None] = lambda: None
    waiting: list[Any] = field(default_factory=list)

    def produce(self, topic: str, on_delivery: Any, **what: Any) -> None:
        if self.raises is not None:
            raise self.raises
        self.waiting.append(({"topic": topic, **what}, on_delivery))

    def flush(self, _seconds: float) -> int:
        self.at_flush()
        waiting, self.waiting = self.waiting, []
        for what, heard in waiting[: len(waiting) - self.unanswered]:
            if len(self.log) < self.acknowledges:
                self.log.append(what)
                heard(None, None)
            else:
                heard("message timed out", None)
        self.after_flush()
        return self.unanswered

    @property
    def values(self) -> list[bytes | None]:
        return [what["value"] for what in self.log]


@dataclass
class World:
    """Kafka and the stores, all faked."""

    settings: Settings
    connector: str
    consumer: FakeConsumer
    admin: FakeAdmin = field(default_factory=FakeAdmin)
    producer: FakeProducer = field(default_factory=FakeProducer)
    there: set[Identity] = field(default_factory=set)  # in the store
    awaited: list[str] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)

    def replay(self, **options: Any) -> Replay:
        return replay(self.settings, SCHEMA, self.connector, self.progress.append, **options)

    def make_producer(self, configuration: dict[str, Any]) -> FakeProducer:
        self.producer.configuration = configuration
        return self.producer

    @contextmanager
    def lookup(self, _settings: Settings, sink: str) -> Iterator[Any]:
        assert sink == self.connector
        yield lambda identities: set(identities) & self.there

    def store(self) -> None:
        """The sink stores what was published."""
        for value in self.producer.values:
            reading = json.loads(value or b"")
            self.there.add((reading["sensor_id"], parse_timestamp(reading["timestamp"])))

    def committed(self) -> OffsetAndMetadata:
        group = self.admin.groups[f"mare-dead-letters.{self.connector}"]
        return group[TopicPartition(dead_letters(self.connector), 0)]


@contextmanager
def world(held: list[Any], first: int = 0, chunk: int = 3, connector: str = MARIADB_SINK) -> Iterator[World]:
    consumer = FakeConsumer(held, first, dead_letters(connector))
    consumer.partitions |= {READINGS: set(range(6)), REJECTED: {0}}
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as home:
        made = World(Settings(home=Path(home)), connector, consumer)
        patch.setattr(records, "_CHUNK", chunk)
        patch.setattr(records, "kafka_consumer", lambda _settings, **_: made.consumer)
        patch.setattr(replayed, "kafka_admin", lambda _settings: made.admin)
        patch.setattr(replay_module, "Producer", made.make_producer)
        patch.setattr(verdicts, "open_lookup", made.lookup)
        patch.setattr(verdicts, "await_sink", lambda _settings, sink: made.awaited.append(sink))
        yield made


def shown(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=400, force_terminal=True, highlight=False)
    console.print(what)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def letter(headers: Headers, value: bytes | None = b"v", key: bytes | None = b"k") -> DeadLetter:
    return DeadLetter(17, ARRIVAL, key, value, tuple(headers))


# --- one -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (
            said(exception__class__name="org.maredata.connect.RefusedException", exception__message="wrong_type: x"),
            "RefusedException: wrong_type: x",
        ),
        # The deepest cause says nothing, the one above it something, on two lines.
        (
            said(exception__class__name="a.Outer", exception__message="not stored", exception__stacktrace=TRACE),
            "StoreException: refused\nby the store",
        ),
        (said(exception__class__name="java.lang.NullPointerException"), "NullPointerException"),
        (said(exception__class__name="a.B", exception__message="null"), "B: null"),
        (said(exception__message="only this"), "only this"),
        (
            said(exception__class__name="a.B", exception__stacktrace="a.B\n\tat x.Y\nCaused by: c.D: deep"),
            "D: deep",
        ),
        # A cause that only a suppressed exception had is not ours.
        (
            said(
                exception__class__name="a.B",
                exception__message="ours",
                exception__stacktrace="a.B: ours\n\tat x.Y\n\tSuppressed: c.D: s\n\tCaused by: e.F: theirs\n",
            ),
            "B: ours",
        ),
        ([], "unknown"),
        ([("__connect.errors.exception.message", b"caf\xff"), ("x", None)], "caf\ufffd"),
    ],
)
def test_reason_is_the_deepest_that_says_something(headers: Headers, reason: str) -> None:
    assert letter(headers).reason == reason


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        (said(topic="readings", partition="3", offset="44"), Origin("readings", 3, 44)),
        # What a record brought along, by mistake or malice, is not what Connect appended.
        (
            said(topic="evil", partition="9") + said(topic="readings", partition="3", offset="4"),
            Origin("readings", 3, 4),
        ),
        (said(topic="readings", partition="x"), Origin("readings", -1, -1)),
        (said(partition="3"), None),
        ([("__connect.errors.topic", None)], None),
    ],
)
def test_origin_is_what_connect_said_last(headers: Headers, origin: Origin | None) -> None:
    assert letter(headers).origin == origin


def test_own_headers_are_the_others_as_they_were() -> None:
    own: Headers = [("a", b"\xff"), ("a", None), ("__connect.other", b"")]
    assert letter([*own[:2], *said(topic="t", stage="s"), own[2]]).own_headers == own


def test_one_as_json() -> None:
    one = letter([("h", b"\xc3("), ("n", None), *said(topic="readings", partition="3", offset="4")], b"\xc3(", None)
    assert json.loads(json.dumps(one.as_whole_dict())) == {
        "offset": 17,
        "written": "2024-01-21 10:06:04.095000",
        "from": {"topic": "readings", "partition": 3, "offset": 4},
        "reason": "unknown",
        "key": None,
        "value_base64": "wyg=",
        "headers": [
            {"name": "h", "value_base64": "wyg="},
            {"name": "n", "value": None},
            {"name": "__connect.errors.topic", "value": "readings"},
            {"name": "__connect.errors.partition", "value": "3"},
            {"name": "__connect.errors.offset", "value": "4"},
        ],
    }
    assert "headers" not in one.as_dict()


EVIL = b"\x1b[2J\x07[red]\n"


def test_tables_show_what_others_wrote_and_do_nothing_of_it() -> None:
    one = letter(
        [("\x1b]0;h", EVIL), *said(topic="[bold]t", exception__message=EVIL.decode())], EVIL + b"x" * 900, EVIL
    )
    for text in (shown(render([one])), shown(render_one(one)), shown(render_summary(summaries(one)))):
        assert "\x1b[2J" not in text
        assert "\x1b]0;" not in text
        assert "\x07" not in text
        assert r"\x1b[2J\x07[red]" in text
    assert "[bold]t--1@-1" in shown(render([one]))
    assert "x" * 200 not in shown(render([one]))
    assert shown(render_one(one)).count("x") > 900, "all of it, however long a word"


def summaries(one: DeadLetter) -> list[Any]:
    return [SimpleNamespace(connector="c", count=1, left=1, newest=one)]


def test_one_is_shown_with_its_whole_trace_and_bytes_as_base64() -> None:
    text = shown(render_one(letter(said(exception__stacktrace=TRACE), b"\xc3(", None)))
    assert "    at org.example.Store.write(Store.java:2)" in text
    assert "java.net.Socket.read" in text
    assert "base64: wyg=" in text
    assert "null" in text


def test_one_is_found_by_its_offset() -> None:
    with world([record(offset, line(offset)) for offset in range(5, 9)], first=5) as made:
        assert one_dead_letter(made.settings, MARIADB_SINK, 6).value == line(6)
        for offset in (4, 9):
            with pytest.raises(StoreError, match=f"no dead letter {offset} of mariadb-readings: .* offsets 5 to 8"):
                one_dead_letter(made.settings, MARIADB_SINK, offset)
    with world([], first=5) as made, pytest.raises(StoreError, match="holds nothing"):
        one_dead_letter(made.settings, MARIADB_SINK, 5)


# --- lists ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, list(range(10))),
        ({"limit": None}, list(range(10))),
        ({"limit": 3}, [7, 8, 9]),
        ({"reason": "OUT_OF"}, [0, 2, 4, 6, 8]),
        ({"reason": "missing", "limit": 2}, [7, 9]),
        ({"reason": "missing", "limit": None}, [1, 3, 5, 7, 9]),
        ({"since": ARRIVAL + 4 * SECOND}, [4, 5, 6, 7, 8, 9]),
        ({"since": ARRIVAL + 4 * SECOND + 1}, [5, 6, 7, 8, 9]),
        ({"since": ARRIVAL + 4 * SECOND, "limit": 2, "reason": "out_of"}, [6, 8]),
        ({"since": ARRIVAL + 99 * SECOND}, []),
    ],
)
def test_list_is_the_newest_of_those_meant_newest_last(chosen: dict[str, Any], expected: list[int]) -> None:
    messages = ["out_of_limits: x", "missing_field: y"] * 5
    with world([record(n, line(n), exception__message=messages[n]) for n in range(10)]) as made:
        assert [one.offset for one in list_dead_letters(made.settings, MARIADB_SINK, **chosen)] == expected
        assert made.consumer.closed


def test_unknown_connector_is_told_which_there_are() -> None:
    with world([]) as made:
        made.consumer.partitions["dlq.other"] = {0}
        for ask in (
            lambda: list(list_dead_letters(made.settings, "nonsense")),
            lambda: one_dead_letter(made.settings, "nonsense", 1),
            lambda: replay(made.settings, SCHEMA, "nonsense", made.progress.append),
        ):
            with pytest.raises(StoreError, match=r"'nonsense'\. There are those of: mariadb-readings, other\.$"):
                ask()


def test_summary_counts_what_is_there_and_what_is_left() -> None:
    with world([record(n, line(n) if n % 2 else b"{") for n in range(4, 14)], first=4) as made:
        (before,) = summarize(made.settings)
        assert (before.connector, before.count, before.left) == (MARIADB_SINK, 10, 10)
        assert before.newest is not None
        assert before.newest.offset == 13
        made.replay()
        (after,) = summarize(made.settings)
        assert (after.count, after.left) == (10, 5), "those still refused are left"
        made.consumer.first = 9  # retention
        assert [(one.count, one.left) for one in summarize(made.settings)] == [(5, 2)]
        assert "13" not in shown(render_summary([after]))
        assert json.loads(json.dumps(after.as_dict()))["not_replayed"] == 5
    with world([], first=4) as made:
        assert summarize(made.settings)[0].as_dict() == {
            "connector": MARIADB_SINK,
            "dead_letters": 0,
            "not_replayed": 0,
            "newest": None,
        }
        made.consumer.partitions = {READINGS: {0}}
        assert summarize(made.settings) == []


def test_command_line_lists_shows_and_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    with world([record(n, line(n)) for n in range(3)]) as made:
        monkeypatch.setenv("MARE_HOME", str(made.settings.home))

        def run(*arguments: str) -> str:
            result = CliRunner().invoke(main, ["dead-letters", *arguments])
            assert result.exit_code == 0, result.output
            return result.stdout

        assert [json.loads(one)["offset"] for one in run("list", MARIADB_SINK, "--json").splitlines()] == [0, 1, 2]
        assert json.loads(run("list", "--json"))["not_replayed"] == 3
        assert "replayed" in run("list")
        assert json.loads(run("show", MARIADB_SINK, "1", "--json"))["headers"][0]["value"] == READINGS
        assert "out_of_limits" in run("show", MARIADB_SINK, "1")
        assert json.loads(run("replay", MARIADB_SINK, "--dry-run", "--json"))["published"] == 3
        assert "│ published" in run("replay", MARIADB_SINK)
        assert len(made.producer.log) == 3
        refused = CliRunner().invoke(main, ["dead-letters", "list", "--reason", "x"])
        assert refused.exit_code == 2
        assert "need a CONNECTOR" in refused.output


# --- the replay ----------------------------------------------------------------------------------------------------


def test_replay_publishes_records_as_they_were_where_they_were() -> None:
    own: Headers = [("trace", b"\xff"), ("none", None)]
    forged = said(topic="evil")
    held = [record(0, line(7), own + forged, b"seven"), record(1, line(8), key=None, partition="99")]
    with world(held) as made:
        done = made.replay()
        assert made.producer.log == [
            {"topic": READINGS, "value": line(7), "key": b"seven", "partition": 2, "headers": own},
            # There is no such partition any more: by the key, as every other producer does it.
            {"topic": READINGS, "value": line(8), "key": None, "partition": -1, "headers": []},
        ]
        assert made.producer.configuration["partitioner"] == "murmur2_random"
        assert made.producer.configuration["acks"] == "all"
        assert made.producer.configuration["enable.gapless.guarantee"] is True
    assert done.as_dict() == {
        "connector": MARIADB_SINK,
        "looked_at": 2,
        "unknown": 0,
        "refused": {},
        "superseded": 0,
        "already_there": 0,
        "published": 2,
        "dry_run": False,
    }
    assert made.progress[-1] == "2 of 2 dead letters of mariadb-readings"


def test_second_replay_publishes_nothing_but_what_came_since() -> None:
    with world([record(n, line(n)) for n in range(8)]) as made:
        assert made.replay().published == 8
        assert made.committed() == OffsetAndMetadata(8, "")
        assert made.replay(overwrite=True).looked_at == 0
        made.consumer.records.append(record(8, line(8)))
        assert made.replay().looked_at == 1
        assert made.producer.values == [line(n) for n in range(9)], "the oldest first"


def test_all_begins_again_and_takes_what_the_store_has_only_if_told() -> None:
    with world([record(n, line(n)) for n in range(8)]) as made:
        made.replay()
        made.store()
        again = made.replay(every=True)
        assert (again.looked_at, again.already_there, again.published) == (8, 8, 0)
        assert made.replay(every=True, overwrite=True).published == 8


def test_what_the_store_has_stays_unless_told() -> None:
    with world([record(0, line(1)), record(1, line(2))]) as made:
        made.there = {(1, ARRIVAL), (2, ARRIVAL + 1)}
        done = made.replay(dry_run=True)
        assert (done.already_there, done.published) == (1, 1)
        assert made.replay(overwrite=True).published == 2
        assert made.awaited == [MARIADB_SINK], "once; with --overwrite nobody waits"


def test_dry_run_does_nothing_at_all() -> None:
    with world([record(n, line(n)) for n in range(5)]) as made:
        done = made.replay(dry_run=True)
        assert (done.published, done.dry_run) == (5, True)
        assert made.producer.configuration == {}
        assert made.admin.groups == {}
        assert list(made.settings.home.iterdir()) == []
        assert "would be published" in shown(done.render())


def test_what_is_still_refused_is_left_and_found_again() -> None:
    hot = line(3, temperature=5000)
    with world([record(0, line(1)), record(1, hot), record(2, b"{"), record(3, None), record(4, line(4))]) as made:
        done = made.replay()
        assert (done.published, done.refused) == (2, {"out_of_limits": 1, "malformed": 1, "null_value": 1})
        assert made.committed() == OffsetAndMetadata(5, "1-3")
        made.consumer.records[1] = record(1, line(3))  # as if its rule were mended
        again = made.replay(overwrite=True)
        assert (again.looked_at, again.published) == (3, 1)
        assert made.committed() == OffsetAndMetadata(5, "2-3")
        assert made.producer.values == [line(1), line(4), line(3)]
        made.consumer.first = 3
        assert made.replay().looked_at == 1
        assert made.committed() == OffsetAndMetadata(5, "3"), "what retention took is forgotten"


def test_record_that_came_from_nowhere_is_left() -> None:
    held = [
        record(0, line(1), topic=None),
        record(1, line(2), topic="gone"),
        record(2, line(3)),
        record(3, line(3), topic=None),
    ]
    with world(held) as made:
        done = made.replay()
        assert (done.looked_at, done.unknown, done.superseded, done.published) == (4, 3, 0, 1)
        assert made.producer.values == [line(3)], "one that is left can't stand for an earlier one"


def test_other_connectors_records_are_published_as_they_are() -> None:
    held = [record(n, value, topic=REJECTED, partition="0") for n, value in enumerate([b"{", None, b"{", b"\xff"])]
    with world(held, connector=REJECTED_SINK) as made:
        assert made.replay().published == 4
        assert made.producer.values == [b"{", None, b"{", b"\xff"]
        assert made.awaited == []
        assert made.replay().looked_at == 0
        assert made.replay(every=True).published == 4


def test_record_that_was_put_aside_twice_is_published_once() -> None:
    """So it is after a sink was restarted."""
    places = [("0", "7"), ("0", "8"), ("0", "7"), ("9", "7"), ("8", "7"), ("0", "x"), ("0", "x"), ("", "7")]
    held = [
        record(n, b"x%d" % n, topic=REJECTED, partition=partition, offset=offset)
        for n, (partition, offset) in enumerate(places)
    ]
    with world(held, connector=REJECTED_SINK, chunk=2) as made:
        done = made.replay()
        assert (done.superseded, done.published) == (1, 7)
        assert made.producer.values == [b"x%d" % n for n in range(1, 8)]
        made.consumer.records.append(record(8, b"x8", topic=REJECTED, partition="0", offset="8"))
        made.consumer.records.append(record(9, b"x9", topic=REJECTED, partition="0", offset="9"))
        again = made.replay()
        assert (again.superseded, again.published) == (1, 1), "the first one was replayed before"
        assert made.producer.values[-1] == b"x9"
        assert made.replay(every=True).published == 8


def test_schema_that_the_sinks_do_not_know_yet_is_said() -> None:
    with world([record(0, line(1))]) as made:
        write_json(schema_file(made.settings), {"fingerprint": "another"})
        with pytest.raises(StoreError, match="run `mare apply`, and then replay"):
            made.replay()
        assert made.producer.log == []
        write_json(schema_file(made.settings), {"fingerprint": SCHEMA.fingerprint})
        assert made.replay().published == 1


@given(
    lines=st.lists(st.sampled_from([b"{", None, line(1), line(1, a=1), line(2), line(2, b=2), line(3), line(3, 1)])),
    there=st.sets(st.sampled_from([(1, ARRIVAL), (2, ARRIVAL), (3, ARRIVAL)])),
    chunk=st.integers(1, 6),
    acknowledges=st.integers(0, 20),
    connector=st.sampled_from(SINKS),
)
def test_each_reading_is_published_once_as_it_was_last_whatever_fails(
    lines: list[bytes | None], there: set[Identity], chunk: int, acknowledges: int, connector: str
) -> None:
    with world([record(n, one) for n, one in enumerate(lines)], chunk=chunk, connector=connector) as made:
        made.there = set(there)
        made.producer.acknowledges = acknowledges
        try:
            first = made.replay()
        except StoreError as error:
            assert "message timed out" in str(error)
            made.producer.acknowledges = 1_000_000
        else:
            assert first.published == len(made.producer.log)
            assert first.looked_at == len(lines)
            others = first.refused.total() + first.unknown + first.superseded + first.already_there
            assert first.looked_at == others + first.published
        made.replay()
        last = {
            (json.loads(one)["sensor_id"], json.loads(one)["timestamp"]): one for one in lines if one and one != b"{"
        }
        missing = [one for (sensor, at), one in last.items() if (sensor, parse_timestamp(at)) not in there]
        assert sorted(made.producer.values) == sorted(missing)  # type: ignore[type-var]
        order = [index for index, one in enumerate(lines) if one in missing and one not in lines[index + 1 :]]
        assert made.producer.values == [lines[index] for index in order]


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ({"acknowledges": 4}, "message timed out"),
        ({"unanswered": 1}, "1 without an answer"),
        ({"raises": KafkaException("fatal")}, "fatal"),
        ({"raises": BufferError("queue full")}, "queue full"),
    ],
)
def test_what_kafka_does_not_acknowledge_stays_to_be_replayed(trouble: dict[str, Any], sentence: str) -> None:
    held = [record(n, b"x%d" % n, topic=REJECTED, partition="0") for n in range(7)]
    with world(held, connector=REJECTED_SINK) as made:
        for name, value in trouble.items():
            setattr(made.producer, name, value)
        with pytest.raises(StoreError, match=f"did not acknowledge all records .{sentence}"):
            made.replay()
        made.producer = FakeProducer(log=made.producer.log)
        made.replay()
        assert made.producer.values == [b"x%d" % n for n in range(7)], "each once, in order"


def test_ctrl_c_forgets_nothing_that_was_published() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    held = [record(n, b"x%d" % n, topic=REJECTED, partition="0") for n in range(7)]
    with world(held, connector=REJECTED_SINK) as made:
        made.producer.after_flush = interrupt
        with pytest.raises(KeyboardInterrupt):
            made.replay()
        made.producer.after_flush = lambda: None
        made.replay()
        assert made.producer.values == [b"x%d" % n for n in range(7)]


def test_nothing_is_taken_down_before_kafka_has_acknowledged_it() -> None:
    seen: list[int] = []
    with world([record(n, line(n)) for n in range(8)]) as made:
        made.producer.at_flush = lambda: seen.append(summarize(made.settings)[0].left)
        made.replay()
    assert seen == [8, 5, 2], "three are looked at together"


def test_kafka_that_takes_no_note_is_said() -> None:
    with world([record(0, line(1))]) as made:
        made.admin.error = UnknownMemberIdError
        with pytest.raises(StoreError, match=r"did not take down what was replayed \(UnknownMemberIdError\)"):
            made.replay()


def test_one_replay_at_a_time_whatever_its_connector() -> None:
    with world([record(0, line(1))]) as made:
        path = made.settings.home / "state" / "dead-letters.lock"
        path.parent.mkdir()
        with path.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(StoreError, match="Another `mare dead-letters replay` works on this instance"):
                made.replay()
            assert made.replay(dry_run=True).published == 1
        made.producer.after_flush = partial(second_one, made)
        assert made.replay().published == 1


def second_one(made: World) -> None:
    with pytest.raises(StoreError, match="Another `mare dead-letters replay`"):
        made.replay()


def test_state_folder_that_can_not_be_written_is_said() -> None:
    with world([record(0, line(1))]) as made:
        (made.settings.home / "state").write_text("no folder", "utf-8")
        with pytest.raises(MachineError, match="can't take its lock"):
            made.replay()


# --- the marks -----------------------------------------------------------------------------------------------------

Spans = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=6)


def offsets(marks: Marks, first: int = 0, end: int = 100) -> set[int]:
    return {offset for start, stop in marks.spans(first, end) for offset in range(start, stop)}


@given(st.lists(st.tuples(st.integers(1, 12), st.sets(st.integers(0, 11)))), st.data())
def test_marks_hold_what_was_left(looks: list[tuple[int, set[int]]], data: st.DataObject) -> None:
    marks, expected = Marks(), set(range(100))
    for length, picked in looks:
        start = data.draw(st.integers(0, marks.upto))
        span = (start, start + length)
        left = {start + number for number in picked if number < length}
        marks = marks.looked_at(span, sorted(left))
        expected = (expected - set(range(*span))) | {offset for offset in left if offset < 100}
        assert offsets(marks) == expected
        assert Marks.parse(marks.upto, marks.text) == marks
        assert offsets(marks, 20, 50) == {offset for offset in expected if 20 <= offset < 50}
        assert offsets(marks.kept(30)) == {offset for offset in expected if offset >= min(30, marks.upto)}


@example(left=set(range(0, 10_000_000, 1000)))
@given(left=st.sets(st.integers(0, 10_000_000), min_size=1, max_size=3000))
def test_marks_that_grow_too_long_forget_nothing(left: set[int]) -> None:
    marks = Marks().looked_at((0, 10_000_001), sorted(left))
    assert len(marks.text) <= 4000
    read = Marks.parse(marks.upto, marks.text)
    assert all(any(start <= offset < stop for start, stop in read.left) for offset in left)


@pytest.mark.parametrize("text", ["", "consumer-1", "3 x", "3-", "-4"])
def test_text_that_is_not_ours_says_nothing(text: str) -> None:
    assert Marks.parse(7, text) == Marks(7)


# --- what is there already -----------------------------------------------------------------------------------------


@dataclass
class FakeElasticsearch:
    """Stands in for a client whose only question is for documents by index and _id."""

    there: dict[tuple[str, str], Any] = field(default_factory=dict)  # answers
    asked: list[int] = field(default_factory=list)
    error: Exception | None = None

    def __enter__(self) -> FakeElasticsearch:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def mget(self, docs: list[dict[str, str]], source: bool) -> dict[str, Any]:
        assert not source
        if self.error is not None:
            raise self.error
        self.asked.append(len(docs))
        return {"docs": [doc | self.there.get((doc["_index"], doc["_id"]), {"found": False}) for doc in docs]}


def test_elasticsearch_is_asked_by_id_in_the_month_of_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    search = FakeElasticsearch()
    monkeypatch.setattr(already, "connect_elasticsearch", lambda _settings: search)
    monkeypatch.setattr(already, "_LOOKUP", 2)
    missing = {"error": {"type": "index_not_found_exception"}}
    search.there = {
        ("readings-2024.01", f"1-{ARRIVAL}"): {"found": True},
        ("readings-2024.01", f"2-{ARRIVAL}"): missing,
        ("readings-2024.02", f"3-{ARRIVAL}"): {"found": True},
    }
    with open_lookup(Settings(), ELASTICSEARCH_SINK) as lookup:
        assert lookup([(sensor_id, ARRIVAL) for sensor_id in (3, 2, 1)]) == {(1, ARRIVAL)}
        assert search.asked == [2, 1]
        assert lookup([]) == set()
    search.there = {("readings-2024.01", f"1-{ARRIVAL}"): {"error": {"type": "no_shard_available_action_exception"}}}
    with pytest.raises(StoreError, match="no_shard"), open_lookup(Settings(), ELASTICSEARCH_SINK) as lookup:
        lookup([(1, ARRIVAL)])
    search.error = AwayError("refused")
    with (
        pytest.raises(StoreError, match=r"Elasticsearch at \S+ could not be asked"),
        open_lookup(Settings(), ELASTICSEARCH_SINK) as lookup,
    ):
        lookup([(1, ARRIVAL)])


def test_mariadb_is_asked_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    mariadb = FakeMariaDB()
    monkeypatch.setattr(already, "connect_mariadb", lambda _settings: mariadb)
    monkeypatch.setattr(already, "_LOOKUP", 8)
    mariadb.there = {(n, ARRIVAL) for n in range(0, 50, 2)}
    with open_lookup(Settings(), MARIADB_SINK) as lookup:
        assert lookup([(n, ARRIVAL) for n in range(50)]) == mariadb.there
    assert max(mariadb.asked) == 8
    assert sum(mariadb.asked) == 50
    mariadb.error = mysql.connector.errors.OperationalError("gone away")
    with (
        pytest.raises(StoreError, match=r"MariaDB at \S+ could not be asked \(gone away\)"),
        open_lookup(Settings(), MARIADB_SINK) as lookup,
    ):
        lookup([(1, ARRIVAL)])


def test_the_connectors_own_sink_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    def passed(end: int, committed: int) -> SinkOffsets:
        return SinkOffsets({0: end}, {MARIADB_SINK: {0: 0}, ELASTICSEARCH_SINK: {0: committed}})

    # The topic grows on: what came later need not be waited for.
    looks = [passed(10, 4), passed(10, 4), passed(30, 9), passed(60, 10), passed(90, 11)]
    monkeypatch.setattr(already, "sink_offsets", lambda _settings: looks.pop(0))
    monkeypatch.setattr(already, "_LOOK", 0)
    await_sink(Settings(), ELASTICSEARCH_SINK)
    assert len(looks) == 1
    monkeypatch.setattr(already, "_STORED", 0.0)
    looks = [passed(10, 4)] * 3
    with pytest.raises(StoreError, match="elasticsearch-readings is still 6 readings behind the topic"):
        await_sink(Settings(), ELASTICSEARCH_SINK)
