"""What is measured: something that listens on a UDP port, writes to Kafka, and ends with SIGTERM. One is ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import ClassVar
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.kernel import udp_port
from maredata.errors import EngineTimedOut, MachineError
from maredata.names import READINGS
from maredata.settings import CHECKOUT, Settings, as_environment
from maredata.state import ledger_file, read_json

_READY_SECONDS = 60.0
_END_SECONDS = 60.0


@dataclass(frozen=True)
class Count:
    """What a receiver counted itself, after its end: datagrams received, records published; None if it doesn't know.

    `spooled` is how many readings took the way over the disk.
    """

    received: int | None
    published: int | None
    spooled: int = 0


class Receiver:
    """One of them. `by_line` says whether a record in Kafka is one line, or a whole datagram."""

    name: ClassVar[str]
    topic: ClassVar[str]
    does: ClassVar[str]
    by_line: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.home / self.name
        self.log = self.folder / "log"
        self.out = self.folder / "out"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> int:
        """Its pid, once it listens.

        Raises:
            MachineError: somebody else has its port.
            EngineTimedOut: it did not listen in time; the sentence names its log.
        """
        port = self.settings.udp.port
        if udp_port(port).sockets:  # they would be taken for ours
            raise MachineError(f"UDP port {port} is in use: end that program, or set --first-port to another port.")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.prepare()
        with self.log.open("w") as log, self.out.open("w") as out:
            self._process = subprocess.Popen(
                self.command(),
                cwd=CHECKOUT,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                text=True,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.end()
                raise EngineTimedOut(f"{self.name} does not listen: its log {self.log} says why.")
            time.sleep(0.1)
        return self._process.pid

    def end(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def prepare(self) -> None:
        """Writes what it needs before its start."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def ready(self) -> bool:
        return udp_port(self.settings.udp.port).sockets > 0

    def counted(self) -> Count:
        """To be asked after its end."""
        raise NotImplementedError


class Gateway(Receiver):
    name = "gateway"
    topic = READINGS
    by_line = True
    does = (
        "checks every line against reading.toml, keys it by sensor_id, follows each sensor's seq, keeps a ledger and a"
        " spool; a record is a line"
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._own = settings.model_copy(update={"home": self.folder})

    def command(self) -> list[str]:
        return [sys.executable, "-m", "maredata.cli", "serve", "--workers", str(self.settings.udp.workers)]

    def environment(self) -> dict[str, str]:
        """Every setting there is, so that none of the user's own instance counts."""
        return super().environment() | as_environment(self._own)

    def ready(self) -> bool:
        """When its workers have begun, and its parent sums them up."""
        metrics = self.settings.metrics
        try:
            with urlopen(f"http://{metrics.host}:{metrics.port}/healthz", timeout=5):
                return True
        except (URLError, OSError):
            return False

    def metrics(self) -> str:
        """The text of its /metrics."""
        metrics = self.settings.metrics
        with urlopen(f"http://{metrics.host}:{metrics.port}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def counted(self) -> Count:
        ledger = read_json(ledger_file(self._own))
        if not ledger.get("stopped"):
            return Count(None, None)
        lines = ledger["lines"]
        return Count(ledger["datagrams"]["received"], lines["accepted"], lines["spooled"])
