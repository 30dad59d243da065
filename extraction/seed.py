"""`mare seed-history`: past readings of emulated buoys, made by the server itself, for trying extraction on.

The table's comment says what is being made, so a run that was cut short goes on where it was, and nobody else's table
is written to. Each portion is one statement, and so is there as a whole or not at all.
"""

# ruff: noqa: S608  # the names in these statements are ours, the schema's, or quoted

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import mysql.connector
from mysql.connector.abstracts import MySQLConnectionAbstract

from extraction.quoting import identifier
from extraction.seed_shape import Shape, legacy_shape, readings_shape
from extraction.seed_sql import buoys, create_buoys, steps
from maredata.errors import MareError, StoreError
from maredata.names import FIRST_DEMO_SENSOR, READINGS
from maredata.schema import Schema
from maredata.settings import Settings
from maredata.stores import connect_mariadb

_MARK = "mare seed-history "  # begins the table's comment; what is made follows as JSON
_PORTION = 50_000  # rows of one statement: about a second
_LOCK_SECONDS = 30  # the statement of a run that was killed goes on in the server until it is done
_TABLE_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")


class SeedError(MareError):
    """The table can't be filled as asked; nothing was written."""

    exit_status = 2


@dataclass(frozen=True)
class Options:
    """What is made: `steps` readings of each buoy, `every` seconds, up to today's first moment in UTC."""

    steps: int
    buoys: int
    every: int = 60
    table: str = READINGS
    seed: int = 0

    @property
    def rows(self) -> int:
        return self.steps * self.buoys


@dataclass(frozen=True)
class Report:
    """`rows` are wanted, `found` were there before, `made` were added now; `begin` and `end` are instants in UTC."""

    table: str
    begin: str
    end: str
    buoys: int
    rows: int
    found: int
    made: int
    seconds: float

    @property
    def complete(self) -> bool:
        return self.found + self.made == self.rows

    @property
    def sentence(self) -> str:
        what = f"{self.table}: {self.rows:,} readings of {self.buoys:,} buoys from {self.begin} to {self.end}"
        if self.complete and not self.made:
            return f"{what} are there already."
        rate = f"{self.made:,} rows made in {self.seconds:.1f} s, {self.made / self.seconds:,.0f} a second"
        if self.complete:
            return f"{what} are there; {rate}."
        return f"{what}: stopped at {self.found + self.made:,}; {rate}. The same command goes on from there."

    def as_dict(self) -> dict[str, Any]:
        rate = self.made / self.seconds if self.made else None
        return asdict(self) | {"complete": self.complete, "rows_per_second": rate}


Progress = Callable[[int, int], None]  # rows that are there by now, and how many there shall be


class _Mark(msgspec.Struct, frozen=True):
    """What the table's comment remembers. `begin` is in seconds since 1970 UTC."""

    begin: int
    steps: int
    buoys: int
    every: int
    seed: int

    def asks_the_same(self, options: Options) -> bool:
        asked = (options.steps, options.buoys, options.every, options.seed)
        return (self.steps, self.buoys, self.every, self.seed) == asked


def seed_history(
    settings: Settings, schema: Schema, options: Options, stopped: Callable[[], bool], progress: Progress
) -> Report:
    """Fills the table, or goes on filling it; once `stopped`, it ends after the portion it is at.

    Raises:
        SeedError: the table holds what this did not make, or cannot have the name, or it would begin too early.
        StoreError: MariaDB does not answer, or did not do it; the next run goes on from there.
    """
    if not _TABLE_NAME.fullmatch(options.table):
        raise SeedError(f"A table can't be named {options.table[:80]!r} here: use letters, digits and _.")
    began = time.monotonic()
    with _errors(settings), connect_mariadb(settings) as connection, _alone(connection, options.table):
        mark = _claim(connection, settings, schema, options)
        shape = _shape(schema, options.table, mark)
        _prepare(connection, mark)
        found = made = 0
        for first, last in _portions(options):
            if stopped():
                break
            size = (last - first + 1) * options.buoys
            if _is_there(connection, shape, mark, last):
                found += size
            else:
                _insert(connection, shape, mark, first, last)
                made += size
            progress(found + made, options.rows)
    span = (_text(mark.begin), _text(mark.begin + options.steps * options.every))
    return Report(options.table, *span, options.buoys, options.rows, found, made, time.monotonic() - began)


def _shape(schema: Schema, table: str, mark: _Mark) -> Shape:
    if table == READINGS:
        return readings_shape(schema, mark.begin)
    return legacy_shape(schema, table, mark.begin, mark.begin + (mark.steps + 1) * mark.every)


def _claim(connection: MySQLConnectionAbstract, settings: Settings, schema: Schema, options: Options) -> _Mark:
    """Makes the table where there is none, and marks it; what an earlier run marked it with. Raises SeedError."""
    table = options.table
    wanted = _new_mark(settings, options)
    there = _query(
        connection,
        "SELECT table_type, table_comment FROM information_schema.tables"
        " WHERE table_schema = DATABASE() AND table_name = %s",
        (table,),
    )
    if not there:
        _query(connection, _shape(schema, table, wanted).create)
        return _write_mark(connection, table, wanted)
    kind, comment = there[0]
    mark = _read_mark(comment)
    if kind != "BASE TABLE":
        raise SeedError(f"{table} is a {kind.lower()}: name a table with --table.")
    if table == READINGS:
        _refuse_real_readings(connection)
    elif mark is None:
        raise SeedError(f"Table {table} was not made by `mare seed-history`, and stays as it is: name another one.")
    if mark is not None and mark.asks_the_same(options):
        return mark
    if mark is not None and _holds_any(connection, table):
        remedy = "`mare demo remove`" if table == READINGS else f"`DROP TABLE {table}`"
        raise SeedError(
            f"Table {table} has {mark.steps:,} readings of {mark.buoys:,} buoys each, every {mark.every} s, from"
            f" {_text(mark.begin)} on: ask for the same ones, or remove them first ({remedy})."
        )
    return _write_mark(connection, table, wanted)


