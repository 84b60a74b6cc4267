"""Figures over time: what each core, interface and loss did in the samples behind the one on screen.

One byte a figure for what is drawn (its level), four for what is told (its value). A tick writes whole columns by slices, and
of a core that did not change not even those are made anew. 600 samples of 128 cores are 3 MB.

Where a column stands for several samples, it holds the highest of them, and columns are kept as samples are: 600 of them.
"""

from array import array
from collections import deque
from collections.abc import Callable, Sequence
from itertools import compress, count, repeat
from operator import attrgetter, is_not, itemgetter
from typing import TypeVar

from ingest.sample import CoreSample, Sample
from ui.app.state.feed_figures import note_figures
from ui.app.state.losses import lost_by_place
from ui.app.state.nic_past import QUEUE_TOP, NicPast, busy
from ui.app.state.policy import METRICS
from ui.app.widgets.ramp import levels

_FIRST = itemgetter(0)
T = TypeVar("T", int, float)
Kept = TypeVar("Kept", bytearray, "array[float]")

SAMPLES = 600
COLUMNS_S = (0.5, 1.0, 2.0, 5.0, 10.0)  # what a column of a history may stand for


class _Ring:
    """A row of ``SAMPLES`` levels and values for each of many things, written column by column."""

    def __init__(self, count: int) -> None:
        self.levels = bytearray(count * SAMPLES)
        self.values = array("f", bytes(4 * count * SAMPLES))

    def write(self, place: int, of_levels: bytes | bytearray, values: "array[float]") -> None:
        self.values[place::SAMPLES] = values
        self.levels[place::SAMPLES] = of_levels


