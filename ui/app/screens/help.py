"""Help: every key of the pane one came from, and of the whole app, from the one table."""

from ui.app.commands import COMMANDS, commands_of
from ui.app.model import Model
from ui.app.widgets.columns import DIM, HEAD, rule
from ui.app.widgets.lines import Line, seg


class HelpPane:
    """Draws the help of one pane."""

    name = "help"

    def __init__(self, model: Model) -> None:
        self.model = model
        self.of = "overview"

    def lines(self, width: int, height: int) -> list[Line]:
        """The whole page, in two columns where there is room."""
        own = [c for c in COMMANDS if c.where == self.of]
        rest = [c for c in commands_of(self.of) if c.where == "everywhere"]
        lines: list[Line] = [rule(f"keys of {self.of}", width)] if own else []
        lines += [self._line(c.shown, c.title, c.explained, c.changes_host) for c in own]
        lines.append(rule("keys everywhere", width))
        lines += [self._line(c.shown, c.title, c.explained, False) for c in rest]
        lines.append(rule("cores", width))
        lines.append(
            [seg(" H housekeeping  R rx  T tx  A app  I isolated  g general;  red: what must not be on such a core", DIM)]
        )
        return lines[:height]

    def _line(self, shown: str, title: str, explained: str, changes_host: bool) -> Line:
        blocked = changes_host and not self.model.may_change
        words = f"{explained} (not now: {self.model.why_not})" if blocked else explained
        return [seg(f"  {shown:<5}", DIM if blocked else HEAD), seg(f"{title:<12}", DIM if blocked else ""), seg(words, DIM)]
