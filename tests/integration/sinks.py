"""Kafka, Elasticsearch and Connect workers that tests kill, and sinks that read topics whose every record is known."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Self

import httpx
from confluent_kafka import KafkaError as DeliveryError
from confluent_kafka import Message, Producer
from elasticsearch.helpers import scan
from engines import Engines
from kafka import TopicPartition
from kafka.errors import KafkaError
from ports import free_ports
from waiting import await_true

from connect.connectors import definitions
from connect.rest import Rest
from maredata.names import ELASTICSEARCH_SINK, consumer_group
from maredata.reading import identity
from maredata.schema import load_schema
from maredata.settings import Connect
from maredata.stores import kafka_admin, kafka_consumer
from maredata.timestamps import format_timestamp

FIRST_WORKER = "connect"
SECOND_WORKER = "second"
PARTITIONS = 6
TASKS = 2

_SENSORS = 500
_POISON_SHARE = 0.001
_REPEATED_SHARE = 0.02
_FIRST_MICROS = 1_706_000_000_000_000  # 2024-01-23: with 10 s between readings they are in two months and more
_STEP_MICROS = 10_000_001

Place = tuple[str, str]  # a document's index and _id


@dataclass(frozen=True, slots=True)
class Produced:
    """A record of a topic, and where its document belongs; `place` is None for one that is no reading."""

    value: bytes | None
    place: Place | None = None


class Workers(Engines):
    """Kafka, Elasticsearch and up to two Connect workers of one group. The second one is not started at first."""

    def __init__(self) -> None:
        super().__init__("kafka", "elasticsearch", FIRST_WORKER, connect={"tasks": TASKS})
        port = {"port": free_ports(1)[0]}
        self._second = self.settings.model_copy(
            update={
                "home": self.settings.home / SECOND_WORKER,
                "connect": self.settings.connect.model_copy(update=port),
            }
        )

    def __enter__(self) -> Self:
        super().__enter__()
        self.add(SECOND_WORKER, self._second, kind="connect")
        return self

    def other(self, worker: str) -> str:
        return SECOND_WORKER if worker == FIRST_WORKER else FIRST_WORKER

    def only_worker(self) -> str:
        """The one that runs, or the first one, which then does alone."""
        worker = FIRST_WORKER if self.running(FIRST_WORKER) or not self.running(SECOND_WORKER) else SECOND_WORKER
        self.start(worker)
        self.stop(self.other(worker))
        return worker

    def connect(self, worker: str) -> Connect:
        return (self._second if worker == SECOND_WORKER else self.settings).connect

    def url(self, worker: str) -> str:
        return self.connect(worker).url

    def worker_id(self, worker: str) -> str:
        """As Connect's REST API names it."""
        return f"{self.connect(worker).host}:{self.connect(worker).port}"


