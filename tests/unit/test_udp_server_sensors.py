"""What is known of each sensor: what it lost, sent twice, too late or in another order; over restarts and workers."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maredata.decoder import Decoder
from maredata.reading import Reading, Readings
from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT, Udp
from maredata.timestamps import format_timestamp
from udp_server import sensors as tested
from udp_server.sensors import Sensor, Sensors, Variable, merged

SCHEMA = load_schema(CHECKOUT / "maredata" / "reading.toml")
SECOND = 1_000_000  # microseconds
START = 1_750_000_000 * SECOND
HOUR = 3600 * SECOND


class World:
    """Sensors, and a clock that stands still unless it is moved."""

    def __init__(self, earlier: list[Sensor] | None = None, schema: Schema = SCHEMA) -> None:
        self.sensors = Sensors(schema, Udp(late_seconds=3600, ahead_seconds=10), earlier or [])
        self.decoder = Decoder(schema)
        self.now = START

    def hear(self, seq: int | None = None, at: int | None = None, sensor: int = 1, **values: Any) -> bytes:
        """A reading whose instant is that many seconds after START; without `at`, it is its number's."""
        second = at if at is not None else seq or 0
        return self.observe(self.reading(seq, START + second * SECOND, sensor, **values))

    def observe(self, reading: Reading) -> bytes:
        readings = Readings.none()
        readings.add(reading)
        return self.sensors.observe(readings, self.now)[0]

    def reading(self, seq: int | None, micros: int, sensor: int = 1, **values: Any) -> Reading:
        record = {"sensor_id": sensor, "timestamp": format_timestamp(micros), **values}
        line = json.dumps(record if seq is None else {**record, "seq": seq}).encode()
        self.decoder.decode(line)
        return self.decoder.decode(line)  # the second time it is of a known shape, as nearly all lines are

    def all(self) -> dict[int, Sensor]:
        return merged(self.sensors.survey(self.now))

    def one(self, sensor: int = 1) -> Sensor:
        return self.all()[sensor]


@pytest.fixture
def world() -> World:
    return World()


def through_the_file(sensors: list[Sensor]) -> list[Sensor]:
    return msgspec.json.Decoder(Sensor).decode_lines(msgspec.json.Encoder().encode_lines(sensors))


ODDITIES = ("missing", "restarts", "duplicates", "conflicts", "out_of_order", "late", "clock_ahead")


def oddities(sensor: Sensor) -> dict[str, int]:
    return {name: getattr(sensor, name) for name in ODDITIES if getattr(sensor, name)}


def test_a_steady_sensor_is_not_odd_and_its_key_is_its_number(world: World) -> None:
    for seq in range(5):
        assert world.hear(seq, sensor=12) == b"12"
        world.now += SECOND
    sensor = world.one(12)
    assert oddities(sensor) == {}
    assert (sensor.readings, sensor.seq, sensor.first_seq) == (5, 4, 0)
    assert (sensor.first_seen, sensor.last_seen) == (START, START + 4 * SECOND)
    assert sensor.latest == START + 4 * SECOND


def test_a_sensor_without_numbers_is_followed_too(world: World) -> None:
    for at in range(3):
        world.hear(at=at)
    world.hear(at=4, seq=None, temperature=7.0)
    assert oddities(world.one()) == {}
    assert world.one().readings == 4


def test_a_null_is_no_number(world: World) -> None:
    world.hear(3)
    world.observe(Decoder(SCHEMA).decode(b'{"sensor_id": 1, "timestamp": "2030-01-01 00:00:00.000000", "seq": null}'))
    world.hear(5)
    assert world.one().missing == 1


def test_a_gap_is_missing_until_it_is_filled_late(world: World) -> None:
    for seq in (3, 4, 8):
        world.hear(seq)
    assert oddities(world.one()) == {"missing": 3}
    world.hear(6)
    assert oddities(world.one()) == {"missing": 2, "out_of_order": 1}
    world.hear(5)
    world.hear(7)
    assert oddities(world.one()) == {"out_of_order": 3}


def test_what_comes_late_from_before_the_first_number_moves_it(world: World) -> None:
    world.hear(5)
    world.hear(2)
    assert oddities(world.one()) == {"missing": 2, "out_of_order": 1}
    assert world.one().first_seq == 2


