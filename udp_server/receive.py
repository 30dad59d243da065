"""The UDP socket: datagrams as they come, in batches, and what the kernel dropped before we could read it.

One `recvmmsg` brings up to 512 datagrams, which costs a third of what as many calls of `socket.recv` do.
Python does not offer it, so it is called through ctypes; elsewhere than on Linux datagrams come one by one.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys

from udp_server.ledger import Ledger

Address = tuple[str, int]

BATCH = 512  # datagrams in one call
_LARGEST = 65_536  # no UDP payload is longer, so none is ever cut
_NAME = 28  # bytes of the longest sockaddr, IPv6's
_ON_LINUX = sys.platform == "linux"

# `SO_MEMINFO` of socket(7): Linux's numbers, which Python's socket module doesn't name. Unlike SO_RXQ_OVFL it
# tells of drops without another datagram having to come.
_SO_MEMINFO = 55
_MEMORY_FIELDS = 9
_QUEUED = 0
_DROPS = 8


class Receiver:
    """Reads a bound socket. Counts datagrams and kernel drops in the ledger.

    What `sender` says holds until the next `receive`.
    """

    def __init__(self, bound: socket.socket, ledger: Ledger, counted: tuple[int, int] = (0, 0)) -> None:
        """`counted` is what the `counted` of an earlier process was, whose socket this may be."""
        self._socket = bound
        self._socket.setblocking(False)
        self._ledger = ledger
        self._batch = _Batch(bound) if _ON_LINUX else _OneByOne(bound)
        self._inode = os.fstat(bound.fileno()).st_ino
        self._dropped = counted[1] if counted[0] == self._inode else 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[bytes]:
        """What the socket holds, up to a batch; never waits."""
        payloads = self._batch.receive()
        self._ledger.datagrams += len(payloads)
        return payloads

    def sender(self, number: int) -> Address:
        """Who sent the datagram of that number in the last batch."""
        return self._batch.sender(number)

    def count_drops(self) -> None:
        """Counts what the kernel has dropped for want of room in the socket's buffer."""
        dropped = self._memory(_DROPS)
        # The kernel counts in 32 bits, from the socket's making on, which was before this process.
        self._ledger.kernel_dropped += (dropped - self._dropped) & 0xFFFFFFFF
        self._dropped = dropped

    def counted(self) -> tuple[int, int]:
        """Which socket this is, and how many of its drops are in the ledger."""
        return self._inode, self._dropped

    def queued_bytes(self) -> int:
        """What waits in the kernel's buffer, as the kernel reckons it: with its own overhead."""
        return self._memory(_QUEUED)

    def _memory(self, field: int) -> int:
        if not _ON_LINUX:
            return 0
        answer = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4 * _MEMORY_FIELDS)
        return int(struct.unpack_from("=I", answer, 4 * field)[0])


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    """`struct msghdr` of recvmsg(2), as glibc and musl lay it out on 64-bit Linux."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    """`struct mmsghdr` of recvmmsg(2)."""

    _fields_ = (("header", _Msghdr), ("length", ctypes.c_uint32))


class _Batch:
    """`recvmmsg` into buffers that are made once. Of the 32 MiB only the pages that were used are ever resident."""

    def __init__(self, bound: socket.socket) -> None:
        self._fd = bound.fileno()
        self._family = bound.family
        self._recvmmsg = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._payloads = memoryview(bytearray(BATCH * _LARGEST))
        self._names = memoryview(bytearray(BATCH * _NAME))
        self._iovecs = (_Iovec * BATCH)()
        self._headers = (_Mmsghdr * BATCH)()
        for number in range(BATCH):
            self._iovecs[number] = _Iovec(_address(self._payloads, number * _LARGEST), _LARGEST)
            self._headers[number].header = _Msghdr(
                name=_address(self._names, number * _NAME),
                name_length=_NAME,
                iov=ctypes.addressof(self._iovecs[number]),
                iov_count=1,
            )
        words = memoryview(self._headers).cast("B").cast("I")
        stride = ctypes.sizeof(_Mmsghdr) // 4
        self._lengths = words[_Mmsghdr.length.offset // 4 :: stride]

    def receive(self) -> list[bytes]:
        count = self._recvmmsg(self._fd, self._headers, BATCH, socket.MSG_DONTWAIT, None)
        payloads = self._payloads
        start = 0
        batch = []
        for length in self._lengths[: max(count, 0)].tolist():
            batch.append(payloads[start : start + length].tobytes())
            start += _LARGEST
        return batch

    def sender(self, number: int) -> Address:
        name = self._names[number * _NAME : (number + 1) * _NAME]
        port = int.from_bytes(name[2:4], "big")
        packed = name[8:24] if self._family == socket.AF_INET6 else name[4:8]
        return socket.inet_ntop(self._family, packed), port


class _OneByOne:
    """The same where there is no `recvmmsg`."""

    def __init__(self, bound: socket.socket) -> None:
        self._socket = bound
        self._senders: list[Address] = []

    def receive(self) -> list[bytes]:
        self._senders.clear()
        batch: list[bytes] = []
        try:
            while len(batch) < BATCH:
                payload, sender = self._socket.recvfrom(_LARGEST)
                batch.append(payload)
                self._senders.append(sender[:2])
        except BlockingIOError:
            pass
        return batch

    def sender(self, number: int) -> Address:
        return self._senders[number]


def _address(buffer: memoryview, offset: int) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer)) + offset
