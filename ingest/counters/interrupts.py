"""/proc/interrupts: who was interrupted, how often, by what.

Facts (kernel/irq/proc.c show_interrupts, arch/x86/kernel/irq.c arch_show_interrupts):

* The header names the columns: the online CPUs. It is read anew each time, for CPUs come and go.
* ``ERR`` and ``MIS`` have one count for the whole machine. Counts are 32 bits and wrap.
* Behind the counts stand chip, hardware number and trigger, and the actions; behind a letter row a description.
* Most rows do not move between two reads: a row is parsed only where its bytes changed.
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
    """Parses the file again and again; rows that did not change are taken from the time before."""

    def __init__(self) -> None:
        self._header = b""
        self._cpus: tuple[int, ...] = ()
        self._known: dict[bytes, tuple[bytes, Row]] = {}

    def parse(self, raw: bytes) -> Table:
        """The table. Lines that are no rows are left out."""
        header, _, body = raw.partition(b"\n")
        if header != self._header:
            self._header, self._known = header, {}
            self._cpus = tuple(int(word[3:]) for word in header.split() if word.startswith(b"CPU") and word[3:].isdigit())
        rows: dict[str, Row] = {}
        known: dict[bytes, tuple[bytes, Row]] = {}
        for line in body.split(b"\n"):
            label, colon, rest = line.partition(b":")
            if not colon:
                continue
            before = self._known.get(label)
            row = before[1] if before is not None and before[0] == rest else _parse_row(label, rest, len(self._cpus))
            known[label] = (rest, row)
            rows[row.label] = row
        self._known = known
        return Table(self._cpus, rows)


def _parse_row(label: bytes, rest: bytes, columns: int) -> Row:
    name = label.strip().decode("ascii", "replace")
    words = rest.split(None, columns)
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
