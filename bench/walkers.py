"""the walkers over the same memory, offline

Ours, its twin in Python, the TPACKET_V3 loop as textbooks have it (textbook.c), and pcap_dispatch of libpcap with the
textbook's work behind it. Cold: 64 MiB of blocks, as a ring is that filled while its reader slept. Hot: one block of 1 MiB,
again and again. Nanoseconds of thread CPU per packet; every walker has to count the same to the last bucket, or there is no
figure.

"cold: native / textbook" tells what prefetching is worth. Where packets wait in memory that a core has to fetch, the textbook
loop stands still at every packet, and ours does not: 0.25 on CPUs that leave such a walk to the program. A CPU whose own
prefetcher follows the walk (bytes/s of the textbook walk near those of a plain read of the same bytes, which is told beside
it) leaves nothing to win there, and the ratio goes towards 1: then both walk as fast as the memory is.

"through ctypes / from C" is one call for each pass against the same function called by a C loop: what Python costs the walk.
libpcap's own blocks have 256 KiB, so it and ours are compared over such; its ring is exchanged for ours below its feet
(libpcap.py). To open one takes CAP_NET_RAW and namespaces.
"""

import contextlib
import ctypes
import time
from collections.abc import Callable, Iterator

from bench import libpcap
from bench.figures import Board, DisagreementError, Figure, UnavailableError, interleaved, median
from bench.textbook import BLOCK_BYTES, COLD_BYTES, FOLLOWING, NOW_NS, Image, Part, State, textbook
from ingest.load.namespaces import NamespaceError, VethPair
from ingest.rings.datagram_numpy import ColumnSequences
from ingest.rings.native import Ring, Sequences, Stream
from ingest.rings.walk import Walker
from ingest.rings.walk_native import NativeWalker
from ingest.rings.walk_numpy import NumpyWalker
from ingest.rings.walk_python import PythonWalker

ROUNDS = 11
HOT_PASSES = 64
PCAP_BLOCK_BYTES = 1 << 18  # what libpcap makes of its largest frame
_STREAMS = 16  # so many of the accounting's table are touched before the walk

# a walk of an image, with nothing counted yet, and what it counted
Walk = tuple[Callable[[], object], Callable[[], object]]
Fresh = Callable[[Image], Walk]


def native_of(image: Image) -> Walk:
    walker = NativeWalker([image.area()], FOLLOWING, NOW_NS)
    ctypes.memset(_table(walker), 0, _STREAMS * ctypes.sizeof(Stream))  # the first touch of a page is no part of walking
    return walker.drain, lambda: _told(walker)


def python_of(image: Image) -> Walk:
    walker = PythonWalker([image.area()], FOLLOWING, NOW_NS)
    return walker.drain, lambda: _told(walker)


def textbook_of(image: Image) -> Walk:
    state, library = State(), textbook()

    def walk() -> object:
        return library.textbook_walk(ctypes.addressof(state), image.address, image.blocks, image.block_bytes, NOW_NS)

    return walk, state.told


def _table(walker: NativeWalker) -> int:
    assert walker._sequences is not None
    return ctypes.addressof(walker._sequences._streams)


def numpy_of(image: Image) -> Walk:
    walker = NumpyWalker([image.area()], FOLLOWING, NOW_NS)
    if isinstance(walker._sequences, ColumnSequences):
        walker._sequences._latencies._counts.fill(0)  # the first touch of a page is no part of walking
    return walker.drain, lambda: _told(walker)


def _told(walker: Walker) -> tuple[object, ...]:
    (walked,) = walker.take()
    streams = {stream.port: (stream.received, stream.lost) for stream in walker.followed().streams}
    return walked.packets, walked.bytes, walked.latency.counts, streams


def timed(fresh: Fresh, image: Image, passes: int) -> float:
    """Nanoseconds per packet. Every pass starts from nothing: the same numbers again would be another work, of repetitions."""
    spent = 0
    for _ in range(passes):
        walk, _tell = fresh(image)
        image.rearm()
        before = time.thread_time_ns()
        walk()
        spent += time.thread_time_ns() - before
    return spent / passes / image.packets


def timed_from_c(image: Image, passes: int) -> float:
    """Nanoseconds per packet of the native walker, called by a loop in C that resets what it counted."""
    walker = NativeWalker([image.area()], FOLLOWING, NOW_NS)
    assert walker._sequences is not None
    assert walker._followed is not None
    ring, kept = walker._addresses[0], (ctypes.c_char * ctypes.sizeof(Ring))()
    counted = (ctypes.c_char * ctypes.sizeof(Sequences))()
    ctypes.memmove(kept, ring, len(kept))
    ctypes.memmove(counted, walker._followed, len(counted))
    table = walker._sequences._table
    empty = (ctypes.c_char * ctypes.sizeof(table)).from_buffer_copy(table)
    parts = (Part * 4)(
        Part(ring, ctypes.addressof(kept), len(kept)),
        Part(walker._followed, ctypes.addressof(counted), len(counted)),
        Part(ctypes.addressof(table), ctypes.addressof(empty), len(empty)),
        Part(_table(walker), None, _STREAMS * ctypes.sizeof(Stream)),
    )
    drain = ctypes.cast(walker._native.quietcore_walk_drain, ctypes.c_void_p)
    spent = textbook().textbook_drain(
        drain, ring, walker._followed, parts, len(parts), image.address, image.blocks, image.block_bytes, passes
    )
    agree(image, {"from C": _told(walker)})
    return float(spent / passes / image.packets)


