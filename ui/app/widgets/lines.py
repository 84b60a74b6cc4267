"""The one widget that draws: lines of segments, of which only those that changed are sent to the terminal.

Textual sends every dirty span whether or not it changed, and a widget per value costs twenty times as much as a line: so a
screen is one widget, its lines are compared here, and a row is refreshed only where it differs from what stands there. Parts
(``heat.py``, ``table.py``) keep the lines that they made: the very same object costs one look.
"""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from ui.app.widgets.marks import MARKS, plain
from ui.app.widgets.tones import TONES

Line = Sequence[Segment]


def seg(text: str, tone: str = "") -> Segment:
    """Text in a tone."""
    return Segment(text, TONES.style(tone))


class Lines(Widget):
    """Draws the lines it was last given; what is beyond them is empty."""

    def __init__(self, **options: str) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._given: list[Line] = []
        self._drawn: list[tuple[Segment, ...]] = []
        self._strips: list[Strip] = []
        self._width = 0

    def draw(self, lines: Sequence[Line]) -> None:
        """Takes new lines and refreshes the rows that differ."""
        width, height = self.size
        given = list(lines[:height])
        given += [()] * (height - len(given))
        if len(given) != len(self._given) or self._width != width:
            self._width = width
            self._given = given
            self._drawn = [merged(line) for line in given]
            self._strips = [_strip(line, width) for line in self._drawn]
            self.refresh()
            return
        dirty: list[Region] = []
        for y, line in enumerate(given):
            if line is self._given[y]:
                continue
            self._given[y] = line
            drawn = merged(line)
            if drawn != self._drawn[y]:
                self._drawn[y] = drawn
                self._strips[y] = _strip(drawn, width)
                dirty.append(Region(0, y, width, 1))
        if dirty:
            self.refresh(*dirty)

    def forget(self) -> None:
        """Forgets what was drawn: the next lines are all new, as after a change of theme."""
        self._given = []

    def render_line(self, y: int) -> Strip:
        """One row, as it was prepared."""
        if y < len(self._strips):
            strip = self._strips[y].apply_style(self.rich_style)  # the theme's own colours behind the tones
            return strip if strip.cell_length == self.size.width else strip.adjust_cell_length(self.size.width)
        return Strip.blank(self.size.width, self.rich_style)


def _strip(line: Iterable[Segment], width: int) -> Strip:
    return Strip(line).adjust_cell_length(width)


def merged(line: Line) -> tuple[Segment, ...]:
    """Neighbours of one style as one segment: fewer bytes to the terminal."""
    kept: list[Segment] = []
    for segment in line:
        if kept and kept[-1].style == segment.style:
            kept[-1] = Segment(kept[-1].text + segment.text, segment.style)
        elif segment.text:
            kept.append(segment)
    if MARKS.ascii:
        kept = [each if each.text.isascii() else Segment(plain(each.text), each.style) for each in kept]
    return tuple(kept)


def fit(text: str, width: int, number: bool = False) -> str:
    """``text`` in just ``width`` cells; what is cut off is told by an ellipsis."""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…" if width > 1 else "…"[:width]
    return " " * (width - length) + text if number else text + " " * (width - length)


def rule(title: str, width: int, tone: str = "dim") -> Line:
    """A line with a title in it."""
    text = f"── {title} " if title else ""
    return (seg(fit(text + "─" * max(0, width - cell_len(text)), width), tone),)


def cut(segments: Iterable[Segment], width: int) -> tuple[Segment, ...]:
    """A line in just ``width`` cells: cut off, or filled up."""
    kept: list[Segment] = []
    for segment in segments:
        size = segment.cell_length
        if size >= width:
            kept.append(segment if size == width else Segment(set_cell_size(segment.text, width), segment.style))
            return tuple(kept)
        kept.append(segment)
        width -= size
    if width:
        kept.append(Segment(" " * width))
    return tuple(kept)


def beside(left: Sequence[Line], right: Sequence[Line], left_width: int, height: int) -> list[Line]:
    """Two blocks next to each other, a bar between them."""
    bar = seg("│", "dim")
    return [
        (*cut(left[y] if y < len(left) else (), left_width), bar, *(right[y] if y < len(right) else ())) for y in range(height)
    ]
