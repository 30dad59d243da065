"""Emulated buoys: what they write, what faults do to it, and that they keep to their schedule."""

from __future__ import annotations

import itertools
import json
import math
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maredata.decoder import Decoder
from maredata.reading import Reading, Refused
from maredata.schema import Schema, load_schema
from maredata.timestamps import parse_timestamp
from udp_client import emulate as module
from udp_client.buoy import OBSERVATORY, WATCH_CIRCLE, Fleet
from udp_client.emulate import LARGEST_DATAGRAM, EmulationError, Options, Report, emulate

SCHEMA = load_schema(Path(__file__).parent.parent.parent / "maredata" / "reading.toml")
START = parse_timestamp("2024-07-14 22:59:58.095931")
DAY = 86_400_000_000
ORDER = ["timestamp", "temperature", "humidity", "pressure", "sensor_id", "location", "seq"]
END = b"\x04"  # ends what a receiver collects; no emulated line is that


def fast(**changes: Any) -> Options:
    """4 buoys as fast as a test likes it, from a fixed instant."""
    return Options(**{"buoys": 4, "rate": 5000.0, "count": 400, "seed": 7, "start": START, **changes})


def datagrams_of(options: Options, schema: Schema = SCHEMA) -> tuple[Report, list[bytes]]:
    """Emulates towards a real socket; what arrived there, datagram by datagram."""
    arrived: list[bytes] = []
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ender,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        receiver.bind(("127.0.0.1", 0))

        def receive() -> None:
            while (datagram := receiver.recv(65_536)) != END:
                arrived.append(datagram)

        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        port = receiver.getsockname()[1]
        report = emulate(Options(**{**vars(options), "port": port}), schema, never, nobody)
        ender.sendto(END, ("127.0.0.1", port))
        thread.join(30)
    assert report.send_errors == 0
    assert report.datagrams == len(arrived)
    return report, arrived


def lines_of(options: Options, schema: Schema = SCHEMA) -> tuple[Report, list[bytes]]:
    report, datagrams = datagrams_of(options, schema)
    return report, [line for datagram in datagrams for line in datagram.split(b"\n")]


def decoded(lines: list[bytes], schema: Schema = SCHEMA) -> tuple[list[Reading], list[bytes]]:
    """The readings among the lines, and the lines that are none."""
    decoder, readings, refused = Decoder(schema), [], []
    for line in lines:
        try:
            readings.append(decoder.decode(line))
        except Refused:
            refused.append(line)
    return readings, refused


def never() -> bool:
    return False


def nobody(_: Report) -> None:
    """Hears the reports and forgets them."""


