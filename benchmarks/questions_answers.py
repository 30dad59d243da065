"""Answers of two stores to one question, in one form, and where they differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

_RELATIVE = 1e-9  # the stores add in another order
_SHOWN = 5


@dataclass(frozen=True)
class Between:
    """A value that the other store may approximate, with what it must not go below or above."""

    low: float
    value: float
    high: float


# By what it was grouped by: counts and instants as integers, measured values as floats. In the order of the answer.
Answer = dict[tuple[Any, ...], tuple[int | float | Between | None, ...]]


def differences(mariadb: Answer, elasticsearch: Answer, ordered: bool = False) -> list[str]:
    """A sentence for each difference, of the first few; integers must be equal, floats to nine digits.

    With `ordered`, what comes first in one answer must do so in the other, too.
    """
    found = [f"only MariaDB has {key}" for key in mariadb.keys() - elasticsearch.keys()]
    found += [f"only Elasticsearch has {key}" for key in elasticsearch.keys() - mariadb.keys()]
    found += [
        f"{key}: MariaDB has {mariadb[key]}, Elasticsearch has {elasticsearch[key]}"
        for key in mariadb
        if key in elasticsearch and not _alike(mariadb[key], elasticsearch[key])
    ]
    if not found and ordered and list(mariadb) != list(elasticsearch):
        found.append(f"the order differs: {list(mariadb)} in MariaDB, {list(elasticsearch)} in Elasticsearch")
    return found[:_SHOWN] + ([f"and {len(found) - _SHOWN:,} more"] if len(found) > _SHOWN else [])


def _alike(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return len(one) == len(other) and all(map(_same, one, other))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Between) and other is not None:
        slack = _RELATIVE * max(abs(one.low), abs(one.high))
        return bool(one.low - slack <= other <= one.high + slack)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=_RELATIVE)
    return bool(one == other)
