"""A worker process, as the gateway starts it: `python -m udp_server.worker`, told on its command line what to do."""

from __future__ import annotations

import fcntl
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import socket

import msgspec

from maredata.errors import EngineAlreadyRunning
from maredata.log import Without, log_to_stderr
from maredata.settings import load_settings
from udp_server.files import WorkerFiles
from udp_server.server import Server

_LOCK_SECONDS = 20.0  # for a worker whose parent was killed to end in order


class Orders(msgspec.Struct, frozen=True):
    """What a worker is told. The sockets are file descriptors that it inherits; without `udp` it empties its spool.

    `parent` is the reading end of a pipe that ends with the parent; `run` is another one at each of its starts.
    """

    number: int
    parent: int
    run: str
    udp: int | None = None
    tcp: int | None = None
    accepted_log: str | None = None


def main(orders: Orders) -> None:
    settings = load_settings(env_file=None)  # the parent has told all of them through the environment
    log_to_stderr("udp_server", settings.log_format, Without("enable.gapless.guarantee"))  # is experimental, we know
    _allow_connections()
    files = WorkerFiles(settings, orders.number)
    udp = socket(fileno=orders.udp) if orders.udp is not None else None
    tcp = socket(fileno=orders.tcp) if orders.tcp is not None else None
    accepted_log = Path(orders.accepted_log) if orders.accepted_log else None
    with _alone(files):
        Server(settings, files, udp, tcp, accepted_log, orders.parent, orders.run).run()


def _allow_connections() -> None:
    """Each TCP connection takes an open file, of which a process may have 1024 unless it asks for more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS names a limit that it doesn't grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def _alone(files: WorkerFiles) -> Iterator[None]:
    """Two workers of one number would write into one spool."""
    files.folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _LOCK_SECONDS
    with files.lock.open("w") as held:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EngineAlreadyRunning(f"Worker {files.number} of an earlier gateway does not end.") from None
            time.sleep(0.05)
        yield


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Orders))
