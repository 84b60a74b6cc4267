"""What a ring has seen: the numbers of one walk, of one ring, and of a whole run. All add up exactly."""

import ipaddress
from dataclasses import dataclass
from typing import Any

from ingest.histogram import EMPTY, Histogram

PERCENTILES = (50.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class Walked:
    """What a walker read out of one ring. ``latency.total`` equals ``packets``.

    ``truncated``: packets that were longer than the ring's frames hold; their ``bytes`` are the length on the wire all the
    same. ``malformed_frames`` and ``malformed_blocks`` did not hold together and were skipped. ``losing``: packets that the
    kernel marked because it had dropped others.
    """

    packets: int = 0
    bytes: int = 0
    truncated: int = 0
    malformed_frames: int = 0
    malformed_blocks: int = 0
    losing: int = 0
    latency: Histogram = EMPTY

    def merged(self, other: "Walked") -> "Walked":
        """Both together."""
        if other == NOTHING:
            return self
        return Walked(
            packets=self.packets + other.packets,
            bytes=self.bytes + other.bytes,
            truncated=self.truncated + other.truncated,
            malformed_frames=self.malformed_frames + other.malformed_frames,
            malformed_blocks=self.malformed_blocks + other.malformed_blocks,
            losing=self.losing + other.losing,
            latency=self.latency.merged(other.latency),
        )


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
        )

    def to_json(self) -> dict[str, Any]:
        """The design's shape of one ring."""
        return {"core": self.core} | self._counts() | {"latency": latency_json(self.walked.latency)}

    def total_json(self) -> dict[str, Any]:
        """The same counters without a core."""
        return self._counts() | {"latency": latency_json(self.walked.latency)}

    def _counts(self) -> dict[str, Any]:
        walked = self.walked
        return {
            "packets": walked.packets,
            "bytes": walked.bytes,
            "drops": self.drops,
            "freezes": self.freezes,
            "unaccounted": self.unaccounted,
            "truncated": walked.truncated,
            "malformed": walked.malformed_frames + walked.malformed_blocks,
        }


def latency_json(latency: Histogram) -> dict[str, Any]:
    """Percentiles in nanoseconds; ``count`` is how many packets they are of, ``negative`` those that had no latency."""
    percentiles = {f"p{percent:g}_ns": latency.percentile(percent) for percent in PERCENTILES}
    measured = latency.total - latency.negative
    return {
        "from": "kernel",
        "to": "ring",
        **percentiles,
        "max_ns": latency.max_ns if measured else None,
        "count": latency.total,
        "negative": latency.negative,
    }


@dataclass(frozen=True, slots=True)
class StreamCounters:
    """Sequence accounting of one UDP destination since the start, in the feed's own unit (messages or packets).

    ``lost`` goes down again when a number comes late (``reordered``). ``outside``: datagrams far from the expected number;
    16 of them in a row are taken for a sequence that began anew (``resets``).
    """

    address: bytes  # 4 or 16 bytes
    port: int
    received: int = 0
    lost: int = 0
    duplicate: int = 0
    reordered: int = 0
    outside: int = 0
    resets: int = 0
    heartbeats: int = 0

    @property
    def stream(self) -> str:
        """``239.1.1.1:30001`` or ``[ff15::1]:30001``."""
        address = ipaddress.ip_address(self.address)
        return f"[{address}]:{self.port}" if address.version == 6 else f"{address}:{self.port}"

    def to_json(self, framing: str) -> dict[str, Any]:
        """The design's shape of one feed."""
        return {
            "format": framing,
            "stream": self.stream,
            "received": self.received,
            "lost": self.lost,
            "duplicate": self.duplicate,
            "reordered": self.reordered,
            "outside": self.outside,
            "resets": self.resets,
            "heartbeats": self.heartbeats,
        }


@dataclass(frozen=True, slots=True)
class Followed:
    """The sequence accounting of a run. ``unread``: datagrams that are fragments, or too short for a number.

    ``unfollowed``: datagrams of streams beyond the 64 that are followed.
    """

    streams: tuple[StreamCounters, ...] = ()
    unread: int = 0
    unfollowed: int = 0


@dataclass(frozen=True, slots=True)
class RingReport:
    """A whole run (``part`` "whole") or what came since the report before (``part`` "interval").

    ``filter``: the expression that was in force; what it rejects is in no counter. ``followed`` always counts since the start.
    ``reader_cpu`` is where the reader last ran, ``reader_cpu_ns`` the CPU time that it used.
    """

    source: str
    walker: str
    mode: str
    part: str
    seconds: float
    rings: tuple[RingCounters, ...]
    followed: Followed = Followed()
    framing: str = ""
    filter: str | None = None
    reader_cpu: int = -1
    reader_cpu_ns: int = 0
    error: str | None = None

    @property
    def total(self) -> RingCounters:
        """All rings together."""
        total = RingCounters(core=None)
        for ring in self.rings:
            total = total.merged(ring)
        return total

    def to_json(self) -> dict[str, Any]:
        """The design's shape. Rings that saw nothing are left out."""
        return {
            "command": "ring",
            "source": self.source,
            "walker": self.walker,
            "mode": self.mode,
            "seconds": round(self.seconds, 3),
            "part": self.part,
            "filter": self.filter,
            "rings": [ring.to_json() for ring in self.rings if ring.reached or ring.walked != NOTHING],
            "total": self.total.total_json(),
            "feeds": [stream.to_json(self.framing) for stream in self.followed.streams],
            "unread": self.followed.unread,
            "unfollowed": self.followed.unfollowed,
            "reader": {"cpu": self.reader_cpu, "cpu_ns": self.reader_cpu_ns},
            "error": self.error,
        }
