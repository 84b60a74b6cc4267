"""IRQs: every interrupt, where it lands, where it may, and whether it should."""

import re
import shlex
from collections.abc import Sequence

from ingest.judgement import RESERVED
from ingest.sample import CoreSample, IrqSample, Sample
from tuner.host.cpulist import CpuSet
from ui.app.flow.remedies import remedy
from ui.app.screens.pane import Pane
from ui.app.state import interrupts
from ui.app.state.interrupts import BREAK, INFO, MANAGED, TICKS, UNSEEN, WIDE, Verdict
from ui.app.state.model import Listing, Model, Pointed
from ui.app.widgets.core_columns import CoreLines, Matrix, reserved_of
from ui.app.widgets.lines import Line, beside, cut, fit, rule, seg
from ui.app.widgets.ramp import short
from ui.app.widgets.table import Column, LiveTable, Row, Value
from ui.app.widgets.tones import BAD, DIM, HEAD, WARN
from ui.filter import everything, parse
from ui.keys import Screen

WIDE_AT = 130  # columns from which the matrix stands beside the table
_TABLE = 63  # columns that the table needs beside it
_WITH_REMEDY = 76
ORDERS = (
    ("breaks", "first", True),
    ("rate", "rate", True),
    ("irq", "irq", False),
    ("name", "name", False),
    ("policy", "severity", True),
)
_TONES = {WIDE: {6: WARN, 7: WARN}, MANAGED: {6: DIM, 7: DIM}, UNSEEN: {6: DIM, 7: DIM}}
_OWN = "the CPUs' own"
_FIRST = 1e12  # more than any rate: what breaks a policy stands above what is busy
_Kept = tuple[IrqSample, Verdict, Row]


