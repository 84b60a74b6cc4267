"""parsing /proc/interrupts of a large machine

256 CPUs x 2000 interrupts, some 5.6 MB, generated as the kernel prints it (kernel/irq/proc.c). From read to read the rows move
that move on such a host within a tick: all of the timers' and the inter-processor interrupts', and a hundred devices' in one or
two columns. Ours (ingest/counters/interrupts.py) parses what changed; the naive parse splits every line and makes a number of
every word. Both have to tell the same counts.
"""

import random
import time

from bench.figures import Board, DisagreementError, Figure, interleaved, median
from ingest.counters.interrupts import Parser

CPUS, IRQS, MOVING = 256, 2000, 100
_SUMMARY = ("NMI", "LOC", "SPU", "PMI", "IWI", "RTR", "RES", "CAL", "TLB", "TRM", "THR", "DFR", "MCE", "MCP")
_MOVE_EVERYWHERE = ("LOC", "RES", "CAL", "TLB")
ROUNDS = 7


class Host:
    """A file of interrupts that moves."""

    def __init__(self, cpus: int = CPUS, irqs: int = IRQS, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._cpus = cpus
        self._counts: dict[str, list[int]] = {}
        self._text: dict[str, bytes] = {}
        for irq in range(irqs):
            self._counts[str(irq)] = [0] * cpus
            self._counts[str(irq)][irq % cpus] = self._random.randrange(1, 1 << 30)
            self._text[str(irq)] = b"  IR-PCI-MSIX-0000:%02x:00.0  %d-edge      mlx5_comp%d@pci" % (irq % 64, irq, irq)
        for name in _SUMMARY:
            self._counts[name] = [self._random.randrange(1 << 20) for _ in range(cpus)]
            self._text[name] = b"  interrupts of a kind"
        self._lines = {name: self._line(name) for name in self._counts}
        self._header = b"      " + b"".join(b"%-11s" % (b"CPU%d" % cpu) for cpu in range(cpus))

    def _line(self, name: str) -> bytes:
        return b"%4s: " % name.encode() + b" ".join(b"%10d" % count for count in self._counts[name]) + self._text[name]

    def move(self) -> None:
        """A tick passes."""
        devices = [name for name in self._counts if name.isdigit()]
        for name in self._random.sample(devices, min(MOVING, len(devices))):
            self._counts[name][self._random.randrange(self._cpus)] += self._random.randrange(1, 1000)
            self._lines[name] = self._line(name)
        for name in _MOVE_EVERYWHERE:
            self._counts[name] = [count + self._random.randrange(1, 300) for count in self._counts[name]]
            self._lines[name] = self._line(name)

    def read(self) -> bytes:
        """The file as it is now."""
        return b"\n".join((self._header, *self._lines.values(), b""))


def naive(raw: bytes) -> dict[str, tuple[int, ...]]:
    """Label -> counts, every word of every line."""
    header, *lines = raw.decode().splitlines()
    columns = len(header.split())
    found = {}
    for line in lines:
        label, _, rest = line.partition(":")
        found[label.strip()] = tuple(int(word) for word in rest.split()[:columns])
    return found


def main(board: Board, *, brief: bool = False) -> None:
    """Prints the ratio of our parse to the naive one."""
    host, parser = Host(), Parser()
    parser.parse(host.read())

    def ours() -> float:
        before = time.thread_time_ns()
        parser.parse(raw[0])
        return time.thread_time_ns() - before

    def other() -> float:
        before = time.thread_time_ns()
        naive(raw[0])
        return time.thread_time_ns() - before

    raw = [b""]
    taken: dict[str, list[float]] = {"ours": [], "naive": []}
    for _ in range(3 if brief else ROUNDS):
        host.move()
        raw[0] = host.read()
        for name, values in interleaved({"ours": ours, "naive": other}, 1).items():
            taken[name] += values
        table = parser.parse(raw[0])
        if {row.label: row.counts for row in table.rows.values()} != naive(raw[0]):
            raise DisagreementError("the parser does not tell what a naive parse tells")
    ms = {name: median(values) / 1e6 for name, values in taken.items()}
    note = f"{ms['ours']:.2f} and {ms['naive']:.1f} ms for {len(raw[0]) / 1e6:.1f} MB"
    board.put(Figure("parse of a moved file / naive parse", ms["ours"] / ms["naive"], at_most=1 / 25, note=note))
