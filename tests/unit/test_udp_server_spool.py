"""The spool on real files: what was synced is there again, in order, whatever happened to the process or the disk."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spooling import FakeClock, FakeFailure, batch, drained, logs, numbers, on_disk

import udp_server.spool
from udp_server.message import Message
from udp_server.segment import frame
from udp_server.spool import Spool, SpoolFull

MOST = 64 << 20


@contextmanager
def limited(what: int, most: int) -> Iterator[None]:
    """Real refusals of the kernel, that need no full disk."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


def flip(path: Path, offset: int, bit: int = 1) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ bit]))


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "new" / "spool", MOST)
    batches = [
        [Message(b"7", b"{}"), Message(None, b""), Message(b"", bytes(range(256)), [("sender", b"\xff"), ("x", b"")])],
        [Message(b"7", b"x" * 65_507)],
        [Message(None, os.urandom(70_000), []) for _ in range(40)],  # longer than what is read ahead
        [Message(b"8", b"last")],
    ]
    ends = [spool.append(messages) for messages in batches]
    assert spool.append([]) == ends[-1] == spool.tail
    assert spool.pending_messages == 45
    position = spool.head
    for messages, end in zip(batches, ends, strict=True):
        assert spool.read(position) == (messages, end)
        position = end
    assert spool.read(position) is None
    assert spool.read(spool.head) == (batches[0], ends[0]), "reading removes nothing"


def test_order_across_segments_while_writing_goes_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MOST, segment_bytes=1000)
    found, position = [], spool.head
    for first in range(0, 300, 3):
        spool.append(batch(first))
        if first % 2:
            continue
        while (read := spool.read(position)) is not None:
            found += numbers(read[0])
            position = read[1]
    assert len(logs(tmp_path)) > 5
    assert found + drained(spool, position) == list(range(300))
    assert drained(spool) == list(range(300))


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "somebody's.txt").write_text("not ours")
    (tmp_path / "1.log").write_text("nor this")
    spool = Spool(tmp_path, MOST, segment_bytes=300)
    ends = [spool.append(batch(first)) for first in range(0, 30, 3)]
    spool.sync()
    spool.discard(ends[0])
    spool.discard(ends[4])  # within half a second: written by close
    spool.close()
    for _ in range(3):
        spool = Spool(tmp_path, MOST, segment_bytes=300)
        assert (spool.head, spool.tail, spool.synced, spool.pending_messages) == (ends[4], ends[-1], ends[-1], 15)
        assert spool.cut_bytes == 0
        assert drained(spool) == list(range(15, 30))
        spool.close()
    spool.append(batch(30))
    assert drained(Spool(tmp_path, MOST)) == list(range(15, 33))
    assert (tmp_path / "somebody's.txt").read_text() == "not ours"
    assert (tmp_path / "1.log").read_text() == "nor this"


def test_a_torn_tail_is_cut_wherever_it_was_torn(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "whole", MOST)
    kept = spool.append(batch(0))
    whole = spool.append(batch(3))
    spool.close()
    for left in range(whole - kept):
        folder = tmp_path / f"torn-{left}"
        shutil.copytree(tmp_path / "whole", folder)
        os.truncate(logs(folder)[0], kept + left)
        spool = Spool(folder, MOST)
        assert (drained(spool), spool.cut_bytes, spool.tail, spool.pending_messages) == ([0, 1, 2], left, kept, 3)
        spool.append(batch(3))
        spool.close()
        spool = Spool(folder, MOST)
        assert (drained(spool), spool.cut_bytes) == ([0, 1, 2, 3, 4, 5], 0)
        spool.close()


@pytest.mark.parametrize("garbage", ["zeros", "noise", "an old record", "marks", "a long length"])
def test_a_garbage_tail_is_cut(tmp_path: Path, garbage: str) -> None:
    spool = Spool(tmp_path, MOST)
    end = spool.append(batch(0))
    spool.close()
    old = logs(tmp_path)[0].read_bytes()
    rubbish = {
        "zeros": bytes(5000),
        "noise": random.Random(1).randbytes(5000),
        "an old record": old,  # sound, but not at this position
        "marks": old[:4] * 1000,
        "a long length": old[:8] + b"\xff" * 8 + old,
    }[garbage]
    with logs(tmp_path)[0].open("ab") as file:
        file.write(rubbish)
    spool = Spool(tmp_path, MOST)
    assert (drained(spool), spool.tail, spool.cut_bytes) == ([0, 1, 2], end, len(rubbish))
    assert on_disk(tmp_path) <= end + 100


