"""The walker in Python: ``walk.c`` line by line, for hosts without a compiler or numpy, and as the oracle of the tests.

A packet costs one to two microseconds: good for half a million packets a second, not more.
"""

import ctypes
import platform
import select
import struct
import time
from collections.abc import Callable, Sequence

from ingest.rings.counters import KINDS, NOTHING, Followed, Walked
from ingest.rings.datagram_python import Sequences
from ingest.rings.layout import (
    STATUS_GSO_TCP,
    STATUS_LOSING,
    STATUS_USER,
    STATUS_VLAN,
    V2,
    V2_HEADER,
    V2_LINK,
    V3_BLOCK_HEADER,
    V3_BLOCK_STATUS,
    V3_HEADER,
    V3_LINK,
    Area,
    Following,
)
from ingest.rings.packet_names import ETHERTYPE_IPV4, PACKET_OTHERHOST, STANDARD_BYTES, names
from ingest.rings.sequence_python import Latencies
from ingest.rings.tape import PythonTape, Tape
from ingest.rings.walk import Ended, WalkerMissing

_V2_FRAME = struct.Struct("=IIIHHII")  # status, length, captured, mac, net, seconds, nanoseconds
_V3_FRAME = struct.Struct("=IIIIIIHH")  # next, seconds, nanoseconds, captured, length, status, mac, net
V3_NEXT = struct.Struct("=I")
V3_BLOCK = struct.Struct("=II")  # packets, offset of the first, at byte 12
_LINK = struct.Struct(">2xH6xB")  # ethertype, packet type
_V2_VLAN, _V3_VLAN = 24, 32  # tp_vlan_tci; tp_vlan_tpid 2 and 4 bytes behind
_STATUS_VLAN_TPID = 1 << 6
_SECOND_NS = 1_000_000_000
_ODD = STATUS_VLAN | STATUS_GSO_TCP
_BATCH = 64
_FAILURES = select.POLLERR | select.POLLHUP | select.POLLNVAL
_ORDERED = ("x86_64", "i686", "i386", "AMD64")  # processors that keep loads and stores in the order that we need
_SEQ_CST = 5


def _no_fence() -> None:
    pass


def memory_fence(machine: str | None = None) -> Callable[[], None]:
    """What orders our reading of a status with that of the packet behind it, and the packet with handing it back.

    Nothing on x86. Elsewhere a plain load of Python's is not enough (an ``ldr``, where ``ldar`` is due).

    Raises:
        WalkerMissing: a processor that needs a fence, and no libatomic to get it from.
    """
    if (machine or platform.machine()) in _ORDERED:
        return _no_fence
    try:
        fence = ctypes.CDLL("libatomic.so.1").atomic_thread_fence
    except (OSError, AttributeError) as error:
        raise WalkerMissing(
            "the Python walkers need libatomic on this processor; install libatomic1, or a C compiler for the native walker"
        ) from error
    fence.argtypes, fence.restype = (ctypes.c_int,), None
    return lambda: fence(_SEQ_CST)


def _vlan_tag(buffer: memoryview, at: int, version: int, status: int) -> bytes:
    """The tag that the kernel took out of a packet, as on the wire; empty for none."""
    if not status & STATUS_VLAN:
        return b""
    kind = 0x8100
    if status & _STATUS_VLAN_TPID:
        (kind,) = struct.unpack_from("=H", buffer, at + (2 if version == V2 else 4))
    (control,) = struct.unpack_from("=H", buffer, at)
    return struct.pack(">HH", kind, control)


