"""Compiles `sender.c` for this machine, runs it, and tells what it really sent."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from maredata.errors import MachineError

SOURCE = Path(__file__).parent / "sender.c"
MOST_LINES = 255  # of its longest lines in the largest datagram
_COMPILERS = ("cc", "gcc", "clang")
_REACHED = 0.99  # of the rate that was asked for: a sender below it was too slow


@dataclass(frozen=True)
class Load:
    """What is to be sent. `rate` is in datagrams a second, each of `lines` readings."""

    rate: float
    seconds: float
    lines: int = 1
    sensors: int = 1000
    sockets: int = 64

    @property
    def datagrams(self) -> int:
        return int(self.rate * self.seconds + 0.5)


class Sent(msgspec.Struct, frozen=True):
    """What the sender says of itself. `longest_lag` is in seconds behind its schedule; user and system are CPU."""

    datagrams: int
    lines: int
    bytes: int
    seconds: float
    errors: int
    longest_lag: float
    user: float
    system: float

    @property
    def rate(self) -> float:
        """Datagrams a second, as achieved."""
        return self.datagrams / self.seconds

    def reached(self, load: Load) -> bool:
        return self.rate >= _REACHED * load.rate


def compile_sender(folder: Path, compilers: Sequence[str] = _COMPILERS) -> Path:
    """The program, newly compiled into `folder`. Raises MachineError where there is no compiler, or it fails."""
    compiler = next(filter(None, map(shutil.which, compilers)), None)
    if compiler is None:
        raise MachineError(
            "The benchmark's sender is written in C, and there is no C compiler here: install one"
            " (Debian: apt-get install gcc libc6-dev; Fedora: dnf install gcc)."
        )
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "sender"
    result = subprocess.run(
        [compiler, "-O2", "-o", str(program), str(SOURCE)], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        said = (result.stderr.strip().splitlines() or ["(it said nothing)"])[0]
        raise MachineError(f"{compiler} can't compile {SOURCE.name} (Linux and its C headers are needed): “{said}”.")
    return program


def send(program: Path, host: str, port: int, load: Load) -> Sent:
    """Sends all of it, in about `load.seconds`. Raises MachineError where the sender failed."""
    sockets = min(load.sockets, load.sensors, _open_files() - 64)
    numbers = (port, load.rate, load.seconds, load.sensors, sockets, load.lines)
    result = subprocess.run(
        [str(program), host, *map(str, numbers)],
        capture_output=True,
        text=True,
        check=False,
        timeout=20 * load.seconds + 60,
    )
    if result.returncode != 0:
        raise MachineError(f"The benchmark's sender failed: “{result.stderr.strip()}”.")
    return msgspec.json.decode(result.stdout, type=Sent)


def _open_files() -> int:
    return os.sysconf("SC_OPEN_MAX")
