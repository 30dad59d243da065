"""Figures for Plotly, as plain dicts: checked and drawn by the browser, and quick to make.

What changes is kept apart from what stays: `map_data` is sent with every change, the rest of the map once. Colours of
texts, lines and background are the style sheet's, which knows a light page from a dark one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from math import cos, radians
from typing import Any

from dashboard import land
from dashboard.asked import Span, title
from dashboard.latest import Buoy
from dashboard.series import Bucket, Series
from maredata.schema import Field

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#999933")
_GREY = "#80807a"
_CLEAR = "rgba(0,0,0,0)"
_MARGIN_DEGREES = 0.5
_WORLD = ((-180.0, 180.0), (-70.0, 80.0))

Figure = dict[str, Any]


def map_figure(buoys: Sequence[Buoy], field: Field, now: float, silent_seconds: float, basemap: str) -> Figure:
    """The whole map: on a coastline of our own, or on the online basemap of that name."""
    data = [
        _trace(basemap, "measured", {"color": field.name, "colorscale": "Viridis", "showscale": True, "size": 11}),
        _trace(basemap, "without this value", {"color": _GREY, "symbol": "circle-open", "size": 11}),
        _trace(basemap, "silent", {"color": _GREY, "size": 9, "opacity": 0.7}),
    ]
    for trace, arrays in zip(data, map_data(buoys, field, now, silent_seconds, basemap), strict=True):
        marker = {**trace["marker"], **arrays.pop("marker", {})}
        trace.update(arrays, marker=marker)
    layout = {
        **_layout(),
        "margin": {"l": 44, "r": 8, "t": 8, "b": 34},
        "legend": {"orientation": "h", "x": 0, "y": 1, "bgcolor": _CLEAR},
        "dragmode": "pan",
        "hovermode": "closest",
        **(_online(buoys, basemap) if basemap else _offline(buoys)),
    }
    return {"data": data, "layout": layout}


def map_data(buoys: Sequence[Buoy], field: Field, now: float, silent_seconds: float, basemap: str) -> list[Figure]:
    """What changes, for each of the map's traces: places, colours and what hovering shows."""
    placed = [buoy for buoy in buoys if buoy.lon is not None]
    silent = [buoy for buoy in placed if buoy.silent(now, silent_seconds)]
    awake = [buoy for buoy in placed if not buoy.silent(now, silent_seconds)]
    measured = [buoy for buoy in awake if buoy.values.get(field.name) is not None]
    without = [buoy for buoy in awake if buoy.values.get(field.name) is None]
    coloured = {
        "color": [buoy.values[field.name] for buoy in measured],
        "colorbar": {"title": {"text": title(field), "side": "right"}, "thickness": 12, "len": 0.9},
    }
    unit = f" {field.unit}" if field.unit else ""
    return [
        {
            **_places(measured, basemap),
            "marker": coloured,
            "hovertemplate": f"buoy %{{customdata}}<br>%{{marker.color}}{unit}<br>%{{text}} UTC<extra></extra>",
        },
        {**_places(without, basemap), "hovertemplate": "buoy %{customdata}<br>%{text} UTC<extra></extra>"},
        {**_places(silent, basemap), "hovertemplate": "buoy %{customdata}<br>silent since %{text} UTC<extra></extra>"},
    ]


def nothing() -> Figure:
    return {"data": [], "layout": {**_layout(), "xaxis": {"visible": False}, "yaxis": {"visible": False}}}


def series_figure(series: Series, zoomed: bool) -> Figure:
    """Of each buoy the mean as a line, over a band from the lowest to the highest value. Gaps stay empty."""
    if not series.runs:
        return nothing()
    data: list[Figure] = []
    for number, (sensor, runs) in enumerate(series.runs.items()):
        colour = COLOURS[number % len(COLOURS)]
        common = {"type": "scatter", "legendgroup": str(sensor), "name": str(sensor)}
        band = _joined([_band(run) for run in runs])
        data.append(
            {
                **{**common, "x": band[0], "y": band[1], "mode": "lines", "line": {"width": 0}},
                **{"fill": "toself", "fillcolor": colour, "opacity": 0.25, "hoverinfo": "skip", "showlegend": False},
            }
        )
        line = _joined([([_text(it.at) for it in run], [it.mean for it in run]) for run in runs])
        data.append(
            {
                **{**common, "x": line[0], "y": line[1], "mode": "lines+markers"},
                **{"line": {"color": colour, "width": 1.5}, "marker": {"size": 3}, "showlegend": True},
                "hovertemplate": "%{y}<extra>%{fullData.name}</extra>",
            }
        )
    span = series.span
    layout = {
        **_layout(),
        "margin": {"l": 60, "r": 8, "t": 8, "b": 44},
        "legend": {"orientation": "h", "x": 0, "y": 1.12},
        "hovermode": "x unified",
        "hoverlabel": {"namelength": -1},
        "dragmode": "zoom",
        "xaxis": {"type": "date", "range": _range(span), "title": {"text": "UTC"}, "autorange": False},
        "yaxis": {"title": {"text": title(series.field)}, "fixedrange": True, "automargin": True},
        "datarevision": f"{span.begin}-{span.end}",
        "uirevision": "zoomed" if zoomed else f"{span.seconds}",
    }
    return {"data": data, "layout": layout}


