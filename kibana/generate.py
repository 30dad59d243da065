"""The saved objects of an instance: those in `objects/`, and what reading.toml makes of the templates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kibana.files import OBJECTS, TEMPLATES, SavedObject, coastline, load
from maredata.data_views import data_views_of_jobs
from maredata.schema import Field, FieldType, Schema
from maredata.settings import Settings

MAP = "map"
_COLOUR = "temperature"  # of the last positions, where readings have one
_WITH_VARIABLES = ("mare-buoys", "mare-buoy")  # the dashboards that show a panel for each variable
_WIDTH, _HEIGHT = 24, 12


def saved_objects(settings: Settings, schema: Schema) -> list[SavedObject]:
    """Every object that `mare kibana import` takes to Kibana, in readable form."""
    values = {"silence_seconds": str(settings.events.silence_seconds), **_of_map(schema)}
    has_map = all(values[name] for name in ("location", "colour"))
    objects = [load(path, values) for path in sorted(OBJECTS.glob("*.json")) if has_map or path.stem != MAP]
    panels = [_variable(field) for field in schema.measured]
    for saved in objects:
        if saved["type"] == "dashboard":
            if not has_map:
                _drop_maps(saved)
            if saved["id"] in _WITH_VARIABLES:
                _place(saved, panels)
        elif saved["type"] == "map":
            _bundle_coastline(saved)
    return [*objects, *panels, _last_values(schema.measured), *data_views_of_jobs(settings).values()]


def _of_map(schema: Schema) -> dict[str, str]:
    """Which field says where, and which one colours; empty where readings have none."""
    locations = [field.name for field in schema.fields if field.type is FieldType.LOCATION]
    numbers = [field.name for field in schema.fields if field.type is FieldType.NUMBER]
    colour = _COLOUR if _COLOUR in numbers else next(iter(numbers), "")
    return {"location": next(iter(locations), ""), "colour": colour}


def _variable(field: Field) -> SavedObject:
    kind = "number" if field.type is FieldType.NUMBER else "text"
    return load(
        TEMPLATES / f"{kind}.json",
        {"name": field.name, "label": field.label or field.name, "label_and_unit": _labelled(field)},
    )


def _last_values(fields: Iterable[Field]) -> SavedObject:
    """The table of last values, with a column for each variable."""
    saved = load(TEMPLATES / "last-values.json", {})
    state = saved["attributes"]["state"]
    layer = state["datasourceStates"]["formBased"]["layers"]["l1"]
    for field in fields:
        column = f"v-{field.name}"
        layer["columns"][column] = _last_value(field)
        layer["columnOrder"].append(column)
        state["visualization"]["columns"].append({"columnId": column})
    return saved


def _last_value(field: Field) -> dict[str, Any]:
    number = field.type is FieldType.NUMBER
    return {
        "label": _labelled(field),
        "customLabel": True,
        "dataType": "number" if number else "string",
        "operationType": "last_value",
        "isBucketed": False,
        "scale": "ratio" if number else "ordinal",
        "sourceField": field.name,
        "filter": {"language": "kuery", "query": f'"{field.name}": *'},
        "params": {"sortField": "timestamp", "showArrayValues": False},
    }


def _labelled(field: Field) -> str:
    label = field.label or field.name
    return f"{label} ({field.unit})" if field.unit else label


def _place(dashboard: SavedObject, panels: Iterable[SavedObject]) -> None:
    """Puts the panels below those that are there, two in a row."""
    there = dashboard["attributes"]["panelsJSON"]
    below = max((panel["gridData"]["y"] + panel["gridData"]["h"] for panel in there), default=0)
    for number, panel in enumerate(panels):
        name = panel["id"].removeprefix("mare-")
        grid = {"x": number % 2 * _WIDTH, "y": below + number // 2 * _HEIGHT, "w": _WIDTH, "h": _HEIGHT, "i": name}
        there.append(
            {
                "type": "lens",
                "gridData": grid,
                "panelIndex": name,
                "embeddableConfig": {"enhancements": {}},
                "panelRefName": f"panel_{name}",
            }
        )
        dashboard["references"].append({"type": "lens", "id": panel["id"], "name": f"{name}:panel_{name}"})


def _drop_maps(dashboard: SavedObject) -> None:
    panels = dashboard["attributes"]["panelsJSON"]
    maps = tuple(f"{panel['panelIndex']}:" for panel in panels if panel["type"] == "map")
    dashboard["attributes"]["panelsJSON"] = [panel for panel in panels if panel["type"] != "map"]
    dashboard["references"] = [
        reference for reference in dashboard["references"] if not reference["name"].startswith(maps)
    ]


def _bundle_coastline(saved: SavedObject) -> None:
    for layer in saved["attributes"]["layerListJSON"]:
        if layer["sourceDescriptor"]["type"] == "GEOJSON_FILE":
            layer["sourceDescriptor"]["__featureCollection"] = coastline()
