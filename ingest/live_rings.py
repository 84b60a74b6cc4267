"""Packet rings that are read as long as somebody watches: beside his ticks, and again when an interface comes back.

Three threads have part in it. The ring's own reader counts. The follower here takes what it publishes, several times a tick,
and opens the ring anew where it ended. Whoever watches takes from a queue what is there, and waits for neither.
"""

import contextlib
import fcntl
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ingest.rings.counters import RingCounters, RingReport
from ingest.rings.filter import Filter
from ingest.rings.layout import Following
from ingest.rings.packet import PacketRing
from ingest.rings.tpacket import IFF_UP, SIOCGIFFLAGS, InterfaceDown, NoSuchInterface, NotPermitted, RingError
from ingest.sample import Event
from tuner.host.text import printable

PARTS_EACH_TICK = 2
LONGEST_PART_S, SHORTEST_PART_S = 0.5, 0.05
_LOOK_S = 0.1  # for an interface that is gone: two system calls
_AGAIN_S = 5.0  # after a failure that is not the interface's
_KEPT = 4  # parts that nobody took; then they become one
_NOT_COUNTED = "what was sent meanwhile is in no counter of this host"


@dataclass(frozen=True, slots=True)
class Part:
    """What a ring counted between two looks.

    ``opening`` counts how often the ring was opened, from 0: its ``followed`` counts since then. ``from_ns`` and ``until_ns``
    are CLOCK_MONOTONIC, rather too early than too late. ``sources``: interface as the report shows it -> as it was asked for.
    """

    opening: int
    from_ns: int
    until_ns: int
    report: RingReport
    sources: Mapping[str, str]

    def merged(self, later: "Part") -> "Part":
        """Both, of one opening, as one."""
        first, second = self.report, later.report
        rings = tuple(map(RingCounters.merged, first.rings, second.rings))
        return replace(later, from_ns=self.from_ns, report=replace(second, rings=rings, seconds=first.seconds + second.seconds))


@dataclass(frozen=True, slots=True)
class Turn:
    """An interface vanished or came back. ``here``: those that are read from now on; ``new``: those that came back just now."""

    events: tuple[Event, ...]
    here: frozenset[str]
    new: tuple[str, ...] = ()


