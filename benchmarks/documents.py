"""The readings that are stored in Elasticsearch by a benchmark, as lines and as ready-made bulk bodies."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from maredata.names import FIRST_DEMO_SENSOR, index_of
from maredata.reading import identity
from maredata.timestamps import format_timestamp

SENSORS = 1000
_BEGIN = 1_704_067_200_000_000  # 2024-01-01, in microseconds
_EVERY = 2_000_000  # microseconds from one reading of a sensor to its next


@dataclass(frozen=True, slots=True)
class Reading:
    """`line` is canonical: what the gateway would publish. `micros` counts from 1970 UTC.

    `offset` stands for Kafka's, which the sink makes the document's version; None where it has none.
    """

    sensor_id: int
    micros: int
    line: bytes
    offset: int | None = None

    @property
    def key(self) -> bytes:
        """Kafka's, as the gateway makes it."""
        return b"%d" % self.sensor_id


def readings(count: int) -> Iterator[Reading]:
    """The same ones each time, no identity twice; the sensors take turns, as in a topic that was filled live."""
    noise = random.Random(0).random  # noqa: S311  # weather needs no cryptography
    for number in range(count):
        sensor = FIRST_DEMO_SENSOR + number % SENSORS
        micros = _BEGIN + number // SENSORS * _EVERY + number * 1_000_003 % 1_000_000
        line = (
            f'{{"timestamp": "{format_timestamp(micros)}", "temperature": {10 + 20 * noise():.1f},'
            f' "humidity": {100 * noise():.2f}, "pressure": {990 + 30 * noise():.2f}, "sensor_id": {sensor},'
            f' "location": {{"lon": {3 + number % SENSORS / 1e4:.6f}, "lat": {42 + number % SENSORS / 1e4:.6f}}}}}'
        )
        yield Reading(sensor, micros, line.encode(), number)


def bulk_body(found: Iterable[Reading]) -> bytes:
    """Byte for byte what the sink plugin sends: an action with index, id and version, and the line as it is."""
    parts = []
    for reading in found:
        version = "" if reading.offset is None else f',"version":{reading.offset},"version_type":"external"'
        identifier = identity(reading.sensor_id, reading.micros)
        action = f'{{"index":{{"_index":"{index_of(reading.micros)}","_id":"{identifier}"{version}}}}}\n'
        parts += [action.encode(), reading.line, b"\n"]
    return b"".join(parts)


def batches(found: Iterator[Reading], size: int) -> Iterator[list[Reading]]:
    """`size` readings each; the last may be smaller."""
    while batch := list(islice(found, size)):
        yield batch
