"""installs/make_env.sh and install_docker.sh: what they write, and what they leave alone."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values

from maredata.settings import CHECKOUT, load_settings

MAKE_ENV = CHECKOUT / "installs" / "make_env.sh"
INSTALL_DOCKER = CHECKOUT / "installs" / "install_docker.sh"
REQUIRED = set(re.findall(r"\$\{(\w+):\?", (CHECKOUT / "docker-compose.yml").read_text("utf-8")))
YOURS = {"MARE_MARIADB__HOST": "db.example", "MARE_MARIADB__PASSWORD": "it$ #secret"}


def make_env(target: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MARE_")}
    return subprocess.run(
        ["bash", str(MAKE_ENV), str(target)], env=clean | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "env"


def test_everything_that_compose_asks_for_is_there_and_long(target: Path) -> None:
    assert make_env(target).returncode == 0
    values = dotenv_values(target)
    assert {"ELASTIC_PASSWORD", "MARE_MARIADB__PASSWORD", "JUPYTER_TOKEN"} < REQUIRED
    for name in REQUIRED:
        assert re.fullmatch(r"[A-Za-z0-9]{24,}", values[name] or ""), name
    assert len(values["PHPMYADMIN_SECRET"] or "") == 32  # phpMyAdmin takes no other length
    assert all(len(values[f"KIBANA_{name}_KEY"] or "") >= 32 for name in ("SECURITY", "OBJECTS", "REPORTING"))


def test_nothing_is_twice_the_same(target: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for path in (target, other):
        assert make_env(path).returncode == 0
    secrets = [str(dotenv_values(path)[name]) for path in (target, other) for name in REQUIRED]
    assert len(set(secrets)) == len(secrets) == 2 * len(REQUIRED)


def test_only_its_owner_reads_it(target: Path) -> None:
    make_env(target)
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in target.parent.iterdir()] == ["env"]  # and no draft is left


def test_one_that_is_there_is_never_overwritten(target: Path) -> None:
    target.write_text("ELASTIC_PASSWORD=mine\n")
    answer = make_env(target)
    assert answer.returncode == 2 and "is there already" in answer.stderr and not answer.stdout
    assert target.read_text() == "ELASTIC_PASSWORD=mine\n"


def test_a_link_to_nowhere_is_not_followed(target: Path) -> None:
    target.symlink_to(target.parent / "elsewhere")
    assert make_env(target).returncode == 2
    assert not (target.parent / "elsewhere").exists()


def test_addresses_and_logins_are_printed(target: Path) -> None:
    answer = make_env(target)
    values = dotenv_values(target)
    for port in (5601, 9200, 8080, 8888, 8083, 8082, 9092, 3306, 20001):
        assert str(port) in answer.stdout
    for login in (
        f"observer / {values['OBSERVER_PASSWORD']}",
        f"reader / {values['MARIADB_READER_PASSWORD']}",
        f"token={values['JUPYTER_TOKEN']}",
    ):
        assert login in answer.stdout
    assert str(values["ELASTIC_PASSWORD"]) not in answer.stdout


def test_demo_and_our_mariadb_are_switched_on(target: Path) -> None:
    make_env(target)
    assert dotenv_values(target)["COMPOSE_PROFILES"] == "demo,mariadb"


def test_with_a_server_of_yours_our_mariadb_is_off(target: Path) -> None:
    answer = make_env(target, **YOURS)
    assert answer.returncode == 0, answer.stderr
    values = dotenv_values(target)
    assert "mariadb" not in str(values["COMPOSE_PROFILES"]).split(",")
    assert {name: values[name] for name in YOURS} == YOURS
    assert YOURS["MARE_MARIADB__PASSWORD"] not in answer.stdout


@pytest.mark.parametrize("password", ["", "it's", "two\nlines"])
def test_a_password_that_is_missing_or_that_the_file_cannot_hold_is_refused(target: Path, password: str) -> None:
    answer = make_env(target, **YOURS | {"MARE_MARIADB__PASSWORD": password})
    assert answer.returncode == 2 and "MARE_MARIADB__PASSWORD" in answer.stderr
    assert not target.exists() and not list(target.parent.iterdir())


def test_local_mode_reads_the_same_file(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MARE_")]:
        monkeypatch.delenv(name)
    make_env(target, **YOURS)
    settings = load_settings(target)
    assert (settings.mariadb.host, settings.mariadb.password) == tuple(YOURS.values())
    assert settings.elasticsearch.user == "mare" and len(settings.elasticsearch.password) == 24


# --- install_docker.sh: nothing is installed here ---------------------------------------------------------------------


def install_docker(tmp_path: Path, release: str, **programs: str) -> subprocess.CompletedProcess[str]:
    """Runs it with fake programs only, each of which writes its arguments down in `ran`, and on a fake system."""
    tools = tmp_path / "bin"
    tools.mkdir()
    bodies = dict.fromkeys(("apt-get", "curl", "install", "chmod", "sudo", "dpkg"), "") | programs
    bodies |= {"uname": "echo Linux", "id": "echo 0", "docker": programs.get("docker", "exit 127")}
    bodies |= {"dpkg-query": programs.get("dpkg_query", "exit 1"), "tee": "cat >/dev/null"}
    for name, body in bodies.items():
        path = tools / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> {tmp_path}/ran\n{body}\n')
        path.chmod(0o755)
    for name in ("bash", "cat", "grep"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    system = tmp_path / "os-release"
    system.write_text(release)
    return subprocess.run(
        ["/usr/bin/bash", str(INSTALL_DOCKER)],
        env={"PATH": str(tools), "OS_RELEASE_FILE": str(system)},
        capture_output=True,
        text=True,
        check=False,
    )


def ran(tmp_path: Path) -> str:
    return (tmp_path / "ran").read_text()


def test_docker_that_is_there_is_left_alone(tmp_path: Path) -> None:
    answer = install_docker(tmp_path, "ID=debian\n", docker="exit 0")
    assert answer.returncode == 0 and "nothing to do" in answer.stdout
    assert "apt-get" not in ran(tmp_path)


@pytest.mark.parametrize("release", ["ID=fedora\nPRETTY_NAME='Fedora 44'\n", "ID=alpine\n", "ID=debian\n"])
def test_another_system_is_refused_with_a_pointer(tmp_path: Path, release: str) -> None:
    answer = install_docker(tmp_path, release)
    assert answer.returncode == 2 and "docs.docker.com/engine/install" in answer.stdout
    assert "apt-get" not in ran(tmp_path)


def test_packages_in_the_way_are_named_and_not_removed(tmp_path: Path) -> None:
    answer = install_docker(tmp_path, "ID=debian\nVERSION_CODENAME=bookworm\n", dpkg_query="echo installed")
    assert answer.returncode == 2 and "apt-get remove docker.io" in answer.stdout
    assert "apt-get" not in ran(tmp_path)


@pytest.mark.parametrize(
    ("release", "source"),
    [
        ("ID=debian\nVERSION_CODENAME=bookworm\n", "/linux/debian bookworm stable"),
        ("ID=ubuntu\nVERSION_CODENAME=x\nUBUNTU_CODENAME=noble\n", "/linux/ubuntu noble stable"),
    ],
)
def test_dockers_own_repository_is_used_and_each_step_is_said(tmp_path: Path, release: str, source: str) -> None:
    answer = install_docker(tmp_path, release, docker=f"grep -q docker-ce {tmp_path}/ran")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert source in answer.stdout and "signed-by=/etc/apt/keyrings/docker.asc" in answer.stdout
    for line in ran(tmp_path).splitlines():
        if line.startswith(("apt-get", "curl", "install", "chmod")):
            assert f"running: {line}" in answer.stdout
    assert "docker-ce docker-ce-cli containerd.io docker-buildx-plugin docker-compose-plugin" in ran(tmp_path)
