"""A small client of Kibana's HTTP API: saved objects, advanced settings, alerting rules; errors as sentences."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable
from types import TracebackType
from typing import Any

import httpx

from kibana.files import SavedObject, key, packed
from kibana.shape import VERSIONS
from maredata.errors import MareError, SettingsError
from maredata.settings import Settings

_HEADERS = {"kbn-xsrf": "true"}  # without it Kibana refuses whatever changes something
_TIMEOUT = 60.0  # seconds: an import refreshes indices
_NOT_FOUND = 404
_STARTING = 503
_REFUSED = (401, 403)


class KibanaError(MareError):
    """Kibana did not answer, or refused what was asked of it; the sentence says what to do."""


class Kibana:
    """Kibana as the settings name it. Every method raises KibanaError.

    Raises SettingsError where the settings name none.
    """

    def __init__(self, settings: Settings) -> None:
        chosen = settings.kibana
        if not chosen.host:
            raise SettingsError(
                "No Kibana is set: name its address in MARE_KIBANA__HOST. (Local mode has none; `docker compose up -d`"
                " starts one.)"
            )
        self.url = chosen.url
        self._user = chosen.user or "an unnamed account"
        self._client = httpx.Client(
            base_url=chosen.url,
            headers=_HEADERS,
            auth=(chosen.user, chosen.password) if chosen.user else None,
            verify=_trusted(chosen.ca) if chosen.tls else True,
            timeout=_TIMEOUT,
            trust_env=False,
        )

    def __enter__(self) -> Kibana:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def saved_objects(self) -> list[SavedObject]:
        """Every object of the types that we make, ours or not, as Kibana exports them."""
        body = {"type": list(VERSIONS), "excludeExportDetails": True}
        answer = self._ask("POST", "/api/saved_objects/_export", json=body)
        return [self._parsed(line) for line in answer.text.splitlines() if line.strip()]

    def import_objects(self, objects: Iterable[SavedObject]) -> dict[str, str]:
        """Writes the objects over those there are. Those that Kibana did not take, by `<type>:<id>`, with its reason.

        The others of the same request are written all the same.
        """
        lines = "".join(json.dumps(packed(saved), ensure_ascii=False) + "\n" for saved in objects)
        file = ("maredata.ndjson", lines.encode(), "application/ndjson")  # Kibana looks at the file name's end
        answer = self._ask("POST", "/api/saved_objects/_import", params={"overwrite": "true"}, files={"file": file})
        errors = self._parsed(answer.text).get("errors", ())
        return {key(error): json.dumps(error.get("error", {}), ensure_ascii=False) for error in errors}

    def settings(self) -> dict[str, Any]:
        """The advanced settings that somebody has set, with their values."""
        found = self._parsed(self._ask("GET", "/api/kibana/settings").text)["settings"]
        return {name: value["userValue"] for name, value in found.items() if "userValue" in value}

    def change_settings(self, changes: dict[str, Any]) -> None:
        self._ask("POST", "/api/kibana/settings", json={"changes": changes})

    def rule(self, rule_id: str) -> dict[str, Any] | None:
        answer = self._ask("GET", f"/api/alerting/rule/{rule_id}", may_miss=True)
        return None if answer.status_code == _NOT_FOUND else self._parsed(answer.text)

    def create_rule(self, rule_id: str, body: dict[str, Any]) -> None:
        self._ask("POST", f"/api/alerting/rule/{rule_id}", json=body)

    def update_rule(self, rule_id: str, body: dict[str, Any]) -> None:
        self._ask("PUT", f"/api/alerting/rule/{rule_id}", json=body)

    def _parsed(self, text: str) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(text)
        except ValueError:
            raise KibanaError(
                f"What answers at {self.url} is no Kibana: correct MARE_KIBANA__HOST and _PORT."
            ) from None
        return content

    def _ask(self, method: str, path: str, may_miss: bool = False, **content: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **content)
        except httpx.TransportError as error:
            raise KibanaError(
                f"Kibana at {self.url} does not answer ({error}): start it, or correct MARE_KIBANA__HOST and"
                " MARE_KIBANA__PORT."
            ) from None
        if answer.status_code == _STARTING:
            raise KibanaError(f"Kibana at {self.url} is not ready yet: try again in a minute.")
        if answer.status_code in _REFUSED:
            raise KibanaError(
                f"Kibana at {self.url} does not let {self._user} do {method} {path} ({_message(answer)}):"
                " correct MARE_KIBANA__USER and MARE_KIBANA__PASSWORD, or give that account the right."
            )
        if answer.is_error and not (may_miss and answer.status_code == _NOT_FOUND):
            raise KibanaError(f"Kibana at {self.url} refused {method} {path}: {_message(answer)}.")
        return answer


def _trusted(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        raise SettingsError(f"MARE_KIBANA__CA can't be used: {ca}: {error.strerror or error}.") from None


def _message(answer: httpx.Response) -> str:
    try:
        message = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        message = f"HTTP status {answer.status_code}"
    return " ".join(message.split()).rstrip(".")
