"""A heat map as lines: a level and a tone for each cell, both bytes, in rows of the machine's order.

A row's line is made again only when its bytes change, runs of one tone are one segment, and no cell is an object.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from operator import itemgetter
from typing import TypeVar

from rich.segment import Segment

from ui.app.state.places import RULE, Group
from ui.app.state.policy import NAMES
from ui.app.widgets.lines import Line, fit, seg
from ui.app.widgets.ramp import ASCII, TOP, glyphs, short
from ui.app.widgets.tones import DIM, TONES

T = TypeVar("T")

NUMBER = 4  # cells of a number, the blank before it included
MARK = 0x40  # in a tone's byte: the cursor is there
_EMPTY, _BORDER = TOP + 1, TOP + 2  # levels of what is no core
_RUNS = re.compile(rb"(.)\1*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One row: its label, and the CPU of each cell; ``GAP`` where none is online, ``RULE`` between two caches."""

    label: str
    cells: tuple[int, ...]


def brief(value: float) -> str:
    """A figure in three characters."""
    if value <= 0:
        return glyphs()[0]
    if value < 0.95:
        return "<1"
    if value < 999.5:
        return f"{value:.0f}"
    if value < 99_500:
        return f"{value / 1e3:.0f}k"
    if value < 999_500:
        return f".{value / 1e5:.0f}M" if value < 950_000 else "1M"
    return f"{min(99.0, value / 1e6):.0f}M"


@cache
def _cells(ramp: str) -> str:
    return f"{ramp} {'|' if ramp == ASCII else '│'}"


@dataclass(slots=True)
class _Made:
    """A row as it was drawn last."""

    key: tuple[object, ...]
    line: Line


class HeatGrid:
    """Rows of cells. ``lay`` says where each core stands, ``lines`` draws what they do."""

    def __init__(self) -> None:
        self._rows: Sequence[HeatRow] = ()
        self._pick: list[Callable[[Sequence[int]], Sequence[int]]] = []
        self._pick_values: list[Callable[[Sequence[float]], Sequence[float]]] = []
        self._at: dict[int, tuple[int, int]] = {}
        self._made: list[_Made | None] = []
        self._state: tuple[object, ...] = ()
        self._lines: list[Line] = []
        self._width = self._label = 0
        self._numbers = False

    def lay(self, rows: Sequence[HeatRow], index: Mapping[int, int], width: int, label: int, *, numbers: bool = False) -> None:
        """Sets the rows.

        Args:
            rows: top down.
            index: CPU -> its place in the bytes that ``lines`` takes.
            width: of a line.
            label: of this, for the labels.
            numbers: figures instead of glyphs.
        """
        count = len(index)
        # beyond the cores stand what draws a gap, and a border
        places = [[index.get(cpu, count) if cpu != RULE else count + 1 for cpu in row.cells] for row in rows]
        self._rows, self._width, self._label, self._numbers = rows, width, label, numbers
        self._pick = [_picker(each) for each in places]
        self._pick_values = [_picker(each) for each in places]
        self._at = {cpu: (y, x) for y, row in enumerate(rows) for x, cpu in enumerate(row.cells) if cpu >= 0}
        self._made = [None] * len(rows)
        self._state = ()

    def lines(self, levels: bytes, tones: bytes, values: Sequence[float], cursor: int | None = None) -> list[Line]:
        """A line for each row.

        Args:
            levels: of each core.
            tones: of each core, as places in ``policy.NAMES``.
            values: of each core: the highest of a row stands at its end.
            cursor: the CPU that is marked.
        """
        state = (levels, tones, values, cursor, TONES.generation)
        if state == self._state:
            return self._lines
        self._state = state
        levels += bytes((_EMPTY, _BORDER))
        tones += b"\0\0"
        values = [*values, 0.0, 0.0]
        at = self._at.get(cursor) if cursor is not None else None
        self._lines = [
            self._line(y, levels, tones, values, at[1] if at is not None and at[0] == y else -1) for y in range(len(self._rows))
        ]
        return self._lines

    def _line(self, y: int, levels: bytes, tones: bytes, values: Sequence[float], cursor: int) -> Line:
        row_levels = bytes(self._pick[y](levels))
        row_tones = bytes(self._pick[y](tones))
        row_values = self._pick_values[y](values)
        if cursor >= 0:
            marked = bytearray(row_tones)
            marked[cursor] |= MARK
            row_tones = bytes(marked)
        told = tuple(row_values) if self._numbers else short(max(row_values, default=0.0))
        key = (row_levels, row_tones, told, TONES.generation)
        made = self._made[y]
        if made is not None and made.key == key:
            return made.line
        line = self._draw(y, row_levels, row_tones, row_values)
        self._made[y] = _Made(key, line)
        return line

    def _draw(self, y: int, levels: bytes, tones: bytes, values: Sequence[float]) -> Line:
        segments: list[Segment] = [seg(fit(self._rows[y].label, self._label), DIM)]
        if self._numbers:
            each, text = NUMBER, _numbers(levels, values)
        else:
            each, text = 1, "".join(map(_cells(glyphs()).__getitem__, levels))
        for run in _RUNS.finditer(tones):
            code = run[1][0]
            name = NAMES[code & ~MARK]
            start, end = run.span()
            segments.append(seg(text[start * each : end * each], f"{name} cursor".lstrip() if code & MARK else name))
        rest = self._width - self._label - len(text)
        if rest > 0:
            segments.append(seg("".rjust(rest) if self._numbers else short(max(values, default=0.0)).rjust(rest), DIM))
        return tuple(segments)

    def row(self, cpu: int | None) -> int:
        """In which row a CPU is; the first where it is in none."""
        return self._at.get(cpu, (0, 0))[0] if cpu is not None else 0

    def move(self, cpu: int, rows: int, columns: int) -> int:
        """The CPU so many rows and columns on from another; the nearest where nobody is there."""
        if not self._at:
            return cpu
        if cpu not in self._at:
            return next(iter(self._at))
        y, x = self._at[cpu]
        if columns:
            line = [each for row in self._rows for each in row.cells if each >= 0] if abs(columns) == 1 else []
            return line[max(0, min(line.index(cpu) + columns, len(line) - 1))] if line else cpu
        y = max(0, min(y + rows, len(self._rows) - 1))
        step = 1 if rows > 0 else -1
        while 0 <= y < len(self._rows):
            there = [(abs(at - x), each) for at, each in enumerate(self._rows[y].cells) if each >= 0]
            if there:
                return min(there)[1]
            y += step
        return cpu


