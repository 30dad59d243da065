"""The documents of a job as they are stored: their sums, their sources, and careful changes of single ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import msgspec
from elastic_transport import Serializer
from elasticsearch import ApiError, TransportError
from elasticsearch import Elasticsearch as Client

from extraction.checking.parts import DAY, Days, Group, Query
from extraction.checking.summaries import Series, Summary, aggregations, from_bucket
from extraction.layout import Layout
from extraction.spool import chunks
from extraction.target import index_pattern
from maredata.errors import StoreError
from maredata.settings import Settings

_PAGE = 2_000  # documents of one answer: some have texts of many kilobytes
_WINDOW = 10_000  # documents of an answer at most: one `_id` can be in many indices
_SUMMED = 32  # parts of one request
_GROUPS = 2_000  # of one answer
_KEEP = "10m"
_NOT_THERE, _CONFLICT, _UNAVAILABLE = 404, 409, 503
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Stored:
    """A document: `source` is its JSON text, `version` that of this state of it."""

    index: str
    id: str
    source: bytes
    version: int


class _Hit(msgspec.Struct):
    index: str = msgspec.field(name="_index")
    id: str = msgspec.field(name="_id")
    source: msgspec.Raw = msgspec.field(name="_source")
    version: int = msgspec.field(name="_version")
    sort: list[Any] = []


class _Hits(msgspec.Struct):
    hits: list[_Hit]


class _Shards(msgspec.Struct):
    failed: int = 0


class _Answer(msgspec.Struct):
    """Of a search. One that failed altogether has no hits."""

    hits: _Hits | None = None
    timed_out: bool = False
    shards: _Shards = msgspec.field(name="_shards", default_factory=_Shards)
    aggregations: dict[str, Any] = {}


class _Totals(msgspec.Struct):
    value: int


class _Counted(msgspec.Struct):
    total: _Totals


class _Summed(msgspec.Struct):
    """One search's answer of several."""

    hits: _Counted | None = None
    timed_out: bool = False
    shards: _Shards = msgspec.field(name="_shards", default_factory=_Shards)
    aggregations: dict[str, Any] = {}
    error: Any = None


class _Bytes(Serializer):
    """Leaves answers as they came: the client would read every number of every document as a double."""

    mimetype = "application/json"

    def dumps(self, data: Any) -> bytes:
        return data if isinstance(data, bytes) else msgspec.json.encode(data)

    def loads(self, data: bytes) -> bytes:
        return data


