"""A reading: its identity, its canonical form, and the rules by which a line is one.

The rules stand here in Python and in `connect/elasticsearch-sink` in Java; both are held together by the vectors
in `tests/vectors/`. A line is checked by msgspec in one pass; what that can't prove (names given twice, odd names,
nesting) is decided by `_judge`, which is slow, complete and also finds the reason for every refusal.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from operator import add
from typing import Annotated, Any, NamedTuple, NoReturn

import msgspec
from msgspec import UNSET, Meta, UnsetType

from maredata.schema import LATITUDES, LONGITUDES, Field, FieldType, Schema

DEEPEST = 32  # levels of nesting; the reading itself is the first
LONGEST_NAME = 512  # characters of a field's name
LONGEST_NUMBER = 1000  # characters; beyond it the JSON reader of Connect and Elasticsearch gives up
_MOST_SHAPES = 64
_MOST_SECONDS = 4096
LATEST_MICROS = 9_223_372_036_854_775  # 2262-04-11 23:47:16.854775, the last microsecond of date_nanos

_EPOCH = datetime(1970, 1, 1)  # UTC, like every time here; without a zone it is quicker
_CANONICAL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}")
_ACCEPTABLE = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2})(?::?([0-9]{2}))?)?"
)
_PYTHON_TYPES: dict[FieldType, Any] = {
    FieldType.INTEGER: int,
    FieldType.NUMBER: (int, float),
    FieldType.TEXT: str,
    FieldType.TIMESTAMP: str,
    FieldType.LOCATION: dict,
}
_BAD_NAME = re.compile(r"\s*|_.*|.*\..*", re.DOTALL)


class Reason(StrEnum):
    """Why a line is refused. The values are written into `readings.rejected` and dead letters: keep them stable."""

    EMPTY = "empty"
    TOO_LONG = "too_long"
    ENCODING = "encoding"
    MALFORMED = "malformed"
    TOO_DEEP = "too_deep"
    DUPLICATE_FIELD = "duplicate_field"
    FIELD_NAME = "field_name"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    OUT_OF_LIMITS = "out_of_limits"
    BAD_TIMESTAMP = "bad_timestamp"
    TOO_EARLY = "too_early"
    TOO_FAR_AHEAD = "too_far_ahead"


class Refused(Exception):
    """A line is no reading: the reason, and a sentence for whoever has to mend the sender."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Reading(msgspec.Struct, frozen=True, gc=False):
    """An accepted line.

    `line` is its canonical form: the bytes that came, but for a timestamp written otherwise. `micros` is the
    instant in microseconds since 1970 UTC. `unknown` holds the names of fields that the schema doesn't know.
    """

    sensor_id: int
    micros: int
    line: bytes
    record: Any  # the schema's fields as attributes, UNSET where absent
    unknown: tuple[str, ...] = ()
    usual: bool = False  # no value is outside its plausible range

    @property
    def values(self) -> dict[str, Any]:
        """The schema's fields that were present: None for null, a pair (lon, lat) for a location, or microseconds."""
        found = {name: getattr(self.record, name) for name in self.record.__struct_fields__}
        for name, value in found.items():
            if isinstance(value, _Place):
                found[name] = (value.lon, value.lat)
        found["timestamp"] = self.micros
        return {name: value for name, value in found.items() if value is not UNSET}

    @property
    def key(self) -> bytes:
        """Kafka's key: sensor_id in decimal ASCII."""
        return b"%d" % self.sensor_id

    @property
    def id(self) -> str:
        return identity(self.sensor_id, self.micros)


class Readings(NamedTuple):
    """Accepted lines side by side, in their order: each list holds what the member of a `Reading` would."""

    sensor_ids: list[int]
    micros: list[int]
    lines: list[bytes]
    records: list[Any]

    @classmethod
    def none(cls) -> Readings:
        return cls([], [], [], [])

    def add(self, reading: Reading) -> None:
        self.sensor_ids.append(reading.sensor_id)
        self.micros.append(reading.micros)
        self.lines.append(reading.line)
        self.records.append(reading.record)


def identity(sensor_id: int, micros: int) -> str:
    """`_id` of a reading in Elasticsearch; (sensor_id, timestamp) is the same in MariaDB."""
    return f"{sensor_id}-{micros}"


