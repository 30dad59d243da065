"""Kafka's topics: how many partitions each has, and how long and how much it keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import TopicAlreadyExistsError

from maredata.errors import SettingsError
from maredata.names import ALL_CONNECTORS, EVENTS, METRICS, READINGS, REJECTED, dead_letters
from maredata.settings import Settings
from maredata.stores import kafka_admin

_LARGEST_SEGMENT = 1 << 30
_SMALLEST_SEGMENT = 1 << 20


@dataclass(frozen=True)
class Topic:
    name: str
    partitions: int
    days: int
    bytes: int  # over all partitions

    @property
    def config(self) -> dict[str, str]:
        """What the topic is told. Kafka counts retention.bytes in each partition, and deletes whole segments."""
        share = self.bytes // self.partitions
        return {
            "retention.ms": str(self.days * 86_400_000),
            "retention.bytes": str(share),
            "segment.bytes": str(min(_LARGEST_SEGMENT, max(_SMALLEST_SEGMENT, share // 4))),
            # Retention counts from arrival: a reading replayed years later must not be deleted at once.
            "message.timestamp.type": "LogAppendTime",
        }


def wanted_topics(settings: Settings) -> list[Topic]:
    kafka = settings.kafka
    kept = (REJECTED, EVENTS, *map(dead_letters, ALL_CONNECTORS))
    return [
        Topic(READINGS, kafka.partitions, kafka.readings_days, kafka.readings_bytes),
        *(Topic(name, 1, kafka.refused_days, kafka.refused_bytes) for name in kept),
        Topic(METRICS, 1, kafka.readings_days, kafka.refused_bytes),
    ]


def refuse_other_partitions(settings: Settings) -> None:
    """Raises SettingsError where topic readings has another number of partitions than the settings say.

    More of them would send a sensor's readings to another partition than its earlier ones, out of order.
    """
    with kafka_admin(settings) as admin:
        if READINGS not in admin.list_topics():
            return
        there = len(admin.describe_topics([READINGS])[0]["partitions"])
    if there != settings.kafka.partitions:
        raise SettingsError(
            f"Topic {READINGS} has {there} partitions, and their number is fixed once it is created:"
            f" set MARE_KAFKA__PARTITIONS={there}."
        )


def apply_topics(settings: Settings, progress: Callable[[str], None]) -> None:
    """Creates the topics that are missing, and gives the others the retention that the settings say."""
    with kafka_admin(settings) as admin:
        there = set(admin.list_topics())
        for topic in wanted_topics(settings):
            if topic.name not in there:
                _create(admin, topic)
                progress(f"topic {topic.name}: created")
            elif _update(admin, topic):
                progress(f"topic {topic.name}: retention updated")


def _create(admin: KafkaAdminClient, topic: Topic) -> None:
    described = {"num_partitions": topic.partitions, "replication_factor": 1, "configs": topic.config}
    try:
        admin.create_topics({topic.name: described}, wait_for_metadata=True)
    except TopicAlreadyExistsError:  # someone else's apply was quicker
        _update(admin, topic)


def _update(admin: KafkaAdminClient, topic: Topic) -> bool:
    asked = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)], config_filter="all")
    there = asked["topic"][topic.name]
    changed = {key: value for key, value in topic.config.items() if there[key]["value"] != value}
    if changed:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, changed)])
    return bool(changed)
