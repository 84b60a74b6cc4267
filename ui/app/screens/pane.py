"""What every screen is: something that turns the model into lines, has a cursor, and can say what the cursor is on."""

from collections.abc import Callable, Sequence

from ui.app.state.model import Listing, Model, Pointed
from ui.app.widgets.lines import Line, seg
from ui.app.widgets.table import LiveTable, Row
from ui.app.widgets.tones import DIM
from ui.filter import Filter, everything
from ui.keys import Screen


class Pane:
    """A screen. What it draws comes from ``model`` alone, so live, replay and demo look the same.

    A screen overrides ``draw``, and of the rest what it has: ``tables`` (which take sort and moves by themselves), ``pointed``,
    ``listing``, ``focus``, and a method ``do_x`` for each ``pane('x')`` of its keys in ``ui/keys.py``.
    """

    name: Screen
    filter_keys: Sequence[str] = ()  # the names that its rows have, for a filter to be checked against

    def __init__(self, model: Model) -> None:
        self.model = model
        self.filter: Filter = everything()
        self.zoomed = False
        self._shown: list[Line] = []

    # drawing

    def lines(self, width: int, height: int) -> list[Line]:
        """The whole screen: ``height`` lines of at most ``width`` cells."""
        if self.model.sample is None:
            return [(seg(" waiting for the first sample", DIM),)]
        self._shown = self.draw(width, height)[:height]
        return self._shown

    def draw(self, width: int, height: int) -> list[Line]:
        """The screen where there is a sample."""
        raise NotImplementedError

    def kept(self) -> Callable[[Row], bool] | None:
        """Which rows the filter lets stay, for ``LiveTable.take``; None for all."""
        matches = self.filter.matches
        return (lambda row: matches(row.values)) if self.filter.text else None

    # the cursor

    def tables(self) -> Sequence[LiveTable]:
        """Its tables; the first is the one that keys move in."""
        return ()

    def move(self, rows: int, columns: int) -> None:
        """Moves the cursor."""
        del columns
        for table in self.tables()[:1]:
            table.move(rows)

    def click(self, x: int, y: int) -> bool:
        """Puts the cursor on the row of a table that is drawn at a cell of the screen; False where there is none."""
        line = self._shown[y] if 0 <= y < len(self._shown) else ()
        best: tuple[int, int, LiveTable] | None = None
        for table in self.tables():
            found = table.found(line)
            if found is not None and found[0] <= x and (best is None or found[0] > best[0]):
                best = (*found, table)
        if best is not None:
            best[2].move(best[1] - best[2].cursor)
        return best is not None

    def pointed(self) -> Pointed:
        """What the cursor is on."""
        return Pointed()

    def focus(self, kind: str, key: str) -> None:
        """Puts the cursor on something that another screen, the palette or an event named."""
        del kind
        for table in self.tables()[:1]:
            table.select(key)

    # what keys do to it

    def act(self, action: str) -> None:
        """A key of its own."""
        getattr(self, f"do_{action}")()

    def do_sort(self) -> None:
        """The next order."""
        for table in self.tables()[:1]:
            table.sort()

    def do_reverse(self) -> None:
        """The other way round."""
        for table in self.tables()[:1]:
            table.reverse()

    def back(self) -> bool:
        """Leaves what was entered on this screen; False where there is nothing to leave."""
        if self.filter.text:
            self.filter = everything()
            return True
        if self.zoomed:
            self.zoomed = False
            return True
        return False

    # what is taken away from it

    def listing(self) -> Listing:
        """What it lists now, filtered and sorted."""
        tables = self.tables()
        return Listing(self.name, [dict(row.values) for row in tables[0].rows] if tables else ())

    def command(self) -> str:
        """The command line that shows the same."""
        return self.pointed().command or "quietcore status"
