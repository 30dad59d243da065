"""One reading of a range: its documents go to Elasticsearch, what is not taken into a file of the range's own."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import msgspec

from extraction.bulk import BulkWriter, Dead, Outcome
from extraction.checkpoint import Range, Tally
from extraction.convert import SetAside
from extraction.layout import Layout
from extraction.rows import Page, document_of
from extraction.tasks import Assignment, Progress

BODY_BYTES = 4 << 20  # of a bulk request; two of a worker's are in memory at once
_DIGITS = re.compile(r"[0-9]+")


@dataclass
class Attempt:
    """One reading of a range: what was read and not yet written, what became of the rest, and the dead ones' file.

    While one body is on its way to Elasticsearch, the next is read.
    """

    given: Assignment
    range: Range
    writer: BulkWriter
    report: Callable[[Progress], None]
    tally: Tally = field(default_factory=Tally)
    reported: int = 0
    errors: int = 0

    def __enter__(self) -> None:
        self._sender = ThreadPoolExecutor(1)
        self._lines: list[bytes] = []
        self._bytes = 0
        self._under_way: Future[Outcome] | None = None
        self._dead: BinaryIO | None = None
        # Of an attempt before this one.
        self.given.files.dead_of(self.range.number).unlink(missing_ok=True)

    def __exit__(self, *_: object) -> None:
        self._sender.shutdown()
        if self._dead is not None:
            self._dead.close()

    def take(self, page: Page) -> None:
        counts, tally = page.counts, self.tally
        read = counts.documents + counts.set_aside
        tally.rows += read
        tally.zero_dates += counts.zero_dates
        tally.ambiguous_times += counts.ambiguous_times
        tally.nonexistent_times += counts.nonexistent_times
        tally.set_aside += counts.set_aside
        for row in page.set_aside:
            tally.blame(alike(row.reason))
            self._bury(set_aside_line(self.given.layout, row))
        for lines, size in cut(page.lines, BODY_BYTES):
            if self._bytes + size > BODY_BYTES:
                self._send()
            self._lines += lines
            self._bytes += size
        self._tell(read, counts.set_aside)

    def flush(self) -> None:
        """Returns once everything that was taken is settled, and the file of dead rows is on disk."""
        self._send()
        self._settle()
        if self._dead is not None:
            self._dead.flush()
            os.fsync(self._dead.fileno())

    def _send(self) -> None:
        self._settle()
        if not self._lines:
            return
        if self.given.write:
            self._under_way = self._sender.submit(self.writer.send, self._lines)
        self._lines, self._bytes = [], 0

    def _settle(self) -> None:
        if self._under_way is None:
            return
        outcome, self._under_way = self._under_way.result(), None
        tally = self.tally
        tally.written += outcome.written
        tally.existing += outcome.existing
        tally.newer += outcome.newer
        tally.dead += len(outcome.dead)
        for dead in outcome.dead:
            tally.blame(alike(f"{dead.type}: {dead.reason}"))
            self._bury(dead_line(self.given.layout, dead))
        self._tell(0, len(outcome.dead))

    def _tell(self, rows: int, errors: int) -> None:
        self.reported += rows
        self.errors += errors
        self.report(Progress(rows, errors))

    def _bury(self, line: bytes) -> None:
        if not self.given.write:
            return
        if self._dead is None:
            self._dead = self.given.files.dead_of(self.range.number).open("wb")
        self._dead.write(line + b"\n")


def cut(lines: list[bytes], limit: int) -> Iterator[tuple[list[bytes], int]]:
    """The lines in parts of at most so many bytes, with the bytes of each; a longer line is a part of its own."""
    size = sum(map(len, lines)) + len(lines)
    if size <= limit:
        yield lines, size
        return
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and size + len(line) + 1 > limit:
            yield part, size
            part, size = [], 0
        part.append(line)
        size += len(line) + 1
    yield part, size


def alike(reason: str) -> str:
    """A reason without the values in it, so that there are few different ones."""
    text = reason.split(" in document with id ", maxsplit=1)[0]
    return _DIGITS.sub("#", text)[:200]


def set_aside_line(layout: Layout, row: SetAside) -> bytes:
    return msgspec.json.encode({"job": layout.job.name, "key": row.key, "reason": row.reason})


def dead_line(layout: Layout, dead: Dead) -> bytes:
    found = document_of(dead.line)
    content: dict[str, Any] = {"job": layout.job.name, "_index": found.index, "_id": found.id}
    content |= {"status": dead.status, "type": dead.type, "reason": dead.reason}
    try:
        msgspec.json.decode(found.source)
        content["document"] = msgspec.Raw(found.source)
    except msgspec.DecodeError:
        content["document_text"] = found.source.decode(errors="replace")
    return msgspec.json.encode(content)
