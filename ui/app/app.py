"""The app: one loop that takes the newest sample, lets the screen in front draw its lines, and hands actions to processes.

It only views. Counting, applying and undoing happen elsewhere, since a stalled terminal stops this loop within seconds.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING

from tuner.host.text import printable
from ui.app import aside, frame
from ui.app.flow.remedies import remedy, why_none
from ui.app.flow.ring_control import RingControl
from ui.app.flow.runner import Runner
from ui.app.flow.transaction_control import TransactionControl
from ui.app.screens import make_panes
from ui.app.screens.help import HelpPane
from ui.app.screens.pane import Pane
from ui.app.shell import Shell
from ui.app.state.model import Model, ProfilesView, RingView
from ui.app.stream.evidence import Evidence
from ui.app.stream.source import Source
from ui.app.stream.timeline import TimeError, Timeline
from ui.app.widgets.lines import seg
from ui.app.widgets.tones import HEAD
from ui.filter import FilterError, everything, parse
from ui.keymap import Keymap
from ui.keys import SCREENS, Command, Keys, Screen
from ui.looks import Looks

if TYPE_CHECKING:
    from ui.app.palette import Entry

WIDTH, HEIGHT = 80, 24
RATES_HZ = (1.0, 2.0, 4.0, 10.0)


class QuietcoreApp(Shell):
    """The app.

    Args:
        source: where samples come from.
        runner: how the engine's commands are run.
        ring: how a packet ring is opened.
        model: who may do what, and where samples come from, in words.
        keymap: the keys in force, and what is wrong with files that were not taken.
        looks: the theme to begin with, and whether all is ASCII.
        evidence: what keeps the time around a critical event; none is kept without.
        places: directories for an export; the first that can be written to is taken.
    """

    def __init__(
        self,
        source: Source,
        runner: Runner,
        ring: RingControl,
        model: Model,
        *,
        keymap: Keymap | None = None,
        looks: Looks | None = None,
        evidence: Evidence | None = None,
        places: Sequence[str] = (".", "~"),
    ) -> None:
        self.keymap = keymap or Keymap(Keys())
        super().__init__(self.keymap.keys, looks or Looks())
        self.source, self.model, self.places = source, model, places
        self.evidence = evidence or Evidence(source.past, None)
        self.timeline = Timeline(model, source)
        self.ring_view, self.profiles_view = RingView(), ProfilesView()
        self.ring_control = ring
        self.transactions = TransactionControl(self.profiles_view, runner, self.redraw, self.model.tell)
        self.panes: dict[Screen, Pane] = make_panes(self)
        self.help = HelpPane(self.keys, self.unavailable)
        self.screen_name: Screen = "overview"
        self.shows_help = False
        self._came_from: list[Screen] = []
        self._drawn_s = 0  # the second of the clock that is shown
        self._cpus = ""  # where the collector runs
        self._stale = False  # something is not drawn yet, since the terminal took nothing

    @property
    def pane(self) -> Pane:
        """The screen in front."""
        return self.panes[self.screen_name]

    def on_mount(self) -> None:
        """Starts the loop."""
        self.loop = asyncio.get_running_loop()
        self.app_resume_signal.subscribe(self, lambda _: self.refresh())
        self._clock = self.set_interval(1 / self.model.refresh_hz, self.tick)
        self.set_focus(None)
        if self.model.kind in ("live", "demo", "files"):
            self.spawn(self.transactions.load())
        if self.keymap.faults:
            more = len(self.keymap.faults) - 1
            self.model.tell(
                f"{self.keymap.faults[0].told()}{f' and {more} more' if more else ''}: quietcore keys --check", "warn"
            )
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
        if self.transactions.has_news():
            self.spawn(self.transactions.news())
        self.model.events.extendleft(self.evidence.events())
        self.model.recorder, self.model.armed = self.evidence.words(), self.evidence.armed
        if moved or self._stale or self.ring_view.running or self.profiles_view.busy or int(time.time()) != self._drawn_s:
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
        if not self.in_front:
            return
        terminal = self.terminal
        self._stale = terminal is not None and not terminal.takes()
        if self._stale:
            return
        self._drawn_s = int(time.time())
        width, height = self.size
        if width < WIDTH or height < HEIGHT:
            self.body.draw([[seg(f"{width}x{height} is too small: {WIDTH}x{HEIGHT} is needed"[:width], HEAD)]])
            for each in (self.header, self.tabs, self.footer):
                each.draw([[]])
            return
        room = self.body.size.height or height - 3
        self.header.draw([frame.header(self.model, self.source.ended, self.timeline.where(), width)], terminal)
        self.tabs.draw([frame.tabs(self.tab_words(), self.screen_name, self.profiles_view, self.shows_help)], terminal)
        self.body.draw(self.help.lines(width, room) if self.shows_help else self.pane.lines(width, room), terminal)
        self.footer.draw([frame.footer(self.model, self.hints(), self.unavailable, width)], terminal)
        if terminal is not None:
            terminal.send(*self.cursor_position)

    def tab_words(self) -> list[tuple[Screen, str]]:
        """What stands on the tabs."""
        return frame.tab_words(self.open_events())

    def hints(self) -> list[tuple[Command, str, str]]:
        """What stands in the footer."""
        return frame.hints(self.keys.commands_of(self.screen_name), self.size.width)

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Runs something that takes its time, without holding up the view."""
        self.run_worker(work, exclusive=False)

    def open_events(self) -> int:
        """How many events wait for somebody."""
        return self.model.matters().open

    # keys

    async def pressed(self, key: str, character: str | None) -> bool:
        """Any key: what is typed in the help searches it, everything else is looked up in the table."""
        command = self.keys.command_for(self.screen_name, key)
        if self.shows_help and self.help.typed(key, character, command):
            self.redraw()
        elif command is not None:
            await self.perform(command)
        else:
            return False
        return True

    async def clicked(self, x: int, y: int, times: int) -> None:
        """A tab shows its screen, a hint does what it says, a line takes the cursor; a second click goes into it."""
        tab, hint = frame.tab_at(self.tab_words(), x), frame.hint_at(self.hints(), x)
        if y == 1 and tab is not None:
            self.action_show(tab)
        elif y == self.size.height - 1 and self.model.message:
            self.model.tell("")
        elif y == self.size.height - 1 and hint is not None:
            await self.perform(hint)
        elif y > 1 and not self.shows_help and self.pane.click(x, y - 2) and times == 2:
            self.action_enter()
        self.redraw()

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
        if command.needs == "host" and self.model.kind in ("view", "replay"):
            return self.model.why_not
        if command.needs == "past" and self.timeline.past.end == self.timeline.past.first:
            return "no sample yet"
        return ""

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
        if self.screen_name in ("profiles", "ingest"):
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
        self.shows_help = not self.shows_help
        self.help.open(self.screen_name)

    def action_palette(self) -> None:
        """Everything by name."""
        from ui.app.palette import Palette

        self.push_screen(Palette())

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
        from ui.app.state.history import COLUMNS_S

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
        hint = "filter: core:8-63 rate>10 policy:break eth2"
        self.prompt.ask(hint, self.pane.filter.text, typed=self._filter, left=lambda: self._filter(""))

    def action_goto(self) -> None:
        """Asks for a time."""
        self.prompt.ask("time: 10:42:07, -90s, +5m, now", done=self._goto)

    def _goto(self, text: str) -> None:
        try:
            self.timeline.goto(text)
        except TimeError as error:
            self.model.tell(str(error), "warn")

    def _filter(self, text: str) -> None:
        try:
            self.pane.filter = parse(text, self.pane.filter_keys) if text.strip() else everything()
            self.model.tell("")
        except FilterError as error:
            self.model.tell(str(error), "warn")

    # the transaction

    def action_fix(self) -> None:
        """The plan that ends what the cursor is on, with its line selected."""
        sample = self.model.sample
        if self.model.kind not in ("live", "demo", "files"):
            self.model.tell("what is shown is not this host: nothing can be planned for it here", "warn")
            return
        found = remedy(sample, self.pane.pointed()) if sample is not None else None
        if found is None:
            self.model.tell(why_none(sample, self.pane.pointed()) if sample is not None else "no sample yet", "warn")
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
        sample = self.model.sample
        if sample is None:
            self.model.tell("there is no sample yet to keep", "warn")
            return
        self.model.tell(self.evidence.by_hand(sample.time_s, sample))

    def action_recorder(self) -> None:
        """Arms or disarms the recorder."""
        self.model.tell(self.evidence.toggle())

    def action_export(self) -> None:
        """Writes what this screen lists."""
        self.spawn(self._export())

    async def _export(self) -> None:
        from ui.app.export import ExportError, write

        try:
            # a directory may be far away, and slow
            path = await asyncio.to_thread(write, self.pane.listing(), self.model.sample, self.pane.filter.text, self.places)
            self.model.tell(f"wrote {path}.json and .csv")
        except ExportError as error:
            self.model.tell(str(error), "warn")
        self.redraw()

    def action_copy(self) -> None:
        """Copies the command line that shows the same."""
        command = self.pane.command()
        if printable(command, len(command)) != command:
            self.model.tell("not copied: a name in this command line has control characters", "warn")
            return
        self.copy_to_clipboard(command)
        self.model.tell(f"copied: {command}")

    def action_theme(self) -> None:
        """The next theme."""
        self.model.tell(f"theme {self.next_theme()}")

    # the end

    async def chosen(self, entry: "Entry") -> None:
        """What was found in the palette."""
        if entry.command is not None:
            await self.perform(entry.command)
        elif entry.goes_to is not None:
            self.model.tell("")
            self.go(*entry.goes_to)
        self.call_after_refresh(self.redraw)

    def action_help_quit(self) -> None:
        """Ctrl-C leaves, as everywhere; nothing is lost by it."""
        self.parting = self.transactions.leaving()
        self.exit(0)

    async def action_quit(self) -> None:
        """Ends the app. A transaction that waits is undone by its own timer."""
        self.parting = self.transactions.leaving()
        self.exit(0)

    async def on_unmount(self) -> None:
        """Ends the children that belong to this screen; an apply and its undo timer are not among them."""
        await asyncio.to_thread(self.ring_control.stop, self.ring_view)
        await asyncio.to_thread(self.evidence.close)
        await asyncio.to_thread(self.source.close)


__all__ = ["HEIGHT", "SCREENS", "WIDTH", "QuietcoreApp"]
