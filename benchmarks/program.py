"""A program that is measured from outside: how long it runs, what CPU and memory it and its children take."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

from maredata.settings import CHECKOUT

_END_SECONDS = 10
_LOOK_SECONDS = 0.1
_HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


class Program:
    """Started on entering, in a process group of its own, with what it says in `log`; on leaving none of it is left."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command = command
        self._environment = environment
        self._log = log
        self._peaks: dict[int, int] = {}
        self._status: int | None = None
        self.began = 0.0
        self.seconds: float | None = None  # from its start to its end
        self.cpu: float | None = None  # seconds, its children's included that it has waited for

    def __enter__(self) -> Program:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self.began = time.monotonic()
        with self._log.open("wb") as log:
            # In a session of its own: Ctrl-C is for the benchmark, which ends its programs.
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.await_end(0):
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)
                self.await_end(_END_SECONDS)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # children that outlived it

    @property
    def pid(self) -> int:
        return self._process.pid

    def look(self) -> None:
        """Notes the peak memory of each process there is, and whether the program has ended."""
        if self.seconds is not None:
            return
        for pid in _tree(self._process.pid):
            with suppress(OSError):
                found = _HIGH_WATER.search(Path(f"/proc/{pid}/status").read_text())
                if found:
                    self._peaks[pid] = int(found[1]) << 10
        pid, status, spent = os.wait4(self._process.pid, os.WNOHANG)
        if pid:
            self.seconds = time.monotonic() - self.began
            self._status = self._process.returncode = os.waitstatus_to_exitcode(status)
            self.cpu = spent.ru_utime + spent.ru_stime

    def await_end(self, seconds: float) -> bool:
        """Whether it has ended within so many seconds."""
        deadline = time.monotonic() + seconds
        self.look()
        while self.seconds is None and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            self.look()
        return self.seconds is not None

    @property
    def memory(self) -> int:
        """Bytes: the sum of its processes' own peaks, whether or not they were there together."""
        return sum(self._peaks.values())

    @property
    def ended(self) -> bool:
        self.look()
        return self.seconds is not None

    @property
    def failure(self) -> str:
        """Why its exit status is not 0; empty while it runs, and where it is 0."""
        if not self._status:
            return ""
        return f"it ended with status {self._status}: {last_words(self._log)}"

    def output(self) -> str:
        return self._log.read_text("utf-8", "replace")


def last_words(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return (lines or ["it said nothing"])[-1].strip()[:300]


def _tree(pid: int) -> list[int]:
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []
