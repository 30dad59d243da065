"""`mare kibana import` and `export` against a fake Kibana: what arrives, and what of a user's is left alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from fake_kibana import VERSIONS, FakeKibana

from kibana.client import KibanaError
from kibana.files import key, packed
from kibana.generate import saved_objects
from kibana.importing import Outcome, export_all, import_all
from kibana.rules import load_rules
from maredata.cli import main
from maredata.data_views import write_data_view
from maredata.errors import SettingsError
from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT, Settings

SALINITY = '\n[fields.salinity]\ntype = "number"\nunit = "1e-3"\nlabel = "Salinity"\n'
DASHBOARD = "dashboard:mare-buoys"
LAG = "lens:mare-lag"
RULE = "rule:Silent buoys"


@pytest.fixture
def kibana() -> Iterator[FakeKibana]:
    with FakeKibana(user="elastic", password="pw").serving() as running:  # noqa: S106
        yield running


@pytest.fixture
def settings(kibana: FakeKibana, tmp_path: Path) -> Settings:
    reading = tmp_path / "reading.toml"
    reading.write_text((CHECKOUT / "maredata" / "reading.toml").read_text("utf-8"), "utf-8")
    chosen = {"host": "127.0.0.1", "port": kibana.port, "user": kibana.user, "password": kibana.password}
    return Settings.model_validate({"home": tmp_path / "home", "kibana": chosen, "reading": {"toml": reading}})


def schema_of(settings: Settings) -> Schema:
    return load_schema(settings.reading.toml)


def add_salinity(settings: Settings) -> None:
    path = settings.reading.toml
    path.write_text(path.read_text("utf-8") + SALINITY, "utf-8")


def bring(settings: Settings, force: bool = False) -> Outcome:
    return import_all(settings, schema_of(settings), force, lambda _: None)


def edit(kibana: FakeKibana, edited: str, /, **attributes: str) -> None:
    """As a user does in Kibana."""
    saved = kibana.objects[edited]
    kibana.objects[edited] = {**saved, "attributes": {**saved["attributes"], **attributes}}


def imports(kibana: FakeKibana) -> int:
    return kibana.asked.count("POST /api/saved_objects/_import")


def test_everything_arrives(kibana: FakeKibana, settings: Settings) -> None:
    outcome = bring(settings)
    expected = {key(saved): packed(saved) for saved in saved_objects(settings, schema_of(settings))}
    assert kibana.objects.keys() == expected.keys()
    assert kibana.objects["map:mare-map"] == expected["map:mare-map"]
    assert len(json.loads(kibana.objects[DASHBOARD]["attributes"]["panelsJSON"])) >= 9
    assert kibana.settings == {"dateFormat:tz": "UTC", "defaultRoute": "/app/dashboards#/view/mare-buoys"}
    assert [rule["name"] for rule in kibana.rules.values()] == ["Silent buoys"]
    assert (len(outcome.written), outcome.unchanged, outcome.left_alone) == (len(expected) + 3, [], [])


def test_a_second_import_writes_nothing(kibana: FakeKibana, settings: Settings) -> None:
    bring(settings)
    asked = len(kibana.asked)
    outcome = bring(settings)
    assert (outcome.written, outcome.left_alone) == ([], [])
    assert imports(kibana) == 1
    changing = [request for request in kibana.asked[asked:] if not request.startswith("GET")]
    assert changing == ["POST /api/saved_objects/_export"]


def test_what_a_user_edited_is_left_alone_without_force(kibana: FakeKibana, settings: Settings) -> None:
    bring(settings)
    edit(kibana, LAG, title="Mine")
    edit(kibana, "index-pattern:mare-readings", name="Mine, too")
    outcome = bring(settings)
    assert sorted(outcome.left_alone) == ["index-pattern:mare-readings", LAG]
    assert kibana.objects[LAG]["attributes"]["title"] == "Mine"
    assert bring(settings, force=True).left_alone == []
    assert kibana.objects[LAG]["attributes"]["title"].startswith("Lag")
    assert kibana.objects["index-pattern:mare-readings"]["attributes"]["name"] == "Readings"


def test_a_new_variable_gets_its_panel_and_nothing_else_is_touched(kibana: FakeKibana, settings: Settings) -> None:
    bring(settings)
    add_salinity(settings)
    outcome = bring(settings)
    assert sorted(outcome.written) == [
        "dashboard:mare-buoy",
        DASHBOARD,
        "lens:mare-last-values",
        "lens:mare-variable-salinity",
    ]
    panels = json.loads(kibana.objects[DASHBOARD]["attributes"]["panelsJSON"])
    assert "variable-salinity" in [panel["panelIndex"] for panel in panels]
    assert bring(settings).written == []


def test_a_new_variable_does_not_cost_an_edited_dashboard(kibana: FakeKibana, settings: Settings) -> None:
    bring(settings)
    edit(kibana, DASHBOARD, title="Mine")
    add_salinity(settings)
    said: list[str] = []
    outcome = import_all(settings, schema_of(settings), False, said.append)
    assert outcome.left_alone == [DASHBOARD]
    assert kibana.objects[DASHBOARD]["attributes"]["title"] == "Mine"
    assert "lens:mare-variable-salinity" in kibana.objects
    assert f"{DASHBOARD}: edited in Kibana and left alone; --force overwrites it" in said
    # It stays the user's at every later import.
    assert bring(settings).left_alone == [DASHBOARD]


def test_without_a_memory_what_differs_counts_as_edited(kibana: FakeKibana, settings: Settings) -> None:
    bring(settings)
    (settings.home / "state" / "kibana.json").unlink()
    edit(kibana, LAG, title="Mine")
    outcome = bring(settings)
    assert LAG in outcome.left_alone
    assert DASHBOARD in outcome.unchanged
    assert kibana.objects[LAG]["attributes"]["title"] == "Mine"


def test_one_that_was_deleted_in_kibana_comes_back(kibana: FakeKibana, settings: Settings) -> None:
    bring(settings)
    del kibana.objects[LAG]
    assert bring(settings).written == [LAG]
    assert LAG in kibana.objects


def test_objects_of_others_are_not_touched(kibana: FakeKibana, settings: Settings, tmp_path: Path) -> None:
    theirs = {"type": "dashboard", "id": "theirs", "attributes": {"title": "Theirs"}, "references": []}
    kibana.objects["dashboard:theirs"] = theirs
    bring(settings, force=True)
    assert kibana.objects["dashboard:theirs"] == theirs
    assert not [path for path in export_all(settings, tmp_path / "out") if "theirs" in path.name]


def test_a_setting_that_somebody_chose_stays(kibana: FakeKibana, settings: Settings) -> None:
    kibana.settings["dateFormat:tz"] = "Europe/Madrid"
    assert bring(settings).left_alone == ["setting:dateFormat:tz"]
    assert kibana.settings["dateFormat:tz"] == "Europe/Madrid"
    bring(settings, force=True)
    assert kibana.settings["dateFormat:tz"] == "UTC"


def test_an_edited_rule_stays_and_a_rule_that_is_off_stays_off(kibana: FakeKibana, settings: Settings) -> None:
    bring(settings)
    rule = next(iter(kibana.rules.values()))
    rule["enabled"] = False
    assert RULE in bring(settings).unchanged
    rule["params"] = {**rule["params"], "timeWindowSize": 99}
    assert bring(settings).left_alone == [RULE]
    assert rule["params"]["timeWindowSize"] == 99
    bring(settings, force=True)
    renewed = next(iter(kibana.rules.values()))
    assert (renewed["params"]["timeWindowSize"], renewed["enabled"]) == (15, False)
    assert json.loads(renewed["params"]["esQuery"]) == load_rules()[0]["params"]["esQuery"]


def test_the_data_view_of_a_job_arrives(kibana: FakeKibana, settings: Settings) -> None:
    write_data_view(settings, "stations", "legacy-stations", "seen")
    bring(settings)
    attributes = kibana.objects["index-pattern:mare-legacy-stations"]["attributes"]
    assert (attributes["title"], attributes["timeFieldName"]) == ("legacy-stations", "seen")


def test_broken_objects_stay_here(kibana: FakeKibana, settings: Settings) -> None:
    path = write_data_view(settings, "stations", "legacy-stations", "seen")
    path.write_text(path.read_text("utf-8").replace("8.8.0", "9.9.0"), "utf-8")
    with pytest.raises(KibanaError, match=r"Nothing was imported, since 1 things are wrong.*legacy-stations"):
        bring(settings)
    assert kibana.asked == []


def test_an_export_gives_back_what_was_imported(kibana: FakeKibana, settings: Settings, tmp_path: Path) -> None:
    bring(settings)
    files = export_all(settings, tmp_path / "out")
    there = {path.name: json.loads(path.read_text("utf-8")) for path in files}
    for saved in saved_objects(settings, schema_of(settings)):
        exported = there[f"{saved['type']}.{saved['id']}.json"]
        assert exported.items() >= {**saved, "attributes": exported["attributes"]}.items()
        assert exported["attributes"].items() >= saved["attributes"].items()  # the fake completes data views
        assert "updated_at" not in exported


def fails(settings: Settings, **kibana: Any) -> str:
    changed = settings.model_copy(update={"kibana": settings.kibana.model_copy(update=kibana)})
    with pytest.raises((KibanaError, SettingsError)) as raised:
        bring(changed)
    return str(raised.value)


def test_every_trouble_is_a_sentence(kibana: FakeKibana, settings: Settings) -> None:
    assert fails(settings, host="").startswith("No Kibana is set: name its address in MARE_KIBANA__HOST.")
    assert "does not answer" in fails(settings, port=1)
    assert "correct MARE_KIBANA__USER and MARE_KIBANA__PASSWORD" in fails(settings, password="wrong")  # noqa: S106
    assert "MARE_KIBANA__CA can't be used: /none.pem" in fails(settings, tls=True, ca="/none.pem")
    kibana.export_instead = b"<html>"
    assert "is no Kibana" in fails(settings)
    kibana.ready = False
    assert fails(settings).endswith("is not ready yet: try again in a minute.")


def test_an_object_that_kibana_does_not_take_is_named_and_comes_next_time(
    kibana: FakeKibana, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fake_kibana.VERSIONS", {**VERSIONS, "map": "8.3.0"})
    assert re.search(r"did not take 1 of \d+ objects, the first of them map:mare-map", fails(settings))
    monkeypatch.undo()
    outcome = bring(settings)
    assert outcome.left_alone == []
    assert [name for name in outcome.written if not name.startswith(("setting", "rule"))] == ["map:mare-map"]


def test_an_edit_after_a_refused_import_is_left_alone_too(
    kibana: FakeKibana, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(settings)
    add_salinity(settings)
    monkeypatch.setattr("fake_kibana.VERSIONS", {**VERSIONS, "dashboard": "10.1.0"})
    assert "did not take 2 of 4 objects" in fails(settings)
    edit(kibana, DASHBOARD, title="Mine")
    monkeypatch.undo()
    outcome = bring(settings)
    assert (outcome.written, outcome.left_alone) == (["dashboard:mare-buoy"], [DASHBOARD])


def test_an_import_that_did_not_end_is_done_again(kibana: FakeKibana, settings: Settings) -> None:
    kibana.dies_after_import = True
    assert "HTTP status 502" in fails(settings) or "Bad Gateway" in fails(settings)
    kibana.dies_after_import = False
    assert bring(settings).left_alone == []
    assert bring(settings).written == []


def test_the_commands_say_what_they_did(
    kibana: FakeKibana, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARE_HOME", str(settings.home))
    for name in ("host", "port", "user", "password"):
        monkeypatch.setenv(f"MARE_KIBANA__{name.upper()}", str(getattr(settings.kibana, name)))
    first = CliRunner().invoke(main, ["kibana", "import"])
    assert first.exit_code == 0, first.output
    assert "written, 0 unchanged" in first.output
    edit(kibana, LAG, title="Mine")
    second = CliRunner().invoke(main, ["kibana", "import", "--json"])
    assert json.loads(second.stdout)["left_alone"] == [LAG]
    exported = CliRunner().invoke(main, ["kibana", "export", str(tmp_path / "out"), "--json"])
    assert len(json.loads(exported.stdout)["files"]) == len(kibana.objects)


@pytest.mark.parametrize(
    ("headers", "name", "status"),
    [({}, "a.ndjson", 400), ({"kbn-xsrf": "true"}, "a.json", 400), ({"kbn-xsrf": "true"}, "a.ndjson", 200)],
)
def test_the_fake_is_as_strict_as_kibana(headers: dict[str, str], name: str, status: int) -> None:
    with FakeKibana().serving() as fake:
        url = f"http://127.0.0.1:{fake.port}/api/saved_objects/_import"
        answer = httpx.post(url, headers=headers, files={"file": (name, b"", "application/ndjson")}, trust_env=False)
    assert answer.status_code == status


def test_the_fake_refuses_unknown_attributes_and_json_that_is_no_string() -> None:
    saved = {"type": "map", "id": "m", "typeMigrationVersion": "8.4.0", "references": [], "attributes": {"titel": ""}}
    fake = FakeKibana()
    assert "strict_dynamic" in str(fake._refusal_of(saved, set(), True))
    assert "expected value of type" in str(fake._refusal_of({**saved, "attributes": {"uiStateJSON": {}}}, set(), True))
