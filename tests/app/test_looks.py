"""Themes that can be read, sixteen colours that are sixteen, and ASCII that is ASCII: up to what a terminal really receives."""

import contextlib
import fcntl
import itertools
import math
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from rich.color import ColorType
from rich.style import Style

from tests.app.screens import drive, make_app, press, sample
from ui.app.widgets.marks import MARKS, plain
from ui.app.widgets.ramp import ASCII, BLOCKS
from ui.app.widgets.tones import BACKGROUNDS, COOL, PALETTES, TONES
from ui.keys import SCREENS
from ui.looks import THEMES, Looks, LooksError, looks_of

ROOT = Path(__file__).resolve().parents[2]
TEXT = ("dim", "good", "warn", "bad", "note")


@pytest.fixture(autouse=True)
def _as_before():
    yield
    TONES.use("dark")
    MARKS.use(False)


# ------------------------------------------------------------------------------------------------------------ palettes


def linear(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]


def contrast(one, other):
    """WCAG 2.2, contrast ratio."""
    light, dark = sorted(
        sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear(each), strict=True)) for each in (one, other)
    )[::-1]
    return (light + 0.05) / (dark + 0.05)


def colour_of(palette, tone):
    return re.search(r"#[0-9a-f]{6}", PALETTES[palette][tone])[0]


@pytest.mark.parametrize("palette", BACKGROUNDS)
def test_text_stands_out_from_its_background(palette):
    text, background = BACKGROUNDS[palette]
    assert contrast(text, background) >= 7
    for tone in TEXT:
        assert contrast(colour_of(palette, tone), background) >= 4.5, tone
    for tone in COOL:
        assert contrast(colour_of(palette, tone), background) >= 3, tone
    ramp = [contrast(colour_of(palette, tone), background) for tone in COOL]
    assert ramp == sorted(ramp)  # more is further from the background, on a dark one as on a light one


# Viénot, Brettel and Mollon (1999), in linear RGB: what is left of a colour without red or without green cones
SEEN = {
    "protan": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
    "deutan": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
}


def lab(colour):
    """CIE 1976 L*a*b* of linear sRGB; 2 is about the least that is seen."""
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    white = (0.9505, 1.0, 1.089)
    found = [max(0.0, sum(w * c for w, c in zip(row, colour, strict=True)) / top) for row, top in zip(rows, white, strict=True)]
    x, y, z = [each ** (1 / 3) if each > 0.008856 else 7.787 * each + 16 / 116 for each in found]
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("palette", PALETTES)
def test_good_and_bad_differ_in_more_than_red_and_green(palette):
    styles = {tone: Style.parse(PALETTES[palette][tone]) for tone in ("good", "warn", "bad")}
    assert styles["bad"].bold
    assert not styles["good"].bold
    assert not styles["warn"].bold
    for rows in SEEN.values() if palette in BACKGROUNDS else ():
        seen = {}
        for tone in styles:
            colour = linear(colour_of(palette, tone))
            seen[tone] = lab([sum(w * c for w, c in zip(row, colour, strict=True)) for row in rows])
        for one, other in itertools.combinations(seen, 2):
            assert math.dist(seen[one], seen[other]) >= 12, (palette, one, other)


def test_palettes_have_the_same_tones():
    assert set(PALETTES) == set(THEMES)
    assert len({frozenset(palette) for palette in PALETTES.values()}) == 1


def test_the_terminals_own_palette_names_none_but_its_sixteen():
    for name in ("ansi", "mono"):
        for tone, text in PALETTES[name].items():
            colour = Style.parse(text).color
            assert colour is None or (name == "ansi" and colour.type == ColorType.STANDARD), (name, tone)


# ----------------------------------------------------------------------------------------------------- what is begun with


@pytest.mark.parametrize(
    ("environ", "asked", "theme"),
    [
        ({"TERM": "xterm-256color"}, None, "dark"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, None, "dark"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, None, "dark"),
        ({"TERM": "xterm"}, None, "ansi"),
        ({"TERM": "vt220"}, None, "ansi"),
        ({"TERM": "linux", "COLORTERM": "truecolor"}, None, "ansi"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, None, "mono"),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, None, "dark"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1", "QUIETCORE_THEME": "light"}, None, "light"),
        ({"TERM": "xterm", "QUIETCORE_THEME": "light"}, "mono", "mono"),
    ],
)
def test_the_theme_to_begin_with(environ, asked, theme):
    assert looks_of(environ, asked).theme == theme


