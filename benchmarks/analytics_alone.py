"""Each question on each store while nobody else asks: do both answer the same, and how soon, warm and cold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from typing import Any

from benchmarks.analytics_schedule import as_json, digest
from benchmarks.analytics_stores import ELASTICSEARCH, MARIADB, STORES, AskElasticsearch, AskMariaDB, Store, client_of
from benchmarks.questions import QUESTIONS, Ground, Query, Question
from benchmarks.questions_answers import Answer, differences
from maredata.errors import MareError
from maredata.settings import Settings

_COMPARED = 5  # draws of each question
_LEAST = 5  # answers that are measured, however long they take
_WARM_UP_SHARE = 0.3  # of the time that is then measured
CLIENTS = 4  # for throughput: more than cores that this was tried on, so that neither engine waits for its client

Progress = Callable[[str], None]
Restart = Callable[[str], bool]


class AnswersDiffer(MareError):
    """Both stores were asked the same, and did not answer the same: nothing was measured."""


@dataclass(frozen=True)
class Alone:
    """Where and about what is asked, and for how many seconds each question on each store."""

    settings: Settings
    ground: Ground
    seconds: float
    seed: int
    progress: Progress

    def draws(self, question: Question, purpose: str) -> Iterator[Query]:
        """The same ones for both stores."""
        random = Random(f"{self.seed} {question.name} {purpose}")  # noqa: S311  # no cryptography
        while True:
            yield question.draw(random, self.ground)

    def compare(self) -> dict[str, dict[str, Any]]:
        """What both stores agree on, by question, with one draw, MariaDB's plan for it and Elasticsearch's profile.

        Raises AnswersDiffer.
        """
        found: dict[str, dict[str, Any]] = {}
        with AskMariaDB(self.settings) as mariadb, AskElasticsearch(self.settings) as elasticsearch:
            for question in QUESTIONS:
                draws = self.draws(question, "compared")
                queries = [next(draws) for _ in range(_COMPARED)]
                groups = 0
                for query in queries:
                    answers = mariadb.ask(question, query), elasticsearch.ask(question, query)
                    refuse_differing(question, *answers)
                    groups += len(answers[0])
                if not groups:
                    raise AnswersDiffer(f"No draw of “{question.name}” had an answer: ask for more rows.")
                found[question.name] = {
                    "compared": _COMPARED,
                    "groups": groups,
                    "sql": queries[0].sql,
                    "bound": list(queries[0].bound),
                    "body": queries[0].body,
                    "explain": mariadb.explain(queries[0]),
                    "profile": elasticsearch.profile(queries[0]),
                }
        return found

    def warm(self) -> dict[str, dict[str, Any]]:
        """By question and store: latency of one client, throughput of several. Another store is first each time."""
        found: dict[str, dict[str, Any]] = {question.name: {} for question in QUESTIONS}
        with ExitStack() as held:
            clients = {store: held.enter_context(client_of(store, self.settings)) for store in STORES}
            self.warm_up(clients)
            for number, question in enumerate(QUESTIONS):
                for store in STORES[:: -1 if number % 2 else 1]:
                    found[question.name][store] = self._measured(question, store, clients[store])
        return found

    def warm_up(self, clients: Mapping[str, Store] | None = None) -> None:
        """Asks all questions of both, as engines do that have run for a while."""
        with ExitStack() as held:
            chosen = clients or {store: held.enter_context(client_of(store, self.settings)) for store in STORES}
            for question in QUESTIONS:
                for store in STORES:
                    self._asked(question, chosen[store], "warm-up", _WARM_UP_SHARE * self.seconds)

    def cold(self, questions: Sequence[Question], restart: Restart) -> tuple[dict[str, dict[str, float]], bool]:
        """Seconds of the first answer of an engine that has just started, by question and store.

        Also whether the page cache was empty, too.
        """
        found: dict[str, dict[str, float]] = {question.name: {} for question in questions}
        dropped = True
        for question in questions:
            for store in STORES:
                dropped &= restart(store)
                with client_of(store, self.settings) as client:
                    (seconds,), _ = self._asked(question, client, "cold", 0, least=1)
                found[question.name][store] = seconds
                self.progress(f"{question.name}, {store}, cold: {1000 * seconds:,.0f} ms")
        return found, dropped

    def _measured(self, question: Question, store: str, client: Store) -> dict[str, Any]:
        seconds, spent = self._asked(question, client, "warm", self.seconds)
        found = digest(seconds)
        rate = self._throughput(question, store)
        assert found is not None  # noqa: S101  # at least _LEAST
        self.progress(f"{question.name}, {store}: p50 {1000 * found.p50:,.1f} ms, {rate:,.1f} answers/s")
        return {"warm": as_json(found), "client_cpu": spent / len(seconds), "throughput": rate}

    def _asked(
        self, question: Question, client: Store, purpose: str, seconds: float, least: int = _LEAST
    ) -> tuple[list[float], float]:
        """How long each answer took, and the CPU seconds that this client spent on all of them."""
        took: list[float] = []
        began, cpu = time.perf_counter(), time.process_time()
        for query in self.draws(question, purpose):
            if len(took) >= least and time.perf_counter() - began >= seconds:
                break
            asked = time.perf_counter()
            client.ask(question, query)
            took.append(time.perf_counter() - asked)
        return took, time.process_time() - cpu

    def _throughput(self, question: Question, store: str) -> float:
        """Answers a second of several clients at once."""

        def one(number: int) -> tuple[int, float]:
            with client_of(store, self.settings) as client:
                began = time.perf_counter()
                took, _ = self._asked(question, client, f"throughput {number}", self.seconds / 2, least=1)
                return len(took), time.perf_counter() - began

        with ThreadPoolExecutor(CLIENTS) as pool:
            return sum(count / seconds for count, seconds in pool.map(one, range(CLIENTS)))


def refuse_differing(question: Question, mariadb: Answer, elasticsearch: Answer) -> None:
    """Raises AnswersDiffer with the first differences."""
    found = differences(mariadb, elasticsearch, question.ordered)
    if found:
        raise AnswersDiffer(f"The stores differ about “{question.name}”, so nothing was measured: {'; '.join(found)}.")


def speedup(seen: dict[str, Any]) -> dict[str, float]:
    """How many times faster Elasticsearch is, by what was measured of one question on both stores."""
    mariadb, elasticsearch = seen[MARIADB], seen[ELASTICSEARCH]
    found = {
        "warm": mariadb["warm"]["p50"] / elasticsearch["warm"]["p50"],
        "throughput": elasticsearch["throughput"] / mariadb["throughput"],
    }
    if "cold" in mariadb:
        found["cold"] = mariadb["cold"] / elasticsearch["cold"]
    return found
