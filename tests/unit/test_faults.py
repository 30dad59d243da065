"""The fault matrix itself: what it must notice, on a system that is a fake."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks import machine
from maredata.errors import SettingsError
from maredata.settings import CHECKOUT, Settings
from tests.faults import catalogue, run
from tests.faults.accounts import Balance, Identity, balance, logged
from tests.faults.disk_faults import KafkaDiskFull
from tests.faults.matrix import Fault, Outcome, run_all, run_fault
from tests.faults.proxy import Proxy
from tests.faults.report import Report
from tests.faults.run import chosen
from tests.faults.system import PORTS, RealSystem, own_settings

WHOLE = Balance(accepted=100, mariadb=100, elasticsearch=100, lost=0, duplicated=0)


class FakeSystem:
    """Nothing runs: it notes what is asked of it, and answers what the test wants."""

    def __init__(self, found: Balance = WHOLE, verdict: str = "", fails_at: str = "") -> None:
        self.calls: list[str] = []
        self._found, self._verdict, self._fails_at = found, verdict, fails_at

    def note(self, call: str) -> None:
        self.calls.append(call)
        assert call != self._fails_at, f"fake failure at {call}"

    def begin(self, _name: str) -> None:
        self.note("begin")

    def load_on(self) -> None:
        self.note("load_on")

    def load_off(self) -> int:
        self.note("load_off")
        return 120

    def await_recovery(self) -> None:
        self.note("await_recovery")

    def await_stored(self) -> None:
        self.note("await_stored")

    def verify(self) -> str:
        self.note("verify")
        return self._verdict

    def balance(self) -> Balance:
        self.note("balance")
        return self._found

    def keep_logs(self) -> None:
        self.note("keep_logs")

    def renew(self) -> None:
        self.note("renew")


class FakeFault(Fault[FakeSystem]):
    name = "fake"
    description = "nothing is broken"

    def prepare(self, system: FakeSystem) -> None:
        system.note("prepare")

    def inflict(self, system: FakeSystem) -> None:
        system.note("inflict")

    def happened(self, system: FakeSystem) -> str:
        system.note("happened")
        return "it was seen"

    def heal(self, system: FakeSystem) -> None:
        system.note("heal")

    def restore(self, system: FakeSystem) -> None:
        system.note("restore")


def outcome(system: FakeSystem) -> Outcome:
    return run_fault(FakeFault(), system, lambda _: None)


def test_a_fault_is_proved_before_recovery_and_recovery_before_the_accounts() -> None:
    system = FakeSystem()
    found = outcome(system)
    assert found.passed, found
    assert (found.sent, found.accepted, found.evidence) == (120, 100, "it was seen")
    assert found.seconds is not None and found.seconds >= 0
    assert system.calls == [
        *("begin", "prepare", "load_on", "inflict", "happened", "heal", "await_recovery", "load_off", "await_stored"),
        *("restore", "verify", "balance"),
    ]


@pytest.mark.parametrize(
    "step",
    ["begin", "prepare", "load_on", "inflict", "happened", "await_recovery", "await_stored", "restore", "verify"],
)
def test_whatever_goes_wrong_fails_the_fault_and_the_load_ends(step: str) -> None:
    system = FakeSystem(fails_at=step)
    found = outcome(system)
    assert not found.passed
    assert f"fake failure at {step}" in found.trouble
    assert "load_off" in system.calls
    assert ("heal" in system.calls) == ("inflict" in system.calls)
    assert ("restore" in system.calls) == ("load_on" in system.calls)


def test_a_fault_that_did_not_happen_is_healed_and_nothing_is_claimed() -> None:
    system = FakeSystem(fails_at="happened")
    found = outcome(system)
    assert (found.evidence, found.seconds, found.passed) == ("", None, False)
    assert system.calls.index("heal") > system.calls.index("happened")
    assert "verify" not in system.calls


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lost": 1}, "1 accepted readings lost"),
        ({"duplicated": 2}, "2 stored twice"),
        ({"accepted": 0}, "0 accepted of 120 sent"),
        ({"accepted": 121}, "121 accepted of 120 sent"),
        ({"mariadb": 121}, "more stored than sent"),
        ({"elasticsearch": 121}, "more stored than sent"),
    ],
)
def test_wrong_accounts_fail_the_fault(wrong: dict[str, int], said: str) -> None:
    found = outcome(FakeSystem(replace(WHOLE, **wrong)))
    assert not found.passed
    assert said in found.trouble


def test_a_difference_that_only_verify_sees_fails_the_fault() -> None:
    found = outcome(FakeSystem(verdict="values differ"))
    assert (found.passed, found.trouble) == (False, "values differ")


def test_after_a_failure_the_others_have_a_new_system() -> None:
    system = FakeSystem(replace(WHOLE, lost=1))
    found = run_all([FakeFault(), FakeFault()], system, lambda _: None)
    assert [one.passed for one in found] == [False, False]
    assert system.calls.count("renew") == 1
    assert system.calls.count("keep_logs") == 2
    assert system.calls.count("begin") == 2


# --- accounts

IDENTITIES = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 20)), unique=True)


@given(IDENTITIES, st.data())
def test_each_accepted_reading_that_a_store_lacks_is_lost(accepted: list[Identity], data: st.DataObject) -> None:
    gone = data.draw(st.lists(st.sampled_from(accepted), unique=True) if accepted else st.just([]))
    kept = [identity for identity in accepted if identity not in gone]
    for stores in ((kept, accepted), (accepted, kept), (kept, kept)):
        found = balance(len(accepted), accepted, *stores)
        assert (found.lost, found.duplicated) == (len(gone), 0)


def test_a_loss_that_no_log_names_is_seen_by_the_count() -> None:
    stored = [(1, number) for number in range(9)]
    assert balance(10, [], stored, stored).lost == 1


def test_a_reading_more_that_was_not_accepted_hides_no_lost_one() -> None:
    accepted, stored = [(1, 1), (1, 2)], [(1, 1), (1, 3)]
    for stores in ((stored, stored), (accepted, stored), (stored, accepted)):
        assert balance(2, accepted, *stores).lost == 1


def test_a_document_in_two_indices_is_a_duplicate() -> None:
    found = balance(2, [], [(1, 1), (1, 2)], [(1, 1), (1, 2), (1, 2)])
    assert (found.elasticsearch, found.duplicated, found.lost) == (2, 1, 0)


def test_the_accepted_log_without_other_sensors_and_half_lines(tmp_path: Path) -> None:
    path = tmp_path / "accepted.csv"
    assert logged(path, range(10, 20)) == []
    path.write_text("10,0,5\n9,1,6\n19,,7\n20,2,8\n11,3,9")
    assert logged(path, range(10, 20)) == [(10, 5), (19, 7)]


# --- what faults are made of


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that greets, and sends back what comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.sendall(b"hello")
                    while data := client.recv(1 << 16):
                        client.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    running = Proxy("127.0.0.1", echo)
    yield running
    running.close()


def test_the_proxy_passes_everything_on_in_order(proxy: Proxy) -> None:
    payload = bytes(range(256)) * 4096
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as client:
        assert client.recv(5) == b"hello"
        client.sendall(payload[: 1 << 16])
        received = b""
        while len(received) < 1 << 16:
            received += client.recv(1 << 16)
    assert received == payload[: 1 << 16]
    assert (proxy.connections, proxy.resets, proxy.delayed) == (1, 0, 0)


def test_the_proxy_resets_connections_and_counts_them(proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as client:
        assert client.recv(5) == b"hello"
        assert proxy.reset_all() == 1
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert proxy.resets == 1
    assert proxy.round_trip() < 10, "it goes on with new connections"


def test_the_proxy_delays_both_directions(proxy: Proxy) -> None:
    assert proxy.round_trip() > 0
    proxy.delay = 0.2
    assert proxy.round_trip() >= 0.2
    assert proxy.delayed >= 1


_FILL = """import sys
from pathlib import Path
from tests.faults.disks import NoSmallDisks, SmallDisk, own_mounts
try:
    own_mounts()
    disk = SmallDisk.mounted(Path(sys.argv[1]), 1 << 20)
