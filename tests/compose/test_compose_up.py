"""docker-compose.yml brought up, and what the README promises of it. One story: each test goes on where the last ended.

Where the images are stand-ins, README.md beside this says what that can't show.
"""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator

import httpx
import mysql.connector
import pytest
from accepted import SENSOR, Sender
from operations_page import script
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.expected_conditions import (
    text_to_be_present_in_element,
    visibility_of_element_located,
)
from selenium.webdriver.support.wait import WebDriverWait
from stack import CONNECT, UP, Stack
from waiting import await_true

BUOYS = (900001, 900002)
LONG_RUNNING = {
    *("kafka", "kafka-connect", "elasticsearch", "maria", "udp-server", "tend", "python-extraction"),
    *("udp-client-1", "udp-client-2", "kibana", "phpmyadmin", "kafka-rest", "jupyter"),
}
# One engine at a time, so that each outage is seen by all the others; what nothing depends on, together.
ROUNDS = (
    ("kafka",),
    ("kafka-connect",),
    ("elasticsearch",),
    ("maria",),
    ("udp-server",),
    tuple(sorted(LONG_RUNNING - {"kafka", "kafka-connect", "elasticsearch", "maria", "udp-server"})),
)
FLEET = 3
SENSORS = {"sensors": {"cardinality": {"field": "sensor_id"}}}
OTHER_ADDRESS = "127.0.0.2"
DAY = "2026-11-23"  # what the page restores
PROJECT = "mare-test"
NOT_FOR_BUOYS = {"maria": 3306, "elasticsearch": 9200, "kibana": 5601, "phpmyadmin": 8080, "kafka": 19092}
# Of both generations of the kernel's control groups.
MEMORY_EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
# Says of each host:port whether a TCP connection comes about.
PROBE = """import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def probe(target):
    host, port = target.split(":")
    try:
        socket.create_connection((host, int(port)), 2)
        return "connected"
    except OSError as error:
        return f"refused: {error}"
with ThreadPoolExecutor(64) as pool:
    print(json.dumps(dict(zip(sys.argv[1:], pool.map(probe, sys.argv[1:])))))"""


def is_well(stack: Stack) -> bool:
    return stack.states() == dict.fromkeys(LONG_RUNNING, "healthy") | {"setup": "ended"}


def verify(stack: Stack) -> str:
    """The proof, in the container where README runs it; AssertionError unless it exits with 0.

    A container that was killed may leave without a word: the sink into MariaDB then finds out after 60 s.
    """
    return stack.exec("python-extraction", "mare", "verify", "--exact", "--wait", "300")


# --- up ------------------------------------------------------------------------------------------------------------


def test_without_env_compose_refuses_to_start(stack: Stack) -> None:
    status, output = stack.try_compose("up", "--detach")
    assert status != 0
    assert "run installs/make_env.sh first" in output
    ours = "--filter=label=com.docker.compose.project=mare-test"
    assert subprocess.run(["docker", "ps", "--all", "--quiet", ours], stdout=subprocess.PIPE, check=True).stdout == b""


def test_everything_comes_up_healthy(stack: Stack) -> None:
    subprocess.run(["bash", "installs/make_env.sh"], cwd=stack.folder, stdout=subprocess.DEVNULL, check=True)
    stack.up()
    assert is_well(stack), stack.states()
    for service in LONG_RUNNING:
        inspected = stack.inspect(service)
        assert (service, inspected["RestartCount"], inspected["State"]["OOMKilled"]) == (service, 0, False)
        assert inspected["HostConfig"]["Memory"] > 0


@pytest.mark.parametrize("sensor", BUOYS)
def test_both_stores_have_the_buoys_readings(stack: Stack, sensor: int) -> None:
    await_true(lambda: min(stack.counts(sensor)) >= 3, 60, f"three readings of {sensor} in both stores")


def test_verify_finds_no_difference(stack: Stack) -> None:
    assert "They agree." in verify(stack)


