"""The page's tables of `mare bench pipeline` and of `mare faults`, out of the numbers in their files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.analytics_tables import Content, Rows

_STAGES = ("sent", "kernel_dropped", "received", "accepted", "kafka", "mariadb", "elasticsearch")
_LATENCIES = ("p50", "p95", "p99", "max")


def pipeline(content: Content) -> list[Rows]:
    trials = content["trials"]
    latency: list[tuple[str, ...]] = [
        (_rate(trial), store, *(_seconds(seen[key]) for key in _LATENCIES), f"{trial['samples'][store]:,}")
        for trial in trials
        for store, seen in trial["latency_seconds"].items()
    ]
    counts: list[tuple[str, ...]] = [
        (
            _rate(trial),
            *(f"{trial['counts'][stage]:,}" for stage in _STAGES),
            "sustained" if trial["sustained"] else f"not sustained: {trial['bottleneck']}",
        )
        for trial in trials
    ]
    roles = list(trials[0]["cores_used"]) if trials else []
    cores: list[tuple[str, ...]] = [
        (_rate(trial), *(_process(trial, role) for role in roles), f"{trial['busy']:.0%}") for trial in trials
    ]
    heads = ("readings/s", *(stage.replace("_", " ") for stage in _STAGES), "verdict")
    return [
        (
            "Seconds from `sendto` until a query finds the reading",
            ("readings/s", "in", *_LATENCIES, "samples"),
            latency,
        ),
        ("Readings that came as far as each stage", heads, counts),
        ("Cores used under load / most memory in MB", ("readings/s", *roles, "all cores"), cores),
    ]


def pipeline_sentences(content: Content) -> list[str]:
    highest = content["highest_sustained"]
    found = "none of these" if highest is None else f"{highest:,.0f} readings/s"
    goals = [
        f"{goal['what']}: {'met' if goal['met'] else 'missed'}"
        + (
            ""
            if isinstance(goal["goal"], bool)
            else f" ({_seconds(goal['seen'])} s, below {goal['goal']:.1f} s wanted)"
        )
        for goal in content["goals"]
    ]
    return [f"Highest rate sustained here: {found}.", *goals, content["base"]]


def faults(content: Content) -> list[Rows]:
    numbers = ("sent", "accepted", "mariadb", "elasticsearch", "lost", "duplicated")
    rows: list[tuple[str, ...]] = [
        (
            fault["fault"],
            fault["description"],
            *("" if fault[name] is None else f"{fault[name]:,}" for name in numbers),
            "" if fault["seconds"] is None else f"{fault['seconds']:.1f} s",
            "passed" if fault["passed"] else f"FAILED: {fault['trouble']}",
        )
        for fault in content["faults"]
    ]
    columns = ("fault", "what happens", *numbers, "recovered in", "verdict")
    load = content["load"]
    title = f"Under load of {load['buoys']:,} emulated buoys, {load['rate']:g} readings a second each"
    return [(title, columns, rows)]


def faults_sentences(content: Content) -> list[str]:
    return [
        f"{len(content['faults'])} faults in {content['seconds'] / 60:.1f} minutes; `mare verify --exact` after each."
    ]


def _rate(trial: Mapping[str, Any]) -> str:
    return f"{trial['load']['rate']:,.0f}"


def _process(trial: Mapping[str, Any], role: str) -> str:
    return f"{trial['cores_used'][role]:.2f} / {trial['memory'][role] >> 20:,}"


def _seconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
