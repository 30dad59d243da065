"""The ledger balances, whatever arrives: fuzzed datagrams through the way from receive over check to publish."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from maredata.reading import Reading, parse_timestamp
from maredata.schema import load_schema
from maredata.settings import CHECKOUT
from maredata.settings import Reading as Rules
from udp_server.check import Checker, Rejection
from udp_server.intake import Intake
from udp_server.ledger import LONGEST_NAME, MOST_NAMES, OTHER_NAMES, Ledger
from udp_server.receive import Address

ARRIVAL = parse_timestamp("2026-01-01 00:00:00.000000")
SENDER = ("192.0.2.1", 5000)
SCHEMA = load_schema(CHECKOUT / "maredata" / "reading.toml")

# What buoys send, what it looks like broken, and what was never meant for us.
NUMBERS = st.one_of(
    st.floats(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.sampled_from([float("nan"), float("inf"), 1e308, 2**63, 20.9]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
NAMES = st.one_of(st.sampled_from(SCHEMA.names), st.text(max_size=12))
RECORDS = st.builds(
    lambda good, others: {**good, **others},
    st.fixed_dictionaries(
        {"sensor_id": st.integers(0, 50), "timestamp": st.just("2025-06-01 10:00:00.000001")},
        optional={"temperature": st.floats(-300, 1100), "seq": st.integers(0, 10)},
    ),
    st.dictionaries(NAMES, VALUES, max_size=3),
)
LINES = st.one_of(
    RECORDS.map(lambda record: json.dumps(record).encode()),
    st.tuples(RECORDS, st.integers(0, 200)).map(lambda cut: json.dumps(cut[0]).encode()[: cut[1]]),
    st.tuples(RECORDS, st.binary(max_size=3)).map(lambda bad: json.dumps(bad[0]).encode().replace(b'"', bad[1])),
    st.sampled_from([b"", b"\r", b"null", b"[]", b"\xff\xfe", b"{" * 5000, b"[" * 65_000, b"9" * 65_507]),
    st.binary(max_size=60),
)
DATAGRAMS = st.one_of(
    st.lists(LINES, max_size=6).map(lambda lines: b"\n".join(lines)[:65_507]),
    st.builds(lambda part, times: (part * times)[:65_507], LINES, st.integers(1, 500)),
)


class FakePublisher:
    """Stands in for Kafka: records what it is given, and acknowledges what it is told to."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.published: list[bytes] = []
        self.kept: list[Rejection] = []

    def publish(self, reading: Reading) -> None:
        self.published.append(reading.line)
        self.ledger.readings.in_flight += 1

    def keep(self, rejection: Rejection, sender: Address, received: int) -> None:
        assert (sender, received) == (SENDER, ARRIVAL)
        self.kept.append(rejection)

    def acknowledge(self) -> None:
        self.ledger.readings.accepted += self.ledger.readings.in_flight
        self.ledger.readings.in_flight = 0


@settings(deadline=None, max_examples=300)
@given(st.lists(DATAGRAMS, max_size=8))
def test_every_line_is_in_one_column(datagrams: list[bytes]) -> None:
    ledger = Ledger()
    publisher = FakePublisher(ledger)
    intake = Intake(Checker(SCHEMA, Rules()), ledger, publisher)
    for payload in datagrams:
        intake.take(payload, SENDER, ARRIVAL)
        assert ledger.missing() == 0
    lines = [line for payload in datagrams for line in _lines_by_hand(payload)]
    assert ledger.lines == len(lines)
    assert ledger.readings.in_flight == len(publisher.published)
    assert ledger.rejected.total() == len(publisher.kept)
    assert not [rejection for rejection in publisher.kept if "check itself failed" in rejection.detail]
    assert all(rejection.line in lines for rejection in publisher.kept)
    assert all(b"\n" not in line for line in publisher.published)
    publisher.acknowledge()
    assert ledger.missing() == 0
    json.dumps(ledger.as_dict())


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([b"{}", b"", b'{"sensor_id": 1}'])), max_size=20))
def test_a_restart_keeps_the_counts_and_shows_what_was_in_flight_as_lost(events: list[tuple[bool, bytes]]) -> None:
    ledger = Ledger()
    good = b'{"sensor_id": 1, "timestamp": "2025-01-01 00:00:00.000000", "salinity": 1, "temperature": 70}'
    for restarts, line in events:
        before = ledger
        if restarts:
            ledger = Ledger.continued(_through_the_file(ledger))
            assert ledger.missing() == 0
            assert ledger.lines == before.lines
            assert ledger.readings.in_flight == 0
            assert ledger.readings.lost_in_crash == before.readings.lost_in_crash + before.readings.in_flight
            assert (ledger.rejected, ledger.implausible) == (before.rejected, before.implausible)
            assert ledger.unknown_fields == before.unknown_fields
        intake = Intake(Checker(SCHEMA, Rules()), ledger, FakePublisher(ledger))
        intake.take(line, SENDER, ARRIVAL)
        intake.take(good, SENDER, ARRIVAL)
    assert ledger.missing() == 0


def test_names_of_unknown_fields_are_bounded_in_number_and_length() -> None:
    ledger = Ledger()
    ledger.count_unknown(("n" * 1000,))
    ledger.count_unknown(tuple(f"name{number}" for number in range(MOST_NAMES * 3)))
    ledger.count_unknown(("name1",))
    assert len(ledger.unknown_fields) == MOST_NAMES + 1
    assert max(map(len, ledger.unknown_fields)) == LONGEST_NAME
    assert ledger.unknown_fields["name1"] == 2
    assert ledger.unknown_fields.total() == MOST_NAMES * 3 + 2
    assert ledger.unknown_fields[OTHER_NAMES] == MOST_NAMES * 2 + 1


def test_the_file_holds_the_balance_in_the_words_of_the_design() -> None:
    ledger = Ledger(datagrams=2, lines=3)
    intake = Intake(Checker(SCHEMA, Rules()), ledger, FakePublisher(ledger))
    intake.take(b"nonsense", SENDER, ARRIVAL)
    ledger.readings.accepted, ledger.readings.refused, ledger.readings.in_flight = 1, 1, 1
    lines = ledger.as_dict()["lines"]
    parts = ("accepted", "rejected", "refused", "in_flight", "lost_in_crash")
    assert lines["received"] == sum(lines[part] for part in parts) == 4


def _lines_by_hand(payload: bytes) -> list[bytes]:
    lines = payload.split(b"\n")
    return lines[:-1] if len(lines) > 1 and lines[-1] == b"" else lines


def _through_the_file(ledger: Ledger) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps({"pid": 1, **ledger.as_dict()}))
    return content
