"""Saved objects as files: readable JSON here, with JSON inside strings where Kibana wants it so."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template
from typing import Any

ROOM = Path(__file__).parent
OBJECTS = ROOM / "objects"
TEMPLATES = ROOM / "templates"
RULES = ROOM / "alerts"
SETTINGS = ROOM / "settings.json"
_COASTLINE = ROOM / "coastline.json"

# As `_export` gives it, but with the attributes below as real JSON.
SavedObject = dict[str, Any]

# Attributes whose value is JSON in a string.
_JSON_STRINGS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "index-pattern": (
        ("fields",),
        ("fieldAttrs",),
        ("fieldFormatMap",),
        ("runtimeFieldMap",),
        ("sourceFilters",),
    ),
    "map": (("layerListJSON",), ("mapStateJSON",), ("uiStateJSON",)),
    "dashboard": (
        ("panelsJSON",),
        ("optionsJSON",),
        ("kibanaSavedObjectMeta", "searchSourceJSON"),
        ("controlGroupInput", "panelsJSON"),
        ("controlGroupInput", "ignoreParentSettingsJSON"),
    ),
}


def key(saved: SavedObject) -> str:
    """What tells an object from others: `<type>:<id>`."""
    return f"{saved['type']}:{saved['id']}"


def load(path: Path, values: Mapping[str, str]) -> SavedObject:
    """The object in a file, with `${name}` replaced by `values[name]`. Raises KeyError for a name not in it."""
    escaped = {name: json.dumps(value, ensure_ascii=False)[1:-1] for name, value in values.items()}
    saved: SavedObject = json.loads(Template(path.read_text("utf-8")).substitute(escaped))
    return saved


def coastline() -> dict[str, Any]:
    """The bundled coastline, a GeoJSON FeatureCollection."""
    collection: dict[str, Any] = json.loads(_COASTLINE.read_text("utf-8"))
    return collection


def packed(saved: SavedObject) -> SavedObject:
    """As Kibana's importer takes it."""
    return _converted(saved, str, lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def unpacked(saved: SavedObject) -> SavedObject:
    """The inverse of `packed`."""
    return _converted(saved, (dict, list), json.loads)


def fingerprint(saved: SavedObject) -> str:
    """The same for objects that show the same, wherever they come from."""
    content = unpacked(saved)
    references = sorted(content.get("references", []), key=lambda reference: str(reference["name"]))
    return digest([content["attributes"], references])


def digest(content: Any) -> str:
    """A short text that differs where the content does."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _converted(saved: SavedObject, done: type | tuple[type, ...], convert: Callable[[Any], Any]) -> SavedObject:
    result = copy.deepcopy(saved)
    for path in _JSON_STRINGS.get(str(saved["type"]), ()):
        place: Any = result["attributes"]
        for name in path[:-1]:
            place = place.get(name, {})
        if path[-1] in place and not isinstance(place[path[-1]], done):
            place[path[-1]] = convert(place[path[-1]])
    return result
