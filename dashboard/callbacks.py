"""Which part of the page is renewed when: Dash's callbacks, around the functions of `view.py`."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, State, ctx, no_update
from dash.exceptions import PreventUpdate

from dashboard import view
from dashboard.asked import OWN, NotUnderstood
from dashboard.view import Sources

_PARTS = ("map", "banner", "summary", "table", "page", "pipeline", "sensors", "seen")
_PROPERTY = {"map": "figure", "sensors": "options", "seen": "data"}


def register(app: Dash, sources: Sources) -> None:
    def tick(_: Any, variable: Any, prefix: Any, _back: Any, _forth: Any, seen: Any) -> list[Any]:
        step = {"back": -1, "forth": 1, "prefix": None}.get(str(ctx.triggered_id), 0)
        parts = view.tick(sources, variable, prefix, step, seen)
        return [parts[name] for name in _PARTS]

    def chart(_: Any, variable: Any, sensors: Any, *rest: Any) -> list[Any]:
        *range_, relayout, drawn = rest
        why = {name.rpartition(".")[0] for name in ctx.triggered_prop_ids}
        now = view.chart(sources, variable, sensors, (range_[0], range_[1], range_[2]), relayout, drawn, why)
        if now is None:
            raise PreventUpdate
        link = no_update if now.figure is None else now.csv
        hidden = no_update if now.figure is None else not now.csv
        figure = no_update if now.figure is None else now.figure
        return [figure, now.drawn, now.remark, link, hidden, range_[0] != OWN]

    def choose(click: Any) -> list[Any]:
        if not click:
            raise PreventUpdate
        try:
            return [view.chosen(click), None]
        except NotUnderstood:
            raise PreventUpdate from None

    app.callback(
        [Output(name, _PROPERTY.get(name, "children")) for name in _PARTS],
        Input("tick", "n_intervals"),
        Input("variable", "value"),
        Input("prefix", "value"),
        Input("back", "n_clicks"),
        Input("forth", "n_clicks"),
        State("seen", "data"),
        running=_no_more_before_it_ends("tick"),
    )(tick)
    app.callback(
        Output("series", "figure"),
        Output("drawn", "data"),
        Output("remark", "children"),
        Output("csv", "href"),
        Output("csv", "hidden"),
        Output("own", "hidden"),
        Input("pace", "n_intervals"),
        Input("variable", "value"),
        Input("sensors", "value"),
        Input("range", "value"),
        Input("begin", "value"),
        Input("end", "value"),
        Input("series", "relayoutData"),
        State("drawn", "data"),
        running=_no_more_before_it_ends("pace"),
    )(chart)
    app.callback(Output("sensors", "value"), Output("map", "clickData"), Input("map", "clickData"))(choose)


def _no_more_before_it_ends(interval: str) -> list[Any]:
    """Dash drops an answer when the same was asked again meanwhile: a slow machine would never see one."""
    return [(Output(interval, "disabled"), True, False)]
