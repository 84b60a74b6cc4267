"""What each place of loss lost between samples: for windows of time that no counter keeps.

It is filled with the samples that the histories take, so after a jump in time it was filled anew, and no window spans the jump.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from ingest.sample import LossSample, NicSample, Sample
from ingest.stages import LOSS

Key = tuple[int, str, str, str]  # stage, where, counter, name

QUEUE_TOP = 2_000_000.0  # packets per second at which a queue's scale ends
_PACKETS_PER_INTERRUPT = 8  # about, under load, where a driver counts no packets by queue: for the scale alone
_MOST = 1e18  # beyond it a step is no count


@dataclass(frozen=True, slots=True)
class Lost:
    """One loss: the row as it stood then, how many, and in which time."""

    row: LossSample
    count: int
    time_s: float
    interval_s: float


@dataclass(slots=True)
class _Entry:
    at_ns: int
    time_s: float
    interval_s: float
    steps: Mapping[Key, int]
    lost: tuple[tuple[LossSample, int], ...]


def key_of(row: LossSample) -> Key:
    """What makes a row of the ledger the same row in another sample."""
    return (row.stage, row.where, row.counter, row.name)


def totals_of(sample: Sample) -> dict[Key, int]:
    """All visible counters of the ledger."""
    return {key_of(row): row.total for row in sample.losses if row.visible}


class NicPast:
    """The last ``most`` samples that were taken. ``hidden`` is how many of them are newer than what is shown."""

    def __init__(self, most: int) -> None:
        self._entries: deque[_Entry] = deque(maxlen=most)
        self._totals: dict[Key, int] = {}

    def clear(self) -> None:
        """Forgets everything."""
        self._entries.clear()
        self._totals = {}

    def take(self, sample: Sample) -> None:
        """One more sample."""
        before, self._totals = self._totals, totals_of(sample)
        steps: dict[Key, int] = {}
        lost: list[tuple[LossSample, int]] = []
        if self._entries and self._totals != before:
            for row in sample.losses:
                key = key_of(row)
                old = before.get(key)
                if row.visible and old != row.total:
                    step = row.total - old if old is not None and row.total > old else _rated(row, sample.interval_s)
                    if step > 0:
                        steps[key] = step
                        if row.kind == LOSS:
                            lost.append((row, step))
        entry = _Entry(sample.monotonic_ns, sample.time_s, sample.interval_s, steps, tuple(lost))
        self._entries.append(entry)

    def _shown(self, hidden: int) -> Iterator[_Entry]:
        """The samples in view, the newest first."""
        return islice(reversed(self._entries), hidden, None)

    def since(self, seconds: float, hidden: int = 0) -> tuple[dict[Key, int], float]:
        """What was lost in the last so many seconds, and how many of them there are; never less than nothing."""
        found: dict[Key, int] = {}
        newest = oldest = None
        for entry in self._shown(hidden):
            newest = entry.at_ns if newest is None else newest
            oldest = entry.at_ns
            if not 0 <= newest - entry.at_ns < seconds * 1e9:
                break
            for key, step in entry.steps.items():
                found[key] = found.get(key, 0) + step
        covered = (newest - oldest) / 1e9 if newest is not None and oldest is not None else 0.0
        return found, max(0.0, min(seconds, covered))

    def last(self, elsewhere: Collection[str], hidden: int = 0) -> Lost | None:
        """The newest loss in view, of several at once the largest, but for those counted at other interfaces."""
        for entry in self._shown(hidden):
            mine = [each for each in entry.lost if each[0].where not in elsewhere]
            if mine:
                row, count = max(mine, key=lambda each: each[1])
                return Lost(row, count, entry.time_s, entry.interval_s)
        return None

    def began_s(self) -> float | None:
        """The wall clock of the oldest sample that is kept."""
        return self._entries[0].time_s if self._entries else None


def _rated(row: LossSample, interval_s: float) -> int:
    """What a row counted that is new, wrapped or began anew: its rate knows, the totals do not."""
    step = row.per_s * interval_s
    return round(step) if 0 < step < _MOST else 0


def busy(nics: Collection[NicSample]) -> list[float]:
    """How busy each receive queue is, in packets per second; where its driver does not count them, by its interrupts."""
    return [
        queue.packets_per_s if queue.packets_per_s is not None else queue.interrupts_per_s * _PACKETS_PER_INTERRUPT
        for nic in nics
        for queue in nic.queues
    ]