class StoredDocuments:
    """Reads and changes the documents in a job's indices."""

    def __init__(self, settings: Settings, layout: Layout) -> None:
        chosen = settings.elasticsearch
        self._url, self._layout, self.pattern = chosen.url, layout, index_pattern(layout)
        auth = (chosen.user, chosen.password) if chosen.user else None
        # Sums over ten million documents take longer than a search may.
        self._client = Client(chosen.url, basic_auth=auth, request_timeout=600, serializer=_Bytes())

    def __enter__(self) -> StoredDocuments:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def types(self) -> dict[str, str]:
        """The type that each field has in all of the indices. Raises StoreError where there is no index."""
        with self._errors():
            answer = self._client.options(ignore_status=_NOT_THERE).indices.get_mapping(index=self.pattern)
        if answer.meta.status == _NOT_THERE:
            raise StoreError(
                f"There is no index {self.pattern} yet: `mare extract run` of job {self._layout.job.name} makes it."
            )
        found: dict[str, set[str]] = {}
        indices = msgspec.json.decode(answer.body)
        for index in indices.values():
            properties = index["mappings"].get("properties", {})
            for field in self._layout.fields:
                found.setdefault(field.name, set()).add(properties.get(field.name, {}).get("type", ""))
        return {name: types.pop() for name, types in found.items() if len(types) == 1}

    def refresh(self) -> None:
        """Makes everything that was written visible to searches."""
        with self._errors():
            self._client.indices.refresh(index=self.pattern)
        self._await_shards()

    def count(self, query: Query) -> int:
        """How many documents a query finds."""
        return next(self.summaries([query], ())).rows

    def summaries(self, queries: Iterable[Query], series: Sequence[Series]) -> Iterator[Summary]:
        """The sums of each query's documents."""
        aggs = aggregations(series)
        for some in chunks(queries, _SUMMED):
            searches: list[Query] = []
            for query in some:
                searches += [{}, {"size": 0, "track_total_hits": True, "query": query, "aggs": aggs}]
            for found in self._searches(searches):
                assert found.hits is not None  # noqa: S101  # _searches saw to it
                yield from_bucket(series, found.hits.total.value, found.aggregations)

    def groups(self, days: Days, query: Query, series: Sequence[Series]) -> Iterator[tuple[Group, Summary]]:
        """The sums of each group, sorted, None first."""
        composite: dict[str, Any] = {"size": _GROUPS, "sources": days.sources}
        aggs = {"groups": {"composite": composite, "aggs": aggregations(series)}}
        while True:
            found = self._search({"size": 0, "query": query, "track_total_hits": False, "aggs": aggs})
            groups = found.aggregations.get("groups", {"buckets": []})
            for bucket in groups["buckets"]:
                day = bucket["key"]["day"]
                group = Group(bucket["key"].get("first"), None if day is None else day // DAY)
                yield group, from_bucket(series, bucket["doc_count"], bucket)
            if "after_key" not in groups:
                return
            composite["after"] = groups["after_key"]

    def documents(self, queries: Iterable[Query]) -> Iterator[Stored]:
        """The documents that each query finds, in no order, as they are at one moment."""
        with self._point_in_time() as pit:
            for query in queries:
                body: dict[str, Any] = {"size": _PAGE, "sort": ["_shard_doc"], "version": True, "query": query}
                body |= {"track_total_hits": False, "pit": {"id": pit, "keep_alive": _KEEP}}
                while True:
                    hits = _hits(self._search(body))
                    yield from map(_stored, hits)
                    if len(hits) < _PAGE:
                        break
                    body["search_after"] = hits[-1].sort

    def lookup(self, names: Sequence[str]) -> list[Stored]:
        """The documents with these `_id`s, wherever they are."""
        found: list[Stored] = []
        for some in chunks(names, 500):
            hits = _hits(self._search({"query": {"ids": {"values": some}}, "size": _WINDOW, "version": True}))
            found += map(_stored, hits)
        return found

    def delete(self, documents: Iterable[Stored]) -> int:
        """Deletes those that are still as they were seen; how many it deleted."""
        deleted = 0
        for some in chunks(documents, _PAGE):
            operations = [
                {
                    "delete": {
                        "_index": document.index,
                        "_id": document.id,
                        "version": document.version,
                        "version_type": "external_gte",
                    }
                }
                for document in some
            ]
            with self._errors():
                items = msgspec.json.decode(self._client.bulk(operations=operations).body)["items"]
            for item in items:
                result = item["delete"]
                if "error" in result and result["status"] != _CONFLICT:
                    raise StoreError(f"Elasticsearch did not delete {result['_id']}: {result['error']['reason']}.")
                deleted += "error" not in result and result["status"] != _NOT_THERE
        return deleted

    def _search(self, body: Query) -> _Answer:
        index = None if "pit" in body else self.pattern
        for _ in range(_TRIES):
            with self._errors():
                answer = self._client.options(ignore_status=_UNAVAILABLE).search(index=index, **body)
            found = msgspec.json.decode(answer.body, type=_Answer)
            # A shard that could not answer would look like documents that are missing.
            if found.hits is not None and not found.timed_out and not found.shards.failed:
                return found
            self._await_shards()
        raise StoreError("Elasticsearch answered for a part of its shards only: look at `mare status`, try again.")

    def _searches(self, searches: Sequence[Query]) -> list[_Summed]:
        for _ in range(_TRIES):
            with self._errors():
                answer = self._client.msearch(index=self.pattern, searches=searches)
            found = msgspec.json.decode(msgspec.json.decode(answer.body, type=_Responses).responses, type=list[_Summed])
            if all(one.hits is not None and not one.timed_out and not one.shards.failed for one in found):
                return found
            self._await_shards()
        reason = next((one.error for one in found if one.error), "a part of its shards did not answer")
        raise StoreError(f"Elasticsearch refused to sum up ({reason}): look at `mare status`, or ask for --exact.")

    def _await_shards(self) -> None:
        """A new index can't be searched for a moment."""
        with self._errors():
            self._client.cluster.health(index=self.pattern, wait_for_status="yellow", timeout="30s")

    @contextmanager
    def _point_in_time(self) -> Iterator[str]:
        with self._errors():
            answer = self._client.open_point_in_time(index=self.pattern, keep_alive=_KEEP)
        pit: str = msgspec.json.decode(answer.body)["id"]
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
            raise StoreError(
                f"Elasticsearch refused a request ({_reason(error)}): look at `mare logs elasticsearch`."
            ) from None
        except TransportError as error:
            raise StoreError(
                f"Elasticsearch at {self._url} could not be asked ({error.message}): is it running there?"
            ) from None


class _Responses(msgspec.Struct):
    responses: msgspec.Raw


def _hits(answer: _Answer) -> list[_Hit]:
    return answer.hits.hits if answer.hits is not None else []


def _stored(hit: _Hit) -> Stored:
    return Stored(hit.index, hit.id, bytes(hit.source), hit.version)


def _reason(error: ApiError) -> str:
    try:
        found: Mapping[str, Any] = msgspec.json.decode(error.body)["error"]
        causes = found.get("root_cause") or [found]
        return f"{error.status_code}: {causes[0].get('reason')}"
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return str(error)
