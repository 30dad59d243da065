"""`mare bench dashboard`: how quickly the live view shows many buoys with a long history, in a real browser."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
from elasticsearch import Elasticsearch

from benchmarks import engines
from benchmarks.dashboard_tables import Look, tables
from benchmarks.indices import Indices
from benchmarks.result import Head
from installs import services
from installs.engines import elasticsearch
from installs.machine import check_ports, check_room
from installs.process import await_ready, start, stop
from maredata.errors import EngineTimedOut, StoreError
from maredata.names import FIRST_DEMO_SENSOR, index_of
from maredata.reading import identity
from maredata.schema import load_schema
from maredata.settings import Dashboard, Reading, Settings
from maredata.settings import Elasticsearch as ElasticsearchSettings
from maredata.stores import connect_elasticsearch
from maredata.timestamps import format_timestamp

if TYPE_CHECKING:
    from selenium import webdriver

_SPAN_SECONDS = 30 * 86_400  # of the history
_BULK = 5_000  # readings
_STOP_SECONDS = 30
_SHOWN_SECONDS = 60
_CHARTS = (1, 8)  # buoys in one
_RANGES = {"hour": 3_600, "day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400}
BASE = (
    "Elasticsearch, the dashboard, a browser without a window and a writer share the machine; the other engines do not"
    " run. The writer stores one reading of every buoy each second, so that each update moves all of them. First paint"
    " is the browser's first-contentful-paint; the buoys are drawn when each has its point on the map. An update is"
    " from the browser's question until the new map is drawn; its bytes are those of the answer, compressed."
    " A chart's time is that of its CSV file, which is asked for in the same way, and not asked before."
)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What is measured: `looks` times the page is opened anew, and watched for `seconds`."""

    readings: int = 10_000_000
    buoys: int = 1_000
    looks: int = 5
    seconds: float = 20.0
    first_port: int = 21_000
    out: Path | None = None


def run(settings: Settings, options: Options, command: str, progress: Progress) -> tuple[Path, dict[str, Any]]:
    """Measures, and writes the result's file; its path and its content.

    Raises MareError: this machine lacks something, or a program did not start.
    """
    own = settings.model_copy(
        update={
            "home": settings.home / "benchmarks",
            "elasticsearch": ElasticsearchSettings(port=options.first_port, transport_port=options.first_port + 1),
            "dashboard": Dashboard(port=options.first_port + 2),
            "reading": Reading(),
        }
    )
    head = Head("dashboard", command)
    with engines.alone(own.home), engines.ends_in_order():
        check_room(own)
        with engines.running(own, (elasticsearch,), progress), connect_elasticsearch(own) as client:
            Indices(client).apply_template(own, load_schema(own.reading.toml))
            _fill(client, options, progress)
            with _page(own) as address, writing(client, options):
                looks = _looks(address, options, progress)
                charts = _charts(address)
    return head.write(
        asdict(options),
        own.home,
        base=BASE,
        looks=[asdict(look) for look in looks],
        charts=charts,
        tables=tables(looks, charts, f"{options.readings:,} readings of {options.buoys:,} buoys"),
    )


# --- the history, and what goes on


def bodies(options: Options, now: float) -> Iterator[bytes]:
    """Bulk bodies of the history: all buoys in turns, evenly over thirty days, the last one now. `now` in seconds."""
    noise = random.Random(0).random  # noqa: S311  # weather needs no cryptography
    steps = options.readings // options.buoys
    lines: list[str] = []
    for step in range(steps):
        micros = int((now - _SPAN_SECONDS * (steps - 1 - step) / steps) * 1e6)
        lines += _lines(options.buoys, micros, noise)
        if len(lines) >= _BULK or step == steps - 1:
            yield "".join(lines).encode()
            lines.clear()


def _lines(buoys: int, micros: int, noise: Callable[[], float]) -> Iterator[str]:
    """Action and document of one reading of each buoy at the same instant, on a grid in the sea."""
    timestamp, index = format_timestamp(micros), index_of(micros)
    for number in range(buoys):
        sensor = FIRST_DEMO_SENSOR + number
        yield (
            f'{{"create":{{"_index":"{index}","_id":"{identity(sensor, micros)}"}}}}\n'
            f'{{"sensor_id":{sensor},"timestamp":"{timestamp}","temperature":{15 + 5 * noise():.2f},'
            f'"humidity":{60 + 20 * noise():.1f},"pressure":{1010 + noise():.2f},'
            f'"location":{{"lon":{3.2 + number % 40 / 20:.4f},"lat":{41.5 + number // 40 / 25:.4f}}}}}\n'
        )


