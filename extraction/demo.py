"""`mare demo remove`: takes the emulated buoys' readings out of both stores.

The topic keeps them until its retention is over, so a small file says up to which offsets they were removed on
purpose; `mare verify` does not ask for them then.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from extraction.compare import Range
from extraction.documents import Elasticsearch
from extraction.mariadb import MariaDB
from extraction.topic import Offsets, Topic
from maredata.names import FIRST_DEMO_SENSOR
from maredata.schema import load_schema
from maredata.settings import Settings
from maredata.state import read_json, write_json

_WAIT = 60.0  # seconds for readings that are on their way: deleted before they arrive, they would come back


def remove_demo(settings: Settings, progress: Callable[[str], None]) -> dict[str, int]:
    """Deletes exactly the readings of emulated buoys; how many in each store. Nothing is left to do a second time.

    Raises:
        VerifyTimeout: readings are still on their way to a store; nothing was deleted.
    """
    schema = load_schema(settings.reading.toml)
    with (
        tempfile.TemporaryDirectory() as folder,
        Topic(settings, schema, Path(folder), Range()) as topic,
        MariaDB(settings, schema) as mariadb,
        Elasticsearch(settings, schema) as elasticsearch,
    ):
        _, ends = topic.bounds()
        topic.wait_for_sinks(ends, _WAIT, progress)
        # Said before it is done: cut short in between, the next run goes on, and verify asks for nothing that is gone.
        write_json(_file(settings), {str(partition): end for partition, end in ends.items()})
        progress("deleting demo readings in MariaDB")
        from_mariadb = mariadb.delete_from(FIRST_DEMO_SENSOR)
        progress("deleting demo readings in Elasticsearch")
        return {"mariadb": from_mariadb, "elasticsearch": elasticsearch.delete_from(FIRST_DEMO_SENSOR)}


def removed_before(settings: Settings) -> Offsets:
    """The offsets, by partition, before which demo readings were removed from the stores."""
    return {int(partition): end for partition, end in read_json(_file(settings)).items()}


def _file(settings: Settings) -> Path:
    return settings.home / "state" / "demo-removed.json"
