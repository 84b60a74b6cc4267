"""Many frames at once, as columns of numpy: what ``frames.h`` checks and counts frame by frame.

A column holds the same eight bytes of each frame. Frames that are of no use in it (malformed, tagged within the packet, IPv6 or
IP options with numbers to follow) are ``odd``: whoever called takes them one by one, in Python.
"""

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
Words = NDArray[np.uint64]
Mask = NDArray[np.bool_]

LATE = BUCKETS  # where a negative latency is put
UNTIMED = BUCKETS + 1  # and one by another clock than was asked for
SLOTS = BUCKETS + 2
SECOND_NS = 1_000_000_000
UDP_BYTES = 28  # IPv4 without options, and UDP
_FIRST_POWER = 1023 + 3  # float64's bias, and the power below which every value has its own bucket


def word(*octets: int) -> np.uint64:
    """Up to eight bytes as a word of a little-endian processor."""
    return np.uint64(int.from_bytes(bytes(octets), "little"))


def _ethertype(kind: int) -> np.uint64:
    return word(0, 0, *kind.to_bytes(2, "big"))


_ETHERTYPE = _ethertype(0xFFFF)  # of sockaddr_ll's first word
_IPV4, _IPV6, _VLAN, _QINQ = map(_ethertype, (ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, ETHERTYPE_QINQ))
_FRAGMENT = word(0, 0, 0, 0, 0, 0, 0x3F, 0xFF)  # of the first word of IPv4
_SHAPE = _FRAGMENT | word(0xFF)
_PLAIN = word(0x45)
_PROTOCOL = word(0, 0xFF)  # of the second
_UDP = word(0, 17)


def count_of(mask: NDArray[Any]) -> int:
    """How many are true."""
    return int(np.count_nonzero(mask))


def buckets_of(values_ns: Column) -> Column:
    """``ingest.histogram.bucket_of`` of each; ``LATE`` for a negative one.

    The upper 16 bits of a float64 are its power of two and the next 4 bits: just what a bucket is.
    """
    buckets: Column = values_ns.astype(np.float64).view(np.int64)
    buckets >>= 48
    buckets -= _FIRST_POWER * SUB_BUCKETS
    np.minimum(buckets, BUCKETS - 1, out=buckets)
    small = values_ns < SUB_BUCKETS
    if count_of(small):
        buckets[small] = values_ns[small]
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


