"""`mare capture`: what is checked and noted before a job's table is captured, and what the connectors must be told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from extraction.capture.checks import begun_anew, look, refuse_begun_anew, refuse_unfit, refuse_unfit_server
from extraction.capture.state import Log, Noted, active, load, new_replica_id, save
from extraction.capture.transform import declared_types, layout_option
from extraction.capture.version import Position, VersionOf
from extraction.job import Job, JobError, password_of
from extraction.layout import open_layout
from extraction.prepare import prepare
from extraction.source import open_source
from maredata.settings import Settings


@dataclass(frozen=True)
class Captured:
    """A job that can be captured, as plain data. `message_key` is empty where the table's primary key is the key."""

    job: str
    index: str
    host: str
    port: int
    encrypted: bool
    user: str
    password: str
    database: str
    table: str
    message_key: tuple[str, ...]
    replica_id: int
    layout: str
    new: bool

    def streams(self) -> dict[str, Any]:
        """What the connectors must be told: `connect.capture.Capture`."""
        return {name: value for name, value in vars(self).items() if name != "new"}


def set_up(job: Job, settings: Settings) -> Captured:
    """Checks source and job, makes the index ready, and notes where the binary log is; `begun` has to follow.

    Raises:
        JobError: job, table or server can't be captured, or the binary log is not the one that was captured.
        StoreError: the source or Elasticsearch did not answer.
    """
    with open_source(job, settings) as session:
        layout = open_layout(job, session, settings)
        refuse_unfit(layout)
        refuse_unfit_server(session, layout)
        before, now = load(settings, job.name), look(session, layout)
        place = _place(job)
        if before is not None and before.active:
            if before.source != place:
                raise JobError(
                    f"Job {job.name} captures {before.source}, not {place}: change it back, or begin anew with"
                    f" `mare capture {job.name}.toml --remove`."
                )
            refuse_begun_anew(before, now, job.name)
            noted = before.seen(now)
        else:
            noted = Noted(
                begun="",
                replica_id=new_replica_id(),
                files_before=_files_before(before, now),
                source=place,
                log=now,
                active=False,
            )
        declared = declared_types(session, layout)
    prepare(layout, settings)
    # A new one is there only once it reads the log: see `begun`.
    save(settings, job.name, noted)
    return Captured(
        job=job.name,
        index=job.index,
        host=job.source.host,
        port=job.source.port,
        encrypted=job.source.encrypted,
        user=job.source.user,
        password=password_of(job.source, settings),
        database=layout.table.database,
        table=layout.table.name,
        message_key=() if layout.index.name == "PRIMARY" else layout.index.columns,
        replica_id=noted.replica_id,
        layout=layout_option(layout, declared, noted.files_before),
        new=before is None or not before.active,
    )


def begun(job: str, settings: Settings) -> None:
    """The connectors read the log: from now on the job is captured, if it was not already."""
    noted = load(settings, job)
    if noted is not None and not noted.active:
        save(settings, job, replace(noted, active=True, begun=datetime.now(UTC).isoformat()))


def behind(job: Job, settings: Settings, at: tuple[str, int] | None) -> tuple[str, int | None]:
    """How far the source's connector is from the end of the binary log, in words and, in one file, in bytes.

    Raises JobError where the log began anew, StoreError where the source is away.
    """
    if at is None:
        return "nothing is known of where it reads", None
    noted = active(settings, job.name)
    with open_source(job, settings) as session:
        now = look(session, open_layout(job, session, settings))
    if noted is not None:
        refuse_begun_anew(noted, now, job.name)
        save(settings, job.name, noted.seen(now))
    there = Position.of(*at)
    if there.file != now.file:
        return f"{now.file - there.file:,} files of the binary log", None
    octets = max(0, now.offset - there.offset)
    return f"{octets:,} bytes of the binary log", octets


def version_of(job: Job, settings: Settings) -> VersionOf | None:
    """By what version extraction writes while the job is captured; None where it is not.

    Raises JobError where the binary log is not the one that capture reads, StoreError where the source is away.
    """
    noted = active(settings, job.name)
    if noted is None:
        return None
    with open_source(job, settings) as session:
        now = look(session, open_layout(job, session, settings))
    refuse_begun_anew(noted, now, job.name)
    save(settings, job.name, noted.seen(now))
    return VersionOf(noted.files_before)


def forget(job: str, settings: Settings) -> None:
    """Of a removed capture only what its successor must know is left."""
    noted = load(settings, job)
    if noted is not None:
        save(settings, job, replace(noted, active=False))


def _files_before(before: Noted | None, now: Log) -> int:
    """So many that versions go on above those of an earlier capture, where the binary log began anew since."""
    if before is None:
        return 0
    return before.files_before + (before.log.file if begun_anew(before.log, now) else 0)


def _place(job: Job) -> str:
    source = job.source
    return f"{source.host}:{source.port}/{source.database}.{source.table}"
