"""Profiles: plan, apply, verify, keep or undo. The engine runs in processes of its own; this draws what they say."""

import itertools
import shlex
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from ui.app.flow.transaction_control import CONFIRM_WITHIN_S, TransactionControl
from ui.app.flow.transaction_view import PlanLine, ProfilesView, disruptions_of
from ui.app.screens import profiles_plan as plan
from ui.app.screens import profiles_steps as steps
from ui.app.screens.pane import Pane
from ui.app.state.model import Listing, Model, Pointed
from ui.app.widgets.lines import Line, beside, fit, rule, seg
from ui.app.widgets.table import Column, LiveTable, Row
from ui.app.widgets.tones import DIM, HEAD, TONES
from ui.keys import Screen

_LEFT, _LEFT_WIDE, _DETAIL = 22, 34, 60
_WIDE, _WIDEST = 130, 170
_HERE = ("live", "demo", "files")
_STATES = {"confirmed": "kept", "rolled-back": "undone", "applied": "waits", "degraded": "degraded", "void": "void"}


class ProfilesPane(Pane):
    """Draws profiles, the plan, and the transaction."""

    name: Screen = "profiles"

    def __init__(
        self,
        model: Model,
        view: ProfilesView,
        flow: TransactionControl,
        spawn: Callable[[Coroutine[object, object, None]], None],
    ) -> None:
        super().__init__(model)
        self.view, self.flow, self.spawn = view, flow, spawn
        self.profiles, self.changes = LiveTable(), LiveTable()
        self.on_plan = False  # the cursor is in the plan
        self.unified = False
        self.explains = False
        self._taken: tuple[object, ...] = ()
        self._rows_of: tuple[object, ...] = ()
        self._drawn_for: tuple[object, ...] = ()
        self._drawn: list[Line] = []

    # drawing

    def draw(self, width: int, height: int) -> list[Line]:
        """The whole screen; what did not change is what was drawn before."""
        if not self.view.counts and self.model.kind in _HERE:
            self.view.counts = "wanted"
        self._take(width)
        kind = (
            self._taken, self.profiles.cursor, self.changes.cursor, self.on_plan, self.explains, self.zoomed, height,
            TONES.generation, steps.clock(self.view), self.model.may_change,
        )  # fmt: skip
        if kind != self._drawn_for:
            self._drawn_for, self._drawn = kind, self._whole(width, height)
        return self._drawn

    def _take(self, width: int) -> None:
        """Rows out of the view, where it changed."""
        sample = self.model.sample
        drift, active = (len(sample.drift), sample.profile) if sample is not None else (0, "")
        taken = (self.view.generation, width, self.zoomed, self.unified, self.filter.text, drift, active, self.view.counts)
        if taken == self._taken:
            return
        self._taken = taken
        self.on_plan, self.explains = self.on_plan and bool(self.view.lines), self.explains and bool(self.view.lines)
        self.profiles.take([self._profile_row(each, drift, active) for each in self.view.profiles])
        rows = (self.view.edition, width, self.zoomed, self.unified, self.filter.text)
        if rows != self._rows_of:
            self._rows_of = rows
            listed = list(plan.rows(self.view, self._room(width), self.unified))
            self.changes.take(listed, lambda row: self.filter.matches(row.values))
        if self.view.selected and self.changes.select(self.view.selected):
            self.view.selected, self.on_plan = "", True

    def _room(self, width: int) -> int:
        """Cells for the plan."""
        if self.zoomed:
            return width
        left = _LEFT_WIDE if width >= _WIDE else _LEFT
        return width - left - 1 - (_DETAIL + 1 if width >= _WIDEST else 0)

    def _profile_row(self, profile: Mapping[str, Any], drift: int, active: str) -> Row:
        name, count = str(profile.get("name", "?")), profile.get("changes")
        if profile.get("active") or name == active:
            told = f"{drift} drift" if drift else "active"
        elif profile.get("faults"):
            told = "faulty"
        elif "changes" not in profile:
            told = "…" if self.view.counts == "asked" else ""
        else:
            told = "-" if count is None else str(count)
        mark = "*" if profile.get("active") or name == active else " "
        return Row(name, (f"{mark}{name}", told), "good" if mark == "*" and not drift else "warn" if mark == "*" else "")

    def _whole(self, width: int, height: int) -> list[Line]:
        line = self.line
        lines: list[Line] = [steps.head(self.view, self.model, width)]
        below = [rule(steps.RULE, width), *steps.lines(self.view, width)]
        if self.explains and line is not None:
            told = plan.explanation(self.view, line, width, height - len(below) - 1)
            return [*lines, *told, *([()] * (height - len(below) - 1 - len(told))), *below]
        if self.zoomed:
            shown = self._plan(width, height - len(below) - 1) if self.on_plan else self._left(width, height - len(below) - 1)
            return [*lines, *shown, *([()] * (height - len(below) - 1 - len(shown))), *below]
        detail: list[Line] = []
        if width < _WIDEST:
            rows = 3 if height < 28 else 5 if height < 36 else 8
            detail = [rule(plan.heading(self.view, line), width)]
            detail += plan.brief(self.view, line, width, rows) if line is not None else []
            detail += [()] * (rows + 1 - len(detail))
        room = height - len(below) - len(detail) - 1
        left = _LEFT_WIDE if width >= _WIDE else _LEFT
        middle = self._plan(self._room(width), room)
        if width >= _WIDEST:
            told = plan.whole(self.view, line, _DETAIL, room) if line is not None else []
            middle = beside(middle, told, self._room(width), room)
        return [*lines, *beside(self._left(left, room), middle, left, room), *detail, *below]

    def _plan(self, width: int, height: int) -> list[Line]:
        if not self.view.planned or not self.view.lines:
            summary = next((str(p.get("summary", "")) for p in self.view.profiles if p.get("name") == self.chosen), "")
            told = list(plan.hint(self.view, "" if self.view.planned else summary, width))
        else:
            told = self.changes.lines(plan.columns(width, self.unified), width, height - 1, self.on_plan)
        return [(seg(fit(f" {plan.title(self.view)}", width), HEAD),), *told][:height]

    def _left(self, width: int, height: int) -> list[Line]:
        more = [*self._binding(width), *self._layers(width), *self._history(width)]
        listed = min(len(self.view.profiles) + 1, max(3, height - min(len(more), max(3, height // 4))))
        columns = (Column("profile", 0), Column("changes", 7, number=True))
        lines = self.profiles.lines(columns, width, listed, not self.on_plan)
        return [*lines, *more][:height]

    def _binding(self, width: int) -> list[Line]:
        binds = self.view.binds.get(self.chosen, {})
        told = " ".join(f"{part}={nic}" for part, nic in binds.items())
        return [(seg(fit(f"  bind {told}", width), DIM),)] if told else []

    def _layers(self, width: int) -> list[Line]:
        layers = list(self.view.record.get("layers", ()))
        if not layers:
            return []
        if width < _LEFT_WIDE:
            return [(seg(fit(f"  of {' < '.join(layers)}", width), DIM),)]
        lines: list[Line] = [(), (seg(fit(f"  layers of {self.view.planned}", width), HEAD),)]
        return lines + [(seg(fit(f"    {name}", width), DIM),) for name in layers]

    def _history(self, width: int) -> list[Line]:
        lines: list[Line] = []
        for entry in reversed(self.view.history[-12:]):
            profile = (entry.get("profile") or {}).get("name", "?")
            state = _STATES.get(str(entry.get("state")), str(entry.get("state")))
            lines.append((seg(fit(f"  {entry.get('transaction'):04d} {state} {profile}", width), DIM),))
        if width >= _LEFT_WIDE and lines:
            lines[:0] = [(), (seg(fit("  history", width), HEAD),)]
        return lines

    # the cursor

    @property
    def chosen(self) -> str:
        """The profile with the cursor."""
        return self.profiles.selected.key if self.profiles.selected is not None else ""

    @property
    def line(self) -> PlanLine | None:
        """The line of the plan with the cursor."""
        return plan.line_at(self.view, self.changes.selected)

    def tables(self) -> Sequence[LiveTable]:
        """See Pane."""
        return (self.changes, self.profiles) if self.on_plan else (self.profiles, self.changes)

    def move(self, rows: int, columns: int) -> None:
        """See Pane: left and right go from panel to panel."""
        if columns:
            self.on_plan = columns > 0 and bool(self.view.lines)
        else:
            super().move(rows, columns)

    def pointed(self) -> Pointed:
        """See Pane."""
        line = self.line
        if self.on_plan and line is not None:
            words = f"{line.first.get('knob')} of {line.target}: {line.now} -> {line.wanted}"
            return Pointed("change", line.key, words, self._command(), record=line.first)
        return Pointed("profile", self.chosen, self.chosen, self._command())

    def _command(self) -> str:
        """What the screen shows, or would do, as a command line."""
        options = tuple(getattr(self.flow.runner, "options", ()))
        view = self.view
        if view.shows == "plan" and self.on_plan:
            picked = view.picked
            words = ["apply" if picked else "plan", *view.words, *(view.pick_words() if picked else ())]
            if allowed := disruptions_of(picked):
                words += ["--allow", ",".join(allowed)]
            return shlex.join(
                ["quietcore", *options, *words, *(["--confirm-within", f"{CONFIRM_WITHIN_S}s"] if picked else [])]
            )
        if view.shows == "verify" and self.on_plan:
            return shlex.join(["quietcore", *options, "verify"])
        binds = [w for part, nic in view.binds.get(self.chosen, {}).items() for w in ("--bind", f"{part}={nic}")]
        return shlex.join(["quietcore", *options, *(["plan", self.chosen, *binds] if self.chosen else ["profiles"])])

    def focus(self, kind: str, key: str) -> None:
        """See Pane."""
        if kind == "change":
            self.on_plan = self.changes.select(key)
        elif kind == "profile":
            self.on_plan, self.explains = False, False
            self.profiles.select(key)

    def back(self) -> bool:
        """See Pane."""
        if self.explains:
            self.explains = False
            return True
        if super().back():
            self._taken = ()
            return True
        if self.on_plan:
            self.on_plan = False
            return True
        return False

    def listing(self) -> Listing:
        """The plan as rows; without one, the profiles."""
        if self.view.record:
            return Listing(self.view.shows or "plan", plan.exported(self.view))
        names = ("name", "where", "summary", "active", "changes", "problem")
        return Listing("profiles", [{name: each.get(name) for name in names} for each in self.view.profiles])

    # keys

    def do_enter(self) -> None:
        """What the selected profile would change; in the plan, all that is known of the selected line."""
        if self.model.kind not in _HERE:
            self.model.tell(
                f"what is shown is no host that could be planned for: {self.model.why_not or self.model.kind}", "warn"
            )
        elif self.on_plan:
            self.explains = not self.explains
        elif self.chosen:
            self.on_plan, self.explains = False, False
            self.spawn(self._planned(self.chosen))

    async def _planned(self, name: str) -> None:
        await self.flow.plan(name)
        if self.view.planned == name and self.view.lines:
            self.changes.select(self.view.lines[0].key)
            self.on_plan = True
            self.view.generation += 1
            self.flow.redraw()

    def do_pick(self) -> None:
        """Takes the selected change in or out."""
        line = self.line
        if self.view.shows != "plan" or line is None:
            self.model.tell("plan first: Enter on a profile, or f on whatever is red", "warn")
        elif not line.to_do:
            self.model.tell(f"{line.first.get('knob')} of {line.target} is {line.state}: there is nothing to pick", "warn")
        else:
            self.on_plan = True
            self.view.turn(line)

    def do_diff(self) -> None:
        """Now and wanted side by side, or one below the other."""
        self.unified = not self.unified

    def do_next_panel(self) -> None:
        """Profiles or changes."""
        self.on_plan = not self.on_plan and bool(self.view.lines)

    def do_bind(self) -> None:
        """The next NIC for the parts of the selected profile."""
        profile = next((each for each in self.view.profiles if each.get("name") == self.chosen), {})
        parts = [str(part) for part in profile.get("parts", ())]
        sample = self.model.sample
        nics = [nic.name for nic in sample.nics if nic.physical] if sample is not None else []
        if not parts or len(nics) < len(parts):
            why = (
                f"{self.chosen} speaks of no NIC" if not parts else f"{self.chosen} is for {len(parts)} NICs; here: {len(nics)}"
            )
            self.model.tell(f"bind: {why}", "warn")
            return
        ways: list[dict[str, str]] = [{}]
        ways += [dict(zip(parts, each, strict=True)) for each in itertools.permutations(nics, len(parts))]
        binds = self.view.binds.get(self.chosen, {})
        self.view.binds[self.chosen] = ways[(ways.index(binds) + 1) % len(ways)] if binds in ways else ways[0]
        self.view.generation += 1
        told = " ".join(f"{part}={nic}" for part, nic in self.view.binds[self.chosen].items())
        self.model.tell(f"bind: {told or 'as /etc/quietcore/host.toml has it'}; Enter plans")
