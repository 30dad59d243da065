"""The page without a browser and without engines: what it shows, what it answers to rubbish, what it may load."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

import pytest
from dash import Patch, no_update
from elasticsearch import ConnectionError as Unreachable
from flask.testing import FlaskClient

from dashboard import figures, layout, panels, view
from dashboard.app import LATEST_SECONDS, _listen, make_app
from dashboard.asked import NotUnderstood, Span
from dashboard.latest import Buoy, Snapshot
from dashboard.pipeline import Gateway, Kafka, Loss, State
from dashboard.poll import Answer, Poll
from dashboard.series import Bucket, Series
from dashboard.view import Sources
from maredata.errors import EngineAlreadyRunning
from maredata.names import ALL_CONNECTORS, MARIADB_SINK
from maredata.schema import load_schema
from maredata.settings import CHECKOUT

NOW = 1_795_305_600.0
SCHEMA = load_schema(CHECKOUT / "maredata" / "reading.toml")
TEMPERATURE = SCHEMA["temperature"]
RANGE = ("hour", None, None)
GOOD = State(
    Answer(Gateway(12.5, {"bad_json": 3}), NOW),
    Answer(Kafka({"Kafka": 12.5, "MariaDB": 12.0, "Elasticsearch": 12.5}, dict.fromkeys(ALL_CONNECTORS, 0)), NOW),
    Answer(None, NOW),
    Answer(dict.fromkeys(ALL_CONNECTORS, "RUNNING"), NOW),
    Answer((Loss(900_001, 90, 10),), NOW),
)


def buoy(number: int, age: float = 1, lon: float | None = 3.0, **values: Any) -> Buoy:
    return Buoy(number, int((NOW - age) * 1_000_000), values, lon, None if lon is None else 42.0)


FLEET = (
    buoy(1, temperature=20.5),
    buoy(2, temperature=None),
    buoy(3, age=7200, temperature=9.0),
    buoy(2**62, lon=None),
)


class FakePipeline:
    def __init__(self, state: State = GOOD) -> None:
        self.state = state

    def start(self) -> None:
        pass

    def read(self) -> State:
        return self.state


class FakeSeries:
    """Answers with one bucket a sensor; or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[tuple[str, tuple[int, ...], Span]] = []

    def get(self, field: Any, sensors: tuple[int, ...], span: Span) -> Series:
        self.asked.append((field.name, sensors, span))
        if self.error is not None:
            raise self.error
        run = (Bucket(span.begin, 1.0, 2.0, 3.0, 5),)
        return Series(field, span, 10, dict.fromkeys(sensors, (run,)))


def sources(*buoys: Buoy, state: State = GOOD, series: FakeSeries | None = None, version: int = 1) -> Sources:
    snapshot = Snapshot({it.sensor_id: it for it in buoys}, version if buoys else 0)
    latest = Poll("Elasticsearch", lambda: snapshot, Snapshot({}), 1)
    latest.look()
    return Sources(SCHEMA, latest, FakePipeline(state), series or FakeSeries(), 600, "", lambda: NOW)  # type: ignore[arg-type]


# --- the map --------------------------------------------------------------------------------------------------------


def test_the_map_tells_measured_from_without_value_and_silent() -> None:
    measured, without, silent = figures.map_data(FLEET, TEMPERATURE, NOW, 600, "")
    assert (measured["customdata"], measured["marker"]["color"]) == (["1"], [20.5])
    assert without["customdata"] == ["2"]
    assert (silent["customdata"], silent["text"]) == (["3"], ["2026-11-21 22:00:00"])
    assert "silent since" in silent["hovertemplate"]
    assert measured["marker"]["colorbar"]["title"]["text"] == "Air temperature (°C)"


def test_the_map_needs_nothing_from_elsewhere() -> None:
    drawn = json.dumps(figures.map_figure(FLEET, TEMPERATURE, NOW, 600, ""))
    assert "http" not in drawn
    assert {trace["type"] for trace in json.loads(drawn)["data"]} == {"scatter"}


def test_an_online_basemap_is_there_only_where_it_was_set() -> None:
    figure = figures.map_figure(FLEET, TEMPERATURE, NOW, 600, "open-street-map")
    assert figure["layout"]["map"]["style"] == "open-street-map"
    assert "images" not in figure["layout"]
    assert all(trace["type"] == "scattermap" and trace["lon"] is not None for trace in figure["data"])
    assert "https:" in policy(sources(), "open-street-map")
    assert "http" not in policy(sources(), "")


