"""What must hold before a job's table can be captured; each refusal is one sentence that says what to do."""

from __future__ import annotations

import mysql.connector
from mysql.connector.abstracts import MySQLConnectionAbstract

from extraction.capture.state import Log, Noted
from extraction.capture.version import position
from extraction.job import JobError
from extraction.layout import Layout
from extraction.source import query, source_errors

_SETTINGS = (  # name, what it must be, whether a restart is needed
    ("log_bin", ("1", "ON"), "set log_bin in its configuration, and restart it"),
    (
        "binlog_format",
        ("ROW",),
        "SET GLOBAL binlog_format = ROW, also in its configuration, and let sessions reconnect",
    ),
    ("binlog_row_image", ("FULL",), "SET GLOBAL binlog_row_image = FULL, also in its configuration"),
)
_ACCESS_DENIED = 1227
# Debezium can't read the CREATE TABLE statement of a table that has such a column.
_UNREADABLE = ("inet4", "inet6")


def refuse_unfit(layout: Layout) -> None:
    """Raises JobError for a job or table that can't be captured, whatever the server's settings are."""
    job, table = layout.job, layout.table
    if layout.readings:
        raise JobError(
            f"Table {table.name} is the one that our own sink writes: its readings are in Elasticsearch already, and"
            " capture would send them in a circle; use `mare extract run` for history alone."
        )
    if not table.mariadb:
        raise JobError(
            f"The source is MySQL ({table.version}), which can't be captured yet: only MariaDB says which position a"
            " snapshot has; run `mare extract run` again instead."
        )
    if job.source.where is not None:
        raise JobError(
            f"Job {job.name} has source.where, which only SQL can judge, and a change comes without SQL: take it out"
            " of the job, or do without capture."
        )
    for column in table.columns:
        if column.data_type in _UNREADABLE:
            raise JobError(
                f"Column {column.name} is {column.data_type.upper()}, and Debezium can't read a table that has one,"
                f" moved or not: change it to VARBINARY(16) or VARCHAR(45), or do without capture."
            )
    used = {*layout.key, *(column for field in layout.fields for column in field.columns)}
    for column in table.columns:
        if column in used and column.data_type == "uuid":
            raise JobError(
                f"Column {column.name} is a UUID, and Debezium loses zero bytes of some: take it out of the job, or do"
                " without capture."
            )
        if column in used and column.generated:
            raise JobError(
                f"Column {column.name} is generated, and the binary log need not hold its value: take it out of the"
                f" job, or do without capture."
            )


def refuse_unfit_server(session: MySQLConnectionAbstract, layout: Layout) -> None:
    """Raises JobError where the server's binary log or the user's rights don't do."""
    source = layout.job.source
    with source_errors(source):
        for name, wanted, advice in _SETTINGS:
            ((value,),) = query(session, f"SELECT @@GLOBAL.{name}")
            if str(value).upper() not in wanted:
                raise JobError(f"The source's {name} is {_shown(value)}: {advice}.")
        _refuse_missing_rights(session, layout)


def look(session: MySQLConnectionAbstract, layout: Layout) -> Log:
    """The source's binary log now. Raises JobError or StoreError."""
    with source_errors(layout.job.source):
        found = position(session)
        variables = dict(query(session, "SHOW GLOBAL VARIABLES WHERE variable_name IN ('server_id', 'server_uid')"))
        ((gtids,),) = query(session, "SELECT @@GLOBAL.gtid_binlog_pos")
    return Log(
        server_id=int(variables["server_id"]),
        server_uid=str(variables.get("server_uid", "")),
        file=found.file,
        offset=found.offset,
        gtids=_numbers(str(gtids or "")),
    )


def refuse_begun_anew(noted: Noted, now: Log, job: str) -> None:
    """Raises JobError where the log is not the one that was noted, grown: its positions would say nothing."""
    if why := begun_anew(noted.log, now):
        raise JobError(
            f"The source's binary log is not the one that capture of job {job} reads: {why}. What changed in between"
            f" can't be read any more: `mare capture {job}.toml --remove`, `mare capture {job}.toml`, then"
            f" `mare extract run {job}.toml` and `mare extract verify {job}.toml`."
        )


def begun_anew(before: Log, now: Log) -> str:
    """Why the log is another one than before, or empty."""
    if (before.server_id, before.server_uid) != (now.server_id, now.server_uid):
        return f"it is another server's (server_id {before.server_id} then, {now.server_id} now)"
    if now.position < before.position:
        return (
            f"it was at file {before.file}, position {before.offset}, and is at file {now.file}, position {now.offset}"
            " now (RESET MASTER, or a server restored from a backup)"
        )
    lower = [domain for domain, number in before.gtids.items() if now.gtids.get(domain, 0) < number]
    return f"its GTIDs of domain {lower[0]} count from the beginning again (RESET MASTER)" if lower else ""


def _refuse_missing_rights(session: MySQLConnectionAbstract, layout: Layout) -> None:
    source = layout.job.source
    advice = f"`mare extract grants {layout.job.name}.toml` prints what to grant"
    try:
        query(session, "SHOW MASTER STATUS")
    except mysql.connector.Error as error:
        if error.errno != _ACCESS_DENIED:
            raise
        raise JobError(f"User {source.user} lacks BINLOG MONITOR (REPLICATION CLIENT): {advice}.") from None
    grants = [str(grant).upper() for (grant,) in query(session, "SHOW GRANTS")]
    if not any(" ON *.* " in grant and ("REPLICATION SLAVE" in grant or "ALL PRIVILEGES" in grant) for grant in grants):
        raise JobError(f"User {source.user} lacks REPLICATION SLAVE, by which the binary log is read: {advice}.")


def _numbers(gtids: str) -> dict[str, int]:
    """`0-1-42,5-1-7` as each domain's last number."""
    parts = (gtid.strip().split("-") for gtid in gtids.split(",") if gtid.strip())
    return {domain: int(number) for domain, _server, number in parts}


def _shown(value: object) -> str:
    return {"0": "OFF"}.get(str(value), str(value))
