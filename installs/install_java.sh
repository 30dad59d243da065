#!/usr/bin/env bash
# Installs a Java 17 (or newer) development kit with the system's package manager, and Maven where it is offered.
# Says what it runs before it runs it. Does nothing where a fitting Java is there already.
set -euo pipefail

say() { printf 'install_java: %s\n' "$1"; }
run() { say "running: $*"; "$@"; }

if command -v javac >/dev/null && javac -version 2>&1 | grep -Eq 'javac (1[7-9]|[2-9][0-9])'; then
    say "$(javac -version 2>&1) is installed already; nothing to do."
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ] && ! command -v brew >/dev/null; then
    command -v sudo >/dev/null || { say "run this as root, since there is no sudo."; exit 2; }
    as_root=(sudo)
fi

if command -v apt-get >/dev/null; then
    run "${as_root[@]}" apt-get update
    # default-jdk is 17 or newer from Debian 12 and Ubuntu 24.04 on; older releases offer 17 by name.
    package=openjdk-17-jdk-headless
    apt-cache show "$package" >/dev/null 2>&1 || package=default-jdk-headless
    run "${as_root[@]}" apt-get install -y --no-install-recommends "$package" maven
elif command -v dnf >/dev/null; then
    package=java-21-openjdk-devel
    dnf -q info "$package" >/dev/null 2>&1 || package=java-latest-openjdk-devel
    run "${as_root[@]}" dnf install -y "$package" maven
elif command -v brew >/dev/null; then
    run brew install openjdk@21 maven
    say "add it to your PATH: export PATH=\"\$(brew --prefix openjdk@21)/bin:\$PATH\""
else
    say "no apt-get, dnf or brew here: install a Java 17 development kit by hand, and name its home in MARE_JAVA."
    exit 2
fi
say "done: $(javac -version 2>&1)"
