"""docker-compose.yml without Docker: what it opens, pins, limits and hides, and that local mode has the same.

Each rule is also seen to find something wrong, in a copy of the file that was broken on purpose.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from installs.artifacts import versions
from installs.launcher import NAMES
from installs.services import services as local_services
from maredata.settings import CHECKOUT, NO_SETTINGS, Settings, variables

COMPOSE = CHECKOUT / "docker-compose.yml"

# What local mode calls a service, and what the observatory does.
LOCAL = {
    "elasticsearch": "elasticsearch",
    "mariadb": "maria",
    "kafka": "kafka",
    "connect": "kafka-connect",
    "gateway": "udp-server",
    "tend": "tend",
    "dashboard": "dashboard",
    "buoy-1": "udp-client-1",
    "buoy-2": "udp-client-2",
}
# No package of them can be had without containers (kibana … jupyter); or local mode has a command instead:
# `mare up` (setup), `mare extract` (python-extraction), `mare emulate` (udp-client); or nothing to protect (tls).
ONLY_CONTAINERS = {
    *("kibana", "phpmyadmin", "kafka-rest", "jupyter"),
    *("setup", "python-extraction", "udp-client", "tls"),
}
KNOWN_NAMES = {
    *("kafka", "kafka-connect", "maria", "elasticsearch", "kibana"),
    *("udp-server", "python-extraction", "phpmyadmin", "jupyter"),
}
PORTS = {
    *("20001:20001/udp", "127.0.0.1:20001:20001/tcp", "127.0.0.1:9108:9108"),
    *(f"127.0.0.1:{port}:{port}" for port in (9092, 8082, 8083, 9200, 5601, 3306, 8080, 8888, 8050)),
}
BIND = "${MARE_BIND:-127.0.0.1}"
# Those that say where programs are on a machine, or what local mode starts; and TLS between containers, of which
# there is none. MARE_HOME stands in the Dockerfile.
NOT_PASSED_ON = {
    *("MARE_HOME", "MARE_ENGINES", "MARE_JAVA", "MARE_DEMO", "MARE_KIBANA__TLS", "MARE_KIBANA__CA"),
    *(name for name, description in variables().items() if description.lower().startswith("local mode")),
}
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY$|ACCOUNTS__")
FROM_ENV = re.compile(r"\$\{[A-Z_]+:\?run installs/make_env\.sh first\}")
LIMIT = 8 << 30  # bytes
EXTRAS = {"udp-client": "fleet", "tls": "tls", "dashboard": "dashboard"}  # with the profile that asks for each

Compose = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> Compose:
    content: Compose = yaml.safe_load(COMPOSE.read_text("utf-8"))
    return content


def services(compose: Compose) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from compose["services"].items()


def environment(service: dict[str, Any]) -> dict[str, Any]:
    return dict(service.get("environment", {}))


def host_path(volume: str) -> str | None:
    """The part of a volume that is on the host; None for a named volume."""
    source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", volume).split(":")[0]
    return source if source.startswith((".", "/", "~")) else None


def size(text: str) -> int:
    return int(text[:-1]) << {"m": 20, "g": 30}[text[-1]]


# --- rules: each yields what is wrong ------------------------------------------------------------------------------


def ports(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        for port in service.get("ports", ()):
            opened = name == "tls" and port in (f"{BIND}:9200:9200", f"{BIND}:5601:5601")
            if not opened and port != "20001:20001/udp" and not str(port).startswith("127.0.0.1:"):
                yield f"{name} opens {port}"


def promised_ports(compose: Compose) -> Iterator[str]:
    there = {port for name, service in services(compose) if name != "tls" for port in service.get("ports", ())}
    yield from (f"port {port}" for port in there ^ PORTS)


def images(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        tag = service.get("image", "").rpartition(":")[2]
        if not re.match(r"\d+\.\d+", tag):
            yield f"{name} has no pinned image: {service.get('image')}"


def engine_versions(compose: Compose) -> Iterator[str]:
    pinned = versions()
    wanted = {
        "kafka": f"apache/kafka:{pinned['kafka']}",
        "elasticsearch": f"elasticsearch:{pinned['elasticsearch']}",
        "kibana": f"kibana:{pinned['elasticsearch']}",
        "maria": f"mariadb:{pinned['mariadb']}",
    }
    for name, image in wanted.items():
        if compose["services"][name]["image"] != image:
            yield f"{name} is not {image}, which installs/pom.xml names"


def health(compose: Compose) -> Iterator[str]:
    yield from (
        f"{name} has no health check" for name, s in services(compose) if not s.get("healthcheck", {}).get("test")
    )


def restarts(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        if service.get("restart") != ("on-failure:3" if name == "setup" else "unless-stopped"):
            yield f"{name} is not started again"


def memory(compose: Compose) -> Iterator[str]:
    yield from (f"{name} has no memory limit" for name, service in services(compose) if "mem_limit" not in service)
    usual = [service for name, service in services(compose) if name not in EXTRAS]
    total = sum(size(service.get("mem_limit", "0m")) for service in usual)
    if total > LIMIT:
        yield f"{total:,} bytes of memory together"


def secrets(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        for variable, value in environment(service).items():
            if SECRET.search(variable) and not FROM_ENV.fullmatch(str(value)):
                yield f"{name}: {variable} is not from .env alone"


def host_paths(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        for volume in service.get("volumes", ()):
            path = host_path(volume)
            if path is not None and not (CHECKOUT / path).exists():
                yield f"{name} mounts {path}, which is not there"
            if path is None and volume.split(":")[0] not in compose["volumes"]:
                yield f"{name} mounts {volume}, which is no named volume"


def known_variables(compose: Compose) -> Iterator[str]:
    listed = set(re.findall(r"^#?(MARE_\w+)=", (CHECKOUT / ".env.example").read_text("utf-8"), re.MULTILINE))
    known = (set(variables()) | NO_SETTINGS) & listed
    used = set(re.findall(r"MARE_[A-Z_]+", yaml.safe_dump(compose)))
    yield from sorted(used - known)


def same_variables(compose: Compose) -> Iterator[str]:
    passed_on = {variable for _, service in services(compose) for variable in environment(service)}
    yield from sorted(set(variables()) - NOT_PASSED_ON - passed_on)


def same_services(compose: Compose) -> Iterator[str]:
    there = set(compose["services"])
    yield from (f"local mode alone has {name}" for name in set(NAMES) if LOCAL.get(name) not in there)
    yield from (f"containers alone have {name}" for name in there - set(LOCAL.values()) - ONLY_CONTAINERS)
    yield from (f"{name} is gone" for name in ONLY_CONTAINERS - there)


def same_commands(compose: Compose) -> Iterator[str]:
    for local in local_services(Settings()):
        there = compose["services"].get(LOCAL[local.name], {}).get("command")
        if there != list(local.command[3:]):
            yield f"{LOCAL[local.name]} runs {there}, and local mode {local.command[3:]}"


def names(compose: Compose) -> Iterator[str]:
    there = {service.get("container_name") for _, service in services(compose)}
    yield from (f"no container is named {name}" for name in KNOWN_NAMES - there)
    if "container_name" in compose["services"]["udp-client"]:
        yield "udp-client has a name, so it can't be scaled"


def accounts(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        if str(service.get("user", "root")).split(":")[0] in ("root", "0"):
            yield f"{name} runs as root"
        if not service.get("read_only") and name != "jupyter":
            yield f"{name} can write into its image"
        if service.get("privileged") or service.get("network_mode") == "host" or service.get("pid"):
            yield f"{name} has rights on the host"


def walls(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        networks = set(service.get("networks", ()))
        if not networks:
            yield f"{name} is in the default network"
        if "buoys" in networks and "stores" in networks:
            yield f"{name} joins the buoys' network with the stores'"
        if name.startswith("udp-client") and networks != {"buoys"}:
            yield f"{name} reaches more than the gateway"
    for store in ("elasticsearch", "maria", "kibana", "phpmyadmin"):
        if compose["services"][store].get("networks") != ["stores"]:
            yield f"{store} is not in the stores' network alone"


def order(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        waits = service.get("depends_on", {})
        for other, how in dict(waits).items() if isinstance(waits, dict) else [(other, {}) for other in waits]:
            wanted = "service_completed_successfully" if other == "setup" else "service_healthy"
            if how.get("condition") != wanted and (name, other) != ("setup", "kibana"):
                yield f"{name} does not wait until {other} is ready"
            if other == "maria" and how.get("required", True):
                yield f"{name} needs a maria that may be switched off"


def profiles(compose: Compose) -> Iterator[str]:
    wanted = {"maria": "mariadb", "udp-client-1": "demo", "udp-client-2": "demo"} | EXTRAS
    for name, service in services(compose):
        if service.get("profiles", []) != ([wanted[name]] if name in wanted else []):
            yield f"{name} has profiles {service.get('profiles')}"


RULES = (
    *(ports, promised_ports, images, engine_versions, health, restarts, memory, secrets, host_paths),
    *(known_variables, same_variables, same_services, same_commands, names, accounts, walls, order, profiles),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_nothing_is_wrong(compose: Compose, rule: Callable[[Compose], Iterator[str]]) -> None:
    assert list(rule(compose)) == []


# --- each rule can find something ----------------------------------------------------------------------------------


def put(*path: str, value: Any) -> Callable[[Compose], None]:
    """Sets what `path` leads to in `services`."""

    def change(compose: Compose) -> None:
        place = compose["services"]
        for step in path[:-1]:
            place = place.setdefault(step, {})
        place[path[-1]] = value

    return change


def drop(*path: str) -> Callable[[Compose], None]:
    def change(compose: Compose) -> None:
        place = compose["services"]
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return change


BROKEN: tuple[tuple[Callable[[Compose], Iterator[str]], Callable[[Compose], None]], ...] = (
    (ports, put("kafka", "ports", value=["9092:9092"])),
    (ports, put("kafka", "ports", value=["0.0.0.0:9092:9092"])),
    (ports, put("kafka", "ports", value=[f"{BIND}:9092:9092"])),
    (ports, put("elasticsearch", "ports", value=[f"{BIND}:9200:9200"])),
    (ports, put("udp-server", "ports", value=["20001:20001/tcp"])),
    (ports, put("tls", "ports", value=[f"{BIND}:3306:3306"])),
    (promised_ports, drop("jupyter", "ports")),
    (promised_ports, put("maria", "ports", value=["127.0.0.1:3307:3306"])),
    (images, put("kafka", "image", value="apache/kafka")),
    (images, put("kafka", "image", value="apache/kafka:latest")),
    (images, drop("setup", "image")),
    (engine_versions, put("kafka", "image", value="apache/kafka:4.3.0")),
    (engine_versions, put("elasticsearch", "image", value="elasticsearch:8.19.20")),
    (engine_versions, put("kibana", "image", value="kibana:8.19.22")),
    (engine_versions, put("maria", "image", value="mariadb:11.4")),
    (health, drop("tend", "healthcheck")),
    (health, put("tend", "healthcheck", value={"disable": True})),
    (restarts, drop("udp-server", "restart")),
    (restarts, put("udp-server", "restart", value="on-failure")),
    (memory, drop("kibana", "mem_limit")),
    (memory, put("elasticsearch", "mem_limit", value="3g")),
    (secrets, put("elasticsearch", "environment", "ELASTIC_PASSWORD", value="changeme")),
    (secrets, put("elasticsearch", "environment", "ELASTIC_PASSWORD", value="${ELASTIC_PASSWORD:-changeme}")),
    (secrets, put("elasticsearch", "environment", "ELASTIC_PASSWORD", value="${ELASTIC_PASSWORD}")),
    (secrets, put("kibana", "environment", "KIBANA_OBJECTS_KEY", value="0123456789abcdef0123456789abcdef")),
    (secrets, put("setup", "environment", "MARE_ACCOUNTS__OBSERVER", value="observer")),
    (secrets, put("jupyter", "environment", "JUPYTER_TOKEN", value=None)),
    (host_paths, put("kafka", "volumes", value=["./installs/compose/kafka.properties:/etc/mare/kafka.properties:ro"])),
    (host_paths, put("kafka", "volumes", value=["${MARE_READING_FOLDER:-./readings}:/etc/mare/reading:ro"])),
    (host_paths, put("kafka", "volumes", value=["kafka-logs:/var/lib/kafka/data"])),
    (known_variables, put("tend", "environment", "MARE_KAFKA__PROT", value="1")),
    (known_variables, put("tend", "environment", "TZ", value="${MARE_ZONE:-UTC}")),
    (same_variables, drop("udp-server", "environment", "MARE_UDP__RATE_LIMIT")),
    (same_services, drop("tend")),
    (same_services, drop("phpmyadmin")),
    (same_services, put("grafana", value={"image": "grafana/grafana:11.3.0"})),
    (same_commands, put("udp-server", "command", value=["serve", "--workers", "2"])),
    (same_commands, put("udp-client-2", "command", value=["emulate"])),
    (names, put("maria", "container_name", value="mariadb")),
    (names, put("udp-client", "container_name", value="fleet")),
    (accounts, drop("kafka", "user")),
    (accounts, put("maria", "user", value="0:0")),
    (accounts, drop("udp-server", "read_only")),
    (accounts, put("tend", "privileged", value=True)),
    (accounts, put("udp-server", "network_mode", value="host")),
    (walls, put("udp-server", "networks", value=["buoys", "pipeline", "stores"])),
    (walls, put("udp-client-1", "networks", value=["buoys", "pipeline"])),
    (walls, put("elasticsearch", "networks", value=["stores", "pipeline"])),
    (walls, drop("tend", "networks")),
    (order, put("tend", "depends_on", value=["kafka"])),
    (order, put("tend", "depends_on", "kafka", "condition", value="service_started")),
    (order, put("setup", "depends_on", "maria", value={"condition": "service_healthy"})),
    (order, put("python-extraction", "depends_on", "setup", "condition", value="service_started")),
    (profiles, drop("maria", "profiles")),
    (profiles, put("tend", "profiles", value=["demo"])),
)


@pytest.mark.parametrize(
    ("rule", "change"), BROKEN, ids=[f"{rule.__name__}-{at}" for at, (rule, _) in enumerate(BROKEN)]
)
def test_a_broken_copy_is_found(
    compose: Compose, rule: Callable[[Compose], Iterator[str]], change: Callable[[Compose], None]
) -> None:
    broken = copy.deepcopy(compose)
    change(broken)
    assert list(rule(broken))


def test_every_rule_was_seen_to_find_something() -> None:
    assert {rule for rule, _ in BROKEN} == set(RULES)
