"""The app: one loop that takes the newest sample, lets the screen in front draw its lines, and hands actions to processes.

It only views. Counting, applying and undoing happen elsewhere, since a stalled terminal stops this loop within seconds.
"""

import asyncio
import contextlib
import io
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from rich.console import Console
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding
from textual.screen import Screen as TextualScreen
from textual.widgets import Input

from ui.app import aside, frame
from ui.app.ending import Ending, threads_told
from ui.app.model import Model, ProfilesView, RingView
from ui.app.remedies import remedy
from ui.app.ring_control import RingControl
from ui.app.runner import Runner
from ui.app.screens import make_panes
from ui.app.screens.help import HelpPane
from ui.app.screens.pane import Pane
from ui.app.source import Source
from ui.app.terminal import Terminal
from ui.app.timeline import TimeError, Timeline
from ui.app.transaction_control import TransactionControl
from ui.app.widgets.lines import Lines, seg
from ui.app.widgets.tones import HEAD, TONES
from ui.filter import FilterError, everything, parse
from ui.keys import COMMANDS, SCREENS, Command, Screen, command_for, commands_of

WIDTH, HEIGHT = 80, 24
RATES_HZ = (1.0, 2.0, 4.0, 10.0)
THEMES = {"dark": "textual-dark", "light": "textual-light", "ansi": "textual-ansi"}


