"""The thread that reads some of a tap's rings, and ends so that every packet is accounted for.

One reader for all rings disturbs one CPU. One for each receiving core reads the packets where they lie in the caches, and
readers share nothing but the streams that several of them see (``shared.h``). Each takes the counters of its own rings, by its
own clock; ``PacketRing`` brings them together.
"""

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ingest.rings.bpf import TAKE_NOTHING
from ingest.rings.counters import ReaderUse, RingCounters, Walked
from ingest.rings.tap import Tap
from ingest.rings.tpacket import RingError, Settling, TpacketSocket
from ingest.rings.walk import Ended, Walker
from tuner.host.text import printable
from tuner.host.threads import current_cpu

PAUSE_NS = 100_000
_TICK_NS = 10 * 1_000_000_000  # PACKET_STATISTICS is 32 bits wide and has to be read now and then
_DOWN_NS = 200_000_000
_SETTLE_NS = 500_000_000


@dataclass(frozen=True, slots=True)
class Schedule:
    """When all readers of a run come back, CLOCK_MONOTONIC ns: the same moments for each."""

    start_ns: int
    end_ns: int | None
    step_ns: int

    @classmethod
    def of(cls, seconds: float | None, interval: float | None) -> "Schedule":
        """From now on."""
        start = time.monotonic_ns()
        end = start + round(seconds * 1e9) if seconds is not None else None
        return cls(start, end, round(interval * 1e9) if interval is not None else _TICK_NS)


@dataclass(frozen=True, slots=True)
class Collected:
    """What one reader counted since it said so last. ``tick``: how many steps of the schedule are over; None: between two."""

    rings: tuple[RingCounters, ...]
    now_ns: int
    use: ReaderUse
    tick: int | None


class Ending:
    """Shuts the rings, once, for all readers.

    First the filter lets nothing more in; then those packets end that had passed it before. From ``is_over`` on nothing enters
    any ring.
    """

    def __init__(self, sockets: Sequence[TpacketSocket]) -> None:
        self.shut_ns = time.monotonic_ns()
        self.failure: BaseException | None = None
        self._sockets = sockets
        self._settling = Settling()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """In a thread of its own: both take tens of milliseconds under load, and the readers have to go on reading."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._shut, name="ring-shut")
                self._thread.start()

    def is_over(self) -> bool:
        """Whether nothing is under way any more, or it failed."""
        return self._thread is not None and not self._thread.is_alive()

    def close(self) -> None:
        """Gives up what was kept for it."""
        self._settling.wait()

    def _shut(self) -> None:
        try:
            for each in self._sockets:
                each.take(TAKE_NOTHING)
            self.shut_ns = time.monotonic_ns()
            self._settling.wait()
        except (OSError, RingError) as error:
            self.failure = error


class RingReader:
    """One thread's rings. ``error`` says what of the interfaces ended the run; None: nothing did.

    ``collected`` takes what was counted, and says how many packets of these rings are unaccounted for since the start.
    """

    def __init__(
        self,
        walker: Walker,
        rings: Sequence[tuple[Tap, TpacketSocket, RingCounters]],
        cpu: int | None,
        pause_ns: int,
        stop_fd: int,
        ending: Ending,
        collected: Callable[[Collected], int],
    ) -> None:
        self.error: str | None = None
        self._walker = walker
        self._taps = [tap for tap, _, _ in rings]
        self._sockets = [tapped for _, tapped, _ in rings]
        self._empty = tuple(empty for _, _, empty in rings)
        self._cpu = cpu
        self._pause_ns = pause_ns
        self._stop_fd = stop_fd
        self._ending = ending
        self._collected = collected
        self._down = False

    def read(self, schedule: Schedule, stop: Callable[[], None]) -> None:
        """Until the schedule's end, ``stop`` of the walker, or the end of an interface; and then what is left.

        Args:
            schedule: that of all readers.
            stop: of all readers: when one ends, all do.

        Raises:
            RingError: this thread cannot run on its CPU.
            OSError: the kernel refused what it never refuses.
        """
        self._pin()
        self._follow(schedule)
        stop()
        self._account_for_all()

    def _pin(self) -> None:
        if self._cpu is None:
            return
        try:
            os.sched_setaffinity(0, {self._cpu})  # 0: this thread
        except (OSError, ValueError, OverflowError) as error:
            raise RingError(f"the reader cannot run on CPU {self._cpu}: it is not online, or not in this cpuset") from error

    def _follow(self, schedule: Schedule) -> None:
        end, step = schedule.end_ns, schedule.step_ns
        ticks = 1
        fds = [each.fileno() for each in self._sockets]
        while True:
            tick = schedule.start_ns + ticks * step
            until = min(tick, end or tick)
            if self._down:
                until = min(until, time.monotonic_ns() + _DOWN_NS)
            ended = self._walker.run(fds, self._stop_fd, until, self._pause_ns)
            now = time.monotonic_ns()
            if ended is Ended.STOPPED or (end is not None and now >= end) or not self._still_there(ended):
                return
            if now >= tick:
                ticks = (now - schedule.start_ns) // step  # a late tick is left out, never made up for
                self._collect(now, ticks)
                ticks += 1

    def _still_there(self, ended: Ended) -> bool:
        """Looks after the interfaces once a socket complained. The kernel resumes by itself when one only was down."""
        if not self._down and ended is not Ended.FAILED:
            return True
        self._down = False
        for tap, tapped in zip(self._taps, self._sockets, strict=True):
            number = tapped.error()
            self._down = self._down or not tapped.is_up(tap.index)
            if not tapped.is_there(tap.index):
                self.error = f"{printable(tap.ifname)} vanished; what it delivered until then is counted"
                return False
            if number not in (0, errno.ENETDOWN):
                self.error = f"packet:{printable(tap.ifname)}: {os.strerror(number)}"
                return False
        return True

    def _account_for_all(self) -> None:
        """Ends so that read + dropped = reached, exactly.

        The rings are shut; then they are read until they are empty, which for a block that is not full means until its timeout;
        PACKET_STATISTICS is read last. Any other order leaves packets in the ring that the statistics count, or the other way
        round.
        """
        self._ending.begin()
        # Packets that came before must not wait for the end of shutting: they would look late.
        while not self._ending.is_over():
            self._walker.drain()
            time.sleep(PAUSE_NS / 1e9)
        if self._ending.failure is not None:
            raise self._ending.failure
        limit = time.monotonic_ns() + _SETTLE_NS
        while True:
            self._walker.drain()
            if self._collect(self._ending.shut_ns, None) == 0 or time.monotonic_ns() > limit:
                return
            time.sleep(0.001)

    def _collect(self, now_ns: int, tick: int | None) -> int:
        """Takes the counters. Returns how many packets of these rings nobody accounted for yet."""
        fresh = tuple(map(_counted, self._empty, self._walker.take(), self._sockets))
        use = ReaderUse(current_cpu(), time.thread_time_ns(), len(self._sockets))
        return self._collected(Collected(fresh, now_ns, use, tick))


def _counted(empty: RingCounters, walked: Walked, tapped: TpacketSocket) -> RingCounters:
    statistics = tapped.statistics()
    return replace(empty, walked=walked, reached=statistics.reached, drops=statistics.drops, freezes=statistics.freezes)
