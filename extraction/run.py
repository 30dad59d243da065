"""`extract run`: moves a job's rows. The conductor cuts the table into ranges, hands them to workers, and remembers.

A range is remembered before a worker gets it, and a worker gets the next one only once it is remembered that its last
one is done. So whatever is killed and whenever, the next run reads again what was under way and nothing else, and
writes it to the same places.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extraction.capture import setup, state
from extraction.checkpoint import Checkpoint, Files, Range, Tally
from extraction.job import Job, JobError
from extraction.layout import Layout, open_layout
from extraction.outcome import Report
from extraction.pool import Hand, Pool
from extraction.prepare import prepare, refresh, settings_while_running
from extraction.progress import Shown, State
from extraction.selection import Select
from extraction.source import open_source, slow_connector
from extraction.target import index_pattern, mapping
from extraction.tasks import Abandoned, Assignment, Done, Opened, Progress, VersionOf
from extraction.walker import Away, Walker
from maredata.data_views import write_data_view
from maredata.errors import StoreError
from maredata.settings import Settings

_LOOK_SECONDS = 0.2  # between two looks at whether the run was asked to end
_LOAD_SECONDS = 1.0  # between two looks at how busy the source is
_SNAPSHOT_SECONDS = 10  # of a range, where the rate is limited


@dataclass(frozen=True)
class Options:
    """How a job is run. Instants are microseconds since 1970 UTC; `until` is not included."""

    workers: int = 2
    range_rows: int | None = None
    since: int | None = None
    until: int | None = None
    where: str | None = None
    max_rows_per_second: int | None = None
    pause_when_threads_running: int | None = None
    dry_run: bool = False
    restart: bool = False


def run(
    job: Job,
    settings: Settings,
    options: Options,
    stopped: Callable[[], bool],
    shown: Shown,
) -> Report:
    """Moves what is not moved yet. `stopped` is asked often, and ends the run with what is done kept.

    Where the job is captured, documents have each snapshot's place in the binary log as their version, and what
    changes after it wins.

    Raises:
        JobError: the job does not fit its table, its index or its checkpoint, or is running already; or it is captured
            and the binary log began anew.
        StoreError: a store refused something that waiting does not mend.
    """
    began = time.monotonic()
    files = Files.of(settings, job.name)
    with ExitStack() as stack:
        with open_source(job, settings) as session:
            layout = open_layout(job, session, settings)
        Select(layout, options.where, options.since, options.until)  # refuses what does not go together
        version_of = None if layout.readings else setup.version_of(job, settings)
        if warning := slow_connector():
            shown.say(warning)
        if options.dry_run:
            files = Files(Path(stack.enter_context(tempfile.TemporaryDirectory())), job.name)
            checkpoint = Checkpoint(None, job.name, {})
        else:
            stack.enter_context(files.locked())
            checkpoint = _open(layout, settings, options, files, shown)
        stack.callback(checkpoint.close)
        if not options.dry_run:
            stack.enter_context(settings_while_running(layout, settings, checkpoint))
        conductor = _Conductor(layout, settings, options, files, checkpoint, shown, version_of)
        conductor.conduct(stopped)
        if not options.dry_run:
            refresh(layout, settings)
        ranges, total = checkpoint.totals()
        has_dead = not options.dry_run and checkpoint.dead_bytes > 0
        return Report(
            job=job.name,
            index=index_pattern(layout),
            dry_run=options.dry_run,
            finished=checkpoint.finished,
            seconds=time.monotonic() - began,
            cpu_seconds=time.process_time() + conductor.cpu_seconds,
            ranges=conductor.ranges,
            resumed_ranges=conductor.resumed,
            run=conductor.tally,
            all_ranges=ranges,
            all_runs=total,
            dead_file=files.dead if has_dead else None,
        )


def _open(layout: Layout, settings: Settings, options: Options, files: Files, shown: Shown) -> Checkpoint:
    """The job's checkpoint, with its index made and the file of dead rows as the checkpoint knows it."""
    name = layout.job.name
    made = prepare(layout, settings)
    if not layout.readings:
        write_data_view(settings, name, layout.job.index, layout.job.time.field if layout.job.time else None)
    checkpoint = Checkpoint(files.checkpoint, name, _meaning(layout, settings, options, made), options.restart)
    if checkpoint.anew:
        shown.say(f"Job {name} was done, and is not what it was then: it begins anew.")
    elif checkpoint.finished:
        shown.say(f"Job {name} is done up to key {list(checkpoint.walked or ())}: looking for rows after it.")
    elif checkpoint.walked is not None:
        shown.say(f"Job {name} goes on from key {list(checkpoint.walked)}.")
    for left in files.folder.glob(f"{name}.dead.*.part"):
        left.unlink()
    if files.dead.exists():
        os.truncate(files.dead, min(checkpoint.dead_bytes, files.dead.stat().st_size))
    return checkpoint


def _meaning(layout: Layout, settings: Settings, options: Options, made: str) -> dict[str, Any]:
    """What documents depend on: with another one, ranges that are done say nothing."""
    job = layout.job.model_dump(mode="json", exclude={"target": True, "path": True, "name": True})
    for name in ("range_rows", "password_env", "tls", "user"):
        del job["source"][name]
    captured = state.active(settings, layout.job.name)
    # What was moved before a capture began has missed what changed in between.
    since = {"capture": captured.begun} if captured is not None else {}
    filters = {"--since": options.since, "--until": options.until, "--where": options.where}
    target = {"url": settings.elasticsearch.url, "mapping": mapping(layout), "index": made}
    return {**job, **filters, **since, "target": target}


