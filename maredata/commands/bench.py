"""Commands that measure how fast a part of the system is."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import RenderableType

from maredata.commands.shared import as_json, out, schema_of
from maredata.names import ELASTICSEARCH_SINK
from maredata.settings import Settings

result_file = click.option(
    "--out", type=click.Path(path_type=Path), help="File for the result.  [default: in MARE_HOME/benchmarks]"
)


def command_line() -> str:
    """What was asked for, to be written into the result."""
    return shlex.join(["mare", *sys.argv[1:]])


def say(text: str) -> None:
    out(stderr=True).print(f"[dim]{text}[/]")


def finish(content: dict[str, Any], table: RenderableType, as_json: bool, whole: bool) -> NoReturn:
    """Prints the result. Exit status 1 where something was lost."""
    from benchmarks.tables import WIDTH

    if as_json:
        click.echo(json.dumps(content, default=str))
    else:
        out(width=max(out().width, WIDTH)).print(table)
    sys.exit(0 if whole else 1)


@click.group()
def bench() -> None:
    """Measure how fast a part of the system is on this machine.

    \b
    Example:
      mare bench gateway
    """


@bench.command("gateway")
@click.option("--rate", default=200_000.0, show_default=True, type=click.FloatRange(1), help="Datagrams a second.")
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Each run.")
@click.option("--lines", default=1, show_default=True, type=click.IntRange(1), help="Readings in each datagram.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="The gateway's processes.")
@click.option("--sensors", default=1000, show_default=True, type=click.IntRange(1), help="How many sensors send.")
@click.option("--sockets", default=64, show_default=True, type=click.IntRange(1), help="Sockets they send through.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="How often each is measured.")
@click.option("--peers", default="bare,rsyslog", show_default=True, help="What it is compared with; none: nothing.")
@click.option("--install-peers", is_flag=True, help="First install rsyslog with apt-get; needs root.")
@click.option("--find-limit", is_flag=True, help="Find each one's highest rate without loss instead.")
@click.option("--latency", is_flag=True, help="Measure latency instead, at 5,000 readings a second for 20 s.")
@click.option("--first-port", default=21_000, show_default=True, help="Of the four ports that are needed.")
@result_file
@as_json
@click.pass_obj
def bench_gateway(settings: Settings, /, as_json: bool, peers: str, **options: Any) -> None:
    """Send readings to the gateway and to its peers in turns, and show loss and CPU. Exit status 1 if the gateway lost.

    It starts a Kafka of its own, beside any that runs, and removes it again.

    \b
    Example:
      mare bench gateway
      mare bench gateway --rate 50000 --lines 10 --peers none
      mare bench gateway --find-limit --seconds 5
    """
    from benchmarks.gateway import Options, run
    from benchmarks.peers import parse_peers
    from benchmarks.tables import render

    chosen = Options(**options, peers=parse_peers(peers))
    report = run(settings, chosen, command_line(), say)
    finish(report.content, render(report), as_json, report.kept_all)


@bench.command("sink")
@click.option("--documents", default=1_000_000, show_default=True, type=click.IntRange(10_000), help="In each round.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="How often each is measured.")
@click.option("--clients", default=2, show_default=True, type=click.IntRange(1, 64), help="Plain bulk clients.")
@click.option("--first-port", default=21_000, show_default=True, help="Of the five ports that are needed.")
@result_file
@as_json
@click.pass_obj
def bench_sink(settings: Settings, /, as_json: bool, **options: Any) -> None:
    """Store readings by the Elasticsearch sink and by plain bulk clients in turns, and show rates and CPU.

    Exit status 1 if a document was missing after a round. It starts a Kafka, a Connect and an Elasticsearch of its
    own, beside any that run, and removes them again.

    \b
    Example:
      mare bench sink
      mare bench sink --documents 200000 --rounds 3
    """
    from benchmarks.sink import Options, own_settings, run
    from benchmarks.sink_tables import render
    from connect.connectors import definitions
    from connect.rest import Rest

    chosen = Options(**options)
    own = own_settings(settings, chosen)
    definition = definitions(own, schema_of(own))[ELASTICSEARCH_SINK]
    with Rest(own.connect.url) as worker:
        report = run(own, chosen, command_line(), definition, worker, say)
    finish(report.content, render(report), as_json, report.whole)


@bench.command("extraction")
@click.option("--rows", default=1_000_000, show_default=True, type=click.IntRange(10_000), help="In each trial.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="How often each is measured.")
@click.option("--install-peers", is_flag=True, help="First install ingestr by pip, in MARE_HOME/benchmarks.")
@click.option("--first-port", default=21_000, show_default=True, help="Of the three ports that are needed.")
@result_file
@as_json
@click.pass_obj
def bench_extraction(settings: Settings, /, as_json: bool, **options: Any) -> None:
    """Move rows of MariaDB to Elasticsearch by `extract run` and by its peers in turns, and show rates, CPU, memory.

    The peers are a pandas script, ingestr, and plain bulk clients, which are the limit; a plain SELECT says what
    reading costs the source. Exit status 1 if one of them did not move every row. It starts a MariaDB and an
    Elasticsearch of its own, beside any that run, and removes them again.

    \b
    Example:
      mare bench extraction --install-peers
      mare bench extraction --rows 200000 --rounds 1
    """
    from benchmarks.extraction import Options, run
    from benchmarks.extraction_measure import Room
    from benchmarks.extraction_tables import render
    from extraction import seed
    from extraction.draft import draft, server_of
    from extraction.source import slow_connector

    def fill(own: Settings, steps: int, buoys: int, every: int) -> None:
        history = seed.Options(steps, buoys, every)
        seed.seed_history(own, schema_of(own), history, lambda: False, lambda *_: None)

    room = Room(fill, lambda own, table, path: draft(own, server_of(own), table, path), slow_connector)
    report = run(settings, Options(**options), command_line(), room, say)
    finish(report.content, render(report), as_json, report.whole)


@bench.command("pipeline")
@click.option("--rate", default=1_000.0, show_default=True, type=click.FloatRange(1), help="Readings a second.")
@click.option("--duration", default=60.0, show_default=True, type=click.FloatRange(5), help="Seconds of each rate.")
@click.option("--step", is_flag=True, help="Then raise the rate by a quarter, again and again, until a lag grows.")
@click.option("--warm-up", default=60.0, show_default=True, type=click.FloatRange(0), help="Seconds before that.")
@click.option("--sensors", default=1000, show_default=True, type=click.IntRange(1), help="How many sensors send.")
@click.option("--first-port", default=21_000, show_default=True, help="Of the eight ports that are needed.")
@result_file
@as_json
@click.pass_obj
def bench_pipeline(settings: Settings, /, as_json: bool, **options: Any) -> None:
    """Send readings through the whole pipeline, and show latency, loss at each stage, lag, CPU and memory.

    Latency is from sendto until a query finds the reading in MariaDB, and a search in Elasticsearch. Exit status 1 if a
    reading was lost; with --step, if an accepted one was. It starts engines of its own, beside any that run, and
    removes them again.

    \b
    Example:
      mare bench pipeline --rate 1000 --duration 60
      mare bench pipeline --rate 4000 --duration 30 --step
    """
    from benchmarks.pipeline import Options, run
    from benchmarks.pipeline_tables import render
    from connect import connectors
    from maredata.apply import apply

    def apply_all(own: Settings) -> None:
        schema = schema_of(own)
        apply(own, schema, partial(connectors.apply, own, schema, lambda _: None), lambda _: None)

    report = run(settings, Options(**options), command_line(), apply_all, say)
    finish(report.content, render(report), as_json, report.whole)


@bench.command("analytics")
@click.option("--rows", default=10_000_000, show_default=True, type=click.IntRange(10_000), help="Readings.")
@click.option("--buoys", default=50, show_default=True, type=click.IntRange(1, 80), help="Whose readings they are.")
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(0.1), help="Each question, store.")
@click.option("--pair-seconds", default=60.0, show_default=True, type=click.FloatRange(1), help="Transactions, thrice.")
@click.option("--rate", default=100.0, show_default=True, type=click.FloatRange(1), help="Transactions a second.")
@click.option("--analysts", default=10, show_default=True, type=click.IntRange(1, 100), help="How many ask.")
@click.option("--every", default=2.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between questions.")
@click.option("--memory", default="2g", show_default=True, help="Of each engine, its page cache included.")
@click.option("--cold", default="all", show_default=True, help="Questions asked cold too: all, none, or “NAME; NAME”.")
@click.option("--seed", default=1, show_default=True, help="Of what is drawn.")
@click.option("--first-port", default=21_000, show_default=True, help="Of the three ports that are needed.")
@result_file
@as_json
@click.pass_obj
def bench_analytics(settings: Settings, /, as_json: bool, **options: Any) -> None:
    """Ask analysts' questions of MariaDB and of Elasticsearch, and show what that does to transactions on MariaDB.

    Both get the same readings and the same memory, MariaDB the indexes that serve the questions best; first it is
    checked that both answer the same. Exit status 1 if they don't, or if a question or a transaction failed. It starts
    a MariaDB and an Elasticsearch of its own, beside any that run, and removes them again. As root it can limit their
    memory and empty the page cache.

    \b
    Example:
      mare bench analytics
      mare bench analytics --rows 200000 --seconds 2 --pair-seconds 10 --cold none
    """
    from benchmarks.analytics import Options, run
    from benchmarks.analytics_seed import History
    from benchmarks.analytics_tables import render
    from extraction import seed
    from extraction.draft import draft, server_of

    def fill(own: Settings, steps: int, buoys: int, every: int, progress: Callable[[int, int], None]) -> None:
        seed.seed_history(own, schema_of(own), seed.Options(steps, buoys, every), lambda: False, progress)

    history = History(fill, lambda own, table, path: draft(own, server_of(own), table, path))
    report = run(settings, Options(**options), command_line(), history, say)
    finish(report.content, render(report.content, (report.path, *report.plots)), as_json, report.whole)


@bench.command("dashboard")
@click.option("--readings", default=10_000_000, show_default=True, type=click.IntRange(1_000), help="Of thirty days.")
@click.option("--buoys", default=1_000, show_default=True, type=click.IntRange(8, 10_000), help="Whose they are.")
@click.option("--looks", default=5, show_default=True, type=click.IntRange(1), help="How often the page is opened.")
@click.option("--seconds", default=20.0, show_default=True, type=click.FloatRange(3), help="Each look.")
@click.option("--first-port", default=21_000, show_default=True, help="Of the three ports that are needed.")
@result_file
@as_json
@click.pass_obj
def bench_dashboard(settings: Settings, /, as_json: bool, **options: Any) -> None:
    """Open the live view in a browser, with many buoys and a long history, and show how soon it is there and renewed.

    It starts an Elasticsearch and a dashboard of its own, beside any that run, and removes them again. Chromium has to
    be there; root on Debian gets it installed.

    \b
    Example:
      mare bench dashboard
      mare bench dashboard --readings 200000 --looks 2
    """
    from benchmarks.dashboard import Options, run
    from benchmarks.dashboard_tables import render

    path, content = run(settings, Options(**options), command_line(), say)
    finish(content, render(content, path), as_json, whole=True)


@bench.command("report")
def bench_report() -> None:
    """Make docs/benchmarks.md, with tables and pictures, from the results in benchmarks/results.

    \b
    Example:
      mare bench gateway --out benchmarks/results/gateway-2026-11-23.json
      mare bench report
    """
    from benchmarks.report import make

    for path in make():
        click.echo(path)
