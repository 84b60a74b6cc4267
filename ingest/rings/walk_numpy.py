"""The walker for hosts without a compiler that have numpy: the common packet in columns, all others by the walker in Python.

In a block of packed frames (V3) each begins where the one before says. Instead of going from one to the next, all of them are
found at once: their headers hold the same eight bytes (tp_mac, tp_net and an unused hash), and payload that holds them too does
not deceive, because the chain is proven afterwards, over all frames at once. Blocks that do not stand the proof are followed
frame by frame.
"""

import os
import struct
from collections.abc import Callable

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start a thread for each core of this host, and never use it

import numpy as np

from ingest.rings.counters import KINDS, Walked
from ingest.rings.datagram_numpy import ColumnSequences
from ingest.rings.frames_numpy import (
    LATE,
    SLOTS,
    UDP_BYTES,
    UNTIMED,
    V2_FIELDS,
    V3_FIELDS,
    Column,
    Frames,
    Frameset,
    Mask,
    count_of,
)
from ingest.rings.layout import STATUS_USER, V2_HEADER, V3_BLOCK_HEADER, V3_BLOCK_STATUS, V3_HEADER, Area, Following
from ingest.rings.packet_names import ETHERTYPE_IPV4
from ingest.rings.walk_python import PythonWalker, RingWalk

AT_ONCE_BYTES = 2 << 20  # of the ring that are read before they are handed back; more do not fit into a core's cache
_FAR = 512  # a network header farther behind its frame's start is not read as a column
_BLOCK = struct.Struct("=III")  # packets, offset of the first, length, at byte 12
_SHAPE = struct.Struct("=HH")
_BEHIND = V3_FIELDS.shape >> 3  # the word of a frame that holds its signature
_COUNTS = ("packets", "bytes", "truncated", "losing", *KINDS)


