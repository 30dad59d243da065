"""/metrics is what Prometheus takes, /healthz says why not, and lags are as old as they say."""

from __future__ import annotations

import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.admin import OffsetSpec
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from waiting import await_true

from maredata import lag
from maredata.errors import EngineAlreadyRunning, MachineError
from maredata.lag import SinkOffsets, sink_lag, sink_offsets
from maredata.names import ELASTICSEARCH_SINK, MARIADB_SINK, SINKS
from maredata.settings import Metrics, Settings
from udp_server import lagging, metrics
from udp_server.lagging import History, Lag, Lags
from udp_server.metrics import MetricsServer

LEDGER: dict[str, Any] = {
    "pid": 1,
    "started": "2024-01-21T10:06:04+00:00",
    "updated": "2024-01-21T10:06:05.500000+00:00",
    "stopped": None,
    "fingerprint": "abc",
    "workers": 2,
    "receive_buffer": 8388608,
    "datagrams": {"received": 101, "kernel_dropped": 102},
    "lines": {
        "received": 103,
        "accepted": 104,
        "rejected": 3,
        "refused": 7,
        "in_flight": 105,
        "lost_in_crash": 106,
        "acknowledged": 107,
        "spooled": 108,
        "replayed": 109,
    },
    "rejected": {"malformed": 3},
    "refused": {"spool_full": 4, "unauthorized": 0, "rate_limited": 3},
    "spool": {"messages": 110, "bytes": 111, "limit_bytes": 112},
    "rejected_copies": {"accepted": 113, "refused": 114, "in_flight": 115, "lost_in_crash": 116},
    "unknown_fields": {"salinity": 1, 'a"b\\c\nd': 2},
    "implausible": {"temperature": 2},
    "sensors": {
        "followed": 10,
        "not_followed": 117,
        "missing": 118,
        "duplicates": 119,
        "conflicts": 120,
        "out_of_order": 121,
        "late": 122,
        "clock_ahead": 123,
        "restarts": 124,
    },
    "tcp": {"connections": 125, "accepted": 126, "refused": 127},
    "queue": {"messages": 128, "bytes": 129},
    "receive_queue_bytes": 130,
    "latency": {"bounds": [0.001, 0.0025, 1], "counts": [5, 0, 3, 2], "sum": 1.25},
    "silent": 131,
    "events": {
        "told": 132,
        "published": 133,
        "unpublished": 134,
        "webhook_delivered": 135,
        "webhook_failed": 136,
        "webhook_dropped": 137,
    },
}

# Every sample of LEDGER that is not 0, as Prometheus reads it, without `mare_gateway_`.
GOLDEN = """
acknowledge_seconds_bucket{le=0.001} 5
acknowledge_seconds_bucket{le=0.0025} 5
acknowledge_seconds_bucket{le=1.0} 8
acknowledge_seconds_bucket{le=+Inf} 10
acknowledge_seconds_count 10
acknowledge_seconds_sum 1.25
datagrams_kernel_dropped_total 102
datagrams_received_total 101
events_published_total 133
events_told_total 132
events_unpublished_total 134
implausible_values_total{field=temperature} 2
ledger_updated_timestamp_seconds 1.7058315655e+09
lines_accepted_total 104
lines_acknowledged_total 107
lines_in_flight 105
lines_lost_in_crash_total 106
lines_received_total 103
lines_refused_total{reason=rate_limited} 3
lines_refused_total{reason=spool_full} 4
lines_rejected_total{reason=malformed} 3
queue_bytes 129
queue_messages 128
readings_clock_ahead_total 123
readings_conflicting_total 120
readings_duplicate_total 119
readings_late_total 122
readings_missing 118
readings_not_followed_total 117
readings_out_of_order_total 121
receive_buffer_bytes 8388608
receive_queue_bytes 130
rejected_copies_accepted_total 113
rejected_copies_in_flight 115
rejected_copies_lost_in_crash_total 116
rejected_copies_refused_total 114
sensor_restarts_total 124
sensors_followed 10
sensors_silent 131
spool_bytes 111
spool_limit_bytes 112
spool_messages 110
spool_replayed_total 109
spool_written_total 108
start_time_seconds 1.705831564e+09
tcp_connections 125
tcp_connections_accepted_total 126
tcp_connections_refused_total 127
unknown_fields_total{field=a"b\\c\\nd} 2
unknown_fields_total{field=salinity} 1
webhook_delivered_total 135
webhook_dropped_total 137
webhook_failed_total 136
workers 2
"""


