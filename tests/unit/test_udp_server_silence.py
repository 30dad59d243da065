"""Each event is told once, at the right time, and none about what nobody could have heard."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from udp_server.sensors import Sensor, Variable
from udp_server.silence import Event, Kind, Watch

SECOND = 1_000_000
SILENCE, STEADY = 600, 3600
START = 1_700_000_000 * SECOND


def at(seconds: float) -> int:
    return START + int(seconds * SECOND)


def heard(last_seen: int, variables: dict[str, Variable]) -> Sensor:
    return Sensor(0, 0, last_seen, variables=variables)


def variable(changed: int, null: bool) -> Variable:
    return Variable(changed, None if null else 1.0)


def buoy(last_seen: float, **variables: float) -> Sensor:
    """Seconds after START at which it was last seen, and at which each variable last changed; none is null."""
    return heard(at(last_seen), {name: variable(at(changed), False) for name, changed in variables.items()})


class Gateway:
    """A Watch, and what it is given."""

    def __init__(self, known: dict[str, Any] | None = None, listening_since: float = -100_000.0) -> None:
        self.watch = Watch(SILENCE, STEADY, known)
        self.listening_since = listening_since

    def look(self, now: float, **sensors: Sensor) -> list[tuple[int, str, str | None, float]]:
        """(sensor_id, event, variable, seconds after START) of each; sensors are named s1, s2, …"""
        given = {int(name[1:]): seen for name, seen in sensors.items()}
        events = self.watch.look(given, at(now), at(self.listening_since))
        assert all(event.timestamp == at(now) for event in events)
        return [(e.sensor_id, e.event.value, e.variable, (e.since - START) / SECOND) for e in events]

    def restarted(self, listening_since: float) -> Gateway:
        return Gateway(json.loads(json.dumps(self.watch.as_dict())), listening_since)


def test_a_silent_buoy_is_told_once_and_once_when_it_is_back() -> None:
    gateway = Gateway()
    assert gateway.look(600, s1=buoy(0), s2=buoy(500)) == []
    assert gateway.look(600.000001, s1=buoy(0), s2=buoy(500)) == [(1, "silent", None, 0)]
    assert gateway.watch.silent == 1
    assert gateway.look(900, s1=buoy(0), s2=buoy(900)) == []
    assert gateway.look(901, s1=buoy(901), s2=buoy(901)) == [(1, "back", None, 0)]
    assert gateway.look(902, s1=buoy(901), s2=buoy(901)) == []
    assert gateway.watch.silent == 0
    assert gateway.look(1600, s1=buoy(901), s2=buoy(1600)) == [(1, "silent", None, 901)]


def test_a_variable_that_is_null_or_steady_is_told_once_and_once_when_it_is_back() -> None:
    gateway = Gateway()

    def seen(now: float, t: float, h: float, null: bool = True) -> Sensor:
        return heard(at(now), {"t": variable(at(t), False), "h": variable(at(h), null)})

    assert gateway.look(3600, s1=seen(3600, 0, 10)) == []
    assert gateway.look(3601, s1=seen(3601, 0, 10)) == [(1, "variable_steady", "t", 0)]
    assert gateway.look(3611, s1=seen(3611, 0, 10)) == [(1, "variable_null", "h", 10)]
    assert gateway.look(9000, s1=seen(9000, 0, 10)) == []
    assert gateway.look(9001, s1=seen(9001, 9001, 10)) == [(1, "variable_back", "t", 0)]
    assert gateway.look(9002, s1=seen(9002, 9002, 9002, null=False)) == [(1, "variable_back", "h", 10)]
    assert gateway.look(9003, s1=seen(9003, 9003, 9003, null=False)) == []
    again = 9003 + STEADY + 1
    assert gateway.look(again, s1=seen(again, again, 9003, null=False)) == [(1, "variable_steady", "h", 9003)]


def test_a_steady_variable_that_becomes_null_is_not_back() -> None:
    gateway = Gateway()
    gateway.look(3601, s1=buoy(3601, t=0))
    null = {"t": variable(at(4000), True)}
    assert gateway.look(4000, s1=heard(at(4000), null)) == []
    assert gateway.look(7601, s1=heard(at(7601), null)) == [(1, "variable_null", "t", 4000)]
    assert gateway.look(7700, s1=heard(at(7700), null)) == []
    assert gateway.look(7701, s1=buoy(7701, t=7701)) == [(1, "variable_back", "t", 4000)]


def test_while_a_buoy_is_silent_its_variables_raise_nothing() -> None:
    gateway = Gateway()
    gateway.look(3601, s1=buoy(3601, t=0, h=3500))
    assert gateway.look(4202, s1=buoy(3601, t=0, h=3500)) == [(1, "silent", None, 3601)]
    assert gateway.look(9000, s1=buoy(3601, t=0, h=3500)) == []


def test_a_buoy_that_is_only_quiet_has_no_steady_variable() -> None:
    """Nothing was heard that could have been the same."""
    watch = Watch(silence_seconds=10_000, steady_seconds=100)
    assert watch.look({1: buoy(0, t=0)}, at(5000), START) == []


def test_steadiness_begins_anew_after_a_silence() -> None:
    gateway = Gateway()
    gateway.look(601, s1=buoy(0, t=0))
    back = 10_000
    assert gateway.look(back, s1=buoy(back, t=0)) == [(1, "back", None, 0)]
    assert gateway.look(back + STEADY, s1=buoy(back + STEADY, t=0)) == []
    later = back + STEADY + 1
    assert gateway.look(later, s1=buoy(later, t=0)) == [(1, "variable_steady", "t", 0)]


def test_silence_counts_from_when_the_gateway_listens() -> None:
    gateway = Gateway(listening_since=5000)
    assert gateway.look(5000, s1=buoy(0)) == []
    assert gateway.look(5600, s1=buoy(0)) == []
    assert gateway.look(5601, s1=buoy(0)) == [(1, "silent", None, 0)]


def test_steadiness_counts_from_when_the_gateway_listens() -> None:
    gateway = Gateway(listening_since=50_000)
    assert gateway.look(50_001, s1=buoy(50_001, t=0)) == []
    assert gateway.look(53_600, s1=buoy(53_600, t=0)) == []
    assert gateway.look(53_601, s1=buoy(53_601, t=0)) == [(1, "variable_steady", "t", 0)]


def test_nothing_is_told_twice_across_restarts() -> None:
    gateway = Gateway()
    found = gateway.look(5000, s1=buoy(0), s2=buoy(5000, t=0))
    assert {event for _, event, _, _ in found} == {"silent", "variable_steady"}
    gateway = gateway.restarted(6000)
    assert gateway.look(6001, s1=buoy(0), s2=buoy(5000, t=0)) == []
    assert gateway.look(6599, s1=buoy(0), s2=buoy(6599, t=0)) == []
    assert gateway.look(9999, s1=buoy(0), s2=buoy(9999, t=0)) == []


def test_what_ended_while_the_gateway_was_down_is_told_as_back() -> None:
    gateway = Gateway()
    gateway.look(5000, s1=buoy(0), s2=buoy(5000, t=0))
    gateway = gateway.restarted(6000)
    assert gateway.look(6001, s1=buoy(5900), s2=buoy(6001, t=6001)) == [
        (1, "back", None, 0),
        (2, "variable_back", "t", 0),
    ]


def test_a_buoy_that_came_and_fell_silent_again_unheard_is_still_silent() -> None:
    gateway = Gateway()
    gateway.look(5000, s1=buoy(0))
    gateway = gateway.restarted(6000)
    assert gateway.look(6001, s1=buoy(5100)) == []
    assert gateway.look(7000, s1=buoy(5100)) == []
    assert gateway.look(7001, s1=buoy(7001)) == [(1, "back", None, 0)]


def test_a_longer_silence_seconds_does_not_bring_a_buoy_back() -> None:
    told = Watch(600, STEADY)
    told.look({1: buoy(0)}, at(700), START)
    patient = Watch(2000, STEADY, told.as_dict())
    assert patient.look({1: buoy(0)}, at(701), START) == []
    assert [event.event for event in patient.look({1: buoy(702)}, at(702), START)] == [Kind.BACK]


def test_a_sensor_that_is_forgotten_is_forgotten() -> None:
    gateway = Gateway()
    gateway.look(5000, s1=buoy(0), s2=buoy(5000, t=0), s3=buoy(5000, t=5000))
    assert gateway.look(5001, s3=buoy(5001, t=5001)) == []
    assert gateway.watch.as_dict() == {"silent": {}, "variables": {}}
    assert len(gateway.watch._steady_after) == 1
    assert gateway.look(5002, s1=buoy(0), s2=buoy(5002, t=5002), s3=buoy(5002, t=5002)) == [(1, "silent", None, 0)]


def test_a_value_from_before_the_trouble_is_no_news() -> None:
    """Two workers that heard one buoy in turn know different things of it."""
    gateway = Gateway()
    gateway.look(4000, s1=heard(at(4000), {"t": variable(at(10), True)}))
    assert gateway.look(4001, s1=buoy(4001, t=5)) == []
    assert gateway.look(9000, s1=buoy(9000, t=5)) == []


def test_a_variable_that_is_gone_is_forgotten_without_a_word() -> None:
    gateway = Gateway()
    gateway.look(5000, s1=buoy(5000, t=0))
    assert gateway.look(5001, s1=buoy(5001)) == []
    assert gateway.watch.as_dict()["variables"] == {}


def test_an_event_says_all_in_one_json_object() -> None:
    since = 1_705_831_564_095_931
    event = Event(since + 600 * SECOND, 12, Kind.SILENT, None, since)
    assert event.as_dict() == {
        "timestamp": "2024-01-21 10:16:04.095931",
        "sensor_id": 12,
        "event": "silent",
        "since": "2024-01-21 10:06:04.095931",
        "message": "Sensor 12 is silent: nothing came from it since 2024-01-21 10:06:04.095931.",
    }
    for kind in (Kind.VARIABLE_NULL, Kind.VARIABLE_STEADY, Kind.VARIABLE_BACK):
        told = json.loads(json.dumps(Event(since, 12, kind, "humidity", since).as_dict()))
        assert (told["event"], told["variable"]) == (kind.value, "humidity")
        assert "12" in told["message"]
        assert "humidity" in told["message"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "send the same", "send null", "wait", "restart", "long downtime"]),
        st.integers(1, 900),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_troubles_begin_and_end_in_turn(steps: list[tuple[str, int]]) -> None:
    gateway, now, told = Gateway(), 0, []
    last, changed, null = 0, 0, False
    for step, seconds in steps:
        if step == "long downtime":
            gateway = gateway.restarted(now + 20_000)
            now += 20_000
        elif step == "restart":
            gateway = gateway.restarted(now)
        now += seconds
        if step.startswith("send"):
            last = now
            if step == "send" or (step == "send null") != null:
                changed, null = now, step == "send null"
        sensor = heard(at(last), {"t": variable(at(changed), null)})
        told += [event for _, event, _, _ in gateway.look(now, s1=sensor)]
    whole = [event for event in told if not event.startswith("variable")]
    assert whole == [("silent", "back")[index % 2] for index in range(len(whole))]
    partial = [event for event in told if event.startswith("variable")]
    for earlier, later in zip(["variable_back", *partial], partial, strict=False):
        # Between two troubles there is an end, but for a steady variable that became null.
        assert (earlier == "variable_back") != (later == "variable_back") or (
            (earlier, later) == ("variable_steady", "variable_null")
        )
