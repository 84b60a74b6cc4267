"""The walker for hosts without a compiler that have numpy: the common packet in columns, all others by the walker in Python.

In a block of packed frames (V3) each begins where the one before says. Instead of going from one to the next, all of them are
found at once: their headers hold the same eight bytes (tp_mac, tp_net and an unused hash), and payload that holds them too does
not deceive, because the chain is proven afterwards, over all frames at once. Blocks that do not stand the proof are followed
frame by frame.
"""

import os
import struct
from collections.abc import Callable, Iterable

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start a thread for each core of this host, and never use it

import numpy as np

from ingest.rings.counters import KINDS, Walked
from ingest.rings.datagram_numpy import ColumnSequences
from ingest.rings.frames_numpy import LATE, SLOTS, UDP_BYTES, UNTIMED, V2_FIELDS, V3_FIELDS, Column, Frames, Rows
from ingest.rings.layout import STATUS_USER, V2_HEADER, V3_BLOCK_HEADER, V3_BLOCK_STATUS, V3_HEADER, Area, Following
from ingest.rings.packet_names import ETHERTYPE_IPV4
from ingest.rings.walk_python import V3_BLOCK, PythonWalker, RingWalk

BLOCKS_BYTES = 1 << 20  # of blocks that are read before they are handed back
_FAR = 512  # a network header farther behind its frame's start is not read as a column
_BLOCK_LENGTH = 20
_SHAPE = struct.Struct("=HH")
_WORD = struct.Struct("=I")
_COUNTS = ("packets", "bytes", "truncated", "losing", *KINDS)


