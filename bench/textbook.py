"""``textbook.c`` as ctypes sees it: images of filled blocks, and the loop that everything is measured against."""

import ctypes
import functools
import mmap
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.figures import UnavailableError
from ingest.feeds.formats import parse_feed
from ingest.rings.layout import V3, Area, Following

FOLLOWING = Following((parse_feed("moldudp64"),))
BLOCK_BYTES = 1 << 20
COLD_BYTES = 64 << 20  # larger than the caches that a core has to itself
NOW_NS = 1_700_000_000_500_000_000
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-D_DEFAULT_SOURCE", "-shared", "-fPIC")  # of the walker, too
_POINTER, _U32, _U64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64


class Stream(ctypes.Structure):
    _fields_ = (
        ("address", _U32),
        ("port", ctypes.c_uint16),
        ("used", ctypes.c_uint16),
        ("expected", _U64),
        ("received", _U64),
        ("lost", _U64),
        ("duplicate", _U64),
    )


class State(ctypes.Structure):
    """struct textbook."""

    _fields_ = (
        ("packets", _U64),
        ("bytes", _U64),
        ("max_ns", _U64),
        ("buckets", _U64 * 592),
        ("streams", Stream * 64),
    )

    def told(self) -> tuple[object, ...]:
        """Packets, bytes, histogram, and by port (received, lost)."""
        swapped = {(s.port >> 8 | s.port << 8 & 0xFF00): (s.received, s.lost) for s in self.streams if s.used}
        return self.packets, self.bytes, tuple(self.buckets), swapped


class Part(ctypes.Structure):
    """struct part."""

    _fields_ = (("live", _POINTER), ("fresh", _POINTER), ("bytes", _U64))


class BehindPcap(ctypes.Structure):
    """struct behind_pcap."""

    _fields_ = (("state", _POINTER), ("now", _U64), ("fixed_now", _U64))


@functools.cache
def textbook() -> ctypes.CDLL:
    """The library, compiled now with the flags of the walker.

    Raises:
        UnavailableError: no C compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise UnavailableError("no C compiler for the textbook loop (apt-get install gcc libc6-dev)")
    with tempfile.TemporaryDirectory() as directory:
        library = Path(directory) / "textbook.so"
        subprocess.run([compiler, *FLAGS, "-o", library, Path(__file__).with_name("textbook.c")], check=True)
        loaded = ctypes.CDLL(str(library))
    loaded.textbook_walk.argtypes = (_POINTER, _POINTER, _U32, _U32, _U64)
    loaded.textbook_walk.restype = _U64
    loaded.textbook_rearm.argtypes = (_POINTER, _U32, _U32)
    loaded.textbook_advance.argtypes = (_POINTER, _U32, _U32, _U64)
    loaded.textbook_read.argtypes = (_POINTER, _U64)
    loaded.textbook_read.restype = _U64
    loaded.textbook_fill.argtypes = (_POINTER, _U32, _U32, _U64, _U32, _U32)
    loaded.textbook_fill.restype = _U64
    loaded.textbook_drain.argtypes = (_POINTER, _POINTER, _POINTER, ctypes.POINTER(Part), _U32, _POINTER, _U32, _U32, _U32)
    loaded.textbook_drain.restype = _U64
    loaded.textbook_dispatch.argtypes = (_POINTER, _POINTER, ctypes.POINTER(BehindPcap), _U64)
    loaded.textbook_dispatch.restype = ctypes.c_int
    loaded.textbook_size.restype = _U32
    if loaded.textbook_size() != ctypes.sizeof(State):
        raise AssertionError("bench/textbook.py and textbook.c are not of one mind about struct textbook")
    return loaded


@dataclass
class Image:
    """Filled blocks in one mapping, which others may map, too, by ``fd``."""

    memory: mmap.mmap
    fd: int
    address: int
    blocks: int
    block_bytes: int
    packets: int

    @classmethod
    def filled(cls, size: int, streams: int = 1, block_bytes: int = BLOCK_BYTES, port: int = 30001) -> "Image":
        """``size`` bytes of MoldUDP64 packets of 100 to 200 bytes, to the ports from ``port`` on; every page touched."""
        fd = os.memfd_create("image", os.MFD_CLOEXEC)
        os.ftruncate(fd, size)
        memory = mmap.mmap(fd, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        blocks = size // block_bytes
        packets = textbook().textbook_fill(address, blocks, block_bytes, NOW_NS, streams, port)
        return cls(memory, fd, address, blocks, block_bytes, packets)

    def rearm(self) -> None:
        """Hands all blocks to the reader again."""
        textbook().textbook_rearm(self.address, self.blocks, self.block_bytes)

    def advance(self, by: int) -> None:
        """Adds to every sequence number."""
        textbook().textbook_advance(self.address, self.blocks, self.block_bytes, by)

    def area(self) -> Area:
        return Area(self.memory, V3, self.block_bytes, self.blocks)
