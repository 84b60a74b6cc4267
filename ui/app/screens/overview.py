"""Overview: every core at once, the worst of them, and where packets are lost."""

from collections.abc import Sequence
from dataclasses import replace

from rich.segment import Segment

from ingest.sample import CoreSample, LossSample, Sample
from ingest.stages import DETAIL, LOSS, folded, worst_first
from ui.app.model import Model
from ui.app.policy import METRICS, QUIET, ROLE_LETTER, Metric, style_of, weight, why
from ui.app.screens.pane import Pane
from ui.app.widgets.columns import DIM, Column, Row, beside, fit, rule, window
from ui.app.widgets.lines import Line, seg
from ui.app.widgets.ramp import glyphs, level, short, spark
from ui.app.widgets.tones import BAD
from ui.keys import Screen

SORTS = ("worst first", "by core", "by interruptions")
_FEED = 26  # the stage of what a feed misses
_LABEL = 11  # "intr/s n0  "


class Overview(Pane):
    """Draws the overview; ``metric``, ``numbers``, ``sort`` and ``cursor`` are what keys change."""

    name: Screen = "overview"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.metric = 0
        self.numbers = False
        self.sort = 0
        self.cursor = 0

    def draw(self, width: int, height: int) -> list[Line]:
        """The whole pane."""
        sample = self.model.sample
        if sample is None:
            return [[seg("waiting for the first sample", DIM)]]
        lines = self._maps(sample, width, height)
        loss = _loss_lines(self.model, sample, width)
        events = self._events(width, 5 if height >= 40 else 2)
        room = height - len(lines) - len(loss) - len(events) - 1
        lines.append(rule(f"cores, {SORTS[self.sort]}", width))
        lines += self._worst(sample, width, max(2, room))
        return [*lines, *loss, *events]

    def move(self, rows: int, columns: int) -> None:
        """See Pane."""
        del columns
        self.cursor = max(0, self.cursor + rows)

    def do_metric(self) -> None:
        """The next figure in the map."""
        self.metric = (self.metric + 1) % len(METRICS)

    def do_numbers(self) -> None:
        """Numbers instead of glyphs, and back."""
        self.numbers = not self.numbers

    def do_sort(self) -> None:
        """The next order of the cores."""
        self.sort, self.cursor = (self.sort + 1) % len(SORTS), 0

    def _maps(self, sample: Sample, width: int, height: int) -> list[Line]:
        chosen = METRICS[self.metric]
        if self.numbers:
            return _number_map(sample, chosen, width, max(3, height // 3))
        nodes = _by_node(sample.cores)
        panel = _LABEL + min(max(len(cores) for cores in nodes.values()), max(8, width - _LABEL - 7)) + 7
        across = max(1, width // (panel + 1))
        rows_each = sum(len(_chunks(cores, panel)) for cores in nodes.values())
        down = max(1, (max(rows_each, height * 2 // 5) - rows_each) // (rows_each + (across > 1)))
        metrics = ([chosen] + [m for m in METRICS if m is not chosen])[: across * down]
        lines: list[Line] = []
        for start in range(0, len(metrics), across):
            block: list[Line] = []
            for metric in metrics[start : start + across]:
                rows = [_scale(nodes, panel), *_glyph_rows(nodes, metric, panel)] if across > 1 or not start else []
                rows = rows or _glyph_rows(nodes, metric, panel)
                block = beside(block, rows, _width_of(block), len(rows)) if block else rows
            lines += block
        return lines + _role_rows(nodes, panel)

    def _worst(self, sample: Sample, width: int, height: int) -> list[Line]:
        keys = (lambda c: -weight(c), lambda c: c.cpu, lambda c: -c.interruptions_per_s)
        cores = sorted(sample.cores, key=keys[self.sort])
        self.cursor = max(0, min(self.cursor, len(cores) - 1))
        wide = width >= 130
        columns = [
            Column("cpu", 4, True), Column("node", 4, True), Column("role", 12), Column("intr/s", 8, True),
            Column("dev/s", 7, True),
            Column("ipi/s", 6, True), Column("tick/s", 6, True), Column("drops", 6, True),
            Column("why", width // 2 - 60 if wide else max(8, width - 61)),
        ]  # fmt: skip
        if wide:
            columns.append(Column("interruptions/s, newest on the right", width - sum(c.width + 1 for c in columns)))
        rows = [self._row(core, columns, wide) for core in cores]
        return window(columns, rows, height, self.cursor)

    def _row(self, core: CoreSample, columns: Sequence[Column], wide: bool) -> Row:
        bad = weight(core) >= 2e9
        cells = [
            str(core.cpu), str(core.node), core.role, short(core.interruptions_per_s), short(core.device_per_s),
            short(core.ipi_per_s), short(core.timer_per_s), short(core.backlog_drops_per_s), why(core),
        ]  # fmt: skip
        if wide:
            cells.append(
                spark(
                    self.model.history.core_values(core.cpu, METRICS[0].name, columns[-1].width),
                    columns[-1].width,
                    METRICS[0].top,
                )
            )
        return Row(cells, BAD if bad else "")

    def _events(self, width: int, count: int) -> list[Line]:
        lines: list[Line] = [rule("events", width)]
        for _, event in list(self.model.events)[:count]:
            colour = {"crit": BAD, "warn": "warn"}.get(event.level, "")
            lines.append([seg(f" {event.level:<4} {event.where:<16} {event.what}", colour)])
        if not self.model.events:
            lines.append([seg(" none since the start", DIM)])
        return lines


def _by_node(cores: Sequence[CoreSample]) -> dict[int, list[CoreSample]]:
    nodes: dict[int, list[CoreSample]] = {}
    for core in cores:
        nodes.setdefault(core.node, []).append(core)
    # first threads, then their siblings: a core's threads stand one above the other in the numbering of most machines
    return {
        node: sorted(found, key=lambda c: (c.cpu != min(c.siblings, default=c.cpu), c.cpu)) for node, found in nodes.items()
    }


def _chunks(cores: list[CoreSample], width: int) -> list[list[CoreSample]]:
    room = max(8, width - _LABEL - 7)
    return [cores[i : i + room] for i in range(0, len(cores), room)]


def _width_of(block: list[Line]) -> int:
    return max((sum(len(segment.text) for segment in line) for line in block), default=0)


def _scale(nodes: dict[int, list[CoreSample]], width: int) -> Line:
    room = min(max(8, width - _LABEL - 7), max((len(c) for c in nodes.values()), default=8))
    marks = "".join(f"{place:<8}" for place in range(0, room, 8))[:room]
    return [seg(" " * _LABEL + marks, DIM), seg("max".rjust(max(0, width - _LABEL - len(marks))), DIM)]


def _glyph_rows(nodes: dict[int, list[CoreSample]], metric: Metric, width: int) -> list[Line]:
    ramp = glyphs()
    lines: list[Line] = []
    first = True
    for node, cores in nodes.items():
        for part in _chunks(cores, width):
            label = f"{metric.name:<7}" if first else " " * 7
            cells: list[Segment] = [seg(fit(f"{label}n{node}", _LABEL))]
            for core in part:
                height = level(metric.value(core), metric.top)
                cells.append(seg(ramp[height], style_of(core, metric, height)))
            highest = short(max(metric.value(core) for core in part))
            lines.append([*cells, seg(highest.rjust(width - _LABEL - len(part)), DIM)])
            first = False
    return lines


def _role_rows(nodes: dict[int, list[CoreSample]], width: int) -> list[Line]:
    lines: list[Line] = []
    for place, (node, cores) in enumerate(nodes.items()):
        for part in _chunks(cores, width):
            cells = [seg(ROLE_LETTER.get(core.role, "?"), QUIET if core.role == "general" else "good") for core in part]
            lines.append([seg(fit(f"{'role' if not place else '':<7}n{node}", _LABEL)), *cells])
    return lines


def _number_map(sample: Sample, metric: Metric, width: int, height: int) -> list[Line]:
    each = 6
    per_row = max(4, min(32, (width - 5) // each))
    cores = sorted(sample.cores, key=lambda c: c.cpu)
    title = f"{metric.title}, {per_row} CPUs a row"
    lines: list[Line] = [rule(title, width)]
    for start in range(0, len(cores), per_row):
        if len(lines) >= height:
            lines.append([seg(f" and {len(cores) - start} more CPUs", DIM)])
            break
        part = cores[start : start + per_row]
        cells = [seg(f"{part[0].cpu:>4} ", DIM)]
        for core in part:
            value = metric.value(core)
            cells.append(seg(short(value).rjust(each), style_of(core, metric, level(value, metric.top))))
        lines.append(cells)
    return lines


def _loss_lines(model: Model, sample: Sample, width: int) -> list[Line]:
    """One line for each physical interface, and one for the host's own stages. Delays and warnings are on the NIC pane."""
    lines: list[Line] = [rule("loss, per second (since boot)", width)]
    drawn = min(60, width // 3) if width >= 130 else 0
    lost = [loss for loss in worst_first(sample.losses) if loss.kind == LOSS]
    nics = [nic for nic in sample.nics if nic.physical]
    for nic in nics[:5]:
        head = f" {fit(nic.name, 15)} rx {short(nic.rx_packets_per_s):>6}/s  "
        mine = [loss for loss in lost if loss.where == nic.name]
        lines.append(_loss_line(head, mine, width, model.history.values("drops", nic.name, drawn) if drawn else [], drawn))
    names = {nic.name for nic in nics}
    host = folded((loss for loss in lost if loss.where not in names), alike=1)
    lines.append(_loss_line(f" {'host':<15} ", host, width, [], 0))
    if sample.feeds:
        missing = [loss for loss in sample.losses if loss.stage == _FEED and loss.kind == DETAIL and loss.total]
        named = [replace(loss, name=loss.where) for loss in missing]
        lines.append(_loss_line(f" {'feeds':<15} ", named, width, [], 0))
    return lines


def _loss_line(head: str, lost: Sequence[LossSample], width: int, history: Sequence[float], drawn: int) -> Line:
    text = ", ".join(f"{loss.name} {short(loss.per_s)} ({loss.total})" for loss in lost) or "nothing lost"
    colour = BAD if any(loss.per_s for loss in lost) else "" if lost else DIM
    left = fit(head + text, width - drawn - 1)
    return [seg(left, colour), seg(" " + spark(history, drawn), BAD if any(history) else DIM)] if drawn else [seg(left, colour)]
