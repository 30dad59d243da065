"""How far the sinks are behind: what topics hold, less what each sink has committed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec

from maredata.names import ALL_CONNECTORS, READINGS, SINKS, consumer_group
from maredata.settings import Settings
from maredata.stores import kafka_admin


def end_offsets(settings: Settings, topics: Iterable[str]) -> dict[str, int]:
    """Messages ever written to each topic, over all partitions; a topic that is not there yet is left out."""
    with kafka_admin(settings) as admin:
        found = dict.fromkeys(_existing(admin, topics), 0)
        for partition, offset in _offsets(admin, found, OffsetSpec.LATEST).items():
            found[partition.topic] += offset
    return found


@dataclass(frozen=True)
class SinkOffsets:
    """Of one topic, by partition: where it ends, and how far each sink has committed."""

    ends: dict[int, int]
    committed: dict[str, dict[int, int]]  # by sink; has every partition that `ends` has

    def lag(self) -> dict[str, int]:
        """Messages that each sink has still to store."""
        return {
            sink: sum(max(0, end - offsets[partition]) for partition, end in self.ends.items())
            for sink, offsets in self.committed.items()
        }


def sink_offsets(settings: Settings) -> SinkOffsets:
    """Of topic readings and its sinks.

    Raises kafka.errors.KafkaError where Kafka does not answer, after up to 8 s.
    """
    with kafka_admin(settings) as admin:
        return _sink_offsets(admin, READINGS, SINKS)


def sink_lag(settings: Settings) -> dict[str, int]:
    """Readings that each sink has still to store: those in the topic behind its committed offsets."""
    return sink_offsets(settings).lag()


def topic_lag(settings: Settings, topic: str, sink: str) -> int:
    """Messages of any topic that one sink of it has still to store; 0 where there is no such topic."""
    with kafka_admin(settings) as admin:
        return _sink_offsets(admin, topic, [sink]).lag()[sink]


def connector_lag(settings: Settings) -> dict[str, int]:
    """Messages that each connector of ours has still to store, whatever its topic."""
    lag: dict[str, int] = {}
    with kafka_admin(settings) as admin:
        for topic in dict.fromkeys(ALL_CONNECTORS.values()):
            lag |= _sink_offsets(admin, topic, [name for name, read in ALL_CONNECTORS.items() if read == topic]).lag()
    return lag


def group_members(settings: Settings, group: str) -> int:
    """Consumers that are in a consumer group now; one that stopped properly left it."""
    with kafka_admin(settings) as admin:
        return len(admin.describe_groups([group])[group]["members"])


def _sink_offsets(admin: KafkaAdminClient, topic: str, sinks: Sequence[str]) -> SinkOffsets:
    topics = _existing(admin, [topic])
    groups = admin.list_group_offsets({consumer_group(sink): None for sink in sinks})
    first = _offsets(admin, topics, OffsetSpec.EARLIEST)
    ends = _offsets(admin, topics, OffsetSpec.LATEST)
    committed: dict[str, dict[int, int]] = {sink: {} for sink in sinks}
    for sink in sinks:
        offsets = groups.get(consumer_group(sink), {})
        for partition in ends:
            # Without a commit a sink begins at the topic's first message, as it does behind retention.
            known = partition in offsets and offsets[partition].offset >= 0
            begin = max(offsets[partition].offset, first[partition]) if known else first[partition]
            committed[sink][partition.partition] = begin
    return SinkOffsets({partition.partition: end for partition, end in ends.items()}, committed)


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
