"""what a tick of the collector costs beyond the kernel's part

Three kinds of ticks: plain ones (what is read at every tick), those of the second (drivers' counters, netlink, UDP sockets,
too) and those after five seconds (topology, interfaces and each interrupt's affinity, too). Beside each stands the bare
reading: the same files and questions, recorded from one such tick, with nothing made of the answers. The difference is ours,
in microseconds of thread CPU; the target is of the plain tick of this host, whatever it has (see the counts).

Warm: tick upon tick, so that neither caches nor clocks had time to cool. Once a second, as the collector runs, the same work
takes two to four times as long on an idle host: that is what waking up costs, and it is told at the end for all that a
second's tick does, the kernel's part with it.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from bench.figures import Board, Figure, median
from ingest.collector import Collector
from ingest.counters.kept import KeptFile
from tuner.host.files import HostFiles
from tuner.host.host import Host, open_host

ROUNDS = 501
_PLAIN, _SECOND, _SLOW = "plain", "of the second", "after five seconds"
_NEVER = float("inf")


@contextlib.contextmanager
def recorded(reads: list[Callable[[], object]], host: Host) -> Iterator[None]:
    """Notes everything that is asked of the kernel: files kept open, files opened anew, and what the system calls answer."""
    kept_read, file_read = KeptFile.read, HostFiles.read

    def of_kept(self: KeptFile) -> bytes | None:
        answer = kept_read(self)
        reads.append(bare_kept(self._fd) if self._fd >= 0 else bare_open(host.files.path(self.name)))
        return answer

    def of_file(self: HostFiles, name: str) -> bytes:
        reads.append(bare_open(self.path(name)))
        return file_read(self, name)

    KeptFile.read, HostFiles.read = of_kept, of_file  # type: ignore[method-assign]
    try:
        yield
    finally:
        KeptFile.read, HostFiles.read = kept_read, file_read  # type: ignore[method-assign]


def bare_kept(fd: int) -> Callable[[], None]:
    """Reads a file that is open already, from its start."""
    buffer = memoryview(bytearray(1 << 16))

    def read() -> None:
        at = 0
        while got := os.preadv(fd, [buffer], at):
            at += got

    return read


def bare_open(path: str) -> Callable[[], None]:
    """Opens a file, reads it, closes it."""

    def read() -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        with contextlib.suppress(OSError):
            while os.read(fd, 1 << 16):
                pass
        os.close(fd)

    return read


class Ticks:
    """A collector of this host whose next tick is of the kind that is wanted."""

    def __init__(self) -> None:
        self.host = open_host()
        self.collector = Collector(self.host)
        self.collector.tick()

    def prepare(self, kind: str) -> None:
        """Makes due what the next tick is to read."""
        self.collector._slow_until = 0.0 if kind == _SLOW else _NEVER
        for paced, due in ((self.collector.losses._second, kind != _PLAIN), (self.collector.losses._slow, kind == _SLOW)):
            paced._due_ns = 0 if due else 1 << 62

    def spent_us(self, kind: str) -> float:
        """CPU time of one tick."""
        self.prepare(kind)
        before = time.thread_time_ns()
        self.collector.tick()
        return (time.thread_time_ns() - before) / 1e3

    def bare(self, kind: str) -> list[Callable[[], object]]:
        """What such a tick reads."""
        self.prepare(kind)
        reads: list[Callable[[], object]] = []
        with recorded(reads, self.host):
            self.collector.tick()
        return reads


def bare_us(reads: list[Callable[[], object]]) -> float:
    before = time.thread_time_ns()
    for read in reads:
        read()
    return (time.thread_time_ns() - before) / 1e3


def main(board: Board, *, brief: bool = False) -> None:
    """Prints our part of each kind of tick."""
    ticks = Ticks()
    try:
        for kind, rounds in ((_PLAIN, ROUNDS), (_SECOND, ROUNDS // 10), (_SLOW, ROUNDS // 50)):
            reads = ticks.bare(kind)
            whole, bare = [], []
            for _ in range(max(3, rounds // (10 if brief else 1))):
                whole.append(ticks.spent_us(kind))
                bare.append(bare_us(reads))
            ours = median(whole) - median(bare)
            note = f"{median(whole):.0f} us with the kernel's part, {len(reads)} files"
            board.put(Figure(f"tick, {kind}: ours", ours, at_most=60 if kind == _PLAIN else None, unit="us", note=note))
        sample = ticks.collector.tick()
        board.note(f"this host: {len(sample.cores)} CPUs, {len(sample.irqs)} interrupts, {len(sample.nics)} interfaces")
        cold = []
        for _ in range(2 if brief else 5):
            time.sleep(0.2 if brief else 1.0)
            cold.append(ticks.spent_us(_SECOND))
        percent = median(cold) / 1e4
        board.put(Figure("one tick a second: CPU of one core", percent, unit="%", note=f"{median(cold):.0f} us each, cold"))
    finally:
        ticks.collector.close()
