"""Messages for Kafka, on their way through the gateway and its spool."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat

import msgspec


class Message(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Without gc: half a million would slow the collector down. As an array: the spool stores no field names."""

    key: bytes | None
    value: bytes
    # Values are bytes alone, narrower than what Kafka's client takes: msgspec can't decode "str or bytes", so the
    # spool would have to give up a message that it accepted.
    headers: list[tuple[str, bytes]] | None = None


class Messages:
    """Messages side by side: a list of keys, one of values, and where any has headers, one of headers.

    On their way through memory two lists cost less than as many objects; the spool writes objects.
    """

    __slots__ = ("headers", "keys", "values")

    def __init__(
        self,
        keys: list[bytes | None],
        values: list[bytes],
        headers: list[list[tuple[str, bytes]] | None] | None = None,
    ) -> None:
        self.keys = keys
        self.values = values
        self.headers = headers

    @classmethod
    def of(cls, messages: Iterable[Message]) -> Messages:
        found = list(messages)
        headers = [message.headers for message in found]
        return cls(
            [message.key for message in found], [message.value for message in found], headers if any(headers) else None
        )

    def one_by_one(self) -> list[Message]:
        return list(map(Message, self.keys, self.values, self.headers or repeat(None)))

    def __len__(self) -> int:
        return len(self.values)
