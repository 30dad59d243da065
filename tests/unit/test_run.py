"""What `mare test` runs for which arguments."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import pytest

from maredata.settings import CHECKOUT


@pytest.fixture
def parts_of() -> Callable[[list[str]], dict[str, list[str]]]:
    specification = importlib.util.spec_from_file_location("run", CHECKOUT / "tests" / "run.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.parts_of  # type: ignore[no-any-return]


def test_without_arguments_everything_runs(parts_of: Callable[[list[str]], dict[str, list[str]]]) -> None:
    everything = ["lint", "format", "types", "units", "plugin", "integration", "compose"]
    assert list(parts_of([])) == everything
    assert list(parts_of(["--without-compose"])) == everything[:-1]
    assert list(parts_of(["--fast"])) == everything[:4]


def test_containers_alone(parts_of: Callable[[list[str]], dict[str, list[str]]]) -> None:
    assert list(parts_of(["--compose"])) == ["compose"]
    assert parts_of(["--compose", "-k", "kill"])["compose"][2:] == ["tests.compose.run", "-k", "kill"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["tests/unit/test_run.py"], ["tests/unit/test_run.py"]),
        (["tests/unit/test_run.py::test_x", "-x"], ["tests/unit/test_run.py::test_x", "-x"]),
        (["-k", "kill"], ["tests/integration", "-k", "kill"]),
        (["--fast", "-k", "kill"], ["tests/unit", "-k", "kill"]),
    ],
)
def test_what_is_named_runs_alone(
    arguments: list[str], expected: list[str], parts_of: Callable[[list[str]], dict[str, list[str]]]
) -> None:
    [(_, command)] = parts_of(arguments).items()
    assert command[2:] == ["pytest", *expected]
