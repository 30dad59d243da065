"""References between saved objects: the names that an object's content asks for, and what its list has.

Kibana's importer reports a missing data view or search only; a panel, map layer, control, drilldown or tag that leads
nowhere is imported and shows an error later.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

from kibana.files import SavedObject, key

DATA_VIEW = "index-pattern"
_TAG = "tag-ref-"


def asked_for(saved: SavedObject) -> dict[str, str]:
    """The type of the object that each reference of this name must lead to, as the content says."""
    attributes = saved["attributes"]
    kinds = {"lens": _of_lens, "map": _of_map, "dashboard": _of_dashboard}
    return dict(kinds[saved["type"]](attributes)) if saved["type"] in kinds else {}


def problems(saved: SavedObject, known: Set[str]) -> list[str]:
    """What is wrong with the references of a well-shaped object; `known` are the keys of all objects."""
    wanted, found = asked_for(saved), []
    names = [reference["name"] for reference in saved["references"]]
    found += [f"reference {name} is there twice" for name in sorted(set(names)) if names.count(name) > 1]
    found += [f"reference {name} to a {kind} is missing" for name, kind in wanted.items() if name not in names]
    for reference in saved["references"]:
        name = reference["name"]
        is_tag = reference["type"] == "tag" and name == f"{_TAG}{reference['id']}"
        if name in wanted and reference["type"] != wanted[name]:
            found.append(f"reference {name} leads to a {reference['type']}, not to a {wanted[name]}")
        elif name not in wanted and not is_tag:
            found.append(f"reference {name} is used by nothing in the object")
        if key(reference) not in known:
            found.append(f"reference {name} leads to {key(reference)}, which there is not")
    if saved["type"] == "map":
        found += _misnumbered_layers(saved["attributes"]["layerListJSON"])
    return found


def data_view_of(saved: SavedObject, name: str) -> str | None:
    """The id of the data view that the reference of this name leads to."""
    return next((reference["id"] for reference in saved["references"] if reference["name"] == name), None)


def layer_reference(layer_id: str) -> str:
    """The name of the reference from a Lens layer to its data view."""
    return f"indexpattern-datasource-layer-{layer_id}"


def control_reference(control_id: str) -> str:
    """The name of the reference from a control to its data view."""
    return f"controlGroup_{control_id}:optionsListDataView"


def _of_lens(attributes: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for layer in attributes["state"]["datasourceStates"]["formBased"]["layers"]:
        yield layer_reference(layer), DATA_VIEW


def _of_map(attributes: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for layer in attributes["layerListJSON"]:
        if "indexPatternRefName" in layer["sourceDescriptor"]:
            yield layer["sourceDescriptor"]["indexPatternRefName"], DATA_VIEW


def _misnumbered_layers(layers: list[dict[str, Any]]) -> list[str]:
    found = []
    for number, layer in enumerate(layers):
        name = layer["sourceDescriptor"].get("indexPatternRefName")
        if name not in (None, f"layer_{number}_source_index_pattern"):
            found.append(f"layer {layer['id']} is number {number}, but its reference is called {name}")
    return found


def _of_dashboard(attributes: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for panel in attributes["panelsJSON"]:
        panel_id = panel["panelIndex"]
        yield f"{panel_id}:{panel['panelRefName']}", panel["type"]
        actions = panel["embeddableConfig"]["enhancements"].get("dynamicActions", {})
        for event in actions.get("events", ()):
            yield f"{panel_id}:drilldown:{event['action']['factoryId']}:{event['eventId']}:dashboardId", "dashboard"
    for control_id, control in attributes.get("controlGroupInput", {}).get("panelsJSON", {}).items():
        if control["type"] == "optionsListControl":
            yield control_reference(control_id), DATA_VIEW
