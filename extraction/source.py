"""The source: a session on it, and what its catalogue says of a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mysql.connector
from mysql.connector.abstracts import MySQLConnectionAbstract

from extraction.job import Job, JobError, Server, password_of
from maredata.errors import StoreError
from maredata.settings import Settings

# What the generated SQL relies on, whatever the server's own configuration is. The job's user reads, nothing else.
_SESSION = (
    "SET SESSION sql_mode = '', time_zone = '+00:00', net_write_timeout = 3600, net_read_timeout = 3600",
    "SET SESSION TRANSACTION READ ONLY",
)
_ACCESS_DENIED = (1044, 1045, 1142, 1143, 1698)
_NO_DATABASE = 1049
_DECLARED_DIGITS = re.compile(r"\((\d+)\)")


@dataclass(frozen=True)
class TableColumn:
    """A column as the catalogue describes it. `octets` is a text's or blob's longest value in bytes."""

    name: str
    data_type: str  # varchar
    column_type: str  # varchar(20)
    nullable: bool
    octets: int = 0
    digits: int = 0  # of fractions of a second
    precision: int = 0  # of a number; bits of BIT
    scale: int = 0
    charset: str | None = None
    generated: bool = False
    json: bool = False

    @property
    def unsigned(self) -> bool:
        return "unsigned" in self.column_type

    @property
    def zerofill(self) -> bool:
        return "zerofill" in self.column_type


@dataclass(frozen=True)
class Index:
    """A primary key or a unique index of whole columns that are never NULL, in its order."""

    name: str
    columns: tuple[str, ...]
    descending: bool = False


@dataclass(frozen=True)
class SourceTable:
    """A table, its columns in order and its usable keys, the primary key first. `rows` is the server's estimate."""

    database: str
    name: str
    version: str
    columns: tuple[TableColumn, ...]
    keys: tuple[Index, ...]
    rows: int

    @property
    def mariadb(self) -> bool:
        return "MariaDB" in self.version

    def __getitem__(self, name: str) -> TableColumn:
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def open_source(job: Job, settings: Settings) -> MySQLConnectionAbstract:
    """A read-only session on the job's source, in UTC and utf8mb4. Raises JobError or StoreError."""
    return connect(job.source, password_of(job.source, settings))


def connect(source: Server, password: str) -> MySQLConnectionAbstract:
    """As `open_source`, for whoever has no job yet."""
    with source_errors(source):
        connection = mysql.connector.connect(
            host=source.host,
            port=source.port,
            user=source.user,
            password=password,
            database=source.database,
            charset="utf8mb4",
            # mysql-connector's default collation is one that MariaDB does not know.
            collation="utf8mb4_bin",
            autocommit=True,
            connection_timeout=10,
            ssl_disabled=not source.encrypted,
        )
        assert isinstance(connection, MySQLConnectionAbstract)  # noqa: S101  # not a pool: no pool options are given
        for statement in _SESSION:
            query(connection, statement)
    return connection


@contextmanager
def source_errors(source: Server) -> Iterator[None]:
    """Says in one sentence what the source refused."""
    where = f"{source.host}:{source.port}"
    try:
        yield
    except mysql.connector.Error as error:
        if error.errno in _ACCESS_DENIED:
            raise StoreError(
                f"{where} does not let {source.user} read there ({error.msg}): correct the password, or"
                " `mare extract grants JOB` prints what to grant."
            ) from None
        if error.errno == _NO_DATABASE:
            raise StoreError(f"There is no database {source.database} at {where}: correct source.database.") from None
        if isinstance(error, mysql.connector.ProgrammingError):
            raise StoreError(f"{where} refused a query ({error.msg}): compare the job with the table.") from None
        raise StoreError(f"The source at {where} could not be asked ({error.msg}): is it running there?") from None


