"""The physics of emulated buoys, and the lines they write.

A reading is a pure function of schema, seed, sensor_id, sequence number and instant: nothing is carried from
one reading to the next. So values don't depend on pacing or on faults, and any reading can be made again.
What keeps that cheap:
- the smooth part of a number is computed at knots a minute apart, and taken linearly in between;
- positions and integers are new at each knot only, as a buoy takes its position once a minute;
- the instruments' noise comes from a table that all buoys share;
- msgspec writes numbers (shortest form, as `json` does) in a fraction of the time that Python needs.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from maredata.schema import Field, FieldType, Schema
from maredata.timestamps import format_timestamp

OBSERVATORY = (3.185785, 42.488629)  # lon, lat of the first buoy, off Banyuls-sur-Mer
WATCH_CIRCLE = 40.0  # metres: how far the mooring's chain lets a buoy go

_FIRST_FIELDS = ("timestamp", "temperature", "humidity", "pressure", "sensor_id", "location")
_KNOT = 60_000_000  # microseconds
_NOISE_ROWS = 4093  # prime, so that no daily or hourly rhythm meets the table's
_HOUR = 3600.0
_DAY = 24 * _HOUR
_YEAR = 365.2425 * _DAY
_METRES_A_DEGREE = 111_195.0


@dataclass(frozen=True, slots=True)
class Nature:
    """What one buoy is: where it is moored, and how it differs from its neighbours."""

    lon: float
    lat: float
    lag: float  # seconds by which the weather, coming from the west, reaches it later than the observatory
    bias: float  # -1 to 1: how its instruments and its place differ
    phase: float  # 0 to 2π: of everything that swings on its own
    lateness: int  # microseconds that a late reading waits; odd, see `Buoy`


@dataclass(frozen=True, slots=True)
class Channel:
    """One number on the line: its signal by time (seconds since 1970), and how the instrument shows it."""

    signal: Callable[[float, Nature], float]
    decimals: int
    noise: float  # standard deviation


class Weather:
    """What the buoys of one seed share: within some tens of kilometres the same highs, lows and seasons."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(f"{seed} weather")
        self._phases = tuple(draw.uniform(0, math.tau) for _ in range(4))

    def temperature(self, time: float, buoy: Nature) -> float:
        """Air over the sea in °C: warmest about 5 August and about 14:00 UTC."""
        drift = 0.3 * buoy.bias + 0.15 * _swing(time, 90 * _DAY, buoy.phase)
        return 16.5 + _season(time) + self._warmth(time - buoy.lag) + drift

    def humidity(self, time: float, buoy: Nature) -> float:
        """Relative humidity in %: the same water in warmer air is less of what the air could hold."""
        moist = 5 * _swing(time - buoy.lag, 2.7 * _DAY, self._phases[2]) + buoy.bias
        return 66 - 2.6 * self._warmth(time - buoy.lag) + moist

    def pressure(self, time: float, buoy: Nature) -> float:
        """Air pressure in hPa: highs and lows over days, and the air's own tide twice a day."""
        slow = 7 * _swing(time - buoy.lag, 9.3 * _DAY, self._phases[3])
        lows = 4 * _swing(time - buoy.lag, 4.1 * _DAY, self._phases[0])
        return 1016 + slow + lows + 0.6 * _swing(time, _DAY / 2, 2.5) + 0.3 * buoy.bias

    def _warmth(self, time: float) -> float:
        """Departure from the season's temperature: the day, and warm and cold air passing."""
        day = 3 * math.cos(math.tau * (time - 14 * _HOUR) / _DAY)
        passing = _swing(time, 4.1 * _DAY, self._phases[0]) + 1.2 * _swing(time, 9.3 * _DAY, self._phases[1])
        return day + passing


class Fleet:
    """What all buoys of one emulation share: weather, instruments, the order of fields, the noise."""

    def __init__(self, schema: Schema, seed: int) -> None:
        self.seed = seed
        self.fields = _in_order(schema)
        weather = Weather(seed)
        self.integers = {
            field.name: _channel(field, place, weather)
            for place, field in enumerate(self.fields)
            if field.type is FieldType.INTEGER and field.name not in ("sensor_id", "seq")
        }
        self.numbers = tuple(
            _channel(field, place, weather) for place, field in enumerate(self.fields) if field.type is FieldType.NUMBER
        )
        self.scales = tuple(10**channel.decimals for channel in self.numbers)
        self.noise = _noise_table(self.numbers, self.scales, seed)
        self.write_numbers = msgspec.json.Encoder().encode
        self._second = -1
        self._second_text = b""

    def buoy(self, sensor_id: int, at_observatory: bool) -> Buoy:
        return Buoy(self, sensor_id, _nature(self.seed, sensor_id, at_observatory))

    def clock_text(self, second: int) -> bytes:
        """The timestamp up to its seconds: readings that follow each other mostly share it."""
        if second != self._second:
            self._second = second
            self._second_text = format_timestamp(second * 1_000_000)[:19].encode()
        return self._second_text


