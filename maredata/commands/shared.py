"""What commands share: options, the console, the schema, and the wish to stop."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import click
from rich.console import Console, RenderableType

from maredata.reading import Refused
from maredata.schema import Schema, load_schema
from maredata.settings import Settings
from maredata.timestamps import parse_timestamp

out = partial(Console, highlight=False)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
only_newest = click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(0), help="Only the newest; 0: all."
)


class Instant(click.ParamType[int]):
    """A timestamp such as 2024-01-21T10:06:04Z, as microseconds since 1970 UTC."""

    name = "timestamp"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_timestamp(value if ":" in value else f"{value} 00:00:00")
        except Refused as refused:
            self.fail(refused.detail, param, ctx)


def schema_of(settings: Settings) -> Schema:
    return load_schema(settings.reading.toml)


def stop_flag() -> Callable[[], bool]:
    """True once this process was asked to end: signals only set a flag."""
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: asked.append(received))
    return lambda: bool(asked)


class Report(Protocol):
    """What a command found, for machines and for people."""

    def as_dict(self) -> dict[str, Any]: ...

    def render(self) -> RenderableType: ...


def print_report(report: Report, as_json: bool, ensure_ascii: bool = True) -> None:
    if as_json:
        click.echo(json.dumps(report.as_dict(), ensure_ascii=ensure_ascii))
    else:
        out().print(report.render())
