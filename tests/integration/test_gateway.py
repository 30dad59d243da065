"""The gateway as a process of its own, publishing to the real Kafka."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest
from engines import Engines
from gateways import SENSORS, count_lines, ends, gateway, good, grown, own_gateway, records_since
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from maredata.names import READINGS, REJECTED
from maredata.settings import Settings


@pytest.fixture
def settings(broker: Engines, tmp_path: Path) -> Settings:
    """The broker, with a home and ports of this test's own."""
    return own_gateway(broker.settings, tmp_path / "home")


def malformed(count: int) -> list[bytes]:
    """Datagrams of lines of which hardly one is a reading: the same in every run."""
    reading = good(7)
    lines = st.one_of(
        st.integers(0, len(reading) - 1).map(lambda end: reading[:end]),
        st.tuples(st.integers(0, len(reading) - 1), st.binary(min_size=1, max_size=4)).map(
            lambda change: reading[: change[0]] + change[1] + reading[change[0] + 1 :]
        ),
        st.floats().map(lambda number: json.dumps({"sensor_id": number, "timestamp": number}).encode()),
        st.integers(-(10**300), 10**300).map(lambda number: b'{"sensor_id": %d}' % number),
        st.sampled_from([b"", b"null", b"[]", b'{"sensor_id": 1, "temperature": NaN}', b"\xff" * 9, b"{" * 9000]),
        st.binary(max_size=100),
        st.text(max_size=50).map(lambda text: json.dumps(text).encode()),
    )
    datagrams = st.one_of(
        lines,
        st.lists(lines, max_size=8).map(b"\n".join),
        st.binary(min_size=1, max_size=8).map(lambda part: (part * 65_507)[:65_507].replace(b"\n", b" ")),
    )
    found: list[bytes] = []

    @hypothesis_settings(
        derandomize=True,
        max_examples=count,  # one each: within an example Hypothesis repeats itself
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(datagrams)
    def collect(datagram: bytes) -> None:
        found.append(datagram[:65_507])

    collect()
    return found[:count]


def test_ten_thousand_malformed_datagrams_leave_it_running_and_the_ledger_right(settings: Settings) -> None:
    datagrams = malformed(10_000)
    assert len(datagrams) == 10_000
    lines = sum(count_lines(datagram) for datagram in datagrams)
    readings, copies = ends(settings, READINGS), ends(settings, REJECTED)
    with gateway(settings) as running:
        running.send(datagrams)
        running.send([good(0)])
        ledger = running.wait_until(
            lambda now: (
                now["lines"]["received"] == lines + 1
                and now["lines"]["in_flight"] == now["rejected_copies"]["in_flight"] == 0
            )
        )
    assert ledger["datagrams"] == {"received": 10_001, "kernel_dropped": 0}
    assert ledger["lines"]["refused"] == ledger["rejected_copies"]["refused"] == 0
    assert ledger["lines"]["rejected"] > 9_000
    assert ledger["lines"]["accepted"] == grown(settings, READINGS, readings)
    assert ledger["lines"]["rejected"] == grown(settings, REJECTED, copies) == sum(ledger["rejected"].values())


def test_sigterm_takes_in_what_was_sent_and_flushes_and_a_restart_goes_on_counting(
    settings: Settings, tmp_path: Path
) -> None:
    accepted_log = tmp_path / "accepted.csv"
    starts = ends(settings, READINGS)
    for part in (0, 1):
        with gateway(settings, "--accepted-log", str(accepted_log)) as running:
            running.send([good(part * 5000 + number) for number in range(5000)])
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(30) == 0
            ledger = running.ledger()
        assert ledger["stopped"]
        assert ledger["lines"]["accepted"] == ledger["lines"]["received"] == (part + 1) * 5000
    records = records_since(settings, READINGS, starts)
    assert sorted(record.value for record in records) == sorted(good(number) for number in range(10_000))
    accepted = [line.rsplit(",", 1)[0] for line in accepted_log.read_text("ascii").splitlines()]
    assert sorted(accepted) == sorted(f"{number % SENSORS + 1},{number // SENSORS}" for number in range(10_000))


def test_a_sensor_stays_in_order_under_its_key(settings: Settings) -> None:
    starts = ends(settings, READINGS)
    with gateway(settings) as running:
        running.send([good(number) for number in range(2000)])
        running.wait_until(lambda now: bool(now["lines"]["accepted"] == 2000))
    by_key: dict[bytes, list[tuple[int, int]]] = {}
    for record in records_since(settings, READINGS, starts):
        by_key.setdefault(record.key, []).append((record.partition, json.loads(record.value)["seq"]))
    assert sorted(by_key) == sorted(b"%d" % (number + 1) for number in range(SENSORS))
    for found in by_key.values():
        assert len({partition for partition, _ in found}) == 1
        assert [seq for _, seq in found] == list(range(100))


def test_a_rejected_line_is_kept_with_its_reason_and_sender(settings: Settings) -> None:
    starts = ends(settings, REJECTED)
    with gateway(settings) as running, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"\xff\x00 nonsense", (settings.udp.host, settings.udp.port))
        port = sender.getsockname()[1]
        running.wait_until(lambda now: bool(now["rejected_copies"]["accepted"] == 1))
    (record,) = records_since(settings, REJECTED, starts)
    headers = record.headers
    assert (record.key, record.value) == (None, b"\xff\x00 nonsense")
    assert headers["reason"] == b"encoding"
    assert headers["sender"] == b"127.0.0.1:%d" % port
    assert set(headers) == {"reason", "detail", "sender", "received"}
