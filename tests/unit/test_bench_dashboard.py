"""What `mare bench dashboard` stores and says, without a browser."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.dashboard import Options, bodies, writing
from benchmarks.dashboard_tables import Look, tables
from maredata.errors import EngineTimedOut, StoreError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CHARTS = {"hour": {"1": 4.2, "8": 9.6}}


def test_the_history_has_every_buoy_evenly_over_thirty_days() -> None:
    lines = b"".join(bodies(Options(readings=600, buoys=20), NOW.timestamp())).decode().splitlines()
    actions, documents = [[json.loads(line) for line in lines[first::2]] for first in (0, 1)]
    instants = sorted({datetime.fromisoformat(f"{document['timestamp']}+00:00") for document in documents})
    assert (len(documents), len({action["create"]["_id"] for action in actions})) == (600, 600)
    assert {document["sensor_id"] for document in documents} == set(range(900_001, 900_021))
    assert (instants[-1], instants[-1] - instants[0]) == (NOW, timedelta(days=29))
    assert {action["create"]["_index"] for action in actions} == {
        "readings-2026.01",
        "readings-2026.02",
        "readings-2026.03",
    }


def test_a_goal_is_missed_where_one_update_of_ten_is_slow() -> None:
    look = Look(paint=400.0, drawn=900.0, updates=(*[100.0] * 9, 301.0), sizes=(150_000,) * 10)
    (found, charts) = tables([look, look], CHARTS, "some readings")
    verdicts = {row[0]: row[-1] for row in found["rows"]}
    assert verdicts == {
        "first paint, ms": "met",
        "all buoys drawn, ms": "",
        "an update, ms": "missed",
        "an update, bytes": "met",
    }
    assert charts["rows"] == [["hour", "4", "10"]]


def test_a_writer_that_failed_says_so() -> None:
    class FakeRefusal:
        """An Elasticsearch that takes nothing."""

        def __init__(self) -> None:
            self.asked = threading.Event()
            self.body = {"errors": True}

        def perform_request(self, *_: object, **_named: object) -> FakeRefusal:
            self.asked.set()
            return self

    client = FakeRefusal()
    with pytest.raises(StoreError, match="not taken all"), writing(client, Options(buoys=1)):  # type: ignore[arg-type]
        assert client.asked.wait(10)


def test_a_page_that_never_moved_is_no_result() -> None:
    with pytest.raises(EngineTimedOut, match="--seconds"):
        tables([Look(1, 1, (), (1,))], CHARTS, "some readings")