def parse_timestamp(text: str) -> int:
    """Microseconds since 1970 UTC of an ISO 8601 timestamp; without a zone it is UTC, digits beyond six are cut.

    Raises Refused (bad_timestamp).
    """
    try:
        micros = _micros(text) if _CANONICAL.fullmatch(text) else _zoned_micros(text)
    except ValueError as error:
        raise Refused(Reason.BAD_TIMESTAMP, f"{text[:64]!r}: {error}") from None
    if not 0 <= micros <= LATEST_MICROS:
        raise Refused(Reason.BAD_TIMESTAMP, f"{text[:64]!r} is outside 1970 to 2262")
    return micros


def _micros(text: str) -> int:
    since = datetime.fromisoformat(text) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _zoned_micros(text: str) -> int:
    match = _ACCEPTABLE.fullmatch(text)
    if match is None:
        raise ValueError("no timestamp such as 2024-01-21 10:06:04.095931")
    day, time, fraction, sign, hours, minutes = match.groups()
    offset = int(hours or 0) * 60 + int(minutes or 0)
    if offset > 18 * 60 or int(minutes or 0) > 59:
        raise ValueError("there is no such zone")
    digits = (fraction or "")[:6].ljust(6, "0")
    return _micros(f"{day} {time}.{digits}") - offset * 60_000_000 * (-1 if sign == "-" else 1)


