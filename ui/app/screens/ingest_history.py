"""How rings and feeds went: of the selected one each figure, and beside the list one figure of all that it shows."""

from collections.abc import Sequence

from ui.app.screens.feed_detail import drawn
from ui.app.screens.ingest_rows import OWN
from ui.app.state.feed_figures import shares_of_a
from ui.app.state.model import Model, RingView
from ui.app.widgets.lines import Line, fit, rule, seg
from ui.app.widgets.ramp import drawn as glyphs_of
from ui.app.widgets.ramp import levels, short
from ui.app.widgets.table import Row
from ui.app.widgets.tones import BAD, DIM

_TOP_US, _TOP_LOST = 10_000.0, 1_000.0  # where the scales beside the tables end: the same for all rows, and at any time


class IngestHistory:
    """Draws what the histories have of rings and feeds.

    Args:
        model: whose histories.
        view: the app's own ring, which has its own.
    """

    def __init__(self, model: Model, view: RingView) -> None:
        self.model, self.view = model, view

    def selected(self, name: str, is_feed: bool, width: int) -> list[Line]:
        """How one ring or feed went: a title, and a line for each figure."""
        history, room = self.model.history, width - 22
        span = f"{history.column_s:g} s a column"
        if is_feed:
            lost = history.values("feed_lost", name, room)
            lines = [drawn("numbers/s", history.values("feed_rate", name, room), room), drawn("missing/s", lost, room, BAD)]
            a, b = (history.values(f"feed_first_{line}", name, room + 1) for line in "ab")
            if a and b:
                lines.append(drawn("A first", [100 * share for share in shares_of_a(a, b)], room, unit="%"))
            return [rule(f"{name}, {span}", width), *lines]
        if name.startswith(OWN):
            rate, p99 = list(self.view.packets_per_s)[-room:], list(self.view.p99_us)[-room:]
            return [rule(f"{name}, 1 s a column", width), drawn("packets/s", rate, room), drawn("p99 us", p99, room)]
        figures = (("ring_rate", "packets/s"), ("ring_p99", "p99 us"), ("ring_max", "max us"))
        lines = [drawn(title, history.values(kind, name, room), room) for kind, title in figures]
        return [rule(f"{name}: stamp to ring, {span}", width), *lines]

    def of_rings(self, rows: Sequence[Row], width: int) -> list[Line]:
        """A title, and the latency of each ring that the table beside it shows."""
        history = self.model.history
        lines: list[Line] = [rule(f"p99 us, to {_TOP_US / 1000:g} ms, {history.column_s:g} s a column", width)]
        for row in rows:
            own = str(row.key).startswith(OWN)
            values = list(self.view.p99_us)[-width + 1 :] if own else history.values("ring_p99", row.key, width - 1)
            lines.append((seg(" "), seg(glyphs_of(levels(values, _TOP_US)).rjust(width - 1), "cool2")))
        return lines

    def of_feeds(self, rows: Sequence[Row], width: int) -> list[Line]:
        """A title, and what each feed of the table beside it misses; where there is room, also which line was first."""
        history = self.model.history
        left = (width - 3) // 2 if width >= 80 else width - 1
        right = width - left - 3 if width >= 80 else 0
        title = f"{fit(f'── missing/s, to {short(_TOP_LOST)} ', left + 2)}── A first, share" if right else "── missing/s "
        lines: list[Line] = [rule(title.removeprefix("── "), width)]
        for row in rows:
            lost = history.values("feed_lost", row.key, left)
            missed = any(lost)
            text = glyphs_of(levels(lost, _TOP_LOST) if missed else bytes(len(lost))).rjust(left)
            line = [seg(" "), seg(text, BAD if missed else DIM)]
            if right:
                a, b = (history.values(f"feed_first_{which}", row.key, right + 1) for which in "ab")
                line += [seg("  "), seg(glyphs_of(levels(shares_of_a(a, b), 1.0)).rjust(right), "cool3")]
            lines.append(line)
        return lines
