"""Nothing that was taken over is lost or gets out of order, whatever a producer reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from maredata.reading import Decoder, Reading, Reason
from maredata.schema import load_schema
from maredata.settings import CHECKOUT, Settings, Udp
from udp_server import publish
from udp_server.check import Rejection
from udp_server.ledger import Account, Ledger
from udp_server.publish import Audit, Channel, Outgoing, Publisher, producer_configuration

FATAL = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "out of order", fatal=True)
UNKNOWN_TOPIC = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "no such topic")
PURGED = KafkaError(KafkaError._PURGE_QUEUE, "purged")

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


class FakeProducer:
    """Stands in for confluent_kafka.Producer, and for how it behaves before, at and after a fatal error."""

    def __init__(self, kafka: FakeKafka, configuration: dict[str, Any]) -> None:
        self.kafka = kafka
        self.configuration = configuration
        self.queue: list[tuple[bytes, Report]] = []
        self.reports: list[tuple[KafkaError | None, Report]] = []
        self.fatal = False
        self.gap = False
        self.waits: list[float] = []
        self.raises_at_poll: KafkaError | None = None

    def produce(self, _topic: str, value: bytes, _key: bytes | None, on_delivery: Report, **_others: Any) -> None:
        if self.fatal:
            raise KafkaException(FATAL)
        self.queue.append((value, on_delivery))

    def arrive(self, count: int, acknowledged: bool = True) -> None:
        """The next messages reach the log. Without an acknowledgement the producer never learns of it."""
        if self.gap and self.configuration["enable.gapless.guarantee"]:
            return
        for value, report in self.queue[:count]:
            self.kafka.log.append(value)
            if acknowledged:
                self.reports.append((None, report))
        if acknowledged:
            del self.queue[:count]

    def fail_first(self, error: KafkaError) -> None:
        if self.queue:
            self.reports.append((error, self.queue.pop(0)[1]))
            self.gap = True

    def lose_topic(self) -> None:
        """librdkafka gives up on all it holds, once the topic is known to be missing, and stays usable."""
        self.reports += [(UNKNOWN_TOPIC, report) for _, report in self.queue]
        self.queue.clear()

    def fail_for_good(self) -> None:
        self.fatal = True
        self.raises_at_poll = FATAL

    def purge(self, **_which: bool) -> None:
        self.reports += [(PURGED, report) for _, report in self.queue]
        self.queue.clear()

    def poll(self, timeout: float = 0) -> int:
        self.waits.append(timeout)
        if self.raises_at_poll is not None:
            self.raises_at_poll = None
            raise KafkaException(FATAL)
        reports, self.reports = self.reports, []
        for error, report in reports:
            report(error, None)
        return len(reports)

    flush = poll


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    return FakeClock(monkeypatch)


class FakeClock:
    """Stands in for the monotonic clock, so that a test need not wait for the next producer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(publish, "monotonic", lambda: self.now)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def channel(kafka: FakeKafka, account: Account, most: int = 1000, audit: Audit | None = None) -> Channel:
    return Channel(
        topic="readings",
        account=account,
        configuration=producer_configuration(Settings()),
        most_messages=most,
        most_bytes=10_000,
        audit=audit,
        make_producer=kafka.make,
    )


def message(number: int) -> Outgoing:
    return Outgoing(b"1", b"%d" % number, None, f"1,{number},0")


def first_occurrences(log: list[bytes]) -> list[bytes]:
    return list(dict.fromkeys(log))


@pytest.mark.parametrize("how", ["poll raises", "produce raises", "a report says so"])
def test_a_failed_producer_is_replaced_and_nothing_is_lost_or_reordered(how: str, clock: FakeClock) -> None:
    kafka, account, audit = FakeKafka(), Account(), Audit()
    tested = channel(kafka, account, audit=audit)
    for number in range(5):
        tested.send(message(number))
    kafka.producer.arrive(2)
    if how == "a report says so":
        kafka.producer.fail_first(UNKNOWN_TOPIC)
    else:
        kafka.producer.fatal = True
        kafka.producer.raises_at_poll = FATAL if how == "poll raises" else None
    tested.send(message(5))
    tested.poll()
    tested.send(message(6))
    clock.pass_by(2)
    tested.poll()
    assert len(kafka.producers) == 2
    kafka.producer.arrive(100)
    tested.poll()
    assert kafka.log == [b"%d" % number for number in range(7)]
    assert account == Account(accepted=7)
    assert audit.take() == [f"1,{number},0" for number in range(7)]


def test_a_full_queue_refuses_the_newest_and_counts_them() -> None:
    kafka, account = FakeKafka(), Account()
    tested = channel(kafka, account, most=3)
    for number in range(5):
        tested.send(message(number))
    assert account == Account(in_flight=3, refused=2)
    kafka.producer.arrive(1)
    tested.poll()
    tested.send(message(5))
    assert account == Account(accepted=1, in_flight=3, refused=2)
    tested.send(Outgoing(None, b"x" * 10_001))
    assert account.refused == 3


def test_bytes_are_bounded_too() -> None:
    kafka, account = FakeKafka(), Account()
    tested = channel(kafka, account)
    for _ in range(5):
        tested.send(Outgoing(None, b"x" * 3000))
    assert account == Account(in_flight=3, refused=2)
    kafka.producer.arrive(3)
    tested.poll()
    tested.send(Outgoing(None, b"x" * 10_000))
    assert account == Account(accepted=3, in_flight=1, refused=2)


