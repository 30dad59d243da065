"""The `mare` command: reads the settings once, and hands them to a command of `maredata/commands/`.

Rooms are imported inside the commands, so that each command loads only what it needs.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from maredata.commands import (
    bench,
    buoys,
    capture,
    connectors,
    containers,
    dashboard,
    dead_letters,
    extract,
    faults,
    gateway,
    instance,
    kibana,
    verify,
)
from maredata.errors import MareError
from maredata.settings import load_settings


class _Commands(click.Group):
    """Turns what a user can act on into one sentence and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MareError as error:
            click.echo(f"mare: {error}", err=True)
            sys.exit(error.exit_status)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="maredata", prog_name="mare")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Mare Data: readings from buoys to MariaDB and Elasticsearch, and the proof that none was lost.

    \b
    Example:
      mare up
      mare status
      mare verify
    """
    ctx.obj = load_settings()


for _command in (
    instance.up,
    instance.down,
    instance.status,
    instance.logs,
    instance.apply,
    instance.test,
    buoys.emulate,
    buoys.seed_history,
    buoys.demo,
    gateway.serve,
    gateway.ledger,
    gateway.rejected,
    connectors.connect,
    connectors.tend,
    containers.setup,
    dashboard.dashboard,
    dead_letters.dead_letters,
    extract.extract,
    capture.capture,
    kibana.kibana,
    verify.verify,
    bench.bench,
    faults.faults,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
