"""What a trading desk must be told, as events with an onset and an end, made out of the samples themselves.

So ``watch``, recordings and the app tell the same. What is wrong at a moment says ``ingest.judgement``; here is what lasts:

* A disturbance begins when it was there three times within three seconds (one a second, or a burst), a loss at once.
* It is told again when it is ten times as much, and when it is over: after three seconds without it, a loss after five.
* What comes back within a minute needs twice as long to be over, each time, up to a minute: so what flaps becomes one matter.
* A sample tells at most twelve; what is beyond stands in one line, and is told no more until it began anew.

A gap in a feed is told by ``ingest.feeds.gap_watch``, with a verdict; here is only that nothing comes at all any more.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ingest import judgement
from ingest.judgement import CRIT, INFO, WARN, Finding
from ingest.sample import Event, LossSample, NicSample, Sample
from tuner.host.cpulist import format_list
from tuner.host.text import printable

MOST = 12  # events of a sample
AGAIN = 10  # times as much is told again
WINDOW_NS = 3_000_000_000
STALE_NS = 5_000_000_000
RETURNS_NS = LONGEST_NS = 60_000_000_000
_SHORTEST_NS = 1_000_000_000
_KEPT = 4096  # matters; a host that has more of them is told of the gravest
_WIDEST = 300  # characters of a sentence

# kind -> (so many within the window make it one, how long it must be away to be over)
_LASTING = {
    judgement.DEVICE: (3, 3_000_000_000),
    judgement.IPI: (3, 3_000_000_000),
    judgement.TICK: (7, 3_000_000_000),
    judgement.BACKLOG: (1, 5_000_000_000),
    judgement.LOST: (1, 5_000_000_000),
    judgement.PRESSURE: (1, 5_000_000_000),
    judgement.FLAP: (1, 10_000_000_000),
    judgement.LATE: (3, 10_000_000_000),  # one is nothing on a host that works
    judgement.LINK: (0, 0),
    judgement.STALE: (0, 0),
}
_BY_ROLE = frozenset({judgement.DEVICE, judgement.IPI, judgement.TICK})
_GRAVEST = {CRIT: 0, WARN: 1, INFO: 2}
_ALIVE = ("received", "duplicate", "reordered", "outside", "heartbeats")


@dataclass(slots=True)
class _Matter:
    """One thing that is, was or may become wrong. Times are CLOCK_MONOTONIC in ns, but for ``since_s``."""

    finding: Finding
    quiet_ns: int
    began_ns: int = 0
    since_s: float = 0.0
    seen_ns: int = 0
    count: int = 0  # since the onset; before it, what lies in the window
    window: deque[tuple[int, int]] = field(default_factory=deque)
    open: bool = False
    told: bool = False
    told_per_s: float = 0.0
    onsets: int = 0  # that followed each other within a minute

    def take(self, finding: Finding, count: int, now_ns: int) -> None:
        """It is there in this sample, so many times."""
        self.finding, self.seen_ns = finding, now_ns
        if self.open:
            self.count += count
            return
        self.window.append((now_ns, count))
        while self.window[0][0] <= now_ns - WINDOW_NS:
            self.window.popleft()
        self.count = sum(each for _, each in self.window)


class Alerts:
    """Judges one sample after the other of one host."""

    def __init__(self) -> None:
        self._matters: dict[str, _Matter] = {}
        self._ledger: tuple[LossSample, ...] = ()
        self._late_ticks: int | None = None
        self._linked: set[str] = set()  # interfaces that had a link, as long as they are there
        self._feeds: dict[str, tuple[int, int, bool]] = {}  # place -> what came, when, whether ever while this looked

    def judge(
        self,
        sample: Sample,
        nohz_full: Collection[int] = frozenset(),
        reserved: Callable[[int], bool] = lambda _: True,
    ) -> tuple[Event, ...]:
        """What is to be told beside this sample.

        Args:
            sample: the next one; the first, and any without an interval, only sets where counting begins.
            nohz_full: CPUs whose tick is to be stopped.
            reserved: whether a core still has the role by which it was judged; asked ahead of an onset there. Where a profile
                is taken back, interrupts return to cores whose roles were read some seconds ago.
        """
        now_ns = sample.monotonic_ns
        fresh: list[_Matter] = []
        again: list[_Matter] = []
        for finding, count in self._found(sample, nohz_full):
            matter = self._matter(finding)
            if matter is None:
                continue
            matter.take(finding, count, now_ns)
            if not matter.open and matter.count >= _LASTING[finding.kind][0]:
                if finding.kind in _BY_ROLE and not reserved(finding.cpu or 0):
                    del self._matters[finding.key]
                    continue
                self._begin(matter, sample)
                fresh.append(matter)
            elif matter.told and finding.per_s >= AGAIN * matter.told_per_s > 0:
                again.append(matter)
        over = self._over(now_ns) if self._matters else []
        if not (fresh or again or over):
            return ()
        return tuple(self._told(fresh, again, over, sample))

    # ---- what is there

    def _found(self, sample: Sample, nohz_full: Collection[int]) -> Iterator[tuple[Finding, int]]:
        """What is worth an event, with how many of it came in this sample."""
        former, self._ledger = self._ledger, sample.losses
        late, self._late_ticks = self._late_ticks, sample.cost.late_ticks
        yield from self._of_feeds(sample)
        linked, self._linked = self._linked, {nic.name for nic in sample.nics if nic.carrier}
        for nic in sample.nics:
            if nic.name in linked and (down := judgement.of_link(nic)) is not None:
                self._linked.add(nic.name)
                yield down, 1
        if not sample.interval_s > 0:
            return
        yield from _of_cores(sample, nohz_full)
        if sample.losses is not former:
            yield from self._of_losses(sample, former)
        if late is not None and sample.cost.late_ticks > late:
            what = "the collector came too late for its tick: its CPUs are overloaded, or it was stopped"
            missed = sample.cost.late_ticks - late
            yield Finding("late", judgement.LATE, WARN, "collector", what, missed / sample.interval_s, "ticks"), missed

    def _of_losses(self, sample: Sample, former: tuple[LossSample, ...]) -> Iterator[tuple[Finding, int]]:
        moved = [row for row in sample.losses if row.per_s]
        if not moved:
            return
        nics = {nic.name: nic for nic in sample.nics}
        before = {(row.stage, row.where, row.name): row.total for row in former if row.visible}
        for row in moved:
            finding = _link_lost(row, nics) or judgement.of_loss(row, nics.get(row.where))
            if finding is None or (finding.kind == judgement.FLAP and self._is_open(f"link {row.where}")):
                continue
            last = before.get((row.stage, row.where, row.name))
            count = row.total - last if last is not None and row.total >= last else round(row.per_s * sample.interval_s)
            if count:  # a row that is read once a second keeps its rate in between
                yield finding, count

    def _is_open(self, key: str) -> bool:
        matter = self._matters.get(key)
        return matter is not None and matter.open

    def _of_feeds(self, sample: Sample) -> Iterator[tuple[Finding, int]]:
        """Streams that had flowed and do not any more. Of two lines only when both are silent: one alone is told elsewhere."""
        came = _came(sample.feeds) if sample.feeds or self._feeds else {}
        feeds, self._feeds = self._feeds, {}
        for place, count in came.items():
            last, when_ns, flowed = feeds.get(place, (count, sample.monotonic_ns, False))
            if count != last:
                when_ns, flowed = sample.monotonic_ns, True
            self._feeds[place] = count, when_ns, flowed
            if flowed and sample.monotonic_ns - when_ns >= STALE_NS:
                what = "stale: nothing has come for 5 s, no heartbeat either"
                yield Finding(f"stale {place}", judgement.STALE, CRIT, place, what, feed=place), 1

    # ---- what lasts

    def _matter(self, finding: Finding) -> _Matter | None:
        known = self._matters.get(finding.key)
        if known is None and len(self._matters) < _KEPT:
            known = self._matters[finding.key] = _Matter(finding, _LASTING[finding.kind][1])
        return known

    @staticmethod
    def _begin(matter: _Matter, sample: Sample) -> None:
        # what was counted came in the time since the sample before
        counted_ns = round(sample.interval_s * 1e9) if matter.finding.unit else 0
        counted_ns = STALE_NS if matter.finding.kind == judgement.STALE else counted_ns
        first = matter.window[0][0] - counted_ns
        matter.open, matter.began_ns, matter.onsets = True, first, matter.onsets + 1
        matter.since_s = sample.time_s - (sample.monotonic_ns - first) / 1e9
        if matter.onsets > 1:
            matter.quiet_ns = min(LONGEST_NS, max(2 * matter.quiet_ns, _SHORTEST_NS))
        matter.window.clear()

    def _over(self, now_ns: int) -> list[_Matter]:
        """What ended just now. What ended a minute ago is forgotten."""
        found, forgotten = [], []
        for key, matter in self._matters.items():
            away_ns = now_ns - matter.seen_ns
            if matter.open and away_ns > matter.quiet_ns:
                matter.open = False
                found.append(matter)
            elif not matter.open and away_ns > (RETURNS_NS + matter.quiet_ns if matter.onsets else WINDOW_NS):
                forgotten.append(key)
        for key in forgotten:
            del self._matters[key]
        return found

    # ---- words

    def _told(
        self, fresh: Iterable[_Matter], again: Iterable[_Matter], over: Iterable[_Matter], sample: Sample
    ) -> Iterator[Event]:
        ranked = sorted(fresh, key=lambda each: (_GRAVEST[each.finding.level], -each.finding.per_s))
        for matter in ranked[:MOST]:
            matter.told, matter.told_per_s = True, matter.finding.per_s
            yield _event(matter, matter.finding.level, _onset(matter, sample.interval_s))
        if rest := ranked[MOST:]:
            yield _together(rest)
        room = MOST - min(MOST, len(ranked))
        louder = sorted(again, key=lambda each: (_GRAVEST[each.finding.level], -each.finding.per_s))
        for matter in louder[:room]:
            matter.told_per_s = matter.finding.per_s
            yield _event(matter, matter.finding.level, _louder(matter, sample.monotonic_ns))
        ended = [matter for matter in over if matter.told]
        for place, matter in enumerate(ended):
            matter.told = False
            if place < MOST:
                yield _event(matter, INFO, _ending(matter, sample), ended=True)
        if len(ended) > MOST:
            yield Event(INFO, "alerts", f"and {len(ended) - MOST} more are over", count=len(ended) - MOST)


def _of_cores(sample: Sample, nohz_full: Collection[int]) -> Iterator[tuple[Finding, int]]:
    judged = [(core, found) for core in sample.cores if (found := judgement.of_core(core, (), core.cpu in nohz_full))]
    if not judged:
        return
    disturbed = [core.cpu for core, found in judged if any(each.kind == judgement.DEVICE for each in found)]
    rows = judgement.interrupting(sample.irqs, disturbed) if disturbed else {}
    for core, found in judged:
        whole = judgement.of_core(core, rows[core.cpu], core.cpu in nohz_full) if rows.get(core.cpu) else found
        for finding in whole:
            if finding.level != INFO:
                yield finding, round(finding.per_s * sample.interval_s)


def _link_lost(row: LossSample, nics: Mapping[str, NicSample]) -> Finding | None:
    if row.counter != "carrier_down_count" or not row.visible:
        return None
    nic = nics.get(row.where)
    if nic is None or not nic.carrier:
        return None
    what = "the link was lost and is back (carrier_down_count)"
    return Finding(
        f"flap {row.where}", judgement.FLAP, WARN, row.where, what, row.per_s, "times", nic=row.where, counter=row.counter
    )


def _came(feeds: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Channel, or stream without one -> all that its lines brought, of whatever kind."""
    found: dict[str, int] = {}
    for feed in feeds:
        stream = feed.get("stream")
        if stream is None:
            continue  # two lines together: their streams stand for them
        scope = str(stream).rpartition("]")[2].partition("/")[2]
        channel = feed.get("channel")
        place = str(stream) if channel is None else f"{channel}/{scope}" if scope else str(channel)
        found[place] = found.get(place, 0) + sum(int(feed.get(name) or 0) for name in _ALIVE)
    return found


