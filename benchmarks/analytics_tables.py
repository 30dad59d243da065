"""What `mare bench analytics` prints: each question on each store, then transactions beside the analysts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmarks.analytics_pair import NOBODY
from benchmarks.analytics_plots import LABELS
from benchmarks.analytics_stores import ELASTICSEARCH, MARIADB
from benchmarks.machine import describe
from benchmarks.result import busy_warning
from benchmarks.tables import simple_table

PROGRAMS = ("mariadb", "elasticsearch", "mysql-connector-python", "python")
_NAMES = {MARIADB: "MariaDB", ELASTICSEARCH: "Elasticsearch", NOBODY: "nobody"}

_KINDS = ("warm", "throughput", "cold")

Content = Mapping[str, Any]
Rows = tuple[str, tuple[str, ...], list[tuple[str, ...]]]  # title, columns, rows: as a report can show them, too


def render(content: Content, paths: Sequence[Path]) -> Group:
    parts: list[Table | Text] = [Text(describe(content["machine"], PROGRAMS))]
    parts += [_table(rows) for rows in (latencies(content), speedups(content), pair(content))]
    parts += [Text(sentence) for sentence in sentences(content)]
    if warning := busy_warning(seen["elsewhere_share"] for seen in content["pair"]):
        parts.append(Text(warning, style="bold"))
    parts.append(Text(f"All of it is in {', '.join(map(str, paths))}", overflow="fold"))
    return Group(*parts)


def latencies(content: Content) -> Rows:
    """A row for each question and store."""
    rows = [
        (
            question["name"] if store == MARIADB else "",
            _NAMES[store],
            *(_ms(question[store]["warm"][key]) for key in ("p50", "p95", "p99")),
            _ms(question[store].get("cold")),
            f"{question[store]['throughput']:,.1f}",
            _ms(question[store]["client_cpu"]),
            f"{question[store]['warm']['count']:,}",
        )
        for question in content["questions"]
        for store in (MARIADB, ELASTICSEARCH)
    ]
    title = f"Each question on each store alone, {content['readings']:,} readings; milliseconds"
    return title, ("what", "store", "p50", "p95", "p99", "cold", "answers/s", "client's CPU", "asked"), rows


def speedups(content: Content) -> Rows:
    """How many times faster Elasticsearch is; below 1 it is slower."""
    rows = [
        (question["name"], *(_times(question["speedup"].get(kind)) for kind in _KINDS), question["why"])
        for question in content["questions"]
    ]
    means = content["geometric_mean"]
    rows.append(("geometric mean", *(_times(means[kind]) for kind in _KINDS), ""))
    title = "How many times faster Elasticsearch is (below 1: slower)"
    return title, ("what", "p50, warm", "answers/s", "cold", "verdict"), rows


def pair(content: Content) -> Rows:
    """The transactional user's latency, and what the analysts got."""
    rows = []
    for seen in content["pair"]:
        done, asked = seen["transactions"], seen["answers"]
        rows.append(
            (
                LABELS[seen["analysts"]],
                *(_ms((done["all"] or {}).get(key)) for key in ("p50", "p95", "p99", "most")),
                *(_ms((done[kind] or {}).get("p99")) for kind in ("read", "insert")),
                f"{asked['per_second']:.2f} of {asked['wanted_per_second']:.2f}" if asked else "",
                _ms((asked["all"] or {}).get("p50")) if asked else "",
                f"{sum(sum(part['errors'].values()) for part in (done, asked) if part):,}",
            )
        )
    title = "Transactions while analysts ask; milliseconds from when each was due"
    columns = ("p50", "p95", "p99", "most", "reads, p99", "inserts, p99", "answers/s", "an answer, p50", "errors")
    return title, ("what", *columns), rows


def sentences(content: Content) -> list[str]:
    """What one has to know to read the tables."""
    sizes, seconds = content["bytes"], content["seeding_seconds"]
    on_disk = (
        f"On disk: MariaDB {(sizes['mariadb_table'] + sizes['mariadb_indexes']) / 1e6:,.0f} MB, of which indexes"
        f" {sizes['mariadb_indexes'] / 1e6:,.0f} MB; Elasticsearch {sizes['elasticsearch'] / 1e6:,.0f} MB."
    )
    moved = f"`mare extract run` moved them in {seconds['moving']:,.0f} s."
    found = [content["base"], content["memory"]["sentence"], f"{on_disk} {moved}"]
    if content["page_cache_dropped"] is False:
        found.append("This account may not empty the kernel's page cache: “cold” is after a restart alone.")
    compared = sum(question["compared"] for question in content["questions"])
    return [*found, f"Before measuring, both stores were asked {compared} questions, and answered the same."]


def _table(rows: Rows) -> Table:
    title, columns, cells = rows
    table = simple_table(*columns, title=title)
    for row in cells:
        table.add_row(*row)
    return table


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:,.1f}"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}" if value < 10 else f"{value:,.1f}"
