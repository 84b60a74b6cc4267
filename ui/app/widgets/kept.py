"""Lines that are kept as long as what they say stays: the very same object is what makes a row cost nothing."""

from operator import is_

from rich.segment import Segment

from ui.app.widgets.lines import Line, cut, rule, seg
from ui.app.widgets.tones import TONES


class Kept:
    """Lines by the place where they stand."""

    def __init__(self) -> None:
        self._generation = -1
        self._said: dict[object, tuple[object, Line]] = {}
        self._joined: dict[object, tuple[tuple[Line, ...], Line]] = {}

    def _fresh(self) -> None:
        if TONES.generation != self._generation:
            self._generation = TONES.generation
            self._said.clear()
            self._joined.clear()

    def text(self, place: object, parts: tuple[tuple[str, str], ...], width: int) -> Line:
        """(text, tone) after (text, tone), cut off or filled up to ``width``."""
        self._fresh()
        key = (parts, width)
        kept = self._said.get(place)
        if kept is not None and kept[0] == key:
            return kept[1]
        line = cut([seg(text, tone) for text, tone in parts], width)
        self._said[place] = key, line
        return line

    def rule(self, place: object, title: str, width: int, tone: str = "dim") -> Line:
        """A line with a title in it."""
        self._fresh()
        key = (title, width, tone)
        kept = self._said.get(place)
        if kept is not None and kept[0] == key:
            return kept[1]
        line = rule(title, width, tone)
        self._said[place] = key, line
        return line

    def joined(self, place: object, parts: tuple[Line, ...], between: Segment | None = None) -> Line:
        """Lines of full width one behind the other."""
        self._fresh()
        kept = self._joined.get(place)
        if kept is not None and len(kept[0]) == len(parts) and all(map(is_, kept[0], parts)):
            return kept[1]
        segments: list[Segment] = []
        for at, part in enumerate(parts):
            if at and between is not None:
                segments.append(between)
            segments += part
        line = tuple(segments)
        self._joined[place] = parts, line
        return line
