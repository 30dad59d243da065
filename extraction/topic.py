"""The first side: what topic `readings` still holds, and how far the sinks have come with it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from extraction.compare import Range, TopicRow, columns_of, latest, values_of_reading
from extraction.spool import Sorter
from maredata.decoder import Decoder
from maredata.errors import StoreError, VerifyTimeout
from maredata.names import FIRST_DEMO_SENSOR, READINGS, SINKS, consumer_group
from maredata.reading import Reading, Refused
from maredata.schema import Schema
from maredata.settings import Settings

Offsets = dict[int, int]  # by partition
Progress = Callable[[str], None]

_SILENCE = 30.0  # seconds without a record after which the broker is given up
_SKIP = 5_000  # records that are read over rather than sought past
_POLL = 0.5  # seconds between two looks at the sinks' offsets


@dataclass
class Snapshot:
    """What was read of the topic: sorted records, and what they were."""

    rows: Sorter[TopicRow]
    records: int = 0
    outside: int = 0
    removed_demo: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    oldest_record: int | None = None  # Kafka's own timestamp, milliseconds

    def latest(self) -> Iterator[TopicRow]:
        return latest(self.rows)


class Topic:
    """Reads the topic without joining a group, so that nobody else notices."""

    def __init__(self, settings: Settings, schema: Schema, folder: Path, window: Range) -> None:
        self._settings, self._folder, self._window = settings, folder, window
        self._columns = columns_of(schema)
        self._decoder = Decoder(schema)
        self._consumer = _consumer(settings, "mare-verify")

    def __enter__(self) -> Topic:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._consumer.close()

    def bounds(self) -> tuple[Offsets, Offsets]:
        """The first offset that retention left, and the end offset, of each partition."""
        with kafka_errors(self._settings):
            known = self._consumer.list_topics(READINGS, timeout=10).topics[READINGS]
            if known.error is not None:
                raise StoreError(f"Kafka has no topic {READINGS}: run `mare up` or `mare apply` first.")
            marks = {
                partition: self._consumer.get_watermark_offsets(TopicPartition(READINGS, partition), timeout=10)
                for partition in sorted(known.partitions)
            }
        return {p: low for p, (low, _) in marks.items()}, {p: high for p, (_, high) in marks.items()}

    def read(self, first: Offsets, ends: Offsets, removed: Offsets, progress: Progress) -> Snapshot:
        """All records from `first` up to `ends`. Demo readings before `removed` were deleted on purpose."""
        snapshot = Snapshot(Sorter(self._folder, TopicRow))
        # Beyond the end? Then they were said about an older topic of this name.
        removed = {partition: offset for partition, offset in removed.items() if offset <= ends.get(partition, 0)}
        total = sum(ends[partition] - first[partition] for partition in ends)
        for message in self._records(first, ends):
            snapshot.records += 1
            if snapshot.records % 50_000 == 0:
                progress(f"topic: {snapshot.records:,} of {total:,} records")
            self._take(snapshot, message, removed)
        return snapshot

    def records(self, positions: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Reading]:
        """The records at these (partition, offset), decoded again; what retention took meanwhile is left out."""
        wanted = set(positions)
        found: dict[tuple[int, int], Reading] = {}
        for partition, first, last in stretches(wanted, _SKIP):
            for message in self._records({partition: first}, {partition: last + 1}):
                if (position := _position(message)) in wanted:
                    with suppress(Refused):
                        found[position] = self._decoder.decode(message.value() or b"")
        return found

    def wait_for_sinks(self, ends: Offsets, seconds: float, progress: Progress) -> None:
        """Returns when both sinks have stored everything before `ends`, or raises VerifyTimeout."""
        first, _ = self.bounds()
        wanted = {partition: end for partition, end in ends.items() if end > first.get(partition, 0)}
        deadline = time.monotonic() + seconds
        with closing_consumers(self._settings) as groups:
            while True:
                missing = {sink: self._missing(groups[sink], first, wanted) for sink in SINKS}
                if not any(missing.values()):
                    return
                late = " and ".join(f"{sink} {count:,}" for sink, count in missing.items() if count)
                if time.monotonic() >= deadline:
                    raise VerifyTimeout(
                        f"After {seconds:g} s records of the topic are still to be stored ({late}):"
                        " look at `mare connect status`, or wait longer with --wait."
                    )
                progress(f"waiting for the sinks: {late} to go")
                time.sleep(_POLL)

    def _missing(self, group: Consumer, first: Offsets, wanted: Offsets) -> int:
        if not wanted:
            return 0
        with kafka_errors(self._settings):
            committed = group.committed([TopicPartition(READINGS, partition) for partition in wanted], timeout=10)
        # A group that has committed nothing yet answers with a negative offset.
        return sum(max(0, wanted[c.partition] - max(c.offset, first[c.partition])) for c in committed)

    def _take(self, snapshot: Snapshot, message: Message, removed: Offsets) -> None:
        kind, written = message.timestamp()
        if kind != 0 and (snapshot.oldest_record is None or written < snapshot.oldest_record):
            snapshot.oldest_record = written
        line = message.value()
        if line is None:
            snapshot.refused["null"] += 1
            return
        try:
            reading = self._decoder.decode(line)
        except Refused as refused:
            snapshot.refused[refused.reason] += 1
            return
        sensor_id, micros = reading.sensor_id, reading.micros
        partition, offset = _position(message)
        since, until = self._window.since, self._window.until
        if (since is not None and micros < since) or (until is not None and micros >= until):
            snapshot.outside += 1
        elif sensor_id >= FIRST_DEMO_SENSOR and offset < removed.get(partition, 0):
            snapshot.removed_demo += 1
        else:
            values = values_of_reading(self._columns, reading.values)
            snapshot.rows.add(TopicRow(sensor_id, micros, partition, offset, values))

    def _records(self, first: Offsets, ends: Offsets) -> Iterator[Message]:
        open_partitions = {partition for partition, end in ends.items() if end > first[partition]}
        if not open_partitions:
            return
        last_word = time.monotonic()
        with kafka_errors(self._settings):
            assigned = [TopicPartition(READINGS, p, first[p]) for p in sorted(open_partitions)]
            self._consumer.assign(assigned)
            self._consumer.resume(assigned)  # a pause outlives the assignment it was made in
            while open_partitions:
                for message in self._consumer.consume(1_000, timeout=0.1):
                    last_word = time.monotonic()
                    error = message.error()
                    if error is not None and error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    partition, offset = _position(message)
                    if error is None and partition in open_partitions and offset < ends[partition]:
                        yield message
                    # The last offsets may hold no record: then the end of the partition is the sign.
                    if offset >= ends[partition] - (error is None):
                        open_partitions.discard(partition)
                        self._consumer.pause([TopicPartition(READINGS, partition)])
                if time.monotonic() - last_word > _SILENCE:
                    raise StoreError(f"Kafka stopped sending topic {READINGS}: look at `mare logs kafka`.")
            self._consumer.unassign()


def stretches(positions: Iterable[tuple[int, int]], skip: int) -> Iterator[tuple[int, int, int]]:
    """(partition, first, last) such that all positions are covered, without reading over more than `skip` others."""
    current: tuple[int, int, int] | None = None
    for partition, offset in sorted(positions):
        if current is not None and current[0] == partition and offset - current[2] <= skip:
            current = (partition, current[1], offset)
            continue
        if current is not None:
            yield current
        current = (partition, offset, offset)
    if current is not None:
        yield current


def _position(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    assert partition is not None and offset is not None  # noqa: S101  # so it is for everything consumed
    return partition, offset


def _consumer(settings: Settings, group: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": settings.kafka.bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            # What librdkafka fetches ahead, in all and for each partition: memory must stay bounded.
            "queued.max.messages.kbytes": 16_384,
            "fetch.message.max.bytes": 1 << 20,
            "log_level": 0,
        }
    )


@contextmanager
def closing_consumers(settings: Settings) -> Iterator[dict[str, Consumer]]:
    """A consumer for each sink's group that only asks for its offsets; it never joins."""
    groups = {sink: _consumer(settings, consumer_group(sink)) for sink in SINKS}
    try:
        yield groups
    finally:
        for consumer in groups.values():
            consumer.close()


@contextmanager
def kafka_errors(settings: Settings) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise StoreError(
            f"Kafka at {settings.kafka.bootstrap} could not be asked ({_reason(error)}):"
            " look at `mare status`, and start it with `mare up`."
        ) from None


def _reason(error: KafkaException) -> str:
    cause: Any = error.args[0] if error.args else error
    return cause.str() if isinstance(cause, KafkaError) else str(cause)
