"""`mare kibana import` and `export`: objects, settings and rules to Kibana, and back into files.

What a user edited in Kibana is left alone. To know that, `<home>/state/kibana.json` keeps two fingerprints of each
object: of what was sent, and of what Kibana then gave back (it may complete an object). Kibana's now differs from the
second one: somebody edited it. Ours differs from the first one: there is something new to send. Without a memory of an
object that is there, it counts as edited unless it is the same as ours. An import that was killed leaves a mark at what
it was sending: that is sent again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kibana.check import problems
from kibana.client import Kibana, KibanaError
from kibana.fields import fields_by_title
from kibana.files import SETTINGS, SavedObject, fingerprint, key, packed, unpacked
from kibana.generate import saved_objects
from kibana.rules import Rule, load_rules, rule_fingerprint, to_create, to_update
from maredata.schema import Schema
from maredata.settings import Settings
from maredata.state import read_json, write_json

Progress = Callable[[str], None]
_OURS = "mare-"
_SENDING = "?"


@dataclass
class Outcome:
    """What became of each object, by `<type>:<id>`."""

    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)  # edited in Kibana

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class _Memory:
    """What the last import did to the Kibana at one address."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._path, self._url = settings.home / "state" / "kibana.json", url
        self._all = read_json(self._path)
        self._known: dict[str, dict[str, str]] = self._all.setdefault(url, {})

    def verdict(self, name: str, ours: str, there: str | None, force: bool) -> str:
        """`write`, `unchanged` or `edited`; `there` is the fingerprint of Kibana's, None where it has none."""
        known = self._known.get(name, {})
        if there is None:
            return "write"
        if known.get("kept") == _SENDING:
            return "write"
        if there == ours or (there == known.get("kept") and ours == known.get("sent")):
            return "unchanged"
        return "write" if force or there == known.get("kept") else "edited"

    def of(self, name: str) -> dict[str, str]:
        return self._known.get(name, {"sent": "", "kept": ""})

    def remember(self, name: str, sent: str, kept: str) -> None:
        self._known[name] = {"sent": sent, "kept": kept}

    def save(self) -> None:
        write_json(self._path, self._all)


def import_all(settings: Settings, schema: Schema, force: bool, progress: Progress) -> Outcome:
    """Brings Kibana up to our objects, settings and rules.

    Raises:
        KibanaError: an object is broken, or Kibana did not take it; the next import goes on from there.
        SettingsError: no Kibana is set.
    """
    with Kibana(settings) as kibana:
        objects, rules = saved_objects(settings, schema), load_rules()
        wishes = json.loads(SETTINGS.read_text("utf-8"))
        _refuse_broken(objects, rules, wishes, settings, schema)
        memory, outcome = _Memory(settings, kibana.url), Outcome()
        _import_objects(kibana, objects, memory, force, outcome)
        progress(f"saved objects: {len(outcome.written)} written, {len(outcome.unchanged)} unchanged")
        _set_wishes(kibana, wishes, force, outcome)
        for rule in rules:
            _apply_rule(kibana, rule, memory, force, outcome)
        for name in outcome.left_alone:
            progress(f"{name}: edited in Kibana and left alone; --force overwrites it")
        return outcome


def export_all(settings: Settings, folder: Path) -> list[Path]:
    """Writes each of our objects that Kibana has into a readable file. Raises KibanaError."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with Kibana(settings) as kibana:
        for name, saved in sorted(_ours(kibana).items()):
            path = folder / f"{name.replace(':', '.')}.json"
            path.write_text(json.dumps(saved, indent=2, ensure_ascii=False) + "\n", "utf-8")
            written.append(path)
    return written


def _refuse_broken(
    objects: list[SavedObject], rules: list[Rule], wishes: dict[str, Any], settings: Settings, schema: Schema
) -> None:
    found = problems(objects, rules, wishes, fields_by_title(settings, schema))
    if found:
        raise KibanaError(f"Nothing was imported, since {len(found)} things are wrong. The first: {found[0]}.")


def _import_objects(kibana: Kibana, objects: list[SavedObject], memory: _Memory, force: bool, outcome: Outcome) -> None:
    there = {name: fingerprint(saved) for name, saved in _ours(kibana).items()}
    lists = {"write": outcome.written, "unchanged": outcome.unchanged, "edited": outcome.left_alone}
    chosen = []
    for saved in objects:
        name, ours = key(saved), fingerprint(packed(saved))
        verdict = memory.verdict(name, ours, there.get(name), force)
        lists[verdict].append(name)
        if verdict == "write":
            chosen.append(saved)
        elif verdict == "unchanged":
            memory.remember(name, ours, there[name])
    if chosen:
        _send(kibana, chosen, memory)
    memory.save()


def _send(kibana: Kibana, chosen: list[SavedObject], memory: _Memory) -> None:
    before = {key(saved): memory.of(key(saved)) for saved in chosen}
    for name in before:
        memory.remember(name, _SENDING, _SENDING)
    memory.save()
    refused = kibana.import_objects(chosen)
    kept = _ours(kibana)
    for saved in chosen:
        name = key(saved)
        if name in refused:
            memory.remember(name, **before[name])
        else:
            memory.remember(name, fingerprint(packed(saved)), fingerprint(kept[name]))
    memory.save()
    if refused:
        first = next(iter(refused))
        raise KibanaError(
            f"Kibana at {kibana.url} did not take {len(refused)} of {len(chosen)} objects, the first of them {first}"
            f" ({refused[first]}): mend it, and import again."
        )


def _ours(kibana: Kibana) -> dict[str, SavedObject]:
    """Readable, without what tells when and by whom."""
    entries = ("type", "id", "attributes", "references", "typeMigrationVersion", "coreMigrationVersion", "managed")
    return {
        key(saved): {name: value for name, value in unpacked(saved).items() if name in entries}
        for saved in kibana.saved_objects()
        if str(saved["id"]).startswith(_OURS)
    }


def _set_wishes(kibana: Kibana, wishes: dict[str, Any], force: bool, outcome: Outcome) -> None:
    """Sets what nobody has set; what somebody set otherwise is that user's choice."""
    there = kibana.settings()
    changes = {}
    for name, value in wishes.items():
        if there.get(name) == value:
            outcome.unchanged.append(f"setting:{name}")
        elif name in there and not force:
            outcome.left_alone.append(f"setting:{name}")
        else:
            changes[name] = value
            outcome.written.append(f"setting:{name}")
    if changes:
        kibana.change_settings(changes)


def _apply_rule(kibana: Kibana, rule: Rule, memory: _Memory, force: bool, outcome: Outcome) -> None:
    name, rule_id, ours = f"rule:{rule['name']}", str(rule["id"]), rule_fingerprint(rule)
    there = kibana.rule(rule_id)
    verdict = memory.verdict(name, ours, None if there is None else rule_fingerprint(there), force)
    if verdict == "edited":
        outcome.left_alone.append(name)
        return
    if verdict == "unchanged":
        outcome.unchanged.append(name)
        return
    if there is None:
        kibana.create_rule(rule_id, to_create(rule))
    else:
        kibana.update_rule(rule_id, to_update(rule))
    outcome.written.append(name)
    memory.remember(name, ours, rule_fingerprint(kibana.rule(rule_id) or {}))
    memory.save()
