"""Datagrams and lines taken apart: each line is checked, counted once, and handed on with the others of its batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from maredata.reading import Reading, Reason, Refused
from udp_server.admission import Admission
from udp_server.check import Checker, Rejection, lines_of
from udp_server.ledger import Ledger
from udp_server.message import Message
from udp_server.receive import Address
from udp_server.sensors import Sensors
from udp_server.tcp import Overlong

NEWLINE = ord("\n")

Done = Callable[[bool], None]


class Outlet(Protocol):
    """Where lines go. Whoever implements it counts what becomes of them."""

    def publish(self, messages: list[Message], done: Done | None) -> None:
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
        admitted = self._admitted(payloads, sender) if self._admission.needed else enumerate(payloads)
        self._take(admitted, self.checker.decode, sender, now, None)

    def take_lines(self, lines: list[bytes], sender: Address, now: int, done: Done) -> None:
        """The same for lines of a stream. `done` hears whether they are all accepted, or rejected and counted."""
        refusal = self._admission.refuses(sender[0], len(lines)) if self._admission.needed else None
        if refusal is not None:
            self._refuse(refusal, len(lines))
            done(False)
            return
        self._take(enumerate(lines), self._decode_stream, lambda _: sender, now, done)

    def _decode_stream(self, line: bytes) -> Reading:
        if isinstance(line, Overlong):
            raise Refused(Reason.TOO_LONG, f"the line goes on behind these {len(line)} bytes")
        return self.checker.decode(line)

    def _take(
        self,
        payloads: Iterable[tuple[int, bytes]],
        decode: Callable[[bytes], Reading],
        sender: Callable[[int], Address],
        now: int,
        done: Done | None,
    ) -> None:
        """The path of every line. What most lines have in common stands here, without a call more than it needs."""
        checker, observe = self.checker, self._sensors.observe
        earliest, latest = checker.window(now)
        messages: list[Message] = []
        rejections: list[tuple[Rejection, Address]] = []
        for number, payload in payloads:
            for line in lines_of(payload) if NEWLINE in payload else (payload,):
                try:
                    reading = decode(line)
                    if not earliest <= reading.micros <= latest:
                        checker.timely(reading, now)
                except Exception as error:
                    # Plain bytes: the spool, which may hold the copy for a while, can't store an Overlong.
                    rejections.append((checker.rejection(bytes(line), error), sender(number)))
                    continue
                messages.append(Message(observe(reading, now), reading.line))
                if not reading.usual:
                    self._count_unusual(reading)
        self._ledger.lines += len(messages) + len(rejections)
        if rejections:
            for rejection, _ in rejections:
                self._ledger.count_rejected(rejection.reason)
            self._outlet.keep(rejections, now)
        if messages or done is not None:
            self._outlet.publish(messages, done)

    def _count_unusual(self, reading: Reading) -> None:
        if reading.unknown:
            self._ledger.count_unknown(reading.unknown)
        self._ledger.implausible.update(self.checker.implausible(reading))

    def _admitted(self, payloads: list[bytes], sender: Callable[[int], Address]) -> Iterator[tuple[int, bytes]]:
        for number, payload in enumerate(payloads):
            lines = len(lines_of(payload))
            refusal = self._admission.refuses(sender(number)[0], lines)
            if refusal is None:
                yield number, payload
            else:
                self._refuse(refusal, lines)

    def _refuse(self, refusal: str, lines: int) -> None:
        self._ledger.lines += lines
        self._ledger.readings.refused[refusal] += lines
