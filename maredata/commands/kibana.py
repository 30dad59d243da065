"""The commands of Kibana's saved objects: import, export, check."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from maredata.commands.shared import as_json, out, print_report, schema_of
from maredata.settings import Settings


@click.group()
def kibana() -> None:
    """Data views, map, dashboards and the rule for silent buoys, in Kibana.

    \b
    Example:
      mare kibana check
      mare kibana import
    """


@kibana.command("import")
@click.option("--force", is_flag=True, help="Also overwrite what was edited in Kibana.")
@as_json
@click.pass_obj
def import_(settings: Settings, force: bool, as_json: bool) -> None:
    """Bring Kibana up to the objects, settings and rules here; what was edited there is left alone.

    A panel is made for each variable of reading.toml, a data view for each extraction job that was run here.

    \b
    Example:
      mare kibana import
      MARE_KIBANA__HOST=127.0.0.1 mare kibana import --force
    """
    from kibana.importing import import_all

    outcome = import_all(settings, schema_of(settings), force, lambda text: click.echo(text, err=as_json))
    if as_json:
        click.echo(json.dumps(outcome.as_dict()))


@kibana.command("export")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("kibana-export"))
@as_json
@click.pass_obj
def export(settings: Settings, folder: Path, as_json: bool) -> None:
    """Write our objects, as they are in Kibana now, into readable files in FOLDER (kibana-export).

    \b
    Example:
      mare kibana export
      mare kibana export /tmp/objects
    """
    from kibana.importing import export_all

    files = export_all(settings, folder)
    if as_json:
        click.echo(json.dumps({"files": [str(path) for path in files]}))
    else:
        click.echo(f"{len(files)} objects written to {folder}.")


@kibana.command("check")
@click.option("--offline", is_flag=True, help="Don't ask Elasticsearch.")
@as_json
@click.pass_obj
def check(settings: Settings, offline: bool, as_json: bool) -> None:
    """Look for what would not work in Kibana, without one: form, versions, references, fields, and each panel's search.

    Exit status 0: nothing was found. 1: something was.

    \b
    Example:
      mare kibana check
      mare kibana check --offline --json
    """
    from kibana.check import check as look
    from maredata.stores import connect_elasticsearch

    schema = schema_of(settings)
    if offline:
        report = look(settings, schema, None)
    else:
        with out(stderr=True).status("asking Elasticsearch"), connect_elasticsearch(settings) as elasticsearch:
            report = look(settings, schema, elasticsearch.options(request_timeout=30, max_retries=0))
    print_report(report, as_json)
    sys.exit(1 if report.problems else 0)
