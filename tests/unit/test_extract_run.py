"""Parts of a run that need no store."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import time
from pathlib import Path

import mysql.connector
import pytest
from mysql.connector.network import NetworkBrokerPlain

from extraction.attempt import BODY_BYTES, alike, cut, dead_line
from extraction.bulk import Dead
from extraction.checkpoint import Tally
from extraction.job import ColumnOptions, Job, Source
from extraction.layout import layout
from extraction.outcome import STOPPED_STATUS, Report
from extraction.progress import Lines, Rate, State
from extraction.source import Index, SourceTable, TableColumn, source_errors
from extraction.stream import _Buffered
from extraction.tasks import Flag
from extraction.worker import Pace, page_rows, passing
from maredata.errors import StoreError


def report(finished: bool = True, total: Tally | None = None) -> Report:
    total = total or Tally()
    return Report("j", "legacy-j", False, finished, 2.0, 1.0, 1, 0, Tally(rows=10), 3, total, Path("dead.ndjson"))


def test_the_exit_status_is_that_of_all_runs() -> None:
    assert report().exit_status == 0
    assert report(total=Tally(dead=1)).exit_status == 1
    assert report(total=Tally(set_aside=1)).exit_status == 1
    assert report(finished=False, total=Tally(dead=1)).exit_status == STOPPED_STATUS == 130


def test_a_report_is_json_with_reasons() -> None:
    content = json.loads(json.dumps(report(total=Tally(dead=2, reasons={"too long": 2})).as_dict()))
    assert (content["rows_per_second"], content["all_runs"]["reasons"]) == (5, {"too long": 2})
    assert content["dead_file"] == "dead.ndjson"


def test_bodies_are_cut_by_bytes_and_lose_no_line() -> None:
    lines = [b"x" * size for size in (10, 20, 99, 150, 1, 1, 97)]
    parts = list(cut(lines, 100))
    assert [line for part, _ in parts for line in part] == lines
    assert [len(part) for part, _ in parts] == [1 + 1, 1, 1, 2, 1]
    assert all(size == sum(map(len, part)) + len(part) for part, size in parts)
    assert all(size <= 100 or len(part) == 1 for part, size in parts)
    assert list(cut(lines, 1000)) == [(lines, sum(map(len, lines)) + len(lines))]


def test_long_rows_are_fetched_few_at_a_time() -> None:
    def rows(*columns: TableColumn) -> int:
        table = SourceTable("d", "t", "MariaDB", columns, (Index("PRIMARY", (columns[0].name,)),), 0)
        names = {column.name: ColumnOptions(field=column.name) for column in columns}
        source = Source(database="d", table="t", user="u", key=(columns[0].name,))
        return page_rows(layout(Job(name="j", source=source, columns=names), table))

    number = TableColumn("id", "int", "int", False)
    text = TableColumn("text", "text", "text", True, octets=65_535, charset="utf8mb4")
    long = TableColumn("long", "longtext", "longtext", True, octets=2**32 - 1, charset="utf8mb4")
    assert rows(number) == 5_000
    assert rows(number, text) * 65_535 <= 2 * BODY_BYTES
    assert rows(number, text, long) == 8


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (mysql.connector.InterfaceError(errno=2013), True),
        (mysql.connector.OperationalError(errno=2055, values=("a", "b")), True),
        (mysql.connector.DatabaseError("can't connect", errno=2003), True),
        (mysql.connector.DatabaseError("too many connections", errno=1040), True),
        (mysql.connector.OperationalError("shutdown in progress", errno=1053), True),
        (mysql.connector.ProgrammingError("no such column", errno=1054), False),
        (mysql.connector.ProgrammingError("denied", errno=1045), False),
        (mysql.connector.DataError("out of range", errno=1690), False),
    ],
)
def test_what_passes_is_told_from_what_does_not(error: mysql.connector.Error, expected: bool) -> None:
    source = Source(database="d", table="t", user="u", key=("id",))
    with pytest.raises(StoreError) as caught, source_errors(source):
        raise error
    assert passing(caught.value) is expected
    assert not passing(StoreError("Elasticsearch"))


def test_reasons_are_alike_whatever_values_are_in_them() -> None:
    reason = "failed to parse field [v{}] of type [long] in document with id '{}'. Preview of field's value: '{}'"
    assert alike(reason.format(1, 2, "a")) == alike(reason.format(22, 33, "b"))
    assert alike(reason.format(1, 2, "a")) == "failed to parse field [v#] of type [long]"


@pytest.mark.parametrize(("source", "name"), [(b'{"v":1.10}', "document"), (b'{"v":\xff', "document_text")])
def test_a_dead_row_is_one_line_of_json_with_its_document_untouched(source: bytes, name: str) -> None:
    table = SourceTable("d", "t", "x", (TableColumn("id", "int", "int", False),), (Index("PRIMARY", ("id",)),), 0)
    job = Job(
        name="j",
        source=Source(database="d", table="t", user="u", key=("id",)),
        columns={"id": ColumnOptions(field="id")},
    )
    line = dead_line(layout(job, table), Dead(b'{"index":{"_index":"i","_id":"7"}}\n' + source, 400, "kind", "no\nway"))
    assert b"\n" not in line
    content = json.loads(line)
    assert (content["_id"], content["reason"], content["status"]) == ("7", "no\nway", 400)
    assert name in content
    assert name == "document_text" or b'{"v":1.10}' in line


def test_a_pace_spreads_rows() -> None:
    waited: list[float] = []
    pace = Pace(100, waited.append)
    for _ in range(3):
        pace.take(50)
    # Nothing sleeps here, so what is owed adds up.
    assert [round(seconds, 1) for seconds in waited] == [0.5, 1.0, 1.5]
    Pace(None, waited.append).take(50)
    assert len(waited) == 3


def test_without_a_terminal_a_line_comes_every_ten_seconds_and_when_it_waits() -> None:
    now, lines = [0.0], []
    shown = Lines(lines.append, lambda: now[0])
    for second in range(25):
        now[0] = float(second)
        shown.update(State(second * 1_000, 100_000, 0))
    assert [line.split(" rows")[0] for line in lines] == ["10,000", "20,000"]
    assert "1,000 rows/s, 1 min 30 s left" in lines[0]
    shown.update(State(25_000, 100_000, 3, "waiting for Elasticsearch"))
    shown.update(State(25_000, 100_000, 3, "waiting for Elasticsearch"))
    assert len(lines) == 3
    assert lines[2].endswith("3 rows not taken, waiting for Elasticsearch")


def test_a_rate_is_that_of_the_last_seconds() -> None:
    now = [0.0]
    rate = Rate(lambda: now[0])
    assert rate.of(0) == 0
    for second in range(1, 101):
        now[0] = float(second)
        found = rate.of(second * 10 if second <= 50 else 500 + (second - 50) * 100)
    assert found == 100


def packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number % 256]) + payload


def test_buffered_packets_are_those_of_the_connector_however_they_come() -> None:
    payloads = [b"", b"a", b"b" * 300_000, b"\x00" * 5, *(bytes([n]) * n for n in range(200))]
    stream = b"".join(packet(number, payload) for number, payload in enumerate(payloads))
    for step in (1, 3, 4, 1000, len(stream)):
        found = []
        for broker in (_Buffered(), NetworkBrokerPlain()):
            wire = FakeSocket(stream if step > 3 else stream[-30_000:][_first(stream[-30_000:]) :], step)
            packets = []
            while wire.left or getattr(broker, "_at", 0) < len(getattr(broker, "_buffer", b"")):
                packets.append((bytes(broker.recv(wire, "here")), broker._pktnr))
            found.append(packets)
        assert found[0] == found[1]
        assert found[0]


def _first(tail: bytes) -> int:
    """Where the packet of 50 bytes begins."""
    return tail.index(packet(54, bytes([50]) * 50))


class FakeSocket:
    """Gives at most `step` bytes at once."""

    def __init__(self, stream: bytes, step: int) -> None:
        self.left, self._step = memoryview(stream), step

    def recv(self, size: int) -> bytes:
        given, self.left = self.left[: min(size, self._step)], self.left[min(size, self._step) :]
        return bytes(given)

    def recv_into(self, view: memoryview, size: int) -> int:
        given = self.recv(size)
        view[: len(given)] = given
        return len(given)


def test_a_lost_connection_is_told_as_the_connector_tells_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"\x05\x00\x00\x00ab")
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(mysql.connector.InterfaceError) as lost:
            _Buffered().recv(ours, "here")
        assert lost.value.errno == 2013


def test_a_worker_killed_while_it_looks_at_a_flag_holds_nobody_up() -> None:
    """With a lock in it, as `multiprocessing.Event` has, one kill in a few leaves the lock taken."""
    flag = Flag()
    for _ in range(30):
        process = os.fork()
        if process == 0:
            while True:
                flag.is_set()
        time.sleep(0.002)  # nothing to await: the kill is to come at any moment
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        assert not flag.is_set()
    flag.set()
    assert flag.is_set()


def test_a_flag_is_seen_by_processes_forked_before_it_was_set() -> None:
    flag = Flag()
    process = os.fork()
    if process == 0:
        while not flag.is_set():
            time.sleep(0.001)
        os._exit(7)
    flag.set()
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 7
