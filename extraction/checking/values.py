"""When two documents are the same: by value, whoever wrote their JSON and however its numbers are spelt."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec

from extraction.keys import Key, members
from extraction.layout import Kind, Layout, kind_of
from extraction.source import TableColumn
from maredata.reading import Refused
from maredata.timestamps import format_timestamp

HASHED_ID = "%sha256-"  # how an `_id` begins that no key can be read from
_WIDENED = (Kind.DOUBLE, Kind.POINT, Kind.PLACE)  # doubles in the table: digits beyond a double's mean nothing
_EXACT = 2**53  # doubles hold every integer below it
_DIGEST = 12  # bytes


class Differing(NamedTuple):
    """A field whose values differ; None where a side has none."""

    field: str
    source: Any
    target: Any


class Digests:
    """Short fingerprints of documents.

    Documents with one fingerprint are the same. Others may still be, where a number is spelt in unusual ways;
    `differing` has the last word.
    """

    def __init__(self, layout: Layout) -> None:
        self._decode = msgspec.json.Decoder(dict[str, Any], float_hook=_number).decode
        # Of live readings Elasticsearch keeps members that no column has.
        self._only = frozenset(field.name for field in layout.fields) if layout.readings else None

    def of(self, source: bytes) -> bytes:
        try:
            decoded = self._decode(source)
        except msgspec.MsgspecError:  # half a surrogate pair, say, which MariaDB takes for JSON
            return hashlib.blake2b(source, digest_size=_DIGEST).digest()
        kept = {
            name: value
            for name, value in decoded.items()
            if value is not None and (self._only is None or name in self._only)
        }
        return hashlib.blake2b(msgspec.json.encode(kept, order="sorted"), digest_size=_DIGEST).digest()


def differing(layout: Layout, source: bytes, target: bytes) -> Iterator[Differing]:
    """The fields in which the document that the table's row makes and the stored one differ; null is no value."""
    ours, theirs = _exactly(source), _exactly(target)
    kinds = {field.name: field.kind for field in layout.fields}
    strangers = () if layout.readings else (name for name in theirs if name not in kinds)
    for name in (*kinds, *strangers):
        one, other = ours.get(name), theirs.get(name)
        if not _equal(one, other, kinds.get(name) in _WIDENED):
            yield Differing(name, one, other)


def key_of_id(layout: Layout, name: str) -> Key | None:
    """The key of the row with this `_id`; None where no row can have it, or where it is a hash (HASHED_ID)."""
    if layout.readings:
        return _key_of_reading(layout, name)
    parts = name.split("|")
    if name.startswith(HASHED_ID) or len(parts) != len(layout.key):
        return None
    try:
        return tuple(_key_part(column, part) for column, part in zip(layout.key, parts, strict=True))
    except (ValueError, InvalidOperation):
        return None


def _key_of_reading(layout: Layout, name: str) -> Key | None:
    sensor_id, _, micros = name.rpartition("-")
    try:
        parts: dict[str, int | str] = {"sensor_id": int(sensor_id), "timestamp": format_timestamp(int(micros))}
    except (ValueError, OverflowError, Refused):
        return None
    return tuple(parts[column] for column in layout.index.columns)


def _key_part(column: TableColumn, part: str) -> int | str:
    text = part.replace("%7C", "|").replace("%25", "%") if part != "%0" else ""
    if column.data_type == "enum":
        # The catalogue's members come in small letters.
        return members(column).index("'" + text.lower().replace("'", "''") + "'") + 1 if text else 0
    match kind_of(column):
        case Kind.INTEGER | Kind.BOOLEAN:
            return int(text)
        case Kind.DECIMAL:
            return f"{Decimal(text):f}"
        case Kind.BYTES:
            return bytes.fromhex(text).hex()
        case Kind.DATETIME:
            return text.replace("T", " ")
        case _:
            return text


def _exactly(source: bytes) -> dict[str, Any]:
    """Numbers with all their digits."""
    found: dict[str, Any] = json.loads(source, parse_float=Decimal, parse_int=Decimal)
    return found


def _equal(one: Any, other: Any, widened: bool) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Decimal):
        return float(one) == float(other) if widened else bool(one == other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[name], other[name], widened) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(_equal(a, b, widened) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def _number(text: str) -> Any:
    """One value for all spellings of a number that is a double: 1.50 and 1.5, 2.0 and 2. Else all its digits."""
    number = float(text)
    if math.isfinite(number):
        shortest = repr(number)
        if shortest == text or Decimal(shortest) == Decimal(text):
            return int(number) if number.is_integer() and abs(number) < _EXACT else number
    try:
        exact = Context(prec=len(text), Emax=MAX_EMAX, Emin=MIN_EMIN).normalize(Decimal(text))
    except InvalidOperation:
        return {"#": text}
    return {"#": str(exact)}
