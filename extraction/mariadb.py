"""The second side: MariaDB's table `readings`.

The server builds each row as one JSON array, since the client reads one column three times faster than ten.
"""

# ruff: noqa: S608  # the names in these queries come from the schema, which checks them; values are bound

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from types import TracebackType
from typing import Any

import msgspec
import mysql.connector

from extraction.compare import HOUR, Bucket, Column, Island, Key, Range, StoreRow, Values, columns_of, sum_error
from extraction.spool import chunks
from maredata.errors import StoreError
from maredata.names import READINGS
from maredata.schema import FieldType, Schema
from maredata.settings import Settings
from maredata.stores import connect_mariadb
from maredata.timestamps import format_timestamp

_PAGE = 20_000  # rows of one query
_RANGES = 100  # ranges of one query
_INSERTED = 500  # rows of one statement
_MICROS = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', `timestamp`)"
_KINDS: dict[FieldType, Any] = {
    FieldType.NUMBER: float | None,
    FieldType.INTEGER: int | None,
    FieldType.TEXT: str | None,
}

Condition = tuple[str, list[Any]]  # SQL with its parameters
Refusal = Callable[[Key, str], None]


class MariaDB:
    """Reads in pages by primary key: no snapshot is held open, whatever the table's size."""

    def __init__(self, settings: Settings, schema: Schema) -> None:
        self._settings = settings
        self._columns = columns_of(schema)
        self._has_seq = any(c.name == "seq" and c.kind is FieldType.INTEGER for c in self._columns)
        kinds = tuple(_KINDS[column.kind] for column in self._columns)
        row: Any = tuple.__class_getitem__((int, int, *kinds))
        self._decode_rows: Callable[[bytes], list[Any]] = msgspec.json.Decoder(list[row]).decode
        self._decode: Callable[[Any], Any] = msgspec.json.Decoder().decode
        with self._errors():
            self._connection = connect_mariadb(settings)
            # A grouped result is read slowly while the other sides are read beside it.
            self._execute("SET SESSION net_write_timeout = 3600")

    def __enter__(self) -> MariaDB:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def rows(self, ranges: Sequence[Range]) -> Iterator[StoreRow]:
        """The rows in these sorted ranges, sorted by identity."""
        for some in chunks(ranges, _RANGES):
            where, parameters = _any_of([_in_range(part) for part in some])
            after: Condition | None = None
            while True:
                sql, bound = _all_of([(where, parameters), *([after] if after else [])])
                page = self._rows(
                    f"FORCE INDEX (PRIMARY) WHERE {sql} ORDER BY `sensor_id`, `timestamp` LIMIT {_PAGE}", bound
                )
                yield from page
                if len(page) < _PAGE:
                    break
                sensor_id, instant = page[-1].sensor_id, format_timestamp(page[-1].micros)
                after = (
                    "(`sensor_id` > %s OR `sensor_id` = %s AND `timestamp` > %s)",
                    [sensor_id, sensor_id, instant],
                )

    def lookup(self, keys: Iterable[Key]) -> dict[Key, StoreRow]:
        """Those of the identities that are there."""
        found: dict[Key, StoreRow] = {}
        for some in chunks(sorted(set(keys)), 1_000):
            conditions: list[Condition] = []
            for sensor_id, group in groupby(some, lambda key: key[0]):
                instants = [format_timestamp(micros) for _, micros in group]
                marks = ",".join(["%s"] * len(instants))
                conditions.append((f"`sensor_id` = %s AND `timestamp` IN ({marks})", [sensor_id, *instants]))
            sql, bound = _any_of(conditions)
            found.update(((row.sensor_id, row.micros), row) for row in self._rows(f"WHERE {sql}", bound))
        return found

    def buckets(self, window: Range) -> Iterator[Bucket]:
        """Counts and sums of each sensor's hours, sorted."""
        members = ["`sensor_id`", f"{_MICROS} DIV {HOUR}", "COUNT(*)"]
        for column in self._columns:
            # Integers are summed as doubles too, as Elasticsearch does.
            number = f"({column.sql} + 0e0)" if column.kind is not FieldType.TEXT else "0e0"
            members += [f"COUNT({column.sql})", f"IFNULL(SUM({number}), 0)", f"IFNULL(SUM(ABS({number})), 0)"]
        where, bound = _in_range(window)
        with self._errors():
            cursor = self._connection.cursor(raw=True)
            cursor.execute(
                f"SELECT {_array(members)} FROM `{READINGS}` WHERE {where}"
                f" GROUP BY {members[0]}, {members[1]} ORDER BY {members[0]}, {members[1]}",
                bound,
            )
            while page := cursor.fetchmany(1_000):
                for (line,) in page:
                    yield _bucket(self._decode(line))
            cursor.close()

    def islands(self, window: Range) -> Iterator[Island]:
        """Each sensor's runs of consecutive `seq`, sorted."""
        if not self._has_seq:
            return
        for (sensor_id,) in self._execute(f"SELECT DISTINCT `sensor_id` FROM `{READINGS}` ORDER BY `sensor_id`"):
            where, bound = _in_range(window._replace(sensor_id=sensor_id))
            sql = (
                "SELECT MIN(`seq`), MAX(`seq`) FROM"
                " (SELECT `seq`, `seq` - DENSE_RANK() OVER (ORDER BY `seq`) AS `island`"
                f" FROM `{READINGS}` WHERE {where} AND `seq` IS NOT NULL) AS `ranked`"
                " GROUP BY `island` ORDER BY 1"
            )
            for first, last in self._execute(sql, bound):
                yield Island(sensor_id, first, last)

    def insert(self, rows: Sequence[StoreRow], refused: Refusal) -> int:
        """Adds the rows that are not there; how many it added. One that MariaDB refuses is named to `refused`."""
        names = ["`sensor_id`", "`timestamp`", *(column.sql for column in self._columns)]
        marks = f"({', '.join(['%s'] * len(names))})"
        added = 0
        for some in chunks(rows, _INSERTED):
            head = f"INSERT INTO `{READINGS}` ({', '.join(names)}) VALUES "
            # A reading that arrived in the meantime stays as it is; other errors are not hidden.
            tail = " ON DUPLICATE KEY UPDATE `sensor_id` = `sensor_id`"
            bound = [[row.sensor_id, format_timestamp(row.micros), *row.values] for row in some]
            try:
                added += self._change(head + ", ".join([marks] * len(some)) + tail, [v for row in bound for v in row])
            except mysql.connector.DatabaseError:
                # One by one, to name the row that MariaDB refuses, or to get past the sink's locks.
                for row, given in zip(some, bound, strict=True):
                    added += self._write(head + marks + tail, given, row[:2], refused)
        return added

    def fill(self, key: Key, values: Values, refused: Refusal) -> int:
        """Sets columns that are NULL to the values given, where they are not None; 1 if that changed the row."""
        given = [(column.sql, value) for column, value in zip(self._columns, values, strict=True) if value is not None]
        changes = ", ".join(f"{name} = IFNULL({name}, %s)" for name, _ in given)
        sql = f"UPDATE `{READINGS}` SET {changes} WHERE `sensor_id` = %s AND `timestamp` = %s"
        return self._write(sql, [*(value for _, value in given), key[0], format_timestamp(key[1])], key, refused)

    def delete_from(self, first_sensor_id: int) -> int:
        """Deletes the readings of this sensor and those above it, in portions that lock nobody out for long."""
        deleted = 0
        with self._errors():
            cursor = self._connection.cursor()
            while True:
                cursor.execute(f"DELETE FROM `{READINGS}` WHERE `sensor_id` >= %s LIMIT 10000", (first_sensor_id,))
                if cursor.rowcount <= 0:
                    cursor.close()
                    return deleted
                deleted += cursor.rowcount

    def _rows(self, rest: str, bound: Sequence[Any]) -> list[StoreRow]:
        members = ["`sensor_id`", _MICROS, *(_json(column) for column in self._columns)]
        lines = self._execute(f"SELECT {_array(members)} FROM `{READINGS}` {rest}", bound, raw=True)
        rows = self._decode_rows(b"[" + b",".join(line for (line,) in lines) + b"]")
        return [StoreRow(row[0], row[1], row[2:]) for row in rows]

    def _execute(self, sql: str, bound: Sequence[Any] = (), raw: bool = False) -> list[Any]:
        with self._errors():
            cursor = self._connection.cursor(raw=raw)
            cursor.execute(sql, bound)
            found = cursor.fetchall() if cursor.description else []
            cursor.close()
        return found

    def _write(self, sql: str, bound: Sequence[Any], key: Key, refused: Refusal) -> int:
        with self._errors():
            try:
                return self._change(sql, bound)
            except mysql.connector.DataError as error:
                refused(key, f"MariaDB: {error.msg}")
                return 0

    def _change(self, sql: str, bound: Sequence[Any]) -> int:
        cursor = self._connection.cursor()
        try:
            cursor.execute(sql, bound)
            return max(0, cursor.rowcount)
        finally:
            cursor.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except mysql.connector.ProgrammingError as error:
            raise StoreError(f"MariaDB refused a query ({error.msg}): run `mare apply`, then try again.") from None
        except mysql.connector.Error as error:
            chosen = self._settings.mariadb
            raise StoreError(
                f"MariaDB at {chosen.host}:{chosen.port} could not be asked ({error.msg}):"
                " look at `mare status`, and start it with `mare up`."
            ) from None