def _numbers(levels: bytes, values: Sequence[float]) -> str:
    return "".join(
        [
            brief(value).rjust(NUMBER) if level <= TOP else " " * NUMBER if level == _EMPTY else "│".rjust(NUMBER)
            for level, value in zip(levels, values, strict=True)
        ]
    )


def _picker(places: list[int]) -> Callable[[Sequence[T]], Sequence[T]]:
    """Takes these places out of a sequence: by a slice, where they are neighbours."""
    if not places:
        return lambda _all: ()
    if places == list(range(places[0], places[0] + len(places))):
        part = slice(places[0], places[0] + len(places))
        return lambda everything: everything[part]
    if len(places) == 1:
        return lambda everything: (everything[places[0]],)
    return itemgetter(*places)


def rows_of(group: Group, room: int) -> list[HeatRow]:
    """Rows of at most ``room`` cells: all threads in one where there is room, else those of a core one above the other."""
    threads, edges = group.threads, (0, *group.borders, len(group.threads[0]))
    packs = _packed(list(pairwise(edges)), room)
    deep, count = len(threads), edges[-1]
    if len(packs) == 1:
        each = [_bordered(thread, packs[0]) for thread in threads]
        if deep * (len(each[0]) + 1) - 1 <= room:
            return [HeatRow(group.label, sum(((RULE, *cells) for cells in each[1:]), each[0]))]
        if not group.borders and deep * count <= room:
            return [HeatRow(group.label, sum(each[1:], each[0]))]
    found = []
    for at, pack in enumerate(packs):
        for number, thread in enumerate(threads):
            found.append(HeatRow(" '" if number else "" if at else group.label, _bordered(thread, pack)))
    return [row for row in found if any(cpu >= 0 for cpu in row.cells)]


def _bordered(thread: Sequence[int], pack: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    cells: list[int] = []
    for start, stop in pack:
        cells += [RULE, *thread[start:stop]] if cells else thread[start:stop]
    return tuple(cells)


def _packed(blocks: Sequence[tuple[int, int]], room: int) -> list[list[tuple[int, int]]]:
    """Blocks of columns in rows; a block that is wider than a row has rows of its own."""
    packs: list[list[tuple[int, int]]] = []
    used = room + 1
    for start, stop in blocks:
        each = balanced(stop - start, room)
        for at in range(start, stop, each):
            part = (at, min(at + each, stop))
            size = part[1] - at
            if used + 1 + size <= room and size == stop - start:
                packs[-1].append(part)
                used += 1 + size
            else:
                packs.append([part])
                used = size
    return packs


def balanced(count: int, room: int) -> int:
    """How many cells each of as few rows as possible has: a multiple of eight, where that needs no further row."""
    rows = -(-count // max(1, room))
    each = -(-count // rows)
    eights = -(-each // 8) * 8
    return min(eights, count) if eights <= room and -(-count // eights) == rows else each


def ruler(room: int, label: int, width: int) -> str:
    """Where the columns are."""
    marks = "".join(f"{at:<8}" for at in range(0, room, 8) if at + len(str(at)) <= room)[:room]
    return " " * label + marks + "max".rjust(max(0, width - label - len(marks)))


__all__ = ["NUMBER", "HeatGrid", "HeatRow", "balanced", "brief", "rows_of", "ruler"]
