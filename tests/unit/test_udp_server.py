"""The gateway as a whole, on a real socket, with a Kafka that is not there."""

from __future__ import annotations

import fcntl
import json
import logging
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import waiting

from maredata.errors import EngineAlreadyRunning, MachineError, SchemaError
from maredata.schema import load_schema
from maredata.settings import CHECKOUT, Kafka, Reading, Settings, Udp
from maredata.state import ledger_file, read_json, schema_file, write_json
from udp_server import receive
from udp_server.ledger import Ledger
from udp_server.log import Logfmt, Repeats
from udp_server.receive import BATCH, Receiver
from udp_server.server import Server, serve

wait_for = partial(waiting.await_true, seconds=10)

GOOD = b'{"sensor_id": 1, "timestamp": "2025-01-01 00:00:00.000000", "salinity": 38.5}'
SALINITY = '\n[fields.salinity]\ntype = "number"\nlimits = [0.0, 50.0]\n'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    toml = tmp_path / "reading.toml"
    shutil.copy(CHECKOUT / "maredata" / "reading.toml", toml)
    return Settings(
        home=tmp_path / "home",
        reading=Reading(toml=toml),
        udp=Udp(port=free_port(), receive_buffer=1 << 20),
        kafka=Kafka(port=1),  # nothing listens there
    )


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(settings: Settings) -> Iterator[Server]:
    server = Server(settings)
    before = read_json(ledger_file(settings)).get("started")
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: read_json(ledger_file(settings)).get("started") != before)
        yield server
    finally:
        server.stop()
        server.stop()  # Kafka is not there: don't wait for it
        thread.join(10)
    assert not thread.is_alive()


