"""The two connectors that follow a job's table: Debezium's source into topic `legacy.<job>`, and our sink out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

from kafka.errors import TopicAlreadyExistsError

from connect import connectors
from connect.capture_definitions import (
    Capture,
    sink_definition,
    sink_name,
    source_definition,
    source_name,
    topic_name,
)
from connect.rest import STOPPED, Connector, Rest
from connect.secrets import secret_file, write_secret
from maredata.errors import ConnectError
from maredata.lag import end_offsets, topic_lag
from maredata.names import dead_letters
from maredata.records import kafka_errors
from maredata.settings import Settings
from maredata.stores import kafka_admin
from maredata.topics import Topic

_STARTED_SECONDS = 120
_LOOK_SECONDS = 0.2
_FAR_BACK = 1 << 30  # bytes of a schema history, which is never deleted


@dataclass(frozen=True)
class Streams:
    """How a capture's connectors are. `source` and `sink` are None where there is none.

    `at` is the source's last committed place in the binary log (file and position), `waiting` how many changes the
    sink has still to store, `dead_letters` how many it could not.
    """

    source: Connector | None
    sink: Connector | None
    at: tuple[str, int] | None
    waiting: int
    dead_letters: int

    @property
    def running(self) -> bool:
        return all(one is not None and one.running for one in (self.source, self.sink))

    def as_dict(self) -> dict[str, Any]:
        return {
            "source": self.source and self.source.as_dict(),
            "sink": self.sink and self.sink.as_dict(),
            "at": self.at and {"file": self.at[0], "position": self.at[1]},
            "waiting": self.waiting,
            "dead_letters": self.dead_letters,
        }


def apply(capture: Capture, settings: Settings, new: bool, progress: Callable[[str], None]) -> bool:
    """Makes what is missing and brings the rest up to date; True if there was anything to do.

    When this has returned, both connectors run, and the source has committed where it reads the binary log: whatever
    changes from now on arrives, however often the worker is killed. `new`: the source may begin where the log is.

    Raises ConnectError or StoreError.
    """
    job = capture.job
    done = _make_topics(settings, job, progress)
    done |= write_secret(settings, job, capture.password)
    with Rest(settings.connect.url) as rest:
        source, sink = source_definition(capture, settings), sink_definition(capture)
        # The sink first: a change that nobody reads for a while is no harm, but there is no need for it.
        done |= _bring_up(settings, rest, sink_name(job), sink, progress, lambda: None)
        done |= _bring_up(
            settings, rest, source_name(job), source, progress, lambda: _refuse_forgotten(rest, job, new, progress)
        )
        _await(rest, job)
    return done


def stop(job: str, settings: Settings) -> bool:
    """Takes both connectors away; what they know stays. False where there were none."""
    with Rest(settings.connect.url) as rest:
        return any([rest.delete(source_name(job)), rest.delete(sink_name(job))])


def remove(job: str, settings: Settings) -> None:
    """Takes connectors, offsets, topics and the password away: nothing can go on from here."""
    with Rest(settings.connect.url) as rest:
        for name in (source_name(job), sink_name(job)):
            if rest.config(name) is None:
                continue  # where it had come stays known, and a new capture deletes that before it begins
            connectors.stop(settings, rest, name)
            if name == source_name(job) and rest.offsets(name):
                rest.delete_offsets(name)
            rest.delete(name)
    with kafka_errors(settings), kafka_admin(settings) as admin:
        there = set(admin.list_topics())
        for topic in _topics(settings, job):
            if topic.name in there:
                admin.delete_topics([topic.name])
    secret_file(settings, job).unlink(missing_ok=True)


def look(job: str, settings: Settings) -> Streams:
    """Raises ConnectError or StoreError."""
    with Rest(settings.connect.url, patience=5, timeout=10) as rest:
        source, sink = rest.connector(source_name(job)), rest.connector(sink_name(job))
        offsets = rest.offsets(source_name(job)) if source is not None else []
    with kafka_errors(settings):
        waiting = topic_lag(settings, topic_name(job), sink_name(job))
        dead = end_offsets(settings, [dead_letters(sink_name(job))])
    at = next(((str(e["offset"]["file"]), int(e["offset"]["pos"])) for e in offsets if "file" in e["offset"]), None)
    return Streams(source, sink, at, waiting, sum(dead.values()))


# --- one after the other -----------------------------------------------------------------------------------------


def _bring_up(
    settings: Settings,
    rest: Rest,
    name: str,
    wanted: dict[str, str],
    progress: Callable[[str], None],
    before_start: Callable[[], None],
) -> bool:
    there = rest.config(name)
    if there == wanted and (connector := rest.connector(name)) is not None and connector.state != STOPPED:
        if connector.failed:
            rest.restart(name, only_failed=True)
            progress(f"connector {name}: restarted")
        return connector.failed
    if there is None:
        rest.create_stopped(name, wanted)
    elif there != wanted:
        connectors.stop(settings, rest, name)
        rest.put_config(name, wanted)
    before_start()
    rest.resume(name)
    progress(f"connector {name}: {'created' if there is None else 'brought up to date'}")
    return True


def _refuse_forgotten(rest: Rest, job: str, new: bool, progress: Callable[[str], None]) -> None:
    """A capture that goes on needs its place in the log: it would begin at another one and say nothing."""
    there = bool(rest.offsets(source_name(job)))
    if not there and not new:
        rest.delete(source_name(job))
        raise ConnectError(
            f"Kafka Connect no longer knows how far capture of job {job} had come, so changes may be missing:"
            f" `mare capture {job}.toml --remove`, `mare capture {job}.toml`, then `mare extract run {job}.toml`."
        )
    if there and new:
        rest.delete_offsets(source_name(job))
        progress("the place of an earlier capture is forgotten")


def _await(rest: Rest, job: str) -> None:
    """Until both run and the source has committed its place."""
    deadline = monotonic() + _STARTED_SECONDS
    names = (source_name(job), sink_name(job))
    while True:
        found = [rest.connector(name) for name in names]
        if all(one is not None and one.running for one in found) and rest.offsets(names[0]):
            return
        for one in found:
            if one is not None and one.failed:
                raise ConnectError(f"Connector {one.name} failed: {one.trouble or 'it did not say why'}.")
        if monotonic() > deadline:
            shown = ", ".join(f"{one.name} {one.overall}" for one in found if one is not None)
            raise ConnectError(
                f"The connectors of job {job} did not start within {_STARTED_SECONDS} s ({shown}): look at"
                " `mare logs connect`, and run `mare capture` again."
            )
        sleep(_LOOK_SECONDS)


def _topics(settings: Settings, job: str) -> list[Topic]:
    kafka, name = settings.kafka, source_name(job)
    return [
        Topic(topic_name(job), 1, kafka.readings_days, kafka.readings_bytes),
        Topic(dead_letters(sink_name(job)), 1, kafka.refused_days, kafka.refused_bytes),
        Topic(f"__debezium-heartbeat.{name}", 1, 1, kafka.refused_bytes),
        Topic(f"{name}.schema", 1, -1, _FAR_BACK),
    ]


def _make_topics(settings: Settings, job: str, progress: Callable[[str], None]) -> bool:
    made = False
    with kafka_errors(settings), kafka_admin(settings) as admin:
        there = set(admin.list_topics())
        for topic in _topics(settings, job):
            if topic.name in there:
                continue
            config = topic.config | ({"retention.ms": "-1", "retention.bytes": "-1"} if topic.days < 0 else {})
            try:
                described = {"num_partitions": 1, "replication_factor": 1, "configs": config}
                admin.create_topics({topic.name: described}, wait_for_metadata=True)
            except TopicAlreadyExistsError:  # someone else was quicker
                continue
            progress(f"topic {topic.name}: created")
            made = True
    return made
