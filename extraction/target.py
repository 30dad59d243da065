"""Where a job's documents go: the mapping and the index template of its index."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from extraction.layout import Layout
from maredata.names import READINGS_PATTERN
from maredata.settings import Settings

_PRIORITY = 500
# Types that come with modules which not every Elasticsearch has, as the one that local mode starts.
MODULE_TYPES = frozenset({"unsigned_long", "scaled_float", "wildcard"})


def mapping(layout: Layout) -> dict[str, Any]:
    """Body of the mapping: only the job's fields, since a type guessed from a first value can refuse the second."""
    return {"dynamic": False, "properties": {field.name: field.mapping for field in layout.fields}}


def index_pattern(layout: Layout) -> str:
    """The indices that the job's documents are in."""
    return READINGS_PATTERN if layout.readings else layout.job.index


def index_template(layout: Layout, settings: Settings) -> dict[str, Any] | None:
    """Body of `PUT _index_template/<job.index>`; None for readings, whose template `mare apply` writes."""
    if layout.readings:
        return None
    template = {
        "settings": {
            "number_of_shards": settings.elasticsearch.shards,
            "number_of_replicas": settings.elasticsearch.replicas,
            "refresh_interval": "1s",
        },
        "mappings": mapping(layout),
    }
    fingerprint = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:12]
    return {
        "index_patterns": [layout.job.index],
        "priority": _PRIORITY,
        "template": template,
        "_meta": {"managed_by": "maredata", "job": layout.job.name, "fingerprint": fingerprint},
    }


def needs_modules(layout: Layout) -> tuple[str, ...]:
    """Fields of types that Elasticsearch takes from a module; without it the index can't be made."""
    return tuple(field.name for field in layout.fields if field.mapping["type"] in MODULE_TYPES)
