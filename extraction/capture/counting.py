"""Counts the changes that came through a capture's topic, going on where the last count ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import msgspec

from extraction.capture.state import Counts, load, save
from maredata.errors import StoreError
from maredata.records import Records, kafka_errors, open_consumer
from maredata.settings import Settings
from maredata.stores import kafka_admin

_OLD_KEY, _NEW_KEY = "__debezium.oldkey", "__debezium.newkey"  # headers of a changed key's two halves


class _Change(msgspec.Struct):
    op: str = ""


_decode = msgspec.json.Decoder(_Change).decode


def count(job: str, topic: str, settings: Settings) -> Counts:
    """All changes since the capture began, noted for the next count. Raises StoreError."""
    noted = load(settings, job)
    if noted is None:
        return Counts()
    before = noted.counts
    with kafka_errors(settings), kafka_admin(settings) as admin:
        if topic not in admin.list_topics():
            return before
        (described,) = admin.describe_topics([topic])
    identity = str(described.get("topic_id", ""))
    if identity != before.topic:  # made anew: its offsets count from 0 again
        before = replace(before, offset=0, topic=identity)
    try:
        with open_consumer(settings) as consumer:
            records = Records(consumer, topic, _kind)
            first = max(before.offset, records.first)
            kinds: Counter[str] = Counter()
            for start, end in records.portions(first, records.end):
                kinds.update(records.between(start, end))
    except msgspec.DecodeError as error:
        raise StoreError(f"Topic {topic} holds what is no change of a row ({error}): who else writes there?") from None
    found = Counts(
        inserts=before.inserts + kinds["insert"],
        updates=before.updates + kinds["update"],
        deletes=before.deletes + kinds["delete"],
        not_counted=before.not_counted + first - before.offset,
        offset=max(first, records.end),
        topic=identity,
    )
    # What else was noted meanwhile stays.
    save(settings, job, replace(load(settings, job) or noted, counts=found))
    return found


def _kind(record: Any) -> str:
    """A changed key comes as a delete and an insert, and is one update."""
    names = {name for name, _ in record.headers}
    op = _decode(record.value).op if record.value else ""
    if op == "d":
        return "" if _NEW_KEY in names else "delete"
    if op == "u" or _OLD_KEY in names:
        return "update"
    return "insert" if op in ("c", "r") else ""