class QuietcoreApp(App[int]):
    """The app.

    Args:
        source: where samples come from.
        runner: how the engine's commands are run.
        ring: how a packet ring is opened.
        model: who may do what, and where samples come from, in words.
    """

    CSS = """
    Screen { layers: base; }
    #header, #tabs, #footer { height: 1; width: 100%; }
    #body { height: 1fr; width: 100%; }
    #prompt { height: 1; width: 100%; border: none; padding: 0; display: none; }
    """
    TITLE = "quietcore"
    AUTO_FOCUS = None  # the prompt is there before it is asked for
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS = [  # noqa: RUF012 - Textual's own form
        Binding(key, f"key('{key}')", show=False, priority=key in ("tab", "enter", "space", "escape"))
        for key in sorted({key for command in COMMANDS for key in command.keys} - {"ctrl+p"})
    ]

    def __init__(self, source: Source, runner: Runner, ring: RingControl, model: Model) -> None:
        super().__init__(driver_class=Terminal)
        self.source, self.model = source, model
        self.terminal: Terminal | None = None  # none in a test
        self.timeline = Timeline(model, source)
        self.ring_view, self.profiles_view = RingView(), ProfilesView()
        self.ring_control = ring
        self.transactions = TransactionControl(self.profiles_view, runner, self.redraw)
        self.panes: dict[Screen, Pane] = make_panes(self)
        self.help = HelpPane(model)
        self.screen_name: Screen = "overview"
        self.shows_help = False
        self._came_from: list[Screen] = []
        self._asked = ""  # what the prompt is open for
        self._header, self._tabs, self._body, self._footer = (Lines(id=name) for name in ("header", "tabs", "body", "footer"))
        self._drawn_s = 0  # the second of the clock that is shown
        self._cpus = ""  # where the collector runs
        self._stale = False  # something is not drawn yet, since the terminal took nothing

    @property
    def pane(self) -> Pane:
        """The screen in front."""
        return self.panes[self.screen_name]

    def compose(self) -> ComposeResult:
        """Header, tabs, the screen, the footer: four widgets, whatever there is to see."""
        yield from (self._header, self._tabs, self._body, Input(id="prompt"), self._footer)

    def live(self, ending: Ending) -> BaseException | None:
        """Runs until it is left, or a signal asks for the end; what it failed of, if it failed."""
        self._failures: list[BaseException] = []
        self.error_console = Console(file=io.StringIO())  # the toolkit would tell of a failure with all that was in memory
        ending.asks(lambda status: self._from_outside(self.exit, status))
        with threads_told(lambda error: self._from_outside(self._thread_failed, error)):
            self.run()
        failed = getattr(self, "_exception", None)
        return self._failures[0] if self._failures else failed if isinstance(failed, BaseException) else None

    def _from_outside(self, what: Callable[[Any], None], about: object) -> None:
        """In the loop, from a signal handler or a thread; when there is none any more it does not matter."""
        with contextlib.suppress(RuntimeError, AttributeError):
            self._loop.call_soon_threadsafe(what, about)

    def _thread_failed(self, error: BaseException) -> None:
        self._failures.append(error)
        self.exit(1)

    def on_mount(self) -> None:
        """Starts the loop."""
        self._loop = asyncio.get_running_loop()
        self.app_resume_signal.subscribe(self, lambda _: self.refresh())
        self._clock = self.set_interval(1 / self.model.refresh_hz, self.tick)
        self.set_focus(None)
        if self.model.kind in ("live", "demo", "files"):
            self.spawn(self.transactions.load())
        self.tick()

    def on_resize(self) -> None:
        """Draws anew at the new size."""
        self.call_after_refresh(self.redraw)

    def tick(self) -> None:
        """Takes what is newest and draws, if that shows anything that is not there: a new sample, the next second."""
        moved = self.timeline.tick()
        if moved and self.terminal is not None:
            self._step_aside()
        self.ring_control.poll(self.ring_view)
        if moved or self._stale or self.ring_view.running or int(time.time()) != self._drawn_s:
            self.redraw()

    def _step_aside(self) -> None:
        """With the first sample, and whenever the collector goes to other CPUs."""
        sample = self.model.sample
        if sample is None or self.model.kind in ("view", "replay") or sample.cost.cpus == self._cpus:
            return
        if not self._cpus:
            self.call_later(aside.settle)
        self._cpus = sample.cost.cpus
        aside.follow(self._cpus)

    def redraw(self) -> None:
        """Draws header, tabs, screen and footer; rows that did not change cost nothing. A terminal that hangs is left alone."""
        if not self.screen_stack or self.screen is not self.screen_stack[0]:
            return
        terminal = self.terminal
        self._stale = terminal is not None and not terminal.takes()
        if self._stale:
            return
        self._drawn_s = int(time.time())
        width, height = self.size
        body = self._body
        if width < WIDTH or height < HEIGHT:
            body.draw([[seg(f"{width}x{height} is too small: {WIDTH}x{HEIGHT} is needed"[:width], HEAD)]])
            for each in (self._header, self._tabs, self._footer):
                each.draw([[]])
            return
        self._header.draw([frame.header(self.model, self.source.ended, self.timeline.where(), width)], terminal)
        self._tabs.draw([frame.tabs(self.screen_name, self.open_events(), self.profiles_view, self.shows_help)], terminal)
        room = body.size.height or height - 3
        body.draw(self.help.lines(width, room) if self.shows_help else self.pane.lines(width, room), terminal)
        self._footer.draw([frame.footer(self.model, self.screen_name, width)], terminal)
        if terminal is not None:
            terminal.send(*self.cursor_position)

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Runs something that takes its time, without holding up the view."""
        self.run_worker(work, exclusive=False)

    def open_events(self) -> int:
        """How many events wait for somebody."""
        return 0

    # keys

    async def action_key(self, key: str) -> None:
        """Any key of the table."""
        if self._asked and key == "escape":
            self._close_prompt(keep=False)
            return
        command = command_for(self.screen_name, key)
        if command is not None:
            await self.perform(command)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While something is typed, keys are letters."""
        if action == "key" and (self._asked or self.screen is not self.screen_stack[0]):
            return bool(self._asked) and parameters == ("escape",)
        return True

    async def perform(self, command: Command) -> None:
        """What a command does, or why it does not now."""
        self.model.tell("")
        why = self.unavailable(command)
        if why:
            self.model.tell(f"{command.title}: {why}", "warn")
            self.redraw()
            return
        await self.run_action(command.action)
        self.redraw()

    def unavailable(self, command: Command) -> str:
        """Why a command does not work now; empty where it does."""
        if command.needs == "root" and not self.model.may_change:
            return self.model.why_not
        if command.needs == "past" and self.timeline.past.end == self.timeline.past.first:
            return "no sample yet"
        return ""

    def get_system_commands(self, screen: TextualScreen[object]) -> Iterable[SystemCommand]:
        """The palette: the table of keys again, by name."""
        del screen
        for command in commands_of(self.screen_name):
            if command.name not in ("palette", "up", "down", "left", "right"):
                yield SystemCommand(command.title, command.explained, lambda c=command: self.perform(c))

    # moving

    def action_show(self, name: Screen) -> None:
        """Shows a screen."""
        if name != self.screen_name:
            self._came_from = [*self._came_from[-20:], self.screen_name]
        self.screen_name, self.shows_help = name, False

    def go(self, name: Screen, kind: str, key: str) -> None:
        """Shows a screen with the cursor on something."""
        self.action_show(name)
        self.pane.focus(kind, key)

    def action_move(self, rows: int, columns: int) -> None:
        """Moves the cursor."""
        (self.help if self.shows_help else self.pane).move(rows, columns)

    def action_enter(self) -> None:
        """Into what the cursor is on."""
        if self.screen_name == "profiles":
            self.pane.act("enter")
            return
        goes_to = self.pane.pointed().goes_to
        if goes_to is not None:
            self.go(*goes_to)

    def action_linked(self) -> None:
        """To the cause that is linked to what the cursor is on."""
        self.pane.act("linked")

    async def action_back(self) -> None:
        """Out of help, filter or zoom, or to the screen before."""
        if self.shows_help:
            self.shows_help = False
        elif not self.pane.back() and self._came_from:
            self.screen_name = self._came_from.pop()

    def action_pane(self, name: str) -> None:
        """A key of the screen's own."""
        self.pane.act(name)

    def action_zoom(self) -> None:
        """The panel with the cursor alone on the screen."""
        self.pane.zoomed = not self.pane.zoomed

    def action_help(self) -> None:
        """Shows or hides the help of the screen."""
        self.help.of = self.screen_name
        self.shows_help = not self.shows_help

    def action_palette(self) -> None:
        """Everything by name."""
        self.action_command_palette()

    # time

    def action_pause(self) -> None:
        """Freezes the view, or lets it go on."""
        self.timeline.pause()

    def action_step(self, samples: int) -> None:
        """Some samples back or on."""
        self.timeline.step(samples)

    def action_seconds(self, seconds: int) -> None:
        """Some seconds back or on."""
        self.timeline.seconds(seconds)

    def action_window(self, step: int) -> None:
        """More or less time in a column of a history."""
        from ui.app.history import COLUMNS_S

        history = self.model.history
        place = max(0, min(COLUMNS_S.index(history.column_s) + step, len(COLUMNS_S) - 1))
        history.column_s = COLUMNS_S[place]
        history.generation += 1
        self.model.tell(f"a column of a history is {history.column_s:g} s")

    def action_rate(self, step: int) -> None:
        """The next lower or higher rate."""
        place = RATES_HZ.index(self.model.refresh_hz) + step
        if 0 <= place < len(RATES_HZ):
            self.model.refresh_hz = RATES_HZ[place]
            self._clock.stop()
            self._clock = self.set_interval(1 / self.model.refresh_hz, self.tick)
            self.source.pace(1 / self.model.refresh_hz)

    # the prompt

    def action_filter(self) -> None:
        """Asks for a filter, and filters while it is typed."""
        self._ask("filter", self.pane.filter.text, "filter: core:8-63 rate>10 policy:break eth2")

    def action_goto(self) -> None:
        """Asks for a time."""
        self._ask("goto", "", "time: 10:42:07, -90s, +5m, now")

    def _ask(self, what: str, value: str, hint: str) -> None:
        prompt = self.query_one("#prompt", Input)
        self._asked, prompt.value, prompt.placeholder, prompt.display = what, value, hint, True
        prompt.cursor_position = len(value)
        prompt.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filters while it is typed."""
        if self._asked == "filter":
            self._filter(event.value)
            self.redraw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """What was typed counts."""
        if self._asked == "goto":
            try:
                self.timeline.goto(event.value)
            except TimeError as error:
                self.model.tell(str(error), "warn")
        self._close_prompt(keep=True)

    def _filter(self, text: str) -> None:
        try:
            self.pane.filter = parse(text) if text.strip() else everything()
            self.model.tell("")
        except FilterError as error:
            self.model.tell(str(error), "warn")

    def _close_prompt(self, *, keep: bool) -> None:
        if self._asked == "filter" and not keep:
            self.pane.filter = everything()
        self._asked = ""
        self.query_one("#prompt", Input).display = False
        self.set_focus(None)
        self.call_after_refresh(self.redraw)

    # the transaction

    def action_fix(self) -> None:
        """The plan that ends what the cursor is on, with its line selected."""
        sample = self.model.sample
        found = remedy(sample, self.pane.pointed()) if sample is not None else None
        if found is None:
            self.model.tell("nothing here has a remedy that a profile could set", "warn")
            return
        self.action_show("profiles")
        self.spawn(self.transactions.plan_remedy(found))

    def action_apply(self) -> None:
        """Applies what is picked."""
        self.spawn(self.transactions.apply())

    def action_verify(self) -> None:
        """Verifies the active profile."""
        self.action_show("profiles")
        self.spawn(self.transactions.verify())

    def action_keep(self) -> None:
        """Keeps the transaction that waits."""
        self.spawn(self.transactions.keep())

    def action_undo(self) -> None:
        """Undoes the transaction that waits, else the newest."""
        self.spawn(self.transactions.undo())

    # what is taken away

    def action_evidence(self) -> None:
        """Keeps the last minute and the next half in a file."""
        self.model.tell("no evidence is kept yet", "warn")

    def action_recorder(self) -> None:
        """Arms or disarms the recorder."""
        self.model.armed = not self.model.armed

    def action_export(self) -> None:
        """Writes what this screen lists."""
        self.model.tell("nothing to export yet", "warn")

    def action_copy(self) -> None:
        """Copies the command line that shows the same."""
        command = self.pane.command()
        self.copy_to_clipboard(command)
        self.model.tell(f"copied: {command}")

    def action_theme(self) -> None:
        """The next theme."""
        names = [*THEMES]
        self.use_theme(names[(names.index(TONES.name) + 1) % len(names)] if TONES.name in names else names[0])

    def use_theme(self, name: str) -> None:
        """Takes a palette, and Textual's theme that goes with it."""
        TONES.use(name)
        self.theme = THEMES.get(name, THEMES["dark"])

    # the end

    def action_help_quit(self) -> None:
        """Ctrl-C leaves, as everywhere; nothing is lost by it."""
        self.exit(0)

    async def action_quit(self) -> None:
        """Ends the app. A transaction that waits is undone by its own timer."""
        self.exit(0)

    async def on_unmount(self) -> None:
        """Ends the children that belong to this screen; an apply and its undo timer are not among them."""
        await asyncio.to_thread(self.ring_control.stop, self.ring_view)
        await asyncio.to_thread(self.source.close)


__all__ = ["HEIGHT", "SCREENS", "WIDTH", "QuietcoreApp"]