def _event(matter: _Matter, level: str, what: str, ended: bool = False) -> Event:
    finding = matter.finding
    return Event(
        level=level,
        where=printable(finding.where, 80),
        what=printable(what, _WIDEST),
        key=printable(finding.key, 200),
        ended=ended,
        since_s=matter.since_s,
        count=matter.count,
        cpu=finding.cpu,
        irq=printable(finding.irq, 20),
        nic=printable(finding.nic),
        queue=finding.queue,
        counter=printable(finding.counter, 80),
        feed=printable(finding.feed, 80),
    )


def _onset(matter: _Matter, interval_s: float) -> str:
    finding = matter.finding
    times = f"; for the {_ordinal(matter.onsets)} time in short" if matter.onsets > 1 else ""
    if not finding.unit:
        return finding.what + times
    if finding.kind in (judgement.LOST, judgement.BACKLOG):
        return f"{matter.count:,} {finding.unit} lost in {interval_s:.1f} s: {finding.what}{times}"
    return finding.sentence + times


def _louder(matter: _Matter, now_ns: int) -> str:
    so_far = f"{matter.count:,} {matter.finding.unit} in {_seconds(now_ns - matter.began_ns)}"
    return f"{matter.finding.sentence}, {AGAIN} times what it was; {so_far}"


