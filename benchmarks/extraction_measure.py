"""Movers in turns: the same rows of MariaDB, each time into empty indices."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from benchmarks import ingestr
from benchmarks.cpu_window import Used, await_quiet, look, used
from benchmarks.documents import Reading, batches, bulk_body
from benchmarks.extraction_result import (
    CLIENT,
    ELASTICSEARCH,
    EXTRACT,
    INGESTR,
    LIMIT,
    MARIADB,
    PANDAS,
    SELECT,
    WIDER,
    Trial,
    order,
    verdict,
)
from benchmarks.indices import Indices
from benchmarks.plain_bulk import Clients
from benchmarks.plain_select import INDEX, query
from benchmarks.program import Program
from benchmarks.sink_measure import follow
from maredata.names import READINGS
from maredata.schema import FieldType, Schema
from maredata.settings import Settings, as_environment
from maredata.stores import connect_mariadb
from maredata.timestamps import format_timestamp

CLIENTS = {LIMIT: 2, WIDER: 4}
_BODY = 2000  # documents of a ready-made body
_END_SECONDS = 120.0  # a program that goes on so long after its last document has hung
_SELECT_SECONDS = 600.0
_LONGEST_QUIET = 10.0
_QUIET_LOOK_SECONDS = 0.5
_EPOCH_MICROS = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', `timestamp`)"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Room:
    """What extraction does for the benchmark, which imports no such room: the command line hands it over.

    `fill` makes the table of readings: steps of each buoy, buoys, seconds between two. `draft` writes a job file for a
    table. `slow_connector` says why mysql-connector-python is slow here, if it is.
    """

    fill: Callable[[Settings, int, int, int], object]
    draft: Callable[[Settings, str, Path], None]
    slow_connector: Callable[[], str | None]


@dataclass(frozen=True)
class Engines:
    """The benchmark's own, with `pids` by role."""

    settings: Settings
    schema: Schema
    pids: Mapping[str, int]
    client: Elasticsearch
    room: Room


