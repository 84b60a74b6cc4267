"""Marks beyond ASCII, and what stands for them where a terminal has none.

Screens write ``─``, ``│``, ``…`` and ``▇`` without a thought. In ASCII mode ``Lines`` puts a mark of the same width for each
when a row changed, and a filter does so for the toolkit's own widgets: nothing beyond ASCII leaves the app.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from ui.app.widgets.ramp import ASCII, BLOCKS

# ruff: noqa: RUF001 - marks that look like others are what this is about
_INSTEAD = {
    **dict(zip(BLOCKS, ASCII, strict=True)),
    **dict.fromkeys("─━═╌┄┈╴╶‐‑‒–—―−▔", "-"),
    **dict.fromkeys("│┃║╎┆┊▏▕", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯╔╗╚╝╠╣╦╩╬┏┓┗┛┣┫┳┻╋", "+"),
    **dict.fromkeys("▮▰■▉▊▋▌▍▎▐▒▓", "#"),
    **dict.fromkeys("▯▱□░", "."),
    **dict.fromkeys("•●◆★✱", "*"),
    **dict.fromkeys("○◌◇◦", "o"),
    **dict.fromkeys("▶▸►→➜⇒›»⟶", ">"),
    **dict.fromkeys("◀◂◄←⇐‹«↵⏎", "<"),
    **dict.fromkeys("▲▴△↑⇑", "^"),
    **dict.fromkeys("▼▾▽↓⇓✓✔", "v"),
    **dict.fromkeys("✗✘×✕", "x"),
    **dict.fromkeys("‘’′", "'"),
    **dict.fromkeys("“”″", '"'),
    "…": "~", "≤": "<", "≥": ">", "≈": "~", "±": "+", "µ": "u", "μ": "u", "°": "o", "∞": "8", "⚠": "!", "Σ": "S", "Δ": "d",
    "\u00a0": " ",
}  # fmt: skip
_KEYS = {"↵": "Enter", "↑": "Up", "↓": "Down", "←": "Left", "→": "Right"}
_BEYOND = re.compile(r"[^\x20-\x7e]")


@lru_cache(4096)
def plain(text: str) -> str:
    """``text`` in ASCII and just as wide; of a name that has no letters there, its length is left."""
    return text if text.isascii() else _BEYOND.sub(lambda match: _INSTEAD.get(match[0], "?" * cell_len(match[0])), text)


class AsciiFilter(LineFilter):
    """Puts ASCII for everything that is drawn."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """See LineFilter; a segment that is a control sequence stays as it is."""
        del background
        return [each if each.control or each.text.isascii() else Segment(plain(each.text), each.style) for each in segments]


class Marks:
    """Which marks there are. ``ascii`` is chosen once, when the app starts."""

    def __init__(self) -> None:
        self.ascii = False
        self.filters: Sequence[LineFilter] = ()

    def use(self, ascii_only: bool) -> None:
        """ASCII, or all marks."""
        self.ascii = ascii_only
        self.filters = (AsciiFilter(),) if ascii_only else ()

    def key(self, shown: str) -> str:
        """A key as hints show it: an arrow, or its name."""
        return _KEYS.get(shown, shown) if self.ascii else shown


MARKS = Marks()
