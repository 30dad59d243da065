"""Clients of Kafka, MariaDB and Elasticsearch, each made in one way: UTC, bounded waits, no retries that hide."""

from __future__ import annotations

from typing import Any

import mysql.connector
from elasticsearch import Elasticsearch
from kafka import KafkaAdminClient, KafkaConsumer
from mysql.connector.abstracts import MySQLConnectionAbstract

from maredata.settings import Settings


def connect_mariadb(settings: Settings, **options: Any) -> MySQLConnectionAbstract:
    """A session in UTC with autocommit on. `options` go to mysql.connector.connect."""
    chosen = settings.mariadb
    connection = mysql.connector.connect(
        **{
            "host": chosen.host,
            "port": chosen.port,
            "user": chosen.user,
            "password": chosen.password,
            "database": chosen.database,
            "charset": "utf8mb4",
            # mysql-connector's default collation is one that MariaDB does not know.
            "collation": "utf8mb4_bin",
            "time_zone": "+00:00",
            "autocommit": True,
            "connection_timeout": 10,
            # TLS halves the reading speed, and on loopback it protects nothing.
            "ssl_disabled": chosen.host in ("127.0.0.1", "localhost", "::1"),
            **options,
        }
    )
    assert isinstance(connection, MySQLConnectionAbstract)  # noqa: S101  # not a pool: no pool options are given
    return connection


def connect_elasticsearch(settings: Settings, **options: Any) -> Elasticsearch:
    """`options` go to the client."""
    chosen = settings.elasticsearch
    auth = (chosen.user, chosen.password) if chosen.user else None
    return Elasticsearch(chosen.url, basic_auth=auth, **{"request_timeout": 30, **options})


def kafka_admin(settings: Settings) -> KafkaAdminClient:
    # By default it takes half a minute to say that Kafka is away, and `mare status` waits for it.
    return KafkaAdminClient(
        bootstrap_servers=settings.kafka.bootstrap,
        client_id="mare",
        bootstrap_timeout_ms=8_000,
        request_timeout_ms=15_000,
    )


def kafka_consumer(settings: Settings, **options: Any) -> KafkaConsumer:
    """A consumer without a group: it reads what it is assigned and commits nothing."""
    return KafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap,
        **{"enable_auto_commit": False, "auto_offset_reset": "earliest", **options},
    )
