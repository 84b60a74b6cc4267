"""Every key of the table, on every screen where it works: what it does is seen, not only that nothing breaks.

One app for each screen is given all of its keys, as the driver gives them: an app costs more to start than a key to press, and
the pilot waits a tenth of a second after each. What came of each is kept, and told by a test for each.
"""

import asyncio
import itertools
import re

import pytest
from rich.cells import cell_len
from textual import events
from textual.keys import key_to_character

from tests.app.screens import FakeRunner, drive, lines_of, make_app, press, sample, text_of
from ui.app.flow.remedies import Remedy
from ui.app.palette import Palette
from ui.app.state.model import Listing, Pointed
from ui.app.widgets.tones import TONES
from ui.filter import everything
from ui.key_names import spelled
from ui.keys import COMMANDS, SCREENS, Keys

KEYS = Keys()
CASES = [(screen, command, key) for screen in SCREENS for command in KEYS.commands_of(screen) for key in command.keys]


class Spy:
    """Remembers its calls, and passes them on where there is something to pass them on to."""

    def __init__(self, real=None):
        self.calls, self.real = [], real

    def __call__(self, *arguments, **options):
        self.calls.append(arguments)
        return self.real(*arguments, **options) if self.real is not None else None


class AsyncSpy(Spy):
    async def __call__(self, *arguments):
        self.calls.append(arguments)


# ------------------------------------------------------------------------------------------- what each command does
# effect(app, act, monkeypatch): ``act()`` presses the key and waits; ``act.on(method)`` spies on a method of the screen


async def shows(app, act, patch):
    await act()
    assert app.screen_name == act.command.name
    assert app.query_one("#tabs").render_line(0)  # drawn


async def moves(app, act, patch):
    spy = act.on("move")
    await act()
    assert spy.calls == [tuple(int(each) for each in re.findall(r"-?\d+", act.command.action))]


async def goes_in(app, act, patch):
    if act.screen in ("profiles", "ingest"):  # into something of their own
        spy = act.on("act", real=False)
        await act()
        assert spy.calls == [("enter",)]
        return
    patch.setattr(app.pane, "pointed", lambda: Pointed(goes_to=("nic", "nic", "eth2")))
    patch.setattr(app.panes["nic"], "focus", spy := Spy())
    await act()
    assert (app.screen_name, spy.calls) == ("nic", [("nic", "eth2")])


async def goes_back(app, act, patch):
    app.shows_help = True
    await act()
    assert not app.shows_help
    app.pane.zoomed = True
    await act()
    assert not app.pane.zoomed
    other = next(each for each in SCREENS if each != act.screen)
    app.action_show(other)
    app.action_show(act.screen)
    await act()
    assert app.screen_name == other


async def does(app, act, patch):
    """A method of the screen itself."""
    name = re.search(r"'(\w+)'", act.command.action)
    spy = act.on(f"do_{name[1] if name else act.command.action}")
    await act()
    assert spy.calls == [()]


async def filters(app, act, patch):
    await act()
    assert app.prompt.is_open
    await act.types("e", "t", "h")
    assert app.pane.filter.text == "eth"
    await act.types("escape")
    assert not app.prompt.is_open
    assert app.pane.filter.text == ""
    await act()
    await act.types("x", "enter")
    assert (app.pane.filter.text, app.prompt.is_open) == ("x", False)


async def zooms(app, act, patch):
    await act()
    assert app.pane.zoomed
    await act()
    assert not app.pane.zoomed


async def pauses(app, act, patch):
    await act()
    assert app.model.paused
    assert "PAUSED" in text_of(app)
    shown = app.model.sample.sequence
    app.tick()
    app.tick()
    assert app.model.sample.sequence == shown
    await act()
    assert not app.model.paused
    assert "PAUSED" not in text_of(app)


async def steps_in_time(app, act, patch):
    name, amount = re.match(r"(\w+)\((-?\d+)\)", act.command.action).groups()
    patch.setattr(app.timeline, name, spy := Spy(getattr(app.timeline, name)))
    await act()
    assert spy.calls == [(int(amount),)]
    assert app.model.paused


async def goes_to_a_time(app, act, patch):
    await act()
    assert app.prompt.is_open
    await act.types(*"-2s", "enter")
    assert app.model.paused
    await act()
    await act.types(*"now", "enter")
    assert (app.model.paused, app.prompt.is_open) == (False, False)
    await act()
    await act.types(*"noon", "enter")
    assert "noon: no time" in app.model.message


async def lengthens(app, act, patch):
    app.model.history.column_s = 1.0
    await act()
    assert app.model.history.column_s == (2.0 if act.command.name == "longer" else 0.5)


async def paces(app, act, patch):
    await act()
    assert app.model.refresh_hz == (1.0 if act.command.name == "slower" else 4.0)


async def fixes(app, act, patch):
    await act()  # whatever the cursor is on now
    app.action_show(act.screen)
    patch.setattr("ui.app.app.remedy", lambda *_: Remedy("title", (), "knob", "target"))
    patch.setattr(app.transactions, "plan_remedy", spy := AsyncSpy())
    await act()
    assert app.screen_name == "profiles"
    assert [each[0].knob for each in spy.calls] == ["knob"]


