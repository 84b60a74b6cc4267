"""The one table of keys: key dispatch, footer, help and palette all come from it."""

from dataclasses import dataclass
from typing import Literal

Where = Literal["everywhere", "overview", "nic", "ingest", "profiles"]


@dataclass(frozen=True, slots=True)
class Command:
    """One key: what it does, where it works, and whether it changes the host."""

    keys: tuple[str, ...]
    shown: str
    action: str
    title: str
    explained: str
    where: Where = "everywhere"
    footer: bool = False
    changes_host: bool = False


COMMANDS = (
    Command(("1",), "1", "pane('overview')", "Overview", "every core, every place of loss"),
    Command(("2",), "2", "pane('nic')", "NIC", "one interface: queues, their interrupts, losses"),
    Command(("3",), "3", "pane('ingest')", "Ingest", "a packet ring on an interface: rate, drops, latency"),
    Command(("4",), "4", "pane('profiles')", "Profiles", "plan, apply, verify, keep or undo"),
    Command(("question_mark", "f1"), "?", "help", "help", "this page", footer=True),
    Command(("p", "space"), "p", "pause", "pause", "freezes the view; counting goes on", footer=True),
    Command(("up", "k"), "↑", "move(-1)", "up", "the line above"),
    Command(("down", "j"), "↓", "move(1)", "down", "the line below"),
    Command(("pageup",), "PgUp", "move(-10)", "page up", "ten lines up"),
    Command(("pagedown",), "PgDn", "move(10)", "page down", "ten lines down"),
    Command(("m",), "m", "metric", "metric", "which figure the big map shows", "overview", footer=True),
    Command(("n",), "n", "numbers", "numbers", "glyphs or numbers", "overview", footer=True),
    Command(("s",), "s", "sort", "sort", "by weight, by core, by interruptions", "overview", footer=True),
    Command(("tab",), "tab", "next", "next NIC", "the next interface", "nic", footer=True),
    Command(("tab",), "tab", "next", "next NIC", "the interface for the ring", "ingest", footer=True),
    Command(("enter",), "↵", "ring", "start/stop", "opens the packet ring, or closes it (CAP_NET_RAW)", "ingest", footer=True),
    Command(("enter",), "↵", "plan", "plan", "what the selected profile would change", "profiles", footer=True),
    Command(("a",), "a", "apply", "apply", "applies the plan; undone unless kept", "profiles", footer=True, changes_host=True),
    Command(("v",), "v", "verify", "verify", "looks at every setting of the active profile again", "profiles", footer=True),
    Command(("K",), "K", "keep", "KEEP", "keeps what was applied", "profiles", footer=True, changes_host=True),
    Command(("U",), "U", "undo", "UNDO", "puts everything back", "profiles", footer=True, changes_host=True),
    Command(("left_square_bracket",), "[", "scroll(-5)", "plan up", "scrolls the plan", "profiles"),
    Command(("right_square_bracket",), "]", "scroll(5)", "plan down", "scrolls the plan", "profiles"),
    Command(("less_than_sign",), "<", "slower", "slower", "refreshes the view less often"),
    Command(("greater_than_sign",), ">", "faster", "faster", "refreshes the view more often: 1, 2, 4, 10 Hz"),
    Command(("T",), "T", "theme", "theme", "dark, light, or the terminal's own colours"),
    Command(("escape",), "Esc", "back", "back", "out of help, or out of what was asked"),
    Command(("q",), "q", "quit", "quit", "ends the app; a pending undo timer goes on", footer=True),
)


def commands_of(where: str) -> list[Command]:
    """What works on a pane: its own keys first."""
    return [c for c in COMMANDS if c.where == where] + [c for c in COMMANDS if c.where == "everywhere"]