def policy(found: Sources, basemap: str) -> str:
    changed = Sources(**{**found.__dict__, "basemap": basemap})
    return make_app(changed).test_client().get("/healthz").headers["Content-Security-Policy"]


def test_only_what_changed_is_sent_again() -> None:
    found = sources(*FLEET)
    first = view.tick(found, "temperature", "", 0, {"variable": "temperature", "version": 0, "silent": 0})
    assert isinstance(first["map"], dict)  # there was no buoy yet: now the surroundings are known
    again = view.tick(found, "temperature", "", 0, first["seen"])
    assert (again["map"], again["sensors"]) == (no_update, no_update)
    other = view.tick(found, "humidity", "", 0, first["seen"])
    assert isinstance(other["map"], Patch)
    assert len(json.dumps(other["map"].to_plotly_json())) < 3000
    newer = sources(*FLEET, buoy(4), version=2)
    assert isinstance(view.tick(newer, "temperature", "", 0, first["seen"])["map"], Patch)


def test_a_thousand_buoys_fit_into_an_update() -> None:
    fleet = [buoy(900_000 + number, temperature=20 + number / 1000, lon=3 + number / 1000) for number in range(1000)]
    parts = view.tick(sources(*fleet), "temperature", "", 0, {"variable": "temperature", "version": 9, "silent": 0})
    patch = json.dumps(parts["map"].to_plotly_json())
    assert 1000 < len(patch) < 150_000


# --- the table ------------------------------------------------------------------------------------------------------


def text(component: Any) -> str:
    """All text in a component, cells and rows apart."""
    if isinstance(component, list | tuple):
        return "|".join(map(text, component))
    children = getattr(component, "children", component)
    return text(children) if isinstance(children, list | tuple) or hasattr(children, "children") else str(children)


def test_the_table_says_what_the_map_shows() -> None:
    shown = text(panels.buoy_table(FLEET, SCHEMA.measured, NOW, 600, 0))
    assert "1|2026-11-21 23:59:59|reporting|20.5|" in shown
    assert "3|2026-11-21 22:00:00|silent since 2026-11-21 22:00:00|9|" in shown
    assert str(2**62) in shown
    assert "Air temperature (°C)|Relative humidity (%)|Air pressure (hPa)" in shown


def test_the_table_turns_its_pages_and_finds_ids() -> None:
    found = sources(*(buoy(number) for number in range(100, 140)))

    def pages(*steps: int | None, prefix: str = "") -> list[str]:
        seen: Mapping[str, Any] = {}
        shown = []
        for step in steps:
            parts = view.tick(found, "temperature", prefix, step, seen)
            seen = parts["seen"]
            shown.append(parts["page"])
        return shown

    assert pages(-1, 1, 1, 1, -1, None) == [f"page {number} of 3" for number in (1, 2, 3, 3, 2, 1)]
    assert pages(0, prefix="13") == ["page 1 of 1"]
    rows = text(view.tick(found, "temperature", "13", 0, {})["table"])
    assert "130|" in rows and "129|" not in rows


@pytest.mark.parametrize("seen", [None, [], "x", {"page": "1; DROP"}, {"page": -7}, {"version": {}}])
def test_a_page_that_was_tampered_with_is_answered(seen: object) -> None:
    assert view.tick(sources(*FLEET), ["temperature"], {"a": 1}, 0, seen)["page"] == "page 1 of 1"


def test_our_waits_leave_a_reading_three_seconds_at_most() -> None:
    """Until Elasticsearch shows it, the server asks for it, and the page asks the server, at the worst."""
    refresh = SCHEMA.index_template("readings-*", 1, 0)["template"]["settings"]["refresh_interval"]
    assert float(refresh.removesuffix("s")) + LATEST_SECONDS + layout.TICK_MILLISECONDS / 1000 <= 3


# --- banner and pipeline --------------------------------------------------------------------------------------------


