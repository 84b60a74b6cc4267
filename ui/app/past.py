"""Samples to look back at: what every source offers beside the newest one."""

from collections.abc import Sequence
from typing import Protocol

from ingest.sample import Sample


class Samples(Protocol):
    """Samples by number. Numbers stay valid while the oldest are dropped; ``first`` is the oldest that is still there."""

    @property
    def first(self) -> int:
        """The number of the oldest."""

    @property
    def end(self) -> int:
        """One more than the number of the newest; ``first`` where there is none."""

    def sample(self, number: int) -> Sample:
        """One of them.

        Raises:
            LookupError: it is not there any more, or cannot be read.
        """

    def time_s(self, number: int) -> float:
        """Its wall-clock time."""

    def at(self, time_s: float) -> int:
        """The last that is not after a time; the oldest where all are."""


class ListPast:
    """Samples in a list."""

    def __init__(self, samples: Sequence[Sample] = ()) -> None:
        self.samples = list(samples)
        self.first = 0

    @property
    def end(self) -> int:
        """See Samples."""
        return len(self.samples)

    def sample(self, number: int) -> Sample:
        """See Samples."""
        if not 0 <= number < len(self.samples):
            raise LookupError(f"no sample {number}")
        return self.samples[number]

    def time_s(self, number: int) -> float:
        """See Samples."""
        return self.sample(number).time_s

    def at(self, time_s: float) -> int:
        """See Samples."""
        return max((n for n, each in enumerate(self.samples) if each.time_s <= time_s), default=0)

    def write(self, path: str, from_s: float, to_s: float) -> int:
        """Writes the samples of a span of time, one line of JSON each; how many.

        Raises:
            OSError: it cannot be written.
            LookupError: there is none in this span.
        """
        chosen = [each for each in list(self.samples) if from_s <= each.time_s <= to_s]
        if not chosen:
            raise LookupError("no sample of that time is kept any more")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(each.to_json() + "\n" for each in chosen)
        return len(chosen)
