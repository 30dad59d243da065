"""The gateway's web port: /metrics for Prometheus, /healthz for whoever restarts what is ill."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from maredata import settings
from maredata.listening import explained
from maredata.reading import Reason
from udp_server.lagging import Lag
from udp_server.ledger import Refusal

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

_REQUEST_SECONDS = 10  # that a client may take


# Where a number stands in the ledger, keys of nested dicts with dots between; its name; what it means.
_COUNTERS = (
    ("datagrams.received", "datagrams_received", "UDP datagrams read from the sockets."),
    ("datagrams.kernel_dropped", "datagrams_kernel_dropped", "UDP datagrams lost because a receive buffer was full."),
    ("lines.received", "lines_received", "Lines that came, over UDP and TCP."),
    ("lines.accepted", "lines_accepted", "Lines that Kafka acknowledged or the spool holds safely."),
    (
        "lines.lost_in_crash",
        "lines_lost_in_crash",
        "Lines in flight when the gateway was killed; some may have arrived.",
    ),
    ("lines.acknowledged", "lines_acknowledged", "Lines that Kafka acknowledged."),
    ("lines.spooled", "spool_written", "Readings written into the spool, since Kafka was away."),
    ("lines.replayed", "spool_replayed", "Readings from the spool that Kafka has acknowledged."),
    ("rejected_copies.accepted", "rejected_copies_accepted", "Copies of rejected lines kept in readings.rejected."),
    ("rejected_copies.refused", "rejected_copies_refused", "Copies of rejected lines that found no room."),
    ("rejected_copies.lost_in_crash", "rejected_copies_lost_in_crash", "Copies in flight when the gateway was killed."),
    ("sensors.not_followed", "readings_not_followed", "Readings of sensors beyond those that can be followed."),
    ("sensors.duplicates", "readings_duplicate", "Readings that came again, exactly the same."),
    ("sensors.conflicts", "readings_conflicting", "Readings that came again with other values: the later one wins."),
    ("sensors.out_of_order", "readings_out_of_order", "Readings that came after a later one of their sensor."),
    ("sensors.late", "readings_late", "Readings that came longer after their time than MARE_UDP__LATE_SECONDS."),
    ("sensors.clock_ahead", "readings_clock_ahead", "Readings whose time is ahead by MARE_UDP__AHEAD_SECONDS or more."),
    ("sensors.restarts", "sensor_restarts", "Times that a sensor's sequence numbers began anew."),
    ("tcp.accepted", "tcp_connections_accepted", "TCP connections that were accepted."),
    ("tcp.refused", "tcp_connections_refused", "TCP connections that were closed at once, being too many."),
    ("events.told", "events_told", "Events of buoys: silent, back, a variable null, steady or back."),
    ("events.published", "events_published", "Events that Kafka acknowledged."),
    ("events.unpublished", "events_unpublished", "Events that Kafka refused, or that found no room to wait for it."),
    ("events.webhook_delivered", "webhook_delivered", "Events that the webhook took."),
    ("events.webhook_failed", "webhook_failed", "Events that the webhook refused, or did not take within an hour."),
    ("events.webhook_dropped", "webhook_dropped", "Events dropped because too many waited for the webhook."),
)
_GAUGES = (
    ("workers", "workers", "Worker processes that receive."),
    ("receive_buffer", "receive_buffer_bytes", "Receive buffer that the kernel gave a worker's UDP socket."),
    ("receive_queue_bytes", "receive_queue_bytes", "Bytes in the UDP receive buffers that wait to be read."),
    ("lines.in_flight", "lines_in_flight", "Lines on their way to Kafka, in memory only."),
    ("rejected_copies.in_flight", "rejected_copies_in_flight", "Copies of rejected lines on their way to Kafka."),
    ("queue.messages", "queue_messages", "Messages in memory that Kafka has not acknowledged."),
    ("queue.bytes", "queue_bytes", "Bytes of the messages in memory that Kafka has not acknowledged."),
    ("spool.messages", "spool_messages", "Readings in the spool that Kafka has not acknowledged."),
    ("spool.bytes", "spool_bytes", "Bytes that the spool takes on disk."),
    ("spool.limit_bytes", "spool_limit_bytes", "Bytes at which the spool is full, and readings are refused."),
    ("tcp.connections", "tcp_connections", "TCP connections that are open."),
    ("sensors.followed", "sensors_followed", "Sensors that were heard and are followed."),
    ("sensors.missing", "readings_missing", "Sequence numbers jumped over; fewer when one of them comes after all."),
    ("silent", "sensors_silent", "Sensors that sent nothing for MARE_EVENTS__SILENCE_SECONDS."),
)
# The same for dicts of numbers, with the label that their keys become, and keys that are there from the start.
_LABELLED: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    ("rejected", "lines_rejected", "Lines that are no reading, by reason.", "reason", tuple(Reason)),
    ("refused", "lines_refused", "Lines that may be readings but were not taken.", "reason", tuple(Refusal)),
    ("unknown_fields", "unknown_fields", "Fields in readings that reading.toml does not name.", "field", ()),
    ("implausible", "implausible_values", "Accepted values outside their plausible range.", "field", ()),
)


class LedgerCollector(Collector):
    """Turns the ledger into metrics at each scrape. What the ledger lacks is 0."""

    def __init__(self, ledger: Callable[[], Mapping[str, Any]]) -> None:
        self._ledger = ledger

    def collect(self) -> Iterator[Metric]:
        ledger = self._ledger()
        for path, name, text in _COUNTERS:
            yield CounterMetricFamily(f"mare_gateway_{name}", text, value=_at(ledger, path) or 0)
        for path, name, text, label, usual in _LABELLED:
            counter = CounterMetricFamily(f"mare_gateway_{name}", text, labels=[label])
            for value, count in _by_label(_at(ledger, path) or {}, usual).items():
                counter.add_metric([value], count)
            yield counter
        for path, name, text in _GAUGES:
            yield GaugeMetricFamily(f"mare_gateway_{name}", text, value=_at(ledger, path) or 0)
        yield from _instants(ledger)
        yield _latency(ledger.get("latency") or {})


class LagCollector(Collector):
    def __init__(self, lags: Callable[[], Mapping[str, Lag]]) -> None:
        self._lags = lags

    def collect(self) -> Iterator[Metric]:
        messages = GaugeMetricFamily(
            "mare_sink_lag_messages", "Readings in the topic that a sink has not committed.", labels=["sink"]
        )
        seconds = GaugeMetricFamily(
            "mare_sink_lag_seconds",
            "Age of the oldest reading that a sink has not committed, to ten seconds; counted from the gateway's start"
            " for those that were there before.",
            labels=["sink"],
        )
        for sink, lag in self._lags().items():
            messages.add_metric([sink], lag.messages)
            seconds.add_metric([sink], lag.seconds)
        yield messages
        yield seconds


class MetricsServer:
    """Serves from `start` to `close`, in threads of its own.

    `ledger` gives the merged ledger, which nobody changes any more; beside the workers' sums it may hold "silent"
    (Watch.silent) and "events" (EventOutlet.as_dict). `health` gives a sentence for each trouble, `lags` is
    Lags.read. All three are called by other threads. Of processes, /metrics shows this one.
    """

    def __init__(
        self,
        chosen: settings.Metrics,
        ledger: Callable[[], Mapping[str, Any]],
        health: Callable[[], list[str]],
        lags: Callable[[], Mapping[str, Lag]],
    ) -> None:
        self._chosen = chosen
        self._health = health
        registry = CollectorRegistry()
        registry.register(LedgerCollector(ledger))
        registry.register(LagCollector(lags))
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._metrics = make_wsgi_app(registry)
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The port that is served; another than asked for only where 0 was."""
        return self._server.server_port if self._server is not None else self._chosen.port

    def start(self) -> None:
        """Raises EngineAlreadyRunning or MachineError where the address can't be had."""
        with explained("gateway", "TCP", self._chosen.host, self._chosen.port, "METRICS"):
            self._server = _Server(self._chosen.host, self._chosen.port)
        self._server.set_app(self._answer)
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        try:
            if path == "/metrics":
                answer: Iterable[bytes] = self._metrics(environ, start_response)
                return answer
            if path == "/healthz":
                troubles = self._health()
                status = {"status": "trouble", "reasons": troubles} if troubles else {"status": "ok"}
                line = "503 Service Unavailable" if troubles else "200 OK"
                return _plain(start_response, line, json.dumps(status), "application/json")
        except Exception:
            log.exception("a request could not be answered: please report this", extra={"path": path})
            return _plain(start_response, "500 Internal Server Error", "The gateway's log says what failed.\n")
        return _plain(start_response, "404 Not Found", "There is /metrics, and there is /healthz.\n")


