"""`mare apply`: brings running stores up to the current schema, in an order in which no reading is lost.

Topics, table and its views, index template and existing mappings, connectors, and last the gateway: each is ready for
the new fields before anything in front of it sends them. Everything that could be refused is looked at before anything
is changed, and every step can be repeated, so an interrupted apply is mended by the next one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mysql.connector
import psutil
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch, NotFoundError
from kafka.errors import KafkaError
from mysql.connector.abstracts import MySQLConnectionAbstract

from maredata.errors import EngineTimedOut, SchemaError, StoreError
from maredata.indices import apply_index_templates
from maredata.names import READINGS, READINGS_PATTERN, READINGS_TEMPLATE
from maredata.schema import Schema
from maredata.settings import Settings
from maredata.state import ledger_file, read_json, schema_file, write_json
from maredata.stores import connect_elasticsearch, connect_mariadb
from maredata.topics import apply_topics, refuse_other_partitions
from maredata.views import apply_views

Progress = Callable[[str], None]

_GATEWAY_SECONDS = 15
_LEDGER_FRESH_SECONDS = 5  # the gateway writes it every second
_LEDGER_STALE_SECONDS = 60  # after this its process id may be another program's
_LOCK_SECONDS = 20
_LARGEST_ROW = 65_535  # bytes, MariaDB's limit over all columns


@dataclass(frozen=True)
class Column:
    """A column as MariaDB describes it."""

    name: str
    type: str
    nullable: bool
    generated: bool = False
    in_key: bool = False


def apply(settings: Settings, schema: Schema, connectors: Callable[[], object], progress: Progress) -> None:
    """Brings everything up to `schema`; `connectors` does so for Kafka Connect's connectors.

    Raises:
        SchemaError, SettingsError: the change would lose data; nothing was changed.
        StoreError: a store did not answer or did not do it; the next apply goes on from there.
        EngineTimedOut: the gateway has not taken over the schema.
    """
    try:
        with connect_elasticsearch(settings) as elasticsearch, connect_mariadb(settings) as mariadb:
            _refuse(settings, schema, elasticsearch, mariadb)
            apply_topics(settings, progress)
            _apply_table(schema, mariadb, progress)
            apply_views(schema, mariadb, progress)
            _apply_indices(settings, schema, elasticsearch, progress)
            apply_index_templates(settings, elasticsearch, progress)
    except (ApiError, TransportError) as error:
        raise StoreError(f"Elasticsearch at {settings.elasticsearch.url} did not do it: {error}.") from error
    except mysql.connector.Error as error:
        where = f"{settings.mariadb.host}:{settings.mariadb.port}"
        raise StoreError(f"MariaDB at {where} did not do it: {error}.") from error
    except KafkaError as error:
        raise StoreError(f"Kafka at {settings.kafka.bootstrap} did not do it: {error}.") from error
    connectors()
    write_json(schema_file(settings), {"fingerprint": schema.fingerprint})
    await_gateway(settings, schema, progress)


# --- what is refused, before anything is changed -----------------------------------------------------------------


def _refuse(settings: Settings, schema: Schema, elasticsearch: Elasticsearch, mariadb: MySQLConnectionAbstract) -> None:
    refuse_other_partitions(settings)
    previous = _previous_schema(elasticsearch)
    if previous is not None:
        schema.refuse_loss(previous)
    refuse_other_mappings(schema, _mappings(elasticsearch))
    table_changes(schema, _columns(mariadb))


def refuse_other_mappings(schema: Schema, mappings: dict[str, dict[str, Any]]) -> None:
    """Raises SchemaError where an index holds a field under another type: a mapping can't be changed."""
    wanted = schema.mapping_properties()
    for index, properties in mappings.items():
        for name in properties.keys() & wanted.keys():
            there = properties[name].get("type", "object")
            if there != wanted[name]["type"]:
                raise SchemaError(
                    f"Index {index} holds {name} as {there}, not {wanted[name]['type']}, and that can't be changed:"
                    " give the field in reading.toml another name."
                )


