"""Ways of being ready, one each. All answer at once and say False for whatever goes wrong."""

from __future__ import annotations

import socket
from http.client import HTTPConnection, HTTPException

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


def http_answers(host: str, port: int, path: str) -> bool:
    """The server answers a GET with a status below 400."""
    connection = HTTPConnection(host, port, timeout=3)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 400
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def mariadb_answers(settings: Settings) -> bool:
    """MariaDB lets our own user in, so its init file has run."""
    try:
        connect_mariadb(settings, connection_timeout=3).close()
    except (mysql.connector.Error, OSError):
        return False
    return True
