"""What `mare test --compose` builds, without building it."""

from __future__ import annotations

import os
import sys

import pytest
from compose import run, stand_ins


def test_every_image_from_a_registry_has_a_stand_in() -> None:
    asked = {image.rpartition(":")[0] for image in stand_ins.asked_for()}
    assert {"apache/kafka", "python", "quay.io/jupyter/scipy-notebook"} < asked
    assert asked == set(stand_ins.STANDS_IN_FOR.values())


def test_every_image_of_the_tests_has_its_folder_and_its_row_in_the_readme() -> None:
    folders = {path.name for path in (stand_ins.HERE / "images").iterdir()}
    assert folders == {*stand_ins.INTERNAL, *stand_ins.STANDS_IN_FOR}
    readme = (stand_ins.HERE / "README.md").read_text("utf-8")
    assert all(f"| `{official}" in readme for official in stand_ins.STANDS_IN_FOR.values())


def test_every_image_is_built_once_behind_those_that_it_is_made_from() -> None:
    needs = stand_ins.made_from()
    assert (needs["base"], needs["kafka"], needs["jupyter"]) == (set(), {"java"}, {"python"})
    ended: list[str] = []

    def build(name: str) -> None:
        assert needs[name] <= set(ended), name
        ended.append(name)

    stand_ins.in_order(build, needs)
    assert sorted(ended) == sorted(needs)


def test_a_build_that_fails_ends_the_rest() -> None:
    def build(name: str) -> None:
        assert name != "kafka", "made from what failed"
        raise LookupError(name)

    with pytest.raises(LookupError, match="java"):
        stand_ins.in_order(build, {"kafka": {"java"}, "java": set()})


def test_a_stand_in_says_which_image_it_stands_for() -> None:
    tags = dict.fromkeys(stand_ins.STANDS_IN_FOR, "official:1")
    assert "--label=stand-in-for=official:1" in stand_ins.options("kafka", tags)
    assert "--label=stand-in-for=-" in stand_ins.options("base", tags)


@pytest.mark.parametrize(("platform", "account"), [("darwin", 0), ("linux", 1000)])
def test_where_it_cannot_run_it_fails_and_says_so(
    platform: str, account: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os, "geteuid", lambda: account)
    assert run.main([]) == 2
    assert "needs root on Linux" in capsys.readouterr().err
