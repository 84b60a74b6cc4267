"""What stands around every screen: the header with where samples come from and what watching costs, the tabs, the footer."""

import time
from collections.abc import Callable, Sequence

from rich.cells import cell_len

from ui.app.state.model import Model, ProfilesView
from ui.app.widgets.lines import Line, cut, fit, seg
from ui.app.widgets.marks import MARKS
from ui.app.widgets.tones import BAD, DIM, GOOD, HEAD, NOTE, WARN
from ui.keys import COMMANDS, SCREENS, Command, Screen

WIDE = 130


def state_of(model: Model, ended: str, where: str) -> tuple[str, str]:
    """What the view shows, in a word or two, and its tone: never to be mistaken for live when it is not."""
    if model.paused:
        return (f"REPLAY {where}" if model.kind == "replay" else f"PAUSED {where}"), "warn"
    if ended and model.kind != "replay":
        return f"ENDED: {ended[:40]}", BAD
    if model.kind == "replay":
        return f"REPLAY {where}", NOTE
    simulated = model.sample is not None and model.sample.source == "simulated"
    if model.kind == "view":
        return f"VIEW {'SIMULATED' if simulated else f'{model.refresh_hz:g} Hz'}", NOTE if simulated else GOOD
    if model.kind == "demo" or simulated:
        return f"{'DEMO' if model.kind == 'demo' else 'SIMULATED'} {model.refresh_hz:g} Hz", NOTE
    if model.kind == "files" or (model.sample is not None and model.sample.source == "files"):
        return f"FILES {model.refresh_hz:g} Hz", NOTE
    return f"LIVE {model.refresh_hz:g} Hz", GOOD


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


def tab_words(open_events: int) -> list[tuple[Screen, str]]:
    """What stands on the tab of each screen."""
    titles = {each.name: each.title for each in COMMANDS}
    counts = {"events": f"({open_events})"} if open_events else {}
    return [(name, f" {place} {titles[name]}{counts.get(name, '')} ") for place, name in enumerate(SCREENS, 1)]


def tab_at(words: Sequence[tuple[Screen, str]], x: int) -> Screen | None:
    """The screen whose tab is at a column."""
    for name, text in words:
        if 0 <= x < len(text):
            return name
        x -= len(text)
    return None


def tabs(words: Sequence[tuple[Screen, str]], screen: str, view: ProfilesView, helps: bool) -> Line:
    """The screens, and the undo countdown wherever one is."""
    segments = []
    for name, text in words:
        here = name == screen and not helps
        segments.append(seg(text, "cursor" if here else WARN if "(" in text else ""))
    if view.waiting is not None:
        segments.append(seg(f" undo in {undo_left(view)} K keep U undo", "warn head"))
    return segments


def hints(commands: Sequence[Command], width: int) -> list[tuple[Command, str, str]]:
    """The keys that matter most here, as many as fit, each with its key and its words as they are shown."""
    found = []
    for command in sorted((each for each in commands if each.footer and each.keys), key=lambda each: each.footer):
        key, words = f" {MARKS.key(command.shown)}", f" {command.title} "
        size = cell_len(key) + len(words)
        if size <= width:
            width -= size
            found.append((command, key, words))
    return found


def hint_at(shown: Sequence[tuple[Command, str, str]], x: int) -> Command | None:
    """The command whose hint is at a column."""
    for command, key, words in shown:
        if 0 <= x < cell_len(key) + len(words):
            return command
        x -= cell_len(key) + len(words)
    return None


def footer(model: Model, shown: Sequence[tuple[Command, str, str]], why: Callable[[Command], str], width: int) -> Line:
    """The hints, or the app's newest word. What does not work now is there, dimmed."""
    if model.message:
        return (seg(fit(f" {model.message}", width), model.message_tone),)
    segments = []
    for command, key, words in shown:
        segments += [seg(key, DIM if why(command) else HEAD), seg(words, DIM)]
    return segments


def undo_left(view: ProfilesView) -> str:
    """How long until a transaction undoes itself, as ``0:47``; empty without one."""
    if view.waiting is None:
        return ""
    left = max(0, int(view.deadline - time.monotonic()))
    return f"{left // 60}:{left % 60:02}"


__all__ = ["WARN", "WIDE", "footer", "header", "hint_at", "hints", "state_of", "tab_at", "tab_words", "tabs", "undo_left"]
