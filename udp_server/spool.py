"""The spool: while Kafka is away messages wait here, on disk, and leave in the order in which they came.

A log in the manner of Kafka's. A position is a byte offset that only grows; a segment file is named by the position
at which it begins. Each opening begins a new segment, so nothing is written behind bytes that a crash may have
left. A file `head` remembers up to where messages are discarded. It may be old: a repetition does no harm.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

from udp_server.message import Message
from udp_server.segment import Reader, Segment, frame, fsync, records

log = logging.getLogger(__name__)

_SEGMENT = re.compile(r"\d{20}\.log")
_HEAD_SECONDS = 0.5  # between two writings of `head`


class SpoolFull(Exception):
    """The spool holds as many bytes as it may."""


class Spool:
    """For one thread of one process, which has the folder to itself.

    `head` is the position of the first message not discarded, `tail` that of the next append, and up to `synced`
    everything is safe from a power cut. `cut_bytes` were torn off at the end when the spool was opened.

    A damaged record is logged and passed over. Its segment is kept aside as `<name>.damaged`, once everything else
    in it is discarded.

    Raises:
        OSError: the folder can't be used. Damage in it raises nothing.
    """

    def __init__(self, folder: Path, most_bytes: int, segment_bytes: int = 16 << 20) -> None:
        self.head = self.tail = self.synced = self.cut_bytes = 0
        self._folder, self._most_bytes, self._segment_bytes = folder, most_bytes, segment_bytes
        self._segments: list[Segment] = []
        self._active: Segment | None = None  # the last one, if it can be written to
        self._folder_changed = False
        self._reader = Reader()
        self._head_written = -1
        self._next_head = 0.0
        if not folder.is_dir():
            folder.mkdir(parents=True)
            fsync(folder.parent)
        self._recover()

    @property
    def pending_messages(self) -> int:
        return sum(segment.pending for segment in self._segments)

    @property
    def bytes(self) -> int:
        """On disk and not yet discarded."""
        return sum(segment.end - max(segment.base, self.head) for segment in self._segments)

    @property
    def empty(self) -> bool:
        return self.head == self.tail

    def append(self, messages: Sequence[Message]) -> int:
        """Writes one record and returns the position behind it.

        Raises:
            SpoolFull: the spool would grow beyond its bound.
            OSError: the disk refuses. In both cases nothing of the record stays.
        """
        if not messages:
            return self.tail
        record = frame(messages, self.tail)
        if self.bytes + len(record) > self._most_bytes:
            raise SpoolFull(f"{self.bytes} bytes are in the spool, {len(record)} more would pass {self._most_bytes}")
        segment = self._segment_for(len(record))
        try:
            segment.write(record, len(messages))
        except OSError:
            self._take_back(segment, len(record))
            raise
        if segment is not self._active:
            self._segments.append(segment)
            self._active = segment
        self.tail = segment.end
        return self.tail

    def sync(self) -> None:
        """Makes everything appended safe from a power cut.

        Raises:
            OSError: it isn't. The kernel may have dropped what it could not write, and tells so only once. So all
                that was appended since the last sync is taken back, for the caller to append it again.
        """
        unsynced = [segment for segment in self._segments if segment.unsynced]
        if not unsynced:
            return
        try:
            for segment in unsynced:
                segment.sync()
            if self._folder_changed:
                fsync(self._folder)
        except OSError:
            self._cut_back(unsynced)
            raise
        self._folder_changed = False
        for segment in self._segments:
            segment.unsynced = 0
            if segment is not self._active:
                segment.close()
        self.synced = self.tail

    def read(self, position: int) -> tuple[list[Message], int] | None:
        """The record at `position`, which is `head` or what append or read returned, and the position behind it.

        None at the tail. What is discarded or damaged is passed over.

        Raises:
            OSError: reading is impossible for another reason, too many open files for one.
        """
        position = max(position, self.head)
        while (index := bisect_right(self._segments, position, key=lambda segment: segment.end)) < len(self._segments):
            segment = self._segments[index]
            position = max(position, segment.base)
            if (found := self._reader.record(segment, position)) is not None:
                return found
            position = self._pass_over(segment, position)
        return None

    def discard(self, position: int) -> None:
        """Everything before `position` is acknowledged: `head` goes there, and segments before it are deleted.

        Raises nothing: what can't be deleted or remembered is logged, and comes again after a restart.
        """
        if position <= self.head:
            return
        for segment in self._segments:
            if segment.end > position:
                with contextlib.suppress(OSError):  # then it is too high, until the segment is deleted
                    segment.pending -= segment.count(self.head, position)
                break
        self.head = position
        self._drop_discarded()
        if time.monotonic() >= self._next_head:
            self._write_head()

    def close(self) -> None:
        """Syncs nothing: what the caller has not synced, it has not accepted."""
        self._write_head()
        for segment in self._segments:
            segment.close()
        self._active = None

    def _segment_for(self, size: int) -> Segment:
        """The segment to write to. A new one gets into the list with its first record."""
        active = self._active
        if active is not None and active.end - active.base + size <= self._segment_bytes:
            return active
        self._folder_changed = True
        return Segment.create(self._folder, self.tail)

    def _take_back(self, segment: Segment, size: int) -> None:
        """After `size` bytes could not be written, or not all of them."""
        if not (segment.truncate() if segment is self._active else segment.remove()):
            self._active = None
            self.tail += size  # some may have stayed: their positions must not be used again
            self._drop_discarded()

    def _cut_back(self, unsynced: list[Segment]) -> None:
        """Takes back everything behind `synced`. The tail stays, since the caller may know positions before it."""
        self._active = None
        for segment in unsynced:
            segment.end = min(segment.end, max(segment.base, self.synced))
            segment.pending -= segment.unsynced
            segment.unsynced = 0
            if segment.end > segment.base:
                segment.truncate()
                segment.close()
            else:
                self._segments.remove(segment)
                segment.remove()
        self._drop_discarded()

    def _drop_discarded(self) -> None:
        while self._segments and self._segments[0].end <= self.head:
            segment = self._segments.pop(0)
            if segment is self._active:
                self._active = None
            segment.remove()
        if not self._segments:
            self.head = self.tail
        self.synced = max(self.synced, self.head)

    def _pass_over(self, segment: Segment, damage: int) -> int:
        """The position of the next sound record in the segment, or the one behind the segment."""
        rest = segment.load(damage + 1, segment.end)
        segment.damaged = True
        following = next((start for start, _, _ in records(rest, damage + 1)), segment.end)
        if following == segment.end:
            segment.end = damage
            if segment is self._active:
                self._active = None
        segment.pending = segment.count(self.head, segment.end)
        segment.unsynced = segment.count(self.synced, segment.end)
        self._drop_discarded()
        log.error(
            "the spool is damaged, what can't be read is passed over",
            extra={"segment": segment.path.name, "position": damage, "lost_bytes": following - damage},
        )
        return following

    def _recover(self) -> None:
        paths = sorted(path for path in self._folder.iterdir() if _SEGMENT.fullmatch(path.name))
        segments = [Segment(path, int(path.stem), int(path.stem)) for path in paths]
        self.head = max([self._stored_head(), *(segment.base for segment in segments[:1])])
        for segment in segments:
            self._scan(segment, last=segment is segments[-1])
            if segment.end > segment.base:
                self._segments.append(segment)
            else:
                segment.remove()
        self.tail = max(self.tail, self.head)  # of what was not synced, even discarded bytes may be missing
        self._drop_discarded()
        try:
            for path in (*(segment.path for segment in self._segments), self._folder):
                fsync(path)
        except OSError as error:  # all that could be done about it is to read it soon
            log.error("what was found in the spool can't be synced", extra={"error": str(error)})
        self.synced = self.tail

    def _scan(self, segment: Segment, last: bool) -> None:
        messages, torn = segment.scan(self.head)
        self.tail = segment.end + torn
        details = {"segment": segment.path.name, "sound_messages": messages}
        if torn and last and segment.truncate():
            self.tail = segment.end
            self.cut_bytes += torn
            log.warning("the spool's end was torn and is cut off", extra={**details, "cut_bytes": torn})
        elif torn:
            segment.damaged = True
        if segment.damaged:
            log.error("a segment of the spool is damaged", extra=details)

    def _stored_head(self) -> int:
        """0 when it can't be read: then everything there is comes again."""
        try:
            position, checksum = (self._folder / "head").read_text("ascii").split()
            if zlib.crc32(position.encode()) == int(checksum, 16):
                return int(position)
        except FileNotFoundError:
            return 0
        except (OSError, ValueError):
            pass
        log.warning("the file `head` of the spool is damaged, some messages will be repeated")
        return 0

    def _write_head(self) -> None:
        self._next_head = time.monotonic() + _HEAD_SECONDS
        if self.head == self._head_written:
            return
        draft = self._folder / "head.new"
        try:
            draft.write_text(f"{self.head} {zlib.crc32(str(self.head).encode()):08x}\n", "ascii")
            draft.replace(self._folder / "head")
        except OSError as error:
            log.warning("the spool's `head` can't be written", extra={"error": str(error)})
            return
        self._head_written = self.head
