"""Chromium from the distribution's packages, without a window; where it is missing, root on Debian installs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from selenium import webdriver

_PACKAGES = ("chromium", "chromium-driver")
_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server", "--window-size=1400,1650"),
    *("--disable-background-networking", "--force-prefers-reduced-motion"),
)


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """A browser that keeps what it asked for and complained about. Raises AssertionError where there is none."""
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium")
    for option in _OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(program("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def program(name: str) -> str:
    """Its path. Raises AssertionError with a sentence where it is not there and can't be installed."""
    if shutil.which(name) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *_PACKAGES]):
            subprocess.run(["apt-get", *command], env=environment, stdout=subprocess.DEVNULL, check=True, timeout=400)
    found = shutil.which(name)
    assert found, f"There is no {name} on this machine: install {' and '.join(_PACKAGES)}, and run this again."
    return found
