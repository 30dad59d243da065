"""What the bulk writer makes of Elasticsearch's answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from extraction.bulk import BulkWriter, Outcome
from maredata.errors import StoreError
from maredata.settings import Elasticsearch, Settings

LINES = [b'{"index":{"_index":"i","_id":"%d"}}\n{"v":%d}' % (number, number) for number in range(4)]
Answer = tuple[int, dict[str, Any] | str]


@contextmanager
def fake_elasticsearch(answer: Callable[[list[bytes]], Answer], **options: Any) -> Iterator[tuple[Settings, list[Any]]]:
    """Answers each bulk request with `answer` of its lines; what was asked: paths, headers and lines."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert body.endswith(b"\n")
            parts = body[:-1].split(b"\n")
            lines = [b"\n".join(pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
            asked.append((self.path, dict(self.headers), lines))
            status, content = answer(lines)
            encoded = (
                content.encode() if isinstance(content, str) else json.dumps(content, separators=(",", ":")).encode()
            )
            self.send_response(status)
            self.send_header("content-length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Settings(elasticsearch=Elasticsearch(port=server.server_port, **options)), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Pauses:
    """Takes no time; ends after `most` of them."""

    def __init__(self, most: int = 100) -> None:
        self.most = most
        self.seen: list[tuple[float, str]] = []

    def __call__(self, seconds: float, why: str) -> None:
        self.seen.append((seconds, why))
        if len(self.seen) >= self.most:
            raise InterruptedError


def items(*answers: tuple[int, str, str], operation: str = "index") -> Answer:
    """A bulk answer; each item's status, and its error's type and reason."""
    made = []
    for status, kind, reason in answers:
        about: dict[str, Any] = {"status": status}
        if kind:
            about["error"] = {"type": kind, "reason": reason, "caused_by": {"reason": "its cause"}}
        made.append({operation: about})
    return 200, {"errors": any(kind for _, kind, _ in answers), "items": made}


GOOD = (201, "", "")


def send(answer: Callable[[list[bytes]], Answer], most: int = 100) -> tuple[Outcome, list[list[bytes]], Pauses]:
    pauses = Pauses(most)
    with fake_elasticsearch(answer) as (settings, asked):
        writer = BulkWriter(settings, pauses)
        outcome = writer.send(LINES)
        writer.close()
    return outcome, [lines for _, _, lines in asked], pauses


def test_a_good_answer_is_asked_for_in_few_words_and_with_the_password() -> None:
    account = {"user": "u", "password": "p"}
    with fake_elasticsearch(lambda lines: items(*[GOOD] * len(lines)), **account) as (settings, asked):
        outcome = BulkWriter(settings, Pauses()).send(LINES)
    assert outcome == Outcome(written=4)
    ((path, headers, lines),) = asked
    assert path.startswith("/_bulk?filter_path=errors,")
    assert {name.lower(): value for name, value in headers.items()}["authorization"] == "Basic dTpw"
    assert lines == LINES


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (429, "es_rejected_execution_exception", "queue is full"),
        (429, "cluster_block_exception", "index blocked: FORBIDDEN/12/index read-only / allow delete (api)"),
        (403, "cluster_block_exception", "blocked by: FORBIDDEN/8/index write (api)"),
        (400, "validation_exception", "this action would add [2] shards, but this cluster has [9]/[9] maximum shards"),
        (400, "index_closed_exception", "closed"),
        (404, "index_not_found_exception", "no such index"),
        (500, "exception", "a disk"),
        (503, "unavailable_shards_exception", "primary shard is not active"),
    ],
)
def test_only_refused_items_are_sent_again_until_they_are_taken(status: int, kind: str, reason: str) -> None:
    tries = iter([[GOOD, (status, kind, reason), GOOD, (status, kind, reason)], [(status, kind, reason), GOOD], [GOOD]])
    outcome, sent, pauses = send(lambda _: items(*next(tries)))
    assert outcome == Outcome(written=4)
    assert sent == [LINES, [LINES[1], LINES[3]], [LINES[1]]]
    assert len(pauses.seen) == 2
    assert all("waiting for Elasticsearch" in why and kind in why for _, why in pauses.seen)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_refused_request_is_sent_again_as_a_whole_with_growing_waits(status: int) -> None:
    tries = iter([(status, "busy")] * 12 + [items(*[GOOD] * 4)])
    outcome, sent, pauses = send(lambda _: next(tries))
    assert outcome == Outcome(written=4)
    assert sent == [LINES] * 13
    waits = [seconds for seconds, _ in pauses.seen]
    assert waits[0] <= 0.2
    assert 15 <= waits[-1] <= 30, "they grow, and not beyond half a minute"


def test_it_waits_for_one_that_does_not_answer_until_the_run_is_stopped() -> None:
    with fake_elasticsearch(lambda _: items()) as (settings, _):
        pass
    pauses = Pauses(most=5)
    with pytest.raises(InterruptedError):
        BulkWriter(settings, pauses).send(LINES)
    assert "it does not answer" in pauses.seen[-1][1]


def test_waits_begin_anew_once_something_was_taken() -> None:
    busy = (429, "busy", "")
    tries = iter([[busy] * 4] * 6 + [[GOOD, busy, busy, busy], [GOOD] * 3])
    _, _, pauses = send(lambda _: items(*next(tries)))
    assert pauses.seen[5][0] > 3
    assert pauses.seen[6][0] <= 0.2


def test_documents_refused_for_good_are_dead_with_the_reason() -> None:
    answer = items(GOOD, (400, "document_parsing_exception", "failed to parse field [v]"), GOOD, GOOD)
    outcome, sent, _ = send(lambda _: answer)
    assert (outcome.written, sent) == (3, [LINES])
    (dead,) = outcome.dead
    assert (dead.line, dead.status, dead.type) == (LINES[1], 400, "document_parsing_exception")
    assert dead.reason == "failed to parse field [v] (its cause)"


@pytest.mark.parametrize(
    ("operation", "expected"), [("create", Outcome(written=3, existing=1)), ("index", Outcome(written=3, newer=1))]
)
def test_a_conflict_is_counted_and_no_error(operation: str, expected: Outcome) -> None:
    answer = items(GOOD, (409, "version_conflict_engine_exception", "is there"), GOOD, GOOD, operation=operation)
    assert send(lambda _: answer)[0] == expected


def test_what_is_too_large_is_sent_in_halves() -> None:
    outcome, sent, pauses = send(
        lambda lines: (413, "") if len(lines) > 1 or lines[0] == LINES[2] else items(*[GOOD] * len(lines))
    )
    assert (outcome.written, [dead.line for dead in outcome.dead]) == (3, [LINES[2]])
    assert sorted(map(len, sent)) == [1, 1, 1, 1, 2, 2, 4]
    assert not pauses.seen


def test_a_document_for_which_the_whole_request_is_refused_is_found() -> None:
    error = {"error": {"type": "illegal_argument_exception", "reason": "no"}, "status": 400}
    outcome, _, _ = send(lambda lines: (400, error) if LINES[1] in lines else items(*[GOOD] * len(lines)))
    assert (outcome.written, [dead.line for dead in outcome.dead]) == (3, [LINES[1]])


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("status", [401, 403])
def test_who_may_not_write_is_told_and_nothing_is_dead(status: int, whole: bool) -> None:
    error = {"type": "security_exception", "reason": "action is unauthorized"}
    answer = (status, {"error": error, "status": status}) if whole else items(*[(status, *error.values())] * 4)
    with pytest.raises(StoreError, match="MARE_ELASTICSEARCH__USER"):
        send(lambda _: answer)


def test_an_answer_of_something_else_is_not_taken_for_one() -> None:
    tries = iter([(200, "{}"), (200, "<html>"), items(*[GOOD] * 4)])
    outcome, sent, _ = send(lambda _: next(tries))
    assert (outcome.written, len(sent)) == (4, 3)
