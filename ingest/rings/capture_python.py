"""The walker of capture files in Python: ``capture.h`` record by record, for hosts without a compiler and as its oracle."""

import struct
from dataclasses import dataclass

from ingest.rings import pcapng_python as pcapng
from ingest.rings.capture_facts import LONGEST_PACKET, UNDECODED, CaptureEnd, CaptureFacts, Undecoded
from ingest.rings.counters import Followed, Walked
from ingest.rings.datagram_python import Sequences
from ingest.rings.layout import Following

_SECOND_NS = 1_000_000_000
# first bytes -> byte order, units in a second
_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", _SECOND_NS),
    b"\xa1\xb2\x3c\x4d": (">", _SECOND_NS),
}
_MODIFIED = (b"\x34\xcd\xb2\xa1", b"\xa1\xb2\xcd\x34")
_SECTION = b"\n\r\r\n"
_LINK_BYTES = {0: 4, 1: 14, 12: 0, 14: 0, 101: 0, 108: 4, 113: 16, 228: 0, 229: 0, 276: 20}
_IPV6_FAMILIES = (10, 24, 28, 30)


def _protocol(link_type: int, buffer: memoryview, at: int) -> int:
    """The ethertype of a packet that is longer than its link header."""
    if link_type in (0, 108):
        family = int.from_bytes(buffer[at : at + 4], "little")
        if family > 0xFFFF:
            family = int.from_bytes(buffer[at : at + 4], "big")
        return 0x0800 if family == 2 else 0x86DD if family in _IPV6_FAMILIES else 0
    if link_type in (228, 229):
        return 0x0800 if link_type == 228 else 0x86DD
    place = {1: 12, 113: 14, 276: 0}.get(link_type)
    if place is not None:
        return int.from_bytes(buffer[at + place : at + place + 2], "big")
    return {4: 0x0800, 6: 0x86DD}.get(buffer[at] >> 4, 0)


@dataclass(slots=True)
class Tally:
    """The counters of one capture; see ``Walked`` and ``CaptureFacts``."""

    packets: int = 0
    octets: int = 0
    truncated: int = 0
    malformed_frames: int = 0
    malformed_blocks: int = 0


