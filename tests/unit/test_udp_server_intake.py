"""Each line is counted once, whatever arrives: fuzzed datagrams and chunks on their way from receive to publish."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maredata.reading import Reason
from maredata.schema import load_schema
from maredata.settings import CHECKOUT, Udp
from maredata.settings import Reading as Rules
from maredata.timestamps import format_timestamp, parse_timestamp
from udp_server.admission import Admission
from udp_server.check import Checker, Rejection
from udp_server.intake import Done, Intake
from udp_server.ledger import Ledger, Refusal
from udp_server.message import Message, Messages
from udp_server.receive import Address
from udp_server.sensors import Sensors
from udp_server.tcp import Overlong

ARRIVAL = parse_timestamp("2026-01-01 00:00:00.000000")
SENDER = ("192.0.2.1", 5000)
SCHEMA = load_schema(CHECKOUT / "maredata" / "reading.toml")
SCENARIOS = CHECKOUT / "tests" / "scenarios" / "datagrams"
GOOD = b'{"sensor_id": 12, "timestamp": "2025-06-01 10:00:00.000001", "seq": 5}'
OBSERVATORY = (
    b'{"timestamp": "2024-01-21 10:06:04.095931", "temperature": 20.9, "humidity": 59.22, "pressure": 1001.87, '
    b'"sensor_id": 1, "location": {"lon": 3.185785, "lat": 42.488629}}'
)

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
    st.sampled_from([GOOD, OBSERVATORY]),
    st.binary(max_size=60),
)
DATAGRAMS = st.one_of(
    st.lists(LINES, max_size=6).map(lambda lines: b"\n".join(lines)[:65_507]),
    st.builds(lambda part, times: (part * times)[:65_507], LINES, st.integers(1, 500)),
)


class FakeOutlet:
    """Stands in for the publisher: records what it is given, and answers when it is told to."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.messages: list[Message] = []
        self.kept: list[tuple[Rejection, Address]] = []
        self.received: list[int] = []
        self.questions: list[tuple[int, Done | None]] = []

    def publish(self, messages: Messages, done: Done | None) -> None:
        self.messages += messages.one_by_one()
        self.ledger.readings.in_flight += len(messages)
        self.questions.append((len(messages), done))

    def keep(self, rejections: list[tuple[Rejection, Address]], received: int) -> None:
        self.kept += rejections
        self.received.append(received)

    def acknowledge(self, accepted: bool = True) -> None:
        for count, done in self.questions:
            self.ledger.readings.in_flight -= count
            if accepted:
                self.ledger.readings.accepted += count
            else:
                self.ledger.readings.refused[Refusal.SPOOL_FULL] += count
            if done is not None:
                done(accepted)
        self.questions = []


class World:
    """An intake and all that is around it."""

    def __init__(self, networks: str = "", rate_limit: int = 0) -> None:
        udp = Udp(allowed_networks=networks, rate_limit=rate_limit)
        self.now = 0.0
        self.ledger = Ledger()
        self.outlet = FakeOutlet(self.ledger)
        self.sensors = Sensors(SCHEMA, udp, [])
        admission = Admission(udp.networks, udp.rate_limit, lambda: self.now)
        self.intake = Intake(Checker(SCHEMA, Rules()), self.ledger, self.sensors, self.outlet, admission)

    def datagrams(self, *payloads: bytes, senders: Callable[[int], Address] = lambda _: SENDER) -> None:
        self.intake.take_datagrams(list(payloads), senders, ARRIVAL)

    def chunk(self, *lines: bytes, done: Done | None = None, sender: Address = SENDER) -> None:
        self.intake.take_lines(list(lines), sender, ARRIVAL, done or (lambda _: None))

    @property
    def published(self) -> list[bytes]:
        return [message.value for message in self.outlet.messages]


