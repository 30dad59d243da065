"""The rights that a job's user needs on the source, and no more: SQL for the source's administrator."""

from __future__ import annotations

from extraction.job import JobError, Server
from extraction.quoting import identifier

_BACKSLASH = "\\"


def grants(server: Server, table: str, from_host: str = "%") -> str:
    """A script of SQL, explained line by line; it does no harm when it is run again.

    The user is the server's; `from_host` is where it connects from, as the server sees it. Raises JobError.
    """
    account = f"{_quoted(server.user)}@{_quoted(from_host)}"
    place = f"{identifier(server.database)}.{identifier(table)}"
    return f"""\
-- Rights to move and follow {place}. Put a password of your own in place of the dots, and into the
-- variable {server.password_env or "that the job's password_env names"}.
CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '…';

-- extract plan, run and verify: read this one table.
GRANT SELECT ON {place} TO {account};

-- capture only: ask where the binary log is, and read it. Leave both out where nothing is captured: the log shows
-- every table's changes. (MariaDB 10.5 and later call the first one BINLOG MONITOR, and still know this name.)
GRANT REPLICATION CLIENT ON *.* TO {account};
GRANT REPLICATION SLAVE ON *.* TO {account};

-- Not needed: INSERT, UPDATE, DELETE, LOCK TABLES, RELOAD, PROCESS, SUPER. --pause-when-threads-running reads
-- SHOW GLOBAL STATUS, which every user may.
"""


def _quoted(text: str) -> str:
    if _BACKSLASH in text or not text.isprintable():
        raise JobError(f"The user {text!r} can't be written into SQL for every server: choose another name.")
    return "'" + text.replace("'", "''") + "'"
