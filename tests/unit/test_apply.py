"""What `mare apply` would do to a table or an index, and what it refuses to do."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import NotFoundError

from maredata import apply as applying
from maredata.apply import Column, await_gateway, refuse_other_mappings, table_changes
from maredata.errors import EngineTimedOut, SchemaError
from maredata.indices import apply_index_templates, index_templates
from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT, Settings
from maredata.state import ledger_file, write_json
from maredata.topics import wanted_topics

SHIPPED = load_schema(CHECKOUT / "maredata" / "reading.toml")


def schema_with(**more: dict[str, Any]) -> Schema:
    return Schema.from_dict({**SHIPPED.as_dict(), **more})


def table_of(schema: Schema) -> dict[str, Column]:
    """The columns that MariaDB has once the table was created from `schema`."""
    keys = ("sensor_id", "timestamp")
    columns = [Column(name, kind, name not in keys, in_key=name in keys) for name, kind in schema.columns()]
    columns += [Column(name, "point", True, generated=True) for name, _ in schema.points()]
    return {column.name: column for column in columns}


def test_table_that_is_up_to_date_is_left_alone() -> None:
    assert table_changes(SHIPPED, table_of(SHIPPED)) == []


def test_table_that_is_not_there_is_not_altered() -> None:
    assert table_changes(SHIPPED, {}) == []


def test_new_fields_become_columns() -> None:
    wanted = schema_with(salinity={"type": "number"}, note={"type": "text", "max_length": 40})
    assert table_changes(wanted, table_of(SHIPPED)) == [
        "ADD COLUMN `salinity` double NULL, ADD COLUMN `note` varchar(40) NULL"
    ]


def test_new_location_gets_its_point_in_a_statement_of_its_own() -> None:
    changes = table_changes(schema_with(anchor={"type": "location"}), table_of(SHIPPED))
    assert changes == [
        "ADD COLUMN `anchor_lon` double NULL, ADD COLUMN `anchor_lat` double NULL",
        "ADD COLUMN `anchor` point GENERATED ALWAYS AS (point(`anchor_lon`, `anchor_lat`)) VIRTUAL",
    ]


def test_interrupted_change_goes_on_where_it_stopped() -> None:
    wanted = schema_with(anchor={"type": "location"}, salinity={"type": "number"})
    there = table_of(wanted)
    del there["anchor"]
    assert table_changes(wanted, there) == [
        "ADD COLUMN `anchor` point GENERATED ALWAYS AS (point(`anchor_lon`, `anchor_lat`)) VIRTUAL"
    ]


def test_text_is_widened() -> None:
    there = table_of(schema_with(note={"type": "text", "max_length": 40}))
    assert table_changes(schema_with(note={"type": "text", "max_length": 80}), there) == [
        "MODIFY COLUMN `note` varchar(80) NULL"
    ]


def test_column_that_would_refuse_a_reading_without_the_field_is_opened() -> None:
    there = table_of(SHIPPED)
    there["humidity"] = replace(there["humidity"], nullable=False)
    assert table_changes(SHIPPED, there) == ["MODIFY COLUMN `humidity` double NULL"]


def test_generated_column_of_the_users_own_is_no_field() -> None:
    there = {**table_of(SHIPPED), "kelvin": Column("kelvin", "double", True, generated=True)}
    assert table_changes(SHIPPED, there) == []


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (Column("salinity", "double", True), "Column salinity of table readings belongs to no field"),
        (Column("humidity", "float", True), "Column humidity of table readings is float and can't become double"),
        (Column("timestamp", "datetime", False, in_key=True), "Column timestamp of table readings is datetime"),
        (Column("sensor_id", "bigint", False), "needs the primary key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_table_that_is_refused(column: Column, sentence: str) -> None:
    with pytest.raises(SchemaError, match=sentence):
        table_changes(SHIPPED, {**table_of(SHIPPED), column.name: column})


def test_column_in_the_way_of_a_location() -> None:
    there = {**table_of(SHIPPED), "location": Column("location", "varchar(50)", True)}
    with pytest.raises(SchemaError, match="Column location of table readings"):
        table_changes(SHIPPED, there)


def test_shortened_text_is_refused() -> None:
    there = table_of(schema_with(note={"type": "text", "max_length": 80}))
    with pytest.raises(SchemaError, match=r"is varchar\(80\) and can't become varchar\(40\)"):
        table_changes(schema_with(note={"type": "text", "max_length": 40}), there)


def test_row_that_mariadb_could_not_hold() -> None:
    wide = {f"note_{number}": {"type": "text", "max_length": 8000} for number in range(3)}
    with pytest.raises(SchemaError, match="too long together"):
        table_changes(schema_with(**wide), {})


def test_index_with_another_type_is_refused() -> None:
    refuse_other_mappings(SHIPPED, {"readings-2024.01": {"humidity": {"type": "double"}, "note": {"type": "text"}}})
    with pytest.raises(SchemaError, match=r"readings-2024\.01 holds humidity as float, not double"):
        refuse_other_mappings(SHIPPED, {"readings-2024.01": {"humidity": {"type": "float"}}})


def test_every_topic_has_a_retention_in_time_and_bytes() -> None:
    settings = Settings.model_validate({"kafka": {"partitions": 4, "readings_days": 3, "readings_bytes": 8 << 30}})
    topics = {topic.name: topic for topic in wanted_topics(settings)}
    assert set(topics) == {
        "readings",
        "readings.rejected",
        "buoy.events",
        "pipeline.metrics",
        "dlq.mariadb-readings",
        "dlq.elasticsearch-readings",
        "dlq.elasticsearch-rejected",
        "dlq.elasticsearch-events",
        "dlq.elasticsearch-pipeline",
    }
    assert topics["readings"].partitions == 4
    assert topics["readings"].config["retention.ms"] == str(3 * 86_400_000)
    # Kafka counts the bytes of each partition.
    assert topics["readings"].config["retention.bytes"] == str(2 << 30)
    assert topics["dlq.mariadb-readings"].config["retention.ms"] == str(90 * 86_400_000)


def test_small_retention_is_cut_in_segments_that_can_be_deleted() -> None:
    settings = Settings.model_validate({"kafka": {"partitions": 1, "readings_bytes": 64 << 20}})
    assert int(wanted_topics(settings)[0].config["segment.bytes"]) == 16 << 20


class FakeElasticsearch:
    """Stands in for the client, as far as templates and mappings go; remembers what it was told, in order."""

    def __init__(self, *indices: str) -> None:
        self.templates: dict[str, dict[str, Any]] = {}
        self.told: list[tuple[str, str]] = []
        self.mappings: dict[str, Any] = {}
        self._there = indices

    @property
    def indices(self) -> FakeElasticsearch:
        return self

    def get_index_template(self, name: str) -> dict[str, Any]:
        if name not in self.templates:
            raise NotFoundError("no such template", meta=None, body=None)  # type: ignore[arg-type]
        return {"index_templates": [{"index_template": self.templates[name]}]}

    def put_index_template(self, name: str, **body: Any) -> None:
        self.told.append(("template", name))
        self.templates[name] = body

    def get_mapping(self, index: str) -> dict[str, Any]:
        return {there: {} for there in self._there if there.startswith(index.removesuffix("*"))}

    def put_mapping(self, index: str, **mappings: Any) -> None:
        self.told.append(("mapping", index))
        self.mappings = mappings

    def put_settings(self, index: str, settings: dict[str, Any]) -> None:
        self.told.append(("settings", f"{index} {settings}"))


def apply_templates(elasticsearch: Any, settings: Settings) -> list[str]:
    said: list[str] = []
    apply_index_templates(settings, elasticsearch, said.append)
    return said


def test_index_templates_are_written_once() -> None:
    elasticsearch, settings = FakeElasticsearch(), Settings()
    assert apply_templates(elasticsearch, settings) == [
        f"index template {name}: written" for name in ("rejected", "events", "pipeline")
    ]
    assert elasticsearch.told == [("template", name) for name in ("rejected", "events", "pipeline")]
    assert apply_templates(elasticsearch, settings) == []
    assert elasticsearch.templates["rejected"]["index_patterns"] == ["rejected-*"]
    assert elasticsearch.templates["rejected"]["template"]["settings"]["number_of_shards"] == 1


def test_index_that_is_there_follows_its_template_which_comes_last() -> None:
    elasticsearch, settings = FakeElasticsearch("events-2024.01", "readings-2024.01"), Settings()
    apply_templates(elasticsearch, settings)
    replicated = Settings.model_validate({"elasticsearch": {"replicas": 1}})
    elasticsearch.told.clear()
    assert len(apply_templates(elasticsearch, replicated)) == 3
    assert elasticsearch.told == [
        ("template", "rejected"),
        ("mapping", "events-*"),
        ("settings", "events-* {'number_of_replicas': 1}"),
        ("template", "events"),
        ("template", "pipeline"),
    ]
    assert elasticsearch.mappings == elasticsearch.templates["events"]["template"]["mappings"]


def test_nothing_is_mapped_by_a_name_that_somebody_else_chose() -> None:
    pipeline = index_templates(Settings())["pipeline"]["template"]["mappings"]
    assert pipeline["dynamic"] is False
    assert pipeline["properties"]["connectors"] == {"type": "flattened"}
    assert pipeline["properties"]["ledger"]["properties"]["unknown_fields"]["enabled"] is False
    growing = {name for name, field in pipeline["properties"]["ledger"]["properties"].items() if field.get("dynamic")}
    assert growing == {"datagrams", "lines", "sensors", "rejected", "refused", "rejected_copies", "refused_copies"}
    for name in ("rejected", "events"):
        mappings = index_templates(Settings())[name]["template"]["mappings"]
        assert mappings["dynamic"] is False
        assert not any("dynamic" in field for field in mappings["properties"].values())


def test_long_lines_can_be_stored() -> None:
    """Lucene refuses a term of more than 32,766 bytes, and with it the whole document."""
    for body in index_templates(Settings()).values():
        for field in body["template"]["mappings"]["properties"].values():
            for mapping in (field, *field.get("fields", {}).values()):
                assert mapping.get("type") != "keyword" or mapping["ignore_above"] <= 8191


def gateway(home: Path, fingerprint: str, pid: int, age: float = 0, **more: Any) -> Settings:
    """Settings of an instance with a gateway's ledger that was written `age` seconds ago."""
    settings = Settings.model_validate({"home": home})
    write_json(ledger_file(settings), {"pid": pid, "fingerprint": fingerprint, "stopped": None, **more})
    os.utime(ledger_file(settings), (time.time() - age,) * 2)
    return settings


