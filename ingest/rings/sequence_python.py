"""Sequence accounting in Python, number by number as ``walk.c`` does it: the oracle of the native one."""

import struct
from dataclasses import dataclass, field
from typing import Literal

from ingest.rings.counters import Followed, StreamCounters
from ingest.rings.layout import FAR_AHEAD, LAST_SEQUENCE, OUTSIDE_RUN, STREAMS, WINDOW, Framing

_IPV4 = struct.Struct(">B5xHxB6x4s")  # version and length, fragment, protocol, destination
_UDP = struct.Struct(">2xHH")  # destination port, length


@dataclass(slots=True)
class _Stream:
    newest_stamp: int = 0
    first: int = 0
    expected: int = 0
    received: int = 0
    lost: int = 0
    duplicate: int = 0
    reordered: int = 0
    outside: int = 0
    outside_run: int = 0
    resets: int = 0
    heartbeats: int = 0
    seen: set[int] = field(default_factory=set)  # numbers of the window below ``expected``

    def start(self, sequence: int, count: int, stamp: int) -> None:
        self.first = self.expected = sequence
        self.newest_stamp = stamp
        self.outside_run = 0
        self.advance(sequence, count)

    def advance(self, sequence: int, count: int) -> None:
        self.lost += sequence - self.expected
        self.received += count
        self.expected = sequence + count
        if count == 1:
            self.seen.add(sequence)
        else:
            self.seen.update(range(max(sequence, self.expected - WINDOW), self.expected))
        if len(self.seen) > 2 * WINDOW:
            self.seen = {number for number in self.seen if number >= self.expected - WINDOW}

    def late(self, sequence: int, count: int, stamp: int) -> None:
        old = min(count, self.expected - sequence)
        for number in range(sequence, sequence + old):
            if number in self.seen:
                self.duplicate += 1
            else:
                self.seen.add(number)
                self.reordered += stamp >= self.newest_stamp  # else it lay in a ring that was read later
                self.received += 1
                self.lost -= 1
        if count > old:
            self.advance(self.expected, count - old)
            self.newest_stamp = stamp

    def follow(self, sequence: int, count: int, stamp: int) -> None:
        behind = self.expected - sequence
        if behind > WINDOW or -behind > FAR_AHEAD or (behind > 0 and sequence < self.first):
            self.outside += 1
            self.outside_run += 1
            if self.outside_run >= OUTSIDE_RUN:
                self.resets += 1
                self.seen.clear()
                self.start(sequence, count, stamp)
            return
        self.outside_run = 0
        self.heartbeats += count == 0
        if behind > 0:
            self.late(sequence, count, stamp)
        else:
            self.advance(sequence, count)
            self.newest_stamp = stamp


class Sequences:
    """The streams of one walker, told apart by destination address and port."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._order: Literal["big", "little"] = "big" if framing.big_endian else "little"
        sequence_end = framing.sequence_offset + framing.sequence_width
        count_end = framing.count_offset + framing.count_width if framing.count_width else 0
        self._sequence_end, self._count_end = sequence_end, count_end
        self._needed = max(sequence_end, count_end)
        self._streams: dict[tuple[bytes, int], _Stream] = {}
        self._unread = 0
        self._unfollowed = 0

    def datagram(self, buffer: memoryview, start: int, end: int, protocol: int, stamp_ns: int) -> None:
        """One packet: ``start`` is its network header, ``end`` behind its last captured byte, ``protocol`` its ethertype."""
        for _ in range(2):
            if protocol not in (0x8100, 0x88A8) or end - start < 4:
                break
            protocol, start = buffer[start + 2] << 8 | buffer[start + 3], start + 4
        found = self._ip(buffer, start, end, protocol)
        if found is None:
            return
        header, address = found
        if end - start < header + 8:
            self._unread += 1
            return
        port, length = _UDP.unpack_from(buffer, start + header)
        if self._framing.port and port != self._framing.port:
            return
        payload = start + header + 8
        if min(end - payload, length - 8) < self._needed:
            self._unread += 1
            return
        self._numbered(buffer, payload, (address, port), stamp_ns)

    def _ip(self, buffer: memoryview, start: int, end: int, protocol: int) -> tuple[int, bytes] | None:
        """Header length and destination of a whole UDP datagram; None for everything else."""
        if protocol == 0x0800 and end - start >= 20:
            first, fragment, carried, address = _IPV4.unpack_from(buffer, start)
            if first >> 4 != 4 or carried != 17:
                return None
            if fragment & 0x3FFF:
                self._unread += 1
                return None
            header = (first & 15) * 4
            return (header, address) if header >= 20 else None
        if protocol == 0x86DD and end - start >= 40 and buffer[start] >> 4 == 6 and buffer[start + 6] == 17:
            return 40, bytes(buffer[start + 24 : start + 40])
        return None

    def _numbered(self, buffer: memoryview, at: int, key: tuple[bytes, int], stamp_ns: int) -> None:
        framing = self._framing
        sequence = int.from_bytes(buffer[at + framing.sequence_offset : at + self._sequence_end], self._order)
        count = 1
        if framing.count_width:
            count = int.from_bytes(buffer[at + framing.count_offset : at + self._count_end], self._order)
            if framing.end_count and count == framing.end_count:
                count = 0
        if sequence > LAST_SEQUENCE:
            self._unread += 1
            return
        stream = self._streams.get(key)
        if stream is None:
            if len(self._streams) >= STREAMS:
                self._unfollowed += 1
                return
            stream = self._streams[key] = _Stream()
        if stream.received or stream.expected:
            stream.follow(sequence, count, stamp_ns)
        else:
            stream.start(sequence, count, stamp_ns)

    def followed(self) -> Followed:
        """See ``Walker.followed``."""
        streams = [
            StreamCounters(
                address=address,
                port=port,
                received=each.received,
                lost=each.lost,
                duplicate=each.duplicate,
                reordered=each.reordered,
                outside=each.outside,
                resets=each.resets,
                heartbeats=each.heartbeats,
            )
            for (address, port), each in sorted(self._streams.items())
        ]
        return Followed(tuple(streams), self._unread, self._unfollowed)
