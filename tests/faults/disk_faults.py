"""Full disks: each engine's folder is a small disk of its own, which is filled to the last byte."""

from __future__ import annotations

import signal
from typing import ClassVar

from maredata.names import ELASTICSEARCH_SINK, MARIADB_SINK
from tests.faults.disks import NoSmallDisks, SmallDisk
from tests.faults.matrix import Fault
from tests.faults.system import RealSystem
from tests.waiting import await_true

QUEUE_MESSAGES = 2_000  # so that the gateway's memory is soon full, too
_BEHIND = 5_000  # readings that a sink doesn't get rid of
# Bytes. Elasticsearch makes no index where less than 2 GB are free.
DISKS = {
    "data/kafka": 1 << 30,
    "data/connect": 64 << 20,
    "data/mariadb": 2 << 30,
    "data/elasticsearch": 5 << 30,
    "logs": 256 << 20,
    "state/gateway": 64 << 20,
}


class _DiskFull(Fault[RealSystem]):
    small_disks = True
    folders: ClassVar[tuple[str, ...]]

    def inflict(self, system: RealSystem) -> None:
        for disk in self._disks(system):
            disk.fill()

    def heal(self, system: RealSystem) -> None:
        for disk in self._disks(system):
            disk.empty()

    def refused(self, system: RealSystem) -> str:
        for disk in self._disks(system):
            disk.fill()
            assert disk.refuses(), f"{disk.path} takes more"
        return "its disk takes no more"

    def _disks(self, system: RealSystem) -> list[SmallDisk]:
        if not system.disks:
            raise NoSmallDisks("no disk of our own could be mounted, so none can be filled")
        return [system.disks[folder] for folder in self.folders]


class KafkaDiskFull(_DiskFull):
    """Kafka ends when it can't write its log, and at each start until there is room."""

    name = "kafka-disk-full"
    description = "Kafka's disk full, until Kafka has ended of it"
    folders = ("data/kafka",)

    def inflict(self, system: RealSystem) -> None:
        self._before = system.living("kafka")
        super().inflict(system)

    def happened(self, system: RealSystem) -> str:
        await_true(lambda: not self._before.alive, what="Kafka has ended")
        return f"{self.refused(system)}; process {self._before.pid} has ended"


class _StoreDiskFull(_DiskFull):
    sink: ClassVar[str]

    def happened(self, system: RealSystem) -> str:
        await_true(lambda: self._behind(system) > _BEHIND, what=f"{self.sink} can't write")
        return f"{self.refused(system)}; {self.sink} is {self._behind(system):,} readings behind"

    def _behind(self, system: RealSystem) -> int:
        """A store that fails for want of room gives some of it back: that goes, too."""
        for disk in self._disks(system):
            disk.fill()
        return system.gone_behind()[self.sink]


class MariaDBDiskFull(_StoreDiskFull):
    name = "mariadb-disk-full"
    description = f"MariaDB's disk full, until its sink is {_BEHIND:,} readings behind"
    folders = ("data/mariadb",)
    sink = MARIADB_SINK


class ElasticsearchDiskFull(_StoreDiskFull):
    name = "elasticsearch-disk-full"
    description = f"Elasticsearch's disk full, until its sink is {_BEHIND:,} readings behind"
    folders = ("data/elasticsearch",)
    sink = ELASTICSEARCH_SINK


class ConnectDiskFull(_DiskFull):
    """Connect keeps nothing on its disk but its log, and configuration that is written at its start."""

    name = "connect-disk-full"
    description = "the disk of Connect and of all logs full, and Connect killed meanwhile"
    folders = ("data/connect", "logs")

    def inflict(self, system: RealSystem) -> None:
        super().inflict(system)
        self._killed = system.signal("connect", signal.SIGKILL)

    def happened(self, system: RealSystem) -> str:
        await_true(lambda: not self._killed.alive, what="Connect is dead")
        await_true(lambda: system.gone_behind()[MARIADB_SINK] > _BEHIND / 2, what="nothing is stored")
        return f"{self.refused(system)}; process {self._killed.pid} is gone"


class GatewayDiskFull(_DiskFull):
    """The gateway needs its disk only while Kafka is away: so Kafka stands still meanwhile."""

    name = "gateway-disk-full"
    description = "the gateway's disk full while Kafka stands still, until the gateway refuses readings"
    folders = ("state/gateway",)

    def inflict(self, system: RealSystem) -> None:
        self._refused = self._count(system)
        super().inflict(system)
        system.signal("kafka", signal.SIGSTOP)

    def happened(self, system: RealSystem) -> str:
        await_true(lambda: self._count(system) > self._refused, what="the gateway refuses readings")
        return f"{self.refused(system)}; the gateway has refused {self._count(system) - self._refused:,} readings"

    def heal(self, system: RealSystem) -> None:
        super().heal(system)
        system.signal("kafka", signal.SIGCONT)

    def _count(self, system: RealSystem) -> int:
        return int(system.ledger()["refused"].get("spool_failed", 0))
