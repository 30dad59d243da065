"""The coastline behind the map: how `land.svg` was made, and how it is put under a figure.

It is Natural Earth's land at 1:50,000,000, which is in the public domain, as the npm package world-atlas 2.0.2 has it
(`land-50m.json`, a TopoJSON). `python -m dashboard.land land-50m.json > dashboard/land.svg` makes it again.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "land.svg"

_LEAST_DIGITS = 2  # of a degree: one kilometre, which is finer than the source
_STEP = 10**_LEAST_DIGITS
Point = tuple[int, int]


def as_layer() -> dict[str, Any]:
    """An image of Plotly's layout that lies under the traces, in degrees.

    It is a data URI, since Plotly would turn an SVG from an address into pixels, and blur it when one zooms in.
    """
    encoded = base64.b64encode(FILE.read_bytes()).decode("ascii")
    return {
        "source": f"data:image/svg+xml;base64,{encoded}",
        **{"xref": "x", "yref": "y", "x": -180, "y": 90, "sizex": 360, "sizey": 180},
        **{"sizing": "stretch", "layer": "below"},
    }


def to_svg(topology: dict[str, Any]) -> str:
    """The object `land` of a quantized TopoJSON, as one path on a canvas of 360 by 180 degrees.

    Its grey stands out from a light and from a dark page.
    """
    arcs = list(_decoded(topology))
    path = "".join(_as_path(_joined(ring, arcs)) for ring in _rings(topology["objects"]["land"]))
    width, height = 360 * _STEP, 180 * _STEP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        f' preserveAspectRatio="none"><path fill="#8c8c82" fill-opacity=".45" fill-rule="evenodd" d="{path}"/></svg>\n'
    )


def _decoded(topology: dict[str, Any]) -> Iterator[list[Point]]:
    """Each arc's points, counted in steps from the upper left corner of the canvas."""
    (scale_x, scale_y), (left, bottom) = topology["transform"]["scale"], topology["transform"]["translate"]
    for arc in topology["arcs"]:
        xs = accumulate(delta[0] for delta in arc)
        ys = accumulate(delta[1] for delta in arc)
        yield [
            (round((x * scale_x + left + 180) * _STEP), round((90 - y * scale_y - bottom) * _STEP))
            for x, y in zip(xs, ys, strict=True)
        ]


def _rings(geometry: dict[str, Any]) -> Iterator[list[int]]:
    if geometry["type"] == "GeometryCollection":
        for inner in geometry["geometries"]:
            yield from _rings(inner)
    else:
        polygons = [geometry["arcs"]] if geometry["type"] == "Polygon" else geometry["arcs"]
        for polygon in polygons:
            yield from polygon


def _joined(ring: Iterable[int], arcs: list[list[Point]]) -> list[Point]:
    """The arcs of a ring one after the other; `~number` is arc `number` backwards."""
    points: list[Point] = []
    for number in ring:
        points += arcs[number] if number >= 0 else arcs[~number][::-1]
    return points


def _as_path(points: list[Point]) -> str:
    """In relative steps, without those that lead nowhere."""
    steps = [(x - from_x, y - from_y) for (from_x, from_y), (x, y) in pairwise(points)]
    drawn = "".join(f"{x}{y:+d} ".replace("+", " ") for x, y in steps if x or y).replace(" -", "-").strip()
    return f"M{points[0][0]} {points[0][1]}l{drawn}z" if drawn else ""


if __name__ == "__main__":
    sys.stdout.write(to_svg(json.loads(Path(sys.argv[1]).read_text("utf-8"))))
