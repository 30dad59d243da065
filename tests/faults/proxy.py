"""A TCP proxy between a sink and its store, which can reset connections and delay what passes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST instead of FIN
_CHUNK = 1 << 16
_QUEUED = 256  # chunks of a connection that wait for their time


class Proxy:
    """Listens on a port of loopback that the kernel chose, and passes everything on to `host`:`port`."""

    def __init__(self, host: str, port: int) -> None:
        self.delay = 0.0  # seconds that each chunk takes longer, in each direction
        self.connections = 0  # accepted so far
        self.resets = 0  # connections that were reset so far
        self.delayed = 0  # chunks so far
        self.passed = 0  # bytes so far
        self._target = (host, port)
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def reset_all(self) -> int:
        """Resets every connection that is open on the sink's side, and the store's with it; how many."""
        return self._run(self._reset_all())

    def round_trip(self, request: bytes = b"") -> float:
        """Seconds until the store's first byte comes through the proxy; a server that waits needs a `request`."""
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as client:
            client.sendall(request)
            client.recv(1)
        return time.monotonic() - began

    def close(self) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            there, onward = await asyncio.open_connection(*self._target)
        except OSError:  # the store is away, and the sink sees its connection closed
            writer.close()
            return
        self._open.add(writer)
        pumps = [asyncio.create_task(self._pump(reader, onward)), asyncio.create_task(self._pump(there, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open.discard(writer)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            onward.close()
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Each chunk waits for its own time, so that a delay takes nothing from the throughput."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED)

        async def write() -> None:
            while (item := await waiting.get())[1]:
                late = item[0] - self._loop.time()
                if late > 0:
                    self.delayed += 1
                    await asyncio.sleep(late)
                writer.write(item[1])
                await writer.drain()
                self.passed += len(item[1])

        writing = asyncio.create_task(write())
        try:
            with contextlib.suppress(OSError):
                while chunk := await reader.read(_CHUNK):
                    await waiting.put((self._loop.time() + self.delay, chunk))
                await waiting.put((0.0, b""))
                await writing
        finally:
            writing.cancel()

    async def _reset_all(self) -> int:
        found = [writer for writer in self._open if not writer.is_closing()]  # a closed one is soon out of the set
        for writer in found:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        self.resets += len(found)
        return len(found)

    async def _close(self) -> None:
        self._server.close()
        await self._reset_all()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
