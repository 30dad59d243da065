"""The spool after kills, power cuts and failures of the disk, in any order: compared with a plain list."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from spooling import FakeClock, FakeFailure, batch, drained, logs

import udp_server.spool
from maredata.settings import CHECKOUT
from udp_server.message import Message
from udp_server.segment import frame
from udp_server.spool import Spool, SpoolFull

MOST = 800  # bytes

CHILD = """
import random, sys
from pathlib import Path
from udp_server.message import Message
from udp_server.spool import Spool

folder, number, dice = Path(sys.argv[1]), int(sys.argv[2]), random.Random(sys.argv[3])
spool = Spool(folder, 1 << 30, segment_bytes=200_000)
position = spool.head
while True:
    padding = dice.choice([20, 20, 20, 20_000])
    count = dice.randint(1, 20)
    spool.append([Message(b"7", b"%d " % n + b"x" * padding) for n in range(number, number + count)])
    number += count
    if dice.random() < 0.5:
        spool.sync()
        print("synced", number - 1, flush=True)
    while dice.random() < 0.5 and (read := spool.read(position)) is not None:
        messages, position = read
        print("discarding", *(int(message.value.split()[0]) for message in messages), flush=True)
        spool.discard(position)
"""


def test_what_was_synced_survives_kill_9(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    synced = discarded = last = -1
    for _ in range(10):
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(last + 1), str(dice.random())]
        with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            heard = [child.stdout.readline() for _ in range(dice.randint(1, 200))]
            child.kill()
            heard += child.stdout.readlines()
        for line in heard:
            if line.endswith("\n"):
                what, *numbers = line.split()
                if what == "synced":
                    synced = int(numbers[0])
                else:
                    assert int(numbers[0]) <= discarded + 1, "something was passed over"
                    discarded = max(discarded, int(numbers[-1]))
        spool = Spool(tmp_path, 1 << 30)
        found = drained(spool)
        spool.close()
        assert spool.pending_messages == len(found)
        if found:
            assert found == list(range(found[0], found[-1] + 1)), "in order, and whole"
            assert found[0] <= discarded + 1
        last = found[-1] if found else discarded
        assert last >= synced
        print(f"synced {synced}, discarded {discarded}, found {found[:1]}..{found[-1:]}, torn {spool.cut_bytes}")


class SpoolMachine(RuleBasedStateMachine):
    """The spool against a list. `records` are (start, end, messages); those before `head` are discarded."""

    @initialize(segment_bytes=st.sampled_from([1, 200, 400, 1 << 20]))
    def begin(self, segment_bytes: int) -> None:
        self.patch = pytest.MonkeyPatch()
        self.clock = FakeClock()
        self.patch.setattr(udp_server.spool, "time", self.clock)
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "0"
        self.lives = 0
        self.stuck = False  # a file could not be deleted
        self.segment_bytes = segment_bytes
        self.spool = Spool(self.folder, MOST, segment_bytes)
        self.records: list[tuple[int, int, list[Message]]] = []
        self.head = self.synced = self.next = self.reading = 0
        self.durable = 0  # the position up to which an fsync succeeded; what is discarded counts as synced without

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
            self.patch.undo()
            shutil.rmtree(self.root)

    def some(self, count: int) -> list[Message]:
        self.next += count
        return batch(self.next - count, count)

    @rule(counts=st.lists(st.integers(1, 5), min_size=1, max_size=4))
    def append(self, counts: list[int]) -> None:
        for count in counts:
            messages, start = self.some(count), self.spool.tail
            size = len(frame(messages, start))
            if sum(end - start for start, end, _ in self.records[self.head :]) + size > MOST:
                with pytest.raises(SpoolFull):
                    self.spool.append(messages)
                continue
            end = self.spool.append(messages)
            assert end == self.spool.tail == start + size
            self.records.append((start, end, messages))

    @rule()
    def sync(self) -> None:
        self.spool.sync()
        self.synced, self.durable = len(self.records), self.spool.tail

    @rule(at=st.integers(1, 3))
    def sync_fails(self, at: int) -> None:
        failing = FakeFailure(os.fsync, at=at)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", failing)
            try:
                self.sync()
            except OSError:
                del self.records[max(self.synced, self.head) :]
                self.reading = min(self.reading, len(self.records))

    @precondition(lambda self: self.spool.bytes < MOST - 200)
    @rule(written=st.integers(0, 80), mendable=st.booleans())
    def append_fails(self, written: int, mendable: bool) -> None:
        """After some bytes, and the disk may refuse to cut them off too."""
        messages = self.some(3)
        real = os.write
        half = FakeFailure(lambda descriptor, data: real(descriptor, data[:written]), errno.ENOSPC, at=2, times=9)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "write", half)
            if not mendable:
                self.stuck = True
                patch.setattr(os, "truncate", FakeFailure(os.truncate))
                patch.setattr(Path, "unlink", FakeFailure(Path.unlink))
            with pytest.raises(OSError, match="No space"):
                self.spool.append(messages)

    @rule(back=st.booleans())
    def read(self, back: bool) -> None:
        """The reader goes on, or begins again at the head; discarding may have overtaken it."""
        if back or self.reading == 0:
            position, self.reading = self.spool.head, self.head
        else:
            position, self.reading = self.records[self.reading - 1][1], max(self.reading, self.head)
        read = self.spool.read(position)
        if self.reading == len(self.records):
            assert read is None
        else:
            assert read == (self.records[self.reading][2], self.records[self.reading][1])
            self.reading += 1

    @precondition(lambda self: self.records)
    @rule(place=st.floats(0, 1), later=st.sampled_from([0, 0, 1]))
    def discard(self, place: float, later: float) -> None:
        self.clock.now += later
        index = int(place * (len(self.records) - 1))
        self.spool.discard(self.records[index][1])
        self.head = max(self.head, index + 1)
        self.synced = max(self.synced, self.head)

    @rule()
    def discard_everything(self) -> None:
        self.spool.discard(self.spool.tail)
        self.head = self.synced = len(self.records)
        assert self.spool.empty
        assert self.stuck or not logs(self.folder)

    @rule(place=st.floats(0, 1))
    def reopen(self, place: float) -> None:
        """After a clean end nothing is repeated, not even what was discarded last."""
        for part in (place / 2, place):
            if self.records:
                self.discard(part, 0)
        self.spool.close()
        assert self.open(self.folder, len(self.records)) == 0

    @rule(place=st.floats(0, 1), rest=st.sampled_from(["lost", "empty", "zeros", "noise", "torn"]))
    def crash(self, place: float, rest: str) -> None:
        """A power cut: of what was not synced any part is lost, and something else may stand in its place."""
        self.lives += 1
        after = self.root / str(self.lives)
        shutil.copytree(self.folder, after)
        self.spool.close()
        cut = self.durable + round(place * (self.spool.tail - self.durable))
        for path in logs(after):
            content = path.read_bytes()
            left = max(0, cut - int(path.stem))
            lost = content[left:]
            if left == 0 and rest == "lost":
                path.unlink()
            elif lost:
                instead = {"zeros": bytes(len(lost)), "noise": bytes(byte ^ 85 for byte in lost), "torn": lost[1:]}
                path.write_bytes(content[:left] + instead.get(rest, b""))
        self.folder = after
        self.open(after, sum(end <= cut for _, end, _ in self.records))

    def open(self, folder: Path, survivors: int) -> int:
        """Of the records so many were on disk whole. Returns how many discarded ones are there again."""
        self.spool = Spool(folder, MOST, self.segment_bytes)
        found, position = [], self.spool.head
        while (read := self.spool.read(position)) is not None:
            messages, end = read
            found.append((end - len(frame(messages, 0)), end, messages))
            position = end
        repeated = self.head - (survivors - len(found))
        assert repeated >= 0, "a message was lost"
        assert found == self.records[survivors - len(found) : survivors]
        self.records, self.head, self.synced, self.reading = found, 0, len(found), 0
        assert self.spool.synced == self.spool.tail
        self.durable = self.spool.tail
        return repeated

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "spool"):
            return
        pending = self.records[self.head :]
        assert self.spool.pending_messages == sum(len(messages) for _, _, messages in pending)
        assert self.spool.bytes == sum(end - start for start, end, _ in pending)
        assert self.spool.empty == (not pending)
        assert self.spool.head <= self.spool.synced <= self.spool.tail
        if self.synced:
            assert self.spool.synced >= self.records[self.synced - 1][1]
        if self.synced < len(self.records):
            assert self.spool.synced < self.records[self.synced][1]


SpoolMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40)
TestSpoolAgainstAList = SpoolMachine.TestCase
