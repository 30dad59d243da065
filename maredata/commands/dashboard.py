"""The command of the live view in the browser."""

from __future__ import annotations

import click

from maredata.commands.shared import schema_of
from maredata.settings import Settings


@click.command()
@click.pass_obj
def dashboard(settings: Settings) -> None:
    """Serve the live view in the browser: map, charts and the pipeline; `mare up` starts it too.

    \b
    Example:
      mare dashboard
      MARE_DASHBOARD__PORT=8051 mare dashboard
    """
    from connect.connectors import states
    from dashboard.app import serve
    from udp_server.report import read

    serve(settings, schema_of(settings), lambda: states(settings), lambda: read(settings, None)["by_sensor"])
