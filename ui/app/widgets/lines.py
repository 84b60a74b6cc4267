"""The one widget that draws: lines of segments, of which only those that changed are sent to the terminal.

Textual sends every dirty span whether or not it changed, and a widget per value costs twenty times as much as a line: so a pane
is one widget, its lines are compared here, and a row is refreshed only where it differs from what stands on the screen.
"""

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

Line = Sequence[Segment]

_STYLES: dict[str, Style] = {}


def style(name: str) -> Style:
    """A parsed style, parsed once."""
    found = _STYLES.get(name)
    if found is None:
        found = _STYLES[name] = Style.parse(name)
    return found


def seg(text: str, name: str = "") -> Segment:
    """Text in a style."""
    return Segment(text, style(name) if name else None)


class Lines(Widget):
    """Draws the lines it was last given; what is beyond them is empty."""

    def __init__(self, **options: str) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._drawn: list[tuple[Segment, ...]] = []
        self._strips: list[Strip] = []

    def draw(self, lines: Sequence[Line]) -> None:
        """Takes new lines and refreshes the rows that differ."""
        width, height = self.size
        merged = [merge(line) for line in lines[:height]]
        merged += [()] * (height - len(merged))
        if len(merged) != len(self._drawn) or (self._strips and self._strips[0].cell_length != width):
            self._drawn = merged
            self._strips = [Strip(line).adjust_cell_length(width) for line in merged]
            self.refresh()
            return
        dirty = [y for y, line in enumerate(merged) if line != self._drawn[y]]
        for y in dirty:
            self._drawn[y] = merged[y]
            self._strips[y] = Strip(merged[y]).adjust_cell_length(width)
        if dirty:
            self.refresh(*(Region(0, y, width, 1) for y in dirty))

    def render_line(self, y: int) -> Strip:
        """One row, as it was prepared."""
        if y < len(self._strips):
            strip = self._strips[y]
            return strip if strip.cell_length == self.size.width else strip.adjust_cell_length(self.size.width)
        return Strip.blank(self.size.width)


def merge(line: Line) -> tuple[Segment, ...]:
    """Neighbours of one style as one segment: fewer bytes to the terminal."""
    merged: list[Segment] = []
    for segment in line:
        if merged and merged[-1].style == segment.style:
            merged[-1] = Segment(merged[-1].text + segment.text, segment.style)
        elif segment.text:
            merged.append(segment)
    return tuple(merged)
