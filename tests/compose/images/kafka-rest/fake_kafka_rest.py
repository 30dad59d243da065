"""A fake Kafka REST proxy: `GET /topics` lists the topics that Kafka has; it can do nothing else."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from kafka import KafkaConsumer

lines = Path(sys.argv[1]).read_text().splitlines()
properties = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/topics":
            self.send_error(404)
            return
        consumer = KafkaConsumer(bootstrap_servers=properties["bootstrap.servers"].removeprefix("PLAINTEXT://"))
        body = json.dumps(sorted(consumer.topics())).encode()
        consumer.close()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not on the terminal."""


listener = urlsplit(properties["listeners"])
ThreadingHTTPServer((str(listener.hostname), int(listener.port or 0)), Handler).serve_forever()
