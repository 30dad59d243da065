"""Processes that are killed, stopped, or started in the wrong order."""

from __future__ import annotations

import random
import signal
import time

import psutil

from installs.process import Record
from tests.faults.matrix import Fault
from tests.faults.system import GATEWAY, RealSystem
from tests.waiting import await_true

FROZEN_SECONDS = 30
KILLS = 3
BETWEEN_KILLS = (500, 3000)  # readings, at 500 a second
WRONG_ORDER = (GATEWAY, "connect", "elasticsearch", "mariadb", "kafka")


class Kill(Fault[RealSystem]):
    """kill -9 of a service, as soon as it runs again once more; `mare tend` brings it back each time."""

    def __init__(self, service: str) -> None:
        self.name = f"{service}-kill"
        self.description = f"kill -9 of {service}'s process group, {KILLS} times after random numbers of readings"
        self._service = service
        self._killed: list[Record] = []

    def inflict(self, system: RealSystem) -> None:
        for _ in range(KILLS):
            await_true(lambda: system.alive(self._service), what=f"{self._service} is revived")
            system.await_accepted(random.randint(*BETWEEN_KILLS))
            self._killed.append(system.signal(self._service, signal.SIGKILL))
            self._await_death(system, self._killed[-1])

    def happened(self, _system: RealSystem) -> str:
        pids = {record.pid for record in self._killed}
        assert len(pids) == KILLS, f"{self._service} was killed {len(pids)} times"
        return f"processes {', '.join(map(str, sorted(pids)))} are gone"

    def _await_death(self, system: RealSystem, killed: Record) -> None:
        await_true(lambda: not killed.alive and not system.members(killed), 10, f"{self._service} is dead")


class Freeze(Fault[RealSystem]):
    """SIGSTOP of a service: it is there, holds its connections, and does nothing."""

    def __init__(self, service: str, seconds: float = FROZEN_SECONDS) -> None:
        self.name = f"{service}-stop"
        self.description = f"SIGSTOP of {service}'s process group for {seconds:.0f} s"
        self._service, self._seconds = service, seconds
        self._frozen: Record | None = None

    def inflict(self, system: RealSystem) -> None:
        self._frozen = system.signal(self._service, signal.SIGSTOP)

    def happened(self, system: RealSystem) -> str:
        frozen, until = self._frozen, time.monotonic() + self._seconds
        assert frozen is not None
        await_true(lambda: self._still(system, frozen), 10, f"{self._service} is stopped")
        while time.monotonic() < until:
            assert self._still(system, frozen), f"{self._service} ran again before its time"
            time.sleep(1)
        return f"process {frozen.pid} stood still for {self._seconds:.0f} s"

    def heal(self, system: RealSystem) -> None:
        if self._frozen is not None and self._frozen.alive:
            system.signal(self._service, signal.SIGCONT)

    def _still(self, system: RealSystem, record: Record) -> bool:
        members = system.members(record)
        return bool(members) and all(process.status() == psutil.STATUS_STOPPED for process in members)


class WrongOrder(Fault[RealSystem]):
    """Everything is stopped, what others need first of all, and started again, what others need last of all."""

    name = "restart-in-wrong-order"
    description = "everything stopped, Kafka first, and started again, Kafka last, without waiting for anything"

    def inflict(self, system: RealSystem) -> None:
        self._before = {name: system.living(name).pid for name in WRONG_ORDER}
        for name in reversed(WRONG_ORDER):
            system.stop(name)
        self._none_ran = not any(system.alive(name) for name in WRONG_ORDER)
        for name in WRONG_ORDER:
            system.start(name)

    def happened(self, system: RealSystem) -> str:
        assert self._none_ran, "something ran on while everything was to be stopped"
        await_true(lambda: all(system.alive(name) for name in WRONG_ORDER), what="all run again")
        records = [system.living(name) for name in WRONG_ORDER]
        assert not {record.pid for record in records} & set(self._before.values()), "something was not restarted"
        assert records[-1].started >= records[0].started, "Kafka was not the last"
        return "all stopped; started in the order " + ", ".join(WRONG_ORDER)
