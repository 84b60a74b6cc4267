"""Rings and feeds as samples: what came since the tick before, and what came in all.

A sample's ``rings`` holds, for each ring that saw a packet (and for an interface whose rings saw none, one), the object that
``quietcore ring --json`` has in its ``rings``, of the time since the last sample: ``core``, ``interface``, ``packets``,
``bytes``, ``drops``, ``freezes``, ``unaccounted``, ``latency`` and so on; besides ``source`` (the interface as it was asked
for), ``open``, ``seconds`` (the time that it covers) and ``total`` (counts since the beginning).

Its ``feeds`` holds the object of each stream, counted since the beginning, with ``received_per_s`` and ``lost_per_s`` of this
tick; and for each channel of two lines one with ``line`` ``A+B`` and no ``stream``: what both bring together.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import add
from typing import Any, Protocol

from ingest.feeds.gap_watch import GapWatch
from ingest.feeds.judge import Judge
from ingest.ledger import Ledger
from ingest.live_rings import Part, Turn
from ingest.loss_reader import LossReader
from ingest.rings.counters import ChannelCounters, Followed, RingCounters, StreamCounters
from ingest.rings.layout import Following
from ingest.sample import Event
from tuner.host.files import HostFiles
from tuner.host.nics import Nic
from tuner.host.text import printable

_SUMS = ("received", "lost", "duplicate", "reordered", "outside", "resets", "heartbeats")
_ODD = {
    "unread": "no readable number: fragments, too short",
    "unfollowed": "streams beyond the 1024 that are followed",
}
_Key = tuple[str, int | None]  # a ring: source, core


@dataclass(slots=True)
class _Ring:
    """One ring: this tick's, and the sum of all before it."""

    tick: RingCounters
    total: RingCounters
    seconds: float = 0.0


@dataclass(slots=True)
class _Feeds:
    """The accounting of all openings of the ring together. Each opening begins anew."""

    opening: int = -1
    past: dict[Any, StreamCounters | ChannelCounters] = field(default_factory=dict)
    now: dict[Any, StreamCounters | ChannelCounters] = field(default_factory=dict)
    odd: Counter[str] = field(default_factory=Counter)  # datagrams that are in no stream
    _odd_before: Counter[str] = field(default_factory=Counter)

    def take(self, opening: int, followed: Followed) -> None:
        """What a ring counts since its opening."""
        if opening != self.opening:
            self.past, self.opening = self.whole(), opening
            self._odd_before = self.odd.copy()
        self.odd = self._odd_before + Counter({name: getattr(followed, name) for name in _ODD})
        self.now = {_key(each): each for each in followed.streams}
        self.now |= {_key(each): each for each in followed.channels}

    def whole(self) -> dict[Any, StreamCounters | ChannelCounters]:
        """All of it."""
        if not self.past:
            return self.now
        found = dict(self.past)
        for key, each in self.now.items():
            before = found.get(key)
            found[key] = each if before is None else _sum(before, each)
        return found


class Rings(Protocol):
    """Rings that somebody else reads: ``ingest.live_rings.LiveRings``, or their likeness on a simulated host."""

    @property
    def interfaces(self) -> Sequence[str]:
        """Those that were asked for."""

    def take(self) -> Sequence[Part | Turn]:
        """What there is, the oldest first, without waiting."""