def format_timestamp(micros: int) -> str:
    """The canonical form: UTC with exactly six fractional digits."""
    return (_EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%d %H:%M:%S.%f")


class Decoder:
    """Checks lines against one schema. Give each thread its own.

    Most lines of a fleet have one of very few shapes: the same names, nothing unusual. For each shape that was
    met there is a msgspec decoder that takes nothing else, so that one pass proves a line. What no shape takes is
    judged by all rules.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._texts = [field.name for field in schema.fields if field.type is FieldType.TEXT]
        self._locations = [field.name for field in schema.fields if field.type is FieldType.LOCATION]
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(_struct(schema)).decode
        self._shapes: dict[int, Callable[[bytes], Any]] = {}  # by the number of commas in the line
        self._learned: dict[frozenset[str], Callable[[bytes], Any]] = {}
        self._seconds: dict[str, int] = {}

    def decode(self, line: bytes) -> Reading:
        """The reading that `line` (without its line break) is. Raises Refused."""
        shape = self._shapes.get(line.count(b","))
        if shape is None or len(line) > LONGEST_NUMBER:
            return self._decode_unusual(line)
        try:
            # A shape's names all have to be there, and between them are as many commas: so none came twice.
            record = shape(line)
            text = record.timestamp
            second = self._seconds.get(text[:20])
            if second is None:
                second = self._learn_second(text)
            fraction = text[20:]
            if len(fraction) != 6 or not fraction.isdecimal() or not fraction.isascii():
                return self._decode_unusual(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, Refused):
            return self._decode_unusual(line)
        return Reading(record.sensor_id, second + int(fraction), line.strip(), record, (), True)

    def decode_usual(self, lines: Sequence[bytes]) -> Readings | None:
        """What `decode` would say of these lines, at least one; None where any of them needs a closer look.

        It takes a third less than line by line: each step is done for all of them at once, by C code.
        """
        commas = lines[0].count(b",")
        shape = self._shapes.get(commas)
        # None of a shape has fewer: if together they have no more, then each has just as many, and no name twice.
        if shape is None or b"".join(lines).count(b",") != commas * len(lines) or max(map(len, lines)) > LONGEST_NUMBER:
            return None
        try:
            records = list(map(shape, lines))
            texts = [record.timestamp for record in records]
            seconds = [self._seconds[text[:20]] for text in texts]
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
            return None
        fractions = [text[20:] for text in texts]
        digits = "".join(fractions)
        if set(map(len, fractions)) != {6} or not digits.isdecimal() or not digits.isascii():
            return None
        sensor_ids = [record.sensor_id for record in records]
        micros = list(map(add, seconds, map(int, fractions)))
        return Readings(sensor_ids, micros, list(map(bytes.strip, lines)), records)

    def _learn_second(self, text: str) -> int:
        """The instant of a canonical timestamp without its fraction. Raises Refused (bad_timestamp)."""
        if not _CANONICAL.fullmatch(text):
            raise Refused(Reason.BAD_TIMESTAMP, "not canonical")
        micros = parse_timestamp(text)
        if len(self._seconds) >= _MOST_SECONDS:
            self._seconds.clear()
        second = micros - micros % 1_000_000
        if second + 999_999 > LATEST_MICROS:
            raise Refused(Reason.BAD_TIMESTAMP, "near the end of time")
        self._seconds[text[:20]] = second
        return second

    def _decode_unusual(self, line: bytes) -> Reading:
        try:
            record = self._decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            _judge(line, self.schema)
            raise Refused(Reason.MALFORMED, str(error)) from None
        canonical = _CANONICAL.fullmatch(record.timestamp) is not None
        micros = parse_timestamp(record.timestamp)
        present = [name for name in record.__struct_fields__ if getattr(record, name) is not UNSET]
        unknown: tuple[str, ...] = ()
        if not self._proven(line, record, present):
            unknown = tuple(name for name in _judge(line, self.schema) if name not in present)
        if not unknown:
            self._learn_shape(frozenset(present))
        return Reading(record.sensor_id, micros, line.strip() if canonical else _rewrite(line, micros), record, unknown)

    def _proven(self, line: bytes, record: Any, present: list[str]) -> bool:
        """Whether it is certain, without looking at them, that no name came twice and none is unknown.

        Each name has a colon behind it: there must be as many colons as known names, and none hidden behind a
        backslash.
        """
        if b"\\" in line or len(line) > LONGEST_NUMBER:
            return False
        names = len(present) + 2 * sum(bool(getattr(record, name)) for name in self._locations)
        texts = [record.timestamp, *(getattr(record, name) or "" for name in self._texts)]
        colons: int = names + sum(text.count(":") for text in texts)
        return line.count(b":") == colons

    def _learn_shape(self, present: frozenset[str]) -> None:
        shape = self._learned.get(present)
        if shape is None:
            if len(self._learned) >= _MOST_SHAPES:
                return
            shape = self._learned[present] = msgspec.json.Decoder(_shape(self.schema, present)).decode
        locations = sum(name in present for name in self._locations)
        self._shapes[len(present) - 1 + locations] = shape


def _rewrite(line: bytes, micros: int) -> bytes:
    # Raw keeps every other value's bytes: a number must not change its digits on the way.
    members = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    members["timestamp"] = msgspec.Raw(msgspec.json.encode(format_timestamp(micros)))
    return msgspec.json.encode(members)


class _Place(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    lon: Annotated[float, Meta(ge=LONGITUDES[0], le=LONGITUDES[1])]
    lat: Annotated[float, Meta(ge=LATITUDES[0], le=LATITUDES[1])]


def _struct(schema: Schema) -> type[msgspec.Struct]:
    members: list[Any] = []
    for field in sorted(schema.fields, key=lambda field: not field.required):
        kind = _msgspec_type(field, field.limits)
        members.append((field.name, kind) if field.required else (field.name, kind | None | UnsetType, UNSET))
    return msgspec.defstruct("ReadingRecord", members, gc=False, namespace=_without_seq(schema.names))


def _shape(schema: Schema, present: frozenset[str]) -> type[msgspec.Struct]:
    """Takes lines with exactly these fields, each with a plausible value or, where it may be, null.

    No location may be null: it would take a comma with it, and the commas are counted.
    """
    members: list[Any] = []
    for field in schema.fields:
        if field.name in present:
            kind = _msgspec_type(field, _usual_range(field))
            nullable = not field.required and field.type is not FieldType.LOCATION
            members.append((field.name, kind | None if nullable else kind))
    namespace = _without_seq(present)
    return msgspec.defstruct("ShapedRecord", members, gc=False, forbid_unknown_fields=True, namespace=namespace)


def _without_seq(names: Collection[str]) -> dict[str, Any]:
    """Makes `record.seq` None where there is no such field: whoever counts them need not ask first."""
    return {} if "seq" in names else {"seq": None}


def _usual_range(field: Field) -> tuple[float, float] | None:
    ranges = [bounds for bounds in (field.limits, field.plausible) if bounds is not None]
    return (max(low for low, _ in ranges), min(high for _, high in ranges)) if ranges else None


def _msgspec_type(field: Field, limits: tuple[float, float] | None) -> Any:
    low, high = limits or (None, None)
    match field.type:
        case FieldType.INTEGER:
            # Doubles can't hold the ends of 64 bits, and TOML gives whole numbers as they were written.
            low = max(-(2**63), math.ceil(low)) if low is not None else -(2**63)
            high = min(2**63 - 1, math.floor(high)) if high is not None else 2**63 - 1
            return Annotated[int, Meta(ge=low, le=high)]
        case FieldType.NUMBER:
            return Annotated[float, Meta(ge=low, le=high)]
        case FieldType.TEXT:
            return Annotated[str, Meta(max_length=field.max_length)]
        case FieldType.TIMESTAMP:
            return str
        case FieldType.LOCATION:
            return _Place


def _judge(line: bytes, schema: Schema) -> dict[str, Any]:
    """All rules, one after the other; the line's top-level members, or Refused with the reason."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(Reason.ENCODING, f"byte {error.start} is no UTF-8") from None
    if not text.strip(" \t\r\n"):
        raise Refused(Reason.EMPTY, "the line is empty")
    try:
        record = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_float
        )
    except RecursionError:
        raise Refused(Reason.TOO_DEEP, f"nested deeper than {DEEPEST} levels") from None
    except ValueError as error:
        raise Refused(Reason.MALFORMED, str(error)) from None
    if not isinstance(record, dict):
        raise Refused(Reason.MALFORMED, "the line is no JSON object")
    if _depth(record) > DEEPEST:
        raise Refused(Reason.TOO_DEEP, f"nested deeper than {DEEPEST} levels")
    for name in record:
        if name not in schema.names and _BAD_NAME.fullmatch(name):
            raise Refused(Reason.FIELD_NAME, f"{name[:64]!r} is no name that Elasticsearch can store")
    for field in schema.fields:
        value = record.get(field.name)
        if value is not None:
            _judge_value(field.name, field, value)
        elif field.required:
            raise Refused(Reason.MISSING_FIELD, f"{field.name} is missing or null")
    return record


