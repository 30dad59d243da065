"""One sentence for an address that can't be listened on, whoever needs it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from maredata.errors import EngineAlreadyRunning, MachineError


@contextmanager
def explained(program: str, protocol: str, host: str, port: int, section: str) -> Iterator[None]:
    """Around what binds to the address of `program`, which MARE_`section`__HOST and __PORT name.

    Raises EngineAlreadyRunning where somebody has it, MachineError where it can't be had at all.
    """
    where = f"{protocol} {host}:{port}"
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise EngineAlreadyRunning(
                f"{where} is in use, probably by a {program} that runs already:"
                f" stop it, or choose another MARE_{section}__PORT."
            ) from None
        raise MachineError(
            f"The {program} can't listen on {where} ({error.strerror or error}):"
            f" correct MARE_{section}__HOST or MARE_{section}__PORT."
        ) from None
