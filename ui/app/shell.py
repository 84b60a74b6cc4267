"""The app as the toolkit sees it: five widgets, keys and mouse on their way in, themes and filters on the way out.

What keys do and what stands on the screen is ``app.py``'s. Keys do not go through the toolkit's bindings, since a keymap file
says which there are: whatever no widget wants is looked up in the table.
"""

import asyncio
import contextlib
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from textual import events
from textual.app import App, ComposeResult
from textual.filter import LineFilter
from textual.screen import Screen as TextualScreen

from ui.app import themes
from ui.app.ending import Ending, threads_told
from ui.app.prompt import Prompt
from ui.app.widgets.lines import Lines
from ui.app.widgets.marks import MARKS
from ui.app.widgets.tones import TONES
from ui.keys import Keys
from ui.looks import THEMES, Looks

if TYPE_CHECKING:
    from ui.app.terminal import Terminal

WHEEL = 3  # lines


def driver() -> "type[Terminal] | None":
    """Ours, where the toolkit is built as ours expects; else its own: that costs more, and hangs with the terminal."""
    try:
        from ui.app.terminal import Terminal, fits
    except ImportError:
        return None
    return Terminal if fits() else None


class Base(TextualScreen[None], inherit_bindings=False):
    """The screen below all others, without keys of its own: tab is ours, too."""


class Shell(App[int]):
    """Widgets, input and looks.

    Args:
        keys: the keys in force.
        looks: the theme to begin with, and whether all is ASCII.
    """

    CSS = """
    Screen { layers: base; }
    #header, #tabs, #footer { height: 1; width: 100%; }
    #body { height: 1fr; width: 100%; }
    #prompt { height: 1; width: 100%; border: none; padding: 0; display: none; }
    """
    TITLE = "quietcore"
    AUTO_FOCUS = None  # the prompt is there before it is asked for
    ENABLE_COMMAND_PALETTE = False  # there is one of our own

    def __init__(self, keys: Keys, looks: Looks) -> None:
        super().__init__(driver_class=driver())
        self.keys = keys
        self.terminal: Terminal | None = None  # none in a test
        self.header, self.tabs, self.body, self.footer = (Lines(id=name) for name in ("header", "tabs", "body", "footer"))
        self.prompt = Prompt(self.redraw)
        self._failures: list[BaseException] = []
        self.parting = ""  # a word for whoever left, when the terminal is as it was
        self.loop: asyncio.AbstractEventLoop
        for theme in themes.THEMES.values():
            self.register_theme(theme)
        MARKS.use(looks.ascii)
        self.use_theme(looks.theme)

    def compose(self) -> ComposeResult:
        """Header, tabs, the screen, the footer: four widgets, whatever there is to see, and the prompt."""
        yield from (self.header, self.tabs, self.body, self.prompt, self.footer)

    def live(self, ending: Ending) -> BaseException | None:
        """Runs until it is left, or a signal asks for the end; what it failed of, if it failed."""
        self.error_console = Console(file=io.StringIO())  # the toolkit would tell of a failure with all that was in memory
        ending.asks(lambda status: self._from_outside(self.exit, status))
        with threads_told(lambda error: self._from_outside(self._thread_failed, error)):
            self.run()
        failed = getattr(self, "_exception", None)
        return self._failures[0] if self._failures else failed if isinstance(failed, BaseException) else None

    def _from_outside(self, what: Callable[[Any], None], about: object) -> None:
        """In the loop, from a signal handler or a thread; when there is none any more it does not matter."""
        with contextlib.suppress(RuntimeError, AttributeError):
            self.loop.call_soon_threadsafe(what, about)

    def _thread_failed(self, error: BaseException) -> None:
        self._failures.append(error)
        self.exit(1)

    def get_default_screen(self) -> Base:
        """See App."""
        return Base(id="_default")

    @property
    def in_front(self) -> bool:
        """Whether nothing lies over the screens: the palette, say."""
        return bool(self.screen_stack) and self.screen is self.screen_stack[0]

    # what an app does with it

    def redraw(self) -> None:
        """Draws everything; what did not change costs nothing."""
        raise NotImplementedError

    async def pressed(self, key: str, character: str | None) -> bool:
        """A key by the toolkit's name, and what it types where it types anything; whether it does anything."""
        raise NotImplementedError

    async def clicked(self, x: int, y: int, times: int) -> None:
        """A click on a cell of the whole screen, the first or second of a double click."""
        raise NotImplementedError

    def action_move(self, rows: int, columns: int) -> None:
        """Moves the cursor."""
        raise NotImplementedError

    # in

    async def on_key(self, event: events.Key) -> None:
        """Any key that no widget took. What lies in front has bindings, which are looked up if this leaves the key alone."""
        ours = self.in_front and not self.prompt.is_open
        if ours and await self.pressed(event.key, event.character if event.is_printable else None):
            event.prevent_default()

    async def on_click(self, event: events.Click) -> None:
        """The mouse."""
        if self.in_front:
            await self.clicked(event.screen_x, event.screen_y, event.chain)

    def on_mouse_scroll_down(self) -> None:
        """The wheel."""
        self._wheel(WHEEL)

    def on_mouse_scroll_up(self) -> None:
        """The wheel."""
        self._wheel(-WHEEL)

    def _wheel(self, rows: int) -> None:
        if self.in_front:
            self.action_move(rows, 0)
            self.redraw()

    # out

    def use_theme(self, name: str) -> None:
        """Takes a palette, and the toolkit's theme that goes with it."""
        TONES.use(name)
        self.theme = themes.THEMES[name].name
        for widget in (self.header, self.tabs, self.body, self.footer):
            widget.forget()

    def next_theme(self) -> str:
        """Takes the next theme; its name."""
        self.use_theme(THEMES[(THEMES.index(TONES.name) + 1) % len(THEMES)])
        return TONES.name

    def get_line_filters(self) -> Sequence[LineFilter]:
        """See App: what every line goes through before it is sent."""
        return themes.filters(TONES.name, super().get_line_filters())
