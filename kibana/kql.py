"""The part of Kibana's query language that our panels use: comparisons joined by `and`.

It is read to know the fields that a query names, and to ask Elasticsearch what Kibana would ask.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_RANGES = {">=": "gte", "<=": "lte", ">": "gt", "<": "lt"}
_WORD = r'"[^"]+"|[^\s":<>()]+'
_CLAUSE = re.compile(rf"(?P<field>{_WORD})\s*(?P<operator>:|>=|<=|>|<)\s*(?P<value>{_WORD})")


class NotUnderstood(ValueError):
    """The query uses more of the language than is read here."""


@dataclass(frozen=True)
class Clause:
    field: str
    operator: str
    value: str

    def query(self) -> dict[str, Any]:
        """The same for Elasticsearch."""
        if self.operator in _RANGES:
            return {"range": {self.field: {_RANGES[self.operator]: self.value}}}
        if self.value == "*":
            return {"exists": {"field": self.field}}
        return {"match": {self.field: self.value}}


def clauses(kql: str) -> list[Clause]:
    """The comparisons of a query; none of an empty one. Raises NotUnderstood."""
    if not kql.strip():
        return []
    found = []
    for part in re.split(r"\s+and\s+", kql.strip(), flags=re.IGNORECASE):
        matched = _CLAUSE.fullmatch(part.strip())
        if matched is None:
            raise NotUnderstood(f"the query {kql!r} is more than comparisons joined by `and`: write it simpler")
        field, operator, value = (matched[name].strip('"') for name in ("field", "operator", "value"))
        found.append(Clause(field, operator, value))
    return found
