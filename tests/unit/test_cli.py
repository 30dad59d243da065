"""The command line: every command is explained and documented, errors are one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from maredata.cli import main
from maredata.commands.shared import Instant
from maredata.settings import CHECKOUT


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(group.commands.items()):
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands())


@pytest.mark.parametrize("name", ALL)
def test_help_has_a_sentence_and_an_example(name: str) -> None:
    result = CliRunner().invoke(main, [*name.split(), "--help"])
    assert result.exit_code == 0
    assert re.search(r"Example:\n\s+(MARE_\w+=\S+ )?mare " + name.split(maxsplit=1)[0], result.output), result.output


@pytest.mark.parametrize("name", [name for name, command in ALL.items() if not isinstance(command, click.Group)])
def test_command_is_in_the_readme(name: str) -> None:
    assert f"mare {name}" in (CHECKOUT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", ALL)
def test_every_option_is_explained(name: str) -> None:
    silent = [
        parameter.name
        for parameter in ALL[name].params
        if isinstance(parameter, click.Option) and not parameter.help and not parameter.hidden
    ]
    assert silent == []


def test_an_error_is_one_sentence_and_an_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARE_XYZZY", "1")
    result = CliRunner().invoke(main, ["apply"])
    assert result.exit_code == 2
    assert result.output == "mare: There is no setting MARE_XYZZY. .env.example lists all of them.\n"


def test_logs_of_something_unknown_says_what_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: str) -> None:
    monkeypatch.setenv("MARE_HOME", str(tmp_path))
    result = CliRunner().invoke(main, ["logs", "nonsense"])
    assert result.exit_code == 2
    assert "There is no log of 'nonsense' here. There are: none yet." in result.output


@pytest.mark.parametrize(("text", "micros"), [("1970-01-02", 86_400_000_000), ("1970-01-01T00:00:01Z", 1_000_000)])
def test_an_instant_is_a_day_or_a_timestamp(text: str, micros: int) -> None:
    assert Instant().convert(text, None, None) == micros
