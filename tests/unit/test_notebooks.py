"""The notebooks as they are committed: no outputs, nothing of the machine they were written on, easy to follow."""

from __future__ import annotations

import ast
import copy
import re
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from maredata.settings import CHECKOUT

FOLDER = CHECKOUT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# What the image of service jupyter brings, beside our package and what it depends on.
IMAGE = {"matplotlib", "numpy", "pandas"}
OURS = {path.parent.name for path in CHECKOUT.glob("[!.]*/__init__.py")}
MACHINE_PATH = re.compile(r"(?<![\w.}])(/(home|root|work|Users|tmp|opt|var|mnt)/|[A-Z]:\\\\)")
LONGEST_CELL = 25  # lines
Change = Callable[[nbformat.NotebookNode], None]


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def faults(notebook: nbformat.NotebookNode) -> list[str]:
    """What must not be committed, one sentence each."""
    found = []
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        found.append(f"not valid: {error.message}")
    if set(notebook.metadata) != {"kernelspec", "language_info"} or set(notebook.metadata.language_info) != {"name"}:
        found.append("metadata of an execution")
    if match := MACHINE_PATH.search(nbformat.writes(notebook)):
        found.append(f"a path of a machine: {match[0]}")
    for number, cell in enumerate(notebook.cells):
        if cell.metadata or cell.get("attachments"):
            found.append(f"cell {number}: metadata or attachments")
        if cell.cell_type != "code":
            continue
        if cell.get("outputs") or cell.get("execution_count") is not None:
            found.append(f"cell {number}: outputs")
        if cell.source.count("\n") >= LONGEST_CELL:
            found.append(f"cell {number}: longer than {LONGEST_CELL} lines")
        if not number or notebook.cells[number - 1].cell_type != "markdown":
            found.append(f"cell {number}: no text before it")
    return found


def imported(notebook: nbformat.NotebookNode) -> set[str]:
    """Top-level packages."""
    code = TransformerManager().transform_cell("\n".join(c.source for c in notebook.cells if c.cell_type == "code"))
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_stripped(path: Path) -> None:
    notebook = read(path)
    assert not faults(notebook)
    assert path.read_text("utf-8") == nbformat.writes(notebook, indent=1) + "\n", "written as Jupyter writes it"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_needs_only_what_the_jupyter_image_has(path: Path) -> None:
    assert imported(read(path)) <= set(sys.stdlib_module_names) | OURS | IMAGE


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_connections_come_from_the_settings(path: Path) -> None:
    code = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code")
    assert "settings = load_settings()" in code
    assert not re.search(r"localhost|\d+\.\d+\.\d+\.\d+|\b(3306|9200|9092)\b|password", code)


def test_the_readme_lists_each_of_them() -> None:
    listed = re.findall(r"\]\(([\w-]+\.ipynb)\)", (FOLDER / "README.md").read_text("utf-8"))
    assert sorted(listed) == [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_links_lead_somewhere(path: Path) -> None:
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (FOLDER / link).exists(), link


def executed(notebook: nbformat.NotebookNode) -> None:
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    cell.execution_count = 1


def printed(notebook: nbformat.NotebookNode) -> None:
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="12 readings")]


def names_a_folder(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[0].source += "\nLook into /home/someone/notebooks."


def saved_by_a_kernel(notebook: nbformat.NotebookNode) -> None:
    notebook.metadata.language_info["version"] = "3.11.9"


def without_its_text(notebook: nbformat.NotebookNode) -> None:
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]


def with_an_unknown_cell(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[0].cell_type = "prose"


def with_a_long_cell(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[-1].source += "\n" * LONGEST_CELL


def collapsed(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[0].metadata["collapsed"] = True


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (executed, "outputs"),
        (printed, "outputs"),
        (names_a_folder, "a path of a machine: /home/"),
        (saved_by_a_kernel, "metadata of an execution"),
        (without_its_text, "no text before it"),
        (with_an_unknown_cell, "not valid"),
        (with_a_long_cell, "longer than"),
        (collapsed, "metadata or attachments"),
    ],
)
def test_what_must_not_be_committed_is_found(change: Change, fault: str) -> None:
    notebook = copy.deepcopy(read(NOTEBOOKS[0]))
    change(notebook)
    assert any(fault in sentence for sentence in faults(notebook)), faults(notebook)
