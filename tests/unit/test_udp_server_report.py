"""One ledger of all workers': nothing is left out of it, nothing is in it twice, and it says what is missing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rich.console import Console

from maredata.errors import SettingsError
from maredata.settings import Settings, Udp
from maredata.state import ledger_file, write_json
from udp_server import report
from udp_server.files import WorkerFiles, all_workers
from udp_server.ledger import Account, Ledger
from udp_server.sensors import Sensor, Variable, merged

NOON = 1_705_838_400_000_000  # 2024-01-21 12:00:00 UTC


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return Settings(home=tmp_path, udp=Udp(workers=2))


def account(accepted: int) -> Account:
    return Account(accepted=accepted, in_flight=2, lost_in_crash=3, refused=Counter(spool_full=4), spooled=5)


def worker_ledger(accepted: int, received: int | None = None) -> Ledger:
    """Balanced, unless `received` says otherwise."""
    made = Ledger(
        datagrams=6,
        kernel_dropped=7,
        readings=account(accepted),
        rejected=Counter(malformed=8, empty=1),
        copies=account(accepted),
        unknown_fields=Counter(salinity=9),
        implausible=Counter(temperature=10),
    )
    made.lines = accepted + 2 + 3 + 4 + 9 if received is None else received
    return made


def leave(settings: Settings, number: int, ledger: Ledger, fingerprint: str = "abc", *sensors: Sensor) -> None:
    """What a worker of that number leaves on disk."""
    files = WorkerFiles(settings, number)
    files.folder.mkdir(parents=True)
    gauges = {"queue": {"messages": 1, "bytes": 2}, "receive_queue_bytes": 3, "not_followed": 4}
    files.write_ledger({"pid": 1, "fingerprint": fingerprint, "ledger": {**ledger.as_dict(), **gauges}})
    for _ in files.write_sensors([list(sensors)]):
        pass


def summed(settings: Settings) -> dict[str, Any]:
    return report.summed(settings, merged(files.read_sensors() for files in all_workers(settings)))


def write(settings: Settings) -> dict[str, Any]:
    """As the parent does."""
    content = {"pid": 1, "updated": "", **summed(settings)}
    write_json(ledger_file(settings), content)
    return content


def heard(sensor_id: int, minutes: int = 0, **counters: Any) -> Sensor:
    return Sensor(sensor_id, first_seen=NOON, last_seen=NOON + minutes * 60_000_000, latest=NOON, **counters)


def shown(content: dict[str, Any], every: bool = False) -> str:
    console = Console(width=200, no_color=True)
    with console.capture() as captured:
        console.print(report.render(content, every))
    return captured.get()


def row(text: str, title: str) -> str:
    """The cells of the row whose first cell is `title`, with one space between them."""
    rows = [" ".join(line.replace("│", " ").replace("┃", " ").split()) for line in text.splitlines()]
    (found,) = [found for found in rows if found.startswith(f"{title} ")]
    return found.removeprefix(f"{title} ")


def test_numbers_of_all_workers_are_added(settings: Settings) -> None:
    leave(settings, 0, worker_ledger(100))
    leave(settings, 1, worker_ledger(1))
    total = summed(settings)
    assert total["datagrams"] == {"received": 12, "kernel_dropped": 14}
    assert total["lines"] == {
        "received": 137, "rejected": 18, "accepted": 101, "refused": 8, "in_flight": 4, "lost_in_crash": 6,
        "acknowledged": 91, "spooled": 10, "replayed": 0,
    }  # fmt: skip
    assert total["rejected"] == {"malformed": 16, "empty": 2}
    assert total["refused"] == {"spool_full": 8}
    assert total["unknown_fields"] == {"salinity": 18}
    assert total["implausible"] == {"temperature": 20}
    assert (total["queue"], total["receive_queue_bytes"]) == ({"messages": 2, "bytes": 4}, 6)


def test_workers_of_earlier_settings_count_on(settings: Settings) -> None:
    for number, accepted in ((0, 1), (1, 10), (2, 100), (10, 1000)):
        leave(settings, number, worker_ledger(accepted), "old" if number > 1 else "abc")
    total = summed(settings)
    assert total["lines"]["accepted"] == 1111
    assert total["fingerprint"] == "abc"  # they check nothing any more


@pytest.mark.parametrize(("fingerprints", "expected"), [(("a", "a"), "a"), (("a", "b"), ""), ((), "")])
def test_the_schema_is_named_when_all_workers_have_it(
    settings: Settings, fingerprints: tuple[str, ...], expected: str
) -> None:
    for number, fingerprint in enumerate(fingerprints):
        leave(settings, number, Ledger(), fingerprint)
    assert summed(settings)["fingerprint"] == expected


def test_a_sensor_that_two_workers_heard_is_one_sensor(settings: Settings) -> None:
    leave(settings, 0, Ledger(), "a", heard(1, 5, readings=2, late=1, duplicates=4), heard(2, late=10))
    leave(settings, 1, Ledger(), "a", heard(1, 9, readings=3, late=2, seq=8, first_seq=3, in_run=4))
    total = summed(settings)
    assert total["sensors"] == {
        "followed": 2, "not_followed": 8, "missing": 2, "duplicates": 4, "conflicts": 0, "out_of_order": 0,
        "late": 13, "clock_ahead": 0, "restarts": 0,
    }  # fmt: skip
    assert "not_followed" not in total  # only there
    write(settings)
    (only,) = report.read(settings, 1)["by_sensor"]
    assert (only["readings"], only["last_seen"], only["missing"]) == (5, "2024-01-21 12:09:00.000000", 2)


def test_without_a_gateway_it_says_what_to_do(settings: Settings) -> None:
    with pytest.raises(SettingsError, match=r"No gateway has run with .+: start one with `mare up`") as refused:
        report.read(settings, None)
    assert str(settings.home) in str(refused.value)


def test_a_sensor_that_was_not_heard_is_one_sentence(settings: Settings) -> None:
    leave(settings, 0, Ledger(), "a", heard(1))
    write(settings)
    with pytest.raises(SettingsError, match=r"not heard sensor 2 yet.*--all"):
        report.read(settings, 2)


def test_instants_are_written_as_in_readings_and_all_of_it_is_json(settings: Settings) -> None:
    variables = {"t": Variable(NOON + 1, 20.5), "h": Variable(NOON, None)}
    leave(settings, 0, Ledger(), "a", heard(2, 1, variables=variables), heard(1))
    write(settings)
    content = json.loads(json.dumps(report.read(settings, None)))
    assert [each["sensor_id"] for each in content["by_sensor"]] == [1, 2]
    found = content["by_sensor"][1]
    assert [found[name] for name in ("first_seen", "last_seen", "latest")] == [
        "2024-01-21 12:00:00.000000", "2024-01-21 12:01:00.000000", "2024-01-21 12:00:00.000000"
    ]  # fmt: skip
    assert found["variables"] == {
        "t": {"changed": "2024-01-21 12:00:00.000001", "value": 20.5},
        "h": {"changed": "2024-01-21 12:00:00.000000", "value": None},
    }


@pytest.mark.parametrize(("more", "missing"), [(0, 0), (1, 1), (-2, -2)])
def test_a_line_in_no_column_is_missing(settings: Settings, more: int, missing: int) -> None:
    leave(settings, 0, worker_ledger(100, 100 + 18 + more))
    write(settings)
    content = report.read(settings, None)
    assert content["missing"] == missing
    assert ("please report this" in shown(content)) is bool(missing)


def test_the_columns_of_the_balance_add_up(settings: Settings) -> None:
    leave(settings, 0, worker_ledger(1_000_000))
    write(settings)
    text = shown(report.read(settings, None))
    titles = ("accepted", "rejected", "refused", "in flight", "lost in crash")
    balance = text.split("received", 1)[0]
    counts = [int(row(balance, title).replace(",", "")) for title in titles]
    assert counts == [1_000_000, 9, 4, 2, 3]
    assert int(row(text, "received").replace(",", "")) == sum(counts)
    assert row(text, "in the spool") == "5 of 5 spooled"
    assert row(text, "acknowledged by Kafka") == "999,995"
    assert row(text, "dropped by the kernel") == "7"
    details = text.split("how many", 1)[1]
    for title, rest in (("rejected", "malformed 8"), ("refused", "spool full 4"), ("unknown fields", "salinity 9")):
        assert f"{title} {rest}" in " ".join(details.replace("│", " ").split())


def test_the_last_sensors_heard_are_shown_or_all_of_them(settings: Settings) -> None:
    leave(settings, 0, Ledger(), "a", *[heard(number, -number, readings=number) for number in range(101, 131)])
    write(settings)
    content = report.read(settings, None)

    def numbers(text: str) -> list[int]:
        cells = [line.replace("│", " ").split()[:1] for line in text.rsplit("sensors", 1)[1].splitlines()]
        return [int(cell[0]) for cell in cells if cell and cell[0].isdecimal()]

    assert numbers(shown(content)) == list(range(101, 121))
    assert "20 of 30 sensors" in shown(content)
    assert numbers(shown(content, every=True)) == list(range(101, 131))
    assert "30 of 30 sensors" in shown(content, every=True)


def test_only_what_some_sensor_has_gets_a_column(settings: Settings) -> None:
    leave(settings, 0, Ledger(), "a", heard(1, readings=12_345, rate=2.25, clock_ahead=77), heard(2))
    write(settings)
    text = shown(report.read(settings, None))
    assert "clock ahead" in text
    assert "out of order" not in text
    assert row(text, "1") == "2024-01-21 12:00:00 12,345 2.2 77"


@hypothesis_settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9), st.integers(0, 9)), max_size=6))
def test_whatever_the_workers_are_the_sums_are_those_of_one(
    tmp_path_factory: pytest.TempPathFactory, parts: Iterable[tuple[int, int, int]]
) -> None:
    settings = Settings(home=tmp_path_factory.mktemp("home"), udp=Udp(workers=1))
    accepted = rejected = 0
    for number, (some, malformed, empty) in enumerate(parts):
        ledger = Ledger(lines=some + malformed + empty, readings=Account(accepted=some))
        ledger.rejected.update({reason: n for reason, n in (("malformed", malformed), ("empty", empty)) if n})
        leave(settings, number, ledger)
        accepted, rejected = accepted + some, rejected + malformed + empty
    if not parts:
        return
    write(settings)
    content = report.read(settings, None)
    assert (content["lines"]["accepted"], content["lines"]["rejected"], content["missing"]) == (accepted, rejected, 0)
    assert sum(content["rejected"].values()) == rejected
