"""A stand-in for Kibana, which can't be had where tests run: it keeps what was imported, and is as strict as Kibana.

What it refuses is what Kibana 8.19's API documentation says that Kibana refuses.
"""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

VERSIONS = {"index-pattern": "8.0.0", "lens": "8.9.0", "map": "8.4.0", "dashboard": "10.2.0", "tag": "8.0.0"}
# Types with a strict mapping, with the attributes they know.
STRICT = {
    "lens": {"title", "description", "visualizationType", "state"},
    "map": {"title", "description", "version", "mapStateJSON", "layerListJSON", "uiStateJSON"},
    "tag": {"name", "description", "color"},
}
RULE = {"name", "tags", "schedule", "params", "actions"}
RULE_MADE_ONCE = {"rule_type_id", "consumer", "enabled"}


class Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class FakeKibana:
    """What it holds; `user` and `password` empty: security is off. `ready` False: it is still starting."""

    user: str = ""
    password: str = ""
    ready: bool = True
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)  # by `<type>:<id>`, as they were sent
    settings: dict[str, Any] = field(default_factory=dict)
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  # method and path of each request
    port: int = 0
    dies_after_import: bool = False
    export_instead: bytes = b""  # as another program at its port would answer

    @contextmanager
    def serving(self) -> Iterator[FakeKibana]:
        server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, method: str, target: str, headers: Message, body: bytes) -> Any:
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        self.asked.append(f"{method} {path}")
        if not self.ready:
            raise Refusal(503, "Kibana server is not ready yet")
        self._authenticate(headers)
        if method != "GET" and "kbn-xsrf" not in headers:
            raise Refusal(400, "Request must contain a kbn-xsrf header.")
        if (method, path) == ("GET", "/api/status"):
            return {"status": {"overall": {"level": "available"}}}
        if (method, path) == ("POST", "/api/saved_objects/_import"):
            outcome = self._import(query, headers, body)
            if self.dies_after_import:
                raise Refusal(502, "Bad Gateway")
            return outcome
        if (method, path) == ("POST", "/api/saved_objects/_export"):
            return self.export_instead or self._export(_json(headers, body))
        if path == "/api/kibana/settings":
            if method == "POST":
                self.settings |= _json(headers, body)["changes"]
            return {"settings": {"buildNum": {}} | {name: {"userValue": it} for name, it in self.settings.items()}}
        if path.startswith("/api/alerting/rule/"):
            return self._rule(method, path.rpartition("/")[2], headers, body)
        raise Refusal(404, "Not Found")

    def _authenticate(self, headers: Message) -> None:
        expected = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if self.user and headers["Authorization"] != expected:
            raise Refusal(401, "Unauthorized")

    def _import(self, query: dict[str, list[str]], headers: Message, body: bytes) -> Any:
        sent = [json.loads(line) for line in _uploaded(headers, body).decode().splitlines() if line.strip()]
        there = self.objects.keys() | {_key(saved) for saved in sent}
        errors = []
        for saved in sent:
            error = self._refusal_of(saved, there, query.get("overwrite") == ["true"])
            if error:
                errors.append({"type": saved["type"], "id": saved["id"], "error": error})
            else:
                self.objects[_key(saved)] = _completed(saved)
        return {"success": not errors, "successCount": len(sent) - len(errors), "errors": errors, "warnings": []}

    def _refusal_of(self, saved: dict[str, Any], there: set[str], overwrite: bool) -> dict[str, Any] | None:
        kind, attributes = saved["type"], saved["attributes"]
        if kind not in VERSIONS:
            return {"type": "unsupported_type"}
        if tuple(map(int, saved["typeMigrationVersion"].split("."))) > tuple(map(int, VERSIONS[kind].split("."))):
            return {"type": "unknown", "message": "belongs to a more recent version of Kibana", "statusCode": 422}
        if _key(saved) in self.objects and not overwrite:
            return {"type": "conflict"}
        unknown = attributes.keys() - STRICT.get(kind, attributes.keys())
        if unknown:
            return {"type": "unknown", "message": f"strict_dynamic_mapping_exception: {sorted(unknown)}"}
        for name, value in attributes.items():
            if (name.endswith("JSON") or name == "fieldFormatMap") and not isinstance(value, str):
                return {"type": "unknown", "message": f"[attributes.{name}]: expected value of type [string]"}
        # It says so of data views and searches only.
        missing = [one for one in saved["references"] if one["type"] == "index-pattern" and _key(one) not in there]
        return {"type": "missing_references", "references": missing} if missing else None

    def _export(self, wanted: dict[str, Any]) -> bytes:
        kinds = wanted["type"] if isinstance(wanted["type"], list) else [wanted["type"]]
        lines = [
            json.dumps({**saved, "updated_at": "2026-01-01T00:00:00.000Z", "version": "WzEsMV0="})
            for saved in self.objects.values()
            if saved["type"] in kinds
        ]
        return "\n".join(lines).encode()

    def _rule(self, method: str, rule_id: str, headers: Message, body: bytes) -> Any:
        if method == "GET":
            if rule_id not in self.rules:
                raise Refusal(404, f"Saved object [alert/{rule_id}] not found")
            return self.rules[rule_id]
        if uuid.UUID(rule_id).version != 4:
            raise Refusal(400, "Predefined IDs are not allowed … unless the ID is a UUID.")
        sent = _json(headers, body)
        allowed = RULE | RULE_MADE_ONCE if method == "POST" else RULE
        if sent.keys() != allowed:
            raise Refusal(400, f"[request body]: {sorted(sent.keys() ^ allowed)}")
        if not isinstance(sent["params"]["esQuery"], str):
            raise Refusal(400, "[params.esQuery]: expected value of type [string]")
        if (method == "POST") == (rule_id in self.rules):
            raise Refusal(409 if method == "POST" else 404, "conflict or not found")
        self.rules[rule_id] = {**self.rules.get(rule_id, {"id": rule_id, "mute_all": False}), **sent}
        return self.rules[rule_id]


def _completed(saved: dict[str, Any]) -> dict[str, Any]:
    """Kibana adds what was left out, here of data views."""
    if saved["type"] != "index-pattern":
        return saved
    return {**saved, "attributes": {"allowHidden": False, "fieldAttrs": "{}", **saved["attributes"]}}


def _key(saved: dict[str, Any]) -> str:
    return f"{saved['type']}:{saved['id']}"


def _json(headers: Message, body: bytes) -> dict[str, Any]:
    if headers.get_content_type() != "application/json":
        raise Refusal(415, "Unsupported Media Type")
    content: dict[str, Any] = json.loads(body)
    return content


def _uploaded(headers: Message, body: bytes) -> bytes:
    """The content of the one file of a multipart request."""
    if headers.get_content_type() != "multipart/form-data":
        raise Refusal(415, "Unsupported Media Type")
    whole = message_from_bytes(f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode() + body)
    parts = [part for part in whole.walk() if part.get_param("name", header="Content-Disposition") == "file"]
    if len(parts) != 1:
        raise Refusal(400, "[request body.file]: expected value of type [Stream]")
    if not str(parts[0].get_filename()).endswith(".ndjson"):
        raise Refusal(400, f"Invalid file extension {parts[0].get_filename()}")
    content = parts[0].get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


def _handler(kibana: FakeKibana) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                status, content = 200, kibana.answer(self.command, self.path, self.headers, body)
            except Refusal as refusal:
                status, content = refusal.status, {"statusCode": refusal.status, "message": str(refusal)}
            sent = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_PUT = _answer

        def log_message(self, *_: object) -> None:
            """Not on the terminal."""

    return Handler