def test_no_banner_while_all_is_well() -> None:
    assert panels.banner(Answer(None, NOW), GOOD) == []


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ("gateway", "The gateway does not"),
        ("kafka", "Kafka does not"),
        ("mariadb", "MariaDB does not"),
        ("connect", "Connect does"),
    ],
)
def test_the_banner_names_what_does_not_answer(part: str, says: str) -> None:
    before = getattr(GOOD, part)
    state = State(**{**GOOD.__dict__, part: Answer(before.value, NOW, "connection refused")})
    (sentence,) = panels.banner(Answer(None, NOW), state)
    assert text(sentence).startswith(says)


def test_the_banner_says_since_when_positions_are_old() -> None:
    (sentence,) = panels.banner(Answer(None, NOW, "connection refused"), GOOD)
    assert "Elasticsearch does not answer: positions and values are of 00:00:00 UTC" in text(sentence)


def test_the_banner_names_a_connector_that_does_not_run() -> None:
    state = State(**{**GOOD.__dict__, "connect": Answer({**GOOD.connect.value, MARIADB_SINK: "FAILED"}, NOW)})
    (sentence,) = panels.banner(Answer(None, NOW), state)
    assert text(sentence) == f"Connector {MARIADB_SINK} does not run (failed)."


def test_the_pipelines_panel_shows_rates_lag_reasons_and_losses() -> None:
    shown = text(panels.pipeline_panel(Answer(None, NOW), GOOD))
    for part in ("Gateway|12.5", "MariaDB|12.0", f"{MARIADB_SINK}|running|0", "bad json|3", "900001|10|10.00 %|90"):
        assert part in shown
    assert "Elasticsearch|does not answer" in text(panels.pipeline_panel(Answer(None, NOW, "away"), GOOD))
    away = State(**{**GOOD.__dict__, "kafka": Answer(GOOD.kafka.value, NOW, "away")})
    assert "Kafka|does not answer" in text(panels.pipeline_panel(Answer(None, NOW), away))
    assert "MariaDB|12.0" not in text(panels.pipeline_panel(Answer(None, NOW), away))


# --- the chart ------------------------------------------------------------------------------------------------------


def test_a_gap_is_drawn_as_a_gap() -> None:
    runs = ((Bucket(0, 1, 2, 3, 1), Bucket(10, 1, 2, 3, 1)), (Bucket(100, 4, 5, 6, 1),))
    band, line = figures.series_figure(Series(TEMPERATURE, Span(0, 200), 10, {7: runs}), False)["data"]
    assert line["y"] == [2, 2, None, 5]
    assert line["x"][2] is None
    assert band["y"] == [3, 3, 1, 1, None, 6, 4]
    assert band["fill"] == "toself"


def test_the_chart_goes_on_only_when_there_can_be_something_new() -> None:
    series = FakeSeries()
    found = sources(series=series)
    first = view.chart(found, "temperature", ["7"], RANGE, None, {}, {"sensors"})
    assert first is not None and first.figure is not None
    assert view.chart(found, "temperature", ["7"], RANGE, None, first.drawn, {"pace"}) is None
    later = Sources(**{**found.__dict__, "clock": lambda: NOW + 5})
    assert view.chart(later, "temperature", ["7"], RANGE, None, first.drawn, {"pace"}) is not None
    assert series.asked[0] == ("temperature", (7,), Span(NOW - 3600, NOW, follows=True))


def test_zooming_asks_anew_until_another_range_is_chosen() -> None:
    series = FakeSeries()
    found = sources(series=series)
    edges = {"xaxis.range[0]": "2026-11-21 23:59:00", "xaxis.range[1]": "2026-11-21 23:59:30"}
    zoomed = view.chart(found, "temperature", ["7"], RANGE, edges, {}, {"series"})
    assert zoomed is not None and series.asked[-1][2] == Span(NOW - 60, NOW - 30)
    view.chart(found, "humidity", ["7"], RANGE, edges, zoomed.drawn, {"variable"})
    assert series.asked[-1][2] == Span(NOW - 60, NOW - 30)
    view.chart(found, "humidity", ["7"], ("day", None, None), edges, zoomed.drawn, {"range"})
    assert series.asked[-1][2].seconds == 86_400


@pytest.mark.parametrize(
    ("variable", "sensors", "range_"),
    [("sensor_id", ["7"], RANGE), ("temperature", ['7"'], RANGE), ("temperature", ["7"], ("own", "yesterday", ""))],
)
def test_what_can_not_be_asked_is_a_sentence_and_no_query(variable: str, sensors: Any, range_: Any) -> None:
    series = FakeSeries()
    chart = view.chart(sources(series=series), variable, sensors, range_, None, {}, {"sensors"})
    assert chart is not None and chart.figure is None and chart.remark.endswith(".")
    assert series.asked == []


