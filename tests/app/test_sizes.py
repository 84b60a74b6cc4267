"""Every screen at every size and in every state: lines just as wide as the terminal, no traceback, whatever its names are."""

import asyncio
import random
from dataclasses import replace

import pytest
from rich.cells import cell_len
from textual.events import Resize
from textual.geometry import Size

from bench.app_feed import app_words, first, stand_in, stream
from bench.terminal import Terminal
from tests.app.capture import left_on, unexpected
from tests.app.hostile import hostile
from tests.app.screens import FakeRing, FakeRunner, lines_of, make_app, press, sample, text_of
from ui.app.app import QuietcoreApp
from ui.app.state.model import Model
from ui.app.stream.source import ListSource
from ui.app.widgets.tones import TONES
from ui.keys import SCREENS

GRID = [(width, height) for width in (80, 81, 101, 129, 130, 161, 200, 243, 300) for height in (24, 25, 39, 50, 80)]
CORNERS = [(80, 24), (130, 40), (200, 50), (300, 80)]
KEYS = "1234567"


def app_of(samples, *, may_change=True, kind="live", ended="") -> QuietcoreApp:
    source = ListSource(samples)
    source.ended = ended
    return QuietcoreApp(
        source, FakeRunner(), FakeRing(), Model(kind, may_change=may_change, why_not="" if may_change else "not root")
    )


def walked(app, sizes, helps=False, ticks=0, prepare=()):
    """Shows each screen at each size and looks at every line of it."""

    async def session():
        async with app.run_test(size=sizes[0]) as pilot:
            await pilot.pause()
            await press(pilot, *prepare)
            for _ in range(ticks):
                app.tick()
            for size in sizes:
                await pilot.resize_terminal(*size)
                await pilot.pause()
                for name in SCREENS:
                    app.action_show(name)
                    if helps:
                        app.action_help()
                    app.redraw()
                    looked_at(app, size, name)

    asyncio.run(session())


def looked_at(app, size, key):
    lines = lines_of(app)
    wrong = {cell_len(line) for line in lines} - {size[0]}
    assert len(lines) == size[1], (size, key)
    assert not wrong, (size, key, wrong)
    # what the screen gave was no wider before it was cut to fit
    body = app.help.lines(*app.body.size) if app.shows_help else app.pane.lines(*app.body.size)
    for line in body:
        assert sum(segment.cell_length for segment in line) <= size[0], (size, key, "".join(each.text for each in line))
    assert len(body) <= app.body.size.height, (size, key)


def test_every_screen_at_every_size():
    walked(app_of([first(64)]), GRID)


@pytest.mark.parametrize("cores", [1, 2, 8, 128, 512])
def test_every_screen_with_so_many_cores(cores):
    samples = stream(first(cores), 0.5, busy=True)
    walked(app_of([next(samples) for _ in range(3)]), CORNERS, ticks=3)


STATES = {
    "paused": lambda: (app_of([first(16), first(16)]), "p"),
    "back in time": lambda: (app_of([first(16), first(16)]), "["),
    "no sample yet": lambda: (app_of([]), ""),
    "not root": lambda: (app_of([first(16)], may_change=False), ""),
    "ended": lambda: (app_of([first(16)], ended="the collector ended with status -9"), ""),
    "ended at once": lambda: (app_of([], ended="/nowhere: no host here"), ""),
    "view": lambda: (app_of([first(16)], kind="view", may_change=False), ""),
    "zoomed": lambda: (app_of([first(16)]), "z"),
    "no cores, no interrupts, no interfaces": lambda: (app_of([replace(first(1), cores=(), irqs=(), nics=(), losses=())]), ""),
    "first sample of all": lambda: (app_of([replace(first(16), interval_s=0.0)]), ""),
    "help": lambda: (app_of([first(16)]), ""),
}


@pytest.mark.parametrize("state", STATES)
def test_every_screen_in_every_state(state):
    app, key = STATES[state]()
    prepare = [{"[": "left_square_bracket"}.get(key, key)] if key else []
    walked(app, CORNERS[:3], helps=state == "help", prepare=prepare, ticks=2)


@pytest.mark.parametrize("theme", ["light", "ansi", "mono"])
def test_every_screen_in_every_theme(theme):
    app = app_of([first(16)])
    try:
        app.use_theme(theme)
        walked(app, CORNERS[:3])
    finally:
        TONES.use("dark")


def test_hostile_and_wide_names_break_no_line():
    """Names are made printable where samples are made; what slips through must still break no line, and be no markup."""
    wide = hostile(first(16), "字幅字幅e\u0301\u200d")
    walked(app_of([wide]), CORNERS)


def test_a_name_that_slipped_through_is_escaped_in_the_end():
    app = make_app([sample(nic="[b]x[/y]\u2067\x1b[31m")])

    async def session():
        async with app.run_test(size=(200, 50)) as pilot:
            await press(pilot, "4")
            assert "[b]x[/y]" in text_of(app)
            for key in KEYS:
                await press(pilot, key)
                assert not any(char in text_of(app) for char in "\u2067\x1b")

    asyncio.run(session())


def test_too_small_a_terminal_is_told_the_size_it_needs():
    app = make_app()

    async def session():
        async with app.run_test(size=(70, 20)) as pilot:
            await pilot.pause()
            assert "80x24 is needed" in text_of(app)
            for size in ((79, 24), (80, 23), (1, 1), (20, 3), (300, 5)):
                await pilot.resize_terminal(*size)
                await pilot.pause()
            await pilot.resize_terminal(80, 24)
            await pilot.pause()
            await pilot.pause()
            assert "Overview" in text_of(app)

    asyncio.run(session())


def test_a_resize_storm_leaves_a_whole_screen():
    app, draw = app_of([first(64)]), random.Random(3)

    async def session():
        async with app.run_test(size=(80, 24)) as pilot:
            for number in range(200):
                size = Size(draw.randrange(60, 300), draw.randrange(10, 80))
                app._driver._size = size
                app.post_message(Resize(size, size))
                await asyncio.sleep(0)
                if number % 3 == 0:
                    app.tick()
                if number % 20 == 0:
                    await pilot.press(KEYS[number // 20 % 7])
            await pilot.resize_terminal(100, 30)
            await pilot.pause()
            await pilot.pause()
            looked_at(app, (100, 30), "after the storm")

    asyncio.run(session())


def test_a_resize_storm_on_a_real_terminal(tmp_path):
    interpreter, draw = stand_in(str(tmp_path), hz=10.0, cores=64), random.Random(4)
    with Terminal(app_words(interpreter, "--state", str(tmp_path / "state")), (80, 24)) as terminal:
        assert terminal.until(b"ny4-md-07", 30)
        for number in range(200):
            terminal.resize(draw.randrange(80, 300), draw.randrange(24, 80))
            terminal.read(0.005)
            if number % 25 == 0:
                terminal.type(KEYS[number // 25 % 7])
        terminal.resize(211, 37)
        seen = terminal.read_bytes
        assert terminal.until(b"\x1b[37;1H", 15, since=seen)  # its last line, of the last size
        terminal.type("2")
        assert terminal.until(b"Core", 15, since=seen)
        assert terminal.process.poll() is None
        terminal.type("q")
        assert terminal.ended() == 0
        assert unexpected(bytes(terminal.output)) == []
        assert left_on(bytes(terminal.output)) == []
        assert not list(tmp_path.glob("state/crash-*"))
