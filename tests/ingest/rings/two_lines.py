"""Two veth pairs between two namespaces, as lines A and B of a channel; and ``quietcore ring`` as a process at their far end.

The namespaces have no name and nothing of the host's is touched. A process that reads /sys gets a mount of its own, since
sysfs shows the namespace in which it was mounted.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ingest.load.frames import header
from ingest.load.namespaces import VethPair
from ingest.load.send_native import open_socket

PROJECT = Path(__file__).parents[3]
IN_NAMESPACE = ["unshare", "-m", "sh", "-c", 'mount -t sysfs sysfs /sys && exec "$@"', "sh"]
PORTS = {"A": 30001, "B": 30002}
JUNK_PORT = 40000
FRAME_BYTES = 80
COUNT_AT, PATIENCE_S = 60, 30.0
STREAMS = {"A": "239.1.1.1:30001", "B": "239.1.1.1:30002"}
ONE_LINE = '[channel.itch]\nformat = "moldudp64"\na = "239.1.1.1:30001"\n'
TWO_LINES = ONE_LINE + 'b = "239.1.1.1:30002"\n'


def until(condition: Callable[[], Any], what: str) -> Any:
    """Waits for what counters show, never for a time."""
    limit = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < limit, f"never: {what}"
        time.sleep(0.005)
    return found


class TwoLines:
    """The pairs ``qcout`` to ``qcinto`` (line A) and ``qcout2`` to ``qcinto2`` (line B), up, and a sender for each."""

    into: ClassVar = {"A": "qcinto", "B": "qcinto2"}
    out: ClassVar = {"A": "qcout", "B": "qcout2"}

    def __init__(self, pair: VethPair) -> None:
        self.pair = pair
        pair.near.call(self._second, pair.far.fileno())
        pair.far.call(_up, self.into["B"])
        self._sockets = {line: pair.near.call(open_socket, self.out[line]) for line in "AB"}
        self.sent = {"A": 0, "B": 0}
        self.held: list[socket.socket] = []  # what a test opened in a namespace, until the end

    def _second(self, far: int) -> None:
        from pyroute2 import IPRoute

        with IPRoute() as netlink:
            netlink.link("add", ifname=self.out["B"], kind="veth", peer={"ifname": self.into["B"], "net_ns_fd": far})
        _up(self.out["B"])

    def close(self) -> None:
        for each in (*self._sockets.values(), *self.held):
            each.close()

    def reopen(self, line: str) -> None:
        """A sender on an interface that was made anew."""
        self._sockets[line].close()
        self._sockets[line] = self.pair.near.call(open_socket, self.out[line])

    def number(self, line: str, number: int, count: int = 1) -> None:
        """Sends ``count`` numbers from ``number`` on as one datagram."""
        frame = bytearray(header(FRAME_BYTES, PORTS[line], number))
        struct.pack_into(">H", frame, COUNT_AT, count)
        self._send(line, frame.ljust(FRAME_BYTES, b"\0"))

    def junk(self, line: str, packets: int) -> None:
        """Sends datagrams that no feed follows."""
        frame = header(FRAME_BYTES, JUNK_PORT).ljust(FRAME_BYTES, b"\0")
        for _ in range(packets):
            self._send(line, frame)

    def _send(self, line: str, frame: bytes | bytearray) -> None:
        while True:
            try:
                self._sockets[line].send(frame)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != 105:  # ENOBUFS: the CPU's backlog is full, and the kernel has not taken it
                    raise
                continue
            break
        self.sent[line] += 1


def _up(name: str) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        netlink.link("set", index=netlink.link_lookup(ifname=name)[0], state="up")


def linked(pair: VethPair, name: str, action: str = "set", **what: str) -> None:
    """``ip link`` in the far namespace."""

    def change() -> None:
        from pyroute2 import IPRoute

        with IPRoute() as netlink:
            netlink.link(action, index=netlink.link_lookup(ifname=name)[0], **what)

    pair.far.call(change)


def ring_command(lines: TwoLines, feed_file: Path, *words: str) -> "subprocess.Popen[str]":
    """``quietcore ring`` in the far namespace; it says every 50 ms what came."""
    sources = [f"packet:{lines.into[line]}" for line in "AB"]
    command = [sys.executable, "-m", "ui.cli.main", "ring", *sources, "--feed", "itch", "--feed-file", str(feed_file)]
    return lines.pair.far.call(
        subprocess.Popen,
        [*IN_NAMESPACE, *command, "--rings", "1", "--interval", "50ms", *words],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class RingProcess:
    """The command with ``--json``, ready when made."""

    def __init__(self, lines: TwoLines, feed_file: Path) -> None:
        self._lines = lines
        self._counted = 0
        self._process = ring_command(lines, feed_file, "--json")
        self.took()

    def took(self) -> int:
        """Packets that were read or dropped until the end of the next interval."""
        line = self._process.stdout.readline()
        assert line, self._process.stderr.read()
        total = json.loads(line)["total"]
        self._counted += total["packets"] + total["drops"]
        return self._counted

    def has_all(self) -> None:
        """Waits until all that was sent is accounted for."""
        until(lambda: self.took() == sum(self._lines.sent.values()), "every packet is accounted for")

    def stopped(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)
        until(lambda: self._state() == "T", "the reader has stopped")

    def _state(self) -> str:
        with open(f"/proc/{self._process.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]

    def goes_on(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def report(self) -> dict[str, Any]:
        """Ends it; the whole run."""
        self._process.send_signal(signal.SIGINT)
        output, words = self._process.communicate(timeout=PATIENCE_S)
        assert (self._process.returncode, words) == (0, "")
        return json.loads(output.splitlines()[-1])

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def expected(arrived: dict[str, Iterable[int]], first: dict[int, str]) -> dict[str, Any]:
    """The channel's accounting of what came on each line. ``first``: the line on which a number was sent first."""
    a, b = (set(arrived[line]) for line in "AB")
    came = a | b
    wins = {"A": len(a - b), "B": len(b - a)}
    for number in a & b:
        wins[first[number]] += 1
    return {"received": len(came), "lost": max(came) - min(came) + 1 - len(came), "both": len(a & b), "first": wins}


def verdicts(report: dict[str, Any]) -> list[tuple[str, str | None]]:
    """What was said of the channel: verdict and line."""
    return [(each["verdict"], each["line"]) for each in report["verdicts"] if "verdict" in each]


def likely(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What was said of each stream's gaps."""
    return {each["stream"]: each for each in report["verdicts"] if "stage" in each}


def missing(numbers: Sequence[int], arrived: Iterable[int]) -> int:
    return len(set(numbers) - set(arrived))
