"""The Elasticsearch indices of what is no reading: rejected lines, events, and how the pipeline fares.

Their templates stand here, since no user's file says anything about them; those of readings come from the schema.
What others name (a sender its fields, a user a connector) is never mapped by its name: that has no end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from elasticsearch import Elasticsearch, NotFoundError

from maredata.names import ALL_CONNECTORS, EVENTS_INDICES, METRICS_INDICES, REJECTED_INDICES
from maredata.schema import TIMESTAMP_FORMAT
from maredata.settings import Settings

_PRIORITY = 500
_TIMESTAMP = {"type": "date_nanos", "format": TIMESTAMP_FORMAT}
_LONG = {"type": "long"}
_KEYWORD = {"type": "keyword", "ignore_above": 256}
# Found by its words; as a whole, for counting and sorting, where it is short. A longer one is stored all the same.
_TEXT = {"type": "text", "fields": {"keyword": _KEYWORD}}
# Mapped as it comes: counters of ours, of which there will be more.
_COUNTERS = {"type": "object", "dynamic": True}
_UNPARSED = {"type": "object", "enabled": False}  # not even looked at: nothing in it can refuse a document

_REJECTED: dict[str, Any] = {
    "timestamp": _TIMESTAMP,
    "reason": _KEYWORD,
    "detail": _TEXT,
    "sender": _KEYWORD,
    "sensor_id": _LONG,
    "bytes": _LONG,
    "line": _TEXT,
    "line_base64": {"type": "binary"},
}
_EVENTS: dict[str, Any] = {
    "timestamp": _TIMESTAMP,
    "sensor_id": _LONG,
    "event": _KEYWORD,
    "variable": _KEYWORD,
    "since": _TIMESTAMP,
    "message": _TEXT,
}
_METRICS: dict[str, Any] = {
    "timestamp": _TIMESTAMP,
    "connectors": {"type": "flattened"},  # states by name; a name may have points
    "lag": {"properties": dict.fromkeys(ALL_CONNECTORS, _LONG)},
    "dead_letters": {"properties": dict.fromkeys(ALL_CONNECTORS, _LONG)},
    "ledger": {
        "properties": {
            **dict.fromkeys(
                ("datagrams", "lines", "sensors", "rejected", "refused", "rejected_copies", "refused_copies"), _COUNTERS
            ),
            "unknown_fields": _UNPARSED,
        }
    },
}
_PROPERTIES = {REJECTED_INDICES: _REJECTED, EVENTS_INDICES: _EVENTS, METRICS_INDICES: _METRICS}


def index_templates(settings: Settings) -> dict[str, dict[str, Any]]:
    """Body of `PUT _index_template/…`, by the name of the template, which is the stem of its indices too."""
    return {stem: _template(stem, properties, settings) for stem, properties in _PROPERTIES.items()}


def apply_index_templates(settings: Settings, elasticsearch: Elasticsearch, progress: Callable[[str], None]) -> None:
    """Writes the templates that differ from those there are, and brings existing indices up to them."""
    for name, body in index_templates(settings).items():
        if _fingerprint_there(elasticsearch, name) == body["_meta"]["fingerprint"]:
            continue
        pattern, template = body["index_patterns"][0], body["template"]
        if elasticsearch.indices.get_mapping(index=pattern):
            elasticsearch.indices.put_mapping(index=pattern, **template["mappings"])
            replicas = {"number_of_replicas": template["settings"]["number_of_replicas"]}
            elasticsearch.indices.put_settings(index=pattern, settings=replicas)
        # Last, since it is what says that all of this was done.
        elasticsearch.indices.put_index_template(name=name, **body)
        progress(f"index template {name}: written")


def _template(stem: str, properties: dict[str, Any], settings: Settings) -> dict[str, Any]:
    template = {
        "settings": {
            "number_of_shards": 1,
            "number_of_replicas": settings.elasticsearch.replicas,
            # A counter too many is left out of the mapping; it must not refuse its document.
            "mapping.total_fields.ignore_dynamic_beyond_limit": True,
        },
        "mappings": {"dynamic": False, "properties": properties},
    }
    body = {
        "index_patterns": [f"{stem}-*"],
        "priority": _PRIORITY,
        "allow_auto_create": True,
        "template": template,
    }
    fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]
    return {**body, "_meta": {"managed_by": "maredata", "fingerprint": fingerprint}}


def _fingerprint_there(elasticsearch: Elasticsearch, name: str) -> str | None:
    try:
        found = elasticsearch.indices.get_index_template(name=name)
    except NotFoundError:
        return None
    fingerprint: str | None = found["index_templates"][0]["index_template"].get("_meta", {}).get("fingerprint")
    return fingerprint
