"""Core: one core, its history, who runs there, and how it compares with others of its role."""

from ui.app.screens.pane import Pane
from ui.app.widgets.lines import Line, seg
from ui.keys import Screen


class CorePane(Pane):
    """Draws one core."""

    name: Screen = "core"

    def draw(self, width: int, height: int) -> list[Line]:
        """See Pane."""
        del height
        return [(seg(" core"[:width]),)]
