"""Dead letters: the records that a sink connector could not take, as Kafka Connect keeps them in `dlq.<connector>`.

Connect copies key, value and headers, and says in headers of its own where the record was and what was wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from kafka import KafkaConsumer
from rich.table import Column, Table
from rich.text import Text

from connect.replayed import read_marks
from maredata.errors import StoreError
from maredata.names import dead_letters
from maredata.records import Records, open_consumer, text_or_base64, visible
from maredata.settings import Settings
from maredata.timestamps import format_timestamp

_SAID = "__connect.errors."  # what Connect's own headers begin with
_PREFIX = dead_letters("")
# The line of a Java trace that begins a cause, and its message, which may go on until the first frame.
_CAUSE = re.compile(r"^Caused by: ([\w.$]+)(?:: (.*?))?(?=\n\s+at |\n\s+\.\.\. |\nCaused by: |\Z)", re.M | re.S)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the record was that could not be taken. -1 where Connect did not say."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}@{self.offset}"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record of a dead-letter topic. `written` is when it came there, in microseconds since 1970 UTC."""

    offset: int
    written: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    def said(self, name: str) -> str:
        """What Connect said. It appends its headers: of several with one name the last is its own."""
        found = (value for header, value in reversed(self.headers) if header == _SAID + name)
        return (next(found, None) or b"").decode("utf-8", "replace")

    @property
    def origin(self) -> Origin | None:
        topic = self.said("topic")
        return Origin(topic, _number(self.said("partition")), _number(self.said("offset"))) if topic else None

    @property
    def own_headers(self) -> list[tuple[str, bytes | None]]:
        """Those that the record had before it became a dead letter."""
        return [(name, value) for name, value in self.headers if not name.startswith(_SAID)]

    @property
    def reason(self) -> str:
        """The deepest cause that says something, with its class: what wraps it mostly says that something failed."""
        causes = [(self.said("exception.class.name"), self.said("exception.message"))]
        causes += _CAUSE.findall(self.said("exception.stacktrace"))
        name, message = next(((n, m) for n, m in reversed(causes) if m.strip() not in ("", "null")), causes[-1])
        return ": ".join(filter(None, (name.rpartition(".")[2], message.strip()))) or "unknown"

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it: what is no UTF-8 becomes `key_base64` and `value_base64`."""
        origin = self.origin
        return {
            "offset": self.offset,
            "written": format_timestamp(self.written),
            "from": origin and {"topic": origin.topic, "partition": origin.partition, "offset": origin.offset},
            "reason": self.reason,
            **text_or_base64("key", self.key),
            **text_or_base64("value", self.value),
        }

    def as_whole_dict(self) -> dict[str, Any]:
        """Also all headers, in their order: one name may come more than once."""
        headers = [{"name": name, **text_or_base64("value", value)} for name, value in self.headers]
        return self.as_dict() | {"headers": headers}


@dataclass(frozen=True, slots=True)
class Summary:
    """How many dead letters a connector has, and how many of them are still to be replayed."""

    connector: str
    count: int
    left: int
    newest: DeadLetter | None

    def as_dict(self) -> dict[str, Any]:
        newest = self.newest and self.newest.as_dict()
        return {"connector": self.connector, "dead_letters": self.count, "not_replayed": self.left, "newest": newest}


def summarize(settings: Settings) -> list[Summary]:
    """One for each connector that has a dead-letter topic. Raises StoreError where Kafka does not answer."""
    found = []
    with open_consumer(settings) as consumer:
        names = _connectors(consumer)
        marks = read_marks(settings, names)
        for name in names:
            letters = Records(consumer, dead_letters(name), letter_of)
            newest = letters.between(letters.end - 1, letters.end) if letters.end > letters.first else []
            left = sum(end - first for first, end in marks[name].spans(letters.first, letters.end))
            found.append(Summary(name, letters.end - letters.first, left, newest[-1] if newest else None))
    return found


def list_dead_letters(
    settings: Settings, connector: str, reason: str | None = None, since: int | None = None, limit: int | None = 100
) -> Iterator[DeadLetter]:
    """The newest `limit` of those that are in the topic now, or with None all of them; newest last.

    `reason` is a part of the reason, in upper or lower case; `since` is in microseconds since 1970 UTC, and of the
    instant at which the record became a dead letter.

    Raises StoreError where Kafka does not answer, or there is no such connector.
    """
    with open_dead_letters(settings, connector, since) as letters:
        chunks = letters.chunks(newest_first=limit is not None)
        found: Iterable[DeadLetter] = (
            letter
            for chunk in chunks
            for letter in chunk
            if (since is None or letter.written >= since) and (not reason or reason.lower() in letter.reason.lower())
        )
        yield from found if limit is None else reversed(list(islice(found, limit)))


def one_dead_letter(settings: Settings, connector: str, offset: int) -> DeadLetter:
    """The one at `offset`. Raises StoreError where there is none, where Kafka does not answer, …"""
    with open_dead_letters(settings, connector) as letters:
        if letters.first <= offset < letters.end and (found := letters.between(offset, offset + 1)):
            return found[0]
        there = f"offsets {letters.first} to {letters.end - 1}" if letters.end > letters.first else "nothing"
    raise StoreError(f"There is no dead letter {offset} of {connector}: topic {dead_letters(connector)} holds {there}.")


@contextmanager
def open_dead_letters(settings: Settings, connector: str, since: int | None = None) -> Iterator[Records[DeadLetter]]:
    """With `since` (microseconds since 1970), older ones are left out.

    Raises StoreError where there is no such connector, also for what goes wrong while they are read.
    """
    with open_consumer(settings) as consumer:
        known = _connectors(consumer)
        if connector not in known:
            there = ", ".join(known) or "none; `mare apply` makes their topics"
            raise StoreError(f"There are no dead letters of a connector {connector!r}. There are those of: {there}.")
        yield Records(consumer, dead_letters(connector), letter_of, None if since is None else since // 1000)


def _connectors(consumer: KafkaConsumer) -> list[str]:
    """Those that have a dead-letter topic."""
    return sorted(topic.removeprefix(_PREFIX) for topic in consumer.topics() if topic.startswith(_PREFIX))


def letter_of(record: Any) -> DeadLetter:
    """The dead letter that a consumer's record is."""
    return DeadLetter(record.offset, record.timestamp * 1000, record.key, record.value, tuple(record.headers))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else -1


