"""A Kafka of the benchmark's own, and the topics that receivers write to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError

from benchmarks import engines
from installs.engines import kafka
from maredata.errors import StoreError
from maredata.names import READINGS
from maredata.settings import Settings
from maredata.stores import kafka_admin, kafka_consumer
from maredata.topics import apply_topics, wanted_topics

_TOPIC_SECONDS = 30


@contextmanager
def running(settings: Settings, progress: Callable[[str], None]) -> Iterator[int]:
    """Kafka, empty, with the topics of ours; its pid. Afterwards it is stopped and its data removed.

    Raises:
        MachineError: this machine lacks something.
        EngineError: Kafka did not start.
    """
    with engines.running(settings, (kafka,), progress) as pids:
        apply_topics(settings, lambda _: None)
        yield pids["kafka"]


def fresh_topic(settings: Settings, name: str) -> None:
    """The topic, new and empty, with the partitions and the configuration of topic readings.

    Raises:
        StoreError: Kafka did not do so in time.
    """
    like = next(topic for topic in wanted_topics(settings) if topic.name == READINGS)
    # What a deleted topic held makes room for the next run at once.
    configs = {**like.config, "file.delete.delay.ms": "1000"}
    with kafka_admin(settings) as admin:
        if name in admin.list_topics():
            admin.delete_topics([name])
            _await(lambda: name not in admin.list_topics(), f"Topic {name} was not deleted")
        described = {"num_partitions": like.partitions, "replication_factor": 1, "configs": configs}
        _await(lambda: _created(admin, name, described), f"Topic {name} was not created")


def _created(admin: KafkaAdminClient, name: str, described: dict[str, object]) -> bool:
    try:
        admin.create_topics({name: described}, wait_for_metadata=True)
    except KafkaError:  # the one before it is still being deleted
        return False
    return True


def _await(condition: Callable[[], bool], trouble: str) -> None:
    deadline = time.monotonic() + _TOPIC_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise StoreError(f"{trouble} within {_TOPIC_SECONDS} s: the benchmark's Kafka is in trouble.")
        time.sleep(0.2)


class EndOffsets:
    """Counts a topic's records by its end offsets. Each topic is fresh, so they begin at 0."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._consumer = kafka_consumer(settings)
        self._partitions = [TopicPartition(topic, number) for number in range(settings.kafka.partitions)]

    def total(self) -> int:
        return sum(self._consumer.end_offsets(self._partitions).values())

    def close(self) -> None:
        self._consumer.close()
