"""NIC: one interface from its wire to the application, and the cores that serve its queues."""

import datetime as dt
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingest.sample import LossSample, NicSample, Sample
from ingest.stages import HOST
from ui.app.flow.remedies import remedy
from ui.app.screens import queues, waterfall
from ui.app.screens.pane import Pane
from ui.app.screens.waterfall import BOOT, MARK, MINUTE, SECOND, Stages, Window
from ui.app.state.interrupts import cpus_of
from ui.app.state.model import Listing, Model, Pointed
from ui.app.state.nic_past import Key, totals_of
from ui.app.widgets.lines import Line, cut, fit, rule, seg
from ui.app.widgets.ramp import short, spark
from ui.app.widgets.table import LiveTable, Row
from ui.app.widgets.tones import BAD, DIM, HEAD
from ui.filter import everything
from ui.keys import Screen

MINUTE_S = 60.0
_TALL = 34  # lines from which tables have titles, and the last loss says more
_LABEL = 29
_FEED = 26


@dataclass(frozen=True, slots=True)
class _Mark:
    at_ns: int
    time_s: float
    totals: Mapping[Key, int]


class NicPane(Pane):
    """Two tables below each other: the stages of an interface, and its receive queues. The cursor goes through both."""

    name: Screen = "nic"
    filter_keys = ("stage", "name", "where", "counter", "kind", "lost", "total", "visible", *queues.KEYS)

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.chosen = ""  # an interface by name: it stays chosen while it is away
        self.stages = LiveTable((("waterfall", "", False), ("lost", "lost", True), ("total", "total", True)))
        self.queues = LiveTable(queues.ORDERS)
        self.in_queues = False
        self.window = SECOND
        self.changed = False
        self.marked: _Mark | None = None
        self._aim: tuple[str, str] | None = None  # (kind, key) that is to be found in the next sample
        self._fix: tuple[LossSample, str] | None = None  # the last loss, and what would end it
        self._stages: tuple[tuple[object, ...], Stages] | None = None
        self._rows: tuple[Stages, tuple[int, bool, bool], list[Row]] | None = None

    # what is shown

    def interfaces(self, sample: Sample) -> list[NicSample]:
        """Those with hardware, or all where none has; and the one that was asked for."""
        found = [nic for nic in sample.nics if nic.physical] or list(sample.nics)
        if self.chosen and not any(nic.name == self.chosen for nic in found):
            found += [nic for nic in sample.nics if nic.name == self.chosen]
        return found

    def _nic(self, sample: Sample) -> NicSample | None:
        """The chosen interface; None while it is away."""
        found = self.interfaces(sample)
        if not self.chosen and found:
            self.chosen = max(found, key=lambda nic: (nic.up, nic.drops_per_s, nic.rx_packets_per_s)).name
        return next((nic for nic in found if nic.name == self.chosen), None)

    def _window(self, sample: Sample) -> Window:
        past, hidden = self.model.history.nics, self.model.history.hidden
        if self.window == MINUTE:
            counted, seconds = past.since(MINUTE_S, hidden)
            words = "in the last minute" if seconds > MINUTE_S - 2 else f"in the last {seconds:.0f} s (no more is kept)"
            return Window(MINUTE, "1 min", words, counted)
        if self.window == MARK and self.marked is not None:
            if sample.monotonic_ns < self.marked.at_ns:
                return Window(MARK, "mark", f"since the mark, which was set later: {clock(self.marked.time_s)}", {})
            return Window(MARK, "mark", f"since the mark at {clock(self.marked.time_s)}", self._since_mark(sample, self.marked))
        if self.window == BOOT:
            return Window(BOOT, "/s", "since boot")
        return Window(SECOND, "/s", "per second")

    @staticmethod
    def _since_mark(sample: Sample, mark: _Mark) -> dict[Key, int]:
        """What was counted since; of a counter that began anew meanwhile, all that it shows."""
        found = {}
        for key, total in totals_of(sample).items():
            before = mark.totals.get(key, 0)
            step = total - before if total >= before else total
            if step:
                found[key] = step
        return found

    def _told(self, sample: Sample, nic: NicSample, window: Window) -> Stages:
        """The stages; the very same as long as nothing moved."""
        key = (nic.name, window, sample.losses, tuple([each.name for each in sample.nics]))
        if self._stages is None or self._stages[0] != key:
            self._stages = key, waterfall.stages_of(sample, nic.name, window)
        return self._stages[1]

    def _stage_rows(self, stages: Stages, room: int, wide: bool) -> list[Row]:
        how = (room, wide, self.changed)
        if self._rows is None or self._rows[0] is not stages or self._rows[1] != how:
            self._rows = stages, how, waterfall.rows(stages, room, wide, self.changed)
        return self._rows[2]

    # drawing

    def draw(self, width: int, height: int) -> list[Line]:
        """See Pane."""
        sample = self.model.sample
        if sample is None:
            return []
        if not sample.nics:
            return [(seg(" this host shows no interface", DIM),)]
        nic = self._nic(sample)
        lines: list[Line] = [_tabs([each.name for each in self.interfaces(sample)], self.chosen, nic, width)]
        if nic is None:
            self.stages.take(())
            self.queues.take(())
            self.in_queues = False
            words = f" {self.chosen} is not here in this sample: it went, or has another name; tab goes to the next"
            return [*lines, (seg(fit(words, width), BAD),), *self._last(sample, width, _TALL)]
        window = self._window(sample)
        stages = self._told(sample, nic, window)
        tall = height >= _TALL
        if not self.zoomed:
            lines += self._rates(nic, width)
            lines.append(self._rule(window, width))
            lines += waterfall.box_lines(stages, nic, width, None if self.in_queues else self._stage())
        last = [] if self.zoomed else self._last(sample, width, height)
        return [*lines, *self._tables(sample, nic, stages, width, height - len(lines) - len(last), tall), *last]

    def _rule(self, window: Window, width: int) -> Line:
        words = f"from the wire to the application: lost {window.words}"
        words += f"; filter {self.filter.text}" if self.filter.text else ""
        return rule(words + ("; what moved" if self.changed else ""), width)

    def _tables(self, sample: Sample, nic: NicSample, stages: Stages, width: int, room: int, tall: bool) -> list[Line]:
        """Stages and queues. Queues get what they need where that leaves the stages what they have to tell."""
        self.queues.take(queues.rows(sample, nic, self.model.history, width), self.kept())
        wanted = len(self.queues.rows) or 1
        told = sum(1 for loss in stages.every if loss.visible and (loss.per_s or loss.total))
        need = 1 + wanted + tall
        below = room if self.zoomed and self.in_queues else 0 if self.zoomed else need
        if not self.zoomed:
            below = max(min(need, 4), min(need, room - min(max(told, 1), 3 if not tall else 12) - 1 - tall))
        above = room - below
        drawn: list[Line] = []
        if above > 1:
            drawn += self._stage_lines(stages, width, above, tall)
        elif not self.zoomed:
            drawn += [()] * above
        if not above:
            self.stages.take(self._stage_rows(stages, 1, wide=False), self.kept())
        self._find()
        if below:
            drawn += self._queue_lines(nic, width, below, tall and not self.zoomed)
        return drawn

    def _stage_lines(self, stages: Stages, width: int, height: int, titled: bool) -> list[Line]:
        room = height - titled - 1
        self.stages.take(self._stage_rows(stages, room, width >= 130), self.kept())
        self._find()
        columns = waterfall.columns(stages.window, width)
        lines = self.stages.lines(columns, width, height + (not titled), active=not self.in_queues)
        lines = lines[0 if titled else 1 :]
        if not self.stages.rows:
            words = "no stage matches" if self.filter.text else f"nothing moved {stages.window.words}"
            lines.append((seg(fit(f" {words}", width), DIM),))
        unseen = waterfall.unseen_words(stages, self.stages.shown)
        if len(self.stages.shown) < len(self.stages.rows):
            first = self.stages.rows.index(self.stages.shown[0]) + 1 if self.stages.shown else 0
            words = f" {first}-{first + len(self.stages.shown) - 1} of {len(self.stages.rows)}"
            lines[-1] = (seg(fit(f"{words}  {unseen}" if unseen else words, width), DIM),)
        elif unseen and len(lines) < height and not self.changed:
            lines.append((seg(fit(f" {unseen}", width), DIM),))
        return [*lines, *[()] * (height - len(lines))][:height]

    def _queue_lines(self, nic: NicSample, width: int, height: int, titled: bool) -> list[Line]:
        lines: list[Line] = [rule(f"receive queues of {nic.name}", width)] if titled else []
        if not nic.queues:
            words = " its queues have no interrupts of their own here"
            lines.append((seg(fit(words, width), DIM),))
        else:
            counted = queues.counted(nic)
            lines += self.queues.lines(queues.columns(counted, width), width, height - len(lines), active=self.in_queues)
            if not self.queues.rows:
                lines.append((seg(" no queue matches", DIM),))
        return [*lines, *[()] * (height - len(lines))][:height]

    def _rates(self, nic: NicSample, width: int) -> list[Line]:
        history, room = self.model.history, width - _LABEL - 1
        received, dropped = (history.values(kind, nic.name, room) for kind in ("rx", "drops"))
        rx = f" rx {short(nic.rx_packets_per_s):>6}/s {_bits(nic.rx_bytes_per_s)}"
        drops = f" drops {short(nic.drops_per_s)}/s  tx {short(nic.tx_packets_per_s)}/s"
        return [
            (seg(fit(rx, _LABEL)), seg(spark(received, room), "cool2")),
            (seg(fit(drops, _LABEL), BAD if nic.drops_per_s else ""), seg(spark(dropped, room), BAD if any(dropped) else DIM)),
        ]

    def _last(self, sample: Sample, width: int, height: int) -> list[Line]:
        """The newest loss: when, where, how much, and what would end it."""
        history = self.model.history
        elsewhere = {nic.name for nic in sample.nics} - {self.chosen}
        found = history.nics.last(elsewhere, history.hidden)
        if found is None:
            began = history.nics.began_s()
            words = f" nothing lost since {clock(began if began is not None else sample.time_s)}, as far as samples go back"
            quiet = (seg(fit(words, width), DIM),)
            return [rule("last loss", width), quiet] if height >= _TALL else [quiet]
        row = found.row
        place = "" if row.where == HOST else f" {row.where}"
        what = f"! {clock(found.time_s)} {row.stage} {row.name}{place}: {found.count} in {found.interval_s:.1f} s"
        if self._fix is None or self._fix[0] is not row:
            known = remedy(sample, Pointed("loss", waterfall.row_key(row), record=row))
            self._fix = row, f"   f {known.title}" if known is not None else ""
        fix = self._fix[1]
        if height < _TALL:
            return [cut((seg(f" {what}", BAD), seg(fix)), width)]
        more = f"   {row.counter}{': ' + row.note if row.note else ''}{fix}"
        return [rule("last loss", width), cut((seg(f" {what}", BAD), seg(more)), width)]

    # the cursor

    def _stage(self) -> int | None:
        return waterfall.selected_stage(self.stages.selected)

    def _find(self) -> None:
        """Puts the cursor on what another screen named."""
        if self._aim is None:
            return
        kind, key = self._aim
        if kind == "queue":
            self.in_queues = True
            found = self.queues.select(key)
        else:
            self.in_queues = False
            found = self.stages.select(waterfall.with_stage(self.stages.rows, key))
        (self.queues if kind == "queue" else self.stages).move(0)
        if found:
            self._aim = None

    def tables(self) -> Sequence[LiveTable]:
        """See Pane."""
        return (self.queues, self.stages) if self.in_queues else (self.stages, self.queues)

    def move(self, rows: int, columns: int) -> None:
        """See Pane: up and down through the stages and on into the queues, left and right to other interfaces."""
        self._aim = None
        if columns:
            self._step(columns)
        above, below = len(self.stages.rows), len(self.queues.rows)
        if not rows or not above + below:
            return
        place = (above + self.queues.cursor if self.in_queues else self.stages.cursor) + rows
        place = max(0, min(place, above + below - 1))
        self.in_queues = place >= above
        table = self.queues if self.in_queues else self.stages
        table.move(place - (above if self.in_queues else 0) - table.cursor)

    def _step(self, interfaces: int) -> None:
        sample = self.model.sample
        names = [nic.name for nic in self.interfaces(sample)] if sample is not None else []
        if names:
            at = names.index(self.chosen) if self.chosen in names else -1 if interfaces > 0 else 0
            self.chosen = names[(at + interfaces) % len(names)]

    def focus(self, kind: str, key: str) -> None:
        """See Pane: an interface, a queue as ``eth2/3``, or a loss as ``stage/where/counter``."""
        self.filter, self.changed = everything(), False
        sample = self.model.sample
        names = {nic.name for nic in sample.nics} if sample is not None else set()
        if kind == "nic":
            self.chosen = key
        elif kind == "queue":
            self.chosen, self._aim = key.rpartition("/")[0], (kind, key)
        elif kind == "loss":
            where = key.partition("/")[2].partition("/")[0]
            self.chosen, self._aim = (where if where in names else self.chosen), (kind, key)

    def pointed(self) -> Pointed:
        """See Pane."""
        row = (self.queues if self.in_queues else self.stages).selected
        command = f"ethtool -S {shlex.quote(self.chosen)}"
        if row is None:
            return Pointed("nic", self.chosen, self.chosen, command) if self.chosen else Pointed()
        if self.in_queues:
            irq, cpus = row.values["irq"], cpus_of(str(row.values["core"]))
            goes_to: tuple[Screen, str, str] | None = ("irqs", "irq", str(irq)) if irq is not None else None
            if goes_to is None and cpus:
                goes_to = ("core", "core", str(min(cpus)))
            words = f"{self.chosen} {row.cells[0]}: irq {irq} on core {row.values['core']}"
            return Pointed("queue", row.key, words, command, goes_to)
        return self._pointed_loss(row)

    def _pointed_loss(self, row: Row) -> Pointed:
        stage, where = row.values["stage"], str(row.values["where"])
        goes_to: tuple[Screen, str, str] | None = None
        if where.startswith("CPU ") and where[4:].isdigit():
            goes_to = ("core", "core", where[4:])
        elif stage == _FEED and row.values["visible"]:
            goes_to = ("ingest", "feed", where)
        record = None
        if self._stages is not None:
            record = next((loss for loss in self._stages[1].rows if waterfall.row_key(loss) == row.key), None)
        return Pointed(
            "loss", row.key, f"{row.cells[0].strip()}: {row.values['total']} {where}", "quietcore status", goes_to, record
        )

    # keys

    def do_next(self) -> None:
        """The next interface."""
        self.move(0, 1)

    def do_window(self) -> None:
        """Losses of the last second, the last minute, since the mark where there is one, since boot."""
        windows = [each for each in (SECOND, MINUTE, MARK, BOOT) if each != MARK or self.marked is not None]
        self.window = windows[(windows.index(self.window) + 1) % len(windows)]

    def do_changed(self) -> None:
        """Only the stages whose counters moved in the window."""
        self.changed = not self.changed

    def do_mark(self) -> None:
        """Counts from the sample on screen on."""
        sample = self.model.sample
        if sample is not None:
            self.marked, self.window = _Mark(sample.monotonic_ns, sample.time_s, totals_of(sample)), MARK
            self.model.tell(f"losses are counted from {clock(sample.time_s)} on; w shows other windows")

    def listing(self) -> Listing:
        """See Pane: stages, then queues."""
        rows = [{"interface": self.chosen, **row.values} for table in (self.stages, self.queues) for row in table.rows]
        return Listing(self.name, rows)


