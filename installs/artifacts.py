"""Fetches the pinned engines and builds the sink plugin, both by Maven, each only when something changed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from maven_artifact.downloader import Downloader

from installs.machine import Java
from maredata.errors import MachineError
from maredata.settings import CHECKOUT, Settings

POM = CHECKOUT / "installs" / "pom.xml"
PLUGIN_SOURCE = CHECKOUT / "connect" / "elasticsearch-sink"
_MARIADB_PLATFORMS = {("Linux", "x86_64"): "linux64", ("Darwin", "arm64"): "macos-arm64"}


def versions() -> dict[str, str]:
    """The pinned versions, from the one list of them: `{"kafka": "4.3.1", …}`."""
    space = "{http://maven.apache.org/POM/4.0.0}"
    properties = ElementTree.parse(POM).getroot().find(f"{space}properties")  # noqa: S314  # our own file
    assert properties is not None  # noqa: S101
    suffix = ".version"
    return {
        entry.tag.removeprefix(space).removesuffix(suffix): entry.text or ""
        for entry in properties
        if entry.tag.endswith(suffix)
    }


def fetch(settings: Settings, java: Java, progress: Callable[[str], None]) -> None:
    """Makes sure that `settings.engines` holds every engine and the built plugin. Raises MachineError."""
    settings.engines.mkdir(parents=True, exist_ok=True)
    pinned = _hash([POM])
    sources = _hash([PLUGIN_SOURCE / "pom.xml", *sorted((PLUGIN_SOURCE / "src" / "main").rglob("*"))])
    with _locked(settings.engines):
        if not _stamped(settings.engines / ".engines", pinned):
            progress("fetching the engines (about 400 MB, once)")
            _fetch_engines(settings.engines, java)
            _stamp(settings.engines / ".engines", pinned)
        if not _stamped(settings.engines / ".plugin", sources):
            progress("building the Elasticsearch sink plugin")
            _build_plugin(settings.engines, java)
            _stamp(settings.engines / ".plugin", sources)


def maven(java: Java, *arguments: str) -> None:
    """Runs Maven, the machine's own or the Wrapper's, quietly. Raises MachineError with its first error."""
    result = _run_maven(java, "--quiet", *arguments, capture_output=True)
    if result.returncode != 0:
        output = (result.stdout + result.stderr).splitlines()
        errors = [line for line in output if "ERROR" in line] or output or ["(it printed nothing)"]
        raise MachineError(
            f"Maven failed: {errors[0].strip()[:400]} — check the network (or MVNW_REPOURL, where only a mirror of"
            " the Maven repository can be reached) and run the command again."
        )


def test_plugin(java: Java) -> int:
    """Runs the sink plugin's own tests, with Maven's output shown; Maven's exit status."""
    return _run_maven(java, f"--file={PLUGIN_SOURCE / 'pom.xml'}", "verify").returncode


def _run_maven(java: Java, *arguments: str, capture_output: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "JAVA_HOME": str(java.home)}
    command = shutil.which("mvn")
    if command is None:
        command = str(CHECKOUT / "installs" / "mvnw")
        environment.setdefault("MVNW_REPOURL", Downloader().resolver.base)
    return subprocess.run(
        [command, "--batch-mode", "--strict-checksums", "--no-transfer-progress", "-Dstyle.color=never", *arguments],
        env=environment,
        cwd=CHECKOUT / "installs",
        capture_output=capture_output,
        text=True,
        check=False,
    )


def _fetch_engines(engines: Path, java: Java) -> None:
    system = (platform.system(), platform.machine())
    if system not in _MARIADB_PLATFORMS:
        raise MachineError(
            f"No MariaDB is published as a package for {' '.join(system)}: use the containers (docker compose up -d)."
        )
    for name in ("kafka", "elasticsearch", "mariadb", "plugins"):
        shutil.rmtree(engines / name, ignore_errors=True)
    # An interrupted fetch leaves no stamp, and the next one begins by removing what it left.
    maven(
        java,
        f"--file={POM}",
        f"-Dengines={engines}",
        f"-Dmariadb.platform={_MARIADB_PLATFORMS[system]}",
        "process-resources",
    )
    for path in engines.rglob("*"):
        runs = path.parent.name in ("bin", "scripts") or path.is_dir()
        path.chmod(0o755 if runs else 0o644)
    (engines / ".plugin").unlink(missing_ok=True)


def _build_plugin(engines: Path, java: Java) -> None:
    maven(java, f"--file={PLUGIN_SOURCE / 'pom.xml'}", "-DskipTests", "package")
    target = engines / "plugins" / "elasticsearch-sink"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(PLUGIN_SOURCE / "target" / "plugin", target)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two instances may share one folder of engines, and start at the same moment."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _hash(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _stamped(stamp: Path, content: str) -> bool:
    return stamp.exists() and stamp.read_text() == content


def _stamp(stamp: Path, content: str) -> None:
    stamp.write_text(content)
