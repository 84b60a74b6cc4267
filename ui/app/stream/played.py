"""The events of a recording up to the sample that is shown, however one came there: forwards, backwards, by a jump."""

from bisect import bisect_right
from collections import deque

from ingest.sample import Event, Sample

Told = tuple[float, Event]
_MOST = 4000  # samples with events that are remembered


class Played:
    """Remembers the events of each sample that was read, under its number: a sample that is read twice tells them once."""

    def __init__(self) -> None:
        self._numbers: list[int] = []  # of samples with events, in order
        self._told: dict[int, tuple[Told, ...]] = {}

    def take(self, number: int, sample: Sample) -> tuple[Told, ...]:
        """The events of a sample, with its time: the same objects each time."""
        known = self._told.get(number)
        if known is not None or not sample.events:
            return known or ()
        found = self._told[number] = tuple((sample.time_s, event) for event in sample.events)
        self._numbers.insert(bisect_right(self._numbers, number), number)
        if len(self._numbers) > _MOST:
            del self._told[self._numbers.pop(0)]
        return found

    def show(self, number: int, events: deque[Told]) -> None:
        """Makes ``events``, the newest first, those up to this sample: of samples that were read, and no others."""
        events.clear()
        for each in self._numbers[: bisect_right(self._numbers, number)]:
            events.extendleft(self._told[each])
