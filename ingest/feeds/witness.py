"""What this host's own counters say of a feed's gaps: the ledger of losses read before and after a run of a ring.

A ring is a tap behind softnet and before the protocols: what it misses was lost upstream, in the NIC, in a CPU's backlog or in
the ring itself. Stages behind it (filters, sockets) lose packets that it has seen, and cannot explain a gap of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ingest.collector import Collector
from ingest.feeds.diagnosis import Finding, LineInterval, diagnose
from ingest.likely import SAME, UNKNOWN, WHOLE, Gap, Likely, likely_stage
from ingest.rings.counters import ChannelCounters, RingReport, StreamCounters
from ingest.sample import LossSample
from ingest.stages import LOSS
from tuner.host.host import Host

_RING = 21
_BEFORE_THE_TAP = frozenset({*range(1, 12), _RING})
_OF_AN_INTERFACE = range(1, 10)


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

    Args:
        host: where the counters are.
        interfaces: those of the ring; with two of them the first brings line A and the second line B.
    """

    def __init__(self, host: Host, interfaces: Sequence[str]) -> None:
        self._interfaces = tuple(interfaces)
        self._collector = Collector(host)
        self._collector.losses.rings = dict.fromkeys(self._interfaces, 0)
        self._collector.tick()

    def verdicts(self, report: RingReport) -> tuple[Verdict, ...]:
        """What the counters say of the gaps of a whole run."""
        drops = {name: sum(ring.drops for ring in report.rings if ring.interface == name) for name in self._interfaces}
        self._collector.losses.rings = drops
        sample = self._collector.tick()
        rows = [row for row in sample.losses if row.stage in _BEFORE_THE_TAP]
        interval_s = max(sample.interval_s, 1e-9)
        found = [self._of_channel(channel, report.followed.streams, rows) for channel in report.followed.channels]
        verdicts = [verdict for each in found for verdict in each]
        gaps = [stream for stream in report.followed.streams if stream.lost > 0]
        verdicts += [self._of_stream(stream, report.followed.channels, rows, interval_s) for stream in gaps]
        return tuple(verdicts)

    def close(self) -> None:
        """Lets go of the counters' files."""
        self._collector.close()

    def _interface(self, line: str) -> str:
        return self._interfaces[1] if line == "B" and len(self._interfaces) > 1 else self._interfaces[0]

    def _of_stream(
        self, stream: StreamCounters, channels: Sequence[ChannelCounters], rows: Sequence[LossSample], interval_s: float
    ) -> Verdict:
        merged = next((c for c in channels if (c.name, c.scope) == (stream.channel, stream.scope)), None)
        other = UNKNOWN if merged is None else (SAME if merged.lost else WHOLE)
        gap = Gap(self._interface(stream.line), stream.lost, interval_s, stream.received, other)
        return _of_gap(stream.stream, likely_stage(gap, rows))

    def _of_channel(
        self, channel: ChannelCounters, streams: Sequence[StreamCounters], rows: Sequence[LossSample]
    ) -> list[Verdict]:
        mine = {stream.line: stream for stream in streams if (stream.channel, stream.scope) == (channel.name, channel.scope)}
        a, b = (self._line(name, mine.get(name), rows) for name in "AB")
        findings = diagnose(a, b, channel.lost, shared_queue=a.interface == b.interface)
        name = channel.name if channel.scope is None else f"{channel.name}/{channel.scope}"
        return [_of_finding(name, finding) for finding in findings]

    def _line(self, name: str, stream: StreamCounters | None, rows: Sequence[LossSample]) -> LineInterval:
        interface = self._interface(name)
        moved = tuple(row.counter for row in rows if row.kind == LOSS and row.per_s > 0 and _tells_of(row, interface))
        if stream is None:
            return LineInterval(name, interface, 0, 0, 0, moved)
        return LineInterval(name, interface, max(1, stream.latency.total), stream.received, stream.lost, moved)


def _tells_of(row: LossSample, interface: str) -> bool:
    """An interface's own row, a ring's of it, or one of the CPUs, which work for every interface."""
    return row.where == interface if row.stage in _OF_AN_INTERFACE or row.stage == _RING else True
