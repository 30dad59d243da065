"""The facts without which a number says nothing: the machine, the versions, the commit."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import confluent_kafka
import psutil

from installs import artifacts
from maredata.settings import CHECKOUT

_PROGRAMS = ("kafka", "python", "confluent-kafka", "msgspec")  # whose versions say most


def facts() -> dict[str, Any]:
    """As JSON; None for what can't be known here."""
    return {
        "cores": os.cpu_count(),
        "model": cpu_model(_text(Path("/proc/cpuinfo"))),
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": platform.release(),
        "system": platform.platform(),
        "rmem_max": _number(Path("/proc/sys/net/core/rmem_max")),
        "load_average_before": os.getloadavg()[0],
        "versions": {
            "kafka": artifacts.versions()["kafka"],
            "elasticsearch": artifacts.versions()["elasticsearch"],
            "mariadb": artifacts.versions()["mariadb"],
            "mysql-connector-python": version("mysql-connector-python"),
            "python": platform.python_version(),
            "confluent-kafka": version("confluent-kafka"),
            "librdkafka": confluent_kafka.libversion()[0],
            "msgspec": version("msgspec"),
            "rsyslog": _first_line(["rsyslogd", "-v"]),
            "compiler": _first_line(["cc", "--version"]),
        },
        **commit(CHECKOUT),
    }


def commit(folder: Path) -> dict[str, Any]:
    """The commit that was measured, and whether the tree has changes that are in none."""
    head = _output(["git", "-C", str(folder), "rev-parse", "HEAD"])
    changes = _output(["git", "-C", str(folder), "status", "--porcelain"])
    return {"commit": head.strip() if head else None, "dirty": bool(changes.strip()) if changes is not None else None}


def cpu_model(cpuinfo: str) -> str | None:
    """`cpuinfo` is the text of /proc/cpuinfo."""
    rows = (line.partition(":") for line in cpuinfo.splitlines())
    return next((value.strip() for key, _, value in rows if key.strip() == "model name"), None)


def describe(machine: dict[str, Any], programs: Sequence[str] = _PROGRAMS) -> str:
    """The most important of it in one line, with the versions of `programs`."""
    versions = machine["versions"]
    memory = machine["memory_bytes"] / (1 << 30)
    tree = f"{(machine['commit'] or 'no commit')[:10]}{' with uncommitted changes' if machine['dirty'] else ''}"
    named = ", ".join(f"{name} {versions[name]}" for name in programs)
    return (
        f"{machine['cores']} cores ({machine['model'] or 'unknown'}), {memory:.0f} GiB, Linux {machine['kernel']};"
        f" {named}; {tree}"
    )


def _first_line(command: Sequence[str]) -> str | None:
    said = _output(command)
    return said.splitlines()[0].strip() if said else None


def _output(command: Sequence[str]) -> str | None:
    program = shutil.which(command[0], path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        return None
    result = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    return result.stdout if result.returncode == 0 else None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None
