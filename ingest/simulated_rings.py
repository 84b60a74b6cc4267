"""Packet rings of a simulated host, which has no packets: what they would have seen, made of what its NICs counted.

The packets of a queue came to the CPU where the queue's interrupt goes. Two channels come over lines A and B, one for each of
two NICs, and each datagram has one number. What a NIC dropped before the ring is missing on its line, number for number: so the
waterfall, the feeds and the verdicts speak of the same packets. Latencies are drawn, and are nobody's measurement; the sample's
``source`` says so.
"""

import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from ingest.collector import Clock
from ingest.feeds.formats import parse_feed
from ingest.histogram import BUCKETS, EMPTY, Histogram, bucket_of, highest_of
from ingest.live_rings import Part, Turn
from ingest.rings.counters import ChannelCounters, Followed, ReaderUse, RingCounters, RingReport, StreamCounters, Walked
from ingest.rings.layout import Following, Group
from tuner.host.cpulist import CpuListError, parse_list
from tuner.host.host import Host
from tuner.host.irqs import read_irqs
from tuner.host.nics import read_nics

FORMAT = "cme_mdp3"  # a number for each datagram
CHANNELS = (("cme-310", 0.6), ("cme-318", 0.4))  # and their shares of what is sent
_SHARE = 0.8  # of what a NIC receives: the rest is of no channel that is followed
_ADDRESSES = {"A": "239.253.1.", "B": "239.253.2."}
_PORT = 30_001
_BYTES = 210  # of a packet
_LOST = ("rx_no_dma_resources", "rx_missed_errors")
_FIRST = 0.61  # of what comes on both lines, line A brings so much first
# (median, sigma) of the body and of the tail of a log-normal distribution
_CALM_NS, _LATE_NS = ((2_600.0, 0.22), (9_000.0, 0.55)), ((38_000.0, 0.5), (140_000.0, 0.6))
_SKEW_NS = (900.0, 0.5), (900.0, 0.5)
_DRAWN = 4_000  # of each latency's shape, which is then stretched to the packets of a tick


def following() -> Following:
    """What the rings follow: two channels of two lines."""
    framing = parse_feed(FORMAT)
    lines = [
        Group(IPv4Address(f"{_ADDRESSES[line]}{place + 1}").packed, _PORT + place, 0, place, "AB".index(line))
        for place, _ in enumerate(CHANNELS)
        for line in "AB"
    ]
    return Following((framing,), None, tuple(lines), tuple(name for name, _ in CHANNELS))


@dataclass(slots=True)
class _Line:
    """A line and its NIC: the NIC's counters at the last look, what came and what was lost since."""

    nic: str
    irqs: Mapping[int, int]  # receive queue -> the number of its interrupt
    counters: Mapping[str, int] = field(default_factory=dict)
    packets: Mapping[int, int] = field(default_factory=dict)  # CPU -> since the last look
    lost: int = 0


