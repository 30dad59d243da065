"""What a replay of rejected lines asks of MariaDB and of Kafka."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import groupby
from time import monotonic, sleep
from typing import Any

import mysql.connector
from confluent_kafka import KafkaException, Producer
from mysql.connector.abstracts import MySQLConnectionAbstract

from maredata.errors import StoreError
from maredata.lag import sink_offsets
from maredata.names import MARIADB_SINK, READINGS
from maredata.reading import Reading, format_timestamp
from maredata.settings import Settings
from maredata.stores import connect_mariadb
from udp_server.rejected_topic import kafka_errors

_STORED = 60.0  # seconds in which MariaDB's sink must have stored what is in topic readings
_LOOK = 0.5  # seconds between two looks at its offsets
_ACKNOWLEDGED = 30  # seconds
_LOOKUP = 500  # identities of one query

Identity = tuple[int, int]  # sensor_id, microseconds since 1970


def await_mariadb(settings: Settings) -> None:
    """Until MariaDB has what is in topic `readings` now: what is there and not stored yet would be overwritten.

    Raises StoreError after a minute, and where Kafka does not answer.
    """
    deadline = monotonic() + _STORED
    with kafka_errors(settings):
        ends = sink_offsets(settings).ends
        while behind := replace(sink_offsets(settings), ends=ends).lag()[MARIADB_SINK]:
            if monotonic() > deadline:
                raise StoreError(
                    f"After {_STORED:g} s MariaDB is still {behind:,} readings behind the topic, and a replay could"
                    " put older ones over them: look at `mare connect status`, or replay with --overwrite."
                )
            sleep(_LOOK)


@contextmanager
def open_mariadb(settings: Settings) -> Iterator[MySQLConnectionAbstract]:
    """Raises StoreError, also for what goes wrong while it is used."""
    try:
        with closing(connect_mariadb(settings)) as connection:
            yield connection
    except mysql.connector.Error as error:
        where = f"{settings.mariadb.host}:{settings.mariadb.port}"
        raise StoreError(
            f"MariaDB at {where} could not be asked ({error}): look at `mare status`, and start it with `mare up`."
        ) from None


def stored(mariadb: MySQLConnectionAbstract, identities: Iterable[Identity]) -> set[Identity]:
    """Those of the identities that MariaDB has."""
    wanted = sorted(identities)
    there: set[Identity] = set()
    for first in range(0, len(wanted), _LOOKUP):
        there.update(_lookup(mariadb, wanted[first : first + _LOOKUP]))
    return there


def _lookup(mariadb: MySQLConnectionAbstract, wanted: Sequence[Identity]) -> list[Identity]:
    """`wanted` is sorted, and not empty."""
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


class Outlet:
    """Publishes readings as the gateway does, but gives up where that waits for ever: somebody sits before it."""

    def __init__(self, settings: Settings) -> None:
        from udp_server.publish import producer_configuration  # noqa: PLC0415  # to list lines takes no producer

        self._producer = Producer(
            {
                **producer_configuration(settings),
                "client.id": "mare-replay",
                "message.timeout.ms": _ACKNOWLEDGED * 1000,
                "log_level": 0,
            }
        )

    def publish(self, readings: Iterable[Reading]) -> None:
        """Returns when Kafka has acknowledged all of them. Raises StoreError."""
        failures: list[str] = []

        def heard(error: object, _message: object) -> None:
            if error is not None:
                failures.append(str(error))

        try:
            for reading in readings:
                self._producer.produce(READINGS, reading.line, reading.key, on_delivery=heard)
            left = self._producer.flush(_ACKNOWLEDGED + 5)
        except (BufferError, KafkaException) as error:
            failures.append(str(error))
            left = 0
        if failures or left:
            raise StoreError(
                f"Kafka did not acknowledge all readings ({failures[0] if failures else f'{left} without an answer'}):"
                " look at `mare status`, and replay again, which does no harm."
            )
