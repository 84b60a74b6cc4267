"""Two blocks side by side whose rows stay the same objects as long as both halves do."""

from collections.abc import Sequence

from ui.app.widgets.lines import Line, cut, seg
from ui.app.widgets.tones import DIM, TONES


class Joined:
    """Remembers the rows that it made of two halves."""

    def __init__(self) -> None:
        self._made: list[tuple[Line, Line, Line]] = []
        self._kind = (0, 0, 0)

    def rows(self, left: Sequence[Line], right: Sequence[Line], left_width: int, width: int, height: int) -> list[Line]:
        """``height`` rows of ``width`` cells: the left half, a bar, the right half."""
        kind = left_width, width, TONES.generation
        if kind != self._kind:
            self._kind, self._made = kind, []
        bar, room = seg("│", DIM), width - left_width - 1
        del self._made[height:]
        for y in range(height):
            one: Line = left[y] if y < len(left) else ()
            other: Line = right[y] if y < len(right) else ()
            if y < len(self._made):
                made = self._made[y]
                if made[0] is one and made[1] is other:
                    continue
            row = (one, other, (*cut(one, left_width), bar, *cut(other, room)))
            self._made[y : y + 1] = [row]
        return [line for _, _, line in self._made]
