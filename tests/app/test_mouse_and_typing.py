"""The mouse, what is pasted, and what is typed without end: all of it does its part or nothing."""

import pytest
from textual import events

from tests.app.screens import drive, lines_of, make_app, press, sample, text_of
from ui.app.prompt import ROOM
from ui.app.screens.pane import Pane
from ui.app.widgets.lines import beside
from ui.app.widgets.table import Column, LiveTable, Row
from ui.keys import SCREENS


async def click(pilot, x, y):
    await pilot.click(offset=(x, y))
    await pilot.pause()


def test_a_tab_shows_its_screen():
    app = make_app()

    async def steps(pilot):
        for place, name in enumerate(SCREENS, 1):
            await click(pilot, lines_of(app)[1].index(f" {place} ") + 3, 1)
            assert app.screen_name == name
        await click(pilot, 79, 1)  # nothing is there
        assert app.screen_name == SCREENS[-1]
        await click(pilot, 3, 0)
        assert app.screen_name == SCREENS[-1]

    drive(app, steps)


def test_a_hint_does_what_it_says():
    app = make_app()

    async def steps(pilot):
        await click(pilot, lines_of(app)[-1].index("metric"), 23)
        assert "device interrupts per second" in app.model.message
        await click(pilot, 1, 23)  # the word goes, the hints are back
        await click(pilot, lines_of(app)[-1].index("? help"), 23)
        assert app.shows_help
        await click(pilot, lines_of(app)[-1].index("? help"), 23)
        assert not app.shows_help
        app.model.tell("a word")
        app.redraw()
        await click(pilot, 1, 23)
        assert "? help" in lines_of(app)[-1]

    drive(app, steps)


class TablePane(Pane):
    """A screen that is a table, alone or beside another."""

    name = "overview"

    def __init__(self, model, count):
        super().__init__(model)
        self.of = [LiveTable() for _ in range(count)]

    def tables(self):
        return self.of

    def draw(self, width, height):
        for number, table in enumerate(self.of):
            table.take([Row(f"{number}-{n}", (f"row {n}",)) for n in range(60)])
        columns, first = [Column("name", 0)], self.of[0]
        if len(self.of) == 1:
            return first.lines(columns, width, height)
        return beside(first.lines(columns, 30, height), self.of[1].lines(columns, width - 31, height), 30, height)


def table_pane(app, count=1):
    app.panes["overview"] = TablePane(app.model, count)
    app.redraw()
    return app.pane.of


def test_a_line_takes_the_cursor():
    app = make_app()

    async def steps(pilot):
        (table,) = table_pane(app)
        await click(pilot, 5, 2 + 4)
        assert table.cursor == 3
        await press(pilot, "end")
        first = table._first
        assert first > 0
        await click(pilot, 5, 2 + 1)
        assert table.cursor == first
        await click(pilot, 5, 2)  # the titles
        assert table.cursor == first
        await click(pilot, 5, 22)  # how many there are
        assert table.cursor == first

    drive(app, steps)


def test_a_line_beside_another_takes_the_cursor_of_its_own_table():
    app = make_app()

    async def steps(pilot):
        left, right = table_pane(app, count=2)
        await press(pilot, "down", "down")
        await click(pilot, 40, 2 + 6)
        assert (left.cursor, right.cursor) == (2, 5)
        await click(pilot, 4, 2 + 8)
        assert (left.cursor, right.cursor) == (7, 5)
        assert {len(line) for line in lines_of(app)} == {80}

    drive(app, steps)


def test_the_wheel_moves():
    app = make_app()

    async def steps(pilot):
        (table,) = table_pane(app)
        for kind, cursor in ((events.MouseScrollDown, 3), (events.MouseScrollUp, 0)):
            app.post_message(kind(None, 3, 3, 0, 0, 0, False, False, False, 3, 3))
            for _ in range(100):
                if table.cursor == cursor:
                    break
                await pilot.pause(0.02)
            assert table.cursor == cursor

    drive(app, steps)


# ---------------------------------------------------------------------------------------------------------------- typing


@pytest.mark.parametrize(
    ("pasted", "value"),
    [
        ("eth2", "eth2"),
        ("  eth2  \nrm -rf /\n", "eth2"),
        ("\n\n\neth2", "eth2"),
        ("", ""),
        ("\n", ""),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("\u202ea\u2067", "\\u202ea\\u2067"),
        ("x" * 100_000, "x" * ROOM),
        ("[b]no markup[/]", "[b]no markup[/]"),
    ],
)
def test_what_is_pasted_is_one_line_of_text(pasted, value):
    app = make_app([sample(), sample(sequence=2)])

    async def steps(pilot):
        await press(pilot, "slash")
        app.post_message(events.Paste(pasted))
        await pilot.pause()
        assert app.prompt.value == value
        assert app.pane.filter.text in (value, "")  # or it is no filter
        assert len(text_of(app)) > 1000
        app.post_message(events.Paste(pasted))
        await pilot.pause()
        assert len(app.prompt.value) <= ROOM
        await press(pilot, "escape")
        assert not app.prompt.is_open

    drive(app, steps)


def test_pasting_where_nothing_is_asked_does_nothing():
    app = make_app()

    async def steps(pilot):
        before = lines_of(app)[1:-1]
        app.post_message(events.Paste("aKUq\x1b[31m"))
        await pilot.pause()
        app.tick()
        assert app.is_running
        assert app.screen_name == "overview"
        assert lines_of(app)[1:3] == before[:2]

    drive(app, steps)


def test_typing_without_end_stays_within_the_line():
    app = make_app()

    async def steps(pilot):
        await press(pilot, "t")
        app.prompt.value = "x" * (ROOM - 2)
        app.prompt.cursor_position = ROOM
        await press(pilot, *"yyyyyy", "ctrl+a", "alt+q", "f12", "up", "pagedown", "tab", "question_mark")
        assert app.prompt.value == "x" * (ROOM - 2) + "yy"
        assert app.prompt.is_open
        await press(pilot, "enter")
        assert "no time" in app.model.message
        assert {len(line) for line in lines_of(app) if line} == {80}

    drive(app, steps)


def test_what_is_told_of_hostile_input_is_printable():
    app = make_app()

    async def steps(pilot):
        app.model.tell("bad \x1b]0;title\x07 \u202e", "warn")
        app.redraw()
        assert "\\x1b]0;title\\x07 \\u202e" in text_of(app)

    drive(app, steps)
