"""The fault matrix: every fault is inflicted under load, proved to have happened, healed, and accounted for.

`run_fault` is the one loop for all of them; what each fault does is in its own class.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Generic, Protocol, TypeVar

from tests.faults.accounts import Balance


class System(Protocol):
    """What the loop needs of the system under test. All may raise: then the fault has failed."""

    def begin(self, name: str) -> None:
        """Makes ready for a fault; the system is quiet, and everything in it runs."""

    def load_on(self) -> None:
        """Buoys send, and readings reach the topic when this returns."""

    def load_off(self) -> int:
        """No buoy sends any more; the lines that were sent."""

    def await_recovery(self) -> None:
        """Returns when everything runs, and readings are accepted again."""

    def await_stored(self) -> None:
        """Returns when everything that was accepted has been through both sinks, which makes the recovery complete."""

    def verify(self) -> str:
        """What `mare verify --exact` has to complain of; empty where all sides agree."""

    def balance(self) -> Balance: ...

    def keep_logs(self) -> None:
        """A fault has failed: whoever looks for the reason needs them."""

    def renew(self) -> None:
        """A new system, since a fault has left this one in a state that would fail others."""


S_contra = TypeVar("S_contra", contravariant=True)


class Fault(ABC, Generic[S_contra]):
    """One fault. `S_contra` is the system that it knows how to break."""

    name: str
    description: str  # one sentence: what is done
    small_disks = False  # whether it needs a disk that it can fill

    def prepare(self, system: S_contra) -> None:  # most have nothing to prepare
        """Before the load is on."""

    @abstractmethod
    def inflict(self, system: S_contra) -> None: ...

    @abstractmethod
    def happened(self, system: S_contra) -> str:
        """What was seen of it, as long as it lasts. Raises AssertionError where it did not happen."""

    def heal(self, system: S_contra) -> None:  # `mare tend` heals
        """Ends it; what follows is the system's own doing. Called even where it did not happen."""

    def restore(self, system: S_contra) -> None:
        """After everything: takes back what `prepare` did."""


@dataclass(frozen=True)
class Outcome:
    """What came of one fault. `seconds` are from its end until all was stored; `trouble` is why it failed."""

    fault: str
    description: str
    evidence: str = ""
    sent: int = 0
    accepted: int = 0
    mariadb: int = 0
    elasticsearch: int = 0
    lost: int = 0
    duplicated: int = 0
    seconds: float | None = None
    trouble: str = ""

    @property
    def passed(self) -> bool:
        return not self.trouble

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.passed}


def run_fault(fault: Fault[Any], system: System, progress: Callable[[str], None]) -> Outcome:
    """Whatever goes wrong is the outcome's trouble."""
    said: dict[str, Any] = {}
    try:
        system.begin(fault.name)
        fault.prepare(system)
        try:
            _under_load(fault, system, said, progress)
        finally:
            fault.restore(system)
        progress("proving that nothing was lost")
        said["trouble"] = "; ".join(filter(None, (system.verify(), *_account(system, said))))
    except Exception as error:  # one fault's failure must not hide what the others show
        with suppress(Exception):
            said["sent"] = system.load_off()
        said["trouble"] = f"{error}" or type(error).__name__
    return Outcome(fault.name, fault.description, **said)


def _under_load(fault: Fault[Any], system: System, said: dict[str, Any], progress: Callable[[str], None]) -> None:
    system.load_on()
    progress("inflicting it")
    try:
        fault.inflict(system)
        said["evidence"] = fault.happened(system)
        progress(said["evidence"])
    finally:
        fault.heal(system)
    healed = time.monotonic()
    system.await_recovery()
    said["sent"] = system.load_off()
    system.await_stored()
    said["seconds"] = time.monotonic() - healed
    progress(f"recovered after {said['seconds']:.1f} s")


def _account(system: System, said: dict[str, Any]) -> list[str]:
    """Fills in the numbers; what is wrong with them."""
    found = system.balance()
    said.update(asdict(found))
    wrong = []
    if found.lost:
        wrong.append(f"{found.lost:,} accepted readings lost")
    if found.duplicated:
        wrong.append(f"{found.duplicated:,} stored twice")
    if not 0 < found.accepted <= said["sent"]:
        wrong.append(f"{found.accepted:,} accepted of {said['sent']:,} sent")
    if max(found.mariadb, found.elasticsearch) > said["sent"]:
        wrong.append("more stored than sent")
    return wrong


def run_all(faults: Sequence[Fault[Any]], system: System, progress: Callable[[str], None]) -> list[Outcome]:
    """One after the other; after one that failed, with a new system."""
    outcomes: list[Outcome] = []
    for number, fault in enumerate(faults, 1):

        def tell(text: str, heading: str = f"{number}/{len(faults)} {fault.name}") -> None:
            progress(f"{heading}: {text}")

        outcomes.append(run_fault(fault, system, tell))
        if not outcomes[-1].passed:
            tell(f"FAILED: {outcomes[-1].trouble}")
            system.keep_logs()
            if number < len(faults):
                tell("starting a new instance for the others")
                system.renew()
    return outcomes
