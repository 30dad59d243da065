"""Topic `readings.rejected` as entries: which there are, read in chunks from either end, and how they are shown."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from rich.table import Table
from rich.text import Text

from maredata.errors import StoreError
from maredata.names import REJECTED
from maredata.reading import Refused, format_timestamp, parse_timestamp
from maredata.settings import Settings
from maredata.stores import kafka_consumer

UNKNOWN = "unknown"  # the reason of a record without the gateway's headers

_CHUNK = 2000  # records in memory at once, each of up to 64 KiB; with fewer, most that is fetched is fetched in vain
_SILENCE = 30.0  # seconds without a record after which the broker is given up
_BOOTSTRAP = 8_000  # milliseconds
_CLOCKS = 3_600_000  # milliseconds that the gateway's clock may be ahead of Kafka's
_SHOWN = 120  # characters of a text in a table


@dataclass(frozen=True, slots=True)
class Entry:
    """A rejected line. `received` is in microseconds since 1970 UTC.

    `now` is what today's rules say: accepted, or the reason; empty as long as nobody asked.
    """

    offset: int
    received: int
    reason: str
    detail: str
    sender: str
    line: bytes
    now: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it; a line that is no UTF-8 becomes `line_base64`, as it does in Elasticsearch."""
        known = {name: value for name, value in asdict(self).items() if name != "line"}
        known["received"] = format_timestamp(self.received)
        try:
            return known | {"line": self.line.decode("utf-8")}
        except UnicodeDecodeError:
            return known | {"line_base64": base64.b64encode(self.line).decode("ascii")}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are meant. `sender` is an address with or without a port, `since` is like `Entry.received`."""

    reason: str | None = None
    sender: str | None = None
    since: int | None = None

    def __contains__(self, entry: Entry) -> bool:
        return (
            self.reason in (None, entry.reason)
            and (self.sender in (None, entry.sender) or self._host(entry.sender))
            and (self.since is None or entry.received >= self.since)
        )

    def _host(self, sender: str) -> bool:
        return self.sender is not None and sender.rpartition(":")[0].strip("[]") == self.sender.strip("[]")


class Records:
    """What the topic held when this was made. The topic has one partition: `maredata.topics` makes it so."""

    def __init__(self, consumer: KafkaConsumer, since: int | None) -> None:
        """With `since` (microseconds since 1970), those that came long before are left out."""
        if consumer.partitions_for_topic(REJECTED) is None:
            raise StoreError(f"Kafka has no topic {REJECTED}: run `mare up` or `mare apply` first.")
        self._consumer = consumer
        self._partition = TopicPartition(REJECTED, 0)
        consumer.assign([self._partition])
        self._end: int = consumer.end_offsets([self._partition])[self._partition]
        self._first: int = consumer.beginning_offsets([self._partition])[self._partition]
        if since is not None:
            # Kafka's timestamp is of the writing, which comes after the receiving.
            written = max(0, since // 1000 - _CLOCKS)
            found = consumer.offsets_for_times({self._partition: written})[self._partition]
            self._first = self._end if found is None else max(self._first, found.offset)

    def chunks(self, newest_first: bool = False) -> Iterator[list[Entry]]:
        """All of them, a bounded number at a time; chunks and what is in them have the same order."""
        starts = range(self._first, self._end, _CHUNK)
        for start in reversed(starts) if newest_first else starts:
            entries = list(self._read(start, min(start + _CHUNK, self._end)))
            yield entries[::-1] if newest_first else entries

    def _read(self, first: int, end: int) -> Iterator[Entry]:
        self._consumer.seek(self._partition, first)
        last_word = monotonic()
        # What retention takes meanwhile moves the position on, maybe beyond the end.
        while self._consumer.position(self._partition) < end:
            records = self._consumer.poll(timeout_ms=500, max_records=_CHUNK).get(self._partition, [])
            if records:
                last_word = monotonic()
            elif monotonic() - last_word > _SILENCE:
                raise StoreError(f"Kafka stopped sending topic {REJECTED}: look at `mare logs kafka`.")
            for record in records:
                if record.offset < end:
                    yield entry_of(record)


@contextmanager
def open_records(settings: Settings, since: int | None) -> Iterator[Records]:
    """Raises StoreError, also for what goes wrong while the records are read."""
    with kafka_errors(settings), closing(kafka_consumer(settings, bootstrap_timeout_ms=_BOOTSTRAP)) as consumer:
        yield Records(consumer, since)


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


def entry_of(record: Any) -> Entry:
    """The entry of a consumer's record; what its headers don't say, the record does."""
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
    try:
        received = parse_timestamp(headers.get("received", ""))
    except Refused:
        received = record.timestamp * 1000
    return Entry(
        offset=record.offset,
        received=received,
        reason=headers.get("reason", UNKNOWN),
        detail=headers.get("detail", ""),
        sender=headers.get("sender", ""),
        line=record.value or b"",
    )


def render(entries: Iterable[Entry]) -> Table:
    """A table for people. What senders wrote can neither colour it nor move the cursor."""
    table = Table("offset", "received (UTC)", "sender", "reason", "now", "detail", "line")
    for entry in entries:
        texts = (entry.sender, entry.reason, entry.now, entry.detail, entry.line.decode("utf-8", "backslashreplace"))
        table.add_row(str(entry.offset), format_timestamp(entry.received), *map(_visible, texts))
    return table


def _visible(text: str) -> Text:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return Text("".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown))
