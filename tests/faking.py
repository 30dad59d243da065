"""Stand-ins for engines' clients that more than one unit test needs."""

from __future__ import annotations

from typing import Any

import mysql.connector
from kafka import TopicPartition

from maredata.timestamps import parse_timestamp

Identity = tuple[int, int]


class FakeConsumer:
    """Stands in for kafka-python's consumer of a topic's one partition; every other poll brings nothing."""

    def __init__(self, records: list[Any], first: int = 0, topic: str = "readings.rejected") -> None:
        self.records = records
        self.first = first  # what is older, retention took
        self.partitions: dict[str, set[int]] = {topic: {0}}  # of every topic that there is
        self.silent = False
        self.closed = False
        self.polled: list[int] = []  # offsets
        self._topic = topic
        self._position = 0
        self._polls = 0

    def topics(self) -> set[str]:
        return set(self.partitions)

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self.partitions.get(topic)

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert partitions == [TopicPartition(self._topic, 0)]

    def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.records[-1].offset + 1 if self.records else self.first)

    def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.first)

    def offsets_for_times(self, wanted: dict[TopicPartition, int]) -> dict[TopicPartition, Any]:
        return {
            partition: next((one for one in self.records if one.timestamp >= at), None)
            for partition, at in wanted.items()
        }

    def seek(self, _partition: TopicPartition, offset: int) -> None:
        self._position = max(self.first, offset)

    def position(self, _partition: TopicPartition) -> int:
        return self._position

    def poll(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        assert timeout_ms
        self._polls += 1
        if self.silent or self._polls % 2:
            return {}
        # It gives what it has fetched, also from behind what was asked for.
        partition = TopicPartition(self._topic, 0)
        found = [one for one in self.records if one.offset >= self._position][: min(max_records, 4)]
        self.polled += [one.offset for one in found]
        self._position = found[-1].offset + 1 if found else self.end_offsets([partition])[partition]
        return {partition: found}

    def close(self) -> None:
        self.closed = True


class FakeMariaDB:
    """Stands in for a session whose only question is which of the identities named are there."""

    def __init__(self) -> None:
        self.there: set[Identity] = set()
        self.asked: list[int] = []  # how many identities at once
        self.error: mysql.connector.Error | None = None
        self._rows: list[Identity] = []

    def cursor(self) -> FakeMariaDB:
        return self

    def execute(self, _sql: str, bound: list[Any]) -> None:
        if self.error is not None:
            raise self.error
        named, sensor_id = set(), 0
        for value in bound:
            if isinstance(value, int):
                sensor_id = value
            else:
                named.add((sensor_id, parse_timestamp(value)))
        self.asked.append(len(named))
        self._rows = sorted(named & self.there)

    def fetchall(self) -> list[Identity]:
        return self._rows

    def close(self) -> None:
        pass
