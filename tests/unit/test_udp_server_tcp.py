"""Lines over TCP and their totals, on real sockets: whatever one sender does, all others' lines arrive."""

from __future__ import annotations

import errno
import logging
import os
import resource
import select
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import waiting
from hypothesis import given
from hypothesis import strategies as st

from maredata.settings import Tcp
from udp_server import tcp as module
from udp_server.tcp import Chunk, Connection, Overlong, Splitter, Streams

await_true = partial(waiting.await_true, seconds=20)
Peer = tuple[str, int]


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Gateway:
    """Streams on a port of their own, and what the main loop does with them."""

    def __init__(self, listener: socket.socket, streams: Streams) -> None:
        self.address: Peer = listener.getsockname()[:2]
        self.streams = streams
        self.handles = True  # each line is taken care of as soon as it is here
        self.lines: defaultdict[Peer, list[bytes]] = defaultdict(list)
        self.seen: dict[Peer, Connection] = {}

    def readable(self) -> bool:
        return bool(select.select([self.streams.fileno()], [], [], 0)[0])

    def turn(self, most_bytes: int = 1 << 20) -> list[Chunk]:
        chunks = self.streams.receive(most_bytes)
        for chunk in chunks:
            self.seen[chunk.connection.peer] = chunk.connection
            self.lines[chunk.connection.peer] += chunk.lines
            if self.handles:
                self.streams.handled(chunk.connection, len(chunk.lines))
        return chunks

    def until(self, condition: Callable[[], Any], what: str = "") -> None:
        """Turns whenever the descriptor is readable, and only then, until the condition holds."""

        def step() -> Any:
            for _ in range(2000):
                if not self.readable():
                    return condition()
                self.turn()
            raise AssertionError("the descriptor stays readable though there is nothing to do")

        await_true(step, what=what)

    def connect(self, receive_buffer: int = 0) -> socket.socket:
        """A client that is accepted already; it fails rather than waits for ever."""
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(20)
        before = self.streams.accepted_total
        client.connect(self.address)
        self.until(lambda: self.streams.accepted_total > before)
        return client

    def lines_of(self, client: socket.socket) -> list[bytes]:
        return self.lines[client.getsockname()]

    def connection_of(self, client: socket.socket) -> Connection:
        return next(one for one in self.streams._connections if one.peer == client.getsockname())


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=512)


@contextmanager
def gateway(
    listener: socket.socket | None = None,
    admit: Callable[[str], bool] = lambda _host: True,
    clock: Callable[[], float] | None = None,
    **settings: int,
) -> Iterator[Gateway]:
    listener = listener or listening()
    streams = Streams(listener, Tcp(**settings), admit, clock or FakeClock())
    one = Gateway(listener, streams)
    try:
        yield one
    finally:
        streams.close()


def read_to_end(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65_536), b""))


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def await_hangup(connection: Connection) -> None:
    """Until the kernel knows that the peer is gone."""
    poll = select.poll()
    poll.register(connection.socket, 0)
    await_true(lambda: poll.poll(0))


# --- lines -----------------------------------------------------------------------------------------------------------


def expected(stream: bytes, longest: int) -> list[bytes]:
    whole = stream.removesuffix(b"\n").split(b"\n") if stream else []
    return [Overlong(line[:longest]) if len(line) > longest else line for line in whole]


@given(
    stream=st.lists(st.sampled_from([b"\n", b"a", b"bcd", b"efghi", b"0123456789" * 3, b"\r"])).map(b"".join),
    cuts=st.lists(st.integers(0, 200)),
    longest=st.integers(1, 12),
)
def test_any_chopping_of_a_stream_gives_the_same_lines(stream: bytes, cuts: list[int], longest: int) -> None:
    splitter = Splitter(longest)
    lines: list[bytes] = []
    for begin, end in pairwise(sorted([0, *(min(cut, len(stream)) for cut in cuts), len(stream)])):
        lines += splitter.feed(stream[begin:end])
        assert len(splitter._beginning) <= longest
    lines += splitter.finish()
    assert lines == expected(stream, longest)
    assert [type(line) for line in lines] == [type(line) for line in expected(stream, longest)]


