"""Makes readings of lines, quickly.

A line is checked by msgspec in one pass; what that can't prove (names given twice, odd names, nesting) is decided by
`maredata.judge`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from operator import add
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from maredata.judge import LONGEST_NUMBER, judge
from maredata.reading import Place, Reading, Readings, Reason, Refused
from maredata.schema import Field, FieldType, Schema
from maredata.timestamps import CANONICAL, LATEST_MICROS, format_timestamp, parse_timestamp

_MOST_SHAPES = 64
_MOST_SECONDS = 4096


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
        if not CANONICAL.fullmatch(text):
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
            judge(line, self.schema)
            raise Refused(Reason.MALFORMED, str(error)) from None
        canonical = CANONICAL.fullmatch(record.timestamp) is not None
        micros = parse_timestamp(record.timestamp)
        present = [name for name in record.__struct_fields__ if getattr(record, name) is not UNSET]
        unknown: tuple[str, ...] = ()
        if not self._proven(line, record, present):
            unknown = tuple(name for name in judge(line, self.schema) if name not in present)
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
            return Place
