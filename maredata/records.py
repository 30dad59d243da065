"""A topic of one partition, read in chunks from either end, and how what it holds is shown to people."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any, Generic, TypeVar

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from rich.text import Text

from maredata.errors import StoreError
from maredata.settings import Settings
from maredata.stores import kafka_consumer

SHOWN = 120  # characters of a text in a table

_CHUNK = 2000  # records in memory at once; with fewer, most that is fetched is fetched in vain
_SILENCE = 30.0  # seconds without a record after which the broker is given up
_BOOTSTRAP = 8_000  # milliseconds

T = TypeVar("T")


class Records(Generic[T]):
    """What a topic held when this was made: offsets from `first` to before `end`.

    The topic has one partition: `maredata.topics` makes it so, as Connect does with dead letters.
    """

    def __init__(
        self, consumer: KafkaConsumer, topic: str, make: Callable[[Any], T], written_since: int | None = None
    ) -> None:
        """`make` turns a record of kafka-python into what is wanted.

        With `written_since` (Kafka's own timestamp, milliseconds since 1970), what was written before is left out.

        Raises StoreError where there is no such topic.
        """
        if consumer.partitions_for_topic(topic) is None:
            raise StoreError(f"Kafka has no topic {topic}: run `mare up` or `mare apply` first.")
        self._consumer = consumer
        self._make = make
        self._partition = TopicPartition(topic, 0)
        consumer.assign([self._partition])
        self.end: int = consumer.end_offsets([self._partition])[self._partition]
        self.first: int = consumer.beginning_offsets([self._partition])[self._partition]
        if written_since is not None:
            found = consumer.offsets_for_times({self._partition: max(0, written_since)})[self._partition]
            self.first = self.end if found is None else max(self.first, found.offset)

    def chunks(self, newest_first: bool = False) -> Iterator[list[T]]:
        """All of them, a bounded number at a time; chunks and what is in them have the same order."""
        portions = list(self.portions(self.first, self.end))
        for first, end in reversed(portions) if newest_first else portions:
            made = self.between(first, end)
            yield made[::-1] if newest_first else made

    def portions(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """The offsets from `first` to before `end` in parts of which each fits into memory."""
        return ((start, min(start + _CHUNK, end)) for start in range(first, end, _CHUNK))

    def between(self, first: int, end: int) -> list[T]:
        """Those with an offset from `first` to before `end`, oldest first."""
        return list(self._read(first, end))

    def partitions_of(self, topic: str) -> set[int]:
        """Of any topic of that Kafka; none where there is no such topic."""
        return self._consumer.partitions_for_topic(topic) or set()

    def _read(self, first: int, end: int) -> Iterator[T]:
        self._consumer.seek(self._partition, first)
        last_word = monotonic()
        # What retention takes meanwhile moves the position on, maybe beyond the end.
        while self._consumer.position(self._partition) < end:
            records = self._consumer.poll(timeout_ms=500, max_records=_CHUNK).get(self._partition, [])
            if records:
                last_word = monotonic()
            elif monotonic() - last_word > _SILENCE:
                raise StoreError(f"Kafka stopped sending topic {self._partition.topic}: look at `mare logs kafka`.")
            for record in records:
                if record.offset < end:
                    yield self._make(record)


@contextmanager
def open_consumer(settings: Settings) -> Iterator[KafkaConsumer]:
    """Raises StoreError, also for what goes wrong while it is used."""
    with kafka_errors(settings), closing(kafka_consumer(settings, bootstrap_timeout_ms=_BOOTSTRAP)) as consumer:
        yield consumer


@contextmanager
def kafka_errors(settings: Settings) -> Iterator[None]:
    """Turns an error of Kafka's client into a StoreError."""
    try:
        yield
    except KafkaError as error:
        raise StoreError(
            f"Kafka at {settings.kafka.bootstrap} could not be asked ({error}):"
            " look at `mare status`, and start it with `mare up`."
        ) from None


def text_or_base64(name: str, data: bytes | None) -> dict[str, str | None]:
    """As JSON can hold it; what is no UTF-8 becomes `<name>_base64`, as it does in Elasticsearch."""
    try:
        return {name: None if data is None else data.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data or b"").decode("ascii")}


def visible(text: str, most: int | None = SHOWN) -> Text:
    """What others wrote can neither colour a table nor move the cursor. Without `most` all of it, on its own lines."""
    shown = text if most is None or len(text) <= most else f"{text[:most]}…"
    kept = "" if most is not None else "\n"
    return Text("".join(char if char.isprintable() or char == kept else _escaped(char) for char in shown))


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
