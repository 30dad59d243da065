"""The Elasticsearch sink, killed from all sides while it writes: each reading is stored once, and none is committed
before it is.

Topics are filled before the sink begins, so that it writes as fast as it can, with bulks under way all the time.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator

import pytest
from sinks import Workers, running_sink
from waiting import await_true

RECORDS = 100_000
MANY_RECORDS = 150_000
# So slow that it has not written them all before a second worker has started and taken a task.
SLOW = {"consumer_override_max_poll_records": "100", "max_buffered_records": "100", "batch_documents": "25"}
WORKER = "worker"
FIRST_KILL = (0.1, 0.3)  # share of the records that is stored by then; which one is chance
SECOND_KILL = (0.35, 0.5)


@pytest.fixture(scope="module")
def engines() -> Iterator[Workers]:
    with Workers() as launched:
        yield launched


@pytest.fixture
def chance() -> random.Random:
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.mark.parametrize("kind", [WORKER, "elasticsearch", "kafka"])
def test_each_reading_is_stored_once_whatever_is_killed(engines: Workers, chance: random.Random, kind: str) -> None:
    with running_sink(engines, f"kill-{kind}", RECORDS, chance) as sink:
        victim = sink.worker if kind == WORKER else kind
        sink.await_busy(int(RECORDS * chance.uniform(*FIRST_KILL)))
        engines.kill(victim)
        engines.start(victim)
        sink.await_busy(int(RECORDS * chance.uniform(*SECOND_KILL)))
        engines.kill(victim)
        if kind != WORKER:
            # Without its worker the sink can't make good what it has committed too early.
            engines.kill(sink.worker)
            engines.start(victim)
        committed = sink.committed()
        sink.assert_searchable(committed)
        assert sink.behind(committed) > 0, "it had written everything before the kill"
        engines.start(sink.worker)
        sink.await_end()
        sink.assert_exact()


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_each_reading_is_stored_once_when_workers_come_and_go(
    engines: Workers, chance: random.Random, end: str
) -> None:
    with running_sink(engines, f"worker-{end}", MANY_RECORDS, chance, **SLOW) as sink:
        sink.await_busy(MANY_RECORDS // 20)
        leaving, staying = sink.worker, engines.other(sink.worker)
        engines.start(staying)
        both = {engines.worker_id(worker) for worker in (leaving, staying)}
        await_true(lambda: sink.workers() == both, what="each worker has a task")
        sink.worker = staying
        sink.await_busy(0)
        if end == "killed":
            engines.kill(leaving)
        else:
            engines.stop(leaving)
        committed = sink.committed()
        sink.assert_searchable(committed)
        assert sink.behind(committed) > 0, "it had written everything before the worker was gone"
        sink.await_end()
        assert sink.workers() == {engines.worker_id(staying)}
        sink.assert_exact()
