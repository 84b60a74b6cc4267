"""What a ledger of losses says of the gaps of feeds that a ring follows: one judgement, for a whole run and for a moment of it.

A ring is a tap behind softnet and before the protocols: what it misses was lost upstream, in the NIC, in a CPU's backlog or in
the ring itself. Stages behind it (filters, sockets) lose packets that it has seen, and cannot explain a gap of its own.

A feed counts numbers, a host packets: where a datagram of a line holds several numbers, a dropped packet stands for as many as
the line's datagrams held on average.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ingest.feeds.diagnosis import Finding, LineInterval, diagnose
from ingest.likely import SAME, SILENT, UNKNOWN, WHOLE, Gap, Likely, likely_stage, lost_by_stage
from ingest.rings.counters import ChannelCounters, RingReport, StreamCounters
from ingest.rings.layout import Following
from ingest.sample import LossSample
from tuner.host.files import HostFiles
from tuner.host.nics import Nic, names_beneath, read_nics
from tuner.host.text import printable

_RING = 21
# 13 has no loss of its own here: rx_dropped bounds what the backlog (11) can have dropped of an interface
_BEFORE_THE_TAP = frozenset({*range(1, 12), 13, _RING})

_Place = tuple[str, int | None]  # a channel's name and scope
_Interface = int | str  # its number; its name where it has none


@dataclass(frozen=True, slots=True)
class Verdict:
    """A sentence on one stream or channel; ``facts`` is the same for programs."""

    sentence: str
    facts: Mapping[str, Any]


def _of_gap(stream: str, likely: Likely) -> Verdict:
    sentence = f"{stream}: likely stage {likely.stage}, {likely.name} ({likely.where}): {likely.why}"
    place = {"stage": likely.stage, "name": likely.name, "where": likely.where}
    return Verdict(sentence, {"stream": stream, **place, "explained": likely.explained, "why": likely.why})


def _of_finding(channel: str, finding: Finding) -> Verdict:
    facts = {"channel": channel, "verdict": finding.verdict.value, "line": finding.line or None, "why": finding.sentence}
    return Verdict(f"{channel}: {finding.sentence}", facts)


class Judge:
    """Knows the interfaces of a ring by their numbers, so that a new name of one is only another word for it.

    Args:
        files: of the host.
        interfaces: those of the ring; with two of them the first brings line A and the second line B.
        following: what the ring follows. A channel of which nothing came, or that has one line only, is known from here alone.
    """

    def __init__(self, files: HostFiles, interfaces: Sequence[str], following: Following | None = None) -> None:
        self._files = files
        self._opened = tuple(printable(name) for name in interfaces)
        self._names: dict[_Interface, str] = {}  # as the ledger shows them now
        self._beneath: dict[_Interface, tuple[_Interface, ...]] = {}
        self._one_queue: set[_Interface] = set()
        nics = read_nics(files)
        self._interfaces = [self._known(name, nics) for name in interfaces]
        self.channels = _lines_of(following)

    def _known(self, name: str, nics: Sequence[Nic]) -> _Interface:
        """Takes an interface of the ring into the books, with those beneath it; its number, or its name where it has none."""
        numbers = {nic.name: nic.ifindex for nic in nics if nic.ifindex}
        beneath = names_beneath(self._files, name)
        found: list[_Interface] = [numbers.get(each, each) for each in (name, *beneath)]
        self._names |= {each: printable(called) for each, called in zip(found, (name, *beneath), strict=True)}
        self._beneath[found[0]] = tuple(found[1:])
        self._one_queue |= {nic.ifindex or nic.name for nic in nics if nic.rx_queues == 1}
        return found[0]

    def called(self, nics: Iterable[Nic]) -> None:
        """What the interfaces are called now; one that is not there keeps its last name."""
        here = {(nic.ifindex, printable(nic.name)) for nic in nics}
        for number, name in here:
            if number in self._names and (number, self._names[number]) not in here:
                self._names[number] = name

    def returned(self, name: str) -> None:
        """An interface of the ring was made anew, under the name that it had at the beginning."""
        place = self._opened.index(printable(name))
        self._interfaces[place] = self._known(name, read_nics(self._files))

    @property
    def names(self) -> Mapping[str, str]:
        """Each interface of the ring, as it was called at the beginning -> as it is called now."""
        return {name: self._names[each] for name, each in zip(self._opened, self._interfaces, strict=True)}

    def judged(
        self, report: RingReport, losses: Sequence[LossSample], interval_s: float, numbers_each: float = 1.0
    ) -> tuple[Verdict, ...]:
        """What a ledger says of the gaps of a run.

        Args:
            report: the whole run, or what came in some part of it.
            losses: the ledger, with the rates of that time.
            interval_s: that time in seconds.
            numbers_each: how many numbers a datagram held, where the streams of the report do not tell it themselves.
        """
        run = _Run(report, [row for row in losses if row.stage in _BEFORE_THE_TAP], max(interval_s, 1e-9), numbers_each)
        merged = {(channel.name, channel.scope): channel for channel in report.followed.channels}
        came = {name for name, _ in merged}
        verdicts = [each for channel in report.followed.channels for each in self._of_channel(channel, run)]
        for name, lines in self.channels.items():
            if name not in came and lines == "AB":
                verdicts += self._of_channel(ChannelCounters(name), run)
        for stream in report.followed.streams:
            if stream.lost > 0:
                gap = self._gap(stream, merged.get((stream.channel or "", stream.scope)), run)
                verdicts.append(_of_gap(stream.stream, likely_stage(gap, run.rows)))
        return tuple(verdicts)

    def _way(self, line: str) -> tuple[_Interface, ...]:
        """Where a line's packets may have come through, its own interface first; without a line, any interface of the ring."""
        first = self._interfaces[1] if line == "B" and len(self._interfaces) > 1 else self._interfaces[0]
        others = () if line else tuple(each for each in self._interfaces if each != first)
        beneath = (each for upper in (first, *others) for each in self._beneath.get(upper, ()))
        return tuple(dict.fromkeys((first, *others, *beneath)))

    def interface(self, line: str) -> str:
        """What the interface is called now that brings a line; without a line the ring's, where it has only one."""
        return self._named(line)[0] if line or len(self._interfaces) == 1 else ""

    def _named(self, line: str) -> tuple[str, tuple[str, ...]]:
        """The same as names: the line's own interface, and the others."""
        first, *others = (self._names[each] for each in self._way(line))
        return first, tuple(others)

    def _gap(self, stream: StreamCounters, merged: ChannelCounters | None, run: "_Run") -> Gap:
        other = UNKNOWN
        if merged is not None and self.channels.get(merged.name, "AB") == "AB":
            if run.stream((merged.name, merged.scope), "B" if stream.line == "A" else "A") is None:
                other = SILENT
            else:
                other = SAME if 2 * merged.lost > stream.lost else WHOLE
        nic, also = self._named(stream.line)
        return Gap(
            nic=nic,
            lost=stream.lost,
            interval_s=run.interval_s,
            received=stream.received,
            other_line=other,
            also=also,
            per_packet=_numbers_each(stream, run),
        )

    def _of_channel(self, channel: ChannelCounters, run: "_Run") -> list[Verdict]:
        place = (channel.name, channel.scope)
        if self.channels.get(channel.name, "AB") != "AB":
            return []  # it has no other line: its gaps are judged as any stream's
        a, b = (run.stream(place, name) for name in "AB")
        lines = self._line("A", a, b, run), self._line("B", b, a, run)
        findings = diagnose(*lines, channel.lost, self._one_queue_for_both() and not _only_by_ring(lines, run))
        name = channel.name if channel.scope is None else f"{channel.name}/{channel.scope}"
        return [_of_finding(name, finding) for finding in findings]

    def _one_queue_for_both(self) -> bool:
        """Whether both lines come through one receive queue for certain: one interface, at the bottom, that has only one."""
        ways = [self._way(line) for line in "AB"]
        return any(each in ways[1] and each in self._one_queue for each in ways[0])

    def _line(self, name: str, stream: StreamCounters | None, other: StreamCounters | None, run: "_Run") -> LineInterval:
        """A line that brought nothing is measured by the other's datagrams."""
        each = _numbers_each(stream or other, run)
        nic, also = self._named(name)
        gap = Gap(nic, 1, run.interval_s, also=also, per_packet=each)
        lost = lost_by_stage(run.rows, gap).values()
        moved = tuple(dict.fromkeys(row.counter for _, row in lost))
        dropped = round(sum(count for count, _ in lost))
        if stream is None:
            return LineInterval(name, gap.nic, 0, 0, 0, moved, dropped)
        return LineInterval(name, gap.nic, max(1, stream.latency.total), stream.received, stream.lost, moved, dropped)


