"""To Kafka, in order, until Kafka acknowledges it; or to the spool, where Kafka doesn't in time.

Batches of messages are what is counted, waited for and spooled. A batch is produced at once while the spool holds
nothing that is still to be produced; else it goes behind what is there. What Kafka has not acknowledged after a
second, or what it has no room for, is written to the spool as well: then it is accepted, and it is not forgotten
there before Kafka has acknowledged it. So a batch is produced twice only where a gateway was killed, or a producer
failed; both stores keep one copy.

librdkafka retries for ever (`message.timeout.ms=0`) and in order (idempotence). What it does give up on, it
reports, and after a fatal error it takes no more. Both are met in one way: a new producer, which publishes again,
in order, all that is not acknowledged.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

import confluent_kafka as kafka
from confluent_kafka import KafkaError, KafkaException, Producer

from maredata.names import READINGS, REJECTED
from maredata.settings import Settings
from udp_server.check import Rejection
from udp_server.intake import Done
from udp_server.ledger import Account, Latency, Ledger, Refusal
from udp_server.message import Message, Messages
from udp_server.receive import Address
from udp_server.spool import Spool, SpoolFull

log = logging.getLogger(__name__)

_RENEW_AFTER = 1.0  # seconds between a producer's failure and the next producer, for its last reports to come in
_LAST_REPORTS = 1.0  # seconds
_SPOOL_AGAIN = 1.0  # seconds until a spool that refused is tried again, for what waits in memory
NEARLY_FULL = 0.9
_COPIES_SHARE = 10  # copies of rejected lines may take a tenth of the readings' memory and disk, beside them
_LONGEST_DETAIL = 500

_MOST_KEYS = 50_000  # whose partitions are remembered
_ANY = -1  # partition: whichever the key belongs to

Report = Callable[[KafkaError | None, kafka.Message], None]
MakeProducer = Callable[[dict[str, Any]], Producer]


class Said:
    """What one producer has said: what went wrong, and into which partition each key goes."""

    __slots__ = ("failures", "partitions")

    def __init__(self) -> None:
        self.failures: list[KafkaError] = []
        self.partitions: dict[bytes | None, int] = {}


class Batch:
    """Messages that are produced together. `position` is where the spool goes on behind them, None if not in there."""

    __slots__ = ("bytes", "done", "left", "messages", "position", "said", "since")

    def __init__(
        self,
        messages: Messages,
        since: float,
        said: Said,
        done: Done | None = None,
        position: int | None = None,
    ) -> None:
        self.messages = messages
        self.bytes = sum(map(len, messages.values))
        self.since = since
        self.said = said
        self.done = done
        self.position = position
        self.left = len(messages)  # reports that have to come; 0 once all messages are acknowledged

    def reports(self, partitions: list[int]) -> list[Report | None]:
        """For each message whether Kafka's word on it is asked for; a word costs a fifth of the sending.

        A partition's messages are acknowledged in order, and what fails takes all behind it along (both by
        idempotence and its gapless guarantee): so the last of each partition speaks for those before it.
        """
        reports: list[Report | None]
        if _ANY in partitions:
            reports = [self.heard] * len(partitions)
            self.left = len(partitions)
        else:
            last = {partition: number for number, partition in enumerate(partitions)}
            reports = [None] * len(partitions)
            for number in last.values():
                reports[number] = self.heard
            self.left = len(last)
        return reports

    def heard(self, error: KafkaError | None, message: kafka.Message) -> None:
        """Kafka's word on one of the messages."""
        if error is not None:
            self.said.failures.append(error)
            return
        self.left -= 1
        key, partition, partitions = message.key(), message.partition(), self.said.partitions
        if key is not None and partition is not None:
            if len(partitions) >= _MOST_KEYS:  # senders choose the keys
                partitions.clear()
            partitions[key] = partition