async def transacts(app, act, patch):
    name = act.command.action
    patch.setattr(app.transactions, name, spy := AsyncSpy())
    await act()
    assert len(spy.calls) == 1
    assert app.screen_name == ("profiles" if name == "verify" else act.screen)


async def keeps_evidence(app, act, patch):
    await act()
    assert "evidence" in app.model.message


async def arms(app, act, patch):
    patch.setattr(app.evidence, "toggle", spy := Spy(lambda: "disarmed"))
    await act()
    assert (spy.calls, app.model.message) == ([()], "disarmed")


async def exports(app, act, patch):
    patch.setattr(app.pane, "listing", lambda: Listing(act.screen, [{"name": "a", "value": 1}]))
    await act()
    await act.until(lambda: app.model.message != "")
    assert app.model.message.startswith(f"wrote {app.places[0]}/quietcore-{act.screen}-")


async def copies(app, act, patch):
    patch.setattr(app, "copy_to_clipboard", spy := Spy())
    await act()
    assert spy.calls == [(app.pane.command(),)]
    assert app.model.message == f"copied: {app.pane.command()}"


async def changes_theme(app, act, patch):
    before = TONES.name
    await act()
    assert TONES.name != before
    assert app.theme == f"quietcore-{TONES.name}"


async def opens_the_palette(app, act, patch):
    await act()
    await act.until(lambda: isinstance(app.screen, Palette) and app.focused is not None)
    await act.types("escape")
    await act.until(lambda: app.in_front)


async def helps(app, act, patch):
    await act()
    assert app.shows_help
    assert f"keys of {act.screen}" in text_of(app) or "keys everywhere" in text_of(app)
    await act()
    assert not app.shows_help


async def quits(app, act, patch):
    patch.setattr(app, "exit", spy := Spy())
    await act()
    assert spy.calls == [(0,)]


EFFECTS = {
    **dict.fromkeys(SCREENS, shows),
    **dict.fromkeys(("up", "down", "left", "right", "page up", "page down", "top", "bottom"), moves),
    **dict.fromkeys(("enter", "plan"), goes_in),
    "back": goes_back,
    **dict.fromkeys(
        ("metric", "numbers", "group", "next panel", "range", "breaks", "devices", "next nic", "since", "changed"), does
    ),
    **dict.fromkeys(("mark", "ring", "next source", "linked", "gaps", "pick", "diff", "bind", "panel"), does),
    **dict.fromkeys(("level", "follow"), does),
    **dict.fromkeys(("acknowledge", "sort", "reverse"), does),
    **dict.fromkeys(("apply", "verify", "keep", "undo"), transacts),
    "filter": filters,
    "zoom": zooms,
    "pause": pauses,
    **dict.fromkeys(("step back", "step", "minute back", "minute"), steps_in_time),
    "go to": goes_to_a_time,
    **dict.fromkeys(("longer", "shorter"), lengthens),
    **dict.fromkeys(("slower", "faster"), paces),
    "fix": fixes,
    "evidence": keeps_evidence,
    "recorder": arms,
    "export": exports,
    "copy": copies,
    "theme": changes_theme,
    "palette": opens_the_palette,
    "help": helps,
    "quit": quits,
}


# ------------------------------------------------------------------------------------------------------- pressing them


class Act:
    """Presses one key of one command on one screen."""

    def __init__(self, app, screen, command, key, patch):
        self.app, self.screen, self.command, self.key, self.patch = app, screen, command, key, patch

    async def __call__(self):
        await self.types(self.key)

    async def types(self, *keys):
        for key in keys:
            event = events.Key(key, key_to_character(key))
            event.set_sender(self.app)
            self.app.post_message(event)
            await self.settled()

    async def settled(self):
        """Waits until nothing waits for anybody."""
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0.001)
            pumps = (self.app, *self.app.screen_stack, *self.app.screen.walk_children())
            quiet = 0 if any(pump.message_queue_size for pump in pumps) else quiet + 1

    async def until(self, condition):
        for _ in range(2000):
            if condition():
                await self.settled()
                return
            await asyncio.sleep(0.005)
        raise AssertionError("not within ten seconds")

    def on(self, method, real=True):
        pane = self.app.panes[self.screen]
        spy = Spy(getattr(pane, method) if real else None)
        self.patch.setattr(pane, method, spy)
        return spy


async def press_all(screen, places, found):
    app = make_app([sample(sequence=n, nic=f"eth{n % 3}") for n in range(1, 400)])
    app.places = (str(places),)

    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        for _ in range(5):
            app.tick()
        for command in KEYS.commands_of(screen):
            for key in command.keys:
                reset(app, "nic" if screen == command.name == "overview" else "overview" if screen == command.name else screen)
                with pytest.MonkeyPatch.context() as patch:
                    try:
                        await EFFECTS[command.name](app, Act(app, screen, command, key, patch), patch)
                        assert {cell_len(line) for line in lines_of(app)} == {80}
                        assert "quietcore" in text_of(app)
                    except Exception as error:  # noqa: BLE001 -  # told by the test of this key
                        found[screen, command.name, key] = error
                    else:
                        found[screen, command.name, key] = None
                if not app.in_front:
                    await app.pop_screen()