def test_a_duplicate_fills_no_gap(world: World) -> None:
    for seq in (1, 2, 2, 4, 2):
        world.hear(seq)
    assert oddities(world.one()) == {"missing": 1, "duplicates": 2}
    assert world.one().readings == 5


def test_another_reading_of_the_same_instant_is_a_conflict_and_fills_no_gap(world: World) -> None:
    world.hear(1, temperature=7.0)
    world.hear(3)
    world.hear(1, temperature=7.1)
    world.hear(1, temperature=7.1)
    assert oddities(world.one()) == {"missing": 1, "conflicts": 1, "duplicates": 1}


def test_the_same_instant_of_another_sensor_is_neither(world: World) -> None:
    world.hear(1, sensor=1)
    world.hear(1, sensor=2)
    assert [oddities(sensor) for sensor in world.all().values()] == [{}, {}]


@pytest.mark.parametrize("fallen_to", [0, 3999])
def test_a_number_that_falls_deep_with_a_later_time_begins_another_run(fallen_to: int, world: World) -> None:
    for seq in (4998, 5000):
        world.hear(seq, at=seq - 5000)
    for seq in (fallen_to, fallen_to + 2):
        world.hear(seq, at=1 + seq - fallen_to)
    assert oddities(world.one()) == {"missing": 2, "restarts": 1}
    world.hear(fallen_to + 1, at=2)
    assert oddities(world.one()) == {"missing": 1, "restarts": 1, "out_of_order": 1}
    assert (world.one().seq, world.one().first_seq) == (fallen_to + 2, fallen_to)


def test_a_number_that_falls_a_little_or_with_an_earlier_time_comes_late(world: World) -> None:
    for seq in (1, 5000):
        world.hear(seq)
    world.hear(4000, at=6000)  # not by more than a thousand
    world.hear(0, at=0)  # an earlier time
    world.hear(2)
    assert (world.one().restarts, world.one().missing) == (0, 5001 - 5)


@pytest.mark.parametrize(
    ("behind", "late", "ahead"),
    [(HOUR, 0, 0), (HOUR + 1, 1, 0), (0, 0, 0), (-10 * SECOND, 0, 0), (-10 * SECOND - 1, 0, 1)],
)
def test_late_and_ahead_begin_behind_their_bounds(behind: int, late: int, ahead: int, world: World) -> None:
    world.observe(world.reading(1, START - behind))
    assert (world.one().late, world.one().clock_ahead) == (late, ahead)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=60), st.integers(1, 60))
def test_whatever_the_order_all_is_counted_by_its_definition(arrivals: list[tuple[int, bool]], restart: int) -> None:
    """Held against sets; and after a restart of the gateway it goes on."""
    world, heard, latest = World(), dict[int, bool](), -1
    duplicates = conflicts = out_of_order = 0
    for seq, warm in arrivals:
        known = heard.get(seq)
        duplicates += known == warm
        conflicts += known is not None and known != warm
        out_of_order += known is None and seq < latest
        heard[seq] = warm
        latest = max(latest, seq)
        world.hear(seq, temperature=20.0 if warm else 2.0)
    sensor = world.one()
    assert sensor.missing == max(heard) - min(heard) + 1 - len(heard)
    assert (sensor.duplicates, sensor.conflicts, sensor.out_of_order) == (duplicates, conflicts, out_of_order)
    assert (sensor.readings, sensor.seq, sensor.first_seq) == (len(arrivals), max(heard), min(heard))
    again = World(through_the_file([sensor]))
    again.hear(max(heard) + restart)
    assert again.one().missing == sensor.missing + restart - 1
    assert (again.one().readings, again.one().first_seen) == (sensor.readings + 1, sensor.first_seen)


