"""The worker processes: started, replaced when they die, and ended in order."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from math import inf
from pathlib import Path

import msgspec

from maredata.errors import EngineExited
from maredata.settings import Settings, as_environment
from udp_server.files import WorkerFiles, all_workers
from udp_server.sockets import Sockets
from udp_server.worker import Orders

log = logging.getLogger(__name__)

_FIRST_WAIT = 0.1  # seconds before a worker that died is started again
_LONGEST_WAIT = 30.0  # the same for one that dies again and again
_STEADY_SECONDS = 60.0  # who has run for so long begins again with the first wait


@dataclass
class _Worker:
    orders: Orders
    files: WorkerFiles
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    wait: float = 0.0
    start_at: float = 0.0

    @property
    def receives(self) -> bool:
        return self.orders.udp is not None


class Workers:
    """One for each UDP socket, and one for each spool that a worker of earlier settings has left."""

    def __init__(self, settings: Settings, sockets: Sockets, accepted_log: Path | None) -> None:
        self._environment = {**os.environ, **as_environment(settings)}
        run = uuid.uuid4().hex
        self._lifeline = os.pipe()  # its end tells the workers of ours
        self.began = False  # all of them have listened
        receiving = range(len(sockets.udp))
        left = [files.number for files in all_workers(settings) if files.number not in receiving]
        self._workers = [
            _Worker(
                Orders(
                    number=number,
                    parent=self._lifeline[0],
                    run=run,
                    udp=sockets.udp[number].fileno() if number in receiving else None,
                    tcp=sockets.tcp.fileno() if sockets.tcp and number in receiving else None,
                    accepted_log=str(accepted_log) if accepted_log else None,
                ),
                WorkerFiles(settings, number),
            )
            for number in (*receiving, *left)
        ]

    def keep_alive(self) -> None:
        """Starts whoever does not run, with growing waits for one that does not stay.

        Raises:
            EngineExited: one ended before all of them had begun to listen: starting it again would not help.
        """
        now = time.monotonic()
        self.began = self.began or self._all_listen()
        for worker in self._workers:
            if worker.process is not None and worker.process.poll() is not None:
                self._mourn(worker, worker.process.returncode, now)
            if worker.process is None and now >= worker.start_at:
                self._start(worker)

    def _all_listen(self) -> bool:
        """Whether each of them has begun to write its ledger."""
        return all(
            worker.files.read_ledger().get("run") == worker.orders.run for worker in self._workers if worker.receives
        )

    def dead(self) -> list[int]:
        """The numbers of those that should receive and do not run."""
        return [worker.orders.number for worker in self._workers if worker.receives and worker.process is None]

    def stop(self, seconds: float) -> None:
        """Asks them to end; kills whoever has not ended after `seconds`."""
        running = [worker.process for worker in self._workers if worker.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + seconds
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("a worker does not end, and is killed", extra={"pid": process.pid})
                process.kill()
                process.wait()
        for end in self._lifeline:
            os.close(end)

    def _start(self, worker: _Worker) -> None:
        orders = worker.orders
        worker.process = subprocess.Popen(
            [sys.executable, "-m", "udp_server.worker", msgspec.json.encode(orders).decode()],
            env=self._environment,
            pass_fds=[end for end in (orders.parent, orders.udp, orders.tcp) if end is not None],
            stdin=subprocess.DEVNULL,
        )
        worker.started = time.monotonic()

    def _mourn(self, worker: _Worker, status: int, now: float) -> None:
        worker.process = None
        if not worker.receives and status == 0:
            log.info("the spool that an earlier worker left is empty", extra={"worker": worker.orders.number})
            worker.start_at = inf
            return
        if not self.began:
            raise EngineExited(f"Worker {worker.orders.number} of the gateway did not start: its log is above.")
        steady = now - worker.started > _STEADY_SECONDS
        worker.wait = _FIRST_WAIT if steady or not worker.wait else min(_LONGEST_WAIT, 2 * worker.wait)
        worker.start_at = now + worker.wait
        log.error("a worker died and is started again", extra={"worker": worker.orders.number, "status": status})
