"""The rights that a job's user needs on the source, and no more: SQL for the source's administrator."""

from __future__ import annotations

from extraction.job import Job, JobError
from extraction.quoting import identifier

_BACKSLASH = "\\"


def grants(job: Job, from_host: str = "%") -> str:
    """A script of SQL, explained line by line; it does no harm when it is run again.

    The user is the job's; `from_host` is where it connects from, as the server sees it. Raises JobError.
    """
    account = f"{_quoted(job.source.user)}@{_quoted(from_host)}"
    table = f"{identifier(job.source.database)}.{identifier(job.source.table)}"
    return f"""\
-- Rights for job {job.name}. Put a password of your own in place of the dots, and into the variable
-- {job.source.password_env or "that source.password_env names"}.
CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '…';

-- extract plan, run and verify: read this one table.
GRANT SELECT ON {table} TO {account};

-- extract run beside capture: read the position in the binary log before each snapshot.
-- (MariaDB before 10.5 and MySQL call it REPLICATION CLIENT; MariaDB still understands that name.)
GRANT REPLICATION CLIENT ON *.* TO {account};

-- capture only: read the binary log itself. Leave it out where nothing is captured: it shows every table's changes.
GRANT REPLICATION SLAVE ON *.* TO {account};

-- Not needed: INSERT, UPDATE, DELETE, LOCK TABLES, RELOAD, PROCESS, SUPER. --pause-when-threads-running reads
-- SHOW GLOBAL STATUS, which every user may.
"""


def _quoted(text: str) -> str:
    if _BACKSLASH in text or not text.isprintable():
        raise JobError(f"The user {text!r} can't be written into SQL for every server: choose another name.")
    return "'" + text.replace("'", "''") + "'"
