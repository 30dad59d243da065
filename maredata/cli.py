"""The `mare` command: reads the settings once, and hands them to the room that does the work.

Rooms are imported inside the commands, so that each command loads only what it needs.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from maredata.errors import EngineTimedOut, MareError, SettingsError
from maredata.names import ELASTICSEARCH_SINK, FIRST_DEMO_SENSOR, READINGS
from maredata.reading import Refused, parse_timestamp
from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT, Settings, load_settings

if TYPE_CHECKING:
    from maredata.status import Status

_VISIBLE_SECONDS = 60

out = partial(Console, highlight=False)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


class _Commands(click.Group):
    """Turns what a user can act on into one sentence and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MareError as error:
            click.echo(f"mare: {error}", err=True)
            sys.exit(error.exit_status)


class Instant(click.ParamType[int]):
    """A timestamp such as 2024-01-21T10:06:04Z, as microseconds since 1970 UTC."""

    name = "timestamp"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_timestamp(value if ":" in value else f"{value} 00:00:00")
        except Refused as refused:
            self.fail(refused.detail, param, ctx)


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


def schema_of(settings: Settings) -> Schema:
    return load_schema(settings.reading.toml)


def stop_flag() -> Callable[[], bool]:
    """True once this process was asked to end: signals only set a flag."""
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: asked.append(received))
    return lambda: bool(asked)


# --- the whole instance ---------------------------------------------------------------------------------------


@main.command()
@click.pass_obj
def up(settings: Settings) -> None:
    """Start everything here, without Docker, and wait until readings are visible in both stores.

    \b
    Example:
      mare up
      MARE_DEMO=false mare up
    """
    from installs import launcher

    console = out(stderr=True)
    began = time.monotonic()
    with console.status("starting") as shown:

        def progress(text: str) -> None:
            console.print(f"[dim]{time.monotonic() - began:5.0f} s[/]  {text}")
            shown.update(text)

        if not launcher.up(settings, partial(_apply, settings, lambda _: None), progress):
            click.echo("Everything runs already; `mare status` shows it.")
            return
        if settings.demo:
            progress("waiting for the first readings in both stores")
            _await_readings(settings)
    _print_overview(settings, out())


def _await_readings(settings: Settings) -> None:
    from maredata.status import counts_of_stores

    deadline = time.monotonic() + _VISIBLE_SECONDS
    while not all(counts_of_stores(settings).values()):
        if time.monotonic() > deadline:
            raise EngineTimedOut(
                f"No reading was visible in both stores within {_VISIBLE_SECONDS} s: look at `mare status`,"
                " and at `mare logs gateway` and `mare logs connect`. Everything was left running."
            )
        time.sleep(0.2)


def _print_overview(settings: Settings, console: Console) -> None:
    status = _look(settings)
    readings = {"mariadb": status.readings["MariaDB"], "elasticsearch": status.readings["Elasticsearch"]}
    readings["kafka"] = status.readings["Kafka"]
    table = Table("what", "address", "pid", "version", "readings so far")
    for process in status.processes:
        count = readings.get(process["name"])
        shown = "" if count is None else f"{count:,}"
        table.add_row(process["name"], process["address"], str(process["pid"]), process["version"], shown)
    console.print(table)
    query = "readings-*/_search?size=1&sort=timestamp:desc&pretty"
    console.print("Try:", style="bold")
    console.print(f"  curl -s '{settings.elasticsearch.url}/{query}'", soft_wrap=True)


@main.command()
@click.option("--wipe", is_flag=True, help="Also remove this instance's data and logs.")
@click.pass_obj
def down(settings: Settings, wipe: bool) -> None:
    """Stop everything in order; nothing is lost, and `mare up` goes on from there.

    \b
    Example:
      mare down
      mare down --wipe
    """
    from installs import launcher

    with out(stderr=True).status("stopping") as shown:
        stopped = launcher.down(settings, shown.update)
        if wipe:
            launcher.wipe(settings)
    click.echo(f"Stopped {', '.join(stopped)}." if stopped else "Nothing was running.")
    if wipe:
        click.echo(f"Removed the data in {settings.home}.")


