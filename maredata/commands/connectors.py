"""Commands for the connectors of Kafka Connect, and their caretaker."""

from __future__ import annotations

import json
import sys

import click
from rich.table import Table

from maredata.commands.shared import as_json, out, schema_of, stop_flag
from maredata.settings import Settings


@click.group()
def connect() -> None:
    """Look after the connectors of Kafka Connect.

    \b
    Example:
      mare connect status
    """


@connect.command("apply")
@click.pass_obj
def connect_apply(settings: Settings) -> None:
    """Create the connectors, or bring them up to their definitions; safe to repeat.

    \b
    Example:
      mare connect apply
    """
    from connect import connectors

    connectors.apply(settings, schema_of(settings), click.echo)


@connect.command("status")
@click.argument("name", required=False)
@as_json
@click.pass_obj
def connect_status(settings: Settings, name: str | None, as_json: bool) -> None:
    """Show each connector and its tasks. Exit status 1 when one does not run.

    \b
    Example:
      mare connect status
    """
    from connect import connectors

    found = connectors.status(settings, name)
    if as_json:
        click.echo(json.dumps([connector.as_dict() for connector in found]))
    else:
        table = Table("connector", "state", "tasks", "trouble")
        for connector in found:
            tasks = ", ".join(task.state for task in connector.tasks)
            table.add_row(connector.name, connector.state, tasks, connector.trouble)
        out().print(table)
    sys.exit(0 if found and all(connector.running for connector in found) else 1)


@connect.command("restart")
@click.argument("name")
@click.pass_obj
def connect_restart(settings: Settings, name: str) -> None:
    """Restart connector NAME and its tasks.

    \b
    Example:
      mare connect restart mariadb-readings
    """
    from connect import connectors

    connectors.restart(settings, name)
    click.echo(f"Restarted {name}.")


@connect.command("delete")
@click.argument("name")
@click.pass_obj
def connect_delete(settings: Settings, name: str) -> None:
    """Delete connector NAME; the stores keep what they have, `mare connect apply` brings it back.

    \b
    Example:
      mare connect delete mariadb-readings
    """
    from connect import connectors

    connectors.delete(settings, name)
    click.echo(f"Deleted {name}.")


@click.command()
@click.pass_obj
def tend(settings: Settings) -> None:
    """Run the caretaker: restart what failed, publish lag, dead letters and ledger to pipeline.metrics.

    \b
    Example:
      mare tend
    """
    from connect.tend import tend as run
    from installs.launcher import Reviver

    run(settings, Reviver(settings).revive, stop_flag())
