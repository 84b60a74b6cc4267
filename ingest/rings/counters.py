"""What a ring has seen: the numbers of one walk, of one ring, and of a whole run. All add up exactly."""

import ipaddress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ingest.histogram import EMPTY, Histogram
from ingest.rings.capture_facts import CaptureFacts

if TYPE_CHECKING:
    from ingest.stamps.interval import NicInterval

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)


@dataclass(frozen=True, slots=True)
class Walked:
    """What a walker read out of one ring. ``latency.total + unstamped`` equals ``packets``; a capture file has no latencies.

    ``truncated``: packets that were longer than the ring's frames hold; their ``bytes`` are the length on the wire all the
    same. ``malformed_frames`` and ``malformed_blocks`` did not hold together and were skipped. ``losing``: packets that the
    kernel marked because it had dropped others. ``unstamped``: not stamped by the clock that was asked for.

    By what they are, several of which may be true of one packet: ``ipv6``; ``not_ip``; ``vlan`` (with a tag, in the packet
    or taken out of it by the NIC); ``fragments`` (of IPv4); ``other_host`` (to another host's MAC address: promiscuity);
    ``jumbo`` (longer than 1518 bytes on the wire); ``super_frames`` (longer than the wire allows: merged by GRO or LRO).
    """

    packets: int = 0
    bytes: int = 0
    truncated: int = 0
    malformed_frames: int = 0
    malformed_blocks: int = 0
    losing: int = 0
    unstamped: int = 0
    ipv6: int = 0
    not_ip: int = 0
    vlan: int = 0
    fragments: int = 0
    other_host: int = 0
    jumbo: int = 0
    super_frames: int = 0
    latency: Histogram = EMPTY

    def merged(self, other: "Walked") -> "Walked":
        """Both together."""
        if other == NOTHING:
            return self
        counts = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return Walked(**counts, latency=self.latency.merged(other.latency))


_COUNTS = tuple(field.name for field in fields(Walked) if field.name != "latency")
KINDS = ("ipv6", "not_ip", "vlan", "fragments", "other_host", "jumbo", "super_frames")
NOTHING = Walked()


@dataclass(frozen=True, slots=True)
class RingCounters:
    """One ring of a run, or of one interval of it.

    ``core`` is the CPU on which the kernel received these packets (the CPU of the NIC's interrupt, or where RPS sent them);
    None where one ring takes the packets of all CPUs. ``reached`` counts the packets that the kernel offered to the ring,
    ``drops`` those for which it was full; ``freezes`` how often it filled up (throughput mode only).
    """

    core: int | None
    walked: Walked = NOTHING
    reached: int = 0
    drops: int = 0
    freezes: int = 0
    interface: str = ""
    stamps: str = "kernel"

    @property
    def unaccounted(self) -> int:
        """Packets that reached the ring and were neither read nor dropped: 0 at the end of a run, or something is wrong.

        Within a run it counts what lies in the ring, and is negative where it was emptied of an earlier interval's packets.
        """
        return self.reached - self.drops - self.walked.packets - self.walked.malformed_frames

    def merged(self, other: "RingCounters") -> "RingCounters":
        """Both together; the core stays this one's."""
        return RingCounters(
            core=self.core,
            walked=self.walked.merged(other.walked),
            reached=self.reached + other.reached,
            drops=self.drops + other.drops,
            freezes=self.freezes + other.freezes,
            interface=self.interface,
            stamps=self.stamps,
        )

    def to_json(self) -> dict[str, Any]:
        """The design's shape of one ring."""
        place = {"core": self.core, "interface": self.interface}
        return place | self._counts() | {"latency": latency_json(self.walked.latency, self.stamps)}

    def total_json(self) -> dict[str, Any]:
        """The same counters without a core."""
        return self._counts() | {"latency": latency_json(self.walked.latency, self.stamps)}

    def _counts(self) -> dict[str, Any]:
        walked = self.walked
        return {
            "packets": walked.packets,
            "bytes": walked.bytes,
            "drops": self.drops,
            "freezes": self.freezes,
            "unaccounted": self.unaccounted,
            "truncated": walked.truncated,
            "unstamped": walked.unstamped,
            "malformed": walked.malformed_frames + walked.malformed_blocks,
            "kinds": {name: getattr(walked, name) for name in KINDS},
        }


