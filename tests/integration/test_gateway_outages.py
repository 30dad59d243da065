"""The gateway while Kafka is away, its disk is full, it is flooded, or killed: what it accepted is never lost."""

from __future__ import annotations

import json
import random
import secrets
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from engines import Engines
from gateways import SENSORS, Gateway, ends, gateway, good, grown, own_gateway, queued_bytes, records_since
from waiting import await_true

from maredata.names import READINGS
from maredata.settings import Settings

OUTAGE_SECONDS = 60
RATE = 20_000  # readings a second
MOST_MEMORY = 400 << 20  # of a worker; the readings of the outage alone would take more


@pytest.fixture
def settings(broker: Engines, tmp_path: Path) -> Settings:
    return own_gateway(broker.settings, tmp_path / "home", receive_buffer=8 << 20)


@pytest.fixture
def broken(broker: Engines) -> Iterator[Engines]:
    """A broker that the test may kill or stop; afterwards it runs again."""
    yield broker
    broker.stop("kafka")
    broker.start("kafka")


class Sender:
    """Sends readings at a rate until it is told to stop, in a thread of its own. Waits where nobody reads them."""

    def __init__(self, running: Gateway, rate: int) -> None:
        self.sent = 0
        self._running = running
        self._rate = rate
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        udp = self._running.settings.udp
        began = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((udp.host, udp.port))
            while not self._stopped.wait(0.005):
                due = int((time.monotonic() - began) * self._rate)
                while self.sent < due and queued_bytes(udp.port) < 2 << 20:
                    for number in range(self.sent, min(due, self.sent + 200)):
                        sender.send(good(number))
                    self.sent = min(due, self.sent + 200)


def numbers_since(settings: Settings, starts: dict[int, int]) -> dict[int, list[int]]:
    """The numbers of `good` that are in the topic: by sensor, each once, in the order of their first occurrence."""
    found: dict[int, dict[int, None]] = {}
    for record in records_since(settings, READINGS, starts):
        assert record.key is not None
        found.setdefault(int(record.key), {}).setdefault(json.loads(record.value)["seq"])
    return {sensor: [seq * SENSORS + sensor - 1 for seq in seqs] for sensor, seqs in found.items()}


def test_kafka_killed_under_load_costs_nothing_but_time(settings: Settings, broken: Engines) -> None:
    starts = ends(settings, READINGS)
    memory = 0
    with gateway(settings) as running:
        (worker,) = running.workers()
        with Sender(running, RATE) as sender:
            running.wait_until(lambda now: now["lines"]["acknowledged"] > RATE)
            broken.kill("kafka")
            until = time.monotonic() + OUTAGE_SECONDS
            while time.monotonic() < until:
                memory = max(memory, worker.memory_info().rss)
                running.ledger()
                time.sleep(0.5)
            away = running.ledger()
            broken.start("kafka")
            # Readings go on coming while the spool is emptied.
            running.wait_until(lambda now: now["spool"]["messages"] == 0, seconds=180)
        ledger = running.wait_until(lambda now: now["lines"]["acknowledged"] == sender.sent, seconds=60)
    assert away["spool"]["messages"] > RATE * OUTAGE_SECONDS / 4, "the outage was none"
    assert ledger["lines"]["accepted"] == ledger["lines"]["received"] == sender.sent
    assert ledger["lines"]["replayed"] == ledger["lines"]["spooled"] > 0
    numbers = numbers_since(settings, starts)
    assert sum(map(len, numbers.values())) == sender.sent
    for sensor, found in numbers.items():
        assert found == sorted(found), f"sensor {sensor} is out of order"
    assert memory < MOST_MEMORY
    print(f"{sender.sent} sent, {away['spool']} while Kafka was away, {memory >> 20} MiB at most")


