"""Levels as glyphs: how much, told by height, whatever colours a terminal has."""

import locale
import math
import os
from collections.abc import Iterable, Sequence

BLOCKS = "·▁▂▃▄▅▆▇█"
ASCII = ".:-=+*%#@"


def glyphs() -> str:
    """The ramp that this terminal can show: blocks where its character set has them."""
    charset = locale.nl_langinfo(locale.CODESET).upper().replace("-", "")
    return BLOCKS if charset == "UTF8" and os.environ.get("TERM") != "linux" else ASCII


def level(value: float, top: float) -> int:
    """0 for nothing, 1 to 8 on a logarithmic scale that ends at ``top``; anything above 0 shows."""
    if value <= 0:
        return 0
    return max(1, min(8, math.ceil(8 * math.log1p(value) / math.log1p(top))))


def spark(values: Iterable[float], width: int, top: float | None = None) -> str:
    """The newest ``width`` values, one glyph each, the newest on the right."""
    shown: Sequence[float] = list(values)[-width:]
    highest = top if top is not None else max(shown, default=0.0)
    ramp = glyphs()
    drawn = "".join(ramp[level(value, highest)] if highest > 0 else ramp[0] for value in shown)
    return drawn.rjust(width)


def bar(share: float, width: int) -> str:
    """A share of 1 as a bar."""
    full = glyphs()[8]
    return full * max(0, min(width, round(share * width)))
