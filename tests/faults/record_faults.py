"""What comes in is wrong: a clock that jumps, a record that is no reading."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Producer

from maredata.names import READINGS
from tests.faults.matrix import Fault
from tests.faults.system import RealSystem
from tests.waiting import await_true

_HOUR = 3600.0
_DAY = 24 * _HOUR
_NOTICED = 500  # readings
_POISON = b'{"timestamp": "2024-01-21 10:06:04.095931", "sensor_id": "no number", "temper'


class ClockJump(Fault[RealSystem]):
    """Buoys whose clock goes ahead, further than is believed, and back; then it is right again."""

    name = "clock-jump"
    description = "the buoys' clock jumps 12 hours ahead, 3 days ahead, and 400 days back"

    def inflict(self, system: RealSystem) -> None:
        self._seen: list[str] = []
        for clock, column in ((12 * _HOUR, "clock_ahead"), (3 * _DAY, "too_far_ahead"), (-400 * _DAY, "late")):
            self._seen.append(f"{_jump(system, clock, column):,} {column.replace('_', ' ')}")

    def happened(self, _system: RealSystem) -> str:
        assert len(self._seen) == 3, self._seen
        return "the gateway counted " + ", ".join(self._seen)

    def heal(self, system: RealSystem) -> None:
        system.load.off()
        system.load.on()


def _jump(system: RealSystem, clock: float, column: str) -> int:
    """The clock jumps, and the gateway notices; how many readings it has counted for it."""
    before = _counted(system.ledger(), column)
    system.load.off()
    system.load.on(clock)
    await_true(lambda: _counted(system.ledger(), column) > before + _NOTICED, what=f"the gateway notices: {column}")
    return _counted(system.ledger(), column) - before


def _counted(ledger: dict[str, Any], column: str) -> int:
    return int(ledger["sensors"].get(column, 0) + ledger["rejected"].get(column, 0))


class Poison(Fault[RealSystem]):
    """A record that no sink can take, straight in the topic."""

    name = "poison"
    description = "a record that is no reading, in topic readings, for each sink to stumble over"

    def inflict(self, system: RealSystem) -> None:
        self._before = system.dead_letters()
        producer = Producer({"bootstrap.servers": system.settings.kafka.bootstrap})
        producer.produce(READINGS, key=b"poison", value=_POISON)
        assert producer.flush(30) == 0, "Kafka did not take the poison"

    def happened(self, system: RealSystem) -> str:
        def letters() -> dict[str, int]:
            now = system.dead_letters()
            return {sink: now[sink] - before for sink, before in self._before.items()}

        await_true(lambda: all(letters().values()), what="a dead letter of each sink")
        return "dead letters: " + ", ".join(f"{sink} {count}" for sink, count in letters().items())
