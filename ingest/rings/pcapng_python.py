"""The blocks of pcapng in Python: ``pcapng.h`` block by block (draft-ietf-opsawg-pcapng)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ingest.rings.capture_facts import INTERFACES, CaptureEnd

SECTION = 0x0A0D0D0A
INTERFACE = 1
OLD_PACKET = 2
SIMPLE_PACKET = 3
STATISTICS = 5
PACKET = 6
_SMALLEST = {SECTION: 28, INTERFACE: 20, OLD_PACKET: 32, SIMPLE_PACKET: 16, STATISTICS: 24, PACKET: 32}

OPTION_CLOCK_UNIT = 9
OPTION_CLOCK_OFFSET = 14
OPTION_NIC_DROPS = 5
OPTION_KERNEL_DROPS = 7

_SECOND_NS = 1_000_000_000
_SECONDS_END = 18446744073
_DROPS_END = 1 << 48
_OFFSET_END = 1 << 40


class _Tally(Protocol):
    malformed_frames: int
    malformed_blocks: int


class Packets(Protocol):
    """Where the packets go."""

    @property
    def tally(self) -> _Tally:
        """The counters."""

    @property
    def latest_ns(self) -> int:
        """The latest stamp so far."""

    def packet(self, link_type: int, at: int, captured: int, length: int, stamp_ns: int) -> bool:
        """Counts one; False for one that cannot be."""

    def stamped(self, stamp_ns: int) -> None:
        """Takes its stamp into the span."""


@dataclass(slots=True)
class _Clock:
    """``units`` in a second; 0: unusable."""

    units: int
    shift: int = 0
    multiply: int = 1
    divide: int = 1
    offset_s: int = 0

    def nanoseconds(self, units: int) -> int | None:
        """Since 1970; None for what 64 bits do not reach."""
        if not self.units:
            return None
        seconds, part = divmod(units, self.units)
        moved = seconds + self.offset_s
        if seconds >= 1 << 62 or not 0 <= moved < _SECONDS_END:
            return None
        return moved * _SECOND_NS + (part >> self.shift) * self.multiply // self.divide


def _clock(unit: int) -> _Clock:
    """if_tsresol: a power of ten, or of two where the highest bit is set."""
    power = unit & 127
    if unit & 128:
        shift = max(0, power - 34)  # as in C, where 34 bits times 10^9 fit into 64
        return _Clock(1 << power, shift, _SECOND_NS, 1 << power - shift) if power <= 63 else _Clock(0)
    if power > 19:
        return _Clock(0)
    return _Clock(10**power, 0, 10 ** max(0, 9 - power), 10 ** max(0, power - 9))


@dataclass(slots=True)
class _Interface:
    link_type: int
    snap_bytes: int
    clock: _Clock
    drops: int = 0


class _Broken(Exception):
    """Options that are not whole."""


class Blocks:
    """The state of a walk over blocks: byte order and interfaces are those of the current section."""

    def __init__(self, buffer: memoryview, packets: Packets) -> None:
        self.version = (0, 0)
        self.sections = 0
        self.drops = 0
        self._bytes = buffer
        self._packets = packets
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._trailer = 0

    def walk(self, size: int, left: int) -> tuple[int, CaptureEnd]:
        """Walks what is whole of ``size`` bytes; see ``CaptureWalker.walk``."""
        at = 0
        while left > at:
            head = 4 if self._trailer else 12
            if left - at < head:
                return at, CaptureEnd.CUT
            if size - at < head:
                return at, CaptureEnd.GOES_ON
            if self._trailer:
                if self._number("I", at) != self._trailer:
                    return self._broken(at)
                self._trailer = 0
                at += 4
                continue
            step, ended = self._block(at, size, left)
            at += step
            if ended != CaptureEnd.GOES_ON or step == 0 or at > size:
                return at, ended
        return at, CaptureEnd.WHOLE

    def _block(self, at: int, size: int, left: int) -> tuple[int, CaptureEnd]:
        kind = self._number("I", at)
        if kind == SECTION and not self._byte_order(at):
            return self._broken(0)
        total = self._number("I", at + 4)
        smallest = _SMALLEST.get(kind, 0)
        if total < max(12, smallest) or total % 4:
            return self._broken(0)
        if left - at < total:
            return 0, CaptureEnd.CUT
        if not smallest or total > len(self._bytes):
            if kind in (SECTION, INTERFACE):
                return self._broken(0)
            self._packets.tally.malformed_blocks += smallest != 0
            self._trailer = total
            return total - 4, CaptureEnd.GOES_ON
        if size - at < total:
            return 0, CaptureEnd.GOES_ON
        if self._number("I", at + total - 4) != total:
            return self._broken(0)
        ended = self._known(kind, at, total)
        return (0 if ended else total), ended

    def _broken(self, at: int) -> tuple[int, CaptureEnd]:
        self._packets.tally.malformed_blocks += 1
        return at, CaptureEnd.BROKEN

    def _byte_order(self, at: int) -> bool:
        magic = bytes(self._bytes[at + 8 : at + 12])
        self._order = ">" if magic == b"\x1a\x2b\x3c\x4d" else "<"
        return self._order == ">" or magic == b"\x4d\x3c\x2b\x1a"

    def _number(self, form: str, at: int) -> int:
        (value,) = struct.unpack_from(self._order + form, self._bytes, at)
        return int(value)

    def _known(self, kind: int, at: int, total: int) -> CaptureEnd:
        if kind == SECTION:
            self.version = (self._number("H", at + 12), self._number("H", at + 14))
            if self.version not in ((1, 0), (1, 2)):
                return CaptureEnd.VERSION
            self._interfaces = []
            self.sections += 1
        elif kind == INTERFACE:
            if len(self._interfaces) == INTERFACES:
                return CaptureEnd.CROWDED
            self._interface(at, total)
        elif kind == SIMPLE_PACKET:
            self._simple(at, total)
        elif kind == STATISTICS:
            self._statistics(at, total)
        else:
            self._packet(at, total, self._number("H" if kind == OLD_PACKET else "I", at + 8))
        return CaptureEnd.GOES_ON

    def _options(self, at: int, end: int) -> Iterator[tuple[int, bytes]]:
        while end - at >= 4:
            code, size = self._number("H", at), self._number("H", at + 2)
            if code == 0:
                return
            if end - at - 4 < size:
                raise _Broken
            yield code, bytes(self._bytes[at + 4 : at + 4 + size])
            at += 4 + (size + 3 & ~3)

    def _interface(self, at: int, total: int) -> None:
        interface = _Interface(self._number("H", at + 8), self._number("I", at + 12), _clock(6))
        self._interfaces.append(interface)
        clock, offset, sound = interface.clock, 0, True
        try:
            for code, value in self._options(at + 16, at + total - 4):
                if code == OPTION_CLOCK_UNIT:
                    sound &= len(value) == 1
                    clock = _clock(value[0]) if len(value) == 1 else clock
                    sound &= clock.units > 0
                elif code == OPTION_CLOCK_OFFSET:
                    sound &= len(value) == 8
                    offset = struct.unpack(f"{self._order}q", value)[0] if len(value) == 8 else 0
        except _Broken:
            sound = False
        if not sound or abs(offset) > _OFFSET_END:
            self._packets.tally.malformed_blocks += 1
            clock = _Clock(0)
        clock.offset_s = offset
        interface.clock = clock

    def _packet(self, at: int, total: int, number: int) -> None:
        high, low, captured, length = struct.unpack_from(f"{self._order}IIII", self._bytes, at + 12)
        if number < len(self._interfaces) and captured <= total - 32:
            interface = self._interfaces[number]
            stamp_ns = interface.clock.nanoseconds(high << 32 | low)
            if stamp_ns is not None and self._packets.packet(interface.link_type, at + 28, captured, length, stamp_ns):
                self._packets.stamped(stamp_ns)
                return
        self._packets.tally.malformed_frames += 1

    def _simple(self, at: int, total: int) -> None:
        """A packet of the first interface, without a stamp: for the order of numbers it has the latest one's."""
        length = self._number("I", at + 8)
        if self._interfaces:
            interface = self._interfaces[0]
            captured = min(length, interface.snap_bytes or length)
            stamp_ns = self._packets.latest_ns
            if captured <= total - 16 and self._packets.packet(interface.link_type, at + 12, captured, length, stamp_ns):
                return
        self._packets.tally.malformed_frames += 1

    def _statistics(self, at: int, total: int) -> None:
        """What the capturing side lost until then: the last such block of an interface counts."""
        number = self._number("I", at + 8)
        drops, sound = 0, number < len(self._interfaces)
        try:
            for code, value in self._options(at + 20, at + total - 4):
                if code in (OPTION_NIC_DROPS, OPTION_KERNEL_DROPS):
                    count = struct.unpack(f"{self._order}Q", value)[0] if len(value) == 8 else _DROPS_END
                    sound &= count < _DROPS_END
                    drops += count
        except _Broken:
            sound = False
        if not sound:
            self._packets.tally.malformed_blocks += 1
            return
        self.drops += drops - self._interfaces[number].drops
        self._interfaces[number].drops = drops
