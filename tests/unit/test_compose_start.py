"""The mounted start scripts of the engines' containers, with fake programs in the engines' place."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from maredata.settings import CHECKOUT

MOUNTED = CHECKOUT / "installs" / "compose"
HOSTILE = "a'b\\c$user&d"


@dataclass
class Container:
    """A container's folders under one of the test's, and fake programs that write down what they were given."""

    root: Path

    def place(self, path: str) -> Path:
        found = self.root / path.lstrip("/")
        found.mkdir(parents=True, exist_ok=True)
        return found

    def program(self, path: str, body: str) -> None:
        target = self.place(str(Path(path).parent)) / Path(path).name
        target.write_text(f'#!/bin/bash\necho "{target.name} $*" >> "{self.root}/ran"\n{body}\n')
        target.chmod(0o755)

    def start(self, script: str, paths: tuple[str, ...], **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs the script with each of `paths` moved under the root."""
        text = (MOUNTED / script).read_text("utf-8")
        for path in paths:
            text = text.replace(path, f"{self.root}{path}")
        shell = "bash" if text.startswith("#!/bin/bash") else "sh"
        search = f"{self.root}/bin:{os.environ['PATH']}"
        return subprocess.run(
            [shell, "-c", text], env={"PATH": search, **environment}, capture_output=True, text=True, check=False
        )

    @property
    def ran(self) -> list[str]:
        path = self.root / "ran"
        return path.read_text().splitlines() if path.exists() else []

    def count(self, program: str) -> int:
        return sum(line.startswith(program) for line in self.ran)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


# --- Kafka ----------------------------------------------------------------------------------------------------------

KAFKA = ("/opt/kafka", "/var/lib/kafka", "/etc/mare")


def kafka(container: Container) -> subprocess.CompletedProcess[str]:
    data = container.place("/var/lib/kafka/data")
    storage = f'[ "$1" = random-uuid ] && echo noise && echo CLUSTER || touch {data}/meta.properties'
    container.program("/opt/kafka/bin/kafka-storage.sh", storage)
    container.program("/opt/kafka/bin/kafka-server-start.sh", "")
    return container.start("kafka/start.sh", KAFKA)


def test_kafkas_data_folder_is_formatted_once(container: Container) -> None:
    for _ in range(2):
        assert kafka(container).returncode == 0
    configuration = f"{container.root}/etc/mare/kafka.properties"
    assert container.count("kafka-storage.sh format") == 1
    assert f"kafka-storage.sh format --cluster-id CLUSTER --config {configuration}" in container.ran
    assert container.ran.count(f"kafka-server-start.sh {configuration}") == 2


# --- Elasticsearch --------------------------------------------------------------------------------------------------

ELASTICSEARCH = ("/usr/share/elasticsearch", "/run/mare", "/etc/mare")


def elasticsearch(container: Container, password: str) -> subprocess.CompletedProcess[str]:
    home, mounted = container.place("/usr/share/elasticsearch/config"), container.place("/etc/mare")
    (home / "jvm.options").write_text("-XX:+UseG1GC\n8:-Xloggc:gc.log\n17-:-Xlog:gc*:file=logs/gc.log\n")
    for name in ("elasticsearch.yml", "log4j2.properties"):
        (mounted / name).write_text(name)
    keystore = f'[ "$1" = create ] && touch "$ES_PATH_CONF/elasticsearch.keystore" || cat > {container.root}/password'
    container.program("/usr/share/elasticsearch/bin/elasticsearch-keystore", keystore)
    container.program("/usr/share/elasticsearch/bin/elasticsearch", f"env > {container.root}/environment")
    return container.start("elasticsearch/start.sh", ELASTICSEARCH, ELASTIC_PASSWORD=password)


def test_a_changed_password_of_elastic_counts_at_the_next_start(container: Container) -> None:
    for password in ("first", "second"):
        answer = elasticsearch(container, password)
        assert answer.returncode == 0, answer.stderr
        assert (container.root / "password").read_text() == password
    assert container.count("elasticsearch-keystore create") == 2


