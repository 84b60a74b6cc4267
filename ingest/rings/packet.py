"""A packet ring on a real interface: opened, read in place by threads of its own, and closed with every packet accounted for.

Two modes, measured (kernel to reader): ``latency`` is TPACKET_V2 with fixed frames, drained every 100 µs while packets come
and waited for in poll only when idle. ``throughput`` is TPACKET_V3, where the kernel hands over blocks: late by up to its
timeout and a pause, at a tenth of the cost per packet. The pause is there because a reader that sleeps in poll is woken for
each block: measured at 1.4 M packets/s, 32 ns of its CPU per packet without a pause, 12 ns with one of 2 ms.

With one ring for each CPU (PACKET_FANOUT_CPU) a ring's packets are those that the kernel received on that CPU, which is the
only way to know it: a packet does not carry it. One reader walks all rings, so only one CPU is disturbed; or several do
(``cpus``), a ring by the reader of its own receiving core (``shares.py``, ``reader.py``). Then a stream that changes its core
has packets in two rings that are read independently: what is lost of it counts what still lies in the other ring, too, until
that was read. At the end it is exact.
"""

import functools
import mmap
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Literal, Self

from ingest.rings.counters import Followed, ReaderUse, RingCounters, RingReport
from ingest.rings.filter import Filter
from ingest.rings.layout import V2, V2_PACKET, V3, Following
from ingest.rings.pcapng_writer import CaptureWriter
from ingest.rings.reader import PAUSE_NS, Collected, Ending, RingReader, Schedule
from ingest.rings.shares import deal
from ingest.rings.tap import Tap, open_sockets
from ingest.rings.tpacket import Geometry, RingError, Stamps
from ingest.rings.walk import Walker, WalkerMissing, open_walkers
from tuner.host.cpulist import parse_list
from tuner.host.files import HostFiles
from tuner.host.text import printable

Mode = Literal["latency", "throughput"]

