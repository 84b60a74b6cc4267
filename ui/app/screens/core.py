"""Core: one core, its history, who interrupts it, and how it compares with others of its role."""

from collections.abc import Sequence
from typing import Literal

from ingest.sample import CoreSample, Sample
from ui.app.screens.core_compare import Compare
from ui.app.screens.core_sources import Sources
from ui.app.screens.core_sources import point_at as point_at_source
from ui.app.screens.overview_cores import point_at
from ui.app.screens.pane import Pane
from ui.app.state.model import Listing, Model, Pointed
from ui.app.state.places import Places
from ui.app.state.policy import (
    DEV,
    DROP,
    INTR,
    IPIS,
    METRICS,
    RESERVED,
    SOFT,
    TICKING_PER_S,
    Metric,
    tone_of,
    tones,
    weight,
    why,
)
from ui.app.widgets.chart import AXIS, Chart, Hist, axis_for
from ui.app.widgets.kept import Kept
from ui.app.widgets.lines import Line, fit, seg
from ui.app.widgets.ramp import levels, short
from ui.app.widgets.table import LiveTable
from ui.app.widgets.tones import BAD, DIM, HEAD, WARN
from ui.keys import Screen

Panel = Literal["sources", "chart", "compare"]
PANELS: tuple[Panel, ...] = ("sources", "chart", "compare")
RANGES_S = (30.0, 60.0, 300.0)
WIDE = 130


