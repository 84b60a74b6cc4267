"""Runs in the far namespace: who receives (sockets that are read slowly, or a packet ring), and the ledger of losses beside it.

One argument, a JSON object: ``observer`` (socket, ring), ``into`` (the interface), ``ports``, ``buffer_bytes`` of each socket,
``read_each`` datagrams and a pause of ``pause_s`` between, ``ring_bytes``, ``rings``, ``ring_pause_ns``, ``paused`` (the
ring is not read before it is told to).

Says ``ready``; then obeys lines: ``read`` (a paused ring is read from now on), ``drained`` (answers when what came was read:
``ip N`` datagrams are to have come to the protocols, and no more lie anywhere), ``end`` (prints one JSON object).
"""

import dataclasses
import json
import socket
import struct
import sys
import threading
import time
from typing import Any, Protocol

from ingest.collector import Collector
from ingest.feeds.formats import parse_feed
from ingest.feeds.witness import Witness
from ingest.rings.layout import Following
from ingest.rings.packet import PacketRing
from tuner.host.host import open_host

GROUP = socket.inet_aton("239.1.1.1")
SEQUENCE = struct.Struct(">10xQ")
PATIENCE_S = 20.0


class Observer(Protocol):
    """Whoever receives: reads, or waits until it has read all that there is."""

    def read(self) -> None: ...

    def drained(self, came: int) -> bool: ...

    def end(self) -> dict[str, Any]: ...


class Sockets:
    """The application: a socket for each port, read by one thread that takes its time."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._numbers: dict[int, set[int]] = {port: set() for port in order["ports"]}
        self._received = dict.fromkeys(order["ports"], 0)
        self._sockets = {port: self._opened(port) for port in order["ports"]}
        self._fast = threading.Event()
        self._idle = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _opened(self, port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, 33, self._order["buffer_bytes"] // 2)  # SO_RCVBUFFORCE; the kernel doubles it
        made.bind(("239.1.1.1", port))
        member = GROUP + socket.inet_aton("0.0.0.0") + struct.pack("=i", socket.if_nametoindex(self._order["into"]))
        made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        made.setblocking(False)
        return made

    def _run(self) -> None:
        while not self._ended:
            took = sum(self._take(port, made) for port, made in self._sockets.items())
            if not took:
                self._idle.set()
                time.sleep(0.001)
            elif not self._fast.is_set():
                time.sleep(self._order["pause_s"])

    def _take(self, port: int, made: socket.socket) -> int:
        for taken in range(self._order["read_each"]):
            try:
                datagram = made.recv(2048)
            except BlockingIOError:
                return taken
            self._received[port] += 1
            self._numbers[port].add(SEQUENCE.unpack_from(datagram)[0])
        return self._order["read_each"]

    def read(self) -> None:
        self._fast.set()

    def drained(self, came: int) -> bool:
        """Twice nothing: the last one was counted by IP a moment before it lay in its socket."""
        self._fast.set()
        for _ in range(2):
            self._idle.clear()
            if not self._idle.wait(PATIENCE_S):
                return False
        return True

    def end(self) -> dict[str, Any]:
        self._ended = True
        self._thread.join()
        gaps = {port: max(numbers, default=0) - len(numbers) for port, numbers in self._numbers.items()}
        return {"received": self._received, "gaps": gaps, "likely": None}  # open still: what is closed is not in the ledger


class Ring:
    """Our packet ring, with a witness."""

    def __init__(self, order: dict[str, Any]) -> None:
        following = Following((parse_feed("moldudp64"),))
        self._witness = Witness(open_host(), [order["into"]], following)
        self._ring = PacketRing.open(
            order["into"],
            rings=order["rings"],
            ring_bytes=order["ring_bytes"],
            pause_ns=order["ring_pause_ns"],
            following=following,
        )
        self._interval_s = max(0.01, order["ring_pause_ns"] / 1e9)  # at each of its ends the ring is read, whatever the pause
        self._thread = threading.Thread(target=self._run)
        if not order["paused"]:
            self._thread.start()

    def _run(self) -> None:
        for _ in self._ring.run(interval=self._interval_s):
            pass

    def read(self) -> None:
        self._thread.start()

    def drained(self, came: int) -> bool:
        limit = time.monotonic() + PATIENCE_S
        while (total := self._ring.report().total).reached < came or total.unaccounted:
            if time.monotonic() > limit:
                return False
            time.sleep(0.005)
        return True

    def end(self) -> dict[str, Any]:
        self._ring.stop()
        self._thread.join()
        report = self._ring.report()
        collector.losses.rings = {order["into"]: report.total.drops}
        verdicts = [dict(each.facts) for each in self._witness.verdicts(report)]
        self._ring.close()
        self._witness.close()
        return {
            "received": {stream.port: stream.received for stream in report.followed.streams},
            "gaps": {stream.port: stream.lost for stream in report.followed.streams},
            "packets": report.total.walked.packets,
            "unaccounted": report.total.unaccounted,
            "likely": verdicts,
        }


def came_to_ip() -> int:
    """Datagrams that the protocols were given: behind the taps, and before everything that may drop them."""
    with open("/proc/net/snmp", "rb") as file:
        names, values = [line.split() for line in file if line.startswith(b"Ip:")]
    return int(values[names.index(b"InReceives")])


def drained(wanted: int) -> str:
    limit = time.monotonic() + PATIENCE_S
    while came_to_ip() < wanted:
        if time.monotonic() > limit:
            return f"only {came_to_ip()} of {wanted} came to the protocols"
        time.sleep(0.002)
    return "drained" if observer.drained(wanted) else "not drained"


order = json.loads(sys.argv[1])
collector = Collector(open_host())
collector.losses.rings = {order["into"]: 0} if order["observer"] == "ring" else {}
observer: Observer = Ring(order) if order["observer"] == "ring" else Sockets(order)
before = collector.tick(everything=True)
print("ready", flush=True)
for line in sys.stdin:
    word, *rest = line.split()
    if word == "read":
        observer.read()
        print("reading", flush=True)
    elif word == "drained":
        print(drained(int(rest[0])), flush=True)
    else:
        break
told = observer.end()
after = collector.tick(everything=True)
rows = [[dataclasses.asdict(row) for row in sample.losses] for sample in (before, after)]
print(json.dumps(told | {"before": rows[0], "after": rows[1], "interval_s": after.interval_s}))
