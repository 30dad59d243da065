"""The `_id` of a row is one rule in two programs: the vectors are shared with the sink plugin's RowDocument."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from extraction.keys import id_of
from extraction.layout import Layout
from extraction.source import TableColumn

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "row_ids.json").read_text("utf-8"))


class FakeLayout:
    """What `id_of` asks of a layout."""

    readings = False

    def __init__(self, key: list[dict[str, Any]]) -> None:
        self.key = tuple(
            TableColumn(
                name=column["name"],
                data_type=column["type"],
                column_type=column["column_type"],
                nullable=column["nullable"],
                digits=column["digits"],
                precision=column["precision"],
                json=column["json"],
            )
            for column in key
        )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: cast("str", vector["id"])[:40])
def test_the_id_is_that_of_the_vectors(vector: dict[str, Any]) -> None:
    assert id_of(cast("Layout", FakeLayout(vector["key"])), vector["parts"]) == vector["id"]


def test_no_two_keys_have_one_id() -> None:
    ids = [vector["id"] for vector in VECTORS]
    assert len(set(ids)) == len(ids)
