"""A message for Kafka, on its way through the gateway and its spool."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Without gc: half a million would slow the collector down. As an array: the spool stores no field names."""

    key: bytes | None
    value: bytes
    # Values are bytes alone, narrower than what Kafka's client takes: msgspec can't decode "str or bytes", so the
    # spool would have to give up a message that it accepted.
    headers: list[tuple[str, bytes]] | None = None