class Channel:
    """One topic, with a producer and a spool of its own: trouble with one topic stays there."""

    def __init__(
        self,
        *,
        topic: str,
        account: Account,
        spool: Spool,
        most_spooled: int,
        configuration: dict[str, Any],
        most_messages: int,
        most_bytes: int,
        spool_after: float,
        latency: Latency | None = None,
        make_producer: MakeProducer = Producer,
    ) -> None:
        self._topic = topic
        self._account = account
        self._spool = spool
        self._most_spooled = most_spooled
        self._configuration = {
            **configuration,
            "error_cb": self._heard_of_error,
            # The bounds that count are ours; a batch that these still let in may exceed them.
            "queue.buffering.max.messages": most_messages + 1_000_000,
            "queue.buffering.max.kbytes": (most_bytes >> 10) + (1 << 20),
        }
        self._most_messages = most_messages
        self._most_bytes = most_bytes
        self._spool_after = spool_after
        self._latency = latency
        self._make_producer = make_producer
        self._producer = make_producer(self._configuration)
        self._said = Said()  # by this producer
        self._produced: deque[Batch] = deque()  # in order, not yet acknowledged
        self._in_memory: deque[Batch] = deque()  # those of them that the spool doesn't hold
        self.messages = 0  # in _produced
        self.bytes = 0
        self._next = spool.head  # what the spool holds from here on is still to be produced
        self._refused_at = -inf  # by the spool
        self._refusal = Refusal.SPOOL_FAILED  # and why
        self._renew_at: float | None = None  # the producer has failed: when the next one is made

    def send(self, messages: Messages, done: Done | None = None) -> None:
        """Takes them over, or counts them as refused. `done` hears which, in the order of the calls."""
        batch = Batch(messages, monotonic(), self._said, done)
        self._account.in_flight += len(messages)
        direct = self._next == self._spool.tail
        if direct and self._has_room():
            self._in_memory.append(batch)
            self._produce(batch)
            return
        if direct:
            self._spool_memory()
        # It must not overtake what the spool did not take: it would be discarded with it, and answered before it.
        refusal = self._refusal if self._in_memory else self._to_spool([batch])
        if refusal is not None:
            self._account.in_flight -= len(messages)
            self._account.refused[refusal] += len(messages)
            _tell(batch, False)

    def poll(self) -> None:
        """Takes Kafka's word in, spools what has waited too long for it, and produces what the spool holds."""
        self._serve(self._producer.poll, 0.0)
        self._settle()
        if self._renew_at is not None and monotonic() >= self._renew_at:
            self._renew()
        if self._in_memory and monotonic() - self._in_memory[0].since > self._spool_after:
            self._spool_memory()
        while self._next != self._spool.tail and self._renew_at is None and self._has_room():
            if not self._replay():
                break

    def waiting(self) -> int:
        """Messages that neither Kafka has acknowledged nor the spool holds."""
        return sum(len(batch.messages) for batch in self._in_memory)

    def congested(self) -> bool:
        """Whether the spool is nearly full, or does not work: whoever can wait should."""
        nearly = self._spool.bytes > NEARLY_FULL * self._most_spooled
        return nearly or monotonic() - self._refused_at < _SPOOL_AGAIN

    def spool_bytes(self) -> tuple[int, int]:
        """How many it holds, and how many at most."""
        return self._spool.bytes, self._most_spooled

    def spooled(self) -> bool:
        return not self._spool.empty

    def spool_position(self) -> int:
        """What was spooled before it is in the account: `recover` wants to know."""
        return self._spool.tail

    def recover(self, position: int | None) -> int:
        """Counts what an earlier gateway spooled before it was killed; how much of it was in no column.

        `position` was the spool's when its account was last written down; None if it never was.
        """
        unknown, position = 0, self._spool.head if position is None else position
        while (found := self._spool.read(position)) is not None:
            messages, position = found
            unknown += len(messages)
        return self._account.recover(self._spool.pending_messages, unknown)

    def close(self) -> None:
        """What Kafka has not acknowledged by now is left to the next gateway, in the spool."""
        if self._in_memory:
            self._spool_memory()
        self._spool.close()
        self._producer.purge()

    def _has_room(self) -> bool:
        # Batches are counted too: those of no messages would else gather without end.
        batches = len(self._produced)
        return max(batches, self.messages) < self._most_messages and self.bytes < self._most_bytes

    def _produce(self, batch: Batch) -> None:
        self._produced.append(batch)
        self.messages += len(batch.messages)
        self.bytes += batch.bytes
        if self._renew_at is None:
            self._hand_over(batch)

    def _hand_over(self, batch: Batch) -> None:
        produce, topic, known, messages = self._producer.produce, self._topic, self._said.partitions, batch.messages
        partitions = [known.get(key, _ANY) for key in messages.keys]
        columns = (messages.values, messages.keys, partitions, batch.reports(partitions))
        try:
            if messages.headers is None:
                for value, key, partition, report in zip(*columns, strict=True):
                    produce(topic, value, key, partition, report)
            else:
                for value, key, partition, report, headers in zip(*columns, messages.headers, strict=True):
                    produce(topic, value, key, partition, report, headers=[*(headers or [])])
        except (BufferError, KafkaException) as error:
            self._give_up(str(error))

    def _settle(self) -> None:
        """Takes leave of the batches at the front that are acknowledged."""
        now = monotonic()
        while self._produced and not self._produced[0].left:
            batch = self._produced.popleft()
            count = len(batch.messages)
            self.messages -= count
            self.bytes -= batch.bytes
            if batch.position is not None:
                self._account.replayed += count
                self._spool.discard(batch.position)
                continue
            self._in_memory.popleft()
            self._account.in_flight -= count
            self._account.accepted += count
            if self._latency is not None and count:
                self._latency.observe(now - batch.since, count)
            _tell(batch, True)

    # --- the spool

    def _spool_memory(self) -> None:
        """Spools what is on its way to Kafka, so that it is accepted. It stays on its way."""
        # Behind what is still to be produced it would be in the wrong place.
        if self._next != self._spool.tail or monotonic() - self._refused_at < _SPOOL_AGAIN:
            return
        self._to_spool(self._in_memory)
        self._next = self._spool.tail
        while self._in_memory and self._in_memory[0].position is not None:
            self._in_memory.popleft()

    def _to_spool(self, batches: Iterable[Batch]) -> Refusal | None:
        """As many of them as it takes, from the first on; if not all, why."""
        positions: list[int] = []
        refusal = None
        try:
            # Those before a failure stay.
            positions.extend(self._spool.append(batch.messages.one_by_one()) for batch in batches)
        except SpoolFull:
            refusal = Refusal.SPOOL_FULL
        except OSError as error:
            refusal = self._spool_failed(error)
        try:
            self._spool.sync()
        except OSError as error:  # it has taken back what it could not make safe
            positions, refusal = [], self._spool_failed(error)
        if refusal is not None:
            self._refused_at, self._refusal = monotonic(), refusal
        for batch, position in zip(batches, positions, strict=False):
            batch.position = position
            count = len(batch.messages)
            self._account.in_flight -= count
            self._account.accepted += count
            self._account.spooled += count
            _tell(batch, True)
        return refusal

    def _spool_failed(self, error: OSError) -> Refusal:
        log.error("the spool can't be written", extra={"topic": self._topic, "error": str(error)})
        return Refusal.SPOOL_FAILED

    def _replay(self) -> bool:
        try:
            found = self._spool.read(self._next)
        except OSError as error:
            log.error("the spool can't be read", extra={"topic": self._topic, "error": str(error)})
            return False
        if found is None:  # what was there is gone, by damage or because it could not be made safe
            self._next = self._spool.tail
            return False
        messages, self._next = found
        self._produce(Batch(Messages.of(messages), monotonic(), self._said, position=self._next))
        return True

    # --- the producer

    def _serve(self, reports: Callable[[float], int], wait: float) -> None:
        try:
            reports(wait)
        except KafkaException as error:  # confluent-kafka raises a fatal error here, and does not call error_cb
            self._give_up(str(error))
        if self._said.failures:
            self._give_up(str(self._said.failures[0]))

    def _heard_of_error(self, error: KafkaError) -> None:
        log.warning("trouble with Kafka", extra={"topic": self._topic, "error": str(error)})

    def _give_up(self, error: str) -> None:
        """From now on batches only wait, until the next producer takes them all, in order."""
        if self._renew_at is not None:
            return
        self._renew_at = monotonic() + _RENEW_AFTER
        log.error("the producer failed, a new one takes over", extra={"topic": self._topic, "error": error})
        # Queued messages must not slip past the failed one. What is on the wire may still be acknowledged.
        self._producer.purge(in_queue=True, in_flight=False, blocking=False)

    def _renew(self) -> None:
        self._producer.purge()
        with contextlib.suppress(KafkaException):
            self._producer.flush(_LAST_REPORTS)  # hands over what purging reports; waits for no broker
        self._settle()
        self._producer = self._make_producer(self._configuration)
        self._said = Said()
        self._renew_at = None
        # Batches of their own: what the earlier producer still has to say about its own no longer matters.
        self._produced = deque(
            Batch(batch.messages, batch.since, self._said, batch.done, batch.position) for batch in self._produced
        )
        self._in_memory = deque(batch for batch in self._produced if batch.position is None)
        log.warning("publishing again", extra={"topic": self._topic, "messages": self.messages})
        for batch in self._produced:
            if self._renew_at is not None:
                break
            self._hand_over(batch)


