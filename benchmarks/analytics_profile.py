"""Where Elasticsearch spends the time of a search, as its own profiler says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

FINDING = "finding readings"


def parts(shards: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds of each part over all shards, the longest first, of a response's `profile.shards`.

    An aggregation's time holds that of those within it, which is taken off. Also FINDING: the query's own.
    """
    spent: Counter[str] = Counter()
    for shard in shards:
        for search in shard["searches"]:
            spent[FINDING] += sum(part["time_in_nanos"] for part in search["query"])
        for name, nanos in _own(shard.get("aggregations", ())):
            spent[name] += nanos
    return {name: nanos / 1e9 for name, nanos in spent.most_common()}


def _own(aggregations: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    for found in aggregations:
        within = found.get("children", [])
        # Its clocks are read for a sample of the readings: what is within may seem to take longer.
        yield found["description"], max(0, found["time_in_nanos"] - sum(child["time_in_nanos"] for child in within))
        yield from _own(within)


def in_words(profile: Mapping[str, float]) -> str:
    """The parts that take more than a twentieth, in percent of all of them."""
    whole = sum(profile.values())
    shares = {name: seconds / whole for name, seconds in profile.items()} if whole else {}
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items() if share > 0.05)
