"""NIC: one interface from its wire to the cores that serve its queues."""

from collections.abc import Sequence

from ingest.sample import CoreSample, LossSample, NicSample, QueueSample, Sample
from ingest.stages import LOSS, folded, ranges, worst_first
from ui.app.model import Model
from ui.app.screens.pane import Pane
from ui.app.widgets.columns import DIM, HEAD, Column, Row, rule, window
from ui.app.widgets.lines import Line, seg
from ui.app.widgets.ramp import bar, short, spark
from ui.app.widgets.tones import BAD
from ui.keys import Screen


class NicPane(Pane):
    """Draws one interface; ``chosen`` and ``cursor`` are what keys change."""

    name: Screen = "nic"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.chosen = 0
        self.cursor = 0

    def draw(self, width: int, height: int) -> list[Line]:
        """The whole pane."""
        sample = self.model.sample
        nics = [nic for nic in sample.nics if nic.physical] or list(sample.nics) if sample else []
        if sample is None or not nics:
            return [[seg("no interface yet" if sample is None else "this host shows no interface", DIM)]]
        self.chosen %= len(nics)
        nic = nics[self.chosen]
        lines = [_tabs(nics, self.chosen), *_facts(nic, width)]
        lines += self._rates(nic, width)
        least = 8 if height >= 40 else 5
        spare = height - len(lines) - len(nic.queues) - 4  # titles of the stages and of the queues
        lines += _waterfall(sample, nic, width, max(least, min(spare, 32)))
        lines.append(rule(f"receive queues of {nic.name}", width))
        lines += self._queues(sample, nic, width, max(2, height - len(lines)))
        return lines

    def move(self, rows: int, columns: int) -> None:
        """See Pane."""
        self.cursor = max(0, self.cursor + rows)
        self.chosen += columns

    def do_next(self) -> None:
        """The next interface."""
        self.chosen, self.cursor = self.chosen + 1, 0

    def _rates(self, nic: NicSample, width: int) -> list[Line]:
        history = self.model.history.values("rx", nic.name, width)
        losses = self.model.history.values("drops", nic.name, width)
        room = max(10, width - 12)
        return [
            rule("packets received per second, newest on the right", width),
            [seg(f" rx    {short(max(history, default=0)):>5}"), seg(spark(history, room), "cool2")],
            [seg(f" drops {short(max(losses, default=0)):>5}"), seg(spark(losses, room), BAD if any(losses) else DIM)],
        ]

    def _queues(self, sample: Sample, nic: NicSample, width: int, height: int) -> list[Line]:
        if not nic.queues:
            return [[seg(" its queues have no interrupts of their own here", DIM)]]
        counted = any(queue.packets is not None or queue.drops is not None for queue in nic.queues)
        columns = [
            Column("queue", 6, True), Column("irq", 5, True), Column("cpu", 10, True), Column("role", 12),
            Column("irq/s", 8, True),
            *([Column("packets/s", 9, True), Column("drops/s", 7, True)] if counted else []),
            Column("share", max(8, width - 47 - 18 * counted)),
        ]  # fmt: skip
        roles = {core.cpu: core for core in sample.cores}
        total = sum(queue.interrupts_per_s for queue in nic.queues) or 1.0
        rows = [_queue_row(queue, roles, total, columns[-1].width, counted) for queue in nic.queues]
        self.cursor = max(0, min(self.cursor, len(rows) - 1))
        return window(columns, rows, height, self.cursor)


def _queue_row(queue: QueueSample, cores: dict[int, CoreSample], total: float, room: int, counted: bool) -> Row:
    """``counted``: whether the driver counts packets or drops of any queue; of one where it does not, that is said by ``-``."""
    cpu = int(queue.cpus) if queue.cpus.isdigit() else None
    core = cores.get(cpu) if cpu is not None else None
    share = queue.interrupts_per_s / total
    stray = core is not None and core.role in ("isolated", "app") and queue.interrupts_per_s >= 1
    rates = ["-" if each is None else short(each) for each in (queue.packets_per_s, queue.drops_per_s)] if counted else []
    cells = (
        f"rx{queue.queue}", str(queue.irq), queue.cpus, core.role if core else "-", short(queue.interrupts_per_s), *rates,
        f"{bar(share, max(1, room - 5))} {100 * share:.0f}%",
    )  # fmt: skip
    return Row(cells, BAD if stray or queue.drops_per_s else "")


def _tabs(nics: Sequence[NicSample], chosen: int) -> Line:
    return [
        seg(f" {'[' + nic.name + ']' if i == chosen else nic.name} ", HEAD if i == chosen else DIM)
        for i, nic in enumerate(nics)
    ]


def _facts(nic: NicSample, width: int) -> list[Line]:
    speed = f"{nic.speed_mbps / 1000:g}G" if nic.speed_mbps else "speed unknown"
    node = f"node {nic.node}" if nic.node >= 0 else "node unknown"
    ring = f"rx ring {nic.rx_ring}/{nic.rx_ring_max}" if nic.rx_ring else "rx ring not shown"
    text = f" {nic.driver or 'no driver'}  {'up' if nic.up else 'DOWN'}  {speed}  {node}  {ring}  {len(nic.queues)} queues"
    now = f" rx {short(nic.rx_packets_per_s)}/s {_bits(nic.rx_bytes_per_s)}   tx {short(nic.tx_packets_per_s)}/s "
    now += f"{_bits(nic.tx_bytes_per_s)}   drops {short(nic.drops_per_s)}/s"
    return [[seg(text[:width])], [seg(now[:width])]]


def _bits(bytes_per_s: float) -> str:
    bits = bytes_per_s * 8
    return f"{bits / 1e9:.2f} Gb/s" if bits >= 1e9 else f"{bits / 1e6:.1f} Mb/s"


def _waterfall(sample: Sample, nic: NicSample, width: int, height: int) -> list[Line]:
    """The stages from this interface's wire to the application; where there is little room, the worst of them."""
    others = {other.name for other in sample.nics} - {nic.name}
    mine = [loss for loss in sample.losses if loss.where not in others]
    seen = {loss.stage for loss in mine if loss.visible}
    told = folded(worst_first(mine), alike=2)
    quiet = [loss for loss in mine if loss.visible and not loss.total and not loss.per_s]
    blind = [loss for loss in mine if not loss.visible and loss.stage not in seen]
    every = told + folded(quiet, alike=1) + folded(blind, alike=1)
    room = height if len(every) <= height else height - 1
    shown = sorted(every[:room], key=lambda loss: loss.stage)
    columns = [
        Column("lost at", 34),
        Column("kind", 8),
        Column("/s", 6, True),
        Column("since boot", 11, True),
        Column("counter", max(8, width - 63)),
    ]
    lines = [rule("from the wire to the application", width), *window(columns, [_stage_row(loss) for loss in shown], room + 1)]
    if room < height:
        left_out = {loss.stage for loss in blind} - {loss.stage for loss in shown}
        words = f" not visible here: stages {ranges(sorted(left_out))}" if left_out else " the other stages lost nothing"
        lines.append([seg(words[:width], DIM)])
    return lines


def _stage_row(loss: LossSample) -> Row:
    name = f"{loss.stage:>2} {loss.name}"
    if not loss.visible:
        return Row((name, "unseen", "-", "-", loss.note), DIM)
    style = (BAD if loss.kind == LOSS else "warn") if loss.per_s else "" if loss.total else DIM
    counter = f"{loss.where} {loss.counter}" + (f": {loss.note}" if loss.note else "")
    return Row((name, loss.kind, short(loss.per_s), str(loss.total), counter), style)
