"""two rings read on two threads, against one

What ``ring --cpu 2,3`` does against ``--cpu 2``: two walkers that share one sequence accounting, each with a ring and a thread
of its own, against one walker that reads both rings. Packets per second of wall time. A call into the walker gives up the
interpreter's lock, so the limit is the memory that both share, and what else runs here: with a busy neighbour on one of the
CPUs the ratio falls towards 1.

First as it should be, each stream in one ring only; then the two lines of one channel, one in each ring, which meet in one
accounting: their readers take turns, block by block, and two threads are for distance from the NIC, not for speed.
"""

import ctypes
import ipaddress
import os
import threading
import time
from collections.abc import Sequence
from typing import TypeAlias

from bench.figures import Board, DisagreementError, Figure, UnavailableError, interleaved, median, spread
from bench.textbook import COLD_BYTES, FOLLOWING, NOW_NS, Image
from ingest.rings.layout import Following, Group
from ingest.rings.native import Stream
from ingest.rings.walk import Walker, open_walkers
from ingest.rings.walk_native import NativeWalker

ROUNDS = 7
PASSES = 10
STREAMS = 8
OTHER_PORT = 40001
BLOCK_BYTES = 1 << 16  # as a throughput ring's

Share: TypeAlias = list[Image]


def image(streams: int, port: int = 30001) -> Image:
    """A ring's memory."""
    return Image.filled(COLD_BYTES, streams, BLOCK_BYTES, port)


def opened(shares: Sequence[Share], following: Following) -> tuple[Walker, ...]:
    """The walkers of one pass: each pass begins with nothing counted, in memory that was touched before."""
    walkers = open_walkers([[each.area() for each in share] for share in shares], following, NOW_NS, "native")
    first = walkers[0]
    assert isinstance(first, NativeWalker)
    assert first._sequences is not None
    ctypes.memset(first._sequences._streams, 0, 4 * STREAMS * ctypes.sizeof(Stream))
    return walkers


def walk(walkers: Sequence[Walker], share: Share, cpu: int, gate: threading.Barrier) -> None:
    """One thread: waits for the others, then walks its rings, with a new walker each time."""
    os.sched_setaffinity(0, {cpu})
    gate.wait()
    for walker in walkers:
        for each in share:
            each.rearm()
        walker.drain()
    gate.wait()


def throughput(shares: Sequence[Share], cpus: Sequence[int], passes: int, following: Following) -> float:
    """Packets per second of wall time, all threads together.

    Raises:
        DisagreementError: the walkers counted other packets than there are, or the streams others than these.
    """
    runs = [opened(shares, following) for _ in range(passes)]
    gate = threading.Barrier(len(shares) + 1)
    threads = [
        threading.Thread(target=walk, args=([run[place] for run in runs], share, cpus[place], gate))
        for place, share in enumerate(shares)
    ]
    for thread in threads:
        thread.start()
    gate.wait()
    before = time.monotonic()
    gate.wait()
    spent = time.monotonic() - before
    for thread in threads:
        thread.join()
    there = sum(each.packets for share in shares for each in share)
    for run in runs:
        counted = sum(walked.packets for walker in run for walked in walker.take())
        received = sum(stream.received for stream in run[0].followed(histograms=False).streams)
        if not counted == received == there:
            raise DisagreementError(f"walkers counted {counted} packets, {received} of streams, of {there}")
        for walker in run:
            walker.close()
    return passes * there / spent


def compare(
    board: Board, name: str, images: list[Image], following: Following, passes: int, rounds: int, at_least: float | None
) -> None:
    """One figure: two threads against one."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    found = interleaved(
        {
            "one": lambda: throughput([images], cpus, passes, following),
            "two": lambda: throughput([[each] for each in images], cpus, passes, following),
        },
        rounds,
    )
    ratios = [two / one for one, two in zip(found["one"], found["two"], strict=True)]
    note = f"{median(found['two']) / 1e6:.0f} and {median(found['one']) / 1e6:.0f} M packets/s {spread(ratios)}"
    board.put(Figure(name, median(ratios), at_least=at_least, unit="x", note=note))


def main(board: Board, *, brief: bool = False) -> None:
    """Prints the ratios of two threads to one."""
    if len(os.sched_getaffinity(0)) < 2:
        raise UnavailableError("this process may run on one CPU only")
    passes, rounds = (PASSES // 5, 3) if brief else (PASSES, ROUNDS)
    apart = [image(STREAMS), image(STREAMS, OTHER_PORT)]
    compare(board, "two threads / one", apart, FOLLOWING, passes, rounds, 1.5)
    lines = [image(1), image(1, OTHER_PORT)]
    address = ipaddress.IPv4Address("239.1.1.1").packed
    groups = tuple(Group(address, port, 0, 0, line) for line, port in enumerate((30001, OTHER_PORT)))
    channel = Following(FOLLOWING.framings, None, groups, ("lines",))
    compare(board, "two threads / one, the two lines of a channel", lines, channel, passes, rounds, None)
