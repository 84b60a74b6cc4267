"""Rings and feeds of a sample under one name each, and the figures of them that histories keep.

A channel of two lines is one feed: its two streams and what both bring together. A stream of no channel is a feed of its own.
The keys of the records are told in ``ingest.ring_samples``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import sub
from typing import Any

from ingest.sample import Sample

Record = Mapping[str, Any]

STALE_S = 5.0  # heartbeats of most feeds come every second
_ALIVE = ("received", "duplicate", "reordered", "outside", "heartbeats")


@dataclass(slots=True)
class Feed:
    """One feed: its streams, those of each line (``""`` where there are no lines), and what two lines bring together."""

    name: str
    channel: bool
    streams: list[Record] = field(default_factory=list)
    lines: dict[str, list[Record]] = field(default_factory=dict)
    both: Record | None = None

    def total(self, figure: str, line: str | None = None) -> float:
        """A count or rate of one line, or of all."""
        streams = self.streams if line is None else self.lines.get(line, ())
        value = 0.0
        for stream in streams:
            value += number(stream.get(figure))
        return value

    @property
    def lost(self) -> int:
        """What nobody brought: on both lines where there are two, else on the one."""
        return int(number(self.both.get("lost")) if self.both is not None else self.total("lost"))

    @property
    def lost_per_s(self) -> float:
        """The same of this tick."""
        return number(self.both.get("lost_per_s")) if self.both is not None else self.total("lost_per_s")

    @property
    def incomplete(self) -> bool:
        """Whether any of its lines misses something, though the other may have brought it."""
        return self.lost > 0 or self.total("lost") > 0

    @property
    def first_a(self) -> float | None:
        """The share of numbers that came on line A first, or there alone, since the start; None without two lines."""
        wins = self.both.get("first") if self.both is not None else None
        if not isinstance(wins, Mapping):
            return None
        a, b = number(wins.get("A")), number(wins.get("B"))
        return a / (a + b) if a + b else None

    def latency(self, figure: str) -> float | None:
        """A percentile of the way from the stamp to the ring in ns, since the start; of several streams the largest."""
        found = [value for stream in self.streams if (value := (stream.get("latency") or {}).get(figure)) is not None]
        return max((number(value) for value in found), default=None)


def number(value: object) -> float:
    """A figure of a record; 0 for what is none."""
    return float(value) if type(value) is int or type(value) is float else 0.0


def feeds_of(records: Iterable[Record]) -> dict[str, Feed]:
    """The feeds of a sample by name: the channel, ``/`` and the scope where there is one, or the stream."""
    found: dict[str, Feed] = {}
    for record in records:
        channel, stream = record.get("channel"), record.get("stream")
        if stream is None:
            name = str(channel)
            found.setdefault(name, Feed(name, True)).both = record
            continue
        name = str(stream)
        if channel is not None:
            scope = name.rpartition("]")[2].partition("/")[2]
            name = f"{channel}/{scope}" if scope else str(channel)
        feed = found.setdefault(name, Feed(name, channel is not None))
        feed.streams.append(record)
        feed.lines.setdefault(str(record.get("line") or ""), []).append(record)
    return found


def ring_name(ring: Record) -> str:
    """``eth2/3`` for the ring of a core, ``eth2`` where one takes what all cores receive."""
    core = ring.get("core")
    return str(ring.get("interface", "?")) if core is None else f"{ring.get('interface', '?')}/{core}"


def ring_rate(ring: Record) -> float:
    """Packets per second in the time that a record covers."""
    seconds = number(ring.get("seconds"))
    return number(ring.get("packets")) / seconds if seconds else 0.0


def latency_us(record: Record, figure: str) -> float | None:
    """A percentile of a ring in microseconds; None where nothing was measured."""
    value = (record.get("latency") or {}).get(figure)
    return None if value is None else number(value) / 1000


def note_figures(note: Callable[[str, str, float], None], sample: Sample) -> None:
    """Notes what histories keep of a sample: of each ring, of each feed, and of each stream how much of any kind came."""
    for ring in sample.rings:
        name = ring_name(ring)
        note("ring_rate", name, ring_rate(ring))
        note("ring_p99", name, latency_us(ring, "p99_ns") or 0.0)
        note("ring_max", name, latency_us(ring, "max_ns") or 0.0)
    for feed in feeds_of(sample.feeds).values():
        note("feed_rate", feed.name, max((feed.total("received_per_s", line) for line in feed.lines), default=0.0))
        note("feed_lost", feed.name, feed.lost_per_s)
        wins = feed.both.get("first") if feed.both is not None else None
        if isinstance(wins, Mapping):
            note("feed_first_a", feed.name, number(wins.get("A")))
            note("feed_first_b", feed.name, number(wins.get("B")))
        for line in feed.lines:
            note("feed_alive", f"{feed.name} {line}", sum(feed.total(kind, line) for kind in _ALIVE))


def is_stale(back: Callable[[str, str, int], float | None], feed: str, line: str, samples: int) -> bool:
    """Whether nothing of any kind came on a line in so many samples, though something had before.

    Args:
        back: a figure so many samples ago, None where it is not kept.
        feed: its name.
        line: ``A``, ``B``, or nothing.
        samples: as many as ``STALE_S`` lasts.
    """
    name = f"{feed} {line}"
    now = back("feed_alive", name, 0)
    return bool(now) and now == back("feed_alive", name, samples)


def shares_of_a(a: list[float], b: list[float]) -> list[float]:
    """Who was first between each sample and the one before: the share of line A, 0 where nothing came or B always was."""
    steps = zip(map(sub, a[1:], a), map(sub, b[1:], b), strict=False)
    return [of_a / both if (both := of_a + of_b) > 0 and of_a > 0 else 0.0 for of_a, of_b in steps]
