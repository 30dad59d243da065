"""Makes a job's index ready: its template, the index with the right mapping, and its settings while a run lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError, BadRequestError, Elasticsearch, NotFoundError

from extraction.checkpoint import Checkpoint
from extraction.job import JobError
from extraction.layout import Layout
from extraction.target import index_template, mapping
from maredata.apply import refuse_other_mappings
from maredata.errors import StoreError
from maredata.names import READINGS_PATTERN, READINGS_TEMPLATE
from maredata.schema import load_schema
from maredata.settings import Settings
from maredata.stores import connect_elasticsearch

# While a run lasts. A delete is remembered for so long that a document read before it can't come back after it.
_WHILE_RUNNING = {"index.gc_deletes": "1h"}
_BAD_MAPPING = "mapper_parsing_exception"
_OTHER_TYPE = " Give the column another `type` under [columns], or leave it out."


def prepare(layout: Layout, settings: Settings) -> str:
    """Makes template and index of the job, or brings them up to it; what the index is known by since it was made.

    For readings, whose many indices the live path makes, too, that is the cluster: another one has nothing of what was
    moved. Raises JobError or StoreError.
    """
    with _asking(settings) as elasticsearch:
        if layout.readings:
            _check_readings(elasticsearch, settings)
            return str(elasticsearch.cluster.state(metric="version")["cluster_uuid"])
        template = index_template(layout, settings)
        assert template is not None  # noqa: S101  # only readings have none
        index = layout.job.index
        there = _mapping(elasticsearch, index)
        _refuse_other_types(layout, there)
        try:
            _write_template(elasticsearch, index, template)
            if there is None:
                elasticsearch.indices.create(index=index, wait_for_active_shards=1)
            else:
                elasticsearch.indices.put_mapping(index=index, **mapping(layout))
        except BadRequestError as error:
            kinds, reasons = zip(*_causes(error), strict=True)
            raise JobError(
                f"Index {index} can't be made as job {layout.job.name} wants it: {reasons[-1]}."
                f"{_OTHER_TYPE if _BAD_MAPPING in kinds else ''}"
            ) from None
        found = elasticsearch.indices.get_settings(index=index, name="index.uuid", flat_settings=True)
        return str(next(iter(found.values()))["settings"]["index.uuid"])


@contextmanager
def settings_while_running(layout: Layout, settings: Settings, checkpoint: Checkpoint) -> Iterator[None]:
    """Settings of a job's own index that hold as long as a run lasts. What a killed run left is put back, too."""
    if layout.readings:
        yield
        return
    index = layout.job.index
    with _asking(settings) as elasticsearch:
        if checkpoint.restore is None:
            found = elasticsearch.indices.get_settings(index=index, flat_settings=True)
            before = next(iter(found.values()))["settings"]
            checkpoint.restore = {name: before.get(name) for name in _WHILE_RUNNING}
        elasticsearch.indices.put_settings(index=index, settings=_WHILE_RUNNING)
    try:
        yield
    finally:
        # Away, it is asked again at the end of the next run.
        with contextlib.suppress(StoreError), _asking(settings) as elasticsearch:
            elasticsearch.indices.put_settings(index=index, settings=checkpoint.restore or {})
            checkpoint.restore = None


def refresh(layout: Layout, settings: Settings) -> None:
    """Makes what was written visible now: whoever sees the run end wants to look."""
    with contextlib.suppress(StoreError), _asking(settings) as elasticsearch:
        pattern = READINGS_PATTERN if layout.readings else layout.job.index
        elasticsearch.indices.refresh(index=pattern, ignore_unavailable=True)


def _check_readings(elasticsearch: Elasticsearch, settings: Settings) -> None:
    if not elasticsearch.indices.exists_index_template(name=READINGS_TEMPLATE):
        raise JobError("Elasticsearch has no index template for readings yet: run `mare apply` first.")
    found = elasticsearch.indices.get_mapping(index=READINGS_PATTERN)
    there = {index: found[index]["mappings"].get("properties", {}) for index in found}
    refuse_other_mappings(load_schema(settings.reading.toml), there)


def _mapping(elasticsearch: Elasticsearch, index: str) -> dict[str, Any] | None:
    """The fields of the index; None where there is no such index."""
    try:
        found = elasticsearch.indices.get_mapping(index=index)
    except NotFoundError:
        return None
    return dict(next(iter(found.values()))["mappings"].get("properties", {}))


def _refuse_other_types(layout: Layout, there: dict[str, Any] | None) -> None:
    for field in layout.fields:
        if there is None or field.name not in there:
            continue
        kind = there[field.name].get("type", "object")
        if kind != field.mapping["type"]:
            raise JobError(
                f"Index {layout.job.index} holds field {field.name} as {kind}, not {field.mapping['type']}, and that"
                " can't be changed: give the field another name, or delete the index and use --restart."
            )


def _causes(error: ApiError) -> list[tuple[str, str]]:
    """Type and reason of each, the innermost last: the outer ones only say that the template is no good."""
    found = error.body.get("error", {}) if isinstance(error.body, dict) else {}
    causes: list[tuple[str, str]] = []
    while found or not causes:
        causes.append((str(found.get("type", "")), str(found.get("reason", error)).rstrip(".")))
        found = found.get("caused_by") or {}
    return causes


def _write_template(elasticsearch: Elasticsearch, name: str, body: dict[str, Any]) -> None:
    with contextlib.suppress(NotFoundError):
        found = elasticsearch.indices.get_index_template(name=name)["index_templates"][0]["index_template"]
        if found.get("_meta") == body["_meta"]:
            return
    elasticsearch.indices.put_index_template(name=name, **body)


@contextmanager
def _asking(settings: Settings) -> Iterator[Elasticsearch]:
    """A client whose refusals are told in one sentence."""
    where = settings.elasticsearch.url
    try:
        with connect_elasticsearch(settings) as elasticsearch:
            yield elasticsearch
    except ApiError as error:
        raise StoreError(f"Elasticsearch at {where} did not do it: {error}.") from None
    except TransportError as error:
        raise StoreError(f"Elasticsearch at {where} did not answer ({error}): is it running there?") from None
