"""Analysts: each asks a question, one after the other, of the store that the plan names, parameters drawn anew.

The same plan has them ask the same questions of either store, in the same order, at the same pace as far as the store
keeps up: an analyst who waits for an answer asks nothing else meanwhile.
"""

from __future__ import annotations

import time
from random import Random

import gevent
from locust import User, task
from locust.exception import StopUser

from benchmarks.analytics_stores import client_of
from benchmarks.questions import QUESTIONS
from tests.load.driving import drive_of


class Analyst(User):
    def on_start(self) -> None:
        self.drive = drive_of(self.environment)
        plan = self.drive.plan
        self.number, self.drive.number = self.drive.number, self.drive.number + 1
        self.random = Random(f"{plan.seed} analyst {self.number}")
        self.client = client_of(plan.store, self.drive.settings)
        # Not all in the same moment: each has his own place within the pace.
        self.due = self.drive.await_begin() + plan.every * self.number / plan.users

    @task
    def ask(self) -> None:
        plan = self.drive.plan
        if self.due >= self.drive.begin + plan.seconds:
            self.client.__exit__(None, None, None)
            self.drive.done()
            raise StopUser
        gevent.sleep(max(0.0, self.due - time.time()))
        question = self.random.choice(QUESTIONS)
        query = question.draw(self.random, plan.ground)
        asked = time.time()
        try:
            self.client.ask(question, query)
        except Exception as error:  # whatever it is, it is counted, and shown with the result
            self.drive.took(plan.store, question.name, asked, error)
        else:
            self.drive.took(plan.store, question.name, asked)
        self.due = max(self.due + plan.every, time.time())
