"""To Kafka, in order, until Kafka acknowledges it.

librdkafka retries for ever (`message.timeout.ms=0`) and in order (idempotence). What it does give up on, it
reports, and after a fatal error it takes no more. Both are met in one way: a new producer, which publishes
again, in the order of arrival, all that is not acknowledged. That may repeat a message; both stores keep one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from maredata.names import READINGS, REJECTED
from maredata.reading import Reading
from maredata.settings import Settings
from udp_server.check import Rejection
from udp_server.ledger import Account, Ledger
from udp_server.receive import Address

log = logging.getLogger(__name__)

_FULL_WAIT = 0.05  # seconds that a full queue may hold up the socket, before lines are refused
_RENEW_AFTER = 1.0  # seconds between a producer's failure and the next producer, for its last reports to come in
_COPIES_SHARE = 10  # copies of rejected lines may take a tenth of the readings' queue, beside it
_LONGEST_DETAIL = 500

MakeProducer = Callable[[dict[str, Any]], Producer]
Headers = list[tuple[str, str | bytes | None]]


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A message until it is acknowledged. Without gc: half a million would slow the collector down."""

    key: bytes | None
    value: bytes
    headers: Headers | None = None
    audit: str | None = None


class Audit:
    """Remembers each acknowledged reading as `sensor_id,seq,micros`, for whoever writes them down."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        self._lines.append(line)

    def take(self) -> list[str]:
        lines, self._lines = self._lines, []
        return lines


class Channel:
    """One topic, with a bounded queue and a producer of its own: trouble with one topic stays there."""

    def __init__(
        self,
        *,
        topic: str,
        account: Account,
        configuration: dict[str, Any],
        most_messages: int,
        most_bytes: int,
        audit: Audit | None = None,
        make_producer: MakeProducer = Producer,
    ) -> None:
        self._topic = topic
        self._account = account
        self._configuration = {
            **configuration,
            "error_cb": self._heard_of_error,
            # The bounds that count are ours, which also hold what waits for a new producer.
            "queue.buffering.max.messages": most_messages + 1,
            "queue.buffering.max.kbytes": 2 * most_bytes // 1024 + 1024,
        }
        self._most_messages = most_messages
        self._most_bytes = most_bytes
        self._audit = audit
        self._make_producer = make_producer
        self._producer = make_producer(self._configuration)
        self._waiting: dict[int, Outgoing] = {}  # in the order of arrival
        self._waiting_bytes = 0
        self._number = 0
        self._stuck = False  # the queue is full, and waiting did not help
        self._renew_at: float | None = None  # the producer has failed: when the next one is made

    def send(self, outgoing: Outgoing) -> None:
        """Takes it over, or counts it as refused."""
        size = len(outgoing.value)
        if not self._has_room(size):
            self._account.refused += 1
            return
        self._number += 1
        self._waiting[self._number] = outgoing
        self._waiting_bytes += size
        self._account.in_flight += 1
        if self._renew_at is None:
            self._produce(self._number, outgoing)

    def poll(self, wait: float = 0.0) -> None:
        """Takes Kafka's reports in, and replaces a producer that has failed."""
        self._serve(self._producer.poll, wait)
        if self._renew_at is not None and monotonic() >= self._renew_at:
            self._renew()

    def waiting(self) -> int:
        return len(self._waiting)

    def _has_room(self, size: int) -> bool:
        def room() -> bool:
            return len(self._waiting) < self._most_messages and self._waiting_bytes + size <= self._most_bytes

        if room():
            return True
        if not self._stuck:
            self.poll(_FULL_WAIT)
            self._stuck = not room()
        return not self._stuck

    def _produce(self, number: int, outgoing: Outgoing) -> None:
        try:
            self._producer.produce(
                self._topic,
                outgoing.value,
                outgoing.key,
                on_delivery=partial(self._heard_of, number),
                headers=outgoing.headers,
            )
        except (BufferError, KafkaException) as error:
            self._give_up(str(error))

    def _serve(self, reports: Callable[[float], int], wait: float) -> None:
        try:
            reports(wait)
        except KafkaException as error:  # confluent-kafka raises a fatal error here, and does not call error_cb
            self._give_up(str(error))

    def _heard_of(self, number: int, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._give_up(str(error))
            return
        outgoing = self._waiting.pop(number)
        self._waiting_bytes -= len(outgoing.value)
        self._account.in_flight -= 1
        self._account.accepted += 1
        self._stuck = False
        if self._audit is not None and outgoing.audit is not None:
            self._audit.add(outgoing.audit)

    def _heard_of_error(self, error: KafkaError) -> None:
        log.warning("trouble with Kafka", extra={"topic": self._topic, "error": str(error)})

    def _give_up(self, error: str) -> None:
        """From now on lines only wait, until the next producer takes them all, in order."""
        if self._renew_at is not None:
            return
        self._renew_at = monotonic() + _RENEW_AFTER
        log.error("the producer failed, a new one takes over", extra={"topic": self._topic, "error": error})
        # Queued messages must not slip past the failed one. What is on the wire may still be acknowledged.
        self._producer.purge(in_queue=True, in_flight=False, blocking=False)

    def _renew(self) -> None:
        self._producer.purge()
        self._serve(self._producer.flush, 1.0)  # hands over the reports that purging made; waits for no broker
        self._producer = self._make_producer(self._configuration)
        self._renew_at = None
        log.warning("publishing again", extra={"topic": self._topic, "messages": len(self._waiting)})
        for number, outgoing in self._waiting.items():
            if self._renew_at is not None:
                break
            self._produce(number, outgoing)


class Publisher:
    """Readings to topic `readings`, copies of rejected lines to `readings.rejected`."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        audit: Audit | None = None,
        make_producer: MakeProducer = Producer,
    ) -> None:
        self._audit = audit
        configuration, udp = producer_configuration(settings), settings.udp
        self._readings = Channel(
            topic=READINGS,
            account=ledger.readings,
            configuration=configuration,
            most_messages=udp.queue_messages,
            most_bytes=udp.queue_bytes,
            audit=audit,
            make_producer=make_producer,
        )
        self._copies = Channel(
            topic=REJECTED,
            account=ledger.copies,
            configuration=configuration,
            most_messages=max(1, udp.queue_messages // _COPIES_SHARE),
            most_bytes=max(1 << 20, udp.queue_bytes // _COPIES_SHARE),
            make_producer=make_producer,
        )

    def publish(self, reading: Reading) -> None:
        audit = None
        if self._audit is not None:
            seq = reading.values.get("seq")
            audit = f"{reading.sensor_id},{'' if seq is None else seq},{reading.micros}"
        self._readings.send(Outgoing(reading.key, reading.line, None, audit))

    def keep(self, rejection: Rejection, sender: Address, received: int) -> None:
        """Sends the line as it came to `readings.rejected`, with what is known about it in the headers."""
        instant = datetime.fromtimestamp(received // 1_000_000, UTC).replace(microsecond=received % 1_000_000)
        headers: Headers = [
            ("reason", rejection.reason.encode()),
            # A line can hold half of a surrogate pair, which UTF-8 can't.
            ("detail", rejection.detail[:_LONGEST_DETAIL].encode("utf-8", "replace")),
            ("sender", _text(sender).encode()),
            ("received", instant.isoformat(timespec="microseconds").encode()),
        ]
        self._copies.send(Outgoing(None, rejection.line, headers))

    def poll(self) -> None:
        self._readings.poll()
        self._copies.poll()

    def waiting(self) -> int:
        """Messages that Kafka has not acknowledged."""
        return self._readings.waiting() + self._copies.waiting()


def producer_configuration(settings: Settings) -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.kafka.bootstrap,
        "client.id": "mare-gateway",
        "acks": "all",
        "enable.idempotence": True,
        # A batch that is refused for good ends the producer, before a later one can slip past it.
        "enable.gapless.guarantee": True,
        "partitioner": "murmur2_random",  # Java's: every producer puts a sensor into the same partition
        "message.timeout.ms": 0,  # never
        "linger.ms": 5,
        "reconnect.backoff.max.ms": 1000,  # not 10 s: Kafka is back when it is back
        "logger": logging.getLogger("udp_server.librdkafka"),
    }


def _text(sender: Address) -> str:
    host, port = sender[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
