"""Who may send, and how many lines a second.

A sender of datagrams can claim any address, so what is remembered of addresses is bounded: of those longest
unseen nothing is known any more, and they begin anew with a full bucket.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from udp_server.ledger import Refusal

_MOST_HOSTS = 100_000  # remembered; some 40 MB in the worst case
_SLACK = 1e-6  # tokens; a second's tenths don't add up to a second in floating point


class Admission:
    """`networks` may send, everyone if there are none, each of their hosts `rate_limit` lines a second, 0 being any.

    A host has a token bucket that holds one second's worth. Hosts are addresses as the kernel writes them; an
    IPv4-mapped IPv6 address (::ffff:1.2.3.4) counts as the IPv4 address.
    """

    def __init__(
        self,
        networks: tuple[IPv4Network | IPv6Network, ...],
        rate_limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._networks = networks
        self._rate = rate_limit
        self._clock = clock
        self._admitted = lru_cache(maxsize=_MOST_HOSTS)(self._admit)
        self._buckets: OrderedDict[str, list[float]] = OrderedDict()  # tokens, and when they were so many

    @property
    def needed(self) -> bool:
        """False where everyone may send any number: then nothing need be asked."""
        return bool(self._networks) or self._rate > 0

    def admits(self, host: str) -> bool:
        """Whether it may send at all."""
        return self._admitted(host) is not None

    def refuses(self, host: str, lines: int) -> Refusal | None:
        """Why a datagram of `lines` lines from `host` is refused, as a whole; None if it isn't.

        One of more lines than a second's worth is always refused. Asking for 0 lines takes nothing.
        """
        admitted = self._admitted(host)
        if admitted is None:
            return Refusal.UNAUTHORIZED
        rate = self._rate
        if not rate:
            return None
        now = self._clock()
        buckets = self._buckets
        bucket = buckets.get(admitted)
        if bucket is None:
            if len(buckets) >= _MOST_HOSTS:
                buckets.popitem(last=False)
            bucket = buckets[admitted] = [rate, now]
        else:
            buckets.move_to_end(admitted)
            tokens = bucket[0] + (now - bucket[1]) * rate
            bucket[0] = tokens if tokens < rate else rate  # min() takes as long as all the rest
            bucket[1] = now
        if lines > bucket[0] + _SLACK:
            return Refusal.RATE_LIMITED
        bucket[0] -= lines
        return None

    def _admit(self, host: str) -> str | None:
        """The address that `host` counts as, or None where it may not send."""
        address = ip_address(host)
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if self._networks and not any(address in network for network in self._networks):
            return None
        return str(address)
