"""/proc/interrupts: who was interrupted, how often, by what.

Facts (kernel/irq/proc.c show_interrupts, arch/x86/kernel/irq.c arch_show_interrupts):

* The header names the columns: the online CPUs. It is read anew each time, for CPUs come and go.
* ``ERR`` and ``MIS`` have one count for the whole machine. Counts are 32 bits and wrap.
* Behind the counts stand chip, hardware number and trigger, and the actions; behind a letter row a description.
* A count is a blank and at least ten places; so its column begins at a multiple of eleven, until a text comes.
* Most rows do not move between two reads, and most of those that move do so in few columns: only what changed is parsed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

TIMER = frozenset({"LOC"})
IPI = frozenset({"RES", "CAL", "TLB", "IWI", "IPI0", "IPI1", "IPI2", "IPI3", "IPI4", "IPI5", "IPI6"})
_WHOLE_MACHINE = frozenset({"ERR", "MIS", "Err"})


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its label (``142``, ``LOC``), counts in the order of the columns, and the text behind them."""

    label: str
    counts: tuple[int, ...]
    text: str

    @property
    def kind(self) -> str:
        """``device``, ``timer``, ``ipi`` or ``other``."""
        if self.label.isdigit():
            return "device"
        return "timer" if self.label in TIMER else "ipi" if self.label in IPI else "other"


@dataclass(frozen=True, slots=True)
class Table:
    """The whole file: ``cpus`` names the columns of every row."""

    cpus: tuple[int, ...]
    rows: Mapping[str, Row]


class Parser:
    """Parses the file again and again; rows that did not change are taken from the time before, as the same objects."""

    def __init__(self) -> None:
        self._header = b""
        self._cpus: tuple[int, ...] = ()
        self._lines: list[bytes] = []  # with their ends
        self._rows: dict[str, Row] = {}
        self._known: dict[bytes, Row] = {}  # by the label with its blanks
        self._odd: set[bytes] = set()  # labels of rows that had another form than a count in every column
        self._plain = False  # a row for each line, and each line's label its own

    def parse(self, raw: bytes) -> Table:
        """The table. Lines that are no rows are left out."""
        start = raw.find(b"\n") + 1 or len(raw)
        header = raw[:start]
        if header != self._header:
            self._header, self._plain, self._odd = header, False, set()
            self._cpus = tuple(int(word[3:]) for word in header.split() if word.startswith(b"CPU") and word[3:].isdigit())
        if not self._plain or not self._moved(raw, start):
            self._whole(raw[start:])
        return Table(self._cpus, self._rows)

    def _moved(self, raw: bytes, at: int) -> bool:
        """Takes up what changed, and copies no line that did not; False where another row stands in a row's place."""
        rows, changed = self._rows.copy(), {}
        for place, last in enumerate(self._lines):
            if raw.startswith(last, at):
                at += len(last)
                continue
            end = raw.find(b"\n", at) + 1
            label = last[: last.index(b":")]
            if not end or not raw.startswith(label + b":", at):
                return False
            line = changed[place] = raw[at:end]
            row = self._known[label] = self._row(label, line, last)
            rows[row.label] = row
            at = end
        if at != len(raw):
            return False
        for place, line in changed.items():
            self._lines[place] = line
        self._rows = rows
        return True

    def _whole(self, body: bytes) -> None:
        former = {each[: each.index(b":")]: each for each in self._lines} if self._plain else {}
        known, self._rows = {}, {}
        lines = [line + b"\n" for line in body.split(b"\n")]
        count = 0
        for line in lines:
            colon = line.find(b":")
            if colon >= 0:
                label = line[:colon]
                row = known[label] = self._row(label, line, former.get(label))
                self._rows[row.label] = row
                count += 1
        self._known = known
        self._plain = count == len(self._rows) == len(known) == len(lines) - 1 and body.endswith(b"\n")
        self._lines = lines[:-1] if self._plain else []

    def _row(self, label: bytes, line: bytes, last: bytes | None) -> Row:
        """The row of a line, which was ``last`` before."""
        columns = len(self._cpus)
        if last is not None:
            before = self._known[label]
            if last == line:
                return before
            if columns >= 2 * _CHUNK and label not in self._odd:
                counts = _few_counts(line, last, len(label) + 1, before.counts)
                if counts is not None:
                    return Row(before.label, counts, before.text)
        rest = line[len(label) + 1 :]
        name, words = label.strip().decode("ascii", "replace"), rest.split(None, columns)
        if name in _WHOLE_MACHINE or len(words) < columns or not b"".join(words[:columns]).isdigit():
            self._odd.add(label)
            return _parse_odd(name, words, columns)
        text = words[columns] if len(words) > columns else b""
        if len(text) > len(rest) - columns * _COLUMN:
            self._odd.add(label)
        return Row(name, tuple(map(int, words[:columns])), text.decode("utf-8", "surrogateescape").strip())


_COLUMN = 11  # bytes; kernel/irq/proc.c: " %10u"
_CHUNK = 16  # columns


def _few_counts(line: bytes, last: bytes, start: int, counts: tuple[int, ...]) -> tuple[int, ...] | None:
    """The counts of a row by what changed in it; None where it has another form, another text, or moved everywhere."""
    end, step = start + len(counts) * _COLUMN, _CHUNK * _COLUMN
    if line[end:] != last[end:] or not _regular(line, start, end) or not _regular(last, start, end):
        return None
    starts = [at for at in range(start, end, step) if line[at : at + step] != last[at : at + step]]
    if len(starts) * _CHUNK * 2 > len(counts):
        return None
    found = list(counts)
    for at in starts:
        part = line[at : min(end, at + step)]
        words = part.split()
        if len(words) * _COLUMN != len(part) or not b"".join(words).isdigit():
            return None
        place = (at - start) // _COLUMN
        found[place : place + len(words)] = map(int, words)
    return tuple(found)


def _regular(line: bytes, start: int, end: int) -> bool:
    """Whether each column begins with a blank and ends with a digit, so that words do not reach over its borders."""
    last = line[start + _COLUMN - 1 : end : _COLUMN]
    return line[start:end:_COLUMN].isspace() and last.isdigit() and len(line) >= end


def _parse_odd(name: str, words: list[bytes], columns: int) -> Row:
    """A row that has not a count for every column."""
    counts: list[int] = []
    for word in words[:columns]:
        if not word.isdigit():
            break
        counts.append(int(word))
    text = b" ".join(words[len(counts) :]).decode("utf-8", "surrogateescape").strip()
    if name in _WHOLE_MACHINE:
        counts = []
    counts += [0] * (columns - len(counts))
    return Row(name, tuple(counts), text)


def parse(raw: bytes) -> Table:
    """One file, by itself."""
    return Parser().parse(raw)
