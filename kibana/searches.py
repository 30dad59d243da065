"""What Kibana asks Elasticsearch for each panel, map layer, control, data view and rule.

Written from what Kibana's own inspector shows for such panels: the aggregations are the same, the numbers of buckets
are chosen simpler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kibana import kql
from kibana.fields import RECORDS
from kibana.files import SavedObject, key
from kibana.references import control_reference, data_view_of, layer_reference

DAYS = 30
_INTERVAL = "12h"  # what Kibana's "auto" makes of so many days
_GRID_PRECISION = 5
_AGGREGATIONS = {"average": "avg", "sum": "sum", "min": "min", "max": "max", "unique_count": "cardinality"}
Body = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One search. `substitute` answers the same without aggregations that a bare Elasticsearch lacks."""

    name: str
    index: str
    body: Body
    substitute: Body | None = None


@dataclass(frozen=True)
class View:
    title: str
    time_field: str | None


def requests_of(saved: SavedObject, views: Mapping[str, View]) -> Iterator[Request]:
    """The searches of a checked object; `views` are the data views by id."""
    if saved["type"] == "lens":
        yield from _of_lens(saved, views)
    elif saved["type"] == "map":
        yield from _of_map(saved, views)
    elif saved["type"] == "dashboard":
        yield from _of_controls(saved, views)
    elif saved["type"] == "index-pattern":
        view = views[saved["id"]]
        # Over many indices some may lack the time field, as Discover allows; a job's one index may not.
        order = {"order": "desc", **({"unmapped_type": "boolean"} if "*" in view.title else {})}
        newest: Body = {"sort": [{view.time_field: order}]} if view.time_field else {}
        yield Request(key(saved), view.title, {"size": 1, "query": _query(view), **newest})


def request_of_rule(rule: Mapping[str, Any]) -> Request:
    """The search of an `.es-query` rule that groups by a term."""
    params = rule["params"]
    window = f"now-{params['timeWindowSize']}{params['timeWindowUnit']}"
    groups = {"terms": {"field": params["termField"], "size": params["termSize"]}}
    query = {"bool": {"filter": [params["esQuery"]["query"], {"range": {params["timeField"]: {"gte": window}}}]}}
    return Request(
        f"rule:{rule['name']}", ",".join(params["index"]), {"size": 0, "query": query, "aggs": {"g": groups}}
    )


def data_views(objects: list[SavedObject]) -> dict[str, View]:
    """The data views among the objects, by id."""
    return {
        saved["id"]: View(saved["attributes"]["title"], saved["attributes"].get("timeFieldName"))
        for saved in objects
        if saved["type"] == "index-pattern"
    }


def _query(view: View, *filters: Body) -> Body:
    times = []
    if view.time_field:
        limits = {"gte": f"now-{DAYS}d", "lte": "now", "format": "strict_date_optional_time"}
        times = [{"range": {view.time_field: limits}}]
    return {"bool": {"filter": [*times, *filters]}}


def _filters(query: Mapping[str, str]) -> list[Body]:
    return [clause.query() for clause in kql.clauses(query["query"])]


# --- Lens --------------------------------------------------------------------------------------------------------


def _of_lens(saved: SavedObject, views: Mapping[str, View]) -> Iterator[Request]:
    state = saved["attributes"]["state"]
    for layer_id, layer in state["datasourceStates"]["formBased"]["layers"].items():
        view = views[data_view_of(saved, layer_reference(layer_id)) or ""]
        query = _query(view, *_filters(state["query"]))
        bodies = [
            {"size": 0, "query": query, "track_total_hits": True, "aggs": _buckets(layer, bare)}
            for bare in (False, True)
        ]
        yield Request(key(saved), view.title, bodies[0], bodies[1] if bodies[1] != bodies[0] else None)


def _buckets(layer: Mapping[str, Any], bare: bool) -> Body:
    """Buckets in each other, in the columns' order, with the metrics in the innermost."""
    columns = layer["columns"]
    buckets = [name for name in layer["columnOrder"] if columns[name]["isBucketed"]]
    metrics = [name for name in layer["columnOrder"] if not columns[name]["isBucketed"]]
    inner = {name: made for name in metrics if (made := _metric(columns[name], bare))}
    for name in reversed(buckets):
        column = columns[name]
        # A bucket is ordered by a metric of its own, also where another bucket lies between them.
        by = _ordered_by(column)
        ordering = {by: made} if by and (made := _metric(columns[by], bare)) else {}
        inner = {name: {**_bucket(column, columns), "aggs": {**ordering, **inner}}}
    return inner


