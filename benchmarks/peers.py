"""The gateway's peers: other ways from a UDP port into Kafka.

All have the gateway's port, receive buffer and broker, and a fresh topic of their own. They do less for a line than
the gateway does, and `does` says what.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from string import Template

from benchmarks.receivers import Count, Gateway, Receiver
from maredata.errors import MachineError, SettingsError

_RSYSLOG_MODULES = ("/usr/lib/*/rsyslog", "/usr/lib/rsyslog", "/usr/lib64/rsyslog")
_RSYSLOG_PACKAGES = ("rsyslog", "rsyslog-kafka")


class Bare(Receiver):
    name = "bare"
    topic = "bench.bare"
    does = "socket.recv and produce in one Python process: bytes as they came, no check, no key, no count, no spool"

    def command(self) -> list[str]:
        udp = self.settings.udp
        given = (udp.host, udp.port, udp.receive_buffer, self.settings.kafka.bootstrap, self.topic)
        return [sys.executable, "-m", "benchmarks.bare", *map(str, given)]

    def counted(self) -> Count:
        try:
            said = json.loads(self.out.read_text())
        except (OSError, ValueError):
            return Count(None, None)
        return Count(said["received"], said["published"])


class Rsyslog(Receiver):
    name = "rsyslog"
    topic = "bench.rsyslog"
    does = "imudp to omkafka, in C: bytes as they came (%rawmsg%), no check, no key, no spool"

    def prepare(self) -> None:
        udp = self.settings.udp
        values = {
            "folder": str(self.folder),
            "host": udp.host,
            "port": str(udp.port),
            "buffer": str(udp.receive_buffer),
            "bootstrap": self.settings.kafka.bootstrap,
            "topic": self.topic,
        }
        template = Template((Path(__file__).parent / "rsyslog.conf").read_text("utf-8"))
        (self.folder / "conf").write_text(template.safe_substitute(values), "utf-8")

    def command(self) -> list[str]:
        pid_file = self.folder / "pid"
        return [_rsyslogd() or "rsyslogd", "-n", "-f", str(self.folder / "conf"), "-i", str(pid_file)]

    def counted(self) -> Count:
        """By its statistics, which it writes every second."""
        try:
            return rsyslog_count((self.folder / "stats").read_text("utf-8"))
        except OSError:
            return Count(None, None)


RECEIVERS: dict[str, type[Receiver]] = {kind.name: kind for kind in (Gateway, Bare, Rsyslog)}
PEERS = tuple(name for name in RECEIVERS if name != Gateway.name)


def parse_peers(text: str) -> tuple[str, ...]:
    """The names in a text such as `bare,rsyslog`, or of none in `none`. Raises SettingsError."""
    names = tuple(name.strip() for name in text.split(",") if name.strip() not in ("", "none"))
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise SettingsError(f"There is no peer {unknown[0]!r}: --peers takes some of {', '.join(PEERS)}, or none.")
    return names


def rsyslog_count(stats: str) -> Count:
    """The last numbers in the file of `impstats`. Its input counts for each of its threads, and in a sum of them."""
    inputs: dict[str, int] = {}
    published = None
    for line in stats.splitlines():
        start = line.find("{")
        if start < 0:
            continue
        try:
            counter = json.loads(line[start:])
        except ValueError:  # the line that is being written
            continue
        if counter.get("origin") == "imudp" and "submitted" in counter:
            inputs[counter["name"]] = counter["submitted"]
        elif counter.get("origin") == "omkafka" and "submitted" in counter:
            published = counter["submitted"] - counter.get("failures", 0)
    return Count(sum(inputs.values()) if inputs else None, published)


def check_peers(peers: tuple[str, ...]) -> None:
    """Raises MachineError where one of them is not installed."""
    if Rsyslog.name in peers and not rsyslog_installed():
        raise MachineError(
            "The peer rsyslog is not installed: add --install-peers (as root, on Debian), run"
            f" `apt-get install {' '.join(_RSYSLOG_PACKAGES)}`, or leave it out with --peers bare."
        )


def install_peers() -> None:
    """Installs rsyslog with Debian's own tool. Raises MachineError."""
    if rsyslog_installed():
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *_RSYSLOG_PACKAGES]
    shown = " ".join(command)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MachineError(f"--install-peers needs root and apt-get: let somebody who may run `{shown}`.")
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        said = (result.stderr.strip().splitlines() or ["(it said nothing)"])[-1]
        raise MachineError(f"`{shown}` failed: “{said}”. After `apt-get update` it may go.")


def rsyslog_installed() -> bool:
    return _rsyslogd() is not None and any(
        path.exists() for pattern in _RSYSLOG_MODULES for path in Path("/").glob(f"{pattern[1:]}/omkafka.so")
    )


def _rsyslogd() -> str | None:
    return shutil.which("rsyslogd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