class LiveRings:
    """One reader for the rings of some interfaces.

    Args:
        interfaces: their names; each has to be up at the beginning.
        following: which datagrams' numbers to follow.
        wanted: which packets; None: all.
        tick_s: how often somebody will look; he is to find new figures each time.

    Raises:
        RingError, FilterError, WalkerMissing: as ``PacketRing.open``. Nothing is left open then.
    """

    def __init__(
        self, interfaces: Sequence[str], following: Following | None = None, wanted: Filter | None = None, tick_s: float = 1.0
    ) -> None:
        self.interfaces = tuple(interfaces)
        self._following = following
        self._wanted = wanted
        self._part_s = min(LONGEST_PART_S, max(SHORTEST_PART_S, tick_s / PARTS_EACH_TICK))
        self._told: deque[Part | Turn] = deque()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._openings = -1
        self._numbers: dict[str, int] = {}
        self._gone_ns: dict[str, int] = {}
        self._changing = threading.Lock()  # of the ring itself; never held for long, and never by who takes
        try:
            self._ring: PacketRing | None = self._opened(self.interfaces)
        except BaseException:
            self._socket.close()
            raise
        self.walker = self._ring.walker if self._ring is not None else ""

    def start(self) -> None:
        """Begins to read. To be called once whatever is to be given up was: the threads inherit what is left."""
        self._thread = threading.Thread(target=self._follow, name="ring-follower")
        self._thread.start()

    def take(self) -> list[Part | Turn]:
        """What there is, the oldest first, without waiting."""
        found: list[Part | Turn] = []
        with contextlib.suppress(IndexError):
            while True:
                found.append(self._told.popleft())
        return found

    def close(self) -> None:
        """Ends reading and gives the rings back."""
        self._ending.set()
        with self._changing:
            if self._ring is not None and self._thread is not None:
                self._ring.stop()
        if self._thread is not None:
            self._thread.join()
        if self._ring is not None:
            self._ring.close()
        self._socket.close()

    # ---- the follower's thread

    def _opened(self, interfaces: Sequence[str]) -> PacketRing:
        names = {name: self._called(name) for name in interfaces}
        self._sources = {printable(called): printable(name) for name, called in names.items()}
        began_ns = time.monotonic_ns()
        ring = PacketRing.open(*map(self._called, interfaces), following=self._following, filter=self._wanted)
        for name, called in names.items():
            with contextlib.suppress(OSError):  # gone again: the ring will say so
                self._numbers[name] = socket.if_nametoindex(called)
        self._openings += 1
        self._until_ns = began_ns
        return ring

    def _called(self, name: str) -> str:
        """What an interface is called now that was asked for by this name."""
        with contextlib.suppress(OSError):
            return socket.if_indextoname(self._numbers.get(name, 0))
        return name

    def _follow(self) -> None:
        while not self._ending.is_set():
            failed = self._read() if self._ring is not None else ""
            if failed and not self._ending.is_set():
                self._tell(Event("crit", "packet ring", failed))
                self._ending.wait(_AGAIN_S)
            while self._ring is None and not self._ending.is_set():
                self._open_again()

    def _read(self) -> str:
        """Reads until the ring ends; why, where that is no interface's doing."""
        ring, failed = self._ring, ""
        if ring is None:
            return failed
        try:
            for report in ring.run(interval=self._part_s):
                self._take_part(report)
                if self._is_back():
                    ring.stop()
        except Exception as error:  # noqa: BLE001 (the reader's own; whatever it is, it is told, and tried again)
            failed = f"the reader failed: {printable(str(error), 200)}"
        if self._ending.is_set():
            return ""
        with self._changing:
            self._ring = None
        ring.close()
        lost = [name for name in self.interfaces if name not in self._gone_ns and self._is_gone(name)]
        self._gone_ns |= dict.fromkeys(lost, time.monotonic_ns())
        what = "the interface vanished and its ring with it; what came until then is counted; waiting for its return"
        if lost:
            self._tell(*(Event("warn", printable(name), what) for name in lost))
        return failed or ("" if lost else ring.report().error or "")

    def _take_part(self, report: RingReport) -> None:
        from_ns, self._until_ns = self._until_ns, self._until_ns + round(report.seconds * 1e9)
        part = Part(self._openings, from_ns, self._until_ns, report, self._sources)
        if len(self._told) >= _KEPT:
            with contextlib.suppress(IndexError):  # somebody takes them just now
                last = self._told.pop()
                if isinstance(last, Part) and last.opening == part.opening:
                    part = last.merged(part)
                else:
                    self._told.append(last)
        self._told.append(part)

    def _open_again(self) -> None:
        here = [name for name in self.interfaces if self._is_up(self._called(name))]
        if not here:
            self._ending.wait(_LOOK_S)
            return
        try:
            ring = self._opened(here)
        except (NoSuchInterface, InterfaceDown):
            self._ending.wait(_LOOK_S)  # it went away again
        except NotPermitted as error:
            self._tell(Event("crit", "packet ring", f"it cannot be opened again: {error}"))
            self._ending.wait()
        except (RingError, OSError, ValueError) as error:  # ValueError: a filter that this one's kind of link cannot have
            self._tell(Event("crit", "packet ring", f"it cannot be opened again yet: {printable(str(error), 200)}"))
            self._ending.wait(_AGAIN_S)
        else:
            with self._changing:
                self._ring = ring
            self._tell_return(here)

    def _tell_return(self, here: Sequence[str]) -> None:
        now_ns = time.monotonic_ns()
        back = {name: now_ns - self._gone_ns.pop(name) for name in here if name in self._gone_ns}
        for name in set(self.interfaces) - set(here):
            self._gone_ns.setdefault(name, now_ns)  # there, but down
        what = "the interface is back and its ring open again after {:.1f} s; " + _NOT_COUNTED
        events = [Event("info", printable(name), what.format(ns / 1e9)) for name, ns in back.items()]
        paused = "not read for a moment, while the ring was opened anew for other interfaces; " + _NOT_COUNTED
        events += [Event("info", printable(name), paused) for name in here if name not in back]
        self._tell(*events, new=tuple(back))

    def _tell(self, *events: Event, new: tuple[str, ...] = ()) -> None:
        here = frozenset(name for name in self.interfaces if name not in self._gone_ns)
        self._told.append(Turn(events, here, new))

    def _is_back(self) -> bool:
        return any(self._is_up(self._called(name)) for name in self._gone_ns)

    def _is_gone(self, name: str) -> bool:
        try:
            socket.if_indextoname(self._numbers.get(name, 0))
        except OSError:
            return True
        return False

    def _is_up(self, called: str) -> bool:
        with contextlib.suppress(OSError):
            request = struct.pack("16s24x", called.encode("utf-8", "surrogateescape"))
            flags: int = struct.unpack_from("=H", fcntl.ioctl(self._socket, SIOCGIFFLAGS, request), 16)[0]
            return bool(flags & IFF_UP)
        return False
