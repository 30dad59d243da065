"""A file of slots always has the last whole content, whatever became of the writing of the next one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from maredata.settings import CHECKOUT
from udp_server.slots import Slots

SLOT = 1 << 18


def test_what_was_written_last_is_read_by_anybody(tmp_path: Path) -> None:
    path = tmp_path / "slots"
    assert Slots(path).read() is None
    written = Slots(path)
    for content in (b"first", b"", b"a longer third", b"4"):
        written.write(content)
        assert Slots(path).read() == content


def test_another_writer_goes_on_behind_the_last(tmp_path: Path) -> None:
    path = tmp_path / "slots"
    for number in range(5):
        writer = Slots(path)
        writer.write(b"%d" % number)
        writer.close()
        assert Slots(path).read() == b"%d" % number


@hypothesis_settings(max_examples=60)
@given(writes=st.integers(1, 4), cut=st.integers(0, 120), garbage=st.binary(max_size=8))
def test_a_torn_writing_leaves_the_one_before(
    tmp_path_factory: pytest.TempPathFactory, writes: int, cut: int, garbage: bytes
) -> None:
    path = tmp_path_factory.mktemp("slots") / "slots"
    written = Slots(path)
    for number in range(writes):
        written.write(b"%d" % number * 50)
    whole = path.read_bytes()
    written.write(b"new" * 30)
    begun = path.read_bytes()
    start = (writes + 1) % 2 * SLOT
    torn = begun[: start + cut] + garbage + whole[start + cut + len(garbage) :]
    path.write_bytes(torn)
    assert Slots(path).read() in (b"%d" % (writes - 1) * 50, b"new" * 30)


@pytest.mark.parametrize("content", [b"nonsense", b"\x00" * 7 + b"\x01", b"\xff" * 2 * SLOT])
def test_a_file_with_nothing_sound_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "slots"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="nothing sound"):
        Slots(path).read()


def test_too_long_a_content_is_refused_and_the_last_one_stays(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "slots")
    slots.write(b"short")
    with pytest.raises(ValueError, match="too many"):
        slots.write(bytes(SLOT))
    assert Slots(tmp_path / "slots").read() == b"short"


WRITER = """
import sys
from pathlib import Path
from udp_server.slots import Slots
slots, number = Slots(Path(sys.argv[1])), 0
while True:
    number += 1
    slots.write(str(number).encode() * 1000)
    print(number, flush=True)
"""


def test_killed_while_it_writes_it_keeps_all_it_has_said(tmp_path: Path) -> None:
    path, said = tmp_path / "slots", 0
    for _ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(50):
            said = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        said = int((writer.stdout.read().split() or [said])[-1])
        writer.wait()
        content = Slots(path).read()
        assert content is not None
        found = int(content[: len(content) // 1000])
        assert content == str(found).encode() * 1000
        assert found in (said, said + 1)
