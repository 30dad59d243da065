"""Ports for tests: two processes of one run never find the same one free."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from functools import cache
from itertools import islice

_PARTS = 4
_PORTS_EACH = 5_000


def free_ports(count: int) -> list[int]:
    """Ports that nobody holds now, neither UDP nor TCP, below the range from which connections take theirs.

    None is given twice: one that is free now may be that of a gateway which is not running just now.
    """
    found = list(islice(filter(_is_free, _ports()), count))
    assert len(found) == count, "no free ports"
    return found


@cache
def _ports() -> Iterator[int]:
    # Two processes of one run must not both find a port free: each has a part of the range for itself.
    part = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PARTS
    first = 12_000 + part * _PORTS_EACH
    return iter(range(first + (os.getpid() * 37) % (_PORTS_EACH // 2), first + _PORTS_EACH))


def _is_free(port: int) -> bool:
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
