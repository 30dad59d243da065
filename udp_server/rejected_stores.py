"""How a replay of rejected lines publishes: as the gateway does, but not for ever."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaException, Producer

from maredata.errors import StoreError
from maredata.names import READINGS
from maredata.reading import Reading
from maredata.settings import Settings

_ACKNOWLEDGED = 30  # seconds


class Outlet:
    """Publishes readings as the gateway does, but gives up where that waits for ever: somebody sits before it."""

    def __init__(self, settings: Settings) -> None:
        from udp_server.publish import producer_configuration  # noqa: PLC0415  # to list lines takes no producer

        self._producer = Producer(
            {
                **producer_configuration(settings),
                "client.id": "mare-replay",
                "message.timeout.ms": _ACKNOWLEDGED * 1000,
                "log_level": 0,
            }
        )

    def publish(self, readings: Iterable[Reading]) -> None:
        """Returns when Kafka has acknowledged all of them. Raises StoreError."""
        failures: list[str] = []

        def heard(error: object, _message: object) -> None:
            if error is not None:
                failures.append(str(error))

        try:
            for reading in readings:
                self._producer.produce(READINGS, reading.line, reading.key, on_delivery=heard)
            left = self._producer.flush(_ACKNOWLEDGED + 5)
        except (BufferError, KafkaException) as error:
            failures.append(str(error))
            left = 0
        if failures or left:
            raise StoreError(
                f"Kafka did not acknowledge all readings ({failures[0] if failures else f'{left} without an answer'}):"
                " look at `mare status`, and replay again, which does no harm."
            )
