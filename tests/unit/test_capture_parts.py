"""Capture: what is refused with which sentence, which versions changes have, and what the connectors are told."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connect import capture, secrets
from connect.capture_definitions import Capture, sink_definition, source_definition
from connect.rest import STOPPED, Connector, Task
from extraction.capture import setup, state
from extraction.capture.checks import begun_anew, refuse_begun_anew, refuse_unfit
from extraction.capture.counting import _kind
from extraction.capture.state import Counts, Log, Noted
from extraction.capture.transform import layout_option
from extraction.capture.version import Position
from extraction.checking.looking import View
from extraction.checking.mending import _create, _replace
from extraction.checking.report import Found
from extraction.checking.stored import Stored
from extraction.convert import Document
from extraction.job import ColumnOptions, Job, JobError, Source, Target
from extraction.layout import Layout, layout
from extraction.source import Index, SourceTable, TableColumn
from maredata.errors import ConnectError
from maredata.settings import Settings

ID = TableColumn("id", "bigint", "bigint(20) unsigned", False)
KIND = TableColumn("kind", "enum", "enum('a','b')", True)
LOG = Log(server_id=1, server_uid="x", file=7, offset=500, gtids={"0": 42})
PLAIN = Capture(
    job="orders", index="legacy-orders", host="db.example", port=3306, encrypted=True, user="u", password="p",  # noqa: S106
    database="shop", table="orders", message_key=(), replica_id=1_234_567, layout="{}",
)  # fmt: skip


def layout_of(
    *columns: TableColumn, version: str = "11.4.5-MariaDB", where: str | None = None, **target: Any
) -> Layout:
    table = SourceTable("shop", "orders", version, (ID, *columns), (Index("PRIMARY", ("id",)),), 0)
    moved = {column.name: ColumnOptions(field=column.name) for column in columns if column.name != "unmoved"}
    job = Job(
        name="orders",
        source=Source(database="shop", table="orders", user="u", key=("id",), where=where),
        target=Target(**target),
        columns={"id": ColumnOptions(field="id"), **moved},
    )
    return layout(job, table)


def settings_in(home: Path) -> Settings:
    return Settings.model_validate({"home": home})


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (dataclasses.replace(layout_of(), readings=True), "is the one that our own sink writes"),
        (layout_of(version="8.4.3"), r"The source is MySQL \(8.4.3\), which can't be captured"),
        (layout_of(where="id > 5"), "has source.where, which only SQL can judge"),
        (layout_of(TableColumn("ip", "inet6", "inet6", True)), "Column ip is INET6"),
        (layout_of(TableColumn("u", "uuid", "uuid", True)), "Column u is a UUID"),
        (layout_of(TableColumn("sum", "int", "int(11)", True, generated=True)), "Column sum is generated"),
    ],
)
def test_a_job_that_can_not_be_captured_is_refused_in_a_sentence(found: Layout, sentence: str) -> None:
    with pytest.raises(JobError, match=sentence) as error:
        refuse_unfit(found)
    assert str(error.value).count(". ") <= 1 and str(error.value).endswith(".")


def test_columns_that_are_not_moved_are_no_obstacle_where_debezium_can_read_the_table() -> None:
    refuse_unfit(layout_of(TableColumn("unmoved", "uuid", "uuid", True)))
    with pytest.raises(JobError, match="moved or not"):
        refuse_unfit(layout_of(TableColumn("unmoved", "inet4", "inet4", True)))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"offset": 501}, ""),
        ({"file": 8, "offset": 4, "gtids": {"0": 42, "1": 1}}, ""),
        ({"server_id": 2}, "another server's"),
        ({"server_uid": "y"}, "another server's"),
        ({"file": 1, "offset": 9_000}, "RESET MASTER"),
        ({"offset": 499}, "restored from a backup"),
        ({"file": 9, "gtids": {"0": 3}}, "count from the beginning again"),
        ({"file": 9, "gtids": {}}, "count from the beginning again"),
    ],
)
def test_a_binary_log_that_began_anew_is_seen(change: dict[str, Any], why: str) -> None:
    now = dataclasses.replace(LOG, **change)
    found = begun_anew(LOG, now)
    assert why in found and bool(found) == bool(why)
    if why:
        noted = Noted("then", 5, 0, "db:1/shop.orders", LOG)
        with pytest.raises(JobError, match=r"not the one that capture of job orders reads.*orders.toml --remove"):
            refuse_begun_anew(noted, now, "orders")


def test_versions_go_on_above_the_old_ones_where_the_log_began_anew() -> None:
    before = Noted("then", 5, 10, "db:1/shop.orders", LOG, active=False)
    highest = LOG.position.version(10)
    anew = dataclasses.replace(LOG, file=1, offset=4, gtids={})
    assert Position(1, 4).version(setup._files_before(before, anew)) > highest
    assert setup._files_before(before, dataclasses.replace(LOG, file=8)) == 10, "the same log goes on"
    assert setup._files_before(None, LOG) == 0


# --- versions -------------------------------------------------------------------------------------------------------

positions = st.builds(Position, st.integers(1, 999_999), st.integers(4, 2**40 - 1))


@example(Position(1, 2**40 - 1), Position(2, 4), 0)
@given(positions, positions, st.integers(0, 1_000_000))
def test_versions_sort_as_positions_do(one: Position, other: Position, files: int) -> None:
    assert (one < other) == (one.version(files) < other.version(files))
    assert 0 < one.version(files) < 2**63


def test_a_position_is_read_from_a_files_name() -> None:
    assert Position.of("my.binlog.000012", "345") == Position(12, 345)
    with pytest.raises(ValueError):
        Position.of("", "0")


def test_a_repair_writes_with_the_rows_version() -> None:
    row, stored = Document("1", "legacy-orders", b"{}"), Stored("legacy-orders", "1", b"{}", 9)
    view = View(row, stored, None)
    assert view.row is not None
    with_version = {"_index": "legacy-orders", "_id": "1", "version": 77, "version_type": "external_gte"}
    assert json.loads(_create(row, 77).split(b"\n")[0]) == {"index": with_version}
    assert json.loads(_replace(layout_of(), row, stored, 77).split(b"\n")[0]) == {"index": with_version}
    assert "create" in json.loads(_create(row, None).split(b"\n")[0])
    assert json.loads(_replace(layout_of(), row, stored, None).split(b"\n")[0])["index"]["version"] == 9


# --- what is noted --------------------------------------------------------------------------------------------------


def test_what_is_noted_survives_the_disk(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert state.load(settings, "orders") is None and state.active(settings, "orders") is None
    noted = Noted("", 5, 3, "db:1/shop.orders", LOG, Counts(1, 2, 3, 0, 6, "t"), active=False)
    state.save(settings, "orders", noted)
    assert state.load(settings, "orders") == noted
    assert state.active(settings, "orders") is None, "a capture whose connectors never ran is none"
    setup.begun("orders", settings)
    begun = state.active(settings, "orders")
    assert begun is not None and begun.begun
    setup.begun("orders", settings)
    assert state.active(settings, "orders") == begun, "when it began stays"
    setup.forget("orders", settings)
    assert state.active(settings, "orders") is None and state.load(settings, "orders") is not None


@dataclasses.dataclass
class FakeRecord:
    """Stands in for one of kafka-python's."""

    value: bytes | None
    headers: list[tuple[str, bytes]] = dataclasses.field(default_factory=list)


