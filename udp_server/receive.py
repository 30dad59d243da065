"""The socket: datagrams as they come, in batches, and what the kernel dropped before we could read it."""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import struct
import sys
from pathlib import Path

from maredata.errors import EngineAlreadyRunning, MachineError
from maredata.settings import Udp
from udp_server.ledger import Ledger

log = logging.getLogger(__name__)

Address = tuple[str, int] | tuple[str, int, int, int]
Datagram = tuple[bytes, Address]

BATCH = 512  # datagrams between two looks at Kafka's reports; 512 of the largest are 32 MiB
_LARGEST = 65_535  # no UDP payload is longer, so none is ever cut
_ANCILLARY = 64  # bytes; SO_RXQ_OVFL needs 24

# Python's socket module names neither; the numbers are Linux's.
_SO_RCVBUFFORCE = 33
_SO_RXQ_OVFL = 40


class Receiver:
    """Listens from its making on. Counts datagrams and kernel drops in the ledger."""

    def __init__(self, settings: Udp, ledger: Ledger) -> None:
        self._socket = _listen(settings)
        self._ledger = ledger
        self._overflow = 0
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)
        self.buffer = _grow_buffer(self._socket, settings.receive_buffer)
        self.port: int = self._socket.getsockname()[1]

    def receive(self, wait: float) -> list[Datagram]:
        """What the socket holds, up to a batch; after `wait` seconds without any, nothing."""
        return self._drain() or (self._drain() if self._readable.poll(wait * 1000) else [])

    def count_drops(self) -> None:
        """Counts the kernel's drops since the last datagram too: of these only /proc knows."""
        table = Path("/proc/net/udp6" if self._socket.family == socket.AF_INET6 else "/proc/net/udp")
        inode = str(os.fstat(self._socket.fileno()).st_ino)
        try:
            rows = [row.split() for row in table.read_text("ascii").splitlines()[1:]]
        except OSError:
            return
        for row in rows:
            if row[9] == inode:
                self._saw(int(row[12]))

    def close(self) -> None:
        self.count_drops()
        self._socket.close()

    def _drain(self) -> list[Datagram]:
        batch: list[Datagram] = []
        receive = self._socket.recvmsg
        try:
            for _ in range(BATCH):
                payload, ancillary, _flags, sender = receive(_LARGEST, _ANCILLARY)
                batch.append((payload, sender))
                if ancillary:
                    self._count_drops(ancillary)
        except BlockingIOError:
            pass
        self._ledger.datagrams += len(batch)
        return batch

    def _count_drops(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, _SO_RXQ_OVFL):
                self._saw(*struct.unpack("=I", data[:4]))

    def _saw(self, overflow: int) -> None:
        # The kernel counts in 32 bits, from the socket's making on. A datagram carries the count at its arrival,
        # which may be behind what /proc has told meanwhile.
        fresh = (overflow - self._overflow) & 0xFFFFFFFF
        if fresh < 1 << 31:
            self._ledger.kernel_dropped += fresh
            self._overflow = overflow


def _listen(settings: Udp) -> socket.socket:
    where = f"{settings.host}:{settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        # No SO_REUSEADDR: with it two gateways could share a port, and one would take the other's readings.
        listener.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise EngineAlreadyRunning(
                f"UDP {where} is in use, probably by a gateway that runs already:"
                " stop it, or choose another MARE_UDP__PORT."
            ) from None
        raise MachineError(
            f"The gateway can't listen on UDP {where} ({error.strerror or error}):"
            " correct MARE_UDP__HOST or MARE_UDP__PORT."
        ) from None
    listener.setblocking(False)
    if sys.platform == "linux":
        listener.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
    return listener


def _grow_buffer(listener: socket.socket, asked: int) -> int:
    """The receive buffer that the kernel really gave, in bytes of the setting's kind."""
    try:
        # Beyond net.core.rmem_max, for whoever has CAP_NET_ADMIN.
        listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, asked)
    except OSError:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, asked)
    given = listener.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    if sys.platform == "linux":
        given //= 2  # Linux doubles the number for its own bookkeeping and reports it doubled
    if given < asked:
        log.warning(
            "the receive buffer is smaller than asked, bursts may be dropped: sysctl -w net.core.rmem_max=%d",
            asked,
            extra={"asked": asked, "given": given},
        )
    return given
