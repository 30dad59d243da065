"""Runs the sink plugin's own tests with the Java and the Maven that the launcher uses: a part of `mare test`."""

from __future__ import annotations

import sys

from installs.artifacts import PLUGIN_SOURCE, maven_output
from installs.machine import find_java
from maredata.settings import load_settings


def main() -> int:
    return maven_output(find_java(load_settings()), f"--file={PLUGIN_SOURCE / 'pom.xml'}", "verify")


if __name__ == "__main__":
    sys.exit(main())