def clock(time_s: float) -> str:
    """A wall-clock time; dashes for one that is none."""
    try:
        return dt.datetime.fromtimestamp(time_s).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "--:--:--"


def _tabs(names: Sequence[str], chosen: str, nic: NicSample | None, width: int) -> Line:
    """The interfaces, and what the chosen one is. Where they do not fit, the chosen one and how many there are."""
    facts = _facts(nic) if nic is not None else ""
    shown = list(names) if chosen in names else [*names, chosen]
    parts = [seg(f" [{name}]" if name == chosen else f" {name}", HEAD if name == chosen else DIM) for name in shown]
    if sum(part.cell_length for part in parts) + len(facts) > width and len(shown) > 1:
        at = f"{names.index(chosen) + 1} of {len(names)}" if chosen in names else f"and {len(names)} more"
        parts = [seg(f" [{chosen}]", HEAD), seg(f" {at}", DIM)]
    return cut((*parts, seg(facts, BAD if nic is not None and not nic.up else "")), width)


def _facts(nic: NicSample) -> str:
    speed = f"{nic.speed_mbps / 1000:g}G" if nic.speed_mbps else "speed unknown"
    node = f"node {nic.node}" if nic.node >= 0 else "node unknown"
    ring = f"rx ring {nic.rx_ring}/{nic.rx_ring_max}" if nic.rx_ring else "rx ring not shown"
    return f"   {nic.driver or 'no driver'}  {'up' if nic.up else 'DOWN'}  {speed}  {node}  {ring}  {len(nic.queues)} queues"


def _bits(bytes_per_s: float) -> str:
    bits = bytes_per_s * 8
    return f"{bits / 1e9:.2f} Gb/s" if bits >= 1e9 else f"{bits / 1e6:.1f} Mb/s"
