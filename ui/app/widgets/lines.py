"""The one widget that draws: lines of segments, of which only those that changed are sent to the terminal.

Textual sends every dirty span whether or not it changed, and a widget per value costs twenty times as much as a line: so a
screen is one widget, its lines are compared here, and a row is sent only from where it differs to where it does so last. Parts
(``heat.py``, ``table.py``) keep the lines that they made: the very same object costs one look.

What a row says is made printable here once more, whatever came before: no control character gets past this file.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tuner.host.text import printable
from ui.app.widgets.marks import MARKS, plain
from ui.app.widgets.tones import TONES

Line = Sequence[Segment]
Row = tuple[Segment, ...]

# what is one cell wide on every terminal, beside ASCII: only behind such text may a part of a row be written alone
_ONE_CELL = " ·▁▂▃▄▅▆▇█─│…"
_EMPTY: Line = ()


class Painter(Protocol):
    """Takes parts of rows for the terminal; ``ui.app.terminal`` is one."""

    def paint(self, x: int, y: int, text: str) -> None:
        """A text with its escape sequences at a place of the terminal."""


def seg(text: str, tone: str = "") -> Segment:
    """Text in a tone."""
    return Segment(text, TONES.style(tone))


class Lines(Widget):
    """Draws the lines it was last given; what is beyond them is empty."""

    ALLOW_SELECT = False

    def __init__(self, **options: str) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._given: list[Line] = []
        self._rows: list[Row] = []
        self._width = 0
        self._look: tuple[object, ...] = ()
        self._styles: dict[Style | None, Style] = {}
        self._before: dict[Style | None, str] = {}  # style -> the sequence that begins it

    def draw(self, lines: Sequence[Line], painter: Painter | None = None) -> None:
        """Takes new lines, and shows the rows that differ: through ``painter``, or by Textual where there is none."""
        width, height = self.size
        given = list(lines[:height])
        given += [_EMPTY] * (height - len(given))
        look = (width, height, TONES.generation, self.app.theme)
        if look != self._look:
            self._look, self._width = look, width
            self._styles, self._before = {}, {}
            self._given, self._rows = given, [whole(line, width) for line in given]
            self.refresh()
            return
        dirty = []
        for y, line in enumerate(given):
            if line is self._given[y]:
                continue
            self._given[y] = line
            row = whole(line, width)
            shown = self._rows[y]
            if row != shown:
                self._rows[y] = row
                if painter is None:
                    dirty.append(Region(0, y, width, 1))
                else:
                    self._paint(painter, y, shown, row)
        if dirty:
            self.refresh(*dirty)

    def forget(self) -> None:
        """Forgets what was drawn: the next lines are all new, as after a change of theme."""
        self._look = ()

    def _paint(self, painter: Painter, y: int, shown: Row, row: Row) -> None:
        """Sends the part of a row that differs from what stands there."""
        left, at, last = changed(shown, row)
        before = self._before
        parts = []
        for text, style, _ in row[left:last]:
            begins = before.get(style)
            if begins is None:
                begins = before[style] = beginning(self._styled(style), self.app.console)
            parts.append(f"{begins}{text}\x1b[0m" if begins else text)
        place = self.region
        painter.paint(place.x + at, place.y + y, "".join(parts))

    def render_line(self, y: int) -> Strip:
        """One row, for Textual: it paints all of them when the layout changes, and whenever nobody else does."""
        if y < len(self._rows):
            strip = Strip([Segment(text, self._styled(style)) for text, style, _ in self._rows[y]])
            if strip.cell_length == self.size.width:
                return strip
            return strip.adjust_cell_length(self.size.width, self._styled(None))
        return Strip.blank(self.size.width, self._styled(None))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Rows as Textual composes them, without its caches: they are kept here, and would miss what is painted past them."""
        strips = [self.render_line(y) for y in crop.line_range]
        left, right = crop.column_span
        return strips if (left, right) == (0, self.size.width) else [strip.crop(left, right) for strip in strips]

    def _styled(self, style: Style | None) -> Style:
        """A style upon the theme's colours, as this terminal can show it (NO_COLOR, sixteen colours)."""
        found = self._styles.get(style)
        if found is None:
            _, background = self.background_colors
            found = self.rich_style if style is None else self.rich_style + style
            for line_filter in self.get_line_filters():
                found = line_filter.apply([Segment("x", found)], background)[0].style or Style.null()
            self._styles[style] = found
        return found


def beginning(style: Style, console: Console) -> str:
    """The escape sequence that begins a style on this terminal."""
    return Strip([Segment("x", style)]).render(console).partition("x")[0]


def changed(shown: Row, row: Row) -> tuple[int, int, int]:
    """What of a row is to be sent: from which segment, which is at which cell, to behind which."""
    left = at = 0
    most = min(len(shown), len(row))
    while left < most and row[left] == shown[left]:
        left += 1
    right = 0
    while right < most - left and row[-1 - right] == shown[-1 - right]:
        right += 1
    last = len(row) - right
    for text, _, _ in row[:last]:
        if not (text.isascii() or not text.strip(_ONE_CELL)):
            return 0, 0, len(row)  # terminals differ on how wide this is
    for text, _, _ in row[:left]:
        at += len(text)
    return left, at, last


def whole(line: Line, width: int) -> Row:
    """A line in just ``width`` cells, neighbours of one style as one segment: fewer bytes to the terminal."""
    kept: list[Segment] = []
    size, last = 0, None
    texts: list[str] = []
    for text, style, _ in line:
        if not text:
            continue
        if style is not last and texts:
            size += _keep(kept, texts, last)
            texts = []
        last = style
        texts.append(text)
    if texts:
        size += _keep(kept, texts, last)
    if size < width:
        kept.append(Segment(" " * (width - size)))
    elif size > width:
        return cut(kept, width)
    return tuple(kept)


def _keep(kept: list[Segment], texts: list[str], style: Style | None) -> int:
    text = texts[0] if len(texts) == 1 else "".join(texts)
    if not text.isprintable():
        text = printable(text, len(text) * 6)
    if MARKS.ascii:
        text = plain(text)
    kept.append(Segment(text, style))
    return len(text) if text.isascii() else cell_len(text)


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


def cut(segments: Iterable[Segment], width: int) -> Row:
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