except NoSmallDisks as error:
    sys.exit(f"NoSmallDisks: {error}")
(disk.path / "content").write_bytes(bytes(100_000))
assert not disk.refuses()
disk.fill()
assert disk.refuses()
assert (disk.path / "content").stat().st_size == 100_000
disk.empty()
assert not disk.refuses()
print("filled")
"""


def test_a_small_disk_is_full_and_empty_again_and_nobody_else_sees_it(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    done = subprocess.run(
        [sys.executable, "-c", _FILL, str(folder)], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    # Where nothing can be mounted, it says so, and the faults that need it fail.
    assert done.stdout == "filled\n" or done.stderr.startswith("NoSmallDisks: "), done.stderr
    assert list(folder.iterdir()) == []


def test_without_a_small_disk_its_fault_fails_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Broken(FakeSystem, RealSystem):
        """A fake whose processes all live."""

        def __init__(self) -> None:
            super().__init__()
            self.disks = {}

        def living(self, _name: str) -> None:  # type: ignore[override]
            return None

    found = run_fault(KafkaDiskFull(), Broken(), lambda _: None)
    assert not found.passed
    assert "no disk of our own could be mounted" in found.trouble


# --- the catalogue and the report


def test_every_fault_has_a_name_of_its_own_and_a_description() -> None:
    faults = catalogue.everything()
    assert len({fault.name for fault in faults}) == len(faults)
    assert all(fault.description for fault in faults)


def test_each_part_is_killed_stopped_and_has_a_full_disk() -> None:
    names = {fault.name for fault in catalogue.everything()}
    parts = ("kafka", "connect", "elasticsearch", "mariadb", "gateway")
    assert {f"{part}-{what}" for part in parts for what in ("kill", "stop", "disk-full")} <= names
    assert {f"{store}-{what}" for store in ("mariadb", "elasticsearch") for what in ("resets", "latency")} <= names
    assert {"clock-jump", "poison", "restart-in-wrong-order"} <= names
    assert {fault.name for fault in catalogue.short()} == {f"{part}-kill" for part in parts}


def test_faults_are_chosen_by_name() -> None:
    assert [fault.name for fault in chosen(["poison", "kafka-kill"], short=False)] == ["poison", "kafka-kill"]
    with pytest.raises(SettingsError, match="There is no fault 'pison'"):
        chosen(["pison"], short=False)


def test_whoever_ends_it_leaves_no_instance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class EndedSystem(FakeSystem):
        def up(self, _progress: object) -> None:
            self.note("up")

        def begin(self, _name: str) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        def down(self) -> None:
            self.note("down")

    system = EndedSystem()
    monkeypatch.setattr(run, "RealSystem", lambda *_: system)
    with pytest.raises(KeyboardInterrupt):
        run.run(Settings(home=tmp_path), chosen(["poison"], short=False), "mare faults", lambda _: None)
    assert system.calls == ["up", "down"]


def test_a_report_fails_with_any_fault_and_shows_every_number() -> None:
    began = datetime(2026, 1, 2, tzinfo=UTC)
    good = Outcome("kafka-kill", "what", "seen", 1200, 1100, 1090, 1080, 0, 0, 7.5)
    bad = replace(good, fault="poison", lost=17, duplicated=19, trouble="17 accepted readings lost")
    facts = machine.facts()
    assert Report(began, began, "mare faults", facts, [good]).passed
    assert not Report(began, began, "mare faults", facts, []).passed
    report = Report(began, began + timedelta(minutes=3), "mare faults", facts, [good, bad])
    assert not report.passed
    console = Console(width=130)
    with console.capture() as captured:
        console.print(report.render())
    for text in ("1,200", "1,100", "1,090", "1,080", "7.5 s", "17", "19", "poison failed: 17 accepted", "3.0 minutes"):
        assert text in captured.get()
    content = json.loads(json.dumps(report.as_dict()))
    assert (content["passed"], content["seconds"]) == (False, 180)
    assert [fault["passed"] for fault in content["faults"]] == [True, False]
    assert content["faults"][1]["evidence"] == "seen"


def test_an_instance_of_the_matrix_has_ports_and_a_home_of_its_own(tmp_path: Path) -> None:
    own = own_settings(Settings(), tmp_path, list(range(1, PORTS + 1)))
    ports = [own.kafka.port, own.kafka.controller_port, own.connect.port, own.mariadb.port, own.elasticsearch.port]
    ports += [own.elasticsearch.transport_port, own.metrics.port, own.udp.port, own.dashboard.port]
    assert sorted(ports) == list(range(1, PORTS + 1))
    assert (own.home, own.demo) == (tmp_path, False)
