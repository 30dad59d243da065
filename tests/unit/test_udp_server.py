"""A worker as a whole, on real sockets, with a Kafka that is not there: what it accepts is in its spool."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import waiting
from ports import free_ports

from maredata.errors import EngineAlreadyRunning, SchemaError
from maredata.names import READINGS
from maredata.schema import load_schema
from maredata.settings import CHECKOUT, Kafka, Reading, Settings, Udp, as_environment
from maredata.state import schema_file, write_json
from udp_server import server as module
from udp_server import worker
from udp_server.files import WorkerFiles
from udp_server.receive import BATCH
from udp_server.server import Server
from udp_server.sockets import Sockets, listen
from udp_server.spool import Spool
from udp_server.worker import Orders

await_true = partial(waiting.await_true, seconds=20)

GOOD = b'{"sensor_id": 1, "timestamp": "2025-01-01 00:00:00.000000", "salinity": 38.5}'
SALINITY = '\n[fields.salinity]\ntype = "number"\nlimits = [0.0, 50.0]\n'


def reading(number: int) -> bytes:
    return b'{"sensor_id": 7, "timestamp": "2025-01-01 00:00:00.%06d", "seq": %d}' % (number, number)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    toml = tmp_path / "reading.toml"
    shutil.copy(CHECKOUT / "maredata" / "reading.toml", toml)
    return Settings(
        home=tmp_path / "home",
        reading=Reading(toml=toml),
        udp=Udp(port=free_ports(1)[0], receive_buffer=4 << 20, spool_after_seconds=0.1),
        kafka=Kafka(port=1),  # nothing listens there
    )


def with_udp(settings: Settings, **changed: Any) -> Settings:
    return settings.model_copy(update={"udp": settings.udp.model_copy(update=changed)})


def patient(settings: Settings) -> Settings:
    """Nothing is spooled before the end, so all that came is in flight."""
    return with_udp(settings, spool_after_seconds=3600.0)


@pytest.fixture
def sockets(settings: Settings) -> Iterator[Sockets]:
    made = listen(settings)
    yield made
    made.close()


@pytest.fixture
def files(settings: Settings) -> WorkerFiles:
    made = WorkerFiles(settings, 0)
    made.folder.mkdir(parents=True)
    return made


@contextmanager
def running(settings: Settings, files: WorkerFiles, udp: socket.socket | None, **others: Any) -> Iterator[Server]:
    """In a thread; ready when it has written its first ledger, ended in order at the end."""
    server = Server(settings, files, udp, **others)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        await_true(lambda: getattr(server, "_written", None) or not thread.is_alive())
        yield server
    finally:
        server.stop()
        thread.join(30)
    assert not thread.is_alive()


@contextmanager
def process(settings: Settings, sockets: Sockets, parent: int) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process, as the gateway starts it, and killed at the end if it still runs."""
    assert sockets.tcp is not None
    orders = Orders(0, parent, "a run", sockets.udp[0].fileno(), sockets.tcp.fileno())
    with subprocess.Popen(
        [sys.executable, "-m", "udp_server.worker", msgspec.json.encode(orders).decode()],
        env={**os.environ, **as_environment(settings)},
        pass_fds=[parent, sockets.udp[0].fileno(), sockets.tcp.fileno()],
        cwd=CHECKOUT,
    ) as started:
        try:
            await_true(lambda: WorkerFiles(settings, 0).read_ledger().get("pid") == started.pid)
            yield started
        finally:
            started.kill()


