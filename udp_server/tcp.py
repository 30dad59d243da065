"""Readings over TCP, for senders that want to know what arrived.

A sender writes lines. The gateway writes back, on a line of its own, how many of this connection's lines are taken
care of so far: accepted, or rejected and counted. The number is a total, so a sender may read it or not, and after
a reconnect it sends again what no total has covered. One that ends should shut down its sending side and read until
the gateway closes: the last total covers everything. Closing with totals unread makes its kernel reset the
connection, and drop what had not been sent yet.
"""

from __future__ import annotations

import errno
import logging
import resource
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector

from maredata.settings import Tcp

log = logging.getLogger(__name__)

_READ = 1 << 16  # bytes of a connection and turn
_LEAST_LINE = 64  # bytes that a line counts for at least: a megabyte of empty lines would take seconds to reject
_ACCEPTS = 100  # new connections of a turn
_KEPT_FILES = 128  # open files that connections leave to Kafka, the spool and the logs
_SEND_BUFFER = 8192  # bytes; what a sender that never reads can cost. Totals that are late are replaced, not queued
# A peer that is gone without a word is found out after a minute. macOS names the first one otherwise.
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


class Overlong(bytes):
    """The beginning of a line that is too long; its rest was skipped."""

    __slots__ = ()


class Splitter:
    """Cuts a stream of bytes into lines. Between two calls it keeps `longest` bytes at most."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._beginning = bytearray()  # of the line whose end has not come
        self._skipping = False  # the line whose end has not come was too long, and is handed on already

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that end in `data`, without their `\\n`, and the beginning of one that gets too long."""
        lines = data.split(b"\n")
        beginning = lines.pop()
        if lines and self._skipping:
            del lines[0]
            self._skipping = False
        elif lines and self._beginning:
            lines[0] = bytes(self._beginning) + lines[0]
            self._beginning.clear()
        if max(map(len, lines), default=0) > self._longest:
            lines = [line if len(line) <= self._longest else Overlong(line[: self._longest]) for line in lines]
        if not self._skipping:
            self._beginning += beginning
            if len(self._beginning) > self._longest:
                lines.append(Overlong(self._beginning[: self._longest]))
                self._beginning.clear()
                self._skipping = True
        return lines

    def finish(self) -> list[bytes]:
        """The last line, where the stream ended without a line break."""
        return [bytes(self._beginning)] if self._beginning else []


