"""A packet ring on a real interface: opened, read in place by a thread of its own, and closed with every packet accounted for.

Two modes, measured (kernel to reader): ``latency`` is TPACKET_V2 with fixed frames, drained every 100 µs while packets come
and waited for in poll only when idle. ``throughput`` is TPACKET_V3, where the kernel hands over blocks: late by up to its
timeout and a pause, at a tenth of the cost per packet. The pause is there because a reader that sleeps in poll is woken for
each block: measured at 1.4 M packets/s, 32 ns of its CPU per packet without a pause, 12 ns with one of 2 ms.

With one ring for each CPU (PACKET_FANOUT_CPU) a ring's packets are those that the kernel received on that CPU, which is the
only way to know it: a packet does not carry it. One reader walks all rings, so only one CPU is disturbed.
"""

import errno
import mmap
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, Self

from ingest.rings.bpf import TAKE_NOTHING
from ingest.rings.counters import Followed, RingCounters, RingReport, Walked
from ingest.rings.filter import Filter
from ingest.rings.layout import V2, V2_PACKET, V3, Following
from ingest.rings.pcapng_writer import CaptureWriter
from ingest.rings.tap import Tap, open_sockets
from ingest.rings.tpacket import Geometry, RingError, Settling, Stamps, TpacketSocket
from ingest.rings.walk import Ended, Walker, WalkerMissing, open_walker
from tuner.host.cpulist import parse_list
from tuner.host.files import HostFiles
from tuner.host.text import printable
from tuner.host.threads import current_cpu

Mode = Literal["latency", "throughput"]

MAX_RINGS = 32  # more CPUs share one ring: the memory of idle rings is taken from the host all the same
MEMORY_BYTES = 256 << 20  # of all rings together
PAUSE_NS = 100_000
_BLOCK_PAUSE_NS = 2_000_000  # throughput mode: a full 100 Gbit/s line makes 25 MB meanwhile
_PAUSED_BYTES = 8 << 20  # a smaller ring might fill during a pause
FRAME_BYTES = 256  # 190 bytes of packet: all headers and the start of the payload; longer packets are cut, not lost
_FRAME_BLOCK_BYTES = 1 << 16
_BLOCKS = 1024
_TICK_NS = 10 * 1_000_000_000  # PACKET_STATISTICS is 32 bits wide and has to be read now and then
_DOWN_NS = 200_000_000
_SETTLE_NS = 500_000_000