def test_lines_split_over_segments_arrive_whole_and_in_order() -> None:
    stream = b"".join(b'{"n": %d}\n' % n for n in range(30))
    with gateway() as it, it.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for begin in range(0, len(stream), 7):
            client.sendall(stream[begin : begin + 7])
            it.until(lambda: True)
        it.until(lambda: len(it.lines_of(client)) == 30)
        assert it.lines_of(client) == stream.splitlines()
        connection = it.connection_of(client)
        assert connection.peer == client.getsockname()
        assert connection.host == "127.0.0.1"


def test_half_a_line_before_an_orderly_end_is_a_line_and_the_last_total_covers_it() -> None:
    with gateway() as it, it.connect() as client:
        it.handles = False
        client.sendall(b"whole\nhalf")
        client.shutdown(socket.SHUT_WR)
        it.until(lambda: it.lines_of(client) == [b"whole", b"half"])
        connection = it.seen[client.getsockname()]
        it.streams.handled(connection, 1)
        it.until(lambda: True)
        assert it.streams.connections == 1, "it is told about its last line before it is closed"
        it.streams.handled(connection, 1)
        it.until(lambda: it.streams.connections == 0)
        assert read_to_end(client) == b"1\n2\n"
        assert it.streams.resets == 0


def test_an_end_without_anything_before_it_closes_the_connection() -> None:
    with gateway() as it:
        it.connect().close()
        it.until(lambda: it.streams.connections == 0)
        assert (it.streams.accepted_total, it.streams.resets, it.lines) == (1, 0, {})


def test_half_a_line_before_a_reset_is_dropped() -> None:
    with gateway() as it, it.connect() as client:
        it.handles = False
        lines = it.lines_of(client)
        client.sendall(b"whole\nhalf")
        it.until(lambda: lines)
        reset(client)
        it.until(lambda: it.streams.connections == 0, "nobody is left to be told of the whole one")
        assert lines == [b"whole"]
        assert it.streams.resets == 1


def test_a_reset_that_is_met_in_writing_is_a_reset_to_reading_too() -> None:
    """An error is reported once. Reading meets no more than the end, and must not take that for an orderly one."""
    with gateway() as it, it.connect() as client:
        it.handles = False
        lines = it.lines_of(client)
        client.sendall(b"first\n")
        it.until(lambda: lines)
        connection = it.connection_of(client)
        it.streams.pause(True)
        client.sendall(b"second\nhalf")
        reset(client)
        await_hangup(connection)
        it.streams.handled(connection, 1)
        it.until(lambda: connection.deaf)
        it.streams.pause(False)
        it.until(lambda: it.streams.connections == 0)
        assert lines == [b"first", b"second"]
        assert it.streams.resets == 1
        it.streams.handled(connection, 1)  # Kafka's word may come after the end
        assert not it.readable()


def test_totals_that_nobody_is_there_to_read_spoil_no_orderly_end() -> None:
    with gateway() as it, it.connect() as client:
        it.handles = False
        lines = it.lines_of(client)
        client.sendall(b"1\n2\n")
        it.until(lambda: len(lines) == 2)
        connection = it.connection_of(client)
        it.streams.pause(True)
        client.sendall(b"3\nhalf")
        client.close()
        it.streams.handled(connection, 1)
        it.until(lambda: connection.told == 1)
        await_hangup(connection)
        it.streams.handled(connection, 1)
        it.until(lambda: connection.deaf)
        it.streams.pause(False)
        it.until(lambda: it.streams.connections == 0)
        assert lines == [b"1", b"2", b"3", b"half"]
        assert it.streams.resets == 0


