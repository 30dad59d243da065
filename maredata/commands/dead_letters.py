"""Commands for records that a connector could not take."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from maredata.commands.shared import Instant, as_json, only_newest, out, print_report, schema_of
from maredata.settings import Settings


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at records that a connector could not take, and publish them again once the cause is mended.

    \b
    Example:
      mare dead-letters list
    """


@dead_letters.command("list")
@click.argument("connector", required=False)
@only_newest
@click.option("--reason", help="Only those with this text in their reason, such as out_of_limits.")
@click.option("--since", type=Instant(), help="Only those that became dead letters at this time or later.")
@as_json
@click.pass_obj
def dead_letters_list(settings: Settings, /, as_json: bool, connector: str | None, limit: int, **which: Any) -> None:
    """Show the dead letters of CONNECTOR, the newest last; without it, how many each connector has.

    --json prints one object a line.

    \b
    Example:
      mare dead-letters list
      mare dead-letters list mariadb-readings --reason out_of_limits --since 2024-01-21
    """
    from connect.dead_letters import DeadLetter, Summary, list_dead_letters, render, render_summary, summarize

    found: Iterable[DeadLetter | Summary]
    if connector is not None:
        letters = found = list_dead_letters(settings, connector, **which, limit=limit or None)
    elif any(which.values()):
        raise click.UsageError("--reason and --since need a CONNECTOR.")
    else:
        summaries = found = summarize(settings)
    if as_json:
        for one in found:
            click.echo(json.dumps(one.as_dict()))
    else:
        out().print(render_summary(summaries) if connector is None else render(letters))


@dead_letters.command("show")
@click.argument("connector")
@click.argument("offset", type=click.IntRange(0))
@as_json
@click.pass_obj
def dead_letters_show(settings: Settings, connector: str, offset: int, as_json: bool) -> None:
    """Show everything of CONNECTOR's dead letter at OFFSET: key, value, and all headers with the whole trace.

    \b
    Example:
      mare dead-letters show mariadb-readings 17
    """
    from connect.dead_letters import one_dead_letter, render_one

    letter = one_dead_letter(settings, connector, offset)
    if as_json:
        click.echo(json.dumps(letter.as_whole_dict()))
    else:
        out().print(render_one(letter))


@dead_letters.command("replay")
@click.argument("connector")
@click.option("--dry-run", is_flag=True, help="Count, and publish nothing.")
@click.option("--all", "every", is_flag=True, help="Begin with the oldest again, not behind the last replay.")
@click.option("--overwrite", is_flag=True, help="Also publish readings that the connector's store has already.")
@as_json
@click.pass_obj
def dead_letters_replay(settings: Settings, /, connector: str, as_json: bool, **options: Any) -> None:
    """Publish CONNECTOR's dead letters again, into the topic they came from; safe to repeat.

    Those of readings that today's rules still refuse are left, and looked at again by the next replay.

    \b
    Example:
      mare dead-letters replay mariadb-readings --dry-run
      mare dead-letters replay mariadb-readings
    """
    from connect.replay import replay

    with out(stderr=True).status("looking at dead letters") as shown:
        done = replay(settings, schema_of(settings), connector, shown.update, **options)
    print_report(done, as_json)
