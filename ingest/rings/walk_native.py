"""The native walker: ``walk.c`` behind ctypes. A call gives up the interpreter's lock and walks all of its rings."""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from ingest.histogram import BUCKETS, Histogram
from ingest.rings.counters import NOTHING, Followed, StreamCounters, Walked
from ingest.rings.layout import STREAMS, WINDOW, Area, Framing
from ingest.rings.tape import NativeTape, Tape
from ingest.rings.walk import Ended, WalkerMissing

ABI = 2
LIBRARY = Path(__file__).with_name("_walk.so")
_ENDED = {0: Ended.DEADLINE, 1: Ended.STOPPED, 2: Ended.FAILED}
_POLLIN = 1


class _Ring(ctypes.Structure):
    _fields_ = (
        ("memory", ctypes.c_void_p),
        ("fixed_now_ns", ctypes.c_uint64),
        ("version", ctypes.c_uint32),
        ("unit_bytes", ctypes.c_uint32),
        ("units", ctypes.c_uint32),
        ("cursor", ctypes.c_uint32),
        ("tape", ctypes.c_void_p),
        ("packets", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("truncated", ctypes.c_uint64),
        ("malformed_frames", ctypes.c_uint64),
        ("malformed_blocks", ctypes.c_uint64),
        ("losing", ctypes.c_uint64),
        ("negative", ctypes.c_uint64),
        ("max_ns", ctypes.c_uint64),
        ("buckets", ctypes.c_uint64 * BUCKETS),
    )


class _Stream(ctypes.Structure):
    _fields_ = (
        ("address", ctypes.c_uint8 * 16),
        ("port", ctypes.c_uint32),
        ("family", ctypes.c_uint32),
        ("outside_run", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("newest_stamp", ctypes.c_uint64),
        ("first", ctypes.c_uint64),
        ("expected", ctypes.c_uint64),
        ("received", ctypes.c_uint64),
        ("lost", ctypes.c_uint64),
        ("duplicate", ctypes.c_uint64),
        ("reordered", ctypes.c_uint64),
        ("outside", ctypes.c_uint64),
        ("resets", ctypes.c_uint64),
        ("heartbeats", ctypes.c_uint64),
        ("seen", ctypes.c_uint64 * (WINDOW // 64)),
    )


class _Sequences(ctypes.Structure):
    _fields_ = (
        ("port", ctypes.c_uint32),
        ("sequence_offset", ctypes.c_uint32),
        ("sequence_width", ctypes.c_uint32),
        ("count_offset", ctypes.c_uint32),
        ("count_width", ctypes.c_uint32),
        ("big_endian", ctypes.c_uint32),
        ("end_count", ctypes.c_uint32),
        ("needed", ctypes.c_uint32),
        ("shape", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("unread", ctypes.c_uint64),
        ("unfollowed", ctypes.c_uint64),
        ("streams", _Stream * STREAMS),
    )


class _Polled(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


class _Reader(ctypes.Structure):
    _fields_ = (
        ("rings", ctypes.c_void_p),
        ("polled", ctypes.c_void_p),
        ("sequences", ctypes.c_void_p),
        ("until_ns", ctypes.c_uint64),
        ("pause_ns", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("failed", ctypes.c_uint32),
        ("stop", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    )


_COUNTERS_AT = _Ring.packets.offset
_COUNTERS_BYTES = ctypes.sizeof(_Ring) - _COUNTERS_AT


def load(library: Path = LIBRARY) -> ctypes.CDLL:
    """The library, checked against this file.

    Raises:
        WalkerMissing: it is not there, does not load, or is another version's.
    """
    try:
        native = ctypes.CDLL(str(library))
        native.quietcore_walk_abi.restype = ctypes.c_uint32
        abi = native.quietcore_walk_abi()
        sizes = tuple(native.quietcore_walk_size(which) for which in range(3))
    except (OSError, AttributeError) as error:
        raise WalkerMissing("the native walker is not built; with a C compiler, install again") from error
    if abi != ABI or sizes != tuple(ctypes.sizeof(each) for each in (_Ring, _Sequences, _Reader)):
        raise WalkerMissing(f"the native walker is of another version (ABI {abi}, not {ABI}); install again")
    native.quietcore_walk_drain.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    native.quietcore_walk_drain.restype = ctypes.c_uint64
    native.quietcore_walk_bucket.argtypes = (ctypes.c_uint64,)
    native.quietcore_walk_bucket.restype = ctypes.c_uint32
    native.quietcore_walk_run.argtypes = (ctypes.c_void_p,)
    native.quietcore_walk_run.restype = ctypes.c_int
    return native


class NativeWalker:
    """See ``ingest.rings.walk.Walker``."""

    name = "native"

    def __init__(self, areas: Sequence[Area], framing: Framing | None = None, fixed_now_ns: int = 0) -> None:
        self._native = load()
        self._rings = (_Ring * len(areas))()
        # from_buffer holds an export of the memory: an mmap refuses to be closed before ours is
        self._held = [(ctypes.c_char * len(area.memory)).from_buffer(area.memory) for area in areas]
        for ring, area, held in zip(self._rings, areas, self._held, strict=True):
            ring.memory = ctypes.addressof(held)
            ring.fixed_now_ns = fixed_now_ns
            ring.version, ring.unit_bytes, ring.units = area.version, area.unit_bytes, area.units
        self._addresses = [ctypes.addressof(ring) for ring in self._rings]
        self._tape: NativeTape | None = None
        self._sequences: _Sequences | None = None
        if framing is not None:
            self._sequences = _Sequences(
                port=framing.port,
                sequence_offset=framing.sequence_offset,
                sequence_width=framing.sequence_width,
                count_offset=framing.count_offset,
                count_width=framing.count_width,
                big_endian=framing.big_endian,
                end_count=framing.end_count,
            )
        self._followed = ctypes.addressof(self._sequences) if self._sequences is not None else None
        self._reader = _Reader(rings=ctypes.addressof(self._rings), sequences=self._followed, count=len(areas))

    def drain(self) -> int:
        """See Walker."""
        return sum(self._native.quietcore_walk_drain(address, self._followed) for address in self._addresses)

    def keep(self, tape: Tape) -> None:
        """See Walker."""
        if not isinstance(tape, NativeTape):
            raise TypeError("the native walker writes to a native tape")
        self._tape = tape
        for ring in self._rings:
            ring.tape = tape.address

    def run(self, fds: Sequence[int], stop_fd: int, until_ns: int, pause_ns: int) -> Ended:
        """See Walker."""
        polled = (_Polled * (len(fds) + 1))(*(_Polled(fd, _POLLIN, 0) for fd in (*fds, stop_fd)))
        self._reader.polled = ctypes.addressof(polled)
        self._reader.until_ns, self._reader.pause_ns = until_ns, pause_ns
        ended = self._native.quietcore_walk_run(ctypes.addressof(self._reader))
        if ended < 0:
            raise OSError(-1 - ended, os.strerror(-1 - ended))
        return _ENDED[ended]

    def stop(self) -> None:
        """See Walker."""
        self._reader.stop = 1

    def take(self) -> tuple[Walked, ...]:
        """See Walker."""
        taken = []
        for ring, address in zip(self._rings, self._addresses, strict=True):
            if not (ring.packets or ring.malformed_frames or ring.malformed_blocks):
                taken.append(NOTHING)
                continue
            latency = Histogram(tuple(ring.buckets), ring.negative, ring.max_ns)
            taken.append(
                Walked(
                    packets=ring.packets,
                    bytes=ring.bytes,
                    truncated=ring.truncated,
                    malformed_frames=ring.malformed_frames,
                    malformed_blocks=ring.malformed_blocks,
                    losing=ring.losing,
                    latency=latency,
                )
            )
            ctypes.memset(address + _COUNTERS_AT, 0, _COUNTERS_BYTES)
        return tuple(taken)

    def followed(self) -> Followed:
        """See Walker."""
        if self._sequences is None:
            return Followed()
        streams = sorted((_stream(each) for each in self._sequences.streams if each.family), key=lambda s: (s.address, s.port))
        return Followed(tuple(streams), self._sequences.unread, self._sequences.unfollowed)

    def close(self) -> None:
        """See Walker."""
        self._addresses = []
        self._tape = None
        self._reader.count = 0
        self._held = []


def _stream(native: _Stream) -> StreamCounters:
    return StreamCounters(
        address=bytes(native.address)[: 4 if native.family == 4 else 16],
        port=native.port,
        received=native.received,
        lost=native.lost,
        duplicate=native.duplicate,
        reordered=native.reordered,
        outside=native.outside,
        resets=native.resets,
        heartbeats=native.heartbeats,
    )
