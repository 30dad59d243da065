"""`mare kibana check` finds nothing in our objects, and every kind of break in broken copies of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from kibana import kql
from kibana.check import Problem, check, problems
from kibana.fields import fields_by_title
from kibana.files import SETTINGS, SavedObject, key
from kibana.generate import saved_objects
from kibana.rules import load_rules
from maredata.cli import main
from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT, Settings

LENS = "lens:mare-variable-temperature"
TABLE = "lens:mare-last-values"
FRESHNESS = "lens:mare-freshness"
MAP = "map:mare-map"
BUOYS = "dashboard:mare-buoys"
VIEW = "index-pattern:mare-readings"
RULE = "rule"
SETTING = "settings"


class Copy:
    """A copy of everything that is imported, to be broken."""

    def __init__(self) -> None:
        self.objects = {key(saved): saved for saved in saved_objects(Settings(), schema())}
        self.rule = load_rules()[0]
        self.wishes: dict[str, Any] = json.loads(SETTINGS.read_text("utf-8"))

    def __getitem__(self, name: str) -> SavedObject:
        return self.objects[name]

    def attributes(self, name: str) -> dict[str, Any]:
        attributes: dict[str, Any] = self[name]["attributes"]
        return attributes

    def layer(self, name: str) -> dict[str, Any]:
        layer: dict[str, Any] = self.attributes(name)["state"]["datasourceStates"]["formBased"]["layers"]["l1"]
        return layer

    def column(self, name: str, column: str) -> dict[str, Any]:
        found: dict[str, Any] = self.layer(name)["columns"][column]
        return found

    def map_layer(self, layer_id: str) -> dict[str, Any]:
        layers: list[dict[str, Any]] = self.attributes(MAP)["layerListJSON"]
        return next(layer for layer in layers if layer["id"] == layer_id)

    def source(self, layer_id: str) -> dict[str, Any]:
        source: dict[str, Any] = self.map_layer(layer_id)["sourceDescriptor"]
        return source

    def panel(self, number: int = 0) -> dict[str, Any]:
        panel: dict[str, Any] = self.attributes(BUOYS)["panelsJSON"][number]
        return panel

    def control(self, name: str = "sensor") -> dict[str, Any]:
        control: dict[str, Any] = self.attributes(BUOYS)["controlGroupInput"]["panelsJSON"][name]
        return control

    def reference(self, name: str, beginning: str) -> dict[str, Any]:
        return next(one for one in self[name]["references"] if one["name"].startswith(beginning))

    def drop_reference(self, name: str, beginning: str) -> None:
        self[name]["references"].remove(self.reference(name, beginning))

    def problems(self) -> list[Problem]:
        return problems(list(self.objects.values()), [self.rule], self.wishes, fields_by_title(Settings(), schema()))


def schema() -> Schema:
    return load_schema(CHECKOUT / "maredata" / "reading.toml")


def drilldown(copied: Copy) -> dict[str, Any]:
    event: dict[str, Any] = copied.panel()["embeddableConfig"]["enhancements"]["dynamicActions"]["events"][0]
    return event


def swap(one: dict[str, Any], **values: Any) -> None:
    one.update(values)


# What is broken, how, in which object it must be found, and by which words.
BREAKS: dict[str, tuple[Callable[[Copy], Any], str, str]] = {
    # form and versions
    "an unknown type": (lambda c: swap(c[VIEW], type="url"), "url:", "no check for objects of type"),
    "an entry too few": (lambda c: c[LENS].pop("managed"), LENS, "exactly the entries"),
    "an entry too many": (lambda c: swap(c[LENS], updated_at="2026"), LENS, "exactly the entries"),
    "an id like a user's": (lambda c: swap(c[VIEW], id="readings"), "index-pattern:readings", "begin with mare-"),
    "managed by nobody": (lambda c: swap(c[BUOYS], managed=True), BUOYS, "managed must be false"),
    "a type version from the future": (
        lambda c: swap(c[MAP], typeMigrationVersion="8.9.0"),
        MAP,
        "typeMigrationVersion",
    ),
    "no type version": (lambda c: swap(c[LENS], typeMigrationVersion=""), LENS, "typeMigrationVersion"),
    "another core version": (lambda c: swap(c[LENS], coreMigrationVersion="8.9.0"), LENS, "coreMigrationVersion"),
    "an unknown attribute of a lens": (lambda c: swap(c.attributes(LENS), titel="x"), LENS, "titel"),
    "an unknown attribute of a map": (lambda c: swap(c.attributes(MAP), zoom=5), MAP, "zoom"),
    "an unknown attribute of a tag": (
        lambda c: swap(c.attributes("tag:mare-tag"), colour="x"),
        "tag:mare-tag",
        "colour",
    ),
    "no title": (lambda c: swap(c.attributes(BUOYS), title=""), BUOYS, "title"),
    "a data view without a title": (lambda c: c.attributes(VIEW).pop("title"), VIEW, "title"),
    "a colour that is none": (lambda c: swap(c.attributes("tag:mare-tag"), color="green"), "tag:mare-tag", "color"),
    # lens
    "a column out of order": (lambda c: c.layer(LENS)["columnOrder"].pop(), LENS, "don't name the same columns"),
    "a metric before a bucket": (lambda c: c.layer(LENS)["columnOrder"].reverse(), LENS, "buckets must come before"),
    "an operation that there is not": (
        lambda c: swap(c.column(LENS, "y"), operationType="mean"),
        LENS,
        "operationType",
    ),
    "an order by nothing": (
        lambda c: swap(c.column(FRESHNESS, "s")["params"]["orderBy"], columnId="z"),
        FRESHNESS,
        "ordered by 'z'",
    ),
    "terms without end": (lambda c: swap(c.column(LENS, "s")["params"], size=100_000), LENS, "size"),
    "a last value with arrays": (
        lambda c: swap(c.column(TABLE, "v-temperature")["params"], showArrayValues=True),
        TABLE,
        "showArrayValues",
    ),
    "a last value of nulls": (lambda c: c.column(TABLE, "v-temperature").pop("filter"), TABLE, "filter"),
    "a drawn column that is not there": (
        lambda c: swap(c.attributes(LENS)["state"]["visualization"]["layers"][0], accessors=["z"]),
        LENS,
        "'z' of layer 'l1' is drawn",
    ),
    "a table's column that is not there": (
        lambda c: c.attributes(TABLE)["state"]["visualization"]["columns"].append({"columnId": "z"}),
        TABLE,
        "'z' of layer 'l1' is drawn",
    ),
    "a count of a field": (
        lambda c: swap(c.column(FRESHNESS, "all"), sourceField="temperature"),
        FRESHNESS,
        "a count is of ___records___",
    ),
    "a filter with a data view of its own": (
        lambda c: swap(c.attributes(LENS)["state"], filters=[{"meta": {}}]),
        LENS,
        "filters",
    ),
    # references
    "no reference to a data view": (
        lambda c: c.drop_reference(LENS, "indexpattern"),
        LENS,
        "indexpattern-datasource-layer-l1 to a index-pattern is missing",
    ),
    "a data view that there is not": (
        lambda c: swap(c.reference(LENS, "indexpattern"), id="mare-x"),
        LENS,
        "there is not",
    ),
    "a map layer's reference is missing": (
        lambda c: c.drop_reference(MAP, "layer_4"),
        MAP,
        "layer_4_source_index_pattern",
    ),
    "map layers changed places": (lambda c: c.attributes(MAP)["layerListJSON"].reverse(), MAP, "but its reference"),
    "a panel's reference is missing": (lambda c: c.drop_reference(BUOYS, "map:panel"), BUOYS, "map:panel_map to a map"),
    "a panel of nothing": (
        lambda c: swap(c.reference(BUOYS, "events:"), id="mare-x"),
        BUOYS,
        "lens:mare-x, which there",
    ),
    "a panel of another type": (lambda c: swap(c.panel(), type="lens"), BUOYS, "leads to a map, not to a lens"),
    "a panel's object is gone": (lambda c: c.objects.pop("lens:mare-events-of-buoys"), BUOYS, "which there is not"),
    "a control's reference is missing": (
        lambda c: c.drop_reference(BUOYS, "controlGroup"),
        BUOYS,
        "controlGroup_sensor",
    ),
    "a drilldown to nowhere": (
        lambda c: swap(c.reference(BUOYS, "map:drilldown"), id="mare-x"),
        BUOYS,
        "dashboard:mare-x",
    ),
    "a drilldown without a reference": (lambda c: c.drop_reference(BUOYS, "map:drilldown"), BUOYS, "map:drilldown"),
    "a tag that there is not": (lambda c: c.objects.pop("tag:mare-tag"), BUOYS, "tag:mare-tag, which there is not"),
    "a tag under another name": (lambda c: swap(c.reference(LENS, "tag-ref"), name="tag"), LENS, "used by nothing"),
    "a reference twice": (lambda c: c[LENS]["references"].append(c[LENS]["references"][0]), LENS, "is there twice"),
    "a reference that nothing uses": (
        lambda c: c[LENS]["references"].append({"type": "map", "id": "mare-map", "name": "x"}),
        LENS,
        "used by nothing",
    ),
    # fields
    "a field that there is not": (
        lambda c: swap(c.column(LENS, "y"), sourceField="temprature"),
        LENS,
        "no field temprature",
    ),
    "an average of a position": (lambda c: swap(c.column(LENS, "y"), sourceField="location"), LENS, "type geo_point"),
    "an average of words": (
        lambda c: swap(c.column("lens:mare-lag", "y0"), sourceField="connectors", operationType="average"),
        "lens:mare-lag",
        "type flattened",
    ),
    "terms of a text": (
        lambda c: swap(c.column("lens:mare-rejected-by-reason", "s"), sourceField="line"),
        "lens:mare-rejected-by-reason",
        "type text",
    ),
    "a histogram of a number": (lambda c: swap(c.column(LENS, "x"), sourceField="temperature"), LENS, "type double"),
    "a counter that nobody counts": (
        lambda c: swap(c.column("lens:mare-losses", "y0"), sourceField="ledger.lines.lost"),
        "lens:mare-losses",
        "no field ledger.lines.lost",
    ),
    "a sink that there is not": (
        lambda c: swap(c.column("lens:mare-lag", "y0"), sourceField="lag.mongodb-readings"),
        "lens:mare-lag",
        "no field lag.mongodb-readings",
    ),
    "the last value by no time": (
        lambda c: swap(c.column(TABLE, "v-temperature")["params"], sortField="seq"),
        TABLE,
        "type long",
    ),
    "a query with a typing mistake": (
        lambda c: swap(c.column(FRESHNESS, "recent")["filter"], query='timestmp >= "now-10m"'),
        FRESHNESS,
        "no field timestmp",
    ),
    "a query that is no query": (
        lambda c: swap(c.attributes(LENS)["state"]["query"], query="temperature >> 3 or"),
        LENS,
        "write it simpler",
    ),
    "an index pattern without a template": (
        lambda c: swap(c.attributes(VIEW), title="reading-*"),
        VIEW,
        "no index template",
    ),
    "a time field that there is not": (
        lambda c: swap(c.attributes(VIEW), timeFieldName="@timestamp"),
        VIEW,
        "@timestamp",
    ),
    "a format of no field": (
        lambda c: swap(c.attributes(VIEW)["fieldFormatMap"], salinity={"id": "number"}),
        VIEW,
        "no field salinity",
    ),
    "a control of no field": (
        lambda c: swap(c.control()["explicitInput"], fieldName="sensor"),
        BUOYS,
        "no field sensor",
    ),
    # maps
    "a track that costs money": (lambda c: swap(c.source("tracks"), type="ES_GEO_LINE"), MAP, "need a paid licence"),
    "vector tiles": (lambda c: swap(c.source("density"), resolution="SUPER_FINE"), MAP, "resolution"),
    "top hits without a split": (lambda c: swap(c.source("last"), topHitsSplitField=""), MAP, "topHitsSplitField"),
    "more hits than there can be": (lambda c: swap(c.source("tracks"), topHitsSize=101), MAP, "topHitsSize"),
    "positions that are numbers": (lambda c: swap(c.source("last"), geoField="temperature"), MAP, "type double"),
    "a colour of no field": (
        lambda c: swap(c.map_layer("last")["style"]["properties"]["fillColor"]["options"]["field"], name="temp"),
        MAP,
        "no field temp",
    ),
    "a grid's cell has no such metric": (
        lambda c: swap(
            c.map_layer("density")["style"]["properties"]["fillColor"]["options"]["field"], name="temperature"
        ),
        MAP,
        "can't be used there",
    ),
    "a basemap that needs the internet": (lambda c: swap(c.map_layer("basemap"), visible=True), MAP, "visible"),
    "no coastline": (lambda c: swap(c.source("coastline"), __featureCollection=None), MAP, "__featureCollection"),
    "a coast off the earth": (
        lambda c: c.source("coastline")["__featureCollection"]["features"][0]["geometry"]["coordinates"][0].append(
            [3.0, 442.0]
        ),
        MAP,
        "less than or equal to 90",
    ),
    "no refresh": (lambda c: c.attributes(MAP)["mapStateJSON"].pop("refreshConfig"), MAP, "refreshConfig"),
    "two layers of one id": (lambda c: swap(c.map_layer("last"), id="tracks"), MAP, "one id"),
    # dashboards
    "a panel beyond the grid": (lambda c: swap(c.panel(1)["gridData"], x=40), BUOYS, "48 wide"),
    "panels over each other": (lambda c: swap(c.panel(1)["gridData"], x=20), BUOYS, "map and freshness overlap"),
    "a panel under two names": (lambda c: swap(c.panel(1)["gridData"], i="x"), BUOYS, "must name the same panel"),
    "two panels of one name": (lambda c: c.attributes(BUOYS)["panelsJSON"].append(c.panel()), BUOYS, "are called map"),
    "a drilldown that costs money": (
        lambda c: swap(drilldown(c)["action"], factoryId="URL_DRILLDOWN"),
        BUOYS,
        "need a paid licence",
    ),
    "controls in no order": (lambda c: swap(c.control("time"), order=0), BUOYS, "orders must be 0, 1, 2"),
    "a control that calls itself otherwise": (
        lambda c: swap(c.control()["explicitInput"], id="x"),
        BUOYS,
        "calls itself x",
    ),
    "an object twice": (lambda c: c.objects.update(again=copy.deepcopy(c[LENS])), LENS, "is there twice"),
    # rules and settings
    "a rule without a UUID": (lambda c: swap(c.rule, id="silent"), RULE, "UUID"),
    "a rule of another type": (lambda c: swap(c.rule, rule_type_id=".index-threshold"), RULE, "rule_type_id"),
    "a rule by no field": (lambda c: swap(c.rule["params"], termField="sensor"), RULE, "no field sensor"),
    "a rule on no index": (lambda c: swap(c.rule["params"], index=["event-*"]), RULE, "no index template"),
    "a rule that asks for no field": (
        lambda c: swap(c.rule["params"], esQuery={"query": {"term": {"kind": "silent"}}}),
        RULE,
        "no field kind",
    ),
    "a way to no dashboard": (
        lambda c: swap(c.wishes, defaultRoute="/app/dashboards#/view/mare-boys"),
        SETTING,
        "leads to no dashboard",
    ),
    "another time zone": (lambda c: swap(c.wishes, **{"dateFormat:tz": "Browser"}), SETTING, "must be UTC"),
    "an unknown setting": (lambda c: swap(c.wishes, darkMode=True), SETTING, "no setting darkMode"),
}


def test_ours_are_right() -> None:
    assert Copy().problems() == []


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_copy_is_rejected(name: str) -> None:
    damage, where, words = BREAKS[name]
    copied = Copy()
    damage(copied)
    found = copied.problems()
    assert [problem for problem in found if problem.object.startswith(where) and words in problem.text], found


def test_a_check_without_elasticsearch_says_so() -> None:
    report = check(Settings(), schema(), None)
    assert (report.problems, report.answers, report.elasticsearch) == ([], [], "was not asked")
    done = CliRunner().invoke(main, ["kibana", "check", "--offline"])
    assert done.exit_code == 0
    assert "No search was run: Elasticsearch was not asked." in done.output


def test_an_elasticsearch_that_is_away_is_said_and_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARE_ELASTICSEARCH__PORT", "1")
    done = CliRunner().invoke(main, ["kibana", "check", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["elasticsearch"].startswith("does not answer")


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", []),
        ('"lag.mariadb-readings": *', [{"exists": {"field": "lag.mariadb-readings"}}]),
        ("event: silent", [{"match": {"event": "silent"}}]),
        (
            'timestamp >= "now-600s" and sensor_id < 5',
            [{"range": {"timestamp": {"gte": "now-600s"}}}, {"range": {"sensor_id": {"lt": "5"}}}],
        ),
    ],
)
def test_a_query_becomes_elasticsearch_s(text: str, query: list[dict[str, Any]]) -> None:
    assert [clause.query() for clause in kql.clauses(text)] == query


@pytest.mark.parametrize("text", ["a: 1 or b: 2", "not a: 1", "a:", "(a: 1)", "hello"])
def test_a_query_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(kql.NotUnderstood, match="write it simpler"):
        kql.clauses(text)
