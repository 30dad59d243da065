"""Everything that `mare test` runs, one after the other; each part's own output, and a line for each at the end.

`--compose` runs the containers alone, `--without-compose` all the rest. Arguments other than these and `--fast` are
pytest's: with files or tests named, these alone run; with options only (`-k kill`), they choose among the integration
tests, or with `--fast` among the unit tests, with `--compose` among those of the containers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

# Not for integration tests: two sets of engines at a time on 2 cores took as long, and some waits were too short.
AT_ONCE = ["-n", "2", "--dist", "loadfile"]
CHECKOUT = Path(__file__).resolve().parent.parent
PLUGIN_TESTS = """import sys
from installs import artifacts, machine
from maredata.settings import load_settings
sys.exit(artifacts.test_plugin(machine.find_java(load_settings())))"""


def parts_of(arguments: list[str]) -> dict[str, list[str]]:
    """The commands to run, by the names under which the end speaks of them."""
    fast = "--fast" in arguments
    chosen = [argument for argument in arguments if argument not in ("--fast", "--compose", "--without-compose")]
    python = [sys.executable, "-m"]
    # It says so where it can't run, and fails: nothing is left out but on request.
    compose = {"compose": [*python, "tests.compose.run", *chosen]}
    if "--compose" in arguments:
        return compose
    folder = "tests/unit" if fast else "tests/integration"
    if chosen:
        named = any((CHECKOUT / argument.partition("::")[0]).exists() for argument in chosen)
        return {"chosen": [*python, "pytest", *([] if named else [folder]), *chosen]}
    parts = {
        "lint": [*python, "ruff", "check", "."],
        "format": [*python, "ruff", "format", "--check", "."],
        "types": [*python, "mypy"],
        "units": [*python, "pytest", *AT_ONCE, "tests/unit"],
    }
    if not fast:
        parts["plugin"] = [sys.executable, "-c", PLUGIN_TESTS]
        parts["integration"] = [*python, "pytest", "--durations", "40", folder]
        parts |= {} if "--without-compose" in arguments else compose
    return parts


def main(arguments: list[str]) -> int:
    # A developer's own settings must not reach into tests.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MARE_")}
    results: list[tuple[str, bool, float]] = []
    for name, command in parts_of(arguments).items():
        print(f"\n=== {name}: {' '.join(command[2:]).splitlines()[0]}", flush=True)
        began = time.monotonic()
        status = subprocess.run(command, cwd=CHECKOUT, env=environment, check=False).returncode
        results.append((name, status == 0, time.monotonic() - began))
    print("\n=== summary")
    for name, passed, seconds in results:
        print(f"{name:<12} {'passed' if passed else 'FAILED'} in {seconds:.0f} s")
    return 0 if all(passed for _, passed, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