class PythonCaptureWalker:
    """See ``ingest.rings.capture_walk.CaptureWalker``."""

    name = "python"

    def __init__(self, buffer: bytearray, following: Following | None = None) -> None:
        self._bytes = memoryview(buffer)
        self._sequences = Sequences(following) if following is not None else None
        self._tally = Tally()
        self._ended = CaptureEnd.GOES_ON
        self._order, self._units = "<", 1
        self._link_type = 0
        self._version = (0, 0)
        self._stamps: tuple[int, int] | None = None
        self._stamped = 0
        self._undecoded: dict[int | None, list[int]] = {}
        self._blocks: pcapng.Blocks | None = None
        self._pcap = False

    @property
    def ended(self) -> CaptureEnd:
        """See CaptureWalker."""
        return self._ended

    def walk(self, size: int, left: int) -> int:
        """See CaptureWalker."""
        if not 0 <= size <= min(left, len(self._bytes)):
            raise ValueError(f"no piece of {size} bytes with {left} left")
        header = 0
        if not (self._pcap or self._blocks):
            header = self._recognise(size, left)
            if self._ended or size < header:
                return 0
            if header == 24:
                self._pcap_header()
            else:
                self._blocks = pcapng.Blocks(self._bytes, self)
            if self._ended:
                return 0
        if self._blocks is None:
            return self._records(header, size, left)
        at, self._ended = self._blocks.walk(size, left)
        return at

    def _recognise(self, size: int, left: int) -> int:
        magic = bytes(self._bytes[:4])
        header = 4
        if size >= 4:
            header = 12 if magic == _SECTION else 24 if magic in _MAGIC else 0
        if header == 0:
            self._ended = CaptureEnd.MODIFIED if magic in _MODIFIED else CaptureEnd.UNKNOWN
        elif left < header:
            self._ended = CaptureEnd.CUT
        return header

    # ---- classic pcap

    def _pcap_header(self) -> None:
        self._order, self._units = _MAGIC[bytes(self._bytes[:4])]
        self._version = struct.unpack_from(f"{self._order}HH", self._bytes, 4)
        if self._version != (2, 4):
            self._ended = CaptureEnd.VERSION
            return
        (link_type,) = struct.unpack_from(f"{self._order}I", self._bytes, 20)
        self._link_type = link_type & 0xFFFF
        self._pcap = True

    def _records(self, at: int, size: int, left: int) -> int:
        record = struct.Struct(f"{self._order}IIII")
        while left > at:
            if left - at < 16:
                break
            if size - at < 16:
                return at
            seconds, units, captured, length = record.unpack_from(self._bytes, at)
            if captured > LONGEST_PACKET:
                self._tally.malformed_blocks += 1
                self._ended = CaptureEnd.BROKEN
                return at
            if left - at < 16 + captured:
                break
            if size - at < 16 + captured:
                return at
            stamp = seconds * _SECOND_NS + units * (_SECOND_NS // self._units)
            if units < self._units and self.packet(self._link_type, at + 16, captured, length, stamp):
                self.stamped(stamp)
            else:
                self._tally.malformed_frames += 1
            at += 16 + captured
        self._ended = CaptureEnd.WHOLE if left == at else CaptureEnd.CUT
        return at

    # ---- packets of either format

    @property
    def tally(self) -> Tally:
        """For the blocks."""
        return self._tally

    @property
    def latest_ns(self) -> int:
        """The latest stamp so far; 0 without any."""
        return self._stamps[1] if self._stamps else 0

    def packet(self, link_type: int, at: int, captured: int, length: int, stamp_ns: int) -> bool:
        """Counts one packet and follows its number; False for one that cannot be."""
        if captured > length or captured > LONGEST_PACKET:
            return False
        self._tally.packets += 1
        self._tally.octets += length
        self._tally.truncated += captured < length
        link_bytes = _LINK_BYTES.get(link_type)
        if link_bytes is None:
            crowded = link_type not in self._undecoded and len(self._undecoded) >= UNDECODED - 1
            slot = self._undecoded.setdefault(None if crowded else link_type, [0, 0])
            slot[0] += 1
            slot[1] += length
        elif self._sequences is not None and captured > link_bytes:
            protocol = _protocol(link_type, self._bytes, at)
            self._sequences.datagram(self._bytes, at + link_bytes, at + captured, protocol, stamp_ns, stamp_ns, None)
        return True

    def stamped(self, stamp_ns: int) -> None:
        """Takes a packet's stamp into the span."""
        self._stamped += 1
        first, last = self._stamps or (stamp_ns, stamp_ns)
        self._stamps = (min(first, stamp_ns), max(last, stamp_ns))

    # ---- what was found

    def take(self) -> tuple[Walked, ...]:
        """See CaptureWalker."""
        tally, self._tally = self._tally, Tally()
        return (
            Walked(
                packets=tally.packets,
                bytes=tally.octets,
                truncated=tally.truncated,
                malformed_frames=tally.malformed_frames,
                malformed_blocks=tally.malformed_blocks,
            ),
        )

    def followed(self) -> Followed:
        """See CaptureWalker."""
        return self._sequences.followed() if self._sequences is not None else Followed()

    def facts(self) -> CaptureFacts:
        """See CaptureWalker."""
        blocks = self._blocks
        major, minor = blocks.version if blocks else self._version
        return CaptureFacts(
            format="pcapng" if blocks else "pcap" if self._pcap else "",
            version=f"{major}.{minor}",
            first_ns=self._stamps[0] if self._stamps else None,
            last_ns=self._stamps[1] if self._stamps else None,
            stamped=self._stamped,
            drops=blocks.drops if blocks else 0,
            sections=blocks.sections if blocks else 0,
            undecoded=tuple(Undecoded(link_type, *counts) for link_type, counts in self._undecoded.items()),
        )

    def close(self) -> None:
        """See CaptureWalker."""
        self._bytes.release()