class Frameset:
    """Frames that begin at some words of the memory; each of their words is read once, into a column of its own.

    numpy checks every place against the memory's end.

    Args:
        memory: all of it, as words.
        places: the word where each frame begins; or the slice of these words, where they are equally spaced.
    """

    def __init__(self, memory: Words, places: Column | slice) -> None:
        self._memory, self._places = memory, places
        self._words: dict[int, Words] = {}

    def word(self, index: int) -> Words:
        """The word so many words behind each frame's start."""
        column = self._words.get(index)
        if column is None:
            memory = self._memory[index:]
            column = memory[self._places].copy() if isinstance(self._places, slice) else memory.take(self._places)
            self._words[index] = column
        return column

    def half(self, offset: int) -> NDArray[np.uint32]:
        """The field of four bytes at an offset that is a multiple of four."""
        return self.word(offset >> 3).view(np.uint32)[offset >> 2 & 1 :: 2]

    def octet(self, offset: int) -> NDArray[np.uint8]:
        """The byte at an offset."""
        return self.word(offset >> 3).view(np.uint8)[offset & 7 :: 8]

    def value(self, offset: int, width: int, big_endian: bool) -> Words:
        """The field of up to eight bytes at any offset. Little-endian, what lies behind it is in the upper bytes."""
        index, skipped = offset >> 3, 8 * (offset & 7)
        found = self.word(index)
        if skipped:
            found = found >> np.uint64(skipped)
            if skipped + 8 * width > 64:
                found |= self.word(index + 1) << np.uint64(64 - skipped)
        if big_endian:
            found = found.byteswap()
            return found if width == 8 else found >> np.uint64(64 - 8 * width)
        return found if width == 8 else found & np.uint64((1 << 8 * width) - 1)


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

    def __init__(self, words: Frameset, header: Header, mac: int, net: int, room: Column | int, numbered: bool) -> None:
        self.words, self.header, self.mac, self.net = words, header, mac, net
        self.captured: Column = words.half(header.captured).astype(np.int64)
        self._room = room
        self.usual: Mask = self._whole()
        self.usual &= words.word(header.link >> 3) & _ETHERTYPE == _IPV4
        self.usual &= words.word(net >> 3) & _SHAPE == _PLAIN
        self.usual &= words.word((net >> 3) + 1) & _PROTOCOL == _UDP
        self.usual &= self.captured >= net - mac + UDP_BYTES
        self.count = self.usual.size
        self.all_usual = count_of(self.usual) == self.count
        self.kinds = Kinds()
        self.odd: list[int] = []
        self._kept: Column | None = None  # those that are not odd; None: all
        if not self.all_usual:
            self._tell_apart(numbered)

    def _whole(self) -> Mask:
        """Which hold together."""
        whole: Mask = self.words.half(self.header.shape) == self.mac | self.net << 16
        whole &= self.words.half(self.header.nanoseconds) < SECOND_NS
        whole &= self.captured <= self._room - self.mac
        whole &= self.words.half(self.header.captured) <= self.words.half(self.header.length)
        return whole

    def _tell_apart(self, numbered: bool) -> None:
        words = self.words
        rest = np.flatnonzero(~self.usual)
        whole, size = self._whole()[rest], self.captured[rest] + (self.mac - self.net)
        ethertype = words.word(self.header.link >> 3)[rest] & _ETHERTYPE
        first, second = words.word(self.net >> 3)[rest], words.word((self.net >> 3) + 1)[rest]
        ipv4, ipv6 = ethertype == _IPV4, ethertype == _IPV6
        version, header = first >> np.uint64(4) & np.uint64(15), first & np.uint64(15)
        fragment = first & _FRAGMENT != 0
        udp = ipv4 & (size >= 20) & (version == 4) & (second & _PROTOCOL == _UDP)
        odd = ~whole | (ethertype == _VLAN) | (ethertype == _QINQ)
        if numbered:
            carried = first >> np.uint64(48) & np.uint64(0xFF)
            odd |= ipv6 & (size >= 40) & (version == 6) & (carried == 17)
            odd |= udp & ~fragment & (header > 5)
        counted = ~odd
        self.kinds = Kinds(
            ipv6=count_of(ipv6 & counted),
            not_ip=count_of(~(ipv4 | ipv6) & counted),
            fragments=count_of(ipv4 & (size >= 20) & fragment & counted),
            unread=count_of(udp & (fragment | ((header == 5) & (size < UDP_BYTES))) & counted),
        )
        if count_of(odd):
            places = rest[odd]
            self.odd = places.tolist()
            keep = np.ones(self.count, np.bool_)
            keep[places] = False
            self._kept = np.flatnonzero(keep)

    def measure(self, now: int, stamp_kind: int) -> None:
        """Latencies up to ``now`` (CLOCK_REALTIME), -1 for the stamp of another clock than was asked for; and their buckets."""
        self.stamp: Column = self.words.half(self.header.seconds).astype(np.int64)
        self.stamp *= SECOND_NS
        self.stamp += self.words.half(self.header.nanoseconds)
        self.latency: Column = now - self.stamp
        self.bucket = buckets_of(self.latency)
        if stamp_kind:
            status = self.words.half(self.header.status)
            untimed = (status & np.uint32(stamp_kind) != stamp_kind) & (self.latency >= 0)
            self.bucket[untimed] = UNTIMED
            self.latency[untimed] = -1

    def add_to(self, counts: dict[str, int], buckets: Column, area: Area) -> int:
        """Adds those that are not odd to a ring's counters and buckets. Returns the longest latency, or less than 0."""
        length, status = self._counted(self.words.half(self.header.length)), self._counted(self.words.half(self.header.status))
        if not length.size:
            return -1
        counts["packets"] += length.size
        counts["bytes"] += int(np.add.reduce(length, dtype=np.int64))
        counts["truncated"] += count_of(self._counted(self.words.half(self.header.captured)) != length)
        packet_type = self._counted(self.words.octet(self.header.link + 10))
        counts["other_host"] += count_of(packet_type == PACKET_OTHERHOST)
        if not self.all_usual:
            for name in ("ipv6", "not_ip", "fragments"):
                counts[name] += getattr(self.kinds, name)
        every = int(np.bitwise_or.reduce(status))
        if every & STATUS_LOSING:
            counts["losing"] += count_of(status & np.uint32(STATUS_LOSING))
        if every & STATUS_VLAN:
            counts["vlan"] += count_of(status & np.uint32(STATUS_VLAN))
        limit = min(area.super_bytes or STANDARD_BYTES, STANDARD_BYTES)
        if every & STATUS_GSO_TCP or int(np.maximum.reduce(length)) > limit:
            _add_long(counts, status, length, area.super_bytes)
        buckets += np.bincount(self._counted(self.bucket), minlength=SLOTS)
        return int(np.maximum.reduce(self._counted(self.latency)))

    def _counted(self, column: NDArray[Any]) -> NDArray[Any]:
        return column if self._kept is None else column[self._kept]


def _add_long(counts: dict[str, int], status: NDArray[np.uint32], length: NDArray[np.uint32], super_bytes: int) -> None:
    beyond = status & np.uint32(STATUS_GSO_TCP) != 0
    if super_bytes:
        beyond |= length > super_bytes
    counts["super_frames"] += count_of(beyond)
    counts["jumbo"] += count_of(~beyond & (length > STANDARD_BYTES))
