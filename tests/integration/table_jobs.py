"""Jobs on tables of a test's MariaDB, and what they read."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from extraction.convert import Counts, Document, SetAside
from extraction.job import Job, Source
from extraction.keys import KeyRange
from extraction.layout import Layout, open_layout
from extraction.rows import Documents, document_of
from extraction.source import open_source

if TYPE_CHECKING:
    from databases import Database


def job_of(database: Database, table: str, key: tuple[str, ...], **parts: Any) -> Job:
    chosen = database.settings.mariadb
    source = Source(
        host=chosen.host,
        port=chosen.port,
        database=chosen.database,
        table=table,
        user=chosen.user,
        key=key,
        **parts.pop("source", {}),
    )
    return Job(name="trial", source=source, **parts)


def layout_of(database: Database, job: Job) -> Layout:
    with open_source(job, database.settings) as connection:
        return open_layout(job, connection, database.settings)


def read(
    database: Database, layout: Layout, path: str = "sql", **options: Any
) -> tuple[list[Document], list[SetAside], Counts]:
    """All documents, those set aside, and the counts."""
    job = layout.job.model_copy(update={"path": path})
    same = Layout(job, layout.table, layout.index, layout.fields, layout.readings)
    lines, aside, counts = [], [], Counts()
    with open_source(job, database.settings) as connection:
        for page in Documents(same, **options).pages(connection, KeyRange(), size=100):
            lines += page.lines
            aside += page.set_aside
            counts.add(page.counts)
    assert all(line.count(b"\n") == 1 for line in lines), "a bulk request has one action and one document a row"
    return [document_of(line) for line in lines], aside, counts


def parsed(documents: list[Document]) -> dict[str, Any]:
    """By `_id`; numbers as they are written, so that no digit is lost in comparing."""
    assert len({document.id for document in documents}) == len(documents)
    return {document.id: json.loads(document.source, parse_float=Decimal, parse_int=Decimal) for document in documents}


def insert(database: Database, session: Any, table: str, rows: list[dict[str, Any]]) -> None:
    with session.cursor() as cursor:
        for number, row in enumerate(rows):
            given: dict[str, Any] = {"id": number, **row}
            marks, bound = [], []
            for value in given.values():
                if isinstance(value, tuple):
                    marks.append("ST_GeomFromText(%s, %s)")
                    bound += [f"POINT({value[0]!r} {value[1]!r})", value[2]]
                else:
                    marks.append("%s")
                    bound.append(value)
            names = ", ".join("`" + name.replace("`", "``") + "`" for name in given)
            cursor.execute(f"INSERT IGNORE INTO {table} ({names}) VALUES ({', '.join(marks)})", bound)
