"""The notebooks, run from top to bottom on a real MariaDB and a real Elasticsearch; what they show is what is there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from maredata.names import READINGS, READINGS_PATTERN, READINGS_TEMPLATE
from maredata.schema import load_schema
from maredata.settings import CHECKOUT, as_environment

if TYPE_CHECKING:
    from moves import Pair

pytest_plugins = ("moves",)

BUOYS, DAYS, EVERY = 8, 9, 600
# Another name than the one that comes with us: labels are this instance's.
LABEL = "Air temperature at 2 m"


@dataclass(frozen=True)
class Executed:
    """A notebook after its execution, with the values of the expressions that were asked for at its end."""

    notebook: nbformat.NotebookNode
    values: dict[str, Any]

    @property
    def figures(self) -> int:
        return sum("image/png" in output.get("data", {}) for cell in self._code for output in cell.outputs)

    @property
    def warnings(self) -> list[str]:
        """What was written to standard error."""
        return [o.text for cell in self._code for o in cell.outputs if o.get("name") == "stderr"]

    def text(self, cell_id: str) -> str:
        """What the cell printed."""
        (cell,) = (cell for cell in self._code if cell.id == cell_id)
        return "".join(output.text for output in cell.outputs if output.output_type == "stream")

    @property
    def _code(self) -> list[nbformat.NotebookNode]:
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]


@dataclass(frozen=True)
class Folder:
    """A copy of the notebooks' folder, and the instance that they look at."""

    pair: Pair
    path: Path
    home: Path  # of IPython and matplotlib: a developer's own settings must not reach into tests

    @property
    def environment(self) -> dict[str, str]:
        homes = dict.fromkeys(("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "MPLCONFIGDIR"), str(self.home))
        # The notebooks find the `mare` of their own Python, whatever is on the path.
        return {**os.environ, **as_environment(self.pair.settings), **homes, "PATH": "/usr/bin:/bin"}

    def execute(self, name: str, **expressions: str) -> Executed:
        notebook = nbformat.read(self.path / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)
        asked = ", ".join(f"{key!r}: {expression}" for key, expression in expressions.items())
        end = nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{asked}}}, default=str))")
        notebook.cells.append(end)
        client = NotebookClient(notebook, timeout=180, resources={"metadata": {"path": str(self.path)}})
        client.execute(env=self.environment)
        return Executed(notebook, json.loads(end.outputs[0].text))

    def mare(self, *arguments: str) -> None:
        result = subprocess.run(
            [sys.executable, "-m", "maredata.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def empty(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """As after the first `mare apply`, before a buoy has sent anything."""
    path = tmp_path_factory.mktemp("copy") / "notebooks"
    shutil.copytree(CHECKOUT / "notebooks", path, ignore=shutil.ignore_patterns(".*"))
    toml = pair.settings.reading.toml
    toml.write_text(toml.read_text("utf-8").replace('label = "Air temperature"', f'label = "{LABEL}"'), "utf-8")
    schema = load_schema(toml)
    body = schema.index_template(READINGS_PATTERN, 1, 0)
    pair.store.indices.put_index_template(name=READINGS_TEMPLATE, **body)
    pair.sql(schema.create_table(READINGS))
    before = sorted(path.iterdir())
    yield Folder(pair, path, tmp_path_factory.mktemp("home"))
    # Jupyter shows the checkout's own folder: nothing may be left in it.
    assert sorted(path.iterdir()) == before


@pytest.fixture(scope="module")
def folder(empty: Folder) -> Folder:
    """With history in both stores."""
    empty.mare("seed-history", "--days", str(DAYS), "--buoys", str(BUOYS), "--every", str(EVERY))
    job = str(empty.pair.settings.home / "history.toml")
    empty.mare("extract", "init", READINGS, "--out", job)
    empty.mare("extract", "run", job)
    return empty


def newest(pair: Pair) -> datetime:
    ((found,),) = pair.sql("SELECT MAX(timestamp) FROM readings")
    assert isinstance(found, datetime)
    return found


def hours(pair: Pair, since: datetime, until: datetime) -> dict[tuple[int, str], tuple[int, float]]:
    """By buoy and hour: how many readings, and their mean temperature."""
    rows = pair.sql(
        "SELECT sensor_id, DATE_FORMAT(timestamp, '%Y-%m-%d %H:00'), COUNT(*), AVG(temperature) FROM readings"
        f" WHERE timestamp >= '{since}' AND timestamp < '{until}' GROUP BY 1, 2"
    )
    return {(sensor, hour): (count, mean) for sensor, hour, count, mean in rows}


@pytest.mark.parametrize("name", ["first-look", "same-question-twice"])
def test_without_readings_a_sentence_says_what_to_do(empty: Folder, name: str) -> None:
    with pytest.raises(CellExecutionError, match=r"There are (no|too few) readings yet: let some buoys send"):
        empty.execute(name)


# --- first-look ---------------------------------------------------------------------------------------------------


def test_the_first_look_shows_every_hour_and_the_last_positions(folder: Folder) -> None:
    done = folder.execute(
        "first-look",
        readings="readings",
        positions='{str(key): row for key, row in latest[["location.lon", "location.lat"]].T.to_dict("list").items()}',
        shown="points.get_offsets().tolist()",
        hourly='hourly.assign(hour=hourly["hour"].dt.strftime("%Y-%m-%d %H:00"))'
        '[["sensor_id", "hour", "readings", "temperature"]].values.tolist()',
        lines="[[len(chart.lines), chart.get_ylabel()] for chart in panels[:, 0]]",
        map_labels="[points.axes.get_xlabel(), points.colorbar.ax.get_ylabel()]",
    )
    values, pair = done.values, folder.pair
    assert values["readings"] == BUOYS * DAYS * 86_400 // EVERY
    last = pair.sql(
        "SELECT sensor_id, location_lon, location_lat FROM readings r"
        " WHERE timestamp = (SELECT MAX(timestamp) FROM readings WHERE sensor_id = r.sensor_id)"
    )
    assert {int(sensor): place for sensor, place in values["positions"].items()} == {s: [x, y] for s, x, y in last}
    assert sorted(values["shown"]) == sorted([x, y] for _, x, y in last)
    assert values["map_labels"] == ["Longitude (° east)", f"{LABEL} (°C)"]

    until = newest(pair)
    since = (until - timedelta(days=7)).replace(minute=0, second=0, microsecond=0)
    expected = hours(pair, since, until + timedelta(seconds=1))
    assert len(expected) > 1000, "more than one page of groups"
    seen = {(int(sensor), hour): (count, mean) for sensor, hour, count, mean in values["hourly"]}
    assert len(values["hourly"]) == len(seen)
    assert seen.keys() == expected.keys()
    for key, (count, mean) in expected.items():
        assert seen[key] == (count, pytest.approx(mean, rel=1e-9)), key
    wanted = [f"{LABEL} (°C)", "Relative humidity (%)", "Air pressure (hPa)"]
    assert values["lines"] == [[BUOYS, label] for label in wanted]
    assert done.figures == 3
    assert not done.warnings


# --- same-question-twice ------------------------------------------------------------------------------------------

SAME = {
    "agree": "not bool(differs.any())",
    "different": "[[int(sensor), str(hour)] for sensor, hour in sql.index[differs]]",
    "groups": "len(sql)",
    "counted": 'int(rest["readings"].sum())',
    "rounds": 'times.groupby("store")["ms"].agg(["count", "min"]).T.to_dict("list")',
    "label": "label",
}


def test_both_stores_give_the_same_answer(folder: Folder) -> None:
    done = folder.execute("same-question-twice", **SAME)
    until = newest(folder.pair).replace(second=0, microsecond=0) - timedelta(minutes=1)
    expected = hours(folder.pair, until - timedelta(days=30), until)
    counted = sum(count for count, _ in expected.values())
    assert done.values["agree"]
    assert (done.values["groups"], done.values["counted"]) == (len(expected), counted)
    assert f"They agree: {len(expected):,} groups of {counted:,} readings." in done.text("compare")
    assert done.values["label"] == f"{LABEL} (°C)"
    assert set(done.values["rounds"]) == {"MariaDB", "Elasticsearch"}
    for count, shortest in done.values["rounds"].values():
        assert count == 7
        assert shortest > 0
    assert done.figures == 2
    assert not done.warnings


@pytest.fixture
def one_changed(folder: Folder) -> Iterator[tuple[int, datetime]]:
    """One reading of Elasticsearch's is not MariaDB's: its sensor and time."""
    store = folder.pair.store
    (hit,) = store.search(index=READINGS_PATTERN, size=1, query={"term": {"sensor_id": 900_002}})["hits"]["hits"]
    warmer = {"temperature": hit["_source"]["temperature"] + 1e-3}
    store.update(index=hit["_index"], id=hit["_id"], doc=warmer, refresh=True)
    yield 900_002, datetime.fromisoformat(hit["_source"]["timestamp"])
    store.index(index=hit["_index"], id=hit["_id"], document=hit["_source"], refresh=True)


def test_a_thousandth_of_a_degree_in_one_reading_is_seen(folder: Folder, one_changed: tuple[int, datetime]) -> None:
    done = folder.execute("same-question-twice", **SAME)
    sensor, at = one_changed
    assert not done.values["agree"]
    assert done.values["different"] == [[sensor, f"{at:%Y-%m-%d %H}:00:00"]]
    assert "They differ in 1 of" in done.text("compare")


# --- extraction ---------------------------------------------------------------------------------------------------

INDEX = "legacy-walk_through"
ROWS = 7 * 5 * 86_400 // 600 + 2  # and two odd ones


def walk_through(folder: Folder) -> None:
    done = folder.execute(
        "extraction",
        rows="int(rows)",
        total="answer['hits']['total']['value']",
        aside='aside.astype(str).to_dict("records")',
        local='str(local["timestamp"][0])',
        label="chart.get_ylabel()",
        drawn="len(chart.lines)",
    )
    values = done.values
    assert values["rows"] == ROWS
    assert 'zone = "UTC"' in done.text("init")
    assert '"type": "geo_point"' in done.text("plan")
    assert re.search(rf"written\W+{ROWS - 1:,}\D", done.text("run")), done.text("run")
    assert re.search(r"set aside\W+1\D", done.text("run")), done.text("run")
    assert values["total"] == ROWS - 1
    assert (values["label"], values["drawn"]) == (f"{LABEL} (°C)", 5)
    (aside,) = values["aside"]
    assert (aside["key"], "never showed 2024-03-31 02:30:00" in aside["reason"]) == ("[1000001]", True)
    assert "1 rows can't become documents" in done.text("verify")
    assert "1 documents added" in done.text("mend")
    assert "They agree." in done.text("mend")
    assert re.search(r"rows read\W+0\D", done.text("again")), done.text("again")
    assert values["local"] == "2023-10-29 00:30:00.000000"
    assert done.figures == 1
    assert not done.warnings


def test_a_table_is_moved_what_was_set_aside_is_mended_and_all_of_it_removed(folder: Folder) -> None:
    pair = folder.pair
    walk_through(folder)
    pair.store.indices.refresh(index=INDEX)
    assert pair.store.count(index=INDEX)["count"] == ROWS, "the repair wrote the last one"
    assert pair.store.get(index=INDEX, id="1000001")["_source"]["timestamp"] == "2024-03-31 01:30:00.000000"
    ((at, temperature),) = pair.sql(
        "SELECT measured_at - INTERVAL 1 HOUR, air_temperature FROM walk_through WHERE id = 1"
    )
    first = pair.store.get(index=INDEX, id="1")["_source"]
    assert datetime.fromisoformat(first["timestamp"]) == at, "Madrid's winter is an hour ahead"
    assert first["air_temperature"] == float(temperature)

    # Whoever reads it will run it more than once.
    path = folder.path / "extraction.ipynb"
    path.write_text(path.read_text("utf-8").replace("CLEAN_UP = False", "CLEAN_UP = True"), "utf-8")
    walk_through(folder)
    assert not pair.sql("SHOW TABLES LIKE 'walk_through'")
    assert not pair.store.indices.exists(index=INDEX)
    state = pair.settings.home / "state", pair.settings.home / "notebooks"
    assert not [left for part in state for left in part.rglob("walk_through*")]