def test_a_torn_tail_that_can_not_be_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """os.truncate fails once: a fake."""
    spool = Spool(tmp_path, MOST)
    end = spool.append(batch(0))
    spool.append(batch(3))
    spool.close()
    os.truncate(logs(tmp_path)[0], end + 40)
    with monkeypatch.context() as patch:
        patch.setattr(os, "truncate", FakeFailure(os.truncate))
        spool = Spool(tmp_path, MOST)
    assert (drained(spool), spool.cut_bytes, spool.tail) == ([0, 1, 2], 0, end + 40)
    for number in range(3, 12, 3):
        spool.append(batch(number))
        spool.close()
        spool = Spool(tmp_path, MOST)
        assert drained(spool) == list(range(number + 3))


@pytest.mark.parametrize("where", [0, 5, 9, 13, 16, 60])  # in mark, checksum, length, count, payload
@pytest.mark.parametrize("victim", [2, 17])  # in an earlier segment, and in the last one
def test_a_flipped_bit_costs_one_record(
    tmp_path: Path, where: int, victim: int, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path, MOST, segment_bytes=1000)
    starts = []
    for first in range(0, 60, 3):
        starts.append(spool.tail)
        spool.append(batch(first))
    spool.close()
    path = next(path for path in reversed(logs(tmp_path)) if int(path.stem) <= starts[victim])
    assert path != logs(tmp_path)[-1] or victim == 17
    flip(path, starts[victim] - int(path.stem) + where)
    rotten = path.read_bytes()

    spool = Spool(tmp_path, MOST, segment_bytes=1000)
    assert [record.segment for record in caplog.records if record.levelname == "ERROR"] == [path.name]  # type: ignore[attr-defined]
    assert spool.pending_messages == 57
    assert drained(spool) == [number for number in range(60) if number not in range(victim * 3, victim * 3 + 3)]
    spool.append(batch(60))
    spool.discard(spool.tail)
    assert spool.empty
    assert spool.pending_messages == 0
    assert logs(tmp_path) == []
    assert path.with_name(path.name + ".damaged").read_bytes() == rotten


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8), st.integers(1, 255))
def test_whatever_rots_every_untouched_record_is_read(places: list[float], bits: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spool = Spool(folder, MOST, segment_bytes=700)
        ends = [spool.append(batch(first)) for first in range(0, 90, 3)]
        spool.close()
        hurt = sorted({int(place * ends[-1]) for place in places})
        for position in hurt:
            path = next(path for path in reversed(logs(folder)) if int(path.stem) <= position)
            flip(path, position - int(path.stem), bits)
        starts = [0, *ends]
        sound = [
            number
            for index in range(30)
            for number in numbers(batch(index * 3))
            if not any(starts[index] <= position < ends[index] for position in hurt)
        ]
        for _ in range(2):
            spool = Spool(folder, MOST, segment_bytes=700)
            assert spool.pending_messages == len(sound)
            assert drained(spool) == sound
            spool.close()
        spool.discard(spool.tail)
        assert spool.empty


def test_damage_that_comes_while_it_is_open(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MOST)
    first, second = spool.append(batch(0)), spool.append(batch(3))
    flip(logs(tmp_path)[0], first + 30)
    read = spool.read(spool.head)
    assert read is not None
    assert read[1] == first
    spool.discard(first)
    assert spool.read(first) is None
    assert spool.empty, "nobody must wait for what can't be read"
    assert [path.name for path in tmp_path.glob("*.damaged")] == [f"{0:020}.log.damaged"]
    assert spool.append(batch(6)) > second
    spool.sync()
    assert drained(spool) == drained(Spool(tmp_path, MOST)) == [6, 7, 8]


def test_damage_to_what_is_not_synced_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, MOST)
    first = spool.append(batch(0))
    spool.sync()
    spool.append(batch(3))
    flip(logs(tmp_path)[0], first + 30)
    assert drained(spool) == [0, 1, 2]
    spool.append(batch(6))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", FakeFailure(os.fsync))
        with pytest.raises(OSError, match="Input/output"):
            spool.sync()
    assert (drained(spool), spool.pending_messages) == ([0, 1, 2], 3)


def test_a_segment_that_somebody_deleted(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MOST, segment_bytes=150)
    for first in range(0, 15, 3):
        spool.append(batch(first))
    logs(tmp_path)[1].unlink()
    logs(tmp_path)[-1].unlink()
    assert drained(spool) == [0, 1, 2, 6, 7, 8, 9, 10, 11]
    assert spool.pending_messages == 9
    spool.append(batch(15))
    assert drained(spool)[-3:] == [15, 16, 17]
    spool.discard(spool.tail)
    assert (spool.empty, spool.pending_messages) == (True, 0)


