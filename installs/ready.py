"""Ways of being ready, one each. All answer at once and say False for whatever goes wrong."""

from __future__ import annotations

import socket

import httpx
import mysql.connector

from maredata.settings import Settings
from maredata.stores import connect_mariadb


def tcp_accepts(host: str, port: int) -> bool:
    """Something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def http_answers(url: str) -> bool:
    """The address answers with a status below 400."""
    try:
        return httpx.get(url, timeout=3).is_success
    except httpx.HTTPError:
        return False


def mariadb_answers(settings: Settings) -> bool:
    """MariaDB lets our own user in, so its init file has run."""
    try:
        connect_mariadb(settings, connection_timeout=3).close()
    except (mysql.connector.Error, OSError):
        return False
    return True