def latency_json(latency: Histogram, since: str = "kernel", until: str = "ring") -> dict[str, Any]:
    """Percentiles in nanoseconds; ``count`` is how many packets they are of, ``negative`` those that had no latency."""
    percentiles = {f"p{percent:g}_ns": latency.percentile(percent) for percent in PERCENTILES}
    measured = latency.total - latency.negative
    return {
        "from": since,
        "to": until,
        **percentiles,
        "max_ns": latency.max_ns if measured else None,
        "count": latency.total,
        "negative": latency.negative,
    }


@dataclass(frozen=True, slots=True)
class StreamCounters:
    """Sequence accounting of one stream since the start, in the feed's own unit (messages or packets).

    A stream is a UDP destination, and within it a ``scope`` where the format has such (a unit, a channel, a segment; the
    field's bytes, the first the lowest). ``lost`` goes down again when a number comes late (``reordered``). ``outside``:
    datagrams far from the expected number; 16 of them in a row are taken for a sequence that began anew (``resets``), and so
    is another session. ``latency`` is from the packet's stamp to the ring. ``sent`` is from the sender's clock to the ring,
    and ``nearest_ns`` the smallest difference of the two clocks: how far they are apart, and the way.
    """

    address: bytes  # 4 or 16 bytes
    port: int
    framing: str = ""
    scope: int | None = None
    received: int = 0
    lost: int = 0
    duplicate: int = 0
    reordered: int = 0
    outside: int = 0
    resets: int = 0
    heartbeats: int = 0
    channel: str | None = None
    line: str = ""
    latency: Histogram = EMPTY
    sent: Histogram = EMPTY
    nearest_ns: int | None = None

    @property
    def stream(self) -> str:
        """``239.1.1.1:30001`` or ``[ff15::1]:30001``, with ``/7`` behind it for a scope."""
        address = ipaddress.ip_address(self.address)
        group = f"[{address}]:{self.port}" if address.version == 6 else f"{address}:{self.port}"
        return group if self.scope is None else f"{group}/{self.scope}"

    def to_json(self, until: str = "ring") -> dict[str, Any]:
        """The design's shape of one feed. ``until``: where send times are measured to."""
        counts = ("received", "lost", "duplicate", "reordered", "outside", "resets", "heartbeats")
        found: dict[str, Any] = {"format": self.framing, "stream": self.stream}
        found |= {name: getattr(self, name) for name in counts}
        if self.channel is not None:
            found |= {"channel": self.channel, "line": self.line}
        if self.latency.total:
            found["latency"] = latency_json(self.latency)
        if self.sent.total:
            found["send_latency"] = latency_json(self.sent, "exchange send time", until) | {"clock_offset_ns": self.nearest_ns}
        return found


@dataclass(frozen=True, slots=True)
class ChannelCounters:
    """What the lines A and B of a channel bring together. ``lost``: on both. ``both``: numbers that came on both.

    ``wins``: how many numbers came on A, on B first (or alone); ``skew``: by how much, where the other came too.
    """

    name: str
    scope: int | None = None
    received: int = 0
    lost: int = 0
    both: int = 0
    wins: tuple[int, int] = (0, 0)
    skew: tuple[Histogram, Histogram] = (EMPTY, EMPTY)

    def to_json(self) -> dict[str, Any]:
        """One channel."""
        return {
            "channel": self.name if self.scope is None else f"{self.name}/{self.scope}",
            "received": self.received,
            "lost": self.lost,
            "both": self.both,
            "first": {"A": self.wins[0], "B": self.wins[1]},
            "skew": {
                line: {f"p{percent:g}_ns": skew.percentile(percent) for percent in PERCENTILES}
                | {"max_ns": skew.max_ns if skew.total else None}
                for line, skew in zip("AB", self.skew, strict=True)
            },
        }


