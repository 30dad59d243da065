"""How long a reading takes, by two clocks: the gateway's own histogram, and the broker's.

The histogram `mare_gateway_acknowledge_seconds` begins when a worker has read the datagram and ends with Kafka's
acknowledgement. The broker's clock, by contrast, is compared with the timestamp that the sender wrote: so the kernel's
queue is in it, and it can be measured of every receiver, to the millisecond.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from maredata.settings import Settings
from maredata.timestamps import parse_timestamp

HISTOGRAM = "mare_gateway_acknowledge_seconds"
_TIMESTAMP = re.compile(rb'"timestamp": "([^"]+)"')
_IDLE_SECONDS = 5.0


@dataclass(frozen=True)
class Quantile:
    """Seconds: the estimate, linear within its bucket as Prometheus does it, and the bucket's upper bound."""

    estimate: float
    at_most: float


def buckets(metrics: str) -> list[tuple[float, float]]:
    """(upper bound in seconds, readings up to it) of the histogram in the text of /metrics, in order."""
    samples = [
        (float(sample.labels["le"]), sample.value)
        for family in text_string_to_metric_families(metrics)
        if family.name == HISTOGRAM
        for sample in family.samples
        if sample.name == f"{HISTOGRAM}_bucket"
    ]
    return sorted(samples)


def quantile(share: float, of: list[tuple[float, float]]) -> Quantile | None:
    """None of an empty histogram. Above the last finite bound nothing better than infinity is known."""
    count = of[-1][1] if of else 0
    if not count:
        return None
    wanted = share * count
    lower, below = 0.0, 0.0
    for upper, up_to in of:
        if up_to >= wanted:
            inside = (wanted - below) / (up_to - below)
            return Quantile(lower + (upper - lower) * inside, upper)
        lower, below = upper, up_to
    return None


def appended(settings: Settings, topic: str) -> dict[str, Any]:
    """Milliseconds from the sender's timestamp to Kafka's LogAppendTime, of every record of the topic."""
    consumer = Consumer(
        {"bootstrap.servers": settings.kafka.bootstrap, "group.id": "benchmark", "enable.partition.eof": False}
    )
    partitions = [TopicPartition(topic, number, 0) for number in range(settings.kafka.partitions)]
    left = sum(consumer.get_watermark_offsets(partition, timeout=10)[1] for partition in partitions)
    consumer.assign(partitions)
    found: list[float] = []
    while left > 0 and (records := consumer.consume(min(left, 10_000), timeout=_IDLE_SECONDS)):
        left -= len(records)
        for record in records:
            stamp = _TIMESTAMP.search(record.value() or b"")
            if stamp is not None:
                found.append(record.timestamp()[1] - parse_timestamp(stamp[1].decode()) / 1000)
    consumer.close()
    found.sort()
    if not found:
        return {"records": 0}
    return {
        "records": len(found),
        "p50_ms": found[len(found) // 2],
        "p99_ms": found[min(len(found) - 1, int(0.99 * len(found)))],
        "max_ms": found[-1],
    }