class CorePane(Pane):
    """Draws one core: ``cpu``, of its figures ``metric``. None is chosen until one was shown: then it is the worst."""

    name: Screen = "core"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.cpu: int | None = None
        self.metric = 0
        self.range_s = RANGES_S[1]
        self.panel: Panel = "sources"
        self.places = Places()
        self.sources = Sources(model.history)
        self.compare = Compare()
        self._chart, self._hist = Chart(), Hist()
        self._kept = Kept()
        self._sample: Sample | None = None
        self._cores: dict[int, CoreSample] = {}

    # drawing

    def draw(self, width: int, height: int) -> list[Line]:
        """See Pane."""
        sample = self.model.sample
        if sample is None:
            return []
        core = self._taken(sample)
        if core is None:
            words = f" CPU {self.cpu} is offline; ←→ go to others" if self.cpu is not None else " no CPU is online"
            return [self._kept.text("none", ((words, WARN),), width)]
        self.sources.take(sample, core)
        self.compare.take(core, sample.cores)
        facts = self._facts(core, width)
        if self.zoomed:
            return [facts, *self._panel(core, width, height - 1)]
        rows = 6 if height < 28 else min(16, height // 3)
        lines = [facts, *self._charts(core, width, rows)]
        rest = height - len(lines)
        if width >= WIDE:
            right = max(52, width * 2 // 5)
            left = width - right - 1
            lines += self._beside(core, (left, right), rest)
            return lines
        lines += _filled(self.sources.lines(width, rest - 4, self.panel == "sources"), rest - 4)
        title = self._kept.rule("compare", self.compare.title, width, HEAD if self.panel == "compare" else DIM)
        return [*lines, self._soft(core, width), title, *self.compare.short_lines(width)]

    def _taken(self, sample: Sample) -> CoreSample | None:
        if sample is not self._sample:
            self._sample = sample
            self._cores = {core.cpu: core for core in sample.cores}
            self.places.take(sample.host, sample.cores)
        if self.cpu is None and sample.cores:
            self.cpu = max(sample.cores, key=weight).cpu
        return self._cores.get(self.cpu) if self.cpu is not None else None

    def _panel(self, core: CoreSample, width: int, height: int) -> list[Line]:
        if self.panel == "chart":
            return self._charts(core, width, height - 2)
        if self.panel == "compare":
            return self.compare.lines(width, height, True)
        return [*_filled(self.sources.lines(width, height - 1, True), height - 1), self._soft(core, width)]

    def _beside(self, core: CoreSample, widths: tuple[int, int], height: int) -> list[Line]:
        left = _filled(self.sources.lines(widths[0], height - 1, self.panel == "sources"), height - 1)
        left.append(self._soft(core, widths[0]))
        right = self.compare.lines(widths[1], height, self.panel == "compare")
        blank = self._kept.text("blank", (), widths[0]), self._kept.text("blank right", (), widths[1])
        bar = seg("│", DIM)
        return [
            self._kept.joined(
                ("below", y), (self._whole(left[y], widths[0]) or blank[0], right[y] if y < len(right) else blank[1]), bar
            )
            for y in range(height)
        ]

    @staticmethod
    def _whole(line: Line, width: int) -> Line:
        """The line itself where it fills its width."""
        return line if sum(segment.cell_length for segment in line) == width else ()

    def _facts(self, core: CoreSample, width: int) -> Line:
        others = [cpu for cpu in core.siblings if cpu != core.cpu]
        smt = "  ".join(f"smt {cpu} {self._cores[cpu].role if cpu in self._cores else 'offline'}" for cpu in others) or "no smt"
        tick = f"  tick {short(core.timer_per_s)}/s"
        told = tone_of(core, INTR)
        said = why(core) or "nothing interrupts it"
        parts = (
            (f" core {core.cpu}", HEAD), (f"  node {core.node}  llc {core.llc}  package {core.package}  {smt}  ", ""),
            (core.role.upper(), HEAD), (tick, WARN if core.role in RESERVED and core.timer_per_s > TICKING_PER_S else ""),
            (f"  busy {core.busy_percent:.0f}%", ""),
            (f"  stolen {core.steal_percent:.0f}%" if core.steal_percent >= 0.5 else "", WARN),
            (f"  {said}", told if told in (BAD, WARN) else DIM),
        )  # fmt: skip
        return self._kept.text("facts", parts, width)

    def _soft(self, core: CoreSample, width: int) -> Line:
        parts = (
            (f" softirqs {short(core.softirqs_per_s)}/s, {short(core.net_rx_per_s)} NET_RX", ""),
            (f"  packets {short(core.packets_per_s)}/s", ""),
            (f"  drops {short(core.backlog_drops_per_s)}/s ({core.backlog_drops:,})", BAD if core.backlog_drops_per_s else ""),
            (f"  squeezed {short(core.squeezes_per_s)}/s ({core.squeezes:,})", WARN if core.squeezes_per_s else ""),
        )
        return self._kept.text("soft", parts, width)

    # its history

    def _charts(self, core: CoreSample, width: int, rows: int) -> list[Line]:
        """Title, ``rows`` rows, and the time below them: ``rows`` and two lines."""
        metric = METRICS[self.metric]
        right = 24 if width < WIDE else 44
        left = width - right - 1
        history = self.model.history
        values = history.core_values(core.cpu, metric.name, left - AXIS)
        samples = history.core_samples(core.cpu, metric.name, self.range_s)
        axis = axis_for(max(max(values, default=0.0), max(samples, default=0.0)), rows)
        drawn = self._chart.lines(values, self._tones(core, metric, values, left - AXIS), axis, left)
        counted = self._hist.lines(samples, axis, right, self._bad_from(core, metric))
        span = len(values) * history.column_s
        active = HEAD if self.panel == "chart" else DIM
        title = f"{metric.title}, {history.column_s:g} s a column"
        covers = min(self.range_s, len(samples) * history.interval_s)
        titles = (
            self._kept.rule("chart title", title if len(title) + 4 <= left else metric.name, left, active),
            self._kept.rule("hist title", f"last {round(covers, 1):g} s", right),
        )
        lines = [self._kept.joined("titles", titles, seg("┬", DIM))]
        bar = seg("│", DIM)
        lines += [self._kept.joined(("chart", y), pair, bar) for y, pair in enumerate(zip(drawn, counted, strict=False))]
        below = self._kept.text("time", ((self._time(len(values), span, left), DIM),), left)
        return [*lines, self._kept.joined("zero", (below, counted[-1]), bar)]

    @staticmethod
    def _time(columns: int, span: float, width: int) -> str:
        room = width - AXIS
        start = f"-{span:g} s" if columns else ""
        at = max(0, room - max(columns, len(start) + 4))
        return f"{'0┴':>{AXIS}}" + fit(" " * at + start + "now".rjust(max(0, room - at - len(start))), room)

    def _tones(self, core: CoreSample, metric: Metric, values: Sequence[float], columns: int) -> bytes:
        ticks = self.model.history.core_values(core.cpu, "tick/s", columns) if metric is INTR else ()
        reserved = bytes([0xFF if core.role in RESERVED else 0]) * len(values)
        return tones(metric, levels(values, metric.top), values, reserved, ticks)

    @staticmethod
    def _bad_from(core: CoreSample, metric: Metric) -> float | None:
        if metric is DROP:
            return 0.0
        judged = metric in (DEV, IPIS, SOFT) or (metric is INTR and core.timer_per_s <= TICKING_PER_S)
        return 1.0 if judged and core.role in RESERVED else None

    # the cursor

    def tables(self) -> Sequence[LiveTable]:
        """See Pane."""
        return (self.compare.table,) if self.panel == "compare" else (self.sources.table,)

    def move(self, rows: int, columns: int) -> None:
        """Other cores to the left and right, other sources above and below."""
        if columns and self.places.order:
            order = self.places.order
            at = order.index(self.cpu) if self.cpu in order else 0
            self.cpu = order[(at + columns) % len(order)]
        if rows:
            super().move(rows, 0)

    def pointed(self) -> Pointed:
        """See Pane."""
        core = self._cores.get(self.cpu) if self.cpu is not None else None
        if core is None:
            return Pointed()
        origin = self.sources.selected if self.panel == "sources" and self.sources.cpu == core.cpu else None
        if origin is not None:
            return point_at_source(origin, core.cpu)
        of_core = point_at(core)
        return Pointed("core", of_core.key, of_core.words, of_core.command, ("irqs", "core", of_core.key), core)

    def focus(self, kind: str, key: str) -> None:
        """See Pane."""
        if kind == "core" and key.isdigit():
            self.cpu = int(key)

    # its keys

    def do_metric(self) -> None:
        """The next figure."""
        self.metric = (self.metric + 1) % len(METRICS)

    def do_histogram(self) -> None:
        """Another time for the histogram."""
        self.range_s = RANGES_S[(RANGES_S.index(self.range_s) + 1) % len(RANGES_S)]
        self.model.tell(f"the histogram covers the last {self.range_s:g} s, as far as there is history")

    def do_next_panel(self) -> None:
        """The cursor into the next panel."""
        self.panel = PANELS[(PANELS.index(self.panel) + 1) % len(PANELS)]

    def listing(self) -> Listing:
        """See Pane."""
        if self.panel == "compare":
            return Listing("core-compared", self.compare.rows())
        return Listing("core-sources", self.sources.rows())


def _filled(lines: list[Line], height: int) -> list[Line]:
    return [*lines[:height], *([()] * (height - len(lines)))]