def test_an_overlong_line_is_handed_on_once_and_never_kept_and_the_next_one_is_good() -> None:
    with gateway(longest_line=1000) as it, it.connect() as client:
        connection = it.connection_of(client)
        for _ in range(100):  # ten times the limit
            client.sendall(b"x" * 100)
            it.until(lambda: True)
            assert len(connection.splitter._beginning) <= 1000
        it.until(lambda: it.lines_of(client))
        client.sendall(b"y" * 70_000 + b"\ngood\n" + b"z" * 1000 + b"\n" + b"z" * 1001 + b"\n")
        it.until(lambda: len(it.lines_of(client)) == 4)
        assert it.lines_of(client) == [b"x" * 1000, b"good", b"z" * 1000, b"z" * 1000]
        assert [isinstance(line, Overlong) for line in it.lines_of(client)] == [True, False, False, True]
        assert it.streams.too_long == 2
        client.shutdown(socket.SHUT_WR)
        it.until(lambda: it.streams.connections == 0)
        assert read_to_end(client).endswith(b"4\n")


# --- totals ----------------------------------------------------------------------------------------------------------


def test_totals_are_cumulative_and_come_back_when_lines_are_taken_care_of() -> None:
    with gateway() as it, it.connect() as client, it.connect() as other:
        it.handles = False
        client.sendall(b"a\nb\nc\n")
        other.sendall(b"z\n")
        it.until(lambda: len(it.lines_of(client)) == 3 and len(it.lines_of(other)) == 1)
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(100)
        client.settimeout(20)
        connection = it.connection_of(client)
        for lines, total in ((1, b"1\n"), (2, b"3\n")):
            it.streams.handled(connection, lines)
            it.until(lambda: True)
            assert client.recv(100) == total
        for _ in range(3):
            client.sendall(b"d\n")
        it.until(lambda: len(it.lines_of(client)) == 6)
        for _ in range(3):
            it.streams.handled(connection, 1)
        it.until(lambda: True)
        assert client.recv(100) == b"6\n", "one total for all that was handled since"


def test_a_sender_that_never_reads_its_totals_loses_nothing_and_stops_nothing() -> None:
    count = 100_000
    with gateway() as it, it.connect(receive_buffer=4096) as client:
        connection = it.connection_of(client)
        thread = threading.Thread(target=client.sendall, args=(b"".join(b"%d\n" % n for n in range(count)),))
        thread.start()
        it.handles = False
        it.until(lambda: len(it.lines_of(client)) == count)
        thread.join(20)
        assert it.lines_of(client) == [b"%d" % n for n in range(count)]
        held_up = 0
        for _ in range(count):
            it.streams.handled(connection, 1)
            it.turn()
            held_up += connection.told < connection.handled
        assert held_up > count // 2
        it.until(lambda: True, "nobody waits for it")
        client.shutdown(socket.SHUT_WR)
        it.until(lambda: connection.ended)
        received = bytearray()

        def read() -> bool:
            with waiting_no_more(client):
                received.extend(client.recv(65_536))
            return received.endswith(b"\n%d\n" % count)

        it.until(read)
        totals = [int(total) for total in received.split()]
        assert totals == sorted(set(totals))
        assert len(totals) < count // 2, "most were replaced by later ones"
        assert client.recv(10) == b""


@contextmanager
def waiting_no_more(client: socket.socket) -> Iterator[None]:
    client.setblocking(False)
    try:
        yield
    except BlockingIOError:
        pass
    finally:
        client.settimeout(20)


class FakeStingySocket(socket.socket):
    """Takes a single byte and then nothing, in turns."""

    full = True

    def send(self, data: Any, flags: int = 0) -> int:
        self.full = not self.full
        if self.full:
            raise BlockingIOError
        return super().send(data[:1], flags)


class FakeStingyListener(socket.socket):
    def accept(self) -> tuple[socket.socket, Any]:
        sock, address = super().accept()
        return FakeStingySocket(fileno=sock.detach()), address


