"""resident memory over a billion packets

One block of 1 MiB is walked again and again with the sequence accounting in force, its numbers moved on after each pass, and
the counters are taken and added up each second as a ring's reader does. Resident memory (VmRSS) after a warm-up of one second
against that at the end: what grows with packets would show as bytes per packet, here as a growth of the whole.
"""

import time

from bench.figures import Board, DisagreementError, Figure
from bench.textbook import BLOCK_BYTES, FOLLOWING, NOW_NS, Image
from ingest.rings.counters import NOTHING, Walked
from ingest.rings.walk_native import NativeWalker

PACKETS = 1_000_000_000
LARGEST_KIB = 1024


def resident_kib() -> int:
    """VmRSS of this process."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def soak(image: Image, packets: int) -> tuple[int, int, int, float]:
    """Walks at least so many packets. Returns how many, resident KiB after the warm-up and at the end, and seconds.

    Raises:
        DisagreementError: the accounts of packets and of numbers differ.
    """
    walker = NativeWalker([image.area()], FOLLOWING, NOW_NS)
    total: Walked = NOTHING
    started = taken = time.monotonic()
    warm_kib, passes = 0, 1
    image.rearm()
    walker.drain()
    (stream,) = walker.followed(histograms=False).streams
    gaps, step = stream.lost, stream.received + stream.lost
    while passes * image.packets < packets:
        image.advance(step)
        image.rearm()
        walker.drain()
        passes += 1
        if time.monotonic() - taken >= 1.0:
            total = total.merged(walker.take()[0])
            walker.followed()
            taken = time.monotonic()
            warm_kib = warm_kib or resident_kib()
    total = total.merged(walker.take()[0])
    (stream,) = walker.followed().streams
    seconds = time.monotonic() - started
    expected = (passes * image.packets, passes * image.packets, total.latency.total)
    if expected != (total.packets, stream.received, total.packets) or stream.duplicate or stream.lost < passes * gaps:
        raise DisagreementError(f"walked {passes} x {image.packets}, counted {total.packets}, followed {stream.received}")
    end_kib = resident_kib()
    return total.packets, warm_kib or end_kib, end_kib, seconds


def main(board: Board, *, brief: bool = False) -> None:
    """Prints the growth."""
    packets, before, after, seconds = soak(Image.filled(BLOCK_BYTES), PACKETS // 10 if brief else PACKETS)
    note = f"{before} KiB -> {after} KiB over {packets / 1e9:.2f} billion packets, {seconds:.0f} s"
    board.put(Figure("growth of resident memory", after - before, at_most=LARGEST_KIB, unit="KiB", note=note))
