"""The command that lets a job's index follow its table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from maredata.commands.extract import job_file
from maredata.commands.shared import as_json, out, print_report
from maredata.errors import MareError
from maredata.settings import Settings

if TYPE_CHECKING:
    from connect.capture import Streams
    from extraction.capture.state import Counts
    from extraction.job import Job


@dataclass(frozen=True)
class _Status:
    """How a capture is. `behind` says how far the source is from the binary log's end, or that it can't be asked."""

    job: str
    streams: Streams
    counts: Counts
    keeps: bool
    behind: str
    behind_bytes: int | None

    @property
    def healthy(self) -> bool:
        return self.streams.running and not self.streams.dead_letters

    def as_dict(self) -> dict[str, Any]:
        counts = asdict(self.counts)
        return {
            "job": self.job,
            "healthy": self.healthy,
            **self.streams.as_dict(),
            "behind_bytes": self.behind_bytes,
            "inserts": counts["inserts"],
            "updates": counts["updates"],
            "deletes": counts["deletes"],
            "deletes_kept": counts["deletes"] if self.keeps else 0,
            "not_counted": counts["not_counted"],
        }

    def render(self) -> RenderableType:
        table = Table(title=f"capture of {self.job}", title_justify="left", show_header=False)
        for name, one in (("source", self.streams.source), ("sink", self.streams.sink)):
            state = "none: `mare capture` makes it" if one is None else one.overall
            table.add_row(name, state + (f": {one.trouble}" if one is not None and one.trouble else ""))
        table.add_row("source behind", self.behind)
        table.add_row("changes to be stored", f"{self.streams.waiting:,}")
        table.add_row("inserts", f"{self.counts.inserts:,}")
        table.add_row("updates", f"{self.counts.updates:,}")
        table.add_row("deletes", f"{self.counts.deletes:,}" + (", kept in the index" if self.keeps else ""))
        if self.counts.not_counted:
            table.add_row("not counted", f"{self.counts.not_counted:,}, since the topic keeps them no longer")
        table.add_row("dead letters", f"{self.streams.dead_letters:,}")
        parts: list[RenderableType] = [table]
        if self.streams.dead_letters:
            parts.append(Text(f"`mare dead-letters list capture-{self.job}-elasticsearch` shows why."))
        return Group(*parts)


@click.command()
@job_file
@click.option("--status", "wish", flag_value="status", help="Show states, lag, and how many changes were seen.")
@click.option(
    "--stop", "wish", flag_value="stop", help="Stop following; the same command without it goes on from there."
)
@click.option(
    "--remove", "wish", flag_value="remove", help="Stop following and forget where: nothing can go on from there."
)
@as_json
@click.pass_obj
def capture(settings: Settings, job: Path, wish: str | None, as_json: bool) -> None:
    """Let the index of the job file JOB follow its table: every insert, update and delete, within seconds.

    From now on; for the rows that are there already `mare extract run JOB` comes next, then `mare extract verify JOB`.
    Neither overwrites what the other wrote later. Safe to repeat: what runs as it should is left alone.

    With --status, exit status 1 when something does not run or could not be stored.

    \b
    Example:
      mare capture orders.toml
      mare capture orders.toml --status
      mare capture orders.toml --stop
    """
    from extraction.job import load_job

    loaded = load_job(job)
    match wish:
        case "status":
            found = _look(settings, loaded)
            print_report(found, as_json)
            raise SystemExit(0 if found.healthy else 1)
        case "stop" | "remove":
            _end(settings, loaded, wish == "remove", as_json)
        case _:
            _begin(settings, loaded, job, as_json)


def _begin(settings: Settings, job: Job, path: Path, as_json: bool) -> None:
    from connect import capture as connectors
    from connect.capture_definitions import Capture
    from extraction.capture import setup

    said: list[str] = []

    def progress(text: str) -> None:
        said.append(text)
        if not as_json:
            click.echo(text)

    captured = setup.set_up(job, settings)
    streams = Capture(**captured.streams())
    with out(stderr=True).status("starting the connectors"):
        changed = connectors.apply(streams, settings, captured.new, progress)
    setup.begun(job.name, settings)
    following = {"job": job.name, "index": job.index, "deletes": job.target.deletes.value}
    if as_json:
        click.echo(json.dumps({**following, "new": captured.new, "changed": changed, "done": said}))
        return
    if captured.new:
        click.echo(
            f"{job.index} follows {captured.database}.{captured.table} from now on."
            f" Next, for the rows that are there:\n  mare extract run {path}\n  mare extract verify {path}"
        )
    else:
        click.echo("Brought up to date." if changed else "Everything runs already; --status shows it.")


def _end(settings: Settings, job: Job, remove: bool, as_json: bool) -> None:
    from connect import capture as connectors
    from extraction.capture import setup

    if remove:
        connectors.remove(job.name, settings)
        setup.forget(job.name, settings)
        told = f"Capture of job {job.name} is removed; the index keeps its documents."
    elif connectors.stop(job.name, settings):
        told = (
            f"Capture of job {job.name} is stopped; `mare capture` goes on from there, as long as the source keeps its"
            " binary log."
        )
    else:
        told = f"Job {job.name} is not being captured."
    click.echo(json.dumps({"job": job.name, "done": [told]}) if as_json else told)


def _look(settings: Settings, job: Job) -> _Status:
    from connect import capture as connectors
    from connect.capture_definitions import topic_name
    from extraction.capture import setup
    from extraction.capture.counting import count

    streams = connectors.look(job.name, settings)
    behind_bytes: int | None = None
    try:
        behind, behind_bytes = setup.behind(job, settings, streams.at)
    except MareError as error:
        behind = str(error)
    counts = count(job.name, topic_name(job.name), settings)
    return _Status(job.name, streams, counts, job.target.deletes.value == "keep", behind, behind_bytes)