@dataclass
class Sink:
    """`elasticsearch-readings` as it is defined, but for its name, topic, indices and dead letters.

    `records` has, by partition, what is at each offset; `offsets` the offset of each reading, by its `seq`.
    """

    engines: Workers
    name: str
    records: dict[int, list[Produced]] = field(default_factory=lambda: {number: [] for number in range(PARTITIONS)})
    offsets: dict[int, int] = field(default_factory=dict)
    months: list[str] = field(default_factory=list)  # the indices that the readings belong to
    options: dict[str, str] = field(default_factory=dict)  # others than those of the definition
    worker: str = FIRST_WORKER  # the one that is asked, and that writes until another one comes

    def __post_init__(self) -> None:
        self.settings = self.engines.settings
        self.indices = f"{self.name}-*"
        self.letters = f"dlq.{self.name}"
        self.store = self.engines.store

    # --- the topic ---------------------------------------------------------------------------------------------

    def fill(self, count: int, chance: random.Random) -> None:
        """Makes the topic and writes `count` records into it: readings, some of them twice, and poison."""
        with kafka_admin(self.settings) as admin:
            described = {"num_partitions": PARTITIONS, "replication_factor": 1}
            admin.create_topics({self.name: described}, wait_for_metadata=True)
        producer = Producer(
            {
                "bootstrap.servers": self.settings.kafka.bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "queue.buffering.max.messages": count,
            }
        )
        written: list[tuple[int, int]] = []
        for seq in range(count):
            sensor, micros = 1 + seq % _SENSORS, _FIRST_MICROS + seq * _STEP_MICROS
            if written and chance.random() < _REPEATED_SHARE:
                # Half of them so near that both may be in one bulk, or in two that are under way at once.
                sensor, micros = chance.choice(written[-5000:] if chance.random() < 0.5 else written)
            poison = chance.random() < _POISON_SHARE
            record = Produced(_poison(seq, chance)) if poison else self._reading(sensor, micros, seq)
            if not poison:
                written.append((sensor, micros))
            producer.produce(
                self.name, record.value, key=b"%d" % sensor, on_delivery=partial(self._delivered, seq, record)
            )
            if seq % 1000 == 0:
                producer.poll(0)
        assert producer.flush(60) == 0
        self.months = sorted({record.place[0] for record in chain(*self.records.values()) if record.place})

    def _reading(self, sensor: int, micros: int, seq: int) -> Produced:
        timestamp = format_timestamp(micros)
        value = b'{"timestamp": "%b", "temperature": %d.%d, "sensor_id": %d, "seq": %d}' % (
            *(timestamp.encode(), seq % 40, seq % 10, sensor, seq),
        )
        return Produced(value, (f"{self.name}-{timestamp[:4]}.{timestamp[5:7]}", identity(sensor, micros)))

    def _delivered(self, seq: int, record: Produced, error: DeliveryError | None, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        assert error is None and partition is not None, error
        assert offset == len(self.records[partition]), "Kafka's offsets have no gaps, and its reports are in order"
        self.records[partition].append(record)
        self.offsets[seq] = offset

    # --- the connector -----------------------------------------------------------------------------------------

    def create(self) -> None:
        schema = load_schema(self.settings.reading.toml)
        body = schema.index_template(self.indices, shards=2, replicas=0)
        self.store.indices.put_index_template(name=self.name, **body)
        # Made beforehand: one that is only just being made can't be searched for a moment.
        for index in self.months:
            self.store.indices.create(index=index)
        config = definitions(self.settings, schema)[ELASTICSEARCH_SINK] | {
            "name": self.name,
            "topics": self.name,
            "index": self.name + "-{timestamp:yyyy.MM}",
            "errors.deadletterqueue.topic.name": self.letters,
            **self.options,
        }
        with Rest(self.engines.url(self.worker)) as rest:
            rest.put_config(self.name, config)

    def delete(self) -> None:
        with Rest(self.engines.url(self.worker)) as rest:
            rest.delete(self.name)

    def assert_never_failed(self) -> None:
        """Nobody restarts a task here: one that fails stays so."""
        with Rest(self.engines.url(self.worker)) as rest:
            connector = rest.connector(self.name)
        assert connector is None or not connector.failed, f"{self.name} failed: {connector.trouble}"

    def workers(self) -> set[str]:
        """The worker_id of every running task; empty while Connect is busy with a rebalance."""
        answer = httpx.get(
            f"{self.engines.url(self.worker)}/connectors/{self.name}/status", trust_env=False, timeout=30
        )
        tasks = answer.json()["tasks"] if answer.is_success else []
        return {task["worker_id"] for task in tasks if task["state"] == "RUNNING"}

    # --- how far it is -----------------------------------------------------------------------------------------

    def committed(self) -> dict[int, int]:
        """By partition, the offset that the sink has committed; 0 where it has not yet."""
        offsets = await_true(self._committed, what=f"Kafka knows the offsets of {self.name}")
        assert offsets is not None
        return offsets

    def _committed(self) -> dict[int, int] | None:
        group = consumer_group(self.name)
        try:
            with kafka_admin(self.settings) as admin:
                there = admin.list_group_offsets({group: None}).get(group, {})
        except KafkaError:  # a broker accepts connections before it knows everything again
            return None
        offsets = {number: there.get(TopicPartition(self.name, number)) for number in self.records}
        return {number: max(0, at.offset) if at is not None else 0 for number, at in offsets.items()}

    def lag(self) -> int:
        return self.behind(self.committed())

    def behind(self, committed: dict[int, int]) -> int:
        """Records of the topic that are not committed yet."""
        return sum(len(records) - committed[number] for number, records in self.records.items())

    def stored(self) -> int:
        """Documents that can be found now: up to a second old, since each refresh would cost the sink its speed."""
        self._await_indices()
        return int(self.store.count(index=self.indices)["count"])

    def under_way(self) -> int:
        """Bytes of the bulk requests that Elasticsearch works on now."""
        nodes = self.store.nodes.stats(metric="indexing_pressure")["nodes"]
        return sum(node["indexing_pressure"]["memory"]["current"]["all_in_bytes"] for node in nodes.values())

    def await_busy(self, documents: int) -> None:
        """Until so many documents are stored, and a bulk is under way at this very moment."""
        await_true(lambda: self.stored() >= documents, 120, f"{documents} documents of {self.name}")
        # After an outage every lane may be waiting before it tries again, for 10 s at most.
        await_true(self.under_way, 30, f"a bulk of {self.name} under way")

    def await_end(self) -> None:
        """Until everything is committed; a task that fails on the way is an error."""

        def ended() -> bool:
            self.assert_never_failed()
            return self.lag() == 0

        try:
            await_true(ended, 120, f"no lag of {self.name}")
        except AssertionError:
            committed = self.committed()
            places = {number: f"{committed[number]} of {len(records)}" for number, records in self.records.items()}
            print(f"{self.name}: committed {places}, stored {self.stored()}, under way {self.under_way()} bytes")
            raise

    # --- what came of it ---------------------------------------------------------------------------------------

    def documents(self) -> dict[Place, dict[str, Any]]:
        """All there are: an answer that lacks a shard's is an error, for what is there would seem to be missing."""
        self._await_indices()
        shards = self.store.indices.refresh(index=self.indices)["_shards"]
        assert shards["failed"] == 0 and shards["successful"] == shards["total"], f"not refreshed: {shards}"
        counted = self.store.count(index=self.indices)
        hits = scan(
            self.store,
            index=self.indices,
            size=10_000,
            filter_path="_scroll_id,_shards,hits.hits",
            allow_partial_search_results=False,
        )
        found = {(hit["_index"], hit["_id"]): hit["_source"] for hit in hits}
        # There may be more by now: Elasticsearch goes on with the bulks of a worker that is dead.
        assert counted["_shards"]["failed"] == 0 and len(found) >= counted["count"], f"{len(found)} read of {counted}"
        return found

    def _await_indices(self) -> None:
        """Until every primary is there: after a start Elasticsearch answers before it has opened its shards."""
        # Named one by one: a pattern fits nothing, and nothing is green, before Elasticsearch knows its indices again.
        self.store.cluster.health(
            index=self.months, wait_for_status="yellow", wait_for_no_initializing_shards=True, timeout="120s"
        )

    def assert_searchable(self, committed: dict[int, int]) -> None:
        """Every reading below these offsets can be found, or a later one with its identity can."""
        documents = self.documents()
        missing, older = [], []
        for partition, records in self.records.items():
            last = {record.place: at for at, record in enumerate(records[: committed[partition]]) if record.place}
            for place, offset in last.items():
                found = documents.get(place)
                if found is None:
                    missing.append(f"{partition}@{offset} {place}")
                elif self.offsets[found["seq"]] < offset:
                    older.append(
                        f"{partition}@{offset} {place}, still the value of offset {self.offsets[found['seq']]}"
                    )
        print(f"{self.name}: committed {sum(committed.values())}, stored {len(documents)}")
        assert not (missing or older), (
            f"of the readings that are committed ({committed}) {len(missing)} are missing: {missing[:20]},"
            f" and {len(older)} have an older value: {older[:20]}"
        )

    def assert_exact(self) -> None:
        """The indices hold the last reading of each identity and nothing else, the dead letters all the poison."""
        found = self.documents()
        wanted = {record.place: record.value for record in chain(*self.records.values()) if record.place}
        lost = sorted(wanted.keys() - found.keys())
        strange = sorted(found.keys() - wanted.keys())
        other = [
            place for place, source in found.items() if place in wanted and source != json.loads(wanted[place] or b"")
        ]
        assert not (lost or strange or other), (
            f"of {len(wanted)} readings {len(lost)} are lost {lost[:5]}, {len(other)} have another's value {other[:5]},"
            f" and {len(strange)} documents are none of them {strange[:5]}"
        )
        poison = {
            (number, at) for number, records in self.records.items() for at, r in enumerate(records) if not r.place
        }
        assert self.dead_letters() == poison

    def dead_letters(self) -> set[tuple[int, int]]:
        """Partition and offset of each record that was put aside."""
        places = set()
        with kafka_consumer(self.settings, consumer_timeout_ms=1000) as consumer:
            partition = TopicPartition(self.letters, 0)
            consumer.assign([partition])
            consumer.seek_to_beginning(partition)
            for letter in consumer:
                headers = dict(letter.headers)
                places.add((int(headers["__connect.errors.partition"]), int(headers["__connect.errors.offset"])))
        return places


@contextmanager
def running_sink(engines: Workers, name: str, count: int, chance: random.Random, **options: str) -> Iterator[Sink]:
    """A sink that has just been given a topic of `count` records; `options` have _ in place of their points."""
    engines.start("kafka", "elasticsearch")
    sink = Sink(engines, name, worker=engines.only_worker())
    sink.options.update({option.replace("_", "."): value for option, value in options.items()})
    sink.fill(count, chance)
    sink.create()
    try:
        yield sink
    except BaseException as error:
        engines.failed = True
        error.add_note(f"The logs are kept in {sink.settings.home}.")
        raise
    finally:
        # Whatever is dead: a connector that is left would take part in the next test's rebalances.
        engines.start("kafka", "elasticsearch")
        engines.start(sink.worker)
        sink.delete()


def _poison(seq: int, chance: random.Random) -> bytes | None:
    """What the converter refuses."""
    return chance.choice(
        (
            None,
            b"[%d]" % seq,
            b'{"timestamp": "2024-01-23 09:00:00.000000", "seq": %d' % seq,
            b'{"timestamp": "2024-01-23 09:00:00.000000", "seq": %d}' % seq,
            b'{"timestamp": "garbage", "sensor_id": 1, "seq": %d}' % seq,
        )
    )