def _layout() -> Figure:
    return {
        "paper_bgcolor": _CLEAR,
        "plot_bgcolor": _CLEAR,
        "font": {"size": 13},
        "modebar": {"bgcolor": _CLEAR},
        "uirevision": "kept",
        "autosize": True,
    }


def _trace(basemap: str, name: str, marker: Figure) -> Figure:
    kind = "scattermap" if basemap else "scatter"
    if basemap:  # it knows no outlined symbols
        marker = {key: value for key, value in marker.items() if key != "symbol"}
    return {"type": kind, "mode": "markers", "name": name, "marker": marker, "showlegend": True}


def _places(buoys: Sequence[Buoy], basemap: str) -> Figure:
    """Ids are texts, since a browser's numbers end at 2^53."""
    x, y = ("lon", "lat") if basemap else ("x", "y")
    return {
        x: [buoy.lon for buoy in buoys],
        y: [buoy.lat for buoy in buoys],
        "customdata": [str(buoy.sensor_id) for buoy in buoys],
        "text": [_text(buoy.at // 1_000_000) for buoy in buoys],
    }


def _offline(buoys: Sequence[Buoy]) -> Figure:
    """Longitude and latitude as plain axes, whose grid is the graticule; a degree of each is as long as it is there."""
    (west, east), (south, north) = _extent(buoys)
    degrees = {"ticksuffix": "°", "zeroline": False, "showgrid": True, "nticks": 8, "automargin": True}
    return {
        "images": [_land()],
        "xaxis": {**degrees, "range": [west, east], "title": {"text": ""}},
        "yaxis": {
            **{**degrees, "range": [south, north]},
            **{"scaleanchor": "x", "scaleratio": 1 / max(0.1, cos(radians((south + north) / 2)))},
        },
    }


def _online(buoys: Sequence[Buoy], basemap: str) -> Figure:
    (west, east), (south, north) = _extent(buoys)
    around = {"west": west, "east": east, "south": south, "north": north}
    return {"map": {"style": basemap, "bounds": {}, "center": _middle(around), "zoom": _zoom(east - west)}}


def _middle(around: dict[str, float]) -> dict[str, float]:
    return {"lon": (around["west"] + around["east"]) / 2, "lat": (around["south"] + around["north"]) / 2}


def _zoom(degrees: float) -> float:
    """A web map's zoom at which that many degrees of longitude fit: 0 shows the whole world."""
    zoom = 0.0
    while degrees * 2 ** (zoom + 0.5) < 360 and zoom < 12:
        zoom += 0.5
    return zoom


def _extent(buoys: Sequence[Buoy]) -> tuple[tuple[float, float], tuple[float, float]]:
    """West and east, south and north of what is to be seen first."""
    placed = [(buoy.lon, buoy.lat) for buoy in buoys if buoy.lon is not None and buoy.lat is not None]
    if not placed:
        return _WORLD
    lons, lats = zip(*placed, strict=True)
    margin = max(_MARGIN_DEGREES, 0.08 * max(max(lons) - min(lons), max(lats) - min(lats)))
    return (min(lons) - margin, max(lons) + margin), (min(lats) - margin, max(lats) + margin)


@cache
def _land() -> Figure:
    return land.as_layer()


def _band(run: Sequence[Bucket]) -> tuple[list[Any], list[Any]]:
    """Once around: along the highest values, and back along the lowest."""
    there, back = [_text(it.at) for it in run], [_text(it.at) for it in reversed(run)]
    return there + back, [it.highest for it in run] + [it.lowest for it in reversed(run)]


def _joined(runs: list[tuple[list[Any], list[Any]]]) -> tuple[list[Any], list[Any]]:
    """One after the other, with a null in between, at which Plotly lifts its pen."""
    x: list[Any] = []
    y: list[Any] = []
    for number, (xs, ys) in enumerate(runs):
        gap = [None] if number else []
        x += gap + xs
        y += gap + ys
    return x, y


def _range(span: Span) -> list[str]:
    return [_text(span.begin), _text(span.end)]


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
