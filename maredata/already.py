"""What a replay asks before it publishes: has the sink caught up, and which readings does its store have already?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import groupby
from time import monotonic, sleep
from typing import Any

import mysql.connector
from elasticsearch import ApiError, Elasticsearch, TransportError
from mysql.connector.abstracts import MySQLConnectionAbstract

from maredata.errors import StoreError
from maredata.lag import sink_offsets
from maredata.names import MARIADB_SINK, READINGS, index_of
from maredata.reading import identity
from maredata.records import kafka_errors
from maredata.settings import Settings
from maredata.stores import connect_elasticsearch, connect_mariadb
from maredata.timestamps import format_timestamp

_STORED = 60.0  # seconds in which the sink must have stored what is in topic readings
_LOOK = 0.5  # seconds between two looks at its offsets
_LOOKUP = 500  # identities of one query
_NO_INDEX = "index_not_found_exception"  # no reading of that month is there yet

Identity = tuple[int, int]  # sensor_id, microseconds since 1970 UTC
Lookup = Callable[[Iterable[Identity]], set[Identity]]  # those of the identities that are there


def await_sink(settings: Settings, sink: str) -> None:
    """Until the sink has stored what is in topic `readings` now: what is on its way there would be overwritten.

    Raises StoreError after a minute, and where Kafka does not answer.
    """
    deadline = monotonic() + _STORED
    with kafka_errors(settings):
        ends = sink_offsets(settings).ends
        while behind := replace(sink_offsets(settings), ends=ends).lag()[sink]:
            if monotonic() > deadline:
                raise StoreError(
                    f"After {_STORED:g} s {sink} is still {behind:,} readings behind the topic, and a replay could"
                    " put older ones over them: look at `mare connect status`, or replay with --overwrite."
                )
            sleep(_LOOK)


@contextmanager
def open_lookup(settings: Settings, sink: str) -> Iterator[Lookup]:
    """A lookup in the store that the sink writes. Raises StoreError, also for what goes wrong while it is used."""
    with _in_mariadb(settings) if sink == MARIADB_SINK else _in_elasticsearch(settings) as ask:

        def lookup(identities: Iterable[Identity]) -> set[Identity]:
            wanted = sorted(identities)
            there: set[Identity] = set()
            for first in range(0, len(wanted), _LOOKUP):
                there.update(ask(wanted[first : first + _LOOKUP]))
            return there

        yield lookup


_Ask = Callable[[Sequence[Identity]], Iterable[Identity]]  # of sorted identities, and not none


@contextmanager
def _in_mariadb(settings: Settings) -> Iterator[_Ask]:
    try:
        with closing(connect_mariadb(settings)) as connection:
            yield lambda wanted: _rows(connection, wanted)
    except mysql.connector.Error as error:
        where = f"{settings.mariadb.host}:{settings.mariadb.port}"
        raise StoreError(
            f"MariaDB at {where} could not be asked ({error}): look at `mare status`, and start it with `mare up`."
        ) from None


def _rows(mariadb: MySQLConnectionAbstract, wanted: Sequence[Identity]) -> list[Identity]:
    conditions, bound = [], []
    for sensor_id, group in groupby(wanted, lambda identity: identity[0]):
        instants = [format_timestamp(micros) for _, micros in group]
        conditions.append(f"(`sensor_id` = %s AND `timestamp` IN ({','.join(['%s'] * len(instants))}))")
        bound += [sensor_id, *instants]
    cursor = mariadb.cursor()
    cursor.execute(
        "SELECT `sensor_id`, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', `timestamp`)"  # noqa: S608  # marks only
        f" FROM `{READINGS}` WHERE {' OR '.join(conditions)}",
        bound,
    )
    rows: list[Any] = cursor.fetchall()
    cursor.close()
    return rows


@contextmanager
def _in_elasticsearch(settings: Settings) -> Iterator[_Ask]:
    try:
        with connect_elasticsearch(settings) as elasticsearch:
            yield lambda wanted: _documents(elasticsearch, wanted)
    except (ApiError, TransportError) as error:
        raise StoreError(
            f"Elasticsearch at {settings.elasticsearch.url} could not be asked ({error}):"
            " look at `mare status`, and start it with `mare up`."
        ) from None


def _documents(elasticsearch: Elasticsearch, wanted: Sequence[Identity]) -> Iterator[Identity]:
    """Asked for by their _id, documents are found before a refresh makes them visible to a search."""
    docs = [{"_index": index_of(micros), "_id": identity(sensor_id, micros)} for sensor_id, micros in wanted]
    answers = elasticsearch.mget(docs=docs, source=False)["docs"]
    for asked, answer in zip(wanted, answers, strict=True):
        error = answer.get("error", {}).get("type", _NO_INDEX)
        if error != _NO_INDEX:
            raise StoreError(f"Elasticsearch could not look up {answer['_id']} ({error}): look at `mare status`.")
        if answer.get("found"):
            yield asked
