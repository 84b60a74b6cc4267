"""Tables as lines: fixed columns, a cursor, and a window over more rows than there is room for."""

from collections.abc import Sequence
from dataclasses import dataclass

from ui.app.widgets.lines import Line, beside, fit, rule, seg

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


__all__ = ["CURSOR", "DIM", "HEAD", "Column", "Row", "beside", "fit", "head", "line", "rule", "window"]