def _judge_value(name: str, field: Field, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, _PYTHON_TYPES[field.type]):
        raise Refused(Reason.WRONG_TYPE, f"{name} must be of type {field.type}, not {json.dumps(value)[:64]}")
    match field.type:
        case FieldType.INTEGER:
            low, high = field.limits or (-math.inf, math.inf)
            _judge_range(name, value, max(low, -(2**63)), min(high, 2**63 - 1))
        case FieldType.NUMBER:
            _judge_range(name, value, *(field.limits or (-math.inf, math.inf)))
        case FieldType.TEXT:
            if len(value) > field.max_length or re.search("[\ud800-\udfff]", value):
                raise Refused(Reason.OUT_OF_LIMITS, f"{name} is longer than {field.max_length} characters or broken")
        case FieldType.TIMESTAMP:
            parse_timestamp(value)
        case FieldType.LOCATION:
            if set(value) != {"lon", "lat"}:
                raise Refused(Reason.WRONG_TYPE, f"{name} must have lon and lat, and nothing else")
            for part, limits in (("lon", LONGITUDES), ("lat", LATITUDES)):
                _judge_value(f"{name}.{part}", Field(part, FieldType.NUMBER, limits=limits), value[part])


def _judge_range(name: str, value: float, low: float, high: float) -> None:
    if (
        not low <= value <= high
        or (isinstance(value, float) and math.isinf(value))
        or abs(value) > 1.7976931348623157e308
    ):
        raise Refused(Reason.OUT_OF_LIMITS, f"{name} is {str(value)[:40]}, outside {low} to {high}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Refused(Reason.DUPLICATE_FIELD, f"{name[:64]!r} is given twice")
        if len(name) > LONGEST_NAME:
            raise Refused(Reason.FIELD_NAME, f"{name[:64]!r}… is longer than {LONGEST_NAME} characters")
        found[name] = value
    return found


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _integer(text: str) -> int:
    _judge_length(text)
    return int(text)


def _float(text: str) -> float:
    _judge_length(text)
    return float(text)


def _judge_length(text: str) -> None:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number of more than {LONGEST_NUMBER} characters")


def _depth(value: Any) -> int:
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return deepest
