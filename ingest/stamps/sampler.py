"""A sample of an interface's packets with two stamps each: the NIC's and the kernel's.

A slot of a packet ring carries one stamp, so this is a second packet socket, without a ring, that is told both by recvmsg
(SO_TIMESTAMPING). It takes one packet of N, drawn by the socket filter with the kernel's random numbers (SKF_AD_RANDOM), and of
that one byte; N follows the traffic, so that some 500 packets a second are looked at, and more than 1000 only until it has.
It turns no stamping on, and takes nothing away from anybody.

What the kernel pays for each packet that is not drawn is a call of packet_rcv and three instructions of the filter, on the CPU
that received it: measured on a veth pair, 140 ns a packet beside a ring. Looking at 500 packets a second is 0.4 % of a CPU.
"""

import contextlib
import os
import socket
import threading
import time
from dataclasses import replace
from typing import Self

from ingest.histogram import Histogram
from ingest.rings.bpf import JUMP_GREATER, LOAD_WORD, RETURN, TAKE_NOTHING, TAKE_RECEIVED, Program
from ingest.rings.filter import Filter
from ingest.rings.filter_program import compile_filter
from ingest.rings.tpacket import PACKET_IGNORE_OUTGOING, SOL_PACKET, PacketSocket, RingError
from ingest.stamps.ability import Ability, ability_of
from ingest.stamps.clock import HardwareClock, Offset
from ingest.stamps.control import BOTH, SO_TIMESTAMPING, Stamped, stamps_of
from ingest.stamps.interval import ClockOffset, NicInterval
from tuner.host.text import printable

LOOKED_AT_PER_S = 1000
RANDOM = 0xFFFFF038  # SKF_AD_OFF + SKF_AD_RANDOM: get_random_u32, net/core/filter.c
SNAP_BYTES = 1  # what is kept of a packet that is drawn; 0 would be none of it, and no packet

_FIRST = 1024  # of how many packets one is looked at, until the traffic is known
_MOST = 1 << 20
_PAUSE_S = 0.05
_BATCH = 256  # packets between two pauses: the bound of what looking may cost
_ADAPT_NS = 100_000_000
_MEASURE_NS = 1_000_000_000
_STEP_PPM = 1000  # a clock is steered by less than this, and set where it moves by more (adjtimex(2) steers by 500)
_STEP_FLOOR_NS = 10_000
_CONTROL_BYTES = 256
_ROOM_BYTES = 1 << 20


def one_in(count: int, program: Program) -> Program:
    """``program`` for one packet of ``count`` at random, a power of two; of what it takes, one byte."""
    short = tuple((RETURN, 0, 0, SNAP_BYTES) if code == RETURN and k else (code, yes, no, k) for code, yes, no, k in program)
    if count == 1:
        return short
    return ((LOAD_WORD, 0, 0, RANDOM), (JUMP_GREATER, 0, 1, (1 << 32) // count - 1), (RETURN, 0, 0, 0), *short)


def next_one_in(count: int, seen_per_s: float) -> int:
    """Of how many packets to look at one, where one of ``count`` made ``seen_per_s``: within a factor of two it stays."""
    target = LOOKED_AT_PER_S / 2
    if target / 2 <= seen_per_s <= LOOKED_AT_PER_S or (count == 1 and seen_per_s < target):
        return count
    wanted = max(count * seen_per_s / target, count / 8, 1.0)
    return min(_MOST, 1 << (int(wanted) - 1).bit_length())


class SamplingSocket(PacketSocket):
    """A packet socket that tells both stamps of each packet, one packet at a time."""

    def __init__(self) -> None:
        super().__init__()
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, BOTH)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM_BYTES)
            with contextlib.suppress(OSError):
                self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        except OSError as error:
            self.close()
            raise RingError(f"this kernel tells no stamps (SO_TIMESTAMPING): {error.strerror}") from error

    def next(self) -> Stamped | None:
        """The stamps of the next packet; None where none is waiting, or the interface is down or gone."""
        try:
            _, control, _, _ = self._socket.recvmsg(SNAP_BYTES, _CONTROL_BYTES)
        except OSError:
            return None
        return stamps_of(control)


