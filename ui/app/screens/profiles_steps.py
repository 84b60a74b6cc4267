"""The flow on the Profiles screen: where it stands, how each step ended, and the countdown."""

import time

from ui.app.flow.transaction_view import STEPS, ProfilesView
from ui.app.state.model import Model
from ui.app.widgets.lines import Line, cut, fit, seg
from ui.app.widgets.tones import BAD, DIM, GOOD, HEAD, WARN

_TONES = {"failed": BAD, "ok": GOOD, "running": WARN, "waits": WARN, "undone": WARN}
_TITLES = ("1 plan", "2 apply", "3 verify", "4 keep or undo")
RULE = "apply runs outside this screen and undoes itself unless you keep it"


def head(view: ProfilesView, model: Model, width: int) -> Line:
    """The flow in one line, what is now in bold, and whether this user may change anything."""
    here = at(view)
    segments = [seg(" Profiles   ", HEAD)]
    for place, name in enumerate(_TITLES):
        segments += [seg(name, HEAD if place == here else DIM), seg(" > " if place < 3 else "   ", DIM)]
    right = "root yes" if model.may_change else f"read-only: {model.why_not}"
    if width >= 110:
        busy = view.busy or (f"transaction {view.waiting} waits" if view.waiting is not None else "nothing on its way")
        right += f"   {busy}"
    segments.append(seg(right, "" if model.may_change else WARN))
    return cut(segments, width)


def at(view: ProfilesView) -> int:
    """Which step is now: 0 for the plan."""
    if view.waiting is not None and view.busy != "verify":
        return 3
    return {"apply": 1, "verify": 2, "keep": 3, "undo": 3}.get(view.busy, 2 if view.shows == "verify" else 0)


def lines(view: ProfilesView, width: int) -> list[Line]:
    """One line for each step."""
    return [_line(view, name, width) for name in STEPS]


def _line(view: ProfilesView, name: str, width: int) -> Line:
    if name == "4 keep" and view.waiting is not None and view.busy not in ("keep", "undo"):
        words = "   K keep    U undo now    (a lost terminal = undo)"
        if width >= 130:
            words += f"   {view.steps.get(name, ('', ''))[1]}; the command line may end it, too"
        return cut((seg("  4 KEEP?   ", HEAD), seg(f"undo in {view.undo_in()}", "warn head"), seg(words)), width)
    state, words = view.steps.get(name, ("", ""))
    if name == "4 keep" and view.busy in ("keep", "undo"):
        state, words = "running", f"{view.busy} is on its way"
    tone = _TONES.get(state, DIM)
    shown_name = "4 keep/undo" if name == "4 keep" else name
    if state == "running" and name != "1 plan" and view.began:
        words = f"{time.monotonic() - view.began:.0f} s  {words}"
    return (
        seg(f"  {shown_name:<11}", "" if state else DIM),
        seg(f" {state or '-':<8}", tone),
        seg(fit(words, max(0, width - 22))),
    )


def clock(view: ProfilesView) -> str:
    """What of it moves by itself: the countdown, and how long a step runs."""
    running = any(state == "running" for state, _ in view.steps.values())
    seconds = int(time.monotonic() - view.began) if running else ""
    return f"{view.undo_in() if view.waiting is not None else ''} {seconds}"