def _fill(client: Elasticsearch, options: Options, progress: Progress) -> None:
    stored, said = 0, time.monotonic()
    for body in bodies(options, time.time()):
        _store(client, body)
        stored += body.count(b'{"create"')
        if time.monotonic() > said + 10:
            progress(f"{stored:,} of {options.readings:,} readings stored")
            said = time.monotonic()
    progress(f"{Indices(client).documents():,} readings stored")


def _store(client: Elasticsearch, body: bytes) -> None:
    headers = {"content-type": "application/x-ndjson", "accept": "application/json"}
    answer = client.perform_request("POST", "/_bulk?filter_path=errors", headers=headers, body=body)
    if answer.body["errors"]:
        raise StoreError("Elasticsearch has not taken all readings.")


@contextmanager
def writing(client: Elasticsearch, options: Options) -> Iterator[None]:
    """A reading of every buoy each second, until it is left. What ended it before is raised then."""
    over, noise = threading.Event(), random.Random(1).random  # noqa: S311

    def write() -> None:
        while not over.wait(1 - time.time() % 1):
            _store(client, "".join(_lines(options.buoys, time.time_ns() // 1000, noise)).encode())

    with ThreadPoolExecutor(1, "writer") as pool:
        writer = pool.submit(write)
        try:
            yield
        finally:
            over.set()
            writer.result()


@contextmanager
def _page(own: Settings) -> Iterator[str]:
    """The dashboard's address, while it runs."""
    service = services.dashboard(own)
    stop(own, service.name, _STOP_SECONDS)  # what a benchmark that was killed has left
    check_ports([service], own.dashboard.host)
    record = start(own, service)
    try:
        await_ready(own, service, record)
        yield f"{service.address}/"
    finally:
        stop(own, service.name, _STOP_SECONDS)


# --- what is seen

# In every page, before its own scripts: once it counts, notes when the map was asked for, how much came, when it was
# drawn.
_WATCH = """
window.updates = [];
window.sizes = [];
let asked = null;
const fetch_ = window.fetch;
window.fetch = (address, options) => {
    const answered = fetch_(address, options);
    const update = String(address).includes('_dash-update-component');
    if (window.counted && update && String(options?.body).includes('map.figure')) {
        asked = performance.now();
        answered.then(answer => window.sizes.push(Number(answer.headers.get('content-length'))));
    }
    return answered;
};
document.addEventListener('DOMContentLoaded', () => setInterval(() => {
    const graph = document.querySelector('#map .js-plotly-plot');
    if (!graph || !graph.on || graph.watched) return;
    graph.watched = true;
    graph.on('plotly_afterplot', () => {
        if (asked !== null) { window.updates.push(performance.now() - asked); asked = null; }
    });
}, 20));
"""
_POINTS = "return document.querySelectorAll('#map .scatterlayer .point').length"
_PAINT = "return performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)[0] ?? null"


def _looks(address: str, options: Options, progress: Progress) -> list[Look]:
    from tests.chromium import chromium  # noqa: PLC0415  # selenium is there for tests and benchmarks alone

    with chromium() as browser:
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _WATCH})
        looks = []
        for number in range(options.looks + 1):
            look = _look(browser, address, options)
            progress(f"look {number}: paint {look.paint:.0f} ms, all buoys {look.drawn:.0f} ms")
            looks.append(look)
        return looks[1:]  # with the first one the browser started


def _look(browser: webdriver.Chrome, address: str, options: Options) -> Look:
    browser.execute_cdp_cmd("Network.clearBrowserCache", {})
    browser.get(address)
    deadline = time.monotonic() + _SHOWN_SECONDS
    while browser.execute_script(_POINTS) < options.buoys:
        if time.monotonic() > deadline:
            raise EngineTimedOut(f"The page has not shown {options.buoys} buoys within {_SHOWN_SECONDS} s.")
        time.sleep(0.02)
    drawn = float(browser.execute_script("window.counted = true; return performance.now()"))
    time.sleep(options.seconds)  # this is how long it is watched
    return Look(
        float(browser.execute_script(_PAINT)),
        drawn,
        tuple(map(float, browser.execute_script("return window.updates"))),
        tuple(map(int, browser.execute_script("return window.sizes"))),
    )


def _charts(address: str) -> dict[str, dict[str, float]]:
    """Milliseconds until the file of a chart is there, by range and number of buoys."""
    found: dict[str, dict[str, float]] = {}
    with httpx.Client(trust_env=False, timeout=60) as client:
        for name, seconds in _RANGES.items():
            for count in _CHARTS:
                now = time.time()
                sensors = [("sensor", str(FIRST_DEMO_SENSOR + number)) for number in range(count)]
                query = [("variable", "temperature"), *sensors, ("from", str(now - seconds)), ("to", str(now))]
                began = time.perf_counter()
                client.get(f"{address}series.csv?{urlencode(query)}").raise_for_status()
                found.setdefault(name, {})[str(count)] = 1000 * (time.perf_counter() - began)
    return found
