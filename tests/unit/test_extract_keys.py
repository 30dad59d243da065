"""Keys and `_id`s, and the local times of a zone: what the generated SQL is made of."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.job import ColumnOptions, Job, Source
from extraction.keys import LONGEST_ID, KeyRange, id_of, id_sql, keys_condition, plain_id, range_condition
from extraction.layout import Layout, layout
from extraction.quoting import identifier, literal, value
from extraction.source import Index, SourceTable, TableColumn
from extraction.zones import FIRST, LAST, stretches

ZONES = ("Europe/Madrid", "America/Sao_Paulo", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca", "UTC")


def table_with(*columns: TableColumn) -> Layout:
    names = tuple(column.name for column in columns)
    table = SourceTable("d", "t", "11.4.5-MariaDB", columns, (Index("PRIMARY", names),), 0)
    source = Source(database="d", table="t", user="u", key=names)
    return layout(Job(name="j", source=source, columns={names[0]: ColumnOptions(field="f")}), table)


def text_column(name: str, octets: int = 80) -> TableColumn:
    return TableColumn(name, "varchar", f"varchar({octets // 4})", False, octets, charset="utf8mb4")


NUMBER = TableColumn("n", "int", "int(11)", False)
TEXTS = table_with(text_column("a"), text_column("b"))
MIXED = table_with(
    NUMBER, text_column("b"), TableColumn("e", "enum", "enum('x','y''z','w')", False, 12, charset="utf8mb4")
)


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_no_two_keys_have_one_id(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (id_of(TEXTS, one) == id_of(TEXTS, other)) == (one == other)


@given(st.text(alphabet="|%207C5s", max_size=6), st.text(alphabet="|%207C5s", max_size=6), st.data())
def test_no_two_keys_of_separators_and_escapes_have_one_id(one: str, two: str, data: st.DataObject) -> None:
    joined = one + "|" + two
    cut = data.draw(st.integers(0, len(joined)))
    other = (joined[:cut], joined[cut + 1 :])
    assert (id_of(TEXTS, (one, two)) == id_of(TEXTS, other)) == ((one, two) == other)


def test_an_id_is_never_empty_nor_too_long() -> None:
    alone = table_with(text_column("a", 4000))
    assert id_of(alone, [""]) == "%0"
    assert id_of(alone, ["x" * LONGEST_ID]) == "x" * LONGEST_ID
    long = [id_of(alone, [letter * 171]) for letter in "é€"]
    assert long[0] == "é" * 171
    assert long[1].startswith("%sha256-")
    assert len(long[1].encode()) <= LONGEST_ID
    assert id_of(alone, [long[1]]) != long[1], "a text that looks like a hash has another id"
    assert "SHA2" in id_sql(alone)
    assert "SHA2" not in id_sql(table_with(NUMBER))


def test_only_texts_are_escaped_in_json() -> None:
    assert plain_id(table_with(NUMBER))
    assert not plain_id(TEXTS)


def test_a_range_is_written_so_that_the_index_is_used() -> None:
    found = range_condition(MIXED, KeyRange((1, "a'b", 2), (5, "x", 1)))
    hexed = value("a'b")
    assert found == (
        f"(`n` > 1 OR (`n` = 1 AND (`b` > {hexed} OR (`b` = {hexed} AND `e` IN (3)))))"
        " AND (`n` < 5 OR (`n` = 5 AND (`b` < 'x' OR (`b` = 'x' AND `e` IN (0, 1)))))"
    )
    assert range_condition(MIXED, KeyRange()) == "TRUE"
    assert range_condition(MIXED, KeyRange((1, "a", 3))).endswith("AND FALSE))))")
    assert keys_condition(MIXED, [(1, "x", 2)]) == "(`n` = 1 AND `b` = 'x' AND `e` = 2)"


@pytest.mark.parametrize("key", [("1 OR 1", "x", 1), (1, "x", "1)")])
def test_a_key_is_never_sql(key: tuple[int | str, ...]) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        range_condition(MIXED, KeyRange(key))


@given(st.text())
def test_quoting_leaves_nothing_that_means_anything(text: str) -> None:
    written = value(text)
    if written.startswith("'"):
        assert not set(written[1:-1]) & set("'\\\n")
    else:
        assert bytes.fromhex(written.removeprefix("_utf8mb4 X'").removesuffix("'")).decode() == text


def test_names_and_our_own_texts_are_quoted() -> None:
    assert identifier("a`b") == "`a``b`"
    assert literal("it's \\ \n") == "'it\\'s \\\\ \\n'"
    assert literal("\x00") == "_utf8mb4 X'00'"


# --- zones -------------------------------------------------------------------------------------------------------


@given(st.datetimes(min_value=FIRST, max_value=LAST), st.sampled_from(ZONES))
def test_the_stretches_say_what_the_zone_says(moment: datetime, zone: str) -> None:
    parts = stretches(zone)
    part = parts[bisect_right([p.start for p in parts], moment) - 1]
    local = moment.replace(tzinfo=ZoneInfo(zone))
    exists = local.astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None) == moment
    first, second = local.utcoffset(), local.replace(fold=1).utcoffset()
    assert first is not None
    assert part.offset == (int(first.total_seconds()) if exists else None)
    assert part.twice == (exists and first != second)


@pytest.mark.parametrize("zone", ZONES)
def test_the_stretches_end_where_the_clocks_change(zone: str) -> None:
    parts = stretches(zone)
    assert all(one.start < two.start for one, two in pairwise(parts))
    assert all((one.offset, one.twice) != (two.offset, two.twice) for one, two in pairwise(parts))


def test_madrid_in_2024() -> None:
    found = [(p.start, p.offset, p.twice) for p in stretches("Europe/Madrid") if p.start.year == 2024]
    assert found == [
        (datetime(2024, 3, 31, 2), None, False),
        (datetime(2024, 3, 31, 3), 7200, False),
        (datetime(2024, 10, 27, 2), 7200, True),
        (datetime(2024, 10, 27, 3), 3600, False),
    ]