def table_changes(schema: Schema, there: dict[str, Column]) -> list[str]:
    """What ALTER TABLE has to do, one statement each, to a table with the columns `there`; nothing to no table.

    Raises SchemaError for a table that the schema would have to lose something of.
    """
    wanted = dict(schema.columns())
    _refuse_wide(wanted)
    if not there:
        return []
    _refuse_table(schema, wanted, there)
    required = {field.name for field in schema.fields if field.required}
    changes = []
    for name, kind in wanted.items():
        if name not in there:
            changes.append(f"ADD COLUMN `{name}` {kind} NULL")
        elif there[name].type != kind or (not there[name].nullable and name not in required):
            changes.append(f"MODIFY COLUMN `{name}` {kind} {'NOT NULL' if name in required else 'NULL'}")
    # MariaDB copies the whole table where a virtual column comes with others, and is done at once where it doesn't.
    points = [f"ADD COLUMN `{name}` {kind}" for name, kind in schema.points() if name not in there]
    return [", ".join(changes), *points] if changes else points


def _refuse_table(schema: Schema, wanted: dict[str, str], there: dict[str, Column]) -> None:
    if {column.name for column in there.values() if column.in_key} != {"sensor_id", "timestamp"}:
        raise SchemaError(
            f"Table {READINGS} needs the primary key (sensor_id, timestamp), so that a reading is stored once:"
            " change its key, or name another database in MARE_MARIADB__DATABASE."
        )
    for column in there.values():
        if column.generated:
            continue
        if column.name not in wanted:
            raise SchemaError(
                f"Column {column.name} of table {READINGS} belongs to no field: put the field back into reading.toml."
            )
        if not _can_become(column.type, wanted[column.name]):
            raise SchemaError(
                f"Column {column.name} of table {READINGS} is {column.type} and can't become {wanted[column.name]}:"
                " add a field with another name."
            )
    for name in dict(schema.points()):
        if name in there and not there[name].generated:
            raise SchemaError(f"Column {name} of table {READINGS} is in the way of location {name}: rename the field.")


def _can_become(there: str, wanted: str) -> bool:
    lengths = [re.fullmatch(r"varchar\((\d+)\)", kind) for kind in (there, wanted)]
    if lengths[0] and lengths[1]:
        return int(lengths[0][1]) <= int(lengths[1][1])
    return there == wanted


def _refuse_wide(columns: dict[str, str]) -> None:
    lengths = [re.fullmatch(r"varchar\((\d+)\)", kind) for kind in columns.values()]
    size = sum(int(length[1]) * 4 + 2 if length else 8 for length in lengths)
    if size + len(columns) // 8 + 1 > _LARGEST_ROW:
        raise SchemaError(
            f"The text fields are too long together: a row would take {size:,} bytes of {_LARGEST_ROW:,} that MariaDB"
            " allows; give them a smaller max_length."
        )


# --- MariaDB -----------------------------------------------------------------------------------------------------


def _columns(mariadb: MySQLConnectionAbstract) -> dict[str, Column]:
    """The readings table's columns by name; empty where there is no such table."""
    cursor = mariadb.cursor()
    cursor.execute(
        "SELECT column_name, column_type, is_nullable, COALESCE(generation_expression, '') <> '', column_key"
        " FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s"
        " ORDER BY ordinal_position",
        (READINGS,),
    )
    rows: list[Any] = cursor.fetchall()
    cursor.close()
    return {
        name: Column(name, _plain_type(str(kind)), nullable == "YES", bool(generated), key == "PRI")
        for name, kind, nullable, generated, key in rows
    }


def _plain_type(kind: str) -> str:
    # The width of an integer only says how it is printed.
    return re.sub(r"^bigint\(\d+\)$", "bigint", kind)


