"""What many write first: `pandas.read_sql` in chunks, and `helpers.bulk`. Run as a program it moves all readings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pandas as pd
from elasticsearch import helpers

from benchmarks.plain_select import INDEX, query
from maredata.schema import load_schema
from maredata.settings import Settings, load_settings
from maredata.stores import connect_elasticsearch, connect_mariadb

_ROWS = 10_000  # of a chunk


def actions(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Without an `_id`; lon and lat stay two fields, as they come."""
    for row in frame.to_dict("records"):
        yield {"_index": INDEX, "_source": row}


def main(settings: Settings) -> None:
    # pandas would rather have SQLAlchemy, which reads through the same connector.
    warnings.filterwarnings("ignore", "pandas only supports SQLAlchemy")
    with connect_elasticsearch(settings) as client, connect_mariadb(settings) as connection:
        sql = query(load_schema(settings.reading.toml))
        for frame in pd.read_sql(sql, connection, chunksize=_ROWS):
            helpers.bulk(client, actions(frame))


if __name__ == "__main__":
    main(load_settings(None))
