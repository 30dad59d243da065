"""What a worker leaves on disk for its successor, its parent and `mare ledger`.

<home>/state/gateway/<number>/ledger.slots    counters and gauges as JSON, every 50 ms; see slots.py
                              sensors.ndjson  what is known of each sensor, every second or so
                              spool/          see spool.py
<home>/state/gateway.json                     all workers' ledgers in one, every second, by the parent
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from maredata.settings import Settings
from udp_server.sensors import Sensor
from udp_server.slots import Slots

log = logging.getLogger(__name__)


def workers_folder(settings: Settings) -> Path:
    return settings.home / "state" / "gateway"


class WorkerFiles:
    """The folder of one worker."""

    def __init__(self, settings: Settings, number: int) -> None:
        self.number = number
        self.folder = workers_folder(settings) / str(number)
        self.spool = self.folder / "spool"
        self.lock = self.folder / "lock"
        self._ledger = self.folder / "ledger.slots"
        self._slots = Slots(self._ledger)
        self._sensors = self.folder / "sensors.ndjson"

    def put_aside_what_is_unreadable(self) -> None:
        """For the worker itself, before it begins: it must not write over what somebody may want to look at."""
        for path, read in ((self._ledger, self._read_ledger), (self._sensors, self._read_sensors)):
            try:
                read()
            except ValueError:
                aside = path.with_suffix(f".broken-{int(time.time())}")
                path.replace(aside)
                log.error("a file was unreadable, its counting begins anew", extra={"kept": str(aside)})

    def read_ledger(self) -> dict[str, Any]:
        """Empty where there is none yet, or none that is whole."""
        try:
            return self._read_ledger()
        except ValueError:
            return {}

    def write_ledger(self, content: dict[str, Any]) -> None:
        """Raises OSError."""
        self._slots.write(msgspec.json.encode(content))

    def read_sensors(self) -> list[Sensor]:
        """The same of the sensors."""
        try:
            return self._read_sensors()
        except ValueError:
            return []

    def write_sensors(self, survey: Iterable[list[Sensor]]) -> Iterator[None]:
        """Writes a part with each step, and replaces the file with the last one."""
        draft = self._sensors.with_name(f".{self._sensors.name}")
        encode = msgspec.json.Encoder().encode_lines
        with draft.open("wb") as file:
            for sensors in survey:
                file.write(encode(sensors))
                yield
        draft.replace(self._sensors)

    def _read_ledger(self) -> dict[str, Any]:
        written = self._slots.read()
        content: dict[str, Any] = json.loads(written) if written is not None else {}
        return content

    def _read_sensors(self) -> list[Sensor]:
        try:
            return msgspec.json.Decoder(Sensor).decode_lines(self._sensors.read_bytes())
        except FileNotFoundError:
            return []


def all_workers(settings: Settings) -> list[WorkerFiles]:
    """Of every worker that there ever was: their counters count on in the sums."""
    folder = workers_folder(settings)
    numbers = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal()) if folder.exists() else []
    return [WorkerFiles(settings, number) for number in numbers]
