"""The one table of keys: dispatch, footer, help, palette, ``quietcore keys --json``, keymap file and manual page come from it.

It knows no toolkit but for its names of keys ("question_mark": ``ui/key_names.py``), so that a headless command can print it.
The app asks a ``Keys``: the table, or what a keymap file made of it (``ui/keymap.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ui.key_names import spelled

Screen = Literal["overview", "core", "irqs", "nic", "ingest", "profiles", "events"]
SCREENS: tuple[Screen, ...] = ("overview", "core", "irqs", "nic", "ingest", "profiles", "events")
Needs = Literal["", "root", "host", "past"]


@dataclass(frozen=True, slots=True)
class Command:
    """What one key does.

    ``name`` is what the keymap file, the palette and ``keys --json`` call it: unique on a screen. ``action`` is a method of the
    app, or ``pane('x')``: the method ``do_x`` of the screen shown. ``where`` is empty for what works everywhere; a screen's own
    command with the same key goes before it. ``footer`` orders the hints below a screen, 0 leaves it out. ``needs`` is ``root``
    for what changes the host, ``host`` for what asks this one (a recording is no host to ask, nor is a stream), ``past`` for
    what needs samples to look back at.
    """

    name: str
    keys: tuple[str, ...]
    shown: str
    action: str
    title: str
    explained: str
    where: tuple[Screen, ...] = ()
    footer: int = 0
    needs: Needs = ""


_LISTS: tuple[Screen, ...] = ("overview", "irqs", "nic", "ingest", "profiles", "events")

COMMANDS = (
    Command("overview", ("1",), "1", "show('overview')", "Overview", "every core, every place of loss, what is wrong now"),
    Command("core", ("2",), "2", "show('core')", "Core", "one core: its history, who runs there, how it compares"),
    Command("irqs", ("3",), "3", "show('irqs')", "IRQs",
        "every interrupt: where it is, where it may be, and whether it should"),
    Command("nic", ("4",), "4", "show('nic')", "NIC", "one interface: from its wire to the cores that serve its queues"),
    Command("ingest", ("5",), "5", "show('ingest')", "Ingest", "packet rings and feeds: rate, drops, latency, gaps"),
    Command("profiles", ("6",), "6", "show('profiles')", "Profiles", "plan, apply, verify, keep or undo"),
    Command("events", ("7",), "7", "show('events')", "Events", "what happened, what it was linked to, and what to do"),
    # moving
    Command("up", ("up", "k"), "↑", "move(-1, 0)", "up", "the line above"),
    Command("down", ("down", "j"), "↓", "move(1, 0)", "down", "the line below"),
    Command("left", ("left", "h"), "←", "move(0, -1)", "left", "the core, interface or column to the left"),
    Command("right", ("right", "l"), "→", "move(0, 1)", "right", "the core, interface or column to the right"),
    Command("page up", ("pageup",), "PgUp", "move(-10, 0)", "page up", "ten lines up"),
    Command("page down", ("pagedown",), "PgDn", "move(10, 0)", "page down", "ten lines down"),
    Command("top", ("home",), "Home", "move(-1000000, 0)", "top", "the first line"),
    Command("bottom", ("end", "G"), "End", "move(1000000, 0)", "bottom", "the last line"),
    Command("enter", ("enter",), "↵", "enter", "in", "into what the cursor is on", footer=4),
    Command("back", ("escape",), "Esc", "back", "back", "out of help, filter or zoom, or to the screen before"),
    # overview
    Command("metric", ("m",), "m", "pane('metric')", "metric", "which figure the first map shows", ("overview", "core"), 2),
    Command("numbers", ("n",), "n", "pane('numbers')", "numbers", "glyphs or numbers in the map", ("overview",), 3),
    Command("group", ("g",), "g", "pane('group')", "group", "cores by node, by last-level cache, or by role", ("overview",), 6),
    Command("next panel", ("tab",), "tab", "pane('next_panel')", "panel", "the next panel", ("overview", "core", "ingest",
        "events"), 9),
    # core
    Command("range", ("H",), "H", "pane('histogram')", "range", "the time that the histogram covers", ("core",), 3),
    # irqs
    Command("breaks", ("a",), "a", "pane('breaks')", "all/breaks",
        "all interrupts, or those that break a core's policy", ("irqs",), 2),
    Command("devices", ("g",), "g", "pane('group')", "group", "interrupts by device", ("irqs",), 6),
    # nic
    Command("next nic", ("tab",), "tab", "pane('next')", "next NIC", "the next interface", ("nic",), 1),
    Command("since", ("w",), "w", "pane('window')", "window",
        "losses of the last second, minute, or since the mark", ("nic",), 2),
    Command("changed", ("d",), "d", "pane('changed')", "changed", "only the stages whose counters moved", ("nic",), 3),
    Command("mark", ("r",), "r", "pane('mark')", "mark", "counts losses from now on", ("nic",), 6),
    # ingest
    Command("ring", ("o",), "o", "pane('ring')", "ring",
        "opens a packet ring on an interface, or closes it (CAP_NET_RAW)", ("ingest",), 2, "host"),
    Command("next source", ("w",), "w", "pane('next')", "interface", "the interface for the ring", ("ingest",), 3),
    Command("linked", ("c",), "c", "linked", "linked", "the cause that is linked to this, on its own screen", ("ingest",
        "events"), 3),
    Command("gaps", ("g",), "g", "pane('gaps')", "gaps only", "only the feeds that miss something", ("ingest",), 6),
    # profiles
    Command("plan", ("enter",), "↵", "enter", "plan", "what the selected profile would change", ("profiles",), 1,
        "host"),
    Command("pick", ("space",), "spc", "pane('pick')", "pick",
        "takes the selected change in or out of the apply", ("profiles",), 2),
    Command("apply", ("a",), "a", "apply", "apply", "applies what is picked; undone again unless kept", ("profiles",), 3,
        "root"),
    Command("verify", ("v",), "v", "verify", "verify", "looks at every setting of the active profile again", (), 0, "host"),
    Command("keep", ("K",), "K", "keep", "KEEP", "keeps the transaction that waits", (), 0, "root"),
    Command("undo", ("U",), "U", "undo", "UNDO", "puts everything back", (), 0, "root"),
    Command("diff", ("d",), "d", "pane('diff')", "diff",
        "now and wanted side by side, or one below the other", ("profiles",), 6),
    Command("bind", ("b",), "b", "pane('bind')", "bind", "which NIC the selected profile is for: the next one", ("profiles",)),
    Command("panel", ("tab",), "tab", "pane('next_panel')", "panel", "profiles or changes", ("profiles",), 5),
    # events
    Command("level", ("L",), "L", "pane('level')", "level", "the least level that is listed", ("events",), 2),
    Command("follow", ("F",), "F", "pane('follow')", "follow", "keeps the newest event selected", ("events",), 5),
    Command("acknowledge", ("A",), "A", "pane('acknowledge')", "ack",
        "acknowledges the selected event; twice: all of them", ("events",), 1),
    # on any list
    Command("filter", ("slash",), "/", "filter", "filter",
        "shows what matches: core:8-63 rate>10 policy:break eth2", _LISTS, 5),
    Command("sort", ("s",), "s", "pane('sort')", "sort", "sorts by the next column", ("overview", "irqs", "nic", "ingest",
        "events"), 4),
    Command("reverse", ("S",), "S", "pane('reverse')", "reverse", "sorts the other way round", ("overview", "irqs", "nic",
        "ingest", "events")),
    Command("zoom", ("z",), "z", "zoom", "zoom", "the panel with the cursor alone on the screen", (), 7),
    # time
    Command("pause", ("p", "space"), "p", "pause", "pause", "freezes the view, or lets it go on; counting goes on", (), 5),
    Command("step back", ("left_square_bracket",), "[", "step(-1)", "step back", "one sample back", (), 8, "past"),
    Command("step", ("right_square_bracket",), "]", "step(1)", "step", "one sample on", (), 0, "past"),
    Command("minute back", ("left_curly_bracket",), "{", "seconds(-60)", "minute back", "one minute back", (), 0, "past"),
    Command("minute", ("right_curly_bracket",), "}", "seconds(60)", "minute on", "one minute on", (), 0, "past"),
    Command("go to", ("t",), "t", "goto", "go to time", "10:42:07, -90s, +5m, or now", (), 9, "past"),
    Command("longer", ("minus",), "-", "window(1)", "longer", "more time in each column of a history"),
    Command("shorter", ("plus", "equals_sign"), "+", "window(-1)", "shorter", "less time in each column of a history"),
    Command("slower", ("less_than_sign",), "<", "rate(-1)", "slower", "samples and draws less often"),
    Command("faster", ("greater_than_sign",), ">", "rate(1)", "faster", "samples and draws more often: 1, 2, 4, 10 Hz"),
    # doing
    Command("fix", ("f",), "f", "fix", "plan the remedy", "opens the plan that ends what the cursor is on", (), 3, "host"),
    Command("evidence", ("e",), "e", "evidence", "evidence", "keeps the last minute and the next half in a file", (), 8),
    Command("recorder", ("R",), "R", "recorder", "arm", "arms or disarms the recorder that a critical event sets off"),
    Command("export", ("x",), "x", "export", "export", "writes what this screen lists as JSON and CSV"),
    Command("copy", ("y",), "y", "copy", "copy", "copies the command line that shows the same"),
    Command("theme", ("T",), "T", "theme", "theme", "dark, light, the terminal's own colours, or none"),
    Command("palette", ("colon", "ctrl+p"), ":", "palette", "palette",
        "every command, core, interrupt, interface and profile by name", (), 9),
    Command("help", ("question_mark", "f1"), "?", "help", "help", "the keys of this screen; type to search", (), 1),
    Command("quit", ("q",), "q", "quit", "quit", "ends the app; a pending undo timer goes on", (), 10),
)  # fmt: skip


class Keys:
    """The keys in force: those of the table, or what a keymap file made of it.

    Args:
        commands: rows of the table; of two that have one key on a screen, the screen's own goes before what works everywhere.
    """

    def __init__(self, commands: Sequence[Command] = COMMANDS) -> None:
        self.commands = tuple(commands)
        self._on: dict[str, tuple[Command, ...]] = {screen: _on(screen, commands) for screen in SCREENS}
        self._at = {name: {key: each for each in reversed(found) for key in each.keys} for name, found in self._on.items()}

    def commands_of(self, screen: str) -> tuple[Command, ...]:
        """What works on a screen: its own first, then what works everywhere, each with the keys that it has there."""
        return self._on[screen]

    def command_for(self, screen: str, key: str) -> Command | None:
        """The command of a key on a screen."""
        return self._at[screen].get(key)

    def named(self, screen: str, name: str) -> Command | None:
        """The command of a name on a screen."""
        return next((each for each in self._on[screen] if each.name == name), None)


def _on(screen: str, commands: Sequence[Command]) -> tuple[Command, ...]:
    own = [each for each in commands if screen in each.where]
    taken = {key for each in own for key in each.keys}
    found = own
    for each in commands:
        left = tuple(key for key in each.keys if key not in taken)
        if not each.where and (left or not each.keys):  # whose keys are all taken does the same as what took them
            found.append(each if left == each.keys else replace(each, keys=left, shown=_shown(each, left)))
    return tuple(found)


def rekeyed(command: Command, keys: Sequence[str]) -> Command:
    """The command with other keys."""
    return replace(command, keys=tuple(keys), shown=_shown(command, keys))


def _shown(command: Command, keys: Sequence[str]) -> str:
    if not keys:
        return "-"
    return command.shown if keys[0] == command.keys[0] else spelled(keys[0])