@pytest.mark.parametrize(
    ("environ", "plain_text"),
    [
        ({"LANG": "en_GB.UTF-8"}, False),
        ({"LANG": "de_DE.utf8"}, False),
        ({}, False),
        ({"LANG": "C"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),  # what Python makes of it
        ({"LANG": "C.UTF-8"}, False),
        ({"LANG": "en_US.ISO-8859-1"}, True),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "POSIX"}, True),
        ({"LANG": "C", "LC_ALL": "en_GB.UTF-8"}, False),
        ({"LANG": "en_GB.UTF-8", "TERM": "linux"}, True),
        ({"LANG": "en_GB.UTF-8", "QUIETCORE_ASCII": "1"}, True),
        ({"LANG": "en_GB.UTF-8", "QUIETCORE_ASCII": "0"}, False),
    ],
)
def test_ascii_to_begin_with(environ, plain_text):
    assert looks_of({"TERM": "xterm-256color"} | environ).ascii == plain_text
    assert looks_of({"TERM": "xterm-256color"} | environ, None, True).ascii


@pytest.mark.parametrize(
    ("environ", "words"),
    [({"TERM": "dumb"}, "TERM is dumb"), ({}, "TERM is not set"), ({"TERM": "x", "QUIETCORE_THEME": "pink"}, "'pink'")],
)
def test_what_cannot_be_drawn_on_is_told(environ, words):
    with pytest.raises(LooksError, match=words):
        looks_of(environ)


# ------------------------------------------------------------------------------------------------- what leaves the app


def strips(app):
    return app.screen._compositor.render_strips()


async def everywhere(app, pilot, look):
    """Every screen, the help, the prompt and the palette."""
    for name in SCREENS:
        app.action_show(name)
        app.redraw()
        await pilot.pause()
        look(name)
        app.action_help()
        app.redraw()
        await pilot.pause()
        look(f"help of {name}")
        app.action_help()
    await press(pilot, "1", "slash")
    look("prompt")
    await press(pilot, *"eth", "escape", "colon")
    await pilot.pause(0.3)
    look("palette")
    await press(pilot, "c", "o", "r")
    await pilot.pause(0.3)
    look("palette, searched")


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_nothing_beyond_ascii_leaves_in_ascii_mode(size):
    app = make_app([sample(nic="et\u00e9\u4e2d"), sample(nic="et\u00e9\u4e2d", sequence=2)])
    MARKS.use(True)

    def look(where):
        for strip in strips(app):
            text = "".join(segment.text for segment in strip)
            assert text.isascii(), (where, text)
            assert len(text) == size[0], (where, text)

    drive(app, lambda pilot: everywhere(app, pilot, look), size)


def test_a_mark_and_what_stands_for_it_are_one_cell():
    assert plain(BLOCKS) == ASCII
    assert plain("── a │ b … ↑↓←→ ↵ ▶") == "-- a | b ~ ^v<> < >"
    assert plain("é中\u0301") == "???"
    assert plain("as it is") == "as it is"


@pytest.mark.parametrize("theme", ["ansi", "mono"])
def test_no_colour_of_our_own_leaves_on_the_terminals_palette(theme):
    app = make_app()
    seen = set()

    def look(where):
        for strip in strips(app):
            for _, style, control in strip:
                if style is not None and not control:
                    seen.update(each for each in (style.color, style.bgcolor) if each is not None)

    async def steps(pilot):
        app.use_theme(theme)
        app.redraw()
        await pilot.pause()
        await everywhere(app, pilot, look)

    drive(app, steps)
    allowed = {ColorType.DEFAULT} if theme == "mono" else {ColorType.DEFAULT, ColorType.STANDARD}
    assert {colour.type for colour in seen} <= allowed
    assert len(seen) > (1 if theme == "ansi" else 0)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_theme_paints_all_of_the_screen(theme):
    app = make_app()

    async def steps(pilot):
        app.use_theme(theme)
        app.redraw()
        await pilot.pause()
        backgrounds = {
            style.bgcolor.name
            for strip in strips(app)
            for _, style, _ in strip
            if style is not None and style.bgcolor is not None
        }
        assert backgrounds == {BACKGROUNDS[theme][1]}

    drive(app, steps)