class RingWalk:
    """One ring's cursor and counters."""

    def __init__(self, area: Area, sequences: Sequences | None, fixed_now_ns: int, fence: Callable[[], None]) -> None:
        self._area = area
        self._bytes = memoryview(area.memory)[: area.unit_bytes * area.units]
        self._words = self._bytes.cast("B").cast("I")  # a status is loaded and stored as one word
        self._sequences = sequences
        self._fixed_now_ns = fixed_now_ns
        self._fence = fence
        self._cursor = 0
        self._stamp_kind = area.stamp_kind
        self._longest = min(area.super_bytes or STANDARD_BYTES, STANDARD_BYTES)  # of those that have no name for their length
        self.tape: PythonTape | None = None
        self._clear()

    def _clear(self) -> None:
        self._packets = self._on_wire = self._truncated = self._losing = self._unstamped = 0
        self._malformed_frames = self._malformed_blocks = 0
        self._kinds = dict.fromkeys(KINDS, 0)
        self._latency = Latencies()

    def take(self) -> Walked:
        """The counters since the last take."""
        if not (self._packets or self._malformed_frames or self._malformed_blocks):
            return NOTHING
        taken = Walked(
            packets=self._packets,
            bytes=self._on_wire,
            truncated=self._truncated,
            malformed_frames=self._malformed_frames,
            malformed_blocks=self._malformed_blocks,
            losing=self._losing,
            unstamped=self._unstamped,
            **self._kinds,
            latency=self._latency.read(),
        )
        self._clear()
        return taken

    def close(self) -> None:
        """Lets go of the memory."""
        self._words.release()
        self._bytes.release()

    def drain(self) -> int:
        """Reads and hands back what is ready, at most one turn. Returns frames (V2) or blocks (V3)."""
        return self._drain_frames() if self._area.version == V2 else self._drain_blocks()

    def _now(self) -> int:
        return self._fixed_now_ns or time.time_ns()

    def _drain_frames(self) -> int:
        size, units, words = self._area.unit_bytes, self._area.units, self._words
        frames = 0
        while frames < units:
            ready, at = 0, self._cursor
            while ready < min(_BATCH, units - frames) and words[at * size >> 2] & STATUS_USER:
                ready += 1
                at = at + 1 if at + 1 < units else 0
            if not ready:
                break
            self._fence()
            now = self._now()
            for _ in range(ready):
                start = self._cursor * size
                self._fixed_frame(start, now)
                self._fence()
                words[start >> 2] = 0
                self._cursor = self._cursor + 1 if self._cursor + 1 < units else 0
            frames += ready
        return frames

    def _drain_blocks(self) -> int:
        size, units, words = self._area.unit_bytes, self._area.units, self._words
        blocks = 0
        while blocks < units:
            start = self._cursor * size
            status_word = start + V3_BLOCK_STATUS >> 2
            if not words[status_word] & STATUS_USER:
                break
            self._fence()
            self._block(start, self._now())
            self._fence()
            words[status_word] = 0
            self._cursor = self._cursor + 1 if self._cursor + 1 < units else 0
            blocks += 1
        return blocks

    def _fixed_frame(self, start: int, now: int) -> None:
        """One frame of V2."""
        status, length, captured, mac, net, seconds, nanoseconds = _V2_FRAME.unpack_from(self._bytes, start)
        if mac < V2_HEADER:
            self._malformed_frames += 1
        else:
            room = self._area.unit_bytes
            self._account(start, room, V2_LINK, length, captured, mac, net, seconds, nanoseconds, status, now)

    def _packed_frame(self, start: int, room: int, now: int) -> None:
        """One frame of V3, of which no byte lies ``room`` behind its start."""
        _, seconds, nanoseconds, captured, length, status, mac, net = _V3_FRAME.unpack_from(self._bytes, start)
        if mac < V3_HEADER:
            self._malformed_frames += 1
        else:
            self._account(start, room, V3_LINK, length, captured, mac, net, seconds, nanoseconds, status, now)

    def _block(self, start: int, now: int) -> None:
        """One block."""
        frames, room, broken = self._chain(start)
        for at, size in zip(frames, room, strict=True):
            self._packed_frame(at, size, now)
        self._malformed_blocks += broken

    def _chain(self, start: int) -> tuple[list[int], list[int], bool]:
        """Where the frames of a block begin, how much room each has, and whether the chain broke behind them."""
        size = self._area.unit_bytes
        size = self._area.unit_bytes
        packets, at = V3_BLOCK.unpack_from(self._bytes, start + 12)
        frames: list[int] = []
        rooms: list[int] = []
        if packets > size // V3_HEADER:
            return frames, rooms, True
        for left in range(packets, 0, -1):
            if at < V3_BLOCK_HEADER or at > size - V3_HEADER:
                return frames, rooms, True
            room = size - at
            following = room  # the last frame's is 0
            if left > 1:
                (following,) = V3_NEXT.unpack_from(self._bytes, start + at)
                if following < V3_HEADER or following > room:
                    return frames, rooms, True
            frames.append(start + at)
            rooms.append(following)
            at += following
        return frames, rooms, False

    def _account(
        self,
        start: int,
        size: int,
        link_at: int,
        length: int,
        captured: int,
        mac: int,
        net: int,
        seconds: int,
        nanoseconds: int,
        status: int,
        now: int,
    ) -> None:
        end = mac + captured
        if net < mac or captured > length or end > size or nanoseconds >= _SECOND_NS:
            self._malformed_frames += 1
            return
        self._packets += 1
        self._on_wire += length
        if captured < length:
            self._truncated += 1
        stamp_ns = seconds * _SECOND_NS + nanoseconds
        timed = now >= stamp_ns and status & self._stamp_kind == self._stamp_kind
        if timed or now < stamp_ns:
            self._latency.add(now - stamp_ns)
        else:
            self._unstamped += 1
        protocol, packet_type = _LINK.unpack_from(self._bytes, start + link_at)
        at, stop = start + min(net, end), start + end
        if status & STATUS_LOSING:
            self._losing += 1
        if (
            protocol != ETHERTYPE_IPV4
            or status & _ODD
            or length > self._longest
            or packet_type == PACKET_OTHERHOST
            or (stop - at >= 20 and (self._bytes[at + 6] & 0x3F or self._bytes[at + 7]))
        ):
            for name in names(self._bytes, at, stop, protocol, status, length, packet_type, self._area.super_bytes):
                self._kinds[name] += 1
        if self.tape is not None:
            vlan_at = start + (_V2_VLAN if self._area.version == V2 else _V3_VLAN)
            tag = _vlan_tag(self._bytes, vlan_at, self._area.version, status)
            self.tape.packet(self._bytes[start + mac : start + end], length, stamp_ns, tag)
        if self._sequences is not None and net < end:
            self._sequences.datagram(self._bytes, at, stop, protocol, stamp_ns, now, timed)


