"""Buoys as Locust users: each sends its own readings over UDP, with `seq`, made by udp_client's code.

    python -m locust -f tests/load/buoys.py --headless -u 100 -r 100 -t 60s --readings-per-second 10

The gateway is found by MARE_UDP__HOST and MARE_UDP__PORT. Locust paces each buoy by its own clock, so a rate that must
be kept exactly is the emulator's business (`mare emulate`).
"""

from __future__ import annotations

import socket
import time
from argparse import ArgumentParser
from itertools import count
from typing import Any

from locust import User, constant_throughput, events, task

from maredata.names import FIRST_DEMO_SENSOR
from maredata.schema import load_schema
from maredata.settings import load_settings
from udp_client.buoy import Fleet

_NUMBERS = count()


@events.init_command_line_parser.add_listener
def _arguments(parser: ArgumentParser, **_: Any) -> None:
    parser.add_argument("--readings-per-second", type=float, default=1.0, help="of each buoy")
    parser.add_argument("--first-sensor-id", type=int, default=FIRST_DEMO_SENSOR, help="that of the first buoy")
    parser.add_argument("--seed", type=int, default=0, help="of weather and noise")


class BuoyUser(User):
    def wait_time(self) -> float:
        return float(constant_throughput(self.environment.parsed_options.readings_per_second)(self))

    def on_start(self) -> None:
        settings, options, number = load_settings(None), self.environment.parsed_options, next(_NUMBERS)
        fleet = Fleet(load_schema(settings.reading.toml), options.seed)
        self.buoy = fleet.buoy(options.first_sensor_id + number, at_observatory=number == 0)
        self.seq = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((settings.udp.host, settings.udp.port))

    @task
    def send(self) -> None:
        line = self.buoy.line(self.seq, time.time_ns() // 1000)
        self.seq += 1
        began, error = time.perf_counter(), None
        try:
            self.socket.send(line)
        except OSError as refused:  # nobody listens: that is the answer to the datagram before
            error = refused
        events.request.fire(
            request_type="udp",
            name="reading",
            response_time=1000 * (time.perf_counter() - began),
            response_length=len(line),
            exception=error,
            context={},
        )

    def on_stop(self) -> None:
        self.socket.close()