def test_all_of_the_screen_changes_with_the_theme():
    app = make_app()

    async def steps(pilot):
        seen = {}
        for _ in THEMES:
            await press(pilot, "T")
            app.model.tell("")
            app.redraw()
            await pilot.pause()
            seen[TONES.name] = [[segment.style for segment in strip] for strip in strips(app)]
        assert set(seen) == set(THEMES)
        for one, other in itertools.combinations(seen, 2):
            changed = [a != b for a, b in zip(seen[one], seen[other], strict=True)]
            assert any(changed) if {one, other} == {"ansi", "mono"} else all(changed), (one, other)

    drive(app, steps)


def test_an_app_starts_as_it_is_told():
    from ui.app.app import QuietcoreApp

    plain_app = make_app()
    app = QuietcoreApp(
        plain_app.source, plain_app.transactions, plain_app.ring_control, plain_app.model, looks=Looks("light", True)
    )
    assert (TONES.name, MARKS.ascii, app.theme) == ("light", True, "quietcore-light")


# ----------------------------------------------------------------------------------------------------- a real terminal


@contextlib.contextmanager
def terminal(tmp_path, *options, **environ):
    """The real program on a terminal of 80x24, with a demo host."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    (tmp_path / "config").mkdir()
    variables = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "LC_ALL", "LC_CTYPE", "COLORTERM")
    }
    variables |= {
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "PYTHONPATH": str(ROOT),
    }
    words = [sys.executable, "-m", "ui.cli.main", "--demo", *options]
    process = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, env=variables | environ, cwd=tmp_path, start_new_session=True
    )
    os.close(theirs)
    try:
        yield ours
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def received(ours, steps):
    """What it sends; each step is typed when the one before has shown its marker, and nothing more comes. Until it ends."""
    data, since, marker, waiting, end = b"", 0, b"Overview", list(steps), time.monotonic() + 90
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.15)[0]:  # longer than an escape waits for what may belong to it
            try:
                data += os.read(ours, 65536)
            except OSError:  # nobody is at the other end any more
                return data
        elif marker in data[since:] and waiting:
            since = len(data)
            keys, marker = waiting.pop(0)
            os.write(ours, keys)
    raise AssertionError(f"it did not end: {marker!r} was not seen, {waiting} not typed")


ALL_SCREENS = (
    *((b"%d" % n, b"") for n in range(2, 8)),
    (b"?", b"type to search"),
    (b"\x1b", b""),
    (b":", b"a command"),
    (b"core 0", b"node 0"),
    (b"\x1b", b""),
    (b"q", b""),
)


def test_a_console_receives_ascii_and_its_sixteen_colours(tmp_path):
    with terminal(tmp_path, TERM="linux") as ours:
        data = received(ours, ALL_SCREENS)
    assert data.isascii()
    assert not re.findall(rb"[34]8[;:][25]", data)
    assert re.search(rb"\x1b\[[0-9;]*3[0-7]", data)


def test_who_wants_no_colour_receives_none(tmp_path):
    with terminal(tmp_path, NO_COLOR="1") as ours:
        data = received(ours, ALL_SCREENS)
    codes = {code for sequence in re.findall(rb"\x1b\[([0-9;]*)m", data) for code in sequence.split(b";")}
    assert not codes & {b"%d" % code for code in (*range(30, 39), *range(40, 49), *range(90, 98), *range(100, 108))}
    assert b"7" in codes  # the tab in front is told by reverse
    assert "\u2500" in data.decode()


def test_a_terminal_that_cannot_be_drawn_on_is_told(tmp_path):
    ours, theirs = pty.openpty()
    variables = os.environ | {"TERM": "dumb", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-m", "ui.cli.main"], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=variables, text=True
    )
    os.close(ours)
    os.close(theirs)
    assert run.returncode == 1
    assert "TERM is dumb" in run.stderr
    assert "quietcore status" in run.stderr
