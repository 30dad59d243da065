"""Buoys in one process: paced against the monotonic clock, sent over UDP.

The readings of N buoys at R a second are one row: number n is due n/(N·R) seconds after the beginning, is
made by buoy n modulo N, and is that buoy's reading number n div N, which is its `seq`. So buoys are spread
evenly over each period, and nothing but n decides what comes next.

What is the same for the same seed, schema, buoys and rate:
- with `start`, every reading, byte by byte: its instant is `start` plus n/(N·R) seconds, whatever the machine
  does meanwhile. Faults change only which of them are sent, when and how often; but a late one is the reading
  of an earlier instant.
- without `start` timestamps are true, and so differ from run to run. How the weather and the buoys behave,
  and which readings faults fall on, stay the same.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from maredata.errors import MareError
from maredata.names import FIRST_DEMO_SENSOR
from maredata.schema import Schema
from maredata.timestamps import LATEST_MICROS
from udp_client.buoy import Buoy, Fleet
from udp_client.faults import Faults

LARGEST_DATAGRAM = 65_507  # bytes of payload that UDP over IPv4 can carry

_TICK = 0.005  # seconds: waking more often than that costs more than the readings themselves
_MOST_LAG = 1.0  # seconds that are made up for; what goes beyond is given up, and said
_MOST_AT_ONCE = 1000  # readings between two looks at the clock
_LONGEST_SLEEP = 0.1  # seconds after which `stopped` is asked again


class EmulationError(MareError):
    """The buoys can't be emulated as asked."""

    exit_status = 2


@dataclass(frozen=True)
class Options:
    """What is emulated. Without `duration` (seconds) and `count` (readings in all) it goes on until stopped.

    `start` is an instant in microseconds since 1970 UTC. A datagram waits until it has `lines_per_datagram`
    lines or no room for the next, so few slow buoys with many lines send seldom.
    """

    host: str = "127.0.0.1"
    port: int = 20001
    first_sensor_id: int = FIRST_DEMO_SENSOR
    buoys: int = 2
    rate: float = 1.0  # readings a second of each buoy
    duration: float | None = None
    count: int | None = None
    seed: int = 0
    lines_per_datagram: int = 1
    loss: float = 0.0
    duplicate: float = 0.0
    disorder: float = 0.0
    late: float = 0.0
    malformed: float = 0.0
    start: int | None = None
    replay: Path | None = None

    @property
    def probabilities(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("loss", "duplicate", "disorder", "late", "malformed")}


@dataclass(frozen=True)
class Report:
    """What was done so far.

    `lines` were sent: `readings` - `lost` + `duplicated` + `malformed`, less what waits and what the kernel
    refused. `datagrams` are those the kernel took; `send_errors` counts those it refused, and answers that
    nobody listens. `slipped` are the seconds by which the schedule was put off, this machine being too slow.
    """

    readings: int
    lines: int
    datagrams: int
    lost: int
    duplicated: int
    disordered: int
    late: int
    malformed: int
    elapsed: float
    wanted_rate: float
    true_rate: float
    slipped: float
    send_errors: int


def emulate(options: Options, schema: Schema, stopped: Callable[[], bool], report: Callable[[Report], None]) -> Report:
    """Emulates buoys, or replays a file, until the duration, the count, the file's end, or `stopped`.

    `report` is called once a second with what was done so far.

    Raises:
        EmulationError: the options can't be, or there is nothing to send or nowhere to send it to.
    """
    _refuse_impossible(options)
    faults = _faults(options)
    batches = _replay(options.replay) if options.replay else _readings(options, _buoys(options, schema), faults)
    with _connected(options.host, options.port) as connection:
        sender = _Sender(connection, options.lines_per_datagram)
        schedule = _Schedule(options.buoys * options.rate, options.duration, options.count)

        def done_so_far() -> Report:
            elapsed = time.monotonic() - schedule.begun
            rate = schedule.done / elapsed if elapsed else 0.0
            return Report(
                readings=schedule.done,
                lines=sender.lines,
                datagrams=sender.datagrams,
                **vars(faults.counts),
                elapsed=elapsed,
                wanted_rate=schedule.rate,
                # The first reading is due at once, so a short run seems faster than its schedule.
                true_rate=min(rate, schedule.rate),
                slipped=schedule.slipped,
                send_errors=sender.errors,
            )

        _send_in_time(batches, schedule, sender, stopped, lambda: report(done_so_far()))
        for line in faults.rest():
            sender.add(line)
        sender.finish()
        return done_so_far()


