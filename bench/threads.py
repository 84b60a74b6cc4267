"""two walkers on two threads, against one

Two images, two walkers, two threads on two CPUs: packets per second of wall time, against one walker on one of them. A call
into the walker gives up the interpreter's lock, so the limit is the memory that both share, and what else runs here: with a
busy neighbour on one of the CPUs the ratio falls towards 1.
"""

import ctypes
import os
import threading
import time

from bench.figures import Board, DisagreementError, Figure, UnavailableError, interleaved, median, spread
from bench.textbook import COLD_BYTES, FOLLOWING, NOW_NS, Image
from ingest.rings.native import Stream
from ingest.rings.walk_native import NativeWalker

ROUNDS = 7
PASSES = 20


def walk(image: Image, cpu: int, passes: int, gate: threading.Barrier) -> None:
    """One thread: waits for the others, then walks its image so many times."""
    os.sched_setaffinity(0, {cpu})
    walkers = [NativeWalker([image.area()], FOLLOWING, NOW_NS) for _ in range(passes)]  # a pass begins with nothing counted
    for walker in walkers:
        ctypes.memset(walker._sequences._streams, 0, ctypes.sizeof(Stream))  # type: ignore[union-attr,arg-type]
    gate.wait()
    for walker in walkers:
        image.rearm()
        walker.drain()
    gate.wait()
    counted = sum(walker.take()[0].packets for walker in walkers)
    if counted != passes * image.packets:
        raise DisagreementError(f"a walker counted {counted} of {passes} x {image.packets} packets")


def throughput(images: list[Image], cpus: list[int], passes: int) -> float:
    """Packets per second of wall time, all threads together."""
    gate = threading.Barrier(len(images) + 1)
    threads = [threading.Thread(target=walk, args=(*each, passes, gate)) for each in zip(images, cpus, strict=True)]
    for thread in threads:
        thread.start()
    gate.wait()
    before = time.monotonic()
    gate.wait()
    spent = time.monotonic() - before
    for thread in threads:
        thread.join()
    return passes * sum(image.packets for image in images) / spent


def main(board: Board, *, brief: bool = False) -> None:
    """Prints the ratio of two threads to one."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        raise UnavailableError("this process may run on one CPU only")
    images = [Image.filled(COLD_BYTES) for _ in cpus]
    passes = PASSES // 5 if brief else PASSES
    found = interleaved(
        {
            "one": lambda: throughput(images[:1], cpus[:1], passes),
            "two": lambda: throughput(images, cpus, passes),
        },
        3 if brief else ROUNDS,
    )
    ratios = [two / one for one, two in zip(found["one"], found["two"], strict=True)]
    note = f"{median(found['two']) / 1e6:.0f} and {median(found['one']) / 1e6:.0f} M packets/s {spread(ratios)}"
    board.put(Figure("two threads / one", median(ratios), at_least=1.5, unit="x", note=note))
