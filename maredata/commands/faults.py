"""The command that breaks an instance on purpose, and proves that nothing accepted is lost."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from maredata.commands.bench import command_line
from maredata.commands.shared import as_json, out
from maredata.errors import MachineError
from maredata.settings import Settings


@click.command()
@click.option("--only", multiple=True, metavar="NAME", help="Only this fault; can be given several times.")
@click.option("--list", "names_only", is_flag=True, help="Show every fault's name and what it does, and inflict none.")
@click.option("--short", is_flag=True, help="Only one kill of each engine and the gateway.")
@click.option("--out", "path", type=click.Path(path_type=Path), help="Also write the result as JSON into this file.")
@as_json
@click.pass_obj
def faults(
    settings: Settings, only: tuple[str, ...], names_only: bool, short: bool, path: Path | None, as_json: bool
) -> None:
    """Kill, stop, fill and cut off each part of an instance under load, and show what was lost: nothing, or it fails.

    The instance is its own, beside any that runs, and removed again. Each fault must be seen to happen, the instance
    must recover by itself, and then `mare verify --exact` must agree. Exit status 1 if any fault fails. Disks are
    filled only where a tmpfs can be mounted: as root, or with unprivileged user namespaces.

    \b
    Example:
      mare faults --short
      mare faults --only kafka-kill --only poison
      mare faults --out benchmarks/results/faults.json
    """
    try:
        from tests.faults import report, run
    except ImportError as error:
        raise MachineError(f"The fault matrix is not in this installation ({error}): use a checkout.") from None
    from benchmarks.result import write_result

    chosen = run.chosen(only, short)
    if names_only:
        for fault in chosen:
            click.echo(f"{fault.name:<24} {fault.description}")
        return
    began, console = time.monotonic(), out(stderr=True)

    def progress(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:5.0f} s[/]  {text}", soft_wrap=True)

    found = run.run(settings, chosen, command_line(), progress)
    if path is not None:
        write_result(path, found.as_dict())
    if as_json:
        click.echo(json.dumps(found.as_dict(), default=str))
    else:
        out(width=max(out().width, report.WIDTH)).print(found.render())
    sys.exit(0 if found.passed else 1)
