"""Datagrams and lines taken apart: each line is checked, counted once, and handed on with the others of its batch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Protocol

from maredata.reading import Reading, Readings, Reason
from udp_server.admission import Admission
from udp_server.check import Checker, Rejection, lines_of
from udp_server.ledger import Ledger
from udp_server.message import Messages
from udp_server.receive import Address
from udp_server.sensors import Sensors
from udp_server.tcp import Overlong

Done = Callable[[bool], None]


class Outlet(Protocol):
    """Where lines go. Whoever implements it counts what becomes of them."""

    def publish(self, messages: Messages, done: Done | None) -> None:
        """Takes readings over. `done` hears, in the order of the calls, whether they were accepted."""

    def keep(self, rejections: list[tuple[Rejection, Address]], received: int) -> None:
        """Takes over copies of lines that were rejected."""


class Intake:
    """`checker` may be replaced between two batches, when the schema has changed."""

    def __init__(
        self, checker: Checker, ledger: Ledger, sensors: Sensors, outlet: Outlet, admission: Admission
    ) -> None:
        self.checker = checker
        self._ledger = ledger
        self._sensors = sensors
        self._outlet = outlet
        self._admission = admission

    def take_datagrams(self, payloads: list[bytes], sender: Callable[[int], Address], now: int) -> None:
        """Never raises for anything that is in a payload. `now` is in microseconds since 1970 UTC."""
        lines, numbers = payloads, None
        if self._admission.needed:
            numbers = self._admitted(payloads, sender)
            lines = [payloads[number] for number in numbers]
        if b"\n" in b"".join(lines):  # in one look at all of them
            parts = [lines_of(payload) for payload in lines]
            numbers = [number for number, part in zip(numbers or count(), parts, strict=False) for _ in part]
            lines = [line for part in parts for line in part]
        readings = self.checker.usual(lines, now) if lines else None
        if readings is None:
            readings = self._look_closely(lines, lambda at: sender(numbers[at] if numbers else at), now)
        self._hand_on(readings, now, None)

    def take_lines(self, lines: list[bytes], sender: Address, now: int, done: Done) -> None:
        """The same for lines of a stream. `done` hears whether they are all accepted, or rejected and counted."""
        refusal = self._admission.refuses(sender[0], len(lines)) if self._admission.needed else None
        if refusal is not None:
            self._refuse(refusal, len(lines))
            done(False)
            return
        self._hand_on(self._look_closely(lines, lambda _: sender, now), now, done)

    def _look_closely(self, lines: list[bytes], sender: Callable[[int], Address], now: int) -> Readings:
        """Line by line: those that are readings. The others are counted, and handed on as rejected."""
        found = Readings.none()
        rejections: list[tuple[Rejection, Address]] = []
        for number, line in enumerate(lines):
            outcome = self._check(line, now)
            if isinstance(outcome, Rejection):
                self._ledger.count_rejected(outcome.reason)
                rejections.append((outcome, sender(number)))
                continue
            found.add(outcome)
            if not outcome.usual:
                self._count_unusual(outcome)
        self._ledger.lines += len(rejections)
        if rejections:
            self._outlet.keep(rejections, now)
        return found

    def _check(self, line: bytes, now: int) -> Reading | Rejection:
        if isinstance(line, Overlong):
            # Plain bytes: the spool, which may hold the copy for a while, can't store an Overlong.
            return Rejection(bytes(line), Reason.TOO_LONG, f"the line goes on behind these {len(line)} bytes")
        return self.checker.check(line, now)

    def _hand_on(self, readings: Readings, now: int, done: Done | None) -> None:
        self._ledger.lines += len(readings.lines)
        if readings.lines or done is not None:
            self._outlet.publish(Messages(self._sensors.observe(readings, now), readings.lines), done)

    def _count_unusual(self, reading: Reading) -> None:
        if reading.unknown:
            self._ledger.count_unknown(reading.unknown)
        self._ledger.implausible.update(self.checker.implausible(reading))

    def _admitted(self, payloads: list[bytes], sender: Callable[[int], Address]) -> list[int]:
        """Which of them may come in; the others are counted."""
        admitted = []
        for number, payload in enumerate(payloads):
            lines = len(lines_of(payload))
            refusal = self._admission.refuses(sender(number)[0], lines)
            if refusal is None:
                admitted.append(number)
            else:
                self._refuse(refusal, lines)
        return admitted

    def _refuse(self, refusal: str, lines: int) -> None:
        self._ledger.lines += lines
        self._ledger.readings.refused[refusal] += lines
