"""The app: one loop that takes the newest sample, lets the pane on screen draw its lines, and hands actions to processes.

It only views. Counting, applying and undoing happen elsewhere, since a stalled terminal stops this loop within seconds.
"""

import asyncio
import time
from collections.abc import Iterable

from rich.segment import Segment
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from ui.app.commands import COMMANDS, Command, commands_of
from ui.app.model import Model, ProfilesView, RingView
from ui.app.ring_control import RingControl
from ui.app.runner import Runner
from ui.app.screens.help import HelpPane
from ui.app.screens.ingest import IngestPane
from ui.app.screens.nic import NicPane
from ui.app.screens.overview import SORTS, Overview
from ui.app.screens.profiles import ProfilesPane
from ui.app.source import SampleSource
from ui.app.transaction_control import TransactionControl
from ui.app.widgets.columns import DIM, HEAD
from ui.app.widgets.lines import Line, Lines, seg

WIDTH, HEIGHT = 80, 24
RATES_HZ = (1.0, 2.0, 4.0, 10.0)
THEMES = ("textual-dark", "textual-light", "textual-ansi")
_TABS = ("overview", "nic", "ingest", "profiles")


class QuietcoreApp(App[int]):
    """The app.

    Args:
        source: where samples come from.
        runner: how the engine's commands are run.
        ring: how a packet ring is opened.
        may_change: whether this user may change the host; if not, ``why_not`` says why.
    """

    CSS = """
    Screen { layers: base; }
    #header, #tabs, #footer { height: 1; width: 100%; }
    #body { height: 1fr; width: 100%; }
    """
    TITLE = "quietcore"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS = [  # noqa: RUF012 - Textual's own form
        Binding(key, command.action, command.title, show=False, priority=key in ("tab", "space", "enter"))
        for command in COMMANDS
        for key in command.keys
    ]

    def __init__(self, source: SampleSource, runner: Runner, ring: RingControl, *, may_change: bool, why_not: str = "") -> None:
        super().__init__()
        self.source = source
        self.model = Model(may_change=may_change, why_not=why_not)
        self.ring_view, self.profiles_view = RingView(), ProfilesView()
        self.ring_control = ring
        self.transactions = TransactionControl(self.profiles_view, runner, self.redraw)
        self.overview = Overview(self.model)
        self.nic = NicPane(self.model)
        self.ingest = IngestPane(self.model, self.ring_view)
        self.profiles = ProfilesPane(self.model, self.profiles_view)
        self.help = HelpPane(self.model)
        self.pane_name = "overview"
        self.shows_help = False

    def compose(self) -> ComposeResult:
        """Header, tabs, the pane, the footer: four widgets, whatever there is to see."""
        yield Lines(id="header")
        yield Lines(id="tabs")
        yield Lines(id="body")
        yield Lines(id="footer")

    def on_mount(self) -> None:
        """Starts the loop."""
        self._clock = self.set_interval(1 / self.model.refresh_hz, self.tick)
        self.run_worker(self.transactions.load(), exclusive=False)
        self.tick()

    def on_resize(self) -> None:
        """Draws anew at the new size."""
        self.call_after_refresh(self.redraw)

    def tick(self) -> None:
        """Takes what is newest and draws."""
        sample = self.source.newest()
        if sample is not None:
            self.model.take(sample)
        self.ring_control.poll(self.ring_view)
        self.redraw()

    def redraw(self) -> None:
        """Draws header, tabs, pane and footer; rows that did not change cost nothing."""
        if not self.screen_stack or self.screen is not self.screen_stack[0]:
            return
        width, height = self.size
        body = self.query_one("#body", Lines)
        if width < WIDTH or height < HEIGHT:
            body.draw([[seg(f"{width}x{height} is too small: {WIDTH}x{HEIGHT} is needed"[:width], HEAD)]])
            for name in ("#header", "#tabs", "#footer"):
                self.query_one(name, Lines).draw([[]])
            return
        self.query_one("#header", Lines).draw([self._header(width)])
        self.query_one("#tabs", Lines).draw([self._tab_line()])
        pane = self.help if self.shows_help else getattr(self, self.pane_name)
        body.draw(pane.lines(width, body.size.height or height - 3))
        self.query_one("#footer", Lines).draw([self._footer(width)])

    def _header(self, width: int) -> Line:
        sample = self.model.sample
        state, colour = self._state()
        if sample is None:
            left = " quietcore"
        else:
            profile = f"profile {sample.profile}" if sample.profile else "no profile"
            profile += f", {len(sample.drift)} moved" if sample.drift else ""
            kernel = f"  Linux {sample.kernel}  {len(sample.cores)} CPUs" if width >= 130 else ""
            left = f" quietcore  {sample.host}{kernel}  {profile}"
        cost = ""
        if sample is not None:
            cpus = f" of CPU {sample.cost.cpus}" if width >= 110 else ""
            cost = f"self {sample.cost.cpu_percent:.1f}%{cpus}"
        right = f"{state}  {cost}  {time.strftime('%H:%M:%S')} "
        gap = max(1, width - len(left) - len(right))
        return [
            seg(left[: width - len(right) - 1], HEAD),
            Segment(" " * gap),
            seg(state, colour),
            seg(right[len(state) :], DIM),
        ]

    def _state(self) -> tuple[str, str]:
        sample = self.model.sample
        if self.model.paused:
            since = int(time.monotonic() - self.model.paused_at_s)
            return f"PAUSED -{since // 60:02}:{since % 60:02}", "bold yellow"
        if self.source.ended:
            return f"ENDED: {self.source.ended[:30]}", "bold red"
        kind = "LIVE" if sample is None or sample.source == "live" else "SIMULATED" if sample.source == "simulated" else "FILES"
        return f"{kind} {self.model.refresh_hz:g} Hz", "green" if kind == "LIVE" else "bold magenta"

    def _tab_line(self) -> Line:
        segments: list[Segment] = []
        for place, name in enumerate(_TABS):
            title = next(c.title for c in COMMANDS if c.action == f"pane('{name}')")
            here = name == self.pane_name and not self.shows_help
            segments.append(seg(f" {place + 1} {title} ", "reverse" if here else ""))
        if self.profiles_view.waiting is not None:
            left = max(0, int(self.profiles_view.deadline - time.monotonic()))
            segments.append(seg(f"   undo in {left // 60}:{left % 60:02}: K keeps, U undoes ", "bold yellow"))
        return segments

    def _footer(self, width: int) -> Line:
        segments: list[Segment] = []
        used = 0
        for command in commands_of(self.pane_name):
            text = f" {command.shown} {command.title} "
            if not command.footer or used + len(text) > width:
                continue
            used += len(text)
            blocked = command.changes_host and not self.model.may_change
            segments += [seg(f" {command.shown}", DIM if blocked else HEAD), seg(f" {command.title} ", DIM)]
        return segments

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A key works where the table says so, and changes the host only for who may."""
        del parameters
        for command in COMMANDS:
            if command.action.partition("(")[0] == action and command.where not in ("everywhere", self.pane_name):
                if any(other.action == command.action and other.where == self.pane_name for other in COMMANDS):
                    continue
                return False
        return True

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: the table of keys again, by name."""
        del screen
        for command in commands_of(self.pane_name):
            if command.action != "quit" and not command.action.startswith(("move", "scroll")):
                yield SystemCommand(command.title, command.explained, lambda c=command: self._from_palette(c))
        yield SystemCommand("quit", "ends the app", self.action_quit_app)

    async def _from_palette(self, command: Command) -> None:
        await self.run_action(command.action)

    def action_pane(self, name: str) -> None:
        """Shows a pane."""
        self.pane_name = name
        self.shows_help = False
        if name == "profiles":
            self.run_worker(self.transactions.load(), exclusive=False)
        self.redraw()

    def action_help(self) -> None:
        """Shows or hides the help of the pane."""
        self.help.of = self.pane_name
        self.shows_help = not self.shows_help
        self.redraw()

    async def action_back(self) -> None:
        """Leaves the help, or the plan."""
        if self.shows_help:
            self.shows_help = False
        elif self.pane_name == "profiles":
            self.profiles_view.planned = ""
            self.profiles_view.plan = {}
        self.redraw()

    def action_pause(self) -> None:
        """Freezes the view, or lets it go on."""
        self.model.paused = not self.model.paused
        self.model.paused_at_s = time.monotonic()
        self.redraw()

    def action_move(self, step: int) -> None:
        """Moves the cursor of the pane."""
        if self.pane_name == "profiles":
            view = self.profiles_view
            before = view.selected
            view.selected = max(0, min(view.selected + step, len(view.profiles) - 1))
            if view.selected != before:
                view.planned, view.plan = "", {}
        elif self.pane_name in ("overview", "nic"):
            pane = self.overview if self.pane_name == "overview" else self.nic
            pane.cursor = max(0, pane.cursor + step)
        self.redraw()

    def action_metric(self) -> None:
        """The next figure in the map."""
        from ui.app.policy import METRICS

        self.overview.metric = (self.overview.metric + 1) % len(METRICS)
        self.redraw()

    def action_numbers(self) -> None:
        """Numbers instead of glyphs, and back."""
        self.overview.numbers = not self.overview.numbers
        self.redraw()

    def action_sort(self) -> None:
        """The next order of the cores."""
        self.overview.sort = (self.overview.sort + 1) % len(SORTS)
        self.overview.cursor = 0
        self.redraw()

    def action_next(self) -> None:
        """The next interface."""
        if self.pane_name == "nic":
            self.nic.chosen += 1
            self.nic.cursor = 0
        elif not self.ring_view.running:
            self.ingest.chosen += 1
        self.redraw()

    def action_ring(self) -> None:
        """Opens the packet ring on the chosen interface, or closes it."""
        if self.ring_view.running:
            self.ring_control.stop(self.ring_view)
        elif self.ingest.interface:
            self.ring_control.start(self.ring_view, self.ingest.interface)
        self.redraw()

    def action_plan(self) -> None:
        """Plans the selected profile."""
        self.run_worker(self.transactions.plan(), exclusive=False)

    def action_apply(self) -> None:
        """Applies the selected profile."""
        if self._allowed():
            self.run_worker(self.transactions.apply(), exclusive=False)

    def action_verify(self) -> None:
        """Verifies the active profile."""
        self.run_worker(self.transactions.verify(), exclusive=False)

    def action_keep(self) -> None:
        """Keeps the transaction that waits."""
        if self._allowed():
            self.run_worker(self.transactions.keep(), exclusive=False)

    def action_undo(self) -> None:
        """Undoes the transaction that waits, else the newest."""
        if self._allowed():
            self.run_worker(self.transactions.undo(), exclusive=False)

    def _allowed(self) -> bool:
        if not self.model.may_change:
            self.profiles_view.step("refused", "failed", self.model.why_not)
            self.redraw()
        return self.model.may_change

    def action_scroll(self, step: int) -> None:
        """Scrolls the plan."""
        self.profiles_view.scroll = max(0, self.profiles_view.scroll + step)
        self.redraw()

    def action_faster(self) -> None:
        """The next higher rate of the view."""
        self._set_rate(1)

    def action_slower(self) -> None:
        """The next lower rate of the view."""
        self._set_rate(-1)

    def _set_rate(self, step: int) -> None:
        place = RATES_HZ.index(self.model.refresh_hz) + step
        if 0 <= place < len(RATES_HZ):
            self.model.refresh_hz = RATES_HZ[place]
            self._clock.stop()
            self._clock = self.set_interval(1 / self.model.refresh_hz, self.tick)
        self.redraw()

    def action_theme(self) -> None:
        """The next theme."""
        names = [name for name in THEMES if name in self.available_themes]
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]

    async def action_quit(self) -> None:
        """Ends the app. A transaction that waits is undone by its own timer."""
        self.action_quit_app()

    def action_quit_app(self) -> None:
        """Ends the app."""
        self.exit(0)

    async def on_unmount(self) -> None:
        """Ends the children that belong to this screen; an apply and its undo timer are not among them."""
        await asyncio.to_thread(self.ring_control.stop, self.ring_view)
        await asyncio.to_thread(self.source.close)