# --- for people ----------------------------------------------------------------------------------------------------


def render(letters: Iterable[DeadLetter]) -> Table:
    table = _table("offset", "instant (UTC)", "from", "reason", "value")
    for letter in letters:
        texts = (str(letter.origin or "unknown"), letter.reason, _text(letter.value))
        table.add_row(str(letter.offset), format_timestamp(letter.written), *map(visible, texts))
    return table


def render_summary(summaries: Iterable[Summary]) -> Table:
    table = _table("connector", "dead letters", "not yet replayed", "newest (UTC)", "its reason")
    for summary in summaries:
        newest = summary.newest
        instant, reason = (format_timestamp(newest.written), newest.reason) if newest else ("", "")
        table.add_row(summary.connector, f"{summary.count:,}", f"{summary.left:,}", instant, visible(reason))
    return table


def render_one(letter: DeadLetter) -> Table:
    """Everything of one, each line as it is, however long."""
    table = _table("what", "content")

    def add(name: str | Text, text: str, end_section: bool = False) -> None:
        table.add_row(name, visible(text, None), end_section=end_section)

    add("offset", str(letter.offset))
    add("instant (UTC)", format_timestamp(letter.written))
    add("from", str(letter.origin or "unknown"))
    add("reason", letter.reason)
    add("key", _text(letter.key))
    add("value", _text(letter.value), end_section=True)
    for name, value in letter.headers:
        # Connect's traces are indented with tabs, which a terminal may take for anything.
        add(visible(name, None), _text(value).replace("\r\n", "\n").replace("\t", "    "))
    return table


def _table(*columns: str) -> Table:
    """Where it is narrow, long words go on in the next line: else they would be cut."""
    return Table(*(Column(name, overflow="fold") for name in columns))


def _text(data: bytes | None) -> str:
    """Nothing, the text, or `base64: …` of what is none."""
    if data is None:
        return "null"
    ((name, text),) = text_or_base64("text", data).items()
    return str(text) if name == "text" else f"base64: {text}"
