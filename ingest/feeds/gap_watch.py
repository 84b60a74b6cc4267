"""Gaps while they happen: held open until they are certain, and then judged by what this host counted meanwhile.

* A number that is missing may be late only. So a gap is told when it has been one for the hold-off: the least that was missing
  at any time of it is what is lost. The same holds for what is missing on both lines, of which one may be behind: the
  hold-off is a second, or as long as that takes.
* A drop comes before the gap that shows it, and not before the packets of the stream that came ahead of it. So the ledger is
  compared with one from before the newest whole packets of that stream arrived, however long ago that was.
* Drivers' counters are read once a second. So a verdict also waits until they were read after the gap was seen.
* A loss that goes on is told again every few seconds, not at every tick.
"""

from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ingest.feeds.diagnosis import Verdict as Kind
from ingest.feeds.judge import Judge, Verdict
from ingest.ledger import Ledger
from ingest.rings.counters import ChannelCounters, Followed, RingReport, StreamCounters
from ingest.sample import Event

HOLD_OFF_NS, LONGEST_HOLD_OFF_NS = 1_000_000_000, 10_000_000_000  # in between as long as one line is behind the other
AGAIN_NS = 5_000_000_000
SILENT_NS = 5_000_000_000  # the other line flows meanwhile; heartbeats of most feeds come every second
_LEDGERS = 128  # ticks that are remembered
_SILENT = (Kind.LINE_SILENT.value, Kind.HOST_PATH.value)
_ALONE = ("fine", *_SILENT[:1], Kind.BOTH_SILENT.value)
_BOTH = (Kind.UPSTREAM.value, Kind.SHARED_QUEUE.value, Kind.HOST.value, Kind.MIXED.value)

Counters = StreamCounters | ChannelCounters


@dataclass(slots=True)
class _Account:
    """One stream, or what two lines bring together.

    ``told``: how much of its loss was told. ``steps``: (time, missing) where that changed. ``base``: the ledger from before
    anything that the next gap can be of; ``whole`` the same, had there been no gap. ``from_received``: what had come then.
    """

    base: Ledger
    whole: Ledger
    told: int = 0
    received: int = 0
    from_received: int = 0
    came_ns: int = 0
    steps: deque[tuple[int, int]] = field(default_factory=lambda: deque([(0, 0)]))

    @property
    def lost(self) -> int:
        """Missing now, late or lost."""
        return self.steps[-1][1]

    def certain(self, since_ns: int) -> int:
        """How much was missing at every moment since then."""
        while len(self.steps) > 1 and self.steps[1][0] <= since_ns:
            self.steps.popleft()
        return min(lost for _, lost in self.steps)


@dataclass(slots=True)
class _Line:
    """When a line brought anything last, and the ledger of that tick."""

    count: int
    came_ns: int
    ledger: Ledger
    silent: bool = False


