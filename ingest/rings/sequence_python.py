"""Sequence accounting in Python, number by number as ``sequence.h`` does it: the oracle of the native one."""

import operator
from collections.abc import Iterable
from dataclasses import dataclass, field

from ingest.histogram import BUCKETS, Histogram
from ingest.rings.gaps_python import Gaps, soon_before
from ingest.rings.layout import AGAIN_NS, FAR_AHEAD, OUTSIDE_RUN, WINDOW


class Latencies:
    """A histogram that grows."""

    __slots__ = ("buckets", "max_ns", "negative")

    def __init__(self) -> None:
        self.buckets = [0] * BUCKETS
        self.negative = self.max_ns = 0

    def add(self, value_ns: int) -> None:
        """One value; a negative one has no bucket."""
        if value_ns < 0:
            self.negative += 1
            return
        power = value_ns.bit_length() - 5  # ``bucket_of``, without the call
        if power > 0:
            bucket = (power << 4) + (value_ns >> power)
            self.buckets[bucket if bucket < BUCKETS else -1] += 1
        else:
            self.buckets[value_ns] += 1
        if value_ns > self.max_ns:
            self.max_ns = value_ns

    def add_counted(self, buckets: Iterable[int], negative: int, max_ns: int) -> None:
        """Values that were sorted into buckets already."""
        self.buckets = list(map(operator.add, self.buckets, buckets))
        self.negative += negative
        self.max_ns = max(self.max_ns, max_ns)

    def read(self) -> Histogram:
        """The same as plain data."""
        return Histogram(tuple(self.buckets), self.negative, self.max_ns)


@dataclass(slots=True)
class Numbers:
    """One datagram's numbers, and when it came."""

    sequence: int
    count: int
    epoch: bytes
    stamp: int
    begins: bool