class _Handler(WSGIRequestHandler):
    timeout = _REQUEST_SECONDS  # a client that says nothing must not keep its thread

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every few seconds is no news."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self.address_family = found[0]
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's, which looks the address's name up, and waits for a name server that may be away.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, *_request: Any) -> None:
        log.debug("a client broke off", exc_info=True)


def _plain(start_response: StartResponse, status: str, body: str, kind: str = "text/plain") -> list[bytes]:
    start_response(status, [("Content-Type", f"{kind}; charset=utf-8")])
    return [body.encode()]


def _at(ledger: Mapping[str, Any], path: str) -> Any:
    """What stands at a path such as `lines.received`, or None."""
    found: Any = ledger
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _by_label(counts: Mapping[str, int], usual: Iterable[str]) -> dict[str, int]:
    """Senders choose the names of fields, and half of a surrogate pair in one would break the whole page."""
    found: Counter[str] = Counter(dict.fromkeys(usual, 0))
    for name, count in counts.items():
        found[name.encode("utf-8", "backslashreplace").decode()] += count
    return found


def _instants(ledger: Mapping[str, Any]) -> Iterator[Metric]:
    for key, name, text in (
        ("started", "start_time_seconds", "When the gateway was started, in seconds since 1970."),
        ("updated", "ledger_updated_timestamp_seconds", "When the numbers here were taken, in seconds since 1970."),
    ):
        if ledger.get(key):
            yield GaugeMetricFamily(f"mare_gateway_{name}", text, value=datetime.fromisoformat(ledger[key]).timestamp())


def _latency(latency: Mapping[str, Any]) -> Metric:
    buckets, total = [], 0
    bounds = [str(float(bound)) for bound in latency.get("bounds", ())]
    for bound, count in zip([*bounds, "+Inf"], latency.get("counts", ()) or [0], strict=False):
        total += count
        buckets.append((bound, total))
    return HistogramMetricFamily(
        "mare_gateway_acknowledge_seconds",
        "Time from a reading's arrival to Kafka's acknowledgement.",
        buckets=buckets,
        sum_value=latency.get("sum", 0.0),
    )