@dataclass(frozen=True, slots=True)
class Followed:
    """The sequence accounting of a run. ``unread``: datagrams that are fragments, or too short for a number.

    ``unfollowed``: datagrams of streams beyond the 1024 that are followed. ``ignored``: retransmissions, snapshots and what
    else the format says not to be of the sequence.
    """

    streams: tuple[StreamCounters, ...] = ()
    channels: tuple[ChannelCounters, ...] = ()
    unread: int = 0
    unfollowed: int = 0
    ignored: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """What of a run was written to a file, which has ``bytes``.

    Packets: ``packets`` that are in it, ``lost`` for which it was too slow, ``after`` that came when writing had ended.
    ``ended`` says why it did; None where it went on to the end.
    """

    file: str
    packets: int
    bytes: int
    lost: int
    after: int
    ended: str | None

    def to_json(self) -> dict[str, Any]:
        """The report's ``written``."""
        return {
            "file": self.file,
            "packets": self.packets,
            "bytes": self.bytes,
            "lost": self.lost,
            "after": self.after,
            "ended": self.ended,
        }


@dataclass(frozen=True, slots=True)
class ReaderUse:
    """One reader: ``cpu`` is where it last ran, ``cpu_ns`` its CPU time since the start, ``rings`` how many it reads."""

    cpu: int
    cpu_ns: int
    rings: int

    def to_json(self) -> dict[str, Any]:
        """One of the report's ``readers``."""
        return {"cpu": self.cpu, "cpu_ns": self.cpu_ns, "rings": self.rings}


@dataclass(frozen=True, slots=True)
class RingReport:
    """A whole run (``part`` "whole") or what came since the report before (``part`` "interval").

    ``filter``: the expression that was in force; what it rejects is in no counter. ``followed`` always counts since the start.
    ``readers``: a thread each. ``reader_cpu`` is where the reader last ran, of several the first; ``reader_cpu_ns`` is the CPU
    time of all readers together.

    Of a capture file (``capture``) there is no latency, and ``seconds`` is the span of its stamps. ``nic_to_kernel``: what
    samples of the interfaces' packets say of the way before the kernel's stamp, where they were asked for.
    """

    source: str
    walker: str
    mode: str
    part: str
    seconds: float
    rings: tuple[RingCounters, ...]
    followed: Followed = Followed()
    feed: str = ""
    filter: str | None = None
    readers: tuple[ReaderUse, ...] = (ReaderUse(-1, 0, 0),)
    error: str | None = None
    capture: CaptureFacts | None = None
    written: Written | None = None
    nic_to_kernel: "tuple[NicInterval, ...]" = ()

    @property
    def reader_cpu(self) -> int:
        """Where the first reader last ran; -1: nowhere yet."""
        return self.readers[0].cpu

    @property
    def reader_cpu_ns(self) -> int:
        """CPU time of all readers."""
        return sum(reader.cpu_ns for reader in self.readers)

    @property
    def total(self) -> RingCounters:
        """All rings together."""
        total = RingCounters(core=None, stamps=self.rings[0].stamps if self.rings else "kernel")
        for ring in self.rings:
            total = total.merged(ring)
        return total

    def to_json(self) -> dict[str, Any]:
        """The design's shape. Rings that saw nothing are left out."""
        until = "capture stamp" if self.mode == "capture" else "ring"
        record: dict[str, Any] = {
            "command": "ring",
            "source": self.source,
            "walker": self.walker,
            "mode": self.mode,
            "seconds": round(self.seconds, 3),
            "part": self.part,
            "filter": self.filter,
            "rings": [ring.to_json() for ring in self.rings if ring.reached or ring.walked != NOTHING],
            "total": self.total.total_json(),
            "feeds": [stream.to_json(until) for stream in self.followed.streams],
            "channels": [channel.to_json() for channel in self.followed.channels],
            "unread": self.followed.unread,
            "unfollowed": self.followed.unfollowed,
            "ignored": self.followed.ignored,
            "reader": {"cpu": self.reader_cpu, "cpu_ns": self.reader_cpu_ns},
            "readers": [reader.to_json() for reader in self.readers],
            "error": self.error,
        }
        if self.capture is not None:
            record["capture"] = self.capture.to_json()
        if self.written is not None:
            record["written"] = self.written.to_json()
        if self.nic_to_kernel:
            sampled = EMPTY
            for each in self.nic_to_kernel:
                sampled = sampled.merged(each.latency)
            record["total"] |= {"nic_latency": latency_json(sampled, "nic", "kernel")}
            record["nic_to_kernel"] = [each.to_json() for each in self.nic_to_kernel]
        return record
