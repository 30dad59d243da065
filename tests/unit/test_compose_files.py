"""What stands beside docker-compose.yml: images' recipes, and files that are mounted, held against local mode's."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from string import Template

import pytest

from installs.artifacts import versions
from maredata.settings import CHECKOUT

COMPOSE = CHECKOUT / "docker-compose.yml"
DOCKERFILES = (CHECKOUT / "Dockerfile", CHECKOUT / "connect" / "Dockerfile")
TEMPLATES, MOUNTED = CHECKOUT / "installs" / "templates", CHECKOUT / "installs" / "compose"


def foreign_images(path: Path) -> list[tuple[str, str]]:
    """(image, the lines before it) of each image that is not ours."""
    lines = path.read_text("utf-8").splitlines()
    found = []
    for at, line in enumerate(lines):
        named = re.match(r"\s*(?:image: |FROM )(\S+)", line)
        if named and re.match(r"[\w./-]+:", named[1]) and not named[1].startswith("maredata"):
            found.append((named[1], "\n".join(lines[max(0, at - 2) : at])))
    return found


@pytest.mark.parametrize("path", [COMPOSE, *DOCKERFILES], ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_each_image_is_pinned_and_says_where_its_tag_was_seen(path: Path) -> None:
    found = foreign_images(path)
    assert found
    for image, before in found:
        assert re.search(r":\d+[\d.-]*\d", image), image
        assert "Tag seen:" in before and "https://" in before, image


def test_connects_image_is_built_on_the_same_kafka() -> None:
    text = DOCKERFILES[1].read_text("utf-8")
    assert f"FROM apache/kafka:{versions()['kafka']}\n" in text
    # Debezium's versions come from installs/pom.xml alone.
    assert not re.search(r"Final|debezium-connector-\w+:\d", text)
    for name in ("jdbc", "mariadb"):
        assert f"debezium-{name}" in versions()


def test_connects_image_fills_in_every_value_of_the_workers_settings() -> None:
    wanted = set(Template((CHECKOUT / "connect" / "worker.properties").read_text("utf-8")).get_identifiers())
    assert set(re.findall(r"s\|\\\$(\w+)\|", DOCKERFILES[1].read_text("utf-8"))) == wanted


def entries(path: Path, separator: str) -> dict[str, str]:
    """The settings of a file of lines; sections and comments are left out."""
    lines = (line.strip() for line in path.read_text("utf-8").split("[client]")[0].splitlines())
    pairs = (line.split(separator, 1) for line in lines if separator in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}


@pytest.mark.parametrize(
    ("template", "mounted", "separator", "own"),
    [
        (
            "kafka.properties",
            "kafka/kafka.properties",
            "=",
            {"listener.security.protocol.map", "inter.broker.listener.name"},
        ),
        (
            "elasticsearch.yml",
            "elasticsearch/elasticsearch.yml",
            ":",
            {
                *("transport.host", "xpack.security.http.ssl.enabled"),
                *("xpack.security.transport.ssl.enabled", "xpack.security.enabled"),
            },
        ),
        ("mariadb.cnf", "mariadb/mariadb.cnf", "=", set()),
    ],
)
def test_an_engine_has_the_local_modes_settings(template: str, mounted: str, separator: str, own: set[str]) -> None:
    there, wanted = entries(MOUNTED / mounted, separator), entries(TEMPLATES / template, separator)
    assert set(there.keys() ^ wanted.keys()) <= own
    for key, value in wanted.items():
        assert "$" in value or key in own or there[key] == value, key


def test_kafkas_log_has_the_local_modes_levels() -> None:
    pairs = (entries(path, "=") for path in (MOUNTED / "kafka/log4j2.properties", TEMPLATES / "log4j2.properties"))
    ours, theirs = ({key: value for key, value in found.items() if key.startswith("logger")} for found in pairs)
    assert ours == theirs and len(ours) > 8


def test_the_proxy_for_others_speaks_https_only() -> None:
    listening = re.findall(r"^\s*listen (.*);", (MOUNTED / "tls/nginx.conf").read_text("utf-8"), re.MULTILINE)
    assert sorted(listening) == ["5601 ssl", "9200 ssl"]


def test_nothing_secret_and_nothing_built_gets_into_an_image() -> None:
    for path in (CHECKOUT / ".dockerignore", CHECKOUT / "connect" / "Dockerfile.dockerignore"):
        lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
        assert lines[0] == "*"  # only what is named
        assert not any(line.startswith(("!.env", "!.mare", "!.git", "!tests")) for line in lines)


def test_every_package_of_ours_gets_into_the_image() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    named = (CHECKOUT / ".dockerignore").read_text("utf-8").splitlines()
    assert len(packages) > 8
    assert [package for package in packages if f"!{package}" not in named] == []
