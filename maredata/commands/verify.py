"""The command that proves that no reading was lost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from maredata.commands.shared import Instant, as_json, out, print_report, schema_of
from maredata.settings import Settings


@click.command()
@click.option("--since", type=Instant(), help="Only readings from this time on.")
@click.option("--until", type=Instant(), help="Only readings before this time.")
@click.option("--exact", is_flag=True, help="Compare reading by reading and value by value.")
@click.option("--repair", is_flag=True, help="Copy what one store lacks from the other; never deletes.")
@click.option("--wait", default=60.0, show_default=True, help="Seconds to wait for readings on their way.")
@click.option("--accepted", type=click.Path(path_type=Path), help="Also require each reading of this --accepted-log.")
@as_json
@click.pass_obj
def verify(settings: Settings, /, as_json: bool, **options: Any) -> None:
    """Prove that topic, MariaDB and Elasticsearch hold the same readings.

    Exit status 0: they agree. 1: they differ. 3: readings were still on their way when the wait was over.

    \b
    Example:
      mare verify
      mare verify --exact --since 2024-01-21
    """
    from extraction.verify import Options
    from extraction.verify import verify as prove

    with out(stderr=True).status("comparing") as shown:
        report = prove(settings, schema_of(settings), Options(**options), shown.update)
    print_report(report, as_json)
    sys.exit(0 if report.agree else 1)
