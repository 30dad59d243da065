"""CPU that roles, the benchmark itself and everything else use between two looks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from benchmarks import kernel

_QUIET_SHARE = 0.2  # of one core, used by all engines: what came before is digested


@dataclass(frozen=True)
class Look:
    """CPU used so far: by each role's processes; in seconds by the benchmark itself, and by everything."""

    roles: dict[str, dict[int, kernel.Cpu]]
    own: float
    machine: float


@dataclass(frozen=True)
class Used:
    """CPU seconds in between. `elsewhere` is what neither a role nor the benchmark itself used."""

    cpu: dict[str, float]
    own: float
    elsewhere: float


def look(pids: Mapping[str, Iterable[int]]) -> Look:
    """`pids` are each role's; what they have started counts as theirs."""
    own = os.times()
    roles = {role: {pid: cpu for one in some for pid, cpu in kernel.tree(one).items()} for role, some in pids.items()}
    return Look(roles, own.user + own.system, kernel.machine_busy())


def used(before: Look, after: Look) -> Used:
    cpu = {role: kernel.total(kernel.spent(then, after.roles[role])) for role, then in before.roles.items()}
    own = after.own - before.own
    return Used(cpu, own, after.machine - before.machine - sum(cpu.values()) - own)


def await_quiet(pids: Mapping[str, Iterable[int]], longest: float, look_seconds: float) -> None:
    """Waits until the roles do little, for `longest` seconds at most.

    What engines still do for an earlier pass (deleting, merging, compiling) is none of the next one's.
    """

    def quiet() -> bool:
        before = look(pids)
        time.sleep(look_seconds)
        return sum(used(before, look(pids)).cpu.values()) < _QUIET_SHARE * look_seconds

    until(quiet, longest, 0)


def until(condition: Callable[[], bool], seconds: float, every: float) -> bool:
    """Waits for the condition, for so many seconds at most; whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)
    return True
