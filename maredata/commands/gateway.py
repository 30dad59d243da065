"""Commands of the gateway: run it, and ask it where every line is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from maredata.commands.shared import Instant, as_json, only_newest, out, print_report, schema_of
from maredata.settings import Settings


@click.command()
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that share the port.  [default: 1]")
@click.option(
    "--accepted-log",
    type=click.Path(path_type=Path),
    help="Append sensor_id,seq,microseconds of each accepted reading to this file.",
)
@click.pass_obj
def serve(settings: Settings, workers: int | None, accepted_log: Path | None) -> None:
    """Run the gateway: receive readings over UDP and TCP, check them, publish them to Kafka.

    \b
    Example:
      mare serve
      mare serve --workers 2
      MARE_UDP__HOST=0.0.0.0 mare serve
    """
    from udp_server.gateway import serve as run

    if workers is not None:
        settings = settings.model_copy(update={"udp": settings.udp.model_copy(update={"workers": workers})})
    run(settings, accepted_log.absolute() if accepted_log else None)


@click.command()
@click.option("--sensor", type=int, help="Only what is known of this sensor_id.")
@click.option("--all", "every", is_flag=True, help="Show every sensor, not only the last ones heard.")
@as_json
@click.pass_obj
def ledger(settings: Settings, sensor: int | None, every: bool, as_json: bool) -> None:
    """Show where every line is that came to the gateway, and what each sensor lost. Exit status 1 if one is missing.

    \b
    Example:
      mare ledger
      mare ledger --sensor 900001 --json
    """
    from udp_server import report

    content = report.read(settings, sensor)
    if as_json:
        click.echo(json.dumps(content))
    else:
        out().print(report.render(content, every))
    sys.exit(1 if content["missing"] else 0)


def which_lines(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose rejected lines."""
    for option in (
        click.option("--since", type=Instant(), help="Only lines that came at this time or later."),
        click.option("--sender", help="Only lines of this address, such as 10.1.2.3 or 10.1.2.3:4711."),
        click.option("--reason", help="Only lines rejected for this reason, such as too_early."),
    ):
        command = option(command)
    return command


@click.group()
def rejected() -> None:
    """Look at lines that were rejected, and publish them after all once the rule is mended.

    \b
    Example:
      mare rejected list
    """


@rejected.command("list")
@which_lines
@only_newest
@as_json
@click.pass_obj
def rejected_list(settings: Settings, /, as_json: bool, limit: int, **which: Any) -> None:
    """Show rejected lines, the newest last, and what today's rules say of each; --json prints one object a line.

    \b
    Example:
      mare rejected list --reason too_early --since 2024-01-21
    """
    from udp_server.rejected import list_rejected
    from udp_server.rejected_topic import render

    entries = list_rejected(settings, schema_of(settings), **which, limit=limit or None)
    if as_json:
        for entry in entries:
            click.echo(json.dumps(entry.as_dict()))
    else:
        out().print(render(entries))


@rejected.command("replay")
@which_lines
@click.option("--dry-run", is_flag=True, help="Count, and publish nothing.")
@click.option("--overwrite", is_flag=True, help="Also publish what MariaDB has already.")
@as_json
@click.pass_obj
def rejected_replay(settings: Settings, /, as_json: bool, **options: Any) -> None:
    """Publish those rejected lines that today's rules accept; safe to repeat.

    \b
    Example:
      mare rejected replay --reason too_early --dry-run
    """
    from udp_server.rejected import replay

    with out(stderr=True).status("looking at rejected lines"):
        done = replay(settings, schema_of(settings), **options)
    print_report(done, as_json)
