"""MariaDB alone, for tests that read tables: it starts in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mysql.connector
import pytest
from engines import ADMIN, Engines

from maredata.settings import Settings


@dataclass
class Database:
    """A running MariaDB. `session` is one of an account that may write; a job's are read-only."""

    engines: Engines

    @property
    def settings(self) -> Settings:
        return self.engines.settings

    def admin(self) -> Any:
        """A session that may do everything, as whoever grants a job's user its rights."""
        return self.session(ADMIN, ADMIN)

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
    with Engines("mariadb") as engines:
        yield Database(engines)
