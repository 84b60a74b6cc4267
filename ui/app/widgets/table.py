"""A table that lives: fixed columns, rows that keep their identity, one cached line per row, a cursor, an order, a filter.

No cell is a widget and none is markup. A row's line is made again only if its cells changed, so a table at rest costs a
comparison per row. The cursor stays on its row, wherever the order takes it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ui.app.widgets.lines import Line, fit, seg
from ui.app.widgets.tones import CURSOR, DIM, HEAD, TONES

Value = str | float | int | bool | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``key`` is the value that sorts and filters it; an empty one is only shown. Width 0 takes what is left."""

    title: str
    width: int
    number: bool = False
    key: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a cell for each column, the tone of all of them, and values by name for sort, filter and export.

    ``tones`` may give cells another tone: column number -> tone.
    """

    key: str
    cells: tuple[str, ...]
    tone: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    tones: Mapping[int, str] = field(default_factory=dict)


class LiveTable:
    """Rows in, lines out.

    Args:
        orders: (name, value to sort by, largest first) of each order that ``sort`` steps through; an empty value keeps the
            order in which rows come.
    """

    def __init__(self, orders: Sequence[tuple[str, str, bool]] = (("", "", False),)) -> None:
        self.orders = orders
        self.order = 0
        self.reversed = False
        self.rows: list[Row] = []
        self.cursor_key = ""
        self.cursor = 0
        self.total = 0
        self.shown: Sequence[Row] = ()  # the rows that were drawn last
        self._first = 0
        self._made: dict[str, tuple[tuple[str, ...], str, Mapping[int, str], Line]] = {}
        self._kind: tuple[object, ...] = ()
        self._head: Line = ()
        self._shown: list[Line] = []

    @property
    def order_name(self) -> str:
        """What it is sorted by, for a title."""
        return self.orders[self.order][0] + (" reversed" if self.reversed else "")

    def sort(self) -> None:
        """The next order."""
        self.order, self.reversed = (self.order + 1) % len(self.orders), False

    def reverse(self) -> None:
        """The other way round."""
        self.reversed = not self.reversed

    def take(self, rows: Sequence[Row], matches: Callable[[Row], bool] | None = None) -> None:
        """The rows of now, filtered and sorted; the cursor goes with its row."""
        self.total = len(rows)
        kept = [row for row in rows if matches(row)] if matches is not None else list(rows)
        _, by, largest_first = self.orders[self.order]
        if by:
            kept.sort(key=lambda row: _comparable(row.values.get(by)), reverse=largest_first != self.reversed)
        elif self.reversed:
            kept.reverse()
        self.rows = kept
        found = next((place for place, row in enumerate(kept) if row.key == self.cursor_key), None)
        if found is not None:
            self.cursor = found
        self.move(0)

    def move(self, rows: int) -> None:
        """Moves the cursor."""
        self.cursor = max(0, min(self.cursor + rows, len(self.rows) - 1))
        self.cursor_key = self.rows[self.cursor].key if self.rows else ""

    def select(self, key: str) -> bool:
        """Puts the cursor on a row; False where there is none of this name. It is remembered for when it comes."""
        self.cursor_key = key
        found = next((place for place, row in enumerate(self.rows) if row.key == key), None)
        if found is not None:
            self.cursor = found
        return found is not None

    def found(self, line: Line) -> tuple[int, int] | None:
        """The cell at which one of its rows begins in a line of the screen, alone or beside others, and which row it is."""
        x = 0
        begins: dict[int, int] = {}
        for segment in line:
            begins.setdefault(id(segment), x)
            x += segment.cell_length
        for place, drawn in enumerate(self._shown, self._first):
            if id(drawn[0]) in begins:
                return begins[id(drawn[0])], place
        return None

    @property
    def selected(self) -> Row | None:
        """The row with the cursor."""
        return self.rows[self.cursor] if self.rows else None

    def lines(
        self,
        columns: Sequence[Column],
        width: int,
        height: int,
        active: bool = True,
        fill: Callable[[Row], Row] | None = None,
        more: bool = True,
    ) -> list[Line]:
        """Titles and as many rows as fit, the cursor among them; a last line says what is left out, unless ``more`` is False.

        ``fill`` makes the row that is shown out of one that was taken with a key alone: of many rows few are seen.
        """
        if height < 2:
            self.shown = ()
            return []
        columns = spread(columns, width)
        kind = (tuple(columns), TONES.generation)
        if kind != self._kind:
            self._kind, self._made = kind, {}
            self._head = (seg(" ".join(fit(c.title, c.width, c.number) for c in columns), HEAD),)
        room = height - 1
        if len(self.rows) > room:
            room -= more
            self._first = max(self.cursor - room + 1, min(self._first, self.cursor, len(self.rows) - room))
        else:
            self._first = 0
        shown = self.rows[self._first : self._first + room]
        self.shown = shown if fill is None else list(map(fill, shown))
        lines: list[Line] = [self._head]
        for place, row in enumerate(self.shown, self._first):
            if active and place == self.cursor:
                lines.append(_line(columns, row, CURSOR))
            else:
                lines.append(self._kept(columns, row))
        self._shown = lines[1:]
        if len(self._made) > 4 * len(self.rows) + 64:
            self._made.clear()  # rows that went
        if more and len(shown) < len(self.rows):
            last = self._first + len(shown)
            lines.append((seg(fit(f" {self._first + 1}-{last} of {len(self.rows)}", width), DIM),))
        return lines

    def _kept(self, columns: Sequence[Column], row: Row) -> Line:
        made = self._made.get(row.key)
        if made is not None and made[0] == row.cells and made[1] == row.tone and made[2] == row.tones:
            return made[3]
        line = _line(columns, row)
        self._made[row.key] = (row.cells, row.tone, row.tones, line)
        return line


def spread(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns with what is left of the width given to those that have none of their own."""
    taken = sum(column.width + 1 for column in columns) - 1
    open_ones = sum(not column.width for column in columns)
    each = max(1, (width - taken) // open_ones) if open_ones else 0
    return [column if column.width else Column(column.title, each, column.number, column.key) for column in columns]


def _line(columns: Sequence[Column], row: Row, over: str = "") -> Line:
    if not row.tones:
        text = " ".join([fit(cell, c.width, c.number) for c, cell in zip(columns, row.cells, strict=False)])
        return (seg(text, f"{row.tone} {over}".strip() if over else row.tone),)
    segments = []
    last = min(len(columns), len(row.cells)) - 1
    for place, (column, cell) in enumerate(zip(columns, row.cells, strict=False)):
        tone = row.tones.get(place, row.tone)
        text = fit(cell, column.width, column.number) + (" " if place < last else "")
        segments.append(seg(text, f"{tone} {over}".strip() if over else tone))
    return tuple(segments)


def _comparable(value: Value) -> tuple[int, float, str]:
    """Numbers by size, words by letter, nothing last."""
    if value is None:
        return (-1, 0.0, "")
    if isinstance(value, str):
        return (1, 0.0, value)
    return (0, float(value), "")
