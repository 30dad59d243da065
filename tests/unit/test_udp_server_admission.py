"""Who may send and how much: networks, token buckets, and memory that no spoofed address can grow."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maredata.settings import Udp
from udp_server import admission as module
from udp_server.admission import Admission
from udp_server.ledger import Refusal

NOBODYS = "192.0.2.1"
UNAUTHORIZED, RATE_LIMITED = Refusal.UNAUTHORIZED, Refusal.RATE_LIMITED


class FakeClock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def admitting(networks: str, rate_limit: int = 0, clock: FakeClock | None = None) -> Admission:
    return Admission(Udp(allowed_networks=networks).networks, rate_limit, clock or FakeClock())


def test_nothing_need_be_asked_where_everyone_may_send_any_number() -> None:
    assert not admitting("").needed
    assert admitting("10.0.0.0/8").needed
    assert admitting("", rate_limit=1).needed
    assert admitting("").refuses(NOBODYS, 1_000_000) is None


@pytest.mark.parametrize(
    ("host", "refusal"),
    [
        ("10.1.2.3", None),
        ("10.2.0.1", UNAUTHORIZED),
        ("192.168.7.255", None),
        ("192.168.8.0", UNAUTHORIZED),
        ("2001:db8::1", None),
        ("2001:db9::1", UNAUTHORIZED),
        ("::ffff:10.1.2.3", None),
        ("::ffff:10.2.0.1", UNAUTHORIZED),
        ("::10.1.2.3", UNAUTHORIZED),
        ("fe80::1%eth0", None),
    ],
)
def test_only_the_allowed_networks_may_send(host: str, refusal: Refusal | None) -> None:
    admission = admitting("10.1.0.0/16, 192.168.7.0/24 2001:db8::/32,fe80::/10")
    assert [admission.refuses(host, 1) for _ in range(3)] == [refusal] * 3


def test_who_may_not_send_is_told_so_however_much_it_sends() -> None:
    admission = admitting("10.1.0.0/16", rate_limit=2)
    assert [admission.refuses(NOBODYS, 1) for _ in range(5)] == [UNAUTHORIZED] * 5
    assert [admission.refuses("10.1.0.1", 1) for _ in range(3)] == [None, None, RATE_LIMITED]


def test_a_bucket_holds_a_second_s_worth_and_fills_with_time() -> None:
    clock = FakeClock()
    admission = admitting("", 10, clock)
    assert [admission.refuses(NOBODYS, 1) for _ in range(11)] == [None] * 10 + [RATE_LIMITED]
    clock.now += 0.5
    assert [admission.refuses(NOBODYS, 1) for _ in range(6)] == [None] * 5 + [RATE_LIMITED]
    clock.now += 3600  # no more than a second's worth is ever saved up
    assert [admission.refuses(NOBODYS, 1) for _ in range(11)] == [None] * 10 + [RATE_LIMITED]


def test_a_datagram_is_taken_or_refused_whole() -> None:
    clock = FakeClock()
    admission = admitting("", 10, clock)
    assert admission.refuses(NOBODYS, 11) is RATE_LIMITED
    assert admission.refuses(NOBODYS, 7) is None
    assert admission.refuses(NOBODYS, 4) is RATE_LIMITED, "only 3 are left"
    assert admission.refuses(NOBODYS, 3) is None, "and the refused datagram took none of them"
    clock.now += 0.2
    assert admission.refuses(NOBODYS, 3) is RATE_LIMITED
    assert admission.refuses(NOBODYS, 2) is None


def test_each_host_has_a_bucket_of_its_own_and_a_mapped_address_has_its_ipv4_one() -> None:
    admission = admitting("", 2)
    assert admission.refuses("192.0.2.1", 2) is None
    assert admission.refuses("::ffff:192.0.2.1", 1) is RATE_LIMITED
    assert admission.refuses("192.0.2.2", 2) is None
    assert admission.refuses("2001:db8::1", 2) is None
    assert admission.refuses("2001:db8::2", 2) is None
    assert admission.refuses("2001:db8::1", 1) is RATE_LIMITED


@given(
    rate=st.integers(1, 1_000_000),
    start=st.floats(0, 1e8),
    asked=st.lists(st.tuples(st.floats(0, 0.3), st.integers(1, 300_000)), max_size=60),
)
def test_nobody_gets_more_than_the_rate_and_one_burst_nor_less_than_asked_below_it(
    rate: int, start: float, asked: list[tuple[float, int]]
) -> None:
    clock = FakeClock(start)
    admission = admitting("", rate, clock)
    taken = 0
    tokens, last = float(rate), start  # the definition, in one place
    for wait, lines in asked:
        clock.now += wait
        tokens, last = min(rate, tokens + (clock.now - last) * rate), clock.now
        refusal = admission.refuses(NOBODYS, lines)
        if refusal is None:
            taken += lines
            tokens -= lines
            assert tokens > -1e-3
        else:
            assert lines > tokens - 1e-3
    assert taken <= rate * (1 + clock.now - start) + 1


def test_a_clock_s_fractions_cost_nobody_a_token() -> None:
    clock = FakeClock(1_000_000.1)
    admission = admitting("", 10, clock)
    assert admission.refuses(NOBODYS, 10) is None
    for _ in range(1000):
        clock.now += 0.1
        assert admission.refuses(NOBODYS, 1) is None


def test_a_million_spoofed_hosts_take_bounded_memory() -> None:
    admission = admitting("10.0.0.0/8, 2001:db8::/32", 5)
    for n in range(1_000_000):
        assert admission.refuses(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 1) is None
    for n in range(100):
        assert admission.refuses(f"192.0.2.{n}", 1) is UNAUTHORIZED
    assert len(admission._buckets) == module._MOST_HOSTS == 100_000
    assert admission._admitted.cache_info().currsize == 100_000


def test_those_longest_unseen_are_forgotten_and_begin_with_a_full_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_HOSTS", 3)
    admission = admitting("", 1)
    a, b, c, d = (f"192.0.2.{n}" for n in range(4))
    assert [admission.refuses(host, 1) for host in (a, b, c)] == [None] * 3
    assert admission.refuses(a, 1) is RATE_LIMITED, "it is seen all the same"
    assert admission.refuses(d, 1) is None
    assert admission.refuses(a, 1) is RATE_LIMITED
    assert admission.refuses(c, 1) is RATE_LIMITED
    assert admission.refuses(b, 1) is None, "b was forgotten"


def test_a_network_is_looked_for_once_per_host() -> None:
    networks = ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")
    admission = Admission(networks, 0)
    for _ in range(10):
        admission.refuses("10.0.0.1", 1)
        admission.refuses(NOBODYS, 1)
    assert admission._admitted.cache_info().misses == 2
