"""MariaDB alone, for tests that read tables: it starts in seconds."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mysql.connector
import pytest
from conftest import new_home, new_settings

from installs.artifacts import fetch
from installs.engines import mariadb as mariadb_service
from installs.machine import find_java
from installs.process import Service, await_ready, start, stop
from maredata.settings import Settings

_ADMIN = "administrator"  # may do everything, as whoever grants a job's user its rights


@dataclass
class Database:
    """A running MariaDB. `session` is one of an account that may write; a job's are read-only."""

    settings: Settings
    service: Service

    def admin(self) -> Any:
        """A session that may do everything."""
        return self.session(_ADMIN, _ADMIN)

    def session(self, user: str | None = None, password: str | None = None) -> Any:
        """In UTC and utf8mb4, taking any value that a table of long ago may hold."""
        chosen = self.settings.mariadb
        connection = mysql.connector.connect(
            host=chosen.host,
            port=chosen.port,
            user=user or chosen.user,
            password=password or chosen.password,
            database=chosen.database,
            charset="utf8mb4",
            collation="utf8mb4_bin",
            time_zone="+00:00",
            autocommit=True,
            ssl_disabled=True,
        )
        self.run(connection, "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
        return connection

    def run(self, connection: Any, *statements: str) -> list[Any]:
        """Runs them; the last one's rows."""
        rows: list[Any] = []
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = cursor.fetchall() if cursor.description else []
        return rows


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Database]:
    settings = new_settings(new_home())
    settings.home.chmod(0o755)
    fetch(settings, find_java(settings), lambda _: None)
    service = mariadb_service(settings)

    def prepare() -> None:
        service.prepare()
        script = settings.home / "data" / "mariadb" / "init.sql"
        with script.open("a") as file:
            file.write(f"CREATE USER IF NOT EXISTS '{_ADMIN}'@'%' IDENTIFIED BY '{_ADMIN}';\n")
            file.write(f"GRANT ALL PRIVILEGES ON *.* TO '{_ADMIN}'@'%' WITH GRANT OPTION;\n")

    running = Database(settings, dataclasses.replace(service, prepare=prepare))
    await_ready(settings, running.service, start(settings, running.service))
    yield running
    stop(settings, running.service.name, 30)
    if not os.environ.get("KEEP_TEST_INSTANCES"):
        shutil.rmtree(settings.home, ignore_errors=True)
