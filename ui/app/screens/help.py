"""The help: the keys of the screen that it came from and of everywhere, and what that screen shows. Typing searches it."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ui.app.screens.help_texts import READING, SHOWS, Text
from ui.app.widgets.lines import Line, beside, cut, fit, rule, seg
from ui.app.widgets.marks import MARKS
from ui.app.widgets.tones import DIM, HEAD, NOTE, TONES
from ui.key_names import spelled
from ui.keys import Command, Keys, Screen

WIDE = 120
_KEYS, _TITLE, _HEADING = 10, 15, 14  # cells
_ROOM = 60  # characters of a search


@dataclass(frozen=True, slots=True)
class _Part:
    """Something that is found or not as a whole. ``group`` is the rule above it."""

    group: str
    words: str
    lines: tuple[Line, ...]


class HelpPane:
    """Draws the help of one screen.

    Args:
        keys: the keys in force.
        why: why a command does not work now; empty where it does.
    """

    def __init__(self, keys: Keys, why: Callable[[Command], str]) -> None:
        self.keys, self.why = keys, why
        self.of: Screen = "overview"
        self.first = 0
        self.search = ""
        self._kind: tuple[object, ...] = ()
        self._made: list[Line] = []

    def open(self, screen: Screen) -> None:
        """Begins anew with the help of a screen."""
        self.of, self.first, self.search = screen, 0, ""

    def typed(self, key: str, character: str | None, command: Command | None) -> bool:
        """Takes a key as a letter of the search; False where it is left to the table.

        The keys of help and back close it, and those that move and type nothing scroll it.
        """
        if key == "backspace":
            self.search = self.search[:-1]
        elif command is not None and command.name == "back" and self.search:
            self.search = ""
        elif character is None or (command is not None and command.name in ("help", "back")):
            return not (command is not None and (command.name in ("help", "back") or command.action.startswith("move")))
        elif character != "/" or self.search:
            self.search = (self.search + character)[:_ROOM]
        self.first = 0
        return True

    def move(self, rows: int, columns: int) -> None:
        """Scrolls."""
        del columns
        self.first = max(0, self.first + rows)

    def lines(self, width: int, height: int) -> list[Line]:
        """The page: keys, and beside or below them what the screen shows."""
        page = self._page(width)
        room = max(0, height - 1)
        self.first = min(self.first, max(0, len(page) - room))
        return [self._head(width, len(page), room), *page[self.first : self.first + room]]

    def _page(self, width: int) -> list[Line]:
        """The whole page; the same lines for as long as nothing of it changes."""
        why = tuple(map(self.why, self.keys.commands_of(self.of)))
        kind = (self.of, self.search, width, why, TONES.generation)
        if kind == self._kind:
            return self._made
        if width >= WIDE:
            left = width // 2
            keys = _grouped(self._keys(left - 1), self.search, left - 1)
            shown = _grouped(self._texts(width - left - 2), self.search, width - left - 2)
            page = beside(keys, [(seg(" "), *line) for line in shown], left, max(len(keys), len(shown)))
        else:
            page = _grouped([*self._keys(width), *self._texts(width)], self.search, width)
        self._kind, self._made = kind, page
        return page

    def _head(self, width: int, total: int, room: int) -> Line:
        place = f"  {self.first + 1}-{min(self.first + room, total)} of {total} " if total > room else " "
        cursor = "█" if self.search else ""
        said = (seg(" / "), seg(self.search, NOTE), seg(cursor)) if self.search else (seg(" type to search", DIM),)
        ends = seg("   ↑↓ scroll   Esc closes" if not self.search else "   Esc ends the search", DIM)
        return (*cut((*said, ends), max(0, width - len(place))), seg(place, DIM))

    def _keys(self, width: int) -> list[_Part]:
        found = self.keys.commands_of(self.of)
        parts = []
        for command in sorted(found, key=lambda each: not each.where):
            group = f"keys of {self.of}" if command.where else "keys everywhere"
            parts.append(self._key(command, group, width))
        return parts

    def _key(self, command: Command, group: str, width: int) -> _Part:
        why = self.why(command)
        keys = " ".join([MARKS.key(command.shown), *map(spelled, command.keys[1:])])
        words = f"{command.explained} (not now: {why})" if why else command.explained
        wrapped = textwrap.wrap(words, max(10, width - _KEYS - _TITLE - 3)) or [""]
        first = (seg(f" {fit(keys, _KEYS)} ", DIM if why else HEAD), seg(f"{fit(command.title, _TITLE)} ", DIM if why else ""),
            seg(wrapped[0], DIM))  # fmt: skip
        rest = [(seg(" " * (_KEYS + _TITLE + 3) + line, DIM),) for line in wrapped[1:]]
        return _Part(group, f"{keys} {command.name} {command.title} {words}", (first, *rest))

    def _texts(self, width: int) -> list[_Part]:
        shows = [_text(each, f"what {self.of} shows", width) for each in SHOWS[self.of]]
        return shows + [_text(each, "reading any screen", width) for each in READING]


def _text(text: Text, group: str, width: int) -> _Part:
    heading, words = text
    wrapped = textwrap.wrap(words, max(10, width - _HEADING - 2))
    lines = [
        (seg(f" {fit(heading if n == 0 else '', _HEADING)} ", HEAD), seg(line)) for n, line in enumerate(wrapped)
    ]  # fmt: skip
    return _Part(group, f"{heading} {words}", tuple(lines))


def _grouped(parts: Sequence[_Part], search: str, width: int) -> list[Line]:
    """The parts in which all words of the search are, each group below its rule."""
    words = search.lower().split()
    lines: list[Line] = []
    group = ""
    for part in parts:
        low = part.words.lower()
        if all(word in low for word in words):
            if part.group != group:
                group = part.group
                lines.append(rule(group, width))
            lines += part.lines
    return lines or [(seg(fit(" nothing of that here", width), DIM),)]
