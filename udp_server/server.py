"""A worker of the gateway: startup, main loop, shutdown, from top to bottom. Signals only set a flag."""

from __future__ import annotations

import gc
import logging
import os
import select
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any

from maredata.schema import load_schema
from maredata.settings import Settings
from maredata.state import read_json, schema_file
from udp_server.admission import Admission
from udp_server.audit import Audit
from udp_server.check import Checker
from udp_server.files import WorkerFiles
from udp_server.intake import Intake
from udp_server.ledger import Ledger
from udp_server.publish import Publisher
from udp_server.receive import BATCH, Receiver
from udp_server.sensors import Sensors
from udp_server.signals import captured_signals
from udp_server.tcp import Chunk, Streams

log = logging.getLogger(__name__)

_TICK = 1.0  # seconds between two looks at what changes slowly
_LEDGER_SECONDS = 0.05  # what a worker that is killed can forget
_BUSY_WAIT = 0.002  # seconds for the next datagram while Kafka's word is awaited
_GATHER = 0.004  # seconds in which a next batch gathers: a turn of the loop costs as much as many datagrams
_IDLE_WAIT = 0.1  # and otherwise; a signal is seen no later than that
_DRAIN_SECONDS = 2.0  # for what the sockets hold at the end, since senders may never stop
_FLUSH_SECONDS = 3.0  # for Kafka to acknowledge the rest; what is left then is spooled


