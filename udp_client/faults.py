"""Faults on request: what the way from a buoy to the gateway does to lines.

Each fault draws from its own seeded stream, one number for every reading, so that neither pacing nor another
fault's probability changes which readings it falls on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

_HELD_MOST = 10  # readings of one buoy that wait for a later one to overtake them


@dataclass
class Counts:
    """What has happened so far, each to readings but for `malformed`, which are lines of their own."""

    lost: int = 0
    duplicated: int = 0
    disordered: int = 0
    late: int = 0
    malformed: int = 0


@dataclass
class Faults:
    """Lets each fault fall with its probability (0 to 1) on every reading.

    loss        the reading is made and counted in `seq`, and not sent; nothing else befalls it
    duplicate   the same bytes are sent twice
    disorder    the reading is sent right after the next one of its buoy (at most ten wait for the same one);
                what still waits at the end is sent then and not counted, since nothing overtook it
    late        the buoy had kept the reading back for 2 minutes to 6 hours: it is made as of that earlier
                instant (values too), with the `seq` of its sending; each buoy has one such wait
    malformed   one broken line more is sent beside the reading
    """

    seed: int
    loss: float = 0.0
    duplicate: float = 0.0
    disorder: float = 0.0
    late: float = 0.0
    malformed: float = 0.0
    lone_lines: bool = True  # each line has a datagram of its own
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self.any = any((self.loss, self.duplicate, self.disorder, self.late, self.malformed))
        names = ("loss", "duplicate", "disorder", "late", "malformed", "breakage")
        self._draws = {name: random.Random(f"{self.seed} {name}") for name in names}
        self._held: dict[int, list[list[bytes]]] = {}

    def makes_late(self) -> bool:
        """Whether the next reading is late. Ask once for every reading, before `spoil`."""
        return self._draws["late"].random() < self.late

    def spoil(self, buoy: int, line: bytes, late: bool = False) -> list[bytes]:
        """The lines that are sent now that `line` was made by `buoy`."""
        loses = self._draws["loss"].random() < self.loss
        duplicates = self._draws["duplicate"].random() < self.duplicate
        disorders = self._draws["disorder"].random() < self.disorder
        broken = self._broken(line)
        if loses:
            self.counts.lost += 1
            return broken
        copies = [line, line] if duplicates else [line]
        self.counts.duplicated += duplicates
        self.counts.late += late
        return self._ordered(buoy, copies, disorders) + broken

    def rest(self) -> list[bytes]:
        """What still waits for a later reading, at the end."""
        waiting = [line for _, held in sorted(self._held.items()) for copies in held for line in copies]
        self._held.clear()
        return waiting

    def _ordered(self, buoy: int, copies: list[bytes], disorders: bool) -> list[bytes]:
        held = self._held.get(buoy, [])
        if disorders and len(held) < _HELD_MOST:
            self._held[buoy] = [*held, copies]
            return []
        self._held.pop(buoy, None)
        self.counts.disordered += len(held)
        return copies + [line for overtaken in held for line in overtaken]

    def _broken(self, line: bytes) -> list[bytes]:
        if self._draws["malformed"].random() >= self.malformed:
            return []
        self.counts.malformed += 1
        return [self._break(line)]

    def _break(self, line: bytes) -> bytes:
        """A line that is no reading, broken in one of the ways seen in the field, never with a line break."""
        draw = self._draws["breakage"]
        ways = (
            line[: draw.randrange(1, len(line))],  # the rest did not fit
            line.replace(b'"sensor_id": ', b'"sensor_id": "x", "was": ', 1),  # a text where a number belongs
            line.replace(b'"sensor_id": ', b'"sensor_id": NaN, "was": ', 1),  # what some encoders write
            line.replace(b'"sensor_id": ', b'"sensor": ', 1),  # a field by another name
            line.replace(b'"timestamp": "', b'"timestamp": "not ', 1),
            line[:-1] + b', "note": "caf\xe9"}',  # Latin-1
            b"[" + line + b"]",
            b"$GPGGA,100604.09,4229.317,N,00311.147,E,1,08,0.9,1.2,M,48.1,M,,*47",  # another protocol
            b"\x00" * 16,  # flash that was never written
            # An empty line at a datagram's end could be taken for the end of the line before it.
            b"" if self.lone_lines else b" ",
        )
        return draw.choice(ways)
