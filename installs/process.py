"""Long-running processes of an instance: started in a group of their own, found again by record, stopped in order.

A record `<home>/run/<name>.json` says which process is meant. It is believed only while a process with that pid
and that start time exists, so a pid that was given to somebody else is never signalled.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from maredata.errors import EngineExited, EngineTimedOut, MachineError
from maredata.settings import Settings
from maredata.state import read_json, write_json

_POLL_SECONDS = 0.2  # each look costs CPU that the starting engines want


@dataclass(frozen=True)
class Port:
    """A port that a service listens on, and the setting that moves it."""

    number: int
    setting: str
    udp: bool = False


@dataclass(frozen=True)
class Service:
    """Something that runs: how to start it and how to know that it is ready.

    `prepare` writes configuration and makes the data folder; it is called before each start and must be
    repeatable. `ready` answers at once and never raises. `unprivileged` services run as `settings.run_as` where
    root started them. Nothing needs one that is `awaited_last`, so that others start beside it.
    """

    name: str
    version: str
    address: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    prepare: Callable[[], None] = lambda: None
    environment: dict[str, str] = field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    unprivileged: bool = False
    ready_seconds: float = 300
    awaited_last: bool = False


@dataclass(frozen=True)
class Record:
    """What is known of a service's process. `pid` leads a process group of the same number."""

    name: str
    version: str
    address: str
    pid: int
    started: float

    @property
    def alive(self) -> bool:
        return _process(self.pid, self.started) is not None


def log_file(settings: Settings, name: str) -> Path:
    return settings.home / "logs" / f"{name}.log"


def record_of(settings: Settings, name: str) -> Record | None:
    """The record of a service that was started and not stopped since, dead or alive."""
    content = read_json(_record_file(settings, name))
    return Record(**content) if content else None


def start(settings: Settings, service: Service) -> Record:
    """Starts the service's process, without waiting for it to be ready."""
    left = record_of(settings, service.name)
    if left is not None:
        end(left, 0)
    service.prepare()
    log = log_file(settings, service.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    account = unprivileged_account(settings) if service.unprivileged else None
    with log.open("ab") as output:
        process = subprocess.Popen(
            service.command,
            env=service.environment,
            cwd=settings.home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
    started = psutil.Process(process.pid).create_time()
    record = Record(service.name, service.version, service.address, process.pid, started)
    write_json(_record_file(settings, service.name), record.__dict__)
    return record


def await_ready(settings: Settings, service: Service, record: Record) -> float:
    """Returns the seconds it took. Raises EngineExited or EngineTimedOut, with the end of the log."""
    began = time.monotonic()
    while not service.ready():
        waited = time.monotonic() - began
        if not record.alive:
            raise EngineExited(
                f"{service.name} ended {waited:.0f} s after its start: {_tail(settings, service.name)}"
                f" See `mare logs {service.name}`."
            )
        if waited > service.ready_seconds:
            raise EngineTimedOut(
                f"{service.name} was not ready within {service.ready_seconds:.0f} s: {_tail(settings, service.name)}"
                f" See `mare logs {service.name}`."
            )
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - began


def stop(settings: Settings, name: str, seconds: float) -> bool:
    """Asks the service's process group to end, kills it after `seconds`; False where none was running."""
    record = record_of(settings, name)
    running = record is not None and bool(_group(record))
    if record is not None and running:
        end(record, seconds)
    _record_file(settings, name).unlink(missing_ok=True)
    return running


def end(record: Record, seconds: float) -> None:
    """Terminates, after `seconds` kills, what is left of the record's process group."""
    _signal(record, signal.SIGTERM)
    if not _await_end(record, seconds):
        _signal(record, signal.SIGKILL)
        _await_end(record, 10)


def unprivileged_account(settings: Settings) -> pwd.struct_passwd | None:
    """Whom engines run as when root starts them; None where we are not root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(settings.run_as)
    except KeyError:
        raise MachineError(
            f"There is no account {settings.run_as!r} to run the engines as: name one in MARE_RUN_AS."
        ) from None


def own(settings: Settings, *paths: Path) -> None:
    """Makes folders, and gives them with all that is in them to the account that the engines run as."""
    account = unprivileged_account(settings)
    for path in paths:
        path.mkdir(parents=True, exist_ok=True)
        if account is not None:
            for inner in (path, *path.rglob("*")):
                os.chown(inner, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _record_file(settings: Settings, name: str) -> Path:
    return settings.home / "run" / f"{name}.json"


def _process(pid: int, started: float) -> psutil.Process | None:
    """The living process of that pid and start time."""
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - started) > 1 or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except psutil.Error:
        return None
    return process


def _group(record: Record) -> list[int]:
    """Living members of the process group. Elasticsearch's launcher can be gone while its server still runs."""
    if psutil.pid_exists(record.pid) and not record.alive and not _zombie(record.pid):
        return []  # the number belongs to somebody else by now
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == record.pid and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
    return members


def _zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(record: Record, number: signal.Signals) -> None:
    if _group(record):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(record.pid, number)


def _await_end(record: Record, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _group(record):
        reap(record)
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    reap(record)
    return True


def reap(record: Record) -> None:
    """Takes a dead child of ours off the process table; somebody else's child is left alone."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(record.pid, os.WNOHANG)


def _tail(settings: Settings, name: str) -> str:
    """The log's last line that tells of an error, else its last line: the reason in an error's sentence."""
    with log_file(settings, name).open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 20_000))
        lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"\b(ERROR|FATAL|Error|Exception|error:)", line)]
    return f"“{(telling or lines or ['(nothing in its log)'])[-1][:300]}”."
