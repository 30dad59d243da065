"""The indices of a benchmark's own Elasticsearch: made by the project's template, counted, removed."""

from __future__ import annotations

from elasticsearch import Elasticsearch

from maredata.names import READINGS_PATTERN, READINGS_TEMPLATE
from maredata.schema import Schema
from maredata.settings import Settings


class Indices:
    """Of readings, their names come from the documents; each is made by the first document of its month."""

    def __init__(self, elasticsearch: Elasticsearch, pattern: str = READINGS_PATTERN) -> None:
        self._elasticsearch = elasticsearch
        self._pattern = pattern

    def apply_template(self, settings: Settings, schema: Schema) -> None:
        """As `mare apply` does."""
        chosen = settings.elasticsearch
        body = schema.index_template(READINGS_PATTERN, chosen.shards, chosen.replicas)
        self._elasticsearch.indices.put_index_template(name=READINGS_TEMPLATE, **body)

    def clear(self) -> None:
        # Elasticsearch deletes no pattern, so that nobody deletes more than was meant.
        for name in self._elasticsearch.indices.get(index=self._pattern, filter_path="*.settings.index.uuid"):
            self._elasticsearch.indices.delete(index=name)

    def indexed(self) -> int:
        """Documents that were stored since the indices were made, those included that replaced one."""
        path = "_all.primaries.indexing.index_total"
        found = self._elasticsearch.indices.stats(index=self._pattern, metric="indexing", filter_path=path)
        return int(found.get("_all", {}).get("primaries", {}).get("indexing", {}).get("index_total", 0))

    def documents(self) -> int:
        """Those that a search would find from now on."""
        self._elasticsearch.indices.refresh(index=self._pattern)
        return int(self._elasticsearch.count(index=self._pattern)["count"])