class Publisher:
    """Readings to topic `readings`, copies of rejected lines to `readings.rejected`."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        folder: Path,
        make_producer: MakeProducer = Producer,
    ) -> None:
        """Spools under `folder`, which it alone uses; what an earlier gateway left there is published first."""
        self._ledger = ledger
        self._folder = folder
        self._make_producer = make_producer
        self.readings = self._channel(settings, READINGS, ledger.readings, 1, ledger.latency)
        self.copies = self._channel(settings, REJECTED, ledger.copies, _COPIES_SHARE)

    def _channel(
        self, settings: Settings, topic: str, account: Account, share: int, latency: Latency | None = None
    ) -> Channel:
        udp = settings.udp
        most_spooled = max(1 << 20, udp.spool_bytes // share)
        return Channel(
            topic=topic,
            account=account,
            spool=Spool(self._folder / topic, most_spooled),
            most_spooled=most_spooled,
            configuration=producer_configuration(settings),
            most_messages=max(1, udp.queue_messages // share),
            most_bytes=max(1 << 20, udp.queue_bytes // share),
            spool_after=udp.spool_after_seconds,
            latency=latency,
            make_producer=self._make_producer,
        )

    def recover(self, positions: dict[str, int]) -> None:
        """To be called once, before anything else. `positions` is what `spool_positions` gave to be written down."""
        self._ledger.lines += self.readings.recover(positions.get(READINGS))
        self.copies.recover(positions.get(REJECTED))

    def publish(self, messages: Messages, done: Done | None = None) -> None:
        self.readings.send(messages, done)

    def keep(self, rejections: list[tuple[Rejection, Address]], received: int) -> None:
        """Sends the lines as they came to `readings.rejected`, with what is known about them in the headers."""
        instant = datetime.fromtimestamp(received // 1_000_000, UTC).replace(microsecond=received % 1_000_000)
        arrived = instant.isoformat(timespec="microseconds").encode()
        self.copies.send(Messages.of(_copy(rejection, sender, arrived) for rejection, sender in rejections))

    def poll(self) -> None:
        self.readings.poll()
        self.copies.poll()

    def waiting(self) -> int:
        """Messages that neither Kafka has acknowledged nor a spool holds."""
        return self.readings.waiting() + self.copies.waiting()

    def spooled(self) -> bool:
        """Whether a spool holds anything that Kafka has not acknowledged."""
        return self.readings.spooled() or self.copies.spooled()

    def spool_positions(self) -> dict[str, int]:
        return {READINGS: self.readings.spool_position(), REJECTED: self.copies.spool_position()}

    def close(self) -> None:
        self.readings.close()
        self.copies.close()


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
        "linger.ms": 20,
        "reconnect.backoff.max.ms": 1000,  # not 10 s: Kafka is back when it is back
        "logger": logging.getLogger("udp_server.librdkafka"),
    }


def _copy(rejection: Rejection, sender: Address, arrived: bytes) -> Message:
    headers = [
        ("reason", rejection.reason.encode()),
        # A line can hold half of a surrogate pair, which UTF-8 can't.
        ("detail", rejection.detail[:_LONGEST_DETAIL].encode("utf-8", "replace")),
        ("sender", _text(sender).encode()),
        ("received", arrived),
    ]
    return Message(None, rejection.line, headers)


def _tell(batch: Batch, accepted: bool) -> None:
    done, batch.done = batch.done, None  # which may hold on to more than the messages
    if done is not None:
        done(accepted)


def _text(sender: Address) -> str:
    host, port = sender
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
