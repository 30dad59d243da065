"""Cuts the table into ranges, one when it is asked for, and looks at how busy the source is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import mysql.connector
from mysql.connector.abstracts import MySQLConnectionAbstract

from extraction.keys import Key, KeyRange, bounds, ranges
from extraction.layout import Layout
from extraction.source import open_source, query, source_errors
from extraction.worker import passing
from maredata.errors import StoreError
from maredata.settings import Settings

T = TypeVar("T")
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds


class Away(Exception):
    """The source can't be asked now; the text says why."""


class Walker:
    """The conductor's own session on the source. Raises StoreError for what does not pass by itself."""

    def __init__(self, layout: Layout, settings: Settings, range_rows: int) -> None:
        self._layout, self._settings = layout, settings
        self._rows = range_rows
        self._session: MySQLConnectionAbstract | None = None
        self._not_before = 0.0
        self._wait = _FIRST_WAIT
        self._trouble = ""

    def close(self) -> None:
        if self._session is not None:
            with contextlib.suppress(mysql.connector.Error, OSError):
                self._session.close()
        self._session = None

    def after(self, key: Key | None) -> KeyRange | None:
        """The range that follows on `key`; None where there is no row.

        The last range ends with the last key that there is now: what comes after it belongs to the next run.
        Raises Away, after which it can be asked again at once: it tries no more often than is good for the source.
        """
        return self._asking(lambda session: self._walk(session, key))

    def threads_running(self, ours: Sequence[int]) -> int:
        """How many of the source's threads are at work, without this session and those of `ours`. Raises Away."""
        return self._asking(lambda session: self._others(session, ours))

    def _others(self, session: MySQLConnectionAbstract, ours: Sequence[int]) -> int:
        ((_, running),) = query(session, "SHOW GLOBAL STATUS LIKE 'Threads_running'")
        numbers = ", ".join(map(str, ours)) or "0"
        # One's own sessions are seen without any privilege.
        sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE command <> 'Sleep' AND id IN"
        ((own,),) = query(session, f"{sql} ({numbers})")
        return int(running) - 1 - int(own)

    def _walk(self, session: MySQLConnectionAbstract, key: Key | None) -> KeyRange | None:
        # One view of the table, or the last range could be longer than it seemed.
        query(session, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        try:
            part = next(ranges(session, self._layout, key, self._rows))
            if part.upto is not None:
                return part
            if next(ranges(session, self._layout, key, 1)).upto is None:
                return None
            ends = bounds(session, self._layout)
            return KeyRange(key, ends[1]) if ends else None
        finally:
            query(session, "COMMIT")

    def _asking(self, ask: Callable[[MySQLConnectionAbstract], T]) -> T:
        if time.monotonic() < self._not_before:
            raise Away(self._trouble)
        try:
            if self._session is None:
                self._session = open_source(self._layout.job, self._settings)
                with source_errors(self._layout.job.source):
                    query(self._session, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            with source_errors(self._layout.job.source):
                answer = ask(self._session)
        except StoreError as error:
            self.close()
            if not passing(error):
                raise
            self._not_before = time.monotonic() + self._wait
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
            self._trouble = f"waiting for the source: {error}"
            raise Away(self._trouble) from None
        self._wait = _FIRST_WAIT
        return answer
