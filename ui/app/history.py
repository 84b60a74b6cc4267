"""Figures over time: what each core, interface and loss did in the samples behind the one on screen.

One byte a figure for what is drawn (its level), four for what is told (its value). A tick writes whole columns by slices.
600 samples of 128 cores are 3 MB.
"""

from array import array
from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TypeVar

from ingest.sample import CoreSample, Sample
from ui.app.feed_figures import note_figures
from ui.app.policy import METRICS
from ui.app.widgets.ramp import levels

T = TypeVar("T", int, float)
Kept = TypeVar("Kept", bytearray, "array[float]")

SAMPLES = 600
COLUMNS_S = (0.5, 1.0, 2.0, 5.0, 10.0)  # what a column of a history may stand for


class _Band:
    """One figure of many things: a row of ``SAMPLES`` for each, written column by column."""

    def __init__(self, count: int, top: float) -> None:
        self.count, self.top = count, top
        self.levels = bytearray(count * SAMPLES)
        self.values = array("f", bytes(4 * count * SAMPLES))

    def write(self, place: int, values: Sequence[float]) -> None:
        self.values[place::SAMPLES] = array("f", values)
        self.levels[place::SAMPLES] = levels(values, self.top)


class History:
    """The last ``SAMPLES`` samples before the one shown. ``column_s`` is what one column of a drawing stands for."""

    def __init__(self) -> None:
        self.column_s = COLUMNS_S[0]
        self.interval_s = 0.5
        self.count = 0  # samples taken
        self.hidden = 0  # of these, newer than what is shown
        self.generation = 0  # rises with each sample and each move
        self._cpus: tuple[int, ...] = ()
        self._places: dict[int, int] = {}
        self._bands: dict[str, _Band] = {}
        self._named: dict[tuple[str, str], deque[float]] = {}
        self._noted: dict[tuple[str, str], int] = {}  # the number of the sample that it was noted in last

    def clear(self) -> None:
        """Forgets everything."""
        self.count = self.hidden = 0
        self._cpus = ()
        self._named.clear()
        self._noted.clear()
        self.generation += 1

    def take(self, sample: Sample) -> None:
        """One more sample; the CPUs of another set begin anew."""
        cpus = tuple(map(attrgetter("cpu"), sample.cores))
        if cpus != self._cpus:
            self.clear()
            self._cpus, self._places = cpus, {cpu: place for place, cpu in enumerate(cpus)}
            self._bands = {metric.name: _Band(len(cpus), metric.top) for metric in METRICS}
        if sample.interval_s > 0:
            self.interval_s = sample.interval_s
        place = self.count % SAMPLES
        for metric in METRICS:
            self._bands[metric.name].write(place, [metric.value(core) for core in sample.cores])
        for nic in sample.nics:
            self.note("rx", nic.name, nic.rx_packets_per_s)
            self.note("drops", nic.name, nic.drops_per_s)
        if sample.rings or sample.feeds:
            note_figures(self.note, sample)
        self.count += 1
        self.generation += 1

    def note(self, kind: str, name: str, value: float) -> None:
        """A figure of something that is no core, in the sample that is being taken."""
        key = kind, name
        kept = self._named.get(key)
        if kept is None:
            kept = self._named[key] = deque(maxlen=SAMPLES)
        elif self._noted[key] != self.count - 1:
            kept.extend([0.0] * min(SAMPLES, self.count - 1 - self._noted[key]))  # it was away
        kept.append(value)
        self._noted[key] = self.count

    def look(self, hidden: int) -> None:
        """Ends the view so many samples before the newest."""
        if hidden != self.hidden:
            self.hidden = hidden
            self.generation += 1

    def core_levels(self, cpu: int, metric: str, columns: int) -> bytes:
        """The levels of a core, newest last, at most ``columns``."""
        place, band = self._places.get(cpu), self._bands.get(metric)
        if place is None or band is None:
            return b""
        return bytes(self._columns(self._span(band.levels, place, columns), columns))

    def core_values(self, cpu: int, metric: str, columns: int) -> list[float]:
        """The figures of a core, newest last, at most ``columns``: the highest in each column's time."""
        place, band = self._places.get(cpu), self._bands.get(metric)
        if place is None or band is None:
            return []
        return list(self._columns(self._span(band.values, place, columns), columns))

    def values(self, kind: str, name: str, columns: int) -> list[float]:
        """The figures of something that is no core: ``rx`` and ``drops`` of an interface, and what was noted."""
        shown = self._all(kind, name)
        return list(self._columns(shown[: len(shown) - self.hidden] if self.hidden else shown, columns))

    def before(self, kind: str, name: str, ago_s: float, seconds: float) -> list[float]:
        """What a named figure was for some seconds, sample by sample, up to so many seconds before the sample shown.

        Empty where it is not kept that long.
        """
        kept, each = self._all(kind, name), self.interval_s or 1.0
        end = max(0, len(kept) - self.hidden - round(max(0.0, ago_s) / each))
        return kept[max(0, end - max(1, round(seconds / each))) : end]

    def back(self, kind: str, name: str, samples: int) -> float | None:
        """A named figure so many samples before the one shown; None where it is not kept."""
        kept = self._named.get((kind, name))
        if kept is None:
            return None
        place = len(kept) + self.count - 1 - self._noted[kind, name] - self.hidden - samples - 1
        return None if place < 0 else kept[place] if place < len(kept) else 0.0

    def _all(self, kind: str, name: str) -> list[float]:
        """All that is kept of a named figure, the newest sample last."""
        key = kind, name
        kept = self._named.get(key)
        if kept is None:
            return []
        away = self.count - 1 - self._noted[key]
        return [*kept, *[0.0] * min(SAMPLES, away)][-SAMPLES:] if away > 0 else list(kept)

    def _span(self, kept: Kept, place: int, columns: int) -> Kept:
        """The part of a row that is in view, in order."""
        end = self.count - self.hidden
        first = max(0, self.count - SAMPLES, end - columns * self._each)
        row = kept[place * SAMPLES : (place + 1) * SAMPLES]
        if end <= first:
            return row[:0]
        start, stop = first % SAMPLES, (end - 1) % SAMPLES + 1
        return row[start:stop] if start < stop else row[start:] + row[:stop]

    @property
    def _each(self) -> int:
        return max(1, round(self.column_s / self.interval_s)) if self.interval_s else 1

    def _columns(self, values: Sequence[T], columns: int) -> Sequence[T]:
        each = self._each
        if each == 1:
            return values[-columns:]
        # columns end at fixed samples, so that a drawing shifts and does not flicker
        offset = (self.count - self.hidden) % each
        whole = len(values) - offset
        cuts = [max(0, whole - each * (n + 1)) for n in range(columns)][::-1]
        found = [max(values[at : max(at + each, 1)]) for at in dict.fromkeys(cuts) if at < whole]
        if offset and values:
            found.append(max(values[-offset:]))
        return found[-columns:]


def metric_values(metric: str) -> Callable[[CoreSample], float]:
    """How a core's figure of this name is read."""
    return next(each.value for each in METRICS if each.name == metric)
