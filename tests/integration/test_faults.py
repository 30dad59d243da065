"""The fault matrix in its short form on the real engines, and what it must notice there: a reading that is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import Instance
from waiting import await_true

from installs.launcher import stop_one
from maredata.names import READINGS_PATTERN
from maredata.stores import connect_elasticsearch
from tests.faults import accounts, catalogue
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
        found = await_true(lambda: accounts.documents(system.settings, system.load.sensors), what="documents")
        self._id = "{}-{}".format(*found[0])
        query = {"ids": {"values": [self._id]}}
        with connect_elasticsearch(system.settings) as client:
            done = client.delete_by_query(index=READINGS_PATTERN, query=query, refresh=True)
        self._deleted = int(done["deleted"])

    def happened(self, _system: RealSystem) -> str:
        assert self._deleted == 1
        return f"document {self._id} is deleted"


def test_one_reading_lost_fails_the_matrix(instance: Instance, system: RealSystem) -> None:
    found = run_fault(LoseOne(), system, print)
    repaired = instance.mare("verify", "--exact", "--repair", "--since", system.since)
    assert (found.lost, found.passed) == (1, False)
    assert found.elasticsearch == found.mariadb - 1
    assert "1 accepted readings lost" in found.trouble
    assert "`mare verify --exact` ended with 1" in found.trouble
    assert repaired.returncode == 0, repaired.stdout  # for the tests that come later