def reset(app, screen):
    """As if the app had just been started, on a screen."""
    if app.prompt.is_open:
        app.prompt.action_leave()
    app.shows_help, app.screen_name, app._came_from = False, screen, []
    if app.model.paused:
        app.action_pause()
    app.pane.zoomed, app.pane.filter = False, everything()
    app.model.refresh_hz = 2.0
    app.model.tell("")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """What came of pressing a key on a screen, all of a screen at once."""
    found, done = {}, set()

    def of(screen, command, key):
        if screen not in done:
            done.add(screen)
            asyncio.run(press_all(screen, tmp_path_factory.mktemp(screen), found))
        return found[screen, command.name, key]

    return of


def named(screen, command, key):
    return pytest.param(screen, command, key, id=f"{screen}-{command.name}-{spelled(key)}".replace(" ", "_"))


@pytest.mark.parametrize(("screen", "command", "key"), list(itertools.starmap(named, CASES)))
def test_each_key_does_what_the_table_says(outcome, screen, command, key):
    problem = outcome(screen, command, key)
    if problem is not None:
        raise problem


def test_no_command_lacks_an_expectation():
    assert {each.name for each in COMMANDS} == set(EFFECTS)


# ------------------------------------------------------------------------------------------------------ where they are


def test_two_commands_of_one_screen_never_have_one_key():
    for screen in SCREENS:
        for group in ([c for c in COMMANDS if screen in c.where], [c for c in COMMANDS if not c.where]):
            keys = [key for command in group for key in command.keys]
            assert len(keys) == len(set(keys)), screen
        found = KEYS.commands_of(screen)
        assert len({each.name for each in found}) == len(found)
        assert all(KEYS.command_for(screen, key) is each for each in found for key in each.keys)


@pytest.mark.parametrize("screen", SCREENS)
def test_each_command_is_in_the_help_and_the_palette(screen):
    app = make_app()

    async def steps(pilot):
        from ui.app.palette import entries

        app.action_show(screen)
        app.action_help()
        told = "\n".join("".join(segment.text for segment in line) for line in app.help.lines(300, 1000))
        found = {entry.command.name for entry in entries(app) if entry.command is not None}
        for command in KEYS.commands_of(screen):
            assert command.explained in told, command
            assert command.shown in told, command
        moving = {"up", "down", "left", "right", "page up", "page down", "top", "bottom", "enter", "back", "palette"}
        assert found == {each.name for each in KEYS.commands_of(screen)} - moving

    drive(app, steps)


@pytest.mark.parametrize("width", [80, 130, 200])
def test_the_footer_shows_what_there_is_and_nothing_else(width):
    app = make_app()

    async def steps(pilot):
        for screen in SCREENS:
            app.action_show(screen)
            app.redraw()
            shown = lines_of(app)[-1]
            hints = app.hints()
            there = {each.name for each in KEYS.commands_of(screen) if each.footer}
            assert shown.rstrip() == "".join(key + words for _, key, words in hints).rstrip()
            assert {command.name for command, _, _ in hints} <= there
            assert "? help" in shown
            if width == 200:
                assert {command.name for command, _, _ in hints} == there

    drive(app, steps, size=(width, 24))


def test_who_may_not_change_the_host_is_told_why():
    runner = FakeRunner()
    app = make_app(runner=runner, may_change=False)

    async def steps(pilot):
        app.action_show("profiles")
        for key in "aKU":
            await press(pilot, key)
            assert app.model.message.endswith(": not root")
        assert not {call[0] for call in runner.calls} & {"apply", "confirm", "rollback"}
        await press(pilot, "question_mark", *"picked")
        assert "(not now: not root)" in text_of(app)

    drive(app, steps, size=(110, 40))


def test_keys_that_mean_nothing_do_nothing():
    app = make_app()

    async def steps(pilot):
        app.tick()
        before = text_of(app).splitlines()[1:]
        await press(pilot, "ctrl+a", "alt+x", "ctrl+up", "shift+tab", "f9", "insert", "alt+1", "é", "ctrl+e", "backspace", "b")
        assert text_of(app).splitlines()[1:] == before
        assert app.screen_name == "overview"
        assert app.is_running

    drive(app, steps)


def test_a_source_that_ended_is_named():
    app = make_app()
    app.source.ended = "the collector ended with status 1"

    async def steps(pilot):
        app.tick()
        assert "ENDED: the collector ended" in text_of(app)

    drive(app, steps, size=(120, 30))


def test_quit_ends_the_app():
    app = make_app()

    async def steps(pilot):
        await press(pilot, "q")

    drive(app, steps)
    assert app.return_value == 0