@dataclass(slots=True)
class SequencedStream:
    """The numbers of one stream, or of what two lines bring together."""

    epoch: bytes = b""
    former_epoch: bytes = b""
    started: bool = False
    begun_stamp: int = 0
    newest_stamp: int = 0
    first: int = 0
    expected: int = 0
    received: int = 0
    lost: int = 0
    duplicate: int = 0
    reordered: int = 0
    outside: int = 0
    outside_run: int = 0
    resets: int = 0
    heartbeats: int = 0
    missing: set[int] = field(default_factory=set)  # numbers of the window below ``expected`` that did not come
    gaps: Gaps = field(default_factory=Gaps)
    latency: Latencies = field(default_factory=Latencies)
    sent: Latencies = field(default_factory=Latencies)
    nearest_ns: int | None = None

    def start(self, numbers: Numbers) -> None:
        """Begins with a datagram: nothing before it counts."""
        self.missing.clear()
        self.gaps.clear()
        self.first = self.expected = numbers.sequence
        self.newest_stamp = self.begun_stamp = numbers.stamp
        self.outside_run = 0
        self.former_epoch, self.epoch = self.epoch if self.started else numbers.epoch, numbers.epoch
        self.started = True
        self.advance(numbers.sequence, numbers.count)

    def advance(self, sequence: int, count: int) -> None:
        """The newest numbers, behind a gap or not."""
        gap = sequence - self.expected
        if gap:
            self.lost += gap
            self.missing.update(range(max(self.expected, sequence - WINDOW), sequence))
            if len(self.missing) > 2 * WINDOW:
                self.missing = {number for number in self.missing if number >= sequence - WINDOW}
        self.received += count
        self.expected = sequence + count

    def go_on(self, count: int, heartbeats: int, stamp: int) -> None:
        """Datagrams of this epoch that follow each other without a gap from ``expected`` on; ``stamp``: of the last."""
        self.expected += count
        self.received += count
        self.heartbeats += heartbeats
        self.outside_run = 0
        self.newest_stamp = stamp

    def late(self, numbers: Numbers) -> None:
        """Numbers behind the newest: lost before, or repeated."""
        old = min(numbers.count, self.expected - numbers.sequence)
        self.gaps.close(numbers.sequence, numbers.sequence + old, 0)
        for number in range(numbers.sequence, numbers.sequence + old):
            if number not in self.missing:
                self.duplicate += 1
            else:
                self.missing.remove(number)
                self.reordered += numbers.stamp >= self.newest_stamp  # else it lay in a ring that was read later
                self.received += 1
                self.lost -= 1
        if numbers.count > old:
            self.advance(self.expected, numbers.count - old)
            self.newest_stamp = numbers.stamp

    def filled(self, numbers: Numbers) -> bool:
        """Behind the window, out of another ring: numbers that gaps still wait for. False where there are none of them."""
        old = min(numbers.count, self.expected - numbers.sequence)
        closed = self.gaps.close(numbers.sequence, numbers.sequence + old, numbers.stamp)
        if not closed:
            return False
        count = sum(map(len, closed))
        self.missing.difference_update(*closed)
        self.received += count
        self.lost -= count
        self.duplicate += old - count
        self.outside_run = 0
        if numbers.count > old:
            self.advance(self.expected, numbers.count - old)
        return True

    def stray(self, numbers: Numbers) -> None:
        """A datagram far from the expected; many in a row are a new beginning."""
        self.outside += 1
        self.outside_run += 1
        if self.outside_run >= OUTSIDE_RUN:
            self.resets += 1
            self.start(numbers)

    def before_the_beginning(self, numbers: Numbers) -> bool:
        """Older than the stream: what lay in a ring that was read later, or comes on the slower of two lines.

        What came before the newest says nothing of a new beginning either.
        """
        if soon_before(numbers.stamp, self.newest_stamp):
            return True
        return 0 < self.first - numbers.sequence <= WINDOW and numbers.stamp < self.begun_stamp + AGAIN_NS

    def begins_anew(self, numbers: Numbers) -> bool:
        """Whether the feed itself says that its numbers begin again."""
        if numbers.epoch != self.epoch:
            return True
        return numbers.begins and numbers.sequence < self.expected and numbers.stamp > self.begun_stamp + AGAIN_NS

    def within(self, numbers: Numbers) -> bool:
        """Whether the number can be of this sequence. One far ahead that came before its beginning is of that before."""
        behind = self.expected - numbers.sequence
        if behind > 0:
            return behind <= WINDOW and numbers.sequence >= self.first
        return -behind <= (WINDOW if soon_before(numbers.stamp, self.begun_stamp) else FAR_AHEAD)

    def follow(self, numbers: Numbers) -> bool:
        """Whether the datagram was within what is followed."""
        if not self.started:
            self.start(numbers)
            return True
        if numbers.epoch != self.epoch and numbers.epoch == self.former_epoch:
            if soon_before(numbers.stamp, self.begun_stamp):
                self.outside += 1
            else:
                self.stray(numbers)
            return False
        if self.begins_anew(numbers):
            self.resets += 1
            self.start(numbers)
            return True
        behind = self.expected - numbers.sequence
        if not self.within(numbers):
            if behind > 0 and self.filled(numbers):
                return False
            if self.before_the_beginning(numbers):
                self.outside += 1
            else:
                self.stray(numbers)
            return False
        self.outside_run = 0
        self.heartbeats += numbers.count == 0
        if behind > 0:
            self.late(numbers)
        else:
            if behind:
                self.gaps.open(self.expected, numbers.sequence, numbers.stamp)
            self.advance(numbers.sequence, numbers.count)
            self.newest_stamp = numbers.stamp
        return True


class Arrivals:
    """First arrivals of a channel that comes over two lines."""

    def __init__(self) -> None:
        self.wins = [0, 0]
        self.both = 0
        self.skew = (Latencies(), Latencies())
        self._slots: dict[int, tuple[tuple[int, bytes], int, int | None]] = {}  # tag, stamp, line (None: both came)

    def arrive(self, line: int, numbers: Numbers) -> None:
        """Who came first with each number, and by how much: the stamps decide, not the order of reading."""
        end = numbers.sequence + numbers.count
        for number in range(max(numbers.sequence, end - WINDOW), end):
            tag = (number, numbers.epoch)
            held, stamp, other = self._slots.get(number % WINDOW, (None, 0, None))
            if held != tag:
                self._slots[number % WINDOW] = (tag, numbers.stamp, line)
                self.wins[line] += 1
            elif other is not None and other != line:
                first = line if numbers.stamp < stamp else other
                self.wins[other] -= 1
                self.wins[first] += 1
                self.both += 1
                self._slots[number % WINDOW] = (tag, stamp, None)
                self.skew[first].add(abs(numbers.stamp - stamp))
