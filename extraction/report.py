"""What a comparison found: for people, and as a dict for `--json`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from extraction.compare import Candidate, Gaps, Kind
from extraction.repair import Repairs
from maredata.timestamps import format_timestamp

_SHOWN = 20  # differences printed; --json has up to `limit`


@dataclass
class TopicPart:
    """What the topic gave, and what of it was no reading to compare."""

    first_offsets: dict[int, int]
    end_offsets: dict[int, int]
    oldest_record: str | None
    records: int
    readings: int
    repeated: int
    outside_window: int
    removed_demo: int
    refused: dict[str, int]


@dataclass
class Differences:
    """How many identities differ, in what way, and the first ones by name."""

    limit: int
    identities: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    named: list[dict[str, Any]] = field(default_factory=list)

    def add(self, candidate: Candidate) -> None:
        self.identities += candidate.disagrees
        for difference in candidate.differences:
            self.kinds[difference.kind] += 1
            if len(self.named) < self.limit:
                shown = {"sensor_id": candidate.sensor_id, "timestamp": format_timestamp(max(0, candidate.micros))}
                shown["kind"] = difference.kind.value
                if difference.field:
                    shown["field"] = difference.field
                    for side in ("mariadb", "elasticsearch", "topic"):
                        shown[side] = getattr(difference, side)
                if difference.document:
                    shown["document"] = difference.document
                self.named.append(shown)


@dataclass
class Sequence:
    """Numbers that no reading has: lost between buoy and gateway, which is no fault of the stores."""

    limit: int
    sensors: int = 0
    missing: int = 0
    named: list[Gaps] = field(default_factory=list)

    def add(self, gap: Gaps) -> None:
        self.sensors += 1
        self.missing += gap.missing
        if len(self.named) < self.limit:
            self.named.append(gap)


@dataclass
class Report:
    """The verdict and what it rests on."""

    exact: bool
    since: int | None
    until: int | None
    topic: TopicPart
    mariadb: int
    elasticsearch: int
    not_in_topic: int
    looked_at_closely: int
    differences: Differences
    unidentified: int
    unidentified_named: list[str]
    sequence: Sequence
    accepted: int | None = None
    notes: list[str] = field(default_factory=list)
    repairs: Repairs | None = None

    @property
    def agree(self) -> bool:
        return not self.differences.identities and not self.unidentified

    def as_dict(self) -> dict[str, Any]:
        repairs = asdict(self.repairs) if self.repairs is not None else None
        if repairs is not None and self.repairs is not None:
            repairs["changed"] = [
                {
                    "sensor_id": key[0],
                    "timestamp": format_timestamp(key[1]),
                    "field": difference.field,
                    "mariadb": difference.mariadb,
                    "elasticsearch": difference.elasticsearch,
                }
                for key, difference in self.repairs.changed
            ]
            repairs["refused"] = [
                {"sensor_id": key[0], "timestamp": format_timestamp(key[1]), "reason": reason}
                for key, reason in self.repairs.refused
            ]
        return {
            "agree": self.agree,
            "mode": "exact" if self.exact else "counts and sums",
            "since": _instant(self.since),
            "until": _instant(self.until),
            "topic": asdict(self.topic),
            "mariadb": {"readings": self.mariadb},
            "elasticsearch": {"readings": self.elasticsearch, "unidentified": self.unidentified},
            "unidentified_documents": self.unidentified_named,
            "not_in_topic": self.not_in_topic,
            "looked_at_closely": self.looked_at_closely,
            "accepted": self.accepted,
            "differences": {
                "identities": self.differences.identities,
                "kinds": dict(self.differences.kinds),
                "named": self.differences.named,
            },
            "repairs": repairs,
            "sequence": {
                "sensors": self.sequence.sensors,
                "missing": self.sequence.missing,
                "named": [asdict(gap) for gap in self.sequence.named],
            },
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
        table = Table(title="verify " + ("--exact" if self.exact else "by counts and sums"), title_justify="left")
        for name in ("side", "readings", "remarks"):
            table.add_column(name, justify="right" if name == "readings" else "left")
        spans = ", ".join(f"{p}: {self.topic.first_offsets[p]}..{end}" for p, end in self.topic.end_offsets.items())
        remarks = f"offsets {spans}"
        if self.topic.oldest_record:
            remarks += f"; oldest record {self.topic.oldest_record}"
        table.add_row("topic readings", f"{self.topic.readings:,}", escape(remarks))
        beyond = f"{self.not_in_topic:,} of them not in the topic: history, older than its retention, or newer"
        table.add_row("MariaDB", f"{self.mariadb:,}", beyond if self.not_in_topic else "")
        table.add_row("Elasticsearch", f"{self.elasticsearch:,}", "")
        if self.accepted is not None:
            table.add_row("accepted", f"{self.accepted:,}", "acknowledged by the gateway")
        return table

    def _differences(self) -> Table:
        table = Table(title=f"{self.differences.identities:,} readings differ", title_justify="left")
        for name in ("sensor", "timestamp", "difference", "MariaDB", "Elasticsearch", "topic"):
            table.add_column(name, overflow="fold")
        for one in self.differences.named[:_SHOWN]:
            what = " ".join(str(part) for part in (one["kind"], one.get("field"), one.get("document")) if part)
            values = ["" if "field" not in one else repr(one[side]) for side in ("mariadb", "elasticsearch", "topic")]
            table.add_row(*map(escape, (str(one["sensor_id"]), one["timestamp"], what, *values)))
        if sum(self.differences.kinds.values()) > _SHOWN:
            table.caption = (
                f"the first {min(_SHOWN, len(self.differences.named))}; --json names up to {self.differences.limit:,}"
            )
        return table

    def _remarks(self) -> list[str]:
        lines: list[str] = []
        for reason, count in sorted(self.topic.refused.items()):
            lines.append(f"{count:,} records of the topic are no readings ({reason}): see the sinks' dead letters.")
        if self.topic.repeated:
            lines.append(f"{self.topic.repeated:,} records repeat an identity; the last one counts.")
        if self.topic.removed_demo:
            lines.append(f"{self.topic.removed_demo:,} demo readings were left out: `mare demo remove` deleted them.")
        if count := self.differences.kinds[Kind.TOPIC_VALUE]:
            lines.append(
                f"{count:,} values are the same in both stores and others in the topic: somebody changed them in both."
            )
        if self.unidentified:
            lines.append(
                f"{self.unidentified:,} documents in Elasticsearch have no sensor_id or timestamp,"
                f" such as {', '.join(self.unidentified_named[:3])}: nothing of ours writes them."
            )
        for gap in self.sequence.named[:_SHOWN]:
            spans = ", ".join(str(low) if low == high else f"{low}..{high}" for low, high in gap.ranges)
            lines.append(f"Sensor {gap.sensor_id}: {gap.missing:,} numbers never arrived ({spans}).")
        if self.sequence.sensors > _SHOWN:
            lines.append(f"{self.sequence.missing:,} numbers of {self.sequence.sensors:,} sensors never arrived.")
        if self.repairs is not None:
            lines += _told(self.repairs)
        return lines + self.notes

    def _verdict(self) -> Text:
        if self.agree:
            return Text("They agree.", style="bold green")
        found = ", ".join(f"{n:,} {kind}" for kind, n in self.differences.kinds.items() if kind != Kind.TOPIC_VALUE)
        advice = "" if self.repairs is not None else " `mare verify --repair` copies what one store lacks."
        return Text(f"They do not agree: {found or 'unidentified documents'}.{advice}", style="bold red")


def _told(repairs: Repairs) -> list[str]:
    lines = [
        f"Repair: {repairs.added_to_mariadb:,} readings added to MariaDB,"
        f" {repairs.added_to_elasticsearch:,} to Elasticsearch;"
        f" {repairs.filled_in_mariadb:,} rows filled in, {repairs.replaced_in_elasticsearch:,} documents replaced."
        " The counts above are those before it."
    ]
    for (sensor_id, micros), d in repairs.changed[:_SHOWN]:
        lines.append(
            f"Sensor {sensor_id} {format_timestamp(micros)} {d.field}:"
            f" MariaDB had {d.mariadb!r}, Elasticsearch {d.elasticsearch!r}."
        )
    for (sensor_id, micros), reason in repairs.refused[:_SHOWN]:
        lines.append(f"Sensor {sensor_id} {format_timestamp(micros)} could not be mended: {reason}.")
    return lines


def _instant(micros: int | None) -> str | None:
    return format_timestamp(micros) if micros is not None else None


def milliseconds(instant: int | None) -> str | None:
    """Kafka's timestamp, readable."""
    if instant is None:
        return None
    return datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
