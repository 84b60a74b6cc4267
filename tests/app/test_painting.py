"""What is painted part by part is what the rows say: a terminal that obeys the sequences ends up with just the same cells."""

import asyncio
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.segment import Segment

from bench.app_feed import first, stream
from tests.app.screens import FakeRing, FakeRunner
from ui.app.app import QuietcoreApp
from ui.app.state.model import Model
from ui.app.stream.source import ListSource
from ui.app.widgets.lines import Lines, beginning, changed, whole
from ui.app.widgets.tones import TONES
from ui.keys import SCREENS

SIZE = (200, 50)
_PART = re.compile(r"\x1b\[([0-9;]*)m|([^\x1b]+)")


class Glass:
    """A terminal as cells: (text, colours)."""

    def __init__(self, app):
        self.rows = [[] for _ in range(SIZE[1])]
        self.painted = 0
        for widget in app.screen_stack[0].query(Lines):
            for y in range(widget.size.height):
                self.rows[widget.region.y + y] = cells_of(app, widget, y)

    def takes(self):
        return True

    def send(self, x, y):
        pass

    def paint(self, x, y, text):
        self.painted += 1
        colours = ""
        for codes, run in _PART.findall(text):
            if not run:
                colours = "" if codes in ("", "0") else codes
                continue
            for char in run:
                for _ in range(cell_len(char)):
                    self.rows[y][x] = (char, colours)
                    x += 1


def cells_of(app, widget, y):
    """The cells of a row, as Textual would send it whole."""
    found = []
    for segment in widget.render_line(y):
        text = re.match(r"\x1b\[([0-9;]*)m", begins(app, segment))
        for char in segment.text:
            found += [(char, text[1] if text else "")] * cell_len(char)
    return found


def begins(app, segment):
    return beginning(segment.style, app.console) if segment.style is not None else ""


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("busy", [False, True])
def test_the_cells_of_the_terminal_are_those_of_the_rows(screen, busy):
    samples = stream(first(64), 0.5, busy=busy)
    wide = [replace(next(samples), host=f"字{number}e\u0301") for number in range(12)]
    app = QuietcoreApp(ListSource(wide), FakeRunner(), FakeRing(), Model(kind="view"))

    async def session():
        async with app.run_test(size=SIZE) as pilot:
            app._clock.stop()
            app.action_show(screen)
            app.tick()
            await pilot.pause()
            app.terminal = glass = Glass(app)
            for _ in range(10):
                app.tick()
                for widget in app.screen_stack[0].query(Lines):
                    for y in range(widget.size.height):
                        assert glass.rows[widget.region.y + y] == cells_of(app, widget, y), (screen, widget.id, y)
            assert glass.painted
            app.terminal = None

    asyncio.run(session())


def test_only_what_differs_of_a_row_is_sent():
    dim = TONES.style("dim")
    shown = whole([Segment("intr/s "), Segment("····", dim), Segment("▆"), Segment("····", dim), Segment("  7")], 40)
    row = whole([Segment("intr/s "), Segment("····", dim), Segment("▂"), Segment("····", dim), Segment("  7")], 40)
    assert changed(shown, row) == (2, 11, 3)
    # behind what may be wider or narrower than it says, nothing is left standing
    doubtful = whole([Segment("字 "), Segment("····", dim), Segment("▂")], 40)
    assert changed(whole([Segment("字 "), Segment("····", dim), Segment("▆")], 40), doubtful) == (0, 0, len(doubtful))


def test_a_row_is_as_wide_as_it_has_to_be_and_says_nothing_that_a_terminal_obeys():
    assert "".join(segment.text for segment in whole([Segment("a"), Segment(""), Segment("b")], 4)) == "ab  "
    for text in ("字" * 30, "x" * 90, "\x1b[31m" * 9, "e\u0301" * 50, "\ud800\x9b\u202e"):
        row = whole([Segment(text)], 20)
        assert sum(segment.cell_length for segment in row) == 20
        assert "".join(segment.text for segment in row).replace("\u0301", "").isprintable()
