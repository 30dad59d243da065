"""Positions in a binary log, and the document versions made of them.

A change's version is its transaction's place: the file's number, and where in the file the source says it is. By
default MariaDB fills in no position of single events (`binlog_legacy_event_pos`), so all changes of a transaction
can share one version: of equal ones the later in the topic wins. What extraction reads has the version just below
the first change that its snapshot does not see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mysql.connector.abstracts import MySQLConnectionAbstract

from extraction.job import JobError
from extraction.source import query

POSITION_BITS = 40


class Position(NamedTuple):
    """Where a binary log is: the number of the file, and bytes in it. Later ones are greater."""

    file: int
    offset: int

    @classmethod
    def of(cls, file: str, offset: int | str) -> Position:
        """From a file's name, such as mare.000012. Raises ValueError."""
        return cls(int(file.rpartition(".")[2]), int(offset))

    def version(self, files_before: int) -> int:
        """The version of a change at this position."""
        return (files_before + self.file) << POSITION_BITS | self.offset


def position(session: MySQLConnectionAbstract) -> Position:
    """Where the binary log is; in a consistent snapshot, where it was for exactly what the snapshot sees.

    `SHOW BINLOG STATUS` would not do: it can be ahead of what a snapshot that is taken later sees, since a
    transaction is written to the log before it becomes visible. Raises JobError where there is no binary log.
    """
    found = dict(query(session, "SHOW STATUS LIKE 'binlog_snapshot_%'"))
    file, offset = (str(found.get(f"Binlog_snapshot_{name}", "")) for name in ("file", "position"))
    try:
        return Position.of(file, offset)
    except ValueError:
        raise JobError(
            f"The source does not say where its binary log is (it says {file!r}): set log_bin, restart it, and run"
            " `mare capture` again."
        ) from None


@dataclass(frozen=True)
class VersionOf:
    """The version of documents that are read in the session's snapshot; what `extraction.run` asks for."""

    files_before: int

    def __call__(self, session: MySQLConnectionAbstract) -> int:
        # The next change can have this very position, and is newer.
        return position(session).version(self.files_before) - 1
