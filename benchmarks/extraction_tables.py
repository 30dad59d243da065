"""What `mare bench extraction` prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmarks.extraction import Report
from benchmarks.extraction_result import CLIENT, ELASTICSEARCH, MARIADB, ROLES, Goal, Trial, goals, of, verdict
from benchmarks.machine import describe
from benchmarks.result import busy_warning
from benchmarks.tables import simple_table, spread_text

_PROGRAMS = ("mariadb", "elasticsearch", "mysql-connector-python", "ingestr", "python")
_HEADS = {CLIENT: "client CPU", MARIADB: "MariaDB CPU", ELASTICSEARCH: "Elasticsearch CPU"}


def render(report: Report) -> Group:
    content = report.content
    parts: list[Table | Text] = [
        Text(describe(content["machine"], _PROGRAMS)),
        trials_table((*report.warm_up, *report.trials)),
        summary_table(report.trials),
        goals_table(goals(report.trials)),
        *(Text(f"not measured: {mover}: {why}", style="bold") for mover, why in content["missing"].items()),
        *(Text(f"{mover}: {does}") for mover, does in content["does"].items()),
        Text(content["base"]),
    ]
    warning = busy_warning(trial.elsewhere_share for trial in report.trials)
    parts += [Text(said, style="bold") for said in (content["machine"].get("slow_connector"), warning) if said]
    parts.append(Text(f"All of it is in {report.path}", overflow="fold"))
    return Group(*parts)


def trials_table(trials: Iterable[Trial]) -> Table:
    """Every trial, in the order in which they were made."""
    title = "Every trial, in this order; coming: rows a second while documents came; elsewhere: CPU that others used"
    table = simple_table("round", "receiver", "rows/s", "coming", "cores busy", "elsewhere", "verdict", title=title)
    for trial in trials:
        coming = trial.rows / trial.coming if trial.whole and trial.coming else None
        table.add_row(
            str(trial.round or "warm-up"),
            trial.mover,
            _number(trial.rate),
            _number(coming),
            f"{trial.busy:.0%}",
            f"{trial.elsewhere_share:.0%}",
            verdict(trial),
        )
    return table


def summary_table(trials: Sequence[Trial]) -> Table:
    title = "Medians of the rounds (least-most); CPU seconds for a million rows; memory in MB"
    table = simple_table("receiver", "rows/s", *(_HEADS[role] for role in ROLES), "memory", title=title)
    for mover in dict.fromkeys(trial.mover for trial in trials):
        own = of(mover, trials)
        table.add_row(
            mover,
            spread_text((trial.rate for trial in own), ",.0f"),
            *(spread_text([trial.per_million(role) for trial in own]) for role in ROLES),
            spread_text((None if trial.memory is None else trial.memory / 1e6 for trial in own), ".0f"),
        )
    return table


def goals_table(found: Iterable[Goal]) -> Table:
    """What was seen beside what is wanted; these do not decide about the exit status."""
    table = simple_table("what", "seen", "goal", "verdict", title="Goals of extract run")
    for goal in found:
        met = "?" if goal.met is None else "met" if goal.met else "missed"
        seen = "?" if goal.seen is None else f"{goal.seen:.2f}"
        table.add_row(goal.what, seen, goal.wanted, f"{met}{'; ' if goal.note else ''}{goal.note}")
    return table


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}"
