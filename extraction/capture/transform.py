"""What the sink's transform must know of a job, as the JSON text of its option `layout`.

The transform is `org.maredata.connect.capture.RowDocument`: it makes of a change the document that extraction makes
of the row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from extraction.layout import Layout
from extraction.source import TableColumn, query, source_errors


def declared_types(session: MySQLConnectionAbstract, layout: Layout) -> dict[str, str]:
    """Each column's type as it was declared: members of an ENUM or SET with their capitals."""
    with source_errors(layout.job.source):
        rows = query(
            session,
            "SELECT column_name, column_type FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND table_name = %s",
            (layout.table.name,),
        )
    return {str(name): str(declared) for name, declared in rows}


def layout_option(layout: Layout, declared: Mapping[str, str], files_before: int) -> str:
    """`files_before` is added to the number of the binary log's file, in a change's version."""

    def described(column: TableColumn) -> dict[str, Any]:
        return {
            "name": column.name,
            "type": column.data_type,
            "column_type": declared[column.name],
            "nullable": column.nullable,
            "unsigned": column.unsigned,
            "zerofill": column.zerofill,
            "digits": column.digits,
            "precision": column.precision,
            "json": column.json,
        }

    content = {
        "fields": [
            {
                "name": field.name,
                "kind": field.kind.value,
                "columns": [described(column) for column in field.columns],
                "zone": field.zone,
                "as_string": field.as_string,
            }
            for field in layout.fields
        ],
        "key": [described(column) for column in layout.key],
        "deletes": layout.job.target.deletes.value,
        "files_before": files_before,
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
