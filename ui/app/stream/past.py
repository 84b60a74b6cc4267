"""Samples in a list, to look back at: of a source that has them already."""

from collections.abc import Sequence

from ingest.blocks import Header
from ingest.sample import Sample


class ListPast:
    """Samples in a list."""

    def __init__(self, samples: Sequence[Sample] = ()) -> None:
        self.samples = list(samples)
        self.first = 0
        self.cut = ""
        self.header = Header()

    def __len__(self) -> int:
        """See Samples."""
        return len(self.samples)

    @property
    def end(self) -> int:
        """See Samples."""
        return len(self.samples)

    def sample(self, index: int) -> Sample:
        """See Samples."""
        if not 0 <= index < len(self.samples):
            raise IndexError(f"no sample {index}")
        return self.samples[index]

    def time_s(self, index: int) -> float:
        """See Samples."""
        return self.sample(index).time_s

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
