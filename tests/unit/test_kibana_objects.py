"""What reading.toml, settings and jobs make of the objects; and that our fields are those that others write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kibana.check import problems
from kibana.fields import COUNTERS, fields_by_title
from kibana.files import SavedObject, coastline, fingerprint, key, packed, unpacked
from kibana.generate import saved_objects
from kibana.rules import load_rules
from maredata.data_views import data_view_of_job, data_views_of_jobs, write_data_view
from maredata.names import ALL_CONNECTORS
from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT, Settings
from udp_server.report import summed
from udp_server.silence import Kind

NEEDED: dict[str, Any] = {
    "sensor_id": {"type": "integer", "required": True},
    "timestamp": {"type": "timestamp", "required": True},
}
BUOY_DASHBOARDS = ("dashboard:mare-buoys", "dashboard:mare-buoy")


def objects(schema: Schema, settings: Settings | None = None) -> dict[str, SavedObject]:
    return {key(saved): saved for saved in saved_objects(settings or Settings(), schema)}


def of(**fields: dict[str, Any]) -> Schema:
    return Schema.from_dict({**NEEDED, **fields})


def panels(dashboard: SavedObject) -> list[str]:
    return [panel["panelIndex"] for panel in dashboard["attributes"]["panelsJSON"]]


@pytest.fixture
def ours() -> Schema:
    return load_schema(CHECKOUT / "maredata" / "reading.toml")


def test_each_variable_has_a_panel_on_the_dashboards_and_a_column(ours: Schema) -> None:
    made = objects(ours)
    for name in ("temperature", "humidity", "pressure"):
        assert made[f"lens:mare-variable-{name}"]["attributes"]["title"] == ours[name].label
        assert all(f"variable-{name}" in panels(made[dashboard]) for dashboard in BUOY_DASHBOARDS)
    columns = made["lens:mare-last-values"]["attributes"]["state"]["datasourceStates"]["formBased"]["layers"]["l1"]
    assert [name for name in columns["columnOrder"] if name.startswith("v-")] == [
        "v-temperature",
        "v-humidity",
        "v-pressure",
    ]
    assert columns["columns"]["v-temperature"]["label"] == "Air temperature (°C)"
    assert "lens:mare-variable-seq" not in made


@pytest.mark.parametrize(
    "schema",
    [
        of(),
        of(location={"type": "location"}),
        of(salinity={"type": "number", "label": 'Salt "S"', "unit": "1e-3"}, place={"type": "location"}),
        of(state={"type": "text"}, level={"type": "number"}, turbidity={"type": "number"}),
    ],
    ids=["nothing measured", "only a position", "other names", "text and no position"],
)
def test_any_reading_gives_objects_that_are_right(schema: Schema) -> None:
    made = list(objects(schema).values())
    assert (
        problems(
            made,
            [],
            {"dateFormat:tz": "UTC", "defaultRoute": "/app/dashboards#/view/mare-buoys"},
            {**fields_by_title(Settings(), schema)},
        )
        == []
    )


def test_the_map_takes_the_fields_that_there_are_or_is_left_out() -> None:
    other = objects(of(salinity={"type": "number"}, place={"type": "location"}))
    last = other["map:mare-map"]["attributes"]["layerListJSON"][-1]
    assert last["sourceDescriptor"]["geoField"] == "place"
    assert last["style"]["properties"]["fillColor"]["options"]["field"]["name"] == "salinity"
    without = objects(of(salinity={"type": "number"}))
    assert "map:mare-map" not in without
    assert all("map" not in panels(without[dashboard]) for dashboard in BUOY_DASHBOARDS)


def test_a_text_is_counted_not_averaged() -> None:
    lens = objects(of(state={"type": "text"}))["lens:mare-variable-state"]["attributes"]
    columns = lens["state"]["datasourceStates"]["formBased"]["layers"]["l1"]["columns"]
    assert (columns["s"]["sourceField"], columns["y"]["operationType"]) == ("state", "count")


def test_silence_means_what_the_gateway_means(ours: Schema) -> None:
    settings = Settings.model_validate({"events": {"silence_seconds": 77}})
    freshness = str(objects(ours, settings)["lens:mare-freshness"])
    assert 'timestamp >= "now-77s"' in freshness
    assert "Readings in the last 77 s" in freshness


def test_packing_is_undone_by_unpacking(ours: Schema) -> None:
    for saved in objects(ours).values():
        sent = packed(saved)
        assert unpacked(sent) == saved
        assert fingerprint(sent) == fingerprint(saved)
        strings = [name for name in sent["attributes"] if name.endswith("JSON")]
        assert all(isinstance(sent["attributes"][name], str) for name in strings)


def test_the_coastline_is_small_and_passes_where_the_buoys_are() -> None:
    features = {
        feature["properties"]["name"]: feature["geometry"]["coordinates"] for feature in coastline()["features"]
    }
    mainland = features["Portugal to Calabria"][0]
    assert min(abs(lon - 3.185785) + abs(lat - 42.488629) for lon, lat in mainland) < 0.2
    assert features["Corsica"][0][0] == features["Corsica"][0][-1]  # islands are closed


def test_counters_are_those_of_the_ledger_and_sinks_those_that_there_are(ours: Schema, tmp_path: Path) -> None:
    ledger = summed(Settings(home=tmp_path), {})
    for name in COUNTERS:
        _, group, counter = name.split(".")
        assert counter in ledger[group]
    shown = str(objects(ours)["lens:mare-lag"])
    assert all(f"lag.{name}" in shown for name in ALL_CONNECTORS)


def test_the_rule_waits_for_the_event_that_the_gateway_writes() -> None:
    assert load_rules()[0]["params"]["esQuery"]["query"]["term"]["event"] == Kind.SILENT.value


def test_a_job_s_data_view_is_a_file_beside_its_checkpoint(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path})
    assert data_views_of_jobs(settings) == {}
    path = write_data_view(settings, "stations", "legacy-stations", "seen")
    assert path == tmp_path / "state" / "extraction" / "stations.data-view.json"
    assert data_views_of_jobs(settings) == {path: data_view_of_job("stations", "legacy-stations", "seen")}
    assert "timeFieldName" not in data_view_of_job("stations", "legacy-stations", None)["attributes"]