def test_elasticsearch_itself_does_not_see_the_password(container: Container) -> None:
    elasticsearch(container, "s3cret")
    assert "s3cret" not in (container.root / "environment").read_text()
    assert not any("s3cret" in line for line in container.ran)  # nor does who looks at command lines


def test_elasticsearch_gets_the_mounted_files_and_logs_nothing_into_its_image(container: Container) -> None:
    elasticsearch(container, "x")
    configuration = container.root / "run/mare/config"
    assert (configuration / "elasticsearch.yml").read_text() == "elasticsearch.yml"
    assert (configuration / "jvm.options").read_text() == "-XX:+UseG1GC\n"
    assert f"ES_PATH_CONF={configuration}\n" in (container.root / "environment").read_text()


# --- MariaDB --------------------------------------------------------------------------------------------------------

MARIADB = ("/var/lib/mysql", "/run/mysqld", "/etc/mare-init", "/etc/mare/")


def mariadb(container: Container, install: str = "mkdir -p {data}/mysql", **changed: str) -> int:
    data = container.place("/var/lib/mysql")
    for path in ("/run/mysqld", "/etc/mare-init", "/etc/mare"):
        container.place(path)
    template = (CHECKOUT / "installs" / "templates" / "mariadb-init.sql").read_text("utf-8")
    (container.root / "etc/mare-init/mariadb-init.sql").write_text(template)
    (container.root / "etc/mare/reader.sql").write_text((MOUNTED / "mariadb" / "reader.sql").read_text("utf-8"))
    container.program("/bin/mariadb-install-db", install.format(data=data))
    container.program("/bin/mariadbd", f"env > {container.root}/environment")
    environment = {
        "MARE_MARIADB__DATABASE": "observatory",
        "MARE_MARIADB__USER": "mare",
        "MARE_MARIADB__PASSWORD": "pw",
        "MARIADB_READER_PASSWORD": "reads",
    }
    return container.start("mariadb/start.sh", MARIADB, **environment | changed).returncode


def test_mariadbs_system_tables_are_made_once(container: Container) -> None:
    assert [mariadb(container) for _ in range(2)] == [0, 0]
    assert (container.count("mariadb-install-db"), container.count("mariadbd ")) == (1, 2)
    assert "--auth-root-authentication-method=socket" in container.ran[0]


def test_an_installation_that_was_killed_begins_anew(container: Container) -> None:
    assert mariadb(container, install="mkdir -p {data}/mysql; touch {data}/half; exit 1") != 0
    assert container.count("mariadbd ") == 0
    assert mariadb(container) == 0
    assert not (container.root / "var/lib/mysql/half").exists()
    assert (container.count("mariadb-install-db"), container.count("mariadbd ")) == (2, 1)


def test_data_of_an_earlier_start_stays(container: Container) -> None:
    mariadb(container)
    (container.root / "var/lib/mysql/readings.ibd").write_text("rows")
    mariadb(container)
    assert (container.root / "var/lib/mysql/readings.ibd").read_text() == "rows"


def test_passwords_are_quoted_for_sql_and_kept_from_others(container: Container) -> None:
    assert mariadb(container, MARE_MARIADB__PASSWORD=HOSTILE, MARIADB_READER_PASSWORD="r'w") == 0  # noqa: S106
    init = container.root / "run/mysqld/init.sql"
    text = init.read_text()
    assert "ALTER USER 'mare'@'%' IDENTIFIED BY 'a\\'b\\\\c$user&d';" in text
    assert "ALTER USER 'reader'@'%' IDENTIFIED BY 'r\\'w';" in text
    assert "GRANT SELECT, SHOW VIEW ON `observatory`.* TO 'reader'@'%';" in text
    assert init.stat().st_mode & 0o777 == 0o600
    assert "PASSWORD" not in (container.root / "environment").read_text()
