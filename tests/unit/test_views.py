"""The SELECTs of the views; tests/integration/test_views.py runs them."""

from __future__ import annotations

import re
from typing import Any

from maredata.schema import Schema, load_schema
from maredata.settings import CHECKOUT
from maredata.views import LATEST, PER_DAY, views

SHIPPED = load_schema(CHECKOUT / "maredata" / "reading.toml")
NEEDED: dict[str, Any] = {
    "timestamp": {"type": "timestamp", "required": True},
    "sensor_id": {"type": "integer", "required": True},
}


def marks(select: str) -> set[str]:
    return set(re.findall(r"`(mare_\w*)`", select))


def test_a_view_is_marked_and_another_select_otherwise() -> None:
    more = Schema.from_dict({**SHIPPED.as_dict(), "salinity": {"type": "number"}})
    for name in (LATEST, PER_DAY):
        (mark,) = marks(views(SHIPPED)[name])
        assert re.fullmatch("mare_[0-9a-f]{12}", mark)
        assert marks(views(SHIPPED)[name]) == {mark} != marks(views(more)[name])


def test_texts_and_places_are_the_latest_and_have_no_average() -> None:
    found = views(Schema.from_dict({**NEEDED, "note": {"type": "text"}, "at": {"type": "location"}}))
    assert all(f"`r`.`{column}`" in found[LATEST] for column in ("note", "at_lon", "at_lat"))
    assert "AVG" not in found[PER_DAY] and "COUNT(*)" in found[PER_DAY]


def test_sensor_and_time_come_first() -> None:
    assert views(Schema.from_dict(NEEDED))[LATEST].startswith("SELECT `r`.`sensor_id`, `r`.`timestamp`, TIMESTAMPDIFF")
