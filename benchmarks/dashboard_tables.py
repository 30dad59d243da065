"""What `mare bench dashboard` has seen, as tables: for the screen, and for docs/benchmarks.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmarks.machine import describe
from benchmarks.tables import simple_table
from maredata.errors import EngineTimedOut

_GOALS = {"paint": 2_000.0, "update": 300.0, "bytes": 200_000.0}


@dataclass(frozen=True)
class Look:
    """One opening of the page: milliseconds to the first paint, to the last buoy, and of each update of the map.

    `sizes` are the updates' bytes.
    """

    paint: float
    drawn: float
    updates: tuple[float, ...]
    sizes: tuple[int, ...]


def render(content: dict[str, Any], path: Path) -> Group:
    parts: list[Table | Text] = [Text(describe(content["machine"], ("elasticsearch", "python")))]
    for found in content["tables"]:
        table = simple_table(*found["columns"], title=found["title"])
        for row in found["rows"]:
            table.add_row(*row)
        parts.append(table)
    return Group(*parts, Text(content["base"]), Text(f"All of it is in {path}", overflow="fold"))


def tables(looks: list[Look], charts: dict[str, dict[str, float]], what: str) -> list[dict[str, Any]]:
    """As `mare bench report` takes them; `charts` are milliseconds, by range and number of buoys."""
    updates = [took for look in looks for took in look.updates]
    sizes = [size for look in looks for size in look.sizes]
    if not updates:
        raise EngineTimedOut("No update of the map was seen: watch it longer, with --seconds.")
    rows = [
        _row("first paint, ms", [look.paint for look in looks], _GOALS["paint"]),
        _row("all buoys drawn, ms", [look.drawn for look in looks], None),
        _row("an update, ms", updates, _GOALS["update"]),
        _row("an update, bytes", sizes, _GOALS["bytes"]),
    ]
    ranges = [[name, *(f"{seen[count]:.0f}" for count in seen)] for name, seen in charts.items()]
    return [
        {
            "title": f"{what}; {len(looks)} openings of the page",
            "columns": ["what", "median", "95 %", "most", "goal", "verdict"],
            "rows": rows,
        },
        {
            "title": "Milliseconds until a chart's values are there",
            "columns": ["range", *(f"buoys: {count}" for count in next(iter(charts.values())))],
            "rows": ranges,
        },
    ]


def _row(what: str, values: list[float] | list[int], goal: float | None) -> list[str]:
    """The verdict is on the 95th percentile."""
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    verdict = "" if goal is None else "met" if high < goal else "missed"
    return [
        what,
        *(f"{value:,.0f}" for value in (median(ordered), high, ordered[-1])),
        "" if goal is None else f"below {goal:,.0f}",
        verdict,
    ]