@contextmanager
def serving(
    ledger: Callable[[], Mapping[str, Any]] = dict,
    health: Callable[[], list[str]] = list,
    lags: Callable[[], Mapping[str, Lag]] = dict,
    host: str = "127.0.0.1",
) -> Iterator[httpx.Client]:
    server = MetricsServer(Metrics(host=host, port=0), ledger, health, lags)
    server.start()
    try:
        url = f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            yield client
    finally:
        server.close()


def families(ledger: Mapping[str, Any], lags: Callable[[], Mapping[str, Lag]] = dict) -> dict[str, Metric]:
    with serving(lambda: ledger, lags=lags) as client:
        answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def samples(found: Mapping[str, Metric]) -> dict[str, float]:
    """Values by what stands before them in the text, without quotes."""
    texts = {}
    for family in found.values():
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items()).replace("\n", "\\n")
            texts[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return texts


def test_every_number_of_the_ledger_has_its_place() -> None:
    stem = "mare_gateway_"
    found = {name: value for name, value in samples(families(LEDGER)).items() if name.startswith(stem) and value}
    golden = dict(line.rsplit(" ", 1) for line in GOLDEN.strip().splitlines())
    assert {name.removeprefix(stem): value for name, value in found.items()} == {k: float(v) for k, v in golden.items()}


def test_an_empty_ledger_is_all_zeros() -> None:
    found = samples(families({}))
    ours = {name: value for name, value in found.items() if name.startswith("mare_")}
    assert ours["mare_gateway_acknowledge_seconds_bucket{le=+Inf}"] == 0
    assert ours["mare_gateway_lines_refused_total{reason=spool_full}"] == 0
    assert ours["mare_gateway_lines_rejected_total{reason=malformed}"] == 0
    assert ours["mare_gateway_lines_received_total"] == ours["mare_gateway_tcp_connections"] == 0
    assert set(ours.values()) == {0.0}


def test_names_and_types_are_as_promtool_wants_them() -> None:
    found = {
        name: family for name, family in families(LEDGER, lags_of(taken()).read).items() if name.startswith("mare_")
    }
    assert len(found) > 40
    for name, family in found.items():
        assert re.fullmatch(r"mare_(gateway|sink)(_[a-z]+)+", name)
        assert re.fullmatch(r"[A-Z].{9,}\.", family.documentation), name
        assert not re.search(r"_(milliseconds|ms|minutes|hours|kilobytes|kb|mb|percent)$", name)
        assert not re.search(r"_(total|count|sum|bucket|counter|gauge|histogram)$", name)
        if family.type == "counter":
            assert {sample.name for sample in family.samples} == {f"{name}_total"}
        else:
            assert family.type in ("gauge", "histogram")
    assert [name for name, family in found.items() if family.type == "histogram"] == [
        "mare_gateway_acknowledge_seconds"
    ]


def test_the_page_names_no_sample_twice_and_has_the_process() -> None:
    with serving(lambda: LEDGER) as client:
        lines = [line.rsplit(" ", 1)[0] for line in client.get("/metrics").text.splitlines() if line[0] != "#"]
    assert len(lines) == len(set(lines))
    assert "process_cpu_seconds_total" in lines
    assert any(line.startswith("python_info{") for line in lines)


def test_a_field_name_that_is_no_text_does_not_break_the_page() -> None:
    found = samples(families({"unknown_fields": {"\ud800": 1, "\\ud800": 2, "ü": 3}}))
    assert found["mare_gateway_unknown_fields_total{field=\\ud800}"] == 3
    assert found["mare_gateway_unknown_fields_total{field=ü}"] == 3


def test_openmetrics_is_served_to_who_asks_for_it() -> None:
    with serving(lambda: LEDGER) as client:
        answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.text.endswith("# EOF\n")


def test_health_is_ok_or_says_why_not() -> None:
    troubles: list[str] = []
    with serving(health=lambda: troubles) as client:
        answer = client.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert answer.headers["content-type"].startswith("application/json")
        troubles.append("worker 1 is dead")
        answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "trouble", "reasons": ["worker 1 is dead"]})


def test_every_other_path_is_404_with_a_sentence() -> None:
    with serving() as client:
        for path in ("/", "/favicon.ico", "/metrics/x"):
            answer = client.get(path)
            assert (answer.status_code, answer.text) == (404, "There is /metrics, and there is /healthz.\n")


def test_a_mistake_of_ours_is_500_and_in_the_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> Any:
        raise KeyError("oops")

    with serving(ledger=fail, health=fail) as client:
        assert [client.get(path).status_code for path in ("/metrics", "/healthz")] == [500, 500]
        assert client.get("/").status_code == 404
    assert "KeyError: 'oops'" in caplog.text
    assert capfd.readouterr().err == ""


