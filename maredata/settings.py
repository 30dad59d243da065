"""Every setting, read once from `MARE_…` variables (and `.env`), frozen, and passed down.

Nested settings are written with two underscores: `MARE_KAFKA__PORT=9093`. An unknown `MARE_…` variable is an
error, because a typing mistake must not silently leave a default in force.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from maredata.errors import SettingsError

CHECKOUT = Path(__file__).resolve().parent.parent
# Where `.mare` is a link, engines get the real path: they may not be able to enter the checkout.
STATE = (CHECKOUT / ".mare").resolve()

# Read by the `./mare` script before any Python of ours runs.
_SCRIPT_VARIABLES = frozenset({"MARE_PYTHON"})
# Read by `docker compose` alone, from the same .env: .env.example says what each is for.
_COMPOSE_VARIABLES = frozenset({"MARE_BIND", "MARE_READING_FOLDER"})
NO_SETTINGS = _SCRIPT_VARIABLES | _COMPOSE_VARIABLES


# A relative folder is meant from where the command is run; other processes of ours run elsewhere.
Folder = Annotated[Path, AfterValidator(Path.absolute)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _networks(text: str) -> str:
    for network in text.replace(",", " ").split():
        ipaddress.ip_network(network)
    return text


class Udp(_Section):
    """The gateway: where it listens, to whom, and how much may wait for Kafka."""

    host: str = Field("127.0.0.1", description="address the gateway listens on; 0.0.0.0 for every interface")
    port: int = Field(20001, description="port the gateway listens on, UDP and TCP")
    workers: int = Field(1, ge=1, le=64, description="processes that share the port; each sender has one of them")
    receive_buffer: int = Field(8 << 20, description="bytes of receive buffer asked of the kernel, for each worker")
    queue_messages: int = Field(200_000, gt=0, description="readings of a worker that wait in memory for Kafka's word")
    queue_bytes: int = Field(256 << 20, gt=0, description="bytes of them; what is beyond either goes to the spool")
    spool_bytes: int = Field(4 << 30, gt=0, description="bytes of a worker's spool; full, it refuses the newest")
    spool_after_seconds: float = Field(1.0, gt=0, description="what Kafka has not acknowledged by then is spooled")
    allowed_networks: Annotated[str, AfterValidator(_networks)] = Field(
        "", description="networks that may send, such as 10.1.0.0/16,192.168.7.0/24; empty: everyone"
    )
    rate_limit: int = Field(0, ge=0, description="lines a second that one sender's address may send; 0: any number")
    late_seconds: int = Field(3600, gt=0, description="one that arrives so long after its time is counted: late")
    ahead_seconds: int = Field(10, gt=0, description="one whose time is so far ahead is counted: a wrong clock")

    @property
    def networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        return tuple(map(ipaddress.ip_network, self.allowed_networks.replace(",", " ").split()))


class Tcp(_Section):
    """The gateway's TCP side, on the UDP side's host and port number."""

    enabled: bool = Field(True, description="whether the gateway takes readings over TCP too")
    connections: int = Field(2000, gt=0, description="connections of a worker; further ones are closed at once")
    longest_line: int = Field(65_535, gt=0, description="bytes of a line; a longer one is rejected")
    idle_seconds: int = Field(600, gt=0, description="a connection that sends nothing for so long is closed")


class Metrics(_Section):
    """The gateway's own web port, for Prometheus (/metrics) and for health checks (/healthz)."""

    host: str = Field("127.0.0.1", description="address that /metrics and /healthz are served on")
    port: int = Field(9108, description="port of /metrics and /healthz")


class Events(_Section):
    """When a buoy counts as silent, and who is told."""

    silence_seconds: int = Field(600, gt=0, description="a buoy that sends nothing for so long is silent")
    steady_minutes: int = Field(
        360, gt=0, description="so is a variable that is null, or does not change by a digit, for so long"
    )
    webhook_url: str = Field("", description="each event is also posted there as JSON; empty: nowhere")


class Reading(_Section):
    """What a reading is, and which ones arrive too early or too late to be true."""

    toml: Folder = Field(CHECKOUT / "maredata" / "reading.toml", description="the file that says what a reading is")
    earliest: AwareDatetime = Field(
        datetime.fromisoformat("1990-01-01T00:00:00+00:00"),
        description="readings before this instant are refused",
    )
    max_ahead_seconds: int = Field(86_400, description="readings further ahead of their arrival are refused")


class Kafka(_Section):
    """The broker, and how long topics keep what they hold."""

    host: str = Field("127.0.0.1", description="address that others reach it at")
    port: int = Field(9092, description="broker's port for clients")
    controller_port: int = Field(9093, description="local mode: the KRaft controller's port")
    heap: str = Field("512m", description="local mode: the JVM's heap")
    partitions: int = Field(6, description="partitions of topic readings; fixed once it is created")
    readings_days: int = Field(14, description="retention of topic readings")
    refused_days: int = Field(90, description="retention of refused readings and dead letters")
    readings_bytes: int = Field(50 << 30, description="retention of topic readings in bytes, over all partitions")
    refused_bytes: int = Field(5 << 30, description="retention in bytes of each topic of refused readings")

    @property
    def bootstrap(self) -> str:
        return f"{self.host}:{self.port}"


class Connect(_Section):
    """The Connect worker and its sinks."""

    host: str = Field("127.0.0.1", description="address that others reach it at")
    port: int = Field(8083, description="port of Connect's REST API")
    heap: str = Field("512m", description="local mode: the JVM's heap")
    tasks: int = Field(1, description="tasks of each sink")

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


