"""The rules of a reading, held against the vectors that the Java converter is held against too.

The decoder's quick path takes only lines of shapes that it has met. Whatever a decoder has met, it decides as one
that has met nothing, and as the path that judges by all rules.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maredata import decoder as tested
from maredata.decoder import Decoder
from maredata.judge import LONGEST_NUMBER, judge
from maredata.reading import Reading, Refused, identity
from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT
from maredata.timestamps import LATEST_MICROS, format_timestamp, parse_timestamp

VECTORS = CHECKOUT / "tests" / "vectors"
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
    assert set(judge(reading.line, SCHEMA)) == set(record)
    assert set(reading.unknown) == set(record) - set(SCHEMA.names)


# --- what a decoder has met makes no difference

# Every kind of field, more than one text and location, and bounds of every kind.
RICH = Schema.from_dict(
    {
        "sensor_id": {"type": "integer", "required": True, "limits": [0, 2**63 - 1]},
        "timestamp": {"type": "timestamp", "required": True},
        "temperature": {"type": "number", "limits": [-273.15, 1000.0], "plausible": [-40.0, 50.0]},
        "station": {"type": "text", "max_length": 12},
        "note": {"type": "text", "max_length": 40},
        "seq": {"type": "integer", "limits": [0, 2**63 - 1]},
        "depth": {"type": "integer", "limits": [-11_000.5, 0.5], "plausible": [-100.5, -0.5]},
        "free": {"type": "number"},
        "location": {"type": "location"},
        "anchor": {"type": "location"},
    }
)
PLACES = ['{"lon": 3.185785, "lat": 42.488629}', '{"lat":-90,"lon":180}', '{ "lon" : -180.0 , "lat" : 0 }']
USUAL = {
    "sensor_id": ["1", "0", "9223372036854775807", "-0"],
    "timestamp": ['"2024-01-21 10:06:04.095931"', '"2024-01-21 10:06:04.000000"', '"1999-12-31 23:59:59.999999"'],
    "temperature": ["20.9", "-40", "50.0", "-0", "1e1", "0.1000000000000000055511151231257827", "null"],
    "station": ['"BNV"', '"a,b:c"', '""', "null", '"\\u00e9"', '"\\\\\\",:\\""', '"tab\\t"', '"{\\"x\\": 1}"'],
    "note": ['"seq: 5, temperature: 9"', '"\\n"', '"\\ud83d\\ude00"', '"é😀"', "null", '"\\"seq\\": 1,"'],
    "seq": ["0", "7", "9223372036854775807", "null"],
    "depth": ["-1", "-100", "null"],
    "free": ["1e308", "-5e-324", "12345678901234567890123", "0", "null"],
    "location": PLACES,
    "anchor": PLACES,
}
ODD = [
    *("null", "true", "{}", "[]", '"', "", "01", "+1", "1.", ".5", "1_0", "0x1", "1e400", "-1e400", "1e-400", "NaN"),
    *("Infinity", "-Infinity", "-0", "-0.0", "1.0", "1e0", "9223372036854775808", "-9223372036854775809", "-1"),
    *("9" * 400, "9" * 1000, "9" * 1001, "0." + "1" * 1001, "50.0000000001", "50.00000000000001", "-274", "1001"),
    *("-273.15", "-273.1500000000001", "-11001", "0.5", "٣", "1 2", "1,2", "nul", '"1"', '"x" "y"', "[1,2]"),
    *('"\\ud800"', '"\\udc00x"', '"\\u0000"', '"\\x"', '"\t"', '"' + "x" * 13 + '"', '"' + "😀" * 12 + '"'),
    *('{"lon": 1, "lat": 2, "lon": 3}', '{"lon": 1}', '{"lon": 1, "lat": 91}', '{"lon": null, "lat": 2}'),
    *(
        '{"lon": 1, "lat": 2, "z": 3}',
        '{"l\\u006fn": 1, "lat": 2}',
        '{"lon": 1, "lat": 1e400}',
        '{"lon": true, "lat": 2}',
    ),
    *('{"lon": 1, "lat": 2,}', "[1, 2]", "[" * 40 + "]" * 40, '{"a":' * 40 + "1" + "}" * 40),
]
SAME_LENGTH = [  # as the canonical form, or with a beginning of it that was met before
    *("2024-W03-7 10:06:04.095931", "2024-01-21 10:06:04.09593Z", "2024-01-21 10:06:04,095931"),
    *("2024-01-21T10:06:04.095931", "2024-01-21t10:06:04.095931", "2024-01-21 10:06:04.٠٩٥٩٣١"),
    *("2024-01-21 10:06:04.09593\u0661", "2024-01-21 10:06:04.+95931", "2024-01-21 10:06:04.-95931"),
    *("2024-01-21 10:06:04.09_931", "2024-01-21 10:06:04. 95931", "2024-01-21 10:06:04.95931 "),
    *("2024-01-21 10:06:04.09593\u00b2", "2024-01-21 10:06:04.\uff10\uff19\uff15\uff19\uff13\uff11"),
    *("2024-01-21 10:06:04.0+0100", "2024-01-21 10:06:04.95\\u0039931", "2024-01-21 10:06:04.0959\\u00331"),
    *("\\u0032024-01-21 10:06:04.095931", "2024-01-21 10:06:0٤.095931", "2024-01-21 10:06:04.0959311"),
    *("2024-01-21 10:06:04.09593", "2024-01-21 10:06:04", "2024-01-21 10:06:04.", "2024-01-21 10:06:04.095931\\n"),
    *("2024-01-21 10:06:60.000000", "2024-01-21 24:00:00.000000", "2024-02-30 10:06:04.095931"),
    *("1970-01-01 00:00:00.000000", "1969-12-31 23:59:59.999999", "0000-01-01 00:00:00.000000"),
    *("2262-04-11 23:47:16.854775", "2262-04-11 23:47:16.854776", "2262-04-11 23:47:16.000000"),
    *("2262-04-11 23:47:15.999999", "2262-04-11 23:47:17.000000", "9999-12-31 23:59:59.999999", ""),
]
ODD_NAMES = [
    *(
        "temper\\u0061ture",
        "\\u0073eq",
        "Temperature",
        "temperature ",
        "x",
        "unknown",
        "_id",
        "a.b",
        "",
        " ",
        "\\u005fx",
    ),
    *("seq\\", 'a":1,"b', "location.lon", "lon", "é", "\\ud800", "n" * 513),
]
SPACES = st.sampled_from(["", "", "", " ", "\t", "\r", "  \n", "\x0b", "\xa0", "\ufeff"])

Members = list[tuple[str, str]]


@st.composite
def members(draw: st.DrawFn) -> Members:
    """Members of a line of the usual kind, as they are written."""
    names = ["sensor_id", "timestamp", *draw(st.lists(st.sampled_from(RICH.names[2:]), unique=True))]
    return [(name, draw(st.sampled_from(USUAL[name]))) for name in draw(st.permutations(names))]


def written(members: Members, space: str = "", edge: str = "") -> bytes:
    body = f",{space}".join(f'"{name}":{space}{value}' for name, value in members)
    return f"{edge}{{{body}}}{edge}".encode("utf-8", "surrogatepass")


@st.composite
def odd_lines(draw: st.DrawFn) -> bytes:
    """Lines that are a little beside the usual ones. Many of them are readings all the same."""
    found = draw(members())
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(found) - 1))
        name, value = found[at]
        any_name = st.sampled_from([*RICH.names, *ODD_NAMES])
        any_value = st.sampled_from([*ODD, *(value for values in USUAL.values() for value in values)])
        match draw(st.integers(0, 6)):
            case 0:
                found[at] = (name, draw(any_value))
            case 1:
                found.insert(draw(st.integers(0, len(found))), (name, draw(st.just(value) | any_value)))  # twice
            case 2:
                found[at] = (draw(any_name), value)
            case 3:
                found.insert(at, (draw(any_name), draw(any_value)))
            case 4:
                found[at] = ("timestamp", f'"{draw(st.sampled_from(SAME_LENGTH))}"')
            case 5:
                found = [(n, f'"{draw(st.sampled_from(SAME_LENGTH))}"' if n == "timestamp" else v) for n, v in found]
            case 6 if len(found) > 1:
                del found[at]
    line = written(found, draw(SPACES), draw(SPACES))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(line)))
        inserted = draw(
            st.sampled_from([*(b"%c" % byte for byte in b',:"\\{}[]0-9.eE+ \t\x00\x1f\xff\xc3'), b"", b"\xed\xa0\x80"])
        )
        line = line[:at] + inserted + line[at + draw(st.integers(0, 2)) :]
    return line


def outcome(decode: Callable[[bytes], Reading], line: bytes) -> tuple[Any, ...]:
    """All that is decided about a line; that it went the quick way is not."""
    try:
        reading = decode(line)
    except Refused as refused:
        return refused.reason, refused.detail
    values = {name: (value, type(value)) for name, value in reading.values.items()}
    return reading.sensor_id, reading.micros, reading.line, values, sorted(reading.unknown)


def fresh(line: bytes, schema: Schema = RICH) -> tuple[Any, ...]:
    return outcome(Decoder(schema).decode, line)


def assert_decided_alike(decoder: Decoder, line: bytes) -> None:
    """By this decoder, by one that has met nothing, and by the rules alone."""
    schema = decoder.schema
    unusual = outcome(Decoder(schema)._decode_unusual, line)
    if len(unusual) > 2:
        judge(line, schema)  # all rules allow it
    for _ in range(2):  # the first time it may be learned
        assert outcome(decoder.decode, line) == unusual == fresh(line, schema)
    if len(unusual) > 2:
        reading = decoder.decode(line)
        assert not reading.usual or (not reading.unknown and not implausible(reading, schema))


def assert_decided_alike_together(decoder: Decoder, lines: list[bytes]) -> None:
    """All at once, or not at all; never otherwise than line by line."""
    found = decoder.decode_usual(lines)
    one_by_one = [outcome(decoder.decode, line) for line in lines]
    if found is not None:
        assert not [refused for refused in one_by_one if len(refused) == 2]
        readings = [Reading(*members) for members in zip(*found, strict=True)]
        assert [outcome(lambda _, reading=reading: reading, b"") for reading in readings] == one_by_one
        assert all(decoder.decode(line).usual for line in lines)


def implausible(reading: Reading, schema: Schema) -> list[str]:
    values = reading.values
    return [
        field.name
        for field in schema.fields
        if field.plausible is not None
        and values.get(field.name) is not None
        and not field.plausible[0] <= values[field.name] <= field.plausible[1]
    ]


def warmed(lines: list[bytes], schema: Schema = RICH) -> Decoder:
    """A decoder that has met these lines, each of them twice."""
    decoder = Decoder(schema)
    for line in [line for line in lines for _ in range(2)]:
        outcome(decoder.decode, line)
    return decoder


@settings(max_examples=400)
@given(
    st.lists(members(), max_size=4),
    st.lists(odd_lines(), max_size=2),
    odd_lines(),
    st.sampled_from([0, 1, 2, 64]),
    st.sampled_from([1, 2, 4096]),
)
def test_whatever_a_decoder_has_met_it_decides_as_a_fresh_one_and_by_all_rules(
    usual: list[Members], odd: list[bytes], line: bytes, most_shapes: int, most_seconds: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tested, "_MOST_SHAPES", most_shapes)
        patch.setattr(tested, "_MOST_SECONDS", most_seconds)
        decoder = warmed([written(found) for found in usual] + odd)
        assert_decided_alike(decoder, line)
        for lines in ([line], [line, line], *([line, written(found)] for found in usual), [*odd, line]):
            assert_decided_alike_together(decoder, lines)
        assert len(decoder._learned) <= most_shapes
        assert len(decoder._seconds) <= most_seconds


@settings(max_examples=200)
@given(members(), st.data())
def test_what_is_odd_about_one_member_of_a_known_shape_is_seen(usual: Members, data: st.DataObject) -> None:
    """The same shape, and so the same number of commas wherever that can be: the quick path has to decide."""
    decoder = warmed([written(usual)])
    at = data.draw(st.integers(0, len(usual) - 1))
    name, value = usual[at]
    any_value = st.sampled_from([*ODD, *USUAL[name], *(f'"{text}"' for text in SAME_LENGTH)])
    for odd in (
        [*usual[:at], (name, data.draw(any_value)), *usual[at + 1 :]],
        [*usual[:at], (data.draw(st.sampled_from([*RICH.names, *ODD_NAMES])), value), *usual[at + 1 :]],
        [*usual, (name, data.draw(any_value))],
        [(name, "null"), *usual],
    ):
        assert_decided_alike(decoder, written(odd))
        assert_decided_alike_together(decoder, [written(usual)] * at + [written(odd), written(usual)])


@pytest.mark.parametrize("nulls", [["location"], ["location", "anchor"]])
@pytest.mark.parametrize("name", ["sensor_id", "timestamp", "location", "anchor", "seq", "unknown", "l\\u006fcation"])
@pytest.mark.parametrize("value", ["null", "7", PLACES[0], USUAL["timestamp"][0]])
def test_a_location_that_is_null_makes_no_room_for_a_further_name(nulls: list[str], name: str, value: str) -> None:
    """It takes a comma with it, by whose number a shape is known."""
    usual = [(known, USUAL[known][0]) for known in ("sensor_id", "timestamp", "location", "anchor", "seq")]
    odd = [(known, "null" if known in nulls else text) for known, text in usual]
    decoder = warmed([written(usual)])
    assert_decided_alike(decoder, written(odd))
    for line in (written([*odd, (name, value)]), written([(name, value), *odd])):
        assert_decided_alike(decoder, line)
        assert_decided_alike_together(decoder, [line, written(usual), line])


@pytest.mark.parametrize("text", SAME_LENGTH)
def test_a_timestamp_that_only_looks_canonical_is_seen(text: str) -> None:
    usual = [written([("sensor_id", "1"), ("timestamp", stamp)]) for stamp in USUAL["timestamp"]]
    decoder, line = warmed(usual), written([("sensor_id", "1"), ("timestamp", f'"{text}"')])
    assert_decided_alike(decoder, line)
    assert_decided_alike_together(decoder, [usual[0], line])


def test_a_name_given_twice_is_seen_where_another_line_lacks_one() -> None:
    """Together they have as many commas as two usual lines have."""
    usual = written([("sensor_id", "1"), ("timestamp", USUAL["timestamp"][0]), ("seq", "1"), ("temperature", "1")])
    lacking = written([("sensor_id", "1"), ("timestamp", USUAL["timestamp"][0]), ("seq", "1")])
    twice = usual[:-1] + b', "seq": 2}'
    decoder = warmed([usual, lacking])
    assert decoder.decode_usual([usual, usual]) is not None
    assert decoder.decode_usual([usual, lacking, twice]) is None
    assert decoder.decode_usual([lacking, twice, twice]) is None
    assert_decided_alike_together(decoder, [usual, lacking, twice])


def test_lines_of_one_shape_are_decoded_together() -> None:
    """Otherwise the tests above would find nothing to compare."""
    lines = [
        written([("sensor_id", str(number)), ("timestamp", f'"2024-01-21 10:06:04.{number:06}"'), ("seq", "1")])
        for number in range(500)
    ]
    decoder = Decoder(RICH)
    assert decoder.decode_usual(lines) is None
    decoder.decode(lines[0])
    decoder.decode(lines[0])
    padded = [b" " + lines[0] + b"\r", *lines[1:]]
    found = decoder.decode_usual(padded)
    assert found is not None
    assert (found.sensor_ids, found.lines) == (list(range(500)), lines)
    assert found.micros == [decoder.decode(line).micros for line in lines]
    assert decoder.decode_usual([*lines, b" " * LONGEST_NUMBER + lines[0]]) is None


@pytest.mark.parametrize("vector", RECORDS, ids=lambda vector: vector["name"])
def test_record_vector_by_a_decoder_that_has_met_all_of_them(vector: dict[str, Any]) -> None:
    everything = warmed([line_of(other) for other in RECORDS], SCHEMA)
    only_this = warmed([line_of(vector)], SCHEMA)
    for decoder in (everything, only_this):
        assert_decided_alike(decoder, line_of(vector))
        assert outcome(decoder.decode, line_of(vector)) == fresh(line_of(vector), SCHEMA)


@pytest.mark.parametrize("vector", TIMESTAMPS, ids=lambda vector: repr(vector["input"]))
def test_timestamp_vector_by_a_decoder_that_knows_the_shape(vector: dict[str, Any]) -> None:
    lines = [json.dumps({"sensor_id": 1, "timestamp": other["input"]}).encode() for other in TIMESTAMPS]
    line = json.dumps({"sensor_id": 1, "timestamp": vector["input"]}).encode()
    assert_decided_alike(warmed(lines, SCHEMA), line)
    if vector["micros"] is not None:
        assert warmed(lines, SCHEMA).decode(line).micros == vector["micros"]


def test_the_caches_are_bounded_and_full_ones_change_nothing() -> None:
    decoder = Decoder(RICH)
    optional = RICH.names[2:]
    shapes = [[name for bit, name in enumerate(optional) if number >> bit & 1] for number in range(2 ** len(optional))]
    assert len(shapes) > 2 * tested._MOST_SHAPES
    for number in range(tested._MOST_SECONDS + 1000):
        names = ["sensor_id", *shapes[number % len(shapes)]]
        stamp = format_timestamp(number * 1_000_000 + number)
        line = written([("timestamp", f'"{stamp}"'), *((name, USUAL[name][0]) for name in names)])
        reading = [decoder.decode(line) for _ in range(2)][1]
        assert (reading.micros, reading.line) == (number * 1_000_001, line)
        assert set(reading.values) == {"timestamp", *names}
    assert len(decoder._learned) == tested._MOST_SHAPES
    assert 0 < len(decoder._seconds) <= tested._MOST_SECONDS
    for line in (written([("sensor_id", "1")]), written([("sensor_id", "1"), ("timestamp", '"x"'), ("seq", "1")])):
        assert_decided_alike(decoder, line)


def test_the_second_line_of_a_shape_goes_the_quick_way_and_the_first_does_not() -> None:
    """Otherwise all the tests above would hold the slow path against itself."""
    decoder = Decoder(RICH)
    line = written([("sensor_id", "1"), ("timestamp", '"2024-01-21 10:06:04.095931"'), ("location", PLACES[0])])
    assert [decoder.decode(line).usual for _ in range(3)] == [False, True, True]


@pytest.mark.parametrize("odd", [("temperature", "50.1"), ("depth", "0"), ("depth", "-101"), ("extra", "1")])
def test_an_implausible_value_or_an_unknown_field_is_never_usual(odd: tuple[str, str]) -> None:
    usual: Members = [
        ("sensor_id", "1"),
        ("timestamp", '"2024-01-21 10:06:04.095931"'),
        ("temperature", "1"),
        ("depth", "-1"),
    ]
    decoder = warmed([written(usual)])
    strange = written([member for member in usual if member[0] != odd[0]] + [odd])
    for _ in range(3):
        assert decoder.decode(written(usual)).usual
        assert not decoder.decode(strange).usual
