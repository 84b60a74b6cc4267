"""Who interrupts a core: every row of /proc/interrupts that moved there, ever or now, or that has the core as its target."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from shlex import quote

from ingest.sample import CoreSample, IrqSample, Sample
from tuner.host.cpulist import CpuListError, parse_list
from ui.app.flow.remedies import remedy
from ui.app.state.history import History
from ui.app.state.model import Pointed
from ui.app.state.policy import RESERVED, verdict
from ui.app.widgets.lines import Line
from ui.app.widgets.ramp import short
from ui.app.widgets.table import Column, LiveTable, Row
from ui.app.widgets.tones import BAD, WARN

_RANK = {BAD: 0, WARN: 1}
_REMEDIED = ("BREAK", "rare", "may")


@dataclass(frozen=True, slots=True)
class Origin:
    """One row of /proc/interrupts as this core sees it. ``share`` is of all interruptions of the core now, 0 to 1."""

    irq: IrqSample
    per_s: float
    total: int
    share: float
    word: str
    tone: str


@lru_cache(maxsize=4096)
def _targets(text: str) -> frozenset[int]:
    try:
        return frozenset(parse_list(text)) if text else frozenset()
    except CpuListError:
        return frozenset()


def origins_of(sample: Sample, core: CoreSample) -> list[Origin]:
    """Who interrupts a core, what is against its policy first, then the busiest."""
    cpu, reserved, found = core.cpu, core.role in RESERVED, []
    for irq in sample.irqs:
        total = dict(irq.per_cpu).get(cpu, 0) if irq.per_cpu else 0
        per_s = dict(irq.per_cpu_per_s).get(cpu, 0.0) if irq.per_cpu_per_s else 0.0
        if not total and not per_s and not (reserved and cpu in _targets(irq.effective)):
            continue
        word, tone = verdict(core.role, irq.irq, per_s, total)
        share = per_s / core.interruptions_per_s if core.interruptions_per_s > 0 else 0.0
        found.append(Origin(irq, per_s, total, min(1.0, share), word, tone))
    found.sort(key=lambda each: (_RANK.get(each.tone, 2), not each.total and not each.per_s, -each.per_s, -each.total))
    return found


def _whole(total: int) -> str:
    told = f"{total:,}"
    return told if len(told) <= 10 else short(total)


def point_at(origin: Origin, cpu: int) -> Pointed:
    """A row of /proc/interrupts, as what the cursor is on."""
    irq = origin.irq
    words = f"irq {irq.irq} {irq.name} on core {cpu}: {short(origin.per_s)}/s, {origin.total:,} since boot, {origin.word}"
    command = f"quietcore watch --json --count 1 | jq {quote(f'.irqs[] | select(.irq == {json.dumps(irq.irq)})')}"
    return Pointed("irq", irq.irq, words, command, ("irqs", "irq", irq.irq), irq)


class Sources:
    """The panel."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.table = LiveTable()
        self.cpu = -1
        self._sample: Sample | None = None
        self._origins: dict[str, Origin] = {}
        self._keys: dict[str, Row] = {}
        self._remedies: dict[tuple[object, ...], str] = {}

    def take(self, sample: Sample, core: CoreSample) -> None:
        """What interrupts a core in a sample."""
        if sample is self._sample and core.cpu == self.cpu:
            return
        if core.cpu != self.cpu:
            self.table = LiveTable()
        self._sample, self.cpu = sample, core.cpu
        self._origins = {each.irq.irq: each for each in origins_of(sample, core)}
        self.table.take([self._keys.setdefault(label, Row(label, ())) for label in self._origins])

    @property
    def selected(self) -> Origin | None:
        """What the cursor is on."""
        row = self.table.selected
        return self._origins.get(row.key) if row is not None else None

    def lines(self, width: int, height: int, active: bool) -> list[Line]:
        """Title and rows."""
        against = sum(each.word == "BREAK" for each in self._origins.values())
        title = f"── {len(self._origins)} sources" + (f" {against} BREAK" if against else "")
        columns = [
            Column(title, 0), Column("rate/s", 6, True), Column("share", 5, True), Column("total", 10, True),
            Column("last", 8, True), Column("policy", 6), Column("remedy", 16 if width < 100 else 24 if width < 130 else 34),
        ]  # fmt: skip
        return self.table.lines(columns, width, height, active, self._filled, more=height > 5)

    def _filled(self, row: Row) -> Row:
        origin = self._origins[row.key]
        irq = origin.irq
        seen = self.history.seen_s(irq.irq, self.cpu)
        shown = self._sample.time_s if self._sample is not None else 0.0
        if origin.per_s > 0:
            last = "now"
        else:
            last = time.strftime("%H:%M:%S", time.localtime(seen)) if seen is not None and seen <= shown else "-"
        cells = (
            f" {irq.irq:>4} {irq.name}", short(origin.per_s), f"{100 * origin.share:.0f}%" if origin.per_s else "",
            _whole(origin.total), last, origin.word, self._remedy(origin),
        )  # fmt: skip
        return Row(row.key, cells, origin.tone if origin.tone in _RANK else "", self._values(origin))

    def _values(self, origin: Origin) -> dict[str, str | float | int]:
        irq = origin.irq
        return {
            "core": self.cpu, "irq": irq.irq, "name": irq.name, "device": irq.device, "rate": origin.per_s,
            "total": origin.total, "share": round(origin.share, 4), "policy": origin.word, "effective": irq.effective,
            "requested": irq.requested,
        }  # fmt: skip

    def rows(self) -> Sequence[dict[str, str | float | int]]:
        """All of it, for export."""
        return [self._values(origin) for origin in self._origins.values()]

    def _remedy(self, origin: Origin) -> str:
        if origin.word not in _REMEDIED or self._sample is None:
            return "needs nohz" if origin.word == "tick" else ""
        irq = origin.irq
        key = (irq.irq, self.cpu, irq.requested, irq.effective, self._sample.profile)
        if key not in self._remedies:
            if len(self._remedies) > 500:
                self._remedies.clear()
            found = remedy(self._sample, point_at(origin, self.cpu))
            self._remedies[key] = f"f {found.title}" if found is not None else "managed" if irq.managed else ""
        return self._remedies[key]