@settings(max_examples=200)
@given(st.lists(st.lists(DATAGRAMS, max_size=4), max_size=4))
def test_every_line_is_in_one_column(batches: list[list[bytes]]) -> None:
    world = World()
    for payloads in batches:
        world.datagrams(*payloads)
        assert world.ledger.missing() == 0
    ledger, outlet = world.ledger, world.outlet
    lines = [line for payloads in batches for payload in payloads for line in lines_by_hand(payload)]
    assert ledger.lines == len(lines)
    assert ledger.readings.in_flight == len(outlet.messages)
    assert ledger.rejected.total() == len(outlet.kept)
    assert not [rejection for rejection, _ in outlet.kept if "check itself failed" in rejection.detail]
    assert all(rejection.line in lines and sender == SENDER for rejection, sender in outlet.kept)
    assert all(b"\n" not in line for line in world.published)
    assert sum(sensor.readings for part in world.sensors.survey(ARRIVAL) for sensor in part) == len(outlet.messages)
    outlet.acknowledge()
    assert ledger.missing() == 0
    json.dumps(ledger.as_dict())


@settings(max_examples=100)
@given(st.lists(st.lists(LINES.filter(lambda line: b"\n" not in line), min_size=1, max_size=5), max_size=5))
def test_every_line_of_a_stream_is_in_one_column_and_each_chunk_is_answered_in_order(chunks: list[list[bytes]]) -> None:
    world, answers = World(), list[int]()

    def answered(number: int, _accepted: bool) -> None:
        answers.append(number)

    for number, lines in enumerate(chunks):
        world.chunk(*lines, done=partial(answered, number))
        assert world.ledger.missing() == 0
    assert world.ledger.lines == sum(map(len, chunks))
    world.outlet.acknowledge()
    assert answers == list(range(len(chunks)))


@pytest.mark.parametrize("folder", sorted(SCENARIOS.glob("*/")), ids=lambda folder: folder.name)
def test_a_scenario_comes_out_of_the_intake_as_it_does_of_the_check(folder: Path) -> None:
    world = World()
    for datagram in sorted(folder.glob("input*")):
        world.datagrams(datagram.read_bytes())
    assert b"".join(line + b"\n" for line in world.published) == (folder / "accepted.ndjson").read_bytes()
    rejected = [
        {"reason": rejection.reason.value, "line": rejection.line.decode("utf-8", "backslashreplace")}
        for rejection, _ in world.outlet.kept
    ]
    assert rejected == json.loads((folder / "rejected.json").read_text("utf-8"))
    assert world.ledger.missing() == 0


def test_a_reading_has_its_sensor_as_key_and_no_headers() -> None:
    world = World()
    world.datagrams(GOOD, OBSERVATORY)
    assert world.outlet.messages == [Message(b"12", GOOD), Message(b"1", OBSERVATORY)]


def test_the_observatory_s_record_again_and_again() -> None:
    """From the second on it is of a shape that was met: a field that it lacks, seq for one, is lacking there too."""
    world = World()
    world.datagrams(*[OBSERVATORY] * 3)
    world.datagrams(OBSERVATORY)
    assert world.published == [OBSERVATORY] * 4


def test_lines_that_nothing_is_unusual_about_come_out_as_the_others_do() -> None:
    """Together they go another way than with a stranger among them."""
    lines = [GOOD.replace(b'"sensor_id": 12', b'"sensor_id": %d' % number) for number in range(1, 9)]
    assert len(set(lines)) == len(lines)
    together, apart = World(), World()
    for world in (together, apart):
        world.datagrams(GOOD)
        world.datagrams(GOOD)
    assert together.intake.checker.usual(lines, ARRIVAL) is not None
    together.datagrams(*lines)
    apart.datagrams(*lines[:4], b"x", *lines[4:])
    assert together.outlet.messages == apart.outlet.messages
    assert together.ledger.lines == apart.ledger.lines - 1
    surveys = [[sensor for part in world.sensors.survey(ARRIVAL) for sensor in part] for world in (together, apart)]
    assert surveys[0] == surveys[1]


@pytest.mark.parametrize("micros", [-1, 86_400_000_001])
def test_lines_of_a_known_shape_are_rejected_together_where_their_time_is_out_of_the_window(micros: int) -> None:
    """One of them, wherever it stands, is found."""
    world = World()
    stamp = format_timestamp(ARRIVAL + micros if micros > 0 else 631_151_999_999_999)
    late = GOOD.replace(b"2025-06-01 10:00:00.000001", stamp.encode())
    for _ in range(2):
        world.datagrams(GOOD, late, GOOD)
        world.datagrams(late, GOOD)
    assert world.published == [GOOD] * 6
    assert world.ledger.rejected.total() == 4


