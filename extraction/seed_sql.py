"""Past readings of emulated buoys as SQL: what the server computes for itself, row by row.

A value is a function of seed, buoy and step alone, so that any stretch can be made again, and is the same.
The weather is that of `udp_client.buoy`, as far as SQL can say it in a few terms.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from maredata.names import FIRST_DEMO_SENSOR
from maredata.schema import Field, FieldType, Schema

OBSERVATORY = (3.185785, 42.488629)  # lon, lat of the first buoy, off Banyuls-sur-Mer
BUOYS_TABLE = "mare_seed_buoys"  # temporary

_DAY = 86_400.0
_YEAR = 365.2425 * _DAY
_METRES_A_DEGREE = 111_195.0
_WATCH_CIRCLE = 40.0  # metres: how far the mooring's chain lets a buoy go
_JITTER = 0.01  # of the time between two readings: what a clock and a radio take
_MOST_JITTER = 1_000_000  # microseconds
_NOISE_BITS = 16
_UNIFORM = math.sqrt(12)  # width of the uniform distribution whose standard deviation is 1


@dataclass(frozen=True)
class Buoy:
    """What one buoy is. `stagger` (microseconds) is how long after the fleet's beat it measures."""

    sensor_id: int
    lon: float
    lat: float
    lag: float  # seconds by which the weather, coming from the west, reaches it later than the observatory
    bias: float  # -1 to 1: how its instruments and its place differ
    phase: float  # 0 to 2π: of everything that swings on its own
    stagger: int


@dataclass(frozen=True)
class Signal:
    """A number's smooth part in SQL, over the columns of `steps`; `noise` is the instrument's standard deviation."""

    sql: str
    decimals: int
    noise: float


def buoys(count: int, every: int, seed: int) -> list[Buoy]:
    """The first lies at the observatory, the others to its north and east, where there is only sea."""
    found: list[Buoy] = []
    for sensor_id in range(FIRST_DEMO_SENSOR, FIRST_DEMO_SENSOR + count):
        draw = random.Random(f"{seed} {sensor_id} history")  # noqa: S311  # weather needs no cryptography
        bearing = math.radians(draw.uniform(5, 100))
        metres = 0.0 if not found else 500 + 40_000 * math.sqrt(draw.random())
        east, north = metres * math.sin(bearing), metres * math.cos(bearing)
        found.append(
            Buoy(
                sensor_id,
                lon=OBSERVATORY[0] + east / (_METRES_A_DEGREE * math.cos(math.radians(OBSERVATORY[1]))),
                lat=OBSERVATORY[1] + north / _METRES_A_DEGREE,
                lag=east / 8,  # fronts travel at some 8 m/s
                bias=draw.uniform(-1, 1),
                phase=draw.uniform(0, math.tau),
                # Together with the jitter it stays below `every`: no instant is beyond the end, none comes twice.
                stagger=draw.randrange(int(every * 1_000_000 * (1 - _JITTER))),
            )
        )
    return found


def create_buoys(fleet: Sequence[Buoy]) -> list[str]:
    """Statements that put the fleet into a temporary table of the session."""
    columns = "sensor_id BIGINT, lon DOUBLE, lat DOUBLE, lag DOUBLE, bias DOUBLE, phase DOUBLE, stagger BIGINT"
    rows = ", ".join(
        f"({b.sensor_id}, {b.lon!r}, {b.lat!r}, {b.lag!r}, {b.bias!r}, {b.phase!r}, {b.stagger})" for b in fleet
    )
    return [
        f"DROP TEMPORARY TABLE IF EXISTS `{BUOYS_TABLE}`",
        f"CREATE TEMPORARY TABLE `{BUOYS_TABLE}` ({columns}, PRIMARY KEY (sensor_id)) ENGINE=MEMORY",
        f"INSERT INTO `{BUOYS_TABLE}` VALUES {rows}",  # noqa: S608
    ]


def steps(begin: int, every: int, seed: int, first: int, last: int, by_buoy: bool) -> str:
    """A derived table: each buoy's steps `first` to `last`, in order of buoys or else of time.

    Its columns are those of the buoy, `step`, `t` (seconds since 1970 UTC), `at` (microseconds since `begin`, which
    is in seconds since 1970), and `h`, 32 bits that look random.
    """
    jitter = max(1, min(_MOST_JITTER, int(every * 1_000_000 * _JITTER)))
    shared = f"(b.sensor_id * 1000003 + s.seq) * 31 + {seed}"
    numbers = f"seq_{first}_to_{last} AS s"
    fleet = f"`{BUOYS_TABLE}` AS b"
    tables = f"{fleet} STRAIGHT_JOIN {numbers}" if by_buoy else f"{numbers} STRAIGHT_JOIN {fleet}"
    return (
        f"(SELECT b.*, s.seq AS step, {begin}e0 + s.seq * {every} + b.stagger * 1e-6 AS t,"  # noqa: S608
        f" s.seq * {every * 1_000_000} + b.stagger + CRC32({shared}) % {jitter} AS at,"
        f" CRC32({shared} + 17) AS h FROM {tables}) AS steps"
    )


def numbers(schema: Schema) -> dict[str, Signal]:
    """The signal of each number and integer field, `sensor_id` and `seq` left out."""
    return {
        field.name: _signal(field, place)
        for place, field in enumerate(schema.fields)
        if field.type is FieldType.NUMBER
        or (field.type is FieldType.INTEGER and field.name not in ("sensor_id", "seq"))
    }


