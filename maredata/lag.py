"""How far the sinks are behind: what topics hold, less what each sink has committed."""

from __future__ import annotations

from collections.abc import Iterable

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec

from maredata.names import READINGS, SINKS, consumer_group
from maredata.settings import Settings
from maredata.stores import kafka_admin


def end_offsets(settings: Settings, topics: Iterable[str]) -> dict[str, int]:
    """Messages ever written to each topic, over all partitions; a topic that is not there yet is left out."""
    with kafka_admin(settings) as admin:
        found = dict.fromkeys(_existing(admin, topics), 0)
        for partition, offset in _offsets(admin, found, OffsetSpec.LATEST).items():
            found[partition.topic] += offset
    return found


def sink_lag(settings: Settings) -> dict[str, int]:
    """Readings that each sink has still to store: those in the topic behind its committed offsets."""
    with kafka_admin(settings) as admin:
        topics = _existing(admin, [READINGS])
        committed = admin.list_group_offsets({consumer_group(sink): None for sink in SINKS})
        first = _offsets(admin, topics, OffsetSpec.EARLIEST)
        ends = _offsets(admin, topics, OffsetSpec.LATEST)
    lag = dict.fromkeys(SINKS, 0)
    for sink in SINKS:
        offsets = committed.get(consumer_group(sink), {})
        for partition, end in ends.items():
            # Without a commit a sink begins at the topic's first message, as it does behind retention.
            known = partition in offsets and offsets[partition].offset >= 0
            begin = max(offsets[partition].offset, first[partition]) if known else first[partition]
            lag[sink] += max(0, end - begin)
    return lag


def group_members(settings: Settings, group: str) -> int:
    """Consumers that are in a consumer group now; one that stopped properly left it."""
    with kafka_admin(settings) as admin:
        return len(admin.describe_groups([group])[group]["members"])


def _existing(admin: KafkaAdminClient, topics: Iterable[str]) -> list[str]:
    there = set(admin.list_topics())
    return [topic for topic in topics if topic in there]


def _offsets(admin: KafkaAdminClient, topics: Iterable[str], spec: OffsetSpec) -> dict[TopicPartition, int]:
    wanted = list(topics)
    if not wanted:
        return {}
    partitions = [
        TopicPartition(topic["name"], partition["partition_index"])
        for topic in admin.describe_topics(wanted)
        for partition in topic["partitions"]
    ]
    found = admin.list_partition_offsets(dict.fromkeys(partitions, spec))
    return {partition: at.offset for partition, at in found.items()}
