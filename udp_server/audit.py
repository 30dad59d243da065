"""The accepted log: for tests and audits, which reading was accepted, one by one."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path

from maredata.decoder import Decoder
from maredata.schema import Schema
from udp_server.check import Rejection
from udp_server.intake import Done, Outlet
from udp_server.message import Messages
from udp_server.receive import Address

log = logging.getLogger(__name__)


class Audit:
    """Stands before another outlet, and appends `sensor_id,seq,micros` of each accepted reading to a file.

    Several workers append to one file, so each writes whole lines at once.
    """

    def __init__(self, outlet: Outlet, schema: Schema, path: Path) -> None:
        self._outlet = outlet
        self.use(schema)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._lines: list[str] = []

    def use(self, schema: Schema) -> None:
        """Reads accepted lines by this schema, which knows at least what an earlier one did."""
        self._decode = Decoder(schema).decode

    def publish(self, messages: Messages, done: Done | None) -> None:
        self._outlet.publish(messages, partial(self._heard, messages, done))

    def keep(self, rejections: list[tuple[Rejection, Address]], received: int) -> None:
        self._outlet.keep(rejections, received)

    def write(self) -> None:
        lines, self._lines = self._lines, []
        try:
            os.write(self._file, "".join(lines).encode("ascii"))
        except OSError as error:
            log.error("the accepted log can't be written", extra={"error": str(error)})

    def close(self) -> None:
        self.write()
        os.close(self._file)

    def _heard(self, messages: Messages, done: Done | None, accepted: bool) -> None:
        if accepted:
            for reading in map(self._decode, messages.values):
                seq = reading.values.get("seq")
                self._lines.append(f"{reading.sensor_id},{'' if seq is None else seq},{reading.micros}\n")
        if done is not None:
            done(accepted)
