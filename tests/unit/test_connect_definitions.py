"""The worker's and the connectors' configuration, as far as it can be judged without a worker."""

from __future__ import annotations

import json
import re
from string import Template

import pytest

from connect.connectors import DEFINITIONS, definitions
from maredata.indices import index_templates
from maredata.names import ALL_CONNECTORS, ELASTICSEARCH_SINK, SINKS, dead_letters
from maredata.schema import load_schema
from maredata.settings import CHECKOUT, Settings, variables

SCHEMA = load_schema(CHECKOUT / "maredata" / "reading.toml")
SECRET = "not-to-be-seen"  # noqa: S105
SETTINGS = Settings.model_validate(
    {"connect": {"tasks": 3}, "mariadb": {"password": SECRET}, "elasticsearch": {"user": "u", "password": SECRET}}
)
CONNECTORS = definitions(SETTINGS, SCHEMA)


def test_there_is_a_definition_for_each_connector() -> None:
    assert set(CONNECTORS) == set(ALL_CONNECTORS)


@pytest.mark.parametrize("name", ALL_CONNECTORS)
def test_connector(name: str) -> None:
    config = CONNECTORS[name]
    assert config["name"] == name
    assert config["topics"] == ALL_CONNECTORS[name]
    assert config["errors.tolerance"] == "all"
    assert config["errors.deadletterqueue.topic.name"] == dead_letters(name)


@pytest.mark.parametrize("name", SINKS)
def test_sink_of_readings(name: str) -> None:
    assert CONNECTORS[name]["tasks.max"] == "3"
    assert json.loads(CONNECTORS[name]["value.converter.schema.content"]) == SCHEMA.sink_schema()


def test_a_request_that_comes_late_cannot_replace_a_newer_reading() -> None:
    config = CONNECTORS[ELASTICSEARCH_SINK]
    assert config["document.version"] == "offset"
    # Offsets order only the records of one partition: the id must follow from the record's key, the sensor.
    assert config["document.id"].startswith("{sensor_id}-")


@pytest.mark.parametrize("name", sorted(ALL_CONNECTORS.keys() - set(SINKS)))
def test_sink_of_another_topic_stores_each_record_once_in_an_index_that_a_template_covers(name: str) -> None:
    config = CONNECTORS[name]
    assert config["document.id"] == "{topic}-{partition}-{offset}"
    (pattern,) = index_templates(SETTINGS)[name.removeprefix("elasticsearch-")]["index_patterns"]
    assert config["index"] == pattern.replace("*", "{timestamp:yyyy.MM}")
    for part in ("key", "value", "header"):  # whatever bytes there are
        assert config[f"{part}.converter"] == "org.apache.kafka.connect.converters.ByteArrayConverter"


@pytest.mark.parametrize("name", ALL_CONNECTORS)
def test_no_secret_and_no_address_is_in_a_configuration(name: str) -> None:
    text = json.dumps(CONNECTORS[name])
    assert SECRET not in text
    assert "127.0.0.1" not in text
    assert CONNECTORS[name]["connection.password"].startswith("${env:MARE_")


@pytest.mark.parametrize("name", ALL_CONNECTORS)
def test_variables_that_the_worker_puts_in_exist(name: str) -> None:
    named = re.findall(r"\$\{env:(\w+)\}", json.dumps(CONNECTORS[name]))
    assert named
    assert set(named) <= set(variables())


def test_definitions_are_plain_json_with_texts_only() -> None:
    for path in DEFINITIONS.glob("*.json"):
        assert all(isinstance(value, str) for value in json.loads(path.read_text("utf-8")).values())


def test_worker_takes_exactly_the_placeholders_it_names() -> None:
    text = (CHECKOUT / "connect" / "worker.properties").read_text("utf-8")
    placeholders = {"bootstrap", "rest_host", "rest_port", "advertised_host", "plugins", "secrets"}
    assert set(Template(text).get_identifiers()) == placeholders
    filled = Template(text).substitute(dict.fromkeys(placeholders, "x"))
    entries = dict(line.split("=", 1) for line in filled.splitlines() if line and not line.startswith("#"))
    assert int(entries["offset.flush.interval.ms"]) <= 5000
    assert entries["plugin.discovery"] == "service_load"
    assert entries["connector.client.config.override.policy"] == "All"