def _json(column: Column) -> str:
    return (
        f"IFNULL(JSON_QUOTE({column.sql}), 'null')"
        if column.kind is FieldType.TEXT
        else f"IFNULL({column.sql}, 'null')"
    )


def _array(members: Sequence[str]) -> str:
    return "CONCAT('[', " + ", ',', ".join(members) + ", ']')"


def _bucket(members: list[Any]) -> Bucket:
    sensor_id, hour, count, *rest = members
    counts, sums, sizes = rest[::3], rest[1::3], rest[2::3]
    errors = tuple(sum_error(number, size) for number, size in zip(counts, sizes, strict=True))
    return Bucket(sensor_id, hour, count, tuple(counts), tuple(map(float, sums)), errors)


def _in_range(part: Range) -> Condition:
    conditions: list[Condition] = [("TRUE", [])]
    if part.sensor_id is not None:
        conditions.append(("`sensor_id` = %s", [part.sensor_id]))
    if part.since is not None:
        conditions.append(("`timestamp` >= %s", [format_timestamp(part.since)]))
    if part.until is not None:
        conditions.append(("`timestamp` < %s", [format_timestamp(part.until)]))
    return _all_of(conditions)


def _all_of(conditions: Sequence[Condition]) -> Condition:
    return " AND ".join(f"({sql})" for sql, _ in conditions), [value for _, bound in conditions for value in bound]


def _any_of(conditions: Sequence[Condition]) -> Condition:
    return " OR ".join(f"({sql})" for sql, _ in conditions), [value for _, bound in conditions for value in bound]
