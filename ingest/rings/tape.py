"""Tapes: packets as pcapng blocks in bounded memory, put there by a walker and written to a file by another thread.

The walker never waits for the file. What finds no room is counted as lost; a limit, or a file that takes no more, ends the
writing for good, and the reading goes on. ``ingest/rings/tape.h`` is the native form.
"""

import collections
import ctypes
import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

TAPE_BYTES = 64 << 20  # a power of two; 50 ms of a full 10 Gbit/s line
PIECE_BYTES = 1 << 20
_MAP_POPULATE = 0x8000
_LIBRARY = Path(__file__).with_name("_walk.so")
_BLOCK = struct.Struct("=IIIIIII")  # type, length, interface, stamp high, stamp low, captured, length on the wire


@dataclass(frozen=True, slots=True)
class TapeCounts:
    """Packets: ``written`` to the file, ``waiting`` on the tape, ``lost`` for want of room, ``after`` the writing ended."""

    written: int
    waiting: int
    lost: int
    after: int
    ended: bool


class Tape(Protocol):
    """One thread (the walker's) puts, another pumps."""

    def pump(self, fd: int) -> int:
        """Writes up to a megabyte of whole records; 0 where the tape is empty.

        Raises:
            OSError: not all of it could be written. The file may hold a part; ``tail`` does not count it.
        """

    @property
    def tail(self) -> int:
        """Bytes that were written, all of them whole records."""

    def end(self) -> None:
        """Nothing more is put."""

    def counts(self) -> TapeCounts:
        """As of now; exact once the walker rests."""

    def close(self) -> None:
        """Gives the memory back. The walker has to be closed before."""


class _Tape(ctypes.Structure):
    _fields_ = (
        ("memory", ctypes.c_void_p),
        ("capacity", ctypes.c_uint64),
        ("head", ctypes.c_uint64),
        ("tail", ctypes.c_uint64),
        ("packets_left", ctypes.c_uint64),
        ("bytes_left", ctypes.c_uint64),
        ("put", ctypes.c_uint64),
        ("lost", ctypes.c_uint64),
        ("after", ctypes.c_uint64),
        ("pumped", ctypes.c_uint64),
        ("tagged", ctypes.c_uint32),
        ("ended", ctypes.c_uint32),
    )


class NativeTape:
    """See ``Tape``; for the native walker."""

    def __init__(self, packets: int, octets: int, *, tagged: bool, capacity: int = TAPE_BYTES) -> None:
        if capacity & capacity - 1 or capacity < 64:
            raise ValueError(f"a tape of {capacity} bytes: not a power of two")
        native = ctypes.CDLL(str(_LIBRARY))
        native.quietcore_tape_size.restype = ctypes.c_uint32
        if native.quietcore_tape_size() != ctypes.sizeof(_Tape):
            raise ValueError("the native tape is of another version; install again")
        self._pump = native.quietcore_tape_pump
        self._pump.argtypes, self._pump.restype = (ctypes.c_void_p, ctypes.c_int), ctypes.c_int64
        # populated: a page fault would make the walker late
        self._memory = mmap.mmap(-1, capacity, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_POPULATE)
        self._held = (ctypes.c_char * capacity).from_buffer(self._memory)
        self._tape = _Tape(
            memory=ctypes.addressof(self._held),
            capacity=capacity,
            packets_left=packets,
            bytes_left=octets,
            tagged=tagged,
        )
        self.address = ctypes.addressof(self._tape)

    def pump(self, fd: int) -> int:
        """See Tape."""
        wrote = int(self._pump(self.address, fd))
        if wrote < 0:
            raise OSError(-wrote, os.strerror(-wrote))
        return wrote

    @property
    def tail(self) -> int:
        """See Tape."""
        return int(self._tape.tail)

    def end(self) -> None:
        """See Tape."""
        self._tape.ended = 1

    def counts(self) -> TapeCounts:
        """See Tape."""
        tape = self._tape
        written = tape.pumped
        return TapeCounts(written, tape.put - written, tape.lost, tape.after, bool(tape.ended))

    def close(self) -> None:
        """See Tape."""
        self._tape.memory = None
        del self._held
        self._memory.close()


class PythonTape:
    """See ``Tape``; for the walker in Python. A deque's ends may be used by two threads without a lock."""

    def __init__(self, packets: int, octets: int, *, tagged: bool, capacity: int = TAPE_BYTES) -> None:
        self._records: collections.deque[bytes] = collections.deque()
        self._capacity = capacity
        self._packets_left, self._bytes_left = packets, octets
        self._tagged = tagged
        self._ended = False
        self._head = self._tail = 0
        self._put = self._pumped = self._lost = self._after = 0

    def packet(self, data: memoryview, length: int, stamp_ns: int, tag: bytes) -> None:
        """Puts one packet; ``tag``: the VLAN tag that the kernel took out of it."""
        if self._ended:
            self._after += 1
            return
        extra = tag if self._tagged and len(data) >= 12 else b""
        captured = len(data) + len(extra)
        total = 32 + (captured + 3 & ~3)
        if not self._packets_left or total > self._bytes_left:
            self._ended = True
            self._after += 1
            return
        if self._capacity - (self._head - self._tail) < total:
            self._lost += 1
            return
        before = 12 if extra else 0
        header = _BLOCK.pack(6, total, 0, stamp_ns >> 32, stamp_ns & 0xFFFFFFFF, captured, length + len(extra) & 0xFFFFFFFF)
        padding = bytes(total - 32 - captured)
        self._records.append(b"".join((header, data[:before], extra, data[before:], padding, struct.pack("=I", total))))
        self._put += 1
        self._packets_left -= 1
        self._bytes_left -= total
        self._head += total

    def pump(self, fd: int) -> int:
        """See Tape."""
        piece: list[bytes] = []
        size = 0
        while self._records and (not piece or size + len(self._records[0]) <= PIECE_BYTES):
            piece.append(self._records.popleft())
            size += len(piece[-1])
        left = memoryview(b"".join(piece))
        while left:
            left = left[os.write(fd, left) :]
        self._pumped += len(piece)
        self._tail += size
        return size

    @property
    def tail(self) -> int:
        """See Tape."""
        return self._tail

    def end(self) -> None:
        """See Tape."""
        self._ended = True

    def counts(self) -> TapeCounts:
        """See Tape."""
        return TapeCounts(self._pumped, self._put - self._pumped, self._lost, self._after, self._ended)

    def close(self) -> None:
        """See Tape."""
        self._records.clear()


def open_tape(walker: str, packets: int, octets: int, *, tagged: bool, capacity: int = TAPE_BYTES) -> Tape:
    """A tape for the walker of that name.

    Args:
        walker: ``Walker.name``.
        packets: how many are put at most.
        octets: bytes of records that are put at most.
        tagged: the interface is Ethernet: a VLAN tag that the kernel took out is put back behind the addresses.
        capacity: bytes of memory.
    """
    kind = NativeTape if walker == "native" else PythonTape
    return kind(packets, octets, tagged=tagged, capacity=capacity)
