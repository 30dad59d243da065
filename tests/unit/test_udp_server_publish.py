"""Nothing that was accepted is lost or gets out of order, whatever a producer, the spool or a crash does.

Kafka and the clock are fakes, the spool is the real one. A `World` is a gateway's publishing end over several
lives, together with what the test itself knows: which lines were sent, and what was answered.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from waiting import await_true

from maredata.reading import Reason
from maredata.settings import Settings, Udp
from udp_server import publish
from udp_server.check import Rejection
from udp_server.ledger import LATENCY_BOUNDS, Account, Latency, Ledger, Refusal
from udp_server.message import Message, Messages
from udp_server.publish import Channel, Publisher, producer_configuration
from udp_server.segment import Segment, record_at, records
from udp_server.spool import Spool

FATAL = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "out of order", fatal=True)
UNKNOWN_TOPIC = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "no such topic")
PURGED = KafkaError(KafkaError._PURGE_QUEUE, "purged")

MOST_MESSAGES = 6
MOST_SPOOLED = 1500  # bytes; one batch of the steps below takes 30 to 100
LARGEST_BATCH = 5
SPOOL_AFTER = 1.0

Report = Callable[[KafkaError | None, Any], None]


class FakeKafka:
    """Stands in for a broker: the log of what arrived, over all producers that were made for it."""

    def __init__(self) -> None:
        self.log: list[bytes] = []
        self.producers: list[FakeProducer] = []

    def make(self, configuration: dict[str, Any]) -> Any:
        self.producers.append(FakeProducer(self, configuration))
        return self.producers[-1]

    @property
    def producer(self) -> FakeProducer:
        return self.producers[-1]


class _Queued:
    """A message in the producer, and its report. Half of the keys belong to each of two partitions."""

    def __init__(self, value: bytes, key: bytes | None, report: Report | None) -> None:
        self.value, self.kept_key, self.report = value, key, report
        self.logged = False  # an idempotent producer's retry is not logged again

    def key(self) -> bytes | None:
        return self.kept_key

    def partition(self) -> int:
        return sum(self.kept_key or b"") % 2


class FakeProducer:
    """Stands in for confluent_kafka.Producer, and for how it behaves before, at and after a fatal error."""

    def __init__(self, kafka: FakeKafka, configuration: dict[str, Any]) -> None:
        self.kafka = kafka
        self.configuration = configuration
        self.queue: list[_Queued] = []
        self.reports: list[tuple[KafkaError | None, _Queued]] = []
        self.produced: list[tuple[str, bytes, bytes | None, Any]] = []
        self.asked = 0  # for a report
        self.room = 1_000_000_000
        self.fatal = False
        self.gap = False
        self.raises_at_poll: KafkaError | None = None

    def produce(
        self,
        topic: str,
        value: bytes,
        key: bytes | None,
        partition: int,
        on_delivery: Report | None,
        headers: Any = None,
    ) -> None:
        if self.fatal:
            raise KafkaException(FATAL)
        if len(self.queue) >= self.room:
            raise BufferError("queue full")
        self.produced.append((topic, value, key, headers))
        self.asked += on_delivery is not None
        self.queue.append(_Queued(value, key, on_delivery))
        assert partition in (-1, self.queue[-1].partition()), "a key has changed its partition"

    def arrive(self, count: int = 1_000_000, acknowledged: bool = True, partition: int | None = None) -> None:
        """The next messages reach the log. Without an acknowledgement the producer never learns of it."""
        if self.gap:
            return
        for queued in [queued for queued in self.queue if partition in (None, queued.partition())][:count]:
            if not queued.logged:
                self.kafka.log.append(queued.value)
                queued.logged = True
            if acknowledged:
                self.reports.append((None, queued))
                self.queue.remove(queued)

    def fail_first(self, error: KafkaError) -> None:
        """The broker takes neither the first message nor, where no gap may be, any other from now on."""
        if self.queue:
            self.reports.append((error, self.queue.pop(0)))
            if self.configuration["enable.gapless.guarantee"]:
                self.gap = True
                self.fail_for_good()

    def lose_topic(self) -> None:
        """librdkafka gives up on all it holds, once the topic is known to be missing, and stays usable."""
        self.reports += [(UNKNOWN_TOPIC, queued) for queued in self.queue]
        self.queue.clear()

    def fail_for_good(self) -> None:
        self.fatal = True
        self.raises_at_poll = FATAL

    def purge(self, **_which: bool) -> None:
        self.reports += [(PURGED, queued) for queued in self.queue]
        self.queue.clear()

    def poll(self, _timeout: float = 0) -> int:
        if self.raises_at_poll is not None:
            self.raises_at_poll = None
            raise KafkaException(FATAL)
        reports, self.reports = self.reports, []
        for error, queued in reports:
            if queued.report is not None:
                queued.report(error, queued)
        return len(reports)

    flush = poll


class FakeClock:
    """Stands in for the monotonic clock, so that a test need not wait."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        patch.setattr(publish, "monotonic", lambda: self.now)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


