"""Commands that move a table of MySQL or MariaDB in bulk, as a job file says."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from maredata.commands.shared import Instant, as_json, out, print_report, stop_flag
from maredata.settings import Settings

job_file = click.argument("job", type=click.Path(path_type=Path))


@click.group()
def extract() -> None:
    """Move a table of MySQL or MariaDB into Elasticsearch, as a job file says.

    \b
    Example:
      mare extract init orders
      mare extract plan orders.toml
    """


@extract.command("init")
@click.argument("table")
@click.option("--host", help="The source's address.  [default: MARE_MARIADB__HOST]")
@click.option("--port", type=click.IntRange(1, 65_535), help="Its port.  [default: MARE_MARIADB__PORT]")
@click.option("--database", help="The database that holds TABLE.  [default: MARE_MARIADB__DATABASE]")
@click.option("--user", help="The account that reads it.  [default: MARE_MARIADB__USER]")
@click.option("--password-env", help="Environment variable that holds its password.")
@click.option("--out", "path", type=click.Path(path_type=Path), help="The job file.  [default: TABLE.toml]")
@click.pass_obj
def extract_init(settings: Settings, /, table: str, path: Path | None, **where: Any) -> None:
    """Look at TABLE and write a first job file for it; it overwrites nothing.

    \b
    Example:
      mare extract init readings --out history.toml
      mare extract init orders --host db.example --database shop --user extract --password-env SHOP_PASSWORD
    """
    from extraction.draft import draft, server_of

    path = path or Path(f"{table.lower()}.toml")
    draft(settings, server_of(settings, **where), table, path)
    click.echo(f"Wrote {path}: look through it, then run `mare extract plan {path}`.")


@extract.command("plan")
@job_file
@as_json
@click.pass_obj
def extract_plan(settings: Settings, job: Path, as_json: bool) -> None:
    """Show what the job file JOB would do: rows, ranges, time, mapping, the SELECT, one document. Writes nothing.

    \b
    Example:
      mare extract plan orders.toml
    """
    from extraction.job import load_job
    from extraction.plan import make_plan

    plan = make_plan(load_job(job), settings)
    print_report(plan, as_json, ensure_ascii=False)


@extract.command("grants")
@click.argument("what", metavar="JOB|TABLE")
@click.option("--database", help="The database that holds TABLE.  [default: MARE_MARIADB__DATABASE]")
@click.option("--user", help="Who is to have the rights on TABLE.  [default: MARE_MARIADB__USER]")
@click.option("--password-env", help="Environment variable that will hold its password.")
@click.option("--from-host", default="%", show_default=True, help="Where the user connects from, as MySQL sees it.")
@click.pass_obj
def extract_grants(settings: Settings, /, what: str, from_host: str, **where: Any) -> None:
    """Print the SQL that gives a user the rights that moving TABLE needs, and no more. Asks no database.

    Of a job file JOB (its name ends in .toml) table and user are the job's.

    \b
    Example:
      mare extract grants orders --database shop --user extract
      mare extract grants orders.toml --from-host 10.1.2.3
    """
    from extraction.draft import server_of
    from extraction.grants import grants
    from extraction.job import load_job

    if what.endswith(".toml"):
        if any(where.values()):
            raise click.UsageError("A job says its own database, user and password-env: leave the options out.")
        source = load_job(Path(what)).source
        click.echo(grants(source, source.table, from_host), nl=False)
    else:
        click.echo(grants(server_of(settings, **where), what, from_host), nl=False)


@extract.command("run")
@job_file
@click.option(
    "--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="Processes that read and write."
)
@click.option("--range-rows", type=click.IntRange(100, 10_000_000), help="Rows of a range.  [default: the job's]")
@click.option("--since", type=Instant(), help="Only rows whose time is this or later.")
@click.option("--until", type=Instant(), help="Only rows whose time is before this.")
@click.option("--where", help="Only rows for which this SQL holds.")
@click.option("--max-rows-per-second", type=click.IntRange(1), help="Read no faster, all workers together.")
@click.option(
    "--pause-when-threads-running",
    type=click.IntRange(1),
    metavar="N",
    help="Wait while more than N threads of the source are at work, this run's own left out.",
)
@click.option("--dry-run", is_flag=True, help="Read everything and make the documents, and write nothing.")
@click.option("--restart", is_flag=True, help="Forget what earlier runs did, and begin anew.")
@as_json
@click.pass_obj
def extract_run(settings: Settings, /, job: Path, as_json: bool, **options: Any) -> None:
    """Move the rows of the job file JOB into Elasticsearch. After any end, the same command goes on from there.

    Done, it looks for rows after the last key. Exit status 1 when Elasticsearch or Mare Data could not take some
    rows: a file holds them with the reasons; 130 after Ctrl-C.

    \b
    Example:
      mare extract run orders.toml
      mare extract run orders.toml --until 2024-01-01 --max-rows-per-second 5000
    """
    from extraction.job import load_job
    from extraction.progress import Bar, Lines
    from extraction.run import Options, run

    loaded, console = load_job(job), out(stderr=True)
    echo = partial(click.echo, err=True)
    with Bar(console, loaded.name) if console.is_terminal else Lines(echo) as shown:
        report = run(loaded, settings, Options(**options), stop_flag(), shown)
    print_report(report, as_json, ensure_ascii=False)
    sys.exit(report.exit_status)


@extract.command("verify")
@job_file
@click.option("--since", type=Instant(), help="Only rows and documents whose time is this or later.")
@click.option("--until", type=Instant(), help="Only rows and documents whose time is before this.")
@click.option("--exact", is_flag=True, help="Compare every row value by value, whatever counts and sums say.")
@click.option("--repair", is_flag=True, help="Write the documents that are missing or differ; deletes nothing.")
@click.option("--delete-extra", is_flag=True, help="With --repair, also delete documents that have no row.")
@click.option(
    "--wait",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds after which a difference is looked at once more before it counts.",
)
@click.option("--limit", default=1_000, show_default=True, type=click.IntRange(0), help="How many differences to name.")
@as_json
@click.pass_obj
def extract_verify(settings: Settings, /, job: Path, as_json: bool, **options: Any) -> None:
    """Prove that the table of the job file JOB and its documents hold the same, or name each row that differs.

    By counts and sums: of key ranges, halved until little is left to read, and of days. Texts have no sum: --exact
    compares those, too. Rows older than the job's purged_before are left out on both sides.

    Exit status 0: they agree. 1: they differ. 2: the job or the options can't be used.

    \b
    Example:
      mare extract verify orders.toml
      mare extract verify orders.toml --exact --since 2024-01-01
      mare extract verify orders.toml --repair
    """
    from extraction.checking.check import Options, check
    from extraction.job import load_job

    if options["delete_extra"] and not options["repair"]:
        raise click.UsageError("--delete-extra needs --repair.")
    loaded = load_job(job)
    with out(stderr=True).status("comparing") as shown:
        report = check(loaded, settings, Options(**options), shown.update)
    print_report(report, as_json, ensure_ascii=False)
    sys.exit(0 if report.agree else 1)