class Bench:
    """One trial after the other; the table holds `rows` readings."""

    def __init__(self, engines: Engines, rows: int, progress: Progress) -> None:
        self._engines = engines
        self._rows = rows
        self._progress = progress
        self._trials = 0
        self._data = engines.settings.home / "data"
        self._readings, self._others = Indices(engines.client), Indices(engines.client, f"{INDEX}*")

    def fill_bodies(self) -> None:
        """Writes what extraction would post, as ready-made bodies for the plain clients."""
        folder = self._data / "bodies"
        folder.mkdir(parents=True, exist_ok=True)
        for number, batch in enumerate(batches(documents(self._engines.settings, self._engines.schema), _BODY)):
            (folder / f"{number:012}.ndjson").write_bytes(bulk_body(batch))

    def rounds(self, count: int, movers: Sequence[str]) -> list[Trial]:
        return [self.measure(mover, number + 1) for number in range(count) for mover in order(number, movers)]

    def measure(self, mover: str, number: int) -> Trial:
        """One mover, with all rows, into empty indices."""
        for indices in (self._readings, self._others):
            indices.clear()
        self._trials += 1
        if mover in CLIENTS:
            found = self._clients(mover, number)
        elif mover == SELECT:
            found = self._select(number)
        else:
            found = self._mover(mover, number)
        rate = "" if found.rate is None else f", {found.rate:,.0f} rows/s"
        self._progress(f"{f'round {number}' if number else 'warm-up'}: {mover}: {verdict(found)}{rate}")
        return found

    def _clients(self, mover: str, number: int) -> Trial:
        settings = self._engines.settings
        with Clients(settings, self._data / "bodies", CLIENTS[mover]) as clients:
            self._await_quiet()
            pids = self._pids() | {CLIENT: clients.pids}
            before, began = look(pids), time.monotonic()
            clients.go()
            course = follow(self._readings.indexed, self._rows, clients.trouble, began)
            spent = used(before, look(pids))
        coming = None if course.first_seconds is None else course.seconds - course.first_seconds
        return Trial(
            mover, number, self._rows, self._readings.documents(), course.seconds, coming, spent.cpu, spent.own,
            spent.elsewhere, os.cpu_count() or 1, trouble=course.trouble,
        )  # fmt: skip

    def _mover(self, mover: str, number: int) -> Trial:
        indices = self._readings if mover == EXTRACT else self._others
        command, environment = self._command(mover)
        self._await_quiet()
        before = look(self._pids())
        with self._program(mover, command, environment) as program:

            def indexed() -> int:
                program.look()
                return indices.indexed()

            def trouble() -> str:
                return (program.failure or "it ended before all was there") if program.ended else ""

            course = follow(indexed, self._rows, trouble, program.began)
            ended = program.await_end(_END_SECONDS)
            spent = used(before, look(self._pids()))
        why = course.trouble or program.failure or ("" if ended else f"it went on for {_END_SECONDS:.0f} s")
        coming = None if course.first_seconds is None else course.seconds - course.first_seconds
        return self._trial(mover, number, indices.documents(), program, coming, spent, why)

    def _select(self, number: int) -> Trial:
        self._await_quiet()
        before = look(self._pids())
        command, environment = self._command(SELECT)
        with self._program(SELECT, command, environment) as program:
            ended = program.await_end(_SELECT_SECONDS)
            spent = used(before, look(self._pids()))
        said = program.output().strip()
        counted = int(said) if said.isdecimal() else 0
        why = program.failure or ("" if ended else f"it took more than {_SELECT_SECONDS:.0f} s")
        return self._trial(SELECT, number, counted, program, None, spent, why)

    def _trial(
        self,
        mover: str,
        number: int,
        counted: int,
        program: Program,
        coming: float | None,
        spent: Used,
        why: str,
    ) -> Trial:
        own = program.cpu or 0.0
        return Trial(
            mover, number, self._rows, counted, program.seconds or time.monotonic() - program.began, coming,
            {**spent.cpu, CLIENT: own}, spent.own, spent.elsewhere - own, os.cpu_count() or 1, program.memory, why,
        )  # fmt: skip

    def _program(self, mover: str, command: Sequence[str], environment: Mapping[str, str]) -> Program:
        log = self._engines.settings.home / "logs" / f"{mover.replace(' ', '-')}-{self._trials}.log"
        return Program(command, environment, log)

    def _command(self, mover: str) -> tuple[tuple[str, ...], dict[str, str]]:
        settings = self._engines.settings
        environment = {**os.environ, **as_environment(settings)}
        if mover == INGESTR:
            return ingestr.command(settings), ingestr.environment(settings.home)
        if mover == EXTRACT:
            return (sys.executable, "-m", "maredata.cli", "extract", "run", str(self._job())), environment
        program = "benchmarks.plain_pandas" if mover == PANDAS else "benchmarks.plain_select"
        return (sys.executable, "-m", program), environment

    def _job(self) -> Path:
        """A job of another name has not begun yet, whatever the last one has done."""
        settings = self._engines.settings
        path = self._data / "jobs" / f"bench-{self._trials}.toml"
        path.unlink(missing_ok=True)
        self._engines.room.draft(settings, READINGS, path)
        return path

    def _pids(self) -> dict[str, list[int]]:
        return {role: [self._engines.pids[role]] for role in (MARIADB, ELASTICSEARCH)}

    def _await_quiet(self) -> None:
        await_quiet(self._pids(), _LONGEST_QUIET, _QUIET_LOOK_SECONDS)


def documents(settings: Settings, schema: Schema) -> Iterator[Reading]:
    """The table's rows as their documents, in the order of the key."""
    names = [name for name, _ in schema.columns()]
    sql = query(schema).replace("SELECT ", f"SELECT {_EPOCH_MICROS}, ", 1) + " ORDER BY `sensor_id`, `timestamp`"
    with connect_mariadb(settings) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(sql)
        while page := cursor.fetchmany(_BODY):
            micros: Any
            for micros, *values in page:
                yield document(schema, int(micros), dict(zip(names, values, strict=True)))


def document(schema: Schema, micros: int, row: Mapping[str, Any]) -> Reading:
    members: dict[str, Any] = {}
    for field in schema.fields:
        if field.type is FieldType.LOCATION:
            lon, lat = row[f"{field.name}_lon"], row[f"{field.name}_lat"]
            members[field.name] = None if lon is None or lat is None else {"lon": lon, "lat": lat}
        else:
            is_time = field.type is FieldType.TIMESTAMP
            members[field.name] = format_timestamp(micros) if is_time else row[field.name]
    line = json.dumps({name: value for name, value in members.items() if value is not None}, ensure_ascii=False)
    return Reading(row["sensor_id"], micros, line.encode())
