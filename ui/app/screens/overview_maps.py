"""The overview's heat maps: as many figures as fit, all over the same cores in the same places, and what each core is for."""

from dataclasses import dataclass, replace
from operator import is_

from tuner.host.cpulist import format_list
from ui.app.state.places import GROUPED_BY, Grouping, Places
from ui.app.state.policy import METRICS, QUIET, ROLE_TONE, Figures, Metric
from ui.app.widgets.heat import NUMBER, HeatGrid, HeatRow, rows_of, ruler
from ui.app.widgets.kept import Kept
from ui.app.widgets.lines import Line, cut, fit, seg
from ui.app.widgets.ramp import short
from ui.app.widgets.tones import DIM, HEAD, TONES

WIDE = 130
_NAME = 7  # "drop/s "
_MAX = 6  # " 20.0k"
_NUMBERS = (8, 16, 32, 48)  # figures in a row


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the maps stand: so many beside each other, so many such bands, each over these rows."""

    rows: tuple[HeatRow, ...]
    across: int
    down: int
    panel: int  # cells of each
    label: int
    titled: bool  # a line above each, else its name before its first row
    roles: bool = True

    @property
    def band(self) -> int:
        """Lines of a band."""
        return len(self.rows) + self.titled

    @property
    def height(self) -> int:
        """Lines in all."""
        return self.down * self.band + (not self.titled) + (len(self.rows) if self.roles else 0)

    @property
    def shown(self) -> int:
        """Figures that are shown."""
        return min(len(METRICS), self.across * self.down)


class Maps:
    """Draws them. ``metric`` is the first figure, ``numbers`` and ``grouping`` what keys change."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.metric = 0
        self.numbers = False
        self.grouping: Grouping = "node"
        self._grids = [HeatGrid() for _ in METRICS]
        self._kept = Kept()
        self._key: tuple[object, ...] = ()
        self._plan: _Plan | None = None
        self._roles: list[Line] = []
        self._last: tuple[tuple[object, ...], list[list[Line]], list[Line]] = ((), [], [])

    def shown(self) -> list[Metric]:
        """The figures in their order."""
        return [*METRICS[self.metric :], *METRICS[: self.metric]]

    def lines(self, figures: Figures, width: int, height: int, cursor: int | None, grey: bytes = b"") -> list[Line]:
        """At most ``height`` lines.

        Args:
            figures: of the sample on screen.
            width: of a line.
            height: the most there may be.
            cursor: the CPU that is marked.
            grey: 0xff for each core that the filter leaves out; empty without one.
        """
        plan = self._planned(width, height)
        shown = self.shown()[: plan.shown]
        drawn = [
            grid.lines(figures.levels(each), _greyed(figures.tones(each), grey), figures.values(each), cursor)
            for each, grid in zip(shown, self._grids, strict=False)
        ]
        key = (self._key, self.metric)
        if key == self._last[0] and len(drawn) == len(self._last[1]) and all(map(is_, drawn, self._last[1])):
            return self._last[2]
        lines = self._beside(plan, shown, drawn) if plan.titled else self._below(plan, shown, drawn, width)
        if plan.roles:
            lines += self._role_lines(plan, width)
        if len(lines) > height:
            lines = self._window(lines, height, width, cursor)
        self._last = key, drawn, lines
        return lines

    def _window(self, lines: list[Line], height: int, width: int, cursor: int | None) -> list[Line]:
        """Of more rows than there is room for those around the cursor, and a line that says so."""
        room = max(1, height - 2)
        row = self._grids[0].row(cursor)
        first = max(0, min(row - room // 2, len(lines) - 1 - room))
        told = f" rows {first + 1}-{first + room} of {len(lines) - 1}; arrows in the map move, z gives it the screen"
        return [lines[0], *lines[1 + first : 1 + first + room], cut((seg(told, DIM),), width)][:height]

    def move(self, cpu: int, rows: int, columns: int) -> int:
        """The CPU that the cursor comes to."""
        return self._grids[0].move(cpu, rows, columns)

    # how they stand

    def _planned(self, width: int, height: int) -> _Plan:
        key = (width, height, self.numbers, self.grouping, self.places.generation, TONES.generation)
        if key == self._key and self._plan is not None:
            return self._plan
        self._key = key
        plan = self._plan = self._numbered(width, height) if self.numbers else self._drawn(width, height)
        name = 0 if plan.titled else _NAME
        for grid in self._grids[: plan.shown]:
            grid.lay(plan.rows, self.places.index, plan.panel - name, plan.label - name, numbers=self.numbers)
        self._roles = [self._role_row(row, plan) for row in plan.rows]
        return plan

    def _drawn(self, width: int, height: int) -> _Plan:
        groups = self.places.groups(self.grouping)
        label = max(3, *(len(group.label) + 1 for group in groups)) if groups else 3
        if width < WIDE:
            label += _NAME
            rows = tuple(row for group in groups for row in rows_of(group, width - label - _MAX))
            return _fitting(_Plan(rows, 1, 0, width, label, titled=False), height)
        plans = []
        for across in (1, 2, 3, 4, 5, 6, 8):
            panel = (width - across + 1) // across
            if panel < label + 8 + _MAX:
                break
            rows = tuple(row for group in groups for row in rows_of(group, panel - label - _MAX))
            size = label + max(map(_size, rows), default=0) + _MAX
            plans.append(_fitting(_Plan(rows, across, 0, min(panel, max(size, 24)), label, titled=True), height))
        return max(plans, key=lambda plan: _merit(plan, height))

    def _numbered(self, width: int, height: int) -> _Plan:
        plans = []
        for each in _NUMBERS:
            label = 5
            panel = label + each * NUMBER
            if panel > width:
                break
            rows = tuple(
                HeatRow(f"{next(cpu for cpu in row.cells if cpu >= 0):>4}", row.cells)
                for group in self.places.groups(self.grouping)
                for row in rows_of(group, each)
            )
            plans.append(_fitting(_Plan(rows, (width + 1) // (panel + 1), 0, panel, label, titled=True), height))
        return max(plans, key=lambda plan: _merit(plan, height))

    # how they look

    def _below(self, plan: _Plan, shown: list[Metric], drawn: list[list[Line]], width: int) -> list[Line]:
        room = max(map(_size, plan.rows), default=0)
        lines = [self._kept.text("ruler", ((ruler(room, plan.label, width), DIM),), width)]
        for metric, rows in zip(shown, drawn, strict=True):
            name = self._kept.text(("name", metric.name), ((f"{metric.name:<{_NAME}}", ""),), _NAME)
            blank = self._kept.text("blank", (("", ""),), _NAME)
            for y, row in enumerate(rows):
                lines.append(self._kept.joined((metric.name, y), (blank if y else name, row)))
        return lines

    def _beside(self, plan: _Plan, shown: list[Metric], drawn: list[list[Line]]) -> list[Line]:
        lines: list[Line] = []
        gap = seg(" ")
        for start in range(0, len(shown), plan.across):
            band = shown[start : start + plan.across]
            titles = tuple(
                self._kept.rule(
                    ("title of", each.name), _title(each, plan.panel), plan.panel, HEAD if each is shown[0] else DIM
                )
                for each in band
            )
            lines.append(self._kept.joined(("title", start, *(each.name for each in band), plan.panel), titles, gap))
            for y in range(len(plan.rows)):
                parts = tuple(rows[y] for rows in drawn[start : start + plan.across])
                lines.append(self._kept.joined((start, y, plan.panel), parts, gap))
        return lines

    def _role_row(self, row: HeatRow, plan: _Plan) -> Line:
        each = NUMBER if self.numbers else 1
        name = f"{'role' if row is plan.rows[0] and not plan.titled else '':<{_NAME}}" if not plan.titled else ""
        segments = [seg(fit(name + row.label, plan.label), DIM)]
        for cpu in row.cells:
            place = self.places.known.get(cpu)
            tone = ROLE_TONE.get(place.role, QUIET) if place is not None else QUIET
            segments.append(seg(self.places.letter(cpu).rjust(each) if cpu >= 0 else " " * each, tone))
        return tuple(segments)

    def _role_lines(self, plan: _Plan, width: int) -> list[Line]:
        used = plan.label + max(map(_size, plan.rows), default=0) * (NUMBER if self.numbers else 1)
        room = width - used - 2
        if room < 30 or not plan.titled:
            return list(self._roles)
        words = self._legend(len(self._roles))
        return [
            (*cut(row, used), seg(fit(f"  {words[y]}" if y < len(words) else "", room), DIM))
            for y, row in enumerate(self._roles)
        ]

    def _legend(self, rows: int) -> list[str]:
        """What the letters are, and what a cell is."""
        roles: dict[str, list[int]] = {}
        for cpu in self.places.order:
            roles.setdefault(self.places.known[cpu].role, []).append(cpu)
        second = any(place.thread for place in self.places.known.values())
        words = [f"{self.places.letter(cpus[0]).upper()} {role} {format_list(cpus)}" for role, cpus in roles.items()]
        how = f"by {GROUPED_BY[self.grouping]}; height is how much, colour is whether the core's role allows it"
        if second:
            how += "; ' and lower case: the second thread of a core"
        return ["   ".join(words), how] if rows < len(words) + 1 else [*words, how]

    def value(self, figures: Figures, cpu: int) -> str:
        """The first figure of a core, in words."""
        metric = METRICS[self.metric]
        at = self.places.index.get(cpu)
        return f"{metric.name} {short(figures.values(metric)[at])}" if at is not None else ""


def _size(row: HeatRow) -> int:
    return len(row.cells)


def _merit(plan: _Plan, height: int) -> tuple[bool, int, bool, int, int]:
    """Of several ways to stand: one that fits, else the lowest; then more figures, roles, four side by side, fewer lines."""
    fits = plan.height <= height
    return fits, plan.shown if fits else -plan.height, plan.roles, min(plan.across, 4), -plan.height


def _title(metric: Metric, panel: int) -> str:
    return metric.title if len(metric.title) + 5 <= panel else metric.name


def _fitting(plan: _Plan, height: int) -> _Plan:
    """The plan with as many bands as there is room for; without roles where not even one fits beside them."""
    fixed = 0 if plan.titled else 1
    most = -(-len(METRICS) // plan.across)
    down = min(most, (height - fixed - len(plan.rows)) // max(1, plan.band))
    if down >= 1:
        return replace(plan, down=down)
    return replace(plan, down=max(1, min(most, (height - fixed) // max(1, plan.band))), roles=False)


def _greyed(of_tones: bytes, grey: bytes) -> bytes:
    """The tones, with what the filter leaves out as quiet as what does nothing."""
    if not grey:
        return of_tones
    kept = int.from_bytes(of_tones, "little") & ~int.from_bytes(grey, "little")
    return kept.to_bytes(len(of_tones), "little")
