"""A worker: a process of its own that reads one range after the other and writes its documents.

It has its own session on the source and its own connection to Elasticsearch, and gets the next range only after the
conductor has remembered that the last one is done.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import cast

import mysql.connector
from mysql.connector.abstracts import MySQLConnectionAbstract

from extraction.attempt import BODY_BYTES, Attempt
from extraction.bulk import BulkWriter
from extraction.checkpoint import Range, Tally
from extraction.layout import Layout
from extraction.rows import Documents
from extraction.source import open_source, query, source_errors
from extraction.stream import Streaming
from extraction.tasks import Abandoned, Assignment, Done, Flag, Opened, Progress
from maredata.errors import MareError, StoreError

_MOST_ROWS = 5_000  # fetched at once
_LOOK_SECONDS = 0.1  # between two looks at whether to stop
_LONGEST_WAIT = 30.0  # seconds between two attempts on the source
# What the server says of its own state or load, not of the query; client errors have numbers from 2000 on.
_PASSING = frozenset({-1, 1040, 1053, 1158, 1159, 1160, 1161, 1205, 1213, 1317, 1927, 1969})
_CLIENT_ERRORS = range(2000, 3000)


class Stopped(Exception):
    """The run was asked to end, or its conductor is gone."""


def passing(error: StoreError) -> bool:
    """Whether the source's trouble may be over by itself: it is away or overloaded; the query was not refused."""
    cause = error.__context__
    return isinstance(cause, mysql.connector.Error) and (cause.errno in _PASSING or cause.errno in _CLIENT_ERRORS)


def page_rows(layout: Layout) -> int:
    """How many rows are fetched at once, so that even the longest ones fit into memory."""
    longest = sum(column.octets + 32 for part in layout.fields for column in part.columns)
    return max(8, min(_MOST_ROWS, 2 * BODY_BYTES // max(longest, 1)))


class Pace:
    """Spreads rows over time. `wait` sleeps."""

    def __init__(self, rows_per_second: float | None, wait: Callable[[float], None]) -> None:
        self._rate = rows_per_second
        self._wait = wait
        self._free_at = time.monotonic()

    def take(self, rows: int) -> None:
        """Waits until what was taken before is paid for."""
        if self._rate is None:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + rows / self._rate
        self._wait(self._free_at - now)


class Worker:
    """Reads and writes ranges for the conductor at the other end of `pipe`."""

    def __init__(self, assignment: Assignment, pipe: Connection, stop: Flag, paused: Flag, conductor: int) -> None:
        self._given = assignment
        self._pipe = pipe
        self._stop, self._paused = stop, paused
        self._conductor = conductor
        self._telling = threading.Lock()
        self._documents = Documents(assignment.layout, assignment.where, assignment.since, assignment.until)
        self._pace = Pace(assignment.rows_per_second, lambda seconds: self._sleep(seconds, ""))
        self._page_rows = page_rows(assignment.layout)
        if assignment.rows_per_second is not None:
            self._page_rows = max(1, min(self._page_rows, int(assignment.rows_per_second / 4)))
        self._session: MySQLConnectionAbstract | None = None
        self._writer = BulkWriter(assignment.settings, self._sleep)

    def work(self) -> None:
        """Does what it is told until it is told None, or the conductor is gone."""
        while (given := self._pipe.recv()) is not None:
            try:
                tally, version = self._read(given)
            except Stopped:
                self._pipe.send(Abandoned())
            except MareError as error:
                self._pipe.send(Abandoned(str(error), error.exit_status))
            else:
                self._pipe.send(Done(tally, version, time.process_time()))

    def _read(self, given: Range) -> tuple[Tally, int | None]:
        """Reads the range from its beginning until it is done, whatever becomes of the source meanwhile."""
        wait = 0.5
        while True:
            attempt = Attempt(self._given, given, self._writer, self._report)
            try:
                return attempt.tally, self._attempt(given, attempt)
            except StoreError as error:
                self._report(Progress(rows=-attempt.reported, errors=-attempt.errors))
                if not passing(error):
                    raise
                self._forget_session()
                self._sleep(wait, f"waiting for the source: {error}")
                wait = min(2 * wait, _LONGEST_WAIT)
            except BaseException:
                self._forget_session()
                raise

    def _attempt(self, given: Range, attempt: Attempt) -> int | None:
        session = self._open_session()
        with source_errors(self._given.layout.job.source):
            query(session, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            # The snapshot's own: the log can be ahead of what a snapshot sees.
            version = self._given.version_of(session) if self._given.version_of else None
        streaming = cast(MySQLConnectionAbstract, Streaming(session))  # all of it that is used
        pages = self._documents.pages(streaming, given.part, version, self._page_rows)
        with contextlib.closing(pages), attempt:
            for page in pages:
                self._breathe()
                attempt.take(page)
                self._pace.take(page.counts.documents + page.counts.set_aside)
            attempt.flush()
        with source_errors(self._given.layout.job.source):
            query(session, "COMMIT")
        return version

    def _open_session(self) -> MySQLConnectionAbstract:
        if self._session is None:
            self._session = open_source(self._given.layout.job, self._given.settings)
            with source_errors(self._given.layout.job.source):
                # In any weaker one a snapshot is none.
                query(self._session, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                ((number,),) = query(self._session, "SELECT CONNECTION_ID()")
            self._report(Opened(int(number)))
        return self._session

    def _forget_session(self) -> None:
        if self._session is not None:
            with contextlib.suppress(mysql.connector.Error, OSError):
                self._session.close()
        self._session = None

    def _breathe(self) -> None:
        """Between two pages: ends where it was asked to, and waits while production is busy."""
        if self._stop.is_set() or os.getppid() != self._conductor:
            raise Stopped
        while self._paused.is_set():
            self._sleep(0.2, "paused: the source is busy")

    def _sleep(self, seconds: float, why: str) -> None:
        if why:
            self._report(Progress(waiting=why))
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._stop.is_set() or os.getppid() != self._conductor:
                raise Stopped
            time.sleep(min(left, _LOOK_SECONDS))

    def _report(self, news: Progress | Opened) -> None:
        try:
            with self._telling:  # what writes to Elasticsearch is a thread of its own
                self._pipe.send(news)
        except OSError:
            raise Stopped from None


def work(
    assignment: Assignment, pipe: Connection, others: list[Connection], stop: Flag, paused: Flag, conductor: int
) -> None:
    """A worker process's whole life. `others` are ends of pipes that are the conductor's alone."""
    for end in others:
        end.close()  # or it would never read that the conductor is gone
    # A terminal sends Ctrl-C to all of them; the conductor says what becomes of it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        Worker(assignment, pipe, stop, paused, conductor).work()
