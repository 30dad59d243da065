"""Commands for emulated buoys: their readings now, their past ones, and the removal of both."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from maredata.commands.shared import Instant, as_json, out, schema_of, stop_flag
from maredata.names import FIRST_DEMO_SENSOR, READINGS
from maredata.settings import Settings


@click.command()
@click.option("--first-sensor-id", default=FIRST_DEMO_SENSOR, show_default=True, help="sensor_id of the first buoy.")
@click.option("--buoys", default=1, show_default=True, type=click.IntRange(1), help="How many buoys.")
@click.option(
    "--rate",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Readings a second, each buoy.",
)
@click.option("--duration", type=click.FloatRange(0), help="End after so many seconds.")
@click.option("--count", type=click.IntRange(1), help="End after so many readings in all.")
@click.option("--seed", default=0, show_default=True, help="The same seed and --start give the same readings.")
@click.option(
    "--lines-per-datagram", default=1, show_default=True, type=click.IntRange(1), help="Lines in each datagram."
)
@click.option("--loss", default=0.0, type=click.FloatRange(0, 1), help="Share of readings that are not sent.")
@click.option("--duplicate", default=0.0, type=click.FloatRange(0, 1), help="Share that is sent twice.")
@click.option("--disorder", default=0.0, type=click.FloatRange(0, 1), help="Share that is sent after a later one.")
@click.option("--late", default=0.0, type=click.FloatRange(0, 1), help="Share that is sent long after its time.")
@click.option("--malformed", default=0.0, type=click.FloatRange(0, 1), help="Broken lines, as a share of readings.")
@click.option("--start", type=Instant(), help="Begin at this time instead of now.")
@click.option("--replay", type=click.Path(path_type=Path), help="Send the lines of this NDJSON file instead.")
@click.option("--host", help="Send to this address.  [default: MARE_UDP__HOST]")
@click.option("--port", type=int, help="Send to this port.  [default: MARE_UDP__PORT]")
@as_json
@click.pass_obj
def emulate(settings: Settings, /, as_json: bool, host: str | None, port: int | None, **options: Any) -> None:
    """Send the readings of emulated buoys to the gateway, until Ctrl-C or --duration or --count.

    \b
    Example:
      mare emulate --buoys 500 --rate 2 --duration 60
      mare emulate --buoys 10 --loss 0.01 --malformed 0.01
    """
    from udp_client.emulate import Options, emulate

    chosen = Options(host=host or settings.udp.host, port=port or settings.udp.port, **options)
    report = emulate(chosen, schema_of(settings), stop_flag(), lambda _: None)
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(
        f"{report.readings:,} readings in {report.elapsed:.1f} s, {report.true_rate:,.1f} a second of"
        f" {report.wanted_rate:,.1f} wanted; {report.datagrams:,} datagrams sent, {report.send_errors:,} refused."
    )
    if report.slipped:
        click.echo(f"This machine was too slow: the schedule slipped by {report.slipped:.1f} s.")


@click.command("seed-history")
@click.option("--days", required=True, type=click.IntRange(1, 36_500), help="How many days, up to today's beginning.")
@click.option("--buoys", required=True, type=click.IntRange(1, 10_000), help="How many buoys, from 900001 up.")
@click.option(
    "--every", default=60, show_default=True, type=click.IntRange(1, 86_400), help="Seconds between a buoy's readings."
)
@click.option(
    "--table", default=READINGS, show_default=True, help="Another name: a table made as legacy applications have them."
)
@as_json
@click.pass_obj
def seed_history(settings: Settings, days: int, buoys: int, every: int, table: str, as_json: bool) -> None:
    """Fill a table with plausible past readings of emulated buoys, made by MariaDB itself, to try extraction on.

    The table readings is only filled where it has no readings of real sensors. With another name the table is made: it
    has other column names, DECIMAL columns, local time and a number for each row; one that was made otherwise is left
    alone. Stopped, the same command goes on from there; repeated, it makes nothing twice. Exit status 1 if it was
    stopped.

    These rows are in MariaDB alone: until `mare extract run` has moved them, `mare verify` says that they are missing
    in Elasticsearch. `mare demo remove` deletes those in readings.

    \b
    Example:
      mare seed-history --days 365 --buoys 20
      mare seed-history --days 30 --buoys 5 --table legacy_readings
    """
    from extraction.seed import Options
    from extraction.seed import seed_history as fill

    began = time.monotonic()
    options = Options(steps=days * 86_400 // every, buoys=buoys, every=every, table=table)
    with out(stderr=True).status("looking at the table") as shown:

        def progress(done: int, rows: int) -> None:
            seconds = time.monotonic() - began
            shown.update(f"{done:,} of {rows:,} rows, {done / seconds:,.0f} a second")

        report = fill(settings, schema_of(settings), options, stop_flag(), progress)
    if as_json:
        click.echo(json.dumps(report.as_dict()))
    else:
        click.echo(report.sentence)
    sys.exit(0 if report.complete else 1)


@click.group()
def demo() -> None:
    """Look after what the emulated buoys of the demo left behind.

    \b
    Example:
      mare demo remove
    """


@demo.command("remove")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.pass_obj
def demo_remove(settings: Settings, yes: bool) -> None:
    """Delete the emulated buoys' readings (sensor_id 900001 and up) from both stores, and nothing else.

    \b
    Example:
      mare demo remove --yes
    """
    from extraction.demo import remove_demo

    if not yes:
        click.confirm(f"Delete all readings with sensor_id {FIRST_DEMO_SENSOR} and above?", abort=True)
    for store, count in remove_demo(settings, click.echo).items():
        click.echo(f"{store}: {count:,} readings deleted")