@main.command()
@click.option("--watch", is_flag=True, help="Look again every second until Ctrl-C.")
@as_json
@click.pass_obj
def status(settings: Settings, watch: bool, as_json: bool) -> None:
    """Show the health of every engine and connector, rates, lag and counts. Exit status 1 when something is wrong.

    \b
    Example:
      mare status
      mare status --json
    """
    if watch and not as_json:
        _watch(settings)
        return
    before = _look(settings)
    time.sleep(1)  # a rate needs two looks
    seen = _look(settings, before)
    if as_json:
        click.echo(json.dumps(seen.as_dict()))
    else:
        out().print(seen.render())
    sys.exit(0 if seen.healthy else 1)


def _watch(settings: Settings) -> None:
    stopped = stop_flag()
    seen = _look(settings)
    with Live(seen.render(), console=out()) as live:
        while not stopped():
            time.sleep(1)
            seen = _look(settings, seen)
            live.update(seen.render())


def _look(settings: Settings, before: Status | None = None) -> Status:
    from connect.connectors import states
    from installs.launcher import processes
    from maredata.status import look

    return look(settings, processes(settings), lambda: states(settings), before)


@main.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is written.")
@click.pass_obj
def logs(settings: Settings, name: str, follow: bool) -> None:
    """Show the end of the log of NAME: an engine, gateway, tend, buoy-1 or buoy-2.

    \b
    Example:
      mare logs gateway -f
    """
    from installs.launcher import NAMES
    from installs.process import log_file

    path = log_file(settings, name)
    if name not in NAMES or not path.exists():
        known = ", ".join(known for known in NAMES if log_file(settings, known).exists()) or "none yet"
        raise SettingsError(f"There is no log of {name!r} here. There are: {known}.")
    tail = ["tail", "-n", "200", *(["-F"] if follow else []), str(path)]
    os.execvp("tail", tail)  # noqa: S606  # tail follows rolled files better than we would


@main.command()
@click.option("--fast", is_flag=True, help="Leave out what needs the engines.")
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED)
def test(fast: bool, pytest_arguments: tuple[str, ...]) -> None:
    """Run all tests: lint, types, units, the plugin's own, and the integration tests on real engines.

    \b
    Example:
      mare test
      mare test --fast
      mare test -- -k verify
    """
    command = [
        sys.executable,
        str(CHECKOUT / "tests" / "run.py"),
        *(["--fast"] if fast else []),
        *pytest_arguments,
    ]
    os.execv(sys.executable, command)  # noqa: S606


# --- what a reading is, and where it goes -----------------------------------------------------------------------


@main.command()
@click.pass_obj
def apply(settings: Settings) -> None:
    """Bring topics, tables, index template and connectors up to reading.toml; safe to repeat.

    \b
    Example:
      mare apply
    """
    _apply(settings, click.echo)


def _apply(settings: Settings, progress: Callable[[str], None]) -> None:
    from connect import connectors
    from maredata.apply import apply as apply_all

    schema = schema_of(settings)
    apply_all(settings, schema, partial(connectors.apply, settings, schema, progress), progress)


@main.command()
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


@main.command()
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


@main.command()
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


@main.group()
def rejected() -> None:
    """Look at lines that were rejected, and publish them after all once the rule is mended.

    \b
    Example:
      mare rejected list
    """


@rejected.command("list")
@which_lines
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0), help="Only the newest; 0: all.")
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
    if as_json:
        click.echo(json.dumps(done.as_dict()))
    else:
        out().print(done.render())


@main.command()
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


@main.group()
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


@main.group("dead-letters")
def dead_letters() -> None:
    """Look at records that a connector could not take, and publish them again once the cause is mended.

    \b
    Example:
      mare dead-letters list
    """


@dead_letters.command("list")
@click.argument("connector", required=False)
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0), help="Only the newest; 0: all.")
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
    if as_json:
        click.echo(json.dumps(done.as_dict()))
    else:
        out().print(done.render())


