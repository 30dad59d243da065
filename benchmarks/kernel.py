"""What the kernel knows of a process tree and of a UDP port: the same view of every receiver, from outside."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

_LOCAL_ADDRESS, _QUEUES, _DROPS = 1, 4, 12  # columns of /proc/net/udp
_SOCKET_TABLES = ("/proc/net/udp", "/proc/net/udp6")


@dataclass(frozen=True)
class Port:
    """The UDP sockets bound to a port: bytes that wait in them, datagrams that the kernel dropped there."""

    sockets: int
    queued_bytes: int
    dropped: int


@dataclass(frozen=True)
class Cpu:
    """CPU seconds of a process. `role` is what it does."""

    pid: int
    role: str
    user: float
    system: float

    @property
    def total(self) -> float:
        return self.user + self.system


def udp_port(number: int) -> Port:
    tables = [path.read_text() for path in map(Path, _SOCKET_TABLES) if path.exists()]
    return parse_udp(number, "\n".join(tables))


def parse_udp(number: int, table: str) -> Port:
    """`table` is the text of /proc/net/udp."""
    suffix = f":{number:04X}"
    rows = [fields for line in table.splitlines() if len(fields := line.split()) > _DROPS]
    rows = [fields for fields in rows if fields[_LOCAL_ADDRESS].endswith(suffix)]
    queued = sum(int(fields[_QUEUES].split(":")[1], 16) for fields in rows)
    return Port(len(rows), queued, sum(int(fields[_DROPS]) for fields in rows))


def receive_buffer(number: int) -> int | None:
    """Bytes that the kernel really gave each of the port's sockets (the least of them); None where `ss` is missing."""
    ss = shutil.which("ss")
    if ss is None:
        return None
    command = [ss, "-H", "-l", "-u", "-n", "-m", f"sport = :{number}"]
    return parse_receive_buffer(subprocess.run(command, capture_output=True, text=True, check=False).stdout)


def parse_receive_buffer(text: str) -> int | None:
    """`text` is what `ss -m` prints. Linux doubles the number that was asked for, for its own bookkeeping."""
    given = [int(size) // 2 for size in re.findall(r"\brb(\d+)", text)]
    return min(given, default=None)


def tree(pid: int, child: str = "worker") -> dict[int, Cpu]:
    """The process and all it has started, by pid. Those that end meanwhile are left out."""
    try:
        parent = psutil.Process(pid)
        children = parent.children(recursive=True)
    except psutil.NoSuchProcess:
        return {}
    roles = {pid: "parent" if children else "process"}
    found = {}
    for process in (parent, *children):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found[process.pid] = Cpu(process.pid, roles.get(process.pid, child), times.user, times.system)
    return found


def spent(before: dict[int, Cpu], after: dict[int, Cpu]) -> tuple[Cpu, ...]:
    """CPU seconds of each process in between; all of it for one that was started in between."""
    none = Cpu(0, "", 0.0, 0.0)
    return tuple(
        Cpu(pid, now.role, now.user - (then := before.get(pid, none)).user, now.system - then.system)
        for pid, now in sorted(after.items())
    )


def total(processes: Iterable[Cpu]) -> float:
    return sum(process.total for process in processes)


def machine_busy() -> float:
    """CPU seconds that all programs and the kernel have used on all cores, idle time and waiting left out."""
    times = psutil.cpu_times()
    return sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal"))