MAX_RINGS = 32  # more CPUs share one ring: the memory of idle rings is taken from the host all the same
MEMORY_BYTES = 256 << 20  # of all rings together
_BLOCK_PAUSE_NS = 2_000_000  # throughput mode: a full 100 Gbit/s line makes 25 MB meanwhile
_PAUSED_BYTES = 8 << 20  # a smaller ring might fill during a pause
FRAME_BYTES = 256  # 190 bytes of packet: all headers and the start of the payload; longer packets are cut, not lost
_FRAME_BLOCK_BYTES = 1 << 16
_BLOCKS = 1024


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

    def __init__(
        self,
        taps: list[Tap],
        mode: Mode,
        walkers: Sequence[Walker],
        shares: Sequence[Sequence[int]],
        cpus: Sequence[int],
        pause_ns: int,
        stamps: Stamps,
    ) -> None:
        self.source = " ".join(f"packet:{printable(tap.ifname)}" for tap in taps)
        self.mode: Mode = mode
        self.walker = walkers[0].name
        self.feed = ""
        self.filter: str | None = None
        self._sockets = [each for tap in taps for each in tap.sockets]
        self._walkers = walkers
        self._shares = shares
        self._ending = Ending(self._sockets)
        self._stop_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._reading = 0
        self._failure: BaseException | None = None
        owners = [tap for tap in taps for _ in tap.sockets]
        empty = tuple(
            RingCounters(core, interface=printable(tap.ifname), stamps=stamps)
            for tap, core in zip(owners, _cores(taps), strict=True)
        )
        self._whole = self._part = self._empty = empty
        self._started_ns = self._ended_ns = self._part_ns = time.monotonic_ns()
        self._parts = 0
        self._ticks = [0] * len(shares)
        self._followed = Followed()
        self._uses = [ReaderUse(-1, 0, len(share)) for share in shares]
        self._readers = [
            RingReader(
                walker,
                [(owners[ring], self._sockets[ring], empty[ring]) for ring in share],
                cpus[place] if cpus else None,
                pause_ns,
                self._stop_fd,
                self._ending,
                functools.partial(self._collect, place),
            )
            for place, (walker, share) in enumerate(zip(walkers, shares, strict=True))
        ]

    @classmethod
    def open(
        cls,
        *ifnames: str,
        mode: Mode = "latency",
        rings: int | None = None,
        cpus: Sequence[int] = (),
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
            ifnames: the interfaces, which have to be up; several as for the two lines of a feed.
            mode: see above.
            rings: how many share an interface's packets by receiving CPU; None: ``default_rings``. One ring knows no core.
            cpus: where the reader runs; none: wherever this process may. Several: a reader on each, by native walkers.
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
        opened: tuple[Walker, ...] = ()
        try:
            count = default_rings() if rings is None else rings
            open_sockets(taps, lambda all_rings: geometry_of(mode, all_rings, ring_bytes), count, stamps)
            areas = [each.area(tap.index, stamps) for tap in taps for each in tap.sockets]
            shares = deal(_cores(taps), cpus)
            opened = open_walkers([[areas[ring] for ring in share] for share in shares], following, choice=walker)
            if writer is not None:
                _write(writer, opened, " ".join(ifnames), mode, cpus)
            for tap in taps:
                tap.connect(promiscuous, filter)
            pause_ns = pause_ns if mode == "latency" else _block_pause_ns(taps)
            ring = cls(taps, mode, opened, shares, cpus, pause_ns, stamps)
        except BaseException:
            for each in opened:
                each.close()
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
            RingError: a reader cannot run on its CPU.
            OSError: the kernel refused what it never refuses.
        """
        if self._threads:
            raise RingError("this ring was read already; open another")
        schedule, intervals = Schedule.of(seconds, interval), interval is not None
        self._reading = len(self._readers)
        try:
            for place in range(len(self._readers)):
                thread = threading.Thread(target=self._read, args=(place, schedule), name="ring")
                thread.start()
                self._threads.append(thread)
            while True:
                with self._changed:
                    while self._reading and not (intervals and self._parts):
                        self._changed.wait()
                    if not self._reading:
                        break
                    part = self._interval_report()
                yield part
        finally:
            self.stop()
            for thread in self._threads:
                thread.join()
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
        for walker in self._walkers:
            walker.stop()
        if self._stop_fd >= 0:
            os.eventfd_write(self._stop_fd, 1)

    def close(self) -> None:
        """Ends ``run`` and gives the rings back."""
        if self._stop_fd < 0:
            return
        self.stop()
        for thread in self._threads:
            thread.join()
        for walker in self._walkers:
            walker.close()
        self._ending.close()
        for each in self._sockets:
            each.close()
        os.close(self._stop_fd)
        self._stop_fd = -1

    # ---- in the readers' threads

    def _read(self, place: int, schedule: Schedule) -> None:
        failure = None
        try:
            self._readers[place].read(schedule, self.stop)
        except BaseException as error:  # noqa: BLE001 (raised again where the caller waits)
            failure = error
            self.stop()
        with self._changed:
            self._failure = self._failure or failure
            self._reading -= 1
            if not self._reading:
                self._followed = self._walkers[0].followed()
                self._changed.notify_all()

    def _collect(self, place: int, collected: Collected) -> int:
        """Adds what one reader counted. An interval is over when all readers have said what they counted in it."""
        share = self._shares[place]
        with self._changed:
            self._whole = _added(self._whole, share, collected.rings)
            self._part = _added(self._part, share, collected.rings)
            self._ended_ns = collected.now_ns
            self._uses[place] = collected.use
            before, self._ticks[place] = min(self._ticks), collected.tick or self._ticks[place]
            if min(self._ticks) > before:
                self._followed = self._walkers[place].followed(histograms=False)
                self._parts += 1
                self._changed.notify_all()
            return sum(abs(self._whole[ring].unaccounted) for ring in share)

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
            readers=tuple(self._uses),
            error=next((reader.error for reader in self._readers if reader.error is not None), None),
        )


def _write(writer: CaptureWriter, walkers: Sequence[Walker], ifname: str, mode: Mode, cpus: Sequence[int]) -> None:
    if len(walkers) > 1:
        raise RingError("a file is written by one reader, in the order in which it reads; name one CPU, or write no file")
    cpu = cpus[0] if cpus else None
    walkers[0].keep(writer.begin(ifname, walkers[0].name, snap_bytes=_snap_bytes(mode), cpu=cpu))


def _snap_bytes(mode: Mode) -> int:
    """How much of a packet the ring's frames hold; 0: all of it."""
    return FRAME_BYTES - V2_PACKET if mode == "latency" else 0


def _cores(taps: list[Tap]) -> list[int | None]:
    """Of each socket the core whose packets it has; None where there are fewer rings than CPUs."""
    return [core if len(tap.sockets) >= cpu_numbers() else None for tap in taps for core in range(len(tap.sockets))]


def _added(rings: tuple[RingCounters, ...], places: Sequence[int], fresh: tuple[RingCounters, ...]) -> tuple[RingCounters, ...]:
    summed = list(rings)
    for place, each in zip(places, fresh, strict=True):
        summed[place] = summed[place].merged(each)
    return tuple(summed)


__all__ = ["Mode", "PacketRing", "RingError", "Stamps", "WalkerMissing", "default_rings", "geometry_of"]
