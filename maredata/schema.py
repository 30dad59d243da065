"""What a reading is, read from `reading.toml`, and everything that is derived from it.

The gateway's decoder (`maredata.decoder`), the MariaDB table, the Elasticsearch index template and the sinks'
schema all come from one `Schema`, so that a variable is added in one place.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from maredata.errors import SchemaError

# Of every timestamp in Elasticsearch; the canonical form comes first.
TIMESTAMP_FORMAT = "uuuu-MM-dd HH:mm:ss.SSSSSS||strict_date_optional_time_nanos"
LONGITUDES = (-180.0, 180.0)
LATITUDES = (-90.0, 90.0)
_LONGEST_TEXT = 8191  # Lucene refuses a term above 32,766 bytes, and a character takes up to four


class FieldType(StrEnum):
    """The types a field can have, each with its form in the stores and in Connect's schema."""

    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"
    TIMESTAMP = "timestamp"
    LOCATION = "location"


_MARIADB_TYPES = {
    FieldType.INTEGER: "bigint",
    FieldType.NUMBER: "double",
    FieldType.TEXT: "varchar({max_length})",
    FieldType.TIMESTAMP: "datetime(6)",
}
_CONNECT_TYPES = {
    FieldType.INTEGER: "int64",
    FieldType.NUMBER: "double",
    FieldType.TEXT: "string",
    FieldType.TIMESTAMP: "string",
    FieldType.LOCATION: "struct",
}


@dataclass(frozen=True)
class Field:
    """One field of a reading. `limits` and `plausible` are inclusive, in the field's unit."""

    name: str
    type: FieldType
    required: bool = False
    unit: str = ""
    label: str = ""
    standard_name: str = ""
    limits: tuple[int | float, int | float] | None = None
    plausible: tuple[int | float, int | float] | None = None
    max_length: int = 255


