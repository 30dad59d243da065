"""The gateway's sockets, made by its parent process: a worker that dies takes nothing along that waits in them."""

from __future__ import annotations

import errno
import logging
import socket
import sys
import time
from dataclasses import dataclass

from maredata.errors import EngineAlreadyRunning
from maredata.listening import explained
from maredata.settings import Settings, Udp

log = logging.getLogger(__name__)

_SO_RCVBUFFORCE = 33  # Linux's number, which Python's socket module doesn't name
_BACKLOG = 1024
_ANY_PORT_TRIES = 20
_LEAVING_SECONDS = 8.0  # workers whose parent was killed let go of the port within that time


@dataclass(frozen=True)
class Sockets:
    """One UDP socket for each worker; the TCP listener, which all of them share; the receive buffer in bytes."""

    udp: list[socket.socket]
    tcp: socket.socket | None
    receive_buffer: int

    @property
    def port(self) -> int:
        port: int = self.udp[0].getsockname()[1]
        return port

    def close(self) -> None:
        for held in (*self.udp, *([self.tcp] if self.tcp else [])):
            held.close()


def listen(settings: Settings) -> Sockets:
    """Raises EngineAlreadyRunning where somebody has the port, MachineError where it can't be had."""
    for _ in range(_ANY_PORT_TRIES if settings.udp.port == 0 else 0):
        try:
            return _listen(settings)
        except EngineAlreadyRunning:
            continue  # the number that the kernel gave for UDP is somebody's for TCP
    return _listen(settings)


def _listen(settings: Settings) -> Sockets:
    udp = settings.udp
    with explained("gateway", "UDP", udp.host, udp.port, "UDP"):
        first = _await_port(udp, shared=udp.workers > 1)
        port = first.getsockname()[1]
        receivers = [first, *(_bound(udp, socket.SOCK_DGRAM, port, shared=True) for _ in range(udp.workers - 1))]
    listener = None
    if settings.tcp.enabled:
        with explained("gateway", "TCP", udp.host, port, "UDP"):
            listener = _bound(udp, socket.SOCK_STREAM, port)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
    given = min(_grow_buffer(receiver, udp.receive_buffer) for receiver in receivers)
    if given < udp.receive_buffer:
        log.warning(
            "the receive buffer is smaller than asked, bursts may be dropped: sysctl -w net.core.rmem_max=%d",
            udp.receive_buffer,
            extra={"asked": udp.receive_buffer, "given": given},
        )
    return Sockets(receivers, listener, given)


def _await_port(udp: Udp, shared: bool) -> socket.socket:
    """The first socket. Nobody else may have the port, not even one who would share it."""
    deadline = time.monotonic() + _LEAVING_SECONDS
    while True:
        try:
            alone = _bound(udp, socket.SOCK_DGRAM, udp.port)
            break
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    if not shared:
        return alone
    port = alone.getsockname()[1]
    alone.close()
    return _bound(udp, socket.SOCK_DGRAM, port, shared=True)


def _bound(udp: Udp, kind: socket.SocketKind, port: int, shared: bool = False) -> socket.socket:
    family, _, protocol, _, address = socket.getaddrinfo(udp.host, port, type=kind, flags=socket.AI_PASSIVE)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if kind == socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections may linger
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _grow_buffer(receiver: socket.socket, asked: int) -> int:
    """The receive buffer that the kernel really gave, in bytes of the setting's kind."""
    try:
        # Beyond net.core.rmem_max, for whoever has CAP_NET_ADMIN.
        receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, asked)
    except OSError:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, asked)
    given = receiver.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    # Linux doubles the number for its own bookkeeping, and reports it doubled.
    return given // 2 if sys.platform == "linux" else given
