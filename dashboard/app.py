"""The web server: the page, what it loads, a CSV file, and /healthz. Nothing that it serves comes from elsewhere."""

from __future__ import annotations

import logging
import socket
from functools import partial
from typing import Any

import flask
import waitress
from dash import Dash
from elastic_transport import TransportError
from elasticsearch import ApiError

from dashboard import asked, callbacks, view
from dashboard.asked import NotUnderstood
from dashboard.latest import Latest, Snapshot
from dashboard.pipeline import Pipeline, SensorRows, States
from dashboard.poll import Poll
from dashboard.series import SeriesCache, as_csv
from dashboard.view import Sources
from maredata.listening import explained
from maredata.log import log_to_stderr
from maredata.schema import Schema
from maredata.settings import Settings
from maredata.stores import connect_elasticsearch

log = logging.getLogger(__name__)

LATEST_SECONDS = 1.0  # between two questions for the last readings
_THREADS = 8
_PATIENCE_SECONDS = 10  # for which Elasticsearch may think


def serve(settings: Settings, schema: Schema, states: States, sensor_rows: SensorRows) -> None:
    """Serves until the process is ended.

    `states` tells the connectors' states, `sensor_rows` what the ledger has of each sensor. Raises
    EngineAlreadyRunning or MachineError where the address can't be had.
    """
    log_to_stderr("dashboard", settings.log_format)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a page that opens asks for much at once
    chosen = settings.dashboard
    listening = _listen(chosen.host, chosen.port)
    server = waitress.create_server(
        make_app(sources(settings, schema, states, sensor_rows)),
        sockets=[listening],
        threads=_THREADS,
        ident="maredata",
    )
    log.info("serving", extra={"address": f"http://{chosen.host}:{chosen.port}"})
    server.run()


def sources(settings: Settings, schema: Schema, states: States, sensor_rows: SensorRows) -> Sources:
    """All that the page draws from, with its threads started."""
    elasticsearch = connect_elasticsearch(settings).options(request_timeout=_PATIENCE_SECONDS, max_retries=0)
    latest = Poll("Elasticsearch", Latest(elasticsearch, schema).refresh, Snapshot({}), LATEST_SECONDS)
    pipeline = Pipeline(settings, states, sensor_rows)
    latest.start()
    pipeline.start()
    series = SeriesCache(elasticsearch)
    return Sources(schema, latest, pipeline, series, settings.events.silence_seconds, settings.dashboard.basemap)


def make_app(found: Sources) -> flask.Flask:
    app = Dash(
        "dashboard",
        title="Mare Data",
        update_title="",
        serve_locally=True,
        compress=True,
        enable_mcp=False,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
        index_string=_INDEX,
    )
    app.layout = partial(view.page, found)
    callbacks.register(app, found)
    server: flask.Flask = app.server
    server.add_url_rule("/healthz", "healthz", lambda: {"status": "ok"})
    server.add_url_rule("/series.csv", "csv", partial(_csv, found))
    policy = _policy(app.csp_hashes(), found.basemap)
    server.after_request(partial(_guarded, policy))
    return server


_INDEX = """<!DOCTYPE html>
<html lang="en">
<head>{%metas%}<title>{%title%}</title>{%favicon%}{%css%}</head>
<body>
<noscript>This page needs JavaScript. `mare status` and `mare ledger` say much of the same.</noscript>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


def _csv(found: Sources) -> flask.Response:
    """What the chart shows, as a file; 400 with a sentence for what can't be asked, 503 where nobody answers."""
    arguments = flask.request.args
    try:
        field = asked.variable(found.schema, arguments.get("variable"))
        sensors = asked.sensors(arguments.getlist("sensor"))
        span = asked.between(_seconds(arguments.get("from")), _seconds(arguments.get("to")))
        text = as_csv(found.series.get(field, sensors, span))
    except NotUnderstood as error:
        return flask.Response(f"{error}\n", 400, mimetype="text/plain")
    except (ApiError, TransportError):
        return flask.Response("Elasticsearch does not answer: try again later.\n", 503, mimetype="text/plain")
    name = f"{field.name}-{'-'.join(map(str, sensors))}.csv"
    return flask.Response(text, mimetype="text/csv", headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _seconds(text: str | None) -> float:
    try:
        return asked.possible(float(text or ""))
    except ValueError:
        raise NotUnderstood("The range is given in seconds since 1970.") from None


def _policy(script_hashes: Any, basemap: str) -> str:
    """What the browser may load: from here only, but for the online basemap where one is set."""
    tiles = " https:" if basemap else ""
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' {' '.join(script_hashes)}",
            "style-src 'self' 'unsafe-inline'",  # Plotly sets styles as it draws
            f"img-src 'self' data: blob:{tiles}",
            f"connect-src 'self'{tiles}",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'none'",
            "frame-ancestors 'self'",
        )
    )


def _guarded(policy: str, response: flask.Response) -> flask.Response:
    response.headers["Content-Security-Policy"] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _listen(host: str, port: int) -> socket.socket:
    with explained("dashboard", "TCP", host, port, "DASHBOARD"):
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
