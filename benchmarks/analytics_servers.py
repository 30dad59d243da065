"""The two engines that are compared: each with the same memory, and started anew for a cold question."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace

from benchmarks import engines
from benchmarks.analytics_memory import Group, drop_page_cache, groups
from benchmarks.analytics_stores import ELASTICSEARCH, MARIADB, STORES
from installs import machine
from installs.engines import elasticsearch, mariadb
from installs.process import Port, Service, await_ready, start, stop
from maredata.names import READINGS_PATTERN
from maredata.settings import Settings
from maredata.stores import connect_elasticsearch

_STOP_SECONDS = 120  # a buffer pool with changes has to be written
_POOL = 3 / 4  # of MariaDB's memory, since it reads past the page cache
# Of Elasticsearch's: its makers advise half at the most, since searches read files through the page cache. With half of
# 2 GiB, and what a JVM takes beside its heap, 600 MiB were left for 1.5 GB of files, and each question read the disk.
_HEAP = 1 / 4

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Memory:
    """`each` engine may take so many bytes, of which `pool` and `heap` are given; `limited` says who sees to it."""

    each: int
    pool: int
    heap: int
    limited: bool

    @property
    def sentence(self) -> str:
        share = (
            f"Each engine is in a control group of {self.each >> 20:,} MiB, in which its files' page cache counts, too:"
            if self.limited
            else "Not limited by the kernel, since control groups can't be made here, so the page cache is shared:"
        )
        return (
            f"{share} MariaDB's buffer pool has {self.pool >> 20:,} MiB (it reads past the page cache), Elasticsearch's"
            f" heap {self.heap >> 20:,} MiB (the rest is for the page cache, through which it reads)."
        )

    def as_dict(self) -> dict[str, object]:
        return asdict(self) | {"sentence": self.sentence}


class Servers:
    """Both engines, running; `pids` by store. `memory` says what each has."""

    def __init__(self, settings: Settings, memory: Memory, held: dict[str, Group], progress: Progress) -> None:
        self._settings = settings
        self._groups = held
        self._progress = progress
        self._services = _services(settings)
        machine.check_ports(list(self._services.values()), settings.mariadb.host)
        self.memory = memory
        self.pids: dict[str, int] = {}
        for store in STORES:
            progress(f"starting {store}")
            self._start(store)

    def restart_cold(self, store: str) -> bool:
        """The engine has nothing in memory any more; whether that is true of the kernel's page cache, too."""
        stop(self._settings, store, _STOP_SECONDS)
        # Otherwise MariaDB reads back at its start what was in the buffer pool at its end.
        (self._settings.home / "data" / MARIADB / "data" / "ib_buffer_pool").unlink(missing_ok=True)
        dropped = drop_page_cache()
        self._start(store)
        return dropped

    def _start(self, store: str) -> None:
        service, group = self._services[store], self._groups.get(store)
        with group.entered() if group else nullcontext():
            record = start(self._settings, service)
        await_ready(self._settings, service, record)
        self.pids[store] = record.pid
        if store == ELASTICSEARCH:
            with connect_elasticsearch(self._settings) as client:
                waiting = client.options(request_timeout=150).cluster
                waiting.health(index=READINGS_PATTERN, wait_for_status="green", timeout="120s")


def sized(settings: Settings, each: int) -> tuple[Settings, Memory, dict[str, Group]]:
    """Settings with the engines' shares of so many bytes, what they are, and the groups that hold them to it."""
    held = groups(STORES, each)
    memory = Memory(each, int(each * _POOL), int(each * _HEAP), bool(held))
    chosen = settings.model_copy(
        update={
            MARIADB: settings.mariadb.model_copy(update={"buffer_pool": str(memory.pool)}),
            ELASTICSEARCH: settings.elasticsearch.model_copy(update={"heap": f"{memory.heap >> 20}m"}),
        }
    )
    return chosen, memory, held


@contextmanager
def running(settings: Settings, each: int, progress: Progress) -> Iterator[tuple[Settings, Servers]]:
    """Both, empty; afterwards neither they nor their data are left. The settings are those they have."""
    own, memory, held = sized(settings, each)
    try:
        with engines.running(own, (), progress):
            yield own, Servers(own, memory, held, progress)
    finally:
        for group in held.values():
            group.remove()


def _services(settings: Settings) -> dict[str, Service]:
    made = (mariadb(settings), elasticsearch(settings, machine.find_java(settings)))
    ports = {
        service.name: tuple(Port(port.number, engines.FIRST_PORT, port.udp) for port in service.ports)
        for service in made
    }
    return {service.name: replace(service, ports=ports[service.name]) for service in made}
