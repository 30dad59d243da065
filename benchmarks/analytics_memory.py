"""The same memory for both engines: a control group each, in which the page cache counts, too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")
_EVERYTHING = "3"  # of what the kernel keeps of files


class Group:
    """Whatever is started while it is `entered` may take so many bytes, the page cache of its files included."""

    def __init__(self, folder: Path, bytes_allowed: int) -> None:
        """Makes the group. Raises OSError where that is not allowed."""
        self._outside = folder
        self._folder = folder / f"mare-{os.getpid()}-{id(self):x}"
        self._folder.mkdir()
        try:
            self._limit().write_text(str(bytes_allowed))
        except OSError:
            self.remove()
            raise

    def _limit(self) -> Path:
        """Of control groups' second version, or of the first one."""
        second = self._folder / "memory.max"
        return second if second.exists() else self._folder / "memory.limit_in_bytes"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This process is in the group for a moment, since whom it starts is then in it from the first byte on."""
        pid = str(os.getpid())
        (self._folder / "cgroup.procs").write_text(pid)
        try:
            yield
        finally:
            (self._outside / "cgroup.procs").write_text(pid)

    def remove(self) -> None:
        """Once nothing is in it any more."""
        with suppress(OSError):
            self._folder.rmdir()


def groups(names: tuple[str, ...], bytes_allowed: int) -> dict[str, Group]:
    """A group for each name; none at all where this account may not make any."""
    found: dict[str, Group] = {}
    folder = own_folder(_GROUPS, Path("/proc/self/cgroup").read_text("utf-8"))
    try:
        for name in names:
            found[name] = Group(folder, bytes_allowed)
    except OSError:
        for group in found.values():
            group.remove()
        return {}
    return found


def own_folder(root: Path, groups_of_process: str) -> Path:
    """The group that this process is in, by the text of /proc/self/cgroup; the root where it can't be seen."""
    rows = [row.split(":", 2) for row in groups_of_process.splitlines()]
    first = next((path for _, controllers, path in rows if "memory" in controllers.split(",")), None)
    base, path = (
        (root / "memory", first) if first is not None else (root, next((p for n, _, p in rows if n == "0"), "/"))
    )
    own = base / path.lstrip("/")
    return own if own.exists() else base


def drop_page_cache(sync: Callable[[], None] = os.sync, file: Path = _DROP_CACHES) -> bool:
    """Forgets what the kernel keeps of files; False where this account may not ask for it."""
    sync()
    try:
        file.write_text(_EVERYTHING)
    except OSError:
        return False
    return True
