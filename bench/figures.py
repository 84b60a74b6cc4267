"""A figure: a ratio out of one run, with its target beside it; and rounds in which the measured take turns."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

_Measured = TypeVar("_Measured")


class DisagreementError(Exception):
    """Two accounts of the same packets differ: no figure of that run is worth printing, and the bench fails."""


class UnavailableError(Exception):
    """A part cannot be measured here; the text says what is missing. The bench goes on."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. ``at_most`` or ``at_least`` is its target; with neither it is told for what it is worth."""

    name: str
    value: float
    at_most: float | None = None
    at_least: float | None = None
    unit: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.at_most is not None:
            return self.value <= self.at_most
        if self.at_least is not None:
            return self.value >= self.at_least
        return None

    def text(self) -> str:
        """One line: name, value, target, verdict, note."""
        target = ""
        if self.at_most is not None:
            target = f"<= {self.at_most:g}"
        elif self.at_least is not None:
            target = f">= {self.at_least:g}"
        verdict = {True: "met", False: "MISSED", None: ""}[self.met]
        value = f"{self.value:,.0f}" if abs(self.value) >= 1000 else f"{self.value:.{4 if 0 < abs(self.value) < 0.1 else 2}f}"
        return f"  {self.name:54}{value:>11} {self.unit:4}{target:>10}  {verdict:7}{self.note}".rstrip()


class Board:
    """Where the parts of a run put their figures; prints each at once."""

    def __init__(self, out: Callable[[str], None] | None = None) -> None:
        self.figures: list[Figure] = []
        self._out = out or (lambda line: print(line, flush=True))

    def put(self, figure: Figure) -> None:
        self.figures.append(figure)
        self._out(figure.text())

    def note(self, text: str) -> None:
        self._out(f"  {text}")

    def heading(self, text: str) -> None:
        self._out(f"\n{text}")

    def summary(self) -> str:
        judged = [each for each in self.figures if each.met is not None]
        missed = [each.name for each in judged if not each.met]
        told = f"{len(judged) - len(missed)} of {len(judged)} targets met"
        return told + (f"; missed: {'; '.join(missed)}" if missed else "")


def interleaved(measured: Mapping[str, Callable[[], _Measured]], rounds: int) -> dict[str, list[_Measured]]:
    """Each is measured once in every round, so that a change of the machine's load falls on all of them alike."""
    found: dict[str, list[_Measured]] = {name: [] for name in measured}
    names = list(measured)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:  # nobody is always first
            found[name].append(measured[name]())
    return found


def median(values: Iterable[float]) -> float:
    return float(statistics.median(values))


def spread(values: Sequence[float]) -> str:
    """Lowest and highest, in brackets: how much a median is to be trusted."""
    return f"({min(values):.3g} to {max(values):.3g})"
