"""`extract verify`: proves that a job's table and its documents hold the same, or names each row that differs.

Read `check` from top to bottom. First both sides are summed up, by ranges of the key and by days; ranges that differ
are halved until little is left of them. What is left is read from both sides, as fingerprints of documents, sorted
on disk and walked side by side. Rows change meanwhile, and no side is frozen: a difference counts only if it is there
when the row and the document are looked at again, and once more after a while.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from mysql.connector.abstracts import MySQLConnectionAbstract

from extraction.capture import setup, state
from extraction.checking.looking import Looking
from extraction.checking.mending import mend
from extraction.checking.parts import Window
from extraction.checking.report import CheckReport, Compared, Difference, Found, Kind, Mended
from extraction.checking.stored import StoredDocuments
from extraction.checking.summing import Summing, Suspects
from extraction.checking.values import Digests
from extraction.compare import align
from extraction.job import Deletes, Job
from extraction.keys import KeyRange, ranges
from extraction.layout import Layout, open_layout
from extraction.rows import Documents, document_of
from extraction.source import open_source, query, source_errors
from extraction.spool import Sorter, Spool, chunks
from extraction.tasks import VersionOf
from maredata.settings import Settings

_CHUNK = 500  # documents that are looked at again at once
_GROUPS = 100  # of one query
_ROUNDS = 3  # how often a difference that keeps changing is looked at again
_PAGE = 2_000  # rows
_RUN = 100_000  # fingerprints that are sorted in memory, of each side
_STEP = 50_000  # rows between two words of progress

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What is asked of `extract verify`; `since` and `until` (excluded) are microseconds since 1970 UTC.

    `wait`: seconds after which a difference is looked at once more before it counts. `limit`: named in the report.
    """

    since: int | None = None
    until: int | None = None
    exact: bool = False
    repair: bool = False
    delete_extra: bool = False
    wait: float = 5.0
    limit: int = 1_000


class _Item(NamedTuple):
    """A document's place and fingerprint."""

    stored_in: str
    id: str
    digest: bytes


def check(job: Job, settings: Settings, options: Options, progress: Progress) -> CheckReport:
    """Compares the job's table with its documents, and repairs these where that is asked for.

    Raises:
        JobError: the job does not fit its table, or has no time to compare `since` and `until` with.
        StoreError: a side did not answer; the sentence names it.
    """
    with _Comparison(job, settings, options, progress) as sides:
        suspects = Suspects(everything=True) if options.exact else sides.sums()
        candidates = sides.compare(suspects)
        differences = sides.still_different(candidates, options.wait)
        mended = None
        if options.repair and len(differences):
            mended = sides.repair(differences)
            differences = sides.still_different(((one.index, one.id) for one in differences), 0)
        return sides.report(suspects, differences, mended)