class _Schedule:
    """When readings are due: by an absolute clock, so that no delay adds up."""

    def __init__(self, rate: float, duration: float | None, count: int | None) -> None:
        self.rate = rate
        self.done = 0
        self.slipped = 0.0
        self.begun = time.monotonic()
        self._zero = self.begun  # when reading number 0 would have been due
        self._end = self.begun + duration if duration is not None else math.inf
        self._count = count if count is not None else math.inf

    def due(self) -> int:
        """How many readings are to be made now; puts the schedule off when it can't be kept."""
        now = time.monotonic()
        lag = now - self._time_of(self.done)
        if lag > _MOST_LAG and self.done < self._last():
            self._zero += lag
            self.slipped += lag
        ripe = math.floor((now - self._zero) * self.rate) + 1
        return int(max(0, min(ripe, self._last(), self.done + _MOST_AT_ONCE) - self.done))

    def over(self) -> bool:
        """The duration is over, or the count is full."""
        return self.done >= self._count or (self.done >= self._last() and time.monotonic() >= self._end)

    def rest(self) -> float:
        """Seconds to sleep now: until the next reading or the end."""
        if self.done >= self._count:
            return 0.0
        now = time.monotonic()
        awake = self._end if self.done >= self._last() else max(self._time_of(self.done), now + _TICK)
        return max(0.0, min(awake - now, _LONGEST_SLEEP))

    def _time_of(self, number: int) -> float:
        return self._zero + number / self.rate

    def _last(self) -> float:
        """How many readings are due before the end. The millionth keeps rounding from adding one."""
        if math.isinf(self._end):
            return self._count
        return min(self._count, math.ceil((self._end - self._zero) * self.rate - 1e-6))


class _Sender:
    """Joins lines into datagrams and sends them."""

    def __init__(self, connection: socket.socket, lines_per_datagram: int) -> None:
        self.lines = 0
        self.datagrams = 0
        self.errors = 0
        self._connection = connection
        self._most = lines_per_datagram
        self._waiting: list[bytes] = []
        self._size = 0

    def add(self, line: bytes) -> None:
        if self._waiting and self._size + len(line) > LARGEST_DATAGRAM:
            self._send()
        self._waiting.append(line)
        self._size += len(line) + 1
        if len(self._waiting) >= self._most:
            self._send()

    def finish(self) -> None:
        """Sends what waits, and counts the answer to the last datagram."""
        if self._waiting:
            self._send()
        if self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.errors += 1

    def _send(self) -> None:
        payload = b"\n".join(self._waiting)
        sent = len(self._waiting)
        self._waiting.clear()
        self._size = 0
        try:
            try:
                self._connection.send(payload)
            except ConnectionRefusedError:
                # That is the answer to the datagram before; this one was not tried yet.
                self.errors += 1
                self._connection.send(payload)
        except OSError:
            self.errors += 1
            return
        self.datagrams += 1
        self.lines += sent


def _send_in_time(
    batches: Iterator[list[bytes]],
    schedule: _Schedule,
    sender: _Sender,
    stopped: Callable[[], bool],
    report: Callable[[], None],
) -> None:
    next_report = schedule.begun + 1
    while not (schedule.over() or stopped()):
        due = schedule.due()
        made = 0
        for lines in islice(batches, due):
            made += 1
            for line in lines:
                sender.add(line)
        schedule.done += made
        if made < due:
            return  # the file's end
        if time.monotonic() >= next_report:
            report()
            next_report = max(next_report + 1, time.monotonic())
        if due < _MOST_AT_ONCE:
            time.sleep(schedule.rest())


