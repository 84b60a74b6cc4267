"""What a ring looks like in memory, and where a feed keeps its sequence number: linux/if_packet.h as offsets.

``ingest/rings/walk.c`` holds the same numbers.
"""

import ipaddress
import mmap
from collections.abc import Iterator
from dataclasses import dataclass

STATUS_USER = 1
STATUS_LOSING = 4
STATUS_VLAN = 0x10
STATUS_GSO_TCP = 0x100
STATUS_STAMPED_BY_SOFTWARE = 1 << 29
STATUS_STAMPED_BY_NIC = 1 << 31

V2 = 2  # fixed frames, one status each: a packet can be read as soon as it lies there
V3 = 3  # packed blocks, one status each: cheap at high rates, late by up to the block's timeout

V2_HEADER = 52  # tpacket2_hdr aligned to 16, then sockaddr_ll: no packet starts before
V2_PACKET = 66  # where Ethernet begins: 16 bytes are left for it, then aligned so that IP lies at a multiple of 16
V2_LINK = 32  # sockaddr_ll
V3_HEADER = 68
V3_LINK = 48
V3_BLOCK_HEADER = 48
V3_BLOCK_STATUS = 8

STREAMS = 1024
WINDOW = 8192  # sequence numbers behind the newest for which late and repeated are told apart
GAPS = 8  # of a stream that are remembered beyond the window, for what lies in another ring
OUTSIDE_RUN = 16  # so many packets in a row outside of the window mean that the sequence began anew
FAR_AHEAD = 1 << 28
LAST_SEQUENCE = (1 << 63) - 1
AGAIN_NS = 1_000_000_000  # a second begin within this time is a copy of the first; rings are read no further apart


@dataclass(frozen=True, slots=True)
class Area:
    """One ring's memory: ``units`` frames of ``unit_bytes`` (``version`` V2) or as many blocks (V3).

    ``stamp_kind``: the bits of tp_status that tell by which clock a packet was stamped; others' stamps are counted, not
    measured. 0: any. ``super_bytes``: no longer packet came over the wire, so it was put together on this host. 0: unknown.
    """

    memory: mmap.mmap | bytearray
    version: int
    unit_bytes: int
    units: int
    stamp_kind: int = 0
    super_bytes: int = 0

    def __post_init__(self) -> None:
        smallest = V2_HEADER if self.version == V2 else V3_BLOCK_HEADER + V3_HEADER
        if self.version not in (V2, V3) or self.unit_bytes < smallest or self.unit_bytes % 8 or self.units < 1:
            raise ValueError(f"no such ring: version {self.version}, {self.units} units of {self.unit_bytes} bytes")
        if len(self.memory) < self.unit_bytes * self.units:
            raise ValueError(f"{self.units} units of {self.unit_bytes} bytes do not fit into {len(self.memory)}")


NO_TIME = 0
NANOSECONDS = 1  # eight bytes, nanoseconds since 1970
SECONDS_AND_NANOSECONDS = 2  # four bytes of seconds since 1970, four of nanoseconds behind them
MILLISECONDS = 3  # eight bytes, milliseconds since 1970