def query(connection: MySQLConnectionAbstract, sql: str, bound: Sequence[Any] = ()) -> list[Any]:
    """All rows of a short answer. Without parameters no % in the text means anything."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql, tuple(bound))
        return list(cursor.fetchall()) if cursor.description else []
    finally:
        cursor.close()


def slow_connector() -> str | None:
    """A sentence for a machine where mysql-connector-python fell back to pure Python; None where it did not."""
    if mysql.connector.HAVE_CEXT:
        return None
    return (
        "mysql-connector-python runs as pure Python here and reads about three times slower: its compiled part needs"
        " OpenSSL 3.2 or newer; use a Python that is linked against one (Debian 13, Ubuntu 24.10 or newer have it)."
    )


def inspect(connection: MySQLConnectionAbstract, table: str) -> SourceTable:
    """What the catalogue says of a table in the session's database. Raises JobError where there is none."""
    found = query(
        connection,
        "SELECT DATABASE(), table_name, VERSION(), table_type, COALESCE(table_rows, 0)"
        " FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s",
        (table,),
    )
    if not found:
        ((database,),) = query(connection, "SELECT DATABASE()")
        raise JobError(f"There is no table {table} in {database} that this user can see: correct source.table.")
    database, name, version, kind, rows = (_text(value) for value in found[0])
    if kind != "BASE TABLE":
        raise JobError(f"{table} is a {kind.lower()}, which has no key to read it by: name the table behind it.")
    return SourceTable(database, name, version, _columns(connection, name), _keys(connection, name), int(rows))


def _columns(connection: MySQLConnectionAbstract, table: str) -> tuple[TableColumn, ...]:
    checked = _json_checked(connection, table)
    rows = query(
        connection,
        "SELECT column_name, data_type, column_type, is_nullable, character_octet_length, datetime_precision,"
        " numeric_precision, numeric_scale, character_set_name, extra FROM information_schema.columns"
        " WHERE table_schema = DATABASE() AND table_name = %s ORDER BY ordinal_position",
        (table,),
    )
    found = []
    for row in rows:
        name, data_type, column_type, nullable, octets, digits, precision, scale, charset, extra = map(_text, row)
        # The catalogue knows no precision of TIMESTAMP and TIME in every version: the declared type does.
        declared = _DECLARED_DIGITS.search(column_type)
        found.append(
            TableColumn(
                name,
                data_type.lower(),
                column_type.lower(),
                nullable == "YES",
                int(octets or 0),
                int(digits if digits is not None else declared[1] if declared and "time" in data_type else 0),
                int(precision or 0),
                int(scale or 0),
                charset,
                "GENERATED" in (extra or "").upper() and "DEFAULT_GENERATED" not in (extra or "").upper(),
                data_type.lower() == "json" or name in checked,
            )
        )
    return tuple(found)


def _json_checked(connection: MySQLConnectionAbstract, table: str) -> set[str]:
    """MariaDB's JSON is LONGTEXT with a check; MySQL's catalogue of checks names no table, and is not asked."""
    ((version,),) = query(connection, "SELECT VERSION()")
    if "MariaDB" not in _text(version):
        return set()
    rows = query(
        connection,
        "SELECT check_clause FROM information_schema.check_constraints"
        " WHERE constraint_schema = DATABASE() AND table_name = %s",
        (table,),
    )
    clauses = [re.fullmatch(r"\s*json_valid\(`(.+)`\)\s*", _text(clause), re.IGNORECASE) for (clause,) in rows]
    return {clause[1].replace("``", "`") for clause in clauses if clause}


def _keys(connection: MySQLConnectionAbstract, table: str) -> tuple[Index, ...]:
    """Unique indices that name every row and can be walked in one direction: no NULL, no prefix, no expression."""
    rows = query(
        connection,
        "SELECT index_name, column_name, sub_part, nullable, collation FROM information_schema.statistics"
        " WHERE table_schema = DATABASE() AND table_name = %s AND non_unique = 0"
        " ORDER BY index_name, seq_in_index",
        (table,),
    )
    members: dict[str, list[tuple[Any, ...]]] = {}
    for name, *member in rows:
        members.setdefault(_text(name), []).append(tuple(map(_text, member)))
    usable = []
    for name, parts in members.items():
        whole = all(column is not None and prefix is None and null != "YES" for column, prefix, null, _ in parts)
        directions = {direction for *_, direction in parts}
        if whole and directions <= {"A"}:
            usable.append(Index(name, tuple(part[0] for part in parts)))
        elif whole and directions == {"D"}:
            usable.append(Index(name, tuple(part[0] for part in parts), True))
    return tuple(sorted(usable, key=lambda index: (index.name != "PRIMARY", len(index.columns), index.name)))


def _text(value: Any) -> Any:
    """MySQL's catalogue gives some texts as bytes."""
    return value.decode("utf-8") if isinstance(value, bytes | bytearray) else value
