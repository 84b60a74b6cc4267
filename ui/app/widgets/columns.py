"""Tables as lines: fixed columns, a cursor, and a window over more rows than there is room for."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment

from ui.app.widgets.lines import Line, seg

HEAD = "bold"
DIM = "dim"
CURSOR = "reverse"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, its width in cells, and whether it is a number."""

    title: str
    width: int
    number: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a cell for each column, and the style of all of them."""

    cells: Sequence[str]
    style: str = ""


def fit(text: str, width: int, number: bool = False) -> str:
    """``text`` in just ``width`` cells; what is cut off is told by an ellipsis."""
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…" if width > 1 else "…"[:width]
    return text.rjust(width - cell_len(text) + len(text)) if number else set_cell_size(text, width)


def head(columns: Sequence[Column]) -> Line:
    """The titles."""
    return [seg(" ".join(fit(c.title, c.width, c.number) for c in columns), HEAD)]


def line(columns: Sequence[Column], row: Row, cursor: bool = False) -> Line:
    """One row."""
    text = " ".join(fit(cell, c.width, c.number) for c, cell in zip(columns, row.cells, strict=False))
    return [seg(text, f"{row.style} {CURSOR}".strip() if cursor else row.style)]


def window(columns: Sequence[Column], rows: Sequence[Row], height: int, cursor: int | None = None) -> list[Line]:
    """Titles and as many rows as fit into ``height``, the one with the cursor among them; a last line says what is left out."""
    if height < 2:
        return []
    room = height - 1
    first = 0
    if len(rows) > room:
        room -= 1
        first = max(0, min((cursor or 0) - room // 2, len(rows) - room))
    shown = rows[first : first + room]
    lines: list[Line] = [head(columns)]
    lines += [line(columns, row, cursor == first + i) for i, row in enumerate(shown)]
    if len(shown) < len(rows):
        lines.append([seg(f" {first + 1}-{first + len(shown)} of {len(rows)}", DIM)])
    return lines


def rule(title: str, width: int) -> Line:
    """A line with a title in it."""
    text = f"── {title} " if title else ""
    return [seg(text + "─" * max(0, width - cell_len(text)), DIM)]


def beside(left: Sequence[Line], right: Sequence[Line], left_width: int, height: int) -> list[Line]:
    """Two blocks next to each other, a bar between them."""
    lines: list[Line] = []
    for y in range(height):
        start = list(left[y]) if y < len(left) else []
        used = sum(cell_len(s.text) for s in start)
        if used > left_width:
            start = _cut(start, left_width)
            used = left_width
        gap = [seg(" " * (left_width - used)), seg("│", DIM)]
        lines.append([*start, *gap, *(right[y] if y < len(right) else [])])
    return lines


def _cut(segments: Sequence[Segment], width: int) -> list[Segment]:
    kept: list[Segment] = []
    for segment in segments:
        size = cell_len(segment.text)
        if size >= width:
            kept.append(Segment(set_cell_size(segment.text, width), segment.style))
            break
        kept.append(segment)
        width -= size
    return kept
