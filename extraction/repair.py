"""Copies what one store lacks from the other. It deletes nothing, and it overwrites no reading that came meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from extraction.compare import Candidate, Column, Difference, Key, Kind, StoreRow, Value, Values, values_of_reading
from extraction.documents import Elasticsearch, Stored, Write
from extraction.mariadb import MariaDB
from extraction.spool import chunks
from extraction.topic import Progress, Topic
from maredata.decoder import Decoder
from maredata.reading import Reading, Refused
from maredata.timestamps import format_timestamp

_CHUNK = 1_000

Records = dict[tuple[int, int], Reading]  # by partition and offset


@dataclass
class Repairs:
    """What was done. `changed` names the values that were replaced, the first ones of them; counts are complete."""

    limit: int
    added_to_mariadb: int = 0
    added_to_elasticsearch: int = 0
    filled_in_mariadb: int = 0
    replaced_in_elasticsearch: int = 0
    changed: list[tuple[Key, Difference]] = field(default_factory=list)
    refusals: int = 0
    refused: list[tuple[Key, str]] = field(default_factory=list)

    def refuse(self, key: Key, reason: str) -> None:
        self.refusals += 1
        if len(self.refused) < self.limit:
            self.refused.append((key, reason))

    def note(self, candidate: Candidate) -> None:
        for difference in candidate.differences:
            if difference.kind is Kind.VALUE and len(self.changed) < self.limit:
                self.changed.append((candidate.key, difference))


@dataclass
class _Plan:
    """What a portion of identities needs."""

    inserts: list[StoreRow] = field(default_factory=list)
    fills: list[tuple[Key, Values]] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)


class Repair:
    """Mends identities that differ; what it could not mend, the comparison after it shows."""

    def __init__(
        self, columns: Sequence[Column], decoder: Decoder, topic: Topic, mariadb: MariaDB, elasticsearch: Elasticsearch
    ) -> None:
        self._columns, self._decoder = columns, decoder
        self._topic, self._mariadb, self._elasticsearch = topic, mariadb, elasticsearch

    def run(self, differences: Iterable[Candidate], limit: int, progress: Progress) -> Repairs:
        done, seen = Repairs(limit), 0
        for chunk in chunks((candidate for candidate in differences if candidate.disagrees), _CHUNK):
            plan = self._plan(chunk, done)
            done.added_to_mariadb += self._mariadb.insert(plan.inserts, done.refuse)
            for key, values in plan.fills:
                done.filled_in_mariadb += self._mariadb.fill(key, values, done.refuse)
            added = [write for write in plan.writes if write.instead is None]
            replaced = [write for write in plan.writes if write.instead is not None]
            done.added_to_elasticsearch += self._elasticsearch.write(added, done.refuse)
            done.replaced_in_elasticsearch += self._elasticsearch.write(replaced, done.refuse)
            seen += len(chunk)
            progress(f"repair: {seen:,} readings")
        return done

    def _plan(self, chunk: Sequence[Candidate], done: Repairs) -> _Plan:
        # Looked up again: what was compared may have been mended by the sinks since.
        rows = self._mariadb.lookup(candidate.key for candidate in chunk)
        documents = self._elasticsearch.lookup((candidate.key for candidate in chunk), ids_of(chunk))
        records = self._topic.records(
            (c.topic.partition, c.topic.offset)
            for c in chunk
            if c.topic is not None and any(d.kind is Kind.NOT_IN_ELASTICSEARCH for d in c.differences)
        )
        plan = _Plan()
        for candidate in chunk:
            key, row = candidate.key, rows.get(candidate.key)
            found = documents.get(key, [])
            stored = next((one for one in found if one.document.in_place), None)
            if row is not None and stored is not None:
                if row.values != stored.document.values:
                    done.note(candidate)
                    self._settle(plan, row, stored)
                continue
            reading = self._reading(candidate, stored, records, found)
            if row is None and reading is None:
                done.refuse(key, "no other side has a reading to copy")
                continue
            if row is None and reading is not None:
                row = StoreRow(*key, values_of_reading(self._columns, reading.values))
                plan.inserts.append(row)
            if stored is None and row is not None:
                base = msgspec.json.decode(reading.line) if reading is not None else {}
                plan.writes.append(Write(key, document_of(self._columns, row, base), None))
        return plan

    def _settle(self, plan: _Plan, row: StoreRow, stored: Stored) -> None:
        """Differing values: MariaDB's count. Only where it has none, Elasticsearch's is copied into it."""
        missing = fillable(self._columns, row.values, self._decoded(stored))
        if any(value is not None for value in missing):
            plan.fills.append((row[:2], missing))
        merged = tuple(theirs if ours is None else ours for ours, theirs in zip(row.values, missing, strict=True))
        if merged != stored.document.values:
            source = document_of(self._columns, row._replace(values=merged), stored.source)
            plan.writes.append(Write(row[:2], source, stored))

    def _reading(
        self, candidate: Candidate, stored: Stored | None, records: Records, found: Sequence[Stored]
    ) -> Reading | None:
        """The reading that a store lacks, from the best source there is: the other store, the topic, a stray copy."""
        if stored is not None:
            return self._decoded(stored)
        if candidate.topic is not None:
            reading = records.get((candidate.topic.partition, candidate.topic.offset))
            if reading is not None and (reading.sensor_id, reading.micros) == candidate.key:
                return reading
        return next((reading for stray in found if (reading := self._decoded(stray)) is not None), None)

    def _decoded(self, stored: Stored) -> Reading | None:
        """A document as a reading, checked like any other line: nothing odd is copied into MariaDB."""
        try:
            return self._decoder.decode(msgspec.json.encode(stored.source))
        except Refused:
            return None


def ids_of(candidates: Iterable[Candidate]) -> list[str]:
    """The `_id`s of documents that do not stand where their identity says."""
    return [d.document.partition("/")[2] for c in candidates for d in c.differences if d.document]


def fillable(columns: Sequence[Column], ours: Values, other: Reading | None) -> Values:
    """What can be copied into our columns that are NULL: the other's values there."""
    theirs = values_of_reading(columns, other.values) if other is not None else (None,) * len(columns)
    return tuple(value if mine is None else None for mine, value in zip(ours, theirs, strict=True))


def document_of(columns: Sequence[Column], row: StoreRow, base: dict[str, Any]) -> dict[str, Any]:
    """The canonical document of a row. Members of `base` that no column holds stay: MariaDB does not know them."""
    document = {**base, "sensor_id": row.sensor_id, "timestamp": format_timestamp(row.micros)}
    places: dict[str, dict[str, Value]] = {}
    for column, value in zip(columns, row.values, strict=True):
        if column.part:
            places.setdefault(column.field, {})[column.part] = value
        elif value is not None:
            document[column.field] = value
        else:
            document.pop(column.field, None)
    for name, place in places.items():
        if None in place.values():
            document.pop(name, None)
        else:
            document[name] = place
    return document
