"""What was accepted and what is stored, identity by identity: the balance of one fault."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elasticsearch.helpers import scan

from maredata.names import READINGS, READINGS_PATTERN
from maredata.settings import Settings
from maredata.stores import connect_elasticsearch, connect_mariadb

Identity = tuple[int, int]  # sensor_id, microseconds since 1970

_PAGE = 10_000


@dataclass(frozen=True)
class Balance:
    """Readings of one fault. `mariadb` and `elasticsearch` are different identities that each has.

    `lost` are accepted ones that a store lacks: those of the accepted log by name, or, if it is more, the ledger's
    accepted less what the store has. `duplicated` are rows and documents beyond one for each identity.
    """

    accepted: int
    mariadb: int
    elasticsearch: int
    lost: int
    duplicated: int


def balance(
    accepted: int, logged: Iterable[Identity], mariadb: Collection[Identity], elasticsearch: Collection[Identity]
) -> Balance:
    """`accepted` is what the ledger says, `logged` what the accepted log names."""
    named, rows, documents = set(logged), set(mariadb), set(elasticsearch)
    by_name = len(named - (rows & documents))
    by_count = accepted - min(len(rows), len(documents))
    return Balance(
        accepted=accepted,
        mariadb=len(rows),
        elasticsearch=len(documents),
        lost=max(by_name, by_count),
        duplicated=len(mariadb) - len(rows) + len(elasticsearch) - len(documents),
    )


def logged(path: Path, sensors: range) -> list[Identity]:
    """Of those sensors, what a gateway's accepted log has; a last line without an end was not written whole."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text("ascii").splitlines(keepends=True):
        sensor, _, micros = line.split(",") if line.endswith("\n") else ("-1", "", "0")
        if int(sensor) in sensors:
            found.append((int(sensor), int(micros)))
    return found


def rows(settings: Settings, sensors: range) -> list[Identity]:
    """Of those sensors, what MariaDB has."""
    with connect_mariadb(settings) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT sensor_id, CAST(UNIX_TIMESTAMP(`timestamp`) * 1000000 AS SIGNED) FROM {READINGS}"
            " WHERE sensor_id BETWEEN %s AND %s",
            (sensors[0], sensors[-1]),
        )
        fetched: list[Any] = cursor.fetchall()
    return [(int(sensor), int(micros)) for sensor, micros in fetched]


def documents(settings: Settings, sensors: range) -> list[Identity]:
    """Of those sensors, what Elasticsearch has, by `_id`; twice where two indices have it."""
    query = {"query": {"range": {"sensor_id": {"gte": sensors[0], "lte": sensors[-1]}}}}
    with connect_elasticsearch(settings) as client:
        client.indices.refresh(index=READINGS_PATTERN)
        found = [
            hit["_id"].rpartition("-")
            for hit in scan(client, index=READINGS_PATTERN, query=query, size=_PAGE, _source=False)
        ]
    return [(int(sensor), int(micros)) for sensor, _, micros in found]
