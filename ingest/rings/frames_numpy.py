"""Many frames at once, as columns of numpy: what ``frames.h`` checks and counts frame by frame.

A column holds one field of each frame. Frames that are of no use as a column (malformed, tagged within the packet, IPv6 or IP
options with numbers to follow) are ``odd``: whoever called takes them one by one, in Python.
"""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.histogram import BUCKETS, SUB_BUCKETS
from ingest.rings.layout import STATUS_GSO_TCP, STATUS_LOSING, STATUS_VLAN, V2_HEADER, V2_LINK, V3_HEADER, V3_LINK, Area
from ingest.rings.packet_names import (
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_QINQ,
    ETHERTYPE_VLAN,
    PACKET_OTHERHOST,
    STANDARD_BYTES,
)

Column = NDArray[np.int64]
Mask = NDArray[np.bool_]

LATE = BUCKETS  # where a negative latency is put
UNTIMED = BUCKETS + 1  # and one by another clock than was asked for
SLOTS = BUCKETS + 2
SECOND_NS = 1_000_000_000
UDP_BYTES = 28  # IPv4 without options, and UDP
_FIRST_POWER = 1023 + 3  # float64's bias, and the power below which every value has its own bucket


def wire(*octets: int) -> int:
    """The number that these bytes are where they lie."""
    return int.from_bytes(bytes(octets), sys.byteorder)


_IPV4, _IPV6, _VLAN, _QINQ = (
    wire(*kind.to_bytes(2, "big")) for kind in (ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, ETHERTYPE_QINQ)
)
_FRAGMENT = wire(0, 0, 0, 0, 0x3F, 0xFF, 0, 0)  # of the eight bytes from the IPv4 header's length on
_CARRIED = wire(0, 0, 0, 0, 0, 0, 0, 0xFF)
_UDP = wire(0, 0, 0, 0, 0, 0, 0, 17)


def buckets_of(values_ns: Column) -> Column:
    """``ingest.histogram.bucket_of`` of each; ``LATE`` for a negative one.

    The upper 16 bits of a float64 are its power of two and the next 4 bits: just what a bucket is.
    """
    lowest = values_ns.min(initial=SUB_BUCKETS)
    buckets: Column = values_ns.astype(np.float64).view(np.int64)
    buckets >>= 48
    buckets -= _FIRST_POWER * SUB_BUCKETS
    np.minimum(buckets, BUCKETS - 1, out=buckets)
    if lowest < SUB_BUCKETS:
        buckets = np.where(values_ns < SUB_BUCKETS, values_ns, buckets)
        if lowest < 0:
            buckets[values_ns < 0] = LATE
    return buckets


@dataclass(frozen=True, slots=True)
class Header:
    """Where a frame's header has what. ``shape``: tp_mac and tp_net; ``smallest``: no packet starts before."""

    status: int
    length: int
    captured: int
    shape: int
    seconds: int
    nanoseconds: int
    link: int
    smallest: int


V2_FIELDS = Header(0, 4, 8, 12, 16, 20, V2_LINK, V2_HEADER)
V3_FIELDS = Header(20, 16, 12, 24, 4, 8, V3_LINK, V3_HEADER)


@dataclass(frozen=True, slots=True)
class Rows:
    """Equally spaced frames: ``count`` of them, the first ``at`` in the memory. numpy checks every column against its end."""

    memory: NDArray[np.uint8]
    at: int
    stride: int
    count: int

    def field(self, offset: int, kind: str) -> NDArray[Any]:
        """A field of each frame, where it lies."""
        return np.ndarray((self.count,), kind, self.memory, self.at + offset, (self.stride,))

    def numbers(self, offset: int, kind: str) -> Column:
        """A copy of a field of each frame."""
        return self.field(offset, kind).astype(np.int64)


@dataclass(slots=True)
class Kinds:
    """What the frames that are no plain UDP are; ``unread`` of datagrams."""

    ipv6: int = 0
    not_ip: int = 0
    fragments: int = 0
    unread: int = 0


