"""Writes documents with `_bulk`: what waiting can mend is sent again without end, what nothing can is dead."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

import msgspec
from elastic_transport import ConnectionError as Unreachable
from elastic_transport import ConnectionTimeout, NodeConfig, Urllib3HttpNode
from elastic_transport.client_utils import basic_auth_to_header

from maredata.errors import StoreError
from maredata.settings import Settings

# A good answer has a status for each item and no more; with an error in it, all of the item's error.
_TARGET = "/_bulk?filter_path=errors,error,status,items.*.status,items.*.error"
_NO_ERRORS = b'{"errors":false'
_TIMEOUT = 120.0  # seconds; one that is cut short may be written all the same, and is then written twice
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 30.0  # seconds
_BUSY_FROM = 500
_BLOCKS = ("cluster_block_exception", "index_closed_exception")

# Sleeps so many seconds and says why; raises where the run was asked to end.
Pause = Callable[[float, str], None]


class Dead(NamedTuple):
    """An item of a bulk request that Elasticsearch refuses for good."""

    line: bytes
    status: int
    type: str
    reason: str


@dataclass
class Outcome:
    """What became of some documents. `existing`: of op type create; `newer`: a newer version was there."""

    written: int = 0
    existing: int = 0
    newer: int = 0
    dead: list[Dead] = field(default_factory=list)


class _Fate(Enum):
    STORED = auto()
    EXISTING = auto()
    AGAIN = auto()
    FORBIDDEN = auto()
    DEAD = auto()


class BulkWriter:
    """A connection to Elasticsearch that lines are sent over. Not for several threads at once."""

    def __init__(self, settings: Settings, pause: Pause, chance: random.Random | None = None) -> None:
        chosen = settings.elasticsearch
        headers = {"content-type": "application/x-ndjson", "accept": "application/json"}
        if chosen.user:
            headers["authorization"] = basic_auth_to_header((chosen.user, chosen.password))
        config = NodeConfig("http", chosen.host, chosen.port, headers=headers, request_timeout=_TIMEOUT)
        # The client's transport would decode the status of each document only for us to throw it away.
        self._node = Urllib3HttpNode(config)
        self._where = f"{chosen.host}:{chosen.port}"
        self._pause = pause
        self._chance = chance or random.Random()  # noqa: S311  # jitter

    def close(self) -> None:
        self._node.close()

    def send(self, lines: list[bytes]) -> Outcome:
        """Writes these lines, an action and a document each, and returns when each has its fate.

        Raises StoreError where the user may not write, and whatever `pause` raises.
        """
        outcome, parts, waits = Outcome(), [lines], self._waits()
        while parts:
            part = parts.pop()
            status, answer = self._post(part)
            if answer.startswith(_NO_ERRORS):
                outcome.written += len(part)
                continue
            if status == 200:
                again, why, forbidden = _settle(part, answer, outcome)
                if forbidden:
                    raise StoreError(self._forbidden(why))
                if len(again) < len(part):
                    waits = self._waits()
            else:
                kind, why = _complaint(answer)
                if _too_much(status, kind, why):
                    if len(part) > 1:
                        middle = len(part) // 2
                        parts += [part[:middle], part[middle:]]
                    else:
                        outcome.dead.append(Dead(part[0], status, kind, why))
                    continue
                again = part
            if again:
                parts.append(again)
                self._pause(next(waits), f"waiting for Elasticsearch at {self._where} ({why[:200]})")
        return outcome

    def _post(self, lines: Sequence[bytes]) -> tuple[int, bytes]:
        """Status and answer; 0 where there was none."""
        try:
            reply = self._node.perform_request("POST", _TARGET, body=b"\n".join([*lines, b""]))
        except ConnectionTimeout:
            return 0, f"no answer within {_TIMEOUT:.0f} s".encode()
        except Unreachable:
            return 0, b"it does not answer"
        if reply.meta.status in (401, 403):
            kind, why = _complaint(reply.body)
            if kind not in _BLOCKS:
                raise StoreError(self._forbidden(why))
        return reply.meta.status, reply.body

    def _forbidden(self, why: str) -> str:
        return (
            f"Elasticsearch at {self._where} does not let this user write ({why[:200]}): correct"
            " MARE_ELASTICSEARCH__USER and its password, or give it the privilege."
        )

    def _waits(self) -> Iterator[float]:
        longest = _FIRST_WAIT
        while True:
            # Half of it by chance, so that workers that were refused together don't come back together.
            yield longest * self._chance.uniform(0.5, 1)
            longest = min(2 * longest, _LONGEST_WAIT)


def _settle(lines: Sequence[bytes], answer: bytes, outcome: Outcome) -> tuple[list[bytes], str, bool]:
    """Adds what is settled to `outcome`; the lines that are to be sent again, why, and whether the user may not."""
    again: list[bytes] = []
    why, forbidden = "", False
    try:
        items = msgspec.json.decode(answer).get("items", ())
    except (msgspec.DecodeError, AttributeError):
        items = ()
    if len(items) != len(lines):
        return list(lines), "its answer is none of a bulk request", False
    for line, item in zip(lines, items, strict=True):
        ((operation, about),) = item.items()
        error = about.get("error") or {}
        kind, reason = str(error.get("type", "")), _reason(error)
        match _fate(about["status"], kind, reason):
            case _Fate.STORED:
                outcome.written += 1
            case _Fate.EXISTING if operation == "create":
                outcome.existing += 1
            case _Fate.EXISTING:
                outcome.newer += 1
            case _Fate.DEAD:
                outcome.dead.append(Dead(line, about["status"], kind, reason))
            case fate:
                why = why or f"{kind}: {reason}"
                forbidden |= fate is _Fate.FORBIDDEN
                again.append(line)
    return again, why, forbidden


def _fate(status: int, kind: str, reason: str) -> _Fate:  # one for each
    if 200 <= status < 300:
        return _Fate.STORED
    if status == 409:
        return _Fate.EXISTING
    if status in (404, 429) or status >= _BUSY_FROM or kind in _BLOCKS:
        return _Fate.AGAIN
    if status in (401, 403):
        return _Fate.FORBIDDEN
    if "this action would add" in reason and "shards" in reason:
        return _Fate.AGAIN  # the limit on shards: its index can't be created now
    return _Fate.DEAD


def _too_much(status: int, kind: str, why: str) -> bool:
    """Whether the whole request was refused for what is in it, so that smaller ones must find the document."""
    return status == 413 or (status == 400 and _fate(status, kind, why) is _Fate.DEAD and kind != "")


def _complaint(answer: bytes) -> tuple[str, str]:
    """Type and reason of what was said to the whole request."""
    try:
        error: Any = msgspec.json.decode(answer).get("error")
    except (msgspec.DecodeError, AttributeError):
        return "", answer[:200].decode(errors="replace")
    if isinstance(error, dict):
        return str(error.get("type", "")), f"{error.get('type', '')}: {_reason(error)}"
    return "", str(error)


def _reason(error: dict[str, Any]) -> str:
    """Elasticsearch's reason, with the one that caused it."""
    cause = (error.get("caused_by") or {}).get("reason")
    reason = str(error.get("reason", ""))
    return f"{reason} ({cause})" if cause else reason
