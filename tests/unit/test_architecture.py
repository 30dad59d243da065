"""The walls between the rooms, as the design draws them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from maredata.settings import CHECKOUT

ROOMS = {folder.parent.name for folder in CHECKOUT.glob("[!.]*/*.py")} - {"maredata", "tests"}
# Rooms that another room may import. Benchmarks drive the system from outside, but for Kafka, which they start alone.
ALLOWED = {"benchmarks": {"installs"}}
COMMANDS = CHECKOUT / "maredata" / "commands"
HEAVY = {"confluent_kafka", "elasticsearch", "httpx", "kafka", "mysql", "pandas", "prometheus_client", "psutil"}


def imports_at_load(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: all but what is inside functions or for type checkers only."""
    for child in ast.iter_child_nodes(node):
        for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not for_types and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from imports_at_load(child)


def packages(nodes: Iterator[ast.AST]) -> set[str]:
    """Top-level packages that these nodes import."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def imported(path: Path, *, at_load: bool = False) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return packages(imports_at_load(tree) if at_load else ast.walk(tree))


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_maredata_and_no_other_room(room: str) -> None:
    for module in (CHECKOUT / room).rglob("*.py"):
        assert not imported(module) & (ROOMS - {room} - ALLOWED.get(room, set())), module


def test_only_the_commands_import_rooms() -> None:
    for module in (CHECKOUT / "maredata").rglob("*.py"):
        if module.parent != COMMANDS:
            assert not imported(module) & ROOMS, module


def test_the_commands_import_rooms_inside_their_functions_only() -> None:
    modules = list(COMMANDS.glob("*.py"))
    assert any(imported(module) & ROOMS for module in modules)
    for module in modules:
        assert not imported(module, at_load=True) & ROOMS, module


def test_only_the_root_imports_commands() -> None:
    outside = [module for room in ROOMS | {"maredata"} for module in (CHECKOUT / room).rglob("*.py")]
    for module in outside:
        if module.parent != COMMANDS and module != CHECKOUT / "maredata" / "cli.py":
            assert "maredata.commands" not in module.read_text("utf-8"), module


def test_the_command_line_starts_without_rooms_and_heavy_libraries() -> None:
    loaded = "import sys, maredata.cli; print(*{name.split('.')[0] for name in sys.modules})"
    found = subprocess.run([sys.executable, "-c", loaded], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    names = set(found.stdout.split())
    assert "maredata" in names
    assert not names & (ROOMS | HEAVY)
