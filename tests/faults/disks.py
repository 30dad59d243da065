"""Small disks, to be filled: a tmpfs each, which this process mounts where nobody else sees it.

A tmpfs is made full by taking its size down to what is in it, which needs neither time nor memory.
"""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import await_true

# From the kernel's headers: Python has no calls for these before 3.12, or none at all.
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_REMOUNT = 0x20
_MS_REC = 0x4000
_MS_PRIVATE = 1 << 18
_MNT_DETACH = 2

_LITTLE = 4096  # bytes left at most where it is full


class NoSmallDisks(Exception):
    """This machine lets us mount nothing; the sentence says why."""


def own_mounts() -> None:
    """From now on, what this process and its children mount is theirs alone, and gone with the last of them.

    Without root it takes a user namespace as well, which the kernel grants to processes without threads only; in it
    we stay who we are. Raises NoSmallDisks.
    """
    user, group = os.geteuid(), os.getegid()
    try:
        _call("unshare", _CLONE_NEWNS | (_CLONE_NEWUSER if user else 0))
        if user:
            for name, content in (
                ("setgroups", "deny"),
                ("uid_map", f"{user} {user} 1"),
                ("gid_map", f"{group} {group} 1"),
            ):
                Path(f"/proc/self/{name}").write_text(content, "ascii")
        _mount(None, Path("/"), _MS_REC | _MS_PRIVATE)
    except OSError as error:
        raise NoSmallDisks(
            f"no disk of our own can be mounted here ({error.strerror}): run it as root, or where unprivileged user"
            " namespaces are allowed"
        ) from None


@dataclass(frozen=True)
class SmallDisk:
    """A tmpfs of `size` bytes at most at `path`."""

    path: Path
    size: int

    @classmethod
    def mounted(cls, path: Path, size: int) -> SmallDisk:
        """Raises NoSmallDisks."""
        path.mkdir(parents=True, exist_ok=True)
        try:
            _mount("tmpfs", path, 0, f"size={size},mode=0755")
        except OSError as error:
            raise NoSmallDisks(f"no tmpfs can be mounted at {path} ({error.strerror})") from None
        return cls(path, size)

    @property
    def free(self) -> int:
        """Bytes."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Leaves so many bytes, whatever its users write meanwhile."""
        await_true(lambda: self._shrink(leave), 10, f"{self.path} is full")

    def refuses(self) -> bool:
        """Whether it really takes no more."""
        trial = self.path / ".trial"
        try:
            trial.write_bytes(bytes(2 * _LITTLE))
        except OSError as error:
            return error.errno == errno.ENOSPC
        finally:
            trial.unlink(missing_ok=True)
        return False

    def empty(self) -> None:
        """There is room again."""
        _mount("tmpfs", self.path, _MS_REMOUNT, f"size={self.size}")

    def unmount(self) -> None:
        """Whatever is in it is gone."""
        _call("umount2", os.fsencode(self.path), _MNT_DETACH)

    def _shrink(self, leave: int) -> bool:
        found = os.statvfs(self.path)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        try:
            _mount("tmpfs", self.path, _MS_REMOUNT, f"size={used + leave}")
        except OSError as error:
            if error.errno != errno.EINVAL:  # less than what is in it by now
                raise
        return self.free <= leave + _LITTLE


def _mount(kind: str | None, path: Path, flags: int, options: str = "") -> None:
    name = kind.encode() if kind else None
    _call("mount", name or b"none", os.fsencode(path), name, ctypes.c_ulong(flags), options.encode() or None)


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc[name](*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
