"""What this host's own counters say of a feed's gaps: the ledger of losses read before and after a run of a ring.

A ring is a tap behind softnet and before the protocols: what it misses was lost upstream, in the NIC, in a CPU's backlog or in
the ring itself. Stages behind it (filters, sockets) lose packets that it has seen, and cannot explain a gap of its own.

A feed counts numbers, a host packets: where a datagram of a line holds several numbers, a dropped packet stands for as many as
the line's datagrams held on average.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ingest.collector import Collector
from ingest.feeds.diagnosis import Finding, LineInterval, diagnose
from ingest.likely import SAME, SILENT, UNKNOWN, WHOLE, Gap, Likely, likely_stage, lost_by_stage
from ingest.rings.counters import ChannelCounters, RingReport, StreamCounters
from ingest.rings.layout import Following
from ingest.sample import LossSample
from tuner.host.host import Host
from tuner.host.nics import names_beneath, read_nics
from tuner.host.text import printable

_RING = 21
# 13 has no loss of its own here: rx_dropped bounds what the backlog (11) can have dropped of an interface
_BEFORE_THE_TAP = frozenset({*range(1, 12), 13, _RING})

_Place = tuple[str, int | None]  # a channel's name and scope


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


class Witness:
    """Reads the ledger when it is made, and again for ``verdicts``; each read costs some milliseconds.

    To be made before the ring is opened: what the ring loses while the ledger is read would be missing in it.

    Args:
        host: where the counters are.
        interfaces: those of the ring; with two of them the first brings line A and the second line B.
        following: what the ring follows. A channel of which nothing came, or that has one line only, is known from here alone.
    """

    def __init__(self, host: Host, interfaces: Sequence[str], following: Following | None = None) -> None:
        self._interfaces = tuple(printable(name) for name in interfaces)  # as the ledger and the report show them
        self._beneath = {
            printable(name): tuple(printable(each) for each in names_beneath(host.files, name)) for name in interfaces
        }
        self._one_queue = frozenset(printable(nic.name) for nic in read_nics(host.files) if nic.rx_queues == 1)
        self._channels = _lines_of(following)
        self._collector = Collector(host)
        self._collector.losses.rings = dict.fromkeys(self._interfaces, 0)
        self._collector.tick(everything=True)

    def verdicts(self, report: RingReport) -> tuple[Verdict, ...]:
        """What the counters say of the gaps of a whole run; once."""
        drops = {name: sum(ring.drops for ring in report.rings if ring.interface == name) for name in self._interfaces}
        self._collector.losses.rings = drops
        sample = self._collector.tick(everything=True)
        return self.judged(report, sample.losses, sample.interval_s)

    def judged(self, report: RingReport, losses: Sequence[LossSample], interval_s: float) -> tuple[Verdict, ...]:
        """What a ledger says of the gaps of a run.

        Args:
            report: the whole run.
            losses: the ledger, with the rates of the run's time.
            interval_s: that time in seconds.
        """
        run = _Run(report, [row for row in losses if row.stage in _BEFORE_THE_TAP], max(interval_s, 1e-9))
        merged = {(channel.name, channel.scope): channel for channel in report.followed.channels}
        came = {name for name, _ in merged}
        verdicts = [each for channel in report.followed.channels for each in self._of_channel(channel, run)]
        for name, lines in self._channels.items():
            if name not in came and lines == "AB":
                verdicts += self._of_channel(ChannelCounters(name), run)
        for stream in report.followed.streams:
            if stream.lost > 0:
                gap = self._gap(stream, merged.get((stream.channel or "", stream.scope)), run)
                verdicts.append(_of_gap(stream.stream, likely_stage(gap, run.rows)))
        return tuple(verdicts)

    def close(self) -> None:
        """Lets go of the counters' files."""
        self._collector.close()

    def _interface(self, line: str) -> str:
        return self._interfaces[1] if line == "B" and len(self._interfaces) > 1 else self._interfaces[0]

    def _through(self, line: str) -> tuple[str, ...]:
        """Where a line's packets may have come through beside ``_interface``; without a line, any interface of the ring."""
        first = self._interface(line)
        others = () if line else tuple(name for name in self._interfaces if name != first)
        beneath = (each for name in (first, *others) for each in self._beneath.get(name, ()))
        return tuple(dict.fromkeys((*others, *beneath)))

    def _gap(self, stream: StreamCounters, merged: ChannelCounters | None, run: "_Run") -> Gap:
        other = UNKNOWN
        if merged is not None and self._channels.get(merged.name, "AB") == "AB":
            if run.stream((merged.name, merged.scope), "B" if stream.line == "A" else "A") is None:
                other = SILENT
            else:
                other = SAME if 2 * merged.lost > stream.lost else WHOLE
        return Gap(
            nic=self._interface(stream.line),
            lost=stream.lost,
            interval_s=run.interval_s,
            received=stream.received,
            other_line=other,
            also=self._through(stream.line),
            per_packet=_numbers_each(stream),
        )

    def _of_channel(self, channel: ChannelCounters, run: "_Run") -> list[Verdict]:
        place = (channel.name, channel.scope)
        if self._channels.get(channel.name, "AB") != "AB":
            return []  # it has no other line: its gaps are judged as any stream's
        a, b = (run.stream(place, name) for name in "AB")
        lines = self._line("A", a, b, run), self._line("B", b, a, run)
        findings = diagnose(*lines, channel.lost, self._one_queue_for_both() and not _only_by_ring(lines, run))
        name = channel.name if channel.scope is None else f"{channel.name}/{channel.scope}"
        return [_of_finding(name, finding) for finding in findings]

    def _one_queue_for_both(self) -> bool:
        """Whether both lines come through one receive queue for certain: one interface, at the bottom, that has only one."""
        ways = [(self._interface(line), *self._through(line)) for line in "AB"]
        return any(name in ways[1] and name in self._one_queue for name in ways[0])

    def _line(self, name: str, stream: StreamCounters | None, other: StreamCounters | None, run: "_Run") -> LineInterval:
        """A line that brought nothing is measured by the other's datagrams."""
        each = _numbers_each(stream or other)
        gap = Gap(self._interface(name), 1, run.interval_s, also=self._through(name), per_packet=each)
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


def _numbers_each(stream: StreamCounters | None) -> float:
    """How many numbers a datagram of the stream held, on average; at least one."""
    datagrams = stream.latency.total - stream.heartbeats if stream is not None else 0
    return max(1.0, stream.received / datagrams) if stream is not None and datagrams > 0 else 1.0
