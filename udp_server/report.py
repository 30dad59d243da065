"""What the ledger says in all: the workers' parts summed up, for the parent's file and for `mare ledger`."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table

from maredata.errors import SettingsError
from maredata.settings import Settings
from maredata.state import ledger_file, read_json
from maredata.timestamps import format_timestamp
from udp_server import ledger
from udp_server.files import all_workers
from udp_server.sensors import Sensor, merged

_COUNTED = ("missing", "duplicates", "conflicts", "out_of_order", "late", "clock_ahead", "restarts")
_MOST_ROWS = 20


def summed(settings: Settings, sensors: dict[int, Sensor]) -> dict[str, Any]:
    """One ledger of all workers', with what the sensors' counters are in all."""
    contents = [content for files in all_workers(settings) if (content := files.read_ledger())]
    # With an empty one no number is ever missing, also where no worker has come to write its own.
    total = ledger.merged([ledger.Ledger().as_dict(), *(content["ledger"] for content in contents)])
    not_followed = total.pop("not_followed", 0)
    fingerprints = {content["fingerprint"] for content in contents[: settings.udp.workers]}
    counted: Counter[str] = Counter()
    for sensor in sensors.values():
        counted.update({name: getattr(sensor, name) for name in _COUNTED})
    return {
        # Of several workers only some may have reloaded the schema yet: then none can be named.
        "fingerprint": fingerprints.pop() if len(fingerprints) == 1 else "",
        **total,
        "sensors": {
            "followed": len(sensors),
            "not_followed": not_followed,
            **{name: counted[name] for name in _COUNTED},
        },
    }


def read(settings: Settings, sensor_id: int | None) -> dict[str, Any]:
    """The ledger as the gateway last wrote it, and its sensors.

    Raises SettingsError where there was never a gateway, or it never heard that sensor.
    """
    content = read_json(ledger_file(settings))
    if not content:
        raise SettingsError(f"No gateway has run with {settings.home} yet: start one with `mare up` or `mare serve`.")
    sensors = merged([files.read_sensors() for files in all_workers(settings)])
    if sensor_id is not None:
        if sensor_id not in sensors:
            raise SettingsError(
                f"The gateway has not heard sensor {sensor_id} yet; `mare ledger --all` lists the others."
            )
        sensors = {sensor_id: sensors[sensor_id]}
    lines = content["lines"]
    columns = ("accepted", "rejected", "refused", "in_flight", "lost_in_crash")
    content["missing"] = lines["received"] - sum(lines[name] for name in columns)
    content["by_sensor"] = [_row(sensors[number]) for number in sorted(sensors)]
    return content


def _row(sensor: Sensor) -> dict[str, Any]:
    row: dict[str, Any] = {**msgspec.to_builtins(sensor), "missing": sensor.missing}
    for name in ("first_seen", "last_seen", "latest"):
        row[name] = format_timestamp(row[name])
    for variable in row["variables"].values():
        variable["changed"] = format_timestamp(variable["changed"])
    return row


def render(content: dict[str, Any], every_sensor: bool = False) -> RenderableType:
    """For a terminal. The columns of the balance stand in the order in which they add up."""
    return Group(_balance(content), _details(content), _sensors(content["by_sensor"], every_sensor))


def _balance(content: dict[str, Any]) -> Table:
    datagrams, lines = content["datagrams"], content["lines"]
    table = Table("lines", "", title="every line that came", title_justify="left", show_header=False)
    for name in ("accepted", "rejected", "refused", "in_flight", "lost_in_crash"):
        table.add_row(name.replace("_", " "), f"{lines[name]:,}")
    table.add_section()
    table.add_row("received", f"{lines['received']:,}")
    if content["missing"]:
        table.add_row("[red]missing[/]", f"[red]{content['missing']:,}[/] (please report this)")
    table.add_section()
    table.add_row("datagrams", f"{datagrams['received']:,}")
    table.add_row("dropped by the kernel", f"{datagrams['kernel_dropped']:,}")
    table.add_row("acknowledged by Kafka", f"{lines['acknowledged']:,}")
    table.add_row("in the spool", f"{lines['spooled'] - lines['replayed']:,} of {lines['spooled']:,} spooled")
    return table


def _details(content: dict[str, Any]) -> Table:
    table = Table("what", "which", "how many")
    for title in ("rejected", "refused", "implausible", "unknown_fields", "sensors"):
        for name, count in sorted(content.get(title, {}).items(), key=lambda item: -item[1]):
            if count:
                table.add_row(title.replace("_", " "), name.replace("_", " "), f"{count:,}")
    return table


def _sensors(rows: list[dict[str, Any]], every: bool) -> Table:
    shown = rows if every else sorted(rows, key=lambda row: row["last_seen"], reverse=True)[:_MOST_ROWS]
    title = f"{len(shown)} of {len(rows)} sensors" + ("" if len(shown) == len(rows) else ", the last ones heard")
    counted = [name for name in _COUNTED if any(row[name] for row in shown)]
    table = Table("sensor", "last seen", "readings", "a second", *map(_words, counted), title=title)
    for row in shown:
        counts = [f"{row[name]:,}" for name in counted]
        table.add_row(
            str(row["sensor_id"]), row["last_seen"][:19], f"{row['readings']:,}", f"{row['rate']:.1f}", *counts
        )
    return table


def _words(name: str) -> str:
    return name.replace("_", " ")