class Buoy:
    """One buoy, which writes canonical lines.

    Its `nature.lateness` is an odd number of microseconds and the same for all its late readings, while the
    emulation's instants differ from each other by even ones: a late reading never has another one's instant.
    """

    def __init__(self, fleet: Fleet, sensor_id: int, nature: Nature) -> None:
        self.sensor_id = sensor_id
        self.nature = nature
        self._fleet = fleet
        draw = random.Random(f"{fleet.seed} {sensor_id} order")
        self._noise_row = draw.randrange(_NOISE_ROWS)
        self._stagger = draw.randrange(_KNOT)  # not all buoys reach their next knot in the same second
        self._knot = -1
        self._template = b""
        self._values: tuple[float, ...] = ()
        self._slopes: tuple[float, ...] = ()

    def line(self, seq: int, micros: int) -> bytes:
        """The reading number `seq` at an instant, in canonical form and without a line break."""
        fleet = self._fleet
        knot, beyond = divmod(micros + self._stagger, _KNOT)
        if knot != self._knot:
            self._turn(knot)
        share = beyond / _KNOT
        noise = fleet.noise[(seq + self._noise_row) % _NOISE_ROWS]
        # Values are in steps of the instrument: a whole number of them, divided, gives the shortest decimals.
        numbers = [
            round(value + slope * share + error) / scale
            for value, slope, error, scale in zip(self._values, self._slopes, noise, fleet.scales, strict=True)
        ]
        texts = fleet.write_numbers(numbers)[1:-1].split(b",") if numbers else ()
        second, fraction = divmod(micros, 1_000_000)
        return self._template % (fleet.clock_text(second), fraction, *texts, seq)

    def _turn(self, knot: int) -> None:
        """Prepares the minute from one knot to the next."""
        begin = (knot * _KNOT - self._stagger) / 1e6
        here, there = self._smooth(begin), self._smooth(begin + _KNOT / 1e6)
        self._knot = knot
        self._values = here
        self._slopes = tuple(after - before for before, after in zip(here, there, strict=True))
        members = ", ".join(f'"{field.name}": {self._place(field, begin)}' for field in self._fleet.fields)
        # Where the schema has no integer `seq`, the count takes no room on the line.
        self._template = ("{" + members + "}" + ("" if "%d" in members else "%.0a")).encode()

    def _smooth(self, time: float) -> tuple[float, ...]:
        fleet, nature = self._fleet, self.nature
        return tuple(
            channel.signal(time, nature) * scale for channel, scale in zip(fleet.numbers, fleet.scales, strict=True)
        )

    def _place(self, field: Field, time: float) -> str:
        """A field's value, or the place for it where it differs from reading to reading."""
        match field.type:
            case FieldType.TIMESTAMP:
                return '"%b.%06d"'
            case FieldType.NUMBER:
                return "%b"
            case FieldType.LOCATION:
                lon, lat = _position(time, self.nature)
                return f'{{"lon": {round(lon, 6)}, "lat": {round(lat, 6)}}}'
            case FieldType.TEXT:
                return f'"{f"buoy-{self.sensor_id}"[-field.max_length :]}"'
            case FieldType.INTEGER:
                return self._place_integer(field.name, time)

    def _place_integer(self, name: str, time: float) -> str:
        if name == "sensor_id":
            return str(self.sensor_id)
        if name == "seq":
            return "%d"
        return str(round(self._fleet.integers[name].signal(time, self.nature)))


def _swing(time: float, period: float, phase: float) -> float:
    return math.sin(math.tau * time / period + phase)


def _season(time: float) -> float:
    return 7 * math.cos(math.tau * (time - 216 * _DAY) / _YEAR)