class _RingColumns(RingWalk):
    """One ring, of which many frames are read at once: not less than ``few``, not much more than ``many``."""

    few, many = 0, 0

    def __init__(self, area: Area, sequences: ColumnSequences | None, fixed_now_ns: int, fence: Callable[[], None]) -> None:
        super().__init__(area, sequences, fixed_now_ns, fence)
        self._columns = sequences
        self._octets = np.frombuffer(self._bytes, np.uint8)
        self._numbers32, self._numbers64 = self._octets.view(np.uint32), self._octets.view(np.uint64)
        self._tally = dict.fromkeys(_COUNTS, 0)
        self._buckets = np.zeros(SLOTS, np.int64)
        self._longest_ns = 0

    def take(self) -> Walked:
        """See Walker."""
        self._kinds = {name: count + self._tally[name] for name, count in self._kinds.items()}
        self._packets += self._tally["packets"]
        self._length += self._tally["bytes"]
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
            limit = min(max(1, BLOCKS_BYTES // size), units - blocks, units - self._cursor)
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
        size = self._area.unit_bytes
        places = range(start, start + ready * size, size)
        if sum(V3_BLOCK.unpack_from(self._bytes, place + 12)[0] for place in places) < self.few:
            for place in places:
                self._block(place, now)
            return
        found: dict[int, Column] = {}
        for place in places:
            frames = self._signatures(place)
            if frames is not None:
                found[place] = frames
            if frames is None or sum(map(len, found.values())) >= self.many:
                self._frames_of(found, now)
                found = {}
            if frames is None:
                self._chain_of((place,), now)
        self._frames_of(found, now)

    def _signatures(self, place: int) -> Column | None:
        """Where in a block frames seem to begin; None where that does not fit what the block says."""
        size = self._area.unit_bytes
        packets, first = V3_BLOCK.unpack_from(self._bytes, place + 12)
        (end,) = _WORD.unpack_from(self._bytes, place + _BLOCK_LENGTH)
        if first % 8 or first < V3_BLOCK_HEADER or first > size - V3_HEADER or not packets:
            return None
        # what lies behind the length is left over from the last turn
        words = self._numbers64[place + first >> 3 : place + (end if first + V3_HEADER <= end <= size else size) >> 3]
        behind = V3_FIELDS.shape >> 3
        frames: Column = (words == words[behind]).nonzero()[0]
        if frames.size != packets or frames[0] != behind:
            return None
        frames -= behind
        frames <<= 3
        frames += place + first
        return frames

    def _frames_of(self, found: dict[int, Column], now: int) -> None:
        """The frames of some blocks, if they prove to be a chain in each."""
        if not found:
            return
        frames = np.concatenate(list(found.values()))
        room = self._numbers32[frames >> 2].astype(np.int64)
        follows = frames[:-1] + room[:-1] == frames[1:]
        lasts = np.cumsum([each.size for each in found.values()]) - 1
        follows[lasts[:-1]] = True
        room[lasts] = np.array(list(found), np.int64) + self._area.unit_bytes - frames[lasts]  # the last frame's next is 0
        if follows.all() and int(room.min()) >= V3_HEADER:
            self._packed_frames(frames, room, now)
        else:
            self._chain_of(found, now)

    def _chain_of(self, places: Iterable[int], now: int) -> None:
        """The frames of some blocks, from one to the next."""
        for place in places:
            frames, room, broken = self._chain(place)
            if len(frames) < self.few or any(frame % 8 for frame in frames):
                self._block(place, now)
            else:
                self._malformed_blocks += broken
                self._packed_frames(np.array(frames, np.int64), np.array(room, np.int64), now)

    def _packed_frames(self, frames: Column, room: Column, now: int) -> None:
        """Frames that begin at these multiples of eight, in ascending order, and have so much room."""
        mac, net = _SHAPE.unpack_from(self._bytes, int(frames[0]) + V3_FIELDS.shape)
        width = net + self._reach + 7 & ~7
        fit = 0
        if V3_HEADER <= mac <= net <= _FAR:
            fit = int(np.searchsorted(frames, len(self._bytes) - width, "right"))

        def one(index: int) -> None:
            self._packed_frame(int(frames[index]), int(room[index]), now)

        if fit:
            places = np.ndarray(((len(self._bytes) - width >> 3) + 1,), f"V{width}", self._octets, 0, (8,))
            rows = Rows(places[frames[:fit] >> 3].view(np.uint8), 0, width, fit)
            self._rows(Frames(rows, V3_FIELDS, mac, net, room[:fit], self._columns is not None), frames, now, one)
        for index in range(fit, frames.size):
            one(index)

    # ---- fixed frames

    def _drain_frames(self) -> int:
        if self.tape is not None:
            return super()._drain_frames()
        size, units = self._area.unit_bytes, self._area.units
        frames = 0
        while frames < units:
            ready = self._ready(min(self.many, units - frames, units - self._cursor))
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
        while ready < limit:
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
        if ready >= self.few and V2_HEADER <= mac <= net <= _FAR:
            fit = max(0, min(ready, (len(self._bytes) - start - net - self._reach) // size + 1))

        def one(index: int) -> None:
            self._fixed_frame(start + index * size, now)

        if fit:
            rows = Rows(self._octets, start, size, fit)
            frames = Frames(rows, V2_FIELDS, mac, net, size, self._columns is not None)
            self._rows(frames, start + np.arange(fit) * size, now, one)
        for index in range(fit, ready):
            one(index)

    # ---- both

    @property
    def _reach(self) -> int:
        """Bytes that are read behind the start of the network header, at least those of an IPv6 header."""
        return UDP_BYTES + max(12, self._columns.reach if self._columns is not None else 0)

    def _rows(self, frames: Frames, starts: Column, now: int, odd_one: Callable[[int], None]) -> None:
        """Counts frames and follows their numbers; ``odd_one`` takes one of those that no column holds."""
        frames.measure(now, self._area.stamp_kind)
        self._longest_ns = max(self._longest_ns, frames.add_to(self._tally, self._buckets, self._area))
        odd = frames.odd.tolist() if frames.odd is not None else []
        sequences = self._columns
        if sequences is None:
            for index in odd:
                odd_one(index)
            return
        sequences.leave_unread(frames.kinds.unread)

        def one(index: int) -> None:
            start, stamp_ns = int(starts[index]) + frames.net, int(frames.stamp[index])
            end = start + int(frames.size[index])
            timed = int(frames.bucket[index]) < LATE
            sequences.datagram(self._bytes, start, end, ETHERTYPE_IPV4, stamp_ns, now, timed)

        at = 0
        for index in [*odd, frames.rows.count]:
            if index - at >= self.few:
                sequences.columns(frames, at, index, now, one)
            else:
                for between in range(at, index):
                    if frames.usual[between]:
                        one(between)
            if index < frames.rows.count:
                odd_one(index)
            at = index + 1


class NumpyWalker(PythonWalker):
    """See ``ingest.rings.walk.Walker``."""

    name = "numpy"
    few = 48  # packets: fewer are read faster without numpy
    many = 4096  # packets: the rows of more at once do not fit into a core's cache

    def _sequences_of(self, following: Following) -> ColumnSequences:
        return ColumnSequences(following)

    def _ring_of(self, area: Area, fixed_now_ns: int, fence: Callable[[], None]) -> RingWalk:
        sequences = self._sequences if isinstance(self._sequences, ColumnSequences) else None
        ring = _RingColumns(area, sequences, fixed_now_ns, fence)
        ring.few, ring.many = self.few, self.many
        return ring