# --- history: a table of MySQL or MariaDB, moved in bulk ---------------------------------------------------------


@main.group()
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
@click.argument("job", type=click.Path(path_type=Path))
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
    if as_json:
        click.echo(json.dumps(plan.as_dict(), ensure_ascii=False))
    else:
        out().print(plan.render())


@extract.command("grants")
@click.argument("job", type=click.Path(path_type=Path))
@click.option("--from-host", default="%", show_default=True, help="Where the user connects from, as MySQL sees it.")
def extract_grants(job: Path, from_host: str) -> None:
    """Print the SQL that gives the user of the job file JOB the rights it needs, and no more.

    \b
    Example:
      mare extract grants orders.toml --from-host 10.1.2.3
    """
    from extraction.grants import grants
    from extraction.job import load_job

    click.echo(grants(load_job(job), from_host), nl=False)


@extract.command("run")
@click.argument("job", type=click.Path(path_type=Path))
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
    if as_json:
        click.echo(json.dumps(report.as_dict(), ensure_ascii=False))
    else:
        out().print(report.render())
    sys.exit(report.exit_status)


@extract.command("verify")
@click.argument("job", type=click.Path(path_type=Path))
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
    if as_json:
        click.echo(json.dumps(report.as_dict(), ensure_ascii=False))
    else:
        out().print(report.render())
    sys.exit(0 if report.agree else 1)


@main.command("seed-history")
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


# --- the proof ---------------------------------------------------------------------------------------------------


@main.command()
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
    if as_json:
        click.echo(json.dumps(report.as_dict()))
    else:
        out().print(report.render())
    sys.exit(0 if report.agree else 1)


# --- how fast it is --------------------------------------------------------------------------------------------


@main.group()
def bench() -> None:
    """Measure how fast a part of the system is on this machine.

    \b
    Example:
      mare bench gateway
    """


