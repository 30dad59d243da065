"""All four engines, and jobs whose tables are captured: what `mare capture` is tried on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mysql.connector
import pytest
from elasticsearch import NotFoundError
from elasticsearch.helpers import scan
from engines import ADMIN, Engines
from waiting import await_true

from connect.capture import Streams, look
from connect.capture_definitions import sink_name, source_name
from extraction.grants import grants
from extraction.job import Job, load_job
from maredata.errors import MareError
from maredata.settings import CHECKOUT, as_environment

FOLLOWER = "follower"
# Whatever a properties file could take for something else.
PASSWORD = 'p:a\\s=s "é#!😀'  # noqa: S105  # of an engine that lives for a test
PASSWORD_ENV = "FOLLOWER_PASSWORD"  # noqa: S105  # the variable of it


class Captured(Engines):
    """All four, and the commands that are run on them."""

    def __init__(self) -> None:
        super().__init__("mariadb", "kafka", "elasticsearch", "connect")

    def session(self, **options: Any) -> Any:
        """Of an account that may do everything, taking any value that a table of long ago may hold."""
        chosen = self.settings.mariadb
        given = {"user": ADMIN, "password": ADMIN, "autocommit": True, "sql_mode": "", **options}
        return mysql.connector.connect(
            host=chosen.host,
            port=chosen.port,
            database=chosen.database,
            charset="utf8mb4",
            collation="utf8mb4_bin",
            time_zone="+00:00",
            ssl_disabled=True,
            **given,
        )

    def sql(self, *statements: str) -> list[Any]:
        """Runs them; the last one's rows."""
        rows: list[Any] = []
        with self.session() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "maredata.cli", *arguments],
            env={**os.environ, **as_environment(self.settings), PASSWORD_ENV: PASSWORD},
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.commands.append(process)
        return process

    def end(self, process: subprocess.Popen[str], status: int = 0) -> str:
        """Waits for a command's end; what it printed, and for another status than 0 what it complained about."""
        output, said = process.communicate(timeout=300)
        assert process.returncode == status, (process.returncode, output, said)
        return output + said if status > 1 or not output.startswith("{") else output


@pytest.fixture(scope="module")
def engines() -> Iterator[Captured]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PASSWORD_ENV, PASSWORD)
        with Captured() as launched:
            yield launched


@dataclass
class Followed:
    """A job of one table. Its user has the rights that `mare extract grants` prints, and no others."""

    engines: Captured
    name: str
    ddl: str
    columns: str = 'v = "v"'  # of the job file, as TOML
    key: tuple[str, ...] = ("id",)
    more: str = ""
    target: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        self.engines.sql(f"CREATE OR REPLACE TABLE `{self.name}` ({self.ddl})")
        chosen = self.engines.settings.mariadb
        self.path.write_text(
            f'[source]\nhost = "{chosen.host}"\nport = {chosen.port}\ndatabase = "{chosen.database}"\n'
            f'table = "{self.name}"\nuser = "{FOLLOWER}"\npassword_env = "{PASSWORD_ENV}"\nkey = {list(self.key)}\n'
            f"{self.source}\n[target]\n{self.target}\n{self.more}\n[columns]\n{self.columns}\n"
        )
        self.grant()

    def grant(self) -> None:
        """Exactly what is printed, by an administrator who put the password in."""
        secret = PASSWORD.replace("\\", "\\\\").replace("'", "''")
        script = grants(self.job.source, self.job.source.table)
        self.engines.sql(*statements_of(script.replace("'…'", f"'{secret}'")))

    @property
    def path(self) -> Path:
        return self.engines.settings.home / f"{self.name}.toml"

    @property
    def job(self) -> Job:
        return load_job(self.path)

    @property
    def index(self) -> str:
        return f"legacy-{self.name}"

    def capture(self, *arguments: str, status: int = 0) -> str:
        return self.engines.end(self.engines.begin("capture", str(self.path), *arguments), status)

    def run(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        output = self.engines.end(self.engines.begin("extract", "run", str(self.path), "--json", *arguments), status)
        return dict(json.loads(output))

    def verify(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        command = ("extract", "verify", str(self.path), "--json", "--wait", "1", "--exact", *arguments)
        return dict(json.loads(self.engines.end(self.engines.begin(*command), status)))

    def status(self) -> dict[str, Any]:
        process = self.engines.begin("capture", str(self.path), "--status", "--json")
        return dict(json.loads(process.communicate(timeout=120)[0]))

    def streams(self) -> Streams | None:
        try:
            return look(self.name, self.engines.settings)
        except MareError:  # the worker is only just coming back
            return None

    def documents(self) -> dict[str, Any]:
        store = self.engines.store
        try:
            store.indices.refresh(index=self.index)
        except NotFoundError:
            return {}
        return {hit["_id"]: hit["_source"] for hit in scan(store, index=self.index)}

    def await_documents(self, wanted: dict[str, Any], seconds: float = 60) -> None:
        found: dict[str, Any] = {}

        def same() -> bool:
            nonlocal found
            found = self.documents()
            return found == wanted

        try:
            await_true(same, seconds)
        except AssertionError:
            raise AssertionError(f"{found} instead of {wanted}; {self.streams()}") from None

    def await_stored(self, mark: str) -> None:
        """Until the document that was written last is there, and with it everything before it."""
        store = self.engines.store
        await_true(lambda: store.exists(index=self.index, id=mark), 90, f"document {mark} of {self.index}")

    def remove(self) -> None:
        self.capture("--remove")
        self.engines.store.indices.delete(index=self.index, ignore_unavailable=True)

    @property
    def connectors(self) -> tuple[str, str]:
        return source_name(self.name), sink_name(self.name)


def statements_of(script: str) -> list[str]:
    """An SQL script's statements, without its comments; none holds a semicolon."""
    lines = (line for line in script.splitlines() if not line.startswith("--"))
    return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]
