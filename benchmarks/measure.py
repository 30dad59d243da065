"""One receiver after the other under a load, with one broker and one sender, and what each has used and lost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import broker, kernel, latency
from benchmarks.peers import RECEIVERS
from benchmarks.receivers import Gateway, Receiver
from benchmarks.result import Limit, Run, verdict
from benchmarks.sender import Load, send
from maredata.settings import Settings

_REST_SECONDS = 1.0  # between a receiver's start and its load
_QUIET_SECONDS = 1.0  # nothing moves any more, and all is there
_LOST_SECONDS = 3.0  # nothing moves any more, and something is missing
_LONGEST_DRAIN = 120.0
_LOOK_SECONDS = 0.1
LATENCY = Load(rate=5_000, seconds=20)
_STEP = 1.25  # from one rate to the next, in search of the limit
_HALVINGS = 3  # between the last good and the first bad rate

Progress = Callable[[str], None]


class Bench:
    """A broker and a sender, for one measurement after the other."""

    def __init__(self, settings: Settings, sender: Path, broker_pid: int, progress: Progress) -> None:
        self._settings = settings
        self._sender = sender
        self._broker = broker_pid
        self._progress = progress

    def rounds(self, names: Sequence[str], load: Load, count: int) -> list[Run]:
        """The receivers in turns; each round begins with another one."""
        found: list[Run] = []
        for number in range(count):
            first = number % len(names)
            found += [self.measure(name, load, number + 1) for name in (*names[first:], *names[:first])]
        return sorted(found, key=lambda run: (run.round, names.index(run.receiver)))

    def limits(self, names: Sequence[str], load: Load) -> list[Limit]:
        """Beginning at a quarter of the load's rate."""

        def of(name: str) -> Limit:
            return find_limit(lambda rate: self.measure(name, replace(load, rate=rate), 0), load.rate / 4)

        return [of(name) for name in names]

    def latencies(self, names: Sequence[str]) -> dict[str, Any]:
        """By receiver; see latency.py for what is in them."""
        found: dict[str, Any] = {"load": asdict(LATENCY)}
        for name in names:
            seen: dict[str, Any] = {}

            def look(receiver: Receiver, seen: dict[str, Any] = seen) -> None:
                if isinstance(receiver, Gateway):
                    time.sleep(2 * _QUIET_SECONDS)  # its parent sums up once a second
                    buckets = latency.buckets(receiver.metrics())
                    quantiles = {"p50": latency.quantile(0.5, buckets), "p99": latency.quantile(0.99, buckets)}
                    seen["acknowledged"] = {key: asdict(value) for key, value in quantiles.items() if value}
                seen["appended"] = latency.appended(self._settings, receiver.topic)

            run = self.measure(name, LATENCY, 0, look)
            found[name] = seen | {"run": run.as_dict()}
        return found

    def measure(self, name: str, load: Load, number: int, look: Callable[[Receiver], None] | None = None) -> Run:
        """One receiver under one load; `look` is called while it still lives."""
        settings, receiver = self._settings, RECEIVERS[name](self._settings)
        broker.fresh_topic(settings, receiver.topic)
        with ExitStack() as held:
            offsets = broker.EndOffsets(settings, receiver.topic)
            held.callback(offsets.close)
            held.callback(receiver.end)
            pid = receiver.start()
            time.sleep(_REST_SECONDS)
            port = settings.udp.port
            before, began = self._cpu(pid), time.monotonic()
            sent = send(self._sender, settings.udp.host, port, load)
            drained = self._settle(offsets, sent.lines if receiver.by_line else sent.datagrams)
            after, window = self._cpu(pid), time.monotonic() - began
            socket, buffer = kernel.udp_port(port), kernel.receive_buffer(port)
            processes = kernel.spent(before.receiver, after.receiver)
            broker_cpu = after.broker - before.broker
            known = kernel.total(processes) + broker_cpu + sent.user + sent.system + after.own - before.own
            if look is not None and after.receiver:
                look(receiver)
            receiver.end()
            count, in_kafka = receiver.counted(), offsets.total()
        found = Run(
            receiver=name,
            round=number,
            workers=settings.udp.workers if isinstance(receiver, Gateway) else 1,
            load=load,
            sent=sent,
            by_line=receiver.by_line,
            received=count.received,
            kernel_dropped=socket.dropped,
            published=count.published,
            spooled=count.spooled,
            in_kafka=in_kafka,
            receive_buffer=buffer,
            processes=processes,
            broker_cpu=broker_cpu,
            elsewhere_cpu=after.machine - before.machine - known,
            cores=os.cpu_count() or 1,
            window=window,
            drained=drained,
            died=set(before.receiver) - set(after.receiver) != set(),
        )
        self._progress(f"{name}, {load.rate:,.0f}/s: {verdict(found)}")
        return found

    def _settle(self, offsets: broker.EndOffsets, expected: int) -> float:
        """Waits until nothing arrives in Kafka any more; the seconds until the last record did."""
        ended = changed = time.monotonic()
        count = 0
        while time.monotonic() - ended < _LONGEST_DRAIN:
            if (now := offsets.total()) != count:
                count, changed = now, time.monotonic()
            waited = time.monotonic() - changed
            queued = kernel.udp_port(self._settings.udp.port).queued_bytes
            if waited > (_QUIET_SECONDS if count >= expected else _LOST_SECONDS) and not queued:
                break
            time.sleep(_LOOK_SECONDS)
        return changed - ended

    def _cpu(self, pid: int) -> _Cpu:
        own = os.times()
        return _Cpu(
            kernel.tree(pid), kernel.total(kernel.tree(self._broker).values()), own.user + own.system,
            kernel.machine_busy(),
        )  # fmt: skip


@dataclass(frozen=True)
class _Cpu:
    """CPU seconds used so far: by the receiver's processes, by broker, by the benchmark itself, by everything."""

    receiver: dict[int, kernel.Cpu]
    broker: float
    own: float
    machine: float


def find_limit(measure: Callable[[float], Run], start: float) -> Limit:
    """Climbs from `start` until the receiver fails twice at a rate, then narrows down what lies between."""
    runs: list[Run] = []

    def good(rate: float) -> bool:
        for _ in range(2):  # somebody else's moment on the machine must not be taken for the receiver's limit
            runs.append(measure(rate))
            if runs[-1].kept_up:
                return True
        return False

    highest, rate, ended_by = None, start, "loss"
    while good(rate):
        highest, rate = rate, rate * _STEP
    ended_by = _reason(runs[-1])
    low, high = highest or 0.0, rate
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if good(middle):
            low = highest = middle
        else:
            high, ended_by = middle, _reason(runs[-1])
    return Limit(runs[0].receiver, runs[0].workers, highest, ended_by, tuple(runs))


def _reason(run: Run) -> str:
    if not run.sent.reached(run.load):
        return "sender"
    return "loss" if not run.agrees else "delay"
