"""Topic `readings.rejected` as entries: which there are, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from maredata.names import REJECTED
from maredata.reading import Refused
from maredata.records import Records, open_consumer, text_or_base64, visible
from maredata.settings import Settings
from maredata.timestamps import format_timestamp, parse_timestamp

UNKNOWN = "unknown"  # the reason of a record without the gateway's headers

_CLOCKS = 3_600_000  # milliseconds that the gateway's clock may be ahead of Kafka's


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
        return known | text_or_base64("line", self.line)


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


@contextmanager
def open_entries(settings: Settings, since: int | None) -> Iterator[Records[Entry]]:
    """With `since` (microseconds since 1970), those that came long before are left out.

    Raises StoreError, also for what goes wrong while they are read.
    """
    # Kafka's timestamp is of the writing, which comes after the receiving.
    written_since = None if since is None else since // 1000 - _CLOCKS
    with open_consumer(settings) as consumer:
        yield Records(consumer, REJECTED, entry_of, written_since)


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
        table.add_row(str(entry.offset), format_timestamp(entry.received), *map(visible, texts))
    return table
