"""Names that more than one part of the pipeline must agree on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

READINGS = "readings"  # topic, MariaDB table, and stem of the Elasticsearch indices
REJECTED = "readings.rejected"
EVENTS = "buoy.events"
METRICS = "pipeline.metrics"

READINGS_PATTERN = "readings-*"
READINGS_TEMPLATE = "readings"
# Stems of the monthly indices of the other topics, and names of their templates.
REJECTED_INDICES = "rejected"
EVENTS_INDICES = "events"
METRICS_INDICES = "pipeline"

MARIADB_SINK = "mariadb-readings"
ELASTICSEARCH_SINK = "elasticsearch-readings"
SINKS = (MARIADB_SINK, ELASTICSEARCH_SINK)  # those of readings: what they store must agree
REJECTED_SINK = "elasticsearch-rejected"
EVENTS_SINK = "elasticsearch-events"
METRICS_SINK = "elasticsearch-pipeline"
ALL_CONNECTORS: Mapping[str, str] = {  # with the topic that each reads
    MARIADB_SINK: READINGS,
    ELASTICSEARCH_SINK: READINGS,
    REJECTED_SINK: REJECTED,
    EVENTS_SINK: EVENTS,
    METRICS_SINK: METRICS,
}

FIRST_DEMO_SENSOR = 900_001  # emulated buoys have this sensor_id or a higher one; real ones never do


def dead_letters(connector: str) -> str:
    """The dead-letter topic of a connector."""
    return f"dlq.{connector}"


def consumer_group(connector: str) -> str:
    """The consumer group in which Connect commits a sink's offsets."""
    return f"connect-{connector}"


def index_of(micros: int) -> str:
    """The monthly index of a reading: by the month of the event, so that late data finds its place."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("readings-%Y.%m")
