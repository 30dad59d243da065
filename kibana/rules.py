"""Alerting rules, which Kibana makes through an API of their own: they are no saved objects that can be imported."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import UUID4, BaseModel, ConfigDict, Field, ValidationError

from kibana.files import RULES, digest

Rule = dict[str, Any]
_MADE_ONCE = ("id", "rule_type_id", "consumer", "enabled")  # an update can't name them


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Query(_Part):
    query: dict[str, Any] = Field(min_length=1)


class _Params(_Part):
    searchType: Literal["esQuery"]
    index: list[str] = Field(min_length=1)
    timeField: str = Field(min_length=1)
    esQuery: _Query
    size: int = Field(ge=0, le=10_000)
    threshold: list[int | float] = Field(min_length=1, max_length=2)
    thresholdComparator: Literal[">", ">=", "<", "<="]
    timeWindowSize: int = Field(ge=1)
    timeWindowUnit: Literal["s", "m", "h", "d"]
    aggType: Literal["count"]
    groupBy: Literal["top"]
    termField: str = Field(min_length=1)
    termSize: int = Field(ge=1, le=1000)
    excludeHitsFromPreviousRun: Literal[False]  # Kibana can't do it for groups


class _Schedule(_Part):
    interval: str = Field(pattern=r"^[1-9]\d*[smhd]$")


class _Rule(_Part):
    id: UUID4  # Kibana takes no other id for what it encrypts
    name: str = Field(min_length=1)
    rule_type_id: Literal[".es-query"]
    consumer: Literal["stackAlerts", "alerts"]
    enabled: bool
    tags: list[str]
    schedule: _Schedule
    params: _Params
    actions: list[Any] = Field(max_length=0)


def load_rules() -> list[Rule]:
    """The rules of `alerts/`, with their query as real JSON."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(RULES.glob("*.json"))]


def rule_problems(rule: Mapping[str, Any]) -> list[str]:
    """What is wrong with the form of a rule."""
    try:
        _Rule.model_validate_json(json.dumps(rule))
    except ValidationError as error:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return []


def to_create(rule: Rule) -> Rule:
    """Body of `POST /api/alerting/rule/<id>`."""
    body = copy.deepcopy(rule)
    del body["id"]
    body["params"]["esQuery"] = json.dumps(body["params"]["esQuery"])
    return body


def to_update(rule: Rule) -> Rule:
    """Body of `PUT /api/alerting/rule/<id>`."""
    return {name: value for name, value in to_create(rule).items() if name not in _MADE_ONCE}


def rule_fingerprint(rule: Mapping[str, Any]) -> str:
    """The same for rules that do the same, ours or as Kibana gives them back; whether it is on is the user's matter."""
    content = {name: rule.get(name) for name in ("name", "tags", "schedule", "params", "actions")}
    params = dict(content["params"] or {})
    if isinstance(params.get("esQuery"), str):
        params["esQuery"] = json.loads(params["esQuery"])
    return digest({**content, "params": params})
