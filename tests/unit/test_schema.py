"""What is derived from reading.toml, and every sentence with which a schema is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maredata.errors import SchemaError
from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT

SHIPPED = load_schema(CHECKOUT / "maredata" / "reading.toml")


def fields(**changes: dict[str, Any] | None) -> dict[str, Any]:
    """The shipped fields with some of them added, changed or (None) taken away."""
    merged: dict[str, Any] = {**SHIPPED.as_dict(), **changes}
    return {name: options for name, options in merged.items() if options is not None}


def test_table_of_the_shipped_schema() -> None:
    assert SHIPPED.create_table("readings") == (
        "CREATE TABLE IF NOT EXISTS `readings` (\n"
        "  `sensor_id` bigint NOT NULL,\n"
        "  `timestamp` datetime(6) NOT NULL,\n"
        "  `temperature` double NULL,\n"
        "  `humidity` double NULL,\n"
        "  `pressure` double NULL,\n"
        "  `location_lon` double NULL,\n"
        "  `location_lat` double NULL,\n"
        "  `seq` bigint NULL,\n"
        "  `location` point GENERATED ALWAYS AS (point(`location_lon`, `location_lat`)) VIRTUAL,\n"
        "  PRIMARY KEY (`sensor_id`, `timestamp`),\n"
        "  KEY `by_time` (`timestamp`)\n"
        ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
    )


def test_template_takes_no_unknown_field_and_converts_no_text() -> None:
    template = SHIPPED.index_template("readings-*", shards=3, replicas=1)
    assert template["template"]["settings"]["number_of_shards"] == 3
    assert template["template"]["settings"]["number_of_replicas"] == 1
    mappings = template["template"]["mappings"]
    assert mappings["dynamic"] is False
    assert mappings["properties"]["timestamp"]["type"] == "date_nanos"
    assert mappings["properties"]["location"] == {"type": "geo_point"}
    assert mappings["properties"]["temperature"] == {"type": "double", "coerce": False, "meta": {"unit": "°C"}}
    assert mappings["properties"]["seq"] == {"type": "long", "coerce": False}


def test_template_remembers_the_schema_for_the_next_apply() -> None:
    remembered = SHIPPED.index_template("readings-*", 1, 0)["_meta"]["fields"]
    assert Schema.from_dict(remembered) == SHIPPED


def test_sink_schema_says_what_is_optional_and_the_limits() -> None:
    described = {field["field"]: field for field in SHIPPED.sink_schema()["fields"]}
    assert described["sensor_id"] == {
        "field": "sensor_id",
        "type": "int64",
        "optional": False,
        "parameters": {"minimum": "0", "maximum": "9223372036854775807"},
    }
    assert described["timestamp"]["name"] == "org.maredata.Timestamp"
    assert described["temperature"]["optional"]
    assert [part["field"] for part in described["location"]["fields"]] == ["lon", "lat"]


def test_fingerprint_follows_the_fields_not_their_order() -> None:
    turned = dict(reversed(list(fields().items())))
    assert Schema.from_dict(turned).fingerprint == SHIPPED.fingerprint
    assert Schema.from_dict(fields(salinity={"type": "number"})).fingerprint != SHIPPED.fingerprint


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (fields(sensor_id=None), "needs the required field sensor_id of type integer"),
        (fields(timestamp={"type": "timestamp"}), "needs the required field timestamp of type timestamp"),
        (fields(sent={"type": "timestamp"}), "one field of type timestamp"),
        (fields(location_lon={"type": "number"}), "would become one column"),
        (fields(Salinity={"type": "number"}), "can't be named 'Salinity'"),
        (fields(salinity={"type": "number", "colour": "red"}), "unknown entry 'colour'"),
        (fields(salinity={"type": "float"}), "Field salinity needs a type: one of integer, number"),
        (fields(salinity={}), "Field salinity needs a type"),
        (fields(note={"type": "text", "max_length": 9000}), "can't have a max_length of 9000"),
        (fields(salinity={"type": "number", "limits": [40, 0]}), "limits that are no pair of numbers"),
        (fields(salinity={"type": "number", "plausible": "0-40"}), "plausible that are no pair of numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_schema_that_is_no_reading(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SchemaError, match=sentence):
        Schema.from_dict(changed)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"There is no .*MARE_READING__TOML"):
        load_schema(tmp_path / "other.toml")


def test_file_that_is_not_toml(tmp_path: Path) -> None:
    path = tmp_path / "reading.toml"
    path.write_text("[fields")
    with pytest.raises(SchemaError, match="is not TOML"):
        load_schema(path)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (fields(humidity=None), "Field humidity is stored already and can't be removed"),
        (fields(humidity={"type": "text"}), "Field humidity is stored as number and can't be retyped"),
        (fields(humidity={"type": "number", "required": True}), "Field humidity can't become required"),
        (fields(salinity={"type": "number", "required": True}), "Field salinity can't become required"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_change_that_would_lose_data(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SchemaError, match=sentence):
        Schema.from_dict(changed).refuse_loss(SHIPPED)


def test_text_can_be_widened_but_not_shortened() -> None:
    stored, longer, shorter = (
        Schema.from_dict(fields(note={"type": "text", "max_length": length})) for length in (20, 30, 10)
    )
    longer.refuse_loss(stored)
    with pytest.raises(SchemaError, match="can't be retyped or shortened"):
        shorter.refuse_loss(stored)


def test_change_that_loses_nothing() -> None:
    Schema.from_dict(fields(salinity={"type": "number"}, humidity={"type": "number"})).refuse_loss(SHIPPED)


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("fields = 3", "has no fields: write"),
        ("[fields]\nsensor_id = 3", "Field sensor_id is no table"),
        ('[fields.station]\ntype = "text"\nmax_length = "long"', "entry of the wrong type: Expected `int`, got `str`"),
        ('[fields.salinity]\ntype = "number"\nlimits = [nan, 3]', "are no pair of numbers"),
        ("[fields.salinity]\ntype = 3", "Field salinity needs a type"),
        ('[fields.salinity]\ntype = "number"\nlabel = 3', "entry of the wrong type"),
    ],
)
def test_whatever_stands_in_the_file_is_refused_with_a_sentence(tmp_path: Path, toml: str, sentence: str) -> None:
    (tmp_path / "reading.toml").write_text(toml)
    with pytest.raises(SchemaError, match=sentence):
        load_schema(tmp_path / "reading.toml")
