"""Profiles: plan, apply, verify, keep or undo. The engine runs in processes of its own; this draws what they say."""

import textwrap
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from ui.app.model import Model, ProfilesView
from ui.app.screens.pane import Pane
from ui.app.transaction_control import TransactionControl
from ui.app.widgets.columns import CURSOR, DIM, HEAD, Column, Row, beside, fit, rule, window
from ui.app.widgets.lines import Line, seg
from ui.app.widgets.tones import BAD, WARN
from ui.keys import Screen

_WIDE = 100
_MARKS = {
    "differs": "~",
    "kernel-managed": "k",
    "unsupported": "-",
    "unverifiable": "?",
    "failed": "!",
    "gone": "x",
    "pending-reboot": "r",
}


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

    def draw(self, width: int, height: int) -> list[Line]:
        """The whole pane."""
        steps = self._steps(width)
        detail = self._detail(width) if height >= 30 else []
        room = max(4, height - len(steps) - len(detail) - 1)
        lines: list[Line] = [self._head(width)]
        left = 28 if width >= _WIDE else 15
        lines += beside(self._list(left, room), self._plan(width - left - 1, room), left, room)
        return [*lines, *detail, *steps]

    def move(self, rows: int, columns: int) -> None:
        """See Pane."""
        del columns
        before = self.view.selected
        self.view.selected = max(0, min(before + rows, len(self.view.profiles) - 1))
        if self.view.selected != before:
            self.view.planned, self.view.plan = "", {}

    def do_enter(self) -> None:
        """What the selected profile would change."""
        self.spawn(self.flow.plan())

    def _head(self, width: int) -> Line:
        stages = ("plan", "apply", "verify", "keep or undo")
        text = " > ".join(f"{i + 1} {name}" for i, name in enumerate(stages))
        may = "may change this host" if self.model.may_change else f"read-only: {self.model.why_not}"
        return [
            seg(f" {text}    "[:width], HEAD),
            seg(may[: max(0, width - len(text) - 6)], "" if self.model.may_change else WARN),
        ]

    def _list(self, width: int, height: int) -> list[Line]:
        lines: list[Line] = [[seg(fit("profile", width), HEAD)]]
        for i, profile in enumerate(self.view.profiles):
            mark = "*" if profile.get("active") else " "
            name = f"{mark}{profile.get('name', '?')}"
            lines.append([seg(fit(name, width), CURSOR if i == self.view.selected else "")])
        lines.append([seg(fit(" * holds the host", width), DIM)])
        if self.view.history and height - len(lines) > 2:
            lines += [[], [seg("history", HEAD)]]
            for entry in list(reversed(self.view.history))[: height - len(lines)]:
                name = (entry.get("profile") or {}).get("name", "?")
                lines.append([seg(fit(f" {entry.get('transaction')} {name} {entry.get('state')}", width), DIM)])
        return lines[:height]

    def _plan(self, width: int, height: int) -> list[Line]:
        changes = self.view.plan.get("changes", [])
        if not self.view.planned:
            summary = ""
            if self.view.profiles:
                summary = str(self.view.profiles[self.view.selected].get("summary", ""))
            words = "Enter: what this profile would change here. Nothing is written."
            room = max(20, width - 2)
            return [
                *([seg(f" {line}")] for line in textwrap.wrap(summary, room)),
                [],
                *([seg(f" {line}", DIM)] for line in textwrap.wrap(words, room)),
            ]
        groups = grouped([c for c in changes if c.get("state") not in ("ok", "ok-rounded")])
        counts = self.view.plan.get("summary", {})
        text = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        lines: list[Line] = [[seg(f" {self.view.planned}: {text or 'sets nothing'}"[:width], HEAD)]]
        wide = width >= _WIDE - 30
        if wide:
            columns = [Column("setting", 26), Column("of", 22), Column("now", 12), Column("wanted", 16), Column("state", 14)]
            columns.append(Column("disturbs", 8))
            columns.append(Column("why", max(8, width - sum(c.width + 1 for c in columns))))
        else:
            columns = [
                Column("", 1),
                Column("setting", 22),
                Column("of", 13),
                Column("now", 10),
                Column("wanted", max(8, width - 51)),
            ]
        rows = [_row(group, wide) for group in groups]
        self.view.scroll = max(0, min(self.view.scroll, len(rows) - 1))
        return lines + window(columns, rows, height - 1, self.view.scroll if rows else None)

    def _detail(self, width: int) -> list[Line]:
        groups = grouped([c for c in self.view.plan.get("changes", []) if c.get("state") not in ("ok", "ok-rounded")])
        if not groups:
            return []
        group = groups[min(self.view.scroll, len(groups) - 1)]
        change = group[0]
        rows = (
            ("because", change.get("why")), ("now", f"{change.get('now')}, effective {change.get('effective')}"),
            ("wanted", change.get("wanted")), ("undo", change.get("undo")),
            ("note", change.get("error") or change.get("note") or "-"),
        )  # fmt: skip
        lines: list[Line] = [rule(f"{change.get('knob')} of {change.get('target')}", width)]
        lines += [[seg(f"  {name:<8}", DIM), seg(str(value)[: max(0, width - 11)])] for name, value in rows]
        return lines

    def _steps(self, width: int) -> list[Line]:
        lines: list[Line] = [rule("apply runs outside this screen and undoes itself unless you keep it", width)]
        colours = {"failed": BAD, "ok": "good", "running": WARN}
        for name, state, words in self.view.steps[-5:]:
            lines.append([seg(f"  {name:<8}"), seg(f" {state:<9}", colours.get(state, "")), seg(words[: max(0, width - 21)])])
        if not self.view.steps:
            lines.append([seg("  nothing done yet", DIM)])
        if self.view.waiting is not None:
            left = max(0, int(self.view.deadline - time.monotonic()))
            lines.append(
                [
                    seg("  KEEP?    ", HEAD),
                    seg(f" undoes itself in {left // 60}:{left % 60:02}", WARN),
                    seg("    K keep    U undo now    (a lost terminal = undo)"[: max(0, width - 32)]),
                ]
            )
        return lines


def grouped(changes: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Neighbours that want the same for the same reason: a host has hundreds of interrupts."""
    groups: list[list[Mapping[str, Any]]] = []
    for change in changes:
        alike = bool(groups) and all(groups[-1][0].get(k) == change.get(k) for k in ("knob", "wanted", "state", "why", "error"))
        if alike:
            groups[-1].append(change)
        else:
            groups.append([change])
    return groups


def _row(group: Sequence[Mapping[str, Any]], wide: bool) -> Row:
    first = group[0]
    now = str(first.get("now")) if len({str(c.get("now")) for c in group}) == 1 else "various"
    target = str(first.get("target"))
    target += f" +{len(group) - 1}" if len(group) > 1 else ""
    disruption = str(first.get("disruption") or "")
    state = str(first.get("state"))
    wanted = str(first.get("wanted"))
    if wide:
        shown = "" if disruption == "none" else disruption
        cells = [str(first.get("knob")), target, now, wanted, state, shown, str(first.get("why")).partition(": ")[2]]
    else:
        cells = [_MARKS.get(state, " "), str(first.get("knob")), target, now, wanted]
    colour = {"differs": "", "failed": BAD, "gone": BAD}.get(state, DIM)
    return Row(cells, WARN if state == "differs" and disruption not in ("", "none") else colour)
