"""The containers under test: `docker compose` in the copy of the checkout, and what its services hold and say."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import mysql.connector
from dotenv import dotenv_values

ELASTICSEARCH = "http://127.0.0.1:9200"
CONNECT = "http://127.0.0.1:8083"
UP = ("up", "--detach", "--no-build", "--wait", "--wait-timeout", "540")


@dataclass(frozen=True)
class Stack:
    folder: Path

    def compose(self, *arguments: str, check: bool = True) -> str:
        """`docker compose …` with the unchanged file; its output. AssertionError with it where it fails."""
        status, output = self.try_compose(*arguments)
        assert status == 0 or not check, f"docker compose {' '.join(arguments)}: {status}\n{output[-6000:]}"
        return output

    def try_compose(self, *arguments: str) -> tuple[int, str]:
        return self._run("docker", "compose", *arguments)

    def shell(self, commands: str) -> None:
        """Types them in the checkout's folder; AssertionError with what was said if one fails."""
        status, output = self._run("bash", "-c", commands)
        assert status == 0, f"{status}\n{output[-6000:]}"

    def _run(self, *command: str) -> tuple[int, str]:
        """Its exit status and output."""
        done = subprocess.run(
            command,
            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def exec(self, service: str, *command: str) -> str:
        return self.compose("exec", "-T", service, *command)

    def up(self) -> None:
        status, output = self.try_compose(*UP)
        assert status == 0, f"{output[-3000:]}\n{self.troubles()}"

    def troubles(self) -> str:
        """The last words of every container that is not well."""
        logs = [
            f"--- {name}: {state}\n{self.compose('logs', '--no-log-prefix', '--tail', '30', name, check=False)}"
            for name, state in self.states().items()
            if state not in ("healthy", "ended")
        ]
        return "\n".join(logs)

    def states(self) -> dict[str, str]:
        """By service: "healthy", "ended" (with 0), or what else it is."""
        found = {}
        for line in self.compose("ps", "--all", "--format", "json").splitlines():
            one = json.loads(line)
            ended = one["State"] == "exited" and one["ExitCode"] == 0
            found[one["Service"]] = "ended" if ended else one["Health"] or f"{one['State']} {one['ExitCode']}"
        return found

    def inspect(self, service: str) -> dict[str, Any]:
        container = self.compose("ps", "--all", "--quiet", service).strip()
        done = subprocess.run(["docker", "inspect", container], stdout=subprocess.PIPE, text=True, check=True)
        inspected: dict[str, Any] = json.loads(done.stdout)[0]
        return inspected

    @property
    def env(self) -> dict[str, str]:
        """What .env says now."""
        return {name: value or "" for name, value in dotenv_values(self.folder / ".env").items()}

    def rows(self, query: str, user: str = "mare", password: str | None = None) -> list[Any]:
        """What MariaDB answers on the published port."""
        connection = mysql.connector.connect(
            host="127.0.0.1",
            user=user,
            password=password or self.env["MARE_MARIADB__PASSWORD"],
            database="observatory",
            autocommit=True,
        )
        try:
            cursor = connection.cursor()
            cursor.execute(query)
            return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def search(self, path: str, body: dict[str, Any] | None = None, user: str = "mare", password: str = "") -> Any:
        """What Elasticsearch answers on the published port."""
        answer = httpx.post(
            f"{ELASTICSEARCH}/{path}",
            json=body or {},
            auth=(user, password or self.env["MARE_ELASTICSEARCH__PASSWORD"]),
            trust_env=False,
        )
        answer.raise_for_status()
        return answer.json()

    def counts(self, sensor: int) -> tuple[int, int]:
        """Readings of a sensor in MariaDB and in Elasticsearch."""
        [(rows,)] = self.rows(f"SELECT COUNT(*) FROM readings WHERE sensor_id = {sensor}")
        documents = self.search("readings-*/_count", {"query": {"term": {"sensor_id": sensor}}})["count"]
        return rows, documents
