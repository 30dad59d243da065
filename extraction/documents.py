"""The third side: Elasticsearch's indices `readings-*`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

from elasticsearch import ApiError, TransportError

from extraction.compare import (
    Bucket,
    Column,
    Document,
    Key,
    Range,
    columns_of,
    values_of_source,
)
from extraction.spool import chunks
from maredata.errors import StoreError
from maredata.names import READINGS_PATTERN, index_of
from maredata.reading import Refused, identity
from maredata.schema import FieldType, Schema
from maredata.settings import Settings
from maredata.stores import connect_elasticsearch
from maredata.timestamps import format_timestamp, parse_timestamp

_PAGE = 10_000  # documents of one answer: index.max_result_window
_RANGES = 100  # ranges of one query
_SLICE = 100_000  # documents of one query; each page of it walks over all of them
_KEEP = "10m"
_NOT_THERE = 404
_CONFLICT = 409
_UNAVAILABLE = 503
_TRIES = 3
# Elasticsearch stores longitude and latitude in 32 bits each, and its centroid is made of what it stored.
_PLACE_ERROR = 2e-7

Refusal = Callable[[Key, str], None]
Query = dict[str, Any]


class Stored(NamedTuple):
    """A document with what a careful writer must know of it."""

    document: Document
    source: dict[str, Any]
    seq_no: int
    primary_term: int


class Write(NamedTuple):
    """A document to be written: over `instead`, and only if nobody else changed that, or as a new one."""

    key: Key
    source: dict[str, Any]
    instead: Stored | None


class Elasticsearch:
    """Reads from a point in time, sorted by sensor and instant, some sensors at once."""

    def __init__(self, settings: Settings, schema: Schema) -> None:
        self._settings = settings
        self._columns = columns_of(schema)
        self._client = connect_elasticsearch(settings)
        # An aggregation over ten million documents takes longer than a search may.
        self._patient = self._client.options(request_timeout=600)

    def __enter__(self) -> Elasticsearch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def refresh(self) -> None:
        """Makes everything that was written visible to searches."""
        with self._errors():
            self._patient.indices.refresh(index=READINGS_PATTERN)
        self._await_shards()

    def rows(self, ranges: Sequence[Range]) -> Iterator[Document]:
        """The documents in these sorted ranges, sorted by identity."""
        with self._point_in_time() as pit:
            for query in self._queries(pit, ranges):
                for hit in self._scan(pit, query, [{"sensor_id": "asc"}, {"timestamp": "asc"}]):
                    sensor_id, nanos = hit["sort"][:2]
                    yield self._document(hit, (sensor_id, nanos // 1_000))

    def lookup(self, keys: Iterable[Key], ids: Iterable[str] = ()) -> dict[Key, list[Stored]]:
        """The documents of these identities, and those with these other `_id`s, by the identity they really have."""
        found: dict[Key, list[Stored]] = {}
        wanted = [*(identity(*key) for key in keys), *ids]
        for some in chunks(wanted, _PAGE // 2):
            body = {"query": {"ids": {"values": some}}, "size": _PAGE, "seq_no_primary_term": True}
            for hit in self._search(body)["hits"]["hits"]:
                document = self._document(hit, None)
                stored = Stored(document, hit["_source"], hit["_seq_no"], hit["_primary_term"])
                found.setdefault((document.sensor_id, document.micros), []).append(stored)
        return found

    def buckets(self, window: Range) -> Iterator[Bucket]:
        """Counts and sums of each sensor's hours, sorted."""
        sources = [
            {"sensor_id": {"terms": {"field": "sensor_id"}}},
            {"hour": {"date_histogram": {"field": "timestamp", "fixed_interval": "1h"}}},
        ]
        for found in self._composite(None, sources, _filter(window), _sums(self._columns)):
            yield _bucket(self._columns, found)

    def unidentified(self, limit: int) -> tuple[int, list[str]]:
        """Documents without a sensor or an instant: how many, and where the first ones are."""
        identified = {"bool": {"filter": [{"exists": {"field": "sensor_id"}}, {"exists": {"field": "timestamp"}}]}}
        body = {"query": {"bool": {"must_not": identified}}, "size": limit, "track_total_hits": True}
        hits = self._search({**body, "_source": False})["hits"]
        return hits["total"]["value"], [f"{hit['_index']}/{hit['_id']}" for hit in hits["hits"]]

    def write(self, writes: Sequence[Write], refused: Refusal) -> int:
        """Stores the documents in bulk; how many it stored. Where somebody else was faster, theirs stays."""
        stored = 0
        for some in chunks(writes, 1_000):
            operations: list[dict[str, Any]] = []
            for write in some:
                operations += [_action(write), write.source]
            with self._errors():
                items = self._patient.bulk(operations=operations)["items"]
            for write, item in zip(some, items, strict=True):
                result = next(iter(item.values()))
                if "error" in result and result["status"] != _CONFLICT:
                    refused(write.key, f"Elasticsearch: {result['error'].get('reason', result['error'])}")
                stored += "error" not in result
        return stored

    def delete_from(self, first_sensor_id: int) -> int:
        """Deletes the readings of this sensor and those above it, wherever they are."""
        self.refresh()
        query = {"range": {"sensor_id": {"gte": first_sensor_id}}}
        deleted = 0
        with self._point_in_time() as pit:
            for hits in chunks(self._scan(pit, query, ["_shard_doc"], source=False), 5_000):
                operations = [{"delete": {"_index": hit["_index"], "_id": hit["_id"]}} for hit in hits]
                with self._errors():
                    items = self._patient.bulk(operations=operations)["items"]
                for item in items:
                    result = item["delete"]
                    if "error" in result:
                        raise StoreError(f"Elasticsearch did not delete {result['_id']}: {result['error']['reason']}.")
                    deleted += result["status"] != _NOT_THERE
        self.refresh()
        return deleted

    def _document(self, hit: dict[str, Any], sorted_as: Key | None) -> Document:
        source = hit["_source"]
        key = _key_of(source)
        shown = sorted_as or key or (-1, -1)
        return Document(*shown, values_of_source(self._columns, source), hit["_id"], hit["_index"], key)

    def _queries(self, pit: str, ranges: Sequence[Range]) -> Iterator[Query]:
        for some in chunks(ranges, _RANGES):
            if some[0].sensor_id is not None:
                yield {"bool": {"should": [_filter(part) for part in some], "minimum_should_match": 1}}
                continue
            everything = _filter(some[0])
            for first, last in self._sensors(pit, everything):
                sensors = {"range": {"sensor_id": {"gte": first, "lte": last}}}
                yield {"bool": {"filter": [everything, sensors]}}

    def _sensors(self, pit: str, query: Query) -> Iterator[tuple[int, int]]:
        """Neighbouring sensors with no more documents together than one query should have."""
        first, last, count = None, None, 0
        sources = [{"sensor_id": {"terms": {"field": "sensor_id"}}}]
        for found in self._composite(pit, sources, query, {}):
            sensor_id = found["key"]["sensor_id"]
            if first is not None and last is not None and count + found["doc_count"] > _SLICE:
                yield first, last
                first, count = None, 0
            first = sensor_id if first is None else first
            last, count = sensor_id, count + found["doc_count"]
        if first is not None and last is not None:
            yield first, last

    def _scan(self, pit: str, query: Query, sort: list[Any], source: bool = True) -> Iterator[dict[str, Any]]:
        body: dict[str, Any] = {"size": _PAGE, "sort": sort, "_source": source, "track_total_hits": False}
        body |= {"pit": {"id": pit, "keep_alive": _KEEP}, "query": query}
        while True:
            hits = self._search(body)["hits"]["hits"]
            yield from hits
            if len(hits) < _PAGE:
                return
            body["search_after"] = hits[-1]["sort"]

    def _composite(self, pit: str | None, sources: list[Any], query: Query, sums: Query) -> Iterator[dict[str, Any]]:
        composite: dict[str, Any] = {"size": 5_000, "sources": sources}
        body: dict[str, Any] = {"size": 0, "query": query, "track_total_hits": False}
        body["aggs"] = {"groups": {"composite": composite, "aggs": sums}}
        if pit is not None:
            body["pit"] = {"id": pit, "keep_alive": _KEEP}
        while True:
            groups = self._search(body).get("aggregations", {}).get("groups", {"buckets": []})
            yield from groups["buckets"]
            if "after_key" not in groups:
                return
            composite["after"] = groups["after_key"]

    def _search(self, body: dict[str, Any]) -> Any:
        index = None if "pit" in body else READINGS_PATTERN
        for _ in range(_TRIES):
            with self._errors():
                answer = self._patient.options(ignore_status=_UNAVAILABLE).search(index=index, **body).body
            # A shard that could not answer would look like readings that are missing.
            if "hits" in answer and not answer["timed_out"] and not answer["_shards"]["failed"]:
                return answer
            self._await_shards()
        raise StoreError("Elasticsearch answered for a part of its shards only: look at `mare status`, try again.")

    def _await_shards(self) -> None:
        """The first reading of a month makes an index, and for a moment that can't be searched."""
        with self._errors():
            self._patient.cluster.health(index=READINGS_PATTERN, wait_for_status="yellow", timeout="30s")

    @contextmanager
    def _point_in_time(self) -> Iterator[str]:
        with self._errors():
            pit: str = self._client.open_point_in_time(index=READINGS_PATTERN, keep_alive=_KEEP)["id"]
        try:
            yield pit
        finally:
            with self._errors():
                self._client.options(ignore_status=_NOT_THERE).close_point_in_time(id=pit)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ApiError as error:
            raise StoreError(f"Elasticsearch refused a request ({error}): look at `mare logs elasticsearch`.") from None
        except TransportError as error:
            raise StoreError(
                f"Elasticsearch at {self._settings.elasticsearch.url} could not be asked ({error.message}):"
                " look at `mare status`, and start it with `mare up`."
            ) from None


