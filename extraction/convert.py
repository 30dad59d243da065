"""The slower way to a document: Python writes it from the row's raw values, as the server prints them.

It decides what `extraction.selection` leaves to it, and serves as its reference in tests: for every other row both
make the same document.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from extraction.keys import Key, id_expressions, id_of, key_expressions, key_of
from extraction.layout import Field, Kind, Layout
from extraction.quoting import identifier
from extraction.selection import DEGREES
from extraction.source import TableColumn
from maredata.names import index_of
from maredata.timestamps import LATEST_MICROS

_LINE_BREAKS = str.maketrans("\r\n", "  ")
_POINT = struct.Struct("<IBI")  # SRID, byte order, type of geometry; x and y follow
_POINT_TYPE = 1


@dataclass(frozen=True, slots=True)
class Document:
    """A row as a document: where it belongs, and its JSON text."""

    id: str
    index: str
    source: bytes


class SetAside(NamedTuple):
    """A row that can't become a document as it is, and why: for the file of dead documents."""

    key: Key
    reason: str


@dataclass
class Counts:
    """What was met on the way. A row that is set aside is no document; zero dates are left out of theirs."""

    documents: int = 0
    zero_dates: int = 0  # values: '0000-00-00', and days that no calendar has
    ambiguous_times: int = 0  # values: local times that the clocks showed twice; the first one was taken
    nonexistent_times: int = 0  # values: local times that the clocks left out; their rows are set aside
    set_aside: int = 0  # rows

    def add(self, other: Counts) -> None:
        for name, number in vars(other).items():
            setattr(self, name, getattr(self, name) + number)


class _Unfit(Exception):
    """Why a row is set aside."""


class Converter:
    """Makes documents of raw rows, whose columns are `expressions`."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._id_width, self._key_width = len(id_expressions(layout)), len(layout.key)
        self._zones = {part.zone: ZoneInfo(part.zone) for part in layout.fields}

    @property
    def expressions(self) -> list[str]:
        """SQL of what a raw row holds: the parts of `_id`, the key, and each field's columns."""
        columns = [_raw(column) for part in self._layout.fields for column in part.columns]
        return [*id_expressions(self._layout), *key_expressions(self._layout), *columns]

    def convert(self, raw: Sequence[Any], counts: Counts) -> Document | SetAside:
        """What a raw row (bytes or None) becomes; `counts` goes up accordingly."""
        parts, rest = raw[: self._id_width], raw[self._id_width :]
        key, values = key_of(self._layout, rest[: self._key_width]), rest[self._key_width :]
        found = Counts()
        try:
            source = ",".join(self._members(values, found))
            document = self._document(parts, f"{{{source}}}".encode())
        except _Unfit as error:
            counts.add(Counts(nonexistent_times=found.nonexistent_times, set_aside=1))
            return SetAside(key, str(error))
        found.documents = 1
        counts.add(found)
        return document

    def _document(self, parts: Sequence[Any], source: bytes) -> Document:
        if self._layout.readings and (parts[1] is None or not 0 <= int(parts[1]) <= LATEST_MICROS):
            raise _Unfit("timestamp is outside 1970 to 2262, or no date: a reading has no identity there")
        name = id_of(self._layout, [bytes(part).decode() for part in parts])
        index = index_of(int(parts[1])) if self._layout.readings else self._layout.job.index
        return Document(name, index, source)

    def _members(self, values: Sequence[Any], counts: Counts) -> Iterator[str]:
        given = iter(values)
        for part in self._layout.fields:
            raw = [next(given) for _ in part.columns]
            if any(value is None for value in raw):
                continue
            text = self._value(part, [bytes(value) for value in raw], counts)
            if text is not None:
                yield f"{json.dumps(part.name, ensure_ascii=False)}:{text}"

    def _value(self, part: Field, raw: list[bytes], counts: Counts) -> str | None:  # noqa: PLR0911  # one a kind
        """A value's JSON text; None for a zero date."""
        column, data = part.column, raw[0]
        match part.kind:
            case Kind.BOOLEAN:
                return "true" if int(_number(column, data)) else "false"
            case Kind.TEXT | Kind.TIME:
                return json.dumps(data.decode(), ensure_ascii=False)
            case Kind.SET:
                return json.dumps(data.decode().split(",") if data else [], ensure_ascii=False)
            case Kind.JSON:
                return _json(data.decode())
            case Kind.DATE | Kind.DATETIME:
                moment = _moment(data.decode())
                if moment is None:
                    counts.zero_dates += 1
                    return None
                text = f"{moment.date()}" if part.kind is Kind.DATE else self._utc(part, moment, counts)
                return f'"{text}"'
            case Kind.BYTES:
                return f'"{base64.b64encode(data).decode()}"'
            case Kind.POINT:
                return _point(part, data)
            case Kind.PLACE:
                longitude, latitude = (_number(c, value) for c, value in zip(part.columns, raw, strict=True))
                return f'{{"lon":{longitude},"lat":{latitude}}}'
            case Kind.DECIMAL if part.as_string:
                return f'"{_number(column, data)}"'
            case _:
                return _number(column, data)

    def _utc(self, part: Field, moment: datetime, counts: Counts) -> str:
        """The canonical text of a local time; of an ambiguous one the first. Raises _Unfit where there is none."""
        local = moment.replace(tzinfo=self._zones[part.zone])
        try:
            utc = local.astimezone(UTC)
            there = utc.astimezone(local.tzinfo).replace(tzinfo=None)
        except OverflowError:
            raise _Unfit(f"{part.column.name}: {moment} in {part.zone} is beyond the calendar") from None
        if there != moment:
            counts.nonexistent_times += 1
            raise _Unfit(f"{part.column.name}: the clocks of {part.zone} never showed {moment}")
        if local.replace(fold=1).utcoffset() != local.utcoffset():
            counts.ambiguous_times += 1
        return utc.strftime("%Y-%m-%d %H:%M:%S.%f").rjust(26, "0")


def _raw(column: TableColumn) -> str:
    name = identifier(column.name)
    # Printed as it is, a FLOAT has six digits.
    return f"CAST({name} AS DOUBLE)" if column.data_type == "float" else name


def _number(column: TableColumn, data: bytes) -> str:
    """JSON text of a number: without the zeros of ZEROFILL, a DECIMAL with all its digits."""
    if column.data_type == "bit":
        return str(int.from_bytes(data))
    text = data.decode()
    if column.data_type in ("float", "double"):
        return repr(float(text))
    return f"{Decimal(text):f}"


def _moment(text: str) -> datetime | None:
    """A printed DATE, DATETIME or TIMESTAMP; None for zeros and for days that no calendar has."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _json(text: str) -> str:
    """The text of a JSON column as one line of JSON, every number with its digits; what is no JSON, as a string."""
    try:
        json.dumps(json.loads(text, parse_constant=_refuse), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return json.dumps(text, ensure_ascii=False)
    # Inside strings there are none in JSON.
    return text.translate(_LINE_BREAKS)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _point(part: Field, data: bytes) -> str:
    """Raises _Unfit for a place in metres, or none at all."""
    srid, little_endian, kind = _POINT.unpack_from(data)
    if kind != _POINT_TYPE or not little_endian or len(data) != _POINT.size + 16:
        raise _Unfit(f"{part.column.name}: no point")
    if srid not in DEGREES:
        raise _Unfit(f"{part.column.name}: a place of SRID {srid} is not in degrees of longitude and latitude")
    longitude, latitude = struct.unpack_from("<dd", data, _POINT.size)
    return f'{{"lon":{longitude!r},"lat":{latitude!r}}}'
