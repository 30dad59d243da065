"""`mare bench report`: a page that comes from the results alone, and the README's figures beside theirs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_bench_analytics import content_of

from benchmarks import report
from benchmarks.report import PAGE, RESULTS, ReportError, compose, make, read
from maredata.cli import main
from maredata.settings import CHECKOUT

_LINK = re.compile(r"\]\((benchmarks/results/[^)]+\.json)\)")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def kept() -> list[Path]:
    return sorted(RESULTS.glob("*.json"))


def text_of(results: Path) -> str:
    return compose(read(results), PAGE, RESULTS).text


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results in a folder that a test may change, seen as if it were the project's."""
    monkeypatch.setattr(report, "CHECKOUT", tmp_path)
    folder = tmp_path / "benchmarks" / "results"
    folder.mkdir(parents=True)
    for path in kept():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def write(folder: Path, name: str, **content: Any) -> None:
    versions = {"python": "3.11", "kafka": "4", "elasticsearch": "8", "mariadb": "11", "confluent-kafka": "2"}
    machine = {"cores": 2, "model": "x", "memory_bytes": 1 << 33, "kernel": "6", "commit": None, "dirty": None}
    began = "2026-11-24T00:00:00+00:00"
    base = {"began": began, "command": "mare bench x", "machine": {**machine, "versions": versions}}
    (folder / f"{name}.json").write_text(json.dumps({**base, **content}))


def test_the_page_is_what_the_results_make_of_it() -> None:
    """A figure that was typed by hand, or whose result was replaced, is none of a result: `mare bench report`."""
    assert PAGE.read_text("utf-8") == compose(read(RESULTS), PAGE, RESULTS).text


def test_every_picture_of_the_page_is_there_and_every_result_is_linked() -> None:
    text = PAGE.read_text("utf-8")
    for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (PAGE.parent / name).exists(), name
    for path in kept():
        assert f"](../benchmarks/results/{path.name})" in text


def test_another_figure_makes_another_page(copied: Path) -> None:
    page = copied.parents[1] / "docs" / "page.md"
    make(copied, page)
    before = page.read_text("utf-8")
    (path,) = copied.glob("sink-*.json")
    content = json.loads(path.read_text())
    content["summary"]["receivers"]["sink"]["rate"][0] = 54_321.4
    path.write_text(json.dumps(content))
    make(copied, page)
    assert "54,321" not in before
    assert "54,321" in page.read_text("utf-8")


def test_a_kind_that_nobody_knows_is_listed_with_its_command_and_the_tables_it_brings(copied: Path) -> None:
    table = {"title": "Tides", "columns": ["what", "m"], "rows": [["high | spring", 7]]}
    write(copied, "tides-1", benchmark="tides", command="mare bench tides --moon full", tables=[table])
    text = compose(read(copied), copied.parents[1] / "docs" / "page.md", copied).text
    assert "## Tides" in text
    assert "$ ./mare bench tides --moon full" in text
    assert "| high &#124; spring | 7 |" in text
    assert "(../benchmarks/results/tides-1.json)" in text


def test_the_pipeline_and_faults_have_tables_of_their_own(copied: Path) -> None:
    stages = ("sent", "kernel_dropped", "received", "accepted", "kafka", "mariadb", "elasticsearch")
    trial = {
        "load": {"rate": 10_000.0}, "latency_seconds": {"mariadb": {"p50": 0.5, "p95": 0.9, "p99": 1.25, "max": None}},
        "samples": {"mariadb": 321}, "counts": {stage: 1000 + n for n, stage in enumerate(stages)}, "sustained": False,
        "bottleneck": "connect: full", "cores_used": {"kafka": 0.75}, "memory": {"kafka": 512 << 20}, "busy": 0.97,
    }  # fmt: skip
    goal = {"what": "p99 until mariadb", "seen": 1.25, "goal": 1.5, "met": True}
    write(copied, "p", benchmark="pipeline", trials=[trial], goals=[goal], highest_sustained=None, base="So it was.")
    fault = {
        "fault": "kafka-killed", "description": "Kafka gone", "sent": 2000, "accepted": 1999, "mariadb": 1998,
        "elasticsearch": 1997, "lost": 2, "duplicated": 1, "seconds": None, "passed": False, "trouble": "lost some",
    }  # fmt: skip
    write(copied, "f", benchmark="faults", faults=[fault], seconds=90.0, load={"buoys": 500, "rate": 1.0})
    text = compose(read(copied), copied.parents[1] / "docs" / "page.md", copied).text
    for row in (
        "| 10,000 | mariadb | 0.50 | 0.90 | 1.25 | ? | 321 |",
        "| 10,000 | 1,000 | 1,001 | 1,002 | 1,003 | 1,004 | 1,005 | 1,006 | not sustained: connect: full |",
        "| 10,000 | 0.75 / 512 | 97% |",
        "- p99 until mariadb: met (1.25 s, below 1.5 s wanted)",
        "| kafka-killed | Kafka gone | 2,000 | 1,999 | 1,998 | 1,997 | 2 | 1 |  | FAILED: lost some |",
        "- 1 faults in 1.5 minutes; `mare verify --exact` after each.",
    ):
        assert row in text