def test_an_unreadable_sector_costs_its_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, MOST)
    for first in range(0, 90, 3):
        spool.append(batch(first, padding=7000))
    spool.close()
    monkeypatch.setattr(os, "pread", FakeFailure(os.pread, at=4))  # the fourth 64 KiB, while it is scanned
    spool = Spool(tmp_path, MOST)
    monkeypatch.setattr(os, "pread", FakeUnreadable(os.pread, 3 * 65_536))
    found = drained(spool)
    assert found[0] == 0
    assert found[-1] == 89
    assert 75 <= len(found) == spool.pending_messages < 90


class FakeUnreadable:
    """Stands in for os.pread on a disk with a bad sector at an offset."""

    def __init__(self, real: Any, bad: int) -> None:
        self.real, self.bad = real, bad

    def __call__(self, descriptor: int, size: int, offset: int) -> bytes:
        if offset <= self.bad < offset + size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        found: bytes = self.real(descriptor, size, offset)
        return found


def test_a_record_that_holds_no_messages_is_passed_over(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MOST)
    spool.append(batch(0))
    spool.append([Message("text", b"")])  # type: ignore[arg-type]
    spool.append(batch(3))
    assert drained(spool) == [0, 1, 2, 3, 4, 5]


def test_a_full_spool_keeps_what_it_has(tmp_path: Path) -> None:
    size = len(frame(batch(10), 0))
    spool = Spool(tmp_path, 5 * size, segment_bytes=2 * size)
    ends = [spool.append(batch(first)) for first in range(10, 25, 3)]
    assert spool.bytes == 5 * size
    for _ in range(2):
        with pytest.raises(SpoolFull):
            spool.append(batch(25))
    assert (spool.tail, spool.pending_messages, drained(spool)) == (ends[-1], 15, list(range(10, 25)))
    spool.discard(ends[0])
    spool.append(batch(25))
    with pytest.raises(SpoolFull):
        spool.append(batch(28))
    spool.close()
    spool = Spool(tmp_path, 5 * size)
    with pytest.raises(SpoolFull):
        spool.append(batch(28))
    assert drained(spool) == list(range(13, 28))


def on_a_small_disk(folder: Path) -> None:
    """Runs in a namespace of its own, in which `folder` is a tmpfs of 1 MiB."""
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(600_000))
    spool = Spool(folder / "spool", MOST, segment_bytes=100_000)
    appended, refusals = 0, 0
    while refusals < 3:
        try:
            spool.append(batch(appended, count=10, padding=3000))
            appended += 10
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            refusals += 1
            assert on_disk(folder / "spool") == spool.bytes, "something half-written stayed"
    assert appended >= 100
    assert spool.pending_messages == appended
    spool.sync()
    spool.close()
    ballast.write_bytes(bytes(600_000))
    spool = Spool(folder / "spool", MOST, segment_bytes=100_000)
    assert spool.cut_bytes == 0
    assert drained(spool) == list(range(appended)), "a full disk can be opened and read"

    # Space comes from acknowledged segments …
    spool.discard(spool.read(spool.head)[1])  # type: ignore[index]
    first = 10
    while True:
        try:
            spool.append(batch(appended, count=10, padding=3000))
            break
        except OSError:
            spool.discard(spool.read(spool.head)[1])  # type: ignore[index]
            first += 10
    appended += 10
    assert drained(spool) == list(range(first, appended))

    # … or from elsewhere.
    ballast.unlink()
    spool.append(batch(appended, count=10, padding=3000))
    spool.sync()
    spool.close()
    spool = Spool(folder / "spool", MOST)
    assert drained(spool) == list(range(first, appended + 10))
    spool.discard(spool.tail)
    assert on_disk(folder / "spool") < 100


