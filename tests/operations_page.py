"""The commands of docs/operations.md, for the tests that type them."""

from __future__ import annotations

import re

from maredata.settings import CHECKOUT

PAGE = CHECKOUT / "docs" / "operations.md"


def section(title: str, where: str) -> str:
    """A section's commands for "local" mode or "containers", in the page's order; "" is what comes before the first."""
    text = re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    found = text[0] if not title else next(part for part in text if part.startswith(f"{title}\n"))
    blocks = re.findall(r"^```sh(?: (\w+))?\n(.*?)^```$", found, re.MULTILINE | re.DOTALL)
    commands = [block for mode, block in blocks if mode in ("", where)]
    assert commands, f"docs/operations.md has no commands in {title!r}"
    return "\n".join(commands)


def script(title: str, where: str) -> str:
    """A section for a shell that has typed the page's beginning, and that ends at the first command that fails."""
    return f"set -euo pipefail\n{section('', where)}\n{section(title, where)}"
