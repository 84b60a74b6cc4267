"""Help: every key of the screen one came from, and of the whole app, from the one table."""

from ui.app.model import Model
from ui.app.widgets.lines import Line, rule, seg
from ui.app.widgets.tones import DIM, HEAD
from ui.keys import Command, commands_of


class HelpPane:
    """Draws the help of one screen."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.of = "overview"
        self.first = 0

    def move(self, rows: int, columns: int) -> None:
        """Scrolls."""
        del columns
        self.first = max(0, self.first + rows)

    def lines(self, width: int, height: int) -> list[Line]:
        """The whole page."""
        own = [each for each in commands_of(self.of) if each.where]
        rest = [each for each in commands_of(self.of) if not each.where]
        lines: list[Line] = [rule(f"keys of {self.of}", width), *map(self._line, own), rule("keys everywhere", width)]
        lines += map(self._line, rest)
        self.first = min(self.first, max(0, len(lines) - height))
        return lines[self.first : self.first + height]

    def _line(self, command: Command) -> Line:
        blocked = command.needs == "root" and not self.model.may_change
        words = f"{command.explained} (not now: {self.model.why_not})" if blocked else command.explained
        tone = DIM if blocked else HEAD
        return [seg(f"  {command.shown:<5}", tone), seg(f"{command.title:<16}", DIM if blocked else ""), seg(words, DIM)]
