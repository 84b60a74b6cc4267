"""events."""

from ui.app.screens.pane import Pane
from ui.app.widgets.lines import Line, seg
from ui.keys import Screen


class EventsPane(Pane):
    """Draws them."""

    name: Screen = "events"

    def draw(self, width: int, height: int) -> list[Line]:
        """See Pane."""
        del height
        return [(seg(" events"[:width]),)]
