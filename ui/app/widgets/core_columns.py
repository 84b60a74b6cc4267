"""Rates per core as one glyph each, in topology order: a row of a matrix, or lines of 64 cores.

How much is told by a glyph's height, whether it may be there by its tone: on a reserved core anything is bad, however little.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from rich.segment import Segment

from ingest.judgement import RESERVED
from ingest.sample import CoreSample
from tuner.host.cpulist import CpuSet
from ui.app.widgets.lines import Line, fit, seg
from ui.app.widgets.ramp import drawn, short, thresholds
from ui.app.widgets.tones import BAD, COOL, DIM, TONES, WARN

TOP = 20_000.0  # interrupts per second at which the scale ends
TICK_PER_S = 2.0  # a stopped tick may leave one a second
PER_LINE = 64

Rates = Iterable[tuple[int, float]]
Cells = tuple[bytes, bytes]  # of each column its level, and its tone

_TONES = (DIM, *COOL, BAD, WARN)
_BAD, _WARN = 5, 6
_COOL = bytes([0, 1, 1, 2, 2, 3, 3, 4, 4]).ljust(256, b"\0")  # level -> tone on a core that may be busy
_RUNS = re.compile(rb"(.)\1*", re.DOTALL)


def by_node(cores: Sequence[CoreSample]) -> dict[int, list[CoreSample]]:
    """Node -> its cores, first threads before their siblings."""
    nodes: dict[int, list[CoreSample]] = {}
    for core in cores:
        nodes.setdefault(core.node, []).append(core)
    order = sorted(nodes)
    return {node: sorted(nodes[node], key=lambda c: (c.cpu != min(c.siblings, default=c.cpu), c.cpu)) for node in order}


def reserved_of(cores: Sequence[CoreSample]) -> CpuSet:
    """The CPUs on which nothing should land."""
    return frozenset([core.cpu for core in cores if core.role in RESERVED])


class _Places:
    """Which column each CPU has, and what its cells look like."""

    def __init__(self, reserved: CpuSet) -> None:
        self.place: dict[int, int] = {}
        self.width = 0
        self.reserved = reserved
        self._steps = thresholds(TOP)

    def cells(self, rates: Rates, tick: bool = False) -> Cells:
        """What is drawn of some rates. ``tick``: of the timer, of which one a second is nothing."""
        highs = bytearray(self.width)
        stray: list[tuple[int, float]] = []
        place, steps, reserved = self.place, self._steps, self.reserved
        for cpu, per_s in rates:
            at = place.get(cpu)
            if at is not None:
                high = bisect_left(steps, per_s)
                if high > highs[at]:
                    highs[at] = high
                if cpu in reserved:
                    stray.append((at, per_s))
        tones = bytearray(highs.translate(_COOL))
        for at, per_s in stray:
            tones[at] = (_WARN if per_s > TICK_PER_S else tones[at] if tones[at] == _WARN else 0) if tick else _BAD
        return bytes(highs), bytes(tones)


def _segments(text: str, tones: bytes) -> list[Segment]:
    styles = [TONES.style(tone) for tone in _TONES]
    return [Segment(text[run.start() : run.end()], styles[tones[run.start()]]) for run in _RUNS.finditer(tones)]


class Matrix(_Places):
    """One line per interrupt, one column per core, or per some neighbouring cores where there are more than room."""

    def __init__(self, cores: Sequence[CoreSample], reserved: CpuSet, room: int) -> None:
        super().__init__(reserved)
        nodes = by_node(cores)
        gaps = len(nodes) - 1 if room >= 3 * len(nodes) else 0
        self.each = max(1, -(-len(cores) // max(1, room - gaps)))
        while sum(-(-len(each) // self.each) for each in nodes.values()) + gaps > room and self.each < len(cores):
            self.each += 1
        self._gaps: list[int] = []
        head = ""
        for node, found in nodes.items():
            if gaps and self.width:
                self._gaps.append(self.width)
                self.width += 1
                head += " "
            for number, core in enumerate(found):
                self.place[core.cpu] = self.width + number // self.each
            self.width += -(-len(found) // self.each)
            head += fit(f"n{node}", self.width - len(head)) if self.width > len(head) else ""
        self.width = min(self.width, room)
        self.place = {cpu: at for cpu, at in self.place.items() if at < self.width}
        self.head = head[:room]
        self._blank = bytes(self.width)
        self._kept: dict[str, tuple[Cells, int, Line]] = {}

    def line(self, key: str, rates: Sequence[tuple[int, float]], tick: bool = False) -> Line:
        """An interrupt's rates; the very line of before where it looks the same."""
        cells = self.cells(rates, tick) if rates else (self._blank, self._blank)
        kept = self._kept.get(key)
        if kept is not None and kept[0] == cells and kept[1] == TONES.generation:
            return kept[2]
        text = drawn(cells[0])
        for gap in self._gaps:
            text = f"{text[:gap]} {text[gap + 1 :]}"
        if len(self._kept) > 4096:
            self._kept.clear()
        line = tuple(_segments(text, cells[1]))
        self._kept[key] = cells, TONES.generation, line
        return line


class CoreLines(_Places):
    """The cores of each node, 64 a line, each line with what its busiest core has."""

    def __init__(self, cores: Sequence[CoreSample], reserved: CpuSet) -> None:
        super().__init__(reserved)
        self.parts: list[tuple[str, int, int]] = []  # label, first column, end
        self._line_of: dict[int, int] = {}
        for node, found in by_node(cores).items():
            for start in range(0, len(found), PER_LINE):
                part = found[start : start + PER_LINE]
                self.parts.append((fit(f" n{node} {part[0].cpu:>4} ", 10), self.width, self.width + len(part)))
                for number, core in enumerate(part):
                    self.place[core.cpu] = self.width + number
                    self._line_of[core.cpu] = len(self.parts) - 1
                self.width += len(part)
        self._kept: dict[int, tuple[Cells, str, int, Line]] = {}

    def lines(self, rates: Sequence[tuple[int, float]], room: int, tick: bool = False) -> list[Line]:
        """Exactly as many lines as there are, or ``room``: then those on which something landed go first."""
        highs, tones = self.cells(rates, tick)
        most = [0.0] * len(self.parts)
        for cpu, per_s in rates:
            at = self._line_of.get(cpu)
            if at is not None and per_s > most[at]:
                most[at] = per_s
        shown = list(range(len(self.parts)))
        if len(shown) > room:
            shown = sorted(sorted(shown, key=lambda at: not most[at])[: room - 1])
        lines = [self._line(at, highs, tones, short(most[at])) for at in shown]
        rest = sorted(set(range(len(self.parts))) - set(shown))
        if rest:
            cores = sum(self.parts[at][2] - self.parts[at][1] for at in rest)
            highest = max(most[at] for at in rest)
            lines.append((seg(f" and {cores} cores more, at most {short(highest)}/s each", DIM),))
        return lines

    def _line(self, at: int, highs: bytes, tones: bytes, most: str) -> Line:
        label, start, end = self.parts[at]
        cells = highs[start:end], tones[start:end]
        kept = self._kept.get(at)
        if kept is not None and kept[:3] == (cells, most, TONES.generation):
            return kept[3]
        pad = " " * (PER_LINE - (end - start))
        line = (seg(label, DIM), *_segments(drawn(cells[0]), cells[1]), seg(f"{pad}{most:>6}", DIM))
        self._kept[at] = cells, most, TONES.generation, line
        return line
