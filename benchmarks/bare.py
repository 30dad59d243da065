"""The peer that does the least: one Python process, `socket.recv` and `produce`, and nothing is looked at.

No checks, no key, no counters, no spool. Run as `python -m benchmarks.bare HOST PORT BUFFER BOOTSTRAP TOPIC`; it ends
with SIGTERM, and then prints how many datagrams it received and published.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
from types import FrameType

from confluent_kafka import Producer

_LARGEST = 65_535
_RCVBUFFORCE = 33  # Linux's number, which Python's socket module doesn't name
_POLL_EVERY = 512
_FLUSH_SECONDS = 30


def main(host: str, port: int, buffer: int, bootstrap: str, topic: str) -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
            "message.timeout.ms": 0,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 2_000_000,
        }
    )
    producer.list_topics(topic, timeout=10)
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, buffer)
    except OSError:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    bound.bind((host, port))
    received = forward(bound, producer, topic)
    left = producer.flush(_FLUSH_SECONDS)
    print(json.dumps({"received": received, "published": received - left}))


def forward(bound: socket.socket, producer: Producer, topic: str) -> int:
    """Until SIGTERM; how many datagrams it were."""
    recv, produce, poll = bound.recv, producer.produce, producer.poll
    received = 0
    try:
        while True:
            datagram = recv(_LARGEST)
            received += 1
            try:
                produce(topic, datagram)
            except BufferError:  # Kafka is slower than we are: the next datagrams wait in the kernel, or are dropped
                poll(0.1)
                produce(topic, datagram)
            if not received % _POLL_EVERY:
                poll(0)
    except KeyboardInterrupt:
        return received


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5])
