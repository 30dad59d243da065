"""The client of Connect's REST API, against a local server that answers from a script."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from connect.rest import Connector, Rest, Task
from maredata.errors import ConnectError

TRACE = """org.apache.kafka.connect.errors.ConnectException: Exiting WorkerSinkTask due to unrecoverable exception.
\tat org.apache.kafka.connect.runtime.WorkerSinkTask.deliverMessages(WorkerSinkTask.java:636)
Caused by: org.apache.kafka.connect.errors.ConnectException: JDBC sink connector failure
\t... 10 more
Caused by: java.sql.SQLException: Table readings is away
\t... 12 more
"""
CAUSE = "java.sql.SQLException: Table readings is away"
FAILED_TASK = {
    "name": "sink",
    "connector": {"state": "RUNNING", "worker_id": "w"},
    "tasks": [
        {"id": 0, "state": "RUNNING", "worker_id": "w"},
        {"id": 1, "state": "FAILED", "worker_id": "w", "trace": TRACE},
    ],
    "type": "sink",
}


@dataclass
class Scripted:
    """Answers requests with the next of `answers`, the last one for ever; keeps what was asked."""

    answers: list[tuple[int, Any]] = field(default_factory=list)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        script = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                script.asked.append((self.command, self.path, body))
                status, answer = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
                content = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_DELETE = _answer

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[Scripted, str]]]:
    servers: list[HTTPServer] = []

    def start(*answers: tuple[int, Any]) -> tuple[Scripted, str]:
        script = Scripted(list(answers))
        server = HTTPServer(("127.0.0.1", 0), script.handler())
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return script, f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_status_is_typed_and_shows_the_trace_s_last_cause(serve: Callable[..., tuple[Scripted, str]]) -> None:
    _, url = serve((200, FAILED_TASK))
    with Rest(url) as rest:
        connector = rest.connector("sink")
    assert connector == Connector(
        "sink",
        "RUNNING",
        (Task(0, "RUNNING"), Task(1, "FAILED", CAUSE)),
        CAUSE,
    )
    assert (connector.running, connector.failed, connector.overall) == (False, True, "FAILED")


def test_trace_without_a_cause_is_shown_by_its_first_line() -> None:
    status = {"name": "sink", "connector": {"state": "FAILED", "trace": "Oops: no\n\tat X.y(X.java)"}, "tasks": []}
    assert Connector.from_status(status).trouble == "Oops: no"


def test_connector_without_tasks_does_not_run() -> None:
    assert not Connector("sink", "RUNNING").running
    assert Connector("sink", "RUNNING").overall == "WITHOUT TASKS"
    assert Connector("sink", "RUNNING", (Task(0, "RUNNING"),)).running


def test_all_connectors_come_with_one_request(serve: Callable[..., tuple[Scripted, str]]) -> None:
    script, url = serve((200, {"sink": {"status": FAILED_TASK}}))
    with Rest(url) as rest:
        assert [connector.name for connector in rest.connectors()] == ["sink"]
    assert script.asked == [("GET", "/connectors?expand=status", None)]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (409, "Cannot complete request because of a conflicting operation"),
        (500, "Request cannot be completed because a rebalance is expected"),
        (503, "Request cannot be completed because the worker is still starting"),
    ],
)
def test_rebalance_is_waited_for(serve: Callable[..., tuple[Scripted, str]], status: int, message: str) -> None:
    busy = (status, {"error_code": status, "message": message})
    script, url = serve(busy, busy, (200, {"name": "sink"}))
    with Rest(url) as rest:
        rest.put_config("sink", {"topics": "readings"})
    assert script.asked == [("PUT", "/connectors/sink/config", {"topics": "readings"})] * 3


def test_rebalance_without_end_is_given_up(serve: Callable[..., tuple[Scripted, str]]) -> None:
    _, url = serve((409, {"error_code": 409, "message": "rebalance\nin progress"}))
    with Rest(url, patience=0.3) as rest, pytest.raises(ConnectError, match=r"within 0.3 s \(rebalance in progress\)"):
        rest.stop("sink")


def test_worker_that_is_away_is_given_up() -> None:
    with Rest("http://127.0.0.1:9", patience=0.3) as rest, pytest.raises(ConnectError, match="mare logs connect"):
        rest.connectors()


def test_refusal_is_not_repeated_and_says_why(serve: Callable[..., tuple[Scripted, str]]) -> None:
    script, url = serve((400, {"error_code": 400, "message": "Connector configuration is invalid"}))
    with (
        Rest(url) as rest,
        pytest.raises(ConnectError, match="refused PUT /connectors/sink/config: Connector configuration is invalid"),
    ):
        rest.put_config("sink", {})
    assert len(script.asked) == 1


def test_what_is_not_there_is_none(serve: Callable[..., tuple[Scripted, str]]) -> None:
    _, url = serve((404, {"error_code": 404, "message": "Connector sink not found"}))
    with Rest(url) as rest:
        assert rest.config("sink") is None
        assert rest.connector("sink") is None
        assert not rest.delete("sink")


def test_answer_that_is_no_json_is_an_error_with_its_status(serve: Callable[..., tuple[Scripted, str]]) -> None:
    _, url = serve((500, None))
    with Rest(url) as rest, pytest.raises(ConnectError, match="HTTP status 500"):
        rest.resume("sink")


def test_parts_are_restarted_on_their_own(serve: Callable[..., tuple[Scripted, str]]) -> None:
    script, url = serve((204, None))
    with Rest(url) as rest:
        rest.restart_part("sink", None)
        rest.restart_part("sink", 2)
        rest.restart("sink", only_failed=False)
    assert [path for _, path, _ in script.asked] == [
        "/connectors/sink/restart",
        "/connectors/sink/tasks/2/restart",
        "/connectors/sink/restart?includeTasks=true&onlyFailed=false",
    ]