def _apply_table(schema: Schema, mariadb: MySQLConnectionAbstract, progress: Progress) -> None:
    cursor = mariadb.cursor()
    there = _columns(mariadb)
    if not there:
        cursor.execute(schema.create_table(READINGS))
        progress(f"table {READINGS}: created")
    for change in table_changes(schema, there):
        # What a column needs is the lock: behind a long query, waiting for it would make the sink wait, too.
        cursor.execute(f"ALTER TABLE `{READINGS}` WAIT {_LOCK_SECONDS} {change}")
        progress(f"table {READINGS}: {change}")
    cursor.close()


# --- Elasticsearch -----------------------------------------------------------------------------------------------


def _previous_schema(elasticsearch: Elasticsearch) -> Schema | None:
    """The schema of the last apply, which the template remembers."""
    try:
        found = elasticsearch.indices.get_index_template(name=READINGS_TEMPLATE)
    except NotFoundError:
        return None
    fields = found["index_templates"][0]["index_template"].get("_meta", {}).get("fields")
    return Schema.from_dict(fields) if fields else None


def _mappings(elasticsearch: Elasticsearch) -> dict[str, dict[str, Any]]:
    """The mapped fields of each readings index there is."""
    found = elasticsearch.indices.get_mapping(index=READINGS_PATTERN)
    return {index: found[index]["mappings"].get("properties", {}) for index in found}


def _apply_indices(settings: Settings, schema: Schema, elasticsearch: Elasticsearch, progress: Progress) -> None:
    """Written every time: where nothing differs, Elasticsearch changes nothing."""
    chosen = settings.elasticsearch
    body = schema.index_template(READINGS_PATTERN, chosen.shards, chosen.replicas)
    previous = _previous_schema(elasticsearch)
    changed = previous is None or previous.fingerprint != schema.fingerprint
    elasticsearch.indices.put_index_template(name=READINGS_TEMPLATE, **body)
    if changed:
        progress(f"index template {READINGS_TEMPLATE}: written")
    indices = list(_mappings(elasticsearch))
    if indices:
        mappings = body["template"]["mappings"]
        elasticsearch.indices.put_mapping(
            index=READINGS_PATTERN,
            dynamic=mappings["dynamic"],
            meta=mappings["_meta"],
            properties=mappings["properties"],
        )
        elasticsearch.indices.put_settings(index=READINGS_PATTERN, settings={"number_of_replicas": chosen.replicas})
    if indices and changed:
        progress(f"{len(indices)} indices {READINGS_PATTERN}: mappings updated")


# --- the gateway -------------------------------------------------------------------------------------------------


def await_gateway(settings: Settings, schema: Schema, progress: Progress) -> None:
    """Waits until a gateway that is alive checks lines by the new schema, as its ledger says.

    Raises EngineTimedOut.
    """
    deadline = time.monotonic() + _GATEWAY_SECONDS
    waited = False
    while (process := _gateway(settings)) is not None:
        if read_json(ledger_file(settings)).get("fingerprint") == schema.fingerprint:
            if waited:
                progress("gateway: schema reloaded")
            return
        if time.monotonic() > deadline:
            raise EngineTimedOut(
                f"The gateway (process {process}) has not taken over the schema within {_GATEWAY_SECONDS} s, although"
                " both stores are ready for it: look at `mare logs gateway`, and apply again."
            )
        waited = True
        time.sleep(0.1)


def _gateway(settings: Settings) -> int | None:
    """The process id of the gateway that writes this instance's ledger, or None where none does.

    Its process may be in another container, so a ledger written just now counts as well.
    """
    ledger = read_json(ledger_file(settings))
    if not ledger or ledger.get("stopped"):
        return None
    age = time.time() - ledger_file(settings).stat().st_mtime
    process = int(ledger["pid"])
    alive = age < _LEDGER_FRESH_SECONDS or (age < _LEDGER_STALE_SECONDS and psutil.pid_exists(process))
    return process if alive else None