def test_a_mistake_of_ours_in_the_quick_way_costs_nothing_but_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr(world.intake.checker, "_decode_usual", lambda _lines: 1 // 0)
    world.datagrams(GOOD, b"x")
    assert world.published == [GOOD]
    assert world.ledger.rejected == {"malformed": 1}


def test_a_batch_of_datagrams_is_published_and_kept_together_and_each_rejection_has_its_sender() -> None:
    world = World()
    world.datagrams(b"x\n" + GOOD, GOOD, b"y", senders=lambda number: ("192.0.2.1", number))
    assert [(count, done) for count, done in world.outlet.questions] == [(2, None)]
    assert [(rejection.line, sender[1]) for rejection, sender in world.outlet.kept] == [(b"x", 0), (b"y", 2)]
    assert world.outlet.received == [ARRIVAL]
    assert world.ledger.rejected == {"malformed": 2}


def test_datagrams_of_rejected_lines_alone_publish_nothing() -> None:
    world = World()
    world.datagrams(b"", b"x")
    assert world.outlet.questions == []
    assert world.ledger.rejected == {"empty": 1, "malformed": 1}


def test_a_chunk_of_rejected_lines_alone_is_answered_too_and_in_its_turn() -> None:
    """Its sender waits for that; and not before what came earlier, since a total is told to it."""
    world, answers = World(), list[str]()
    world.chunk(GOOD, done=lambda _: answers.append("first"))
    world.chunk(b"x", done=lambda _: answers.append("second"))
    assert answers == []
    world.outlet.acknowledge()
    assert answers == ["first", "second"]


@pytest.mark.parametrize("accepted", [True, False])
def test_a_chunk_hears_whether_it_was_accepted(accepted: bool) -> None:
    world, answers = World(), list[bool]()
    world.chunk(GOOD, b"x", done=answers.append)
    world.outlet.acknowledge(accepted)
    assert answers == [accepted]
    assert world.ledger.missing() == 0


def test_an_overlong_line_of_a_stream_is_rejected_even_where_its_beginning_is_a_reading() -> None:
    world = World()
    world.chunk(GOOD, Overlong(GOOD), Overlong(b""))
    assert world.published == [GOOD]
    assert world.ledger.rejected == {Reason.TOO_LONG: 2}
    rejection, sender = world.outlet.kept[0]
    assert (rejection.line, sender) == (GOOD, SENDER)
    assert type(rejection.line) is bytes  # msgspec, and so the spool, takes no other kind
    assert str(len(GOOD)) in rejection.detail


def test_unknown_fields_and_implausible_values_are_counted_and_published() -> None:
    world = World()
    odd = b'{"sensor_id": 1, "timestamp": "2025-01-01 00:00:00.000000", "x": 1, "temperature": 70, "humidity": 101}'
    for _ in range(3):
        world.datagrams(odd, GOOD)
        world.chunk(odd)
    assert world.published == [odd, GOOD, odd] * 3
    assert world.ledger.unknown_fields == {"x": 6}
    assert world.ledger.implausible == {"temperature": 6, "humidity": 6}


def test_an_implausible_value_of_a_known_shape_is_counted() -> None:
    world = World()
    usual = b'{"sensor_id": 1, "timestamp": "2025-01-01 00:00:00.000000", "temperature": 7.0}'
    world.datagrams(usual, usual, usual.replace(b"7.0", b"70.0"), usual, usual.replace(b"7.0", b"50.1"))
    assert world.ledger.implausible == {"temperature": 2}
    assert world.ledger.unknown_fields == {}


def test_a_rejected_line_is_neither_implausible_nor_of_a_sensor() -> None:
    world = World()
    world.datagrams(b'{"sensor_id": 1, "timestamp": "1980-01-01 00:00:00.000000", "temperature": 70, "x": 1}')
    assert world.ledger.rejected == {Reason.TOO_EARLY: 1}
    assert (world.ledger.implausible, world.ledger.unknown_fields) == ({}, {})
    assert list(world.sensors.survey(ARRIVAL)) == []


def test_a_checker_may_be_replaced_between_two_batches() -> None:
    world = World()
    world.datagrams(GOOD)
    world.intake.checker = Checker(SCHEMA, Rules(max_ahead_seconds=-86_400 * 365))
    world.datagrams(GOOD)
    world.chunk(GOOD)
    assert len(world.published) == 1
    assert world.ledger.rejected == {Reason.TOO_FAR_AHEAD: 2}


# --- who may send, and how much


def test_a_datagram_of_somebody_who_may_not_send_is_refused_with_all_its_lines() -> None:
    world = World(networks="10.0.0.0/8")
    payloads = (GOOD + b"\n" + GOOD + b"\n", GOOD, b"", b"x\n\ny")
    world.datagrams(*payloads, senders=lambda number: ("10.0.0.1" if number == 1 else "192.0.2.1", 1))
    assert world.published == [GOOD]
    assert world.ledger.readings.refused == {Refusal.UNAUTHORIZED: 2 + 1 + 3}
    assert world.ledger.rejected == {}
    assert (world.ledger.lines, world.ledger.missing()) == (7, 0)


def test_a_rejected_line_has_its_sender_also_behind_a_datagram_that_was_refused() -> None:
    world = World(networks="10.0.0.0/8")
    payloads = (GOOD, b"x\n" + GOOD, b"y")
    world.datagrams(*payloads, senders=lambda number: (f"10.0.0.{number}" if number else "192.0.2.1", number))
    assert [(rejection.line, sender[1]) for rejection, sender in world.outlet.kept] == [(b"x", 1), (b"y", 2)]


def test_the_rate_is_counted_in_lines_and_a_datagram_is_taken_or_refused_as_a_whole() -> None:
    world = World(rate_limit=3)
    world.datagrams(GOOD + b"\n" + GOOD, GOOD + b"\nx", GOOD)
    assert world.published == [GOOD] * 3
    assert world.ledger.readings.refused == {Refusal.RATE_LIMITED: 2}
    assert world.ledger.rejected == {}
    world.now += 1.0
    world.datagrams(b"x\n" + GOOD + b"\n" + GOOD)
    assert len(world.published) == 5
    assert world.ledger.missing() == 0


def test_each_sender_has_a_rate_of_its_own() -> None:
    world = World(rate_limit=1)
    world.datagrams(GOOD, GOOD, GOOD, senders=lambda number: (f"192.0.2.{number // 2}", number))
    assert world.ledger.readings.refused == {Refusal.RATE_LIMITED: 1}
    assert len(world.published) == 2


@pytest.mark.parametrize(
    ("world", "refusal"),
    [(World(networks="10.0.0.0/8"), Refusal.UNAUTHORIZED), (World(rate_limit=1), Refusal.RATE_LIMITED)],
    ids=lambda value: value if isinstance(value, Refusal) else "",
)
def test_a_chunk_that_is_not_admitted_is_refused_as_a_whole_and_its_sender_hears_it(
    world: World, refusal: Refusal
) -> None:
    answers: list[bool] = []
    world.chunk(GOOD, b"x", done=answers.append)
    assert answers == [False]
    assert world.ledger.readings.refused == {refusal: 2}
    assert (world.published, world.outlet.kept, world.ledger.missing()) == ([], [], 0)


@given(st.lists(st.lists(st.sampled_from([GOOD, b"", b"x\ny", GOOD + b"\nx\n"]), max_size=4), max_size=5))
def test_with_a_rate_limit_too_every_line_is_in_one_column(batches: list[list[bytes]]) -> None:
    world = World(rate_limit=4)
    for payloads in batches:
        world.datagrams(*payloads)
        world.now += 0.5
        assert world.ledger.missing() == 0
    assert world.ledger.lines == sum(len(lines_by_hand(payload)) for payloads in batches for payload in payloads)


def lines_by_hand(payload: bytes) -> list[bytes]:
    lines = payload.split(b"\n")
    return lines[:-1] if len(lines) > 1 and lines[-1] == b"" else lines