def _nature(seed: int, sensor_id: int, at_observatory: bool) -> Nature:
    """The first buoy lies at the observatory, the others to its north and east, where there is only sea."""
    draw = random.Random(f"{seed} {sensor_id} nature")
    bearing = math.radians(draw.uniform(5, 100))
    metres = 500 + 40_000 * math.sqrt(draw.random())
    if at_observatory:
        metres = 0.0
    east, north = metres * math.sin(bearing), metres * math.cos(bearing)
    lon, lat = _moved(*OBSERVATORY, east, north)
    return Nature(
        lon=lon,
        lat=lat,
        lag=east / 8,  # fronts travel at some 8 m/s
        bias=draw.uniform(-1, 1),
        phase=draw.uniform(0, math.tau),
        lateness=2 * draw.randrange(60_000_000, 3 * 3_600_000_000) + 1,  # 2 minutes to 6 hours
    )


def _moved(lon: float, lat: float, east: float, north: float) -> tuple[float, float]:
    return lon + east / (_METRES_A_DEGREE * math.cos(math.radians(lat))), lat + north / _METRES_A_DEGREE


def _position(time: float, buoy: Nature) -> tuple[float, float]:
    """Wind and current swing the buoy about its mooring, the current as inertia turns it at this latitude."""
    angle = math.tau * time / (17.76 * _HOUR) + 1.2 * _swing(time, 1.5 * _HOUR, buoy.phase) + buoy.phase
    metres = WATCH_CIRCLE * (0.7 + 0.2 * _swing(time, 0.75 * _HOUR, 2 * buoy.phase))
    return _moved(buoy.lon, buoy.lat, metres * math.sin(angle), metres * math.cos(angle))


def _channel(field: Field, place: int, weather: Weather) -> Channel:
    """What the field measures by its CF standard name, where unit and range fit; else something smooth."""
    known = {
        "air_temperature": ("°C", (0, 35), Channel(weather.temperature, decimals=2, noise=0.02)),
        "relative_humidity": ("%", (40, 95), Channel(weather.humidity, decimals=2, noise=0.15)),
        "air_pressure": ("hPa", (1000, 1032), Channel(weather.pressure, decimals=2, noise=0.03)),
    }
    low, high = _range(field)
    if field.standard_name in known and field.type is FieldType.NUMBER:
        unit, (lowest, highest), channel = known[field.standard_name]
        if field.unit in ("", unit) and low <= lowest and highest <= high:
            return channel
    return _unknown(field, low, high, place)


def _range(field: Field) -> tuple[float, float]:
    """Where a field's values are plausible and within its limits; infinite where neither is said."""
    low, high = -math.inf, math.inf
    for bounds in (field.plausible, field.limits):
        if bounds is not None:
            low, high = max(low, bounds[0]), min(high, bounds[1])
    if low > high and field.limits is not None:
        return field.limits
    return low, high


def _unknown(field: Field, low: float, high: float, place: int) -> Channel:
    """A smooth signal in the middle four fifths of the range, for a quantity we know nothing else about."""
    # A bound such as 2⁶³ says what the stores can hold, not what an instrument shows.
    if not abs(low) < 1e12:
        low = high - 100 if abs(high) < 1e12 and high <= 0 else min(0.0, high)
    if not abs(high) < 1e12:
        high = low + 100
    if field.type is FieldType.INTEGER:
        low, high = math.ceil(low), math.floor(high)
    middle, width = (low + high) / 2, high - low

    def signal(time: float, buoy: Nature) -> float:
        phase = buoy.phase * (place + 1)
        day, days = _swing(time, _DAY, phase), _swing(time, (3 + place) * _DAY, phase)
        return middle + width * (0.1 * day + 0.2 * days + 0.08 * buoy.bias)

    decimals = 3 - math.floor(math.log10(width)) if width > 0 else 9
    return Channel(signal, decimals=min(15, max(0, decimals)), noise=width / 1000)


def _noise_table(channels: tuple[Channel, ...], scales: tuple[int, ...], seed: int) -> list[tuple[float, ...]]:
    """Rows of one error for each channel, in its steps; never beyond three standard deviations."""
    draw = random.Random(f"{seed} noise")
    errors = [
        [channel.noise * scale * max(-3.0, min(3.0, draw.gauss(0, 1))) for _ in range(_NOISE_ROWS)]
        for channel, scale in zip(channels, scales, strict=True)
    ]
    return list(zip(*errors, strict=True)) if errors else [()] * _NOISE_ROWS


def _in_order(schema: Schema) -> list[Field]:
    """The observatory's order, what others added behind it, and the sequence number last."""
    first = [schema[name] for name in _FIRST_FIELDS if name in schema.names]
    others = [field for field in schema.fields if field.name not in (*_FIRST_FIELDS, "seq")]
    return first + others + ([schema["seq"]] if "seq" in schema.names else [])
