"""The gateway's parent process: it holds the sockets, keeps the workers alive, and sums up what they write down.

It touches no reading. A worker that dies is replaced; what comes meanwhile waits in the socket, which is the
parent's. When the parent dies its workers end in order.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from maredata.errors import EngineAlreadyRunning, MachineError
from maredata.log import log_to_stderr
from maredata.schema import load_schema
from maredata.settings import Settings
from maredata.state import ledger_file, read_json, write_json
from udp_server.events import EventOutlet
from udp_server.files import WorkerFiles, all_workers
from udp_server.lagging import Lags
from udp_server.metrics import MetricsServer
from udp_server.publish import NEARLY_FULL
from udp_server.report import summed
from udp_server.sensors import Sensor, merged
from udp_server.signals import captured_signals
from udp_server.silence import Watch
from udp_server.sockets import listen
from udp_server.workers import Workers

log = logging.getLogger(__name__)

_TURN = 0.05  # seconds between two looks at the workers
_TICK = 1.0  # seconds between two ledgers
_STOP_SECONDS = 15.0  # for workers to end in order


def serve(settings: Settings, accepted_log: Path | None = None) -> None:
    """Runs the gateway until SIGTERM or SIGINT.

    `accepted_log` is a file to which `sensor_id,seq,micros` of each accepted reading is appended.

    Raises:
        MareError: the schema, the address or the state folder can't be used.
    """
    log_to_stderr("udp_server", settings.log_format)
    with _alone(settings):
        Gateway(settings, accepted_log).run()


class Gateway:
    """Startup, main loop and shutdown of all that a gateway is."""

    def __init__(self, settings: Settings, accepted_log: Path | None = None) -> None:
        self._settings = settings
        self._accepted_log = accepted_log
        self._stopped = False

    def stop(self) -> None:
        """Ends the main loop. All that a signal does."""
        self._stopped = True

    def run(self) -> None:
        with captured_signals(self.stop), contextlib.ExitStack() as held:
            self._startup(held)
            try:
                self._main_loop()
            finally:
                self._shutdown()

    # --- startup

    def _startup(self, held: contextlib.ExitStack) -> None:
        settings = self._settings
        load_schema(settings.reading.toml)  # a broken one should end the gateway here, and not each worker
        self._sockets = listen(settings)
        held.callback(self._sockets.close)
        self._workers = Workers(settings, self._sockets, self._accepted_log)
        self._started = datetime.now(UTC)
        self._listening_since = time.time_ns() // 1000
        self._snapshot: dict[str, Any] = {}
        earlier = _earlier_ledger(ledger_file(settings))
        events = settings.events
        self._watch = Watch(events.silence_seconds, events.steady_minutes * 60, earlier.get("silences"))
        self._reported = _losses(summed(settings, {}))
        self._events = EventOutlet(settings)
        self._lags = Lags(settings)
        self._metrics = MetricsServer(settings.metrics, lambda: self._snapshot, self._troubles, self._lags.read)
        self._lags.start()
        held.callback(self._lags.stop)
        self._metrics.start()
        held.callback(self._metrics.close)
        if not settings.udp.networks:
            log.info("everyone may send: MARE_UDP__ALLOWED_NETWORKS names those who may")
        log.info(
            "listening",
            extra={
                "host": settings.udp.host,
                "port": self._sockets.port,
                "workers": settings.udp.workers,
                "receive_buffer": self._sockets.receive_buffer,
            },
        )

    # --- main loop

    def _main_loop(self) -> None:
        next_tick = 0.0
        while not self._stopped:
            self._workers.keep_alive()
            if time.monotonic() >= next_tick and self._workers.began:
                next_tick = time.monotonic() + _TICK
                self._tick()
            time.sleep(_TURN)

    def _tick(self) -> None:
        sensors = merged([files.read_sensors() for files in all_workers(self._settings)])
        now = time.time_ns() // 1000
        self._events.tell(self._watch.look(sensors, now, self._listening_since))
        self._snapshot = self._sum(sensors)
        self._report_losses()
        self._write_ledger()

    def _sum(self, sensors: dict[int, Sensor], stopped: datetime | None = None) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "started": self._started.isoformat(),
            "updated": datetime.now(UTC).isoformat(),
            "stopped": stopped.isoformat() if stopped else None,
            "workers": self._settings.udp.workers,
            "receive_buffer": self._sockets.receive_buffer,
            "silent": self._watch.silent,
            "silences": self._watch.as_dict(),
            "events": self._events.as_dict(),
            **summed(self._settings, sensors),
        }

    def _write_ledger(self) -> None:
        try:
            write_json(ledger_file(self._settings), self._snapshot)
        except OSError as error:
            log.error("the ledger can't be written", extra={"error": str(error)})

    def _report_losses(self) -> None:
        """The totals of what was not accepted, when they grew; the log holds repetitions back."""
        losses = _losses(self._snapshot)
        if any(count > self._reported.get(name, 0) for name, count in losses.items()):
            log.warning("not everything was accepted", extra={name: n for name, n in losses.items() if n})
        self._reported = losses

    def _troubles(self) -> list[str]:
        """Why the gateway is not healthy."""
        found = [f"worker {number} is not running" for number in self._workers.dead()]
        if not self._snapshot:
            found.append("the workers are only starting")
        if self._congested():
            found.append("the spool is nearly full: Kafka does not take what comes")
        return found

    def _congested(self) -> bool:
        """Whether any worker's spool is nearly full: the sum would hide it behind the others."""
        spools = [files.read_ledger().get("ledger", {}).get("spool") for files in all_workers(self._settings)]
        return any(spool and spool["bytes"] > NEARLY_FULL * spool["limit_bytes"] for spool in spools)

    # --- shutdown

    def _shutdown(self) -> None:
        log.info("stopping")
        self._workers.stop(_STOP_SECONDS)
        self._events.close(1.0)
        sensors = merged([files.read_sensors() for files in all_workers(self._settings)])
        self._snapshot = self._sum(sensors, stopped=datetime.now(UTC))
        self._write_ledger()
        log.info("stopped", extra={"accepted": self._snapshot["lines"]["accepted"]})


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Two gateways with one home would overwrite each other's ledger."""
    with _lock_file(settings) as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineAlreadyRunning(
                f"A gateway runs already with {settings.home}: stop it, or give this one another MARE_HOME."
            ) from None
        yield


def _lock_file(settings: Settings) -> TextIO:
    try:
        for number in range(settings.udp.workers):
            WorkerFiles(settings, number).folder.mkdir(parents=True, exist_ok=True)
        return ledger_file(settings).with_suffix(".lock").open("w")
    except OSError as error:
        raise MachineError(
            f"The gateway can't keep its state in {settings.home / 'state'} ({error.strerror}: {error.filename}):"
            " correct that, or give it another MARE_HOME."
        ) from None


def _earlier_ledger(path: Path) -> dict[str, Any]:
    """What it says of silences; the counters come from the workers. An unreadable one says nothing."""
    try:
        return read_json(path)
    except ValueError:
        return {}


def _losses(ledger: dict[str, Any]) -> dict[str, int]:
    return {
        "kernel_dropped": ledger["datagrams"]["kernel_dropped"],
        "lost_in_crash": ledger["lines"]["lost_in_crash"],
        "copies_refused": ledger["rejected_copies"]["refused"],
        **{f"refused_{reason}": count for reason, count in ledger["refused"].items()},
        **{f"rejected_{reason}": count for reason, count in ledger["rejected"].items()},
    }
