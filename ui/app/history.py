"""Figures over time: what each core, interface and loss did in the samples behind the one on screen.

One byte a figure for what is drawn (its level), four for what is told (its value). A tick writes whole columns by slices.
600 samples of 128 cores are 3 MB.
"""

from array import array
from collections import deque
from collections.abc import Callable, Sequence
from itertools import repeat
from operator import attrgetter, itemgetter
from typing import TypeVar

from ingest.sample import CoreSample, Sample
from ui.app.losses import lost_by_place
from ui.app.policy import METRICS
from ui.app.widgets.ramp import levels

T = TypeVar("T", int, float)
Kept = TypeVar("Kept", bytearray, "array[float]")

SAMPLES = 600
_FIRST = itemgetter(0)
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

    def copy(self, place: int, other: "_Band", former: int) -> None:
        """Takes the row of a thing over."""
        here, there = (slice(each * SAMPLES, (each + 1) * SAMPLES) for each in (place, former))
        self.levels[here], self.values[here] = other.levels[there], other.values[there]


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
        self._seen: dict[str, dict[int, float]] = {}

    def clear(self) -> None:
        """Forgets everything."""
        self.count = self.hidden = 0
        self._cpus, self._places = (), {}
        self._named.clear()
        self._seen.clear()
        self.generation += 1

    def take(self, sample: Sample) -> None:
        """One more sample. A CPU that comes begins with nothing; those that stay keep what they did."""
        cpus = tuple(map(attrgetter("cpu"), sample.cores))
        if cpus != self._cpus:
            self._seat(cpus)
        if sample.interval_s > 0:
            self.interval_s = sample.interval_s
        place = self.count % SAMPLES
        for metric in METRICS:
            self._bands[metric.name].write(place, list(map(metric.value, sample.cores)))
        for nic in sample.nics:
            self.note("rx", nic.name, nic.rx_packets_per_s)
            self.note("drops", nic.name, nic.drops_per_s)
        for where, per_s in lost_by_place(sample).items():
            self.note("lost", where, per_s)
        self._see(sample)
        self.count += 1
        self.generation += 1

    def _seat(self, cpus: tuple[int, ...]) -> None:
        """Other CPUs than before: rows go with those that stay."""
        bands = {metric.name: _Band(len(cpus), metric.top) for metric in METRICS}
        for place, cpu in enumerate(cpus):
            former = self._places.get(cpu)
            if former is not None:
                for name, band in bands.items():
                    band.copy(place, self._bands[name], former)
        self._cpus, self._places, self._bands = cpus, {cpu: place for place, cpu in enumerate(cpus)}, bands

    def _see(self, sample: Sample) -> None:
        """When each row of /proc/interrupts last moved, by CPU."""
        for irq in sample.irqs:
            if irq.per_cpu_per_s:
                seen = self._seen.setdefault(irq.irq, {})
                seen.update(zip(map(_FIRST, irq.per_cpu_per_s), repeat(sample.time_s), strict=False))

    def seen_s(self, label: str, cpu: int) -> float | None:
        """The wall clock of the last sample in which a row of /proc/interrupts moved on a CPU; None where none did."""
        return self._seen.get(label, {}).get(cpu)

    def note(self, kind: str, name: str, value: float) -> None:
        """A figure of something that is no core, in the sample that is being taken."""
        kept = self._named.get((kind, name))
        if kept is None:
            kept = self._named[kind, name] = deque(maxlen=SAMPLES)
        kept.append(value)

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
        kept = self._named.get((kind, name))
        if kept is None:
            return []
        shown = list(kept)
        return list(self._columns(shown[: len(shown) - self.hidden] if self.hidden else shown, columns))

    def core_samples(self, cpu: int, metric: str, seconds: float) -> list[float]:
        """The figures of a core in each sample of so many seconds, newest last."""
        place, band = self._places.get(cpu), self._bands.get(metric)
        if place is None or band is None or not self.interval_s:
            return []
        return list(self._part(band.values, place, max(1, round(seconds / self.interval_s))))

    def _span(self, kept: Kept, place: int, columns: int) -> Kept:
        """The part of a row that is in view, in order: whole columns, and what came since the last of them."""
        each = self._each
        return self._part(kept, place, columns * each + (self.count - self.hidden) % each)

    def _part(self, kept: Kept, place: int, samples: int) -> Kept:
        end = self.count - self.hidden
        first = max(0, self.count - SAMPLES, end - samples)
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
        rest = (self.count - self.hidden) % each
        whole = (len(values) - rest) // each * each if len(values) > rest else 0
        start = len(values) - rest - whole
        found = list(map(max, zip(*[iter(values[start : start + whole])] * each, strict=True)))
        if rest and values:
            found.append(max(values[-rest:]))
        return found[-columns:]


def metric_values(metric: str) -> Callable[[CoreSample], float]:
    """How a core's figure of this name is read."""
    return next(each.value for each in METRICS if each.name == metric)
