"""The line in which something is typed: a filter, a time. What is pasted into it is one line of text, whatever it was."""

from collections.abc import Callable

from textual import events
from textual.binding import Binding
from textual.widgets import Input

from tuner.host.text import printable

ROOM = 300  # characters


class Prompt(Input):
    """An input of the toolkit that lets no control character in, and no more than ``ROOM`` characters.

    Args:
        redraw: draws the screen anew, after whatever was typed.
    """

    BINDINGS = [Binding("escape", "leave", show=False)]  # noqa: RUF012 - Textual's own form

    def __init__(self, redraw: Callable[[], None]) -> None:
        super().__init__(id="prompt", max_length=ROOM, select_on_focus=False)
        self.is_open = False
        self._redraw = redraw
        self._typed: Callable[[str], None] = _nothing
        self._done: Callable[[str], None] = _nothing
        self._left: Callable[[], None] = lambda: None

    def ask(
        self,
        hint: str,
        value: str = "",
        *,
        typed: Callable[[str], None] | None = None,
        done: Callable[[str], None] | None = None,
        left: Callable[[], None] | None = None,
    ) -> None:
        """Opens it.

        Args:
            hint: what stands in it while it is empty.
            value: what it holds to begin with.
            typed: told of the text at every change.
            done: told of the text at Enter.
            left: called at Escape.
        """
        self.is_open = True
        self.placeholder = hint
        with self.prevent(Input.Changed):
            self.value = value[:ROOM]
        self._typed, self._done = typed or _nothing, done or _nothing
        self._left = left or (lambda: None)
        self.display = True
        self.cursor_position = len(self.value)
        self.focus()

    def close(self) -> None:
        """Takes it off the screen."""
        self.is_open = self.display = False
        self.app.set_focus(None)
        self.app.call_after_refresh(self._redraw)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Something was typed."""
        event.stop()
        if self.is_open:
            self._typed(event.value)
            self._redraw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """What was typed counts."""
        event.stop()
        self._done(event.value)
        self.close()

    def action_leave(self) -> None:
        """As if nothing had been typed."""
        self._left()
        self.close()

    def on_paste(self, event: events.Paste) -> None:
        """The first line that says anything, made printable and cut to what there is room for."""
        event.prevent_default()
        event.stop()
        line = next((each.strip() for each in event.text[: 8 * ROOM].splitlines() if each.strip()), "")
        room = ROOM - len(self.value) + len(self.selected_text)
        self.replace(printable(line, 8 * ROOM)[: max(0, room)], *self.selection)


def _nothing(_text: str) -> None:
    pass
