"""One file of the spool: records one behind the other, each a header and a msgpack array of messages.

The checksum covers the record's position too: bytes of another place, left over or sent by somebody who knows
this format, are no record here. So the next sound record behind a damaged one can be searched for.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from udp_server.message import Message

log = logging.getLogger(__name__)

_MARK = b"\xffSP1"  # 0xff is in no UTF-8 text, so that a search hardly meets the mark inside a value
_HEADER = struct.Struct(">4sIII")  # mark, checksum, length of the array in bytes, messages in it
_CHECKED = struct.Struct(">QII")  # position, length, messages
_WINDOW = 1 << 20  # bytes that are read ahead
_BLOCK = 64 << 10  # bytes that are given up together where the disk can't read


@dataclass(slots=True, eq=False)
class Segment:
    """Positions are the spool's. The file begins at `base`, its last sound record ends at `end`."""

    path: Path
    base: int
    end: int
    pending: int = 0  # messages that are not discarded
    unsynced: int = 0  # messages since the last sync
    damaged: bool = False
    descriptor: int = -1  # for writing

    @classmethod
    def create(cls, folder: Path, base: int) -> Segment:
        path = folder / f"{base:020}.log"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        return cls(path, base, base, descriptor=descriptor)

    def write(self, record: bytes, messages: int) -> None:
        """Raises OSError after writing any part of the record; `end` is then where it was."""
        rest = memoryview(record)
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]
        self.end += len(record)
        self.pending += messages
        self.unsynced += messages

    def sync(self) -> None:
        """Raises OSError when any of it may be lost."""
        os.fsync(self.descriptor)

    def truncate(self) -> bool:
        """Cuts off what is behind `end`; False when the disk refuses."""
        try:
            os.truncate(self.path, self.end - self.base)
        except OSError as error:
            log.error("a segment of the spool can't be cut", extra={"segment": self.path.name, "error": str(error)})
            return False
        return True

    def remove(self) -> bool:
        """Deletes the file, or keeps a damaged one aside; False when the disk refuses."""
        self.close()
        try:
            if self.damaged:
                self.path.replace(self.path.with_name(self.path.name + ".damaged"))
            else:
                self.path.unlink()
        except OSError as error:
            log.error("a segment of the spool can't be removed", extra={"segment": self.path.name, "error": str(error)})
            return False
        return True

    def close(self) -> None:
        if self.descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self.descriptor)
            self.descriptor = -1

    def load(self, start: int, stop: int) -> bytearray:
        """The bytes between two positions: zeros where the disk can't read, fewer where the file is shorter."""
        found = bytearray()
        try:
            with self.path.open("rb", buffering=0) as file:
                while (size := min(_BLOCK, stop - start - len(found))) > 0:
                    block = _block(file.fileno(), size, start - self.base + len(found))
                    found += block
                    if not block:
                        break
        except FileNotFoundError:  # somebody deleted it: damage too
            pass
        return found

    def scan(self, head: int) -> tuple[int, int]:
        """Finds the end, what is pending behind `head`, and damage. Messages, and bytes behind the end."""
        size = self.path.stat().st_size
        messages = 0
        for start, end, count in records(self.load(self.base, self.base + size), self.base):
            self.damaged |= start != self.end
            self.end = end
            messages += count
            self.pending += count if start >= head else 0
        return messages, self.base + size - self.end

    def count(self, start: int, stop: int) -> int:
        """Messages in the sound records between two positions."""
        start = max(start, self.base)
        return sum(count for _, _, count in records(self.load(start, stop), start))


class Reader:
    """Reads ahead, for one reader that goes forward."""

    def __init__(self) -> None:
        self._window = (0, bytearray())  # a position, and the bytes from there
        self._decode = msgspec.msgpack.Decoder(list[Message]).decode

    def record(self, segment: Segment, position: int) -> tuple[list[Message], int] | None:
        """What is sound at `position`, and the position behind it."""
        # Looked for in what was read ahead, else on disk, else in all that is left: a record may be longer.
        for stop in (position, position + _WINDOW, segment.end):
            if stop > position:
                self._window = (position, segment.load(position, min(stop, segment.end)))
            start, data = self._window
            found = record_at(data, position - start, position)
            if found is not None:
                payload, _, end = found
                try:
                    return self._decode(payload), end
                except msgspec.MsgspecError as error:
                    log.error("a record of the spool holds no messages", extra={"error": str(error)})
                    return None
        return None


def frame(messages: Sequence[Message], position: int) -> bytes:
    """The record that holds the messages, to be written at `position`."""
    payload = msgspec.msgpack.encode(messages)
    return _HEADER.pack(_MARK, _checksum(payload, position, len(messages)), len(payload), len(messages)) + payload


def record_at(data: bytearray, at: int, position: int) -> tuple[memoryview, int, int] | None:
    """The sound record at data[at:], whose position is given: its msgpack array, its messages, the position behind.

    None when there is none, or not all of it.
    """
    if not 0 <= at <= len(data) - _HEADER.size:
        return None
    mark, checksum, length, count = _HEADER.unpack_from(data, at)
    begin = at + _HEADER.size
    if mark != _MARK or begin + length > len(data):
        return None
    payload = memoryview(data)[begin : begin + length]
    if checksum != _checksum(payload, position, count):
        return None
    return payload, count, position + _HEADER.size + length


def records(data: bytearray, position: int) -> Iterator[tuple[int, int, int]]:
    """Start, end and messages of each sound record in the data, whose first byte is at `position`."""
    at = 0
    while at >= 0:
        found = record_at(data, at, position + at)
        if found is None:
            at = data.find(_MARK, at + 1)
        else:
            _, count, end = found
            yield position + at, end, count
            at = end - position


def fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _block(descriptor: int, size: int, offset: int) -> bytes:
    try:
        return os.pread(descriptor, size, offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        log.error("the disk can't read a part of the spool", extra={"offset": offset, "bytes": size})
        return bytes(size)


def _checksum(payload: bytes | memoryview, position: int, messages: int) -> int:
    return zlib.crc32(payload, zlib.crc32(_CHECKED.pack(position, len(payload), messages)))
