"""The transactional user: point reads and inserts on MariaDB at a fixed rate, whatever MariaDB does meanwhile.

Latency counts from the instant at which a transaction was due. Locust's users are its connections: whichever is free
takes the next one.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from random import Random

import gevent
from locust import User, task
from locust.env import Environment
from locust.exception import StopUser

from benchmarks.analytics_schedule import Arrivals
from maredata.names import READINGS
from maredata.stores import connect_mariadb
from tests.load.driving import Drive, drive_of

_INSERTS = 0.2  # of all transactions
_FIRST_SENSOR = 990_001  # of the inserted readings: nobody asks about them
_SENSORS = 100
_READ = f"SELECT * FROM `{READINGS}` WHERE `sensor_id` = %s AND `timestamp` >= %s ORDER BY `timestamp` LIMIT 1"


class Transactional(User):
    def on_start(self) -> None:
        self.drive = drive_of(self.environment)
        plan = self.drive.plan
        self.number, self.drive.number = self.drive.number, self.drive.number + 1
        self.random = Random(f"{plan.seed} transactions {self.number}")
        names = ("sensor_id", "timestamp", *plan.ground.variables, "location_lon", "location_lat")
        self.insert = (
            f"INSERT INTO `{READINGS}` ({', '.join(f'`{name}`' for name in names)})"
            f" VALUES ({', '.join(['%s'] * len(names))})"
        )
        self.connection = connect_mariadb(self.drive.settings, use_pure=True)
        self.drive.await_begin()
        self.arrivals = arrivals_of(self.environment, self.drive)

    @task
    def next_one(self) -> None:
        due = self.arrivals.take()
        if due is None:
            self.connection.close()
            self.drive.done()
            raise StopUser
        gevent.sleep(max(0.0, due - time.time()))
        name, sql, bound = self._draw()
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(sql, bound)
                if cursor.description:
                    cursor.fetchall()
        except Exception as error:  # whatever it is, it is counted, and shown with the result
            self.drive.took("mariadb", name, due, error)
        else:
            self.drive.took("mariadb", name, due)

    def _draw(self) -> tuple[str, str, tuple[object, ...]]:
        plan, random = self.drive.plan, self.random
        if random.random() < _INSERTS:
            values = [round(random.uniform(10, 20), 2) for _ in plan.ground.variables]
            sensor = _FIRST_SENSOR + self.number * _SENSORS + random.randrange(_SENSORS)
            return "insert", self.insert, (sensor, datetime.now(UTC).replace(tzinfo=None), *values, 3.2, 42.5)
        moment = datetime.fromtimestamp(random.uniform(plan.ground.begin, plan.ground.end - 24) * 3600, UTC)
        return "read", _READ, (random.randint(*plan.sensors), moment.replace(tzinfo=None))


def arrivals_of(environment: Environment, drive: Drive) -> Arrivals:
    """All users' one row of arrivals."""
    found: Arrivals | None = getattr(environment, "mare_arrivals", None)
    if found is None:
        found = Arrivals(drive.begin, drive.plan.rate, drive.plan.seconds)
        environment.mare_arrivals = found  # type: ignore[attr-defined]
    return found
