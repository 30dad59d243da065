"""The walls between the rooms, as the design draws them."""

from __future__ import annotations

import ast
from pathlib import Path

from maredata.settings import CHECKOUT

ROOMS = {"udp_client", "udp_server", "extraction", "connect", "installs", "benchmarks"}
# Rooms that another room may import. Benchmarks drive the system from outside, but for Kafka, which they start alone.
ALLOWED = {"benchmarks": {"installs"}}


def imported(path: Path) -> set[str]:
    """Top-level packages that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_a_room_imports_maredata_and_no_other_room() -> None:
    for room in ROOMS:
        modules = list((CHECKOUT / room).rglob("*.py"))
        assert modules, f"{room} is empty"
        for module in modules:
            assert not imported(module) & (ROOMS - {room} - ALLOWED.get(room, set())), module


def test_only_the_command_line_imports_rooms() -> None:
    for module in (CHECKOUT / "maredata").rglob("*.py"):
        if module.name != "cli.py":
            assert not imported(module) & ROOMS, module


def test_the_command_line_imports_rooms_inside_its_commands_only() -> None:
    tree = ast.parse((CHECKOUT / "maredata" / "cli.py").read_text("utf-8"))
    at_top = {(node.module or "").split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom)} | {
        alias.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for alias in node.names
    }
    assert not at_top & ROOMS
