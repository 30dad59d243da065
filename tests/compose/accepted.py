"""A sender over TCP that knows which of its readings the gateway accepted."""

from __future__ import annotations

import json
import socket
import threading
import time
from types import TracebackType

from maredata.timestamps import format_timestamp

SENSOR = 4242


class Sender(threading.Thread):
    """Sends a reading at a time, and keeps the timestamps of those that the gateway said it takes care of."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.accepted: list[str] = []
        self._ended = threading.Event()

    def __enter__(self) -> Sender:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(0.1):
            timestamp = format_timestamp(time.time_ns() // 1000)
            line = json.dumps({"sensor_id": SENSOR, "timestamp": timestamp, "temperature": 12.5}) + "\n"
            try:
                with socket.create_connection(("127.0.0.1", 20001), timeout=10) as connection:
                    connection.sendall(line.encode())
                    if connection.makefile("r").readline() == "1\n":
                        self.accepted.append(timestamp)
            except OSError:
                pass  # the gateway is away: nothing was accepted
