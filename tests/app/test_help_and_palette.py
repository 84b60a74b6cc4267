"""Help that is searched and scrolled, and a palette that finds everything by name and takes no name for markup."""

import time

import pytest

from ingest.sample import Event, IrqSample
from tests.app.screens import drive, lines_of, make_app, press, sample, text_of
from ui.app.palette import SHOWN, Palette, entries, rank
from ui.app.screens.help_texts import READING, SHOWS
from ui.keymap import Keymap, read_keymap
from ui.keys import SCREENS

# ----------------------------------------------------------------------------------------------------------------- help


def test_typing_searches_and_escape_gives_it_up_step_by_step():
    app = make_app()

    async def steps(pilot):
        await press(pilot, "question_mark")
        assert "type to search" in text_of(app)
        await press(pilot, "slash", *"pause")
        body = text_of(app)
        assert "freezes the view" in body
        assert "which figure" not in body
        await press(pilot, *["backspace"] * 5, *"xyzzy")
        assert "nothing of that here" in text_of(app)
        await press(pilot, "escape")
        assert app.help.search == ""
        assert "which figure" in text_of(app)
        await press(pilot, "escape")
        assert not app.shows_help
        await press(pilot, "question_mark", *"undo", "question_mark")
        assert not app.shows_help
        await press(pilot, "f1")
        assert app.shows_help
        assert app.help.search == ""
        await press(pilot, "f1")
        assert not app.shows_help

    drive(app, steps)


def test_letters_in_the_help_are_no_commands():
    app = make_app(may_change=True)

    async def steps(pilot):
        await press(pilot, "question_mark", *"qUKaT1", "space", "f9", "ctrl+x")
        assert app.is_running
        assert app.help.search == "qUKaT1 "
        assert app.screen_name == "overview"
        for _ in range(80):
            assert app.help.typed("z", "z", None)
        app.redraw()
        assert len(app.help.search) == 60
        assert {len(line) for line in lines_of(app)} == {80}

    drive(app, steps)


@pytest.mark.parametrize("size", [(80, 24), (130, 40), (200, 50), (300, 80)])
def test_all_of_the_help_can_be_scrolled_to(size):
    app = make_app(may_change=False)

    async def steps(pilot):
        for screen in SCREENS:
            app.action_show(screen)
            app.action_help()
            seen = set()
            for _ in range(20):
                app.redraw()
                lines = lines_of(app)
                assert {len(line) for line in lines} == {size[0]}
                seen.update(word for line in lines for word in line.split())
                app.action_move(10, 0)
            for heading, words in (*SHOWS[screen], *READING):
                assert set(heading.split()) <= seen, heading
                assert {word for word in words.split() if len(word) < 9} <= seen, heading
            for command in app.keys.commands_of(screen):
                assert {word for word in command.explained.split() if len(word) < 9} <= seen
            app.action_help()

    drive(app, steps, size)


def test_what_does_not_work_now_says_why():
    app = make_app([], may_change=False)

    async def steps(pilot):
        await press(pilot, "question_mark", *"keep")
        assert "(not now: not root)" in text_of(app)
        app.help.search = "go to"
        app.redraw()
        assert "(not now: no sample yet)" in text_of(app)

    drive(app, steps, size=(119, 40))


# -------------------------------------------------------------------------------------------------------------- palette


def host(cores=4):
    irqs = tuple(IrqSample(str(100 + n), f"nvme3q{n}", "0000:01:00.0", None, 5, 0.0, effective=str(n)) for n in range(40))
    feeds = ({"stream": "239.1.1.1:30001", "source": "packet:eth2"},)
    one = sample(cores, nodes=1)
    return type(one)(**{name: getattr(one, name) for name in one.__slots__} | {"irqs": irqs, "feeds": feeds})


async def find(pilot, app, text):
    await press(pilot, "colon")
    while not isinstance(app.screen, Palette) or app.focused is None:
        await pilot.pause(0.05)
    await press(pilot, *("space" if each == " " else each for each in text))
    for _ in range(100):
        await pilot.pause(0.05)
        first = next(iter(app.screen.query("CommandList")), None)
        if first is not None and first.option_count and not app.screen.workers._workers:
            break
    return [str(option.prompt).split("\n")[0] for option in app.screen.query_one("CommandList").options]


