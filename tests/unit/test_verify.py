"""The comparison itself, with plain data: sorting, walking side by side, judging, summing, gaps."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from extraction.compare import (
    HOUR,
    Bucket,
    Candidate,
    Difference,
    Document,
    Island,
    Kind,
    Range,
    StoreRow,
    TopicRow,
    Values,
    align,
    bucket_of,
    buckets_of,
    clip,
    columns_of,
    differing_hours,
    gaps,
    judge,
    latest,
    same_bucket,
    values_of_reading,
    values_of_source,
    within,
)
from extraction.repair import document_of, fillable
from extraction.spool import Sorter, Spool, chunks
from extraction.topic import stretches
from extraction.verify import with_tail
from maredata.decoder import Decoder
from maredata.names import index_of
from maredata.reading import identity
from maredata.schema import load_schema
from maredata.settings import CHECKOUT
from maredata.timestamps import format_timestamp

SCHEMA = load_schema(CHECKOUT / "maredata" / "reading.toml")
COLUMNS = columns_of(SCHEMA)
NAMES = [column.name for column in COLUMNS]
MIDDAY = 1_705_838_400_000_000

small = hypothesis_settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
keys = st.tuples(st.integers(1, 3), st.integers(MIDDAY, MIDDAY + 3))
numbers = st.one_of(st.none(), st.sampled_from([0.0, 20.9, -3.5]))


def values(**given: Any) -> Values:
    return tuple(given.get(name.replace(".", "_")) for name in NAMES)


def topic_row(sensor_id: int, micros: int, given: Values, offset: int = 0) -> TopicRow:
    return TopicRow(sensor_id, micros, 0, offset, given)


def document(sensor_id: int, micros: int, given: Values) -> Document:
    key = (sensor_id, micros)
    return Document(sensor_id, micros, given, identity(*key), index_of(micros), key)


# --- files instead of memory ------------------------------------------------------------------------------------


@small
@given(st.lists(st.tuples(st.integers(), st.integers())).map(lambda pairs: [(a % 2**62, b % 2**62) for a, b in pairs]))
def test_sorter_sorts_whatever_the_size_of_its_runs(tmp_path: Path, items: list[tuple[int, int]]) -> None:
    sorter: Sorter[tuple[int, int]] = Sorter(tmp_path, tuple[int, int], run=3, open_runs=2)
    for item in items:
        sorter.add(item)
    assert list(sorter) == sorted(items)
    assert list(sorter) == sorted(items), "it can be read a second time"
    assert len(sorter) == len(items)


def test_sorter_keeps_one_run_in_memory_and_few_files(tmp_path: Path) -> None:
    sorter: Sorter[tuple[int, int]] = Sorter(tmp_path, tuple[int, int], run=100, open_runs=4)
    for number in random.Random(3).sample(range(5_000), 5_000):
        sorter.add((number, 0))
        assert len(sorter._pending) < 100
        assert len(list(tmp_path.iterdir())) <= 5
    assert [number for number, _ in sorter] == list(range(5_000))


def test_spool_gives_back_what_it_was_given(tmp_path: Path) -> None:
    given = [
        Candidate(
            7, MIDDAY, [Difference(Kind.VALUE, "seq", 2**63 - 1, 1.5, "é😀")], topic_row(7, MIDDAY, values(seq=3))
        )
        for _ in range(2_500)
    ]
    spool: Spool[Candidate] = Spool(tmp_path, Candidate)
    spool.extend(given)
    assert list(spool) == given
    assert list(spool) == given
    assert len(spool) == 2_500


@small
@given(st.lists(st.integers()), st.integers(1, 5))
def test_chunks(items: list[int], size: int) -> None:
    found = list(chunks(items, size))
    assert [item for chunk in found for item in chunk] == items
    assert all(len(chunk) == size for chunk in found[:-1])


# --- identity by identity ---------------------------------------------------------------------------------------


@small
@given(*[st.dictionaries(keys, numbers) for _ in range(3)])
def test_the_walk_finds_exactly_what_a_naive_comparison_finds(
    said: dict[Any, Any], ours: dict[Any, Any], theirs: dict[Any, Any]
) -> None:
    def row(key: Any, number: float | None) -> Values:
        return values(temperature=number)

    walked = {
        key: {(d.kind, d.field, d.mariadb, d.elasticsearch) for d in found}
        for key, (topic, rows, documents) in align(
            sorted(topic_row(*key, row(key, value)) for key, value in said.items()),
            sorted((StoreRow(*key, row(key, value)) for key, value in ours.items()), key=lambda r: r[:2]),
            sorted((document(*key, row(key, value)) for key, value in theirs.items()), key=lambda r: r[:2]),
        )
        if (found := judge(COLUMNS, topic[0] if topic else None, rows[0] if rows else None, documents))
    }
    naive: dict[Any, set[Any]] = {}
    for key in said.keys() | ours.keys() | theirs.keys():
        expected: set[Any] = set()
        if key not in ours:
            expected.add((Kind.NOT_IN_MARIADB, "", None, None))
        if key not in theirs:
            expected.add((Kind.NOT_IN_ELASTICSEARCH, "", None, None))
        if key in ours and key in theirs:
            if ours[key] != theirs[key]:
                expected.add((Kind.VALUE, "temperature", ours[key], theirs[key]))
            elif key in said and said[key] != ours[key]:
                expected.add((Kind.TOPIC_VALUE, "temperature", ours[key], theirs[key]))
        if expected:
            naive[key] = expected
    assert walked == naive


def test_an_identity_in_the_topic_alone_is_missing_in_both_stores() -> None:
    found = judge(COLUMNS, topic_row(1, MIDDAY, values()), None, [])
    assert [difference.kind for difference in found] == [Kind.NOT_IN_MARIADB, Kind.NOT_IN_ELASTICSEARCH]


def test_an_accepted_identity_that_nobody_has_is_missing_in_both_stores() -> None:
    ((key, sides),) = align([], [], [], [(1, MIDDAY)])
    assert key == (1, MIDDAY)
    assert len(judge(COLUMNS, None, sides[1][0] if sides[1] else None, sides[2])) == 2


def test_a_difference_names_the_field_and_every_sides_value() -> None:
    found = judge(
        COLUMNS,
        topic_row(1, MIDDAY, values(temperature=20.9, location_lon=3.0)),
        StoreRow(1, MIDDAY, values(temperature=20.9, location_lon=3.0)),
        [document(1, MIDDAY, values(temperature=20.9, location_lon=3.5))],
    )
    assert found == [Difference(Kind.VALUE, "location.lon", 3.0, 3.5, 3.0)]


def test_what_both_stores_hold_against_the_topic_is_told_but_is_no_disagreement() -> None:
    stored = values(temperature=99.5)
    said = topic_row(1, MIDDAY, values(temperature=20.9))
    found = judge(COLUMNS, said, StoreRow(1, MIDDAY, stored), [document(1, MIDDAY, stored)])
    assert [difference.kind for difference in found] == [Kind.TOPIC_VALUE]
    assert not Candidate(1, MIDDAY, found, said).disagrees


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"id": "1-5"}, Kind.BAD_ID),
        ({"stored_in": "readings-1999.01"}, Kind.WRONG_INDEX),
        ({"source_key": None}, Kind.NO_READING),
        ({"source_key": (2, MIDDAY)}, Kind.NO_READING),
    ],
)
def test_a_document_out_of_place_is_no_copy_of_the_reading(changes: dict[str, Any], kind: Kind) -> None:
    right = document(1, MIDDAY, values())
    wrong = right._replace(**changes)
    alone = judge(COLUMNS, None, StoreRow(1, MIDDAY, values()), [wrong])
    assert [difference.kind for difference in alone] == [kind, Kind.NOT_IN_ELASTICSEARCH]
    beside = judge(COLUMNS, None, StoreRow(1, MIDDAY, values()), [right, wrong])
    assert beside == [Difference(kind, document=f"{wrong.stored_in}/{wrong.id}")]


def test_the_later_record_wins() -> None:
    rows = [topic_row(1, MIDDAY, values(seq=offset), offset) for offset in (3, 9, 5)]
    rows.append(topic_row(2, MIDDAY, values(seq=1), 4))
    assert [row.offset for row in latest(sorted(rows))] == [9, 4]


def test_a_candidate_is_judged_again_by_what_the_topic_said_since() -> None:
    before = [Candidate(1, MIDDAY, [], topic_row(1, MIDDAY, values(seq=1), 1)), Candidate(2, MIDDAY, [])]
    tail = [
        topic_row(0, MIDDAY, values(), 5),
        topic_row(1, MIDDAY, values(seq=2), 6),
        topic_row(3, MIDDAY, values(), 7),
    ]
    after = [(candidate.key, candidate.topic) for candidate in with_tail(before, tail)]
    assert after == [((1, MIDDAY), tail[1]), ((2, MIDDAY), None)]


def test_values_are_the_same_from_the_topic_and_from_a_source() -> None:
    line = json.dumps(
        {
            "timestamp": "2024-01-21 10:06:04.095931",
            "temperature": 20,
            "humidity": None,
            "sensor_id": 1,
            "location": {"lon": 3.185785, "lat": 42},
            "seq": 2**53 + 1,
            "unknown": [1],
        }
    ).encode()
    said = values_of_reading(COLUMNS, Decoder(SCHEMA).decode(line).values)
    assert said == values(temperature=20.0, location_lon=3.185785, location_lat=42.0, seq=2**53 + 1)
    assert values_of_source(COLUMNS, json.loads(line)) == said


@pytest.mark.parametrize("odd", ["12.5", True, [1.0], {"lat": 1}])
def test_a_value_of_a_wrong_type_equals_no_number(odd: Any) -> None:
    (found,) = [v for v in values_of_source(COLUMNS, {"temperature": odd}) if v is not None]
    assert isinstance(found, str)


# --- counts and sums ---------------------------------------------------------------------------------------------


def bucket(temperatures: Sequence[float | None]) -> Bucket:
    return bucket_of(COLUMNS, 1, 0, (values(temperature=number) for number in temperatures))


measured = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@small
@given(measured, st.randoms(use_true_random=False))
def test_the_order_of_summing_makes_no_difference(temperatures: list[float], shuffle: random.Random) -> None:
    shuffled = list(temperatures)
    shuffle.shuffle(shuffled)
    assert same_bucket(bucket(temperatures), bucket(shuffled))


@small
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=50), st.floats(0.01, 1e3), st.data())
def test_a_value_changed_by_a_hundredth_makes_one(temperatures: list[float], by: float, data: st.DataObject) -> None:
    changed = list(temperatures)
    changed[data.draw(st.integers(0, len(changed) - 1))] += by
    assert not same_bucket(bucket(temperatures), bucket(changed))


def test_a_null_is_no_zero_and_an_overflow_is_looked_at_closely() -> None:
    assert not same_bucket(bucket([0.0, 1.0]), bucket([None, 1.0]))
    assert not same_bucket(bucket([1.7e308, 1.7e308]), bucket([1.7e308, 1.7e308]))


def test_rows_fall_into_their_sensors_hours() -> None:
    rows = [topic_row(s, m, values(seq=1)) for s, m in [(1, 0), (1, HOUR - 1), (1, HOUR), (2, HOUR)]]
    assert [(b.sensor_id, b.hour, b.readings) for b in buckets_of(COLUMNS, rows)] == [(1, 0, 2), (1, 1, 1), (2, 1, 1)]


def test_only_hours_that_differ_are_looked_at_and_neighbours_become_one_stretch() -> None:
    def hours(sensor_id: int, **counts: int) -> list[Bucket]:
        return [
            bucket_of(COLUMNS, sensor_id, int(hour[1:]), [values()] * count) for hour, count in counts.items() if count
        ]

    topic = hours(1, h0=2, h1=2, h2=2) + hours(2, h0=1) + hours(3, h0=1)
    mariadb = hours(1, h0=2, h1=1, h2=2) + hours(2, h0=1) + hours(3, h0=2)
    elasticsearch = hours(1, h0=2, h1=2, h2=1) + hours(2, h0=1) + hours(3, h0=2) + hours(4, h7=1)
    found = list(differing_hours(topic, mariadb, elasticsearch, []))
    # Sensor 3: both stores have more than the topic, and no count says whether the topic's is among them.
    assert found == [Range(1, HOUR, 3 * HOUR), Range(3, 0, HOUR), Range(4, 7 * HOUR, 8 * HOUR)]
    assert list(differing_hours([], hours(2, h0=1), hours(2, h0=1), [])) == []
    assert list(differing_hours([], hours(2, h0=1), hours(2, h0=1), [(2, 0)])) == [Range(2, 0, HOUR)]


def test_stretches_end_at_the_window() -> None:
    window = Range(None, HOUR // 2, 2 * HOUR)
    assert list(clip([Range(1, 0, HOUR), Range(2, HOUR, 3 * HOUR)], window)) == [
        Range(1, HOUR // 2, HOUR),
        Range(2, HOUR, 2 * HOUR),
    ]


@small
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9))),
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9), st.integers(1, 3))),
)
def test_within_gives_the_rows_inside(rows: list[tuple[int, int]], spans: list[tuple[int, int, int]]) -> None:
    ranges: list[Range] = []
    for sensor_id, since, length in sorted(spans):
        if not ranges or (ranges[-1].sensor_id, ranges[-1].until) <= (sensor_id, since):  # type: ignore[operator]
            ranges.append(Range(sensor_id, since, since + length))
    naive = [r for r in sorted(rows) if any(p[0] == r[0] and p[1] <= r[1] < p[2] for p in ranges)]  # type: ignore[operator]
    assert list(within(sorted(rows), ranges)) == naive


# --- sequence numbers ---------------------------------------------------------------------------------------------


def islands_of(seqs: Iterable[tuple[int, int]]) -> list[Island]:
    return sorted(Island(sensor_id, seq, seq) for sensor_id, seq in seqs)


@small
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 30))))
def test_gaps_are_the_numbers_that_nobody_has(seqs: list[tuple[int, int]]) -> None:
    found = {}
    for gap in gaps(islands_of(seqs)):
        found[gap.sensor_id] = {n for low, high in gap.ranges for n in range(low, high + 1)}
        assert gap.missing == len(found[gap.sensor_id])
    naive = {}
    for sensor_id in {sensor_id for sensor_id, _ in seqs}:
        have = {seq for sensor, seq in seqs if sensor == sensor_id}
        if lacking := set(range(min(have), max(have) + 1)) - have:
            naive[sensor_id] = lacking
    assert found == naive


def test_gaps_count_completely_and_name_the_first_ones() -> None:
    (gap,) = gaps([Island(5, number * 10, number * 10) for number in range(100)])
    assert (gap.first, gap.last, gap.missing, len(gap.ranges), gap.ranges[0]) == (0, 990, 99 * 9, 20, (1, 9))


def test_islands_that_overlap_leave_no_gap_between_them() -> None:
    assert list(gaps([Island(1, 0, 9), Island(1, 3, 4), Island(1, 10, 12)])) == []


# --- repair -------------------------------------------------------------------------------------------------------


def test_a_mended_document_is_canonical_and_keeps_what_no_column_holds() -> None:
    row = StoreRow(1, MIDDAY, values(temperature=20.9, location_lon=3.0, location_lat=42.0))
    base = {"sensor_id": 1, "timestamp": "2024-01-21T12:00:00Z", "humidity": 5.0, "extra": {"a": 1}}
    assert document_of(COLUMNS, row, base) == {
        "sensor_id": 1,
        "timestamp": format_timestamp(MIDDAY),
        "temperature": 20.9,
        "location": {"lon": 3.0, "lat": 42.0},
        "extra": {"a": 1},
    }


def test_a_column_that_is_null_is_filled_and_no_other() -> None:
    other = Decoder(SCHEMA).decode(
        b'{"sensor_id":1,"timestamp":"2024-01-21 12:00:00","temperature":1.5,"humidity":2.5}'
    )
    assert fillable(COLUMNS, values(temperature=20.9), other) == values(humidity=2.5)
    assert fillable(COLUMNS, values(), None) == values()


@small
@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 60))), st.integers(0, 5))
def test_stretches_cover_every_position_and_skip_long_ways(positions: set[tuple[int, int]], skip: int) -> None:
    found = list(stretches(positions, skip))
    covered = {(partition, offset) for partition, first, last in found for offset in range(first, last + 1)}
    assert positions <= covered
    assert all(before[0] != after[0] or after[1] - before[2] > skip for before, after in pairwise(found))