class PythonWalker:
    """See ``ingest.rings.walk.Walker``."""

    name = "python"

    def __init__(self, areas: Sequence[Area], following: Following | None = None, fixed_now_ns: int = 0) -> None:
        fence = memory_fence()
        self._sequences = self._sequences_of(following) if following is not None else None
        self._rings = [self._ring_of(area, fixed_now_ns, fence) for area in areas]
        self._stopped = False

    def _sequences_of(self, following: Following) -> Sequences:
        return Sequences(following)

    def _ring_of(self, area: Area, fixed_now_ns: int, fence: Callable[[], None]) -> RingWalk:
        return RingWalk(area, self._sequences, fixed_now_ns, fence)

    def drain(self) -> int:
        """See Walker."""
        return sum(ring.drain() for ring in self._rings)

    def keep(self, tape: Tape) -> None:
        """See Walker."""
        if not isinstance(tape, PythonTape):
            raise TypeError("the Python walker writes to a tape in Python")
        for ring in self._rings:
            ring.tape = tape

    def run(self, fds: Sequence[int], stop_fd: int, until_ns: int, pause_ns: int) -> Ended:
        """See Walker."""
        poll = select.poll()
        for fd in (*fds, stop_fd):
            poll.register(fd, select.POLLIN)
        while not self._stopped:
            found = self.drain()
            left = until_ns - time.monotonic_ns()
            if left <= 0:
                return Ended.DEADLINE
            if found and pause_ns:
                time.sleep(min(pause_ns, left) / _SECOND_NS)
                continue
            events = dict(poll.poll(min(left / 1e6, 1e9)))
            if stop_fd in events:
                return Ended.STOPPED
            if any(mask & _FAILURES for mask in events.values()):
                return Ended.FAILED
        return Ended.STOPPED

    def stop(self) -> None:
        """See Walker."""
        self._stopped = True

    def take(self) -> tuple[Walked, ...]:
        """See Walker."""
        return tuple(ring.take() for ring in self._rings)

    def followed(self, histograms: bool = True) -> Followed:
        """See Walker."""
        return self._sequences.followed(histograms) if self._sequences is not None else Followed()

    def close(self) -> None:
        """See Walker."""
        for ring in self._rings:
            ring.close()
        self._rings = []