@pytest.mark.parametrize(
    ("op", "header", "kind"),
    [
        *(("c", "", "insert"), ("r", "", "insert"), ("u", "", "update"), ("d", "", "delete"), ("t", "", "")),
        *(("d", "__debezium.newkey", ""), ("c", "__debezium.oldkey", "update")),
    ],
)
def test_changes_are_counted_by_what_happened_to_the_row(op: str, header: str, kind: str) -> None:
    value = json.dumps({"before": None, "op": op}).encode()
    assert _kind(FakeRecord(value, [(header, b"{}")])) == kind


def test_a_record_without_a_value_is_no_change() -> None:
    assert _kind(FakeRecord(None)) == ""


# --- what the connectors are told -------------------------------------------------------------------------------------


def test_the_transform_is_told_the_layout() -> None:
    found = layout_of(KIND, deletes="mirror")
    told = json.loads(layout_option(found, {"id": "bigint(20) unsigned", "kind": "enum('A','b')"}, 12))
    assert (told["deletes"], told["files_before"]) == ("mirror", 12)
    assert [field["name"] for field in told["fields"]] == ["id", "kind"]
    assert set(told["fields"][0]) == {"name", "kind", "columns", "zone", "as_string"}
    assert told["fields"][1]["columns"][0]["column_type"] == "enum('A','b')", "its members with their capitals"
    required = {"name", "type", "nullable", "digits", "precision", "json"}
    assert required <= set(told["key"][0]) and told["key"][0]["type"] == "bigint"


def test_the_source_is_told_what_the_transform_relies_on(tmp_path: Path) -> None:
    told = source_definition(PLAIN, settings_in(tmp_path))
    assert told["database.password"] == f"${{file:{tmp_path}/data/connect/secrets/capture-orders.properties:password}}"
    assert "p" not in {value for name, value in told.items() if "password" in name}
    assert (told["snapshot.mode"], told["tombstones.on.delete"]) == ("no_data", "false")
    assert (told["time.precision.mode"], told["enable.time.adjuster"]) == ("microseconds", "false")
    assert (told["decimal.handling.mode"], told["bigint.unsigned.handling.mode"]) == ("string", "precise")
    assert int(told["heartbeat.interval.ms"]) > 0, "without one it has no place in the log before the first change"
    assert "message.key.columns" not in told and told["database.ssl.mode"] == "trust"
    other = dataclasses.replace(PLAIN, message_key=("a", "b"), encrypted=False, table="or.ders,x")
    told = source_definition(other, settings_in(tmp_path))
    assert told["message.key.columns"].endswith(":a,b") and told["database.ssl.mode"] == "disable"
    # Python reads these escapes with two digits only, Java also with braces: the same in both by then.
    pattern = re.sub(r"\\x\{(..)\}", r"\\x\1", told["table.include.list"])
    assert re.fullmatch(pattern, "shop.or.ders,x") and not re.fullmatch(pattern, "shop.orXders,x")
    assert "," not in told["table.include.list"]