def test_a_full_disk(tmp_path: Path) -> None:
    run = "import pathlib, sys, test_udp_server_spool as t; t.on_a_small_disk(pathlib.Path(sys.argv[1])); print('done')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    mounted = 'mount -t tmpfs -o size=1m none "$1" && echo mounted && exec "$2" -c "$3" "$1"'
    tried = []
    for unshare in (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]):
        command = [*unshare, "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, run]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        tried.append(f"{' '.join(unshare)}: {done.stdout}{done.stderr}")
        if done.stdout.startswith("mounted"):
            assert done.stdout.split() == ["mounted", "done"], tried[-1]
            return
    pytest.fail("no small tmpfs can be mounted here, neither by root nor in a user namespace:\n" + "\n".join(tried))


# All in one segment, one fsync; each record in its own, one fsync for each and one for the folder.
@pytest.mark.parametrize(("segment_bytes", "failing_call"), [(1 << 20, 1), (150, 1), (150, 2), (150, 3)])
def test_after_a_failed_fsync_nothing_pretends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segment_bytes: int, failing_call: int
) -> None:
    """os.fsync fails once: a fake."""
    spool = Spool(tmp_path, MOST, segment_bytes)
    synced = spool.append(batch(0))
    spool.sync()
    spool.append(batch(3))
    tail = spool.append(batch(6))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", FakeFailure(os.fsync, at=failing_call))
        with pytest.raises(OSError, match="Input/output"):
            spool.sync()
    assert (spool.synced, spool.pending_messages, drained(spool)) == (synced, 3, [0, 1, 2])
    assert on_disk(tmp_path) == synced, "what the kernel may have dropped is on disk no more"
    assert spool.tail == tail
    spool.sync()
    assert spool.synced == synced, "nothing was appended: nothing more is safe"
    again = spool.append(batch(3, count=6))
    assert again > tail, "positions are not used twice"
    spool.sync()
    assert spool.synced == again
    assert drained(spool) == drained(Spool(tmp_path, MOST)) == list(range(9))


@pytest.mark.parametrize("failing_call", [1, 2])  # the segment, the folder
def test_a_failed_first_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_call: int) -> None:
    spool = Spool(tmp_path, MOST)
    spool.append(batch(0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", FakeFailure(os.fsync, at=failing_call))
        with pytest.raises(OSError, match="Input/output"):
            spool.sync()
    assert (spool.empty, spool.pending_messages, spool.bytes, logs(tmp_path)) == (True, 0, 0, [])
    spool.append(batch(0))
    spool.sync()
    assert drained(Spool(tmp_path, MOST)) == [0, 1, 2]


def test_the_folder_is_synced_when_a_segment_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never_failing = FakeFailure(os.fsync, at=1000)
    monkeypatch.setattr(os, "fsync", never_failing)
    spool = Spool(tmp_path / "new", MOST, segment_bytes=250)
    assert never_failing.calls == 2, "itself, and the folder that it is in"
    calls = []
    for first in range(0, 15, 3):
        never_failing.calls = 0
        spool.append(batch(first))
        spool.sync()
        calls.append(never_failing.calls)
    assert len(logs(tmp_path / "new")) == 3
    assert calls == [2, 1, 2, 1, 2]


def test_what_a_killed_process_left_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path, MOST, segment_bytes=150)
    spool.append(batch(0))
    spool.append(batch(3))
    spool.close()
    for failing_call in range(1, 5):  # two segments and the folder; the fourth isn't made
        caplog.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", FakeFailure(os.fsync, at=failing_call))
            spool = Spool(tmp_path, MOST)
        assert (len(caplog.records) == 1) == (failing_call < 4)
        assert (drained(spool), spool.synced) == ([0, 1, 2, 3, 4, 5], spool.tail)


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("mendable", [True, False])
def test_half_a_write_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool, mendable: bool
) -> None:
    """The kernel really writes a part and refuses the rest; that it can't be cut off is a fake."""
    spool = Spool(tmp_path, MOST)
    before = 0 if fresh else spool.append(batch(0))
    with monkeypatch.context() as patch:
        if not mendable:
            patch.setattr(os, "truncate", FakeFailure(os.truncate))
            patch.setattr(Path, "unlink", FakeFailure(Path.unlink))
        with limited(resource.RLIMIT_FSIZE, before + 50), pytest.raises(OSError, match="too large"):
            spool.append(batch(3))
    expected = [] if fresh else [0, 1, 2]
    assert drained(spool) == expected
    assert spool.pending_messages == len(expected)
    assert spool.empty == fresh
    assert on_disk(tmp_path) == before + (0 if mendable else 50)
    spool.append(batch(3))
    spool.sync()
    expected += [3, 4, 5]
    assert drained(spool) == expected
    assert len(logs(tmp_path)) == (1 if mendable else 2)
    spool.close()
    spool = Spool(tmp_path, MOST)
    assert (drained(spool), spool.cut_bytes) == (expected, 0)
    spool.append(batch(6))
    assert drained(spool) == [*expected, 6, 7, 8]


