"""`mare bench report`: docs/benchmarks.md from the results that are kept, so that no figure in it was typed by hand.

The same results give the same text. Each result has a section: its command, the machine, tables, and the file itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import analytics_plots, report_sections
from benchmarks.machine import describe
from benchmarks.report_sections import Section
from maredata.errors import MareError
from maredata.settings import CHECKOUT

RESULTS = CHECKOUT / "benchmarks" / "results"
PAGE = CHECKOUT / "docs" / "benchmarks.md"
_PICTURES = "benchmarks"  # the folder of the page's pictures, beside it
_HEAD = """# Benchmarks

Made by `./mare bench report` from the files in [benchmarks/results]({results}): every figure here is in one of
them, with the command that measured it. Do not edit this page; measure again, and make it anew.
"""


class ReportError(MareError):
    """The page can't be made of these files."""


@dataclass(frozen=True)
class Result:
    """A result's file, and what is in it."""

    path: Path
    content: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.content["benchmark"])


@dataclass(frozen=True)
class Page:
    """The text, and the pictures by the name under which it shows them."""

    text: str
    pictures: Mapping[str, Result]


def make(results: Path = RESULTS, page: Path = PAGE) -> list[Path]:
    """Writes the page and its pictures; the files that were written. Raises ReportError."""
    made = compose(read(results), page, results)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(made.text, "utf-8")
    written = [page]
    folder = page.parent / _PICTURES
    for name, result in made.pictures.items():
        folder.mkdir(exist_ok=True)
        written.append(analytics_plots.picture(result.content, folder / name))
    return written


def read(results: Path) -> list[Result]:
    """In the page's order: by kind, the newest of a kind first. Raises ReportError for a file that is no result."""
    found = []
    for path in sorted(results.glob("*.json")):
        try:
            content = json.loads(path.read_text("utf-8"))
            found.append(Result(path, content))
            _ = (content["benchmark"], content["command"], content["began"])
        except (ValueError, TypeError, KeyError):
            raise ReportError(f"{path} is no result of `mare bench`: take it away, or measure again.") from None
    if not found:
        raise ReportError(f"There is no result in {results}: measure, with --out to a file there.")
    newest_first = sorted(found, key=lambda result: result.content["began"], reverse=True)
    return sorted(newest_first, key=lambda result: (_place(result.kind), result.kind))


def compose(found: Iterable[Result], page: Path, results: Path) -> Page:
    """The page's text, with links as seen from `page`."""
    pictures: dict[str, Result] = {}
    parts = [_HEAD.format(results=_link(results, page))]
    kind = ""
    for result in found:
        section = report_sections.of(result.kind)
        if result.kind != kind:
            parts.append(f"## {section.title}\n\n{section.text}\n")
            kind = result.kind
        parts.append(_section(result, section, page))
        if section.has_picture:
            name = f"{result.path.stem}.png"
            pictures[name] = result
            parts.append(f"![{analytics_plots.title_of(result.content)}]({_PICTURES}/{name})\n")
    return Page("\n".join(parts), pictures)


def _section(result: Result, section: Section, page: Path) -> str:
    content = result.content
    lines = [f"### {result.path.stem}", "", "```console", f"$ ./{content['command']}", "```", ""]
    lines += [f"{content['began'][:10]}: {describe(dict(content['machine']), section.programs)}.", ""]
    for title, columns, rows in section.tables(content):
        lines += [f"{title}:", "", *_table(columns, rows), ""]
    lines += [line for sentence in section.sentences(content) for line in (f"- {sentence}",)]
    lines += ["", f"Every number is in [{result.path.name}]({_link(result.path, page)}).", ""]
    return "\n".join(lines)


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [_row(columns), _row(["---"] * len(columns)), *(_row(row) for row in rows)]


def _row(cells: Iterable[str]) -> str:
    """A bar within a cell would end it."""
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _place(kind: str) -> int:
    known = list(report_sections.SECTIONS)
    return known.index(kind) if kind in known else len(known)


def _link(target: Path, page: Path) -> str:
    return str(Path(*[".."] * len(page.parent.relative_to(CHECKOUT).parts)) / target.relative_to(CHECKOUT))
