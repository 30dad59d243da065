"""What `extract verify` found: for people, and as a dict for `--json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from maredata.timestamps import format_timestamp

_SHOWN = 20  # differences printed; --json has up to `limit`


class Kind(StrEnum):
    """How a document differs from its row. The values appear in `--json`: keep them stable."""

    MISSING = "missing in the target"
    EXTRA = "extra in the target"
    DIFFERS = "differs"
    KEPT = "kept without a row"
    SET_ASIDE = "row is set aside"


class FieldDifference(msgspec.Struct, frozen=True, array_like=True):
    """A field's values as JSON, cut where they are long; None where a side has none."""

    field: str
    source: str | None
    target: str | None


class Difference(msgspec.Struct, frozen=True, array_like=True):
    """A document that is not its row's. `key` is the row's as JSON, None where the `_id` tells none."""

    index: str
    id: str
    kind: Kind
    key: str | None = None
    fields: list[FieldDifference] = []
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        key = msgspec.json.decode(self.key) if self.key else None
        content: dict[str, Any] = {"index": self.index, "_id": self.id, "kind": self.kind.value, "key": key}
        if self.fields:
            content["fields"] = [
                {"field": one.field, "source": one.source, "target": one.target} for one in self.fields
            ]
        return {**content, "reason": self.reason} if self.reason else content


@dataclass
class Found:
    """How many there are of each kind, and the first ones by name."""

    limit: int
    kinds: Counter[str] = field(default_factory=Counter)
    named: list[Difference] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.kinds.values())

    def add(self, one: Difference) -> None:
        self.kinds[one.kind.value] += 1
        if len(self.named) < self.limit:
            self.named.append(one)


@dataclass
class Mended:
    """What a repair did. `refused`: `_id` and reason of what it could not write, the first ones of them."""

    limit: int
    delete_extra: bool
    added: int = 0
    replaced: int = 0
    deleted: int = 0
    left: int = 0
    changed_meanwhile: int = 0
    refusals: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)

    def refuse(self, name: str, reason: str) -> None:
        self.refusals += 1
        if len(self.refused) < self.limit:
            self.refused.append((name, reason))


@dataclass
class Compared:
    """What was looked at. `rows` and `documents` are all of them; `closely` those that were read one by one."""

    exact: bool
    rows: int = 0
    documents: int = 0
    ranges: int = 0
    days: int = 0
    by_first: str = ""
    rows_closely: int = 0
    documents_closely: int = 0
    sums: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    not_summed: list[str] = field(default_factory=list)
    everything: bool = False

    def add_range(self, rows: int, documents: int) -> None:
        self.ranges += 1
        self.rows += rows
        self.documents += documents

    def add_group(self, rows: int, documents: int, counted: bool) -> None:
        """`counted`: the ranges did not count these already."""
        self.days += 1
        self.rows += rows * counted
        self.documents += documents * counted

    def closely(self, rows: int, documents: int, everything: bool) -> None:
        self.rows_closely, self.documents_closely, self.everything = rows, documents, everything
        if everything:
            self.rows, self.documents = rows, documents


