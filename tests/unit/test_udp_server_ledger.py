"""The ledger balances, whatever becomes of a line, and goes on from what an earlier one wrote down."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maredata.reading import Reason
from udp_server.ledger import (
    LATENCY_BOUNDS,
    LONGEST_NAME,
    MOST_NAMES,
    OTHER_NAMES,
    Account,
    Latency,
    Ledger,
    Refusal,
    merged,
)

COUNTS = st.integers(0, 10**12)
REFUSED = st.dictionaries(st.sampled_from(list(Refusal)), st.integers(1, 1000)).map(Counter[str])


@st.composite
def accounts(draw: st.DrawFn) -> Account:
    spooled = draw(COUNTS)
    replayed = draw(st.integers(0, spooled))
    return Account(
        accepted=spooled + draw(COUNTS),
        in_flight=draw(COUNTS),
        lost_in_crash=draw(COUNTS),
        refused=draw(REFUSED),
        spooled=spooled,
        replayed=replayed,
    )


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    """Ledgers that balance."""
    readings, rejected = draw(accounts()), Counter(draw(st.dictionaries(st.sampled_from(list(Reason)), COUNTS)))
    latency = Latency()
    for seconds in draw(st.lists(st.floats(0, 20), max_size=3)):
        latency.observe(seconds, 1)
    return Ledger(
        datagrams=draw(COUNTS),
        kernel_dropped=draw(COUNTS),
        lines=readings.total() + rejected.total(),
        readings=readings,
        rejected=Counter({reason.value: count for reason, count in rejected.items()}),
        copies=draw(accounts()),
        unknown_fields=Counter(draw(st.dictionaries(st.text(max_size=4), st.integers(1, 9), max_size=3))),
        implausible=Counter(draw(st.dictionaries(st.sampled_from(["temperature", "x"]), st.integers(1, 9)))),
        latency=latency,
    )


def through_the_file(ledger: Ledger) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(ledger.as_dict()))
    return content


@pytest.mark.parametrize("column", ["accepted", "in_flight", "lost_in_crash", "refused"])
def test_a_line_in_any_column_is_in_the_balance_once(column: str) -> None:
    ledger = Ledger(lines=3)
    assert ledger.missing() == 3
    if column == "refused":
        ledger.readings.refused[Refusal.RATE_LIMITED] += 2
    else:
        setattr(ledger.readings, column, 2)
    ledger.count_rejected(Reason.EMPTY)
    assert ledger.missing() == 0
    ledger.readings.spooled = ledger.readings.replayed = 1  # which they are beside it
    assert ledger.missing() == 0


@given(ledgers())
def test_the_file_holds_the_balance_in_the_words_of_the_design(ledger: Ledger) -> None:
    content = through_the_file(ledger)
    lines = content["lines"]
    parts = ("accepted", "rejected", "refused", "in_flight", "lost_in_crash")
    assert lines["received"] == sum(lines[part] for part in parts)
    assert lines["accepted"] == lines["acknowledged"] + lines["spooled"] - lines["replayed"]
    assert sum(content["refused"].values()) == lines["refused"]
    assert sum(content["rejected"].values()) == lines["rejected"]
    assert sum(content["refused_copies"].values()) == content["rejected_copies"]["refused"]


@given(ledgers())
def test_a_successor_keeps_all_counts_and_shows_what_was_in_flight_as_lost(ledger: Ledger) -> None:
    successor = Ledger.continued(through_the_file(ledger))
    assert successor.missing() == 0
    for account, earlier in ((successor.readings, ledger.readings), (successor.copies, ledger.copies)):
        assert account.in_flight == 0
        assert account.lost_in_crash == earlier.lost_in_crash + earlier.in_flight
        assert (account.accepted, account.spooled, account.replayed) == (
            *(earlier.accepted, earlier.spooled, earlier.replayed),
        )
        assert account.refused == earlier.refused
    kept = ("datagrams", "kernel_dropped", "lines", "rejected", "unknown_fields", "implausible", "latency")
    assert [getattr(successor, name) for name in kept] == [getattr(ledger, name) for name in kept]
    assert Ledger.continued(through_the_file(successor)) == successor


def test_a_ledger_begins_with_nothing() -> None:
    assert Ledger.continued({}) == Ledger()


@given(ledgers(), st.data())
def test_a_file_of_an_earlier_shape_lacks_keys_and_is_gone_on_from(ledger: Ledger, data: st.DataObject) -> None:
    content = through_the_file(ledger)
    optional = ("unknown_fields", "implausible", "latency", "rejected_copies", "refused_copies", "datagrams")
    lacking = data.draw(st.sets(st.sampled_from(optional)))
    for name in lacking:
        del content[name]
    successor = Ledger.continued(content)
    assert successor.missing() == 0
    assert successor.lines == ledger.lines
    assert successor.datagrams == (0 if "datagrams" in lacking else ledger.datagrams)


def test_a_file_from_before_there_were_spools_and_latencies_is_gone_on_from() -> None:
    earlier = {
        "datagrams": {"received": 5, "kernel_dropped": 1},
        "lines": {"received": 7, "rejected": 2, "accepted": 4, "refused": 0, "in_flight": 1, "lost_in_crash": 0},
        "rejected": {"empty": 2},
        "rejected_copies": {"accepted": 2, "refused": 0, "in_flight": 0, "lost_in_crash": 0},
        "unknown_fields": {},
        "implausible": {},
    }
    ledger = Ledger.continued(earlier)
    assert ledger.missing() == 0
    assert ledger.readings == Account(accepted=4, lost_in_crash=1)
    assert ledger.copies == Account(accepted=2)


def test_a_histogram_of_other_bounds_begins_anew() -> None:
    assert Ledger.continued({"latency": {"counts": [1, 2, 3], "sum": 5.0}}).latency == Latency()


# --- recover: (as written down) + (what is in the spool) -> (as it is)


def recovered(account: Account, waiting: int, unknown: int) -> tuple[Account, int]:
    """An account continued, as a successor does, and the lines that it had never heard of."""
    successor = Account.continued(account.as_dict(), dict(account.refused))
    return successor, successor.recover(waiting, unknown)


def test_nothing_new_in_the_spool_changes_no_column() -> None:
    account, new = recovered(Account(accepted=10, spooled=6, replayed=2), waiting=4, unknown=0)
    assert (account, new) == (Account(accepted=10, spooled=6, replayed=2), 0)


def test_what_left_the_spool_after_the_last_word_is_replayed() -> None:
    account, new = recovered(Account(accepted=10, spooled=6, replayed=2), waiting=1, unknown=0)
    assert (account, new) == (Account(accepted=10, spooled=6, replayed=5), 0)


def test_what_was_in_flight_and_is_in_the_spool_is_accepted_and_not_lost() -> None:
    account, new = recovered(Account(accepted=1, in_flight=5), waiting=3, unknown=3)
    assert (account, new) == (Account(accepted=4, lost_in_crash=2, spooled=3), 0)


def test_what_the_ledger_never_heard_of_is_accepted_and_counted_as_received() -> None:
    account, new = recovered(Account(accepted=1, in_flight=2), waiting=5, unknown=5)
    assert (account, new) == (Account(accepted=6, spooled=5), 3)


def test_a_lost_ledger_finds_all_of_the_spool_new() -> None:
    account, new = recovered(Account(), waiting=5, unknown=5)
    assert (account, new) == (Account(accepted=5, spooled=5), 5)


@given(ledgers(), st.integers(0, 1000), st.data())
def test_a_recovered_ledger_balances_and_knows_what_waits(ledger: Ledger, unknown: int, data: st.DataObject) -> None:
    waiting = data.draw(st.integers(unknown, unknown + ledger.readings.in_spool))
    successor = Ledger.continued(through_the_file(ledger))
    successor.lines += successor.readings.recover(waiting, unknown)
    assert successor.missing() == 0
    assert successor.readings.in_spool == waiting
    assert successor.readings.accepted == ledger.readings.accepted + unknown
    assert successor.readings.acknowledged >= ledger.readings.acknowledged
    assert min(successor.readings.lost_in_crash, successor.readings.replayed) >= 0


# --- latency


@pytest.mark.parametrize("number", range(len(LATENCY_BOUNDS)))
def test_a_latency_is_counted_at_the_lowest_bound_that_is_not_below_it(number: int) -> None:
    latency, bound = Latency(), LATENCY_BOUNDS[number]
    latency.observe(bound, 2)
    latency.observe(bound * 1.0001, 3)
    assert {at: count for at, count in enumerate(latency.counts) if count} == {number: 2, number + 1: 3}
    assert latency.sum == pytest.approx(2 * bound + 3 * bound * 1.0001)


def test_bounds_grow_and_what_takes_longer_is_counted_too() -> None:
    assert list(LATENCY_BOUNDS) == sorted(set(LATENCY_BOUNDS))
    latency = Latency()
    latency.observe(0.0, 1)
    latency.observe(1e6, 1)
    assert (latency.counts[0], latency.counts[-1], sum(latency.counts)) == (1, 1, 2)
    assert Latency().counts is not latency.counts


# --- all workers'


@given(st.lists(ledgers(), min_size=1, max_size=4))
def test_workers_ledgers_are_summed_and_balance(parts: list[Ledger]) -> None:
    total = merged([through_the_file(part) for part in parts])
    assert total["datagrams"]["received"] == sum(part.datagrams for part in parts)
    assert total["lines"]["accepted"] == sum(part.readings.accepted for part in parts)
    assert Counter(total["rejected"]) == sum((part.rejected for part in parts), Counter())
    assert Counter(total["unknown_fields"]) == sum((part.unknown_fields for part in parts), Counter())
    assert total["latency"]["counts"] == [
        sum(counts) for counts in zip(*(part.latency.counts for part in parts), strict=True)
    ]
    assert total["latency"]["sum"] == pytest.approx(sum(part.latency.sum for part in parts))
    assert total["latency"]["bounds"] == list(LATENCY_BOUNDS)
    assert Ledger.continued(total).missing() == 0


def test_one_worker_s_ledger_is_the_sum_and_none_is_nothing() -> None:
    one = through_the_file(Ledger(datagrams=3))
    assert merged([one])["datagrams"]["received"] == 3
    assert merged([]) == {}


def test_workers_that_know_different_things_are_summed_all_the_same() -> None:
    one = {**through_the_file(Ledger()), "tcp": {"connections": 2}, "not_followed": 1}
    other = through_the_file(Ledger())
    for parts in ([one, other], [other, one], [one, other, one]):
        total = merged(parts)
        assert total["tcp"]["connections"] == 2 * sum(part is one for part in parts)
        assert total["not_followed"] == sum(part is one for part in parts)
        assert total["latency"]["bounds"] == list(LATENCY_BOUNDS)


def test_names_of_unknown_fields_are_bounded_in_number_and_length() -> None:
    ledger = Ledger()
    ledger.count_unknown(("n" * 1000,))
    ledger.count_unknown(tuple(f"name{number}" for number in range(MOST_NAMES * 3)))
    ledger.count_unknown(("name1",))
    assert len(ledger.unknown_fields) == MOST_NAMES + 1
    assert max(map(len, ledger.unknown_fields)) == LONGEST_NAME
    assert ledger.unknown_fields["name1"] == 2
    assert ledger.unknown_fields.total() == MOST_NAMES * 3 + 2
    assert ledger.unknown_fields[OTHER_NAMES] == MOST_NAMES * 2 + 1