class _Comparison:
    """Both sides of one run, its folder for what does not fit into memory, and the steps of the proof."""

    def __init__(self, job: Job, settings: Settings, options: Options, progress: Progress) -> None:
        self._job, self._settings, self._options, self._progress = job, settings, options, progress
        self._compared = Compared(exact=options.exact)
        self._stack = ExitStack()

    def __enter__(self) -> _Comparison:
        with ExitStack() as stack:
            # The data's own disk where there is one: /tmp may be memory.
            home = self._settings.home if os.access(self._settings.home, os.W_OK) else None
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="verify-", dir=home)))
            self._connection: MySQLConnectionAbstract = open_source(self._job, self._settings)
            stack.callback(self._connection.close)
            self._layout: Layout = open_layout(self._job, self._connection, self._settings)
            self._stored = stack.enter_context(StoredDocuments(self._settings, self._layout))
            self._types = self._stored.types()
            self._stored.refresh()
            self._stack = stack.pop_all()
        self._window = Window(self._layout, self._since(), self._options.until)
        self._documents = Documents(self._layout, None, self._window.since, self._window.until)
        self._aside: Sorter[tuple[str, str]] = Sorter(self._folder, tuple[str, str])
        self._looking = Looking(self._layout, self._connection, self._stored)
        captured = state.active(self._settings, self._job.name) is not None
        self._keeps = captured and self._job.target.deletes is Deletes.KEEP
        self._kept = Found(self._options.limit)
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.close()

    def sums(self) -> Suspects:
        """The parts in which sums differ."""
        summing = Summing(self._layout, self._connection, self._stored, self._types, self._window, self._progress)
        return summing.suspects(self._compared)

    def compare(self, suspects: Suspects) -> Spool[tuple[str, str]]:
        """Reads the suspected parts of both sides; index and `_id` of every document that is not the same on both."""
        candidates: Spool[tuple[str, str]] = Spool(self._folder, tuple[str, str])
        ours = Sorter(self._folder, _Item, _RUN)
        theirs = Sorter(self._folder, _Item, _RUN)
        digests = Digests(self._layout)
        known: dict[str, str] = {}
        for line in self._lines(suspects):
            document = document_of(line)
            index = known.setdefault(document.index, document.index)
            ours.add(_Item(index, document.id, digests.of(document.source)))
            if len(ours) % _STEP == 0:
                self._progress(f"row by row: {len(ours):,} rows read")
        self._progress(f"row by row: {len(ours):,} rows read, now the documents")
        for stored in self._stored.documents(self._queries(suspects)):
            index = known.setdefault(stored.index, stored.index)
            theirs.add(_Item(index, stored.id, digests.of(stored.source)))
            if len(theirs) % _STEP == 0:
                self._progress(f"row by row: {len(theirs):,} of {len(ours):,} documents read")
        self._compared.closely(len(ours), len(theirs), suspects.everything)
        for _, (mine, others) in align(ours, theirs):
            if {item.digest for item in mine} != {item.digest for item in others}:
                item = (mine or others)[0]
                candidates.append((item.stored_in, item.id))
        return candidates

    def still_different(self, candidates: Iterable[tuple[str, str]], wait: float) -> Spool[Difference]:
        """Those that differ, and do so in the same way `wait` seconds later."""
        found: Spool[Difference] = Spool(self._folder, Difference)
        found.extend(self._look(candidates))
        confirmed: Spool[Difference] = Spool(self._folder, Difference)
        if not wait:
            return found
        for _ in range(_ROUNDS):
            if not len(found):
                return confirmed
            self._progress(f"{len(found):,} documents differ or are on their way: looking again in {wait:g} s")
            time.sleep(wait)
            changed: Spool[Difference] = Spool(self._folder, Difference)
            for before, now in self._look_again(found):
                (confirmed if now == before else changed).append(now)
            found = changed
        # Still differing, each time in another way: that is no agreement either.
        confirmed.extend(found)
        return confirmed

    def repair(self, differences: Iterable[Difference]) -> Mended:
        """Writes what is missing or differs; deletes what is extra only where that was asked for."""
        mended = Mended(self._options.limit, self._options.delete_extra)
        version_of = None if self._layout.readings else setup.version_of(self._job, self._settings)
        for chunk in chunks(differences, _CHUNK):
            with self._snapshot(version_of) as version:
                # What was found may have been mended by somebody else since.
                views = self._looking.at([(one.index, one.id) for one in chunk])
            mend(self._layout, self._settings, self._stored, views, mended, self._progress, version)
        return mended

    def report(self, suspects: Suspects, differences: Iterable[Difference], mended: Mended | None) -> CheckReport:
        found = Found(self._options.limit)
        for one in differences:
            found.add(one)
        aside = Found(self._options.limit)
        for key, reasons in groupby(self._aside, lambda row: row[0]):
            aside.add(Difference("", key, Kind.SET_ASIDE, reason=next(iter(reasons))[1]))
        return CheckReport(
            job=self._job.name,
            table=f"{self._layout.table.database}.{self._layout.table.name}",
            target=self._stored.pattern,
            since=self._options.since,
            until=self._options.until,
            purged_before=self._purged_before(),
            compared=self._compared,
            differences=found,
            set_aside=aside,
            kept=self._kept,
            mended=mended,
            notes=suspects.notes,
        )

    def _lines(self, suspects: Suspects) -> Iterator[bytes]:
        """The rows of the parts, as documents."""
        if suspects.everything:
            with source_errors(self._job.source):
                for part in ranges(self._connection, self._layout):
                    yield from self._pages(self._documents, part)
            return
        for part in suspects.ranges:
            yield from self._pages(self._documents, part)
        if suspects.days is not None:
            for groups in chunks(suspects.groups, _GROUPS):
                where = suspects.days.condition(groups)
                narrowed = Documents(self._layout, where, self._window.since, self._window.until)
                yield from self._pages(narrowed, KeyRange())

    def _pages(self, documents: Documents, part: KeyRange) -> Iterator[bytes]:
        for page in documents.pages(self._connection, part, size=_PAGE):
            for row in page.set_aside:
                self._aside.add((json.dumps(row.key), row.reason))
            yield from page.lines

    def _queries(self, suspects: Suspects) -> Iterator[dict[str, Any]]:
        """The same parts, for Elasticsearch."""
        inside = self._window.query()
        if suspects.everything:
            yield {"bool": {"filter": inside}}
            return
        if suspects.walk is not None:
            for part in suspects.ranges:
                yield {"bool": {"filter": [*inside, suspects.walk.query(part)]}}
            if suspects.strays:
                yield {"bool": {"filter": [*inside, suspects.walk.strays()]}}
        if suspects.days is not None:
            for groups in chunks(suspects.groups, _GROUPS):
                yield {"bool": {"filter": [*inside, suspects.days.query(groups)]}}

    def _look(self, candidates: Iterable[tuple[str, str]]) -> Iterator[Difference]:
        self._stored.refresh()
        for chunk in chunks(candidates, _CHUNK):
            for view in self._looking.at(chunk):
                if view.difference is None:
                    continue
                if self._keeps and view.difference.kind is Kind.EXTRA:
                    self._keep(view.difference)
                else:
                    yield view.difference

    def _look_again(self, differences: Iterable[Difference]) -> Iterator[tuple[Difference, Difference]]:
        self._stored.refresh()
        for chunk in chunks(differences, _CHUNK):
            views = self._looking.at([(one.index, one.id) for one in chunk])
            for before, view in zip(chunk, views, strict=True):
                if view.difference is None:
                    continue
                if self._keeps and view.difference.kind is Kind.EXTRA:
                    self._keep(view.difference)
                else:
                    yield before, view.difference

    def _keep(self, one: Difference) -> None:
        """A document whose row was deleted: such are kept, and no difference."""
        self._kept.add(Difference(one.index, one.id, Kind.KEPT, one.key))

    @contextmanager
    def _snapshot(self, version_of: VersionOf | None) -> Iterator[int | None]:
        """Rows as they were at one place in the binary log, with their version; without capture, as they are."""
        if version_of is None:
            yield None
            return
        with source_errors(self._job.source):
            query(self._connection, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            query(self._connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            version = version_of(self._connection)
        yield version
        with source_errors(self._job.source):
            query(self._connection, "COMMIT")

    def _since(self) -> int | None:
        """Rows before it are left out on both sides: where both are set, the later of the two."""
        return max((one for one in (self._options.since, self._purged_before()) if one is not None), default=None)

    def _purged_before(self) -> int | None:
        purged = self._job.target.purged_before
        if purged is None:
            return None
        return round(purged.replace(microsecond=0).timestamp()) * 1_000_000 + purged.microsecond