class SimulatedRings:
    """Rings on the first two NICs of a simulated host that take feeds.

    Args:
        host: the host, which somebody else lets live.
        clock: the one that it lives by.
    """

    def __init__(self, host: Host, clock: Clock) -> None:
        self._host = host
        self._clock = clock
        nics = read_nics(host.files)
        irqs = read_irqs(host.files, nics)
        feeds = [nic.name for nic in nics if nic.driver == "ixgbe"][:2]
        self._lines = [
            _Line(name, {irq.queue: irq.number for irq in irqs if irq.device == name and irq.queue is not None})
            for name in feeds
        ]
        self.interfaces: Sequence[str] = tuple(feeds)
        self._random = random.Random(1)  # noqa: S311 - no secret: the same counters are to give the same latencies
        self._calm = [_shape(self._random, _CALM_NS, tail) for tail in (0.008, 0.012, 0.017, 0.009, 0.021, 0.011, 0.014)]
        self._late = _shape(self._random, _LATE_NS, 0.1)
        self._skew = _shape(self._random, _SKEW_NS, 0.0)
        self._streams = {(place, line): _stream(place, line) for place, _ in enumerate(CHANNELS) for line in "AB"}
        self._channels = [ChannelCounters(name) for name, _ in CHANNELS]
        self._rest = 0.0
        self._until_ns = clock.monotonic_ns()
        self._looks = itertools.count()
        for line in self._lines:
            self._look(line)

    def take(self) -> list[Part | Turn]:
        """What the rings would have told since this was asked last."""
        from_ns, self._until_ns = self._until_ns, self._clock.monotonic_ns()
        if self._until_ns <= from_ns:
            return []
        for line in self._lines:
            self._look(line)
        look = next(self._looks)
        calm = self._calm[look % len(self._calm)]
        rings = [ring for line in self._lines for ring in self._rings(line, look)]
        followed = Followed()
        if len(self._lines) == 2:
            self._number(self._lines[0], self._lines[1], calm)
            followed = Followed(tuple(self._streams.values()), tuple(self._channels))
        report = RingReport(
            source=" ".join(f"packet:{name}" for name in self.interfaces),
            walker="simulated",
            mode="latency",
            part="interval",
            seconds=(self._until_ns - from_ns) / 1e9,
            rings=tuple(rings),
            followed=followed,
            feed=FORMAT,
            readers=(ReaderUse(-1, 0, len(rings)),),
        )
        return [Part(0, from_ns, self._until_ns, report, {name: name for name in self.interfaces})]

    def _look(self, line: _Line) -> None:
        """What the NIC counted since the last look; nothing where it cannot be asked."""
        now: Mapping[str, int] = {}
        with contextlib.suppress(OSError):
            now = self._host.syscalls.statistics(line.nic)
        steps = {name: value - line.counters.get(name, value) for name, value in now.items()}
        packets: Counter[int] = Counter()
        for queue, number in line.irqs.items():
            came = steps.get(f"rx_queue_{queue}_packets", 0)
            if came > 0:
                packets[self._cpu_of(number)] += came
        line.counters, line.packets = now or line.counters, packets
        line.lost = sum(max(0, steps.get(name, 0)) for name in _LOST)

    def _rings(self, line: _Line, look: int) -> Iterator[RingCounters]:
        for place, (cpu, packets) in enumerate(sorted(line.packets.items())):
            # a burst is of one queue, and of which the NIC does not say: the busiest
            late = line.lost and packets == max(line.packets.values())
            latency = self._late if late else self._calm[(look + 3 * place) % len(self._calm)]
            walked = Walked(packets=packets, bytes=packets * _BYTES, latency=_stretched(latency, packets))
            yield RingCounters(cpu, walked, packets, interface=line.nic)

    def _cpu_of(self, number: int) -> int:
        try:
            return min(parse_list(self._host.files.optional(f"/proc/irq/{number}/effective_affinity_list") or ""), default=0)
        except CpuListError:
            return 0

    def _number(self, a: _Line, b: _Line, calm: Histogram) -> None:
        """Counts on: what was sent is what line B brought and lost, and line A brought but for what it lost."""
        exact = _SHARE * sum(b.packets.values()) + self._rest
        came = int(exact)
        self._rest = exact - came
        sent = came + b.lost
        left = [a.lost, b.lost]
        for place, (_, share) in enumerate(CHANNELS):
            mine = round(sent * share) if place + 1 < len(CHANNELS) else sent
            sent -= mine
            # a burst is one channel's; of what is lost more than that, the next one has its part
            lost = [min(each, mine) for each in left]
            left = [each - gone for each, gone in zip(left, lost, strict=True)]
            for line, gone, of in zip("AB", lost, (a, b), strict=True):
                stream = self._streams[place, line]
                self._streams[place, line] = replace(
                    stream,
                    received=stream.received + mine - gone,
                    lost=stream.lost + gone,
                    latency=stream.latency.merged(_stretched(self._late if of.lost else calm, mine - gone)),
                )
            self._merge(place, mine, *lost)

    def _merge(self, place: int, sent: int, lost_a: int, lost_b: int) -> None:
        """What both lines bring together. Bursts hit both at once: what the deeper ring lost, the other lost, too."""
        channel = self._channels[place]
        nobody = min(lost_a, lost_b)
        both = sent - max(lost_a, lost_b)
        first = round(both * _FIRST)
        self._channels[place] = replace(
            channel,
            received=channel.received + sent - nobody,
            lost=channel.lost + nobody,
            both=channel.both + both,
            wins=(channel.wins[0] + first + lost_b - nobody, channel.wins[1] + both - first + lost_a - nobody),
            skew=(
                channel.skew[0].merged(_stretched(self._skew, first)),
                channel.skew[1].merged(_stretched(self._skew, both - first)),
            ),
        )


def _stream(place: int, line: str) -> StreamCounters:
    address = IPv4Address(f"{_ADDRESSES[line]}{place + 1}").packed
    return StreamCounters(address, _PORT + place, FORMAT, channel=CHANNELS[place][0], line=line)


def _shape(draw: random.Random, parts: Sequence[tuple[float, float]], tail: float) -> Histogram:
    """A latency's distribution: log-normal about the first part's (median ns, sigma), ``tail`` of it about the second's."""
    (body_ns, body), (tail_ns, wide) = parts
    counts = [0] * BUCKETS
    highest = 0
    for place in range(_DRAWN):
        median_ns, sigma = (tail_ns, wide) if place < tail * _DRAWN else (body_ns, body)
        value = round(median_ns * draw.lognormvariate(0.0, sigma))
        counts[bucket_of(value)] += 1
        highest = max(highest, value)
    return Histogram(tuple(counts), 0, highest)


def _stretched(shape: Histogram, packets: int) -> Histogram:
    """The same distribution of so many packets, exactly."""
    if packets <= 0:
        return EMPTY
    counts = [0] * BUCKETS
    seen = given = highest = 0
    for bucket, count in enumerate(shape.counts):
        if count:
            seen += count
            until = packets * seen // _DRAWN
            counts[bucket] = until - given
            highest, given = (bucket if until > given else highest), until
    return Histogram(tuple(counts), 0, min(shape.max_ns, highest_of(highest)))
