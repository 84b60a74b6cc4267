"""What the app is compared with, each a program of its own: Textual at rest, Textual with a redrawn line widget, DataTables.

``python bench/app_rivals.py idle|lines|tables HZ``: all of them draw 128 cores times 4 figures and 64 rows of 10 columns, of
which one in twenty changes at each tick, and nothing else: no samples are read, no history is kept. ``plain`` is the least
that could do it: rows that differ, written with ANSI sequences.
"""

import random
import sys
import time

CORES, METRICS, ROWS, COLUMNS, SHARE = 128, 4, 64, 10, 0.05
GLYPHS = "·▁▂▃▄▅▆▇█"


class Figures:
    """Made-up figures; nine of ten cells of the map are zero."""

    def __init__(self) -> None:
        self.draw = random.Random(5)
        self.cells = [self.cell() for _ in range(CORES * METRICS)]
        self.rows = [[self.draw.randrange(9000) for _ in range(COLUMNS)] for _ in range(ROWS)]

    def cell(self) -> int:
        return self.draw.randrange(1, 9) if self.draw.random() < 0.1 else 0

    def step(self) -> tuple[list[int], list[tuple[int, int]]]:
        """The places in the map and in the table that changed."""
        cells = [place for place in range(len(self.cells)) if self.draw.random() < SHARE]
        for place in cells:
            self.cells[place] = self.cell()
        places = [(y, x) for y in range(ROWS) for x in range(1, COLUMNS) if self.draw.random() < SHARE]
        for y, x in places:
            self.rows[y][x] = self.draw.randrange(9000)
        return cells, places

    def lines(self) -> list[str]:
        """As text: two rows of the map for each metric, then the table."""
        found = ["  ".join(GLYPHS[level] for level in self.cells[row * 64 : row * 64 + 64]) for row in range(METRICS * 2)]
        return found + ["".join(f"{value:>12}" for value in row) for row in self.rows]


def idle() -> None:
    from textual.app import App
    from textual.widgets import Static

    class Idle(App[None]):
        def compose(self):
            yield Static("at rest")

    Idle().run()


def lines(hz: float) -> None:
    from textual.app import App

    from ui.app.widgets.lines import Lines, seg

    class Redrawn(App[None]):
        CSS = "Lines { height: 1fr; }"

        def compose(self):
            yield Lines()

        def on_mount(self):
            self.figures = Figures()
            self.set_interval(1 / hz, self.step)

        def step(self):
            self.figures.step()
            self.query_one(Lines).draw([(seg(text),) for text in self.figures.lines()])

    Redrawn().run()


def tables(hz: float) -> None:
    from textual.app import App
    from textual.coordinate import Coordinate
    from textual.widgets import DataTable

    class Tables(App[None]):
        CSS = "#map { height: 9; } #rows { height: 1fr; } DataTable { scrollbar-size: 0 0; }"

        def compose(self):
            yield DataTable(id="map", cell_padding=0)
            yield DataTable(id="rows")

        def on_mount(self):
            self.figures = Figures()
            self.map, self.rows = self.query_one("#map", DataTable), self.query_one("#rows", DataTable)
            self.map.add_columns(*("   " for _ in range(64)))
            for row in range(METRICS * 2):
                self.map.add_row(*(GLYPHS[level] for level in self.figures.cells[row * 64 : row * 64 + 64]))
            self.rows.add_columns(*(f"column {n}" for n in range(COLUMNS)))
            for row in self.figures.rows:
                self.rows.add_row(*map(str, row))
            self.set_interval(1 / hz, self.step)

        def step(self):
            cells, places = self.figures.step()
            for place in cells:
                self.map.update_cell_at(Coordinate(place // 64, place % 64), GLYPHS[self.figures.cells[place]])
            for y, x in places:
                self.rows.update_cell_at(Coordinate(y, x), str(self.figures.rows[y][x]))

    Tables().run()


def plain(hz: float) -> None:
    figures, shown = Figures(), [""] * 50
    while True:
        figures.step()
        out = []
        for y, line in enumerate(figures.lines()[:50]):
            if line != shown[y]:
                shown[y] = line
                out.append(f"\x1b[{y + 1};1H{line}")
        sys.stdout.write("".join(out))
        sys.stdout.flush()
        time.sleep(1 / hz)


if __name__ == "__main__":
    kind, rate = sys.argv[1], float(sys.argv[2])
    {"idle": lambda _: idle(), "lines": lines, "tables": tables, "plain": plain}[kind](rate)