def test_a_client_that_says_nothing_holds_nobody_up(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics._Handler, "timeout", 600)
    with serving(lambda: LEDGER) as client:
        address = (client.base_url.host, client.base_url.port or 0)
        with socket.create_connection(address), socket.create_connection(address) as broken:
            broken.sendall(b"nonsense\r\n\r\n")
            assert client.get("/healthz").status_code == 200
    assert capfd.readouterr().err == ""


def test_a_client_that_says_nothing_is_let_go(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics._Handler, "timeout", 0.01)
    with (
        serving() as client,
        socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=30) as silent,
    ):
        assert silent.recv(1) == b""
    assert capfd.readouterr().err == ""


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken_already:
        port = taken_already.getsockname()[1]
        server = MetricsServer(Metrics(port=port), dict, list, dict)
        with pytest.raises(EngineAlreadyRunning, match=rf"127\.0\.0\.1:{port} is in use.*MARE_METRICS__PORT"):
            server.start()
    server.start()  # now it is free
    assert server.port == port
    listener = server._server
    assert listener is not None
    server.close()
    assert listener.socket.fileno() == -1


def test_an_address_that_is_not_ours_is_one_sentence() -> None:
    with pytest.raises(MachineError, match=r"192\.0\.2\.1.*MARE_METRICS__HOST"):
        MetricsServer(Metrics(host="192.0.2.1", port=0), dict, list, dict).start()


def test_it_serves_on_ipv6_too() -> None:
    with serving(host="::1") as client:
        assert client.get("/healthz").status_code == 200


# --- lags


def offsets(ends: list[int], mariadb: list[int], elasticsearch: list[int] | None = None) -> SinkOffsets:
    lists = {MARIADB_SINK: mariadb, ELASTICSEARCH_SINK: ends if elasticsearch is None else elasticsearch}
    return SinkOffsets(dict(enumerate(ends)), {sink: dict(enumerate(found)) for sink, found in lists.items()})


def taken() -> SinkOffsets:
    return offsets([10, 5], [7, 5])


def lags_of(answer: SinkOffsets) -> Lags:
    lags = Lags(Settings(), lambda _settings: answer)
    lags._look()
    return lags


def test_lag_is_the_time_since_the_newest_sample_that_is_committed_completely() -> None:
    history = History()
    history.take(offsets([10, 5], [10, 5]), 0)
    history.take(offsets([20, 5], [10, 5]), 10)
    history.take(offsets([30, 6], [10, 5]), 20)
    assert history.take(offsets([30, 6], [20, 5]), 30) == {
        MARIADB_SINK: Lag(11, 20),  # what came before 10 is committed
        ELASTICSEARCH_SINK: Lag(0, 0),
    }
    assert history.take(offsets([30, 6], [30, 5]), 40)[MARIADB_SINK] == Lag(1, 30)  # one partition is enough
    assert history.take(offsets([30, 6], [30, 6]), 50)[MARIADB_SINK] == Lag(0, 0)


def test_a_quiet_topic_makes_no_reading_old() -> None:
    history = History()
    for at in range(0, 36_000, 10):
        history.take(offsets([10], [10]), at)
    assert history.take(offsets([11], [10]), 36_000)[MARIADB_SINK] == Lag(1, 10)


def test_what_was_there_before_the_first_sample_is_as_old_as_that() -> None:
    history = History()
    assert history.take(offsets([10], [3]), 100)[MARIADB_SINK] == Lag(7, 0)
    for at in range(110, 500, 10):
        history.take(offsets([10], [3]), at)
    assert history.take(offsets([10], [3]), 500)[MARIADB_SINK] == Lag(7, 400)
    assert len(history) == 2


def test_a_topic_made_anew_begins_anew() -> None:
    history = History()
    for number in range(10):
        history.take(offsets([1000 + number], [900]), number)
    assert history.take(offsets([5], [5]), 10)[MARIADB_SINK] == Lag(0, 0)
    assert history.take(offsets([7], [5]), 20)[MARIADB_SINK] == Lag(2, 10)


def test_partitions_that_are_added_count_from_then_on() -> None:
    history = History()
    history.take(offsets([10], [10]), 0)
    assert history.take(offsets([10, 4], [10, 0]), 10)[MARIADB_SINK] == Lag(4, 10)


