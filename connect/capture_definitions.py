"""What a capture's two connectors are told: Debezium's source, and our sink with the transform to documents."""

from __future__ import annotations

import re
from dataclasses import dataclass

from connect.secrets import PASSWORD, secret_file
from maredata.names import dead_letters
from maredata.settings import Settings

_HEARTBEAT_MILLIS = 2_000
_KEEP_ALIVE_MILLIS = 5_000


@dataclass(frozen=True)
class Capture:
    """What is captured. `message_key` are the columns of the job's key where that is not the primary key."""

    job: str
    index: str
    host: str
    port: int
    encrypted: bool
    user: str
    password: str
    database: str
    table: str
    message_key: tuple[str, ...]
    replica_id: int
    layout: str  # what the sink's transform must know, as JSON


def source_name(job: str) -> str:
    return f"capture-{job}"


def sink_name(job: str) -> str:
    return f"capture-{job}-elasticsearch"


def topic_name(job: str) -> str:
    return f"legacy.{job}"


def source_definition(capture: Capture, settings: Settings) -> dict[str, str]:
    """The configuration of Debezium's connector; the password stands in a file that only the worker reads."""
    name = source_name(capture.job)
    table = f"{_pattern(capture.database)}\\.{_pattern(capture.table)}"
    definition = {
        "name": name,
        "connector.class": "io.debezium.connector.mariadb.MariaDbConnector",
        "tasks.max": "1",
        "database.hostname": capture.host,
        "database.port": str(capture.port),
        "database.user": capture.user,
        "database.password": f"${{file:{secret_file(settings, capture.job)}:{PASSWORD}}}",
        "database.ssl.mode": "trust" if capture.encrypted else "disable",
        "database.server.id": str(capture.replica_id),
        "topic.prefix": name,
        "database.include.list": _pattern(capture.database),
        "table.include.list": table,
        # From where the binary log is now on: the rows that are there are extraction's work.
        "snapshot.mode": "no_data",
        "snapshot.locking.mode": "none",
        "schema.history.internal.kafka.bootstrap.servers": settings.kafka.bootstrap,
        "schema.history.internal.kafka.topic": f"{name}.schema",
        # Another table's DDL must not be able to stop it.
        "schema.history.internal.store.only.captured.tables.ddl": "true",
        "include.schema.changes": "false",
        # It also commits where it is while nothing happens: the log's file could be gone before something does.
        "heartbeat.interval.ms": str(_HEARTBEAT_MILLIS),
        # A source that was restarted is found to be silent after one to two of these; by default after two minutes.
        "connect.keep.alive.interval.ms": str(_KEEP_ALIVE_MILLIS),
        "tombstones.on.delete": "false",
        # What the transform relies on.
        "decimal.handling.mode": "string",
        "binary.handling.mode": "base64",
        "bigint.unsigned.handling.mode": "precise",
        "time.precision.mode": "microseconds",
        "enable.time.adjuster": "false",
        "event.processing.failure.handling.mode": "fail",
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "key.converter.schemas.enable": "false",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "false",
        "transforms": "route",
        "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
        "transforms.route.regex": f"{re.escape(name)}\\..*",
        "transforms.route.replacement": topic_name(capture.job),
    }
    if capture.message_key:
        definition["message.key.columns"] = f"{table}:{','.join(capture.message_key)}"
    return definition


def sink_definition(capture: Capture) -> dict[str, str]:
    """The configuration of our sink, whose transform makes documents of changes."""
    name = sink_name(capture.job)
    converter = "org.apache.kafka.connect.converters.ByteArrayConverter"
    return {
        "name": name,
        "connector.class": "org.maredata.connect.elasticsearch.ElasticsearchSinkConnector",
        # Changes of one transaction can have one version: their order in the topic counts, and only one task keeps it.
        "tasks.max": "1",
        "topics": topic_name(capture.job),
        "key.converter": converter,
        "value.converter": converter,
        "header.converter": converter,
        "transforms": "row",
        "transforms.row.type": "org.maredata.connect.capture.RowDocument",
        "transforms.row.layout": capture.layout,
        "connection.url": "http://${env:MARE_ELASTICSEARCH__HOST}:${env:MARE_ELASTICSEARCH__PORT}",
        "connection.username": "${env:MARE_ELASTICSEARCH__USER}",
        "connection.password": "${env:MARE_ELASTICSEARCH__PASSWORD}",
        "connection.check": "false",
        "index": capture.index,
        "document.id": "{key}",
        "document.version": "header",
        "null.value": "delete",
        "errors.tolerance": "all",
        "errors.log.enable": "true",
        "errors.deadletterqueue.topic.name": dead_letters(name),
        "errors.deadletterqueue.topic.replication.factor": "1",
        "errors.deadletterqueue.context.headers.enable": "true",
        "consumer.override.max.poll.interval.ms": "60000",
        "consumer.override.session.timeout.ms": "10000",
        "consumer.override.heartbeat.interval.ms": "3000",
        "consumer.override.allow.auto.create.topics": "false",
    }


def _pattern(name: str) -> str:
    """A name as a regular expression that nothing else fits, without a comma, which would end it."""
    return "".join(char if char.isalnum() or char == "_" else f"\\x{{{ord(char):x}}}" for char in name)
