"""docs/operations.md names what there is: services, volumes, files, settings, commands. test_restore.py runs it."""

from __future__ import annotations

import re
import subprocess

import click
import pytest
import yaml

from maredata.cli import main
from maredata.names import ALL_CONNECTORS
from maredata.settings import CHECKOUT, NO_SETTINGS, Settings, variables
from maredata.topics import wanted_topics

PAGE = (CHECKOUT / "docs" / "operations.md").read_text("utf-8")
COMPOSE = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text("utf-8"))
BLOCKS = re.findall(r"^```sh(?: (\w+))?\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", [block for _, block in BLOCKS])
def test_each_block_is_a_shells(block: str) -> None:
    checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_local_mode_and_containers_have_the_same_steps() -> None:
    kinds = [where for where, _ in BLOCKS if where]
    assert kinds == ["local", "containers"] * 2
    names = [set(re.findall(r"^(\w+)(?:=|\(\))", block, re.MULTILINE)) for where, block in BLOCKS[:2]]
    assert names[0] == names[1]


def test_services_and_volumes_are_those_of_the_compose_file() -> None:
    services = set(re.findall(r"docker compose exec (?:-T )?(?:--user root )?([\w-]+)", PAGE))
    assert services == {"python-extraction", "maria"} and services <= set(COMPOSE["services"])
    # Else `up -d` would not wait for it.
    assert COMPOSE["services"]["python-extraction"]["depends_on"]["setup"] == {
        "condition": "service_completed_successfully"
    }
    volumes = set(re.findall(rf"\b{COMPOSE['name']}_([\w-]+)", PAGE))
    assert len(volumes) == 3 and volumes <= set(COMPOSE["volumes"])


def test_snapshots_are_kept_where_elasticsearch_may_write_and_nothing_is_wiped() -> None:
    mounted = [volume for volume in COMPOSE["services"]["elasticsearch"]["volumes"] if volume.startswith("./backups")]
    assert mounted == ["./backups/elasticsearch:/usr/share/elasticsearch/backups"]
    there = (CHECKOUT / "installs/compose/elasticsearch/elasticsearch.yml").read_text("utf-8")
    assert "\npath.repo: /usr/share/elasticsearch/backups\n" in there
    ignored = (CHECKOUT / "backups" / "elasticsearch" / ".gitignore").read_text("utf-8").splitlines()
    assert ignored == ["*", "!.gitignore"]


def test_settings_and_commands_are_those_that_there_are() -> None:
    named = set(re.findall(r"\bMARE_[A-Z_]+", PAGE))
    assert named <= set(variables()) | NO_SETTINGS
    for words in re.findall(r"(?:^|`|; )(?:\./)?mare ([a-z][\w -]*)", PAGE, re.MULTILINE):
        command: click.Command = main
        for word in words.split():
            if word.startswith("-"):
                assert word in {option for found in command.params for option in found.opts}, words
            elif isinstance(command, click.Group):
                assert word in command.commands, words
                command = command.commands[word]


def test_every_connector_is_stopped_and_begun_again() -> None:
    (sinks,) = re.findall(r"^sinks='(.*)'$", PAGE, re.MULTILINE)
    assert sorted(sinks.split()) == sorted(ALL_CONNECTORS)


def test_retention_is_as_said() -> None:
    said = {topic.name: (topic.days, topic.bytes >> 30) for topic in wanted_topics(Settings())}
    assert said.pop("readings") == (14, 50) and "| topic `readings` | 14 days, at most 50 GiB |" in PAGE
    assert said.pop("pipeline.metrics") == (14, 5)
    assert set(said.values()) == {(90, 5)} and "90 days, at most 5 GiB each" in PAGE


@pytest.mark.parametrize("folder", ["templates", "compose/kafka"])
def test_kafka_looks_every_second_for_what_is_to_be_flushed(folder: str) -> None:
    """The interval without the scheduler's is never looked at: such a broker was seen to fsync nothing."""
    text = (CHECKOUT / "installs" / folder / "kafka.properties").read_text("utf-8")
    for line in ("log.flush.interval.ms=1000", "log.flush.scheduler.interval.ms=1000"):
        assert f"\n{line}\n" in text and f"`{line}`" in PAGE


@pytest.mark.parametrize("folder", ["templates", "compose/mariadb"])
def test_mariadbs_defaults_are_in_force_as_the_page_says(folder: str) -> None:
    text = (CHECKOUT / "installs" / folder / "mariadb.cnf").read_text("utf-8")
    assert not re.search(r"innodb.flush.log|sync.binlog", text)
    assert "binlog-expire-logs-seconds=259200" in text and "3 days" in PAGE


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (CHECKOUT / "docs" / link).exists(), link