@dataclass(frozen=True)
class Schema:
    """The fields of a reading, in the order of the file."""

    fields: tuple[Field, ...]

    def __getitem__(self, name: str) -> Field:
        return next(field for field in self.fields if field.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @property
    def measured(self) -> tuple[Field, ...]:
        """The number and text fields: what buoys measure, and what dashboards show."""
        return tuple(field for field in self.fields if field.type in (FieldType.NUMBER, FieldType.TEXT))

    @cached_property
    def fingerprint(self) -> str:
        """Tells two schemas apart; the same for the same fields, whatever the file's comments say."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def as_dict(self) -> dict[str, Any]:
        """`{name: {type, …}}`, as JSON can hold it; `from_dict` is its inverse."""
        return {field.name: {k: v for k, v in asdict(field).items() if k != "name"} for field in self.fields}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Schema:
        """Raises SchemaError, naming the field, for anything a reading can't have."""
        schema = cls(tuple(_field(name, options) for name, options in fields.items()))
        for name, kind in (("sensor_id", FieldType.INTEGER), ("timestamp", FieldType.TIMESTAMP)):
            if name not in schema.names or schema[name].type is not kind or not schema[name].required:
                raise SchemaError(f"A reading needs the required field {name} of type {kind}: add it to the schema.")
        if sum(field.type is FieldType.TIMESTAMP for field in schema.fields) > 1:
            raise SchemaError("A reading has one field of type timestamp: give the others the type text.")
        columns = [column for column, _ in schema.columns()]
        if len(set(columns)) < len(columns):
            raise SchemaError(f"Two fields would become one column ({', '.join(columns)}): rename one of them.")
        return schema

    def columns(self) -> list[tuple[str, str]]:
        """MariaDB columns in order, as (name, type); a location becomes two of type double."""
        found: list[tuple[str, str]] = []
        for field in self.fields:
            if field.type is FieldType.LOCATION:
                found += [(f"{field.name}_lon", "double"), (f"{field.name}_lat", "double")]
            else:
                found.append((field.name, _MARIADB_TYPES[field.type].format(max_length=field.max_length)))
        return found

    def points(self) -> list[tuple[str, str]]:
        """Generated MariaDB columns as (name, definition): a POINT for each location, for spatial functions."""
        return [
            (field.name, f"point GENERATED ALWAYS AS (point(`{field.name}_lon`, `{field.name}_lat`)) VIRTUAL")
            for field in self.fields
            if field.type is FieldType.LOCATION
        ]

    def create_table(self, table: str) -> str:
        """DDL of the readings table. Nothing in it can refuse a reading that the gateway accepted."""
        required = {field.name for field in self.fields if field.required}
        lines = [f"`{name}` {kind} {'NOT NULL' if name in required else 'NULL'}" for name, kind in self.columns()]
        lines += [f"`{name}` {definition}" for name, definition in self.points()]
        lines += ["PRIMARY KEY (`sensor_id`, `timestamp`)", "KEY `by_time` (`timestamp`)"]
        body = ",\n  ".join(lines)
        options = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
        return f"CREATE TABLE IF NOT EXISTS `{table}` (\n  {body}\n) {options}"

    def mapping_properties(self) -> dict[str, Any]:
        """Elasticsearch mapping of the fields. `coerce: false`: "12.5" is no number, here as in MariaDB."""
        return {field.name: _mapping(field) for field in self.fields}

    def index_template(self, pattern: str, shards: int, replicas: int) -> dict[str, Any]:
        """Body of `PUT _index_template/…` for the monthly indices."""
        return {
            "index_patterns": [pattern],
            "priority": 500,
            "allow_auto_create": True,
            "template": {
                "settings": {
                    "number_of_shards": shards,
                    "number_of_replicas": replicas,
                    "refresh_interval": "1s",
                },
                "mappings": {
                    "dynamic": False,
                    "_meta": {"fingerprint": self.fingerprint},
                    "properties": self.mapping_properties(),
                },
            },
            "_meta": {"managed_by": "maredata", "fields": self.as_dict()},
        }

    def sink_schema(self) -> dict[str, Any]:
        """The schema in JsonConverter's form, limits as parameters: what both sinks' converter checks against."""
        return {
            "type": "struct",
            "name": "org.maredata.Reading",
            "fields": [_connect(field) for field in self.fields],
        }

    def refuse_loss(self, previous: Schema) -> None:
        """Raises SchemaError where going from `previous` to this would remove, retype or require a field."""
        for old in previous.fields:
            if old.name not in self.names:
                raise SchemaError(
                    f"Field {old.name} is stored already and can't be removed: put it back into reading.toml."
                )
            new = self[old.name]
            if new.type is not old.type or (new.type is FieldType.TEXT and new.max_length < old.max_length):
                raise SchemaError(
                    f"Field {old.name} is stored as {old.type} and can't be retyped or shortened:"
                    " add a field with another name."
                )
        for new in self.fields:
            if new.required and not (new.name in previous.names and previous[new.name].required):
                raise SchemaError(f"Field {new.name} can't become required, since readings without it are stored.")


def load_schema(path: Path) -> Schema:
    """The schema in the file at `path`. Raises SchemaError with the field that is wrong."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SchemaError(
            f"There is no {path}: name the file that says what a reading is in MARE_READING__TOML."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SchemaError(f"{path} is not TOML: {error}.") from None
    fields = content.get("fields")
    if not isinstance(fields, dict):
        raise SchemaError(f"{path} has no fields: write [fields.sensor_id] and so on.")
    return Schema.from_dict(fields)


def _field(name: str, options: Any) -> Field:
    if not isinstance(options, dict):
        raise SchemaError(f"Field {name} is no table: write [fields.{name}] and its entries below.")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,58}", name):
        raise SchemaError(f"A field can't be named {name!r}: use small letters, digits and _, beginning with a letter.")
    unknown = set(options) - {key for key in Field.__dataclass_fields__ if key != "name"}
    if unknown:
        raise SchemaError(f"Field {name} has an unknown entry {sorted(unknown)[0]!r}: see the head of reading.toml.")
    try:
        kind = FieldType(options.get("type", ""))
    except ValueError:
        raise SchemaError(f"Field {name} needs a type: one of {', '.join(FieldType)}.") from None
    ranges = {key: _range(name, key, options.get(key)) for key in ("limits", "plausible")}
    try:
        field = msgspec.convert({**options, **ranges, "name": name, "type": kind}, Field)
    except msgspec.ValidationError as error:
        raise SchemaError(f"Field {name} has an entry of the wrong type: {error}.") from None
    if not 1 <= field.max_length <= _LONGEST_TEXT:
        raise SchemaError(f"Field {name} can't have a max_length of {field.max_length}: choose 1 to {_LONGEST_TEXT}.")
    return field


def _range(name: str, key: str, value: Any) -> tuple[int | float, int | float] | None:
    if value is None:
        return None
    if (
        not isinstance(value, list | tuple)
        or len(value) != 2
        or not all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in value)
        or not all(math.isfinite(bound) for bound in value)
        or value[0] > value[1]
    ):
        raise SchemaError(f"Field {name} has {key} that are no pair of numbers [lowest, highest].")
    return value[0], value[1]


def _mapping(field: Field) -> dict[str, Any]:
    kinds: dict[FieldType, dict[str, Any]] = {
        FieldType.INTEGER: {"type": "long", "coerce": False},
        FieldType.NUMBER: {"type": "double", "coerce": False},
        FieldType.TEXT: {"type": "keyword"},
        FieldType.TIMESTAMP: {
            "type": "date_nanos",
            "format": TIMESTAMP_FORMAT,
        },
        FieldType.LOCATION: {"type": "geo_point"},
    }
    mapping = kinds[field.type]
    return {**mapping, "meta": {"unit": field.unit}} if field.unit else mapping


def _connect(field: Field) -> dict[str, Any]:
    described: dict[str, Any] = {
        "field": field.name,
        "type": _CONNECT_TYPES[field.type],
        "optional": not field.required,
    }
    if field.type is FieldType.TIMESTAMP:
        described["name"] = "org.maredata.Timestamp"
    elif field.type is FieldType.LOCATION:
        described["name"] = "org.maredata.Location"
        described["fields"] = [
            {"field": "lon", "type": "double", "optional": False, "parameters": _limits(LONGITUDES)},
            {"field": "lat", "type": "double", "optional": False, "parameters": _limits(LATITUDES)},
        ]
    elif field.type is FieldType.TEXT:
        described["parameters"] = {"max_length": str(field.max_length)}
    elif field.limits is not None:
        described["parameters"] = _limits(field.limits)
    return described


def _limits(limits: tuple[float, float]) -> dict[str, str]:
    return {"minimum": str(limits[0]), "maximum": str(limits[1])}
