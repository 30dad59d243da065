"""The two stores as analysts ask them: a question with its parameters in, an answer in one form out.

Also what the load tests' users ask with: under gevent's monkey patching neither client blocks the other greenlets,
mysql-connector-python in its pure Python form, which is chosen here for everybody alike.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol, Self

import msgspec
from elasticsearch import Elasticsearch, JsonSerializer

from benchmarks.analytics_profile import parts
from benchmarks.questions import Query, Question
from benchmarks.questions_answers import Answer
from maredata.errors import StoreError
from maredata.names import READINGS_PATTERN
from maredata.settings import Settings
from maredata.stores import connect_elasticsearch, connect_mariadb

MARIADB, ELASTICSEARCH = STORES = ("mariadb", "elasticsearch")
_LONGEST_SECONDS = 600  # a question over all readings, from disk, beside nine others


class Store(Protocol):
    """One client with one connection; not for two threads at a time."""

    def ask(self, question: Question, query: Query) -> Answer: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class AskMariaDB:
    def __init__(self, settings: Settings) -> None:
        self._connection = connect_mariadb(settings, use_pure=True)

    def ask(self, question: Question, query: Query) -> Answer:
        return question.of_rows(self.rows(query.sql, query.bound))

    def explain(self, query: Query) -> list[dict[str, Any]]:
        """MariaDB's plan, a row for each table that it reads."""
        with self._connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {query.sql}", query.bound)
            rows: list[Any] = cursor.fetchall()
            return [dict(zip([column[0] for column in cursor.description or ()], row, strict=True)) for row in rows]

    def rows(self, sql: str, bound: tuple[Any, ...] = ()) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, bound)
            return list(cursor.fetchall()) if cursor.description else []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()


class _QuickSerializer(JsonSerializer):
    """Answers with many groups are decoded as MariaDB's are: Python's own json would take a third of their time."""

    def json_loads(self, data: bytes) -> Any:
        return msgspec.json.decode(data)


class AskElasticsearch:
    def __init__(self, settings: Settings) -> None:
        self.client: Elasticsearch = connect_elasticsearch(
            settings, request_timeout=_LONGEST_SECONDS, serializer=_QuickSerializer()
        )

    def ask(self, question: Question, query: Query) -> Answer:
        """Computed each time: its request cache is left out. Raises StoreError where a shard did not answer."""
        response = self.client.search(index=READINGS_PATTERN, request_cache=False, **query.body).body
        if response["timed_out"] or response["_shards"]["failed"]:
            raise StoreError(f"Elasticsearch answered “{question.name}” only in part: look at its log.")
        return question.of_response(response)

    def profile(self, query: Query) -> dict[str, float]:
        """Seconds of each part of one search; its profiler makes it slower."""
        response = self.client.search(index=READINGS_PATTERN, request_cache=False, profile=True, **query.body).body
        return parts(response["profile"]["shards"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()


def client_of(store: str, settings: Settings) -> Store:
    return AskMariaDB(settings) if store == MARIADB else AskElasticsearch(settings)