class _RingColumns(RingWalk):
    """One ring, of which many frames are read at once: not less than ``few``, not much more than ``many``."""

    few, many = 0, 0

    def __init__(self, area: Area, sequences: ColumnSequences | None, fixed_now_ns: int, fence: Callable[[], None]) -> None:
        super().__init__(area, sequences, fixed_now_ns, fence)
        self._columns = sequences
        self._octets = np.frombuffer(self._bytes, np.uint8)
        self._numbers32, self._numbers64 = self._octets.view(np.uint32), self._octets.view(np.uint64)
        self._seen = np.zeros(max(AT_ONCE_BYTES, area.unit_bytes) + 63 >> 6 << 3, np.bool_)
        self._tally = dict.fromkeys(_COUNTS, 0)
        self._buckets = np.zeros(SLOTS, np.int64)
        self._longest_ns = 0

    def take(self) -> Walked:
        """See Walker."""
        self._kinds = {name: count + self._tally[name] for name, count in self._kinds.items()}
        self._packets += self._tally["packets"]
        self._on_wire += self._tally["bytes"]
        self._truncated += self._tally["truncated"]
        self._losing += self._tally["losing"]
        self._unstamped += int(self._buckets[UNTIMED])
        self._latency.add_counted(self._buckets[:LATE].tolist(), int(self._buckets[LATE]), self._longest_ns)
        self._tally = dict.fromkeys(_COUNTS, 0)
        self._buckets[:] = 0
        self._longest_ns = 0
        return super().take()

    def close(self) -> None:
        """See Walker."""
        del self._octets, self._numbers32, self._numbers64
        super().close()

    # ---- blocks of packed frames

    def _drain_blocks(self) -> int:
        if self.tape is not None:
            return super()._drain_blocks()
        size, units = self._area.unit_bytes, self._area.units
        blocks = 0
        while blocks < units:
            limit = min(max(1, AT_ONCE_BYTES // size), units - blocks, units - self._cursor)
            status = self._cursor * size + V3_BLOCK_STATUS >> 2
            ready = 0
            while ready < limit and self._words[status + ready * (size >> 2)] & STATUS_USER:
                ready += 1
            if not ready:
                break
            self._fence()
            self._blocks(self._cursor * size, ready, self._now())
            self._fence()
            for unit in range(ready):
                self._words[status + unit * (size >> 2)] = 0
            self._cursor = (self._cursor + ready) % units
            blocks += ready
        return blocks

    def _blocks(self, start: int, ready: int, now: int) -> None:
        """Blocks that lie one behind the other."""
        places = range(start, start + ready * self._area.unit_bytes, self._area.unit_bytes)
        heads = [_BLOCK.unpack_from(self._bytes, place + 12) for place in places]
        frames = room = None
        if sum(packets for packets, _, _ in heads) >= self.few:
            frames = self._signatures(places, heads)
        if frames is not None:
            room = self._proven(frames, places, heads)
        if frames is not None and room is not None:
            self._all_packed(frames, room, now)
        else:
            self._chained(places, now)

    def _signatures(self, places: range, heads: list[tuple[int, int, int]]) -> Column | None:
        """Where frames seem to begin, in words; None where that does not fit what the blocks say."""
        size, base = self._area.unit_bytes, places.start >> 3
        seen = self._seen[: len(places) * size + 63 >> 6 << 3]
        firsts, at = [], 0
        for place, (packets, first, end) in zip(places, heads, strict=True):
            if first % 8 or not V3_BLOCK_HEADER <= first <= size - V3_HEADER or not packets:
                return None
            begin = place + first >> 3
            firsts.append(begin)
            words = self._numbers64[begin : place + (end if first + V3_HEADER <= end <= size else size) >> 3]
            seen[at : begin - base] = False  # and what lies behind a block's length is left over from the last turn
            at = begin - base + words.size
            np.equal(words, words[_BEHIND], out=seen[begin - base : at])
        seen[at:] = False
        frames = _places_of(seen)
        frames += base - _BEHIND
        bounds = np.searchsorted(frames, [*firsts, places.stop >> 3])
        counts = (bounds[1:] - bounds[:-1]).tolist()
        if counts != [packets for packets, _, _ in heads] or frames[bounds[:-1]].tolist() != firsts:
            return None
        return frames

    def _proven(self, frames: Column, places: range, heads: list[tuple[int, int, int]]) -> Column | None:
        """How much room each frame has, if those of each block prove to be its chain."""
        room = self._numbers32.take(frames << 1).astype(np.int64)
        follows = frames[1:] - frames[:-1] << 3 == room[:-1]
        lasts = np.cumsum([packets for packets, _, _ in heads]) - 1
        follows[lasts[:-1]] = True
        ends = np.arange(places.start, places.stop, places.step) + places.step
        room[lasts] = ends - (frames[lasts] << 3)  # the last frame's next is 0
        whole = count_of(follows) == follows.size and int(np.minimum.reduce(room)) >= V3_HEADER
        return room if whole else None

    def _chained(self, places: range, now: int) -> None:
        """The frames of blocks, from one to the next."""
        frames: list[int] = []
        room: list[int] = []
        for place in places:
            found, rooms, broken = self._chain(place)
            frames += found
            room += rooms
            self._malformed_blocks += broken
        if len(frames) >= self.few and not any(frame & 7 for frame in frames):
            self._all_packed(np.array(frames) >> 3, np.array(room), now)
            return
        for frame, size in zip(frames, room, strict=True):
            self._packed_frame(frame, size, now)

    def _all_packed(self, frames: Column, room: Column, now: int) -> None:
        step = -(-frames.size // -(-frames.size // self.many))  # equal parts
        for first in range(0, frames.size, step):
            self._packed_frames(frames[first : first + step], room[first : first + step], now)

    def _packed_frames(self, frames: Column, room: Column, now: int) -> None:
        """Frames that begin at these words, in ascending order, and have so much room in bytes."""
        mac, net = _SHAPE.unpack_from(self._bytes, (int(frames[0]) << 3) + V3_FIELDS.shape)
        fit = 0
        if V3_HEADER <= mac <= net <= _FAR and net % 8 == 0:
            fit = int(np.searchsorted(frames, self._numbers64.size - self._reach(net), "right"))

        def one(index: int) -> None:
            self._packed_frame(int(frames[index]) << 3, int(room[index]), now)

        if fit:
            words = Frameset(self._numbers64, frames[:fit])
            columns = Frames(words, V3_FIELDS, mac, net, room[:fit], self._columns is not None)
            self._follow(columns, lambda index: int(frames[index]) << 3, now, one)
        for index in range(fit, frames.size):
            one(index)

    # ---- fixed frames

    def _drain_frames(self) -> int:
        if self.tape is not None:
            return super()._drain_frames()
        size, units = self._area.unit_bytes, self._area.units
        frames = 0
        while frames < units:
            ready = self._ready(min(self.many, AT_ONCE_BYTES // size or 1, units - frames, units - self._cursor))
            if not ready:
                break
            self._fence()
            self._fixed_frames(self._cursor * size, ready, self._now())
            self._fence()
            first = self._cursor * size >> 2
            self._numbers32[first : first + (ready * size >> 2) : size >> 2] = 0
            self._cursor = (self._cursor + ready) % units
            frames += ready
        return frames

    def _ready(self, limit: int) -> int:
        """How many frames are ready from the cursor on, of so many; asks for more and more at once."""
        step = self._area.unit_bytes >> 2
        first = self._cursor * step
        ready, ask = 0, 16
        while ready < limit and self._words[first + ready * step] & STATUS_USER:
            ask = min(ask, limit - ready)
            asked = self._numbers32[first + ready * step : first + (ready + ask) * step : step] & np.uint32(STATUS_USER)
            came = int(asked.argmin()) if not asked.all() else ask
            ready += came
            if came < ask:
                break
            ask *= 4
        return ready

    def _fixed_frames(self, start: int, ready: int, now: int) -> None:
        size = self._area.unit_bytes
        mac, net = _SHAPE.unpack_from(self._bytes, start + V2_FIELDS.shape)
        fit = 0
        if ready >= self.few and V2_HEADER <= mac <= net <= _FAR and net % 8 == 0:
            fit = max(0, min(ready, (self._numbers64.size - (start >> 3) - self._reach(net)) // (size >> 3) + 1))

        def one(index: int) -> None:
            self._fixed_frame(start + index * size, now)

        if fit:
            words = Frameset(self._numbers64, slice(start >> 3, (start >> 3) + (fit - 1) * (size >> 3) + 1, size >> 3))
            columns = Frames(words, V2_FIELDS, mac, net, size, self._columns is not None)
            self._follow(columns, lambda index: start + index * size, now, one)
        for index in range(fit, ready):
            one(index)

    # ---- both

    def _reach(self, net: int) -> int:
        """Words from a frame's start on that are read: beyond its packet, perhaps, but not beyond the memory."""
        payload = self._columns.reach if self._columns is not None else 0
        return (net + UDP_BYTES + payload >> 3) + 2

    def _follow(self, frames: Frames, start_of: Callable[[int], int], now: int, odd_one: Callable[[int], None]) -> None:
        """Counts frames and follows their numbers; ``odd_one`` takes one of those that no column holds."""
        frames.measure(now, self._area.stamp_kind)
        self._longest_ns = max(self._longest_ns, frames.add_to(self._tally, self._buckets, self._area))
        sequences = self._columns
        if sequences is None:
            for index in frames.odd:
                odd_one(index)
            return
        sequences.leave_unread(frames.kinds.unread)

        def one(index: int) -> None:
            start, stamp_ns = start_of(index) + frames.net, int(frames.stamp[index])
            end = start + int(frames.captured[index]) + frames.mac - frames.net
            timed = int(frames.bucket[index]) < LATE
            sequences.datagram(self._bytes, start, end, ETHERTYPE_IPV4, stamp_ns, now, timed)

        at = 0
        for index in [*frames.odd, frames.count]:
            if index - at >= self.few:
                sequences.columns(frames, at, index, now, one)
            else:
                for between in range(at, index):
                    if frames.usual[between]:
                        one(between)
            if index < frames.count:
                odd_one(index)
            at = index + 1


def _places_of(seen: Mask) -> Column:
    """The places of what is true, if no two of them lie within the same eight, as frames never do.

    numpy's own way costs a misprediction each: 14 ns, this a third of it (measured).
    """
    eights = seen.view(np.uint64)
    places: Column = (eights != 0).nonzero()[0]
    within = eights.take(places).astype(np.float64).view(np.int64) >> 52 + 3  # a power of 2^8, and its exponent
    places <<= 3
    places += within - (1023 >> 3)
    return places


class NumpyWalker(PythonWalker):
    """See ``ingest.rings.walk.Walker``."""

    name = "numpy"
    few = 64  # packets: fewer are read faster without numpy (measured)
    many = 16384  # packets: no more at once

    def _sequences_of(self, following: Following) -> ColumnSequences:
        return ColumnSequences(following)

    def _ring_of(self, area: Area, fixed_now_ns: int, fence: Callable[[], None]) -> RingWalk:
        sequences = self._sequences if isinstance(self._sequences, ColumnSequences) else None
        ring = _RingColumns(area, sequences, fixed_now_ns, fence)
        ring.few, ring.many = self.few, self.many
        return ring
