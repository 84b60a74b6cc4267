"""The overview's table of cores, the worst first: who they are for, who interrupts them, and how that went."""

from collections.abc import Callable, Mapping
from operator import attrgetter
from shlex import quote

from ingest.sample import CoreSample, Sample
from ui.app.state.history import History
from ui.app.state.model import Pointed
from ui.app.state.policy import INTR, NAMES, RESERVED, Figures, weight, why
from ui.app.widgets.lines import Line
from ui.app.widgets.ramp import drawn, short
from ui.app.widgets.table import Column, LiveTable, Row, Value
from ui.app.widgets.tones import BAD, COOL, DIM, WARN
from ui.filter import Filter

WIDE = 130
_FIGURES = attrgetter(
    "role", "node", "interruptions_per_s", "device_per_s", "ipi_per_s", "timer_per_s", "backlog_drops_per_s", "squeezes_per_s",
    "top_cause", "busy_percent",
)  # fmt: skip
_ORDERS: tuple[tuple[str, Callable[[CoreSample], float]], ...] = (
    ("worst first", weight),
    ("by core", lambda core: -core.cpu),
    ("by intr/s", attrgetter("interruptions_per_s")),
    ("by dev/s", attrgetter("device_per_s")),
    ("by ipi/s", attrgetter("ipi_per_s")),
    ("by tick/s", attrgetter("timer_per_s")),
    ("by drops", attrgetter("backlog_drops_per_s")),
    ("by busy", attrgetter("busy_percent")),
)
_BADS = (WARN, BAD)


def values_of(core: CoreSample) -> Mapping[str, Value]:
    """What a filter may ask of a core, and what is exported."""
    return {
        "cpu": core.cpu,
        "core": core.cpu,
        "node": core.node,
        "role": core.role,
        "rate": core.interruptions_per_s,
        "dev": core.device_per_s,
        "ipi": core.ipi_per_s,
        "tick": core.timer_per_s,
        "drops": core.backlog_drops_per_s,
        "busy": core.busy_percent,
        "policy": "break" if core.role in RESERVED and weight(core) >= 2e9 else "ok",
        "why": why(core),
    }


def point_at(core: CoreSample) -> Pointed:
    """A core, as what the cursor is on."""
    words = f"core {core.cpu}, node {core.node}, {core.role}: {why(core) or 'nothing interrupts it'}"
    command = f"quietcore watch --json --count 1 | jq {quote(f'.cores[] | select(.cpu == {core.cpu})')}"
    return Pointed("core", str(core.cpu), words, command, ("core", "core", str(core.cpu)), core)


class Cores:
    """The table. Only rows that are seen are made."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.table = LiveTable([(name, "", False) for name, _ in _ORDERS])
        self.grey = b""  # 0xff for each core that the filter leaves out
        self._keys: dict[int, Row] = {}
        self._made: dict[int, tuple[tuple[object, ...], Row]] = {}
        self._cores: dict[int, CoreSample] = {}
        self._tones: dict[int, str] = {}
        self._spark = 0
        self._how = (0, False)
        self._sample: Sample | None = None
        self._chosen: Filter | None = None

    def take(self, sample: Sample, figures: Figures, chosen: Filter) -> None:
        """The cores of a sample."""
        how = (self.table.order, self.table.reversed)
        if sample is self._sample and chosen is self._chosen and how == self._how:
            return  # drawn again, or for a key
        self._sample, self._chosen, self._how = sample, chosen, how
        cores = sample.cores
        self._cores = {core.cpu: core for core in cores}
        self._tones = {core.cpu: NAMES[code] for core, code in zip(cores, figures.faults(), strict=True)}
        self.grey = b""
        if chosen.text:
            stays = [chosen.matches(values_of(core)) for core in cores]
            self.grey = bytes(0 if each else 0xFF for each in stays)
            cores = tuple(core for core, each in zip(cores, stays, strict=True) if each)
        rank = _ORDERS[self.table.order][1]
        ranks = list(map(rank, cores))
        order = sorted(range(len(cores)), key=ranks.__getitem__, reverse=True)
        self.table.take([self._key(cores[at].cpu) for at in order])
        self.table.total = len(sample.cores)

    def _key(self, cpu: int) -> Row:
        row = self._keys.get(cpu)
        if row is None:
            row = self._keys[cpu] = Row(str(cpu), ())
        return row

    def forget(self) -> None:
        """Drops what was drawn: the CPUs or their roles are others now."""
        self._made.clear()

    def core(self, cpu: int) -> CoreSample | None:
        """The sample's record of a CPU."""
        return self._cores.get(cpu)

    @property
    def selected(self) -> int | None:
        """The CPU with the cursor."""
        row = self.table.selected
        return int(row.key) if row is not None else None

    def lines(self, width: int, height: int, active: bool) -> list[Line]:
        """Title and rows."""
        wide = width >= WIDE
        left = f" {len(self.table.rows)}/{self.table.total}" if len(self.table.rows) < self.table.total else ""
        columns = [
            Column(f"── {self.table.order_name}{left}", 21), Column("intr/s", 6, True), Column("dev/s", 5, True),
            Column("ipi/s", 5, True), Column("tick/s", 6, True), Column("drops", 5, True),
        ]  # fmt: skip
        if not wide:
            self._spark = 0
            columns.append(Column("why", 0))
        else:
            columns += [Column("busy", 4, True), Column("why", 36 if width < 170 else 44)]
            self._spark = width - sum(column.width + 1 for column in columns) - 2
            per = f"{self.history.column_s:g} s a column"
            title = f"│ {INTR.title}, {per}, newest right" if self._spark > 58 else f"│ intr/s, {per}"
            columns.append(Column(title, self._spark + 2))
        return self.table.lines(columns, width, height, active, self._filled, more=height > 6)

    def _filled(self, row: Row) -> Row:
        cpu = int(row.key)
        core = self._cores[cpu]
        levels = self.history.core_levels(cpu, INTR.name, self._spark) if self._spark else b""
        key = (_FIGURES(core), levels, self._spark)
        made = self._made.get(cpu)
        if made is not None and made[0] == key:
            return made[1]
        filled = self._row(row.key, core, levels)
        self._made[cpu] = key, filled
        return filled

    def _row(self, key: str, core: CoreSample, levels: bytes) -> Row:
        tone = self._tones.get(core.cpu, "")
        cells = [
            f"{core.cpu:>4} n{core.node} {core.role}", short(core.interruptions_per_s), short(core.device_per_s),
            short(core.ipi_per_s), short(core.timer_per_s), short(core.backlog_drops_per_s),
        ]  # fmt: skip
        tones: dict[int, str] = {}
        if self._spark:
            cells += [f"{core.busy_percent:.0f}%", why(core), "│ " + drawn(levels).rjust(self._spark)]
            tones[len(cells) - 1] = (tone if tone in _BADS else COOL[2]) if any(levels) else DIM
        else:
            cells.append(why(core))
        return Row(key, tuple(cells), tone if tone in _BADS else "", tones=tones)
