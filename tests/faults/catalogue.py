"""Every fault of the matrix, in the order in which they are inflicted."""

from __future__ import annotations

from typing import Any

from installs.launcher import ENGINES
from tests.faults.disk_faults import (
    ConnectDiskFull,
    ElasticsearchDiskFull,
    GatewayDiskFull,
    KafkaDiskFull,
    MariaDBDiskFull,
)
from tests.faults.matrix import Fault
from tests.faults.network_faults import Latency, Resets
from tests.faults.process_faults import Freeze, Kill, WrongOrder
from tests.faults.record_faults import ClockJump, Poison
from tests.faults.system import GATEWAY

SERVICES = (*ENGINES, GATEWAY)
STORES = ("mariadb", "elasticsearch")


def short() -> list[Fault[Any]]:
    """One kill of each: what CI has time for."""
    return [Kill(service) for service in SERVICES]


def everything() -> list[Fault[Any]]:
    return [
        *short(),
        *(Freeze(service) for service in SERVICES),
        *(Resets(store) for store in STORES),
        *(Latency(store) for store in STORES),
        ClockJump(),
        Poison(),
        WrongOrder(),
        KafkaDiskFull(),
        ConnectDiskFull(),
        ElasticsearchDiskFull(),
        MariaDBDiskFull(),
        GatewayDiskFull(),
    ]
