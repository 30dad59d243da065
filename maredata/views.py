"""The views that a user of SQL opens first: `latest_per_buoy` of the last 30 days, and `per_day` of the last 7.

Both are bounded in time, so that they take as long on a table of many years as on one of a month. `mare apply` makes
them beside the table, so that they show whatever fields reading.toml has. They run with the rights of whoever asks
(SQL SECURITY INVOKER): whoever may read the table reads them, and they belong to no account that could be removed. A
table or view of that name which is not ours is left alone.
"""
# ruff: noqa: S608  # the names in these queries are ours, or the schema's, which checks them

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any

import mysql.connector
from mysql.connector.abstracts import MySQLConnectionAbstract

from maredata.names import READINGS
from maredata.schema import FieldType, Schema

LATEST = "latest_per_buoy"
PER_DAY = "per_day"
_LATEST_DAYS = 30  # as long as Kibana's freshness table looks back
_DAYS = 7
_MARK = re.compile(r"`(mare_[0-9a-f]{12})`")
_LOCK_SECONDS = 20  # a long query on a view holds its lock
_RIGHTS = "The rights for it are CREATE VIEW, SHOW VIEW and DROP; give them, and apply again."
# The server refused, which it says by these numbers; others are the client's own: it didn't answer at all.
_SERVER_ERRORS = (range(1000, 2000), range(3000, 6000))


def views(schema: Schema) -> dict[str, str]:
    """The SELECT of each view, by the view's name.

    Each has a table alias `mare_…` that changes with the SELECT: MariaDB keeps a view's aliases, and no comments, so
    it says of a view that there is whether it is ours, and whether it is this one.
    """
    return {name: _marked(select) for name, select in ((LATEST, _latest(schema)), (PER_DAY, _per_day(schema)))}


def apply_views(schema: Schema, mariadb: MySQLConnectionAbstract, progress: Callable[[str], None]) -> None:
    """Makes the views that are missing or show other fields. Says so where they can't be made, and fails for nothing.

    Readings don't need them, and on a user's own server the account may not be allowed to.
    """
    for name, select in views(schema).items():
        there = _definition(mariadb, name)
        marks = None if there is None else set(_MARK.findall(there))
        if marks == set(_MARK.findall(select)):
            continue
        if marks == set():
            progress(f"view {name}: not made, since something of that name is there that is not ours")
            continue
        try:
            _create(mariadb, name, select)
        except mysql.connector.Error as error:
            if not any(error.errno in numbers for numbers in _SERVER_ERRORS):
                raise
            progress(f"view {name}: not made, and nothing else needs it; MariaDB says: {error.msg}. {_RIGHTS}")
            return  # one word about it is enough
        progress(f"view {name}: {'created' if there is None else 'brought up to date'}")


def _latest(schema: Schema) -> str:
    """One row a buoy that was heard.

    The inner SELECT reads the index by_time alone, from the first day on. Jumping from buoy to buoy in the primary key
    would need no bound, but MariaDB 11.0 to 11.4.9 can't (MDEV-38426). Of its own accord MariaDB would begin at `r`,
    with every row there is.
    """
    columns = [name for name, _ in schema.columns()]
    age = _free("age_seconds", columns)
    shown = [f"`r`.`{name}`" for name in _first(columns)]
    shown.insert(2, f"TIMESTAMPDIFF(SECOND, `r`.`timestamp`, UTC_TIMESTAMP(6)) AS `{age}`")
    newest = (
        f"SELECT `sensor_id`, MAX(`timestamp`) AS `timestamp` FROM `{READINGS}`"
        f" WHERE `timestamp` >= UTC_DATE() - INTERVAL {_LATEST_DAYS} DAY GROUP BY `sensor_id`"
    )
    return (
        f"SELECT {', '.join(shown)} FROM ({newest}) AS `mare_` STRAIGHT_JOIN `{READINGS}` AS `r`"
        " ON `r`.`sensor_id` = `mare_`.`sensor_id` AND `r`.`timestamp` = `mare_`.`timestamp`"
    )


def _per_day(schema: Schema) -> str:
    """One row a buoy and day (UTC), of today and the days before it: every reading of them has to be read."""
    numbers = [field.name for field in schema.fields if field.type is FieldType.NUMBER]
    shown = ["`mare_`.`sensor_id`", "CAST(`mare_`.`timestamp` AS DATE) AS `day`", "COUNT(*) AS `readings`"]
    taken = ["sensor_id", "day", "readings"]
    for number in numbers:
        for function in ("min", "avg", "max"):
            name = _free(f"{number}_{function}", taken)
            taken.append(name)
            shown.append(f"{function.upper()}(`mare_`.`{number}`) AS `{name}`")
    return (
        f"SELECT {', '.join(shown)} FROM `{READINGS}` AS `mare_`"
        f" WHERE `mare_`.`timestamp` >= UTC_DATE() - INTERVAL {_DAYS} DAY"
        " GROUP BY `mare_`.`sensor_id`, CAST(`mare_`.`timestamp` AS DATE)"
    )


def _first(columns: list[str]) -> list[str]:
    """Sensor and time before the others, wherever they stand in reading.toml."""
    keys = ["sensor_id", "timestamp"]
    return [*keys, *(name for name in columns if name not in keys)]


def _free(name: str, taken: Iterable[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _marked(select: str) -> str:
    return select.replace("`mare_`", f"`mare_{hashlib.sha256(select.encode()).hexdigest()[:12]}`")


def _definition(mariadb: MySQLConnectionAbstract, name: str) -> str | None:
    """The view's SELECT as MariaDB keeps it; None where nothing has that name, empty for a table or a hidden one."""
    cursor = mariadb.cursor()
    cursor.execute(
        "SELECT COALESCE(v.view_definition, '') FROM information_schema.tables AS t"
        " LEFT JOIN information_schema.views AS v ON v.table_schema = t.table_schema AND v.table_name = t.table_name"
        " WHERE t.table_schema = DATABASE() AND t.table_name = %s",
        (name,),
    )
    rows: list[Any] = cursor.fetchall()
    cursor.close()
    return str(rows[0][0]) if rows else None


def _create(mariadb: MySQLConnectionAbstract, name: str, select: str) -> None:
    cursor = mariadb.cursor()
    cursor.execute(f"SET SESSION lock_wait_timeout = {_LOCK_SECONDS}")
    cursor.execute(f"CREATE OR REPLACE SQL SECURITY INVOKER VIEW `{name}` AS {select}")
    cursor.close()