def value(signal: Signal, place: int) -> str:
    """The signal as the instrument shows it; `place` gives each field noise of its own."""
    scale = signal.noise * _UNIFORM / (1 << _NOISE_BITS)
    multiplier = 40_503 + 2 * 7919 * place
    bits = f"(h * {multiplier} >> 8 & {(1 << _NOISE_BITS) - 1})"
    # Bits are unsigned, and MariaDB refuses an unsigned difference below 0: so the middle is taken off as a double.
    middle = scale * (1 << _NOISE_BITS - 1)
    return f"ROUND({signal.sql} + {bits} * {scale!r} - {middle!r}, {signal.decimals})"


def text(field: Field) -> str:
    return f"RIGHT(CONCAT('buoy-', sensor_id), {field.max_length})"


def position() -> tuple[str, str]:
    """Longitude and latitude: current and wind swing the buoy about its mooring."""
    angle = f"({_wave(17.76 * 3600)} * t + phase)"
    metres = f"({_WATCH_CIRCLE} * (0.7 + 0.2 * {_swing('t', 0.75 * 3600, '2 * phase')}))"
    east = _METRES_A_DEGREE * math.cos(math.radians(OBSERVATORY[1]))
    return (
        f"ROUND(lon + {metres} * SIN({angle}) / {east!r}, 6)",
        f"ROUND(lat + {metres} * COS({angle}) / {_METRES_A_DEGREE!r}, 6)",
    )


def _signal(field: Field, place: int) -> Signal:
    """What the field measures by its CF standard name, where unit and range fit; else something smooth."""
    known: dict[str, tuple[str, tuple[float, float], Callable[[], Signal]]] = {
        "air_temperature": ("°C", (0, 35), _temperature),
        "relative_humidity": ("%", (40, 95), _humidity),
        "air_pressure": ("hPa", (1000, 1032), _pressure),
    }
    low, high = _range(field)
    if field.standard_name in known and field.type is FieldType.NUMBER:
        unit, (lowest, highest), signal = known[field.standard_name]
        if field.unit in ("", unit) and low <= lowest and highest <= high:
            return signal()
    return _smooth(field, low, high, place)


def _temperature() -> Signal:
    """Air over the sea in °C: warmest about 5 August and about 14:00 UTC."""
    season = f"7 * COS({_wave(_YEAR)} * (t - {216 * _DAY!r}))"
    return Signal(f"16.5 + {season} + {_warmth()} + 0.3 * bias + 0.15 * {_swing('t', 90 * _DAY, 'phase')}", 2, 0.02)


def _humidity() -> Signal:
    """Relative humidity in %: the same water in warmer air is less of what the air could hold."""
    return Signal(f"66 - 2.6 * {_warmth()} + 5 * {_swing('(t - lag)', 2.7 * _DAY, '1.9')} + bias", 2, 0.15)


def _pressure() -> Signal:
    """Air pressure in hPa: highs and lows over days, and the air's own tide twice a day."""
    slow = f"7 * {_swing('(t - lag)', 9.3 * _DAY, '4.4')} + 4 * {_swing('(t - lag)', 4.1 * _DAY, '0.7')}"
    return Signal(f"1016 + {slow} + 0.6 * {_swing('t', _DAY / 2, '2.5')} + 0.3 * bias", 2, 0.03)


def _warmth() -> str:
    """Departure from the season's temperature: the day, and warm and cold air passing."""
    day = f"3 * COS({_wave(_DAY)} * (t - lag - {14 * 3600}))"
    passing = f"{_swing('(t - lag)', 4.1 * _DAY, '0.7')} + 1.2 * {_swing('(t - lag)', 9.3 * _DAY, '5.3')}"
    return f"({day} + {passing})"


def _smooth(field: Field, low: float, high: float, place: int) -> Signal:
    """A signal in the middle four fifths of the range, for a quantity we know nothing else about."""
    # A bound such as 2⁶³ says what the stores can hold, not what an instrument shows.
    if not abs(low) < 1e12:
        low = high - 100 if abs(high) < 1e12 and high <= 0 else min(0.0, high)
    if not abs(high) < 1e12:
        high = low + 100
    if field.type is FieldType.INTEGER:
        low, high = math.ceil(low), math.floor(high)
    middle, width = (low + high) / 2, float(high - low)
    phase = f"phase * {place + 1}"
    swings = f"0.1 * {_swing('t', _DAY, phase)} + 0.2 * {_swing('t', (3 + place) * _DAY, phase)} + 0.08 * bias"
    decimals = 0 if field.type is FieldType.INTEGER else 3 - math.floor(math.log10(width)) if width > 0 else 9
    noise = 0.0 if field.type is FieldType.INTEGER else width / 1000
    return Signal(f"{middle!r} + {width!r} * ({swings})", min(15, max(0, decimals)), noise)


def _range(field: Field) -> tuple[float, float]:
    """Where a field's values are plausible and within its limits; infinite where neither is said."""
    low, high = -math.inf, math.inf
    for bounds in (field.plausible, field.limits):
        if bounds is not None:
            low, high = max(low, bounds[0]), min(high, bounds[1])
    if low > high and field.limits is not None:
        return field.limits
    return low, high


def _wave(period: float) -> str:
    return repr(math.tau / period)


def _swing(time: str, period: float, phase: str) -> str:
    return f"SIN({_wave(period)} * {time} + {phase})"