def _key_of(source: dict[str, Any]) -> Key | None:
    sensor_id, timestamp = source.get("sensor_id"), source.get("timestamp")
    if not isinstance(sensor_id, int) or not isinstance(timestamp, str):
        return None
    try:
        return sensor_id, parse_timestamp(timestamp)
    except Refused:
        return None


def _filter(part: Range) -> Query:
    bounds = {"gte": part.since, "lt": part.until}
    instants = {name: format_timestamp(bound) for name, bound in bounds.items() if bound is not None}
    filters: list[Query] = [{"exists": {"field": "sensor_id"}}, {"exists": {"field": "timestamp"}}]
    if part.sensor_id is not None:
        filters = [{"term": {"sensor_id": part.sensor_id}}]
    if instants:
        filters.append({"range": {"timestamp": instants}})
    return {"bool": {"filter": filters}}


def _sums(columns: Sequence[Column]) -> Query:
    aggregations: Query = {}
    for column in columns:
        if column.part:
            aggregations[column.field] = {"geo_centroid": {"field": column.field}}
        elif column.kind is FieldType.TEXT:
            aggregations[column.field] = {"value_count": {"field": column.field}}
        else:
            aggregations[column.field] = {"stats": {"field": column.field}}
    return aggregations


def _bucket(columns: Sequence[Column], found: dict[str, Any]) -> Bucket:
    counts, sums, errors = [], [], []
    for column in columns:
        summed = found[column.field]
        count = summed["value"] if column.kind is FieldType.TEXT else summed["count"]
        total = summed["location"][column.part] * count if column.part and count else summed.get("sum", 0.0)
        counts.append(count)
        sums.append(float(total))
        errors.append(_PLACE_ERROR * count if column.part else 0.0)
    key = found["key"]
    hour = key["hour"] // 3_600_000
    return Bucket(key["sensor_id"], hour, found["doc_count"], tuple(counts), tuple(sums), tuple(errors))


def _action(write: Write) -> dict[str, Any]:
    if write.instead is None:
        return {"create": {"_index": index_of(write.key[1]), "_id": identity(*write.key)}}
    at = write.instead
    return {
        "index": {
            "_index": at.document.stored_in,
            "_id": at.document.id,
            "if_seq_no": at.seq_no,
            "if_primary_term": at.primary_term,
        }
    }
