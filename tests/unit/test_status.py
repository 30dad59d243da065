"""What `mare status` calls healthy, and what it shows of the connectors."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from maredata.names import ALL_CONNECTORS, REJECTED_SINK
from maredata.status import Status

GOOD = Status(
    processes=[],
    connectors=dict.fromkeys(ALL_CONNECTORS, "RUNNING"),
    readings={"Kafka": 1, "MariaDB": 1, "Elasticsearch": 1},
    lag=dict.fromkeys(ALL_CONNECTORS, 0) | {REJECTED_SINK: 1234},
    dead_letters=dict.fromkeys(ALL_CONNECTORS, 0) | {REJECTED_SINK: 56},
    ledger={},
)


def shown(status: Status) -> list[str]:
    console = Console(file=io.StringIO(), width=120)
    console.print(status.render())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text.splitlines()


def row(status: Status, connector: str) -> list[str]:
    (line,) = [line for line in shown(status) if f" {connector} " in line]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_all_connectors_running_is_healthy() -> None:
    assert GOOD.healthy


@pytest.mark.parametrize("name", ALL_CONNECTORS)
def test_each_connector_must_be_there_and_run(name: str) -> None:
    missing = {other: state for other, state in GOOD.connectors.items() if other != name}
    assert not replace(GOOD, connectors=missing).healthy
    assert not replace(GOOD, connectors=GOOD.connectors | {name: "FAILED"}).healthy
    assert row(replace(GOOD, connectors=missing), name)[1] == "not there"


def test_every_connector_is_shown_with_its_lag_and_dead_letters() -> None:
    assert row(GOOD, REJECTED_SINK) == [REJECTED_SINK, "running", "1,234", "56"]
    for name in ALL_CONNECTORS:
        assert row(GOOD, name)[1] == "running"


def test_what_connect_did_not_say_is_not_called_missing() -> None:
    away = replace(GOOD, connectors={}, lag={}, dead_letters={})
    assert not away.healthy
    assert row(away, REJECTED_SINK) == [REJECTED_SINK, "not known", "", ""]


def test_connector_of_somebody_elses_is_shown_and_counts() -> None:
    assert row(replace(GOOD, connectors=GOOD.connectors | {"theirs": "PAUSED"}), "theirs")[1] == "paused"
    assert not replace(GOOD, connectors=GOOD.connectors | {"theirs": "PAUSED"}).healthy