def test_a_full_queue_holds_the_socket_up_once_and_not_for_every_line() -> None:
    kafka, account = FakeKafka(), Account()
    tested = channel(kafka, account, most=1)
    for number in range(100):
        tested.send(message(number))
    assert len([wait for wait in kafka.producer.waits if wait > 0]) == 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 5)),
        st.tuples(st.just("arrive"), st.integers(1, 5)),
        st.tuples(st.just("arrive unheard of"), st.integers(1, 5)),
        st.tuples(st.just("refuse one"), st.just(0)),
        st.tuples(st.just("fail for good"), st.just(0)),
        st.tuples(st.just("topic lost and back"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 2)),
    ),
    max_size=40,
)


@hypothesis_settings(deadline=None)
@given(STEPS)
def test_whatever_happens_all_arrive_in_order_and_the_account_balances(steps: list[tuple[str, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock, kafka, account, sent = FakeClock(patch), FakeKafka(), Account(), 0
        tested = channel(kafka, account)
        for step, count in [*steps, ("wait", 2), ("wait", 2), ("arrive", 1000), ("wait", 0)]:
            match step:
                case "send":
                    for _ in range(count):
                        tested.send(message(sent))
                        sent += 1
                case "arrive":
                    kafka.producer.arrive(count)
                case "arrive unheard of":
                    kafka.producer.arrive(count, acknowledged=False)
                case "refuse one":
                    kafka.producer.fail_first(UNKNOWN_TOPIC)
                case "fail for good":
                    kafka.producer.fail_for_good()
                case "topic lost and back":
                    kafka.producer.lose_topic()
                    tested.poll()  # a topic is away for longer than one turn of the main loop
                case "wait":
                    clock.pass_by(count)
                    tested.poll()
                    tested.poll()
            assert account.total() == sent
            assert account.in_flight == tested.waiting()
    assert account == Account(accepted=sent)
    assert first_occurrences(kafka.log) == [b"%d" % number for number in range(sent)]


def test_a_reading_and_a_rejected_line_reach_librdkafka_with_all_that_is_known(tmp_path: Path) -> None:
    """With the real librdkafka on its own mock broker: the configuration is one that it takes."""
    heard: list[Any] = []

    def make(configuration: dict[str, Any]) -> Producer:
        return RecordingProducer({**configuration, "test.mock.num.brokers": 1}, heard)

    ledger, audit = Ledger(), Audit()
    publisher = Publisher(Settings(home=tmp_path), ledger, audit, make)
    publisher.publish(reading(b'{"sensor_id": 12, "timestamp": "2024-01-21 10:06:04.095931", "seq": 5}'))
    publisher.publish(reading(b'{"sensor_id": 12, "timestamp": "1970-01-01 00:00:00.000007"}'))
    publisher.keep(Rejection(b"\xff", Reason.ENCODING, "byte 0 \ud800"), ("::1", 9, 0, 0), 1_700_000_000_000_001)
    deadline = time.monotonic() + 30
    while publisher.waiting() and time.monotonic() < deadline:
        publisher.poll()
        time.sleep(0.01)
    assert (ledger.readings, ledger.copies) == (Account(accepted=2), Account(accepted=1))
    assert audit.take() == ["12,5,1705831564095931", "12,,7"]
    assert heard[0] == (
        "readings",
        b'{"sensor_id": 12, "timestamp": "2024-01-21 10:06:04.095931", "seq": 5}',
        b"12",
        None,
    )
    topic, value, key, headers = heard[2]
    assert (topic, value, key) == ("readings.rejected", b"\xff", None)
    assert dict(headers) == {
        "reason": b"encoding",
        "detail": b"byte 0 ?",
        "sender": b"[::1]:9",
        "received": b"2023-11-14T22:13:20.000001+00:00",
    }


class RecordingProducer(Producer):
    """The real producer, which also remembers what it was given."""

    def __init__(self, configuration: dict[str, Any], heard: list[Any]) -> None:
        super().__init__(configuration)
        self.heard = heard

    def produce(self, topic: str, value: Any = None, key: Any = None, *rest: Any, **options: Any) -> None:
        self.heard.append((topic, value, key, options["headers"]))
        super().produce(topic, value, key, *rest, **options)


def test_copies_of_rejected_lines_cannot_crowd_readings_out(tmp_path: Path) -> None:
    kafka, ledger = FakeKafka(), Ledger()
    publisher = Publisher(Settings(home=tmp_path, udp=Udp(queue_messages=50)), ledger, None, kafka.make)
    for _ in range(100):
        publisher.keep(Rejection(b"", Reason.EMPTY, ""), ("127.0.0.1", 1), 0)
    for _ in range(60):
        publisher.publish(reading(b'{"sensor_id": 12, "timestamp": "2024-01-21 10:06:04.095931"}'))
    assert ledger.copies == Account(in_flight=5, refused=95)
    assert ledger.readings == Account(in_flight=50, refused=10)


def reading(line: bytes) -> Reading:
    return Decoder(load_schema(CHECKOUT / "maredata" / "reading.toml")).decode(line)