def _ending(matter: _Matter, sample: Sample) -> str:
    finding = matter.finding
    lasted = _seconds(sample.monotonic_ns - matter.began_ns if not finding.unit else matter.seen_ns - matter.began_ns)
    if finding.kind == judgement.LINK:
        linked = any(nic.name == finding.nic and nic.carrier for nic in sample.nics)
        return (
            f"the link is up again, after {lasted}"
            if linked
            else f"it was down for {lasted}; now it is wanted no more, or gone"
        )
    if finding.kind == judgement.STALE:
        here = finding.feed in _came(sample.feeds)
        return f"it flows again, after {lasted}" if here else f"it was stale for {lasted}, and is followed no more"
    return f"over: {finding.what}; {matter.count:,} {finding.unit} in {lasted}"


def _together(rest: list[_Matter]) -> Event:
    """One line for what a sample had no room for."""
    kinds = Counter(matter.finding.kind for matter in rest)
    level = min((matter.finding.level for matter in rest), key=_GRAVEST.__getitem__)
    cpus = format_list({matter.finding.cpu for matter in rest if matter.finding.cpu is not None})
    words = ", ".join(f"{count} of {kind}" for kind, count in kinds.most_common())
    what = f"and {len(rest)} more began at the same time: {words}" + (f", on CPUs {cpus}" if cpus else "")
    return Event(level, "alerts", printable(what, _WIDEST), count=len(rest))


def _seconds(ns: int) -> str:
    seconds = max(0, ns) / 1e9
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
