"""What all Locust users here share: the plan they are told, the instant at which they begin, the record they write.

`mare bench analytics` starts each Locust as a process of its own, so that none takes another one's time. A plan is a
JSON file (`benchmarks.analytics_schedule.Plan`); stores are found by the `MARE_…` variables, like everywhere.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import gevent
import msgspec
from locust import events
from locust.env import Environment

from benchmarks.analytics_schedule import Plan, Record, Sample
from maredata.settings import Settings, load_settings

_LOOK_SECONDS = 0.02


@events.init_command_line_parser.add_listener
def _arguments(parser: ArgumentParser, **_: Any) -> None:
    parser.add_argument("--plan", type=str, default="", help="the plan's file, which `mare bench analytics` writes")


class Drive:
    """One Locust process: its plan, its users who come and go, and what they have seen."""

    def __init__(self, environment: Environment) -> None:
        options = environment.parsed_options
        if options is None or not options.plan:
            raise SystemExit("These users need a plan: `mare bench analytics` writes one, and starts them.")
        self.plan = msgspec.json.decode(Path(options.plan).read_bytes(), type=Plan)
        self.settings: Settings = load_settings(None)
        self.begin = 0.0
        self.number = 0  # of users so far
        self._environment = environment
        self._record = Record()
        self._waiting = self._done = 0

    def await_begin(self) -> float:
        """A user is connected, and waits until all are, in this process and in the others; when it begins."""
        self._waiting += 1
        if self._waiting == self.plan.users:
            self.plan.ready.touch()
        while not self.plan.go.exists():
            gevent.sleep(_LOOK_SECONDS)
        self.begin = float(self.plan.go.read_text("utf-8"))
        return self.begin

    def took(self, kind: str, name: str, since: float, error: Exception | None = None) -> None:
        """Something is over that was due at the instant `since`."""
        seconds = time.time() - since
        if error is None:
            self._record.samples.append(Sample(name, since - self.begin, seconds))
        else:
            self._record.failed(error)
        events.request.fire(
            request_type=kind, name=name, response_time=1000 * seconds, response_length=0, exception=error, context={}
        )

    def done(self) -> None:
        """A user has nothing to do any more; with the last one, so has the process."""
        self._done += 1
        if self._done < self.plan.users:
            return
        whole = self.plan.record.with_suffix(".part")
        whole.write_bytes(msgspec.json.encode(self._record))
        whole.rename(self.plan.record)
        if self._environment.runner is not None:
            gevent.spawn(self._environment.runner.quit)


def drive_of(environment: Environment) -> Drive:
    """The process's one; made by its first user."""
    found: Drive | None = getattr(environment, "mare_drive", None)
    if found is None:
        found = Drive(environment)
        environment.mare_drive = found  # type: ignore[attr-defined]
    return found