def test_the_sink_writes_by_key_and_by_version() -> None:
    told = sink_definition(PLAIN)
    assert (told["index"], told["document.id"], told["document.version"]) == ("legacy-orders", "{key}", "header")
    assert told["tasks.max"] == "1", "more of them would mix up the changes of one transaction"
    assert (told["topics"], told["null.value"]) == ("legacy.orders", "delete")
    assert told["errors.deadletterqueue.topic.name"] == "dlq.capture-orders-elasticsearch"


@given(st.text())
def test_any_password_survives_a_properties_file(password: str) -> None:
    escaped = secrets._escaped(password.encode("utf-16", "replace").decode("utf-16"))
    assert escaped.isascii() and escaped.isprintable()
    back = re.sub(r"\\u([0-9a-f]{4})", lambda unit: chr(int(unit[1], 16)), escaped)
    assert back.encode("utf-16", "surrogatepass").decode("utf-16") == password.encode("utf-16", "replace").decode(
        "utf-16"
    )


def test_a_password_is_written_for_the_worker_alone(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with pytest.raises(ConnectError, match="start the worker with `mare up` first"):
        secrets.write_secret(settings, PLAIN.job, PLAIN.password)
    (tmp_path / "data" / "connect" / "secrets").mkdir(parents=True)
    assert secrets.write_secret(settings, PLAIN.job, PLAIN.password)
    path = tmp_path / "data" / "connect" / "secrets" / "capture-orders.properties"
    assert path.read_text() == "password=p\n"
    assert path.stat().st_mode & 0o077 == 0
    assert not secrets.write_secret(settings, PLAIN.job, PLAIN.password), "a second time there is nothing to do"


class FakeRest:
    """Stands in for Connect's REST API: connectors that are there, and what was asked of them."""

    def __init__(self, offsets: list[dict[str, Any]], config: dict[str, str] | None = None, state: str = "") -> None:
        self._offsets, self._config, self._state = offsets, config, state
        self.asked: list[str] = []

    def offsets(self, _name: str) -> list[dict[str, Any]]:
        return self._offsets

    def config(self, _name: str) -> dict[str, str] | None:
        return self._config

    def connector(self, name: str) -> Connector | None:
        return Connector(name, self._state, (Task(0, self._state),)) if self._state else None

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments, **_options: self.asked.append(name)


def test_a_capture_whose_place_is_forgotten_does_not_go_on() -> None:
    rest: Any = FakeRest([])
    with pytest.raises(ConnectError, match="no longer knows how far capture of job orders had come"):
        capture._refuse_forgotten(rest, "orders", new=False, progress=lambda _: None)
    assert rest.asked == ["delete"], "before it could begin somewhere else"
    rest = FakeRest([{"offset": {"file": "mare.000001", "pos": 4}}])
    capture._refuse_forgotten(rest, "orders", new=False, progress=lambda _: None)
    assert rest.asked == []
    capture._refuse_forgotten(rest, "orders", new=True, progress=lambda _: None)
    assert rest.asked == ["delete_offsets"], "a new capture begins where the log is now"


@pytest.mark.parametrize(
    ("config", "was", "asked"),
    [
        ({"a": "1"}, "RUNNING", []),
        ({"a": "1"}, "FAILED", ["restart"]),
        ({"a": "1"}, STOPPED, ["resume"]),
        (None, "", ["create_stopped", "resume"]),
    ],
)
def test_a_connector_that_runs_as_it_should_is_left_alone(
    tmp_path: Path, config: dict[str, str] | None, was: str, asked: list[str]
) -> None:
    rest: Any = FakeRest([], config, was)
    done = capture._bring_up(settings_in(tmp_path), rest, "c", {"a": "1"}, lambda _: None, lambda: None)
    assert (rest.asked, done) == (asked, bool(asked))


# --- verify ---------------------------------------------------------------------------------------------------------


def test_kept_documents_are_no_difference_and_are_told() -> None:
    from extraction.checking.report import CheckReport, Compared, Difference, Kind

    kept = Found(5)
    kept.add(Difference("legacy-orders", "1", Kind.KEPT, "[1]"))
    report = CheckReport("orders", "t", "i", None, None, None, Compared(True), Found(5), Found(5), kept=kept)
    assert report.agree and report.as_dict()["kept"]["documents"] == 1
    assert any("1 documents have no row any more and are kept" in line for line in report._remarks())
