"""A fake Kibana in a container: keeps what is imported, and takes whom Elasticsearch knows.

As the real one it is unavailable until its own account can log in to Elasticsearch, that is until `setup` has given
that account its password, and it asks Elasticsearch about everybody who comes.
"""

from __future__ import annotations

import base64
import json
import os
from email.message import Message
from http.client import HTTPConnection, HTTPException
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fake_kibana import FakeKibana, Refusal, _handler

KEPT = Path("/usr/share/kibana/data/fake.json")
PARTS = ("objects", "settings", "rules")


class FakeKibanaServer(FakeKibana):
    def answer(self, method: str, target: str, headers: Message, body: bytes) -> Any:
        if target == "/fake/objects":
            return {"fake": True} | {part: getattr(self, part) for part in PARTS}
        own = f"kibana_system:{os.environ['KIBANA_SYSTEM_PASSWORD']}"
        self.ready = known("Basic " + base64.b64encode(own.encode()).decode())
        answer = super().answer(method, target, headers, body)
        if method != "GET":
            draft = KEPT.with_suffix(".new")
            draft.write_text(json.dumps({part: getattr(self, part) for part in PARTS}))
            draft.replace(KEPT)
        return answer

    def _authenticate(self, headers: Message) -> None:
        # The health check comes without a name; Kibana tells it as much.
        named = "Authorization" in headers or self.asked[-1] != "GET /api/status"
        if named and not known(headers.get("Authorization", "")):
            raise Refusal(401, "Unauthorized")


def known(authorization: str) -> bool:
    connection = HTTPConnection("elasticsearch", 9200, timeout=4)
    try:
        connection.request("GET", "/_security/_authenticate", headers={"Authorization": authorization})
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    ThreadingHTTPServer(("", 5601), _handler(FakeKibanaServer(**kept))).serve_forever()