@settings(max_examples=150)
@given(st.dictionaries(st.integers(0, 30), st.integers(0, 2), min_size=1))
def test_what_several_workers_heard_of_one_sensor_is_one_sequence(worker_of: dict[int, int]) -> None:
    """None of them has heard the whole of it, and yet nothing is missing that another has."""
    workers = [World(), World(), World()]
    for number, worker in enumerate(workers):
        worker.hear(sensor=2)
        worker.now += number * SECOND
    for seq, number in worker_of.items():
        workers[number].now += SECOND
        workers[number].hear(seq)
    together = merged([part for worker in workers for part in worker.sensors.survey(worker.now)])
    sensor = together[1]
    assert sensor.missing == max(worker_of) - min(worker_of) + 1 - len(worker_of)
    assert (sensor.readings, sensor.seq, sensor.first_seq) == (len(worker_of), max(worker_of), min(worker_of))
    apart = [worker.all()[1] for worker in workers if 1 in worker.all()]
    assert sensor.last_seen == max(one.last_seen for one in apart)
    assert sensor.first_seen == min(one.first_seen for one in apart)
    assert sensor.latest == max(one.latest for one in apart)
    assert together[2].readings == 3


def test_a_worker_that_heard_no_number_changes_no_sequence() -> None:
    numbered, other = World(), World()
    for seq in (5, 7):
        numbered.hear(seq)
    other.hear(at=9)
    for worlds in ((numbered, other), (other, numbered)):
        sensor = merged([part for world in worlds for part in world.sensors.survey(START)])[1]
        assert (sensor.missing, sensor.first_seq, sensor.seq, sensor.readings) == (1, 5, 7, 3)
    assert merged([*other.sensors.survey(START), *other.sensors.survey(START)])[1].missing == 0


def test_merging_adds_what_was_counted_and_takes_the_newest_of_each_variable() -> None:
    one = Sensor(1, 5, 10, readings=1, duplicates=1, conflicts=2, late=3, clock_ahead=4, out_of_order=5, restarts=6)
    other = Sensor(1, 4, 20, readings=2, duplicates=10, conflicts=20, late=30, clock_ahead=40, out_of_order=50)
    one.variables = {"a": Variable(1, 1.0), "b": Variable(1, None)}
    other.variables = {"a": Variable(2, 2.0)}
    one.rate, other.rate, one.missing_before = 0.5, 1.5, 7
    for parts in ([[one], [other]], [[other], [one]], [[one, other]]):
        sensor = merged(parts)[1]
        assert oddities(sensor) == {
            **{"duplicates": 11, "conflicts": 22, "late": 33, "clock_ahead": 44, "out_of_order": 55},
            **{"restarts": 6, "missing": 7},
        }
        assert (sensor.first_seen, sensor.last_seen, sensor.readings, sensor.rate) == (4, 20, 3, 2.0)
        assert sensor.variables == {"a": Variable(2, 2.0), "b": Variable(1, None)}
    assert (one.readings, other.readings) == (1, 2)
    assert merged([]) == {}


# --- bounds: senders choose the ids


def test_the_number_of_sensors_is_bounded_and_further_ones_are_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tested, "MOST_SENSORS", 3)
    for sensor in (1, 2, 3, 4, 5, 4, 1):
        assert world.hear(sensor=sensor, at=1) == b"%d" % sensor
    assert sorted(world.all()) == [1, 2, 3]
    assert world.sensors.not_followed == 3
    assert world.one(1).duplicates == 1
    assert len(World([Sensor(number, 0, 0) for number in range(9)]).all()) == 3


def test_what_is_remembered_of_single_readings_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_MOST_IDENTITIES", 100), ("_MOST_REMEMBERED", 40), ("_LEAST_REMEMBERED", 4)):
        monkeypatch.setattr(tested, name, value)
    world = World()
    for seq in range(200):
        world.hear(seq)
    assert remembered(world) <= 20
    world.hear(199)
    world.hear(192)
    assert world.one().duplicates == 2  # the latest ones are remembered
    world.hear(3)
    assert world.one().out_of_order == 1  # and others are only known to be older
    for sensor in range(50):
        world.hear(0, sensor=sensor)
    world.all()
    for seq in range(200, 300):
        for sensor in range(50):
            world.hear(seq, sensor=sensor)
    assert remembered(world) <= 100
    assert {oddities(sensor).get("duplicates", 0) for sensor in world.all().values()} == {0, 2}


