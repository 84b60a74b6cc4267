"""A chart over time on a logarithmic axis of several rows, and the histogram that stands beside it on the same axis."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import repeat

from rich.segment import Segment

from ui.app.state.policy import NAMES
from ui.app.widgets.lines import Line, fit, seg
from ui.app.widgets.ramp import TOP, bar, glyphs, short
from ui.app.widgets.tones import DIM, TONES

AXIS = 6  # cells of an axis: "20.0k┤"
_STEPS = (2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0, 1e4, 1e6)
_RUNS = re.compile(rb"(.)\1*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LogAxis:
    """Rows of a chart: the lowest ends at 1, each other at ``step`` times the end of the one below."""

    rows: int
    step: float

    @property
    def ends(self) -> tuple[float, ...]:
        """Where each row ends, the lowest first."""
        return tuple(self.step**row for row in range(self.rows))


def axis_for(highest: float, rows: int) -> LogAxis:
    """The finest axis that holds ``highest``."""
    rows = max(1, min(rows, 25))
    step = next((step for step in _STEPS if step ** (rows - 1) >= highest), _STEPS[-1])
    return LogAxis(rows, step)


@cache
def _thresholds(axis: LogAxis) -> tuple[float, ...]:
    """Where each eighth of a row begins to be exceeded; anything above 0 shows."""
    found = [eighth / TOP for eighth in range(TOP)]
    for row in range(1, axis.rows):
        found += [axis.step ** (row - 1 + eighth / TOP) for eighth in range(TOP)]
    return tuple(found)


@cache
def _row_of(row: int) -> bytes:
    """Level of the whole axis -> level within one row of it."""
    return bytes(max(0, min(TOP, level - TOP * row)) for level in range(256))


class Chart:
    """Draws it. A row is kept as long as what it shows stays."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._lines: list[Line] = []
        self._made: list[tuple[tuple[object, ...], Line]] = []

    def lines(self, values: Sequence[float], tones: bytes, axis: LogAxis, width: int) -> list[Line]:
        """A line for each row of the axis, the highest first.

        Args:
            values: one for each column, newest last.
            tones: of each, as places in ``policy.NAMES``.
            axis: its rows.
            width: of a line, the axis included.
        """
        room = width - AXIS
        levels = bytes(map(bisect_left, repeat(_thresholds(axis)), values))[-room:]
        key = (levels, tones, axis, width, TONES.generation)
        if key == self._key:
            return self._lines
        if self._key[2:] != key[2:]:
            self._made = [((), ())] * axis.rows
        self._key = key
        self._lines = [self._line(row, levels, tones[-room:], axis, room) for row in reversed(range(axis.rows))]
        return self._lines

    def _line(self, row: int, levels: bytes, tones: bytes, axis: LogAxis, room: int) -> Line:
        inside = levels.translate(_row_of(row))
        key = (inside, tones if any(inside) else b"")
        if self._made[row][0] == key:
            return self._made[row][1]
        ramp = glyphs() if not row else " " + glyphs()[1:]
        text = "".join(map(ramp.__getitem__, inside))
        segments: list[Segment] = [seg(f"{short(axis.ends[row]):>{AXIS - 1}}┤", DIM), seg(" " * (room - len(text)))]
        if not text.strip():
            segments.append(seg(text))
        else:
            segments += [seg(text[run.start() : run.end()], NAMES[run[1][0]]) for run in _RUNS.finditer(tones)]
        line = tuple(segments)
        self._made[row] = key, line
        return line


class Hist:
    """How many samples lie in each row of an axis, drawn beside a chart on the same axis."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._lines: list[Line] = []

    def lines(self, values: Sequence[float], axis: LogAxis, width: int, bad_from: float | None = None) -> list[Line]:
        """A line for each row of the axis, the highest first, and one for those that are nothing.

        Args:
            values: of each sample.
            axis: its rows.
            width: of a line.
            bad_from: the figure from which a sample is against the policy; None where no figure is.
        """
        counts = count(values, axis)
        key = (counts, axis, width, bad_from, TONES.generation)
        if key != self._key:
            self._key = key
            bad = [bad_from is not None and row > 0 and axis.ends[row - 1] >= bad_from for row in range(axis.rows + 1)]
            rows = range(axis.rows, -1, -1)
            self._lines = [_hist_line(axis, row, counts[row], len(values), width, bad[row]) for row in rows]
        return self._lines


def count(values: Sequence[float], axis: LogAxis) -> list[int]:
    """How many values are nothing, and how many lie in each row, the lowest first; what is beyond the axis is in the last."""
    found = Counter(map(bisect_left, repeat((0.0, *axis.ends[:-1])), values))
    return [found[row] for row in range(axis.rows + 1)]


def _hist_line(axis: LogAxis, row: int, count: int, total: int, width: int, bad: bool) -> Line:
    if row == 0:
        label = "0"
    elif row == 1:
        label = "≤1"
    else:
        label = f"≤{short(axis.ends[row - 1])}"
    share = count / total if total else 0.0
    told = f"{100 * share:.0f}%" if share >= 0.1 else str(count)
    room = max(0, width - 7 - 6)
    tone = "" if not count else "bad" if bad else "cool2"
    drawn = bar(share, room) or (glyphs()[1] if count else "")
    text = f"{label:>6} "
    return (seg(text, DIM), seg(fit(drawn, room), tone), seg(f"{told:>6}", DIM if not count else ""))
