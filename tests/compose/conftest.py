"""Fixtures of the tests in containers; `./mare test --compose` makes what they need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stack import Stack


@pytest.fixture(scope="session")
def checkout() -> Path:
    """A copy of the checkout, without .env."""
    if "COMPOSE_TEST_CHECKOUT" not in os.environ:
        pytest.fail("these tests need images and an engine: run them by `./mare test --compose`.")
    return Path(os.environ["COMPOSE_TEST_CHECKOUT"])


@pytest.fixture(scope="session")
def stack(checkout: Path) -> Stack:
    return Stack(checkout)
