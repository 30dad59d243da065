"""Kibana's data view of an extraction job: a job's run writes it, `mare kibana import` takes it to Kibana.

It stands here because both rooms need it, and neither may import the other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from maredata.settings import Settings
from maredata.state import write_json

# What Kibana 8.19 exports. An object without them would go through every migration since Kibana 7.
CORE_VERSION = "8.8.0"
DATA_VIEW_VERSION = "8.0.0"
_SUFFIX = ".data-view.json"


def data_view_of_job(job: str, index: str, time_field: str | None) -> dict[str, Any]:
    """The saved object for the one index of a job; a table without a time column has no `time_field`."""
    attributes: dict[str, Any] = {"title": index, "name": f"Legacy: {job}", "allowNoIndex": True}
    if time_field is not None:
        attributes["timeFieldName"] = time_field
    return {
        "type": "index-pattern",
        "id": f"mare-{index}",
        "attributes": attributes,
        "references": [],
        "typeMigrationVersion": DATA_VIEW_VERSION,
        "coreMigrationVersion": CORE_VERSION,
        "managed": False,
    }


def write_data_view(settings: Settings, job: str, index: str, time_field: str | None) -> Path:
    """Writes the job's data view beside its checkpoint; the file is the same for the same job."""
    path = _folder(settings) / f"{job}{_SUFFIX}"
    write_json(path, data_view_of_job(job, index, time_field))
    return path


def data_views_of_jobs(settings: Settings) -> dict[Path, dict[str, Any]]:
    """The data view of every job that was run here, by its file.

    Raises json.JSONDecodeError for a file that is no JSON.
    """
    return {path: json.loads(path.read_text("utf-8")) for path in sorted(_folder(settings).glob(f"*{_SUFFIX}"))}


def _folder(settings: Settings) -> Path:
    return settings.home / "state" / "extraction"