class IrqsPane(Pane):
    """A table of all rows of /proc/interrupts, the cores that the selected one lands on, and softirqs by role."""

    name: Screen = "irqs"
    filter_keys = (
        "irq", "name", "device", "queue", "rate", "core", "effective", "allowed", "policy", "severity", "stray", "managed",
        "total",
    )  # fmt: skip

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.table = LiveTable(ORDERS)
        self.breaks = self.grouped = False
        self._of: Sample | None = None
        self._shape: tuple[tuple[int, int, str], ...] = ()
        self._reserved: CpuSet = frozenset()
        self._lines_of_cores: CoreLines | None = None
        self._matrix: tuple[int, Matrix] | None = None
        self._kept: dict[str, _Kept] = {}
        self._remedies: dict[tuple[str, str, str, str], str] = {}
        self._pairs: dict[str, tuple[Line, Line, Line]] = {}
        self._aim = ""

    # rows

    def _take(self, sample: Sample) -> None:
        """The rows of a sample; an interrupt that stood still keeps its row."""
        if sample is not self._of:
            self._of = sample
            shape = tuple([(core.cpu, core.node, core.role) for core in sample.cores])
            if shape != self._shape:
                self._shape, self._reserved = shape, reserved_of(sample.cores)
                self._lines_of_cores, self._matrix = None, None
                self._kept, self._remedies, self._pairs = {}, {}, {}
            kept = self._kept
            self._kept = {irq.irq: self._judged(sample, irq, kept.get(irq.irq)) for irq in sample.irqs}
        rows = [each[2] for each in self._kept.values()]
        if self.breaks:
            rows = [row for row in rows if row.values["policy"] == BREAK]
        aim = self._aim or self.table.cursor_key
        self.table.take(rows, self.kept())
        if self.grouped:
            self.table.rows = _by_device(self.table.rows)
        if self.table.select(aim):
            self._aim = ""
        self.table.move(0)

    def _judged(self, sample: Sample, irq: IrqSample, kept: _Kept | None) -> _Kept:
        if kept is not None:
            was = kept[0]
            if was is irq:
                return kept
            same = was.total == irq.total and was.per_s == irq.per_s and was.effective == irq.effective
            if same and was.requested == irq.requested and was.name == irq.name and was.per_cpu_per_s == irq.per_cpu_per_s:
                return kept
        found = interrupts.verdict(irq, self._reserved)
        return (irq, found, self._row(sample, irq, found))

    def _row(self, sample: Sample, irq: IrqSample, found: Verdict) -> Row:
        numbered = irq.irq.isascii() and irq.irq.isdigit()
        core = interrupts.runs_on(irq)
        shown = irq.effective if numbered else "all" if len(irq.per_cpu_per_s) == len(self._shape) else core
        note = self._note(sample, irq, found)
        values: dict[str, Value] = {
            "irq": int(irq.irq) if numbered else irq.irq, "name": irq.name, "device": irq.device, "queue": irq.queue,
            "rate": irq.per_s, "core": core, "effective": irq.effective, "allowed": irq.requested, "policy": found.policy,
            "severity": found.severity, "stray": found.stray_per_s, "managed": irq.managed, "total": irq.total,
            "why": found.why,
            "first": irq.per_s + (_FIRST if found.policy == BREAK else 0.0),
        }  # fmt: skip
        queue = "" if irq.queue is None else str(irq.queue)
        cells = (irq.irq, irq.name, queue, short(irq.per_s), shown, irq.requested, found.policy, note)
        tone = BAD if found.policy == BREAK else DIM if found.policy == INFO or not irq.total else ""
        return Row(irq.irq, cells, tone, values, _TONES.get(found.policy, {}))

    def _note(self, sample: Sample, irq: IrqSample, found: Verdict) -> str:
        """The remedy, where there is one; of the tick, where it runs."""
        if irq.irq in TICKS and self._reserved:
            landed = sum(1 for cpu, _ in irq.per_cpu_per_s if cpu in self._reserved)
            return f"{landed} isolated"
        if found.policy not in (BREAK, WIDE):
            return ""
        key = (irq.irq, found.policy, irq.effective, irq.requested)
        title = self._remedies.get(key)
        if title is None:
            known = remedy(sample, Pointed("irq", irq.irq, record=irq))
            title = self._remedies[key] = f"f {known.title}" if known is not None else ""
        return title

    # drawing

    def draw(self, width: int, height: int) -> list[Line]:
        """See Pane."""
        sample = self.model.sample
        if sample is None:
            return []
        self._take(sample)
        below: list[Line] = []
        if not self.zoomed:
            below = [*self._selected(sample, width, max(2, height // 5)), *_softirqs(sample.cores, width, height)]
        room = height - 1 - len(below)
        return [self._head(width), *self._tables(sample, width, room), *below]

    def _head(self, width: int) -> Line:
        found = [verdict for _, verdict, _ in self._kept.values()]
        breaks, wide = (sum(1 for each in found if each.policy == word) for word in (BREAK, WIDE))
        stray = sum(each.stray_per_s for each in found)
        shown = sum(1 for row in self.table.rows if "irq" in row.values)
        count = f"{shown} of {len(found)}" if shown != len(found) else str(len(found))
        gap = "   " if width >= 100 else "  "
        left = [
            seg(f" IRQs {count}{gap}", HEAD),
            seg(f"{breaks} break policy" if width >= 100 else f"{breaks} break", BAD if breaks else ""),
            seg(f"{gap}{wide} wide" if wide else "", WARN),
            seg(f"{gap}filter {self.filter.text or '-'}", "" if self.filter.text else DIM),
            seg(f"{gap}sort {self.table.order_name}{' by device' if self.grouped else ''}"),
        ]
        right = f"  stray on isolated cores: {short(stray)}/s " if self._reserved else "  no core is isolated here "
        right = right if width >= 100 else right.replace(" cores", "")
        return (*cut(left, max(0, width - len(right))), seg(right, BAD if stray else DIM))

    def _tables(self, sample: Sample, width: int, height: int) -> list[Line]:
        empty: list[Line] = []
        if not self.table.rows:
            words = " no interrupt breaks a core's policy" if self.breaks and not self.filter.text else " none matches"
            empty = [(seg(words if self._kept else " the host shows no interrupts", DIM),)]
        if width < WIDE_AT:
            lines = self.table.lines(_columns(width), width, height) + empty
            return [*lines, *[()] * (height - len(lines))][:height]
        matrix_room = len(sample.cores) + len({node for _, node, _ in self._shape}) + 1
        left = max(_TABLE, min(110, width - 2 - matrix_room))
        if self._matrix is None or self._matrix[0] != width - left - 2:
            self._matrix = width - left - 2, Matrix(sample.cores, self._reserved, width - left - 2)
            self._pairs = {}
        lines = self.table.lines(_columns(left), left, height) + empty
        return self._beside_matrix(lines, self._matrix[1], left, width, height)

    def _beside_matrix(self, lines: Sequence[Line], matrix: Matrix, left: int, width: int, height: int) -> list[Line]:
        """The table, and beside each of its rows where that interrupt lands."""
        each = f"{matrix.each} cores a glyph, " if matrix.each > 1 else ""
        title = f"irq x core, {each}log"
        spare = width - left - 2 - matrix.width
        title = f"  {title}" if spare > len(title) + 1 else ""
        right: list[Line] = [(seg(f" {matrix.head}{title}", DIM),)]
        for row in self.table.shown:
            known = self._kept.get(row.key)
            rates = known[0].per_cpu_per_s if known is not None else ()
            right.append(matrix.line(row.key, rates, row.key in TICKS) if known is not None else ())
        bar, found = seg("│", DIM), beside(lines[:1], right[:1], left, 1)
        for row, one, other in zip(self.table.shown, lines[1:], right[1:], strict=False):
            pair = self._pairs.get(row.key)
            if pair is None or pair[0] is not one or pair[1] is not other:
                pair = self._pairs[row.key] = (one, other, (*one, bar, seg(" "), *other))
            found.append(pair[2])
        rest = lines[1 + len(self.table.shown) :]
        return [*found, *beside(rest, (), left, height - len(found))][:height]

    def _selected(self, sample: Sample, width: int, room: int) -> list[Line]:
        """Where the selected interrupt lands, 64 cores a line."""
        if self._lines_of_cores is None:
            self._lines_of_cores = CoreLines(sample.cores, self._reserved)
        row = self.table.selected
        known = self._kept.get(row.key) if row is not None else None
        if known is None:
            title = "rate per core of the selected interrupt"
            return [rule(title, width), *self._lines_of_cores.lines((), room)]
        irq, found, _ = known
        title = f"irq {irq.irq} {irq.name}: {short(irq.per_s)}/s" + (f", {found.why}" if found.why else "")
        lines = self._lines_of_cores.lines(irq.per_cpu_per_s, room, irq.irq in TICKS)
        return [rule(title, width, BAD if found.policy == BREAK else DIM), *lines]

    # the cursor

    def tables(self) -> Sequence[LiveTable]:
        """See Pane."""
        return (self.table,)

    def pointed(self) -> Pointed:
        """See Pane."""
        row = self.table.selected
        if row is None:
            return Pointed()
        known = self._kept.get(row.key)
        if known is None:
            device = str(row.values.get("device", ""))
            nics = {nic.name for nic in self._of.nics} if self._of is not None else set()
            if device not in nics:
                return Pointed(words=row.cells[1])
            command = f"grep -F {shlex.quote(device)} /proc/interrupts"
            return Pointed("nic", device, row.cells[1], command, ("nic", "nic", device))
        irq, found, _ = known
        cpu = interrupts.main_cpu(irq, found)
        words = f"irq {irq.irq} {irq.name}: {irq.per_s:.0f}/s, {found.why or found.policy}"
        command = f"grep -E {shlex.quote(f'^ *{re.escape(irq.irq)}:')} /proc/interrupts"
        goes_to: tuple[Screen, str, str] | None = ("core", "core", str(cpu)) if cpu is not None else None
        return Pointed("irq", irq.irq, words, command, goes_to, irq)

    def focus(self, kind: str, key: str) -> None:
        """See Pane: an interrupt by its label, or a core, by the interrupts that it has."""
        self.breaks = False
        if kind == "core":
            self.filter = parse(f"core:{key}") if key.isascii() and key.isdigit() else everything()
            return
        self.filter = everything()
        self._aim = key
        self.table.select(key)

    def move(self, rows: int, columns: int) -> None:
        """See Pane."""
        self._aim = ""
        super().move(rows, columns)

    # keys

    def do_breaks(self) -> None:
        """All interrupts, or those that break a core's policy."""
        self.breaks = not self.breaks

    def do_group(self) -> None:
        """Interrupts by device, or not."""
        self.grouped = not self.grouped

    def listing(self) -> Listing:
        """See Pane."""
        return Listing(self.name, [dict(row.values) for row in self.table.rows if "irq" in row.values])


def _columns(width: int) -> tuple[Column, ...]:
    columns = (
        Column("irq", 5, True, "irq"), Column("source", 0, key="name"), Column("q", 3, True, "queue"),
        Column("rate/s", 6, True, "rate"), Column("effective", 9, key="effective"), Column("allowed", 11, key="allowed"),
        Column("policy", 7, key="severity"),
    )  # fmt: skip
    return (*columns, Column("remedy", 18 if width >= 90 else 14)) if width >= _WITH_REMEDY else columns


def _by_device(rows: Sequence[Row]) -> list[Row]:
    """Rows in their order, those of a device together behind a row for all of them."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        numbered = isinstance(row.values["irq"], int)
        device = str(row.values["device"] or ("no device known" if numbered else _OWN))
        groups.setdefault(device, []).append(row)
    found: list[Row] = []
    for device, members in groups.items():
        rate = sum(float(row.values["rate"] or 0.0) for row in members)
        breaks = sum(row.values["policy"] == BREAK for row in members)
        many = f"{len(members)} irq{'s' if len(members) > 1 else ''}"
        cells = ("", device, "", short(rate), many, "", f"{breaks} BREAK" if breaks else "", "")
        found.append(Row(f"device {device}", cells, f"{BAD} {HEAD}" if breaks else HEAD, {"device": device, "rate": rate}))
        found += members
    return found


def _softirqs(cores: Sequence[CoreSample], width: int, height: int) -> list[Line]:
    """Softirqs by role: housekeeping cores should carry them, isolated ones should have none."""
    groups: dict[str, list[CoreSample]] = {}
    for core in cores:
        groups.setdefault("isolated" if core.role in RESERVED and height < 30 else core.role, []).append(core)
    order = sorted(groups, key=lambda role: (role not in RESERVED, role))
    room = 2 if height < 30 else 6
    if len(order) > room:
        groups["others"] = [core for role in order[room - 1 :] for core in groups[role]]
        order = [*order[: room - 1], "others"]
    lines = [rule("softirqs per second, by role", width)]
    for role in order:
        group = groups[role]
        total, received = sum([core.softirqs_per_s for core in group]), sum([core.net_rx_per_s for core in group])
        busiest = max(group, key=lambda core: core.softirqs_per_s)
        text = f" {fit(role, 13)}{len(group):>4} cores  all {short(total):>6}  NET_RX {short(received):>6}"
        text += f"  most on {busiest.cpu}: {short(busiest.softirqs_per_s)}" if busiest.softirqs_per_s else ""
        stray = role in RESERVED and received >= 1.0
        lines.append((seg(fit(text, width), BAD if stray else DIM if not total else ""),))
    return lines