def test_a_total_that_was_begun_is_finished_and_one_that_was_not_is_replaced() -> None:
    with gateway(FakeStingyListener(fileno=listening().detach())) as it, it.connect() as client:
        connection = it.connection_of(client)
        connection.received = 1234  # as if it had sent so many
        it.streams.handled(connection, 15)
        it.turn()  # "1"
        assert (connection.told, connection.unsent) == (15, b"5\n")
        it.streams.handled(connection, 985)
        it.streams.handled(connection, 1)
        assert connection.unsent == b"5\n"
        it.turn()
        it.turn()
        assert (connection.told, connection.unsent) == (15, b""), "1001 is not begun"
        it.streams.handled(connection, 233)
        client.shutdown(socket.SHUT_WR)
        it.until(lambda: it.streams.connections == 0)
        assert read_to_end(client) == b"15\n1234\n"


# --- many senders ----------------------------------------------------------------------------------------------------


def test_silent_connections_hinder_nobody_and_each_sender_keeps_its_order() -> None:
    with gateway() as it:
        clients = [it.connect() for _ in range(200)]
        talkers = [client for n, client in enumerate(clients) if n % 4]
        assert len(talkers) == 150
        for n in range(50):
            for client in talkers:
                client.sendall(b"%d of %d\n" % (n, client.getsockname()[1]))
            it.until(lambda: True)
        it.until(lambda: sum(map(len, it.lines.values())) == 150 * 50)
        for client in talkers:
            assert it.lines_of(client) == [b"%d of %d" % (n, client.getsockname()[1]) for n in range(50)]
            client.shutdown(socket.SHUT_WR)
        it.until(lambda: it.streams.connections == 50)
        assert all(read_to_end(client).endswith(b"50\n") for client in talkers)
        for client in clients:
            client.close()
        it.until(lambda: it.streams.connections == 0)


def test_a_connection_that_sends_nothing_gives_nothing_to_do() -> None:
    with gateway() as it, it.connect():
        assert not it.readable()
        assert it.streams.receive() == []
        assert it.streams.connections == 1


def fill(client: socket.socket, stream: bytes) -> int:
    """Sends until the gateway's side takes no more; how many bytes that were."""
    sent = 0
    with waiting_no_more(client):
        while sent < len(stream):
            sent += client.send(stream[sent : sent + 65_536])
    assert sent < len(stream), "nobody held it back"
    return sent


def test_each_connection_has_its_turn_and_a_call_takes_no_more_than_asked() -> None:
    with gateway() as it:
        clients = [it.connect() for _ in range(8)]
        for client in clients:
            assert fill(client, (b"x" * 99 + b"\n") * 200_000) > 4 * module._READ
        for _ in range(3):
            served = [chunk.connection.peer for _ in clients for chunk in it.streams.receive(1)]
            assert sorted(served) == sorted(client.getsockname() for client in clients)
            assert len(it.streams._turns) <= len(clients)
        chunks = it.streams.receive(3 * module._READ)
        assert 3 <= len(chunks) <= 4
        assert all(len(line) <= 99 for chunk in chunks for line in chunk.lines)
        for client in clients:
            client.close()


def test_empty_lines_are_not_taken_by_the_million() -> None:
    with gateway() as it:
        clients = [it.connect() for _ in range(8)]
        for client in clients:
            assert fill(client, b"\n" * 20_000_000) > 1 << 18
        assert 1 <= sum(len(chunk.lines) for chunk in it.streams.receive()) <= module._READ
        for client in clients:
            client.close()


def test_further_connections_than_the_limit_are_closed_at_once() -> None:
    with gateway(connections=3) as it:
        clients = [it.connect() for _ in range(3)]
        with socket.create_connection(it.address, 20) as late:
            it.until(lambda: it.streams.refused_total == 1)
            assert late.recv(1) == b""
        assert (it.streams.connections, it.streams.accepted_total) == (3, 3)
        clients[0].close()
        it.until(lambda: it.streams.connections == 2)
        with it.connect() as client:
            client.sendall(b"in time\n")
            it.until(lambda: it.lines_of(client) == [b"in time"])


