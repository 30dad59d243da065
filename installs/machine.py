"""What this machine must have, checked before anything is started; each lack is one sentence with what to do."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from installs.process import Port, Service, unprivileged_account
from maredata.errors import MachineError
from maredata.settings import Settings

OLDEST_JAVA = 17
_MEMORY_BEYOND_HEAPS = 1 << 30  # what the JVMs use beside their heaps, and our own processes
_DISK_NEEDED = 2 << 30
_MODULES = {"jdk.compiler": "javac", "jdk.jdi": "the debugger interface", "jdk.incubator.vector": "vectors"}


@dataclass(frozen=True)
class Java:
    """A Java development kit. `home` holds bin/java and bin/javac."""

    home: Path
    version: int

    @property
    def binary(self) -> str:
        return str(self.home / "bin" / "java")


def find_java(settings: Settings) -> Java:
    """The Java of MARE_JAVA, JAVA_HOME or the PATH, in this order. Raises MachineError."""
    found = settings.java or os.environ.get("JAVA_HOME") or shutil.which("java")
    advice = "Run installs/install_java.sh, or name a Java home in MARE_JAVA."
    if not found:
        raise MachineError(f"Java {OLDEST_JAVA} or newer is needed and was not found. {advice}")
    path = Path(found).resolve()
    home = path.parent.parent if path.is_file() else path
    try:
        answer = subprocess.run(
            [home / "bin" / "java", "--list-modules"], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        raise MachineError(f"The Java in {home} is older than {OLDEST_JAVA} or does not run. {advice}") from None
    version = re.search(r"^java\.base@(\d+)", answer, re.MULTILINE)
    if version is None or int(version[1]) < OLDEST_JAVA:
        raise MachineError(f"The Java in {home} is too old: {OLDEST_JAVA} or newer is needed. {advice}")
    lacking = [what for module, what in _MODULES.items() if f"{module}@" not in answer]
    if lacking:
        raise MachineError(f"The Java in {home} is not a full development kit (no {lacking[0]}). {advice}")
    return Java(home, int(version[1]))


def check_room(settings: Settings) -> None:
    """Raises MachineError where memory or disk won't do."""
    heaps = (
        settings.kafka.heap,
        settings.connect.heap,
        settings.elasticsearch.heap,
        settings.mariadb.buffer_pool,
    )
    needed = sum(map(parse_size, heaps)) + _MEMORY_BEYOND_HEAPS
    available = psutil.virtual_memory().available
    if available < needed:
        raise MachineError(
            f"{_gigabytes(available)} of memory are free and {_gigabytes(needed)} are needed:"
            " end other programs, or set smaller heaps (MARE_ELASTICSEARCH__HEAP and the like)."
        )
    settings.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home).free
    if free < _DISK_NEEDED:
        raise MachineError(
            f"{_gigabytes(free)} are free on the disk of {settings.home} and {_gigabytes(_DISK_NEEDED)} are needed:"
            " make room, or set MARE_HOME to a folder on another disk."
        )


def check_ports(services: Iterable[Service], host: str) -> None:
    """Raises MachineError naming the first port that somebody else holds, and who."""
    for service in services:
        for port in service.ports:
            if not _free(host, port):
                raise MachineError(
                    f"Port {port.number} for {service.name} is in use{_holder(port)}:"
                    f" end that program, or set {port.setting} to another port."
                )


def check_entry(settings: Settings, *folders: Path) -> None:
    """Raises MachineError where the account that the engines run as can't enter one of the folders."""
    account = unprivileged_account(settings)
    if account is None:
        return
    for folder in folders:
        for step in (folder, *folder.parents):
            if step.exists() and step.stat().st_uid != account.pw_uid and not step.stat().st_mode & stat.S_IXOTH:
                raise MachineError(
                    f"Engines must not run as root, and the account {account.pw_name} can't enter {step}: use a"
                    " checkout elsewhere (such as /opt), or set MARE_HOME and MARE_ENGINES to folders it can enter."
                )


def parse_size(text: str) -> int:
    """Bytes of a size as JVMs and MariaDB write it: 512m, 1G."""
    match = re.fullmatch(r"(\d+)([kKmMgG]?)", text.strip())
    if match is None:
        raise MachineError(f"{text!r} is no size: write it like 512m or 2g.")
    return int(match[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[match[2].lower()]


def _free(host: str, port: Port) -> bool:
    kind = socket.SOCK_DGRAM if port.udp else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        if not port.udp:
            # As servers do: connections that are only waiting out their time don't count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port.number))
        except OSError:
            return False
    return True


def _holder(port: Port) -> str:
    try:
        for connection in psutil.net_connections("udp" if port.udp else "tcp"):
            listens = port.udp or connection.status == psutil.CONN_LISTEN
            if listens and connection.pid and connection.laddr and connection.laddr.port == port.number:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass  # another user's sockets can't be looked at; the sentence does without
    return ""


def _gigabytes(size: int) -> str:
    return f"{size / (1 << 30):.1f} GB"