def test_killed_while_spooling_it_keeps_what_it_accepted(settings: Settings, broken: Engines, tmp_path: Path) -> None:
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    accepted_log = tmp_path / "accepted.csv"
    starts = ends(settings, READINGS)
    with gateway(settings, "--accepted-log", str(accepted_log)) as running:
        with Sender(running, 5_000) as sender:
            running.wait_until(lambda now: now["lines"]["acknowledged"] > 1000)
            broken.kill("kafka")
            for _ in range(3):
                goal = running.ledger()["lines"]["spooled"] + chance.randint(2_000, 8_000)
                running.wait_until(lambda now, goal=goal: now["lines"]["spooled"] > goal)
                (worker,) = running.workers()
                worker.kill()
                await_true(lambda worker=worker: running.workers() not in ([], [worker]), what="another worker")
            goal = running.ledger()["lines"]["spooled"] + 2_000
            running.wait_until(lambda now: now["lines"]["spooled"] > goal)
            running.process.kill()
            running.process.wait()
        killed = running.settings
    broken.start("kafka")
    with gateway(killed) as running:
        ledger = running.wait_until(lambda now: now["spool"]["messages"] == now["lines"]["in_flight"] == 0)
    accepted = {
        (int(sensor), int(seq))
        for sensor, seq, _ in (line.split(",") for line in accepted_log.read_text("ascii").splitlines())
    }
    numbers = numbers_since(settings, starts)
    in_kafka = {(sensor, number // SENSORS) for sensor, found in numbers.items() for number in found}
    assert len(accepted) > 8_000
    assert accepted <= in_kafka, f"{len(accepted - in_kafka)} accepted readings were lost"
    assert ledger["lines"]["accepted"] <= len(in_kafka)
    assert ledger["lines"]["received"] <= sender.sent


def test_a_full_spool_refuses_the_newest_and_says_so(settings: Settings, broken: Engines) -> None:
    settings = smaller(settings, spool_bytes=1 << 20, queue_messages=5_000)
    starts = ends(settings, READINGS)
    broken.stop("kafka")
    with gateway(settings) as running:
        running.send([good(number) for number in range(40_000)])
        full = running.wait_until(lambda now: now["lines"]["received"] == 40_000)
        assert full["refused"]["spool_full"] == full["lines"]["refused"] > 10_000
        # Over TCP nobody is refused: who can wait is made to.
        with socket.create_connection((settings.udp.host, settings.udp.port)) as client:
            client.sendall(b"".join(good(number) + b"\n" for number in range(40_000, 40_100)))
            broken.start("kafka")
            assert last_total(client, 100) == 100
        ledger = running.wait_until(
            lambda now: (
                now["lines"]["received"] == 40_100 and now["spool"]["messages"] == now["lines"]["in_flight"] == 0
            )
        )
    taken = 40_000 - full["lines"]["refused"]
    assert ledger["lines"]["refused"] == full["lines"]["refused"]
    assert ledger["lines"]["acknowledged"] == ledger["lines"]["accepted"] == taken + 100
    numbers = sorted(number for found in numbers_since(settings, starts).values() for number in found)
    assert len(numbers) == taken + 100
    assert numbers[: taken - 1000] == list(range(taken - 1000)), "the oldest are kept"


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(settings: Settings, broken: Engines) -> None:
    """The spool's folder is a tmpfs of 2 MiB, with something in the way that is then taken away."""
    settings = smaller(settings, queue_messages=2_000)
    folder = settings.home / "state" / "gateway" / "0" / "spool"
    folder.mkdir(parents=True)
    starts = ends(settings, READINGS)
    broken.stop("kafka")
    mounted = 'mount -t tmpfs -o size=2m none "$0" && head -c 1000000 /dev/zero > "$0/ballast" && exec "$@"'
    with gateway(settings, prefix=("unshare", "--mount", "sh", "-c", mounted, str(folder))) as running:
        running.send([good(number) for number in range(20_000)])
        full = running.wait_until(lambda now: now["lines"]["received"] == 20_000)
        assert full["refused"]["spool_failed"] == full["lines"]["refused"] > 5_000
        (worker,) = running.workers()
        Path(f"/proc/{worker.pid}/root{folder}/ballast").unlink()
        running.send([good(number) for number in range(20_000, 21_000)])
        room = running.wait_until(lambda now: now["lines"]["received"] == 21_000 and not now["lines"]["in_flight"])
        assert room["lines"]["refused"] == full["lines"]["refused"]
        broken.start("kafka")
        ledger = running.wait_until(lambda now: now["spool"]["messages"] == 0)
    assert ledger["lines"]["acknowledged"] == room["lines"]["accepted"] == 21_000 - full["lines"]["refused"]
    assert sum(map(len, numbers_since(settings, starts).values())) == ledger["lines"]["accepted"]


def smaller(settings: Settings, **udp: int) -> Settings:
    return settings.model_copy(update={"udp": settings.udp.model_copy(update=udp)})


def test_a_flood_is_dropped_by_the_kernel_and_counted_to_the_last(settings: Settings) -> None:
    settings = smaller(settings, receive_buffer=1 << 16)
    payloads = [good(number) for number in range(20_000)]
    starts, sent = ends(settings, READINGS), 0
    with gateway(settings) as running, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((settings.udp.host, settings.udp.port))
        while not running.ledger()["datagrams"]["kernel_dropped"]:
            for payload in payloads:
                sender.send(payload)
            sent += len(payloads)
        ledger = running.wait_until(
            lambda now: (
                now["datagrams"]["received"] + now["datagrams"]["kernel_dropped"] == sent
                and not now["lines"]["in_flight"]
            )
        )
        assert ledger["lines"]["accepted"] == ledger["datagrams"]["received"] == grown(settings, READINGS, starts)


def test_a_thousand_clients_of_which_a_hundred_never_read_or_write(settings: Settings) -> None:
    lines = 20
    starts, number = ends(settings, READINGS), count()
    address = (settings.udp.host, settings.udp.port)
    with gateway(settings) as running, ExitStack() as held:
        clients = [held.enter_context(socket.create_connection(address)) for _ in range(1000)]
        mute, talking = clients[:100], clients[100:]
        for client in mute[:50]:
            client.sendall(good(0)[:20])  # half a line, and never the rest
        for client in talking:
            client.sendall(b"".join(good(next(number)) + b"\n" for _ in range(lines)))
        for client in talking:
            client.shutdown(socket.SHUT_WR)
            assert last_total(client, lines) == lines
        running.wait_until(lambda now: now["lines"]["accepted"] == len(talking) * lines)
        # A client hears of its lines before its connection is counted as closed.
        ledger = running.wait_until(lambda now: now["tcp"]["connections"] == len(mute))
    assert ledger["lines"]["received"] == len(talking) * lines
    assert grown(settings, READINGS, starts) == len(talking) * lines


def last_total(client: socket.socket, wanted: int) -> int:
    """The last total that came, as soon as it is the one that is wanted, or at the connection's end."""
    received = b""
    deadline = time.monotonic() + 60
    while not received.endswith(b"\n") or int(received.splitlines()[-1]) < wanted:
        assert select.select([client], [], [], max(0.0, deadline - time.monotonic()))[0], f"only {received[-20:]!r}"
        part = client.recv(4096)
        if not part:
            break
        received += part
    return int(received.splitlines()[-1])


def test_sigterm_while_kafka_is_away_leaves_all_to_the_next_one(settings: Settings, broken: Engines) -> None:
    starts = ends(settings, READINGS)
    broken.stop("kafka")
    with gateway(settings) as running:
        running.send([good(number) for number in range(1000)])
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
        left = running.ledger()
    assert left["lines"]["accepted"] == left["spool"]["messages"] == 1000
    broken.start("kafka")
    with gateway(settings) as running:
        ledger = running.wait_until(lambda now: now["lines"]["acknowledged"] == 1000)
    assert ledger["lines"]["received"] == 1000
    assert grown(settings, READINGS, starts) == 1000
