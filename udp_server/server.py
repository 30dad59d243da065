"""The gateway: startup, main loop, shutdown, from top to bottom. Signals only set a flag."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from maredata.errors import EngineAlreadyRunning
from maredata.schema import load_schema
from maredata.settings import Settings
from maredata.state import ledger_file, read_json, schema_file, write_json
from udp_server.check import Checker
from udp_server.intake import Intake
from udp_server.ledger import Ledger
from udp_server.log import log_to_stderr
from udp_server.publish import Audit, Publisher
from udp_server.receive import Receiver

log = logging.getLogger(__name__)

_TICK = 1.0  # seconds between two ledgers
_BUSY_WAIT = 0.005  # seconds for the next datagram while Kafka's reports are awaited
_IDLE_WAIT = 0.1  # and otherwise; a signal is seen no later than that
_DRAIN_SECONDS = 2.0  # for what the socket holds at the end, since senders may never stop
_FLUSH_SECONDS = 10.0  # for Kafka to acknowledge the rest


def serve(settings: Settings, accepted_log: Path | None = None) -> None:
    """Runs the gateway until SIGTERM or SIGINT.

    `accepted_log` is a file to which `sensor_id,seq,micros` of each acknowledged reading is appended.

    Raises:
        MareError: the schema, the address or the state folder can't be used.
    """
    log_to_stderr()
    with _alone(settings), contextlib.ExitStack() as files:
        audit_file = files.enter_context(accepted_log.open("a", encoding="ascii")) if accepted_log else None
        Server(settings, audit_file).run()


class Server:
    """Holds the parts together: receive → check → publish, and the ledger that all of them write to."""

    def __init__(self, settings: Settings, audit_file: TextIO | None = None) -> None:
        self._settings = settings
        self._audit_file = audit_file
        self._audit = Audit() if audit_file is not None else None
        self._stops = 0

    def stop(self) -> None:
        """Ends the main loop; called again, it ends the wait for Kafka too. All that a signal does."""
        self._stops += 1

    def run(self) -> None:
        with self._captured_signals():
            self._startup()
            try:
                self._main_loop()
            finally:
                self._shutdown()

    def _startup(self) -> None:
        """Kafka need not be there: readings queue up until it is."""
        self._checker = Checker(load_schema(self._settings.reading.toml), self._settings.reading)
        self._ledger = Ledger.continued(_earlier_ledger(ledger_file(self._settings)))
        self._receiver = Receiver(self._settings.udp, self._ledger)
        self._publisher = Publisher(self._settings, self._ledger, self._audit)
        self._intake = Intake(self._checker, self._ledger, self._publisher)
        self._started = datetime.now(UTC)
        self._reported = _losses(self._ledger)
        self._write_ledger()
        log.info(
            "listening",
            extra={
                "host": self._settings.udp.host,
                "port": self._receiver.port,
                "receive_buffer": self._receiver.buffer,
                "schema": self._checker.schema.fingerprint,
            },
        )

    def _main_loop(self) -> None:
        next_tick = time.monotonic() + _TICK
        while not self._stops:
            self._receive(_BUSY_WAIT if self._publisher.waiting() else _IDLE_WAIT)
            self._publisher.poll()
            if time.monotonic() >= next_tick:
                self._tick()
                next_tick = time.monotonic() + _TICK

    def _receive(self, wait: float) -> int:
        datagrams = self._receiver.receive(wait)
        now = time.time_ns() // 1000
        for payload, sender in datagrams:
            self._intake.take(payload, sender, now)
        return len(datagrams)

    def _tick(self) -> None:
        self._reload()
        self._receiver.count_drops()
        self._write_ledger()
        self._write_audit()
        self._report_losses()

    def _shutdown(self) -> None:
        log.info("stopping")
        drain_until = time.monotonic() + _DRAIN_SECONDS
        while self._receive(0) and time.monotonic() < drain_until:
            self._publisher.poll()
        self._receiver.close()
        flush_until = time.monotonic() + _FLUSH_SECONDS
        while self._publisher.waiting() and time.monotonic() < flush_until and self._stops < 2:
            self._publisher.poll()
            time.sleep(_BUSY_WAIT)
        self._write_audit()
        self._write_ledger(stopped=datetime.now(UTC))
        unacknowledged = {"lines": self._ledger.readings.in_flight, "copies": self._ledger.copies.in_flight}
        if any(unacknowledged.values()):
            log.error("Kafka had not acknowledged everything when the gateway stopped", extra=unacknowledged)
        log.info("stopped", extra={"accepted": self._ledger.readings.accepted})

    def _reload(self) -> None:
        """Takes over the schema that `mare apply` has made the stores ready for; the ledger tells it so."""
        current = self._checker.schema.fingerprint
        try:
            ready = read_json(schema_file(self._settings)).get("fingerprint", current)
            if ready == current:
                return
            checker = Checker(load_schema(self._settings.reading.toml), self._settings.reading)
        except Exception as error:  # whatever is wrong with a file, readings go on under the old schema
            log.error("the schema can't be loaded, the old one stays", extra={"error": str(error)})
            return
        found = checker.schema.fingerprint
        if found != ready:
            log.warning("reading.toml is not what the stores are ready for: run mare apply", extra={"found": found})
            return
        self._checker = self._intake.checker = checker
        self._write_ledger()
        log.info("schema reloaded", extra={"schema": found})

    def _write_ledger(self, stopped: datetime | None = None) -> None:
        content: dict[str, Any] = {
            "pid": os.getpid(),
            "started": self._started.isoformat(),
            "updated": datetime.now(UTC).isoformat(),
            "stopped": stopped.isoformat() if stopped else None,
            "fingerprint": self._checker.schema.fingerprint,
            "receive_buffer": self._receiver.buffer,
            **self._ledger.as_dict(),
        }
        try:
            write_json(ledger_file(self._settings), content)
        except OSError as error:
            log.error("the ledger can't be written", extra={"error": str(error)})

    def _write_audit(self) -> None:
        if self._audit is None or self._audit_file is None:
            return
        try:
            self._audit_file.writelines(f"{line}\n" for line in self._audit.take())
            self._audit_file.flush()
        except OSError as error:
            log.error("the accepted log can't be written", extra={"error": str(error)})

    def _report_losses(self) -> None:
        """The totals of what was not accepted, when they grew; the log holds repetitions back."""
        losses = _losses(self._ledger)
        if losses != self._reported:
            log.warning("not everything was accepted", extra={name: n for name, n in losses.items() if n})
            self._reported = losses

    @contextlib.contextmanager
    def _captured_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # only there can Python set handlers
            yield
            return
        earlier = {number: signal.signal(number, self._signalled) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        self.stop()


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Two gateways with one home would overwrite each other's ledger."""
    lock = ledger_file(settings).with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineAlreadyRunning(
                f"A gateway runs already with {settings.home}: stop it, or give this one another MARE_HOME."
            ) from None
        yield


def _earlier_ledger(path: Path) -> dict[str, Any]:
    """An unreadable ledger is put aside, not overwritten, and not a reason to receive nothing."""
    try:
        return read_json(path)
    except (json.JSONDecodeError, UnicodeDecodeError):
        aside = path.with_suffix(f".broken-{int(time.time())}")
        path.replace(aside)
        log.error("the ledger was unreadable, counting begins anew", extra={"kept": str(aside)})
        return {}


def _losses(ledger: Ledger) -> dict[str, int]:
    return {
        "kernel_dropped": ledger.kernel_dropped,
        "refused": ledger.readings.refused,
        "copies_refused": ledger.copies.refused,
        **{f"rejected_{reason}": count for reason, count in ledger.rejected.items()},
    }
