"""What a worker leaves on disk is read back as it was, or put aside; never half of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from maredata.settings import Settings
from udp_server.files import WorkerFiles, all_workers, workers_folder
from udp_server.sensors import Sensor, Variable

CONTENT = {"pid": 7, "drops": None, "ledger": {"lines": {"received": 3}, "unknown_fields": {"\ud7ff ü": 1}}}


@pytest.fixture
def files(tmp_path: Path) -> WorkerFiles:
    made = WorkerFiles(Settings(home=tmp_path), 3)
    made.folder.mkdir(parents=True)
    return made


def sensor(sensor_id: int) -> Sensor:
    return Sensor(sensor_id, 1, 2, 3, readings=4, seq=5, variables={"t": Variable(6, None), "h": Variable(7, 1.5)})


def write_all(files: WorkerFiles, *survey: list[Sensor]) -> int:
    return len(list(files.write_sensors(survey)))


def asides(files: WorkerFiles) -> list[str]:
    return [path.name for path in files.folder.iterdir() if ".broken-" in path.name]


def test_where_nothing_is_nothing_is_read(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    files = WorkerFiles(settings, 0)
    assert files.read_ledger() == {}
    assert files.read_sensors() == []
    assert all_workers(settings) == []
    assert not files.folder.exists()


def test_a_ledger_is_read_as_it_was_written(files: WorkerFiles) -> None:
    files.write_ledger({"pid": 6})
    files.write_ledger(CONTENT)
    assert files.read_ledger() == CONTENT


@pytest.mark.parametrize("content", [b'{"pid": 1}', b"\xff\xfe\x00", b"nonsense"])
def test_an_unreadable_ledger_is_put_aside(
    files: WorkerFiles, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (files.folder / "ledger.slots").write_bytes(content)
    assert files.read_ledger() == {}
    assert not asides(files), "a reader leaves it to the worker, who may just be writing"
    files.put_aside_what_is_unreadable()
    (aside,) = asides(files)
    assert aside.startswith("ledger.broken-")
    assert (files.folder / aside).read_bytes() == content
    assert aside in str([vars(record) for record in caplog.records])
    assert files.read_ledger() == {}
    files.write_ledger(CONTENT)
    assert files.read_ledger() == CONTENT


def test_sensors_are_read_as_they_were_written_part_by_part(files: WorkerFiles) -> None:
    parts = [[sensor(1), sensor(2)], [sensor(3)]]
    assert write_all(files, *parts) == 2
    assert files.read_sensors() == [sensor(1), sensor(2), sensor(3)]
    assert write_all(files) == 0
    assert files.read_sensors() == []


def test_sensors_that_are_half_written_are_not_there_yet(files: WorkerFiles) -> None:
    write_all(files, [sensor(1)])
    writing = files.write_sensors([[sensor(1), sensor(2)], [sensor(3)]])
    next(writing)
    assert files.read_sensors() == [sensor(1)]
    next(writing)
    assert files.read_sensors() == [sensor(1)]
    with pytest.raises(StopIteration):
        next(writing)
    assert files.read_sensors() == [sensor(1), sensor(2), sensor(3)]


@pytest.mark.parametrize("content", [b'{"sensor_id": 1}\n', b'{"sensor_id', b"\xff", b"[]\n", b"\x00" * 10])
def test_unreadable_sensors_are_put_aside(files: WorkerFiles, content: bytes) -> None:
    (files.folder / "sensors.ndjson").write_bytes(content)
    assert files.read_sensors() == []
    assert not asides(files)
    files.put_aside_what_is_unreadable()
    (aside,) = asides(files)
    assert (files.folder / aside).read_bytes() == content
    write_all(files, [sensor(1)])
    assert files.read_sensors() == [sensor(1)]


def test_workers_come_in_the_order_of_their_numbers_and_nothing_else_does(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    for name in ("10", "2", "0", "lost+found", "-1", ".0", "1.bak"):
        (workers_folder(settings) / name).mkdir(parents=True)
    found = all_workers(settings)
    assert [files.number for files in found] == [0, 2, 10]
    assert found[2].folder == tmp_path / "state" / "gateway" / "10"


@hypothesis_settings(max_examples=50)
@given(
    st.lists(
        st.builds(
            Sensor,
            sensor_id=st.integers(0, 2**63 - 1),
            first_seen=st.integers(0, 2**53),
            last_seen=st.integers(0, 2**53),
            latest=st.integers(-1, 2**53),
            rate=st.floats(0, 1e9),
            seq=st.integers(-1, 2**63 - 1),
            variables=st.dictionaries(
                st.text(st.characters(exclude_categories=["Cs"])),
                st.builds(
                    Variable,
                    st.integers(0, 2**53),
                    st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1),
                ),
                max_size=3,
            ),
        ),
        max_size=5,
    )
)
def test_any_sensors_are_read_back(tmp_path_factory: pytest.TempPathFactory, sensors: list[Sensor]) -> None:
    files = WorkerFiles(Settings(home=tmp_path_factory.getbasetemp() / "any"), 0)
    files.folder.mkdir(parents=True, exist_ok=True)
    write_all(files, sensors)
    assert files.read_sensors() == sensors
    assert not asides(files)
