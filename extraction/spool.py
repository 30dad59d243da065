"""Lists that are longer than memory allows: kept in files, read in order, sorted by merging."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")
Row = TypeVar("Row", bound=tuple[Any, ...])  # what can be sorted

_BLOCK = 1_000  # items that are encoded together
_RUN = 200_000  # items that are sorted in memory
_OPEN_RUNS = 64  # runs merged at once: each is an open file


class Spool(Generic[T]):
    """A list in a file: append to it, then read it, as often as you like, from the beginning."""

    def __init__(self, folder: Path, kind: type[T]) -> None:
        self._folder, self._kind = folder, kind
        self._path: Path | None = None
        self._block: list[T] = []
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(list[kind]).decode  # type: ignore[valid-type]
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, item: T) -> None:
        self._block.append(item)
        self._length += 1
        if len(self._block) >= _BLOCK:
            self._write()

    def extend(self, items: Iterable[T]) -> None:
        for item in items:
            self.append(item)

    def __iter__(self) -> Iterator[T]:
        self._write()
        if self._path is None:
            return
        with self._path.open("rb") as file:
            while head := file.read(4):
                yield from self._decode(file.read(int.from_bytes(head, "big")))

    def close(self) -> None:
        """Gives the disk space back; the spool is empty then."""
        if self._path is not None:
            self._path.unlink()
        self._path, self._block, self._length = None, [], 0

    def _write(self) -> None:
        if not self._block:
            return
        if self._path is None:
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                self._path = Path(file.name)
        encoded = self._encode(self._block)
        with self._path.open("ab") as file:
            file.write(len(encoded).to_bytes(4, "big") + encoded)
        self._block = []


class Sorter(Generic[Row]):
    """Takes items in any order and gives them back sorted, with at most one run of them in memory."""

    def __init__(self, folder: Path, kind: type[Row], run: int = _RUN, open_runs: int = _OPEN_RUNS) -> None:
        self._folder, self._kind, self._size, self._open_runs = folder, kind, run, open_runs
        self._pending: list[Row] = []
        self._runs: list[Spool[Row]] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, item: Row) -> None:
        self._pending.append(item)
        self._length += 1
        if len(self._pending) >= self._size:
            self._spill()

    def __iter__(self) -> Iterator[Row]:
        if self._runs:
            self._spill()
            return heapq.merge(*self._runs)
        self._pending.sort()
        return iter(self._pending)

    def _spill(self) -> None:
        if self._pending:
            self._pending.sort()
            self._keep(self._pending)
            self._pending = []
        if len(self._runs) >= self._open_runs:
            merged, self._runs = self._runs, []
            self._keep(heapq.merge(*merged))
            for run in merged:
                run.close()

    def _keep(self, items: Iterable[Row]) -> None:
        run = Spool(self._folder, self._kind)
        run.extend(items)
        self._runs.append(run)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`; the last one may be shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
