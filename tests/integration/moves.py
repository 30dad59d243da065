"""MariaDB and Elasticsearch, and runs of `mare extract run` between them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import NotFoundError
from elasticsearch.helpers import scan
from engines import Engines

from maredata.settings import CHECKOUT, as_environment
from maredata.stores import connect_mariadb

WORKERS = 2


class Pair(Engines):
    """Both engines, in one folder."""

    def __init__(self) -> None:
        super().__init__("mariadb", "elasticsearch")

    def sql(self, *statements: str) -> list[Any]:
        """Runs them; the last one's rows."""
        rows: list[Any] = []
        with connect_mariadb(self.settings) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = cursor.fetchall() if cursor.description else []
        return rows


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with Pair() as launched:
        yield launched


@dataclass
class Move:
    """A job of one table. Its command runs in a process group of its own, to be killed as a whole."""

    pair: Pair
    name: str
    key: tuple[str, ...] = ("id",)
    columns: tuple[str, ...] = ("v",)
    range_rows: int = 10_000
    more: str = ""  # of the job file
    table: str = ""

    def __post_init__(self) -> None:
        self.table = self.table or self.name
        self._errors: dict[int, Path] = {}  # where each run says how it goes
        self.forget()
        self.write()

    @property
    def index(self) -> str:
        return f"legacy-{self.name}"

    @property
    def job(self) -> Path:
        return self.pair.settings.home / f"{self.name}.toml"

    @property
    def dead(self) -> list[dict[str, Any]]:
        path = self.pair.settings.home / "state" / "extraction" / f"{self.name}.dead.ndjson"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def write(self, **changes: Any) -> None:
        """The job file, with other values than before where `changes` say so."""
        for name, value in changes.items():
            setattr(self, name, value)
        chosen = self.pair.settings.mariadb
        fields = "".join(f'{name} = "{name}"\n' for name in self.columns)
        self.job.write_text(
            f'[source]\nhost = "{chosen.host}"\nport = {chosen.port}\ndatabase = "{chosen.database}"\n'
            f'table = "{self.table}"\nuser = "{chosen.user}"\nkey = {list(self.key)}\nrange_rows = {self.range_rows}\n'
            f"{self.more}\n[columns]\n{fields}"
        )

    def forget(self) -> None:
        """As if it had never run."""
        for path in (self.pair.settings.home / "state" / "extraction").glob(f"{self.name}.*"):
            path.unlink()
        self.pair.store.indices.delete(index=self.index, ignore_unavailable=True)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        errors = self.pair.settings.home / f"{self.name}.{len(self.pair.commands)}.stderr"
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "maredata.cli", "extract", "run", str(self.job), "--json", *arguments],
                env={**os.environ, **as_environment(self.pair.settings)},
                cwd=CHECKOUT,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        self.pair.commands.append(process)
        self._errors[process.pid] = errors
        return process

    def end(self, process: subprocess.Popen[str], status: int | None = 0) -> dict[str, Any]:
        """Waits for a run's end; its report, with what it said on the way under `said`."""
        output, _ = process.communicate(timeout=300)
        said = self.said(process)
        assert process.returncode == status, (process.returncode, output, said)
        return {**(json.loads(output) if output else {}), "said": said}

    def said(self, process: subprocess.Popen[str]) -> str:
        """What a run has said on its way so far."""
        return self._errors[process.pid].read_text("utf-8")

    def run(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        return self.end(self.begin(*arguments), status)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """kill -9 of the conductor and all workers."""
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def count(self) -> int:
        """Documents that are there, searchable or not yet."""
        try:
            self.pair.store.indices.refresh(index=self.index)
            return int(self.pair.store.count(index=self.index)["count"])
        except NotFoundError:
            return 0

    def indexed(self) -> int:
        """How often a document was written to the index since Elasticsearch started."""
        found = self.pair.store.indices.stats(index=self.index, metric="indexing")
        return int(found["_all"]["primaries"]["indexing"]["index_total"])

    def ids(self) -> list[str]:
        self.pair.store.indices.refresh(index=self.index)
        return sorted(hit["_id"] for hit in scan(self.pair.store, index=self.index, _source=False, size=10_000))

    def documents(self) -> dict[str, Any]:
        self.pair.store.indices.refresh(index=self.index)
        return {hit["_id"]: hit["_source"] for hit in scan(self.pair.store, index=self.index)}
