"""MariaDB's sessions that wait for room on their disk, and would wait on when there is some.

A full disk under its binary log holds MariaDB 11.4 in the middle of a COMMIT. It says that it looks again every minute,
but sleeps until somebody kills the session (seen in a debugger: it waits for a condition, without a limit), and keeps
the locks of its rows from everybody else. Killed with room on the disk, it writes what it had to write; without room
the binary log would end in half an event (MDEV-27803), so that must not be done before.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from maredata.settings import Settings
from maredata.stores import connect_mariadb

_ROOM = 64 << 20  # bytes: far more than a transaction of ours writes
_WAITING = (
    "SELECT ID FROM information_schema.PROCESSLIST WHERE STATE = 'Waiting for someone to free space' AND USER = %s"
)


def end_waiting(settings: Settings) -> list[int]:
    """Ends our account's sessions that wait although there is room; their numbers. Raises mysql.connector.Error.

    Only where MariaDB's folder is ours, as in local mode: nobody knows of another disk whether it has room.
    """
    folder = settings.home / "data" / "mariadb"
    if not folder.exists():
        return []
    ended: list[int] = []
    with connect_mariadb(settings) as session, session.cursor() as cursor:
        cursor.execute(_WAITING, (settings.mariadb.user,))
        waiting: list[Any] = cursor.fetchall()
        for (number,) in waiting:
            if _has_room(folder):
                cursor.execute(f"KILL CONNECTION {number:d}")
                ended.append(number)
    return ended


def _has_room(folder: Path) -> bool:
    return shutil.disk_usage(folder).free >= _ROOM
