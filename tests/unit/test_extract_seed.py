"""What `mare seed-history` tells the server to make, and what it says. No server runs here."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from extraction import seed, seed_shape
from extraction.seed import Options, Report
from extraction.seed_shape import LEGACY_ZONE, legacy_shape, readings_shape
from extraction.seed_sql import OBSERVATORY, buoys, numbers, text, value
from maredata.cli import main
from maredata.errors import MareError
from maredata.names import FIRST_DEMO_SENSOR
from maredata.schema import Schema, load_schema
from maredata.settings import Settings

SCHEMA = load_schema(Settings().reading.toml)
BEGIN = 1_711_843_200  # 2024-03-31, the day on which the clocks go forward
REPORT = Report("readings", "2024-01-01 00:00:00", "2024-01-02 00:00:00", 2, 2880, 1000, 1880, 2.0)


def with_field(**options: object) -> Schema:
    return Schema.from_dict(SCHEMA.as_dict() | {"extra": options})


def test_buoys_are_emulated_ones_and_the_same_each_time() -> None:
    fleet = buoys(5, 60, 0)
    assert [buoy.sensor_id for buoy in fleet] == list(range(FIRST_DEMO_SENSOR, FIRST_DEMO_SENSOR + 5))
    assert fleet == buoys(5, 60, 0) == buoys(9, 60, 0)[:5]
    assert fleet != buoys(5, 60, 1)
    assert (fleet[0].lon, fleet[0].lat) == OBSERVATORY
    assert len({(buoy.lon, buoy.lat) for buoy in fleet}) == 5


@given(every=st.integers(1, 86_400), count=st.integers(1, 20))
def test_no_reading_is_later_than_the_next_one(every: int, count: int) -> None:
    jitter = max(1, min(1_000_000, every * 10_000))
    assert all(0 <= buoy.stagger <= every * 1_000_000 - jitter for buoy in buoys(count, every, 0))


def test_readings_have_all_columns_of_the_table() -> None:
    shape = readings_shape(SCHEMA, BEGIN)
    assert list(shape.columns) == [name for name, _ in SCHEMA.columns()]
    assert shape.create == SCHEMA.create_table("readings")
    assert shape.columns["timestamp"] == "TIMESTAMP'2024-03-31 00:00:00.000000' + INTERVAL at MICROSECOND"


def test_a_legacy_table_has_names_and_types_of_its_own() -> None:
    shape = legacy_shape(SCHEMA, "old", BEGIN, BEGIN + 86_400)
    assert list(shape.columns) == [
        "station_id", "measured_at", "air_temperature", "relative_humidity", "air_pressure", "lon", "lat",
        "message_number",
    ]  # fmt: skip
    assert "`id` bigint NOT NULL AUTO_INCREMENT" in shape.create and "PRIMARY KEY (`id`)" in shape.create
    assert "`air_temperature` decimal(18,2) NULL" in shape.create
    assert "double" not in shape.create


@pytest.mark.parametrize("day", [(2024, 3, 31), (2024, 10, 27), (2024, 7, 1), (2023, 12, 31)])
def test_local_time_follows_the_clocks(day: tuple[int, int, int]) -> None:
    begin = int(datetime(*day, tzinfo=UTC).timestamp())
    sql = seed_shape._offset(begin, begin + 86_400)
    python = re.sub(r"IF\(t < (\d+), (\d+), ", r"(\2 if t < \1 else ", sql)
    for t in range(begin, begin + 86_400, 900):
        expected = datetime.fromtimestamp(t, ZoneInfo(LEGACY_ZONE)).utcoffset()
        assert expected is not None and eval(python, {"t": t}) == expected.total_seconds()  # noqa: S307


def test_a_field_of_the_users_is_made_within_what_is_plausible() -> None:
    schema = with_field(type="number", plausible=[10, 20], limits=[0, 12])
    signal = numbers(schema)["extra"]
    assert signal.sql.startswith("11.0 + 2.0 * (") and signal.decimals == 3
    assert "extra" in readings_shape(schema, BEGIN).columns
    whole = numbers(with_field(type="integer", limits=[0, 2**63 - 1]))["extra"]
    assert whole.sql.startswith("50.0 + 100.0 * (") and whole.decimals == 0


def test_a_temperature_in_another_unit_is_no_temperature_of_ours() -> None:
    kelvin = with_field(type="number", standard_name="air_temperature", unit="K", plausible=[-10, 320])
    assert numbers(kelvin)["extra"].sql.startswith("155.0 + 330.0")
    assert numbers(SCHEMA)["temperature"].sql.startswith("16.5")


def test_texts_fit_and_fields_do_not_share_their_noise() -> None:
    schema = with_field(type="text", max_length=6)
    assert text(schema["extra"]) == "RIGHT(CONCAT('buoy-', sensor_id), 6)"
    signal = numbers(SCHEMA)["temperature"]
    assert value(signal, 1) != value(signal, 2)


@given(steps=st.integers(1, 300_000), count=st.integers(1, 10_000))
def test_portions_hold_each_step_once(steps: int, count: int) -> None:
    found = list(seed._portions(Options(steps, count)))
    assert found[0][0] == 0 and found[-1][1] == steps - 1
    assert all(one[1] + 1 == next_one[0] for one, next_one in pairwise(found))
    assert all((last - first + 1) * count <= max(50_000, count) for first, last in found)


def test_the_mark_is_read_again_and_nobody_elses() -> None:
    mark = seed._Mark(BEGIN, 10, 2, 60, 0)
    comment = seed._MARK + json.dumps({"begin": BEGIN, "steps": 10, "buoys": 2, "every": 60, "seed": 0})
    assert seed._read_mark(comment) == mark
    assert mark.asks_the_same(Options(10, 2)) and not mark.asks_the_same(Options(10, 3))
    for other in ("", "stations of long ago", comment + " and more", seed._MARK + "{}"):
        assert seed._read_mark(other) is None


def test_history_that_the_gateway_would_refuse_is_refused() -> None:
    with pytest.raises(MareError, match=r"readings before 1990-01-01 are refused .*ask for fewer days"):
        seed._new_mark(Settings(), Options(steps=36_500, buoys=1, every=86_400))


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "`readings`", "a.b"])
def test_a_table_that_cannot_be_named_so_is_refused(name: str) -> None:
    with pytest.raises(MareError, match="can't be named"):
        seed.seed_history(Settings(), SCHEMA, Options(1, 1, table=name), lambda: False, lambda *_: None)


@pytest.mark.parametrize(
    ("report", "said", "status"),
    [
        (REPORT, "are there; 1,880 rows made in 2.0 s, 940 a second.", 0),
        (replace(REPORT, found=2880, made=0), "are there already.", 0),
        (replace(REPORT, found=0), "stopped at 1,880; 1,880 rows made in 2.0 s", 1),
    ],
)
def test_what_was_done_is_said(monkeypatch: pytest.MonkeyPatch, report: Report, said: str, status: int) -> None:
    asked: list[Options] = []

    def fake_seed(_settings: Settings, _schema: Schema, options: Options, *_: object) -> Report:
        asked.append(options)
        return report

    monkeypatch.setattr(seed, "seed_history", fake_seed)
    arguments = ["seed-history", "--days", "2", "--buoys", "3", "--every", "7", "--table", "old"]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, asked) == (status, [Options(24_685, 3, 7, "old")])
    assert said in result.stdout and "2,880 readings of 2 buoys from 2024-01-01 00:00:00" in result.stdout
    printed = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert printed["complete"] == (status == 0) and printed["made"] == report.made