@dataclass(frozen=True, slots=True)
class Framing:
    """Where a datagram says which number it has. Offsets and widths in bytes of the UDP payload, numbers in one byte order.

    A format that numbers messages has a count field: the datagram holds ``count`` numbers from ``sequence`` on, and a count
    of 0 or ``end_count`` means none. Without a count field (``count_width`` 0) each datagram is one number; with a chain each
    of its headers is one, and the first says the first of them.

    Attributes:
        port: UDP destination port; 0: any.
        scope_offset: of up to eight bytes that tell parallel streams of one address and port apart (unit, channel, segment).
        epoch_offset: of up to sixteen bytes whose change means that the numbering began anew (session, version, restarts).
        epoch_mask: the bits of a single epoch byte that count; 0: all of them.
        flag_offset: of one byte. A datagram with a value of ``flag_ignored`` is not accounted, whatever else stands in it: it
            may be shorter than the other fields need. One with a value of ``flag_resets`` begins the numbering anew.
        high_offset: of a byte whose bits ``high_mask`` are bits 32 and up of a sequence of four bytes.
        zero_unsequenced: sequence 0 is no number.
        chain_offset: of a field that says how long the header and what belongs to it are, where several follow each other.
        time_offset: of the sender's clock, which ``time_kind`` describes.
        size_offset: of a field that says the datagram's length but for ``size_excludes`` bytes. For checks, not for reading.
    """

    name: str
    sequence_offset: int
    sequence_width: int
    big_endian: bool
    count_offset: int = 0
    count_width: int = 0
    end_count: int = 0
    port: int = 0
    scope_offset: int = 0
    scope_width: int = 0
    epoch_offset: int = 0
    epoch_width: int = 0
    epoch_mask: int = 0
    flag_offset: int = 0
    flag_width: int = 0
    flag_ignored: frozenset[int] = frozenset()
    flag_resets: frozenset[int] = frozenset()
    high_offset: int = 0
    high_mask: int = 0
    zero_unsequenced: bool = False
    chain_offset: int = 0
    chain_width: int = 0
    time_offset: int = 0
    time_kind: int = NO_TIME
    size_offset: int = 0
    size_width: int = 0
    size_excludes: int = 0

    def __post_init__(self) -> None:
        faults = [*self._field_faults(), *self._joint_faults()]
        if faults:
            raise ValueError(f"no such framing: {'; '.join(faults)}")

    def _field_faults(self) -> Iterator[str]:
        for field, allowed in _WIDTHS.items():
            if getattr(self, field) not in allowed:
                yield f"{field} is {getattr(self, field)}, not one of {', '.join(map(str, allowed))}"
        for field in ("sequence", "count", "scope", "epoch", "flag", "high", "chain", "time", "size"):
            if not 0 <= getattr(self, f"{field}_offset") < 65536:
                yield f"{field}_offset is {getattr(self, f'{field}_offset')}, an offset that no datagram has"
        for field, end in (("port", 65536), ("end_count", 1 << 32), ("size_excludes", 65536), ("epoch_mask", 256)):
            if not 0 <= getattr(self, field) < end:
                yield f"{field} is {getattr(self, field)}, not from 0 to {end - 1}"
        for field in ("flag_ignored", "flag_resets"):
            if not all(0 <= value < 256 for value in getattr(self, field)):
                yield f"{field} holds what no byte can be"

    def _joint_faults(self) -> Iterator[str]:
        mask = self.high_mask
        if not (0 <= mask < 256 and (mask == 0 or mask + (mask & -mask) & mask == 0)):
            yield f"high_mask is {mask}, not adjacent bits of a byte"
        if mask and self.sequence_width != 4:
            yield "high bits belong to a sequence of four bytes"
        if self.epoch_mask and self.epoch_width != 1:
            yield "an epoch mask belongs to an epoch of one byte"
        if (self.flag_ignored or self.flag_resets) and not self.flag_width:
            yield "flag values without a flag"
        if self.flag_ignored & self.flag_resets:
            yield f"flag values that are both ignored and resets: {sorted(self.flag_ignored & self.flag_resets)}"
        if self.chain_width and self.count_width:
            yield "a chain is its own count"


_WIDTHS = {
    "sequence_width": (4, 8),
    "count_width": (0, 1, 2, 4),
    "scope_width": range(9),
    "epoch_width": range(17),
    "flag_width": (0, 1),
    "chain_width": (0, 1, 2, 4),
    "time_kind": (NO_TIME, NANOSECONDS, SECONDS_AND_NANOSECONDS, MILLISECONDS),
    "size_width": (0, 1, 2, 4),
}


@dataclass(frozen=True, slots=True)
class Group:
    """A group that a feed is sent to. ``address``: 4 or 16 bytes; ``framing``: place in ``Following.framings``.

    ``channel``: place of the channel that this is line A (0) or B (1) of; None: it has no other line.
    """

    address: bytes
    port: int
    framing: int = 0
    channel: int | None = None
    line: int = 0

    def __str__(self) -> str:
        address = ipaddress.ip_address(self.address)
        return f"[{address}]:{self.port}" if address.version == 6 else f"{address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Following:
    """Which datagrams are accounted, and by what framing: those on ``lines``, and all others by ``others`` where given."""

    framings: tuple[Framing, ...]
    others: int | None = 0
    lines: tuple[Group, ...] = ()
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        places = range(len(self.framings))
        wrong = [line for line in self.lines if line.framing not in places or len(line.address) not in (4, 16)]
        channels = range(len(self.channels))
        wrong += [line for line in self.lines if line.channel is not None and line.channel not in channels]
        if wrong or (self.others is not None and self.others not in places) or len(self.lines) > STREAMS:
            raise ValueError(f"no such lines: {wrong}")

    @property
    def name(self) -> str:
        """The framings' names."""
        return ", ".join(framing.name for framing in self.framings)
