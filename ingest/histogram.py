"""A latency histogram with 16 buckets for each power of two: every value, none sampled, at most 6.25 % off.

Two histograms add up to what one would have counted, so rings, cores and intervals merge without loss. ``bucket_of`` is the
same function as in ``ingest/rings/walk.c``; a test compares them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import add

SUB_BUCKETS = 16
POWERS = 40  # up to 2^40 ns, 18 minutes; what lies above is counted in the last bucket, its maximum exactly
BUCKETS = (POWERS - 3) * SUB_BUCKETS
_NONE = (0,) * BUCKETS


def bucket_of(value: int) -> int:
    """The bucket of a value of 0 or more: values below 16 have their own, then 16 for each power of two."""
    if value < SUB_BUCKETS:
        return value
    power = value.bit_length() - 1
    index = (power - 3) * SUB_BUCKETS + (value >> (power - 4) & SUB_BUCKETS - 1)
    return index if index < BUCKETS else BUCKETS - 1


def highest_of(bucket: int) -> int:
    """The highest value that falls into a bucket."""
    if bucket < SUB_BUCKETS:
        return bucket
    power = bucket // SUB_BUCKETS + 3
    return ((bucket % SUB_BUCKETS + SUB_BUCKETS + 1) << (power - 4)) - 1


@dataclass(frozen=True, slots=True)
class Histogram:
    """Latencies in nanoseconds.

    ``negative`` counts what was younger than the clock that measured it (a wall clock set back in between): such a value is
    counted in ``total`` but has no place among the percentiles. ``max_ns`` is exact.
    """

    counts: tuple[int, ...] = _NONE
    negative: int = 0
    max_ns: int = 0

    @classmethod
    def of(cls, values_ns: Iterable[int]) -> "Histogram":
        """The histogram of some values, negative ones among them."""
        counts = [0] * BUCKETS
        negative = highest = 0
        for value in values_ns:
            if value < 0:
                negative += 1
                continue
            counts[bucket_of(value)] += 1
            highest = max(highest, value)
        return cls(tuple(counts), negative, highest)

    @property
    def total(self) -> int:
        """How many values were counted, the negative ones included."""
        return sum(self.counts) + self.negative

    def percentile(self, percent: float) -> int | None:
        """The value (ns) that ``percent`` of the values do not exceed, as the upper end of its bucket, at most ``max_ns``.

        None where no value was measured.

        Raises:
            ValueError: not within 0 and 100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"not a percentage: {percent}")
        measured = sum(self.counts)
        if not measured:
            return None
        rank = max(1, -int(-measured * percent // 100))  # rounded up: the smallest count that is at least this share
        reached = 0
        for bucket, count in enumerate(self.counts):
            reached += count
            if reached >= rank:
                return min(highest_of(bucket), self.max_ns) if bucket < BUCKETS - 1 else self.max_ns
        return self.max_ns

    def merged(self, other: "Histogram") -> "Histogram":
        """Both together."""
        counts = tuple(map(add, self.counts, other.counts))
        return Histogram(counts, self.negative + other.negative, max(self.max_ns, other.max_ns))


EMPTY = Histogram()
