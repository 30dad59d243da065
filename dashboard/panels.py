"""What stands beside the figures: the banner, the table of buoys, and how the pipeline fares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboard.asked import title
from dashboard.latest import Buoy
from dashboard.pipeline import State
from dashboard.poll import Answer
from maredata.names import ALL_CONNECTORS
from maredata.schema import Field

ROWS = 15  # of the table, on one page
_DASH = "\N{EN DASH}"


def banner(elasticsearch: Answer[Any], state: State) -> list[Component]:
    """One sentence for each engine that does not answer, and what that means for the page; empty while all is well."""
    sentences = []
    if elasticsearch.trouble:
        since = f"of {_clock(elasticsearch.at)} UTC" if elasticsearch.at else "not known yet"
        sentences.append(f"Elasticsearch does not answer: positions and values are {since}, and charts don't go on.")
    means = {
        "Kafka": "readings wait in the gateway's spool, and rates and lag are not known.",
        "MariaDB": "readings wait in Kafka until it is back.",
        "Connect": "readings wait in Kafka until it is back.",
        "The gateway": "no readings come in.",
    }
    sentences += [f"{name} does not answer: {means[name]}" for name in state.troubles]
    if state.connect.value and not state.connect.trouble:
        ill = [name for name, word in sorted(state.connect.value.items()) if word != "RUNNING"]
        sentences += [f"Connector {name} does not run ({state.connect.value[name].lower()})." for name in ill]
    return [html.P(sentence) for sentence in sentences]


def buoy_table(
    buoys: Sequence[Buoy], fields: Iterable[Field], now: float, silent_seconds: float, page: int
) -> list[Component]:
    """One page of the buoys, `page` from 0 up: what the map shows, as text."""
    shown = list(fields)
    heads = ["Buoy", "Last reading (UTC)", "State", *map(title, shown), "Longitude", "Latitude"]
    rows = []
    for buoy in buoys[page * ROWS : (page + 1) * ROWS]:
        silent = buoy.silent(now, silent_seconds)
        moment = _moment(buoy.at / 1_000_000)
        cells = [
            moment,
            f"silent since {moment[11:] if moment[:10] == _moment(now)[:10] else moment}" if silent else "reporting",
            *(_value(buoy.values.get(field.name)) for field in shown),
            _value(buoy.lon),
            _value(buoy.lat),
        ]
        head = html.Th(str(buoy.sensor_id), scope="row")
        rows.append(html.Tr([head, *map(html.Td, cells)], className="silent" if silent else ""))
    return [
        html.Caption("The last reading of each buoy"),
        html.Thead(html.Tr([html.Th(head, scope="col") for head in heads])),
        html.Tbody(rows),
    ]


def pages(buoys: Sequence[Buoy]) -> int:
    return max(1, -(-len(buoys) // ROWS))


def pipeline_panel(elasticsearch: Answer[Any], state: State) -> list[Component]:
    gateway, kafka = state.gateway, state.kafka
    return [
        html.Dl(
            [
                _tile("Gateway", None if gateway.trouble else gateway.value.accepted_rate, "accepted a second"),
                *(
                    _tile(name, None if kafka.trouble else kafka.value.rates.get(name), "readings a second")
                    for name in ("Kafka", "MariaDB", "Elasticsearch")
                ),
            ],
            className="tiles",
        ),
        html.Div(
            [
                _engines(elasticsearch, state),
                _connectors(state),
                _counts("Lines rejected, by reason", "reason", {**gateway.value.rejected, **gateway.value.refused}),
                _losses(state),
            ],
            className="tables",
        ),
    ]


def _tile(name: str, rate: float | None, what: str) -> Component:
    shown = _DASH if rate is None else f"{rate:,.1f}"
    return html.Div([html.Dt(name), html.Dd([html.Span(shown, className="figure"), f" {what}"])])


def _engines(elasticsearch: Answer[Any], state: State) -> Component:
    heard: dict[str, Answer[Any]] = {
        "Gateway": state.gateway,
        "Kafka": state.kafka,
        "Connect": state.connect,
        "MariaDB": state.mariadb,
        "Elasticsearch": elasticsearch,
    }
    rows = []
    for name, answer in heard.items():
        rows.append((name, "does not answer" if answer.trouble else "answers" if answer.at else "not asked yet"))
    spool = state.gateway.value
    rows.append(("Lines in flight", f"{spool.in_flight:,}"))
    rows.append(("Readings in the spool", f"{spool.in_spool:,}"))
    return _table("Engines", ("what", "state"), rows)


def _connectors(state: State) -> Component:
    states, kafka = state.connect.value, state.kafka.value
    rows = []
    for name in sorted(ALL_CONNECTORS.keys() | states.keys()):
        word = "not known" if state.connect.trouble else states.get(name, "not there").lower()
        rows.append((name, word, _count(kafka.lag, name), _count(kafka.dead_letters, name)))
    return _table("Connectors", ("connector", "state", "lag", "dead letters"), rows)


def _counts(caption: str, what: str, counts: Mapping[str, int]) -> Component:
    rows = [(name.replace("_", " "), f"{count:,}") for name, count in counts.items()]
    return _table(caption, (what, "lines"), rows or [("none", "0")])


def _losses(state: State) -> Component:
    rows = [
        (str(loss.sensor_id), f"{loss.missing:,}", f"{100 * loss.share:.2f} %", f"{loss.readings:,}")
        for loss in state.losses.value
    ]
    return _table(
        "Readings that did not come, by the ledger", ("buoy", "missing", "share", "came"), rows or [("none",)]
    )


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Component:
    return html.Div(
        html.Table(
            [
                html.Caption(caption),
                html.Thead(html.Tr([html.Th(head, scope="col") for head in heads])),
                html.Tbody([html.Tr([html.Th(row[0], scope="row"), *map(html.Td, row[1:])]) for row in rows]),
            ]
        )
    )


def _count(counts: Mapping[str, int], name: str) -> str:
    return f"{counts[name]:,}" if name in counts else _DASH


def _value(value: Any) -> str:
    if value is None:
        return _DASH
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _clock(seconds: float) -> str:
    return _moment(seconds)[11:]
