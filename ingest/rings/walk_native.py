"""The native walker: ``walk.c`` behind ctypes. A call gives up the interpreter's lock and walks all of its rings."""

import ctypes
import os
from collections.abc import Sequence
from typing import Self

from ingest.rings.counters import NOTHING, Followed, Walked
from ingest.rings.layout import Area, Following
from ingest.rings.native import COUNTERS, COUNTERS_AT, COUNTERS_BYTES, Polled, Reader, Ring, load
from ingest.rings.native_sequences import NativeSequences
from ingest.rings.tape import NativeTape, Tape
from ingest.rings.walk import Ended

_ENDED = {0: Ended.DEADLINE, 1: Ended.STOPPED, 2: Ended.FAILED}
_POLLIN = 1


class NativeWalker:
    """See ``ingest.rings.walk.Walker``."""

    name = "native"

    def __init__(
        self,
        areas: Sequence[Area],
        following: Following | None = None,
        fixed_now_ns: int = 0,
        shared: tuple[NativeSequences, int] | None = None,
    ) -> None:
        self._native = load()
        self._rings = (Ring * len(areas))()
        # from_buffer holds an export of the memory: an mmap refuses to be closed before ours is
        self._held = [(ctypes.c_char * len(area.memory)).from_buffer(area.memory) for area in areas]
        for ring, area, held in zip(self._rings, areas, self._held, strict=True):
            ring.memory = ctypes.addressof(held)
            ring.fixed_now_ns = fixed_now_ns
            ring.version, ring.unit_bytes, ring.units = area.version, area.unit_bytes, area.units
            ring.stamp_kind, ring.super_bytes = area.stamp_kind, area.super_bytes
        self._addresses = [ctypes.addressof(ring) for ring in self._rings]
        self._tape: NativeTape | None = None
        if shared is None and following is not None:
            shared = NativeSequences(following), 0
        self._sequences = shared[0] if shared is not None else None
        self._followed = shared[0].addresses[shared[1]] if shared is not None else None
        self._reader = Reader(rings=ctypes.addressof(self._rings), sequences=self._followed, count=len(areas))

    @classmethod
    def several(
        cls, shares: Sequence[Sequence[Area]], following: Following | None = None, fixed_now_ns: int = 0
    ) -> tuple[Self, ...]:
        """One walker for each share of the rings, to be read by a thread each; one sequence accounting for all of them."""
        if following is None:
            return tuple(cls(areas, None, fixed_now_ns) for areas in shares)
        sequences = NativeSequences(following, len(shares))
        return tuple(cls(areas, None, fixed_now_ns, (sequences, place)) for place, areas in enumerate(shares))

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
        polled = (Polled * (len(fds) + 1))(*(Polled(fd, _POLLIN, 0) for fd in (*fds, stop_fd)))
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
            taken.append(Walked(**{name: getattr(ring, name) for name in COUNTERS}, latency=ring.latency.read()))
            ctypes.memset(address + COUNTERS_AT, 0, COUNTERS_BYTES)
        return tuple(taken)

    def followed(self, histograms: bool = True) -> Followed:
        """See Walker."""
        if self._sequences is None:
            return Followed()
        return self._sequences.followed(histograms)

    def close(self) -> None:
        """See Walker."""
        self._addresses = []
        self._tape = None
        self._reader.count = 0
        self._held = []
