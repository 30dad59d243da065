"""A small client of Kafka Connect's REST API: typed answers, bounded waits, errors as sentences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

import httpx
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from maredata.errors import ConnectError

RUNNING = "RUNNING"
FAILED = "FAILED"
STOPPED = "STOPPED"
PAUSED = "PAUSED"

_BUSY = (409, 503)  # a rebalance is going on; the worker is still starting
_NOT_FOUND = 404
_SERVER_ERROR = 500


@dataclass(frozen=True)
class Task:
    id: int
    state: str
    trouble: str = ""


@dataclass(frozen=True)
class Connector:
    """What Connect says about a connector. `trouble` is the cause of the failure of whatever failed."""

    name: str
    state: str
    tasks: tuple[Task, ...] = ()
    trouble: str = ""

    @property
    def running(self) -> bool:
        """The connector and all its tasks run; one without tasks does nothing, and so doesn't."""
        return self.state == RUNNING and bool(self.tasks) and all(task.state == RUNNING for task in self.tasks)

    @property
    def overall(self) -> str:
        """One word for all: RUNNING only if every task runs, else the state that is in the way."""
        states = [self.state, *(task.state for task in self.tasks)]
        return next((state for state in states if state != RUNNING), RUNNING if self.tasks else "WITHOUT TASKS")

    @property
    def failed(self) -> bool:
        return self.state == FAILED or any(task.state == FAILED for task in self.tasks)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"running": self.running}

    @classmethod
    def from_status(cls, status: dict[str, Any]) -> Connector:
        tasks = tuple(Task(task["id"], task["state"], _cause(task.get("trace", ""))) for task in status["tasks"])
        own = _cause(status["connector"].get("trace", ""))
        trouble = own or next((task.trouble for task in tasks if task.trouble), "")
        return cls(status["name"], status["connector"]["state"], tasks, trouble)


class Rest:
    """Connect's REST API at `url`. Gives up after `patience` seconds of rebalances or refused connections."""

    def __init__(self, url: str, patience: float = 60, timeout: float = 30) -> None:
        self.url = url
        self._patience = patience
        self._client = httpx.Client(base_url=url, timeout=timeout, trust_env=False)

    def __enter__(self) -> Rest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def connectors(self) -> list[Connector]:
        """Every connector of the worker, by name."""
        found = self._ask("GET", "/connectors?expand=status") or {}
        return [Connector.from_status(found[name]["status"]) for name in sorted(found)]

    def connector(self, name: str) -> Connector | None:
        status = self._ask("GET", f"/connectors/{name}/status")
        return None if status is None else Connector.from_status(status)

    def config(self, name: str) -> dict[str, str] | None:
        config: dict[str, str] | None = self._ask("GET", f"/connectors/{name}/config")
        return config

    def put_config(self, name: str, config: dict[str, str]) -> None:
        """Creates the connector, or replaces its configuration."""
        self._ask("PUT", f"/connectors/{name}/config", config)

    def create_stopped(self, name: str, config: dict[str, str]) -> None:
        """Makes a connector that does nothing before `resume`, so that its offsets can be looked at first."""
        self._ask("POST", "/connectors", {"name": name, "config": config, "initial_state": STOPPED})

    def offsets(self, name: str) -> list[dict[str, Any]]:
        """What a source connector has committed: `partition` and `offset` of each; empty where it has nothing yet."""
        found = self._ask("GET", f"/connectors/{name}/offsets") or {}
        return [entry for entry in found.get("offsets", []) if entry.get("offset")]

    def delete_offsets(self, name: str) -> None:
        """Of a stopped connector."""
        self._ask("DELETE", f"/connectors/{name}/offsets")

    def stop(self, name: str) -> None:
        """Asks for the connector's tasks to be ended; it keeps its configuration and offsets."""
        self._ask("PUT", f"/connectors/{name}/stop")

    def resume(self, name: str) -> None:
        self._ask("PUT", f"/connectors/{name}/resume")

    def restart(self, name: str, only_failed: bool) -> None:
        """Asks for the connector and its tasks to be started anew."""
        failed = "true" if only_failed else "false"
        self._ask("POST", f"/connectors/{name}/restart?includeTasks=true&onlyFailed={failed}")

    def restart_part(self, name: str, task: int | None) -> None:
        """Asks for that task, or for the connector without its tasks, to be started anew."""
        self._ask("POST", f"/connectors/{name}/restart" if task is None else f"/connectors/{name}/tasks/{task}/restart")

    def delete(self, name: str) -> bool:
        """False where there was none. The offsets stay, so one of the same name goes on from there."""
        if self.config(name) is None:
            return False
        self._ask("DELETE", f"/connectors/{name}")
        return True

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer's JSON, None where there is none or nothing of that name. Raises ConnectError."""
        answer = self._patiently(lambda: self._client.request(method, path, json=body))
        if answer.status_code == _NOT_FOUND:
            return None
        if answer.is_error:
            raise ConnectError(f"Kafka Connect refused {method} {path}: {_message(answer)}")
        return answer.json() if answer.content else None

    def _patiently(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        attempts = Retrying(
            retry=retry_if_exception_type((httpx.TransportError, _Busy)),
            wait=wait_exponential(0.1, max=2),
            stop=stop_after_delay(self._patience),
        )
        try:
            return attempts(_unless_busy, send)
        except RetryError as gave_up:
            error = gave_up.last_attempt.exception()
        raise ConnectError(
            f"Kafka Connect did not do what was asked of it at {self.url} within {self._patience:g} s ({error}):"
            " look at `mare status` and `mare logs connect`."
        )


class _Busy(Exception):
    """Connect can't do it now, and says so."""


def _unless_busy(send: Callable[[], httpx.Response]) -> httpx.Response:
    answer = send()
    # A request that only reads is refused during a rebalance like any error of the server's.
    if answer.status_code in _BUSY or (answer.status_code == _SERVER_ERROR and "rebalance" in _message(answer)):
        raise _Busy(_message(answer))
    return answer


def _message(answer: httpx.Response) -> str:
    try:
        message = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        message = f"HTTP status {answer.status_code}"
    return " ".join(message.split())


def _cause(trace: str) -> str:
    """The line of a Java trace that says most: its last cause. The first one is the same for every failed task."""
    lines = [line.strip() for line in trace.strip().splitlines()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes or lines or [""])[-1 if causes else 0]
