"""Fetching engines: what a failed download says, and that it is repeated rather than half believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from installs import artifacts
from installs.machine import Java
from maredata.errors import MachineError
from maredata.settings import Settings

JAVA = Java(Path("/nowhere"), 17)


@pytest.fixture
def fake_maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in Maven's place, since a download that fails can't be had from the real one at will."""
    script = tmp_path / "bin" / "mvn"
    script.parent.mkdir()
    script.write_text(
        '#!/bin/sh\necho "$*" >>"$0.calls"\n[ -e "$0.works" ] && exit 0\necho "[ERROR] no such host"\nexit 1\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    return script


def test_a_download_that_fails_is_one_sentence_and_is_tried_again(tmp_path: Path, fake_maven: Path) -> None:
    settings = Settings.model_validate({"engines": tmp_path / "engines"})
    for _ in range(2):
        with pytest.raises(MachineError, match=r"Maven failed: \[ERROR\] no such host — check the network"):
            artifacts.fetch(settings, JAVA, lambda _: None)
    calls = (fake_maven.parent / "mvn.calls").read_text().splitlines()
    assert len(calls) == 2
    assert all("--strict-checksums" in call and f"-Dengines={settings.engines}" in call for call in calls)


def test_versions_come_from_the_one_list() -> None:
    versions = artifacts.versions()
    assert set(versions) == {
        *("kafka", "elasticsearch", "mariadb", "log4j"),
        *("debezium-jdbc", "debezium-mariadb", "mariadb-java-client"),
    }
    assert all(version[0].isdigit() for version in versions.values())
