"""What each part of the page shows now, from what a browser says it shows already.

Nothing here knows of Dash's callbacks: `callbacks.py` connects these functions to the page. What comes from a browser
is checked before it is used, and answered with a sentence where it can't be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from dash import Patch, no_update
from dash.development.base_component import Component
from elastic_transport import TransportError
from elasticsearch import ApiError

from dashboard import asked, figures, layout, panels
from dashboard.asked import NotUnderstood, Span
from dashboard.latest import Buoy, Snapshot
from dashboard.pipeline import Pipeline
from dashboard.poll import Poll
from dashboard.series import Series, SeriesCache
from maredata.schema import Schema

_FIRST_PAINT_SECONDS = 0.7  # for which a page waits for news where nobody has looked for long
_AGAIN_SECONDS = 2.0


@dataclass(frozen=True)
class Sources:
    """Where everything comes from. `silent_seconds`: a buoy that sends nothing for so long is silent."""

    schema: Schema
    latest: Poll[Snapshot]
    pipeline: Pipeline
    series: SeriesCache
    silent_seconds: float
    basemap: str = ""
    clock: Callable[[], float] = time.time


def page(sources: Sources) -> Component:
    """The whole page, for a browser that opens it."""
    sources.latest.read(_FIRST_PAINT_SECONDS)
    fields = asked.numbers(sources.schema)
    first = tick(sources, fields[0].name if fields else None, "", 0, {})
    return layout.page(sources.schema, first)


def tick(sources: Sources, variable: Any, prefix: Any, step: int | None, seen: Any) -> dict[str, Any]:
    """The parts that go on by themselves: new children by the parts' ids, or no_update for what is as it was.

    `seen` is what the last one returned as "seen". `step` turns the table's pages; None: back to the first.
    """
    seen = seen if isinstance(seen, dict) else {}
    answer = sources.latest.read()
    snapshot, state, now = answer.value, sources.pipeline.read(), sources.clock()
    buoys = list(snapshot.buoys.values())
    silent = _silent(sources, buoys, now)
    listed = _of_prefix(buoys, prefix)
    number = _page(seen.get("page"), step, panels.pages(listed))
    rows = panels.buoy_table(listed, sources.schema.measured, now, sources.silent_seconds, number)
    drawn = {"variable": variable, "version": snapshot.version, "silent": silent}
    map_, drawn = _map(sources, buoys, now, drawn, seen)
    ids = len(buoys)
    return {
        "map": map_,
        "banner": panels.banner(answer, state),
        "summary": f"{len(buoys):,} buoys, {silent:,} of them silent",
        "table": rows,
        "page": f"page {number + 1} of {panels.pages(listed)}",
        "pipeline": panels.pipeline_panel(answer, state),
        "sensors": [str(sensor) for sensor in sorted(snapshot.buoys)] if seen.get("ids") != ids else no_update,
        "seen": {**drawn, "page": number, "ids": ids},
    }


def _map(
    sources: Sources, buoys: Sequence[Buoy], now: float, drawn: dict[str, Any], seen: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """What is to change in the map, and what it shows then."""
    if all(seen.get(name) == value for name, value in drawn.items()):
        return no_update, drawn
    try:
        field = asked.variable(sources.schema, drawn["variable"])
    except NotUnderstood:
        return no_update, drawn
    if not seen.get("version"):  # there was no buoy to show the surroundings of
        return figures.map_figure(buoys, field, now, sources.silent_seconds, sources.basemap), drawn
    patch = Patch()
    for number, arrays in enumerate(figures.map_data(buoys, field, now, sources.silent_seconds, sources.basemap)):
        for key, value in arrays.pop("marker", {}).items():
            patch["data"][number]["marker"][key] = value
        for key, value in arrays.items():
            patch["data"][number][key] = value
    return patch, drawn


@dataclass(frozen=True)
class Chart:
    """What the chart shows from now on; None for what stays."""

    figure: figures.Figure | None
    drawn: dict[str, Any]
    remark: str = ""
    csv: str = ""


def chart(
    sources: Sources,
    variable: Any,
    sensors: Any,
    range_: tuple[Any, Any, Any],
    relayout: Any,
    drawn: Any,
    why: set[str],
) -> Chart | None:
    """The chart of these sensors; None where nothing is to be done yet.

    `range_` is the range's name, and one's own begin and end; `relayout` what the chart says after it was zoomed;
    `drawn` what the last one returned; `why` the ids of what has changed in the page.
    """
    drawn = drawn if isinstance(drawn, dict) else {}
    now = sources.clock()
    try:
        field, chosen = asked.variable(sources.schema, variable), asked.sensors(sensors or [])
        zoom = _zoom(relayout, drawn, why)
        span = zoom or asked.span(*range_, now)
        if why <= {"pace"} and _rests(drawn, now):
            return None
        series = sources.series.get(field, chosen, span)
    except NotUnderstood as error:
        return Chart(None, {**drawn, "until": now + 3600}, str(error))
    except (ApiError, TransportError):
        return Chart(None, {**drawn, "until": now + _AGAIN_SECONDS}, "Elasticsearch does not answer: the chart waits.")
    until = now + series.rests if span.follows and chosen else now + 3600
    shown = {"until": until, "zoom": [zoom.begin, zoom.end] if zoom else None}
    return Chart(figures.series_figure(series, zoom is not None), shown, _remark(series), csv_address(series))


def chosen(click: Any) -> list[str]:
    """The sensor_id of the buoy that was clicked. Raises NotUnderstood."""
    try:
        return [str(sensor) for sensor in asked.sensors(click["points"][0]["customdata"])]
    except (KeyError, IndexError, TypeError):
        raise NotUnderstood("Click a buoy.") from None


def csv_address(series: Series) -> str:
    if not series.runs:
        return ""
    query = [("variable", series.field.name), *(("sensor", str(sensor)) for sensor in series.runs)]
    return "/series.csv?" + urlencode([*query, ("from", series.span.begin), ("to", series.span.end)])


def _zoom(relayout: Any, drawn: dict[str, Any], why: set[str]) -> Span | None:
    """The span that the chart was zoomed to, until another range is chosen. Raises NotUnderstood."""
    if why & {"range", "begin", "end"}:
        return None
    if "series" in why:
        new = asked.zoom(relayout)
        if not isinstance(new, bool):
            return new
    kept = drawn.get("zoom")
    if not isinstance(kept, list) or len(kept) != 2 or not all(isinstance(edge, int | float) for edge in kept):
        return None
    return asked.between(*map(asked.possible, kept))


def _rests(drawn: dict[str, Any], now: float) -> bool:
    until = drawn.get("until")
    return isinstance(until, int | float) and now < until <= now + 3600


def _remark(series: Series) -> str:
    if not series.runs:
        return "Choose a buoy on the map, or its number here."
    empty = [str(sensor) for sensor, runs in series.runs.items() if not runs]
    return f"Nothing of {', '.join(empty)} in this time." if empty else f"Each point sums up {_words(series.interval)}."


def _words(seconds: int) -> str:
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds % length == 0:
            count = seconds // length
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} second{'s' if seconds > 1 else ''}"


def _silent(sources: Sources, buoys: Sequence[Buoy], now: float) -> int:
    return sum(buoy.silent(now, sources.silent_seconds) for buoy in buoys)


def _of_prefix(buoys: Sequence[Buoy], prefix: Any) -> list[Buoy]:
    begins = prefix.strip() if isinstance(prefix, str) else ""
    found = [buoy for buoy in buoys if str(buoy.sensor_id).startswith(begins)]
    return sorted(found, key=lambda buoy: buoy.sensor_id)


def _page(before: Any, step: int | None, pages: int) -> int:
    number = before if isinstance(before, int) else 0
    return min(max(0, number + step), pages - 1) if step is not None else 0