@dataclass
class CheckReport:
    """The verdict and what it rests on."""

    job: str
    table: str
    target: str
    since: int | None
    until: int | None
    purged_before: int | None
    compared: Compared
    differences: Found
    set_aside: Found
    mended: Mended | None = None
    notes: list[str] = field(default_factory=list)
    # Documents whose rows are gone: no difference where deletes are captured and not applied.
    kept: Found = field(default_factory=lambda: Found(0))

    @property
    def agree(self) -> bool:
        return not self.differences.total

    def as_dict(self) -> dict[str, Any]:
        return {
            "agree": self.agree,
            "job": self.job,
            "table": self.table,
            "target": self.target,
            "mode": "exact" if self.compared.exact else "counts and sums",
            "since": _instant(self.since),
            "until": _instant(self.until),
            "purged_before": _instant(self.purged_before),
            "compared": asdict(self.compared),
            "differences": {
                "total": self.differences.total,
                "kinds": dict(self.differences.kinds),
                "named": [one.as_dict() for one in self.differences.named],
            },
            "set_aside": {
                "rows": self.set_aside.total,
                "named": [{"key": msgspec.json.decode(one.id), "reason": one.reason} for one in self.set_aside.named],
            },
            "kept": {
                "documents": self.kept.total,
                "named": [one.as_dict() for one in self.kept.named],
            },
            "repair": asdict(self.mended) if self.mended is not None else None,
            "notes": self.notes,
        }

    def render(self) -> RenderableType:
        parts: list[RenderableType] = [self._sides()]
        if self.differences.named:
            parts.append(self._differences())
        parts += [Text(line) for line in self._remarks()]
        parts.append(self._verdict())
        return Group(*parts)

    def _sides(self) -> Table:
        mode = "--exact" if self.compared.exact else "by counts and sums"
        table = Table(title=f"extract verify {self.job} {mode}", title_justify="left")
        for name in ("side", "documents", "read one by one"):
            table.add_column(name, justify="left" if name == "side" else "right")
        done = self.compared
        table.add_row(escape(f"table {self.table}"), f"{done.rows:,}", f"{done.rows_closely:,}")
        table.add_row(escape(f"index {self.target}"), f"{done.documents:,}", f"{done.documents_closely:,}")
        return table

    def _differences(self) -> Table:
        table = Table(title=f"{self.differences.total:,} documents differ", title_justify="left")
        for name in ("key", "document", "difference", "table", "index"):
            table.add_column(name, overflow="fold")
        for one in self.differences.named[:_SHOWN]:
            place = f"{one.index}/{one.id}"
            first, *others = one.fields or [FieldDifference("", "", "")]
            what = " ".join(part for part in (one.kind.value, first.field, one.reason) if part)
            table.add_row(*map(escape, (one.key or "", place, what, _value(first.source), _value(first.target))))
            for other in others:
                table.add_row("", "", *map(escape, (other.field, _value(other.source), _value(other.target))))
        if self.differences.total > _SHOWN:
            table.caption = (
                f"the first {min(_SHOWN, len(self.differences.named))}; --json names up to {self.differences.limit:,}"
            )
        return table

    def _remarks(self) -> Iterator[str]:
        if self.purged_before is not None:
            yield (
                f"Rows and documents from before {format_timestamp(self.purged_before)} were left out: the job says"
                " that they may be purged from the table."
            )
        if self.since is not None or self.until is not None:
            bounds = [f"{word} {_instant(at)}" for word, at in (("from", self.since), ("until", self.until)) if at]
            yield f"Only what the time column puts {' '.join(bounds)} was compared."
        yield from self._how()
        if self.set_aside.total:
            yield (
                f"{self.set_aside.total:,} rows can't become documents and were left out, such as"
                f" {self.set_aside.named[0].id}: {self.set_aside.named[0].reason}."
            )
        if self.kept.total:
            yield (
                f"{self.kept.total:,} documents have no row any more and are kept: the job is captured, and its deletes"
                " say so. purged_before leaves such out without reading them."
            )
        if self.mended is not None:
            yield from _told(self.mended)
        yield from self.notes

    def _how(self) -> Iterator[str]:
        done = self.compared
        if done.ranges:
            yield f"Compared by {done.ranges:,} ranges of the key."
        if done.days:
            of = f" of each {done.by_first}" if done.by_first else ""
            yield f"Compared by {done.days:,} days{of}."
        if done.everything:
            yield "Every row and document was compared value by value."
            return
        if done.sums:
            yield f"Count, sum, least and greatest value: {', '.join(done.sums)}."
        if done.counts:
            yield f"Only counted, since they have no sum: {', '.join(done.counts)}. --exact compares their values."
        if done.not_summed:
            yield f"Not looked at, since the index can't: {', '.join(done.not_summed)}. --exact compares them."

    def _verdict(self) -> Text:
        if self.agree:
            return Text("They agree.", style="bold green")
        found = ", ".join(f"{count:,} {kind}" for kind, count in self.differences.kinds.items())
        advice = ""
        if self.mended is None:
            advice = f" `mare extract verify {self.job}.toml --repair` writes what is missing or differs."
        elif self.differences.kinds[Kind.EXTRA.value] and not self.mended.delete_extra:
            advice = " Extra documents go only with --repair --delete-extra."
        return Text(f"They do not agree: {found}.{advice}", style="bold red")


def _told(mended: Mended) -> Iterator[str]:
    yield (
        f"Repair: {mended.added:,} documents added, {mended.replaced:,} replaced, {mended.deleted:,} deleted."
        " The counts above are those before it."
    )
    if mended.left:
        yield f"{mended.left:,} extra documents were left."
    if mended.changed_meanwhile:
        yield f"{mended.changed_meanwhile:,} documents changed meanwhile and were left as they are."
    for name, reason in mended.refused[:_SHOWN]:
        yield f"{name} could not be mended: {reason}."


def _value(text: str | None) -> str:
    return "none" if text is None else text


def _instant(micros: int | None) -> str | None:
    return format_timestamp(micros) if micros is not None else None