@dataclass(frozen=True, slots=True)
class _Run:
    report: RingReport
    rows: Sequence[LossSample]
    interval_s: float
    numbers_each: float

    def stream(self, place: _Place, line: str) -> StreamCounters | None:
        """What one line of a channel brought."""
        streams = (each for each in self.report.followed.streams if (each.channel, each.scope) == place)
        return next((each for each in streams if each.line == line), None)


def _only_by_ring(lines: Sequence[LineInterval], run: _Run) -> bool:
    """Whether the ring itself is all that dropped: no receive queue of a NIC had part in it."""
    counters = {row.counter for row in run.rows if row.stage == _RING}
    moved = {name for line in lines for name in line.moved}
    return bool(moved) and moved <= counters


def _lines_of(following: Following | None) -> dict[str, str]:
    """Channel -> its lines, ``A``, ``B`` or ``AB``."""
    found: dict[str, str] = {}
    for line in following.lines if following is not None else ():
        if following is not None and line.channel is not None:
            name = following.channels[line.channel]
            found[name] = "".join(sorted({*found.get(name, ""), "AB"[line.line]}))
    return found


def _numbers_each(stream: StreamCounters | None, run: _Run) -> float:
    """How many numbers a datagram of the stream held, on average; at least one."""
    datagrams = stream.latency.total - stream.heartbeats if stream is not None else 0
    return max(1.0, stream.received / datagrams) if stream is not None and datagrams > 0 else run.numbers_each