@pytest.mark.parametrize(
    ("typed", "first", "screen", "kind", "key"),
    [
        ("core 3", "core 3", "core", "core", "3"),
        ("nvme3q38", "irq 138 nvme3q38", "irqs", "irq", "138"),
        ("irq 138", "irq 138 nvme3q38", "irqs", "irq", "138"),
        ("if eth2", "interface eth2", "nic", "nic", "eth2"),
        ("eth2/3", "queue eth2/3", "nic", "queue", "eth2/3"),
        ("239.1", "feed 239.1.1.1:30001", "ingest", "feed", "239.1.1.1:30001"),
        ("prof feed", "profile feed-handler", "profiles", "profile", "feed-handler"),
    ],
)
def test_what_is_found_is_gone_to(typed, first, screen, kind, key):
    app = make_app([host()])
    calls = []

    async def steps(pilot):
        app.panes[screen].focus = lambda *where: calls.append(where)
        assert (await find(pilot, app, typed))[0] == first
        await press(pilot, "enter")
        for _ in range(50):
            if calls:
                break
            await pilot.pause(0.05)
        assert app.in_front
        assert app.screen_name == screen
        assert calls == [(kind, key)]
        assert {len(line) for line in lines_of(app)} == {80}

    drive(app, steps)


def test_of_events_the_open_ones_are_found():
    app = make_app([host()])
    for event in (
        Event("warn", "eth2", "down"),
        Event("info", "eth2", "up"),
        Event("crit", "core 3", "a"),
        Event("crit", "core 3", "a"),
    ):
        app.model.events.appendleft((0.0, event))

    async def steps(pilot):
        app.source.events = list
        found = [(entry.text, entry.goes_to) for entry in entries(app) if entry.text.startswith("event ")]
        assert ("event core 3: a", ("events", "event", "core 3: a")) in found
        assert ("event eth2: down", ("events", "event", "eth2: down")) in found
        assert not [text for text, _ in found if "up" in text]
        assert len(found) == len(set(found))

    drive(app, steps)


def test_a_command_by_its_name():
    app = make_app()

    async def steps(pilot):
        assert (await find(pilot, app, "pause"))[0] == "pause"
        await press(pilot, "enter")
        for _ in range(50):
            if app.model.paused:
                break
            await pilot.pause(0.05)
        assert app.model.paused

    drive(app, steps)


def test_a_command_without_a_key_is_found_all_the_same(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text("[everywhere]\ncopy = []\n")
    app = make_app()
    keys = read_keymap([str(path)]).keys
    app.keymap, app.keys = Keymap(keys), keys

    async def steps(pilot):
        found = {entry.command.name: entry for entry in entries(app) if entry.command is not None}
        assert found["copy"].words == "copies the command line that shows the same"
        await press(pilot, "y")
        assert app.model.message == ""

    drive(app, steps)


def test_names_are_no_markup_in_the_palette():
    app = make_app([sample(nic="[b]x[/y]\\[")])
    app.model.events.appendleft((0.0, Event("crit", "[red]", "a [/b] b")))

    async def steps(pilot):
        assert (await find(pilot, app, "interface x"))[0] == "interface [b]x[/y]\\["
        await press(pilot, "escape")
        assert (await find(pilot, app, "event"))[0] == "event [red]: a [/b] b"

    drive(app, steps)


def test_thousands_of_names_are_searched_at_once():
    app = make_app([host(512)])

    async def steps(pilot):
        found = [entry.text for entry in entries(app)]
        assert len(found) > 512
        names = [f"irq {n} nvme{n % 7}q{n}" for n in range(4000)]
        begun = time.process_time()
        fits = rank("nvme 38")
        hits = [name for name in names if fits(name) is not None]
        assert time.process_time() - begun < 0.5
        assert hits
        assert len(await find(pilot, app, "c")) <= SHOWN
        app.screen.query_one("CommandInput").value = "x y" * 1000
        await pilot.pause(0.2)
        assert app.is_running

    drive(app, steps)


def test_the_better_fit_comes_first():
    names = ["core 137", "core 37", "core 3", "scores 37", "interface c37", "irq 3 core7x"]
    fits = rank("core 37")
    assert sorted((name for name in names if fits(name)), key=fits)[:2] == ["core 37", "core 137"]
    assert rank("zz")("core 1") is None
    assert rank("cr1")("core 1") is not None
    assert rank("(")("core 1") is None
    assert rank("")("core 1") is not None


# ---------------------------------------------------------------------------------------------------------- keymap, told


def test_a_wrong_keymap_is_told_below_and_the_defaults_hold(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text('[everywhere]\npuase = "P"\nkeep = 3\n')
    app = make_app()
    app.keymap = read_keymap([str(path)])

    async def steps(pilot):
        last = lines_of(app)[-1]
        assert "[everywhere] puase: there is no such command (did you mean pause?)" in last
        assert "and 1 more: quietcore keys --check" in last
        await press(pilot, "p")
        assert app.model.paused

    drive(app, steps, size=(200, 30))
