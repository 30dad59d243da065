"""What reading costs the source at the least: a plain SELECT of all stored columns through mysql-connector-python.

Run as a program it reads all readings, and says how many there were.
"""

from __future__ import annotations

from maredata.names import READINGS
from maredata.schema import Schema, load_schema
from maredata.settings import Settings, load_settings
from maredata.stores import connect_mariadb

INDEX = "plain-readings"  # that what is no extraction of ours writes to
_ROWS = 10_000  # fetched at once


def query(schema: Schema) -> str:
    """Generated columns are left out: extraction does not read them, and they would cost the server more."""
    return f"SELECT {', '.join(f'`{name}`' for name, _ in schema.columns())} FROM `{READINGS}`"  # noqa: S608


def main(settings: Settings) -> None:
    rows = 0
    with connect_mariadb(settings) as connection, connection.cursor() as cursor:
        cursor.execute(query(load_schema(settings.reading.toml)))
        while page := cursor.fetchmany(_ROWS):
            rows += len(page)
    print(rows)


if __name__ == "__main__":
    main(load_settings(None))
