"""The load of the matrix: emulated buoys, in a process of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

from maredata.settings import CHECKOUT, Settings, as_environment
from maredata.timestamps import format_timestamp

BUOYS = 500
RATE = 1.0  # readings a second of each
READINGS_A_SECOND = BUOYS * RATE


class Load:
    """Buoys that send until they are stopped. When their clock jumps, the same buoys begin anew elsewhere in time."""

    def __init__(self, settings: Settings, first_sensor: int) -> None:
        self.sensors = range(first_sensor, first_sensor + BUOYS)
        self.sent = 0  # lines that the kernel took; known when it is off
        self._settings = settings
        self._running: subprocess.Popen[str] | None = None

    def on(self, clock: float = 0.0) -> None:
        """`clock` is by how many seconds the buoys' clock is ahead; 0 is the true time."""
        start = ["--start", f"{format_timestamp(time.time_ns() // 1000 + int(clock * 1e6))}Z"] if clock else []
        self._running = subprocess.Popen(
            [
                *(sys.executable, "-m", "maredata.cli", "emulate", "--json"),
                *("--first-sensor-id", str(self.sensors[0]), "--buoys", str(BUOYS), "--rate", str(RATE), *start),
            ],
            env={**os.environ, **as_environment(self._settings)},
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            text=True,
        )

    def off(self) -> None:
        """Raises AssertionError where the emulator did not end as it should: then what it sent isn't known."""
        running, self._running = self._running, None
        if running is None:
            return
        running.send_signal(signal.SIGINT)
        try:
            said, _ = running.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            raise AssertionError("the emulator did not end within 30 s") from None
        assert running.returncode == 0, f"the emulator ended with status {running.returncode}"
        self.sent += json.loads(said)["lines"]
