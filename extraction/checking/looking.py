"""Looks at single documents again: what the row makes now, what is stored now, and how they differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from extraction.checking.report import Difference, FieldDifference, Kind
from extraction.checking.stored import Stored, StoredDocuments
from extraction.checking.values import HASHED_ID, differing, key_of_id
from extraction.convert import Document, SetAside
from extraction.keys import Key, id_sql, key_expressions, key_of
from extraction.layout import Layout
from extraction.quoting import value
from extraction.rows import Documents
from extraction.selection import Select
from extraction.source import source_errors

_SHOWN = 200  # characters of a value

Place = tuple[str, str]  # index and `_id`


@dataclass(frozen=True)
class View:
    """A document as both sides have it now; `difference` is None where that is the same."""

    row: Document | None
    stored: Stored | None
    difference: Difference | None


class Looking:
    """Finds rows and documents by `_id`."""

    def __init__(self, layout: Layout, connection: MySQLConnectionAbstract, stored: StoredDocuments) -> None:
        self._layout, self._connection, self._stored = layout, connection, stored
        self._documents = Documents(layout)

    def at(self, places: Sequence[Place]) -> list[View]:
        """What is at these places, in their order."""
        names = list(dict.fromkeys(name for _, name in places))
        # Documents first: a row read later is not older than the document, so a repair never brings back the past.
        stored = {(one.index, one.id): one for one in self._stored.lookup(names)}
        keys = self._keys(names)
        rows: dict[Place, Document] = {}
        some_aside = False
        for made in self._documents.by_key(self._connection, list(keys.values())):
            if isinstance(made, Document):
                rows[made.index, made.id] = made
            else:
                some_aside = True
        aside = self._aside({name: keys[name] for _, name in places if name in keys}, rows) if some_aside else {}
        return [self._view(place, rows.get(place), stored.get(place), keys, aside) for place in places]

    def _view(
        self,
        place: Place,
        row: Document | None,
        stored: Stored | None,
        keys: dict[str, Key],
        aside: dict[str, str],
    ) -> View:
        index, name = place
        key = json.dumps(keys[name], ensure_ascii=False) if name in keys else None
        difference = None
        if row is not None and stored is not None:
            fields = [
                FieldDifference(one.field, _shown(one.source), _shown(one.target))
                for one in differing(self._layout, row.source, stored.source)
            ]
            if fields:
                difference = Difference(index, name, Kind.DIFFERS, key, fields)
        elif row is not None:
            difference = Difference(index, name, Kind.MISSING, key)
        elif stored is not None and name in aside:
            difference = Difference(index, name, Kind.SET_ASIDE, key, reason=aside[name])
        elif stored is not None:
            difference = Difference(index, name, Kind.EXTRA, key)
        return View(row, stored, difference)

    def _keys(self, names: Sequence[str]) -> dict[str, Key]:
        found = {name: key for name in names if (key := key_of_id(self._layout, name)) is not None}
        hashed = [name for name in names if name.startswith(HASHED_ID)]
        return {**found, **dict(self._hashed(hashed))} if hashed and not self._layout.readings else found

    def _hashed(self, names: Sequence[str]) -> Iterator[tuple[str, Key]]:
        """The keys of rows whose `_id`s are hashes: found by reading the whole key, since a hash leads nowhere."""
        wanted = ", ".join(map(value, names))
        columns = [id_sql(self._layout), *key_expressions(self._layout)]
        with source_errors(self._layout.job.source):
            cursor = self._connection.cursor(raw=True)
            cursor.execute(Select(self._layout).over(columns, f"{id_sql(self._layout)} IN ({wanted})"))
            rows: list[Any] = cursor.fetchall()
            cursor.close()
        for name, *raw in rows:
            yield bytes(name).decode(), key_of(self._layout, raw)

    def _aside(self, keys: dict[str, Key], rows: dict[Place, Document]) -> dict[str, str]:
        """By `_id`, why its row is set aside. One by one: keys can be written in more than one way."""
        made = {name for _, name in rows}
        found: dict[str, str] = {}
        for name, key in keys.items():
            if name not in made:
                for one in self._documents.by_key(self._connection, [key]):
                    if isinstance(one, SetAside):
                        found[name] = one.reason
        return found


def _shown(given: Any) -> str | None:
    return None if given is None else json.dumps(given, ensure_ascii=False, default=str)[:_SHOWN]
