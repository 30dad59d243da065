"""`mare verify`: proves that the topic's readings are in both stores, and that the stores are equal.

Read `verify` from top to bottom. Readings go on arriving while it works, and no side is frozen, so it relies on
order: the topic's end offsets come first, both sinks must have passed them, and only then are the stores read. What
differs then may still be a reading on its way; it counts only if it is the same after both sinks have passed the
end offsets read once more.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extraction.compare import (
    HOUR,
    Bucket,
    Candidate,
    Difference,
    Island,
    Key,
    Kind,
    Range,
    TopicRow,
    align,
    buckets_of,
    clip,
    columns_of,
    differing_hours,
    gaps,
    judge,
    latest,
    within,
)
from extraction.demo import removed_before
from extraction.documents import Elasticsearch
from extraction.mariadb import MariaDB
from extraction.repair import Repair, Repairs, ids_of
from extraction.report import Differences, Report, Sequence, TopicPart, milliseconds
from extraction.spool import Sorter, Spool, chunks
from extraction.topic import Offsets, Progress, Snapshot, Topic
from maredata.decoder import Decoder
from maredata.errors import MareError
from maredata.schema import Schema
from maredata.settings import Settings

_CHUNK = 1_000  # identities looked up at once
_RANGES = 100_000  # stretches kept in memory; with more of them everything is looked at closely
_ROUNDS = 5  # how often a difference that keeps changing is looked at again
_STEP = 50_000  # readings between two words of progress


@dataclass(frozen=True)
class Options:
    """What is asked of `mare verify`; `since` and `until` (excluded) are microseconds since 1970 UTC."""

    since: int | None = None
    until: int | None = None
    exact: bool = False
    repair: bool = False
    wait: float = 60.0
    accepted: Path | None = None
    limit: int = 1_000


def verify(settings: Settings, schema: Schema, options: Options, progress: Callable[[str], None]) -> Report:
    """Compares the three sides, and repairs where that is asked for.

    Raises:
        VerifyTimeout: a sink did not store within `options.wait` seconds what the topic held.
        StoreError: a side did not answer; the sentence names it.
    """
    with _Comparison(settings, schema, options, progress) as sides:
        first, ends = sides.wait_for_all()
        topic = sides.topic.read(first, ends, sides.removed, progress)
        accepted, notes = sides.read_accepted()

        counted = Counted()
        ranges = [sides.window] if options.exact else sides.differing_ranges(topic, accepted, counted, notes)
        candidates = sides.compare(topic, accepted, ranges, counted)
        differences = sides.still_different(candidates, ends)
        repairs = None
        if options.repair and any(candidate.disagrees for candidate in differences):
            repairs = sides.repair(differences)
            differences = sides.still_different(differences, ends)
        return sides.report(topic, first, ends, accepted, counted, differences, repairs, notes)


@dataclass
class Counted:
    """What the stores held. The closer look does not count again what the counts and sums have counted."""

    mariadb: int = 0
    elasticsearch: int = 0
    closely: int = 0


class _Comparison:
    """The three sides of one run, its folder for what does not fit into memory, and the steps of the proof."""

    def __init__(self, settings: Settings, schema: Schema, options: Options, progress: Progress) -> None:
        self._settings, self._schema, self._options, self._progress = settings, schema, options, progress
        self.window = Range(None, options.since, options.until)
        self.removed = removed_before(settings)
        self._columns = columns_of(schema)
        self._stack = ExitStack()

    def __enter__(self) -> _Comparison:
        with ExitStack() as stack:
            # The data's own disk where there is one: /tmp may be memory.
            home = self._settings.home if os.access(self._settings.home, os.W_OK) else None
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="verify-", dir=home)))
            self.topic = stack.enter_context(Topic(self._settings, self._schema, self._folder, self.window))
            self._mariadb = stack.enter_context(MariaDB(self._settings, self._schema))
            self._elasticsearch = stack.enter_context(Elasticsearch(self._settings, self._schema))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.close()

    def wait_for_all(self) -> tuple[Offsets, Offsets]:
        """The topic's bounds, once everything inside them can be found in both stores."""
        first, ends = self.topic.bounds()
        self.topic.wait_for_sinks(ends, self._options.wait, self._progress)
        self._elasticsearch.refresh()
        return first, ends

    def read_accepted(self) -> tuple[Sorter[Key] | None, list[str]]:
        if self._options.accepted is None:
            return None, []
        found: Sorter[Key] = Sorter(self._folder, tuple[int, int])
        notes = []
        try:
            with self._options.accepted.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):
                        notes.append(f"The last line of {self._options.accepted} has no end and was left out.")
                    elif self._inside(key := _accepted(line, self._options.accepted, number)):
                        found.add(key)
        except OSError as error:
            raise MareError(f"{self._options.accepted} can't be read ({error.strerror}): name another file.") from None
        return found, notes

    def differing_ranges(
        self, topic: Snapshot, accepted: Iterable[Key] | None, counted: Counted, notes: list[str]
    ) -> list[Range]:
        """Compares counts and sums of each sensor's hours; the stretches in which they differ."""
        self._progress("counts and sums by sensor and hour")
        differing = differing_hours(
            buckets_of(self._columns, topic.latest()),
            self._counting(self._mariadb.buckets(self.window), counted, "mariadb"),
            self._counting(self._elasticsearch.buckets(self.window), counted, "elasticsearch"),
            ((sensor_id, micros // HOUR) for sensor_id, micros in accepted or ()),
        )
        ranges: list[Range] = []
        for part in clip(differing, self.window):
            if len(ranges) < _RANGES:
                ranges.append(part)
            elif not notes or "stretches" not in notes[-1]:
                notes.append(f"More than {_RANGES:,} stretches differ: every reading was compared.")
        return ranges if len(ranges) < _RANGES else [self.window]

    def compare(
        self, topic: Snapshot, accepted: Iterable[Key] | None, ranges: list[Range], counted: Counted
    ) -> Spool[Candidate]:
        """Walks the sorted sides side by side; every identity that is not the same on all of them."""
        candidates: Spool[Candidate] = Spool(self._folder, Candidate)
        if not ranges:
            return candidates
        self._progress("reading by reading")
        sides = align(
            within(topic.latest(), ranges),
            self._mariadb.rows(ranges),
            self._elasticsearch.rows(ranges),
            within(accepted or (), ranges),
        )
        for (sensor_id, micros), (said, rows, documents, _) in sides:
            counted.closely += 1
            if self._options.exact:
                counted.mariadb += len(rows)
                counted.elasticsearch += len(documents)
            if counted.closely % _STEP == 0:
                self._progress(f"reading by reading: {counted.closely:,}, {len(candidates):,} to look at again")
            record = said[0] if said else None
            found = judge(self._columns, record, rows[0] if rows else None, documents)
            if found:
                candidates.append(Candidate(sensor_id, micros, found, record))
        return candidates

    def still_different(self, candidates: Spool[Candidate], ends: Offsets) -> Spool[Candidate]:
        """Those that differ in the same way once both sinks have passed the end offsets of now."""
        confirmed: Spool[Candidate] = Spool(self._folder, Candidate)
        for _ in range(_ROUNDS):
            if not len(candidates):
                return confirmed
            self._progress(f"{len(candidates):,} readings differ or were on their way: looking again")
            _, later = self.wait_for_all()
            tail = self.topic.read(ends, later, self.removed, self._progress)
            changed: Spool[Candidate] = Spool(self._folder, Candidate)
            for chunk in chunks(with_tail(candidates, tail.rows), _CHUNK):
                for before, now in self._look_again(chunk):
                    if now.differences:
                        (confirmed if now.differences == before else changed).append(now)
            candidates, ends = changed, later
        # Still differing, each time in another way: that is no agreement either.
        confirmed.extend(candidates)
        return confirmed

    def repair(self, differences: Iterable[Candidate]) -> Repairs:
        repair = Repair(self._columns, Decoder(self._schema), self.topic, self._mariadb, self._elasticsearch)
        return repair.run(differences, self._options.limit, self._progress)

    def report(
        self,
        topic: Snapshot,
        first: Offsets,
        ends: Offsets,
        accepted: Sorter[Key] | None,
        counted: Counted,
        differences: Spool[Candidate],
        repairs: Repairs | None,
        notes: list[str],
    ) -> Report:
        found = Differences(self._options.limit)
        lost_in_mariadb = 0
        for candidate in differences:
            found.add(candidate)
            absent = any(difference.kind is Kind.NOT_IN_MARIADB for difference in candidate.differences)
            lost_in_mariadb += absent and candidate.topic is not None
        readings = sum(1 for _ in topic.latest())
        unidentified, named = self._elasticsearch.unidentified(self._options.limit)
        return Report(
            exact=self._options.exact,
            since=self._options.since,
            until=self._options.until,
            topic=TopicPart(
                first_offsets=first,
                end_offsets=ends,
                oldest_record=milliseconds(topic.oldest_record),
                records=topic.records,
                readings=readings,
                repeated=len(topic.rows) - readings,
                outside_window=topic.outside,
                removed_demo=topic.removed_demo,
                refused=dict(topic.refused),
            ),
            mariadb=counted.mariadb,
            elasticsearch=counted.elasticsearch,
            not_in_topic=max(0, counted.mariadb - (readings - lost_in_mariadb)),
            looked_at_closely=counted.closely,
            differences=found,
            unidentified=unidentified,
            unidentified_named=named,
            sequence=self._sequence(differences),
            accepted=len(accepted) if accepted is not None else None,
            notes=notes,
            repairs=repairs,
        )

    def _look_again(self, chunk: list[Candidate]) -> Iterator[tuple[list[Difference], Candidate]]:
        rows = self._mariadb.lookup(candidate.key for candidate in chunk)
        documents = self._elasticsearch.lookup((candidate.key for candidate in chunk), ids_of(chunk))
        for candidate in chunk:
            stored = [one.document for one in documents.get(candidate.key, ())]
            found = judge(self._columns, candidate.topic, rows.get(candidate.key), stored)
            yield candidate.differences, Candidate(*candidate.key, found, candidate.topic)

    def _sequence(self, differences: Iterable[Candidate]) -> Sequence:
        """Gaps in the numbers that MariaDB has, together with those of the readings it lacks."""
        self._progress("sequence numbers")
        number = next((n for n, column in enumerate(self._columns) if column.name == "seq"), None)
        islands: Sorter[Island] = Sorter(self._folder, Island)
        for chunk in chunks(differences if number is not None else (), _CHUNK):
            stored = self._elasticsearch.lookup(candidate.key for candidate in chunk)
            for candidate in chunk:
                copies = [candidate.topic, *(one.document for one in stored.get(candidate.key, ()))]
                for copy in copies:
                    seq = copy.values[number] if copy is not None and number is not None else None
                    if isinstance(seq, int):
                        islands.add(Island(candidate.sensor_id, seq, seq))
        for island in self._mariadb.islands(self.window):
            islands.add(island)
        found = Sequence(self._options.limit)
        for gap in gaps(islands):
            found.add(gap)
        return found

    def _inside(self, key: Key) -> bool:
        since, until = self.window.since, self.window.until
        return (since is None or key[1] >= since) and (until is None or key[1] < until)

    def _counting(self, buckets: Iterable[Bucket], counted: Counted, side: str) -> Iterator[Bucket]:
        for number, bucket in enumerate(buckets, 1):
            setattr(counted, side, getattr(counted, side) + bucket.readings)
            if number % 10_000 == 0:
                self._progress(f"counts and sums: {number:,} sensor hours of {side}")
            yield bucket


def with_tail(candidates: Iterable[Candidate], tail: Iterable[TopicRow]) -> Iterator[Candidate]:
    """The candidates, each with the last record of it that the topic has by now."""
    keyed = ((candidate.sensor_id, candidate.micros, candidate) for candidate in candidates)
    for _, (found, newer) in align(keyed, latest(tail)):
        for _, _, candidate in found:
            if newer:
                candidate.topic = newer[-1]
            yield candidate


def _accepted(line: bytes, path: Path, number: int) -> Key:
    try:
        sensor_id, _, micros = line.split(b",")
        return int(sensor_id), int(micros)
    except ValueError:
        raise MareError(f"Line {number} of {path} is not sensor_id,seq,micros: name another file.") from None
