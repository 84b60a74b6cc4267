"""The walkers over the same memory: ours, those with numpy and in Python, and the textbook loop in C.

Cold: 64 MiB of blocks, larger than the caches, as a ring is that fills while its reader sleeps. Hot: one block of 1 MiB, again
and again. Thread CPU time, the median of rounds in which the walkers take turns, so that a change of the machine's load falls
on all of them alike. Every walker has to count the same, or there is no figure.
"""

import ctypes
import mmap
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ingest.feeds.formats import parse_feed
from ingest.rings.datagram_numpy import ColumnSequences
from ingest.rings.layout import V3, Area, Following
from ingest.rings.native import Stream
from ingest.rings.walk import Walker
from ingest.rings.walk_native import NativeWalker
from ingest.rings.walk_numpy import NumpyWalker
from ingest.rings.walk_python import PythonWalker

FOLLOWING = Following((parse_feed("moldudp64"),))
BLOCK_BYTES = 1 << 20
COLD_BLOCKS = 64
NOW_NS = 1_700_000_000_500_000_000
ROUNDS = 11
HOT_PASSES = 64
FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-D_DEFAULT_SOURCE", "-shared", "-fPIC"]


def build(directory: Path) -> ctypes.CDLL:
    """Compiles the textbook loop with the flags of the walker."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("bench: no C compiler for the textbook loop")
    library = directory / "textbook.so"
    subprocess.run([compiler, *FLAGS, "-o", library, Path(__file__).with_name("textbook.c")], check=True)
    textbook = ctypes.CDLL(str(library))
    textbook.textbook_walk.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint64)
    textbook.textbook_walk.restype = ctypes.c_uint64
    textbook.textbook_rearm.argtypes = (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)
    textbook.textbook_fill.argtypes = (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_uint32)
    textbook.textbook_fill.restype = ctypes.c_uint64
    textbook.textbook_size.restype = ctypes.c_uint32
    return textbook


@dataclass
class Image:
    """Filled blocks in one mapping."""

    textbook: ctypes.CDLL
    memory: mmap.mmap
    address: int
    blocks: int
    packets: int

    @classmethod
    def filled(cls, textbook: ctypes.CDLL, blocks: int, streams: int) -> "Image":
        memory = mmap.mmap(-1, blocks * BLOCK_BYTES)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        packets = textbook.textbook_fill(address, blocks, BLOCK_BYTES, NOW_NS, streams)
        return cls(textbook, memory, address, blocks, packets)

    def rearm(self) -> None:
        self.textbook.textbook_rearm(self.address, self.blocks, BLOCK_BYTES)

    def area(self) -> Area:
        return Area(self.memory, V3, BLOCK_BYTES, self.blocks)


# a walk of an image, with nothing counted yet, and what it counted
Fresh = Callable[[Image], tuple[Callable[[], object], Callable[[], object]]]


def native_of(image: Image) -> tuple[Callable[[], object], Callable[[], object]]:
    walker = NativeWalker([image.area()], FOLLOWING, NOW_NS)
    if walker._sequences is not None:  # the first touch of a page is no part of walking
        ctypes.memset(ctypes.addressof(walker._sequences._streams), 0, 16 * ctypes.sizeof(Stream))
    return walker.drain, lambda: _told(walker)


def python_of(image: Image) -> tuple[Callable[[], object], Callable[[], object]]:
    walker = PythonWalker([image.area()], FOLLOWING, NOW_NS)
    return walker.drain, lambda: _told(walker)


def numpy_of(image: Image) -> tuple[Callable[[], object], Callable[[], object]]:
    walker = NumpyWalker([image.area()], FOLLOWING, NOW_NS)
    if isinstance(walker._sequences, ColumnSequences):
        walker._sequences._latencies._counts.fill(0)  # as above
    return walker.drain, lambda: _told(walker)


def _told(walker: Walker) -> tuple[object, ...]:
    (walked,) = walker.take()
    streams = {stream.port: (stream.received, stream.lost) for stream in walker.followed().streams}
    return walked.packets, walked.bytes, walked.latency.counts, streams


class _Stream(ctypes.Structure):
    _fields_ = (
        ("address", ctypes.c_uint32),
        ("port", ctypes.c_uint16),
        ("used", ctypes.c_uint16),
        ("expected", ctypes.c_uint64),
        ("received", ctypes.c_uint64),
        ("lost", ctypes.c_uint64),
        ("duplicate", ctypes.c_uint64),
    )


class _Textbook(ctypes.Structure):
    _fields_ = (
        ("packets", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("max_ns", ctypes.c_uint64),
        ("buckets", ctypes.c_uint64 * 592),
        ("streams", _Stream * 64),
    )


def textbook_of(image: Image) -> tuple[Callable[[], object], Callable[[], object]]:
    state = _Textbook()
    assert ctypes.sizeof(state) == image.textbook.textbook_size()

    def walk() -> object:
        return image.textbook.textbook_walk(ctypes.addressof(state), image.address, image.blocks, BLOCK_BYTES, NOW_NS)

    def told() -> tuple[object, ...]:
        swapped = {(s.port >> 8 | s.port << 8 & 0xFF00): (s.received, s.lost) for s in state.streams if s.used}
        return state.packets, state.bytes, tuple(state.buckets), swapped

    return walk, told


def measure(fresh: dict[str, Fresh], image: Image, passes: int, rounds: int = ROUNDS) -> dict[str, float]:
    """Nanoseconds per packet of each walk, the median of its rounds.

    Every pass starts from nothing: a second walk over the same sequence numbers would be another work, of repetitions.
    """
    taken: dict[str, list[float]] = {name: [] for name in fresh}
    for _ in range(rounds):
        for name, start in fresh.items():
            spent = 0
            for _ in range(passes):
                walk, _tell = start(image)
                image.rearm()
                before = time.thread_time_ns()
                walk()
                spent += time.thread_time_ns() - before
            taken[name].append(spent / passes / image.packets)
    return {name: statistics.median(times) for name, times in taken.items()}


def agree(image: Image) -> None:
    """All walkers over the image once, freshly: they have to tell the same."""
    told = []
    for start in (textbook_of, native_of, numpy_of, python_of):
        walk, tell = start(image)
        image.rearm()
        walk()
        told.append(tell())
    if any(each != told[0] for each in told):
        raise SystemExit("bench: the walkers do not count the same; no figure is worth printing")


def main() -> int:
    """Prints each walker's time per packet, and as a ratio to the textbook loop."""
    with tempfile.TemporaryDirectory() as directory:
        textbook = build(Path(directory))
    print(f"{'':24}{'cold ns':>9}{'ratio':>8}{'hot ns':>9}{'ratio':>8}   packets: textbook loop in C = 1")
    for streams in (1, 8):
        cold, hot = Image.filled(textbook, COLD_BLOCKS, streams), Image.filled(textbook, 1, streams)
        agree(hot)
        times = []
        for image, passes in ((cold, 1), (hot, HOT_PASSES)):
            found = measure({"textbook C": textbook_of, "native walker": native_of, "numpy walker": numpy_of}, image, passes)
            # a round of Python takes longer than all of the others
            found |= measure({"Python walker": python_of}, image, 1, 3 if passes > 1 else 1)
            times.append(found)
        for name in times[0]:
            figures = "".join(f"{each[name]:9.1f}{each[name] / each['textbook C']:8.2f}" for each in times)
            print(f"{f'{name}, {streams} stream' + 's' * (streams > 1):24}{figures}", flush=True)
    return 0