class GapWatch:
    """Looks at the accounting of feeds tick by tick, and tells of gaps and silence as events."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._accounts: dict[Any, _Account] = {}
        self._ledgers: deque[Ledger] = deque(maxlen=_LEDGERS)
        self._lines: dict[tuple[str, str], _Line] = {}
        self._told_ns = 0
        self._packets = 0
        self._numbers = 0

    def look(
        self,
        counted: Mapping[Any, Counters],
        packets: int,
        since_ns: int,
        ledger: Ledger,
        asked_ns: int,
        complete: bool = True,
    ) -> tuple[Event, ...]:
        """One tick.

        Args:
            counted: streams and channels since the beginning, each under a key of its own.
            packets: that came to the rings since the look before.
            since_ns: no packet that was read since the look before is older.
            ledger: read after that.
            asked_ns: when those rows were read that are not read at every tick.
            complete: whether all interfaces of the ring are there; only then is a silence one.
        """
        self._ledgers.append(ledger)
        whole = self._ledger_at(since_ns)
        for key, each in counted.items():
            self._take(key, each, whole, ledger.at_ns)
        self._packets += packets
        events = [*self._gaps(counted, ledger, asked_ns), *self._silences(counted, ledger, complete)]
        return tuple(events)

    def _ledger_at(self, at_ns: int) -> Ledger:
        """The newest ledger that was read by then; the oldest where all are newer."""
        return next((each for each in reversed(self._ledgers) if each.at_ns <= at_ns), self._ledgers[0])

    def _take(self, key: Any, each: Counters, whole: Ledger, now_ns: int) -> None:
        account = self._accounts.get(key)
        if account is None:
            first = self._ledgers[0]
            account = self._accounts[key] = _Account(first, first)
        if each.lost != account.lost:
            account.steps.append((now_ns, each.lost))
        if each.received != account.received:
            if isinstance(each, StreamCounters):
                self._numbers += each.received - account.received
            account.whole = whole
            account.came_ns = now_ns
            if len(account.steps) == 1 and account.lost == account.told:
                account.base, account.from_received = whole, account.received
            account.received = each.received

    # ---- gaps

    def _gaps(self, counted: Mapping[Any, Counters], ledger: Ledger, asked_ns: int) -> Iterator[Event]:
        now_ns = ledger.at_ns
        held_ns = now_ns - _hold_off_ns(counted.values())
        certain = {key: account.certain(held_ns) for key, account in self._accounts.items()}
        due = [key for key, lost in certain.items() if lost > self._accounts[key].told]
        if due and self._is_time(due, certain, now_ns, asked_ns):
            self._told_ns = now_ns
            yield from self._judged(counted, due, certain, ledger)
            for key in due:
                self._close(self._accounts[key], certain[key], held_ns)
        for key, account in self._accounts.items():
            if len(account.steps) == 1 and account.lost < account.told:
                late = account.told - account.lost
                name = _name(counted[key])
                yield Event("info", name, f"{late:,} numbers that were told as lost came late", feed=name)
                self._close(account, account.lost, held_ns)

    def _is_time(self, due: Iterable[Any], certain: Mapping[Any, int], now_ns: int, asked_ns: int) -> bool:
        accounts = [self._accounts[key] for key in due]
        seen_ns = max(account.steps[0][0] for account in accounts)
        settled = all(account.lost == certain[key] for key, account in self._accounts.items())
        return asked_ns >= seen_ns and (settled or now_ns - self._told_ns >= AGAIN_NS)

    def _close(self, account: _Account, told: int, held_ns: int) -> None:
        """What was told is told. Of a loss that goes on, the rest began within the hold-off."""
        account.told = told
        base = account.whole if account.lost == told else self._ledger_at(held_ns)
        if base.at_ns > account.base.at_ns:
            account.base = base
        account.from_received = account.received

    def _judged(
        self, counted: Mapping[Any, Counters], due: Iterable[Any], certain: Mapping[Any, int], ledger: Ledger
    ) -> Iterator[Event]:
        start = min((self._accounts[key].base for key in due), key=lambda base: base.at_ns)
        fresh = [self._fresh(each, self._accounts[key], certain[key], start) for key, each in counted.items()]
        each = max(1.0, self._numbers / self._packets) if self._packets else 1.0
        verdicts = self._judge.judged(_report(fresh), ledger.since(start), _seconds(start, ledger), each)
        concerned = {_channel(counted[key]) for key in due}
        yield from _told(verdicts, concerned, [each for each in fresh if each is not None], self._judge)

    @staticmethod
    def _fresh(each: Counters, account: _Account, certain: int, start: Ledger) -> Counters | None:
        """What is new since the last verdict; None for a stream of which nothing came in that time."""
        if account.came_ns < start.at_ns:
            return None
        lost = max(0, certain - account.told)
        return replace(each, received=max(1, each.received - account.from_received), lost=lost)

    # ---- silence

    def _silences(self, counted: Mapping[Any, Counters], ledger: Ledger, complete: bool) -> Iterator[Event]:
        heard: Counter[tuple[str, str]] = Counter()
        for each in counted.values():
            if isinstance(each, StreamCounters) and each.channel is not None:
                heard[each.channel, each.line] += each.received + each.duplicate + each.heartbeats + each.outside
        for channel in (name for name, lines in self._judge.channels.items() if lines == "AB"):
            a, b = (self._heard((channel, line), heard[channel, line], ledger, complete) for line in "AB")
            for name, line, other in (("A", a, b), ("B", b, a)):
                if not line.silent and other.came_ns - line.came_ns >= SILENT_NS:
                    line.silent = True
                    yield from self._silent(channel, name, line, counted, ledger)

    def _heard(self, place: tuple[str, str], count: int, ledger: Ledger, complete: bool) -> _Line:
        line = self._lines.setdefault(place, _Line(0, ledger.at_ns, ledger))
        if count != line.count or not complete:  # an interface that is gone explains a silence, and was told
            line.count, line.came_ns, line.ledger, line.silent = count, ledger.at_ns, ledger, False
        return line

    def _silent(self, channel: str, name: str, line: _Line, counted: Mapping[Any, Counters], ledger: Ledger) -> Iterator[Event]:
        streams = (each for each in counted.values() if isinstance(each, StreamCounters))
        others = [replace(each, lost=0) for each in streams if each.channel == channel and each.line != name]
        channels = [ChannelCounters(channel, scope) for scope in sorted({each.scope for each in others}, key=str)[:1]]
        places = {each.scope for each in channels}
        report = _report([*(each for each in others if each.scope in places), *channels])
        rows = ledger.since(line.ledger)
        for each in self._judge.judged(report, rows, _seconds(line.ledger, ledger)):
            if each.facts.get("verdict") in _SILENT and each.facts["line"] == name:
                yield Event("warn", channel, each.facts["why"], nic=self._judge.interface(name), feed=channel)


def _hold_off_ns(counted: Iterable[Counters]) -> int:
    """A second, or what 99.9 % of the numbers that came on both lines were apart, where that is more."""
    skews = (skew for each in counted if isinstance(each, ChannelCounters) for skew in each.skew)
    apart = (skew.percentile(99.9) or 0 for skew in skews if skew.max_ns > HOLD_OFF_NS)
    return min(LONGEST_HOLD_OFF_NS, max(HOLD_OFF_NS, *apart, 0))


def _seconds(start: Ledger, end: Ledger) -> float:
    return max(1, end.at_ns - start.at_ns) / 1e9


def _report(fresh: Iterable[Counters | None]) -> RingReport:
    there = [each for each in fresh if each is not None]
    streams = tuple(each for each in there if isinstance(each, StreamCounters))
    channels = tuple(each for each in there if isinstance(each, ChannelCounters))
    return RingReport("", "", "", "interval", 0.0, (), Followed(streams, channels))


def _told(verdicts: Iterable[Verdict], concerned: Container[str], fresh: Sequence[Counters], judge: Judge) -> Iterator[Event]:
    """Events of verdicts. What nobody brought is critical; what the other line brought is not."""
    streams = {each.stream: each for each in fresh if isinstance(each, StreamCounters)}
    nobody = {(each.name, each.scope): each.lost for each in fresh if isinstance(each, ChannelCounters)}
    lines = {(_place(each), each.line): each.lost for each in streams.values()}
    for each in verdicts:
        facts = each.facts
        if facts.get("verdict", "fine") not in _ALONE and facts["channel"].partition("/")[0] in concerned:
            own = [lost for (place, line), lost in lines.items() if (place, line) == (facts["channel"], facts["line"])]
            missing = sum(lost for place, lost in nobody.items() if _shown(*place) == facts["channel"])
            critical = facts["verdict"] in _BOTH or missing >= max([*own, 1])
            nic = judge.interface(facts["line"] or "")
            yield Event("crit" if critical else "warn", facts["channel"], facts["why"], nic=nic, feed=facts["channel"])
        elif "stage" in facts:
            stream = streams[facts["stream"]]
            what = f"{stream.lost:,} lost: likely stage {facts['stage']}, {facts['name']} ({facts['where']}): {facts['why']}"
            filled = stream.lost > nobody.get((stream.channel or "", stream.scope), stream.lost)
            level = "warn" if filled and judge.channels.get(stream.channel or "") == "AB" else "crit"
            yield Event(level, stream.stream, what, nic=judge.interface(stream.line), feed=stream.stream)


def _channel(each: Counters) -> str:
    return each.name if isinstance(each, ChannelCounters) else each.channel or ""


def _place(stream: StreamCounters) -> str:
    return _shown(stream.channel or "", stream.scope)


def _shown(channel: str, scope: int | None) -> str:
    return channel if scope is None else f"{channel}/{scope}"


def _name(each: Counters) -> str:
    return each.stream if isinstance(each, StreamCounters) else f"{_shown(each.name, each.scope)} A+B"
