"""Which of MariaDB's waiting sessions are ended; that it helps is shown by `mare faults --only mariadb-disk-full`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from connect import room
from maredata.settings import MariaDB, Settings

FULL, ROOMY = 1 << 20, 1 << 30


class FakeSession:
    """A MariaDB with sessions 8 and 26 of our account waiting; it notes what else it is asked."""

    def __init__(self) -> None:
        self.asked_for: list[str] = []
        self.killed: list[str] = []

    def execute(self, sql: str, bound: tuple[str, ...] = ()) -> None:
        if sql.startswith("KILL"):
            self.killed.append(sql)
        else:
            self.asked_for += bound

    def fetchall(self) -> list[tuple[int]]:
        return [(8,), (26,)]

    @contextmanager
    def cursor(self) -> Iterator[FakeSession]:
        yield self


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> FakeSession:
    made = FakeSession()

    @contextmanager
    def fake_connect(_settings: Settings) -> Iterator[FakeSession]:
        yield made

    monkeypatch.setattr(room, "connect_mariadb", fake_connect)
    return made


def local(home: Path) -> Settings:
    (home / "data" / "mariadb").mkdir(parents=True)
    return Settings(home=home, mariadb=MariaDB(user="buoys"))


def with_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=free))


def test_sessions_of_our_account_that_wait_with_room_are_ended(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_free(monkeypatch, ROOMY)
    assert room.end_waiting(local(tmp_path)) == [8, 26]
    assert session.killed == ["KILL CONNECTION 8", "KILL CONNECTION 26"]
    assert session.asked_for == ["buoys"]


def test_none_is_ended_while_the_disk_is_full(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_free(monkeypatch, FULL)
    assert room.end_waiting(local(tmp_path)) == []
    assert not session.killed


def test_none_is_ended_where_the_disk_is_not_ours_to_see(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_free(monkeypatch, ROOMY)
    assert room.end_waiting(Settings(home=tmp_path)) == []
    assert not session.killed
