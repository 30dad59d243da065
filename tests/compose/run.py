"""The part "compose" of `mare test`: builds the images, brings docker-compose.yml up unchanged, and runs the tests.

    python -m tests.compose.run [--official] [--keep] [pytest's options]

Without an option it is a Docker engine of the tests' own with stand-ins for the official images. `--official` takes
the machine's engine and the official images from their registries; `--keep` leaves everything running at the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maredata.errors import MareError

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = CHECKOUT / "tests" / "compose"
ENGINE = str(HERE / "engine.sh")
# One service of each image that is built.
BUILT = ("setup", "kafka-connect", "jupyter")
BROWSER = "http://127.0.0.1:9515"
BEGAN = time.monotonic()


def main(arguments: list[str]) -> int:
    options = [argument for argument in arguments if argument not in ("--official", "--keep")]
    official, keep = "--official" in arguments, "--keep" in arguments
    reason = None if official else cannot_run()
    if reason:
        print(f"compose: {reason}; or leave this part out with --without-compose.", file=sys.stderr)
        return 2
    work = (Path(os.environ.get("COMPOSE_TEST_DIR") or CHECKOUT / ".mare" / "compose")).resolve()
    work.mkdir(parents=True, exist_ok=True)
    folder = work / "checkout"
    os.environ |= {
        "COMPOSE_TEST_CHECKOUT": str(folder),
        # Never the names of somebody's own volumes and networks.
        "COMPOSE_PROJECT_NAME": "mare-test",
    }
    try:
        copy_checkout(folder)
        return run_official(folder, options) if official else run_stand_ins(work, folder, options, keep)
    except subprocess.CalledProcessError as error:
        print(f"compose: {' '.join(map(str, error.cmd))} failed with {error.returncode}: see above.", file=sys.stderr)
    except (LookupError, MareError) as error:
        print(f"compose: {error}", file=sys.stderr)
    return 1


def cannot_run() -> str | None:
    """Why stand-ins can't be built here, as a sentence's beginning."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux, for a Docker engine of its own: run it with sudo"
    if not Path("/etc/debian_version").exists():
        return "needs Debian, from whose packages its images are made"
    return None


def run_stand_ins(work: Path, folder: Path, options: list[str], keep: bool) -> int:
    from tests.compose import stand_ins

    os.environ |= {
        "DOCKER_HOST": f"unix://{work}/docker.sock",
        "DOCKER_CONFIG": str(work / "client"),
        "COMPOSE_TEST_DIR": str(work),
        "COMPOSE_TEST_BROWSER": BROWSER,
    }
    run(ENGINE, "packages")
    try:
        run(ENGINE, "start", "builds")
        wipe()  # what a killed run left
        stand_ins.build(work, say)
        files = ("-f", "docker-compose.yml", "-f", str(HERE / "build-on-host-network.yml"))
        with unused_env(folder) as env:
            build = ("docker", "compose", "--progress=plain", "--env-file", env, *files, "build", *BUILT)
            stand_ins.logged(work / "build.log", *build, cwd=folder)
        say("our own images are built")
        run(ENGINE, "start", "apart")
        browser = ("--detach", "--rm", "--network=host", "--name=browser", "--shm-size=512m", "mare-tests/browser")
        run("docker", "run", *browser, stdout=subprocess.DEVNULL)
        return pytest(options, ENGINE, "enter")
    finally:
        if not keep:
            wipe()
            subprocess.run([ENGINE, "stop"], check=False)
            shutil.rmtree(folder, ignore_errors=True)


def wipe() -> None:
    """Takes away all containers, networks and volumes of the tests' own engine, which nobody else uses."""
    listed = subprocess.run(["docker", "ps", "--all", "--quiet"], stdout=subprocess.PIPE, text=True, check=False)
    if listed.stdout:
        run("docker", "rm", "--force", *listed.stdout.split(), stdout=subprocess.DEVNULL)
    for what in (("network",), ("volume", "--all")):
        run("docker", what[0], "prune", "--force", *what[1:], stdout=subprocess.DEVNULL)


def run_official(folder: Path, options: list[str]) -> int:
    with unused_env(folder) as env:
        run("docker", "compose", "--env-file", env, "pull", "--quiet", "--ignore-buildable", cwd=folder)
        run("docker", "compose", "--env-file", env, "build", "--quiet", "--pull", *BUILT, cwd=folder)
    return pytest(options)


def pytest(options: list[str], *before: str) -> int:
    say("tests begin")
    return subprocess.run(
        [*before, sys.executable, "-m", "pytest", "--durations", "30", str(HERE), *options], cwd=CHECKOUT, check=False
    ).returncode


def copy_checkout(target: Path) -> None:
    """What git has of the checkout, so that nobody's .env, jobs or certificates are used, or changed."""
    shutil.rmtree(target, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (CHECKOUT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, target / name)


@contextmanager
def unused_env(folder: Path) -> Iterator[str]:
    """Compose wants every variable even to build; the tests make the .env that counts."""
    path = folder.parent / "build.env"
    path.unlink(missing_ok=True)
    run("bash", "installs/make_env.sh", str(path), cwd=folder, stdout=subprocess.DEVNULL)
    yield str(path)
    path.unlink()


def run(*command: str, cwd: Path = CHECKOUT, stdout: int | None = None) -> None:
    subprocess.run(command, cwd=cwd, stdout=stdout, check=True)


def say(text: str) -> None:
    print(f"[compose {time.monotonic() - BEGAN:4.0f} s] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