def send(settings: Settings, *payloads: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for payload in payloads:
            sender.sendto(payload, (settings.udp.host, settings.udp.port))


def lines(settings: Settings) -> dict[str, int]:
    counts: dict[str, int] = read_json(ledger_file(settings))["lines"]
    return counts


def test_it_listens_without_kafka_and_a_restart_keeps_the_counts(settings: Settings) -> None:
    with running(settings):
        send(settings, GOOD, b"nonsense", b"", GOOD + b"\n" + GOOD)
        wait_for(lambda: lines(settings)["received"] == 5)
    first = read_json(ledger_file(settings))
    assert first["stopped"]
    assert first["datagrams"] == {"received": 4, "kernel_dropped": 0}
    assert first["lines"]["in_flight"] == 3
    assert first["rejected"] == {"malformed": 1, "empty": 1}
    assert first["unknown_fields"] == {"salinity": 3}
    with running(settings):
        send(settings, GOOD)
    second = read_json(ledger_file(settings))
    assert second["datagrams"]["received"] == 5
    assert second["lines"] == {
        "received": 6, "rejected": 2, "accepted": 0, "refused": 0, "in_flight": 1, "lost_in_crash": 3
    }  # fmt: skip
    assert second["rejected_copies"]["lost_in_crash"] == 2


def test_what_the_socket_holds_at_the_end_is_still_taken_in(settings: Settings) -> None:
    count = 3 * BATCH
    server = Server(settings)
    server.stop()
    server.stop()
    server._startup()
    send(settings, *[GOOD] * count)
    server._main_loop()
    assert server._ledger.datagrams == 0
    server._shutdown()
    assert lines(settings)["received"] == count


def test_what_the_kernel_drops_is_counted_to_the_datagram(settings: Settings) -> None:
    ledger = Ledger()
    small = settings.udp.model_copy(update={"receive_buffer": 20_000})
    receiver = Receiver(small, ledger)
    payloads = [b"x" * 1000] * 200
    send(settings, *payloads)
    held = len(receiver.receive(0))
    assert 0 < held < 200
    assert ledger.kernel_dropped == 0  # those that were held came before the drops
    send(settings, b"the next one tells")
    receiver.receive(1)
    assert ledger.kernel_dropped == 200 - held
    send(settings, *payloads)
    held += len(receiver.receive(0))
    receiver.count_drops()
    receiver.close()
    assert ledger.kernel_dropped == 400 - held
    assert ledger.datagrams == held + 1


def test_the_kernels_count_may_wrap_and_may_come_late(settings: Settings) -> None:
    ledger = Ledger()
    receiver = Receiver(settings.udp, ledger)
    for overflow in (2**31 - 1, 2**32 - 2, 3, 1, 3):
        receiver._saw(overflow)
    receiver._socket.close()
    assert ledger.kernel_dropped == 2**32 + 3


def test_a_small_buffer_is_said_with_the_line_that_mends_it(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive, "_SO_RCVBUFFORCE", 9999)  # what a kernel without the permission amounts to
    limit = int(Path("/proc/sys/net/core/rmem_max").read_text())
    receiver = Receiver(settings.udp.model_copy(update={"receive_buffer": 2 * limit}), Ledger())
    receiver.close()
    assert receiver.buffer == limit
    assert f"sysctl -w net.core.rmem_max={2 * limit}" in caplog.text


def test_an_address_in_use_is_one_sentence(settings: Settings) -> None:
    first = Receiver(settings.udp, Ledger())
    with pytest.raises(EngineAlreadyRunning, match=f"{settings.udp.port} is in use") as refused:
        serve(settings)
    first.close()
    assert refused.value.exit_status == 2


def test_an_address_that_is_not_ours_is_one_sentence(settings: Settings) -> None:
    with pytest.raises(MachineError, match=r"192\.0\.2\.1.*MARE_UDP__HOST"):
        Receiver(settings.udp.model_copy(update={"host": "192.0.2.1"}), Ledger())


def test_a_second_gateway_with_the_same_home_is_refused(settings: Settings) -> None:
    lock = ledger_file(settings).with_suffix(".lock")
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(EngineAlreadyRunning, match="runs already"):
            serve(settings)


def test_a_broken_schema_at_start_is_one_sentence(settings: Settings) -> None:
    settings.reading.toml.write_text("[fields", "utf-8")
    with pytest.raises(SchemaError):
        serve(settings)


def test_an_unreadable_ledger_is_put_aside(settings: Settings) -> None:
    ledger_file(settings).parent.mkdir(parents=True)
    ledger_file(settings).write_text('{"pid": 1, "lin', "utf-8")
    server = Server(settings)
    server.stop()
    server.run()
    assert lines(settings)["received"] == 0
    (aside,) = ledger_file(settings).parent.glob("*.broken-*")
    assert aside.read_text("utf-8") == '{"pid": 1, "lin'


def test_a_schema_that_the_stores_are_ready_for_is_taken_over_without_a_restart(settings: Settings) -> None:
    with running(settings):
        old = read_json(ledger_file(settings))["fingerprint"]
        with settings.reading.toml.open("a") as toml:
            toml.write(SALINITY)
        new = load_schema(settings.reading.toml).fingerprint
        send(settings, GOOD)
        wait_for(lambda: lines(settings)["received"] == 1)
        assert read_json(ledger_file(settings))["fingerprint"] == old  # not yet announced
        write_json(schema_file(settings), {"fingerprint": new})
        wait_for(lambda: bool(read_json(ledger_file(settings))["fingerprint"] == new))
        send(settings, GOOD, GOOD.replace(b"38.5", b"99"))
        wait_for(lambda: lines(settings)["received"] == 3)
    ledger = read_json(ledger_file(settings))
    assert ledger["unknown_fields"] == {"salinity": 1}
    assert ledger["rejected"] == {"out_of_limits": 1}


def test_a_schema_that_the_stores_are_not_ready_for_is_not_taken_over(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with running(settings):
        old = read_json(ledger_file(settings))["fingerprint"]
        with settings.reading.toml.open("a") as toml:
            toml.write(SALINITY)
        write_json(schema_file(settings), {"fingerprint": "another"})
        wait_for(lambda: "run mare apply" in caplog.text)
    assert read_json(ledger_file(settings))["fingerprint"] == old


@pytest.mark.parametrize("content", ["[fields", "fields = 3", '[fields.x]\ntype = "text"\nmax_length = "long"\n'])
def test_a_broken_schema_is_logged_and_the_old_one_stays(
    settings: Settings, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running(settings):
        old = read_json(ledger_file(settings))["fingerprint"]
        settings.reading.toml.write_text(content, "utf-8")
        write_json(schema_file(settings), {"fingerprint": "another"})
        wait_for(lambda: "the schema can't be loaded" in caplog.text)
        send(settings, GOOD)
        wait_for(lambda: lines(settings)["received"] == 1)
    assert read_json(ledger_file(settings))["fingerprint"] == old


def test_a_state_folder_that_cant_be_written_does_not_stop_it(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with running(settings) as server:
        shutil.rmtree(settings.home)
        settings.home.write_text("a file in the way", "utf-8")
        wait_for(lambda: "the ledger can't be written" in caplog.text)
        send(settings, GOOD)
        wait_for(lambda: server._ledger.lines == 1)


def test_a_log_line_is_logfmt_whatever_is_in_it() -> None:
    record = logging.makeLogRecord({"name": "udp_server", "levelname": "WARNING", "msg": 'a "b"\nc', "port": 1})
    text = Logfmt().format(record)
    assert "\n" not in text
    assert text.endswith('level=warning logger=udp_server msg="a \\"b\\"\\nc" port=1')


def test_repeated_warnings_are_held_back_and_counted() -> None:
    repeats = Repeats(period=60)

    def record(created: float, level: int = logging.WARNING) -> logging.LogRecord:
        return logging.makeLogRecord({"name": "n", "msg": "m", "levelno": level, "created": created})

    assert [bool(repeats.filter(record(at))) for at in (0, 1, 59, 60, 61)] == [True, False, False, True, False]
    last = record(200)
    assert repeats.filter(last)
    assert json.loads(json.dumps(vars(last)["held_back"])) == 1
    assert repeats.filter(record(201, logging.INFO))
