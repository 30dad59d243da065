"""The gateway has its port to itself, shares it among its workers, and says what is wrong in one sentence."""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from maredata.errors import EngineAlreadyRunning, MachineError
from maredata.settings import Settings, Tcp, Udp
from udp_server import sockets
from udp_server.sockets import Sockets, listen

ADDRESS = "127.0.0.1"


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_LEAVING_SECONDS", -1.0)


@contextmanager
def listening(port: int = 0, workers: int = 1, tcp: bool = True, buffer: int = 100_000) -> Iterator[Sockets]:
    made = listen(chosen(port, workers, tcp, buffer))
    try:
        yield made
    finally:
        made.close()


def chosen(port: int = 0, workers: int = 1, tcp: bool = True, buffer: int = 100_000, host: str = ADDRESS) -> Settings:
    return Settings(
        udp=Udp(host=host, port=port, workers=workers, receive_buffer=buffer),
        tcp=Tcp(enabled=tcp),
    )


@contextmanager
def holder(kind: socket.SocketKind, shared: bool = False) -> Iterator[socket.socket]:
    """Another program that has a port, whose number the socket tells."""
    with socket.socket(socket.AF_INET, kind) as held:
        if shared:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((ADDRESS, 0))
        if kind == socket.SOCK_STREAM:
            held.listen()
        yield held


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("shared", [False, True], ids=["alone", "SO_REUSEPORT"])
def test_a_port_in_use_is_one_sentence(workers: int, shared: bool) -> None:
    with holder(socket.SOCK_DGRAM, shared) as held:
        port = held.getsockname()[1]
        with pytest.raises(EngineAlreadyRunning, match=rf"UDP {ADDRESS}:{port} is in use.*MARE_UDP__PORT") as refused:
            listen(chosen(port, workers))
    assert refused.value.exit_status == 2


def test_nobody_can_share_the_port_of_one_worker() -> None:
    with listening() as ours, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            thief.bind((ADDRESS, ours.port))


def test_a_tcp_port_in_use_is_one_sentence_and_leaves_no_socket() -> None:
    with holder(socket.SOCK_STREAM) as held:
        port = held.getsockname()[1]
        with pytest.raises(EngineAlreadyRunning, match=rf"TCP {ADDRESS}:{port} is in use"):
            listen(chosen(port, 2))
        with listening(port, 2, tcp=False) as ours:
            assert ours.tcp is None


def test_it_waits_for_workers_whose_parent_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_LEAVING_SECONDS", 60.0)
    with holder(socket.SOCK_DGRAM, shared=True) as held:
        port = held.getsockname()[1]
        waits: list[float] = []

        def fake_sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                held.close()

        monkeypatch.setattr(time, "sleep", fake_sleep)
        with listening(port, 2) as ours:
            assert ours.port == port
    assert len(waits) == 3


def test_workers_share_the_port_and_each_datagram_is_in_one_of_their_sockets() -> None:
    with listening(workers=3) as ours:
        assert len(ours.udp) == 3
        assert {receiver.getsockname() for receiver in ours.udp} == {(ADDRESS, ours.port)}
        sent = set()
        for number in range(60):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"%d" % number, (ADDRESS, ours.port))
                sent.add(b"%d" % number)
        found: list[bytes] = []
        for receiver in ours.udp:
            before = len(found)
            while select.select([receiver], [], [], 0)[0]:
                found.append(receiver.recv(100))
            assert len(found) > before
    assert len(found) == 60
    assert set(found) == sent


@pytest.mark.parametrize("workers", [1, 2])
def test_tcp_has_the_same_number(workers: int) -> None:
    with listening(workers=workers) as ours:
        assert ours.tcp is not None
        assert ours.tcp.getsockname() == (ADDRESS, ours.port)
        assert not ours.tcp.getblocking()
        with socket.create_connection((ADDRESS, ours.port), timeout=10):
            assert select.select([ours.tcp], [], [], 10)[0]
            ours.tcp.accept()[0].close()


def test_any_port_is_one_that_tcp_can_have_too(monkeypatch: pytest.MonkeyPatch) -> None:
    really_bound = sockets._bound
    with holder(socket.SOCK_STREAM) as held:
        taken = held.getsockname()[1]
        given = [taken]  # what the kernel gives for UDP at first

        def bound(udp: Udp, kind: socket.SocketKind, port: int, shared: bool = False) -> socket.socket:
            return really_bound(udp, kind, given.pop() if port == 0 and given else port, shared)

        monkeypatch.setattr(sockets, "_bound", bound)
        with listening() as ours:
            assert not given
            assert ours.port != taken


def test_a_port_is_free_again_although_connections_linger() -> None:
    with listening() as ours:
        port = ours.port
        assert ours.tcp is not None
        client = socket.create_connection((ADDRESS, port), timeout=10)
        assert select.select([ours.tcp], [], [], 10)[0]
        ours.tcp.accept()[0].close()  # the side that closes first keeps the address for a minute
        client.close()
    with listening(port) as ours:
        assert ours.port == port


def test_closing_closes_all() -> None:
    with listening(workers=2) as ours:
        pass
    assert [held.fileno() for held in (*ours.udp, ours.tcp) if held] == [-1, -1, -1]


def test_a_buffer_as_large_as_asked_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    with listening(workers=2, buffer=100_000) as ours:
        assert ours.receive_buffer == 100_000
    assert not caplog.records


class FakeSmallKernel(socket.socket):
    """Grants a receive buffer of 5000 bytes at most for each socket, and less for each further one."""

    granted = 5000

    def setsockopt(self, level: int, name: int, value: Any, *_rest: Any) -> None:
        if name == sockets._SO_RCVBUFFORCE:
            raise PermissionError("no CAP_NET_ADMIN")
        if name == socket.SO_RCVBUF:
            value = FakeSmallKernel.granted = FakeSmallKernel.granted - 1000
        super().setsockopt(level, name, value)


def test_a_small_buffer_is_said_with_the_line_that_mends_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", FakeSmallKernel)
    with caplog.at_level(logging.WARNING), listening(workers=2, buffer=1 << 30) as ours:
        assert ours.receive_buffer == 3000  # the smallest of them
    (record,) = caplog.records
    assert f"sysctl -w net.core.rmem_max={1 << 30}" in record.getMessage()
    assert (vars(record)["asked"], vars(record)["given"]) == (1 << 30, 3000)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "not a host"])
def test_a_host_that_is_not_ours_is_one_sentence(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_LEAVING_SECONDS", 60.0)
    monkeypatch.setattr(time, "sleep", lambda _seconds: pytest.fail("waiting does not help"))
    with pytest.raises(MachineError, match=rf"can't listen on UDP {host}:0 \(.+\).*MARE_UDP__HOST") as refused:
        listen(chosen(host=host))
    assert refused.value.exit_status == 2
