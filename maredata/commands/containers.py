"""The command that the containers are set up with: what is `mare apply` in local mode, and what only they have."""

from __future__ import annotations

from functools import partial

import click

from maredata.commands.shared import schema_of
from maredata.settings import Settings


@click.command()
@click.pass_obj
def setup(settings: Settings) -> None:
    """Set up the containers: accounts and passwords, topics, table, templates, connectors, Kibana's objects.

    Service `setup` runs it at each `docker compose up -d`; safe to repeat.

    \b
    Example:
      mare setup
      docker compose run --rm setup
    """
    from connect import connectors
    from kibana.importing import import_all
    from maredata.accounts import apply_accounts
    from maredata.apply import apply
    from maredata.ready import await_kibana

    schema = schema_of(settings)
    apply_accounts(settings, click.echo)
    apply(settings, schema, partial(connectors.apply, settings, schema, click.echo), click.echo)
    await_kibana(settings, click.echo)
    import_all(settings, schema, False, click.echo)
