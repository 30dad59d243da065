"""Transactions while analysts ask nobody, MariaDB or Elasticsearch, as a picture (PNG) and as a page (HTML)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.analytics_pair import CONDITIONS, NOBODY
from benchmarks.analytics_stores import ELASTICSEARCH, MARIADB

LABELS = {
    NOBODY: "nobody asks",
    MARIADB: "analysts ask MariaDB",
    ELASTICSEARCH: "analysts ask Elasticsearch",
}
# Told apart by those who see no red or green, and by their lines where there is no colour.
_COLOURS = {NOBODY: "#666666", MARIADB: "#d55e00", ELASTICSEARCH: "#0072b2"}
_LINES = {NOBODY: ("dotted", "dot"), MARIADB: ("dashed", "dash"), ELASTICSEARCH: ("solid", "solid")}
_X = "percent of transactions that took no longer"
_Y = "latency from when it was due, ms"


def draw(content: Mapping[str, Any], stem: Path) -> tuple[Path, Path]:
    """Writes `stem`.png and `stem`.html from a result's content. The page needs nothing from elsewhere."""
    return picture(content, stem.with_name(f"{stem.name}.png")), _page(content, stem.with_name(f"{stem.name}.html"))


def title_of(content: Mapping[str, Any]) -> str:
    options = content["options"]
    return (
        f"{options['rate']:,.0f} transactions a second on MariaDB, {options['analysts']} analysts,"
        f" {content['readings']:,} readings"
    )


def picture(content: Mapping[str, Any], path: Path) -> Path:
    from matplotlib.figure import Figure  # noqa: PLC0415  # slow to load, and only needed here

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for name, (percents, milliseconds) in _curves(content).items():
        axes.plot(
            percents, milliseconds, label=LABELS[name], color=_COLOURS[name], linestyle=_LINES[name][0], linewidth=2
        )
    axes.set(xlabel=_X, ylabel=_Y, yscale="log", xlim=(0, 100), title=title_of(content))
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path


def _page(content: Mapping[str, Any], path: Path) -> Path:
    import plotly.graph_objects as go  # noqa: PLC0415  # slow to load, and only needed here

    figure = go.Figure()
    for name, (percents, milliseconds) in _curves(content).items():
        line = {"color": _COLOURS[name], "dash": _LINES[name][1], "width": 2}
        figure.add_scatter(x=percents, y=milliseconds, name=LABELS[name], line=line, mode="lines")
    figure.update_layout(title=title_of(content), hovermode="x unified", template="plotly_white")
    figure.update_xaxes(title=_X, range=[0, 100])
    figure.update_yaxes(title=_Y, type="log")
    figure.write_html(path, include_plotlyjs=True)
    return path


def _curves(content: Mapping[str, Any]) -> dict[str, tuple[list[float], list[float]]]:
    """By whom analysts ask: percents, and milliseconds."""
    curves = {seen["analysts"]: seen["transactions"]["curve"] for seen in content["pair"]}
    return {
        name: ([percent for percent, _ in curves[name]], [1000 * seconds for _, seconds in curves[name]])
        for name in CONDITIONS
        if name in curves
    }
