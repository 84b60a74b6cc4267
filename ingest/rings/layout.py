"""What a ring looks like in memory, and where a feed keeps its sequence number: linux/if_packet.h as offsets.

``ingest/rings/walk.c`` holds the same numbers.
"""

import mmap
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
OUTSIDE_RUN = 16  # so many packets in a row outside of the window mean that the sequence began anew
FAR_AHEAD = 1 << 28
LAST_SEQUENCE = (1 << 63) - 1
AGAIN_NS = 1_000_000_000  # a second begin within this time is a copy of the first


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


@dataclass(frozen=True, slots=True)
class Framing:
    """Where a datagram says which number it has. Offsets and widths in bytes of the UDP payload.

    A format that numbers messages has a count field: the datagram holds ``count`` numbers from ``sequence`` on, and a count
    of 0 or ``end_count`` means none. Without a count field (``count_width`` 0) each datagram is one number.
    """

    name: str
    sequence_offset: int
    sequence_width: int
    big_endian: bool
    count_offset: int = 0
    count_width: int = 0
    end_count: int = 0
    port: int = 0  # UDP destination port; 0: any
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
    time_kind: int = 0
    size_offset: int = 0
    size_width: int = 0
    size_excludes: int = 0

    def __post_init__(self) -> None:
        fits = self.sequence_width in (4, 8) and self.count_width in (0, 1, 2, 4)
        if not fits or not 0 <= self.port < 65536 or not 0 <= self.end_count < 1 << 32:
            raise ValueError(f"no such framing: {self}")
        if not (0 <= self.sequence_offset < 65536 and 0 <= self.count_offset < 65536):
            raise ValueError(f"an offset that no datagram has: {self}")


@dataclass(frozen=True, slots=True)
class Line:
    """A group that a feed is sent to. ``address``: 4 or 16 bytes; ``framing``: place in ``Following.framings``.

    ``channel``: place of the channel that this is line A (0) or B (1) of; None: it has no other line.
    """

    address: bytes
    port: int
    framing: int = 0
    channel: int | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Following:
    """Which datagrams are accounted, and by what framing: those on ``lines``, and all others by ``others`` where given."""

    framings: tuple[Framing, ...]
    others: int | None = 0
    lines: tuple[Line, ...] = ()
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
