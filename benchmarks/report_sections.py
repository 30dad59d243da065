"""What each kind of result looks like on the page: its tables, out of the numbers in the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import analytics_tables, report_pipeline
from benchmarks.analytics_profile import in_words
from benchmarks.analytics_tables import Content, Rows
from benchmarks.result import busy_warning


@dataclass(frozen=True)
class Section:
    """`programs` are those whose versions say most. A picture is that of the transactional user."""

    title: str
    text: str
    programs: tuple[str, ...]
    tables: Callable[[Content], Sequence[Rows]]
    sentences: Callable[[Content], Sequence[str]]
    has_picture: bool = False


def of(kind: str) -> Section:
    """One for a kind that is not known: its command, machine and file, and the tables that it may carry itself."""
    unknown = Section(kind.capitalize(), "", ("python",), _carried, _carried_sentences)
    return SECTIONS.get(kind, unknown)


def _gateway(content: Content) -> list[Rows]:
    found: list[Rows] = []
    if content["summary"]:
        load = content["options"]
        rows = [
            (
                seen["receiver"],
                _spread(seen["sent_rate"], ",.0f"),
                _spread(seen["lost"], ",.0f"),
                *(_spread(seen[key], ".2f") for key in _GATEWAY_CPU),
                seen["verdict"],
            )
            for seen in content["summary"]
        ]
        columns = ("receiver", "datagrams/s", "lost", "CPU", "broker CPU", "sender CPU", "verdict")
        title = f"{load['rate']:,.0f} datagrams a second for {load['seconds']:g} s, workers: {load['workers']}"
        found.append(
            (f"{title}; medians of {load['rounds']} rounds; CPU seconds for a million readings", columns, rows)
        )
    if content["limits"]:
        limits: list[tuple[str, ...]] = [
            (seen["receiver"], _number(seen["rate"], ",.0f"), seen["ended_by"]) for seen in content["limits"]
        ]
        found.append(("The highest rate without loss", ("receiver", "datagrams/s", "what failed above it"), limits))
    if len(content["latency"]) > 1:
        found.append(_gateway_latency(content["latency"]))
    return found


_GATEWAY_CPU = ("cpu_per_million", "broker_cpu_per_million", "sender_cpu_per_million")


def _gateway_latency(latency: Mapping[str, Any]) -> Rows:
    load = latency["load"]
    rows = []
    for receiver, seen in latency.items():
        if receiver != "load":
            known, appended = seen.get("acknowledged", {}), seen["appended"]
            acknowledged = [known.get(key, {}).get("estimate") for key in ("p50", "p99")]
            rows.append(
                (
                    receiver,
                    *(_number(None if value is None else 1000 * value, ".1f") for value in acknowledged),
                    *(_number(appended.get(key), ".1f") for key in ("p50_ms", "p99_ms", "max_ms")),
                )
            )
    columns = ("receiver", "read to acknowledged, p50", "p99", "sent to appended, p50", "p99", "most")
    return f"Latency in ms at {load['rate']:,.0f} readings a second for {load['seconds']:g} s", columns, rows


def _sink(content: Content) -> list[Rows]:
    summary = content["summary"]
    roles = ("worker", "elasticsearch", "kafka", "clients")
    rows = [
        (
            receiver,
            _spread(seen["rate"], ",.0f"),
            _spread(seen["rate_from_start"], ",.0f"),
            *(_spread(seen["cpu_per_million"][role], ".2f") for role in roles),
        )
        for receiver, seen in summary["receivers"].items()
    ]
    options = content["options"]
    title = f"{options['documents']:,} readings, medians of {options['rounds']} rounds (least-most)"
    columns = ("writer", "documents/s", "from start", *(f"{role} CPU" for role in roles))
    goals = [
        ("sink's documents/s ÷ plain's", summary["ratio"], "or more"),
        ("worker's CPU seconds for a million", summary["worker_cpu_per_million"], "or less"),
    ]
    cells = [(what, _number(goal["seen"], ".2f"), f"{goal['goal']:.2f} {side}") for what, goal, side in goals]
    return [
        (f"{title}; CPU seconds for a million documents", columns, rows),
        ("Goals", ("what", "seen", "goal"), cells),
    ]


def _extraction(content: Content) -> list[Rows]:
    roles = ("client", "mariadb", "elasticsearch")
    rows = [
        (
            mover,
            _spread(seen["rate"], ",.0f"),
            *(_spread(seen["cpu_per_million"][role], ".2f") for role in roles),
            _spread([value / 1e6 for value in seen["memory"]] if seen["memory"] else None, ".0f"),
        )
        for mover, seen in content["summary"]["movers"].items()
    ]
    columns = ("mover", "rows/s", *(f"{role} CPU" for role in roles), "memory")
    options = content["options"]
    title = f"{options['rows']:,} rows, medians of {options['rounds']} rounds (least-most)"
    goals = [
        (goal["what"], _number(goal["seen"], ".2f"), goal["wanted"], _MET[goal["met"]], goal["note"])
        for goal in content["summary"]["goals"]
    ]
    return [
        (f"{title}; CPU seconds for a million rows; memory in MB", columns, rows),
        ("Goals of `extract run`", ("what", "seen", "goal", "verdict", "note"), goals),
    ]


_MET = {True: "met", False: "missed", None: "not known"}


def _analytics(content: Content) -> list[Rows]:
    plans: list[tuple[str, ...]] = [
        (question["name"], question["text"], _plan(question["explain"]), f"`{question['sql']}`")
        for question in content["questions"]
    ]
    profiles: list[tuple[str, ...]] = [
        (question["name"], in_words(question["profile"])) for question in content["questions"] if "profile" in question
    ]
    took = [("Where Elasticsearch spends a search's time, by its profiler", ("what", "share of each part"), profiles)]
    return [
        analytics_tables.pair(content),
        analytics_tables.speedups(content),
        analytics_tables.latencies(content),
        *(took if profiles else []),
        ("The questions, and MariaDB's plan for one draw of each", ("what", "in words", "EXPLAIN", "SQL"), plans),
    ]


def _plan(explain: Sequence[Mapping[str, Any]]) -> str:
    """What EXPLAIN says of each table, in short; the result has all of it."""
    return "; ".join(
        f"{row['table']}: {row['type']}, {row['key'] or 'no index'}, {row['Extra'] or 'no remark'}" for row in explain
    )


def _carried(content: Content) -> list[Rows]:
    """Tables that a result brings along: a list of title, columns and rows of texts."""
    return [
        (table["title"], tuple(table["columns"]), [tuple(map(str, row)) for row in table["rows"]])
        for table in content.get("tables", [])
    ]


def _carried_sentences(content: Content) -> list[str]:
    return [*([content["base"]] if "base" in content else []), *content.get("sentences", [])]


def _what_it_does(content: Content) -> list[str]:
    said = [f"{name}: {does}" for name, does in content["does"].items()]
    said += [f"not measured: {name}: {why}" for name, why in content.get("missing", {}).items()]
    said += [content["base"]] if "base" in content else []
    shares = [run["elsewhere_share"] for run in content["runs"]]
    return said + [text for text in (content["machine"].get("slow_connector"), busy_warning(shares)) if text]


def _spread(values: Sequence[float] | None, form: str) -> str:
    """Median (least-most) of what a summary holds."""
    if values is None:
        return "not known"
    middle, least, most = (f"{value:{form}}" for value in values)
    return middle if least == most else f"{middle} ({least}-{most})"


def _number(value: float | None, form: str) -> str:
    return "not known" if value is None else f"{value:{form}}"


_ENGINES = ("kafka", "elasticsearch", "mariadb", "python")

SECTIONS = {
    "analytics": Section(
        "Analysts and transactions",
        "What the project is for: the same questions of MariaDB, with the indexes that serve them best, and of"
        " Elasticsearch; and what they do to transactions on MariaDB meanwhile.",
        analytics_tables.PROGRAMS,
        _analytics,
        analytics_tables.sentences,
        has_picture=True,
    ),
    "pipeline": Section(
        "The pipeline, end to end", "From `sendto` to both stores, through everything between.", _ENGINES,
        report_pipeline.pipeline, report_pipeline.pipeline_sentences,
    ),
    "faults": Section(
        "Faults", "What happens to readings when something breaks under load, and how long recovery takes.", _ENGINES,
        report_pipeline.faults, report_pipeline.faults_sentences,
    ),
    "dashboard": Section(
        "The live view", "How soon a page in a real browser is there, and renewed.", ("elasticsearch", "python"),
        _carried, _carried_sentences,
    ),
    "gateway": Section(
        "The gateway", "From UDP into Kafka, beside peers that do less.", ("kafka", "python", "confluent-kafka"),
        _gateway, _what_it_does,
    ),
    "sink": Section(
        "The Elasticsearch sink", "From Kafka into Elasticsearch, beside plain bulk clients, which are the limit.",
        ("elasticsearch", "kafka", "python"), _sink, _what_it_does,
    ),
    "extraction": Section(
        "Extraction", "From a table of MariaDB into Elasticsearch, beside peers and the limit.",
        ("mariadb", "elasticsearch", "mysql-connector-python", "python"), _extraction, _what_it_does,
    ),
}  # fmt: skip