def _new_mark(settings: Settings, options: Options) -> _Mark:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = midnight - timedelta(seconds=options.steps * options.every)
    if begin < settings.reading.earliest:
        raise SeedError(
            f"It would begin on {begin:%Y-%m-%d}, and readings before {settings.reading.earliest:%Y-%m-%d} are refused"
            " (MARE_READING__EARLIEST): ask for fewer days."
        )
    return _Mark(int(begin.timestamp()), options.steps, options.buoys, options.every, options.seed)


def _refuse_real_readings(connection: MySQLConnectionAbstract) -> None:
    sql = f"SELECT sensor_id FROM `{READINGS}` WHERE sensor_id < {FIRST_DEMO_SENSOR} LIMIT 1"
    for (sensor_id,) in _query(connection, sql):
        raise SeedError(
            f"Table {READINGS} has readings of real sensors (sensor_id {sensor_id}), and stays as it is: emulated"
            f" history goes into a table without any, or into one of its own with --table."
        )


def _holds_any(connection: MySQLConnectionAbstract, table: str) -> bool:
    return bool(_query(connection, f"SELECT 1 FROM {identifier(table)} LIMIT 1"))


def _read_mark(comment: str) -> _Mark | None:
    if not comment.startswith(_MARK):
        return None
    try:
        return msgspec.json.decode(comment.removeprefix(_MARK), type=_Mark)
    except msgspec.DecodeError:  # somebody wrote something else behind it
        return None


def _write_mark(connection: MySQLConnectionAbstract, table: str, mark: _Mark) -> _Mark:
    comment = _MARK + msgspec.json.encode(mark).decode()
    # Behind a long query, waiting for the lock would make whoever writes to the table wait, too.
    _query(connection, f"ALTER TABLE {identifier(table)} WAIT {_LOCK_SECONDS} COMMENT = '{comment}'")
    return mark


def _prepare(connection: MySQLConnectionAbstract, mark: _Mark) -> None:
    # With a join buffer rows would not come in the order of the tables, which is that of the key.
    _query(connection, "SET SESSION join_cache_level = 0, net_read_timeout = 3600")
    for statement in create_buoys(buoys(mark.buoys, mark.every, mark.seed)):
        _query(connection, statement)


def _portions(options: Options) -> Iterator[tuple[int, int]]:
    """The first and the last step of each; the same ones in every run."""
    size = max(1, _PORTION // options.buoys)
    for first in range(0, options.steps, size):
        yield first, min(first + size, options.steps) - 1


def _is_there(connection: MySQLConnectionAbstract, shape: Shape, mark: _Mark, last: int) -> bool:
    """Whether the portion's last reading is: found by its microsecond, so no live reading is taken for it."""
    rows = steps(mark.begin, mark.every, mark.seed, last, last, shape.by_buoy)
    newest = FIRST_DEMO_SENSOR + mark.buoys - 1
    sql = (
        f"SELECT 1 FROM {identifier(shape.table)} WHERE {identifier(shape.sensor)} = {newest} AND"
        f" {identifier(shape.time)} = (SELECT {shape.columns[shape.time]} FROM {rows} WHERE sensor_id = {newest})"
    )
    return bool(_query(connection, sql + " LIMIT 1"))


def _insert(connection: MySQLConnectionAbstract, shape: Shape, mark: _Mark, first: int, last: int) -> None:
    names = ", ".join(map(identifier, shape.columns))
    # What is live stays as it is; other errors are not hidden.
    own = f"{identifier(shape.table)}.{identifier(shape.sensor)}"
    rest = f" ON DUPLICATE KEY UPDATE {own} = {own}"
    rows = steps(mark.begin, mark.every, mark.seed, first, last, shape.by_buoy)
    values = ", ".join(shape.columns.values())
    _query(connection, f"INSERT INTO {identifier(shape.table)} ({names}) SELECT {values} FROM {rows}{rest}")


@contextmanager
def _alone(connection: MySQLConnectionAbstract, table: str) -> Iterator[None]:
    """Two runs at once would both make the same portion. The server forgets the lock with the session."""
    ((taken,),) = _query(connection, "SELECT GET_LOCK(CONCAT(DATABASE(), %s), %s)", (f".{table} seed", _LOCK_SECONDS))
    if not taken:
        raise StoreError(f"Another `mare seed-history` fills {table} just now: wait until it is done.")
    yield


@contextmanager
def _errors(settings: Settings) -> Iterator[None]:
    chosen = settings.mariadb
    try:
        yield
    except mysql.connector.ProgrammingError as error:
        raise StoreError(
            f"MariaDB refused a statement ({error.msg}): run `mare apply`, then the same command again."
        ) from None
    except mysql.connector.Error as error:
        raise StoreError(
            f"MariaDB at {chosen.host}:{chosen.port} did not do it ({error.msg}): look at `mare status`; what was made"
            " stays, and the same command goes on from there."
        ) from None


def _query(connection: MySQLConnectionAbstract, sql: str, bound: tuple[Any, ...] = ()) -> list[Any]:
    cursor = connection.cursor()
    try:
        cursor.execute(sql, bound)
        return list(cursor.fetchall()) if cursor.description else []
    finally:
        cursor.close()


def _text(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}"