@pytest.fixture
def lifeline() -> Iterator[tuple[int, int]]:
    """A pipe whose writing end is the parent's, as far as a worker can tell."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def send(sockets: Sockets, *payloads: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for payload in payloads:
            sender.sendto(payload, sockets.udp[0].getsockname())


def ledger(files: WorkerFiles) -> dict[str, Any]:
    content: dict[str, Any] = files.read_ledger()["ledger"]
    return content


def lines(files: WorkerFiles) -> dict[str, int]:
    counts: dict[str, int] = ledger(files)["lines"]
    return counts


def balanced(counts: dict[str, int]) -> bool:
    columns = ("accepted", "rejected", "refused", "in_flight", "lost_in_crash")
    return counts["received"] == sum(counts[name] for name in columns)


def spooled(files: WorkerFiles) -> list[bytes]:
    """The lines in a spool that nobody uses any more."""
    spool, found = Spool(files.spool / READINGS, 1 << 30), list[bytes]()
    position = spool.head
    while (record := spool.read(position)) is not None:
        messages, position = record
        found += [message.value for message in messages]
    spool.close()
    return found


def test_it_listens_without_kafka_and_a_restart_keeps_the_counts(
    settings: Settings, sockets: Sockets, files: WorkerFiles
) -> None:
    with running(settings, files, sockets.udp[0]):
        send(sockets, GOOD, b"nonsense", b"", GOOD + b"\n" + GOOD)
        await_true(lambda: lines(files)["accepted"] == 3)
    first = ledger(files)
    assert first["datagrams"] == {"received": 4, "kernel_dropped": 0}
    assert first["lines"] == {
        "received": 5, "rejected": 2, "accepted": 3, "refused": 0, "in_flight": 0, "lost_in_crash": 0,
        "acknowledged": 0, "spooled": 3, "replayed": 0,
    }  # fmt: skip
    assert first["rejected"] == {"malformed": 1, "empty": 1}
    assert first["rejected_copies"]["accepted"] == 2
    assert first["unknown_fields"] == {"salinity": 3}
    assert first["spool"]["messages"] == 3
    assert [(sensor.sensor_id, sensor.duplicates) for sensor in files.read_sensors()] == [(1, 2)]
    send(sockets, GOOD)  # nobody is there
    with running(settings, files, sockets.udp[0]):
        await_true(lambda: lines(files)["accepted"] == 4)
    second = ledger(files)
    assert second["datagrams"]["received"] == 5
    assert (second["lines"]["received"], second["lines"]["lost_in_crash"]) == (6, 0)
    assert second["spool"]["messages"] == 4
    assert [(sensor.sensor_id, sensor.readings) for sensor in files.read_sensors()] == [(1, 4)]
    assert spooled(files) == [GOOD] * 4


def test_what_the_socket_holds_at_the_end_is_still_taken_in(
    settings: Settings, sockets: Sockets, files: WorkerFiles
) -> None:
    count = 3 * BATCH
    server = Server(settings, files, sockets.udp[0])
    server.stop()
    send(sockets, *map(reading, range(count)))
    server.run()
    assert lines(files)["received"] == lines(files)["accepted"] == count
    assert spooled(files) == [*map(reading, range(count))]


def test_what_kafka_has_not_taken_when_a_worker_ends_is_spooled(
    settings: Settings, sockets: Sockets, files: WorkerFiles, lifeline: tuple[int, int]
) -> None:
    with process(patient(settings), sockets, lifeline[0]) as worker_process:
        send(sockets, *map(reading, range(50)))
        await_true(lambda: lines(files)["in_flight"] == 50)
        assert lines(files)["accepted"] == 0
        worker_process.send_signal(signal.SIGTERM)
        assert worker_process.wait(30) == 0
    counts = lines(files)
    assert (counts["accepted"], counts["in_flight"], counts["spooled"]) == (50, 0, 50)
    assert balanced(counts)
    assert spooled(files) == [*map(reading, range(50))]


def test_what_was_in_flight_when_a_worker_was_killed_is_lost_in_crash(
    settings: Settings, sockets: Sockets, files: WorkerFiles, lifeline: tuple[int, int]
) -> None:
    with process(patient(settings), sockets, lifeline[0]) as worker_process:
        send(sockets, *map(reading, range(50)))
        await_true(lambda: lines(files)["in_flight"] == 50)
        worker_process.kill()
        worker_process.wait(30)
    send(sockets, *map(reading, range(50, 60)))  # they wait in the socket
    with running(settings, files, sockets.udp[0]):
        await_true(lambda: lines(files)["accepted"] == 10)
    counts = lines(files)
    assert (counts["received"], counts["lost_in_crash"], counts["in_flight"]) == (60, 50, 0)
    assert balanced(counts)


def test_what_was_spooled_after_the_last_ledger_is_counted_by_the_next_worker(
    settings: Settings, sockets: Sockets, files: WorkerFiles
) -> None:
    with running(settings, files, sockets.udp[0]):
        send(sockets, GOOD)
        await_true(lambda: lines(files)["accepted"] == 1)
        killed = files.read_ledger()
        send(sockets, *map(reading, range(3)))
        await_true(lambda: lines(files)["accepted"] == 4)
    files.write_ledger(killed)  # as if it had been killed before it wrote a further one
    with running(settings, files, None):
        await_true(lambda: lines(files)["accepted"] == 4)
    counts = lines(files)
    assert (counts["received"], counts["spooled"], counts["lost_in_crash"]) == (4, 4, 0)
    assert balanced(counts)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel does not tell what it drops")
def test_kernel_drops_are_counted_once_by_all_workers_that_read_a_socket(
    settings: Settings, files: WorkerFiles
) -> None:
    made = listen(with_udp(settings, receive_buffer=20_000))
    sent = 0
    for _ in range(2):
        send(made, *[b" " * 1000] * 100)  # nobody reads
        sent += 100
        with running(settings, files, made.udp[0]):
            pass
        datagrams = ledger(files)["datagrams"]
        assert datagrams["received"] + datagrams["kernel_dropped"] == sent
        assert datagrams["kernel_dropped"] > sent / 2
    made.close()


def test_a_full_spool_refuses_and_no_refused_reading_is_in_the_accepted_log(
    settings: Settings, sockets: Sockets, files: WorkerFiles
) -> None:
    log = settings.reading.toml.with_name("accepted.log")
    small = with_udp(settings, spool_bytes=1, queue_messages=1)  # bytes: a megabyte at least
    with running(small, files, sockets.udp[0], accepted_log=log):
        for number in range(25):
            numbers = range(50 * number, 50 * number + 50)
            send(
                sockets, b"\n".join(reading(each).replace(b"}", b', "note": "%s"}' % (b"x" * 1000)) for each in numbers)
            )
            await_true(lambda last=numbers.stop: lines(files)["received"] == last)  # type: ignore[misc]
        await_true(lambda: lines(files)["refused"])
    counts = lines(files)
    assert balanced(counts)
    assert counts["accepted"] > 0
    assert ledger(files)["refused"] == {"spool_full": counts["refused"]}
    assert len(set(log.read_text("ascii").splitlines())) == len(spooled(files)) == counts["accepted"]


def test_a_worker_ends_when_its_parent_does(settings: Settings, sockets: Sockets, files: WorkerFiles) -> None:
    reading_end, writing_end = os.pipe()
    with os.fdopen(writing_end, "wb", buffering=0) as parent, os.fdopen(reading_end):
        server = Server(settings, files, sockets.udp[0], parent=reading_end)
        thread = threading.Thread(target=server.run)
        thread.start()
        send(sockets, GOOD)
        await_true(lambda: files.read_ledger() and lines(files)["received"] == 1)
        parent.write(b"x")  # a byte is no end
        send(sockets, GOOD)
        await_true(lambda: lines(files)["received"] == 2)
        assert thread.is_alive()
        parent.close()
        thread.join(30)
        assert not thread.is_alive()
    assert lines(files)["accepted"] == 2


def test_totals_come_back_over_tcp_and_the_balance_is_over_both(
    settings: Settings, sockets: Sockets, files: WorkerFiles
) -> None:
    with running(settings, files, sockets.udp[0], tcp=sockets.tcp):
        send(sockets, GOOD, b"nonsense")
        with socket.create_connection(sockets.udp[0].getsockname(), timeout=20) as sender:
            sender.sendall(reading(0) + b"\n" + b"nonsense\n" + reading(1) + b"\n" + reading(2))
            sender.shutdown(socket.SHUT_WR)
            with sender.makefile("rb") as totals:
                told = [int(line) for line in totals]
        # They are told only when they are safe.
        assert told[-1] == 4
        await_true(lambda: lines(files)["accepted"] == 4)
        await_true(lambda: ledger(files)["tcp"]["connections"] == 0)
    counts = lines(files)
    assert balanced(counts)
    assert (counts["received"], counts["rejected"], ledger(files)["datagrams"]["received"]) == (6, 2, 2)
    assert ledger(files)["tcp"] == {"connections": 0, "accepted": 1, "refused": 0}
    assert Counter(spooled(files)) == Counter([GOOD, *map(reading, range(3))])


def test_no_total_covers_what_is_not_accepted_yet(
    settings: Settings, sockets: Sockets, files: WorkerFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FLUSH_SECONDS", 0.1)
    with (
        running(patient(settings), files, sockets.udp[0], tcp=sockets.tcp),
        socket.create_connection(sockets.udp[0].getsockname(), timeout=20) as sender,
    ):
        sender.sendall(reading(0) + b"\n")
        await_true(lambda: lines(files)["in_flight"] == 1)
        sender.setblocking(False)
        with pytest.raises(BlockingIOError):
            sender.recv(10)


def test_who_may_not_send_is_refused_and_counted(settings: Settings, sockets: Sockets, files: WorkerFiles) -> None:
    with running(with_udp(settings, allowed_networks="10.0.0.0/8"), files, sockets.udp[0], tcp=sockets.tcp):
        send(sockets, GOOD + b"\n" + GOOD, b"nonsense")
        await_true(lambda: lines(files)["received"] == 3)
        with socket.create_connection(sockets.udp[0].getsockname(), timeout=20) as sender:
            assert sender.recv(10) == b""
        await_true(lambda: ledger(files)["tcp"]["refused"] == 1)
    assert ledger(files)["refused"] == {"unauthorized": 3}
    assert balanced(lines(files))


def test_each_accepted_reading_is_in_the_accepted_log_once(
    settings: Settings, sockets: Sockets, files: WorkerFiles
) -> None:
    log = settings.reading.toml.with_name("accepted.log")
    log.write_text("1,2,3\n", "ascii")  # of an earlier gateway
    with running(settings, files, sockets.udp[0], accepted_log=log):
        send(sockets, *map(reading, range(100)), GOOD, b"nonsense")
        await_true(lambda: lines(files)["accepted"] == 101)
        await_true(lambda: len(log.read_text("ascii").splitlines()) == 102)  # while it runs
        send(sockets, reading(100))  # written at its end
    micros = 1_735_689_600_000_000
    expected = ["1,2,3", *(f"7,{number},{micros + number}" for number in range(101)), f"1,,{micros}"]
    assert sorted(log.read_text("ascii").splitlines()) == sorted(expected)


def test_a_worker_without_a_socket_ends_when_its_spool_is_empty(settings: Settings, files: WorkerFiles) -> None:
    Server(settings, files, None).run()
    assert lines(files)["received"] == 0
    assert files.read_ledger()["drops"] is None


def test_a_worker_without_a_socket_stays_while_its_spool_holds_something(
    settings: Settings, sockets: Sockets, files: WorkerFiles
) -> None:
    with running(settings, files, sockets.udp[0]):
        send(sockets, GOOD)
        await_true(lambda: lines(files)["accepted"] == 1)
    server = Server(settings, files, None)
    turns: list[int] = []

    def fake_wait() -> None:
        turns.append(1)
        if len(turns) == 50:
            server.stop()

    server._wait = fake_wait  # type: ignore[method-assign]
    server.run()
    assert len(turns) == 50  # only because it was stopped
    assert (lines(files)["accepted"], ledger(files)["spool"]["messages"]) == (1, 1)
    assert spooled(files) == [GOOD]


def test_a_schema_that_the_stores_are_ready_for_is_taken_over_without_a_restart(
    settings: Settings, sockets: Sockets, files: WorkerFiles
) -> None:
    with running(settings, files, sockets.udp[0]):
        old = files.read_ledger()["fingerprint"]
        with settings.reading.toml.open("a") as toml:
            toml.write(SALINITY)
        new = load_schema(settings.reading.toml).fingerprint
        send(sockets, GOOD)
        await_true(lambda: lines(files)["received"] == 1)
        assert files.read_ledger()["fingerprint"] == old  # not yet announced
        write_json(schema_file(settings), {"fingerprint": new})
        await_true(lambda: files.read_ledger()["fingerprint"] == new)
        send(sockets, GOOD, GOOD.replace(b"38.5", b"99"))
        await_true(lambda: lines(files)["received"] == 3)
    assert ledger(files)["unknown_fields"] == {"salinity": 1}
    assert ledger(files)["rejected"] == {"out_of_limits": 1}
    (sensor,) = files.read_sensors()
    assert sensor.variables["salinity"].value == 38.5


def test_a_schema_that_the_stores_are_not_ready_for_is_not_taken_over(
    settings: Settings, sockets: Sockets, files: WorkerFiles, caplog: pytest.LogCaptureFixture
) -> None:
    with running(settings, files, sockets.udp[0]):
        old = files.read_ledger()["fingerprint"]
        with settings.reading.toml.open("a") as toml:
            toml.write(SALINITY)
        write_json(schema_file(settings), {"fingerprint": "another"})
        await_true(lambda: "run mare apply" in caplog.text)
    assert files.read_ledger()["fingerprint"] == old


@pytest.mark.parametrize("content", ["[fields", "fields = 3", '[fields.x]\ntype = "text"\nmax_length = "long"\n'])
def test_a_broken_schema_is_logged_and_the_old_one_stays(
    settings: Settings, sockets: Sockets, files: WorkerFiles, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running(settings, files, sockets.udp[0]):
        old = files.read_ledger()["fingerprint"]
        settings.reading.toml.write_text(content, "utf-8")
        write_json(schema_file(settings), {"fingerprint": "another"})
        await_true(lambda: "the schema can't be loaded" in caplog.text)
        send(sockets, GOOD)
        await_true(lambda: lines(files)["received"] == 1)
    assert files.read_ledger()["fingerprint"] == old


def test_a_broken_schema_at_the_start_ends_a_worker(settings: Settings, sockets: Sockets, files: WorkerFiles) -> None:
    settings.reading.toml.write_text("[fields", "utf-8")
    with pytest.raises(SchemaError):
        Server(settings, files, sockets.udp[0]).run()


def test_an_unreadable_ledger_is_put_aside(settings: Settings, sockets: Sockets, files: WorkerFiles) -> None:
    files._ledger.write_text('{"pid": 1, "lin', "utf-8")
    send(sockets, GOOD)
    with running(settings, files, sockets.udp[0]):
        await_true(lambda: lines(files)["accepted"] == 1)
    (aside,) = files.folder.glob("*.broken-*")
    assert aside.read_text("utf-8") == '{"pid": 1, "lin'


def test_a_state_folder_that_cant_be_written_does_not_stop_it(
    settings: Settings,
    sockets: Sockets,
    files: WorkerFiles,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_FLUSH_SECONDS", 0.1)
    with running(settings, files, sockets.udp[0]) as server:
        shutil.rmtree(settings.home)
        settings.home.write_text("a file in the way", "utf-8")
        send(sockets, GOOD)
        await_true(lambda: "the sensors can't be written" in caplog.text)
        await_true(lambda: "the spool can't be written" in caplog.text)
        send(sockets, GOOD)
        await_true(lambda: server._ledger.lines == 2)
        assert server._ledger.readings.accepted == 0  # nothing holds it safely
    assert "neither Kafka nor the spool took everything" in caplog.text


def test_two_workers_of_one_number_are_one_too_many(files: WorkerFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    with files.lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        monkeypatch.setattr(worker, "_LOCK_SECONDS", -1.0)
        with pytest.raises(EngineAlreadyRunning, match="Worker 0 of an earlier gateway"), worker._alone(files):
            pytest.fail("there were two")
        # One that ends in time is waited for.
        monkeypatch.setattr(worker, "_LOCK_SECONDS", 60.0)
        monkeypatch.setattr(time, "sleep", lambda _seconds: held.close())
        with worker._alone(files), files.lock.open("w") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
