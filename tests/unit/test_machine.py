"""What a machine may lack: each lack is one sentence that says what to do."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from installs import machine
from installs.process import Port, Service
from maredata.errors import MachineError
from maredata.settings import Settings

FULL = "java.base@17\njdk.compiler@17\njdk.jdi@17\njdk.incubator.vector@17"


def java_that_answers(folder: Path, answer: str, status: int = 0) -> Path:
    binary = folder / "bin" / "java"
    binary.parent.mkdir()
    binary.write_text(f"#!/bin/sh\nprintf '{answer}'\nexit {status}\n")
    binary.chmod(0o755)
    return folder


def test_java_is_found(tmp_path: Path) -> None:
    home = java_that_answers(tmp_path, FULL.replace("17", "21.0.2"))
    java = machine.find_java(Settings.model_validate({"java": home}))
    assert (java.home, java.version) == (home, 21)


@pytest.mark.parametrize(
    ("answer", "status", "sentence"),
    [
        (FULL.replace("17", "11.0.1"), 0, "is too old: 17 or newer is needed"),
        ("Unrecognized option: --list-modules", 1, "is older than 17 or does not run"),
        ("java.base@17\njdk.jdi@17\njdk.incubator.vector@17", 0, "is not a full development kit \\(no javac\\)"),
    ],
)
def test_a_java_that_will_not_do(tmp_path: Path, answer: str, status: int, sentence: str) -> None:
    home = java_that_answers(tmp_path, answer, status)
    with pytest.raises(MachineError, match=f"{sentence}.*installs/install_java.sh"):
        machine.find_java(Settings.model_validate({"java": home}))


def test_no_java_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match=r"was not found. Run installs/install_java.sh"):
        machine.find_java(Settings())


@pytest.mark.parametrize("udp", [False, True])
def test_a_port_in_use_names_the_holder_and_the_setting(udp: bool) -> None:
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 0))
        if not udp:
            holder.listen()
        number = holder.getsockname()[1]
        service = Service("kafka", "", "", (), lambda: True, ports=(Port(number, "MARE_KAFKA__PORT", udp),))
        expected = rf"Port {number} for kafka is in use by .* \(pid {os.getpid()}\).*set MARE_KAFKA__PORT to another"
        with pytest.raises(MachineError, match=expected):
            machine.check_ports([service], "127.0.0.1")


def test_too_little_memory(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path, "elasticsearch": {"heap": "4000g"}})
    with pytest.raises(MachineError, match=r"of memory are free and 400\d\.\d GB are needed"):
        machine.check_room(settings)


def test_too_little_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_DISK_NEEDED", 1 << 60)
    with pytest.raises(MachineError, match=r"are free on the disk of .*set MARE_HOME to a folder on another disk"):
        machine.check_room(Settings.model_validate({"home": tmp_path}))


@pytest.mark.parametrize(("text", "size"), [("512m", 512 << 20), ("1G", 1 << 30), ("100", 100), ("3k", 3072)])
def test_sizes(text: str, size: int) -> None:
    assert machine.parse_size(text) == size


def test_no_size() -> None:
    with pytest.raises(MachineError, match="'much' is no size"):
        machine.parse_size("much")