def test_what_is_acknowledged_takes_no_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MOST, segment_bytes=10_000)
    ends = [spool.append(batch(first, padding=1000)) for first in range(0, 60, 3)]
    assert on_disk(tmp_path) == spool.bytes == ends[-1]
    spool.discard(ends[9])
    assert spool.pending_messages == 30
    assert spool.bytes == ends[-1] - ends[9]
    assert on_disk(tmp_path) < spool.bytes + 10_000 + 100
    spool.discard(ends[4])
    assert spool.head == ends[9], "the head never goes back"
    spool.discard(ends[-1] + 1000)
    assert (spool.head, spool.empty, spool.bytes, spool.pending_messages) == (ends[-1], True, 0, 0)
    assert on_disk(tmp_path) < 100
    assert spool.read(spool.head) is None
    spool.append(batch(60))
    assert drained(spool) == [60, 61, 62]
    spool.close()
    assert drained(Spool(tmp_path, MOST)) == [60, 61, 62]


def test_a_reader_that_was_overtaken(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MOST, segment_bytes=300)
    ends = [spool.append(batch(first)) for first in range(0, 30, 3)]
    spool.read(0)
    spool.discard(ends[6])
    for position in (0, ends[0], ends[5], ends[6]):
        assert spool.read(position) == (batch(21), ends[7])
    spool.discard(spool.tail)
    assert spool.read(ends[0]) is None


def test_the_head_is_written_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr(udp_server.spool, "time", clock)
    spool = Spool(tmp_path, MOST)
    ends = [spool.append(batch(first)) for first in range(0, 30, 3)]
    written = []
    for end in ends[:8]:
        spool.discard(end)
        clock.now += 0.2
        written.append((tmp_path / "head").stat().st_ino)
    assert written[0] == written[1] == written[2] != written[3] == written[5] != written[6]
    stale = Spool(tmp_path, MOST)  # as after a kill
    assert stale.head == ends[6]
    assert stale.pending_messages == 9


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"999999 00000000\n", b"\xff\xfe", "a folder"])
def test_without_a_usable_head_everything_comes_again(tmp_path: Path, content: bytes | str | None) -> None:
    spool = Spool(tmp_path, MOST, segment_bytes=150)
    ends = [spool.append(batch(first)) for first in range(0, 30, 3)]
    spool.discard(ends[3])
    spool.close()
    (tmp_path / "head").unlink()
    if isinstance(content, str):
        (tmp_path / "head").mkdir()
    elif content is not None:
        (tmp_path / "head").write_bytes(content)
    spool = Spool(tmp_path, MOST)
    assert drained(spool) == list(range(12, 30)), "from the first segment that is left"
    assert spool.head == ends[3]
    spool.discard(ends[5])  # even if it can't be remembered
    spool.close()


def test_a_head_beyond_what_is_left_hides_nothing_new(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "0", MOST)
    ends = [spool.append(batch(first)) for first in range(0, 30, 3)]
    spool.discard(ends[8])
    spool.close()
    os.truncate(logs(tmp_path / "0")[0], ends[4] + 7)  # the power went, and nothing had been synced
    for life in range(3):
        spool = Spool(tmp_path / str(life), MOST)
        assert drained(spool) == list(range(life * 3))
        spool.append(batch(life * 3))
        shutil.copytree(tmp_path / str(life), tmp_path / str(life + 1))  # as it would be after a kill
        spool.close()


def test_without_a_free_descriptor_nothing_is_taken_for_damage(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MOST, segment_bytes=300)
    ends = [spool.append(batch(first)) for first in range(0, 30, 3)]
    with limited(resource.RLIMIT_NOFILE, 0):
        spool.discard(ends[3])
        with pytest.raises(OSError, match="Too many open files"):
            spool.read(ends[3])
        with pytest.raises(OSError, match="Too many open files"):
            spool.append(batch(30, padding=1000))
    assert spool.head == ends[3]
    assert drained(spool) == list(range(12, 30))
    spool.append(batch(30, padding=1000))
    spool.discard(spool.tail)
    assert (spool.empty, spool.pending_messages) == (True, 0)
    assert list(tmp_path.glob("*.damaged")) == []


def test_no_file_stays_open(tmp_path: Path) -> None:
    def open_files() -> int:
        return sum(link.resolve().is_relative_to(tmp_path) for link in Path("/proc/self/fd").iterdir() if link.exists())

    spool = Spool(tmp_path, MOST, segment_bytes=300)
    for first in range(0, 150, 3):
        spool.append(batch(first))
        if first % 2:
            spool.sync()
    drained(spool)
    assert len(logs(tmp_path)) > 10
    assert open_files() <= 2
    spool.close()
    assert open_files() == 0
