"""Every datagram that came is handed on as it came, with its sender; every one that the kernel dropped is counted."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udp_server import receive
from udp_server.ledger import Ledger
from udp_server.receive import BATCH, Receiver

LARGEST = 65_507  # bytes that IPv4's length field leaves to a payload

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel does not tell what it drops")


def both_ways(monkeypatch: pytest.MonkeyPatch, one_by_one: bool) -> None:
    if one_by_one:
        monkeypatch.setattr(receive, "_Batch", receive._OneByOne)


@pytest.fixture(params=[False, True], ids=["recvmmsg", "one by one"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of reading: on Linux, and as on macOS."""
    both_ways(monkeypatch, request.param)


@contextmanager
def bound(buffer: int = 1 << 20, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        made.bind((host, 0))
        yield made


@contextmanager
def sender_to(receiver: socket.socket, host: str = "") -> Iterator[socket.socket]:
    """One that sends from `host`, by default to the very address that is bound."""
    to = host or receiver.getsockname()[0]
    with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((to, receiver.getsockname()[1]))
        yield sender


def everything(receiver: Receiver) -> list[bytes]:
    found: list[bytes] = []
    while batch := receiver.receive():
        assert len(batch) <= BATCH
        found += batch
    return found


@pytest.mark.usefixtures("way")
def test_datagrams_come_in_batches_complete_and_in_order() -> None:
    ledger, count = Ledger(), 2 * BATCH + 7
    with bound(4 << 20) as socket_, sender_to(socket_) as sender:
        receiver = Receiver(socket_, ledger)
        assert receiver.receive() == []
        for number in range(count):
            sender.send(b"%d" % number)
        sizes, found = [], []
        while batch := receiver.receive():
            sizes.append(len(batch))
            found += batch
    assert sizes == [BATCH, BATCH, 7]
    assert found == [b"%d" % number for number in range(count)]
    assert ledger.datagrams == count


@pytest.mark.usefixtures("way")
def test_the_empty_and_the_largest_datagram_come_whole() -> None:
    largest = os.urandom(LARGEST)
    payloads = [b"", largest, b"", b"short", largest[::-1], b"x"]
    with bound() as socket_, sender_to(socket_) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        receiver = Receiver(socket_, Ledger())
        for payload in payloads:
            sender.send(payload)
        first = receiver.receive()
        sender.send(b"later")
        assert receiver.receive() == [b"later"]
    assert first == payloads  # also after the buffers have been used again


@pytest.mark.parametrize("one_by_one", [False, True])
def test_whatever_is_sent_is_received(one_by_one: bool) -> None:
    with pytest.MonkeyPatch.context() as patched, bound() as socket_, sender_to(socket_) as sender:
        both_ways(patched, one_by_one)
        receiver = Receiver(socket_, Ledger())

        @settings(max_examples=50)
        @given(st.lists(st.binary(max_size=1500), max_size=20))
        def holds(payloads: list[bytes]) -> None:
            for payload in payloads:
                sender.send(payload)
            assert everything(receiver) == payloads

        holds()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("host", "to", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("::1", "::1", "::1"),
        ("::", "127.0.0.1", "::ffff:127.0.0.1"),  # one socket for both
    ],
)
def test_each_datagram_has_its_sender(host: str, to: str, expected: str) -> None:
    with contextlib.ExitStack() as held:
        try:
            socket_ = held.enter_context(bound(host=host))
            senders = [held.enter_context(sender_to(socket_, to)) for _ in range(3)]
        except OSError:
            pytest.skip("this machine has no IPv6")
        receiver = Receiver(socket_, Ledger())
        for order in ([0, 1, 2, 1, 0], [2]):
            for number in order:
                senders[number].send(b"%d" % number)
            batch = receiver.receive()
            assert batch == [b"%d" % number for number in order]
            found = [receiver.sender(place) for place in range(len(batch))]
            assert found == [(expected, senders[number].getsockname()[1]) for number in order]


@on_linux
@pytest.mark.usefixtures("way")
def test_what_the_kernel_drops_is_counted_to_the_datagram() -> None:
    ledger, sent = Ledger(), 0
    with bound(20_000) as socket_, sender_to(socket_) as sender:
        receiver = Receiver(socket_, ledger)
        for round_ in range(1, 4):
            for _ in range(200):  # nobody reads meanwhile
                sender.send(b"x" * 1000)
            sent += 200
            assert receiver.queued_bytes() > 1000
            everything(receiver)
            receiver.count_drops()
            assert 0 < ledger.datagrams < sent
            assert ledger.kernel_dropped == sent - ledger.datagrams
            assert ledger.kernel_dropped > 100 * round_
            assert receiver.queued_bytes() == 0
        receiver.count_drops()
        assert ledger.kernel_dropped == sent - ledger.datagrams


@on_linux
@pytest.mark.usefixtures("way")
def test_drops_are_counted_once_across_a_workers_restart_on_the_same_socket() -> None:
    ledger = Ledger()
    with bound(20_000) as socket_, sender_to(socket_) as sender:
        first = Receiver(socket_, ledger)
        for _ in range(100):
            sender.send(b"x" * 1000)
        first.count_drops()
        counted, dropped = first.counted(), ledger.kernel_dropped
        assert dropped > 0
        for _ in range(50):  # while there is no worker
            sender.send(b"x" * 1000)
        second = Receiver(socket_, ledger, counted)
        second.count_drops()
        assert ledger.kernel_dropped == dropped + 50
        everything(second)
        assert ledger.kernel_dropped == 150 - ledger.datagrams
        assert second.counted() == (counted[0], dropped + 50)


@on_linux
def test_another_socket_counts_its_drops_from_its_making() -> None:
    ledger = Ledger()
    with bound() as earlier:
        counted = (Receiver(earlier, Ledger()).counted()[0], 7)
        with bound(20_000) as socket_, sender_to(socket_) as sender:
            for _ in range(100):  # before there is a worker at all
                sender.send(b"x" * 1000)
            receiver = Receiver(socket_, ledger, counted)
            receiver.count_drops()
            everything(receiver)
    assert ledger.kernel_dropped == 100 - ledger.datagrams > 0


def test_the_kernels_count_may_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, fake_counts = Ledger(), iter([2**31 - 1, 2**32 - 2, 3, 3])
    with bound() as socket_:
        receiver = Receiver(socket_, ledger)
        monkeypatch.setattr(receiver, "_memory", lambda _field: next(fake_counts))
        for _ in range(4):
            receiver.count_drops()
    assert ledger.kernel_dropped == 2**32 + 3


def test_elsewhere_than_on_linux_it_reads_and_knows_of_no_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive, "_ON_LINUX", False)
    ledger = Ledger()
    with bound() as socket_, sender_to(socket_) as sender:
        receiver = Receiver(socket_, ledger)
        assert isinstance(receiver._batch, receive._OneByOne)
        sender.send(b"1")
        assert receiver.receive() == [b"1"]
        receiver.count_drops()
        assert (ledger.kernel_dropped, receiver.queued_bytes()) == (0, 0)
