"""Overview: every core at once, the worst of them, where packets are lost, and what is open."""

from collections.abc import Sequence
from typing import Literal

from ingest.sample import Sample
from ui.app.screens.overview_alerts import Alerts
from ui.app.screens.overview_cores import Cores, point_at, values_of
from ui.app.screens.overview_host import Side
from ui.app.screens.overview_losses import Losses
from ui.app.screens.overview_maps import Maps
from ui.app.screens.pane import Pane
from ui.app.state.model import Listing, Model, Pointed
from ui.app.state.places import GROUPED_BY, GROUPINGS, Places
from ui.app.state.policy import METRICS, NAMES, Figures, why
from ui.app.widgets.kept import Kept
from ui.app.widgets.lines import Line
from ui.app.widgets.table import LiveTable
from ui.app.widgets.tones import DIM, HEAD
from ui.keys import Screen

Panel = Literal["maps", "cores", "losses", "alerts"]
PANELS: tuple[Panel, ...] = ("maps", "cores", "losses", "alerts")
WIDE = 130
_SIDE = 6  # lines of the side panels
_MAPS = 11  # lines that the maps may have at least: four figures of 64 cores on two nodes, and their roles


class Overview(Pane):
    """Draws the overview. The core under the cursor is the same in the maps and in the table."""

    name: Screen = "overview"
    filter_keys = ("cpu", "core", "node", "role", "rate", "dev", "ipi", "tick", "drops", "busy", "policy", "why")

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.panel: Panel = "cores"
        self.places = Places()
        self.maps = Maps(self.places)
        self.cores = Cores(model.history)
        self.losses = Losses(model.history)
        self.alerts = Alerts(model)
        self.cpu: int | None = None
        self._side = Side()
        self._kept = Kept()
        self._sample: Sample | None = None
        self._figures = Figures(())

    # drawing

    def draw(self, width: int, height: int) -> list[Line]:
        """See Pane."""
        sample = self.model.sample
        if sample is None:
            return []
        self._take(sample)
        if self.zoomed:
            return self._zoomed(sample, width, height)
        most = min(height - 10, max(_MAPS, height * 2 // 5))
        lines = [*self._maps(width, most), self._point_line(width)]
        rest = height - len(lines)
        side = _SIDE if width >= WIDE and rest >= 26 else 0
        alerts = min(10, max(2, rest // 5 if rest >= 16 else 2))
        self.losses.take(sample, width)
        loss = 1 + min(len(self.losses.table.rows), 2 if rest < 12 else max(3, rest // 5))
        room = max(3, rest - side - alerts - loss)
        lines += _filled(self.cores.lines(width, room, self.panel == "cores"), room)
        lines += _filled(self.losses.lines(width, loss, self.panel == "losses"), loss)
        if side:
            lines += self._side.lines(sample, width, side)
        self.alerts.take(sample, width, 40)
        return [*lines, *self.alerts.lines(width, height - len(lines), self.panel == "alerts", titled=rest >= 12)]

    def _take(self, sample: Sample) -> None:
        if sample is not self._sample:
            self._sample = sample
            self._figures = Figures(sample.cores, self._figures)
            if self.places.take(sample.host, sample.cores):
                self.cores.forget()
        self.cores.take(sample, self._figures, self.filter)
        if self.panel != "maps" or self.cpu is None:
            self.cpu = self.cores.selected if self.cores.selected is not None else self.cpu
        if self.cpu is not None and self.cpu not in self.places.known:
            self.cpu = self.places.order[0] if self.places.order else None

    def _maps(self, width: int, height: int) -> list[Line]:
        return self.maps.lines(self._figures, width, height, self.cpu, self.cores.grey)

    def _zoomed(self, sample: Sample, width: int, height: int) -> list[Line]:
        if self.panel == "maps":
            return [*self._maps(width, height - 1), self._point_line(width)]
        if self.panel == "cores":
            return [*_filled(self.cores.lines(width, height - 1, True), height - 1), self._point_line(width)]
        if self.panel == "losses":
            self.losses.take(sample, width)
            self.losses.take_ledger(sample)
            return self.losses.ledger_lines(width, height)
        self.alerts.take(sample, width, 500)
        return self.alerts.lines(width, height, True, titled=True)

    def _point_line(self, width: int) -> Line:
        """What is under the cursor of the maps, told in one line."""
        core = self.cores.core(self.cpu) if self.cpu is not None else None
        if core is None:
            words = f" CPU {self.cpu} is offline" if self.cpu is not None else " no CPU"
            return self._kept.text("point", ((words, DIM),), width)
        others = [cpu for cpu in core.siblings if cpu != core.cpu]
        smt = f" smt {','.join(map(str, others))}" if others else ""
        tone = NAMES[self._figures.faults()[self.places.index[core.cpu]]]
        said = f"▸CPU {core.cpu}"
        where = f" n{core.node} llc {core.llc}{smt} {core.role}  {self.maps.value(self._figures, core.cpu)}  "
        parts = ((said, HEAD if self.panel == "maps" else ""), (where, ""), (why(core) or "nothing interrupts it", tone))
        return self._kept.text("point", parts, width)

    # the cursor

    def tables(self) -> Sequence[LiveTable]:
        """See Pane."""
        if self.panel == "losses":
            return (self.losses.ledger,) if self.zoomed else (self.losses.table,)
        return (self.alerts.table,) if self.panel == "alerts" else (self.cores.table,)

    def move(self, rows: int, columns: int) -> None:
        """See Pane."""
        if self.panel != "maps":
            super().move(rows, columns)
        elif self.cpu is not None:
            self.cpu = self.maps.move(self.cpu, rows, columns)
            self.cores.table.select(str(self.cpu))

    def pointed(self) -> Pointed:
        """See Pane."""
        if self.panel == "losses":
            return self.losses.pointed(self.zoomed)
        if self.panel == "alerts" and self.model.sample is not None:
            return self.alerts.pointed(self.model.sample)
        core = self.cores.core(self.cpu) if self.cpu is not None else None
        return point_at(core) if core is not None else Pointed()

    def focus(self, kind: str, key: str) -> None:
        """See Pane."""
        if kind == "core" and key.isdigit():
            self.panel, self.cpu = "cores", int(key)
            self.cores.table.select(key)
        elif kind == "loss":
            self.panel = "losses"
            self.losses.table.select(key.split("/")[1] if key.count("/") > 1 else key)

    # its keys

    def do_metric(self) -> None:
        """The next figure first."""
        self.maps.metric = (self.maps.metric + 1) % len(METRICS)
        self.model.tell(f"first map: {METRICS[self.maps.metric].title}")

    def do_numbers(self) -> None:
        """Numbers instead of glyphs, and back."""
        self.maps.numbers = not self.maps.numbers

    def do_group(self) -> None:
        """Other neighbours in the maps."""
        self.maps.grouping = GROUPINGS[(GROUPINGS.index(self.maps.grouping) + 1) % len(GROUPINGS)]
        self.model.tell(f"cores by {GROUPED_BY[self.maps.grouping]}")

    def do_next_panel(self) -> None:
        """The cursor into the next panel."""
        self.panel = PANELS[(PANELS.index(self.panel) + 1) % len(PANELS)]

    def listing(self) -> Listing:
        """See Pane."""
        if self.panel in ("maps", "cores"):
            found = [self.cores.core(int(row.key)) for row in self.cores.table.rows]
            return Listing("cores", [values_of(core) for core in found if core is not None])
        if self.panel == "losses":
            if self.model.sample is not None:
                self.losses.take_ledger(self.model.sample)
            return Listing("losses", [dict(row.values) for row in self.losses.ledger.rows])
        return Listing("alerts", [dict(row.values) for row in self.alerts.table.rows])


def _filled(lines: list[Line], height: int) -> list[Line]:
    """Just so many lines: what stands below stays where it is."""
    return [*lines[:height], *([()] * (height - len(lines)))]
