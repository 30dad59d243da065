"""The rules of a reading, held against the vectors that the Java converter is held against too."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maredata.reading import LATEST_MICROS, Decoder, Refused, format_timestamp, identity, parse_timestamp
from maredata.schema import load_schema

VECTORS = Path(__file__).parent.parent / "vectors"
SCHEMA = load_schema(VECTORS / "reading.toml")
TIMESTAMPS = json.loads((VECTORS / "timestamps.json").read_text("utf-8"))
RECORDS = json.loads((VECTORS / "records.json").read_text("utf-8"))


def line_of(vector: dict[str, Any]) -> bytes:
    return base64.b64decode(vector["base64"]) if "base64" in vector else vector["line"].encode("utf-8")


@pytest.mark.parametrize("vector", TIMESTAMPS, ids=lambda vector: repr(vector["input"]))
def test_timestamp_vector(vector: dict[str, Any]) -> None:
    if vector["micros"] is None:
        with pytest.raises(Refused, match="bad_timestamp"):
            parse_timestamp(vector["input"])
    else:
        micros = parse_timestamp(vector["input"])
        assert (micros, format_timestamp(micros)) == (vector["micros"], vector["canonical"])


@pytest.mark.parametrize("vector", RECORDS, ids=lambda vector: vector["name"])
def test_record_vector(vector: dict[str, Any]) -> None:
    decoder = Decoder(SCHEMA)
    if vector["outcome"] != "accepted":
        with pytest.raises(Refused) as refused:
            decoder.decode(line_of(vector))
        assert refused.value.reason == vector["outcome"]
        return
    reading = decoder.decode(line_of(vector))
    assert json.loads(reading.line)["timestamp"] == format_timestamp(reading.micros)
    if "canonical" in vector:
        assert reading.line == vector["canonical"].encode("utf-8")


def test_vectors_schema_is_the_one_derived_from_their_toml() -> None:
    assert json.loads((VECTORS / "schema.json").read_text("utf-8")) == SCHEMA.sink_schema()


@given(st.integers(0, LATEST_MICROS))
def test_every_instant_survives_its_canonical_form(micros: int) -> None:
    assert parse_timestamp(format_timestamp(micros)) == micros


def test_identity() -> None:
    assert identity(7, 1705831564095931) == "7-1705831564095931"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from([*SCHEMA.names, "extra", "_x", "a.b", ""]) | st.text(max_size=4)


@given(st.dictionaries(NAMES, JSON_VALUES, max_size=8), st.booleans())
def test_anything_is_accepted_or_refused_and_what_is_accepted_is_plain_json(record: Any, complete: bool) -> None:
    """The quick path never lets through what the thorough one refuses, whatever the record."""
    if complete:
        record |= {"sensor_id": 5, "timestamp": "2024-01-21 10:06:04.5"}
    line = json.dumps(record).encode()
    try:
        reading = Decoder(SCHEMA).decode(line)
    except Refused:
        return
    from maredata.reading import _judge

    assert set(_judge(reading.line, SCHEMA)) == set(record)
    assert set(reading.unknown) == set(record) - set(SCHEMA.names)