def test_analytics_has_its_picture(copied: Path) -> None:
    write(copied, "analytics-1", **content_of())
    page = copied.parents[1] / "docs" / "page.md"
    written = make(copied, page)
    text = page.read_text("utf-8")
    assert "](benchmarks/analytics-1.png)" in text
    pictures = {page.parent / "benchmarks" / f"{result.stem}.png" for result in copied.glob("analytics-*.json")}
    assert page.parent / "benchmarks" / "analytics-1.png" in pictures
    assert (written[0], len(written), set(written[1:])) == (page, 1 + len(pictures), pictures)
    assert all(path.exists() for path in written)
    assert "| geometric mean |" in text
    assert "readings: range, analysts_time, no remark" in text


def test_the_newest_of_a_kind_comes_first(copied: Path) -> None:
    for name, day in (("a", 1), ("b", 3), ("c", 2)):
        write(copied, f"tides-{name}", benchmark="tides", began=f"2026-12-0{day}T00:00:00+00:00")
    names = [result.path.stem for result in read(copied) if result.kind == "tides"]
    assert names == ["tides-b", "tides-c", "tides-a"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"benchmark": "sink"}'])
def test_a_file_that_is_no_result_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "strange.json").write_text(text)
    with pytest.raises(ReportError, match=r"strange\.json is no result"):
        read(tmp_path)


def test_without_any_result_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="There is no result"):
        read(tmp_path)


def test_the_command_names_what_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "make", lambda: [PAGE])
    result = CliRunner().invoke(main, ["bench", "report"])
    assert result.output.splitlines() == [str(PAGE)]


# --- the README's figures ----------------------------------------------------------------------------------------


def numbers(content: Any) -> Iterator[float]:
    """All that a result's file holds."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        for value in content:
            yield from numbers(value)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield float(content)


def stands_for(text: str, value: float) -> bool:
    """Whether the figure is the value rounded to the digits that it shows: 41,600 is 41,606, and 6.9 is 6.89."""
    plain = text.replace(",", "")
    digits = len(plain.partition(".")[2])
    step = 10.0**-digits if digits else 10.0 ** (len(plain) - len(plain.rstrip("0")))
    return abs(float(plain) - value) <= step / 2 * (1 + 1e-9)


def figures(readme: str) -> Iterator[tuple[str, str]]:
    """(figure, result's file) of each table that stands before a link to a result, and after the one before it."""
    begin = 0
    for link in _LINK.finditer(readme):
        rows = [line for line in readme[begin : link.start()].splitlines() if line.startswith("| ")]
        begin = link.end()
        heading = max((number for number, row in enumerate(rows) if set(row) <= set("| -")), default=0)
        for row in rows[heading + 1 :]:
            for cell in row.strip("| ").split(" | ")[1:]:
                if re.fullmatch(r"[\d,.() –-]+", cell):  # noqa: RUF001
                    yield from ((figure, link[1]) for figure in _NUMBER.findall(cell))


def test_the_readmes_figures_are_those_of_the_results_that_it_names() -> None:
    found = list(figures((CHECKOUT / "README.md").read_text("utf-8")))
    assert found
    for figure, name in found:
        values = numbers(json.loads((CHECKOUT / name).read_text("utf-8")))
        assert any(stands_for(figure, value) for value in values), f"README says {figure}, and {name} does not"


@pytest.mark.parametrize(
    ("figure", "value", "same"),
    [
        ("41,600", 41_606.4, True),
        ("41,600", 41_660.0, False),
        ("6.9", 6.89, True),
        ("6.9", 6.84, False),
        ("0", 0.4, True),
    ],
)
def test_a_figure_stands_for_what_rounds_to_it(figure: str, value: float, same: bool) -> None:
    assert stands_for(figure, value) is same


def test_figures_are_read_from_the_table_before_the_link() -> None:
    text = "| a | b |\n| --- | --- |\n| x 9 | 1,200 (1,100–1,300) |\n\nThe [file](benchmarks/results/x.json)."  # noqa: RUF001
    assert [figure for figure, _ in figures(text)] == ["1,200", "1,100", "1,300"]
