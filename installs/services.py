"""Our own processes in local mode: the gateway, the caretaker, the dashboard and the demo's emulated buoys."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version

from installs.process import Port, Service, record_of
from installs.ready import http_answers
from maredata.names import FIRST_DEMO_SENSOR
from maredata.settings import Settings, as_environment
from maredata.state import ledger_file, read_json

BUOYS = ("buoy-1", "buoy-2")


def services(settings: Settings) -> list[Service]:
    """In the order in which they are started: the gateway before those who send to it."""
    return [gateway(settings), tend(settings), dashboard(settings), *(buoys(settings) if settings.demo else ())]


def gateway(settings: Settings) -> Service:
    def ready() -> bool:
        record = record_of(settings, "gateway")
        return record is not None and read_json(ledger_file(settings)).get("pid") == record.pid

    address = f"{settings.udp.host}:{settings.udp.port}/udp"
    ports = [
        Port(settings.udp.port, "MARE_UDP__PORT", udp=True),
        Port(settings.metrics.port, "MARE_METRICS__PORT"),
        *([Port(settings.udp.port, "MARE_UDP__PORT")] if settings.tcp.enabled else []),
    ]
    return _own(settings, "gateway", address, ("serve",), ready, tuple(ports))


def tend(settings: Settings) -> Service:
    return _own(settings, "tend", "", ("tend",), _runs(settings, "tend"))


def dashboard(settings: Settings) -> Service:
    chosen = settings.dashboard
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(chosen.host, chosen.host)  # noqa: S104  # where to ask
    ready = partial(http_answers, host, chosen.port, "/healthz")
    port = Port(chosen.port, "MARE_DASHBOARD__PORT")
    service = _own(settings, "dashboard", f"http://{chosen.host}:{chosen.port}", ("dashboard",), ready, (port,))
    return replace(service, awaited_last=True)


def buoys(settings: Settings) -> list[Service]:
    target = f"to {settings.udp.host}:{settings.udp.port}/udp"
    return [
        _own(
            settings,
            name,
            target,
            ("emulate", "--first-sensor-id", str(FIRST_DEMO_SENSOR + number), "--buoys", "1", "--rate", "1"),
            _runs(settings, name),
        )
        for number, name in enumerate(BUOYS)
    ]


def _own(
    settings: Settings,
    name: str,
    address: str,
    arguments: tuple[str, ...],
    ready: Callable[[], bool],
    ports: tuple[Port, ...] = (),
) -> Service:
    return Service(
        name=name,
        version=version("maredata"),
        address=address,
        command=(sys.executable, "-m", "maredata.cli", *arguments),
        environment={**os.environ, **as_environment(settings), "PYTHONUNBUFFERED": "1"},
        ready=ready,
        ports=ports,
    )


def _runs(settings: Settings, name: str) -> Callable[[], bool]:
    """Nothing of its own tells that it is ready: it is, when it lives."""

    def ready() -> bool:
        record = record_of(settings, name)
        return record is not None and record.alive

    return ready
