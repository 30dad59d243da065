"""The accepted log names each accepted reading, and none that was refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from maredata.reading import Reason
from maredata.schema import load_schema
from maredata.settings import CHECKOUT
from udp_server.audit import Audit
from udp_server.check import Rejection
from udp_server.intake import Done
from udp_server.message import Message, Messages
from udp_server.receive import Address

SCHEMA = load_schema(CHECKOUT / "maredata" / "reading.toml")
FIRST = Message(b"12", b'{"sensor_id": 12, "timestamp": "2024-01-21 10:06:04.095931", "seq": 5}')
SECOND = Message(b"3", b'{"sensor_id": 3, "timestamp": "1990-01-01 00:00:00.000007"}')
NULL = Message(b"4", b'{"sensor_id": 4, "timestamp": "1990-01-01 00:00:00.000000", "seq": null}')
ZERO = Message(b"5", b'{"sensor_id": 5, "timestamp": "1990-01-01 00:00:00.000000", "seq": 0}')


class FakeOutlet:
    """Stands in for the publisher: answers when it is told to."""

    def __init__(self) -> None:
        self.published: list[tuple[Messages, Done | None]] = []
        self.kept: list[tuple[list[tuple[Rejection, Address]], int]] = []

    def publish(self, messages: Messages, done: Done | None) -> None:
        self.published.append((messages, done))

    def keep(self, rejections: list[tuple[Rejection, Address]], received: int) -> None:
        self.kept.append((rejections, received))

    def answer(self, number: int, accepted: bool) -> None:
        done = self.published[number][1]
        assert done is not None
        done(accepted)


@pytest.fixture
def outlet() -> FakeOutlet:
    return FakeOutlet()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "accepted.log"


@pytest.fixture
def audit(outlet: FakeOutlet, path: Path) -> Iterator[Audit]:
    audit = Audit(outlet, SCHEMA, path)
    yield audit
    audit.close()


def test_each_accepted_reading_is_a_line(audit: Audit, outlet: FakeOutlet, path: Path) -> None:
    audit.publish(Messages.of([FIRST, SECOND]), None)
    audit.publish(Messages.of([NULL, ZERO]), None)
    audit.write()
    assert path.read_text() == ""
    outlet.answer(0, True)
    outlet.answer(1, True)
    audit.write()
    audit.write()
    assert path.read_text().splitlines() == [
        *("12,5,1705831564095931", "3,,631152000000007", "4,,631152000000000", "5,0,631152000000000")
    ]


def test_a_refused_one_is_none(audit: Audit, outlet: FakeOutlet, path: Path) -> None:
    audit.publish(Messages.of([FIRST]), None)
    audit.publish(Messages.of([SECOND]), None)
    outlet.answer(0, False)
    outlet.answer(1, True)
    audit.write()
    assert path.read_text() == "3,,631152000000007\n"


@pytest.mark.parametrize("accepted", [True, False])
def test_whoever_asked_hears_it_once_and_messages_go_on_as_they_are(
    accepted: bool, audit: Audit, outlet: FakeOutlet
) -> None:
    heard: list[bool] = []
    messages = Messages.of([FIRST, SECOND])
    audit.publish(messages, heard.append)
    assert heard == []
    assert outlet.published[0][0] is messages
    outlet.answer(0, accepted)
    assert heard == [accepted]


def test_nothing_is_answered_where_nothing_was_published(audit: Audit, outlet: FakeOutlet, path: Path) -> None:
    heard: list[bool] = []
    audit.publish(Messages.of([]), heard.append)
    outlet.answer(0, True)
    audit.write()
    assert heard == [True]
    assert path.read_text() == ""


def test_rejected_lines_go_on(audit: Audit, outlet: FakeOutlet) -> None:
    rejections: list[tuple[Rejection, Address]] = [(Rejection(b"x", Reason.MALFORMED, ""), ("192.0.2.1", 1))]
    audit.keep(rejections, 7)
    assert outlet.kept == [(rejections, 7)]


def test_several_workers_append_to_one_file_and_closing_writes_the_rest(path: Path) -> None:
    path.write_text("earlier\n")
    outlets = [FakeOutlet(), FakeOutlet()]
    audits = [Audit(outlet, SCHEMA, path) for outlet in outlets]
    for number in (0, 1, 0):
        audits[number].publish(Messages.of([FIRST if number == 0 else ZERO]), None)
        outlets[number].answer(-1, True)
        audits[number].write()
    audits[0].publish(Messages.of([SECOND]), None)
    outlets[0].answer(-1, True)
    for audit in audits:
        audit.close()
    sensors = [line.split(",")[0] for line in path.read_text().splitlines()]
    assert sensors == ["earlier", "12", "5", "12", "3"]


def test_a_full_disk_is_no_reason_to_end(
    audit: Audit, outlet: FakeOutlet, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fake_write(_file: int, _content: bytes) -> int:
        raise OSError("no space left")

    audit.publish(Messages.of([FIRST]), None)
    outlet.answer(0, True)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fake_write)
        audit.write()
    assert "can't be written" in caplog.text
    audit.publish(Messages.of([ZERO]), None)
    outlet.answer(1, True)
    audit.write()
    assert path.read_text() == "5,0,631152000000000\n"