def test_history_stays_small_while_all_goes_well_and_while_a_sink_is_away() -> None:
    well, away = History(), History()
    for number in range(10_000):
        well.take(offsets([number], [number - 1]), number)
        found = away.take(offsets([number + 5], [5]), number)
    assert len(well) < 5
    assert len(away) <= lagging._MOST_SAMPLES
    assert found[MARIADB_SINK] == Lag(9_999, 9_999)
    caught_up = away.take(offsets([10_005], [9_000]), 10_000)[MARIADB_SINK]
    assert 1_005 <= caught_up.seconds <= 1_205  # it came at 8995; samples are sparse by now


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=60))
def test_no_lag_is_shorter_than_the_oldest_readings_age_nor_more_than_a_sample_longer(
    steps: list[tuple[int, int]],
) -> None:
    """Each step: so many readings come, then so many are committed, then it is sampled, ten seconds after the last."""
    history, came_at, done = History(), list[int](), 0
    history.take(offsets([0], [0]), 0)
    for number, (coming, committing) in enumerate(steps):
        came_at += [10 * number + 5] * coming
        done = min(len(came_at), done + committing)
        now = 10 * number + 10
        found = history.take(offsets([len(came_at)], [done]), now)[MARIADB_SINK]
        age = now - came_at[done] if done < len(came_at) else 0
        assert age <= found.seconds <= age + 10 if age else found.seconds == 0
        assert found.messages == len(came_at) - done


def test_lags_are_gauges_by_sink() -> None:
    found = samples(families({}, lags_of(taken()).read))
    assert {name: value for name, value in found.items() if name.startswith("mare_sink")} == {
        "mare_sink_lag_messages{sink=mariadb-readings}": 3,
        "mare_sink_lag_messages{sink=elasticsearch-readings}": 0,
        "mare_sink_lag_seconds{sink=mariadb-readings}": 0,
        "mare_sink_lag_seconds{sink=elasticsearch-readings}": 0,
    }


def test_without_kafka_there_are_no_lags_which_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    there = True

    def ask(_settings: Settings) -> SinkOffsets:
        if not there:
            raise OSError("nobody there")
        return taken()

    lags = Lags(Settings(), ask)
    with caplog.at_level(logging.INFO, "udp_server.lagging"):
        for there in (True, False, False, True, True):
            lags._look()
            assert set(lags.read()) == (set(SINKS) if there else set())
            assert bool([name for name in samples(families({}, lags.read)) if name.startswith("mare_sink")]) is there
    assert [record.getMessage() for record in caplog.records] == [
        "the sinks' lag can't be asked",
        "the sinks' lag can be asked again",
    ]


def test_lags_are_asked_for_again_and_again_until_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lagging, "_EVERY", 0.01)
    asked: list[Settings] = []

    def ask(settings: Settings) -> SinkOffsets:
        asked.append(settings)
        return taken()

    lags = Lags(Settings(), ask)
    lags.start()
    await_true(lambda: len(asked) > 2, 30)
    assert lags.read()[MARIADB_SINK].messages == 3
    lags.stop()
    assert "lags" not in {thread.name for thread in threading.enumerate()}


class FakeAdmin:
    """Stands in for kafka-python's admin client, and for a topic of two partitions."""

    def __enter__(self) -> FakeAdmin:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def list_topics(self) -> list[str]:
        return ["readings", "other"]

    def list_group_offsets(self, groups: dict[str, None]) -> dict[str, Any]:
        assert set(groups) == {"connect-mariadb-readings", "connect-elasticsearch-readings"}
        first = TopicPartition("readings", 0)
        second = TopicPartition("readings", 1)
        behind = {first: SimpleNamespace(offset=3), second: SimpleNamespace(offset=40)}
        return {
            "connect-mariadb-readings": behind,
            "connect-elasticsearch-readings": {second: SimpleNamespace(offset=-1)},
        }

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        assert names == ["readings"]
        return [{"name": "readings", "partitions": [{"partition_index": 0}, {"partition_index": 1}]}]

    def list_partition_offsets(self, wanted: dict[Any, Any]) -> dict[Any, Any]:
        found = {OffsetSpec.EARLIEST: (5, 30), OffsetSpec.LATEST: (10, 50)}
        return {at: SimpleNamespace(offset=found[spec][at.partition]) for at, spec in wanted.items()}


def test_sink_offsets_begin_where_the_topic_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind retention, and without a commit, a sink goes on with the topic's first message."""
    monkeypatch.setattr(lag, "kafka_admin", lambda _settings: FakeAdmin())
    assert sink_offsets(Settings()) == SinkOffsets(
        {0: 10, 1: 50}, {MARIADB_SINK: {0: 5, 1: 40}, ELASTICSEARCH_SINK: {0: 5, 1: 30}}
    )
    assert sink_lag(Settings()) == {MARIADB_SINK: 15, ELASTICSEARCH_SINK: 25}