def geometry_of(mode: Mode, rings: int, ring_bytes: int | None = None) -> Geometry:
    """The shape of each of ``rings`` rings: as deep as the memory allows, at most 32 MiB (latency) or 64 MiB each.

    Throughput: 1024 blocks, so that with a timeout of at least 1 ms the ring is a second deep. The timeout grows with the
    number of rings, because each ring's timer interrupts a CPU.
    """
    share = MEMORY_BYTES // rings
    if mode == "latency":
        size = max(_FRAME_BLOCK_BYTES, ring_bytes or min(32 << 20, share))
        return Geometry(V2, FRAME_BYTES, size // _FRAME_BLOCK_BYTES * (_FRAME_BLOCK_BYTES // FRAME_BYTES), _FRAME_BLOCK_BYTES)
    page = mmap.PAGESIZE
    block = max(page, min(1 << 16, share // _BLOCKS // page * page))
    blocks = max(2, ring_bytes // block) if ring_bytes else _BLOCKS
    return Geometry(V3, block, blocks, block, retire_ms=min(rings, 8))


def cpu_numbers() -> int:
    """One more than the highest CPU that is online.

    The kernel shares packets out by CPU number modulo the number of rings: with fewer rings than this a ring has no core.
    """
    return max(parse_list(HostFiles("/").optional("/sys/devices/system/cpu/online") or "0"), default=0) + 1


def default_rings() -> int:
    """One for each CPU number up to the highest that is online, or 1 where these are more than 32."""
    count = cpu_numbers()
    return count if count <= MAX_RINGS else 1


def _block_pause_ns(taps: list[Tap]) -> int:
    smallest = min(each.geometry.memory_bytes for tap in taps for each in tap.sockets)  # the kernel may have had less memory
    return _BLOCK_PAUSE_NS if smallest >= _PAUSED_BYTES else 0


class PacketRing:
    """A tap on one interface, or on several at once.

    ``run`` reads it, ``report`` says what was counted, ``stop`` may come from any thread.

    Made by ``open``; a context manager.
    """

    def __init__(self, taps: list[Tap], mode: Mode, walker: Walker, cpu: int | None, pause_ns: int, stamps: Stamps) -> None:
        self.source = " ".join(f"packet:{printable(tap.ifname)}" for tap in taps)
        self.mode: Mode = mode
        self.walker = walker.name
        self.feed = ""
        self.filter: str | None = None
        self._taps = taps
        self._sockets = [each for tap in taps for each in tap.sockets]
        self._walker = walker
        self._cpu = cpu
        self._pause_ns = pause_ns
        self._settling = Settling()
        self._stop_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._done = False
        self._failure: BaseException | None = None
        self._error: str | None = None
        self._down = False
        empty = tuple(
            RingCounters(core if len(tap.sockets) >= cpu_numbers() else None, interface=printable(tap.ifname), stamps=stamps)
            for tap in taps
            for core in range(len(tap.sockets))
        )
        self._whole = self._part = self._empty = empty
        self._started_ns = self._ended_ns = self._part_ns = self._shut_ns = time.monotonic_ns()
        self._parts = 0
        self._followed = Followed()
        self._reader = (-1, 0)

    @classmethod
    def open(
        cls,
        *ifnames: str,
        mode: Mode = "latency",
        rings: int | None = None,
        cpu: int | None = None,
        following: Following | None = None,
        walker: str | None = None,
        promiscuous: bool = False,
        ring_bytes: int | None = None,
        pause_ns: int = PAUSE_NS,
        stamps: Stamps = "kernel",
        writer: CaptureWriter | None = None,
        filter: Filter | None = None,  # noqa: A002 (what it is called everywhere)
    ) -> "PacketRing":
        """Receives from interfaces of this network namespace; counting begins at once, reading with ``run``.

        Args:
            ifnames: the interfaces, which have to be up; several, as for the two lines of a feed, are read by one reader.
            mode: see above.
            rings: how many share an interface's packets by receiving CPU; None: ``default_rings``. One ring knows no core.
            cpu: where the reader runs; None: wherever this process may.
            following: which datagrams' sequence numbers to follow.
            walker: one of ``ingest.rings.walk.WALKERS``, or None for the best.
            promiscuous: ask the NIC for other hosts' frames too.
            ring_bytes: memory of each ring; None: as ``geometry_of`` says.
            pause_ns: latency mode: between two drains while packets come. Throughput mode takes 2 ms, and none with a ring
                below 8 MiB.
            stamps: whose clock to measure from; ``nic`` needs a NIC that stamps already.
            writer: also write the packets, as far as the ring holds them, to a file. To be closed after the ring.
            filter: which packets are wanted; the kernel keeps the others from the ring, and they are not ``reached``.

        Raises:
            RingError: with what is wrong and what to do.
            FilterError: no packet can match the filter, or it is too long.
            WalkerMissing: the walker that was insisted on cannot run.
        """
        taps = [Tap(ifname, []) for ifname in ifnames]
        opened: Walker | None = None
        try:
            count = default_rings() if rings is None else rings
            open_sockets(taps, lambda all_rings: geometry_of(mode, all_rings, ring_bytes), count, stamps)
            areas = [each.area(tap.index, stamps) for tap in taps for each in tap.sockets]
            opened = open_walker(areas, following, choice=walker)
            if writer is not None:
                opened.keep(writer.begin(" ".join(ifnames), opened.name, snap_bytes=_snap_bytes(mode), cpu=cpu))
            for tap in taps:
                tap.connect(promiscuous, filter)
            ring = cls(taps, mode, opened, cpu, pause_ns if mode == "latency" else _block_pause_ns(taps), stamps)
        except BaseException:
            if opened is not None:
                opened.close()
            for tap in taps:
                tap.close()
            raise
        ring.feed = following.name if following else ""
        ring.filter = filter.text if filter else None
        return ring

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, seconds: float | None = None, interval: float | None = None) -> Iterator[RingReport]:
        """Reads until ``seconds`` have passed, ``stop`` is called or the interface is gone; once.

        Yields:
            what came in each interval. A reader of these that is late gets several intervals as one; none is lost.

        Raises:
            RingError: the reader cannot run on that CPU.
            OSError: the kernel refused what it never refuses.
        """
        if self._thread is not None:
            raise RingError("this ring was read already; open another")
        self._thread = threading.Thread(target=self._read, args=(seconds, interval), name="ring")
        self._thread.start()
        try:
            while True:
                with self._changed:
                    while not (self._done or self._parts):
                        self._changed.wait()
                    if self._done:
                        break
                    part = self._interval_report()
                yield part
        finally:
            self.stop()
            self._thread.join()
        if self._failure is not None:
            raise self._failure
        if interval is not None and any(ring.reached or ring.walked.packets for ring in self._part):
            yield self._interval_report()

    def report(self) -> RingReport:
        """What was counted since ``open``. Complete, to the packet, once ``run`` has ended."""
        with self._changed:
            return self._report("whole", self._whole, self._started_ns)

    def stop(self) -> None:
        """Ends ``run``."""
        self._walker.stop()
        if self._stop_fd >= 0:
            os.eventfd_write(self._stop_fd, 1)

    def close(self) -> None:
        """Ends ``run`` and gives the rings back."""
        if self._stop_fd < 0:
            return
        self.stop()
        if self._thread is not None:
            self._thread.join()
        self._walker.close()
        self._settling.wait()
        for each in self._sockets:
            each.close()
        os.close(self._stop_fd)
        self._stop_fd = -1

    # ---- the reader's thread

    def _read(self, seconds: float | None, interval: float | None) -> None:
        try:
            self._pin()
            self._follow(seconds, interval)
            self._account_for_all()
        except BaseException as error:  # noqa: BLE001 (raised again where the caller waits)
            self._failure = error
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def _pin(self) -> None:
        if self._cpu is None:
            return
        try:
            os.sched_setaffinity(0, {self._cpu})  # 0: this thread
        except (OSError, ValueError, OverflowError) as error:
            raise RingError(f"the reader cannot run on CPU {self._cpu}: it is not online, or not in this cpuset") from error

    def _follow(self, seconds: float | None, interval: float | None) -> None:
        start = time.monotonic_ns()
        end = start + round(seconds * 1e9) if seconds is not None else None
        step = round(interval * 1e9) if interval is not None else _TICK_NS
        tick = start + step
        fds = [each.fileno() for each in self._sockets]
        while True:
            until = min(tick, end or tick)
            if self._down:
                until = min(until, time.monotonic_ns() + _DOWN_NS)
            ended = self._walker.run(fds, self._stop_fd, until, self._pause_ns)
            now = time.monotonic_ns()
            if ended is Ended.STOPPED or (end is not None and now >= end) or not self._still_there(ended):
                return
            if now >= tick:
                self._collect(now, publish=interval is not None)
                tick += step * ((now - tick) // step + 1)  # a late tick is left out, never made up for

    def _still_there(self, ended: Ended) -> bool:
        """Looks after the interfaces once a socket complained. The kernel resumes by itself when one only was down."""
        if not self._down and ended is not Ended.FAILED:
            return True
        self._down = False
        for tap in self._taps:
            errors = {each.error() for each in tap.sockets} - {0}
            self._down = self._down or not tap.sockets[0].is_up(tap.index)
            if not tap.sockets[0].is_there(tap.index):
                self._error = f"{printable(tap.ifname)} vanished; what it delivered until then is counted"
                return False
            if errors - {errno.ENETDOWN}:
                self._error = f"packet:{printable(tap.ifname)}: {os.strerror(max(errors - {errno.ENETDOWN}))}"
                return False
        return True

    def _account_for_all(self) -> None:
        """Ends so that read + dropped = reached, exactly.

        First the filter lets nothing more in; then those packets end that had passed it before; then the rings are read until
        they are empty, which for a block that is not full means until its timeout; PACKET_STATISTICS is read last. Any other
        order leaves packets in the ring that the statistics count, or the other way round.
        """
        shutting = threading.Thread(target=self._shut, name="ring-shut")
        shutting.start()
        # Both take tens of milliseconds under load. Packets that came before must not wait for it: they would look late.
        while shutting.is_alive():
            self._walker.drain()
            time.sleep(PAUSE_NS / 1e9)
        if self._failure is not None:
            return
        limit = time.monotonic_ns() + _SETTLE_NS
        while True:
            self._walker.drain()
            self._collect(self._shut_ns)
            if not any(ring.unaccounted for ring in self._whole) or time.monotonic_ns() > limit:
                return
            time.sleep(0.001)

    def _shut(self) -> None:
        try:
            for each in self._sockets:
                each.take(TAKE_NOTHING)
            self._shut_ns = time.monotonic_ns()
            self._settling.wait()
        except (OSError, RingError) as error:
            self._failure = error

    def _collect(self, now_ns: int, *, publish: bool = False) -> None:
        walked = self._walker.take()
        fresh = tuple(map(_counted, self._empty, walked, self._sockets))
        with self._changed:
            self._whole = tuple(map(RingCounters.merged, self._whole, fresh))
            self._part = tuple(map(RingCounters.merged, self._part, fresh))
            self._ended_ns = now_ns
            self._followed = self._walker.followed(histograms=not publish)
            self._reader = (current_cpu(), time.thread_time_ns())
            if publish:
                self._parts += 1
                self._changed.notify_all()

    # ---- reports

    def _interval_report(self) -> RingReport:
        report = self._report("interval", self._part, self._part_ns)
        self._part, self._part_ns, self._parts = self._empty, self._ended_ns, 0
        return report

    def _report(self, part: str, rings: tuple[RingCounters, ...], since_ns: int) -> RingReport:
        return RingReport(
            source=self.source,
            walker=self.walker,
            mode=self.mode,
            part=part,
            seconds=(self._ended_ns - since_ns) / 1e9,
            rings=rings,
            followed=self._followed,
            feed=self.feed,
            filter=self.filter,
            reader_cpu=self._reader[0],
            reader_cpu_ns=self._reader[1],
            error=self._error,
        )


def _snap_bytes(mode: Mode) -> int:
    """How much of a packet the ring's frames hold; 0: all of it."""
    return FRAME_BYTES - V2_PACKET if mode == "latency" else 0


def _counted(empty: RingCounters, walked: Walked, tapped: TpacketSocket) -> RingCounters:
    statistics = tapped.statistics()
    return replace(empty, walked=walked, reached=statistics.reached, drops=statistics.drops, freezes=statistics.freezes)


__all__ = ["Mode", "PacketRing", "RingError", "Stamps", "WalkerMissing", "default_rings", "geometry_of"]