@pytest.mark.parametrize("sensors", range(1, 12))
def test_what_is_shared_among_any_number_of_sensors_stays_in_pairs(
    sensors: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_MOST_IDENTITIES", 31), ("_MOST_REMEMBERED", 40), ("_LEAST_REMEMBERED", 8)):
        monkeypatch.setattr(tested, name, value)
    world = World()
    for sensor in range(sensors):
        world.hear(0, sensor=sensor)
    world.all()
    for seq in range(1, 50):
        world.hear(seq, sensor=0)
    world.hear(49, sensor=0)
    world.hear(48, sensor=0)
    assert world.one(0).duplicates == 2


def remembered(world: World) -> int:
    return sum(len(followed.recent) // 2 for followed in world.sensors._followed.values())


# --- the survey


def test_the_survey_comes_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested, "_AT_ONCE", 2)
    assert list(world.sensors.survey(START)) == []
    for sensor in range(5):
        world.hear(sensor=sensor)
    survey = world.sensors.survey(START)
    parts = [next(survey)]
    world.hear(sensor=9)  # who is met meanwhile is in the next one
    parts += survey
    assert [[sensor.sensor_id for sensor in part] for part in parts] == [[0, 1], [2, 3], [4]]
    assert 9 in world.all()


def test_the_rate_is_that_of_the_last_ten_seconds_or_more(world: World) -> None:
    world.hear(0)
    for seq in range(1, 51):
        world.hear(seq)
    world.now += 10 * SECOND - 1
    assert world.one().rate == 0
    world.now += 1
    assert world.one().rate == pytest.approx(5.1)
    world.now += 5 * SECOND
    assert world.one().rate == pytest.approx(5.1)
    world.hear(51)
    world.now += 15 * SECOND
    assert world.one().rate == pytest.approx(0.05)
    world.now += 10 * SECOND
    assert world.one().rate == 0


def test_a_variable_is_as_old_as_its_value(world: World) -> None:
    world.hear(0, temperature=7.0, humidity=None, pressure=1000)
    assert world.one().variables == {
        "temperature": Variable(START, 7.0),
        "humidity": Variable(START, None),
        "pressure": Variable(START, 1000.0),
    }
    world.now += SECOND
    world.hear(1, temperature=7.0, humidity=50)
    variables = world.one().variables
    assert variables["temperature"] == Variable(START, 7.0)
    assert variables["humidity"] == Variable(START + SECOND, 50.0)
    assert variables["pressure"] == Variable(START, 1000.0)  # not in that reading
    world.now += SECOND
    world.hear(2, temperature=None)
    assert world.one().variables["temperature"] == Variable(START + 2 * SECOND, None)
    assert world.one().variables["temperature"].null
    world.now += SECOND
    assert world.one().variables["temperature"].changed == START + 2 * SECOND  # nothing came since


def test_what_says_who_when_and_where_is_no_variable_and_a_text_is_none(world: World) -> None:
    fields = {**SCHEMA.as_dict(), "station": {"type": "text"}, "depth": {"type": "integer"}}
    rich = World(schema=Schema.from_dict(fields))
    rich.hear(1, station="BNV", depth=3, location={"lon": 1, "lat": 2})
    assert rich.one().variables == {"depth": Variable(START, 3)}


def test_a_new_variable_is_watched_from_the_new_schema_on(world: World) -> None:
    world.hear(0, temperature=7.0)
    schema = Schema.from_dict({**SCHEMA.as_dict(), "salinity": {"type": "number"}})
    world.sensors.use(schema)
    world.decoder = Decoder(schema)
    world.hear(1, temperature=7.0, salinity=38.0)
    assert world.one().variables == {"temperature": Variable(START, 7.0), "salinity": Variable(START, 38.0)}


def test_a_schema_without_a_sequence_number_is_followed_too() -> None:
    fields = {name: options for name, options in SCHEMA.as_dict().items() if name != "seq"}
    world = World(schema=Schema.from_dict(fields))
    for at in range(3):
        world.hear(at=at)
    assert oddities(world.one()) == {}


def test_the_survey_survives_the_file(world: World) -> None:
    world.hear(3, temperature=7.0, humidity=None)
    world.hear(9)
    [part] = world.sensors.survey(START + 20 * SECOND)
    assert through_the_file(part) == part
    assert World(through_the_file(part)).all() == {1: part[0]}
