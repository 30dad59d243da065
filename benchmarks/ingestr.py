"""`ingestr` 1.x in an environment of its own: installed by pip, which brings a launcher of its program."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from benchmarks.plain_select import INDEX
from maredata.names import READINGS
from maredata.settings import Settings

_REQUIREMENT = "ingestr>=1,<2"
_INSTALL_SECONDS = 600
_SAY_SECONDS = 180  # at its first start the launcher fetches the program from the project's release page


def folder(home: Path) -> Path:
    return home / "ingestr"


def environment(home: Path) -> dict[str, str]:
    """It keeps its program beside it, and tells nobody that it was used."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder(home)),
        "INGESTR_BINARY_CACHE_DIR": str(folder(home) / "program"),
        "INGESTR_DISABLE_TELEMETRY": "true",
        "DISABLE_TELEMETRY": "true",
        **{name: value for name, value in os.environ.items() if name == "INGESTR_BINARY_PATH"},
    }


def find(home: Path, install: bool, progress: Callable[[str], None]) -> tuple[str | None, str]:
    """Its version, or None; and why it can't be measured."""
    program = folder(home) / "bin" / "ingestr"
    if not program.exists():
        if not install:
            return None, "it is not installed; --install-peers does so, by pip"
        progress("installing ingestr")
        if trouble := _install(folder(home)):
            return None, f"pip could not install it: {trouble}"
    try:
        said = subprocess.run(
            [program, "--version"], env=environment(home), capture_output=True, text=True, check=False,
            timeout=_SAY_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"it does not run here: {error}"
    words = (said.stdout + said.stderr).strip().splitlines() or ["it said nothing"]
    if said.returncode != 0:
        return None, f"it does not run here: {words[-1][:200]}"
    return words[0][:100], ""


def command(settings: Settings) -> tuple[str, ...]:
    """Moves all readings; what it does to a reading is its own."""
    source, target = settings.mariadb, settings.elasticsearch
    account = f"{quote(source.user, safe='')}:{quote(source.password, safe='')}"
    return (
        str(folder(settings.home) / "bin" / "ingestr"),
        "ingest",
        "--yes",
        f"--source-uri=mysql://{account}@{source.host}:{source.port}/{source.database}",
        f"--source-table={source.database}.{READINGS}",
        f"--dest-uri=elasticsearch://{target.host}:{target.port}?secure=false",
        f"--dest-table={INDEX}",
        "--progress=log",
    )


def _install(where: Path) -> str:
    """Why it did not work; empty where it did."""
    venv.create(where, with_pip=True, clear=True)
    try:
        done = subprocess.run(
            [where / "bin" / Path(sys.executable).name, "-m", "pip", "install", "--quiet", _REQUIREMENT],
            capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:200]
