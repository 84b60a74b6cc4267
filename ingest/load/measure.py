"""One step of a self-test: a load at one rate through a pair, read by a packet ring, each packet accounted for."""

import time
from dataclasses import dataclass
from typing import Any

from ingest.feeds.formats import parse_feed
from ingest.load.demand import LoadError, Sent
from ingest.load.load import Load
from ingest.load.namespaces import PairCounters, VethPair
from ingest.rings.counters import RingReport
from ingest.rings.layout import Following
from ingest.rings.packet import Mode, PacketRing

_TICK_S = 0.05  # how often one looks whether the sending has ended
_ARRIVE_S = 2.0  # how long packets may lie in a CPU's backlog


@dataclass(frozen=True, slots=True)
class Setup:
    """How to send and to read; see ``Load`` and ``PacketRing.open``."""

    reader_cpu: int | None = None
    sender_cpu: int | None = None
    mode: Mode = "latency"
    bytes_min: int = 128
    bytes_max: int = 128
    streams: int = 1
    means: str | None = None
    rings: int | None = None
    ring_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What became of every packet of one load.

    ``asked_per_s`` None: as fast as it went. ``sent`` = ``read`` + ``ring_drops`` + ``before_ring`` + ``unaccounted``, where
    ``before_ring`` were dropped on their way by the receiving CPU's full backlog. ``missing`` are the numbers 1 to the last
    one of each stream that were never read, counted by the reader from the packets alone: it knows nothing of drops.
    ``refused``: how often the kernel told the sender of such a backlog; it sent that number again, so nothing was lost.
    """

    asked_per_s: int | None
    means: str
    note: str
    sent: int
    seconds: float
    read: int
    ring_drops: int
    before_ring: int
    missing: int
    duplicate: int
    refused: int
    report: RingReport

    @property
    def rate_per_s(self) -> float:
        """The rate that the sender reached."""
        return self.sent / self.seconds if self.seconds > 0 else 0.0

    @property
    def fell_short(self) -> bool:
        """Whether the sender stayed more than a tenth below the rate that was asked for: its CPU had other work."""
        return self.asked_per_s is not None and self.rate_per_s < 0.9 * self.asked_per_s

    @property
    def unaccounted(self) -> int:
        """Packets that were neither read nor reported as dropped; negative where more came than was sent."""
        return self.sent - self.read - self.ring_drops - self.before_ring

    @property
    def exact(self) -> bool:
        """Whether both accounts agree to the packet: the kernel's counters and the feed's numbers."""
        return self.unaccounted == 0 and self.duplicate == 0 and self.missing == self.ring_drops + self.before_ring

    @property
    def reader_cpu_percent(self) -> float:
        """CPU time of the reader while packets came."""
        return self.report.reader_cpu_ns / self.seconds / 1e7 if self.seconds > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """All of it, times in nanoseconds."""
        latency = self.report.total.walked.latency
        percentiles = {f"p{percent:g}_ns": latency.percentile(percent) for percent in (50, 99, 99.9)}
        return {
            "asked_per_s": self.asked_per_s,
            "sent_per_s": round(self.rate_per_s),
            "fell_short": self.fell_short,
            "means": self.means,
            "note": self.note,
            "sent": self.sent,
            "seconds": round(self.seconds, 6),
            "read": self.read,
            "ring_drops": self.ring_drops,
            "before_ring": self.before_ring,
            "missing": self.missing,
            "duplicate": self.duplicate,
            "refused": self.refused,
            "unaccounted": self.unaccounted,
            "latency": percentiles | {"max_ns": latency.max_ns if latency.total else None},
            "reader": {"cpu": self.report.reader_cpu, "cpu_percent": round(self.reader_cpu_percent, 2)},
        }


class Measurement:
    """Takes one step after the other on one pair; ``stop`` may come from a signal handler."""

    def __init__(self, pair: VethPair, setup: Setup) -> None:
        self.stopped = False
        self._pair = pair
        self._setup = setup
        self._load: Load | None = None

    def stop(self) -> None:
        """Ends the step that is being taken, early and complete; the next ones send nothing."""
        self.stopped = True
        if self._load is not None:
            self._load.stop()

    def step(self, rate_per_s: int | None, seconds: float) -> Step:
        """Sends at a rate for some seconds and reads.

        Raises:
            RingError, WalkerMissing: no ring can be had.
            LoadError: the load cannot be sent, or the ring failed meanwhile.
        """
        setup = self._setup
        load = Load(
            self._pair,
            cpu=setup.sender_cpu,
            means=setup.means,
            bytes_min=setup.bytes_min,
            bytes_max=setup.bytes_max,
            streams=setup.streams,
        )
        ring = self._pair.far.call(
            PacketRing.open,
            self._pair.into,
            mode=setup.mode,
            rings=setup.rings,
            cpus=() if setup.reader_cpu is None else (setup.reader_cpu,),
            following=Following((parse_feed("moldudp64"),)),
            ring_bytes=setup.ring_bytes,
        )
        with ring, load:
            self._load = load
            try:
                return self._read(ring, load, rate_per_s, seconds)
            finally:
                self._load = None

    def _read(self, ring: PacketRing, load: Load, rate_per_s: int | None, seconds: float) -> Step:
        before = self._pair.counters()
        sent: Sent | None = None
        arrived = dropped = 0
        limit = 0.0
        reading = ring.run(None, _TICK_S)
        next(reading, None)  # the reader is at work
        load.start(rate_per_s, seconds=seconds)
        if self.stopped:
            load.stop()
        for _ in reading:
            if sent is None:
                if not load.ended():
                    continue
                sent, limit = load.result(), time.monotonic() + _ARRIVE_S
                arrived, dropped = _between(before, self._pair.counters(), sent)
            # A ring that is closed earlier would not have been offered what lies in the backlog.
            if ring.report().total.reached >= arrived or time.monotonic() > limit:
                ring.stop()
        report = ring.report()
        if sent is None or report.error is not None:
            raise LoadError(report.error or "the ring ended before the load")
        streams = report.followed.streams
        return Step(
            asked_per_s=rate_per_s,
            means=sent.means,
            note=load.note,
            sent=sent.sent,
            seconds=sent.seconds,
            read=report.total.walked.packets,
            ring_drops=report.total.drops,
            before_ring=dropped,
            missing=sent.sent - sum(stream.received for stream in streams),
            duplicate=sum(stream.duplicate for stream in streams),
            refused=sent.refused,
            report=report,
        )


def _between(before: PairCounters, after: PairCounters, sent: Sent) -> tuple[int, int]:
    """How many of ``sent`` reached the ring, and how many were dropped before it.

    Injected frames do not cross the pair. Where the kernel tells the sender of a drop (drivers/net/veth.c, NET_XMIT_DROP; 6.18
    does), the sender takes the same number again: such a packet was dropped, but is not among those that were sent.
    """
    if sent.means == "xdp":
        dropped = after.dropped_inside - before.dropped_inside
        return sent.sent - dropped, dropped
    arrived = after.arrived - before.arrived
    return arrived, min(after.dropped - before.dropped, max(0, sent.sent - arrived))
