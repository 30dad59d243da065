"""Tells what happened to buoys: a log line, a message in topic `buoy.events`, and a POST for whoever wants one.

None of it blocks the caller. Kafka may be away for as long as its queue lasts, the webhook for an hour.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

import httpx
import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from tenacity import RetryCallState, Retrying, retry_if_exception, sleep_using_event, wait_exponential, wait_random

from maredata.errors import SettingsError
from maredata.names import EVENTS
from maredata.settings import Settings
from udp_server.silence import Event

log = logging.getLogger(__name__)

MOST_WAITING = 1000  # events that wait for the webhook; of more the oldest are dropped
_MOST_PUBLISHED = 100_000  # that wait for Kafka, of more the newest are dropped: all buoys may fall silent at once
_TIMEOUT = 10.0  # seconds, of each step of a POST
_LONGEST_WAIT = 60.0  # seconds between two tries
_GIVE_UP_SECONDS = 3600.0  # after it was told
_PASSING = frozenset({408, 429})  # the 4xx that say: try again


class EventOutlet:
    """Made and called by the parent alone, in one thread. Counters are since its making.

    Raises:
        SettingsError: the webhook's URL is none.
    """

    def __init__(self, settings: Settings, make_producer: Callable[[dict[str, Any]], Producer] = Producer) -> None:
        url = settings.events.webhook_url
        self._webhook = Webhook(url) if url else None
        self._producer = make_producer(_producer_configuration(settings))
        self.told = 0
        self.published = 0
        self.unpublished = 0

    def tell(self, events: Iterable[Event]) -> None:
        """Call it once a second, also without events: it takes Kafka's reports in."""
        for event in events:
            self.told += 1
            _log(event)
            body = msgspec.json.encode(event.as_dict())
            self._publish(b"%d" % event.sensor_id, body)
            if self._webhook is not None:
                self._webhook.send(body)
        self._producer.poll(0)

    def as_dict(self) -> dict[str, int]:
        """The counters: told = published + unpublished + waiting, and the same for the webhook, where there is one."""
        webhook = self._webhook
        return {
            "told": self.told,
            "published": self.published,
            "unpublished": self.unpublished,
            "webhook_delivered": webhook.delivered if webhook else 0,
            "webhook_failed": webhook.failed if webhook else 0,
            "webhook_dropped": webhook.dropped if webhook else 0,
        }

    def close(self, seconds: float) -> None:
        """Waits so long for Kafka and the webhook, side by side, and counts what they have not taken as lost."""
        until = monotonic() + seconds
        left = self._producer.flush(seconds)
        self.unpublished += left
        dropped = self._webhook.close(until) if self._webhook is not None else 0
        if left or dropped:
            log.warning(
                "events were not delivered before the end", extra={"unpublished": left, "webhook_dropped": dropped}
            )

    def _publish(self, key: bytes, body: bytes) -> None:
        try:
            self._producer.produce(EVENTS, body, key, on_delivery=self._heard_of)
        except (BufferError, KafkaException) as error:
            self._not_published(str(error))

    def _heard_of(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.published += 1
        else:
            self._not_published(str(error))

    def _not_published(self, error: str) -> None:
        self.unpublished += 1
        log.warning("an event is not in its topic", extra={"topic": EVENTS, "error": error})


class Webhook:
    """Posts bodies in the order they came, in a thread of its own, until each is taken, refused, or too old."""

    def __init__(
        self, url: str, *, first_wait: float = 1.0, give_up_seconds: float = _GIVE_UP_SECONDS, most: int = MOST_WAITING
    ) -> None:
        self._url = _checked(url)
        self._wait = wait_exponential(first_wait, _LONGEST_WAIT) + wait_random(0, first_wait)
        self._give_up_seconds = give_up_seconds
        self._most = most
        self.delivered = 0
        self.failed = 0  # refused, or given up
        self.dropped = 0  # the queue was full, or the end came
        self._queue: deque[tuple[float, bytes]] = deque()  # when it was sent here, and the body
        self._busy = False  # one is taken out of the queue and not yet counted
        self._client = httpx.Client(timeout=_TIMEOUT, headers={"Content-Type": "application/json"})
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._failing = False
        threading.Thread(target=self._run, name="webhook", daemon=True).start()

    def send(self, body: bytes) -> None:
        with self._changed:
            self._queue.append((monotonic(), body))
            if len(self._queue) > self._most:
                self._queue.popleft()
                self.dropped += 1
                log.warning("the oldest event was dropped: too many wait for the webhook")
            self._changed.notify_all()

    def close(self, until: float) -> int:
        """Waits until then (by the monotonic clock) for what is waiting; returns how many were dropped."""
        with self._changed:
            self._changed.wait_for(lambda: not self._queue and not self._busy, max(0.0, until - monotonic()))
            dropped = len(self._queue) + self._busy
            self.dropped += dropped
            self._queue.clear()
            self._closed.set()
            self._changed.notify_all()
        return dropped

    def _run(self) -> None:
        with self._client:
            while not self._closed.is_set():
                with self._changed:
                    self._changed.wait_for(lambda: self._queue or self._closed.is_set())
                    if self._closed.is_set():
                        return
                    sent, body = self._queue.popleft()
                    self._busy = True
                delivered = self._deliver(sent, body)
                with self._changed:
                    self._busy = False
                    if not self._closed.is_set():  # otherwise it is counted as dropped
                        self.delivered += delivered
                        self.failed += not delivered
                    self._changed.notify_all()

    def _deliver(self, sent: float, body: bytes) -> bool:
        def over(_state: RetryCallState) -> bool:
            return self._closed.is_set() or monotonic() - sent >= self._give_up_seconds

        tries = Retrying(
            retry=retry_if_exception(_passes),
            wait=self._wait,
            stop=over,
            sleep=sleep_using_event(self._closed),
            reraise=True,
        )
        try:
            tries(self._post, body)
        except Exception:  # said by _say, and the next event may fare better
            return False
        return True

    def _post(self, body: bytes) -> None:
        try:
            # Streamed, so that an answer's body, which may have no end, is not read.
            with self._client.stream("POST", self._url, content=body) as answer:
                answer.raise_for_status()
        except Exception as error:
            self._say(failing=True, error=_words(error))
            raise
        self._say(failing=False)

    def _say(self, failing: bool, error: str = "") -> None:
        """Once when it begins to fail, and once when it works again. The URL may hold a password, so only the host."""
        if failing and not self._failing:
            log.warning("the webhook fails", extra={"host": self._url.host, "error": error})
        elif self._failing and not failing:
            log.info("the webhook works again", extra={"host": self._url.host})
        self._failing = failing


def _log(event: Event) -> None:
    # The sentence itself is the message: of one wording for all buoys, the log would hold all but the first back.
    extra = {"event": event.event.value, "sensor_id": event.sensor_id}
    if event.variable is not None:
        extra["variable"] = event.variable
    log.log(logging.WARNING if event.is_trouble else logging.INFO, event.message, extra=extra)


def _producer_configuration(settings: Settings) -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.kafka.bootstrap,
        "client.id": "mare-gateway-events",
        "acks": "all",
        # One request at a time keeps the order. Idempotence would too, but can end in an error that is for good.
        "max.in.flight": 1,
        "partitioner": "murmur2_random",
        "message.timeout.ms": 0,  # never
        "queue.buffering.max.messages": _MOST_PUBLISHED,
        "reconnect.backoff.max.ms": 1000,
        # The readings' producer says all there is to say about Kafka.
        "log_level": 0,
        "error_cb": lambda _error: None,
    }


def _checked(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise SettingsError("MARE_EVENTS__WEBHOOK_URL is no http or https URL: correct it, or leave it empty.")
    return parsed


def _passes(error: BaseException) -> bool:
    """Whether another try may help."""
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return status >= 500 or status in _PASSING
    return isinstance(error, httpx.TransportError)


def _words(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    return str(error) or type(error).__name__
