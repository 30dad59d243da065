"""Trouble on the way from a sink to its store: a proxy in between resets connections, or is slow."""

from __future__ import annotations

import time

from connect import connectors
from connect.rest import Rest
from maredata.names import ELASTICSEARCH_SINK, MARIADB_SINK
from tests.faults.matrix import Fault
from tests.faults.proxy import Proxy
from tests.faults.system import RealSystem
from tests.waiting import await_true

_RESETS = 10
_LATENCY = 0.3  # seconds more in each direction
_SLOW_SECONDS = 15
_STORES = {"mariadb": MARIADB_SINK, "elasticsearch": ELASTICSEARCH_SINK}


class _Between(Fault[RealSystem]):
    """The sink's definition says where its store is: there the proxy's port takes the place of the store's."""

    def __init__(self, store: str) -> None:
        self._store, self._sink = store, _STORES[store]

    def prepare(self, system: RealSystem) -> None:
        chosen = getattr(system.settings, self._store)
        self.proxy = Proxy(chosen.host, chosen.port)
        definition = connectors.definitions(system.settings, system.schema)[self._sink]
        url = definition["connection.url"]
        through = url.replace(f"${{env:MARE_{self._store.upper()}__PORT}}", str(self.proxy.port))
        assert through != url, f"no port of {self._store} in {url}"
        with Rest(system.settings.connect.url) as rest:
            connectors.stop(system.settings, rest, self._sink)
            rest.put_config(self._sink, {**definition, "connection.url": through})
            rest.resume(self._sink)
        await_true(lambda: self._running(system), what=f"{self._sink} runs")

    def restore(self, system: RealSystem) -> None:
        connectors.apply(system.settings, system.schema, lambda _: None)
        self.proxy.close()

    def _running(self, system: RealSystem) -> bool:
        with Rest(system.settings.connect.url) as rest:
            connector = rest.connector(self._sink)
        return connector is not None and connector.running

    def _await_traffic(self) -> None:
        """Readings pass through the proxy now."""
        passed = self.proxy.passed
        await_true(lambda: self.proxy.passed > passed + 1_000, what=f"{self._sink} writes through the proxy")


class Resets(_Between):
    """Connections to a store are reset, again and again."""

    def __init__(self, store: str) -> None:
        super().__init__(store)
        self.name = f"{store}-resets"
        self.description = f"all connections from Connect to {store} reset {_RESETS} times, while it writes"

    def inflict(self, _system: RealSystem) -> None:
        for _ in range(_RESETS):
            self._await_traffic()
            self.proxy.reset_all()

    def happened(self, _system: RealSystem) -> str:
        assert self.proxy.resets >= _RESETS, f"the proxy has reset {self.proxy.resets} connections"
        return f"the proxy has reset {self.proxy.resets} of {self.proxy.connections} connections"


class Latency(_Between):
    """Every answer of a store takes longer."""

    def __init__(self, store: str) -> None:
        super().__init__(store)
        self.name = f"{store}-latency"
        self.description = f"{_LATENCY:g} s more in each direction between Connect and {store}, for {_SLOW_SECONDS} s"

    def inflict(self, _system: RealSystem) -> None:
        self._await_traffic()
        self._delayed = self.proxy.delayed
        self.proxy.delay = _LATENCY

    def happened(self, _system: RealSystem) -> str:
        time.sleep(_SLOW_SECONDS)
        # MariaDB greets who connects, so its answer is late by one direction; Elasticsearch's by both.
        seconds = self.proxy.round_trip(b"GET / HTTP/1.0\r\n\r\n" if self._store == "elasticsearch" else b"")
        delayed = self.proxy.delayed - self._delayed
        assert seconds >= _LATENCY, f"{self._store} answered after {seconds:.3f} s"
        assert delayed > 2, "nothing of the sink's was delayed"
        return f"an answer took {seconds:.2f} s, {delayed} pieces of data were delayed"

    def heal(self, _system: RealSystem) -> None:
        self.proxy.delay = 0.0