def agree(image: Image, others: dict[str, object] | None = None) -> None:
    """All walkers over the image once, freshly: they have to tell the same.

    Raises:
        DisagreementError: they do not.
    """
    told: dict[str, object] = dict(others or {})
    for name, start in {"textbook": textbook_of, "native": native_of, "numpy": numpy_of, "python": python_of}.items():
        if name == "python" and image.packets > 20_000:
            continue  # it would take seconds
        walk, tell = start(image)
        image.rearm()
        walk()
        told[name] = tell()
    for name, what in told.items():
        if what != told["textbook"]:
            raise DisagreementError(f"the walker {name} does not count what the textbook loop counts")


@contextlib.contextmanager
def pcap_over(image: Image) -> Iterator[Callable[[], float]]:
    """libpcap over the image: nanoseconds per packet at each call.

    Raises:
        UnavailableError: no libpcap, or no right to open it.
    """
    libpcap.library()
    with contextlib.ExitStack() as opened:
        try:
            pair = opened.enter_context(VethPair())
            # sic: one thread opens it in the namespace, this one reads it
            capture = opened.enter_context(pair.far.call(libpcap.Capture, pair.into, len(image.memory), 1, NOW_NS))
        except (NamespaceError, OSError) as error:
            raise UnavailableError(f"libpcap cannot be opened here: {error}") from error
        capture.do_not_block()
        libpcap.lay_over(image)

        def walk() -> float:
            image.rearm()
            capture.forget()
            before = time.thread_time_ns()
            capture.dispatch(image.packets)
            spent = time.thread_time_ns() - before
            agree_with(capture.state, image)
            return spent / image.packets

        yield walk


def agree_with(state: State, image: Image) -> None:
    """What libpcap delivered has to be what the textbook loop finds."""
    walk, tell = textbook_of(image)
    image.rearm()
    walk()
    if tell() != state.told():
        raise DisagreementError(f"libpcap delivered {state.packets} of {image.packets} packets, or not the same ones")


def plain_read_bytes_per_s(image: Image) -> float:
    before = time.thread_time_ns()
    textbook().textbook_read(image.address, len(image.memory))
    return len(image.memory) / (time.thread_time_ns() - before) * 1e9


def compare(board: Board, image: Image, name: str, passes: int, rounds: int, target: float) -> None:
    """One image: native against textbook, and against itself called from C."""
    agree(image)
    found = interleaved(
        {
            "textbook": lambda: timed(textbook_of, image, passes),
            "native": lambda: timed(native_of, image, passes),
            "from C": lambda: timed_from_c(image, passes),
            "read": lambda: plain_read_bytes_per_s(image),
        },
        rounds,
    )
    ns = {each: median(values) for each, values in found.items()}
    note = f"{ns['native']:.1f} and {ns['textbook']:.1f} ns/packet"
    board.put(Figure(f"{name}: native / textbook C", ns["native"] / ns["textbook"], at_most=target, note=note))
    pairs = [one / other for one, other in zip(found["native"], found["from C"], strict=True)]
    note = f"{ns['from C']:.1f} ns/packet from C"
    board.put(Figure(f"{name}: through ctypes / the same from C", median(pairs), at_most=1.15, note=note))
    if passes == 1:
        walked = len(image.memory) / (ns["textbook"] * image.packets) * 1e9
        reason = (
            "near 1: this CPU's own prefetcher follows the walk" if walked > ns["read"] / 2 else "the walk waits for memory"
        )
        note = f"{walked / 1e9:.1f} of {ns['read'] / 1e9:.1f} GB/s; {reason}"
        board.put(Figure(f"{name}: bytes/s of the textbook walk / of a plain read", walked / ns["read"], note=note))


def compare_stand_ins(board: Board, image: Image) -> None:
    """The ladder below the native walker: numpy, and nothing but Python."""
    starts: dict[str, Callable[[Image], Walk]] = {"textbook": textbook_of, "numpy": numpy_of, "python": python_of}
    found = interleaved({name: lambda start=start: timed(start, image, 1) for name, start in starts.items()}, 3)
    ns = {name: median(values) for name, values in found.items()}
    for name, target in (("numpy", 2.2), ("python", 16.0)):
        ratio = ns[name] / ns["textbook"]
        board.put(Figure(f"cold: {name} / textbook C", ratio, at_most=target, note=f"{ns[name]:,.0f} ns/packet"))


def compare_pcap(board: Board, name: str, size: int, rounds: int, target: float) -> None:
    image = Image.filled(size, block_bytes=PCAP_BLOCK_BYTES)
    passes = max(1, HOT_PASSES * BLOCK_BYTES // size) if size < COLD_BYTES else 1
    with pcap_over(image) as walk:
        walk()
        measured = {
            "libpcap": lambda: sum(walk() for _ in range(passes)) / passes,
            "native": lambda: timed(native_of, image, passes),
        }
        found = interleaved(measured, rounds)
    native, pcap = median(found["native"]), median(found["libpcap"])
    note = f"{native:.1f} and {pcap:.1f} ns/packet"
    board.put(Figure(f"{name}: native / pcap_dispatch", native / pcap, at_most=target, note=note))


def main(board: Board, *, brief: bool = False) -> None:
    """Prints each walker's time as a ratio to another's."""
    rounds = 3 if brief else ROUNDS
    for streams in (1, 8):
        told = f"{streams} stream{'s' * (streams > 1)}"
        compare(board, Image.filled(COLD_BYTES, streams), f"cold, {told}", 1, rounds, 0.30)
        compare(board, Image.filled(BLOCK_BYTES, streams), f"hot, {told}", HOT_PASSES, rounds, 0.85)
    compare_stand_ins(board, Image.filled(COLD_BYTES))
    compare_pcap(board, "cold", COLD_BYTES, rounds, 0.30)
    compare_pcap(board, "hot", 4 * PCAP_BLOCK_BYTES, rounds, 0.45)
