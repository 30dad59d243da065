"""What `mare bench pipeline` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmarks.machine import describe
from benchmarks.pipeline import Report
from benchmarks.pipeline_result import SINK_OF, STORES, Trial, bottleneck, by_role
from benchmarks.result import busy_warning
from benchmarks.tables import simple_table

_PROGRAMS = ("kafka", "elasticsearch", "mariadb", "python")
_STAGES = ("sent", "kernel_dropped", "received", "accepted", "kafka", "mariadb", "elasticsearch")


def render(report: Report) -> Group:
    trials = report.trials
    parts: list[Table | Text] = [
        Text(describe(report.content["machine"], _PROGRAMS)),
        latency_table(trials),
        counts_table(trials),
        lag_table(trials),
        processes_table(trials),
    ]
    found = report.content["highest_sustained"]
    parts.append(Text(f"Highest rate sustained here: {f'{found:,.0f} readings/s' if found else 'none of these'}"))
    parts += [Text(f"{trial.load.rate:,.0f}/s: {bottleneck(trial)}") for trial in trials if not trial.sustained]
    if report.content["goals"]:
        parts.append(goals_table(report.content["goals"]))
    parts.append(Text(report.content["base"]))
    if warning := busy_warning(trial.elsewhere_share for trial in trials):
        parts.append(Text(warning, style="bold"))
    parts.append(Text(f"All of it is in {report.path}", overflow="fold"))
    return Group(*parts)


def latency_table(trials: Sequence[Trial]) -> Table:
    columns = ("readings/s", "until", "p50", "p95", "p99", "max", "samples", "never seen")
    table = simple_table(*columns, title="Seconds from sendto until a query finds the reading")
    for trial in trials:
        for store in STORES:
            table.add_row(
                f"{trial.load.rate:,.0f}",
                store,
                *(_seconds(value) for value in trial.quantiles(store).values()),
                f"{len(trial.latency[store]):,}",
                f"{trial.missing[store]:,}",
            )
    return table


def counts_table(trials: Sequence[Trial]) -> Table:
    heads = ("readings/s", *(name.replace("_", " ") for name in _STAGES), "verdict")
    table = simple_table(*heads, title="Readings that came as far as each stage, the probe's among them")
    for trial in trials:
        counts = (f"{getattr(trial.counts, name):,}" for name in _STAGES)
        verdict = "all there" if trial.counts.whole else "LOST" if not trial.counts.kept else "accepted ones all there"
        table.add_row(f"{trial.load.rate:,.0f}", *counts, verdict)
    return table


def lag_table(trials: Sequence[Trial]) -> Table:
    columns = ("readings/s", "sink", "at start", "at end", "growth", "drained", "verdict")
    table = simple_table(*columns, title="Readings that each sink was behind, under load")
    for trial in trials:
        for sink in SINK_OF.values():
            table.add_row(
                f"{trial.load.rate:,.0f}",
                sink,
                *(f"{trial.lags[place].behind[sink]:,}" if trial.lags else "?" for place in (0, -1)),
                f"{trial.growth.get(sink, 0):,.0f}",
                "never" if trial.drained is None else f"{trial.drained:.1f} s",
                "falls behind" if sink in trial.growing else "stable",
            )
    return table


def processes_table(trials: Sequence[Trial]) -> Table:
    roles = [role for role, _ in by_role(trials[0].cpu)] if trials else []
    title = "Cores used under load / most memory in MB; elsewhere: CPU of other programs"
    table = simple_table("readings/s", *roles, "sender", "elsewhere", "all cores", title=title)
    for trial in trials:
        cells = [f"{used / trial.window:.2f} / {trial.memory[role] >> 20:,}" for role, used in by_role(trial.cpu)]
        sender = (trial.sent.user + trial.sent.system) / trial.window
        table.add_row(
            f"{trial.load.rate:,.0f}", *cells, f"{sender:.2f}", f"{trial.elsewhere_share:.0%}", f"{trial.busy:.0%}"
        )
    return table


def goals_table(goals: Sequence[dict[str, Any]]) -> Table:
    """What was seen beside what is wanted; these do not decide about the exit status."""
    table = simple_table("what", "seen", "goal", "verdict", title="Goals")
    for goal in goals:
        flag = isinstance(goal["goal"], bool)
        seen = ("sustained" if goal["seen"] else "not sustained") if flag else _seconds(goal["seen"])
        wanted = "sustained" if flag else f"below {goal['goal']:.1f} s"
        table.add_row(goal["what"], seen, wanted, "met" if goal["met"] else "missed")
    return table


def _seconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
