"""Both stores are lost, and come back by following docs/operations.md: its own commands, for local mode, are run here.

Only the ports, the folder and the day of the backup are put in.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from conftest import Instance
from elasticsearch.helpers import bulk
from operations_page import script
from waiting import await_true

from maredata.lag import connector_lag
from maredata.names import READINGS, READINGS_PATTERN
from maredata.settings import CHECKOUT
from maredata.state import ledger_file, read_json
from maredata.status import counts_of_stores
from maredata.stores import connect_elasticsearch
from maredata.views import LATEST

DAY = "2026-11-23"  # what the page restores
HISTORY = 300  # readings that no topic has
NEW_FIELD = '\n[fields.salinity]\ntype = "number"\n'


@dataclass
class Operator:
    """Whoever types the page's commands."""

    instance: Instance

    def follow(self, title: str) -> str:
        """Types a section's commands."""
        result = subprocess.run(
            ["bash", "-c", self.here(script(title, "local"))],
            env=self.instance.environment,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert result.returncode == 0, f"{title}: {result.stdout}{result.stderr}"
        return result.stdout

    def here(self, commands: str) -> str:
        """The page's commands for this instance."""
        settings = self.instance.settings
        others = {
            "./mare ": f"{sys.executable} -m maredata.cli ",
            ".mare/engines": str(settings.engines),
            ".mare/": f"{settings.home}/",
            "127.0.0.1:9200": f"127.0.0.1:{settings.elasticsearch.port}",
            "127.0.0.1:8083": f"127.0.0.1:{settings.connect.port}",
            "--port 3306": f"--port {settings.mariadb.port}",
            "$(date +%F)": DAY,
        }
        return re.sub("|".join(map(re.escape, others)), lambda found: others[found[0]], commands)


def stored(instance: Instance) -> tuple[int, int]:
    """Readings in MariaDB and in Elasticsearch."""
    found = counts_of_stores(instance.settings)
    return found["MariaDB"] or 0, found["Elasticsearch"] or 0


def documents(instance: Instance, indices: str) -> int:
    with connect_elasticsearch(instance.settings) as search:
        search.indices.refresh(index=indices)
        return int(search.count(index=indices)["count"])


def lines(instance: Instance) -> dict[str, int]:
    """The gateway's ledger: what it has received, accepted and rejected since the instance's first start."""
    return dict(read_json(ledger_file(instance.settings))["lines"])


def flowing(instance: Instance, readings: int) -> None:
    """Until so many more of them are in both stores."""
    goal = min(stored(instance)) + readings
    await_true(lambda: min(stored(instance)) > goal, what=f"{readings} more readings in both stores")


def only_in_stores(instance: Instance) -> None:
    """What no topic has: readings of years ago, and a table that was moved."""
    instance.rows(
        "INSERT INTO readings (sensor_id, timestamp, temperature)"
        f" SELECT 5, '2020-01-01' + INTERVAL seq MINUTE, seq / 8 FROM seq_1_to_{HISTORY}"
    )
    repaired = instance.mare("verify", "--repair")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    with connect_elasticsearch(instance.settings) as search:
        bulk(search, [{"_index": "legacy-orders", "_id": str(number), "total": number} for number in range(50)])


def column_names(instance: Instance, table: str) -> set[str]:
    return {str(row[0]) for row in instance.rows(f"SHOW COLUMNS FROM {table}")}


def durability(instance: Instance) -> tuple[int, int, str]:
    """What the page says is in force although no file sets it."""
    rows = instance.rows("SELECT @@innodb_flush_log_at_trx_commit, @@sync_binlog")
    with connect_elasticsearch(instance.settings) as search:
        found = search.indices.get_settings(index=READINGS_PATTERN, include_defaults=True, flat_settings=True)
    (translog,) = {
        index.get("settings", {}).get("index.translog.durability") or index["defaults"]["index.translog.durability"]
        for index in found.body.values()
    }
    return (*rows[0], translog.lower())


def test_both_stores_come_back_as_the_page_says(own_instance: Callable[..., Instance]) -> None:
    instance = own_instance(gateway=True)
    operator = Operator(instance)
    buoys = instance.start("emulate", "--buoys", "20", "--rate", "5", "--malformed", "0.1")
    flowing(instance, 500)
    assert durability(instance) == (1, 0, "request")
    only_in_stores(instance)
    operator.follow("Disk")
    operator.follow("Backup")
    toml = instance.settings.reading.toml
    toml.write_text(toml.read_text("utf-8") + NEW_FIELD, "utf-8")
    assert instance.mare("apply").returncode == 0
    flowing(instance, 500)
    before = lines(instance)["accepted"]

    operator.follow("Restore")
    flowing(instance, 500)
    buoys.send_signal(signal.SIGINT)
    assert buoys.wait(30) == 0
    await_true(lambda: not any(connector_lag(instance.settings).values()), what="the sinks are done")

    proof = instance.mare("verify", "--exact", "--json")
    assert proof.returncode == 0, proof.stdout + proof.stderr
    told = lines(instance)
    assert told["accepted"] > before > 1_000
    assert stored(instance) == (told["accepted"] + HISTORY,) * 2
    assert documents(instance, "rejected-*") == told["rejected"] > 50
    assert documents(instance, "legacy-orders") == 50
    assert "salinity" in column_names(instance, READINGS) & column_names(instance, LATEST)
    assert {path.suffix for path in (instance.settings.home / "backups").iterdir()} == {"", ".sql", ".gz"}