def test_without_elasticsearch_the_chart_stays_and_is_tried_again() -> None:
    found = sources(series=FakeSeries(Unreachable("refused")))
    chart = view.chart(found, "temperature", ["7"], RANGE, None, {}, {"pace"})
    assert chart is not None and chart.figure is None and "does not answer" in chart.remark
    assert view.chart(found, "temperature", ["7"], RANGE, None, chart.drawn, {"pace"}) is None
    later = Sources(**{**found.__dict__, "clock": lambda: NOW + 3})
    assert view.chart(later, "temperature", ["7"], RANGE, None, chart.drawn, {"pace"}) is not None


def test_a_click_chooses_a_buoy() -> None:
    assert view.chosen({"points": [{"customdata": str(2**62)}]}) == [str(2**62)]
    clicks: tuple[Any, ...] = (None, {}, {"points": []}, {"points": [{"customdata": "<script>"}]})
    for rubbish in clicks:
        with pytest.raises(NotUnderstood):
            view.chosen(rubbish)


# --- the server -----------------------------------------------------------------------------------------------------


@pytest.fixture
def client() -> FlaskClient:
    return make_app(sources(*FLEET)).test_client()


def test_the_page_loads_nothing_from_elsewhere(client: FlaskClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert "//" not in answer.text
    assert '<html lang="en">' in answer.text
    for rule in ("default-src 'self'", "object-src 'none'", "connect-src 'self';"):
        assert rule in answer.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in answer.headers["Content-Security-Policy"].partition("style-src")[0]


def test_the_first_paint_has_everything_already(client: FlaskClient) -> None:
    layout = client.get("/_dash-layout").text
    assert "20.5" in layout and str(2**62) in layout and "4 buoys, 1 of them silent" in layout


@pytest.mark.parametrize(("clicked", "status"), [("7", 200), ("<script>", 204)])
def test_a_click_that_was_made_up_changes_nothing(client: FlaskClient, clicked: str, status: int) -> None:
    outputs = [{"id": "sensors", "property": "value"}, {"id": "map", "property": "clickData"}]
    click = {"id": "map", "property": "clickData", "value": {"points": [{"customdata": clicked}]}}
    asked = {"output": "..sensors.value...map.clickData..", "outputs": outputs, "inputs": [click]}
    answer = client.post("/_dash-update-component", json={**asked, "changedPropIds": ["map.clickData"]})
    assert answer.status_code == status


def test_what_is_sent_is_compressed(client: FlaskClient) -> None:
    answer = client.get("/_dash-layout", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.data) < 200_000


def test_debugging_is_off(client: FlaskClient) -> None:
    assert not client.application.debug
    page = client.get("/").text
    assert '"ui":false' in page and "hot_reload" not in page


def test_a_csv_file(client: FlaskClient) -> None:
    answer = client.get(f"/series.csv?variable=temperature&sensor=7&sensor=8&from={NOW - 60}&to={NOW}")
    assert answer.mimetype == "text/csv"
    assert 'filename="temperature-7-8.csv"' in answer.headers["Content-Disposition"]
    assert len(answer.text.splitlines()) == 3


@pytest.mark.parametrize(
    "query",
    [
        "",
        "variable=timestamp&sensor=7&from=1&to=9",
        'variable=temperature&sensor=7"&from=1&to=9',
        "variable=temperature&sensor=7&from=nan&to=9",
        "variable=temperature&sensor=7&from=1&to=1e99",
        "variable=temperature&sensor=7&from=9&to=1",
    ],
)
def test_a_csv_file_of_what_there_can_not_be(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/series.csv?{query}")
    assert (answer.status_code, answer.mimetype) == (400, "text/plain")


def test_a_csv_file_without_elasticsearch() -> None:
    client = make_app(sources(series=FakeSeries(Unreachable("refused")))).test_client()
    assert client.get("/series.csv?variable=temperature&sensor=7&from=1&to=9").status_code == 503


def test_a_port_in_use_is_one_sentence() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as holder,
        pytest.raises(EngineAlreadyRunning, match="MARE_DASHBOARD__PORT"),
    ):
        _listen("127.0.0.1", holder.getsockname()[1])
