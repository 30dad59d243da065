"""Which fields there are behind each data view, and which ones an object names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kibana import kql
from kibana.files import SavedObject
from kibana.references import control_reference, data_view_of, layer_reference
from maredata.indices import index_templates
from maredata.names import READINGS_PATTERN
from maredata.schema import Schema
from maredata.settings import Settings

RECORDS = "___records___"  # what Lens counts
# Ledger counters are mapped as they come: these are the ones that our panels may name.
_COUNTERS = {
    "datagrams": ("received", "kernel_dropped"),
    "lines": ("received", "accepted", "rejected", "refused", "in_flight", "lost_in_crash", "spooled", "replayed"),
    "sensors": ("followed", "missing", "duplicates", "conflicts", "out_of_order", "late", "clock_ahead", "restarts"),
}
COUNTERS = tuple(f"ledger.{name}.{counter}" for name, counters in _COUNTERS.items() for counter in counters)
_NUMBERS = frozenset({"long", "double"})
_DATES = frozenset({"date_nanos", "date"})
_GROUPED = _NUMBERS | _DATES | {"keyword"}
_NUMERIC_OPERATIONS = {"average": _NUMBERS, "sum": _NUMBERS, "min": _NUMBERS | _DATES, "max": _NUMBERS | _DATES}

Fields = Mapping[str, str]  # Elasticsearch's type by the field's full name


@dataclass(frozen=True)
class Use:
    """A field that an object names; `kinds` are the types that it can be used with, None for any."""

    data_view: str
    field: str
    where: str
    kinds: frozenset[str] | None = None


def fields_by_title(settings: Settings, schema: Schema) -> dict[str, Fields]:
    """The fields of each of our index patterns. Those of legacy tables are not known here."""
    found: dict[str, Fields] = {READINGS_PATTERN: dict(_flat(schema.mapping_properties()))}
    for template in index_templates(settings).values():
        properties = template["template"]["mappings"]["properties"]
        counters = dict.fromkeys(COUNTERS, "long") if "ledger" in properties else {}
        found[template["index_patterns"][0]] = {**dict(_flat(properties)), **counters}
    return found


def uses(saved: SavedObject) -> Iterator[Use]:
    """Every field that a well-shaped object names. Raises kql.NotUnderstood."""
    kinds: dict[str, Callable[[SavedObject], Iterator[Use]]] = {
        "index-pattern": _in_data_view,
        "lens": _in_lens,
        "map": _in_map,
        "dashboard": _in_dashboard,
    }
    if saved["type"] in kinds:
        yield from kinds[saved["type"]](saved)


def uses_of_rule(rule: Mapping[str, Any]) -> Iterator[tuple[str, Use]]:
    """(index pattern, use) of each field that a rule names."""
    params = rule["params"]
    for index in params["index"]:
        yield index, Use("", params["timeField"], "timeField", _DATES)
        yield index, Use("", params["termField"], "termField", _GROUPED)
        for name in params["esQuery"]["query"].get("term", {}):
            yield index, Use("", name, "esQuery")


def _flat(properties: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, mapping in properties.items():
        kind = mapping.get("type", "object")
        if kind != "object":
            yield f"{above}{name}", kind
        yield from _flat(mapping.get("properties", {}), f"{above}{name}.")
        yield from _flat(mapping.get("fields", {}), f"{above}{name}.")


def _in_query(data_view: str, query: Mapping[str, str], where: str) -> Iterator[Use]:
    for clause in kql.clauses(query["query"]):
        yield Use(data_view, clause.field, where)


def _in_data_view(saved: SavedObject) -> Iterator[Use]:
    attributes = saved["attributes"]
    if "timeFieldName" in attributes:
        yield Use(saved["id"], attributes["timeFieldName"], "timeFieldName", _DATES)
    for name in attributes.get("fieldFormatMap", {}):
        yield Use(saved["id"], name, "fieldFormatMap")


def _in_lens(saved: SavedObject) -> Iterator[Use]:
    state = saved["attributes"]["state"]
    for layer_id, layer in state["datasourceStates"]["formBased"]["layers"].items():
        view = data_view_of(saved, layer_reference(layer_id)) or ""
        yield from _in_query(view, state["query"], "query")
        for name, column in layer["columns"].items():
            where = f"column {name}"
            if "filter" in column:
                yield from _in_query(view, column["filter"], where)
            if column["sourceField"] != RECORDS:
                yield Use(view, column["sourceField"], where, _kinds(column["operationType"]))
            if column["operationType"] == "last_value":
                yield Use(view, column["params"]["sortField"], where, _DATES)


def _kinds(operation: str) -> frozenset[str]:
    return _DATES if operation == "date_histogram" else _NUMERIC_OPERATIONS.get(operation, _GROUPED)


def _in_map(saved: SavedObject) -> Iterator[Use]:
    for layer in saved["attributes"]["layerListJSON"]:
        source = layer["sourceDescriptor"]
        if "indexPatternRefName" not in source:
            continue
        view, where = data_view_of(saved, source["indexPatternRefName"]) or "", f"layer {layer['id']}"
        yield Use(view, source["geoField"], where, frozenset({"geo_point"}))
        made = {"doc_count"} if source["type"] == "ES_GEO_GRID" else set()
        for metric in source.get("metrics", ()):
            if "field" in metric:
                made.add(f"{metric['type']}_of_{metric['field']}")
                yield Use(view, metric["field"], where, _NUMBERS)
        if source["type"] == "ES_SEARCH":
            yield Use(view, source["sortField"], where, _DATES)
            yield Use(view, source["topHitsSplitField"], where, _GROUPED)
            for name in source["tooltipProperties"]:
                yield Use(view, name, f"{where}, tooltip")
        for name, shown in layer["style"]["properties"].items():
            field = shown.get("options", {}).get("field", {}).get("name")
            if field is not None and field not in made:
                kinds = _NUMBERS if shown["options"].get("type") == "ORDINAL" else None
                if made:  # a cell of a grid has nothing but its metrics
                    kinds = frozenset()
                yield Use(view, field, f"{where}, {name}", kinds)


def _in_dashboard(saved: SavedObject) -> Iterator[Use]:
    controls = saved["attributes"].get("controlGroupInput", {}).get("panelsJSON", {})
    for name, control in controls.items():
        if control["type"] == "optionsListControl":
            view = data_view_of(saved, control_reference(name)) or ""
            yield Use(view, control["explicitInput"]["fieldName"], f"control {name}", _GROUPED)
