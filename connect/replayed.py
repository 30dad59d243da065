"""What was replayed of a dead-letter topic: the committed offset of a consumer group that has no consumer.

Every dead letter before that offset is done with, but for those that were still refused when they were looked at:
their offsets are in the text that Kafka keeps with a committed offset, so that the next replay finds them again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError, NoError
from kafka.structs import OffsetAndMetadata

from maredata.errors import StoreError
from maredata.names import dead_letters
from maredata.records import kafka_errors
from maredata.settings import Settings
from maredata.stores import kafka_admin

_LONGEST = 4000  # characters of that text; Kafka takes 4096 bytes
_SPAN = re.compile(r"(\d+)(?:-(\d+))?")

Span = tuple[int, int]  # offsets from the first to before the second


@dataclass(frozen=True)
class Marks:
    """What is still to be looked at: the spans of `left`, in order, and everything from `upto` on."""

    upto: int = 0
    left: tuple[Span, ...] = ()

    @classmethod
    def parse(cls, offset: int, text: str) -> Marks:
        """A text that is not ours says nothing."""
        found = [_SPAN.fullmatch(word) for word in text.split()]
        spans = [(int(match[1]), int(match[2] or match[1]) + 1) for match in found if match]
        return cls(offset, tuple(_joined(spans)) if len(spans) == len(found) else ())

    @property
    def text(self) -> str:
        """What `parse` reads. Where it gets too long, neighbours are joined.

        What lies between them is then looked at again, and found to be stored already.
        """
        spans, gap = list(self.left), 0
        while len(text := " ".join(map(_word, spans))) > _LONGEST:
            gap = 2 * gap + 1
            spans = list(_joined(self.left, gap))
        return text

    def spans(self, first: int, end: int) -> list[Span]:
        """Those still to be looked at among the offsets from `first` to before `end`, in order."""
        clipped = ((max(start, first), min(stop, end)) for start, stop in (*self.left, (self.upto, end)))
        return [(start, stop) for start, stop in clipped if start < stop]

    def kept(self, first: int) -> Marks:
        """The marks without what is older than `first`: retention took it."""
        return Marks(self.upto, tuple((max(start, first), stop) for start, stop in self.left if stop > first))

    def looked_at(self, span: Span, left: Iterable[int]) -> Marks:
        """The marks once `span` was looked at, and those at the offsets of `left` are still to be replayed.

        `span` begins at `upto` at the latest, or at the first offset that retention has left.
        """
        start, stop = span
        outside = [part for first, end in self.left for part in ((first, min(end, start)), (max(first, stop), end))]
        spans = [*outside, *((offset, offset + 1) for offset in left)]
        return Marks(max(self.upto, stop), tuple(_joined(sorted(part for part in spans if part[0] < part[1]))))


def _joined(spans: Iterable[Span], gap: int = 0) -> Iterator[Span]:
    """The spans, which are sorted, with those made one that have no more than `gap` offsets between them."""
    current: Span | None = None
    for first, end in spans:
        if current is not None and first <= current[1] + gap:
            current = (current[0], max(current[1], end))
            continue
        if current is not None:
            yield current
        current = (first, end)
    if current is not None:
        yield current


def _word(span: Span) -> str:
    first, end = span
    return str(first) if end == first + 1 else f"{first}-{end - 1}"


# --- where they are kept -------------------------------------------------------------------------------------------


class Book:
    """The marks of one connector's dead letters, in Kafka."""

    def __init__(self, admin: KafkaAdminClient, connector: str) -> None:
        self._admin = admin
        self._connector = connector

    def read(self) -> Marks:
        return _read(self._admin, [self._connector])[self._connector]

    def write(self, marks: Marks) -> None:
        """Returns when Kafka has taken them. Raises StoreError where it refuses."""
        partition = TopicPartition(dead_letters(self._connector), 0)
        committed = {partition: OffsetAndMetadata(marks.upto, marks.text)}
        error: type[KafkaError] = self._admin.alter_group_offsets(_group(self._connector), committed)[partition]
        if error is not NoError:
            raise StoreError(
                f"Kafka did not take down what was replayed ({error.__name__}): look at `mare status`, and end"
                f" whatever consumes in group {_group(self._connector)}. A further replay may publish some again."
            )


@contextmanager
def open_book(settings: Settings, connector: str) -> Iterator[Book]:
    """Raises StoreError, also for what goes wrong while it is used."""
    with kafka_errors(settings), kafka_admin(settings) as admin:
        yield Book(admin, connector)


def read_marks(settings: Settings, connectors: Iterable[str]) -> dict[str, Marks]:
    """By connector; one whose dead letters were never replayed has marks that say so. Raises KafkaError."""
    with kafka_admin(settings) as admin:
        return _read(admin, list(connectors))


def _read(admin: KafkaAdminClient, connectors: list[str]) -> dict[str, Marks]:
    groups = admin.list_group_offsets({_group(name): None for name in connectors}) if connectors else {}
    found = {}
    for name in connectors:
        committed = groups.get(_group(name), {}).get(TopicPartition(dead_letters(name), 0))
        known = committed is not None and committed.offset >= 0
        found[name] = Marks.parse(committed.offset, committed.metadata or "") if known else Marks()
    return found


def _group(connector: str) -> str:
    return f"mare-dead-letters.{connector}"