class Clock:
    """Stands for module `time`: nobody waits, and every asking for the time of day can be made to cost some."""

    def __init__(self, cost: float = 0.0) -> None:
        self.now = 1000.0
        self.cost = cost

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def time_ns(self) -> int:
        self.now += self.cost
        return START * 1000 + round(self.now * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


# What buoys write


def test_lines_are_canonical_and_in_the_observatorys_order() -> None:
    _, lines = lines_of(fast())
    decoder = Decoder(SCHEMA)
    for line in lines:
        reading = decoder.decode(line)
        assert reading.line == line
        assert reading.unknown == ()
        record = json.loads(line)
        assert json.dumps(record).encode() == line
        assert list(record) == ORDER


def test_same_seed_and_start_give_the_same_bytes_whatever_the_datagrams() -> None:
    _, lines = lines_of(fast())
    assert lines_of(fast())[1] == lines
    assert lines_of(fast(lines_per_datagram=7))[1] == lines
    assert lines_of(fast(seed=8))[1] != lines
    assert lines[0] == (  # in every process and on every machine
        b'{"timestamp": "2024-07-14 22:59:58.095931", "temperature": 19.67, "humidity": 74.89, "pressure": 1013.95,'
        b' "sensor_id": 900001, "location": {"lon": 3.185994, "lat": 42.488795}, "seq": 0}'
    )


def test_faults_leave_the_readings_as_they_are() -> None:
    lines = set(lines_of(fast())[1])
    report, spoilt = lines_of(fast(loss=0.2, duplicate=0.2, disorder=0.2, malformed=0.2))
    readings = [line for line in spoilt if line in lines]
    assert len(spoilt) - len(readings) == report.malformed > 0
    assert len(set(readings)) == len(lines) - report.lost


def test_every_buoy_counts_from_0_and_its_instants_increase_over_an_even_spread() -> None:
    _, lines = lines_of(fast(rate=100.0, count=40))
    readings, _ = decoded(lines)
    assert [reading.micros for reading in readings] == [START + 2500 * number for number in range(40)]
    assert [reading.values["seq"] for reading in readings] == [number // 4 for number in range(40)]
    assert [reading.sensor_id for reading in readings] == [900_001 + number % 4 for number in range(40)]


def test_true_timestamps_increase_although_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(clock, "time_ns", lambda: START * 1000 - round(clock.now * 1e9))
    readings, _ = decoded(lines_of(fast(start=None, buoys=3, rate=10.0, count=90))[1])
    for sensor in (900_001, 900_002, 900_003):
        instants = [reading.micros for reading in readings if reading.sensor_id == sensor]
        assert instants == sorted(set(instants))
        assert len(instants) == 30


def test_a_day_is_plausible() -> None:
    """Ranges, smoothness, a warm afternoon, drier air then, and a buoy that stays at its mooring."""
    decoder = Decoder(SCHEMA)
    for number in range(5):
        buoy = Fleet(SCHEMA, number).buoy(900_001 + number, at_observatory=number == 0)
        lines = [buoy.line(minute, START // DAY * DAY + minute * 60_000_000) for minute in range(1440)]
        values = [decoder.decode(line).values for line in lines]
        temperature, humidity = ([value[name] for value in values] for name in ("temperature", "humidity"))
        pressure = [value["pressure"] for value in values]
        assert 10 < min(temperature) < max(temperature) < 35
        assert 30 < min(humidity) < max(humidity) <= 100
        assert 980 < min(pressure) < max(pressure) < 1050
        for series, step in ((temperature, 0.2), (humidity, 1.5), (pressure, 0.3)):
            assert max(abs(b - a) for a, b in itertools.pairwise(series)) < step
            assert len(set(series)) > 100
        afternoon, night = slice(13 * 60, 15 * 60), slice(2 * 60, 4 * 60)
        assert sum(temperature[afternoon]) / 120 > sum(temperature[night]) / 120 + 2
        assert correlation(temperature, humidity) < -0.7
        metres = [distance(value["location"], (buoy.nature.lon, buoy.nature.lat)) for value in values]
        assert 10 < max(metres) <= WATCH_CIRCLE
        assert (buoy.nature.lon, buoy.nature.lat) == OBSERVATORY or number > 0
        assert distance(OBSERVATORY, (buoy.nature.lon, buoy.nature.lat)) < 41_000


def test_summer_is_warmer_than_winter() -> None:
    decoder, buoy = Decoder(SCHEMA), Fleet(SCHEMA, 7).buoy(900_001, at_observatory=True)

    def mean(month: str) -> float:
        begin = parse_timestamp(f"2024-{month}-01 00:00:00.000000")
        lines = [buoy.line(hour, begin + hour * DAY // 24) for hour in range(28 * 24)]
        values: list[float] = [decoder.decode(line).values["temperature"] for line in lines]
        return sum(values) / len(values)

    assert mean("08") > mean("02") + 8


ADDED: dict[str, dict[str, Any]] = {
    "salinity": {"type": "number", "plausible": [30, 40], "limits": [0, 50]},
    "wind": {"type": "number"},
    "frost": {"type": "number", "limits": [-1e-3, 1e-3]},
    "kelvin": {"type": "number", "standard_name": "air_temperature", "unit": "K", "plausible": [250, 320]},
    "battery": {"type": "integer", "limits": [0, 5]},
    "station": {"type": "text", "max_length": 4},
    "operator": {"type": "text"},
    "deployed": {"type": "location"},
}


def test_fields_that_others_added_get_values_they_can_have() -> None:
    schema = Schema.from_dict({**SCHEMA.as_dict(), **ADDED})
    buoy, decoder = Fleet(schema, 3).buoy(900_012, at_observatory=False), Decoder(schema)
    wind = set()
    for number in range(3000):
        line = buoy.line(number, START + number * 600_000_000)
        values = decoder.decode(line).values
        assert decoder.decode(line).line == line
        assert list(json.loads(line)) == [*ORDER[:-1], *ADDED, "seq"]
        assert 30 <= values["salinity"] <= 40
        assert 0 <= values["wind"] <= 100
        assert 250 <= values["kelvin"] <= 320
        assert (values["station"], values["operator"]) == ("0012", "buoy-900012")
        wind.add(values["wind"])
    assert len(wind) > 300


def test_a_schema_of_nothing_but_the_identity() -> None:
    schema = Schema.from_dict({name: SCHEMA.as_dict()[name] for name in ("sensor_id", "timestamp")})
    _, lines = lines_of(fast(count=1), schema)
    assert lines == [b'{"timestamp": "2024-07-14 22:59:58.095931", "sensor_id": 900001}']


# Faults


def test_gaps_in_seq_are_what_was_lost() -> None:
    report, lines = lines_of(fast(loss=0.1, disorder=0.1, late=0.1))
    arrived = Counter(json.loads(line)["sensor_id"] for line in lines)
    seen = {(record["sensor_id"], record["seq"]) for record in map(json.loads, lines)}
    assert len(seen) == len(lines)
    assert {seq for _, seq in seen} <= set(range(100))
    assert sum(100 - arrived[900_001 + place] for place in range(4)) == report.lost == 31


@pytest.mark.parametrize(
    ("fault", "counter", "expected"),
    [
        ("loss", "lost", 182),
        ("duplicate", "duplicated", 202),
        ("disorder", "disordered", 197),
        ("late", "late", 205),
        ("malformed", "malformed", 190),
    ],
)
def test_a_fault_falls_as_often_as_asked_and_always_alike(fault: str, counter: str, expected: int) -> None:
    report, lines = lines_of(fast(count=2000, lines_per_datagram=10, **{fault: 0.1}))
    others = {"lost", "duplicated", "disordered", "late", "malformed"} - {counter}
    assert getattr(report, counter) == expected
    assert 160 < expected < 240  # three standard deviations about 200
    assert [getattr(report, other) for other in others] == [0, 0, 0, 0]
    assert len(lines) == report.lines == 2000 - report.lost + report.duplicated + report.malformed


def test_all_is_lost() -> None:
    report, lines = lines_of(fast(loss=1.0))
    assert (report.readings, report.lost, lines) == (400, 400, [])


def test_duplicates_are_the_same_bytes() -> None:
    report, lines = lines_of(fast(duplicate=0.3))
    counted = Counter(lines)
    assert max(counted.values()) == 2
    assert sum(times == 2 for times in counted.values()) == report.duplicated > 0


@pytest.mark.parametrize("disorder", [0.3, 1.0])
def test_disordered_readings_come_after_a_later_one_of_their_buoy(disorder: float) -> None:
    report, lines = lines_of(fast(disorder=disorder))
    newest: defaultdict[int, int] = defaultdict(lambda: -1)
    overtaken = 0
    for record in map(json.loads, lines):
        overtaken += record["seq"] < newest[record["sensor_id"]]
        newest[record["sensor_id"]] = max(newest[record["sensor_id"]], record["seq"])
    assert overtaken == report.disordered > 0
    assert len(set(lines)) == 400


def test_late_readings_are_minutes_to_hours_old_and_keep_an_identity_of_their_own() -> None:
    punctual, _ = decoded(lines_of(fast())[1])
    report, lines = lines_of(fast(late=0.3))
    readings, refused = decoded(lines)
    assert refused == []
    waits = [due.micros - reading.micros for due, reading in zip(punctual, readings, strict=True)]
    assert sum(wait > 0 for wait in waits) == report.late > 0
    assert all(120_000_000 <= wait <= 6 * 3_600_000_000 for wait in waits if wait)
    assert len({reading.id for reading in readings}) == 400
    assert all(wait % 2 for wait in waits if wait)  # so that it never meets another reading's instant
    assert [r.values["seq"] for r in readings] == [due.values["seq"] for due in punctual]


@pytest.mark.parametrize("lines_per_datagram", [1, 5])
def test_malformed_lines_are_extra_and_no_readings(lines_per_datagram: int) -> None:
    report, lines = lines_of(fast(malformed=0.5, lines_per_datagram=lines_per_datagram))
    readings, refused = decoded(lines)
    assert len(refused) == report.malformed > 100
    assert [reading.line for reading in readings] == lines_of(fast())[1]
    assert (b"" in refused) == (lines_per_datagram == 1)
    reasons = set()
    for line in refused:
        with pytest.raises(Refused) as caught:
            Decoder(SCHEMA).decode(line)
        reasons.add(str(caught.value.reason))
    assert reasons >= {"empty", "encoding", "malformed", "missing_field", "wrong_type", "bad_timestamp"}


# Datagrams


def test_lines_per_datagram() -> None:
    report, datagrams = datagrams_of(fast(count=25, lines_per_datagram=10))
    assert [datagram.count(b"\n") + 1 for datagram in datagrams] == [10, 10, 5]
    assert (report.lines, report.datagrams) == (25, 3)


def test_a_datagram_is_never_larger_than_udp_allows() -> None:
    report, datagrams = datagrams_of(fast(count=1000, lines_per_datagram=1000))
    assert report.lines == 1000
    assert [len(datagram) <= LARGEST_DATAGRAM for datagram in datagrams] == [True] * 3
    longest_line = max(len(line) for line in datagrams[0].split(b"\n"))
    assert len(datagrams[0]) > LARGEST_DATAGRAM - longest_line - 1


def test_nobody_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    report = emulate(fast(port=port, count=20), SCHEMA, never, nobody)
    assert report.readings == 20
    assert report.send_errors > 0


def test_the_first_datagram_after_the_gateway_is_back_arrives(clock: Clock) -> None:
    """The kernel answers it with the refusal of the one before."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = reserved.getsockname()
    begun = clock.now
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gateway:

        def stopped() -> bool:
            if clock.now > begun + 0.05 and gateway.getsockname()[1] == 0:
                gateway.bind(address)
            return False

        emulate(fast(buoys=1, rate=10.0, count=3, port=address[1]), SCHEMA, stopped, nobody)
        gateway.settimeout(10)
        assert [json.loads(gateway.recv(1000))["seq"] for _ in range(2)] == [1, 2]


# The schedule


def test_duration_ends_exactly_and_reports_come_once_a_second(clock: Clock) -> None:
    reports: list[Report] = []
    report = run_unheard(Options(buoys=3, rate=0.7, duration=100.0), reports.append)
    assert report.readings == 210
    assert report.elapsed == pytest.approx(100, abs=0.01)
    assert report.true_rate == pytest.approx(2.1, rel=0.001)
    assert report.wanted_rate == pytest.approx(2.1)
    assert report.slipped == 0
    assert [round(each.elapsed) for each in reports] == list(range(1, 100))


def test_count_ends_exactly_without_waiting_for_more(clock: Clock) -> None:
    report = run_unheard(Options(buoys=3, rate=0.5, count=4))
    assert report.readings == 4
    assert report.elapsed == pytest.approx(2.0, abs=0.01)  # three intervals of 1/1.5 s


def test_what_comes_first_of_duration_and_count_ends_it(clock: Clock) -> None:
    assert run_unheard(Options(buoys=1, rate=10.0, count=50, duration=2.0)).readings == 20
    assert run_unheard(Options(buoys=1, rate=10.0, count=10, duration=2.0)).readings == 10


def test_readings_are_made_when_they_are_due(clock: Clock) -> None:
    readings, _ = decoded(lines_of(Options(buoys=4, rate=1.0, duration=60.0))[1])
    offsets = [reading.micros - readings[0].micros for reading in readings]
    assert len(offsets) == 240
    assert max(abs(offset - number * 250_000) for number, offset in enumerate(offsets)) < 10_000


def test_a_machine_that_is_too_slow_says_so_and_keeps_no_debt(clock: Clock) -> None:
    clock.cost = 0.01  # a hundred readings a second is all it can make, of a thousand
    report = run_unheard(Options(buoys=10, rate=100.0, duration=60.0))
    assert report.true_rate == pytest.approx(100, rel=0.1)
    assert report.slipped == pytest.approx(54, rel=0.1)
    assert report.elapsed < 75


def test_a_pause_is_made_up_for_when_short_and_given_up_when_long(clock: Clock) -> None:
    def paused(seconds: float) -> Report:
        pauses = iter([seconds])

        def stopped() -> bool:
            if clock.now > begun + 5:
                clock.sleep(next(pauses, 0.0))
            return False

        begun = clock.now
        return run_unheard(Options(buoys=1, rate=100.0, duration=60.0), stopped=stopped)

    short, long = paused(0.8), paused(30.0)
    assert (short.readings, short.slipped) == (6000, 0)
    assert long.slipped == pytest.approx(30, abs=0.1)
    assert long.readings == pytest.approx(3000, abs=10)


def test_it_ends_when_it_is_stopped(clock: Clock) -> None:
    begun = clock.now
    report = run_unheard(Options(rate=50.0), stopped=lambda: clock.now > begun + 10)
    assert report.readings == pytest.approx(1000, abs=2)


def run_unheard(
    options: Options,
    report: Callable[[Report], None] = nobody,
    stopped: Callable[[], bool] = never,
) -> Report:
    """Emulates towards a socket from which nobody reads."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        return emulate(Options(**{**vars(options), "port": receiver.getsockname()[1]}), SCHEMA, stopped, report)


# Replay, and what can't be


def test_replay_sends_lines_as_they_are(tmp_path: Path, clock: Clock) -> None:
    lines = [b'{"a": 1}', b"", b"\xff\x00 no JSON\r", b"last, without a line break"]
    file = tmp_path / "old.ndjson"
    file.write_bytes(b"\n".join(lines))
    report, arrived = lines_of(Options(buoys=2, rate=1.0, replay=file))
    assert arrived == lines
    assert (report.readings, report.lines) == (4, 4)
    assert report.elapsed == pytest.approx(2.0, abs=0.6)  # two lines a second
    assert lines_of(Options(replay=file, count=2))[1] == lines[:2]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (Options(buoys=0), "at least one buoy"),
        (Options(lines_per_datagram=0), "at least one buoy and one line"),
        (Options(rate=0.0), "readings a second"),
        (Options(rate=math.nan), "readings a second"),
        (Options(port=0), "no UDP port 0"),
        (Options(first_sensor_id=-1), "choose a smaller|outside 64 bits"),
        (Options(start=-1), "outside 1970"),
        (Options(loss=1.5), "probability of loss"),
        (Options(replay=Path("/nowhere.ndjson")), "/nowhere.ndjson can't be read .*: name a file"),
        (Options(replay=Path("/nowhere.ndjson"), late=0.1), "leave out faults"),
        (Options(host="no such host", count=1), "no way to no such host:20001"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(options: Options, sentence: str) -> None:
    with pytest.raises(EmulationError, match=sentence):
        emulate(options, SCHEMA, never, nobody)


def test_an_empty_replay_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.ndjson").touch()
    with pytest.raises(EmulationError, match="is empty"):
        emulate(Options(replay=tmp_path / "empty.ndjson"), SCHEMA, never, nobody)


def distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Metres between two nearby places (lon, lat)."""
    north = (one[1] - other[1]) * 111_195
    east = (one[0] - other[0]) * 111_195 * math.cos(math.radians(one[1]))
    return math.hypot(north, east)


def correlation(one: list[float], other: list[float]) -> float:
    means = sum(one) / len(one), sum(other) / len(other)
    both = sum((a - means[0]) * (b - means[1]) for a, b in zip(one, other, strict=True))
    return both / math.sqrt(sum((a - means[0]) ** 2 for a in one) * sum((b - means[1]) ** 2 for b in other))
