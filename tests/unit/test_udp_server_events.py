"""Events reach the log, the topic and the webhook; whoever is away holds nobody up."""

from __future__ import annotations

import http.server
import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from waiting import await_true

from maredata.errors import SettingsError
from maredata.settings import Events, Kafka, Settings
from udp_server import events
from udp_server.events import EventOutlet, Webhook
from udp_server.silence import Event, Kind

SINCE = 1_705_831_564_095_931
SILENT = Event(SINCE + 600_000_000, 12, Kind.SILENT, None, SINCE)
BACK = Event(SINCE + 700_000_000, 12, Kind.BACK, None, SINCE)
STEADY = Event(SINCE, 13, Kind.VARIABLE_STEADY, "humidity", SINCE)
NOWHERE = Kafka(port=1)


class Endpoint:
    """A real web server that answers with the statuses it was given, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.bodies: list[bytes] = []
        self.types: set[str | None] = set()
        self.held = threading.Event()  # answers wait for it
        self.held.set()
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                endpoint.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.types.add(self.headers["Content-Type"])
                endpoint.held.wait(30)
                statuses = endpoint.statuses
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=secret"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.held.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def endpoints() -> Iterator[list[Endpoint]]:
    made: list[Endpoint] = []
    yield made
    for endpoint in made:
        endpoint.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def listening(endpoints: list[Endpoint], *statuses: int) -> Endpoint:
    endpoints.append(Endpoint(*statuses))
    return endpoints[-1]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "webhook" in record.getMessage()]


def closed(webhook: Webhook) -> int:
    return webhook.close(time.monotonic())


def test_an_event_is_a_message_whose_key_is_the_sensor() -> None:
    """With the real librdkafka on its own mock broker."""
    producers: list[Producer] = []

    def make(configuration: dict[str, Any]) -> Producer:
        producers.append(Producer({**configuration, "test.mock.num.brokers": 1}))
        return producers[-1]

    outlet = EventOutlet(Settings(), make)
    outlet.tell([SILENT, STEADY])

    def acknowledged() -> bool:
        outlet.tell([])
        return outlet.published == 2

    await_true(acknowledged, 30)
    (broker,) = producers[0].list_topics(timeout=10).brokers.values()
    consumer = Consumer({"bootstrap.servers": f"{broker.host}:{broker.port}", "group.id": "test"})
    partitions = consumer.list_topics("buoy.events", timeout=10).topics["buoy.events"].partitions
    consumer.assign([TopicPartition("buoy.events", partition, 0) for partition in partitions])
    found: dict[bytes | None, Any] = {}
    while len(found) < 2:
        message: Any = await_true(lambda: consumer.poll(0.1), 30)
        assert message.error() is None
        found[message.key()] = json.loads(message.value())
    consumer.close()
    assert found == {b"12": SILENT.as_dict(), b"13": STEADY.as_dict()}
    outlet.close(5)
    assert outlet.as_dict() == {
        "told": 2,
        "published": 2,
        "unpublished": 0,
        "webhook_delivered": 0,
        "webhook_failed": 0,
        "webhook_dropped": 0,
    }


def test_each_event_is_one_log_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    outlet = EventOutlet(Settings(kafka=NOWHERE))
    with caplog.at_level(logging.INFO, "udp_server.events"):
        outlet.tell([SILENT, BACK, STEADY])
    assert [(record.levelname, record.msg) for record in caplog.records] == [
        ("WARNING", SILENT.message),
        ("INFO", BACK.message),
        ("WARNING", STEADY.message),
    ]
    assert vars(caplog.records[2])["variable"] == "humidity"
    assert "variable" not in vars(caplog.records[0])


def test_kafka_away_holds_nobody_up_and_what_it_has_not_taken_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_MOST_PUBLISHED", 3)
    outlet = EventOutlet(Settings(kafka=NOWHERE))
    outlet.tell([SILENT] * 5)
    assert outlet.unpublished == 2
    outlet.close(0.1)
    assert outlet.as_dict()["unpublished"] == 5


def test_events_are_posted_as_json(endpoints: list[Endpoint]) -> None:
    endpoint = listening(endpoints, 200)
    outlet = EventOutlet(Settings(kafka=NOWHERE, events=Events(webhook_url=endpoint.url)))
    outlet.tell([SILENT, STEADY])
    await_true(lambda: outlet.as_dict()["webhook_delivered"] == 2, 30)
    assert list(map(json.loads, endpoint.bodies)) == [SILENT.as_dict(), STEADY.as_dict()]
    assert endpoint.types == {"application/json"}
    outlet.close(0)
    assert (outlet.told, outlet.as_dict()["webhook_dropped"]) == (2, 0)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_webhook_that_fails_is_tried_again_and_said_once(
    status: int, endpoints: list[Endpoint], caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = listening(endpoints, status, status, status, 204)
    webhook = Webhook(endpoint.url, first_wait=0.01)
    with caplog.at_level(logging.INFO, "udp_server.events"):
        webhook.send(b"1")
        webhook.send(b"2")
        await_true(lambda: webhook.delivered == 2, 30)
    assert endpoint.bodies == [b"1", b"1", b"1", b"1", b"2"]
    assert said(caplog) == ["the webhook fails", "the webhook works again"]
    assert vars(caplog.records[0])["error"] == f"HTTP {status}"
    assert "secret" not in str([vars(record) for record in caplog.records])
    assert (webhook.failed, webhook.dropped, closed(webhook)) == (0, 0, 0)


def test_a_webhook_that_does_not_listen_is_tried_until_it_does(
    endpoints: list[Endpoint], caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = listening(endpoints, 200)
    port = endpoint.server.server_port
    endpoints.pop().close()
    webhook = Webhook(endpoint.url, first_wait=0.01)
    with caplog.at_level(logging.INFO, "udp_server.events"):
        webhook.send(b"1")
        await_true(lambda: said(caplog), 30)
        late = http.server.ThreadingHTTPServer(("127.0.0.1", port), endpoint.server.RequestHandlerClass)
        endpoint.server = late
        endpoints.append(endpoint)
        threading.Thread(target=late.serve_forever, args=(0.05,), daemon=True).start()
        await_true(lambda: webhook.delivered == 1, 30)
    assert said(caplog) == ["the webhook fails", "the webhook works again"]
    closed(webhook)


@pytest.mark.parametrize("status", [400, 404, 302])
def test_what_a_webhook_refuses_is_not_sent_again(
    status: int, endpoints: list[Endpoint], caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = listening(endpoints, status, status, 200)
    webhook = Webhook(endpoint.url, first_wait=0.01)
    with caplog.at_level(logging.INFO, "udp_server.events"):
        for body in (b"1", b"2", b"3"):
            webhook.send(body)
        await_true(lambda: webhook.delivered == 1, 30)
    assert endpoint.bodies == [b"1", b"2", b"3"]
    assert (webhook.failed, webhook.dropped) == (2, 0)
    assert said(caplog) == ["the webhook fails", "the webhook works again"]
    closed(webhook)


def test_an_event_that_has_become_too_old_is_given_up(endpoints: list[Endpoint]) -> None:
    endpoint = listening(endpoints, 500)
    webhook = Webhook(endpoint.url, first_wait=0.01, give_up_seconds=0.2)
    webhook.send(b"1")
    await_true(lambda: webhook.failed == 1, 30)
    assert len(endpoint.bodies) > 1
    endpoint.statuses = [200]
    webhook.send(b"2")
    await_true(lambda: webhook.delivered == 1, 30)
    closed(webhook)


def test_of_too_many_events_the_oldest_are_dropped(endpoints: list[Endpoint]) -> None:
    endpoint = listening(endpoints, 200)
    endpoint.held.clear()
    webhook = Webhook(endpoint.url, most=3)
    webhook.send(b"0")
    await_true(lambda: endpoint.bodies, 30)  # that one is no longer in the queue
    for number in range(1, 8):
        webhook.send(b"%d" % number)
    assert webhook.dropped == 4
    endpoint.held.set()
    await_true(lambda: webhook.delivered == 4, 30)
    assert endpoint.bodies == [b"0", b"5", b"6", b"7"]
    closed(webhook)
    assert events.MOST_WAITING == 1000


def test_closing_waits_for_what_is_waiting(endpoints: list[Endpoint]) -> None:
    endpoint = listening(endpoints, 503, 200)
    webhook = Webhook(endpoint.url, first_wait=0.01)
    for body in (b"1", b"2", b"3"):
        webhook.send(body)
    assert webhook.close(time.monotonic() + 30) == 0
    assert webhook.delivered == 3


def test_what_is_left_at_the_end_is_counted_as_dropped(endpoints: list[Endpoint]) -> None:
    endpoint = listening(endpoints, 200)
    endpoint.held.clear()
    outlet = EventOutlet(Settings(kafka=NOWHERE, events=Events(webhook_url=endpoint.url)))
    outlet.tell([SILENT, BACK])
    await_true(lambda: endpoint.bodies, 30)
    outlet.close(0.1)
    counters = outlet.as_dict()
    assert (counters["webhook_delivered"], counters["webhook_dropped"], counters["unpublished"]) == (0, 2, 2)
    endpoint.held.set()
    await_true(lambda: "webhook" not in {thread.name for thread in threading.enumerate()}, 30)
    assert outlet.as_dict() == counters  # what was under way is not counted a second time


@pytest.mark.parametrize("url", ["example.org/hook", "ftp://example.org", "http://", "http://a\n", "hook"])
def test_a_webhook_that_is_no_url_is_one_sentence(url: str) -> None:
    with pytest.raises(SettingsError, match="MARE_EVENTS__WEBHOOK_URL"):
        EventOutlet(Settings(kafka=NOWHERE, events=Events(webhook_url=url)))
