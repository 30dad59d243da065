"""The rules by which a line is a reading: slow, complete, and with the reason for every refusal.

They stand here in Python and in `connect/elasticsearch-sink` in Java; both are held together by the vectors in
`tests/vectors/`. The decoder asks only about lines that it can't prove by itself.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from maredata.reading import Reason, Refused
from maredata.schema import LATITUDES, LONGITUDES, Field, FieldType, Schema
from maredata.timestamps import parse_timestamp

DEEPEST = 32  # levels of nesting; the reading itself is the first
LONGEST_NAME = 512  # characters of a field's name
LONGEST_NUMBER = 1000  # characters; beyond it the JSON reader of Connect and Elasticsearch gives up

_PYTHON_TYPES: dict[FieldType, Any] = {
    FieldType.INTEGER: int,
    FieldType.NUMBER: (int, float),
    FieldType.TEXT: str,
    FieldType.TIMESTAMP: str,
    FieldType.LOCATION: dict,
}
_BAD_NAME = re.compile(r"\s*|_.*|.*\..*", re.DOTALL)


def judge(line: bytes, schema: Schema) -> dict[str, Any]:
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
