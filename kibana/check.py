"""`mare kibana check`: what would not work in Kibana, found without one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError, BadRequestError, Elasticsearch
from pydantic import BaseModel, TypeAdapter, ValidationError
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from kibana import kql, references, searches
from kibana.fields import Fields, fields_by_title, uses, uses_of_rule
from kibana.files import SETTINGS, SavedObject, key
from kibana.generate import saved_objects
from kibana.rules import load_rules, rule_problems
from kibana.searches import Request, View
from kibana.shape import VERSIONS, DataView, Lens, Reference, Tag
from kibana.shape_map import Dashboard, Map
from maredata.data_views import CORE_VERSION
from maredata.schema import Schema
from maredata.settings import Settings

_ATTRIBUTES: Mapping[str, type[BaseModel]] = {
    "index-pattern": DataView,
    "lens": Lens,
    "map": Map,
    "dashboard": Dashboard,
    "tag": Tag,
}
_REFERENCES = TypeAdapter(list[Reference])
_KEYS = {"type", "id", "attributes", "references", "typeMigrationVersion", "coreMigrationVersion", "managed"}
_PAID = {
    "ES_GEO_LINE": "track lines of Maps need a paid licence: use TOP_HITS with more hits of each buoy",
    "URL_DRILLDOWN": "URL drilldowns need a paid licence: use one to a dashboard",
}
_LEGACY = "legacy-"
_MOST_SHAPE_PROBLEMS = 3  # of one object: the first says what is wrong, the rest follows from it
_DASHBOARD_ROUTE = "/app/dashboards#/view/"


@dataclass(frozen=True)
class Problem:
    """Something in an object that Kibana would refuse, or show as an error."""

    object: str
    text: str

    def __str__(self) -> str:
        return f"{self.object}: {self.text}"


@dataclass(frozen=True)
class Answer:
    """What Elasticsearch said to a panel's search. `missing`: what it lacks; then the substitute's answer is here."""

    request: str
    index: str
    hits: int
    aggregations: dict[str, Any] = field(repr=False)
    missing: str = ""


@dataclass
class Report:
    """`elasticsearch` is empty where one was asked, else why none was."""

    objects: int = 0
    problems: list[Problem] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    elasticsearch: str = ""

    @property
    def substituted(self) -> list[Answer]:
        """Those that could not be run there as Kibana would."""
        return [answer for answer in self.answers if answer.missing]

    def as_dict(self) -> dict[str, Any]:
        return {
            "objects": self.objects,
            "problems": [asdict(problem) for problem in self.problems],
            "elasticsearch": self.elasticsearch,
            "answers": [asdict(answer) for answer in self.answers],
        }

    def render(self) -> RenderableType:
        if self.problems:
            table = Table("object", "what is wrong", title=f"{len(self.problems)} problems", title_justify="left")
            for problem in self.problems:
                table.add_row(Text(problem.object), Text(problem.text))
            return table
        lines = [f"{self.objects} objects: form, versions, references and fields are right."]
        if self.elasticsearch:
            lines.append(f"No search was run: Elasticsearch {self.elasticsearch}.")
        else:
            lines.append(f"{len(self.answers)} searches were run on Elasticsearch.")
        lines += [
            f"{answer.request} could not be run there as Kibana would ({answer.missing}); a substitute was."
            for answer in self.substituted
        ]
        return Text("\n".join(lines))


def check(settings: Settings, schema: Schema, elasticsearch: Elasticsearch | None) -> Report:
    """Everything that `mare kibana import` would take to Kibana; panels are run only where nothing else is wrong."""
    objects, rules = saved_objects(settings, schema), load_rules()
    wishes = json.loads(SETTINGS.read_text("utf-8"))
    report = Report(len(objects) + len(rules), problems(objects, rules, wishes, fields_by_title(settings, schema)))
    if elasticsearch is None:
        report.elasticsearch = "was not asked"
    elif report.problems:
        report.elasticsearch = "was not asked, since the objects have to be mended first"
    else:
        run(elasticsearch, objects, rules, report)
    return report


def problems(
    objects: list[SavedObject],
    rules: Iterable[Mapping[str, Any]],
    wishes: Mapping[str, Any],
    fields: Mapping[str, Fields],
) -> list[Problem]:
    """What can be seen without Kibana and Elasticsearch. An object of the wrong shape is not looked at further."""
    found: list[Problem] = []
    shaped = []
    for number, saved in enumerate(objects):
        wrong = shape_problems(saved)
        name = f"{saved.get('type')}:{saved.get('id')}" if isinstance(saved, dict) else f"object {number}"
        found += [Problem(name, text) for text in wrong]
        if not wrong:
            shaped.append(saved)
    keys = [key(saved) for saved in shaped]
    found += [Problem(name, "is there twice") for name in sorted(set(keys)) if keys.count(name) > 1]
    views = searches.data_views(shaped)
    for saved in shaped:
        found += [Problem(key(saved), text) for text in references.problems(saved, set(keys))]
        found += [Problem(key(saved), text) for text in _field_problems(saved, views, fields)]
    for rule in rules:
        found += [Problem(f"rule:{rule.get('name')}", text) for text in _rule_problems(rule, fields)]
    return found + [Problem("settings", text) for text in _wish_problems(wishes, set(keys))]


def shape_problems(saved: Any) -> list[str]:
    """What is wrong with the form and the versions of one object."""
    if not isinstance(saved, dict) or set(saved) != _KEYS:
        return [f"a saved object has exactly the entries {', '.join(sorted(_KEYS))}"]
    kind = saved["type"]
    if kind not in VERSIONS:
        return [f"there is no check for objects of type {kind!r}"]
    text = json.dumps(saved["attributes"])
    found = [f"{name}: {why}" for name, why in _PAID.items() if f'"{name}"' in text]
    if not isinstance(saved["id"], str) or not saved["id"].startswith("mare-"):
        found.append(f"its id {saved['id']!r} must begin with mare-, so that it never meets a user's object")
    for name, version in (("typeMigrationVersion", VERSIONS[kind]), ("coreMigrationVersion", CORE_VERSION)):
        if saved[name] != version:
            found.append(f"{name} is {saved[name]!r}, not {version!r} as in Kibana 8.19")
    if saved["managed"] is not False:
        found.append("managed must be false, or nobody could edit it in Kibana")
    if not found:
        found += _model_problems(_ATTRIBUTES[kind], text, "attributes")
        found += _model_problems(_REFERENCES, json.dumps(saved["references"]), "references")
    return found


def _model_problems(model: type[BaseModel] | TypeAdapter[Any], text: str, where: str) -> list[str]:
    adapter = model if isinstance(model, TypeAdapter) else TypeAdapter(model)
    try:
        adapter.validate_json(text)
    except ValidationError as error:
        return [
            f"{'.'.join(str(part) for part in (where, *one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors()[:_MOST_SHAPE_PROBLEMS]
        ]
    return []


def _field_problems(saved: SavedObject, views: Mapping[str, View], fields: Mapping[str, Fields]) -> list[str]:
    try:
        used = list(uses(saved))
    except kql.NotUnderstood as error:
        return [str(error)]
    found = []
    for use in used:
        view = views.get(use.data_view)  # that it is there at all is for the references to say
        if view is not None and not view.title.startswith(_LEGACY):
            found += _field_problem(view.title, use.field, use.where, use.kinds, fields)
    return found


def _field_problem(
    title: str, name: str, where: str, kinds: frozenset[str] | None, fields: Mapping[str, Fields]
) -> list[str]:
    if title not in fields:
        return [f"{where}: no index template is for {title}"]
    kind = fields[title].get(name)
    if kind is None:
        return [f"{where}: {title} has no field {name}"]
    if kinds is not None and kind not in kinds:
        return [f"{where}: field {name} is of type {kind}, which can't be used there"]
    return []


def _rule_problems(rule: Mapping[str, Any], fields: Mapping[str, Fields]) -> list[str]:
    found = rule_problems(rule)
    if not found:
        for title, use in uses_of_rule(rule):
            found += _field_problem(title, use.field, use.where, use.kinds, fields)
    return found


def _wish_problems(wishes: Mapping[str, Any], keys: set[str]) -> list[str]:
    found = [f"there is no setting {name}" for name in wishes if name not in ("dateFormat:tz", "defaultRoute")]
    route = str(wishes.get("defaultRoute", ""))
    if not route.startswith(_DASHBOARD_ROUTE) or f"dashboard:{route.removeprefix(_DASHBOARD_ROUTE)}" not in keys:
        found.append(f"defaultRoute {route!r} leads to no dashboard of ours")
    if wishes.get("dateFormat:tz") != "UTC":
        found.append("dateFormat:tz must be UTC, as all times here")
    return found


# --- on Elasticsearch ------------------------------------------------------------------------------------------------


def run(
    elasticsearch: Elasticsearch, objects: list[SavedObject], rules: Iterable[Mapping[str, Any]], report: Report
) -> None:
    """Runs the search of everything that has one, and writes the answers into the report."""
    views = searches.data_views(objects)
    asked = [request for saved in objects for request in searches.requests_of(saved, views)]
    for request in [*asked, *map(searches.request_of_rule, rules)]:
        try:
            report.answers.append(_ask(elasticsearch, request))
        except ApiError as error:
            report.problems.append(Problem(request.name, f"Elasticsearch refuses its search: {error}"))
        except TransportError as error:
            report.elasticsearch = f"does not answer ({error})"
            return


def _ask(elasticsearch: Elasticsearch, request: Request) -> Answer:
    try:
        return _answer(elasticsearch, request, request.body, "")
    except BadRequestError as error:
        reason = _lacking(error)
        if request.substitute is None or not reason:
            raise
        return _answer(elasticsearch, request, request.substitute, reason)


def _answer(elasticsearch: Elasticsearch, request: Request, body: dict[str, Any], missing: str) -> Answer:
    found = elasticsearch.search(index=request.index, body=body, ignore_unavailable=True, allow_no_indices=True)
    return Answer(request.name, request.index, found["hits"]["total"]["value"], found.get("aggregations", {}), missing)


def _lacking(error: BadRequestError) -> str:
    """The sentence of an Elasticsearch that lacks a module; empty for any other error."""
    reason = str(error.info.get("error", {}).get("reason", "")) if isinstance(error.info, dict) else ""
    return reason if reason.lower().startswith("unknown aggregation type") else ""