def test_hosts_that_may_not_send_are_closed_at_once() -> None:
    asked: list[str] = []

    def admit(host: str) -> bool:
        asked.append(host)
        return False

    with gateway(admit=admit) as it, socket.create_connection(it.address, 20) as client:
        it.until(lambda: it.streams.refused_total == 1)
        assert client.recv(1) == b""
        assert asked == ["127.0.0.1"]
        assert (it.streams.connections, it.streams.accepted_total) == (0, 0)


def test_connections_leave_files_to_kafka_and_the_spool(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def allowed(files: int) -> int:
        monkeypatch.setattr(resource, "getrlimit", lambda _which: (files, files))
        return module._affordable(2000)

    assert [allowed(files) for files in (resource.RLIM_INFINITY, 1 << 20, 2128)] == [2000] * 3
    assert not caplog.records
    assert [allowed(files) for files in (1024, 64)] == [896, 1]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


def test_a_connection_never_blocks_sends_totals_at_once_and_finds_out_that_its_peer_vanished() -> None:
    with gateway() as it, it.connect() as client:
        sock = it.connection_of(client).socket
        assert not sock.getblocking()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        idle = getattr(socket, "TCP_KEEPIDLE", None) or socket.TCP_KEEPALIVE  # type: ignore[attr-defined]
        wait, every, times = (
            sock.getsockopt(socket.IPPROTO_TCP, option) for option in (idle, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert wait + every * times <= 120


# --- accepting -------------------------------------------------------------------------------------------------------


@contextmanager
def no_file_left() -> Iterator[None]:
    """This process can open no further file."""
    earlier = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, earlier[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, earlier)


def test_without_a_free_file_the_rest_goes_on_and_later_the_waiting_are_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with gateway() as it, it.connect() as early, socket.socket() as late:
        late.settimeout(20)
        late.connect(it.address)
        late.sendall(b"late\n")
        with no_file_left():
            await_true(it.readable)
            it.turn()
            assert [record.levelno for record in caplog.records] == [logging.WARNING]
            early.sendall(b"early\n")
            it.until(lambda: it.lines_of(early) == [b"early"])
            assert not it.readable(), "nothing spins meanwhile"
            it.streams.tidy()
            it.until(lambda: True)
            assert len(caplog.records) == 2, "it was tried again"
        assert not it.readable()
        assert it.streams.connections == 1
        it.streams.tidy()
        it.until(lambda: it.lines_of(late) == [b"late"])
        assert late.recv(10) == b"1\n"


class FakeAbortingListener(socket.socket):
    aborts = 1

    def accept(self) -> tuple[socket.socket, Any]:
        if self.aborts:
            self.aborts -= 1
            raise OSError(errno.ECONNABORTED, "gone before it was accepted")
        return super().accept()


def test_a_connection_that_is_gone_before_it_is_accepted_holds_up_no_other() -> None:
    with gateway(FakeAbortingListener(fileno=listening().detach())) as it, it.connect() as client:
        client.sendall(b"here\n")
        it.until(lambda: it.lines_of(client) == [b"here"])


def test_a_listener_can_be_shared() -> None:
    listener = listening()
    with gateway(listener.dup()) as one, gateway(listener) as two, socket.create_connection(one.address, 20) as client:
        await_true(lambda: one.readable() and two.readable())
        one.turn()
        two.turn()
        assert (one.streams.connections, two.streams.connections) == (1, 0)
        client.sendall(b"a\n")
        one.until(lambda: one.lines_of(client) == [b"a"])


def test_the_end_no_new_connections_then_last_totals_then_nothing() -> None:
    with gateway() as it, it.connect() as client:
        it.handles = False
        it.streams.stop_listening()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(it.address, 20)
        it.streams.tidy()
        client.sendall(b"a\nb\n")
        it.until(lambda: len(it.lines_of(client)) == 2)
        connection = it.connection_of(client)
        it.streams.handled(connection, 2)
        it.streams.close()
        assert read_to_end(client) == b"2\n"
        assert it.streams.connections == 0
        it.streams.handled(connection, 0)


# --- time and pauses -------------------------------------------------------------------------------------------------


def test_the_idle_are_closed_but_nobody_whose_lines_are_not_taken_care_of() -> None:
    clock = FakeClock()
    with gateway(clock=clock, idle_seconds=60) as it, it.connect() as idle, it.connect() as busy, it.connect() as owed:
        it.handles = False
        owed.sendall(b"a\n")
        it.until(lambda: it.lines_of(owed))
        debt = it.connection_of(owed)
        clock.now += 50
        busy.sendall(b"half a line")
        it.until(lambda: it.connection_of(busy).heard == clock.now)
        clock.now += 10
        it.streams.tidy()
        assert it.streams.connections == 3, "not before the time is over"
        clock.now += 1
        it.streams.tidy()
        assert it.streams.connections == 2
        assert idle.recv(1) == b""
        clock.now += 100
        it.streams.tidy()
        assert it.streams.connections == 1
        assert busy.recv(1) == b""
        it.streams.handled(debt, 1)
        it.streams.tidy()
        assert it.streams.connections == 0
        assert read_to_end(owed) == b"1\n", "its last total is not forgotten"


def test_nobody_is_idle_during_a_pause_nor_just_after_it() -> None:
    clock = FakeClock()
    with gateway(clock=clock, idle_seconds=60) as it, it.connect() as client:
        it.streams.pause(True)
        clock.now += 3600
        it.streams.tidy()
        client.sendall(b"a\n")
        it.streams.pause(False)
        it.streams.tidy()
        clock.now += 59
        it.streams.tidy()
        assert it.streams.connections == 1
        clock.now += 2
        it.streams.tidy()
        assert it.streams.connections == 0


def test_who_waits_for_its_turn_is_not_idle() -> None:
    clock = FakeClock()
    with gateway(clock=clock, idle_seconds=60) as it, it.connect() as one, it.connect() as two:
        one.sendall(b"a\n")
        two.sendall(b"a\n")
        await_true(lambda: len(it.streams._readers.select(0)) == 2)
        assert len(it.turn(most_bytes=1)) == 1
        clock.now += 61
        it.streams.tidy()
        assert it.streams.connections == 1
        it.until(lambda: sum(map(len, it.lines.values())) == 2)


def test_a_pause_holds_the_senders_back_and_loses_nothing() -> None:
    count = 200_000
    stream = b"".join(b"%099d\n" % n for n in range(count))
    with gateway() as it, it.connect() as client, it.connect() as other:
        it.handles = False
        client.sendall(b"first\n")
        it.until(lambda: it.lines_of(client) == [b"first"])
        for _ in range(2):
            it.streams.pause(True)
        sent = fill(client, stream)
        other.sendall(b"other\n")
        it.until(lambda: True)  # and the descriptor is not readable all the time
        assert it.streams.receive() == []
        with it.connect() as third:
            third.sendall(b"third\n")
            it.streams.handled(it.connection_of(client), 1)
            it.until(lambda: True)
            assert client.recv(10) == b"1\n", "totals are still written"
            assert list(it.lines) == [client.getsockname()]
            for _ in range(2):
                it.streams.pause(False)
            rest = threading.Thread(target=client.sendall, args=(stream[sent:],))
            rest.start()
            it.until(lambda: len(it.lines_of(client)) == count + 1)
            it.until(lambda: it.lines_of(other) and it.lines_of(third))
            rest.join(20)
        assert it.lines_of(client)[1:] == stream.splitlines()
        assert it.lines_of(other) == [b"other"]


def test_a_pause_amid_a_turn_keeps_what_is_waiting() -> None:
    with gateway() as it:
        clients = [it.connect() for _ in range(4)]
        for client in clients:
            client.sendall(b"a\n")
        await_true(lambda: len(it.streams._readers.select(0)) == 4)
        assert len(it.turn(most_bytes=1)) == 1
        it.streams.pause(True)
        assert it.turn() == []
        assert not it.readable()
        clients[0].close()
        it.streams.pause(False)
        it.until(lambda: sum(map(len, it.lines.values())) == 4)
        for client in clients:
            client.close()
