"""The second chance of dead letters: once their cause is mended, back into the topic that they came from.

What is published is taken down only after Kafka has acknowledged it. So what is killed in between would be published
again, were it not for the look into the connector's store, which finds readings that came there. Transactions could
not help: sinks read what was aborted, too, and the mark that ends one would keep their lag from ever being none.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from confluent_kafka import KafkaException, Producer

from connect.dead_letters import open_dead_letters
from connect.replayed import open_book
from connect.verdicts import Replay, Traced, open_sorter
from maredata.errors import MachineError, StoreError
from maredata.schema import Schema
from maredata.settings import Settings

_ACKNOWLEDGED = 30  # seconds

Progress = Callable[[str], None]


def replay(
    settings: Settings,
    schema: Schema,
    connector: str,
    progress: Progress,
    dry_run: bool = False,
    every: bool = False,
    overwrite: bool = False,
) -> Replay:
    """Publishes the connector's dead letters into the topics they came from, oldest first, each once.

    Those of an earlier replay are left out, unless `every`, but for those that were still refused. Of the readings'
    connectors, one that today's rules refuse is not published; nor is, unless `overwrite`, one that the connector's
    store has: it may be a later, corrected one. Of several dead letters of one reading the last is taken.

    When this returns, Kafka has acknowledged all of `published`; with `dry_run` nothing is published or taken down.

    Raises StoreError where there is no such connector, another replay goes on, a store does not answer, or the sink
    does not catch up; repeating it is harmless.
    """
    done = Replay(connector, dry_run=dry_run)
    with ExitStack() as opened:
        if not dry_run:
            opened.enter_context(_alone(settings))
        letters = opened.enter_context(open_dead_letters(settings, connector))
        book = opened.enter_context(open_book(settings, connector))
        marks = book.read().kept(letters.first)
        spans = [(letters.first, letters.end)] if every else marks.spans(letters.first, letters.end)
        portions = [portion for span in spans for portion in letters.portions(*span)]
        sort = opened.enter_context(open_sorter(settings, schema, connector, overwrite, letters, portions, done))
        outlet = None if dry_run else _Outlet(settings)
        total = sum(end - first for first, end in portions)
        for portion in portions:
            publish, left = sort(letters.between(*portion))
            if outlet is not None:
                acknowledged: set[int] = set()
                try:
                    outlet.publish(publish, acknowledged)
                finally:  # also after Ctrl-C: what Kafka has must not be published again
                    lost = [letter.offset for letter, _ in publish if letter.offset not in acknowledged]
                    marks = marks.looked_at(portion, [*left, *lost])
                    book.write(marks)
            done.published += len(publish)
            progress(f"{done.looked_at:,} of {total:,} dead letters of {connector}")
    return done


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """One replay at a time: both sinks refuse the same records, so those of two connectors are not apart either.

    The kernel takes the lock from whoever dies. Membership in a consumer group would also keep apart what runs on
    two machines; but it can lapse while its holder goes on publishing, and a killed one's lasts until it times out.
    """
    path = settings.home / "state" / "dead-letters.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = path.open("w")
    except OSError as error:
        raise MachineError(
            f"A replay can't take its lock {path} ({error.strerror}): correct that, or set another MARE_HOME."
        ) from None
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                "Another `mare dead-letters replay` works on this instance: wait until it is done."
            ) from None
        yield


# --- to Kafka ------------------------------------------------------------------------------------------------------


class _Outlet:
    """Publishes records as they were, into the partition they came from."""

    def __init__(self, settings: Settings) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": settings.kafka.bootstrap,
                "client.id": "mare-dead-letters",
                "acks": "all",
                "enable.idempotence": True,
                # After one that failed nothing may follow: what is acknowledged is then all that is there.
                "enable.gapless.guarantee": True,
                "partitioner": "murmur2_random",  # Java's, where the partition is unknown
                "message.timeout.ms": _ACKNOWLEDGED * 1000,
                "message.max.bytes": 100_000_000,  # they were in the topic: Kafka takes them again
                "linger.ms": 10,
                "log_level": 0,
            }
        )

    def publish(self, letters: Traced, acknowledged: set[int]) -> None:
        """Adds the offsets of those that Kafka has acknowledged. Raises StoreError where those are not all."""
        failures: list[str] = []

        def heard(offset: int, error: object, _message: object) -> None:
            if error is None:
                acknowledged.add(offset)
            else:
                failures.append(str(error))

        try:
            for letter, origin in letters:
                self._producer.produce(
                    origin.topic,
                    value=letter.value,
                    key=letter.key,
                    partition=origin.partition,
                    headers=[*letter.own_headers],
                    on_delivery=partial(heard, letter.offset),
                )
        except (BufferError, KafkaException) as error:
            failures.append(str(error))
        try:
            left = self._producer.flush(_ACKNOWLEDGED + 5)
        except KafkaException as error:  # a fatal one
            failures.append(str(error))
            left = 0
        if failures or left:
            raise StoreError(
                f"Kafka did not acknowledge all records ({failures[0] if failures else f'{left} without an answer'}):"
                " look at `mare status`, and replay again, which goes on from there."
            )