class Frames:
    """Frames of one shape: ``mac`` and ``net`` are those of all that are not odd.

    ``room``: behind each frame's start lies no byte of it. ``numbered``: there are numbers to follow.
    """

    def __init__(self, rows: Rows, header: Header, mac: int, net: int, room: Column | int, numbered: bool) -> None:
        self.rows, self.header, self.net = rows, header, net
        shape = rows.field(header.shape, "=u4")
        self.captured = rows.numbers(header.captured, "=u4")
        self.length = rows.numbers(header.length, "=u4")
        nanoseconds = rows.numbers(header.nanoseconds, "=u4")
        self.stamp = rows.numbers(header.seconds, "=u4")
        self.stamp *= SECOND_NS
        self.stamp += nanoseconds
        self.size = self.captured + (mac - net)
        whole = (shape == shape[0]) & (nanoseconds < SECOND_NS)
        whole &= (self.captured <= self.length) & (self.captured <= room - mac)
        protocol, first = rows.field(header.link + 2, "=u2"), rows.field(net, "u1")
        middle = rows.field(net + 2, "=u8") & np.uint64(_FRAGMENT | _CARRIED)
        self.usual: Mask = whole & (protocol == _IPV4) & (first == 0x45) & (middle == _UDP) & (self.size >= UDP_BYTES)
        self.kinds = Kinds()
        self.odd: Column | None = None
        self.kept: Column | None = None  # those that are not odd; None: all
        self.all_usual = bool(self.usual.all())
        if not self.all_usual:
            self._tell_apart(whole, protocol, first, middle, numbered)

    def _tell_apart(
        self, whole: Mask, protocol: NDArray[Any], first: NDArray[Any], middle: NDArray[np.uint64], numbered: bool
    ) -> None:
        rest = np.flatnonzero(~self.usual)
        whole, protocol, first, middle, size = whole[rest], protocol[rest], first[rest], middle[rest], self.size[rest]
        ipv4, ipv6 = protocol == _IPV4, protocol == _IPV6
        fragment = (middle & np.uint64(_FRAGMENT)) != 0
        udp = ipv4 & (size >= 20) & (first >> 4 == 4) & (middle & np.uint64(_CARRIED) == _UDP)
        tagged = (protocol == _VLAN) | (protocol == _QINQ)
        odd = ~whole | tagged
        if numbered:
            carried = self.rows.field(self.net + 6, "u1")[rest]
            odd |= ipv6 & (size >= 40) & (first >> 4 == 6) & (carried == 17)
            odd |= udp & ~fragment & (first & 15 > 5)
        counted = ~odd
        self.kinds = Kinds(
            ipv6=int(np.count_nonzero(ipv6 & counted)),
            not_ip=int(np.count_nonzero(~(ipv4 | ipv6) & counted)),
            fragments=int(np.count_nonzero(ipv4 & (size >= 20) & fragment & counted)),
            unread=int(np.count_nonzero(udp & (fragment | ((first & 15 == 5) & (size < UDP_BYTES))) & counted)),
        )
        if odd.any():
            self.odd = rest[odd]
            keep = np.ones(self.rows.count, np.bool_)
            keep[self.odd] = False
            self.kept = np.flatnonzero(keep)

    def measure(self, now: int, stamp_kind: int) -> None:
        """Latencies up to ``now`` (CLOCK_REALTIME), -1 for the stamp of another clock than was asked for; and their buckets."""
        self.latency: Column = now - self.stamp
        self.bucket = buckets_of(self.latency)
        if stamp_kind:
            status = self.rows.field(self.header.status, "=u4")
            untimed = ((status & np.uint32(stamp_kind)) != stamp_kind) & (self.latency >= 0)
            self.bucket[untimed] = UNTIMED
            self.latency[untimed] = -1

    def add_to(self, counts: dict[str, int], buckets: Column, area: Area) -> int:
        """Adds those that are not odd to a ring's counters and buckets. Returns the longest latency, or less than 0."""

        def picked(column: NDArray[Any]) -> NDArray[Any]:
            return column if self.kept is None else column[self.kept]

        length, latency = picked(self.length), picked(self.latency)
        if not length.size:
            return -1
        counts["packets"] += length.size
        counts["bytes"] += int(length.sum())
        counts["truncated"] += int(np.count_nonzero(picked(self.captured) < length))
        packet_type = picked(self.rows.field(self.header.link + 10, "u1"))
        counts["other_host"] += int(np.count_nonzero(packet_type == PACKET_OTHERHOST))
        for name in ("ipv6", "not_ip", "fragments"):
            counts[name] += getattr(self.kinds, name)
        self._odd_sizes(counts, picked(self.rows.field(self.header.status, "=u4")), length, area.super_bytes)
        buckets += np.bincount(picked(self.bucket), minlength=SLOTS)
        return int(latency.max())

    @staticmethod
    def _odd_sizes(counts: dict[str, int], status: NDArray[np.uint32], length: Column, super_bytes: int) -> None:
        every = int(np.bitwise_or.reduce(status))
        if every & STATUS_LOSING:
            counts["losing"] += int(np.count_nonzero(status & np.uint32(STATUS_LOSING)))
        if every & STATUS_VLAN:
            counts["vlan"] += int(np.count_nonzero(status & np.uint32(STATUS_VLAN)))
        if every & STATUS_GSO_TCP or int(length.max()) > min(super_bytes or STANDARD_BYTES, STANDARD_BYTES):
            beyond = (status & np.uint32(STATUS_GSO_TCP)) != 0
            if super_bytes:
                beyond |= length > super_bytes
            counts["super_frames"] += int(np.count_nonzero(beyond))
            counts["jumbo"] += int(np.count_nonzero(~beyond & (length > STANDARD_BYTES)))
