"""Repairs documents: writes what is missing or differs, deletes only when asked, and overwrites nothing newer.

Of a job that is captured, what is written has the place in the binary log at which its row was read as its version:
what the capture writes or deletes later wins, and so does what it already did.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from extraction.bulk import BulkWriter, Outcome
from extraction.checking.looking import View
from extraction.checking.report import Kind, Mended
from extraction.checking.stored import Stored, StoredDocuments
from extraction.convert import Document
from extraction.layout import Layout
from maredata.settings import Settings

_Members = dict[str, msgspec.Raw]


def mend(
    layout: Layout,
    settings: Settings,
    stored: StoredDocuments,
    views: Sequence[View],
    done: Mended,
    progress: Callable[[str], None],
    version: int | None,
) -> None:
    """Mends what differs in these views, and counts it in `done`. `version`: of their rows, where there is one."""
    missing, differing, extra = [], [], []
    for view in views:
        match view.difference.kind if view.difference is not None else None:
            case Kind.MISSING if view.row is not None:
                missing.append(_create(view.row, version))
            case Kind.DIFFERS if view.row is not None and view.stored is not None:
                differing.append(_replace(layout, view.row, view.stored, version))
            case Kind.EXTRA if view.stored is not None:
                extra.append(view.stored)
            case Kind.SET_ASIDE if view.difference is not None:
                done.refuse(view.difference.id, view.difference.reason)

    def pause(seconds: float, why: str) -> None:
        progress(why)
        time.sleep(seconds)

    writer = BulkWriter(settings, pause)
    try:
        for lines, name in ((missing, "added"), (differing, "replaced")):
            if lines:
                outcome = writer.send(lines)
                setattr(done, name, getattr(done, name) + outcome.written)
                _count(outcome, done)
    finally:
        writer.close()
    if extra and done.delete_extra:
        done.deleted += stored.delete(extra)
    else:
        done.left += len(extra)


def _create(row: Document, version: int | None) -> bytes:
    """What came there since we looked stays."""
    if version is not None:
        # Not `create`, which would bring back a document that the capture has just deleted.
        about = {"_index": row.index, "_id": row.id, "version": version, "version_type": "external_gte"}
        return msgspec.json.encode({"index": about}) + b"\n" + row.source
    return msgspec.json.encode({"create": {"_index": row.index, "_id": row.id}}) + b"\n" + row.source


def _replace(layout: Layout, row: Document, stored: Stored, version: int | None) -> bytes:
    """In place of the state that we saw: capture's next change, and whoever came first, have a higher version."""
    given = stored.version if version is None else version
    about = {"_index": row.index, "_id": row.id, "version": given, "version_type": "external_gte"}
    source = row.source
    if layout.readings:
        # Of live readings Elasticsearch keeps members that no column has.
        ours, theirs = (msgspec.json.decode(text, type=_Members) for text in (source, stored.source))
        known = {field.name for field in layout.fields}
        source = msgspec.json.encode({**{n: v for n, v in theirs.items() if n not in known}, **ours})
    return msgspec.json.encode({"index": about}) + b"\n" + source


def _count(outcome: Outcome, done: Mended) -> None:
    done.changed_meanwhile += outcome.existing + outcome.newer
    for dead in outcome.dead:
        ((_, about),) = msgspec.json.decode(dead.line.partition(b"\n")[0]).items()
        done.refuse(about["_id"], f"Elasticsearch: {dead.reason}")