class _Conductor:
    """Hands ranges to workers until there are no more. `tally` and `ranges` are this run's."""

    def __init__(
        self,
        layout: Layout,
        settings: Settings,
        options: Options,
        files: Files,
        checkpoint: Checkpoint,
        shown: Shown,
        version_of: VersionOf | None,
    ) -> None:
        self._options, self._files, self._checkpoint, self._shown = options, files, checkpoint, shown
        rate = options.max_rows_per_second
        assignment = Assignment(
            layout=layout,
            settings=settings,
            files=files,
            where=options.where,
            since=options.since,
            until=options.until,
            rows_per_second=None if rate is None else rate / options.workers,
            write=not options.dry_run,
            version_of=version_of,
        )
        self._pool = Pool(assignment, options.workers)
        self._walker = Walker(layout, settings, options.range_rows or _range_rows(layout, rate))
        self._queue = deque(checkpoint.open_ranges())
        self._walked_all = False
        self._load_due = 0.0
        self._failure: Abandoned | None = None
        self._rows = checkpoint.totals()[1].rows
        filtered = options.where or layout.job.source.where or options.since or options.until
        self._total = None if filtered else layout.table.rows
        self._errors = 0
        self._waiting = ""
        self.tally = Tally()
        self.ranges = self.resumed = 0

    @property
    def cpu_seconds(self) -> float:
        """Of the workers."""
        return sum(hand.cpu_seconds for hand in self._pool.hands)

    def conduct(self, stopped: Callable[[], bool]) -> None:
        """Raises StoreError or JobError where a worker had to give up, once the others have ended."""
        stopping = False
        with self._pool:
            try:
                while True:
                    if not stopping and (self._failure is not None or stopped()):
                        stopping = True
                        self._pool.stop()
                    if not stopping:
                        self._hand_out()
                    if not self._pool.busy and (stopping or (self._walked_all and not self._queue)):
                        break
                    for hand, message in self._pool.messages(_LOOK_SECONDS):
                        self._take(hand, message, stopping)
                    self._look_at_load()
                    self._show()
            finally:
                self._walker.close()
        if self._failure is not None:
            sentence = f"{self._failure.error} The run ended; the same command goes on from there."
            raise JobError(sentence) if self._failure.exit_status == JobError.exit_status else StoreError(sentence)
        if not stopping:
            self._checkpoint.finish()

    def _hand_out(self) -> None:
        idle = self._pool.idle
        while idle and self._next():
            part = self._queue.popleft()
            self._checkpoint.begin(part)
            self._pool.give(idle.pop(), part)
        # One range ahead for each worker, so that none waits for the walk.
        if not idle and len(self._queue) < self._options.workers:
            self._walk()

    def _next(self) -> bool:
        """Whether there is a range to hand out."""
        if not self._queue:
            self._walk()
        return bool(self._queue)

    def _walk(self) -> None:
        if self._walked_all:
            return
        try:
            part = self._walker.after(self._checkpoint.walked)
        except Away as away:
            self._waiting = str(away)
            return
        self._waiting = ""
        if part is None:
            self._walked_all = True
            return
        self._queue.append(self._checkpoint.add(part))

    def _take(self, hand: Hand, message: Any, stopping: bool) -> None:
        if isinstance(message, Progress):
            hand.waiting = message.waiting
            self._rows += message.rows
            self._errors += message.errors
            return
        if isinstance(message, Opened):
            hand.session = message.session
            return
        hand.waiting = ""
        if isinstance(message, Done):
            assert hand.has is not None  # noqa: S101  # only who has a range can be done with it
            self._remember(hand.has, message)
            hand.cpu_seconds = message.cpu_seconds
        elif isinstance(message, Abandoned) and self._failure is None and message.error and not stopping:
            self._failure = message
        hand.has = None

    def _remember(self, part: Range, done: Done) -> None:
        """Adds the range's dead rows to the file of all, and then says so: after a kill in between they are cut off."""
        size = self._checkpoint.dead_bytes
        own = self._files.dead_of(part.number)
        if own.exists():
            with own.open("rb") as given, self._files.dead.open("ab") as file:
                shutil.copyfileobj(given, file)
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
        self._checkpoint.done(part, done.tally, done.version, size)
        own.unlink(missing_ok=True)
        self.tally.add(done.tally)
        self.ranges += 1
        self.resumed += part.begun

    def _look_at_load(self) -> None:
        most = self._options.pause_when_threads_running
        if most is None or time.monotonic() < self._load_due:
            return
        self._load_due = time.monotonic() + _LOAD_SECONDS
        try:
            # A worker's query can be at work even while it is paused: not all of its rows are read.
            ours = [hand.session for hand in self._pool.busy if hand.session is not None]
            self._pool.pause(self._walker.threads_running(ours) > most)
        except Away:
            return

    def _show(self) -> None:
        waiting = self._waiting or next((hand.waiting for hand in self._pool.busy if hand.waiting), "")
        self._shown.update(State(self._rows, self._total, self._errors, waiting))


def _range_rows(layout: Layout, rate: int | None) -> int:
    """The job's, but for a slow run: a range is a snapshot, which the source should not have to keep for long."""
    most = layout.job.source.range_rows
    return most if rate is None else max(1, min(most, rate * _SNAPSHOT_SECONDS))
