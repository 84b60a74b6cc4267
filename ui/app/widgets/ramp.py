"""Levels as glyphs: how much, told by height, whatever colours a terminal has."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import repeat

BLOCKS = "·▁▂▃▄▅▆▇█"
ASCII = ".:-=+*%#@"
TOP = 8  # the highest level; 0 is nothing


def glyphs() -> str:
    """The ramp, one glyph for each level. Where a terminal has no blocks, ``marks.py`` puts ``ASCII`` for them."""
    return BLOCKS


@cache
def thresholds(top: float) -> tuple[float, ...]:
    """Where levels 1 to 8 begin to be exceeded, on a logarithmic scale that ends at ``top``; anything above 0 is level 1."""
    whole = math.log1p(top)
    return (0.0, *(math.expm1(whole * step / TOP) for step in range(1, TOP)))


def level(value: float, top: float) -> int:
    """0 for nothing, 1 to 8 on a logarithmic scale that ends at ``top``; anything above 0 shows."""
    return bisect_left(thresholds(top), value)


def levels(values: Iterable[float], top: float) -> bytes:
    """The level of each value."""
    return bytes(map(bisect_left, repeat(thresholds(top)), values))


def drawn(of_levels: Iterable[int]) -> str:
    """Levels as glyphs."""
    return "".join(map(glyphs().__getitem__, of_levels))


def spark(values: Iterable[float], width: int, top: float | None = None) -> str:
    """The newest ``width`` values, one glyph each, the newest on the right."""
    shown: Sequence[float] = list(values)[-width:]
    highest = top if top is not None else max(shown, default=0.0)
    return drawn(levels(shown, highest) if highest > 0 else bytes(len(shown))).rjust(width)


def bar(share: float, width: int) -> str:
    """A share of 1 as a bar."""
    return glyphs()[TOP] * max(0, min(width, round(share * width)))


def short(value: float) -> str:
    """A figure in at most six characters."""
    if value >= 9_999_500:
        return f"{value / 1e6:.0f}M"
    if value >= 99_950:
        return f"{value / 1e3:.0f}k"
    if value >= 9_995:
        return f"{value / 1e3:.1f}k"
    if 0 < value < 0.95:
        return "<1"
    return f"{value:.0f}"
