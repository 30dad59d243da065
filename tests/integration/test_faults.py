"""The fault matrix in its short form on the real engines, and what it must notice there: a reading that is lost."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from conftest import Instance
from waiting import await_true

from installs.launcher import stop_one
from maredata.names import READINGS_PATTERN
from maredata.stores import connect_elasticsearch
from tests.faults import catalogue
from tests.faults.matrix import Fault, run_fault
from tests.faults.system import GATEWAY, RealSystem


@pytest.fixture(scope="module")
def system(instance: Instance) -> Iterator[RealSystem]:
    running = RealSystem(instance.settings)
    yield running
    running.load.off()
    stop_one(instance.settings, GATEWAY)


@pytest.mark.parametrize("fault", catalogue.short(), ids=lambda fault: fault.name)
def test_nothing_accepted_is_lost(system: RealSystem, fault: Fault[RealSystem]) -> None:
    found = run_fault(fault, system, print)
    print(found)
    assert found.passed, found.trouble


class LoseOne(Fault[RealSystem]):
    """What no fault may do: one accepted reading is deleted from a store."""

    name = "lose-one"
    description = "one document deleted from Elasticsearch"

    def inflict(self, system: RealSystem) -> None:
        sensors = system.load.sensors
        query = {"range": {"sensor_id": {"gte": sensors[0], "lte": sensors[-1]}}}
        with connect_elasticsearch(system.settings) as client:
            search = partial(client.search, index=READINGS_PATTERN, query=query, size=1)
            (hit,) = await_true(lambda: search()["hits"]["hits"], what="documents")
            self._gone = client.delete(index=hit["_index"], id=hit["_id"], refresh=True)

    def happened(self, _system: RealSystem) -> str:
        assert self._gone["result"] == "deleted"
        return f"document {self._gone['_id']} is deleted"


def test_one_reading_lost_fails_the_matrix(instance: Instance, system: RealSystem) -> None:
    found = run_fault(LoseOne(), system, print)
    print(found)
    repaired = instance.mare("verify", "--exact", "--repair", "--since", system.since)
    assert (found.lost, found.passed) == (1, False)
    assert found.elasticsearch == found.mariadb - 1
    assert "1 accepted readings lost" in found.trouble
    assert "`mare verify --exact` ended with 1" in found.trouble
    assert repaired.returncode == 0, repaired.stdout  # for the tests that come later