def _faults(options: Options) -> Faults:
    return Faults(
        options.seed,
        loss=options.loss,
        duplicate=options.duplicate,
        disorder=options.disorder,
        late=options.late,
        malformed=options.malformed,
        lone_lines=options.lines_per_datagram == 1,
    )


def _buoys(options: Options, schema: Schema) -> list[Buoy]:
    fleet, first = Fleet(schema, options.seed), options.first_sensor_id
    buoys = [fleet.buoy(first + number, at_observatory=number == 0) for number in range(options.buoys)]
    begin = options.start if options.start is not None else time.time_ns() // 1000
    for buoy in buoys:
        # The first line is the dearest: thousands of them must not fall into the schedule's first second.
        buoy.line(0, begin)
    return buoys


def _readings(options: Options, buoys: list[Buoy], faults: Faults) -> Iterator[list[bytes]]:
    """For each reading the lines to send, without end."""
    instants = _true_instants(options.buoys) if options.start is None else _simulated_instants(options)
    for number, micros in zip(count(), instants, strict=False):
        seq, place = divmod(number, len(buoys))
        buoy = buoys[place]
        if not faults.any:
            yield [buoy.line(seq, micros)]
            continue
        late = faults.makes_late()
        line = buoy.line(seq, micros - buoy.nature.lateness if late else micros)
        yield faults.spoil(place, line, late)


def _true_instants(buoys: int) -> Iterator[int]:
    """Now, in even microseconds (see `Buoy`); later than the buoy's last one although a clock is set back."""
    last = [0] * buoys
    for number in count():
        place = number % buoys
        last[place] = micros = max(time.time_ns() // 2000 * 2, last[place] + 2)
        yield micros


def _simulated_instants(options: Options) -> Iterator[int]:
    start, pairs = options.start or 0, 500_000 / (options.buoys * options.rate)
    return (start + 2 * int(number * pairs) for number in count())


def _replay(path: Path) -> Iterator[list[bytes]]:
    with path.open("rb") as lines:
        for line in lines:
            yield [line.removesuffix(b"\n")]


def _connected(host: str, port: int) -> socket.socket:
    """A UDP socket with one peer: the kernel then says when nobody listens there, and sending is cheaper."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        # Of both, IPv4: the gateway listens there unless told otherwise, and UDP can't find out by trying.
        family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        connection = socket.socket(family, kind, protocol)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
    except OSError as error:
        raise EmulationError(f"There is no way to {host}:{port} ({error.strerror}): name another host.") from None
    return connection


def _refuse_impossible(options: Options) -> None:
    """Raises EmulationError with the first thing that can't be."""
    if options.buoys < 1 or options.lines_per_datagram < 1:
        raise EmulationError("An emulation needs at least one buoy and one line in a datagram: ask for 1 or more.")
    if not 0 < options.rate <= 100_000:
        raise EmulationError(f"A buoy can't make {options.rate} readings a second: choose above 0, to 100000.")
    if not 0 <= options.first_sensor_id <= 2**63 - options.buoys:
        raise EmulationError(f"Sensor {options.first_sensor_id} is outside 64 bits: choose a smaller number.")
    if not 1 <= options.port <= 65_535:
        raise EmulationError(f"There is no UDP port {options.port}: choose 1 to 65535.")
    if options.start is not None and not 0 <= options.start <= LATEST_MICROS:
        raise EmulationError("The start is outside 1970 to 2262: choose an instant within.")
    for name, probability in options.probabilities.items():
        if not 0 <= probability <= 1:
            raise EmulationError(f"The probability of {name} can't be {probability}: choose 0 to 1.")
    if options.replay is not None:
        _refuse_replay(options, options.replay)


def _refuse_replay(options: Options, path: Path) -> None:
    if any(options.probabilities.values()) or options.start is not None:
        raise EmulationError("A replay sends a file's lines as they are: leave out faults and the start.")
    try:
        with path.open("rb") as lines:
            if not lines.read(1):
                raise EmulationError(f"{path} is empty: name a file with a reading on each line.")
    except OSError as error:
        raise EmulationError(f"{path} can't be read ({error.strerror}): name a file with readings.") from None
