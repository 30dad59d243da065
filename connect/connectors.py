"""The connectors of the pipeline: their definitions in `connectors/`, and how a worker is brought up to them.

A definition is a JSON file named like its connector. `$name` in a value is filled in from settings and schema;
`$${env:…}` stays as `${env:…}` for the worker, which puts in its own environment's value.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from string import Template

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from connect.rest import PAUSED, STOPPED, Connector, Rest
from maredata.errors import ConnectError
from maredata.lag import group_members
from maredata.names import consumer_group
from maredata.schema import Schema
from maredata.settings import Settings

DEFINITIONS = Path(__file__).parent / "connectors"

_WAIT_SECONDS = 90  # a consumer that hangs in a store's call is thrown out of its group after 60
_AGAIN_SECONDS = 3


def definitions(settings: Settings, schema: Schema) -> dict[str, dict[str, str]]:
    """The configuration of each connector, by its name."""
    values = {
        "tasks": str(settings.connect.tasks),
        "schema": json.dumps(schema.sink_schema(), separators=(",", ":")),
    }
    return {
        path.stem: {"name": path.stem}
        | {key: Template(value).substitute(values) for key, value in json.loads(path.read_text("utf-8")).items()}
        for path in sorted(DEFINITIONS.glob("*.json"))
    }


def apply(settings: Settings, schema: Schema, progress: Callable[[str], None]) -> None:
    """Brings the worker's connectors up to their definitions; one that is so already is left alone.

    When this has returned, every task runs, and no record is handled by an earlier configuration any more.
    """
    with Rest(settings.connect.url) as rest:
        for name, wanted in definitions(settings, schema).items():
            there = rest.config(name)
            if there is None:
                rest.put_config(name, wanted)
            elif there != wanted:
                stop(settings, rest, name)
                rest.put_config(name, wanted)
            if _resume(rest, name) or there != wanted:
                progress(f"connector {name}: {'created' if there is None else 'brought up to date'}")


def status(settings: Settings, name: str | None = None) -> list[Connector]:
    """All connectors, or the one of that name. Raises ConnectError where there is no such one."""
    with Rest(settings.connect.url, patience=5, timeout=5) as rest:
        found = rest.connectors()
    if name is None:
        return found
    return [connector for connector in found if connector.name == name] or _unknown(name, found)


def states(settings: Settings) -> dict[str, str]:
    """One word for each connector: RUNNING only if all its tasks run, else the state that is in the way."""
    return {connector.name: connector.overall for connector in status(settings)}


def restart(settings: Settings, name: str) -> None:
    """Restarts the connector and all its tasks, whatever state they are in."""
    with Rest(settings.connect.url) as rest:
        if rest.config(name) is None:
            _unknown(name, rest.connectors())
        rest.restart(name, only_failed=False)


def delete(settings: Settings, name: str) -> None:
    """Takes the connector from the worker. Its committed offsets stay, so `apply` brings it back without loss."""
    with Rest(settings.connect.url) as rest:
        if not rest.delete(name):
            _unknown(name, rest.connectors())


def stop(settings: Settings, rest: Rest, name: str) -> None:
    """Ends the tasks for certain: replacing the configuration of running ones is asynchronous.

    The REST API forgets a task as soon as it is asked to end; its consumer leaves the group when it has ended.
    Raises ConnectError where it does not end.
    """
    rest.stop(name)

    def stopped() -> bool:
        connector = rest.connector(name)
        if connector is None:  # somebody has deleted it meanwhile
            return True
        ended = connector.state == STOPPED and not connector.tasks
        return ended and group_members(settings, consumer_group(name)) == 0

    if not _within(_WAIT_SECONDS, stopped):
        raise ConnectError(
            f"Connector {name} did not stop within {_WAIT_SECONDS} s: see that its store answers, and try again."
        )


def _resume(rest: Rest, name: str) -> bool:
    """Waits until the connector and all its tasks run; True if they did not at first."""
    connector = rest.connector(name)
    if connector is not None and connector.running:
        return False
    resumed = restarted = -math.inf

    def running() -> bool:
        nonlocal connector, resumed, restarted
        connector, now = rest.connector(name), time.monotonic()
        # Asked for again, since a state can be an old one: Connect writes it down a moment later than it is.
        if connector is not None and connector.state in (STOPPED, PAUSED) and now > resumed + _AGAIN_SECONDS:
            rest.resume(name)
            resumed = now
        # A store that is only just starting fails the first try; nobody else may be there to restart the task.
        if connector is not None and connector.failed and now > restarted + _AGAIN_SECONDS:
            rest.restart(name, only_failed=True)
            restarted = now
        return connector is not None and connector.running

    if not _within(_WAIT_SECONDS, running):
        trouble = connector.trouble if connector is not None else ""
        raise ConnectError(
            f"Connector {name} did not start within {_WAIT_SECONDS} s ({trouble or 'without saying why'}):"
            " look at `mare logs connect`."
        )
    return True


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    attempts = Retrying(
        retry=retry_if_result(lambda met: not met), wait=wait_fixed(0.1), stop=stop_after_delay(seconds)
    )
    try:
        return attempts(condition)
    except RetryError:
        return False


def _unknown(name: str, found: list[Connector]) -> list[Connector]:
    known = ", ".join(connector.name for connector in found) or "none; `mare connect apply` creates them"
    raise ConnectError(f"There is no connector {name!r}. There are: {known}.")
