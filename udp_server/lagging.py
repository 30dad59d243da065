"""How long readings take from the gateway into the stores: how far each sink is behind, in messages and seconds.

Kafka tells offsets, not ages. So the ends of the topic's partitions are remembered with the time: what a sink has
not committed came after the newest of these samples that it has committed completely.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic

from maredata.lag import SinkOffsets, sink_offsets
from maredata.settings import Settings

log = logging.getLogger(__name__)

_EVERY = 10.0  # seconds
_MOST_SAMPLES = 2000
_JOIN_SECONDS = 1.0


@dataclass(frozen=True)
class Lag:
    """`seconds` is the age of the oldest reading that the sink has not committed, up to one sample too old."""

    messages: int
    seconds: float


class History:
    """Samples of when the topic ended where. Pure: the caller says what time it is, in seconds."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, dict[int, int]]] = []  # both grow

    def take(self, offsets: SinkOffsets, at: float) -> dict[str, Lag]:
        """The sinks' lags, by name. `at` is before the offsets were asked for, so that no age is too short.

        A sink that is behind the first sample is as late as that one, or later: its age is not known yet.
        """
        self._remember(at, offsets.ends)
        messages = offsets.lag()
        passed = {sink: self._passed(committed) for sink, committed in offsets.committed.items()}
        lags = {sink: Lag(messages[sink], at - self._samples[max(0, index)][0]) for sink, index in passed.items()}
        del self._samples[: max(0, min(passed.values(), default=0))]
        return lags

    def __len__(self) -> int:
        return len(self._samples)

    def _remember(self, at: float, ends: dict[int, int]) -> None:
        samples = self._samples
        if samples and any(ends.get(partition, 0) < end for partition, end in samples[-1][1].items()):
            samples.clear()  # the topic was made anew
        if len(samples) > 1 and samples[-1][1] == ends:
            samples.pop()  # while nothing comes, only the last such moment counts
        samples.append((at, ends))
        if len(samples) > _MOST_SAMPLES:
            del samples[1:-1:2]  # a sink is away for hours: then its age needs no seconds

    def _passed(self, committed: Mapping[int, int]) -> int:
        """Index of the newest sample that is committed completely, or -1."""

        def waits(sample: tuple[float, dict[int, int]]) -> bool:
            return any(committed.get(partition, 0) < end for partition, end in sample[1].items())

        return bisect_left(self._samples, True, key=waits) - 1


class Lags:
    """Asks Kafka every ten seconds, in a thread of its own, since Kafka's absence takes time to see."""

    def __init__(self, settings: Settings, ask: Callable[[Settings], SinkOffsets] = sink_offsets) -> None:
        self._settings = settings
        self._ask = ask
        self._history = History()
        self._current: Mapping[str, Lag] = {}
        self._away = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lags", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Waits a second at most: an answer that Kafka owes can take longer, and is of no use any more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)

    def read(self) -> Mapping[str, Lag]:
        """By sink, ten seconds old at most; empty while Kafka does not answer."""
        return self._current

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._look()
            self._stopped.wait(_EVERY)

    def _look(self) -> None:
        at = monotonic()
        try:
            self._current = self._history.take(self._ask(self._settings), at)
        except Exception as error:  # whatever the client raises, the gateway goes on without this
            self._current = {}
            if not self._away:
                log.warning("the sinks' lag can't be asked", extra={"error": str(error) or type(error).__name__})
            self._away = True
            return
        if self._away:
            log.info("the sinks' lag can be asked again")
        self._away = False