class RingReader:
    """Takes what rings tell, tick by tick, and makes samples, rows of the ledger and events of it.

    Args:
        live: the rings. Whoever opened them closes them.
        files: of the host, for its interfaces.
        following: what they follow.
    """

    def __init__(self, live: Rings, files: HostFiles, following: Following | None = None) -> None:
        self._live = live
        self._following = following
        self._judge = Judge(files, live.interfaces, following)
        self._gaps = GapWatch(self._judge) if following is not None else None
        self._sources = tuple(printable(name) for name in live.interfaces)
        self._here = frozenset(self._sources)
        self._rings: dict[_Key, _Ring] = {}
        self._feeds = _Feeds()
        self._before: Mapping[Any, StreamCounters | ChannelCounters] = {}
        self._whole: Mapping[Any, StreamCounters | ChannelCounters] = {}
        self._names: dict[Any, str] = {}
        self._span_ns: tuple[int, int] | None = None
        self._events: list[Event] = []
        self._interval_s = 0.0
        self._last_ns = 0
        self._reader_ns: tuple[int, int] = (-1, 0)
        self.reader_cpu_ns = 0  # of the reader, since the tick before

    def take(self) -> None:
        """Takes what came since the tick before. Waits for nothing."""
        for ring in self._rings.values():
            ring.tick, ring.seconds = _nothing(ring.tick), 0.0
        self._before, self._span_ns, self.reader_cpu_ns = self._whole, None, 0
        for each in self._live.take():
            if isinstance(each, Turn):
                self._events += each.events
                self._here = frozenset(map(printable, each.here))
                for name in each.new:
                    self._judge.returned(name)
            else:
                self._count(each)
        self._whole = self._feeds.whole()

    def _count(self, part: Part) -> None:
        report = part.report
        self._span_ns = (self._span_ns[0] if self._span_ns else part.from_ns, part.until_ns)
        for counted in report.rings:
            source = part.sources.get(counted.interface, counted.interface)
            ring = self._rings.setdefault((source, counted.core), _Ring(_nothing(counted), _nothing(counted)))
            ring.tick = ring.tick.merged(counted)
            ring.total = ring.total.merged(counted)
            ring.seconds += report.seconds
        opening, spent_ns = self._reader_ns
        self.reader_cpu_ns += report.reader_cpu_ns - (spent_ns if opening == part.opening else 0)
        self._reader_ns = part.opening, report.reader_cpu_ns
        self._feeds.take(part.opening, report.followed)

    def tell(self, losses: LossReader, nics: Sequence[Nic]) -> None:
        """The ledger's rows of rings and feeds, under the names that the interfaces have now."""
        self._judge.called(nics)
        names = self._judge.names
        drops = dict.fromkeys(names.values(), 0)
        for (source, _), ring in self._rings.items():
            drops[names[source]] += ring.total.drops
        losses.rings = drops
        for key in self._whole.keys() - self._names.keys():
            self._names[key] = _name(self._whole[key])
        losses.feeds = {self._names[key]: each.lost for key, each in self._whole.items()}
        losses.odd = {(name, note): self._feeds.odd[name] for name, note in _ODD.items()} if self._following is not None else {}
        losses.following = self._following.name if self._following is not None else ""

    def events(self, ledger: Ledger, asked_ns: int) -> tuple[Event, ...]:
        """What happened to rings and feeds since the tick before.

        Args:
            ledger: of this tick, read after ``take``.
            asked_ns: when those of its rows were read that are not read at every tick.
        """
        self._interval_s = (ledger.at_ns - self._last_ns) / 1e9 if self._last_ns else 0.0
        self._last_ns = ledger.at_ns
        found, self._events = self._events, []
        if self._gaps is not None:
            packets = sum(ring.tick.walked.packets for ring in self._rings.values())
            slowest_ns = max((ring.tick.walked.latency.max_ns for ring in self._rings.values()), default=0)
            since_ns = self._span_ns[0] - slowest_ns if self._span_ns else ledger.at_ns
            found += self._gaps.look(self._whole, packets, since_ns, ledger, asked_ns, len(self._here) == len(self._sources))
        return tuple(found)

    @property
    def rings(self) -> tuple[dict[str, Any], ...]:
        """For the sample."""
        names = self._judge.names
        found = []
        for source, name in names.items():
            mine = [ring for (each, _), ring in self._rings.items() if each == source]
            seen = [ring for ring in mine if ring.total.reached or ring.total.walked.packets] or mine[:1]
            place = {"interface": name, "source": source, "open": source in self._here}
            for ring in seen or [_Ring(RingCounters(None, interface=name), RingCounters(None, interface=name))]:
                record = ring.tick.to_json() | place
                found.append(record | {"seconds": round(ring.seconds, 3), "total": _totals(ring.total)})
        return tuple(found)

    @property
    def feeds(self) -> tuple[dict[str, Any], ...]:
        """For the sample."""
        return tuple(self._feed_records())

    def _feed_records(self) -> Iterator[dict[str, Any]]:
        for key, each in self._whole.items():
            before = self._before.get(key)
            received = each.received - (before.received if before is not None else 0)
            lost = each.lost - (before.lost if before is not None else 0)
            rates = {"received_per_s": self._per_s(received), "lost_per_s": self._per_s(max(0, lost))}
            if isinstance(each, StreamCounters):
                yield each.to_json() | rates
            else:
                record = each.to_json()
                yield record | {"line": "A+B"} | rates

    def _per_s(self, count: int) -> float:
        return round(count / self._interval_s, 3) if self._interval_s else 0.0


def _nothing(ring: RingCounters) -> RingCounters:
    return RingCounters(ring.core, interface=ring.interface, stamps=ring.stamps)


def _totals(ring: RingCounters) -> dict[str, int]:
    walked = ring.walked
    return {
        "packets": walked.packets,
        "bytes": walked.bytes,
        "drops": ring.drops,
        "freezes": ring.freezes,
        "unaccounted": ring.unaccounted,
        "malformed": walked.malformed_frames + walked.malformed_blocks,
    }


def _key(each: StreamCounters | ChannelCounters) -> Any:
    if isinstance(each, ChannelCounters):
        return each.name, each.scope
    return each.address, each.port, each.framing, each.scope, each.channel, each.line


def _sum(before: StreamCounters | ChannelCounters, now: StreamCounters | ChannelCounters) -> StreamCounters | ChannelCounters:
    if isinstance(now, StreamCounters):
        return replace(now, **{name: getattr(before, name) + getattr(now, name) for name in _SUMS})
    if isinstance(before, ChannelCounters):
        wins = before.wins[0] + now.wins[0], before.wins[1] + now.wins[1]
        skew = before.skew[0].merged(now.skew[0]), before.skew[1].merged(now.skew[1])
        counts = {name: add(getattr(before, name), getattr(now, name)) for name in ("received", "lost", "both")}
        return replace(now, wins=wins, skew=skew, **counts)
    return now


def _name(each: StreamCounters | ChannelCounters) -> str:
    """What the ledger calls it."""
    if isinstance(each, ChannelCounters):
        return f"{each.to_json()['channel']} A+B"
    return f"{each.channel} {each.line} {each.stream}" if each.channel is not None else each.stream
