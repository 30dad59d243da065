"""The same readings into both stores: MariaDB makes them, `mare extract run` moves them, and then come the indexes."""
# ruff: noqa: S608  # the names in these queries are ours, or the schema's, which checks them

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from benchmarks.analytics_stores import AskElasticsearch, AskMariaDB
from benchmarks.indices import Indices
from benchmarks.program import Program
from benchmarks.questions import HOUR_MICROS, Ground, indexes, variables
from maredata.errors import StoreError
from maredata.names import READINGS
from maredata.schema import Schema
from maredata.settings import Settings, as_environment

_LOOK_SECONDS = 1.0
_SAY_EVERY = 10  # percent
_MOORING_HOURS = 48
_LONGEST_SECONDS = 3600.0

Progress = Callable[[str], None]


@dataclass(frozen=True)
class History:
    """What extraction does for the benchmark, which imports no such room: the command line hands it over.

    `fill` makes the table of readings: steps of each buoy, buoys, seconds between two; it is told the rows so far and
    in all. `draft` writes a job file for a table.
    """

    fill: Callable[[Settings, int, int, int, Callable[[int, int], None]], object]
    draft: Callable[[Settings, str, Path], None]


@dataclass(frozen=True)
class Size:
    """`steps` readings of each buoy, `every` seconds."""

    steps: int
    buoys: int
    every: int

    @property
    def rows(self) -> int:
        return self.steps * self.buoys


def fill(settings: Settings, schema: Schema, size: Size, history: History, progress: Progress) -> dict[str, Any]:
    """Fills both stores; the seconds that each part took. Raises StoreError where not every reading arrived."""
    progress(f"making {size.rows:,} readings in MariaDB")
    took, began = {}, time.monotonic()
    history.fill(settings, size.steps, size.buoys, size.every, _tenths("rows made", progress))
    took["making"] = time.monotonic() - began
    with AskElasticsearch(settings) as elasticsearch:
        Indices(elasticsearch.client).apply_template(settings, schema)
        progress("moving them to Elasticsearch with `mare extract run`")
        took["moving"] = _move(settings, size.rows, history, elasticsearch.client, progress)
    progress("giving MariaDB its indexes")
    began = time.monotonic()
    with AskMariaDB(settings) as mariadb:
        # Not with the table itself: made in one go they are denser, and extraction finds the table as it knows it.
        mariadb.rows(indexes(schema))
        mariadb.rows(f"ANALYZE TABLE `{READINGS}`")
    took["indexes"] = time.monotonic() - began
    return took


def _move(settings: Settings, rows: int, history: History, elasticsearch: Elasticsearch, progress: Progress) -> float:
    job = settings.home / "data" / "jobs" / "analytics.toml"
    job.unlink(missing_ok=True)
    history.draft(settings, READINGS, job)
    indices, said = Indices(elasticsearch), _tenths("documents stored", progress)
    command = (sys.executable, "-m", "maredata.cli", "extract", "run", str(job))
    log = settings.home / "logs" / "extract-run.log"
    with Program(command, {**os.environ, **as_environment(settings)}, log) as program:
        while not program.await_end(_LOOK_SECONDS):
            said(indices.indexed(), rows)
            if time.monotonic() - program.began > _LONGEST_SECONDS:
                raise StoreError(f"`mare extract run` took more than an hour: look at {log}.")
        if program.failure:
            raise StoreError(f"`mare extract run` failed, {program.failure}: look at {log}.")
        seconds = program.seconds or 0.0
    stored = indices.documents()
    if stored != rows:
        raise StoreError(f"Elasticsearch holds {stored:,} of {rows:,} readings: look at {log}.")
    return seconds


def ground_of(mariadb: AskMariaDB, schema: Schema) -> tuple[Ground, tuple[int, int]]:
    """What can be asked about, as MariaDB's table says; and the first and the last sensor."""
    micros = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {}(`timestamp`))"
    ((first, last, *sensors),) = mariadb.rows(
        f"SELECT {micros.format('MIN')}, {micros.format('MAX')}, MIN(`sensor_id`), MAX(`sensor_id`) FROM `{READINGS}`"
    )
    begin, end = int(first) // HOUR_MICROS, int(last) // HOUR_MICROS + 1
    moorings = mariadb.rows(
        f"SELECT AVG(`location_lon`), AVG(`location_lat`) FROM `{READINGS}` WHERE `hour` < %s GROUP BY `sensor_id`",
        (begin + _MOORING_HOURS,),
    )
    return Ground(begin, end, variables(schema), tuple((lon, lat) for lon, lat in moorings)), (sensors[0], sensors[1])


def sizes(mariadb: AskMariaDB, elasticsearch: AskElasticsearch) -> dict[str, int]:
    """Bytes that the readings take on disk, with their indexes."""
    ((table, keys),) = mariadb.rows(
        "SELECT data_length, index_length FROM information_schema.tables"
        " WHERE table_schema = DATABASE() AND table_name = %s",
        (READINGS,),
    )
    stats = elasticsearch.client.indices.stats(index=f"{READINGS}-*", metric="store")
    return {
        "mariadb_table": int(table),
        "mariadb_indexes": int(keys),
        "elasticsearch": int(stats["_all"]["primaries"]["store"]["size_in_bytes"]),
    }


def _tenths(what: str, progress: Progress) -> Callable[[int, int], None]:
    """Says how far it is whenever another tenth of the way is done."""
    said = 0

    def look(done: int, of: int) -> None:
        nonlocal said
        percent = 100 * done // of if of else 100
        if percent >= said + _SAY_EVERY:
            said = percent - percent % _SAY_EVERY
            progress(f"{done:,} of {of:,} {what} ({percent}%)")

    return look
