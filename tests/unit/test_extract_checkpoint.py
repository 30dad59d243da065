"""What a run remembers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from extraction.checkpoint import Checkpoint, Files, Range, Tally
from extraction.job import JobError
from extraction.keys import Key, KeyRange

MEANING: dict[str, Any] = {"source": {"table": "t", "where": None}, "--since": None}
KEY: Key = (2**64 - 1, "ключ '\"😀")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.sqlite"


def reopened(path: Path, meaning: dict[str, Any] = MEANING, restart: bool = False) -> Checkpoint:
    return Checkpoint(path, "orders", meaning, restart)


def test_what_was_not_done_is_there_again(path: Path) -> None:
    first = reopened(path)
    assert (first.walked, first.finished, first.open_ranges()) == (None, False, [])
    parts = [first.add(part) for part in (KeyRange(None, (1, "a")), KeyRange((1, "a"), KEY), KeyRange(KEY, (9, "b")))]
    first.begin(parts[1])
    first.done(parts[1], Tally(rows=5, written=3, dead=2), 17, 40)
    first.begin(parts[2])
    # Not closed: as after kill -9.
    second = reopened(path)
    assert second.open_ranges() == [parts[0], Range(3, KeyRange(KEY, (9, "b")), begun=True)]
    assert (second.walked, second.finished, second.dead_bytes) == ((9, "b"), False, 40)
    assert second.totals() == (1, Tally(rows=5, written=3, dead=2))


def test_new_ranges_begin_where_the_walk_was(path: Path) -> None:
    first = reopened(path)
    first.done(first.add(KeyRange(None, (5,))), Tally(rows=5), None, 0)
    first.finish()
    assert first.finished
    second = reopened(path)
    assert (second.finished, second.walked, second.anew) == (True, (5,), False)
    second.add(KeyRange((5,), (7,)))
    assert not second.finished


def test_a_half_done_job_with_another_meaning_is_refused(path: Path) -> None:
    reopened(path).add(KeyRange(None, (5,)))
    for changed, named in (({"source": {"table": "t", "where": "a"}}, "source.where"), ({"--since": 5}, "--since")):
        with pytest.raises(JobError, match=f"half done and {named} differs.*--restart") as refused:
            reopened(path, {**MEANING, **changed})
        assert refused.value.exit_status == 2
    assert len(reopened(path).open_ranges()) == 1
    assert reopened(path, {**MEANING, "--since": 5}, restart=True).open_ranges() == []


def test_a_done_job_with_another_meaning_begins_anew(path: Path) -> None:
    first = reopened(path)
    first.done(first.add(KeyRange(None, (5,))), Tally(rows=5), None, 99)
    first.finish()
    second = reopened(path, {**MEANING, "--since": 5})
    assert (second.anew, second.walked, second.finished, second.dead_bytes) == (True, None, False, 0)
    assert second.totals() == (0, Tally())


def test_a_checkpoint_of_another_version_is_refused(path: Path) -> None:
    reopened(path)._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JobError, match="--restart"):
        reopened(path)


def test_settings_to_put_back_outlive_the_run(path: Path) -> None:
    first = reopened(path)
    assert first.restore is None
    first.restore = {"index.gc_deletes": None}
    assert reopened(path).restore == {"index.gc_deletes": None}
    first.restore = None
    assert reopened(path).restore is None


def test_reasons_are_counted_up_to_a_limit() -> None:
    tally = Tally()
    for number in range(30):
        tally.blame(f"reason {number}")
    tally.blame("reason 3", 5)
    other = Tally(rows=1)
    other.add(tally)
    other.add(tally)
    assert len(other.reasons) == 21
    assert (other.reasons["reason 3"], other.reasons["others"], other.rows) == (12, 20, 1)


def test_a_job_runs_once_at_a_time(tmp_path: Path) -> None:
    files = Files(tmp_path / "state", "orders")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from extraction.checkpoint import Files\n"
            f"with Files(Path({str(files.folder)!r}), 'orders').locked(): print('held', flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(JobError, match=f"is running already .process {holder.pid}"), files.locked():
            pass
        with Files(files.folder, "others").locked():
            pass
    finally:
        holder.kill()
        holder.communicate()
    with files.locked():
        pass