class FakeFailingSpool(Spool):
    """The real spool on a disk that fails when it is told to: in the middle of a write, or at fsync."""

    failing_appends = 0
    failing_syncs = 0

    def append(self, messages: Any) -> int:
        if not self.failing_appends or not messages:
            return super().append(messages)
        self.failing_appends -= 1
        with mock.patch.object(Segment, "write", _write_half):
            return super().append(messages)

    def sync(self) -> None:
        if not self.failing_syncs:
            return super().sync()
        self.failing_syncs -= 1
        with mock.patch.object(Segment, "sync", mock.Mock(side_effect=OSError("no fsync"))):
            return super().sync()


def _write_half(segment: Segment, record: bytes, _messages: int) -> None:
    os.write(segment.descriptor, record[: len(record) // 2])
    raise OSError("no space left")


class World:
    """A channel over several lives, on one folder and one Kafka, and what a test knows of it all."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, most_spooled: int = MOST_SPOOLED) -> None:
        self.folder = folder
        self.clock = FakeClock(patch)
        self.kafka = FakeKafka()
        self.most_spooled = most_spooled
        self.sent = 0
        self.calls: list[list[bytes]] = []
        self.answers: dict[int, bool] = {}  # by call, in the order in which they came
        self.unanswered: set[int] = set()  # of this life
        self.may_repeat = False  # a producer failed, or a gateway ended, so that Kafka may get something twice
        self.lines = 0  # the ledger's column `received`
        self.account = Account()
        self.latency = Latency()
        self.channel = self._begin()
        self.written: tuple[dict[str, int], dict[str, int], int | None, int] = ({}, {}, None, 0)

    def _begin(self) -> Channel:
        self.spool = FakeFailingSpool(self.folder, self.most_spooled, segment_bytes=300)
        self.unanswered = set()
        return Channel(
            topic="readings",
            account=self.account,
            spool=self.spool,
            most_spooled=self.most_spooled,
            configuration=producer_configuration(Settings()),
            most_messages=MOST_MESSAGES,
            most_bytes=10_000,
            spool_after=SPOOL_AFTER,
            latency=self.latency,
            make_producer=self.kafka.make,
        )

    # --- what happens

    def send(self, count: int, size: int = 0) -> int:
        """The number of the call."""
        call, numbers = len(self.calls), range(self.sent, self.sent + count)
        self.calls.append([value(number, size) for number in numbers])
        self.sent += count
        self.lines += count
        self.unanswered.add(call)
        refused = self.account.refused.total()
        messages = [Message(key_of(content), content) for content in self.calls[call]]
        self.channel.send(Messages.of(messages), partial(self._answered, call))
        assert self.account.refused.total() - refused == (count if self.answers.get(call) is False else 0)
        return call

    def _answered(self, call: int, accepted: bool) -> None:
        assert call in self.unanswered, "answered twice, or by a gateway that is gone"
        self.unanswered.remove(call)
        if accepted:
            assert not [other for other in self.unanswered if other < call], "an earlier call has no answer yet"
        self.answers[call] = accepted

    def poll(self) -> None:
        self.channel.poll()

    def write_down(self) -> None:
        account = self.account
        self.written = (account.as_dict(), dict(account.refused), self.channel.spool_position(), self.lines)

    def restart(self) -> None:
        self.channel.close()
        self.write_down()
        self._new_life()

    def crash(self) -> None:
        for segment in self.spool._segments:
            segment.close()  # only so that the test keeps no open files
        self._new_life()

    def _new_life(self) -> None:
        earlier, refused, position, self.lines = self.written
        self.may_repeat = True
        self.account = Account.continued(earlier, refused)
        self.channel = self._begin()
        self.lines += self.channel.recover(position)
        assert self.account.in_spool == self.spool.pending_messages
        self.write_down()

    def settle_down(self) -> None:
        """Everything works again, for long enough."""
        self.spool.failing_appends = self.spool.failing_syncs = 0
        for _ in range(300):
            self.clock.pass_by(2)
            self.poll()
            self.kafka.producer.arrive()
            self.poll()
            if not self.channel.messages and self.spool.empty:
                return
        raise AssertionError("it does not come to an end")

    # --- what is known

    def accepted(self) -> list[bytes]:
        return [content for call in sorted(self.answers) if self.answers[call] for content in self.calls[call]]

    def refused(self) -> list[bytes]:
        return [content for call in sorted(self.answers) if not self.answers[call] for content in self.calls[call]]

    def check(self) -> None:
        account, channel, log = self.account, self.channel, self.kafka.log
        assert account.total() == self.lines
        assert account.in_flight == channel.waiting()
        assert min(account.accepted, account.in_flight, account.replayed, account.in_spool) >= 0
        assert account.in_spool == self.spool.pending_messages
        assert channel.messages == sum(len(batch.messages) for batch in channel._produced)
        assert channel.bytes == sum(batch.bytes for batch in channel._produced)
        assert channel.messages < MOST_MESSAGES + LARGEST_BATCH
        assert len(channel._produced) <= MOST_MESSAGES
        assert len(self.kafka.producer.queue) < MOST_MESSAGES + LARGEST_BATCH
        assert self.spool.bytes <= self.most_spooled
        first = list(dict.fromkeys(log))
        for partition in (0, 1):
            of_it = [content for content in first if _Queued(content, key_of(content), None).partition() == partition]
            assert of_it == sorted(of_it), "out of order"
        assert self.may_repeat or len(first) == len(log), "produced twice without need"
        assert not set(self.refused()) & set(log)

    def check_safe(self) -> None:
        """Whatever was accepted is in Kafka, or on disk."""
        assert set(self.accepted()) <= set(self.kafka.log) | set(spooled(self.spool, self.folder))


def value(number: int, size: int = 0) -> bytes:
    return b"%08d" % number + b"x" * size


def key_of(value: bytes) -> bytes:
    return b"%d" % (int(value[:8]) % 4)


def spooled(spool: Spool, folder: Path) -> list[bytes]:
    """What is on disk and not discarded."""
    found: list[bytes] = []
    for path in sorted(folder.glob("*.log")):
        base, data = int(path.stem), bytearray(path.read_bytes())
        for start, _, _ in records(data, base):
            record = record_at(data, start - base, start)
            if record is not None and start >= spool.head:
                found += [message.value for message in msgspec.msgpack.decode(record[0], type=list[Message])]
    return found


@contextmanager
def a_world(**options: Any) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(os, "fsync", lambda _descriptor: None)  # no test here can cut the power, and it takes long
        yield World(Path(folder) / "spool", patch, **options)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path / "spool", monkeypatch)


MET = [("send", 4), ("arrive", 4), ("wait", 0.0)]  # all keys, so that only some reports are asked for
STEPS = st.tuples(
    st.sampled_from([[], MET]),
    st.lists(
        st.one_of(
            st.tuples(st.just("send"), st.integers(0, LARGEST_BATCH)),
            st.tuples(st.just("send"), st.integers(1, LARGEST_BATCH)),
            st.tuples(st.just("arrive"), st.integers(1, 8)),
            st.tuples(st.just("arrive in partition 0"), st.integers(1, 8)),
            st.tuples(st.just("arrive in partition 1"), st.integers(1, 8)),
            st.tuples(st.just("arrive unheard of"), st.integers(1, 5)),
            st.tuples(st.just("wait"), st.sampled_from([0.0, 0.5, 1.1, 2.5])),
            st.tuples(st.just("refuse one"), st.just(0)),
            st.tuples(st.just("fail for good"), st.just(0)),
            st.tuples(st.just("no room in the producer"), st.integers(0, 5)),
            st.tuples(st.just("topic lost and back"), st.just(0)),
            st.tuples(st.just("large batch"), st.integers(200, 700)),
            st.tuples(st.just("appends fail"), st.integers(1, 3)),
            st.tuples(st.just("syncs fail"), st.integers(1, 3)),
            st.tuples(st.just("write down"), st.just(0)),
            st.tuples(st.just("restart"), st.just(0)),
            st.tuples(st.just("crash"), st.just(0)),
        ),
        max_size=50,
    ),
).map(lambda steps: [*steps[0], *steps[1]])


def take(world: World, step: str, amount: Any) -> None:  # noqa: PLR0912 - one branch for each step
    producer = world.kafka.producer
    match step:
        case "send":
            world.send(amount)
        case "large batch":
            world.send(1, amount)
        case "arrive":
            producer.arrive(amount)
        case "arrive in partition 0" | "arrive in partition 1":
            producer.arrive(amount, partition=int(step[-1]))
        case "arrive unheard of":
            producer.arrive(amount, acknowledged=False)
        case "wait":
            world.clock.pass_by(amount)
            world.poll()
            world.poll()
        case "refuse one":
            world.may_repeat = True
            producer.fail_first(UNKNOWN_TOPIC)
        case "fail for good":
            world.may_repeat = True
            producer.fail_for_good()
        case "no room in the producer":
            world.may_repeat = True
            producer.room = amount
        case "topic lost and back":
            world.may_repeat = True
            producer.lose_topic()
            world.poll()  # a topic is away for longer than one turn of the main loop
        case "appends fail":
            world.spool.failing_appends = amount
        case "syncs fail":
            world.spool.failing_syncs = amount
        case "write down":
            world.write_down()
        case "restart":
            world.restart()
        case "crash":
            world.crash()


@hypothesis_settings(max_examples=400)
@given(STEPS)
def test_whatever_happens_what_was_accepted_arrives_in_order_and_the_account_balances(
    steps: list[tuple[str, Any]],
) -> None:
    with a_world() as world:
        for step, amount in steps:
            take(world, step, amount)
            world.check()
            world.check_safe()
        world.settle_down()
        world.check()
        assert not world.unanswered
        assert set(world.accepted()) <= set(world.kafka.log)
        assert (world.account.in_flight, world.account.in_spool, world.spool.bytes) == (0, 0, 0)
        assert world.account.acknowledged == world.account.accepted
        if not {"crash", "restart"} & {step for step, _ in steps}:
            assert world.account.accepted == len(world.accepted())
            assert world.account.refused.total() == len(world.refused())
            assert world.account.lost_in_crash == 0


@hypothesis_settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, LARGEST_BATCH), st.floats(0, SPOOL_AFTER / 2)), max_size=40))
def test_nothing_is_spooled_while_kafka_acknowledges_in_time(rounds: list[tuple[int, float]]) -> None:
    with a_world() as world:
        for count, seconds in rounds:
            world.send(count)
            world.clock.pass_by(seconds)
            world.poll()
            world.kafka.producer.arrive()
            world.poll()
            world.check()
        assert world.account == Account(accepted=world.sent)
        assert list(world.folder.glob("*.log")) == []
        assert world.kafka.log == [value(number) for number in range(world.sent)]
        assert all(world.answers.values())


# --- one by one


@pytest.mark.parametrize("how", ["poll raises", "produce raises", "a report says so", "no room in the producer"])
def test_a_failed_producer_is_replaced_and_nothing_is_lost_or_reordered(how: str, world: World) -> None:
    for _ in range(5):
        world.send(1)
    world.kafka.producer.arrive(2)
    match how:
        case "a report says so":
            world.kafka.producer.fail_first(UNKNOWN_TOPIC)
        case "no room in the producer":
            world.kafka.producer.room = 0
        case _:
            world.kafka.producer.fatal = True
            world.kafka.producer.raises_at_poll = FATAL if how == "poll raises" else None
    world.send(1)
    world.poll()
    world.send(1)
    world.clock.pass_by(1.01)
    world.poll()
    assert len(world.kafka.producers) == 2
    world.kafka.producer.arrive()
    world.poll()
    assert world.kafka.log == [value(number) for number in range(7)]
    assert world.account.total() == world.account.accepted == 7
    assert world.answers == dict.fromkeys(range(7), True)


def test_what_kafka_does_not_acknowledge_within_the_limit_is_spooled_and_not_produced_again(world: World) -> None:
    world.send(3)
    world.clock.pass_by(SPOOL_AFTER)
    world.poll()
    assert (world.account.in_flight, world.account.spooled) == (3, 0)
    world.clock.pass_by(0.01)
    world.poll()
    assert world.account == Account(accepted=3, spooled=3)
    assert world.answers == {0: True}
    assert spooled(world.spool, world.folder) == [value(number) for number in range(3)]
    world.kafka.producer.arrive()
    world.poll()
    assert world.account == Account(accepted=3, spooled=3, replayed=3)
    assert len(world.kafka.producer.produced) == len(world.kafka.log) == 3
    assert world.spool.empty


def test_a_full_memory_sends_all_to_the_spool_and_goes_on_in_order(world: World) -> None:
    for _ in range(MOST_MESSAGES + 3):
        world.send(1)
    assert len(world.kafka.producer.produced) == MOST_MESSAGES
    assert world.account == Account(accepted=MOST_MESSAGES + 3, spooled=MOST_MESSAGES + 3)
    world.settle_down()
    assert world.kafka.log == [value(number) for number in range(MOST_MESSAGES + 3)]


def test_bytes_in_memory_are_bounded_too(world: World) -> None:
    world.send(1, size=9_000)
    world.send(1, size=5_000)
    world.send(1)
    assert len(world.kafka.producer.produced) == 2
    assert world.account.refused == {Refusal.SPOOL_FULL: 1}  # the large ones fit into no spool, so nor behind them


def test_a_full_spool_refuses_the_newest_until_kafka_has_made_room(world: World) -> None:
    world.channel._renew_at = 1e9  # no producer: nothing leaves
    while not world.account.refused:
        world.send(1, size=200)
    refused = len(world.calls) - 1
    assert world.account.refused == {Refusal.SPOOL_FULL: 1}
    assert world.channel.congested()
    assert world.answers[refused] is False
    world.channel._renew_at = 0.0
    world.settle_down()
    assert not world.channel.congested()
    world.send(1, size=200)
    world.settle_down()
    assert world.account.refused == {Refusal.SPOOL_FULL: 1}
    assert world.kafka.log == [
        content for call, contents in enumerate(world.calls) if call != refused for content in contents
    ]


def test_a_channel_is_congested_from_nine_tenths_on(world: World) -> None:
    world.clock.pass_by(SPOOL_AFTER)
    while world.spool.bytes <= 0.9 * MOST_SPOOLED:
        assert not world.channel.congested()
        world.send(1, size=50)
        world.clock.pass_by(2 * SPOOL_AFTER)
        world.poll()
    assert world.channel.congested()
    assert not world.account.refused


@pytest.mark.parametrize("what", ["failing_appends", "failing_syncs"])
def test_a_disk_that_fails_refuses_and_is_tried_again(what: str, world: World) -> None:
    world.send(1)
    world.clock.pass_by(2 * SPOOL_AFTER)
    world.poll()  # from here on the spool holds something
    world.channel._next = 0  # which is still to be produced
    setattr(world.spool, what, 1)
    refused = world.send(2)
    assert world.account.refused == {Refusal.SPOOL_FAILED: 2}
    assert world.answers[refused] is False
    assert world.channel.congested()
    accepted = world.send(1)
    assert world.answers[accepted] is True
    world.clock.pass_by(1.01)
    assert not world.channel.congested()


def test_what_the_spool_did_not_take_is_not_overtaken_by_what_comes_after_it(world: World) -> None:
    """Otherwise the earlier one would be spooled behind the later one, and its acknowledgement would discard both."""
    for _ in range(MOST_MESSAGES):
        world.send(1)
    world.spool.failing_appends = 1
    late = world.send(1)
    assert world.answers == {late: False}
    assert world.account.refused == {Refusal.SPOOL_FAILED: 1}
    world.clock.pass_by(2)
    world.poll()
    assert world.account.spooled == MOST_MESSAGES
    world.kafka.producer.arrive(1)
    world.poll()
    world.crash()
    world.settle_down()
    assert world.kafka.log[1:] == [value(number) for number in range(1, MOST_MESSAGES)]


def test_a_batch_of_nothing_is_answered_in_its_turn(world: World) -> None:
    """A stream's chunk may hold nothing but rejected lines."""
    world.send(0)
    world.poll()
    assert world.answers == {0: True}
    world.send(1)
    world.send(0)
    world.poll()
    assert world.answers == {0: True}
    world.kafka.producer.arrive()
    world.poll()
    assert list(world.answers.items()) == [(0, True), (1, True), (2, True)]
    assert world.latency.counts == [1, *[0] * len(LATENCY_BOUNDS)]


def test_batches_of_nothing_do_not_gather_behind_one_that_kafka_does_not_take(world: World) -> None:
    world.send(1)
    for _ in range(20 * MOST_MESSAGES):
        world.send(0)
    assert len(world.channel._produced) <= MOST_MESSAGES
    assert len(world.answers) == 1 + 20 * MOST_MESSAGES


def test_what_hears_an_answer_is_let_go_of_then(world: World) -> None:
    """It may hold on to a stream's lines, while Kafka can be away for days."""

    class Heard:
        def __call__(self, _accepted: bool) -> None: ...

    heard = Heard()
    still_there = weakref.ref(heard)
    world.channel.send(Messages.of([Message(b"1", value(0))]), heard)
    del heard
    assert still_there() is not None
    world.clock.pass_by(2 * SPOOL_AFTER)
    world.poll()
    assert world.channel.messages == 1
    assert still_there() is None


def test_the_latency_is_that_of_each_message_kafka_acknowledged(world: World) -> None:
    world.send(3)
    world.clock.pass_by(0.004)
    world.kafka.producer.arrive()
    world.poll()
    assert world.latency.counts[LATENCY_BOUNDS.index(0.005)] == sum(world.latency.counts) == 3
    assert world.latency.sum == pytest.approx(0.012)
    world.send(1)
    world.clock.pass_by(2)
    world.poll()  # spooled: its wait for Kafka is no latency of the gateway's
    world.kafka.producer.arrive()
    world.poll()
    assert sum(world.latency.counts) == 3


def test_an_orderly_restart_leaves_what_is_under_way_to_the_next_gateway(world: World) -> None:
    world.send(3)
    world.kafka.producer.arrive(1)
    world.restart()
    assert world.answers == {0: True}
    assert world.account == Account(accepted=3, spooled=3)
    world.settle_down()
    assert world.kafka.log == [value(0), *(value(number) for number in range(3))]
    assert world.account == Account(accepted=3, spooled=3, replayed=3)


def test_a_crash_loses_what_was_only_in_memory_and_says_so(world: World) -> None:
    world.send(2)
    world.clock.pass_by(2)
    world.poll()
    world.send(3)
    world.write_down()
    world.crash()
    assert world.account == Account(accepted=2, lost_in_crash=3, spooled=2)
    world.settle_down()
    assert world.kafka.log == [value(0), value(1)]


def test_what_was_spooled_after_the_last_word_of_the_ledger_is_counted_by_the_next_gateway(world: World) -> None:
    world.send(3)
    world.write_down()  # three in flight
    world.send(2)
    world.clock.pass_by(2)
    world.poll()  # all five are spooled
    world.crash()
    assert world.lines == 5
    assert world.account == Account(accepted=5, spooled=5)


def test_kafka_is_asked_for_one_report_of_each_partition_once_the_keys_are_known(world: World) -> None:
    producer = world.kafka.producer
    world.send(4)
    assert producer.asked == 4
    producer.arrive()
    world.poll()
    for _ in range(3):
        producer.asked = 0
        world.send(LARGEST_BATCH)
        assert producer.asked == 2
        producer.arrive(1)
        world.poll()
        assert world.account.in_flight == LARGEST_BATCH
        producer.arrive()
        world.poll()
        assert world.account.in_flight == 0
    assert world.answers == dict.fromkeys(range(4), True)


def test_a_batch_is_accepted_when_the_last_of_each_partition_is_acknowledged(world: World) -> None:
    producer = world.kafka.producer
    world.send(4)
    producer.arrive()
    world.poll()
    world.send(5)
    for partition in (0, 1):
        producer.arrive(1, partition=partition)
    for partition in (1, 0):
        world.poll()
        assert world.account == Account(accepted=4, in_flight=5)
        producer.arrive(partition=partition)
    world.poll()
    assert world.account == Account(accepted=9)


def test_what_is_refused_in_the_middle_of_a_batch_is_heard_of_though_no_report_was_asked_for(world: World) -> None:
    """Kafka takes nothing behind it: that is the gapless guarantee."""
    world.send(4)
    world.kafka.producer.arrive()
    world.poll()
    world.send(5)
    world.kafka.producer.fail_first(UNKNOWN_TOPIC)
    world.kafka.producer.arrive()
    world.settle_down()
    assert world.kafka.log == [value(number) for number in range(9)]
    assert len(world.kafka.producers) == 2


def test_a_new_producer_is_asked_anew_for_the_partitions_of_the_keys(world: World) -> None:
    """The topic may have been made anew, with fewer."""
    world.send(4)
    world.kafka.producer.arrive()
    world.poll()
    world.kafka.producer.fail_for_good()
    world.poll()
    world.clock.pass_by(1.01)
    world.poll()
    world.send(4)
    assert len(world.kafka.producers) == 2
    assert world.kafka.producer.asked == 4


def test_the_partitions_of_a_bounded_number_of_keys_are_remembered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_MOST_KEYS", 3)
    for _ in range(3):
        world.send(4)
        world.kafka.producer.arrive()
        world.poll()
        assert len(world.channel._said.partitions) <= 3
    assert world.account == Account(accepted=12)


# --- both channels


def publisher(folder: Path, kafka: FakeKafka, ledger: Ledger, **udp: Any) -> Publisher:
    return Publisher(Settings(home=folder, udp=Udp(**udp)), ledger, folder / "spool", kafka.make)


def rejection(line: bytes = b"") -> tuple[Rejection, tuple[str, int]]:
    return Rejection(line, Reason.EMPTY, ""), ("192.0.2.1", 1)


def test_copies_of_rejected_lines_cannot_crowd_readings_out(tmp_path: Path) -> None:
    kafka, ledger = FakeKafka(), Ledger()
    tested = publisher(tmp_path, kafka, ledger, queue_messages=50)
    for _ in range(100):
        tested.keep([rejection()], 0)
        tested.publish(Messages.of([Message(b"1", b"reading")]))
    readings, copies = kafka.producers
    assert (len(readings.produced), len(copies.produced)) == (50, 5)
    assert ledger.readings == Account(accepted=100, spooled=100)
    assert ledger.copies == Account(accepted=100, spooled=100)
    assert (tested.waiting(), tested.spooled()) == (0, True)


def test_the_publisher_recovers_both_spools_and_only_readings_are_lines(tmp_path: Path) -> None:
    kafka, ledger = FakeKafka(), Ledger()
    tested = publisher(tmp_path, kafka, ledger)
    tested.publish(Messages.of([Message(b"1", b"first")]))
    tested.readings._spool_memory()
    positions = tested.spool_positions()
    written = ledger.as_dict()
    tested.publish(Messages.of([Message(b"1", b"second"), Message(b"2", b"third")]))
    tested.keep([rejection(b"x")], 0)
    tested.readings._spool_memory()
    tested.copies._spool_memory()
    ledger = Ledger.continued({**written, "lines": {**written["lines"], "received": 1}})
    again = publisher(tmp_path, kafka, ledger)
    again.recover(positions)
    assert ledger.lines == 3
    assert ledger.missing() == 0
    assert ledger.readings == Account(accepted=3, spooled=3)
    assert ledger.copies == Account(accepted=1, spooled=1)
    again.poll()
    readings, copies = kafka.producers[2:]
    assert [content for _, content, _, _ in readings.produced] == [b"first", b"second", b"third"]
    assert [content for _, content, _, _ in copies.produced] == [b"x"]
    again.close()
    tested.close()


def test_without_a_written_position_everything_in_the_spool_is_unknown(tmp_path: Path) -> None:
    tested = publisher(tmp_path, FakeKafka(), Ledger())
    tested.publish(Messages.of([Message(b"1", b"first"), Message(b"1", b"second")]))
    tested.close()
    ledger = Ledger()
    again = publisher(tmp_path, FakeKafka(), ledger)
    again.recover({})
    assert (ledger.lines, ledger.readings) == (2, Account(accepted=2, spooled=2))
    again.close()


class RecordingProducer(Producer):
    """The real producer, which also remembers what it was given."""

    def __init__(self, configuration: dict[str, Any], heard: list[Any]) -> None:
        super().__init__(configuration)
        self.heard = heard

    def produce(self, topic: str, value: Any = None, key: Any = None, *rest: Any, **options: Any) -> None:
        self.heard.append((topic, value, key, options.get("headers")))
        super().produce(topic, value, key, *rest, **options)


def test_a_reading_and_a_rejected_line_reach_librdkafka_with_all_that_is_known(tmp_path: Path) -> None:
    """With the real librdkafka on its own mock broker: the configuration is one that it takes."""
    heard: list[Any] = []

    def make(configuration: dict[str, Any]) -> Producer:
        return RecordingProducer({**configuration, "test.mock.num.brokers": 1}, heard)

    ledger, answers = Ledger(), list[bool]()
    tested = Publisher(Settings(home=tmp_path), ledger, tmp_path / "spool", make)
    tested.publish(Messages.of([Message(b"12", b"one"), Message(b"13", b"two")]), answers.append)
    details = Rejection(b"\xff", Reason.ENCODING, "byte 0 \ud800" + "x" * 1000)
    tested.keep([(details, ("::1", 9)), rejection()], 1_700_000_000_000_001)

    def all_acknowledged() -> bool:
        tested.poll()
        return ledger.readings.acknowledged + ledger.copies.acknowledged == 4

    await_true(all_acknowledged, 30)
    tested.close()
    assert answers == [True]
    assert (ledger.readings.total(), ledger.copies.total()) == (2, 2)
    assert heard[:2] == [("readings", b"one", b"12", None), ("readings", b"two", b"13", None)]
    topic, content, key, headers = heard[2]
    assert (topic, content, key) == ("readings.rejected", b"\xff", None)
    assert dict(headers) == {
        "reason": b"encoding",
        "detail": b"byte 0 ?" + b"x" * 492,
        "sender": b"[::1]:9",
        "received": b"2023-11-14T22:13:20.000001+00:00",
    }
    assert dict(heard[3][3])["sender"] == b"192.0.2.1:1"


def test_a_real_librdkafka_that_reaches_nobody_leaves_all_to_the_spool_and_the_next_one_publishes_it(
    tmp_path: Path,
) -> None:
    """Headers included: what is spooled comes out as it went in."""
    heard: list[Any] = []
    settings, ledger = Settings(home=tmp_path), Ledger()
    without = Publisher(
        settings, ledger, tmp_path / "spool", lambda options: Producer({**options, "bootstrap.servers": "127.0.0.1:1"})
    )
    without.publish(Messages.of([Message(b"12", b"one")]))
    without.keep([rejection(b"bad")], 0)
    without.close()
    assert (ledger.readings, ledger.copies) == (Account(accepted=1, spooled=1), Account(accepted=1, spooled=1))
    ledger = Ledger.continued(ledger.as_dict())
    ledger.lines = 1
    again = Publisher(
        settings,
        ledger,
        tmp_path / "spool",
        lambda options: RecordingProducer({**options, "test.mock.num.brokers": 1}, heard),
    )
    again.recover(without.spool_positions())

    def empty() -> bool:
        again.poll()
        return not again.spooled()

    await_true(empty, 30)
    again.close()
    assert ledger.missing() == 0
    assert ledger.readings == ledger.copies == Account(accepted=1, spooled=1, replayed=1)
    by_topic = {topic: (content, key, dict(headers or [])) for topic, content, key, headers in heard}
    assert by_topic["readings"] == (b"one", b"12", {})
    assert by_topic["readings.rejected"][:2] == (b"bad", None)
    assert by_topic["readings.rejected"][2]["reason"] == b"empty"
