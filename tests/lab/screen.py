"""What stands on a terminal, from the bytes that were sent to it: as much of a VT220 as the app uses.

Sources: ECMA-48 (control functions), XTerm Control Sequences (private modes, OSC), for what is skipped.
"""

import codecs
import re

_SEQUENCE = re.compile(
    r"\x1b\[(?P<private>[<=>?]?)(?P<parameters>[0-9;:]*)[ -/]*(?P<final>[@-~])"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC
    r"|\x1b[PX^_][^\x1b]*\x1b\\"  # DCS, SOS, PM, APC
    r"|\x1b[ -/][0-~]|\x1b[0-~]"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[<=>?]?[0-9;:]*[ -/]*|\][^\x07\x1b]*\x1b?|[PX^_][^\x1b]*\x1b?|[ -/]?)?$")


class Screen:
    """Rows of characters, and which of them are shown in reverse."""

    def __init__(self, width: int = 80, height: int = 24) -> None:
        self.width, self.height = width, height
        self.unknown: set[str] = set()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._x = self._y = 0
        self._reverse = False
        self._cells = [[" "] * width for _ in range(height)]
        self._marks = [[False] * width for _ in range(height)]

    @property
    def lines(self) -> list[str]:
        """The rows."""
        return ["".join(row) for row in self._cells]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines)

    def reversed(self) -> list[str]:
        """The rows in which something is in reverse, only that."""
        rows = zip(self._cells, self._marks, strict=True)
        return ["".join(c for c, mark in zip(*row, strict=True) if mark) for row in rows if any(row[1])]

    def feed(self, data: bytes) -> None:
        """Takes what was sent."""
        text = self._rest + self._decoder.decode(data)
        self._rest = ""
        unfinished = _UNFINISHED.search(text)
        if unfinished is not None and len(text) - unfinished.start() < 4096:
            text, self._rest = text[: unfinished.start()], text[unfinished.start() :]
        place = 0
        for found in _SEQUENCE.finditer(text):
            self._print(text[place : found.start()])
            place = found.end()
            if found["final"] is not None and not found["private"]:
                self._control(found["final"], [int(each) if each.isdigit() else 0 for each in found["parameters"].split(";")])
        self._print(text[place:])

    def _print(self, text: str) -> None:
        for character in text:
            if character == "\r":
                self._x = 0
            elif character == "\n":
                self._y = min(self._y + 1, self.height - 1)
            elif character == "\b":
                self._x = max(0, self._x - 1)
            elif character >= " ":
                if self._x < self.width and self._y < self.height:
                    self._cells[self._y][self._x] = character
                    self._marks[self._y][self._x] = self._reverse
                self._x += 1

    def _control(self, final: str, parameters: list[int]) -> None:
        first = parameters[0]
        many = max(1, first)
        if final in "Hf":
            self._y = min(many, self.height) - 1
            self._x = min(max(1, parameters[1] if len(parameters) > 1 else 1), self.width) - 1
        elif final in "ABCD":
            steps = {"A": (0, -many), "B": (0, many), "C": (many, 0), "D": (-many, 0)}[final]
            self._x = max(0, min(self._x + steps[0], self.width - 1))
            self._y = max(0, min(self._y + steps[1], self.height - 1))
        elif final == "G":
            self._x = many - 1
        elif final == "m":
            for each in parameters:
                self._reverse = True if each == 7 else False if each in (0, 27) else self._reverse
        elif final == "J" and first == 2:
            self._cells = [[" "] * self.width for _ in range(self.height)]
            self._marks = [[False] * self.width for _ in range(self.height)]
        elif final == "K" and first == 0:
            self._cells[self._y][self._x :] = [" "] * (self.width - self._x)
        elif final not in "hlnctuqpr":
            self.unknown.add(final)