class StampSampler:
    """Looks at one interface in a thread of its own.

    Made by ``open``, before any privilege is given up; ``start`` begins, ``take`` and ``whole`` say what was seen, ``stop``
    ends it. A context manager.
    """

    def __init__(self, ifname: str, tap: SamplingSocket, program: Program, ability: Ability) -> None:
        self._tap = tap
        self._program = program
        self._clock, why = _clock(ability)
        self._one_in = _FIRST
        self._pending: list[Stamped] = []
        self._offset: Offset | None = None
        self._clocked = False
        self._empty = NicInterval(printable(ifname), ability, one_in=_FIRST, why_unknown=why)
        self._part = self._whole = self._empty
        self._seen, self._adapted_ns, self._cpu_ns = 0, 0, 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def open(cls, ifname: str, wanted: Filter | None = None) -> Self:
        """A sampler of an interface of this network namespace.

        Args:
            ifname: the interface.
            wanted: of which packets; None: of all that are received.

        Raises:
            RingError: no such interface, it is down, or the privilege is missing.
            FilterError: no packet can match the filter, or it is too long.
        """
        tap = SamplingSocket()
        try:
            index = tap.index_of(ifname)
            program = compile_filter(wanted, tap.hardware_type(index)) if wanted else TAKE_RECEIVED
            tap.take(TAKE_NOTHING)
            tap.bind(index)
            return cls(ifname, tap, program, ability_of(ifname))
        except BaseException:
            tap.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def words(self) -> str:
        """What is wrong with this interface's stamps and what to do about it; empty where nothing is."""
        return self._empty.words

    def start(self) -> None:
        """Begins; once."""
        self._offset = self._measure()
        self._clocked = self._offset is not None
        self._adapted_ns = time.monotonic_ns()
        self._tap.take(one_in(self._one_in, self._program))
        self._thread = threading.Thread(target=self._look, name="stamps")
        self._thread.start()

    def take(self) -> NicInterval:
        """What was seen since the last ``take``; complete but for the last second, whose offset is not measured yet."""
        with self._lock:
            part, self._part = self._part, replace(self._empty, one_in=self._one_in)
        return part

    def whole(self) -> NicInterval:
        """What was seen since ``start``; all of it once ``stop`` was called."""
        with self._lock:
            return self._whole

    def stop(self) -> None:
        """Ends looking."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Ends looking and lets go of the socket and the clock."""
        self.stop()
        self._tap.close()
        if self._clock is not None:
            self._clock.close()
            self._clock = None

    # ---- the sampler's thread

    def _look(self) -> None:
        measured_ns = time.monotonic_ns()
        while not self._stopping.wait(_PAUSE_S):
            self._take_waiting()
            now = time.monotonic_ns()
            if now - self._adapted_ns >= _ADAPT_NS:
                self._adapt(now)
            if now - measured_ns >= _MEASURE_NS:
                self._settle()
                measured_ns = now
        with contextlib.suppress(RingError):
            self._tap.take(TAKE_NOTHING)
        while self._take_waiting() == _BATCH:
            pass
        self._count_dropped()
        self._settle()

    def _take_waiting(self) -> int:
        for taken in range(_BATCH):
            stamped = self._tap.next()
            if stamped is None:
                return taken
            self._pending.append(stamped)
        return _BATCH

    def _adapt(self, now_ns: int) -> None:
        seen = self._count_dropped()
        wanted = next_one_in(self._one_in, seen * 1e9 / (now_ns - self._adapted_ns))
        self._adapted_ns = now_ns
        if wanted != self._one_in:
            self._one_in = wanted
            with contextlib.suppress(RingError):  # then the former goes on
                self._tap.take(one_in(wanted, self._program))

    def _count_dropped(self) -> int:
        """How many were drawn since this was last asked, dropped ones among them, which it counts."""
        try:
            statistics = self._tap.statistics()
        except OSError:
            return 0
        if statistics.drops:
            self._add(replace(self._empty, dropped=statistics.drops, one_in=self._one_in))
        return statistics.reached

    def _settle(self) -> None:
        """Counts what was taken since the last measurement, between that and a new one."""
        pending, self._pending = self._pending, []
        before, after = self._offset, self._measure()
        self._offset = after
        cpu_ns = time.thread_time_ns()
        part = settled(self._empty, pending, before, after) if self._clocked else unsettled(self._empty, pending)
        part = replace(part, one_in=self._one_in, cpu_ns=cpu_ns - self._cpu_ns)
        self._cpu_ns = cpu_ns
        if self._clock is not None and before is not None and after is not None:
            part = replace(part, clock=_between(self._clock.path, before, after))
        self._add(part)

    def _measure(self) -> Offset | None:
        if self._clock is None:
            return None
        try:
            return self._clock.measure()
        except OSError as error:
            why = f"{self._clock.path} does not tell the time: {os.strerror(error.errno) if error.errno else error}"
            self._empty = replace(self._empty, why_unknown=why)
            self._clock.close()
            self._clock = None
            return None

    def _add(self, part: NicInterval) -> None:
        with self._lock:
            self._part = self._part.merged(part)
            self._whole = self._whole.merged(part)