class MariaDB(_Section):
    """The transactional store."""

    host: str = Field("127.0.0.1", description="address that others reach it at")
    port: int = Field(3306, description="port for clients")
    database: str = Field("observatory", description="database that holds the table readings")
    user: str = Field("mare", description="account of ours; local mode makes it")
    password: str = Field("mare", repr=False, description="set your own where others can reach the server")
    buffer_pool: str = Field("256M", description="local mode: innodb_buffer_pool_size")


class Elasticsearch(_Section):
    """The analytical store."""

    host: str = Field("127.0.0.1", description="address that others reach it at")
    port: int = Field(9200, description="HTTP port")
    transport_port: int = Field(9300, description="local mode: port between nodes")
    user: str = Field("", description="account of ours; empty where security is off, as in local mode")
    password: str = Field("", repr=False, description="its password")
    heap: str = Field("1g", description="local mode: the JVM's heap")
    shards: int = Field(2, description="primary shards of each readings index")
    replicas: int = Field(0, description="copies of each shard; more than 0 needs more than one node")

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


class Kibana(_Section):
    """Kibana, where there is one: local mode has none."""

    host: str = Field("", description="address of Kibana; empty: there is none, as in local mode")
    port: int = Field(5601, description="port of its HTTP API")
    user: str = Field("", description="account that may write its saved objects; empty where security is off")
    password: str = Field("", repr=False, description="its password")
    tls: bool = Field(False, description="whether it speaks HTTPS")
    ca: str = Field("", description="file with the certificates that vouch for it; empty: the system's")

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"


class Dashboard(_Section):
    """The live view in the browser."""

    host: str = Field("127.0.0.1", description="address the dashboard is served on; it asks nobody for a password")
    port: int = Field(8050, description="port the dashboard is served on")
    basemap: Literal["", "open-street-map", "carto-positron", "carto-voyager", "carto-darkmatter"] = Field(
        "", description="online basemap behind the map, such as open-street-map; empty: our own coastline, offline"
    )


class Accounts(_Section):
    """Passwords of the accounts that `mare setup` sees to in Elasticsearch; only the containers have them."""

    elastic: str = Field("", repr=False, description="containers: password of elastic, who may do everything")
    kibana_system: str = Field("", repr=False, description="containers: password that Kibana itself logs in with")
    observer: str = Field("", repr=False, description="containers: password of observer, who looks at Kibana")


class Settings(BaseSettings):
    """All of it. `home` holds an instance's data, logs and state; two homes with other ports run side by side."""

    model_config = SettingsConfigDict(
        env_prefix="MARE_", env_nested_delimiter="__", env_file_encoding="utf-8", frozen=True, extra="ignore"
    )

    home: Folder = Field(STATE, description="folder for data, logs and state of this instance")
    engines: Folder = Field(STATE / "engines", description="folder the pinned engines are unpacked into")
    java: Path | None = Field(None, description="Java home to use instead of JAVA_HOME or the PATH's java")
    java_options: str = Field("", description="local mode: further options of Java for Kafka, Connect, Elasticsearch")
    run_as: str = Field("nobody", description="local mode, started by root: the account that runs the engines")
    demo: bool = Field(True, description="`mare up` also starts two emulated buoys")
    log_format: Literal["logfmt", "json"] = Field("logfmt", description="how gateway and tend write their logs")
    udp: Udp = Udp()
    tcp: Tcp = Tcp()
    metrics: Metrics = Metrics()
    events: Events = Events()
    reading: Reading = Reading()
    kafka: Kafka = Kafka()
    connect: Connect = Connect()
    mariadb: MariaDB = MariaDB()
    elasticsearch: Elasticsearch = Elasticsearch()
    kibana: Kibana = Kibana()
    dashboard: Dashboard = Dashboard()
    accounts: Accounts = Accounts()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, dotenv_settings


def variables() -> dict[str, str]:
    """Every `MARE_…` variable there is, with its description: what `.env.example` must list."""
    found: dict[str, str] = {}
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            for inner, inner_field in section.model_fields.items():
                found[f"MARE_{name}__{inner}".upper()] = inner_field.description or ""
        else:
            found[f"MARE_{name}".upper()] = field.description or ""
    return found


def load_settings(env_file: Path | None = CHECKOUT / ".env") -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: a variable is unknown or its value can't be used; the sentence names it.
    """
    file_values = dotenv_values(env_file) if env_file is not None and env_file.exists() else {}
    _refuse_unknown({**file_values, **os.environ})
    try:
        return Settings(_env_file=env_file)
    except ValidationError as error:
        first = error.errors()[0]
        name = "MARE_" + "__".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(f"{name} can't be used: {first['msg']}. Correct it in the environment or .env.") from None


def as_environment(settings: Settings) -> dict[str, str]:
    """`MARE_…` variables that make another process of ours see the same settings."""
    values: dict[str, str] = {}
    for name, value in settings.model_dump(mode="json").items():
        if isinstance(value, dict):
            for inner, inner_value in value.items():
                values[f"MARE_{name}__{inner}".upper()] = str(inner_value)
        elif value is not None:
            values[f"MARE_{name}".upper()] = str(value)
    return values


def _refuse_unknown(environment: Mapping[str, str | None]) -> None:
    known = variables()
    for name in sorted(environment):
        if not name.startswith("MARE_") or name.upper() in known or name in NO_SETTINGS:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        hint = f" Did you mean {near[0]}?" if near else " .env.example lists all of them."
        raise SettingsError(f"There is no setting {name}.{hint}")
