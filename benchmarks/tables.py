"""What `mare bench` prints: the counts of each run, and what they come to for each receiver."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmarks.gateway import Report
from benchmarks.machine import describe
from benchmarks.result import LATE_SECONDS, Limit, Run, busy_warning, by_receiver, spread, verdict, worst

WIDTH = 150  # characters that the widest table takes
_TEXTS = ("what", "receiver", "verdict")  # columns that hold no numbers


def render(report: Report) -> Group:
    """All of it; narrower than WIDTH, its tables are hard to read."""
    content = report.content
    parts: list[Table | Text] = [Text(describe(content["machine"]))]
    if report.runs:
        parts += [runs_table(report.runs), *(Text(processes_text(run)) for run in report.runs)]
        parts.append(summary_table(report.runs))
    if report.limits:
        parts.append(limits_table(report.limits))
    if content["latency"]:
        parts.append(latency_table(content["latency"]))
    parts += [Text(f"{name}: {does}") for name, does in content["does"].items()]
    if warning := busy_warning(_elsewhere(report)):
        parts.append(Text(warning, style="bold"))
    parts.append(Text(f"All of it is in {report.path}", overflow="fold"))
    return Group(*parts)


def _elsewhere(report: Report) -> list[float]:
    runs = [*report.runs, *(run for limit in report.limits for run in limit.runs)]
    latencies = [seen["run"] for name, seen in report.content["latency"].items() if name != "load"]
    return [*(run.elsewhere_share for run in runs), *(run["elsewhere_share"] for run in latencies)]


def runs_table(runs: Sequence[Run]) -> Table:
    """Every run's counts, as they must agree."""
    columns = ("offered", "sent", "dropped by kernel", "received", "published", "in Kafka", "lost", "drained", "buffer")
    table = simple_table(
        "round", "receiver", *columns, title="Counts of each run: datagrams, from “published” on records"
    )
    for run in runs:
        counts = (run.load.datagrams, run.sent.datagrams, run.kernel_dropped, run.received, run.published)
        table.add_row(
            str(run.round),
            run.receiver,
            *map(_count, (*counts, run.in_kafka, run.lost)),
            f"{run.drained:.1f} s",
            "?" if run.receive_buffer is None else f"{run.receive_buffer / (1 << 20):.1f} MiB",
        )
    return table


def summary_table(runs: Sequence[Run]) -> Table:
    """A row for each receiver: medians of its rounds with the least and the most, and the worst run's verdict."""
    counts = ("workers", "offered/s", "readings/s", "received", "lost", "in Kafka")
    title = "Medians of the rounds (least to most); CPU seconds for a million readings in Kafka (sender: sent)"
    table = simple_table("receiver", *counts, "CPU", "broker CPU", "sender CPU", "verdict", title=title)
    for receiver, own in by_receiver(runs).items():
        load = own[0].load
        seen = spread(run.received for run in own)
        table.add_row(
            receiver,
            str(own[0].workers),
            f"{load.rate:,.0f}",
            f"{median(run.sent.rate for run in own) * load.lines:,.0f}",
            _count(int(seen[0]) if seen else None),
            _count(worst(own).lost),
            _count(int(median(run.in_kafka for run in own))),
            spread_text(run.cpu_per_million for run in own),
            spread_text(run.broker_per_million for run in own),
            spread_text(run.sender_per_million for run in own),
            verdict(worst(own)),
        )
    return table


def limits_table(limits: Sequence[Limit]) -> Table:
    title = f"Limits: no loss, and done within {LATE_SECONDS:.0f} s of the sender's end"
    table = simple_table("receiver", "workers", "highest rate", "readings/s", "what failed above it", title=title)
    for limit in limits:
        lines = limit.runs[0].load.lines
        rates = ("none", "none") if limit.rate is None else (f"{limit.rate:,.0f}/s", f"{limit.rate * lines:,.0f}")
        reason = "the sender, whose limit this is" if limit.ended_by == "sender" else limit.ended_by
        table.add_row(limit.receiver, str(limit.workers), *rates, reason)
    return table


def processes_text(run: Run) -> str:
    """CPU seconds of each process."""
    parts = [f"{cpu.role} {cpu.pid}: {cpu.user:.2f} user + {cpu.system:.2f} system" for cpu in run.processes]
    return f"{run.receiver}: {'; '.join(parts)}"


def latency_table(latencies: dict[str, Any]) -> Table:
    load = latencies["load"]
    title = f"Latency in ms at {load['rate']:,.0f} readings a second for {load['seconds']:.0f} s"
    columns = ("read to acknowledged, p50", "p99", "p99 at most", "sent to appended, p50", "p99", "most", "readings")
    table = simple_table("receiver", *columns, "verdict", title=title)
    for receiver, seen in latencies.items():
        if receiver == "load":
            continue
        acknowledged, appended = seen.get("acknowledged", {}), seen.get("appended", {})
        table.add_row(
            receiver,
            _milliseconds(acknowledged.get("p50", {}).get("estimate")),
            _milliseconds(acknowledged.get("p99", {}).get("estimate")),
            _milliseconds(acknowledged.get("p99", {}).get("at_most")),
            *(_number(appended.get(key)) for key in ("p50_ms", "p99_ms", "max_ms")),
            _count(appended.get("records")),
            seen["run"]["verdict"],
        )
    return table


def simple_table(*columns: str, title: str) -> Table:
    """Numbers to the right, names and verdicts to the left."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in _TEXTS else "right", overflow="fold")
    return table


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def spread_text(values: Iterable[float | None], form: str = ".2f") -> str:
    """Median (least-most), each formatted by `form`; one number where they don't differ, ? where there is none."""
    found = spread(values)
    if found is None:
        return "?"
    middle, least, most = found
    return f"{middle:{form}}" if least == most else f"{middle:{form}} ({least:{form}}-{most:{form}})"


def _milliseconds(seconds: float | None) -> str:
    return _number(None if seconds is None else 1000 * seconds)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"
