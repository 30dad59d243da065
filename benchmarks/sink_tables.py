"""What `mare bench sink` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmarks.machine import describe
from benchmarks.result import busy_warning
from benchmarks.sink import Report
from benchmarks.sink_result import (
    CLIENTS,
    ELASTICSEARCH,
    GOAL_RATIO,
    GOAL_WORKER_CPU,
    KAFKA,
    PLAIN,
    ROLES,
    SINK,
    WORKER,
    Pass,
    of,
    verdict,
)
from benchmarks.tables import simple_table, spread_text

_PROGRAMS = ("elasticsearch", "kafka", "python")
_HEADS = {WORKER: "worker CPU", ELASTICSEARCH: "Elasticsearch CPU", KAFKA: "Kafka CPU", CLIENTS: "clients CPU"}


def render(report: Report) -> Group:
    content, options = report.content, report.content["options"]
    warm_up = (
        f"Each was warmed up by {options['warm_up']:,} documents first: until Java has compiled what it runs most,"
        " both are far slower."
    )
    parts: list[Table | Text] = [
        Text(describe(content["machine"], _PROGRAMS)),
        runs_table((*report.warm_up, *report.passes)),
        summary_table(report.passes, options["clients"]),
        goals_table(content["summary"]),
        *(Text(f"{receiver}: {does}") for receiver, does in content["does"].items()),
        Text(content["base"]),
        Text(warm_up),
    ]
    if warning := busy_warning(found.elsewhere_share for found in report.passes):
        parts.append(Text(warning, style="bold"))
    parts.append(Text(f"All of it is in {report.path}", overflow="fold"))
    return Group(*parts)


def runs_table(passes: Sequence[Pass]) -> Table:
    """Every pass, in the order in which they were made."""
    columns = ("round", "receiver", "documents/s", "from start", "elsewhere", "verdict")
    table = simple_table(*columns, title="Every pass, in this order; elsewhere: CPU that others used meanwhile")
    for found in passes:
        table.add_row(
            str(found.round or "warm-up"),
            found.receiver,
            _rate(found.rate),
            _rate(found.rate_from_start),
            f"{found.elsewhere_share:.0%}",
            verdict(found),
        )
    return table


def summary_table(passes: Sequence[Pass], clients: int) -> Table:
    title = f"Medians of the rounds (least-most); CPU seconds for a million documents; {clients} plain clients"
    columns = ("receiver", "documents/s", "from start", *(_HEADS[role] for role in ROLES))
    table = simple_table(*columns, title=title)
    for receiver in (PLAIN, SINK):
        own = of(receiver, passes)
        table.add_row(
            receiver,
            spread_text((found.rate for found in own), ",.0f"),
            spread_text((found.rate_from_start for found in own), ",.0f"),
            *(spread_text([found.per_million(role) for found in own]) for role in ROLES),
        )
    return table


def goals_table(summary: dict[str, dict[str, float | None]]) -> Table:
    """What was seen beside what is wanted; these do not decide about the exit status."""
    table = simple_table("what", "seen", "goal", "verdict", title="Goals")
    share, cpu = summary["ratio"]["seen"], summary["worker_cpu_per_million"]["seen"]
    rows = (
        ("sink's documents/s ÷ plain's (medians)", share, f"{GOAL_RATIO:.2f} or more", share and share >= GOAL_RATIO),
        ("worker's CPU seconds for a million", cpu, f"{GOAL_WORKER_CPU:.0f} or less", cpu and cpu <= GOAL_WORKER_CPU),
    )
    for what, seen, goal, met in rows:
        verdict = "?" if seen is None else "met" if met else "missed"
        table.add_row(what, "?" if seen is None else f"{seen:.2f}", goal, verdict)
    return table


def _rate(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}"