@bench.command("gateway")
@click.option("--rate", default=200_000.0, show_default=True, type=click.FloatRange(1), help="Datagrams a second.")
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Each run.")
@click.option("--lines", default=1, show_default=True, type=click.IntRange(1), help="Readings in each datagram.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="The gateway's processes.")
@click.option("--sensors", default=1000, show_default=True, type=click.IntRange(1), help="How many sensors send.")
@click.option("--sockets", default=64, show_default=True, type=click.IntRange(1), help="Sockets they send through.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="How often each is measured.")
@click.option("--peers", default="bare,rsyslog", show_default=True, help="What it is compared with; none: nothing.")
@click.option("--install-peers", is_flag=True, help="First install rsyslog with apt-get; needs root.")
@click.option("--find-limit", is_flag=True, help="Find each one's highest rate without loss instead.")
@click.option("--latency", is_flag=True, help="Measure latency instead, at 5,000 readings a second for 20 s.")
@click.option("--first-port", default=21_000, show_default=True, help="Of the four ports that are needed.")
@click.option("--out", type=click.Path(path_type=Path), help="File for the result.  [default: in MARE_HOME/benchmarks]")
@as_json
@click.pass_obj
def bench_gateway(settings: Settings, /, as_json: bool, peers: str, **options: Any) -> None:
    """Send readings to the gateway and to its peers in turns, and show loss and CPU. Exit status 1 if the gateway lost.

    It starts a Kafka of its own, beside any that runs, and removes it again.

    \b
    Example:
      mare bench gateway
      mare bench gateway --rate 50000 --lines 10 --peers none
      mare bench gateway --find-limit --seconds 5
    """
    from benchmarks.gateway import Options, run
    from benchmarks.peers import parse_peers
    from benchmarks.tables import WIDTH, render

    chosen = Options(**options, peers=parse_peers(peers))
    progress = out(stderr=True)
    command = shlex.join(["mare", *sys.argv[1:]])
    report = run(settings, chosen, command, lambda text: progress.print(f"[dim]{text}[/]"))
    if as_json:
        click.echo(json.dumps(report.content, default=str))
    else:
        out(width=max(out().width, WIDTH)).print(render(report))
    sys.exit(0 if report.kept_all else 1)


@bench.command("sink")
@click.option("--documents", default=1_000_000, show_default=True, type=click.IntRange(10_000), help="In each round.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="How often each is measured.")
@click.option("--clients", default=2, show_default=True, type=click.IntRange(1, 64), help="Plain bulk clients.")
@click.option("--first-port", default=21_000, show_default=True, help="Of the five ports that are needed.")
@click.option("--out", type=click.Path(path_type=Path), help="File for the result.  [default: in MARE_HOME/benchmarks]")
@as_json
@click.pass_obj
def bench_sink(settings: Settings, /, as_json: bool, **options: Any) -> None:
    """Store readings by the Elasticsearch sink and by plain bulk clients in turns, and show rates and CPU.

    Exit status 1 if a document was missing after a round. It starts a Kafka, a Connect and an Elasticsearch of its
    own, beside any that run, and removes them again.

    \b
    Example:
      mare bench sink
      mare bench sink --documents 200000 --rounds 3
    """
    from benchmarks.sink import Options, own_settings, run
    from benchmarks.sink_tables import render
    from benchmarks.tables import WIDTH
    from connect.connectors import definitions
    from connect.rest import Rest

    chosen = Options(**options)
    own = own_settings(settings, chosen)
    definition = definitions(own, schema_of(own))[ELASTICSEARCH_SINK]
    progress = out(stderr=True)
    command = shlex.join(["mare", *sys.argv[1:]])
    with Rest(own.connect.url) as worker:
        report = run(own, chosen, command, definition, worker, lambda text: progress.print(f"[dim]{text}[/]"))
    if as_json:
        click.echo(json.dumps(report.content, default=str))
    else:
        out(width=max(out().width, WIDTH)).print(render(report))
    sys.exit(0 if report.whole else 1)


@bench.command("extraction")
@click.option("--rows", default=1_000_000, show_default=True, type=click.IntRange(10_000), help="In each trial.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="How often each is measured.")
@click.option("--install-peers", is_flag=True, help="First install ingestr by pip, in MARE_HOME/benchmarks.")
@click.option("--first-port", default=21_000, show_default=True, help="Of the three ports that are needed.")
@click.option("--out", type=click.Path(path_type=Path), help="File for the result.  [default: in MARE_HOME/benchmarks]")
@as_json
@click.pass_obj
def bench_extraction(settings: Settings, /, as_json: bool, **options: Any) -> None:
    """Move rows of MariaDB to Elasticsearch by `extract run` and by its peers in turns, and show rates, CPU, memory.

    The peers are a pandas script, ingestr, and plain bulk clients, which are the limit; a plain SELECT says what
    reading costs the source. Exit status 1 if one of them did not move every row. It starts a MariaDB and an
    Elasticsearch of its own, beside any that run, and removes them again.

    \b
    Example:
      mare bench extraction --install-peers
      mare bench extraction --rows 200000 --rounds 1
    """
    from benchmarks.extraction import Options, run
    from benchmarks.extraction_measure import Room
    from benchmarks.extraction_tables import render
    from benchmarks.tables import WIDTH
    from extraction import seed
    from extraction.draft import draft, server_of
    from extraction.source import slow_connector

    def fill(own: Settings, steps: int, buoys: int, every: int) -> None:
        history = seed.Options(steps, buoys, every)
        seed.seed_history(own, schema_of(own), history, lambda: False, lambda *_: None)

    room = Room(fill, lambda own, table, path: draft(own, server_of(own), table, path), slow_connector)

    progress = out(stderr=True)
    command = shlex.join(["mare", *sys.argv[1:]])
    report = run(settings, Options(**options), command, room, lambda text: progress.print(f"[dim]{text}[/]"))
    if as_json:
        click.echo(json.dumps(report.content, default=str))
    else:
        out(width=max(out().width, WIDTH)).print(render(report))
    sys.exit(0 if report.whole else 1)


@main.group()
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


if __name__ == "__main__":
    main()
