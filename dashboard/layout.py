"""The page as it is first served, with what is known at that moment already in it."""

from __future__ import annotations

from typing import Any

from dash import dcc, html, no_update
from dash.development.base_component import Component

from dashboard.asked import MOST_SENSORS, OWN, RANGES, numbers, title
from dashboard.figures import nothing
from maredata.schema import Schema

TICK_MILLISECONDS = 1000
# Named one by one: among the others is one that sends a chart to a service on the internet.
_BUTTONS = [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]]
_GRAPH: Any = {"displaylogo": False, "responsive": True, "scrollZoom": True, "modeBarButtons": _BUTTONS}


def page(schema: Schema, first: dict[str, Any]) -> Component:
    """`first` has what callbacks renew later, by the parts' ids: children, the map's figure, the sensors' options."""
    return html.Div(
        [
            html.A("Skip to the table of buoys", href="#buoys", className="skip"),
            html.Header([html.H1("Mare Data"), html.P(id="summary", children=first["summary"])]),
            # There from the start, and empty: a screen reader tells what is put into it.
            html.Div(first["banner"], id="banner", role="alert"),
            html.Main([_map(schema, first), _series(first), _table(first), _pipeline(first)]),
            dcc.Interval(id="tick", interval=TICK_MILLISECONDS),
            dcc.Interval(id="pace", interval=TICK_MILLISECONDS),
            dcc.Store(id="seen", data=first["seen"]),
            dcc.Store(id="drawn", data={}),
        ]
    )


def _map(schema: Schema, parts: dict[str, Any]) -> Component:
    choices = [{"label": title(field), "value": field.name} for field in numbers(schema)]
    first = choices[0]["value"] if choices else None
    variable = dcc.Dropdown(id="variable", options=choices, value=first, clearable=False, searchable=False)
    graph = dcc.Graph(
        id="map",
        figure=nothing() if parts["map"] is no_update else parts["map"],
        config=_GRAPH,
        responsive=True,
    )
    return html.Section(
        [
            html.H2("Where the buoys are", id="map-title"),
            _group("Variable", variable),
            html.Div(
                graph, className="graph", role="img", **_labelled("Map of the buoys; the table below says the same")
            ),
            html.P("Choose a buoy on the map, or below, to see how its values went.", className="hint"),
        ],
        **_labelled_by("map-title"),
    )


def _series(parts: dict[str, Any]) -> Component:
    ranges = [{"label": name, "value": name} for name in RANGES] + [{"label": "own range", "value": OWN}]
    moment: dict[str, Any] = {"type": "text", "debounce": True, "placeholder": "2026-11-22 06:00", "size": "18"}
    sensors = dcc.Dropdown(id="sensors", options=parts["sensors"], value=[], multi=True, placeholder="none chosen")
    return html.Section(
        [
            html.H2("How values went", id="series-title"),
            _group(f"Buoys, at most {MOST_SENSORS}", sensors),
            html.Fieldset(
                [html.Legend("Time"), dcc.RadioItems(id="range", options=ranges, value="hour", inline=True)],
                className="control",
            ),
            html.Div(
                [
                    html.Label("From (UTC)", htmlFor="begin"),
                    dcc.Input(id="begin", **moment),
                    html.Label("to (UTC)", htmlFor="end"),
                    dcc.Input(id="end", **moment),
                ],
                id="own",
                className="control",
                hidden=True,
            ),
            html.P(id="remark", role="status"),
            html.Div(
                dcc.Graph(id="series", figure=nothing(), config=_GRAPH, responsive=True),
                className="graph",
                role="img",
                **_labelled("Chart of the chosen buoys; the CSV file says the same"),
            ),
            html.P(html.A("Download as CSV", id="csv", href="", hidden=True, download="readings.csv")),
        ],
        **_labelled_by("series-title"),
    )


def _table(first: dict[str, Any]) -> Component:
    return html.Section(
        [
            html.H2("All buoys", id="buoys-title"),
            html.Div(
                [
                    html.Label("Only ids that begin with", htmlFor="prefix"),
                    dcc.Input(id="prefix", type="text", inputMode="numeric", size="12"),
                    html.Button("Earlier ids", id="back", type="button"),
                    html.Span(id="page", children=first["page"], role="status"),
                    html.Button("Later ids", id="forth", type="button"),
                ],
                className="control",
            ),
            html.Div(
                html.Table(first["table"], id="table"),
                className="wide",
                tabIndex="0",
                role="region",
                **_labelled_by("buoys-title"),
            ),
        ],
        id="buoys",
        tabIndex="-1",
        **_labelled_by("buoys-title"),
    )


def _pipeline(first: dict[str, Any]) -> Component:
    return html.Section(
        [html.H2("The pipeline", id="pipeline-title"), html.Div(first["pipeline"], id="pipeline")],
        **_labelled_by("pipeline-title"),
    )


def _group(label: str, dropdown: dcc.Dropdown) -> Component:
    """Dash's own name of a dropdown is what is chosen in it; the group's says what it is for."""
    chosen: str = dropdown.id  # type: ignore[attr-defined]  # Dash's stubs lack it
    name = f"{chosen}-label"
    words = html.Label(label, htmlFor=chosen, id=name)
    return html.Div([words, dropdown], className="control", role="group", **_labelled_by(name))


def _labelled(words: str) -> dict[str, Any]:
    return {"aria-label": words}


def _labelled_by(element: str) -> dict[str, Any]:
    return {"aria-labelledby": element}
