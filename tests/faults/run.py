"""Runs the matrix on instances of its own: one for most faults, one on small disks for those that fill them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.engines import ends_in_order
from maredata.errors import SettingsError
from maredata.settings import Settings
from tests.faults import catalogue
from tests.faults.disk_faults import DISKS, QUEUE_MESSAGES
from tests.faults.disks import NoSmallDisks, own_mounts
from tests.faults.matrix import Fault, Outcome, run_all
from tests.faults.report import Report
from tests.faults.system import PORTS, RealSystem, own_settings
from tests.ports import free_ports

Progress = Callable[[str], None]


def chosen(names: Sequence[str], short: bool) -> list[Fault[Any]]:
    """Those of the short form, or all; of these the ones that are named, where any is. Raises SettingsError."""
    faults = catalogue.short() if short else catalogue.everything()
    known = {fault.name: fault for fault in faults}
    for name in names:
        if name not in known:
            raise SettingsError(f"There is no fault {name!r}: `mare faults --list` shows all of them.")
    return [known[name] for name in names] or faults


def run(settings: Settings, faults: Sequence[Fault[Any]], command: str, progress: Progress) -> Report:
    """Inflicts them all. Raises MareError where an instance does not start."""
    began, facts = datetime.now(UTC), machine.facts()
    mounted = _mounts(faults, progress)
    outcomes: list[Outcome] = []
    with ends_in_order():
        for part in ([f for f in faults if not f.small_disks], [f for f in faults if f.small_disks]):
            if part:
                disks = DISKS if part[0].small_disks and mounted else {}
                outcomes += _on_its_own(settings, part, disks, progress)
    return Report(began, datetime.now(UTC), command, facts, outcomes)


def _mounts(faults: Sequence[Fault[Any]], progress: Progress) -> bool:
    """Whether small disks can be mounted, where one is needed. Before any thread is started: see `own_mounts`."""
    if not any(fault.small_disks for fault in faults):
        return False
    try:
        own_mounts()
    except NoSmallDisks as error:
        progress(f"faults that need a small disk will fail: {error}")
        return False
    return True


def _on_its_own(
    settings: Settings, faults: Sequence[Fault[Any]], disks: dict[str, int], progress: Progress
) -> list[Outcome]:
    """On an instance that is made for them, and removed."""
    home: Path = settings.home / "faults" / uuid.uuid4().hex[:8]
    home.mkdir(parents=True)
    home.chmod(0o755)
    own = own_settings(settings, home, free_ports(PORTS))
    if disks:
        own = own.model_copy(update={"udp": own.udp.model_copy(update={"queue_messages": QUEUE_MESSAGES})})
    system = RealSystem(own, disks)
    try:
        system.up(progress)
        return run_all(faults, system, progress)
    finally:
        progress("removing the instance")
        system.down()