def settled(empty: NicInterval, packets: list[Stamped], before: Offset | None, after: Offset | None) -> NicInterval:
    """What packets say that came between two measurements of the clocks' offset, which is taken out.

    Args:
        empty: of which interface.
        packets: their stamps.
        before: the measurement before them; None: it failed, and the offset is not known.
        after: that after them.
    """
    if before is None or after is None or _was_set(before, after):
        counted = _counted(empty, packets, [])
        return replace(counted, stepped=len(_with_both(packets)))
    return _counted(empty, packets, [kernel - nic + before.until(after, kernel) for nic, kernel in _with_both(packets)])


def unsettled(empty: NicInterval, packets: list[Stamped]) -> NicInterval:
    """What packets say of clocks that nobody can compare: the difference of the two stays in."""
    return _counted(empty, packets, [kernel - nic for nic, kernel in _with_both(packets)])


def _with_both(packets: list[Stamped]) -> list[tuple[int, int]]:
    return [(each.nic_ns, each.kernel_ns) for each in packets if each.nic_ns is not None and each.kernel_ns is not None]


def _counted(empty: NicInterval, packets: list[Stamped], intervals: list[int]) -> NicInterval:
    return replace(
        empty,
        looked_at=len(packets),
        unstamped=sum(each.nic_ns is None for each in packets),
        unstamped_by_kernel=sum(each.kernel_ns is None for each in packets),
        latency=Histogram.of(intervals),
        lowest_ns=min(intervals, default=None),
    )


def _was_set(before: Offset, after: Offset) -> bool:
    """Whether one of the clocks was set, not steered, between two measurements."""
    known = before.uncertainty_ns + after.uncertainty_ns + _STEP_FLOOR_NS
    return abs(after.offset_ns - before.offset_ns) > known + abs(after.at_ns - before.at_ns) * _STEP_PPM // 1_000_000


def _between(device: str, before: Offset, after: Offset) -> ClockOffset:
    lowest, highest = sorted((before.offset_ns, after.offset_ns))
    return ClockOffset(device, after.offset_ns, max(before.uncertainty_ns, after.uncertainty_ns), lowest, highest)


def _clock(ability: Ability) -> tuple[HardwareClock | None, str]:
    """The interface's clock, or why it cannot be asked."""
    if ability.clock is None:
        return None, "the interface has no clock that could be asked (PHC)"
    try:
        return HardwareClock(ability.clock), ""
    except OSError as error:
        return None, f"/dev/ptp{ability.clock} cannot be read: {error.strerror}"
