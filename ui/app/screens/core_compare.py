"""A core beside the others of its role: what is the median there, and who has most."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ingest.sample import CoreSample
from ui.app.state.policy import METRICS, tone_of
from ui.app.widgets.kept import Kept
from ui.app.widgets.lines import Line
from ui.app.widgets.ramp import short
from ui.app.widgets.table import Column, LiveTable, Row
from ui.app.widgets.tones import BAD, DIM, WARN


@dataclass(frozen=True, slots=True)
class Against:
    """One figure: of this core, the median of the others of its role, and the highest with its CPU."""

    name: str
    title: str
    mine: float
    middle: float
    highest: float
    on: int
    tone: str


def against(core: CoreSample, cores: Sequence[CoreSample]) -> tuple[int, list[Against]]:
    """How many others have its role, and each figure beside theirs; without others the figures stand alone."""
    others = [each for each in cores if each.role == core.role and each.cpu != core.cpu]
    found = []
    for metric in METRICS:
        values = list(map(metric.value, others))
        most = max(values, default=0.0)
        on = others[values.index(most)].cpu if values else core.cpu
        mine, tone = metric.value(core), tone_of(core, metric)
        tone = tone if tone in (BAD, WARN) else "" if mine else DIM
        found.append(Against(metric.name, metric.title, mine, median(values) if values else 0.0, most, on, tone))
    return len(others), found


def _named(row: Row) -> Row:
    """The row with the figure's short name."""
    return replace(row, cells=(f" {row.key}", *row.cells[1:]))


class Compare:
    """The panel: a table where there is room, else two lines."""

    def __init__(self) -> None:
        self.table = LiveTable()
        self._kept = Kept()
        self._of: tuple[object, ...] = ()
        self._count = 0
        self._figures: list[Against] = []

    def take(self, core: CoreSample, cores: Sequence[CoreSample]) -> None:
        """A core, and all of its sample."""
        if self._of and self._of[0] is core and self._of[1] is cores:
            return
        self._of = (core, cores)
        self._count, self._figures = against(core, cores)
        self.table.take([self._row(each) for each in self._figures])
        self._role = core.role

    def _row(self, each: Against) -> Row:
        most = (short(each.highest), str(each.on)) if each.highest else ("0", "-")
        there = (short(each.middle), *most) if self._count else ("-", "-", "-")
        return Row(each.name, (f" {each.title}", short(each.mine), *there), tones={1: each.tone} if each.tone else {})

    @property
    def title(self) -> str:
        """What it is compared with."""
        if not self._count:
            return f"no other core is {self._role}"
        return f"against the median of {self._count} other {self._role} core{'s' if self._count > 1 else ''}"

    def lines(self, width: int, height: int, active: bool) -> list[Line]:
        """As a table."""
        roomy = width >= 70
        title = f"── {self.title}" if roomy else f"── {self._count} other {self._role}"
        columns = [
            Column(title, 0), Column("this", 6, True), Column("median", 6, True), Column("most", 6, True),
            Column("core", 4, True),
        ]  # fmt: skip
        return self.table.lines(columns, width, height, active, None if roomy else _named)

    def short_lines(self, width: int) -> list[Line]:
        """As two lines: this core | the median."""
        lines = []
        half = len(self._figures) // 2
        each = (width - 1) // half
        for start in (0, half):
            parts: list[tuple[str, str]] = [(" ", "")]
            for figure in self._figures[start : start + half]:
                middle = short(figure.middle) if self._count else "-"
                mine = short(figure.mine)
                rest = each - 7 - len(mine)
                parts += [(f"{figure.name:<7}", DIM), (mine, figure.tone), (f" | {middle}"[:rest].ljust(rest), DIM)]
            lines.append(self._kept.text(start, tuple(parts), width))
        return lines

    def rows(self) -> list[dict[str, float | str]]:
        """For export."""
        return [
            {"figure": each.name, "this": each.mine, "median": each.middle, "most": each.highest, "on": each.on}
            for each in self._figures
        ]


def median(values: Iterable[float]) -> float:
    """The middle one, or the mean of both; ``statistics`` would be loaded before the first paint."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