@dataclass(slots=True, eq=False)
class Connection:
    """One sender. Only `Streams` looks beyond `peer` and `host`."""

    peer: tuple[str, int]
    socket: socket.socket
    splitter: Splitter
    heard: float  # when its last bytes came
    received: int = 0  # lines handed on
    handled: int = 0  # of these, lines taken care of
    told: int = 0  # the last total that was written, or begun
    unsent: bytes = b""  # the rest of that
    queued: bool = False  # waits for its turn to be read
    writing: bool = False  # is written to as soon as it can be
    ended: bool = False  # all that it sent is read
    reset: bool = False  # its end is no orderly one; perhaps found out in writing, before it was reached in reading
    deaf: bool = False  # nothing can be written to it any more
    closed: bool = False

    @property
    def host(self) -> str:
        return self.peer[0]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines of one connection in their order, without `\\n`. Those of type Overlong are to be rejected as too long."""

    lines: list[bytes]
    connection: Connection


class Streams:
    """All connections of a process. No method blocks; whatever is due is done by `receive` and `tidy`.

    `listener` listens already and is closed here; other processes may accept from it too. `admit` says of a host
    whether it may connect. To be used by one thread.
    """

    def __init__(
        self,
        listener: socket.socket,
        settings: Tcp,
        admit: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.accepted_total = self.refused_total = self.too_long = self.resets = 0
        self._listener = listener
        self._longest_line = settings.longest_line
        self._idle_seconds = settings.idle_seconds
        self._most = _affordable(settings.connections)
        self._admit = admit
        self._clock = clock
        self._connections: set[Connection] = set()
        self._turns: deque[Connection] = deque()
        self._paused = False
        self._resumed = -inf
        # Selectors inside a selector: thousands of connections are paused by taking out one of them.
        self._readers, self._writers, self._all = DefaultSelector(), DefaultSelector(), DefaultSelector()
        self._all.register(self._readers, EVENT_READ, self._queue_readable)
        self._all.register(self._writers, EVENT_READ, self._write_totals)
        self._listener.setblocking(False)
        self._listening = False
        self._listen()

    @property
    def connections(self) -> int:
        return len(self._connections)

    def fileno(self) -> int:
        """Readable when `receive` has something to do, be it to accept or to write."""
        return self._all.fileno()

    def receive(self, most_bytes: int = 1 << 20) -> list[Chunk]:
        """What has come, from each connection in its turn, up to about `most_bytes` in all."""
        for key, _events in self._all.select(0):
            key.data()
        chunks: list[Chunk] = []
        now = self._clock()
        while self._turns and most_bytes > 0 and not self._paused:
            connection = self._turns.popleft()
            connection.queued = False
            lines, size = self._read(connection, now)
            most_bytes -= max(size, len(lines) * _LEAST_LINE)
            if lines:
                connection.received += len(lines)
                self.too_long += [type(line) for line in lines].count(Overlong)
                chunks.append(Chunk(lines, connection))
            self._close_if_done(connection)
        return chunks

    def handled(self, connection: Connection, lines: int) -> None:
        """So many further lines of it are taken care of; the total is written by the next `receive`."""
        connection.handled += lines
        if not (connection.writing or connection.deaf or connection.closed):
            self._writers.register(connection.socket, EVENT_WRITE, connection)
            connection.writing = True

    def drop(self, connection: Connection) -> None:
        """Ends a connection whose lines could not be taken: no total covers them, so its sender sends them again."""
        if not connection.closed:
            self._close(connection)

    def pause(self, paused: bool) -> None:
        """Stops reading, so that TCP holds the senders back, or goes on with it. All else continues."""
        if paused and not self._paused:
            self._all.unregister(self._readers)
        elif self._paused and not paused:
            self._all.register(self._readers, EVENT_READ, self._queue_readable)
            self._resumed = self._clock()
        self._paused = paused

    def tidy(self) -> None:
        """Once a second: accepts again after an error, and closes connections that have long been silent."""
        self._listen()
        # Who is not read from looks silent, and after a pause nobody has been silent for long.
        since = self._clock() - self._idle_seconds
        if self._paused or self._resumed > since:
            return
        for connection in list(self._connections):
            if connection.heard < since and connection.handled == connection.received and not connection.queued:
                self._dismiss(connection)

    def stop_listening(self) -> None:
        self._rest()
        self._listener.close()

    def close(self) -> None:
        """Ends everything. Totals that can't be written at once are not written."""
        self.stop_listening()
        for connection in list(self._connections):
            self._dismiss(connection)
        for selector in (self._all, self._readers, self._writers):
            selector.close()

    def _listen(self) -> None:
        if not self._listening and self._listener.fileno() >= 0:
            self._all.register(self._listener, EVENT_READ, self._accept)
            self._listening = True

    def _rest(self) -> None:
        if self._listening:
            self._all.unregister(self._listener)
            self._listening = False

    def _accept(self) -> None:
        for _ in range(_ACCEPTS):
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # Without a free file the connection goes on waiting: until the next tidy nobody asks for it again.
                if error.errno != errno.ECONNABORTED:
                    log.warning("no TCP connection can be accepted for a second", extra={"error": str(error)})
                    self._rest()
                return
            try:
                self._welcome(sock, address[:2])
            except OSError:  # it is gone already
                self.refused_total += 1
                sock.close()

    def _welcome(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        if len(self._connections) >= self._most or not self._admit(peer[0]):
            raise ConnectionRefusedError
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        connection = Connection(peer, sock, Splitter(self._longest_line), self._clock())
        self._readers.register(sock, EVENT_READ, connection)
        self._connections.add(connection)
        self.accepted_total += 1

    def _queue_readable(self) -> None:
        for key, _events in self._readers.select(0):
            if not key.data.queued:  # who waits from an earlier call keeps its place
                key.data.queued = True
                self._turns.append(key.data)

    def _read(self, connection: Connection, now: float) -> tuple[list[bytes], int]:
        """Lines, and the number of bytes read for them."""
        try:
            data = connection.socket.recv(_READ)
        except BlockingIOError:
            return [], 0
        except OSError:
            connection.reset = True
            data = b""
        if data:
            connection.heard = now
            return connection.splitter.feed(data), len(data)
        self._readers.unregister(connection.socket)
        connection.ended = True
        if not connection.reset:
            return connection.splitter.finish(), 0
        self.resets += 1
        connection.deaf = True
        return [], 0

    def _write_totals(self) -> None:
        for key, _events in self._writers.select(0):
            self._write(key.data)

    def _write(self, connection: Connection) -> None:
        try:
            while connection.unsent or connection.told < connection.handled:
                total = connection.unsent or b"%d\n" % connection.handled
                sent = connection.socket.send(total)
                # Only now: a total that was not begun gives way to a newer one.
                connection.told = connection.told if connection.unsent else connection.handled
                connection.unsent = total[sent:]
        except BlockingIOError:
            return
        except OSError as error:
            connection.deaf = True
            connection.reset = not isinstance(error, BrokenPipeError)  # that follows an orderly end
        self._stop_writing(connection)
        self._close_if_done(connection)

    def _stop_writing(self, connection: Connection) -> None:
        if connection.writing:
            self._writers.unregister(connection.socket)
            connection.writing = False

    def _close_if_done(self, connection: Connection) -> None:
        told_all = connection.told == connection.received and not connection.unsent
        if connection.ended and (told_all or connection.deaf) and not connection.closed:
            self._close(connection)

    def _dismiss(self, connection: Connection) -> None:
        self._write(connection)
        if not connection.closed:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._stop_writing(connection)
        if not connection.ended:
            self._readers.unregister(connection.socket)
        self._connections.discard(connection)
        connection.closed = True
        connection.socket.close()


def _affordable(connections: int) -> int:
    """As many of them as leave Kafka and the spool the files that they open."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(1, files - _KEPT_FILES)
    if files == resource.RLIM_INFINITY or connections <= most:
        return connections
    log.warning("fewer TCP connections than asked for: raise ulimit -n", extra={"asked": connections, "given": most})
    return most
