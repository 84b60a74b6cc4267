"""Tones: what a text means, and how each theme shows that. Screens name tones, never colours.

A level is always told by its glyph, too, so that a palette without colours loses nothing but comfort.
"""

from rich.style import Style

PLAIN, DIM, HEAD, CURSOR = "", "dim", "head", "cursor"
GOOD, WARN, BAD, NOTE = "good", "warn", "bad", "note"
COOL = ("cool1", "cool2", "cool3", "cool4")

# (text, background) of the themes that paint their own; the others leave both to the terminal
BACKGROUNDS = {"dark": ("#d5d9e0", "#0f1317"), "light": ("#1b1f24", "#fbfbfa")}

# bold and reverse carry what colour cannot where there is none
PALETTES: dict[str, dict[str, str]] = {
    "dark": {
        "dim": "#7a8290", "head": "bold", "cursor": "reverse", "good": "#7fd48a", "warn": "#f0b23c", "bad": "bold #ff5f5f",
        "note": "bold #c792ea", "cool1": "#3f7fae", "cool2": "#4fa3d1", "cool3": "#62c4e8", "cool4": "#9be3ff",
    },
    "light": {
        "dim": "#6a6f78", "head": "bold", "cursor": "reverse", "good": "#00706a", "warn": "#946000", "bad": "bold #a8001e",
        "note": "bold #7b2fa8", "cool1": "#5f8fb4", "cool2": "#2f75a8", "cool3": "#0f5f98", "cool4": "#003f73",
    },
    "ansi": {
        "dim": "dim", "head": "bold", "cursor": "reverse", "good": "green", "warn": "yellow", "bad": "bold red",
        "note": "bold magenta", "cool1": "blue", "cool2": "cyan", "cool3": "bright_cyan", "cool4": "bold bright_cyan",
    },
    "mono": {
        "dim": "dim", "head": "bold", "cursor": "reverse", "good": "none", "warn": "underline", "bad": "bold underline",
        "note": "bold", "cool1": "none", "cool2": "none", "cool3": "none", "cool4": "bold",
    },
}  # fmt: skip


class Tones:
    """The palette in use. ``generation`` rises with each change: whatever keeps drawn lines keeps it beside them."""

    def __init__(self) -> None:
        self.name = "dark"
        self.generation = 0
        self._styles: dict[str, Style | None] = {"": None}

    def use(self, name: str) -> None:
        """Takes another palette."""
        if name != self.name:
            self.name = name
            self.generation += 1
            self._styles = {"": None}

    def style(self, tone: str) -> Style | None:
        """How a tone looks now; ``"bad cursor"`` is both of them. Parsed once."""
        try:
            return self._styles[tone]
        except KeyError:
            words = [PALETTES[self.name].get(each, each) for each in tone.split()]
            found = self._styles[tone] = Style.parse(" ".join(word for word in words if word != "none") or "none")
            return found


TONES = Tones()
