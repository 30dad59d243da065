"""A datagram taken apart: each line is checked, counted once, and handed on."""

from __future__ import annotations

from typing import Protocol

from maredata.reading import Reading
from udp_server.check import Checker, Rejection, lines_of
from udp_server.ledger import Ledger
from udp_server.receive import Address


class Outlet(Protocol):
    """Where lines go. Whoever implements it counts what becomes of them."""

    def publish(self, reading: Reading) -> None: ...

    def keep(self, rejection: Rejection, sender: Address, received: int) -> None: ...


class Intake:
    """`checker` may be replaced between two datagrams, when the schema has changed."""

    def __init__(self, checker: Checker, ledger: Ledger, outlet: Outlet) -> None:
        self.checker = checker
        self._ledger = ledger
        self._outlet = outlet

    def take(self, payload: bytes, sender: Address, now: int) -> None:
        """Never raises for anything that is in the payload. `now` is in microseconds since 1970 UTC."""
        ledger, checker, outlet = self._ledger, self.checker, self._outlet
        for line in lines_of(payload):
            ledger.lines += 1
            outcome = checker.check(line, now)
            if isinstance(outcome, Rejection):
                ledger.count_rejected(outcome.reason)
                outlet.keep(outcome, sender, now)
                continue
            outlet.publish(outcome)
            if outcome.unknown:
                ledger.count_unknown(outcome.unknown)
            for name in checker.implausible(outcome):
                ledger.count_implausible(name)
