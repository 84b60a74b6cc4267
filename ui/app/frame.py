"""What stands around every screen: the header with where samples come from and what watching costs, the tabs, the footer."""

import time

from ui.app.model import Model, ProfilesView
from ui.app.widgets.lines import Line, cut, seg
from ui.app.widgets.tones import BAD, DIM, GOOD, HEAD, NOTE, WARN
from ui.keys import COMMANDS, SCREENS, commands_of

WIDE = 130


def state_of(model: Model, ended: str, where: str) -> tuple[str, str]:
    """What the view shows, in a word or two, and its tone: never to be mistaken for live when it is not."""
    if model.paused:
        return (f"REPLAY {where}" if model.kind == "replay" else f"PAUSED {where}"), "warn"
    if ended and model.kind != "replay":
        return f"ENDED: {ended[:40]}", BAD
    if model.kind == "replay":
        return f"REPLAY {where}", NOTE
    source = model.sample.source if model.sample is not None else ""
    if model.kind == "demo" or source == "simulated":
        return f"{'DEMO' if model.kind == 'demo' else 'SIMULATED'} {model.refresh_hz:g} Hz", NOTE
    if model.kind == "files" or source == "files":
        return f"FILES {model.refresh_hz:g} Hz", NOTE
    return f"{'VIEW' if model.kind == 'view' else 'LIVE'} {model.refresh_hz:g} Hz", GOOD


def header(model: Model, ended: str, where: str, width: int) -> Line:
    """Host, profile, source, cost, clock."""
    sample = model.sample
    state, tone = state_of(model, ended, where)
    if sample is None:
        left = " quietcore"
    else:
        profile = f"profile {sample.profile}" if sample.profile else "no profile"
        profile += f", {len(sample.drift)} moved" if sample.drift else ""
        kernel = f"   Linux {sample.kernel}   {len(sample.cores)} CPUs" if width >= WIDE else ""
        source = f"   {model.source_name}" if model.source_name and width >= WIDE else ""
        recorder = f"   {model.recorder}" if model.recorder and width >= 160 else ""
        left = f" quietcore  {sample.host}{kernel}   {profile}{source}{recorder}"
    cost = ""
    if sample is not None:
        cost = f"self {sample.cost.cpu_percent:.1f}%" + (f" of CPU {sample.cost.cpus}" if width >= 110 else "")
    right = f"  {cost}  {time.strftime('%H:%M:%S')} "
    room = max(0, width - len(state) - len(right) - 1)
    return (*cut((seg(left, HEAD),), room), seg(" "), seg(state, tone), seg(right, DIM))


def tabs(screen: str, open_events: int, view: ProfilesView, helps: bool) -> Line:
    """The screens, and the undo countdown wherever one is."""
    segments = []
    for place, name in enumerate(SCREENS):
        title = next(each.title for each in COMMANDS if each.name == name)
        count = f"({open_events})" if name == "events" and open_events else ""
        here = name == screen and not helps
        segments.append(seg(f" {place + 1} {title}{count} ", "cursor" if here else WARN if count else ""))
    if view.waiting is not None:
        left = max(0, int(view.deadline - time.monotonic()))
        segments.append(seg(f" undo in {left // 60}:{left % 60:02} K keep U undo", "warn head"))
    return segments


def footer(model: Model, screen: str, width: int) -> Line:
    """The keys that matter most here, or the app's newest word. What does not work now is there, dimmed."""
    if model.message:
        return cut((seg(f" {model.message}", model.message_tone),), width)
    segments = []
    used = 0
    for command in sorted((each for each in commands_of(screen) if each.footer), key=lambda each: each.footer):
        size = len(command.shown) + len(command.title) + 3
        if used + size > width:
            continue
        used += size
        blocked = command.needs == "root" and not model.may_change
        segments += [seg(f" {command.shown}", DIM if blocked else HEAD), seg(f" {command.title} ", DIM)]
    return segments


def undo_left(view: ProfilesView) -> str:
    """How long until a transaction undoes itself, as ``0:47``; empty without one."""
    if view.waiting is None:
        return ""
    left = max(0, int(view.deadline - time.monotonic()))
    return f"{left // 60}:{left % 60:02}"


__all__ = ["WARN", "WIDE", "footer", "header", "state_of", "tabs", "undo_left"]