class _Band:
    """One figure of many things: sample by sample, and once a drawing asks for it, by columns of several samples."""

    def __init__(self, count: int, top: float) -> None:
        self.top = top
        self.samples = self.columns = _Ring(count)
        self.each = 1  # samples in a column
        self.first = 0  # the oldest column that is kept
        self._values = array("f", bytes(4 * count))
        self._levels = bytearray(count)

    def write(self, number: int, values: Sequence[float], moved: Sequence[int] | None) -> None:
        """The figures of sample ``number``; ``moved`` are the places of those that may differ from the sample before."""
        if moved is None:
            self._values, self._levels = array("f", values), bytearray(levels(values, self.top))
        else:
            for place, value, of_level in zip(moved, values, levels(values, self.top), strict=True):
                self._values[place], self._levels[place] = value, of_level
        self.samples.write(number % SAMPLES, self._levels, self._values)
        if self.each > 1:
            self._fold(number, self._levels, self._values)

    def _fold(self, number: int, of_levels: bytes | bytearray, values: "array[float]") -> None:
        place = number // self.each % SAMPLES
        if number % self.each:
            of_levels = bytes(map(max, self.columns.levels[place::SAMPLES], of_levels))
            values = array("f", map(max, self.columns.values[place::SAMPLES], values))
        self.columns.write(place, of_levels, values)

    def copy(self, place: int, other: "_Band", former: int) -> None:
        """Takes the row of a thing over."""
        here, there = (slice(each * SAMPLES, (each + 1) * SAMPLES) for each in (place, former))
        self.samples.levels[here], self.samples.values[here] = other.samples.levels[there], other.samples.values[there]

    def by(self, each: int, count: int) -> _Ring:
        """The columns of ``each`` samples, of ``count`` that were taken."""
        if each != self.each:
            self.each, self.columns = each, self.samples
            oldest = max(0, count - SAMPLES)
            self.first = -(-oldest // each)
            if each > 1:
                self.columns = _Ring(len(self._levels))
                for number in range(self.first * each, count):
                    place = number % SAMPLES
                    self._fold(number, self.samples.levels[place::SAMPLES], self.samples.values[place::SAMPLES])
        return self.columns


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
        self._cores: Sequence[CoreSample] = ()
        self._named: dict[tuple[str, str], deque[float]] = {}
        self._seen: dict[str, dict[int, float]] = {}
        self._queue_names: list[tuple[str, int]] = []
        self._queues: dict[tuple[str, int], int] = {}
        self._busy = _Band(0, QUEUE_TOP)
        self.nics = NicPast(SAMPLES)
        self._noted: dict[tuple[str, str], int] = {}  # the number of the sample that it was noted in last

    def clear(self) -> None:
        """Forgets everything."""
        self.count = self.hidden = 0
        self._cpus, self._places, self._bands = (), {}, {}
        self._queue_names, self._queues, self._busy = [], {}, _Band(0, QUEUE_TOP)
        self._named.clear()
        self._seen.clear()
        self.nics.clear()
        self._noted.clear()
        self.generation += 1

    def take(self, sample: Sample) -> None:
        """One more sample. A CPU that comes begins with nothing; those that stay keep what they did."""
        cpus = tuple(map(attrgetter("cpu"), sample.cores))
        if cpus != self._cpus or not self._bands:
            self._seat(cpus)
        if sample.interval_s > 0:
            self.interval_s = sample.interval_s
        self._take_cores(sample.cores)
        for nic in sample.nics:
            self.note("rx", nic.name, nic.rx_packets_per_s)
            self.note("drops", nic.name, nic.drops_per_s)
        for where, per_s in lost_by_place(sample).items():
            self.note("lost", where, per_s)
        self._see(sample)
        names = [(nic.name, queue.queue) for nic in sample.nics for queue in nic.queues]
        if names != self._queue_names:
            self._queue_names, self._queues = names, {name: at for at, name in enumerate(names)}
            self._busy = _Band(len(names), QUEUE_TOP)
        self._busy.write(self.count, busy(sample.nics), None)
        self.nics.take(sample)
        if sample.rings or sample.feeds:
            note_figures(self.note, sample)
        self.count += 1
        self.generation += 1

    def _take_cores(self, cores: Sequence[CoreSample]) -> None:
        moved: list[int] | None = None
        if self._cores:
            moved = list(compress(count(), map(is_not, cores, self._cores)))
            cores, self._cores = [cores[place] for place in moved], cores
        else:
            self._cores = cores
        if moved is not None and len(moved) * 3 > len(self._cores):
            cores, moved = self._cores, None
        for metric in METRICS:
            self._bands[metric.name].write(self.count, list(map(metric.value, cores)), moved)

    def _seat(self, cpus: tuple[int, ...]) -> None:
        """Other CPUs than before: rows go with those that stay."""
        bands = {metric.name: _Band(len(cpus), metric.top) for metric in METRICS}
        for place, cpu in enumerate(cpus):
            former = self._places.get(cpu)
            if former is not None:
                for name, band in bands.items():
                    band.copy(place, self._bands[name], former)
        self._cpus, self._places, self._bands = cpus, {cpu: place for place, cpu in enumerate(cpus)}, bands
        self._cores = ()

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
        each = self._each
        return bytes(self._newest(band.by(each, self.count).levels, band.samples.levels, band.first, place, columns))

    def core_values(self, cpu: int, metric: str, columns: int) -> list[float]:
        """The figures of a core, newest last, at most ``columns``: the highest in each column's time."""
        place, band = self._places.get(cpu), self._bands.get(metric)
        if place is None or band is None:
            return []
        each = self._each
        return list(self._newest(band.by(each, self.count).values, band.samples.values, band.first, place, columns))

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

    def queue_levels(self, nic: str, queue: int, columns: int) -> bytes:
        """How busy a receive queue was, as levels, newest last, at most ``columns``."""
        place = self._queues.get((nic, queue))
        if place is None:
            return b""
        band, each = self._busy, self._each
        return bytes(self._newest(band.by(each, self.count).levels, band.samples.levels, band.first, place, columns))

    def core_samples(self, cpu: int, metric: str, seconds: float) -> list[float]:
        """The figures of a core in each sample of so many seconds, newest last."""
        place, band = self._places.get(cpu), self._bands.get(metric)
        if place is None or band is None or not self.interval_s:
            return []
        end = self.count - self.hidden
        first = max(0, self.count - SAMPLES, end - max(1, round(seconds / self.interval_s)))
        return list(_span(band.samples.values, place, first, end))

    def _newest(self, kept: Kept, samples: Kept, oldest: int, place: int, columns: int) -> Kept:
        """The last columns of a row that are in view, in order."""
        each, end = self._each, self.count - self.hidden
        last = -(-end // each)  # columns that end in view, the open one with them
        first = max(oldest, last - columns, -(-self.count // each) - SAMPLES)
        row = _span(kept, place, first, last)
        if end % each and self.hidden and row:  # of the last column a part is not in view
            row[-1] = max(_span(samples, place, max(end - end % each, self.count - SAMPLES), end), default=row[-1])
        return row

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


def _span(kept: Kept, place: int, first: int, end: int) -> Kept:
    """The columns ``first`` to ``end`` of a row, in order."""
    row = kept[place * SAMPLES : (place + 1) * SAMPLES]
    if end <= first:
        return row[:0]
    start, stop = first % SAMPLES, (end - 1) % SAMPLES + 1
    return row[start:stop] if start < stop else row[start:] + row[:stop]


def metric_values(metric: str) -> Callable[[CoreSample], float]:
    """How a core's figure of this name is read."""
    return next(each.value for each in METRICS if each.name == metric)