def test_verify_on_the_host_finds_none_either(stack: Stack) -> None:
    """With the same .env, over the published ports."""
    mare = (sys.executable, "-m", "maredata.cli", "verify", "--wait", "120")
    done = subprocess.run(
        mare, cwd=stack.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_memory_is_enough(stack: Stack) -> None:
    """The kernel has killed nothing; which process it was would not always be the container's first."""
    for service in LONG_RUNNING:
        events = stack.exec(service, "sh", "-c", f"cat {' '.join(MEMORY_EVENTS)} 2>&1 || true")
        assert re.search(r"^oom_kill 0$", events, re.MULTILINE), f"{service}: {events}"


# --- what people use -----------------------------------------------------------------------------------------------


@pytest.fixture
def browser() -> Iterator[WebDriver]:
    options = webdriver.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--window-size=1400,1000"):
        options.add_argument(option)
    remote = os.environ.get("COMPOSE_TEST_BROWSER")
    driver: WebDriver = webdriver.Remote(remote, options=options) if remote else webdriver.Chrome(options=options)
    driver.implicitly_wait(20)
    yield driver
    driver.quit()


def log_in(browser: WebDriver, password: str) -> None:
    browser.get("http://127.0.0.1:8080/")
    browser.find_element(By.ID, "input_username").send_keys("reader")
    browser.find_element(By.ID, "input_password").send_keys(password)
    browser.find_element(By.ID, "input_go").click()


def test_phpmyadmin_shows_readings_in_a_browser(stack: Stack, browser: WebDriver) -> None:
    log_in(browser, "wrong")
    await_true(lambda: "Access denied" in browser.page_source, 20, "the wrong password's refusal")
    log_in(browser, stack.env["MARIADB_READER_PASSWORD"])
    # The page draws its tree of databases and its tables more than once.
    patience = WebDriverWait(browser, 20)
    patience.until(visibility_of_element_located((By.LINK_TEXT, "observatory")))
    browser.get("http://127.0.0.1:8080/index.php?route=/sql&db=observatory&table=readings&pos=0")
    patience.until(text_to_be_present_in_element((By.CSS_SELECTOR, "table.table_results"), "90000"))


def test_phpmyadmins_account_changes_nothing(stack: Stack) -> None:
    with pytest.raises(mysql.connector.Error, match="denied"):
        stack.rows("DELETE FROM readings", "reader", stack.env["MARIADB_READER_PASSWORD"])


def test_kibana_has_every_object(stack: Stack) -> None:
    """As it answers itself; whether it draws them only the real one can show."""
    wanted = {json.loads(path.read_text())["id"] for path in (stack.folder / "kibana" / "objects").glob("*.json")}
    answer = httpx.post(
        "http://127.0.0.1:5601/api/saved_objects/_export",
        json={"type": ["index-pattern", "lens", "map", "dashboard", "tag"], "excludeExportDetails": True},
        headers={"kbn-xsrf": "true"},
        auth=("mare", stack.env["MARE_ELASTICSEARCH__PASSWORD"]),
        trust_env=False,
    )
    answer.raise_for_status()
    assert wanted
    assert wanted <= {json.loads(line)["id"] for line in answer.text.splitlines()}


def test_the_rest_proxy_lists_topics() -> None:
    assert "readings" in httpx.get("http://127.0.0.1:8082/topics", trust_env=False).json()


def test_jupyter_opens_with_its_token_only_and_has_our_package(stack: Stack) -> None:
    status = "http://127.0.0.1:8888/api/status"
    assert httpx.get(status, trust_env=False).status_code == 403
    assert httpx.get(status, params={"token": stack.env["JUPYTER_TOKEN"]}, trust_env=False).status_code == 200
    assert "They agree." in stack.exec("jupyter", "mare", "verify")


def test_extraction_runs_in_its_container_as_the_readme_says(stack: Stack) -> None:
    stack.exec("python-extraction", "mare", "extract", "init", "readings", "--out", "history.toml")
    stack.exec("python-extraction", "mare", "extract", "run", "history.toml")
    assert (stack.folder / "jobs" / "history.toml").exists()
    verify(stack)


# --- what is off by default ----------------------------------------------------------------------------------------


def test_a_fleet_is_scaled_as_the_readme_says(stack: Stack) -> None:
    before = stack.inspect("maria")["Id"]
    stack.compose("--profile", "fleet", *UP, "--scale", f"udp-client={FLEET}")
    sensors = 100 * FLEET
    demo = f"SELECT COUNT(DISTINCT sensor_id) FROM readings WHERE sensor_id > {BUOYS[-1]}"
    found = {"query": {"range": {"sensor_id": {"gt": BUOYS[-1]}}}, "size": 0, "aggs": SENSORS}

    def heard() -> bool:
        there = stack.search("readings-*/_search", found)["aggregations"]["sensors"]["value"]
        return stack.rows(demo) == [(sensors,)] and there == sensors

    await_true(heard, 60, f"readings of {sensors} sensors in both stores")
    stack.compose("--profile", "fleet", "rm", "--stop", "--force", "udp-client")
    assert stack.inspect("maria")["Id"] == before
    await_true(lambda: is_well(stack), 60, "the others are as they were")


def test_the_live_view_shows_the_buoys(stack: Stack, browser: WebDriver) -> None:
    try:
        stack.compose("--profile", "dashboard", *UP, "dashboard")
        browser.get("http://127.0.0.1:8050/")
        patience = WebDriverWait(browser, 60)
        patience.until(text_to_be_present_in_element((By.CSS_SELECTOR, "#table"), str(BUOYS[0])))
        patience.until(text_to_be_present_in_element((By.CSS_SELECTOR, "#pipeline"), "mariadb-readings"))
        assert browser.find_element(By.ID, "banner").text == ""
    finally:
        stack.compose("--profile", "dashboard", "rm", "--stop", "--force", "dashboard")


def test_with_a_certificate_others_reach_two_services_over_https(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another address of this machine, as the README in the certificates' folder says."""
    folder = stack.folder / "installs" / "compose" / "tls" / "certificates"
    (command,) = re.findall(r"^\$ (openssl .*?chmod.*?)$", (folder / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    stack.shell(f"cd {folder}; {command.replace('192.0.2.10', OTHER_ADDRESS)}")
    monkeypatch.setenv("MARE_BIND", OTHER_ADDRESS)
    stack.compose("--profile", "tls", *UP, "tls")
    trusted = ssl.create_default_context(cafile=str(folder / "server.crt"))
    account = ("mare", stack.env["MARE_ELASTICSEARCH__PASSWORD"])
    with httpx.Client(verify=trusted, trust_env=False, auth=account) as client:
        assert client.get(f"https://{OTHER_ADDRESS}:9200/readings-*/_count").json()["count"] > 0
        assert client.get(f"https://{OTHER_ADDRESS}:9200/_count", auth=None).status_code == 401
        assert client.get(f"https://{OTHER_ADDRESS}:5601/api/status").status_code == 200
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{OTHER_ADDRESS}:8080", trust_env=False)
    stack.compose("--profile", "tls", "rm", "--stop", "--force", "tls")


# --- what must not be reached or seen ------------------------------------------------------------------------------


def test_buoys_reach_the_gateway_and_no_store(stack: Stack) -> None:
    hosts = {it["Gateway"] for it in stack.inspect("udp-client-1")["NetworkSettings"]["Networks"].values()}
    targets = []
    for service, port in NOT_FOR_BUOYS.items():
        addresses = [it["IPAddress"] for it in stack.inspect(service)["NetworkSettings"]["Networks"].values()]
        targets += [f"{address}:{port}" for address in (service, *addresses, *hosts)]
    assert len(targets) >= 3 * len(NOT_FOR_BUOYS)
    probed = json.loads(stack.exec("udp-client-1", "python", "-c", PROBE, "udp-server:20001", *targets))
    assert probed.pop("udp-server:20001") == "connected"
    assert [target for target in targets if not probed[target].startswith("refused")] == []


def test_connectors_show_no_secret(stack: Stack) -> None:
    definitions = httpx.get(f"{CONNECT}/connectors", params={"expand": "info"}, trust_env=False).json()
    assert len(definitions) >= 2
    secrets = [value for name, value in stack.env.items() if re.search("PASSWORD|SECRET|KEY|TOKEN", name)]
    assert len(secrets) > 8
    for name in definitions:
        shown = httpx.get(f"{CONNECT}/connectors/{name}/config", trust_env=False).text
        assert "password" in shown
        assert not [secret for secret in secrets if secret in shown + json.dumps(definitions[name])]


# --- what it survives ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sender() -> Iterator[Sender]:
    with Sender() as sender:
        yield sender


@pytest.mark.parametrize("services", ROUNDS, ids=lambda services: services[0] if len(services) == 1 else "others")
def test_a_killed_service_comes_back(stack: Stack, sender: Sender, services: tuple[str, ...]) -> None:
    """Killed from the host: Docker's own `kill` counts as a wish to stop, and would leave it stopped."""
    await_true(lambda: sender.accepted, 30, "the first accepted reading")
    before = {service: stack.inspect(service) for service in services}
    for inspected in before.values():
        os.kill(inspected["State"]["Pid"], signal.SIGKILL)

    def is_back(service: str) -> bool:
        there = stack.inspect(service)
        return bool(there["RestartCount"] > before[service]["RestartCount"]) and there["State"]["Running"]

    await_true(lambda: all(map(is_back, services)), 60, f"{services} started again")
    await_true(lambda: is_well(stack), 480, "everything is healthy again")


def test_every_service_was_killed() -> None:
    assert {service for services in ROUNDS for service in services} == LONG_RUNNING


def test_nothing_accepted_was_lost(stack: Stack, sender: Sender) -> None:
    before = len(sender.accepted)
    await_true(lambda: len(sender.accepted) > before, 60, "readings are accepted again")
    verify(stack)
    accepted = list(sender.accepted)

    def missing() -> set[str]:
        rows = stack.rows(f"SELECT CAST(timestamp AS CHAR) FROM readings WHERE sensor_id = {SENSOR}")
        return set(accepted) - {str(timestamp) for (timestamp,) in rows}

    await_true(lambda: not missing(), 60, "every accepted reading in MariaDB")
    await_true(lambda: min(stack.counts(SENSOR)) >= len(accepted), 60, "as many in Elasticsearch")
    verify(stack)


def test_down_and_up_keeps_the_data(stack: Stack) -> None:
    before = {sensor: stack.counts(sensor) for sensor in (*BUOYS, SENSOR)}
    stack.compose("down")
    assert stack.states() == {}
    stack.up()
    for sensor, counts in before.items():
        await_true(lambda: all(map(int.__le__, counts, stack.counts(sensor))), 60, f"{counts} readings of {sensor}")  # noqa: B023
    verify(stack)


def test_both_stores_come_back_as_the_operations_page_says(stack: Stack) -> None:
    """Its commands for containers; test_restore.py, for local mode, looks closer at what comes back."""
    stack.rows("INSERT INTO readings (sensor_id, timestamp, temperature) VALUES (5, '2020-01-01 00:00:00', 1.5)")
    elastic = ("elastic", stack.env["ELASTIC_PASSWORD"])
    stack.search("legacy-orders/_doc/1?refresh=true", {"total": 7}, *elastic)
    before = {sensor: stack.counts(sensor) for sensor in (*BUOYS, SENSOR)}
    for title in ("Disk", "Backup", "Restore"):
        here = {"$(date +%F)": DAY, "docker volume rm mare_": f"docker volume rm {PROJECT}_", " mare_": f" {PROJECT}_"}
        stack.shell(re.sub("|".join(map(re.escape, here)), lambda found: here[found[0]], script(title, "containers")))  # noqa: B023
    for sensor, counts in before.items():
        await_true(lambda: all(map(int.__le__, counts, stack.counts(sensor))), 60, f"{counts} readings of {sensor}")  # noqa: B023
    assert stack.counts(5) == (1, 1)
    assert stack.search("legacy-orders/_count", None, *elastic)["count"] == 1
    assert is_well(stack), stack.states()


def test_new_passwords_are_an_edit_and_another_up(stack: Stack) -> None:
    changed = (
        *("MARE_MARIADB__PASSWORD", "MARIADB_READER_PASSWORD", "MARE_ELASTICSEARCH__PASSWORD"),
        *("OBSERVER_PASSWORD", "ELASTIC_PASSWORD", "KIBANA_SYSTEM_PASSWORD"),
    )
    old = stack.env
    text = (stack.folder / ".env").read_text()
    for name in changed:
        text = text.replace(f"{name}={old[name]}", f"{name}={old[name][::-1]}")
    (stack.folder / ".env").write_text(text)
    assert all(stack.env[name] != old[name] for name in changed)
    stack.up()
    stack.compose("run", "--rm", "setup")
    for name in ("MARE_ELASTICSEARCH__PASSWORD", "OBSERVER_PASSWORD", "ELASTIC_PASSWORD"):
        user = re.sub("MARE_.*", "mare", name.removesuffix("_PASSWORD")).lower()
        stack.search("readings-*/_search", None, user, stack.env[name])
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            stack.search("readings-*/_search", None, user, old[name])
    for user, name in (("mare", "MARE_MARIADB__PASSWORD"), ("reader", "MARIADB_READER_PASSWORD")):
        assert stack.rows("SELECT 1", user, stack.env[name])
        with pytest.raises(mysql.connector.Error, match="denied"):
            stack.rows("SELECT 1", user, old[name])
    before = stack.counts(BUOYS[0])
    await_true(lambda: all(map(int.__lt__, before, stack.counts(BUOYS[0]))), 90, "more readings in both stores")
    verify(stack)
    assert is_well(stack), stack.states()


def test_the_end_takes_everything_away(stack: Stack) -> None:
    stack.compose("down", "--volumes")
    volumes = subprocess.run(["docker", "volume", "ls"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "mare-test" not in volumes