class Server:
    """Holds the parts together: receive → check → publish, and the ledger that all of them write to.

    Without `udp` it only publishes what its spool holds, and ends.
    """

    def __init__(
        self,
        settings: Settings,
        files: WorkerFiles,
        udp: socket | None,
        tcp: socket | None = None,
        accepted_log: Path | None = None,
        parent: int | None = None,
        run: str = "",
    ) -> None:
        """`parent` is a file descriptor that ends when the parent process does; `run` tells its starts apart."""
        self._settings = settings
        self._files = files
        self._sockets = (udp, tcp)
        self._accepted_log = accepted_log
        self._parent = parent
        self._run = run
        self._stopped = False

    def stop(self) -> None:
        """Ends the main loop. All that a signal does."""
        self._stopped = True

    def run(self) -> None:
        with captured_signals(self.stop):
            self._startup()
            try:
                self._main_loop()
            finally:
                self._shutdown()

    # --- startup

    def _startup(self) -> None:
        """Kafka need not be there: readings go to the spool until it is."""
        settings, udp, tcp = self._settings, *self._sockets
        self._files.put_aside_what_is_unreadable()
        earlier = self._files.read_ledger()
        checker = Checker(load_schema(settings.reading.toml), settings.reading)
        self._admission = Admission(settings.udp.networks, settings.udp.rate_limit)
        self._ledger = Ledger.continued(earlier.get("ledger", {}))
        self._sensors = Sensors(checker.schema, settings.udp, self._files.read_sensors())
        self._publisher = Publisher(settings, self._ledger, self._files.spool)
        self._publisher.recover(earlier.get("spool_positions", {}))
        self._audit = Audit(self._publisher, checker.schema, self._accepted_log) if self._accepted_log else None
        outlet = self._audit or self._publisher
        self._intake = Intake(checker, self._ledger, self._sensors, outlet, self._admission)
        self._readable = select.poll()
        # Of this very socket an earlier worker may have counted drops; a gateway that is started anew has others.
        drops = (earlier.get("run") == self._run and earlier.get("drops")) or (0, 0)
        self._receiver = Receiver(udp, self._ledger, (drops[0], drops[1])) if udp else None
        self._streams = Streams(tcp, settings.tcp, self._admission.admits) if tcp else None
        for source in (self._receiver, self._streams, self._parent):
            if source is not None:
                self._readable.register(source, select.POLLIN)
        self._next_ledger = self._next_tick = 0.0
        self._survey: Iterator[None] | None = None
        self._written: dict[str, Any] = {}
        self._write_ledger()
        # What lives from here on to the end need not be looked at by the collector again.
        gc.freeze()

    # --- main loop

    def _main_loop(self) -> None:
        while not self._stopped:
            received = self._receive()
            if not received:
                self._wait()
            elif received < BATCH:  # else there is more already
                time.sleep(_GATHER)
            self._publisher.poll()
            now = time.monotonic()
            if now >= self._next_ledger:
                self._next_ledger = now + _LEDGER_SECONDS
                self._write_ledger()
            if now >= self._next_tick:
                self._next_tick = now + _TICK
                self._tick()
            if self._survey is not None:
                self._go_on_with_survey()
            if self._receiver is None and not self._publisher.spooled():
                break

    def _receive(self) -> int:
        """Takes in what has come; how much of it."""
        receiver, payloads = self._receiver, self._receiver.receive() if self._receiver else []
        now = time.time_ns() // 1000
        if receiver and payloads:
            self._intake.take_datagrams(payloads, receiver.sender, now)
        chunks: list[Chunk] = []
        if self._streams:
            # Asked each time: what is read must be taken, or its connection dropped.
            self._streams.pause(self._publisher.readings.congested())
            chunks = self._streams.receive()
        for chunk in chunks:
            self._intake.take_lines(chunk.lines, chunk.connection.peer, now, partial(self._answer, chunk))
        return len(payloads) + len(chunks)

    def _answer(self, chunk: Chunk, accepted: bool) -> None:
        if self._streams is None:
            return
        if accepted:
            self._streams.handled(chunk.connection, len(chunk.lines))
        else:
            self._streams.drop(chunk.connection)  # so that its sender knows, and sends again

    def _wait(self) -> None:
        """For something to arrive, but not so long that Kafka's word, or a signal, has to wait."""
        wait = _BUSY_WAIT if self._publisher.waiting() or self._publisher.spooled() else _IDLE_WAIT
        for descriptor, _ in self._readable.poll(wait * 1000):
            if descriptor == self._parent and not os.read(descriptor, 1):
                log.warning("the parent process has gone, so this worker ends")
                self.stop()

    def _tick(self) -> None:
        self._reload()
        if self._receiver:
            self._receiver.count_drops()
        if self._streams:
            self._streams.tidy()
        if self._audit:
            self._audit.write()
        if self._survey is None:
            self._survey = self._begin_survey()

    def _reload(self) -> None:
        """Takes over the schema that `mare apply` has made the stores ready for; the ledger tells it so."""
        current = self._intake.checker.schema.fingerprint
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
        self._intake.checker = checker
        self._sensors.use(checker.schema)
        if self._audit:
            self._audit.use(checker.schema)
        self._write_ledger()
        log.info("schema reloaded", extra={"schema": found})

    # --- shutdown

    def _shutdown(self) -> None:
        """What the sockets hold is taken in, and what Kafka doesn't acknowledge in time is spooled."""
        if self._streams:
            self._streams.stop_listening()
        drain_until = time.monotonic() + _DRAIN_SECONDS
        while self._receive() and time.monotonic() < drain_until:
            self._publisher.poll()
        flush_until = time.monotonic() + _FLUSH_SECONDS
        while self._publisher.waiting() and time.monotonic() < flush_until:
            self._publisher.poll()
            time.sleep(_BUSY_WAIT)
        self._publisher.close()
        if self._receiver:
            self._receiver.count_drops()
        if self._streams:
            self._streams.receive()  # writes the last totals
            self._streams.close()
        if self._audit:
            self._audit.close()
        self._survey = self._begin_survey()
        while self._survey is not None:
            self._go_on_with_survey()
        self._write_ledger()
        if self._publisher.waiting():
            log.error("neither Kafka nor the spool took everything", extra={"lines": self._publisher.waiting()})

    # --- what it writes down

    def _write_ledger(self) -> None:
        content = {
            "pid": os.getpid(),
            "run": self._run,
            "fingerprint": self._intake.checker.schema.fingerprint,
            "spool_positions": self._publisher.spool_positions(),
            "drops": self._receiver.counted() if self._receiver else None,
            "ledger": {**self._ledger.as_dict(), **self._gauges()},
        }
        if content == self._written:
            return
        try:
            self._files.write_ledger(content)
            self._written = content
        except (OSError, ValueError) as error:
            log.error("the ledger can't be written", extra={"error": str(error)})

    def _gauges(self) -> dict[str, Any]:
        readings, streams = self._publisher.readings, self._streams
        held, most = readings.spool_bytes()
        return {
            "queue": {"messages": readings.messages, "bytes": readings.bytes},
            "spool": {
                "messages": self._ledger.readings.in_spool,
                "bytes": held,
                "limit_bytes": most,
            },
            "receive_queue_bytes": self._receiver.queued_bytes() if self._receiver else 0,
            "not_followed": self._sensors.not_followed,
            "tcp": {
                "connections": streams.connections if streams else 0,
                "accepted": streams.accepted_total if streams else 0,
                "refused": streams.refused_total if streams else 0,
            },
        }

    def _begin_survey(self) -> Iterator[None]:
        return self._files.write_sensors(self._sensors.survey(time.time_ns() // 1000))

    def _go_on_with_survey(self) -> None:
        """The sensors are written down a few with each turn."""
        try:
            if self._survey is not None:
                next(self._survey)
        except StopIteration:
            self._survey = None
        except OSError as error:
            self._survey = None
            log.error("the sensors can't be written", extra={"error": str(error)})
