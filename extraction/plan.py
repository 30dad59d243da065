"""`extract plan`: what a job would do, without doing it: rows, ranges, mapping, the SELECT, one document, the time."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from extraction.convert import Counts, Document, SetAside
from extraction.job import Job
from extraction.keys import Key, KeyRange, bounds, ranges
from extraction.layout import Layout, open_layout
from extraction.rows import Documents, Page, document_of
from extraction.source import open_source, slow_connector, source_errors
from extraction.target import index_pattern, mapping, needs_modules
from maredata.settings import Settings

_FIRST_RANGES = 3
_SAMPLE_ROWS = 10_000


@dataclass(frozen=True)
class Plan:
    """What is known of a job before it runs. `rows` is the server's estimate; keys are exact.

    `read_seconds` is for one reader: the sample's rate over all rows. None where the sample is empty.
    """

    job: str
    table: str
    version: str
    rows: int
    first_key: Key | None
    last_key: Key | None
    range_rows: int
    ranges: int
    first_ranges: tuple[KeyRange, ...]
    index: str
    mapping: dict[str, Any]
    sql: str
    sample: Document | None
    sample_counts: Counts
    sample_seconds: float
    set_aside: tuple[SetAside, ...]
    read_seconds: float | None
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For --json: the sample document parsed, ranges as pairs."""
        content = asdict(self)
        content["first_ranges"] = [[part.after, part.upto] for part in self.first_ranges]
        content["set_aside"] = [{"key": key, "reason": reason} for key, reason in self.set_aside]
        if self.sample is not None:
            content["sample"] = {**asdict(self.sample), "source": json.loads(self.sample.source)}
        return content

    def render(self) -> RenderableType:
        facts = Table.grid(padding=(0, 2))
        for name, value in self._facts():
            facts.add_row(Text(name, style="bold"), Text(value))
        fields = Table("field", "mapping")
        for name, kind in self.mapping["properties"].items():
            fields.add_row(Text(name), Text(json.dumps(kind, ensure_ascii=False)))
        parts: list[RenderableType] = [facts, "", fields, "", Text("The SELECT of the first range:", style="bold")]
        parts.append(Text(self.sql))
        if self.sample is not None:
            parts += ["", Text(f"A document: {self.sample.index}/{self.sample.id}", style="bold")]
            parts.append(Text(self.sample.source.decode()))
        for key, reason in self.set_aside[:5]:
            parts.append(Text(f"Row {list(key)} would be set aside: {reason}.", style="yellow"))
        parts += [Text(f"Warning: {warning}", style="yellow") for warning in self.warnings]
        return Group(*parts)

    def _facts(self) -> list[tuple[str, str]]:
        counts = self.sample_counts
        facts = [
            ("table", f"{self.table} of {self.version}"),
            ("rows", f"about {self.rows:,} (the server's estimate)"),
            (
                "keys",
                f"{list(self.first_key)} to {list(self.last_key)}" if self.first_key and self.last_key else "none",
            ),
            ("ranges", f"about {self.ranges:,} of {self.range_rows:,} rows each"),
            ("target", self.index),
            ("time", self._time()),
            ("left out", ", ".join(self.left_out) or "no column"),
        ]
        odd = {
            "zero dates": counts.zero_dates,
            "ambiguous local times": counts.ambiguous_times,
            "rows set aside": counts.set_aside,
        }
        found = [f"{number:,} {what}" for what, number in odd.items() if number]
        return [*facts, ("in the sample", ", ".join(found))] if found else facts

    def _time(self) -> str:
        if self.read_seconds is None:
            return "nothing to read"
        seen = self.sample_counts.documents + self.sample_counts.set_aside
        return (
            f"about {_duration(self.read_seconds)} to read with one worker (from the first {seen:,} rows, read in"
            f" {self.sample_seconds:.1f} s); indexing runs beside it, and can be what takes longer"
        )


def make_plan(job: Job, settings: Settings) -> Plan:
    """Looks at the source, reading at most a small first range. Raises JobError or StoreError."""
    with source_errors(job.source), open_source(job, settings) as connection:
        layout = open_layout(job, connection, settings)
        ends = bounds(connection, layout)
        cut = tuple(islice(ranges(connection, layout), _FIRST_RANGES))
        sample_range = next(ranges(connection, layout, rows=min(_SAMPLE_ROWS, job.source.range_rows)))
        pages, seconds = _sample(connection, layout, sample_range)
    counts = Counts()
    for page in pages:
        counts.add(page.counts)
    # The estimate can be far off; of a table that ends within these ranges it need not be asked.
    rows = max(layout.table.rows, counts.documents + counts.set_aside)
    seen = counts.documents + counts.set_aside
    lines = [line for page in pages for line in page.lines]
    return Plan(
        job=job.name,
        table=f"{layout.table.database}.{layout.table.name}",
        version=layout.table.version,
        rows=rows,
        first_key=ends[0] if ends else None,
        last_key=ends[1] if ends else None,
        range_rows=job.source.range_rows,
        ranges=max(1, -(-rows // job.source.range_rows)),
        first_ranges=cut,
        index=index_pattern(layout),
        mapping=mapping(layout),
        sql=Documents(layout).sql(cut[0]),
        sample=document_of(lines[0]) if lines else None,
        sample_counts=counts,
        sample_seconds=seconds,
        set_aside=tuple(row for page in pages for row in page.set_aside),
        read_seconds=rows / seen * seconds if seen else None,
        left_out=layout.left_out,
        warnings=tuple(_warnings(layout)),
    )


def _sample(connection: MySQLConnectionAbstract, layout: Layout, part: KeyRange) -> tuple[list[Page], float]:
    began = time.perf_counter()
    pages = list(Documents(layout).pages(connection, part))
    return pages, time.perf_counter() - began


def _warnings(layout: Layout) -> list[str]:
    found = [slow_connector()]
    if fields := needs_modules(layout):
        found.append(
            f"{', '.join(fields)} need types that Elasticsearch takes from modules, which the one of local mode lacks:"
            ' there, give their columns type = "keyword" or decimal = "double".'
        )
    if not layout.table.mariadb:
        found.append("MySQL: not tested; compare the sample document with its row.")
    return [warning for warning in found if warning]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(max(1, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
