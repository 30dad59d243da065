"""The limit that a sink is measured against: processes that do nothing but post ready-made bulk bodies.

Run as a program it is one of them: it reads its bodies into memory, connects, waits for a line on stdin, posts them
one after the other through one connection, says how long that took, and stays until stdin is closed, so that its CPU
can be counted from outside.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType

from maredata.errors import EngineExited
from maredata.settings import CHECKOUT, Settings

_ANSWER_SECONDS = 60
_END_SECONDS = 10


class Clients:
    """`count` of them, which share the files in `folder`; started on entering, and posting from `go` on."""

    def __init__(self, settings: Settings, folder: Path, count: int) -> None:
        store = settings.elasticsearch
        program = (sys.executable, "-m", "benchmarks.plain_bulk", store.host, str(store.port), str(folder))
        self._commands = [(*program, str(number), str(count)) for number in range(count)]
        self._processes: list[subprocess.Popen[str]] = []

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def __enter__(self) -> Clients:
        """Raises EngineExited where one does not start."""
        try:
            for command in self._commands:
                # In a session of its own: Ctrl-C is for the benchmark, which ends its clients.
                process = subprocess.Popen(
                    command,
                    cwd=CHECKOUT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
                self._processes.append(process)
            for process in self._processes:
                if not process.stdout or not process.stdout.readline():
                    raise EngineExited(f"A plain bulk client did not start: {_last_words(process)}")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def go(self) -> None:
        for process in self._processes:
            if process.stdin:
                process.stdin.write("go\n")
                process.stdin.flush()

    def trouble(self) -> str:
        """Why one has ended, and will post no more; empty where all are well."""
        ended = [process for process in self._processes if process.poll() is not None]
        return f"a plain client failed: {_last_words(ended[0])}" if ended else ""

    def seconds(self) -> list[float | None]:
        """Of each, from its first request to its last answer, which is waited for; None for one that failed."""
        said = [process.stdout.readline() if process.stdout else "" for process in self._processes]
        return [float(text) if text.strip() else None for text in said]

    def _end(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    with suppress(BrokenPipeError):  # a word that a dead one has not heard
                        pipe.close()


def _last_words(process: subprocess.Popen[str]) -> str:
    said = process.stderr.read() if process.stderr else ""
    return (said.strip().splitlines() or ["it said nothing"])[-1][:300]


def main(host: str, port: int, folder: Path, number: int, count: int) -> None:
    """Every `count`-th body, beginning with the one of that number."""
    bodies = [path.read_bytes() for path in sorted(folder.iterdir())[number::count]]
    connection = HTTPConnection(host, port, timeout=_ANSWER_SECONDS)
    connection.connect()
    print("ready", flush=True)
    if not sys.stdin.readline():
        return
    began = time.monotonic()
    for body in bodies:
        post(connection, body)
    print(time.monotonic() - began, flush=True)
    sys.stdin.read()


def post(connection: HTTPConnection, body: bytes) -> None:
    """Ends the process where not every document was taken."""
    connection.request("POST", "/_bulk?filter_path=errors", body, {"Content-Type": "application/x-ndjson"})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 200 or b'"errors":false' not in said:
        sys.exit(f"Elasticsearch refused a bulk, with status {answer.status}: {said[:200].decode('utf-8', 'replace')}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
