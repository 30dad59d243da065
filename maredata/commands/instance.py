"""Commands for the whole instance: start it, stop it, look at it, bring it up to reading.toml, test it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from maredata.commands.shared import as_json, out, print_report, schema_of, stop_flag
from maredata.errors import EngineTimedOut, SettingsError
from maredata.settings import CHECKOUT, Settings

if TYPE_CHECKING:
    from maredata.status import Status

_VISIBLE_SECONDS = 60


@click.command()
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


@click.command()
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


@click.command()
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
    print_report(seen, as_json)
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


@click.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is written.")
@click.pass_obj
def logs(settings: Settings, name: str, follow: bool) -> None:
    """Show the end of the log of NAME: an engine, gateway, tend, dashboard, buoy-1 or buoy-2.

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


@click.command()
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
    if settings.kibana.host:
        from kibana.importing import import_all

        import_all(settings, schema, False, progress)


@click.command()
@click.option("--fast", "part", flag_value="--fast", help="Leave out what needs the engines.")
@click.option("--compose", "part", flag_value="--compose", help="Only the containers; needs root on Debian.")
@click.option("--without-compose", "part", flag_value="--without-compose", help="Leave out the containers.")
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED)
def test(part: str | None, pytest_arguments: tuple[str, ...]) -> None:
    """Run all tests: lint, types, units, the plugin's own, on real engines, and in containers.

    \b
    Example:
      mare test
      mare test --fast
      mare test --compose
      mare test -- -k verify
    """
    command = [
        sys.executable,
        str(CHECKOUT / "tests" / "run.py"),
        *([part] if part else []),
        *pytest_arguments,
    ]
    os.execv(sys.executable, command)  # noqa: S606
