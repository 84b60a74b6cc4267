"""The plan on the Profiles screen: its lines as a table, and all that there is to say of the selected one."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ui.app.flow.transaction_view import PlanLine, ProfilesView, key_of, shown
from ui.app.widgets.lines import Line, fit, seg
from ui.app.widgets.table import Column, Row
from ui.app.widgets.tones import BAD, DIM, GOOD, HEAD, NOTE, WARN

_TONES = {"ok": GOOD, "ok-rounded": GOOD, "failed": BAD, "gone": BAD, "differs": "", "pending-reboot": NOTE}
_COMMON = ("rx", "tx", "autoneg", "affinity", "table")  # words that say nothing without the one before
_BELOW = " +"  # behind the key of the second row of a line


def columns(width: int, unified: bool) -> tuple[Column, ...]:
    """The columns of a plan in so many cells."""
    if unified:
        return (Column("", 3), Column("setting", max(12, (width - 12) // 3)), Column("value", 0), Column("when", 6))
    cell = 11 if width < 70 else 14 if width < 100 else 20
    risk = (Column("risk", 8),) if width >= 70 else ()
    return (Column("", 3), Column("setting", 0), Column("now", cell), Column("want", cell), Column("when", 6), *risk)


def rows(view: ProfilesView, width: int, unified: bool) -> Iterator[Row]:
    """A row for each line, two of them where they stand one below the other."""
    for line in view.lines:
        picked = view.is_in(line)
        tone = _TONES.get(line.state, DIM) if picked or not line.to_do else DIM
        mark = f"{'*' if picked else ' '}{line.mark}"
        setting = _setting(line, width)
        when = f"{line.when}{' !' if line.disruption and line.to_do else ''}"
        values = {
            "knob": str(line.first.get("knob")), "target": str(line.first.get("target")), "now": line.now,
            "wanted": line.wanted, "when": line.when, "risk": line.disruption or "none", "state": line.state,
        }  # fmt: skip
        tones = {4: WARN} if line.disruption and picked else {}
        if unified:
            yield Row(line.key, (mark, setting, f"- {line.now}", when), tone, values, {3: WARN} if tones else {})
            yield Row(line.key + _BELOW, ("", "", f"+ {line.wanted}", ""), tone, values)
        elif width >= 70:
            cells = (mark, setting, line.now, line.wanted, when, line.disruption or "-")
            yield Row(line.key, cells, tone, values, tones)
        else:
            yield Row(line.key, (mark, setting, line.now, line.wanted, when), tone, values, tones)


def line_at(view: ProfilesView, row: Row | None) -> PlanLine | None:
    """The line that a row is of."""
    return view.line_of(row.key.removesuffix(_BELOW)) if row is not None else None


def _setting(line: PlanLine, width: int) -> str:
    knob, target = str(line.first.get("knob")).removeprefix("sysctl."), line.target
    if target == "host":
        return knob
    if knob == "irq.affinity":
        target = f"irq {target.partition('/')[2] or target}"
        return target if width < 70 else f"{target}  affinity"
    words = knob.removeprefix("nic.").split(".")
    short = ".".join(words[-2:] if words[-1] in _COMMON else words[-1:])
    return f"{target} {short}" if width < 70 else f"{target}  {knob}"


def title(view: ProfilesView) -> str:
    """What the table is of."""
    if not view.planned:
        return "plan"
    counts: Mapping[str, int] = view.record.get("summary", {})
    told = [f"{count} {state}" for state, count in counts.items() if count and not (view.to_do and state == "differs")]
    picked = [f"{len(view.picked)} of {len(view.to_do)} picked"] if view.to_do else []
    return f"{view.shows} {view.planned}: {', '.join([*picked, *told]) or 'sets nothing'}"


# ---- the selected line


def facts(view: ProfilesView, line: PlanLine) -> list[tuple[str, str]]:
    """What there is to say of it, by name."""
    change = line.first
    about = view.about_knob(str(change.get("knob")))
    disturbs = {"link": "the link may drop", "service": "stops a service or moves threads", "reboot": "the next boot"}
    risk = "; ".join(filter(None, (disturbs.get(line.disruption, ""), str(about.get("risk") or ""))))
    note = str(change.get("error") or change.get("note") or "")
    because = view.because if view.because_key in map(key_of, line.changes) else str(about.get("summary") or "")
    undo = "" if view.shows == "verify" else f"{line.now}" + (f": {about['undo']}" if about.get("undo") else "")
    found = [
        ("because", because),
        ("source", str(change.get("why") or "")),
        ("does", f"{line.wanted}  by {about.get('where') or change.get('knob')}"),
        ("undo", undo),
        ("risk", str(change.get("irreversible") or "") or risk or "none is known"),
        ("reads", f"{shown(change.get('effective'))} in effect" if change.get("effective") is not None else ""),
        ("note", note or "; ".join(map(str, about.get("quirks", ())))),
        ("docs", f"quietcore explain {change.get('knob')}"),
    ]
    return [(name, words) for name, words in found if words]


def heading(view: ProfilesView, line: PlanLine | None) -> str:
    """The title above what is said of the selected line."""
    if line is None:
        return "the selected line"
    because = f"   {view.because}" if view.because_key in map(key_of, line.changes) else ""
    return f"{line.first.get('knob')} of {line.target}: {line.now} -> {line.wanted}{because}"


def brief(view: ProfilesView, line: PlanLine, width: int, height: int) -> list[Line]:
    """The facts in so many lines, one each: the first ones where there is no room for all."""
    told = dict(facts(view, line))
    order: tuple[str, ...] = ("because", "does", "risk", "undo", "source", "note", "reads", "docs")
    if height < 5:
        source = f"{told.pop('source', '')}  " if "source" in told else ""
        told["because"] = f"{source}{told.get('because', '')}"
        undo = f"   undo {told.pop('undo')}" if "undo" in told else ""
        told["does"] = f"{told.get('does', '')}{undo}"
        order = ("because", "does", "risk", "note")
    named = [(name, told[name]) for name in order if told.get(name)]
    return [(seg(f"  {name:<8}", DIM), seg(fit(words, max(0, width - 10)))) for name, words in named[:height]]


def whole(view: ProfilesView, line: PlanLine, width: int, height: int) -> list[Line]:
    """The facts in a column of their own, each in as many lines as it takes."""
    lines: list[Line] = [(seg(fit(f" {line.first.get('knob')} of {line.target}", width), HEAD),), _blank(width)]
    lines.append((seg(fit(f" {line.now} -> {line.wanted}", width)),))
    lines.append(_blank(width))
    for name, words in facts(view, line):
        lines += _named(name, words, width)
    return lines[:height]


def explanation(view: ProfilesView, line: PlanLine, width: int, height: int) -> list[Line]:
    """All that is known of the knob: what ``quietcore explain`` tells."""
    about = view.about_knob(str(line.first.get("knob")))
    lines: list[Line] = [(seg(fit(f" {line.first.get('knob')}   {about.get('summary', '')}", width), HEAD),), _blank(width)]
    for name, words in facts(view, line):
        if name != "note":
            lines += _named(name, words, width)
    lines += _named("worth", str(about.get("why") or ""), width) + _named("since", str(about.get("since") or ""), width)
    note = str(line.first.get("error") or line.first.get("note") or "")
    for name, words in (("note", note), *(("kernel", str(each)) for each in about.get("quirks", ()))):
        lines += _named(name, words, width)
    lines += _named("in", str(about.get("source") or ""), width)
    for change in line.changes[:64] if len(line.changes) > 1 else ():
        lines += _named("of", f"{change.get('target')}: {shown(change.get('now'))} -> {shown(change.get('wanted'))}", width)
    return lines[:height]


def _named(name: str, words: str, width: int) -> list[Line]:
    if not words:
        return []
    room = max(10, width - 10)
    found: list[Line] = []
    for place, part in enumerate(textwrap.wrap(words, room)):
        found.append((seg(f" {name if place == 0 else '':<8}", DIM), seg(fit(part, room))))
    return found


def _blank(width: int) -> Line:
    return (seg(" " * width),)


def exported(view: ProfilesView) -> list[dict[str, Any]]:
    """Every change as a row: for a file."""
    names = ("knob", "target", "now", "wanted", "effective", "state", "disruption", "why", "undo", "error", "note")
    picked = {key_of(change) for change in view.picked}
    changes: Iterable[Mapping[str, Any]] = view.record.get("changes", ())
    return [{name: each.get(name) for name in names} | {"picked": key_of(each) in picked} for each in changes]


def hint(view: ProfilesView, summary: str, width: int) -> Sequence[Line]:
    """What stands where no plan is."""
    room = max(10, width - 2)
    words = "Enter: what this profile would change here. Nothing is written."
    lines: list[Line] = [(seg(fit(f" {line}", width)),) for line in textwrap.wrap(summary, room)]
    if view.steps.get("1 plan", ("", ""))[0] == "failed":
        lines += [_blank(width)] + [
            (seg(fit(f" {line}", width), WARN),) for line in textwrap.wrap(view.steps["1 plan"][1], room)
        ]
    return [*lines, _blank(width), *((seg(fit(f" {line}", width), DIM),) for line in textwrap.wrap(words, room))]