def _ordered_by(column: Mapping[str, Any]) -> str | None:
    by: str | None = column["params"].get("orderBy", {}).get("columnId")
    return by


def _bucket(column: Mapping[str, Any], columns: Mapping[str, Any]) -> Body:
    if column["operationType"] == "date_histogram":
        interval = column["params"]["interval"].replace("auto", _INTERVAL)
        return {"date_histogram": {"field": column["sourceField"], "fixed_interval": interval, "time_zone": "UTC"}}
    params = column["params"]
    by = _ordered_by(column)
    path = "_key" if by is None else _path(by, columns[by])
    return {
        "terms": {
            "field": column["sourceField"],
            "size": params["size"],
            "order": {path: params["orderDirection"]},
        }
    }


def _path(name: str, column: Mapping[str, Any]) -> str:
    if "filter" in column:
        return f"{name}>value" if column["operationType"] != "count" else f"{name}._count"
    return "_count" if column["operationType"] == "count" else name


def _metric(column: Mapping[str, Any], bare: bool) -> Body | None:
    """None for a plain count, which every bucket has."""
    value: Body | None = None
    field, operation = column["sourceField"], column["operationType"]
    if operation == "last_value":
        sort = [{column["params"]["sortField"]: "desc"}]
        value = (
            {"top_hits": {"size": 1, "sort": sort, "_source": [field]}}
            if bare
            else {"top_metrics": {"size": 1, "sort": sort, "metrics": [{"field": field}]}}
        )
    elif field != RECORDS:
        value = {_AGGREGATIONS[operation]: {"field": field}}
    if "filter" not in column:
        return value
    filtered: Body = {"filter": {"bool": {"filter": _filters(column["filter"])}}}
    return {**filtered, "aggs": {"value": value}} if value else filtered


# --- maps and dashboards -----------------------------------------------------------------------------------------


def _of_map(saved: SavedObject, views: Mapping[str, View]) -> Iterator[Request]:
    for layer in saved["attributes"]["layerListJSON"]:
        source = layer["sourceDescriptor"]
        if "indexPatternRefName" not in source:
            continue
        view = views[data_view_of(saved, source["indexPatternRefName"]) or ""]
        shown = [
            style["options"]["field"]["name"]
            for style in layer["style"]["properties"].values()
            if "field" in style.get("options", {})
        ]
        aggregation = _grid(source) if source["type"] == "ES_GEO_GRID" else _last_positions(source, shown)
        query = _query(view, {"exists": {"field": source["geoField"]}})
        body = {"size": 0, "query": query, "track_total_hits": True, "aggs": {"map": aggregation}}
        yield Request(f"{key(saved)} layer {layer['id']}", view.title, body)


def _grid(source: Mapping[str, Any]) -> Body:
    metrics = {
        f"{metric['type']}_of_{metric['field']}": {metric["type"]: {"field": metric["field"]}}
        for metric in source["metrics"]
        if "field" in metric
    }
    return {
        "geotile_grid": {"field": source["geoField"], "precision": _GRID_PRECISION},
        "aggs": {"centroid": {"geo_centroid": {"field": source["geoField"]}}, **metrics},
    }


def _last_positions(source: Mapping[str, Any], shown: list[str]) -> Body:
    names = dict.fromkeys([source["geoField"], source["topHitsSplitField"], *source["tooltipProperties"], *shown])
    hits = {
        "size": source["topHitsSize"],
        "sort": [{source["sortField"]: source["sortOrder"]}],
        "_source": False,
        "fields": list(names),
    }
    return {
        "terms": {"field": source["topHitsSplitField"], "size": 1000},
        "aggs": {"hits": {"top_hits": hits}},
    }


def _of_controls(saved: SavedObject, views: Mapping[str, View]) -> Iterator[Request]:
    for name, control in saved["attributes"].get("controlGroupInput", {}).get("panelsJSON", {}).items():
        if control["type"] == "optionsListControl":
            view = views[data_view_of(saved, control_reference(name)) or ""]
            options = {"terms": {"field": control["explicitInput"]["fieldName"], "size": 10}}
            body = {"size": 0, "query": _query(view), "track_total_hits": True, "aggs": {"options": options}}
            yield Request(f"{key(saved)} control {name}", view.title, body)
