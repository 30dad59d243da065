"""`mare setup`: Elasticsearch's accounts against a fake one, the wait for Kibana, and the order of it all."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner

from extraction.job import INDEX_PREFIX
from maredata import accounts
from maredata.accounts import INDICES, apply_accounts
from maredata.cli import main
from maredata.errors import EngineTimedOut, SettingsError, StoreError
from maredata.indices import index_templates
from maredata.ready import await_kibana
from maredata.settings import Settings


@dataclass
class FakeServer:
    """Answers every request with 200 and `{}`, once it has answered with each of `first`; writes down what came.

    A first answer of 0 is none at all: the connection ends.
    """

    password: str = "top"  # noqa: S105
    first: list[int] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    port: int = 0

    def answer(self, method: str, path: str, user: str, body: dict[str, Any]) -> int:
        if user and user != f"elastic:{self.password}":
            return 401
        if self.first:
            return self.first.pop(0)
        self.asked.append((method, path.partition("?")[0], body))
        return 200

    def bodies(self) -> dict[str, dict[str, Any]]:
        return {path: body for _, path, body in self.asked}

    @contextmanager
    def serving(self) -> Iterator[FakeServer]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                given = self.headers.get("Authorization", "Basic ").removeprefix("Basic ")
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                user = base64.b64decode(given).decode()
                status = fake.answer(self.command, self.path, user, json.loads(content or b"{}"))
                if not status:
                    return
                self.send_response(status)
                for header in (("X-Elastic-Product", "Elasticsearch"), ("Content-Type", "application/json")):
                    self.send_header(*header)
                self.end_headers()
                self.wfile.write(b"{}")

            do_PUT = do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.port = server.server_port
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            yield self
            server.shutdown()
            thread.join()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setattr(accounts, "_PAUSE", 0.01)
    with FakeServer().serving() as running:
        yield running


def settings_of(fake: FakeServer, **changed: str) -> Settings:
    passwords = {"elastic": "top", "kibana_system": "kib", "observer": "obs"} | changed
    chosen = {"port": fake.port, "user": "mare", "password": "ours"}
    return Settings.model_validate({"elasticsearch": chosen, "kibana": {"port": fake.port}, "accounts": passwords})


def quiet(_: str) -> None:
    pass


def test_every_accounts_password_is_set_each_time(fake: FakeServer) -> None:
    for observer in ("obs", "other"):
        fake.asked.clear()
        apply_accounts(settings_of(fake, observer=observer), quiet)
        bodies = fake.bodies()
        assert bodies["/_security/user/kibana_system/_password"] == {"password": "kib"}
        assert bodies["/_security/user/mare"]["password"] == "ours"  # noqa: S105
        assert bodies["/_security/user/observer"]["password"] == observer


def test_our_programs_may_write_our_indices_and_no_others(fake: FakeServer) -> None:
    apply_accounts(settings_of(fake), quiet)
    bodies = fake.bodies()
    role = bodies["/_security/role/mare"]
    assert role["indices"] == [{"names": list(INDICES), "privileges": ["all"]}]
    assert set(role["cluster"]) == {"monitor", "manage_index_templates"}
    assert bodies["/_security/user/mare"]["roles"] == ["mare", "kibana_admin"]
    assert bodies["/_security/user/observer"]["roles"] == ["editor"]


def test_every_index_that_we_write_is_ours() -> None:
    stems = {"readings", INDEX_PREFIX.rstrip("-"), *index_templates(Settings())}
    assert set(INDICES) == {f"{stem}-*" for stem in stems}


def test_a_role_is_there_before_the_account_that_has_it(fake: FakeServer) -> None:
    apply_accounts(settings_of(fake), quiet)
    paths = [path for _, path, _ in fake.asked]
    assert paths.index("/_security/role/mare") < paths.index("/_security/user/mare")


def test_elasticsearch_that_is_only_starting_is_waited_for(fake: FakeServer) -> None:
    fake.first = [0, 503, 408, 0]
    apply_accounts(settings_of(fake), quiet)
    assert "/_security/user/mare" in fake.bodies()


def test_elasticsearch_that_does_not_come_is_one_sentence(fake: FakeServer) -> None:
    fake.first = [503] * 1000
    with pytest.raises(StoreError, match="did not set up its accounts"):
        apply_accounts(settings_of(fake), quiet, patience=0.05)
    nobody = Settings.model_validate(
        settings_of(fake).model_dump() | {"elasticsearch": {"port": 1, "user": "mare", "password": "x"}}
    )
    with pytest.raises(StoreError, match="did not set up its accounts"):
        apply_accounts(nobody, quiet, patience=0.05)


def test_a_wrong_password_of_elastic_is_not_tried_again(fake: FakeServer) -> None:
    fake.password = "new"  # noqa: S105
    with pytest.raises(StoreError, match="does not take the password of elastic"):
        apply_accounts(settings_of(fake), quiet)
    assert not fake.asked


@pytest.mark.parametrize("name", ["elastic", "kibana_system", "observer"])
def test_no_account_gets_an_empty_password(fake: FakeServer, name: str) -> None:
    with pytest.raises(SettingsError, match=f"MARE_ACCOUNTS__{name.upper()} is empty"):
        apply_accounts(settings_of(fake, **{name: ""}), quiet)
    assert not fake.asked


def test_kibana_is_waited_for(fake: FakeServer) -> None:
    fake.first = [503, 503]
    await_kibana(with_kibana(fake), quiet, pause=0.01)
    assert [path for _, path, _ in fake.asked] == ["/api/status"]


def test_kibana_that_does_not_come_is_one_sentence(fake: FakeServer) -> None:
    fake.first = [503] * 1000
    with pytest.raises(EngineTimedOut, match="docker compose logs kibana"):
        await_kibana(with_kibana(fake), quiet, patience=0.05, pause=0.01)


def with_kibana(fake: FakeServer) -> Settings:
    return Settings.model_validate({"kibana": {"host": "127.0.0.1", "port": fake.port}})


def test_passwords_are_set_before_anybody_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def step(name: str) -> Callable[..., None]:
        return lambda *_: done.append(name)

    monkeypatch.setattr("maredata.accounts.apply_accounts", step("accounts"))
    monkeypatch.setattr("maredata.apply.apply", step("stores"))
    monkeypatch.setattr("maredata.ready.await_kibana", step("wait"))
    monkeypatch.setattr("kibana.importing.import_all", step("objects"))
    outcome = CliRunner().invoke(main, ["setup"])
    assert outcome.exit_code == 0, outcome.output
    assert done == ["accounts", "stores", "wait", "objects"]
