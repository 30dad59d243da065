"""Reads ranges of rows as documents: nearly all as the server writes them, the odd ones by way of Python."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from mysql.connector.abstracts import MySQLConnectionAbstract

from extraction.convert import Converter, Counts, Document, SetAside
from extraction.keys import Key, KeyRange, keys_condition, range_condition
from extraction.layout import Layout
from extraction.selection import BY_PYTHON, ZERO, Select
from extraction.source import source_errors
from extraction.spool import chunks

_OBJECT = ord("{")
_BY_PYTHON = BY_PYTHON[0]
_KEYS = 500  # of one query
_STEP = 250  # rows that are taken off the wire at once
_PAGE_BYTES = 8 << 20


@dataclass
class Page:
    """Some rows of a range. `lines` are a bulk request's, an action and a document in each, without the last break."""

    lines: list[bytes] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)

    @property
    def body(self) -> bytes:
        """What `_bulk` takes."""
        return b"\n".join([*self.lines, b""])


class Documents:
    """Reads a layout's rows as documents. `where` and the instants narrow them as in `Select`."""

    def __init__(
        self, layout: Layout, where: str | None = None, since: int | None = None, until: int | None = None
    ) -> None:
        self._layout = layout
        self._select = Select(layout, where, since, until)
        self._converter = Converter(layout)

    def sql(self, part: KeyRange, version: int | None = None) -> str:
        """The SELECT of a range."""
        return self._select.sql(part, version)

    def pages(
        self, connection: MySQLConnectionAbstract, part: KeyRange, version: int | None = None, size: int = 5_000
    ) -> Generator[Page, None, None]:
        """The rows of a range, at most about `size` or 8 MB a page, as the session's transaction sees them.

        `version`, where given, becomes the documents' external version (`external_gte`). The odd rows come last.
        A reader that stops early closes the session. Raises StoreError.
        """
        with source_errors(self._layout.job.source):
            if self._layout.job.path == "python":
                yield from self._converted(connection, range_condition(self._layout, part), version, size)
                return
            odd: list[Key] = []
            for rows in _fetched(connection, self._select.sql(part, version), size):
                page = Page(counts=Counts(documents=len(rows)))
                page.lines = [line if line[0] == _OBJECT else self._unusual(line, page, odd) for (line,) in rows]
                if page.counts.documents < len(rows):
                    page.lines = [line for line in page.lines if line]
                yield page
            for keys in chunks(odd, _KEYS):
                yield from self._converted(connection, keys_condition(self._layout, keys), version, size)

    def by_key(self, connection: MySQLConnectionAbstract, keys: Sequence[Key]) -> Iterator[Document | SetAside]:
        """The documents of the rows with these keys, by way of Python, in no order."""
        with source_errors(self._layout.job.source):
            for some in chunks(keys, _KEYS):
                sql = self._select.over(self._converter.expressions, keys_condition(self._layout, some))
                for rows in _fetched(connection, sql, _KEYS):
                    yield from (self._converter.convert(row, Counts()) for row in rows)

    def _unusual(self, line: bytes, page: Page, odd: list[Key]) -> bytes:
        """The line without its marks, counted; empty where Python has to write it, whose key is then in `odd`."""
        if line[0] == _BY_PYTHON:
            odd.append(tuple(json.loads(line[1:])))
            page.counts.documents -= 1
            return b""
        plain = line.lstrip(ZERO)
        page.counts.zero_dates += len(line) - len(plain)
        return plain

    def _converted(
        self, connection: MySQLConnectionAbstract, condition: str, version: int | None, size: int
    ) -> Iterator[Page]:
        for rows in _fetched(connection, self._select.over(self._converter.expressions, condition), size):
            page = Page()
            for row in rows:
                made = self._converter.convert(row, page.counts)
                if isinstance(made, SetAside):
                    page.set_aside.append(made)
                else:
                    page.lines.append(self._line(made, version))
            yield page

    def _line(self, document: Document, version: int | None) -> bytes:
        about: dict[str, Any] = {"_index": document.index, "_id": document.id}
        if version is not None:
            about |= {"version": version, "version_type": "external_gte"}
        action = {"create" if self._layout.readings else "index": about}
        return msgspec.json.encode(action) + b"\n" + document.source


def document_of(line: bytes) -> Document:
    """What an item of `Page.lines` says."""
    action, _, source = line.partition(b"\n")
    (about,) = msgspec.json.decode(action).values()
    return Document(about["_id"], about["_index"], bytes(source))


def _fetched(connection: MySQLConnectionAbstract, sql: str, size: int) -> Iterator[list[Any]]:
    """Raw rows in portions, as they come over the wire: never more than one portion is in memory."""
    rows: list[Any] = []
    octets = 0
    with _raw_cursor(connection) as cursor:
        cursor.execute(sql)
        while some := cursor.fetchmany(min(size, _STEP)):
            rows += some
            octets += sum(len(value) for row in some for value in row if value)
            if len(rows) >= size or octets >= _PAGE_BYTES:
                yield rows
                rows, octets = [], 0
        if rows:
            yield rows


@contextmanager
def _raw_cursor(connection: MySQLConnectionAbstract) -> Iterator[Any]:
    cursor = connection.cursor(raw=True)
    try:
        yield cursor
    except BaseException:
        # Rows that nobody has read are still on the wire.
        connection.close()
        raise
    cursor.close()
