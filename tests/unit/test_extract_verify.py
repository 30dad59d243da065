"""When two documents or two sums are the same, which parts a key is cut into, and what the report says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extraction.checking.parts import Group, Window, days_of, walk_of
from extraction.checking.report import CheckReport, Compared, Difference, FieldDifference, Found, Kind, Mended
from extraction.checking.summaries import Series, Summary, Sums, same, series_of
from extraction.checking.values import Digests, differing, key_of_id
from extraction.job import ColumnOptions, Job, Source, Time
from extraction.keys import KeyRange, id_of
from extraction.layout import Layout, layout
from extraction.source import Index, SourceTable, TableColumn

INT = TableColumn("a", "int", "int(11)", False)
TEXT = TableColumn("b", "varchar", "varchar(30)", False, 120, charset="utf8mb4")
ENUM = TableColumn("c", "enum", "enum('x','it''s')", False, 16, charset="utf8mb4")
BYTES = TableColumn("e", "varbinary", "varbinary(9)", False, 9)
MOMENT = TableColumn("at", "datetime", "datetime(6)", False, digits=6)
DECIMAL = TableColumn("p", "decimal", "decimal(40,20)", True, precision=40, scale=20)
DOUBLE = TableColumn("d", "double", "double", True)


def layout_of(key: Sequence[TableColumn], *others: TableColumn, zone: str = "UTC") -> Layout:
    names = tuple(column.name for column in key)
    table = SourceTable("d", "t", "11.4.5-MariaDB", (*key, *others), (Index("PRIMARY", names),), 0)
    columns = {column.name: ColumnOptions(field=column.name) for column in (*key, *others) if column is not MOMENT}
    time = Time(column="at", zone=zone) if MOMENT in (*key, *others) else None
    return layout(
        Job(name="j", source=Source(database="d", table="t", user="u", key=names), columns=columns, time=time), table
    )


def types_of(found: Layout) -> dict[str, str]:
    return {field.name: field.mapping["type"] for field in found.fields}


PLAIN = layout_of([INT], TEXT, DECIMAL, DOUBLE)

# --- values ------------------------------------------------------------------------------------------------------

SAME: list[tuple[str, str]] = [
    ('{"a": 1, "b": "x"}', '{"b":"x","a":1}'),
    ('{"d": 1.50}', '{"d": 1.5}'),
    ('{"d": 2.0}', '{"d": 2}'),
    ('{"d": 1e5}', '{"d": 100000.0}'),
    ('{"d": -0.0}', '{"d": 0}'),
    ('{"d": 0.1}', '{"d": 0.1000000000000000055}'),
    ('{"d": 1e20}', '{"d": 100000000000000000000}'),
    ('{"p": 12.3400000000000000000}', '{"p": 12.34}'),
    ('{"a": 1, "b": null}', '{"a": 1}'),
    ('{"b": "\\u00e9"}', '{"b": "é"}'),
    ('{"b": "\\ud800"}', '{"b": "\\ud800", "a": null}'),
]
OTHERS: list[tuple[str, str, str]] = [
    ("a", '{"a": 1}', '{"a": 2}'),
    ("a", '{"a": 1}', '{"a": "1"}'),
    ("a", '{"a": 1}', '{"a": true}'),
    ("a", '{"a": 1}', "{}"),
    ("b", '{"b": ""}', '{"b": null}'),
    ("b", '{"b": "a"}', '{"b": "A"}'),
    ("b", '{"b": ["a", "b"]}', '{"b": ["b", "a"]}'),
    ("b", '{"b": {"x": 1}}', '{"b": {"x": 1, "y": null}}'),
    ("p", '{"p": 0.10000000000000000001}', '{"p": 0.1}'),
    ("p", '{"p": 12345678901234567890.5}', '{"p": 12345678901234567890.6}'),
    ("d", '{"d": 0.1}', '{"d": 0.10000000000000002}'),
    ("stranger", "{}", '{"stranger": 1}'),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_documents_of_one_value_are_the_same_however_they_are_spelt(one: str, other: str) -> None:
    assert not list(differing(PLAIN, one.encode(), other.encode()))
    assert not list(differing(PLAIN, other.encode(), one.encode()))


@pytest.mark.parametrize(("field", "one", "other"), OTHERS)
def test_documents_of_other_values_differ(field: str, one: str, other: str) -> None:
    assert [found.field for found in differing(PLAIN, one.encode(), other.encode())] == [field]
    digests = Digests(PLAIN)
    assert digests.of(one.encode()) != digests.of(other.encode())


def test_members_of_a_live_reading_that_no_column_has_do_not_count() -> None:
    readings, texts = replace(PLAIN, readings=True), (b'{"a": 1}', b'{"a": 1, "salinity": 3.5}')
    assert len({Digests(readings).of(text) for text in texts}) == 1
    assert not list(differing(readings, *texts))


numbers = st.one_of(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False)
)


def written(number: Any) -> bytes:
    return b'{"p": %s}' % (str(number) if isinstance(number, Decimal) else json.dumps(number)).lower().encode()


@given(numbers, numbers)
def test_one_fingerprint_means_one_value(one: Any, other: Any) -> None:
    digests = Digests(PLAIN)
    if digests.of(written(one)) == digests.of(written(other)):
        assert not list(differing(PLAIN, written(one), written(other)))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_usual_spellings_of_a_double_have_one_fingerprint(number: float) -> None:
    digests = Digests(PLAIN)
    # Python writes integral numbers with a point, MariaDB without, and zeros behind a DECIMAL.
    spellings = [repr(number)]
    if number.is_integer() and abs(number) < 2**53:
        spellings += [str(int(number)), f"{int(number)}.000"]
    assert len({digests.of(f'{{"d": {text}}}'.encode()) for text in spellings}) == 1


def test_order_and_nulls_change_no_fingerprint() -> None:
    texts = ('{"a": 1, "b": {"x": 1, "y": 2}}', '{"b":{"y":2,"x":1},"p":null,"a":1}')
    assert len({Digests(PLAIN).of(text.encode()) for text in texts}) == 1


@pytest.mark.parametrize("text", ["1e400", "1e999999999", "-1E-999999999", "1" * 5_000, "1e99999999999999999999"])
def test_numbers_that_no_double_holds_are_no_trouble(text: str) -> None:
    digests = Digests(PLAIN)
    if "e99999999999999999999" not in text:
        assert digests.of(f'{{"p": {text}}}'.encode()) != digests.of(b'{"p": 0}')


# --- keys --------------------------------------------------------------------------------------------------------


@given(
    st.integers(-(2**31), 2**31 - 1),
    st.one_of(st.text(max_size=20), st.text(alphabet="|%207C5s", max_size=8)),
    st.sampled_from([("x", 1), ("It's", 2), ("", 0)]),
    st.binary(max_size=9),
)
@example(1, "%7C|%25", ("x", 1), b"")
def test_an_id_tells_the_key(number: int, text: str, member: tuple[str, int], raw: bytes) -> None:
    found = layout_of([INT, TEXT, ENUM, BYTES])
    name = id_of(found, [number, text, member[0], raw.hex()])
    assert key_of_id(found, name) == (number, text, member[1], raw.hex())


def test_a_time_in_an_id_becomes_what_the_server_compares_with() -> None:
    found = layout_of([INT, MOMENT])
    assert key_of_id(found, "5|2024-01-21T10:06:04.095931") == (5, "2024-01-21 10:06:04.095931")


@pytest.mark.parametrize("name", ["", "x", "1|b", "1|b|z|00", "1|b|x|zz", "1|b|x|00|5", "%sha256-00", "|||"])
def test_an_id_that_no_row_has_is_no_key(name: str) -> None:
    assert key_of_id(layout_of([INT, TEXT, ENUM, BYTES]), name) is None


# --- sums --------------------------------------------------------------------------------------------------------

SERIES = (Series("d", "d", "`d`"), Series("b", "b", "`b`", sums=False))


def summary(
    rows: int = 3, total: float = 6.0, least: float = 1.0, greatest: float = 3.0, texts: int = 2, values: int = 3
) -> Summary:
    return Summary(rows, (Sums(values, total, least, greatest, 1e-9), Sums(texts)))


@pytest.mark.parametrize(
    "other",
    [
        summary(rows=4),
        summary(total=6.001),
        summary(least=0.9),
        summary(greatest=3.1),
        summary(texts=3),
        summary(values=4),  # a 0 more changes no sum
        summary(total=float("nan")),
    ],
)
def test_sums_differ_in_any_of_their_numbers(other: Summary) -> None:
    assert same(SERIES, summary(), summary())
    assert not same(SERIES, summary(), other)


def test_sums_may_be_off_by_rounding() -> None:
    assert same(SERIES, summary(), summary(total=6.0000000001))


def test_what_the_index_maps_in_another_way_is_not_summed() -> None:
    assert [one.name for one in series_of(PLAIN, types_of(PLAIN))] == ["a", "b", "p", "d"]
    assert [one.name for one in series_of(PLAIN, {**types_of(PLAIN), "a": "text"})] == ["b", "p", "d"]


# --- parts -------------------------------------------------------------------------------------------------------


def test_a_key_is_walked_where_the_index_sorts_as_the_table() -> None:
    for key, walked in (([INT], True), ([INT, MOMENT], True), ([TEXT], False), ([ENUM], False), ([INT, BYTES], False)):
        found = layout_of(key)
        assert (walk_of(found, types_of(found)) is not None) == walked
    local = layout_of([INT, MOMENT], zone="Europe/Madrid")
    assert walk_of(local, types_of(local)) is None
    unmapped = layout_of([INT])
    keyword = replace(unmapped, fields=(replace(unmapped.fields[0], mapping={"type": "keyword"}),))
    assert walk_of(keyword, types_of(keyword)) is None, "texts of numbers sort in another way"
    assert walk_of(unmapped, {"a": "keyword"}) is None


def test_a_range_of_a_composite_key_is_beyond_the_first_value_or_there_and_beyond_the_second() -> None:
    found = layout_of([INT, MOMENT])
    walk = walk_of(found, types_of(found))
    assert walk is not None
    filters = walk.query(KeyRange((1, "2024-01-01 00:00:00"), None))["bool"]["filter"]
    canonical = {"format": "uuuu-MM-dd HH:mm:ss.SSSSSS"}
    there = {"range": {"timestamp": {"gt": "2024-01-01 00:00:00.000000", **canonical}}}
    assert filters[-1]["bool"]["should"] == [
        {"range": {"a": {"gt": 1}}},
        {"bool": {"filter": [{"term": {"a": 1}}, there]}},
    ]
    assert not walk.can_end((1, "0000-00-00 00:00:00"))
    assert walk.can_end((1, "2024-01-01 00:00:00.5"))


def test_days_are_those_of_each_first_key_value() -> None:
    found = layout_of([INT, MOMENT])
    days = days_of(found, types_of(found))
    assert days is not None and days.first is not None
    condition = days.condition([Group(7, 1), Group(8, None)])
    assert "`a` = 7" in condition and "`at` >= '1970-01-02' AND `at` < '1970-01-03'" in condition
    assert "`a` = 8 AND DATEDIFF" in condition and "IS NULL" in condition
    assert days_of(PLAIN, types_of(PLAIN)) is None
    alone = layout_of([INT], MOMENT)
    by_day = days_of(alone, types_of(alone))
    assert by_day is not None and by_day.first is None


def test_a_window_is_in_the_canonical_form() -> None:
    found = layout_of([INT], MOMENT)
    assert Window(found, None, None).query() == []
    ((bounds,),) = (query["range"].values() for query in Window(found, 0, 1_000_001).query())
    assert (bounds["gte"], bounds["lt"]) == ("1970-01-01 00:00:00.000000", "1970-01-01 00:00:01.000001")


# --- the report --------------------------------------------------------------------------------------------------


def test_the_report_counts_all_and_names_some() -> None:
    differences = Found(2)
    for number in range(5):
        fields = [FieldDifference("b", '"x"', None)]
        differences.add(Difference("legacy-j", str(number), Kind.DIFFERS, f"[{number}]", fields))
    mended = Mended(1, False)
    for number in range(3):
        mended.refuse(str(number), "why")
    report = CheckReport("j", "d.t", "legacy-j", None, None, 0, Compared(False), differences, Found(2), mended)
    assert not report.agree
    content = json.loads(json.dumps(report.as_dict()))
    assert content["differences"]["total"] == 5 and len(content["differences"]["named"]) == 2
    assert content["differences"]["named"][0] == {
        "index": "legacy-j",
        "_id": "0",
        "kind": "differs",
        "key": [0],
        "fields": [{"field": "b", "source": '"x"', "target": None}],
    }
    assert content["purged_before"] == "1970-01-01 00:00:00.000000"
    assert content["repair"]["refusals"] == 3 and len(content["repair"]["refused"]) == 1


def test_a_difference_survives_the_disk() -> None:
    one = Difference("i", "1", Kind.EXTRA, None, [FieldDifference("a", "1", None)], "why")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Difference) == one