def test_gateway_that_lives_is_waited_for(tmp_path: Path) -> None:
    settings = gateway(tmp_path, "earlier", os.getpid())
    reload = threading.Timer(0.5, gateway, (tmp_path, SHIPPED.fingerprint, os.getpid()))
    reload.start()
    said: list[str] = []
    began = time.monotonic()
    await_gateway(settings, SHIPPED, said.append)
    assert time.monotonic() - began >= 0.4
    assert said == ["gateway: schema reloaded"]


def test_gateway_that_keeps_the_earlier_schema_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "_GATEWAY_SECONDS", 0.3)
    settings = gateway(tmp_path, "earlier", os.getpid(), age=20)
    with pytest.raises(EngineTimedOut, match="has not taken over the schema within"):
        await_gateway(settings, SHIPPED, lambda _: None)


@pytest.mark.parametrize("age", [0, 4])
def test_gateway_in_another_container_counts_while_its_ledger_is_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float
) -> None:
    monkeypatch.setattr(applying, "_GATEWAY_SECONDS", 0.3)
    with pytest.raises(EngineTimedOut):
        await_gateway(gateway(tmp_path, "earlier", 0x7FFFFFFF, age), SHIPPED, lambda _: None)


@pytest.mark.parametrize(
    ("pid", "age", "more"),
    [(0x7FFFFFFF, 10, {}), (os.getpid(), 3600, {}), (os.getpid(), 0, {"stopped": "2024-01-21T10:06:04"})],
    ids=["dead", "its process id is another's", "stopped"],
)
def test_gateway_that_is_gone_is_not_waited_for(tmp_path: Path, pid: int, age: float, more: dict[str, Any]) -> None:
    await_gateway(gateway(tmp_path, "earlier", pid, age, **more), SHIPPED, lambda _: None)


def test_instance_without_a_gateway_is_not_waited_for(tmp_path: Path) -> None:
    await_gateway(Settings.model_validate({"home": tmp_path}), SHIPPED, lambda _: None)
