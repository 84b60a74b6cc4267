"""From the network header of a packet to the number that it carries, as ``datagram.h`` does it: for the walker in Python."""

import struct
from collections.abc import Callable
from typing import Literal

from ingest.histogram import EMPTY
from ingest.rings.counters import ChannelCounters, Followed, StreamCounters
from ingest.rings.layout import LAST_SEQUENCE, STREAMS, Following, Framing, Group
from ingest.rings.packet_names import ETHERTYPE_IPV4, ETHERTYPE_IPV6, untagged
from ingest.rings.sequence_python import Arrivals, Numbers, SequencedStream

MERGED_EACH = 16  # scopes of one channel whose two lines are brought together
_IPV4 = struct.Struct(">B5xHxB6x4s")  # version and length, fragment, protocol, destination
_UDP = struct.Struct(">2xHH")  # destination port, length
_USUAL = struct.Struct(">B5xHxB6x8sH")  # the same of IPv4 without options, with both ports, and the UDP length
_UDP_PROTOCOL = 17
_ROUTES = 4096
_TIMES: dict[int, Callable[[bytes, Literal["big", "little"]], int]] = {
    1: int.from_bytes,
    2: lambda raw, order: int.from_bytes(raw[:4], order) * 1_000_000_000 + int.from_bytes(raw[4:], order),
    3: lambda raw, order: int.from_bytes(raw, order) * 1_000_000,
}


class Reading:
    """A framing, and what follows from it.

    ``usual``: epoch, sequence and count at once, where the format has these, in this order, and nothing else.
    """

    def __init__(self, framing: Framing) -> None:
        self.framing = framing
        self.needed = needed(framing)
        self.order: Literal["big", "little"] = "big" if framing.big_endian else "little"
        self.narrow = is_narrow(framing)
        self.usual = _usual(framing)


class _Channel:
    """What both lines bring together."""

    def __init__(self) -> None:
        self.merged = SequencedStream()
        self.arrivals = Arrivals()

    def follow(self, line: int, numbers: Numbers) -> None:
        if self.merged.follow(numbers):
            self.arrivals.arrive(line, numbers)


_Key = tuple[bytes, int, int]  # address, port, scope


class Sequences:
    """The streams of one walker, told apart by destination address, port and scope."""

    def __init__(self, following: Following) -> None:
        self._following = following
        self._lines = {(line.address, line.port): line for line in reversed(following.lines)}
        self._streams: dict[_Key, tuple[SequencedStream, Framing, Group | None]] = {}
        self._channels: dict[tuple[int, int], tuple[_Channel, Framing]] = {}
        self._unread = self._unfollowed = self._ignored = 0
        self._readings = [Reading(framing) for framing in following.framings]
        self._routes: dict[bytes, tuple[SequencedStream, struct.Struct, Framing, int]] = {}  # by destination and ports

    def datagram(
        self, buffer: memoryview, start: int, end: int, protocol: int, stamp_ns: int, now_ns: int, timed: bool | None
    ) -> None:
        """One packet: ``start`` is its network header, ``end`` behind its last captured byte, ``protocol`` its ethertype.

        ``timed``: whether its latency counts; None where it has none, in a capture file.
        """
        if protocol == ETHERTYPE_IPV4 and end - start >= 28 and self._next(buffer, start, end, stamp_ns, now_ns, timed):
            return
        protocol, start = untagged(buffer, start, end, protocol)
        found = self._ip(buffer, start, end, protocol)
        if found is None:
            return
        header, address = found
        if end - start < header + 8:
            self._unread += 1
            return
        port, length = _UDP.unpack_from(buffer, start + header)
        line = self._lines.get((address, port))
        reading = self._reading(line, port)
        if reading is None:
            return
        payload = start + header + 8
        data = bytes(buffer[payload : min(end, payload + max(0, length - 8))])
        numbers = self._numbers(reading, data, stamp_ns)
        if numbers is None:
            return
        latency = None if timed is None else now_ns - stamp_ns if timed else -1
        stream = self._numbered((address, port, _scope(reading.framing, data)), reading, line, numbers, data, latency, now_ns)
        if stream is not None and reading.usual is not None and header == 20 and (line is None or line.channel is None):
            if len(self._routes) >= _ROUTES:
                self._routes.clear()
            route = (stream, reading.usual, reading.framing, reading.needed)
            self._routes[bytes(buffer[start + 16 : start + 24])] = route

    def _next(self, buffer: memoryview, start: int, end: int, stamp_ns: int, now_ns: int, timed: bool | None) -> bool:
        """The datagram that nearly every one is: the next of a stream. False, with nothing done, for every other."""
        first, fragment, carried, group, length = _USUAL.unpack_from(buffer, start)
        route = self._routes.get(group)
        if route is None or first != 0x45 or fragment & 0x3FFF or carried != _UDP_PROTOCOL:
            return False
        stream, usual, framing, least = route
        if end - start < 28 + least or length < 8 + least:
            return False
        epoch, sequence, count = usual.unpack_from(buffer, start + 28)
        if sequence != stream.expected or sequence > LAST_SEQUENCE or epoch != stream.epoch:
            return False
        if not count or count == framing.end_count:
            return False
        stream.expected = sequence + count
        stream.received += count
        stream.outside_run = 0
        stream.newest_stamp = stamp_ns
        if timed is not None:
            stream.latency.add(now_ns - stamp_ns if timed else -1)
        return True

    def _reading(self, line: Group | None, port: int) -> Reading | None:
        if line is not None:
            return self._readings[line.framing]
        if self._following.others is None:
            return None
        reading = self._readings[self._following.others]
        return None if reading.framing.port and reading.framing.port != port else reading

    def _ip(self, buffer: memoryview, start: int, end: int, protocol: int) -> tuple[int, bytes] | None:
        """Header length and destination of a whole UDP datagram; None for everything else."""
        if protocol == ETHERTYPE_IPV4 and end - start >= 20:
            first, fragment, carried, address = _IPV4.unpack_from(buffer, start)
            if first >> 4 != 4 or carried != _UDP_PROTOCOL:
                return None
            if fragment & 0x3FFF:
                self._unread += 1
                return None
            header = (first & 15) * 4
            return (header, address) if header >= 20 else None
        if protocol == ETHERTYPE_IPV6 and end - start >= 40 and buffer[start] >> 4 == 6 and buffer[start + 6] == _UDP_PROTOCOL:
            return 40, bytes(buffer[start + 24 : start + 40])
        return None

    def _numbers(self, reading: Reading, data: bytes, stamp_ns: int) -> Numbers | None:
        framing, order = reading.framing, reading.order
        flag = data[framing.flag_offset] if framing.flag_width and len(data) > framing.flag_offset else None
        if flag in framing.flag_ignored:
            self._ignored += 1
            return None
        if len(data) < reading.needed:
            self._unread += 1
            return None
        sequence = int.from_bytes(data[framing.sequence_offset :][: framing.sequence_width], order)
        if framing.zero_unsequenced and not sequence:
            self._ignored += 1
            return None
        if sequence > LAST_SEQUENCE:
            self._unread += 1
            return None
        if framing.high_mask:
            sequence |= (data[framing.high_offset] & framing.high_mask) // (framing.high_mask & -framing.high_mask) << 32
        count = _chained(framing, data, order) if framing.chain_width else _count(framing, data, order)
        return Numbers(sequence, count, _epoch(framing, data), stamp_ns, flag in framing.flag_resets)

    def _numbered(
        self,
        key: _Key,
        reading: Reading,
        line: Group | None,
        numbers: Numbers,
        data: bytes,
        latency_ns: int | None,
        now_ns: int,
    ) -> SequencedStream | None:
        """The stream that the datagram is of, if it is followed."""
        framing = reading.framing
        if key not in self._streams:
            if len(self._streams) + len(self._channels) >= STREAMS:
                self._unfollowed += 1
                return None
            self._streams[key] = (SequencedStream(), framing, line)
        stream = self._streams[key][0]
        if reading.narrow:
            numbers.sequence = whole(stream, numbers.sequence)
        stream.follow(numbers)
        if latency_ns is not None:
            stream.latency.add(latency_ns)
        if framing.time_kind:
            _timed(framing, stream, data, now_ns)
        if line is not None and line.channel is not None:
            self._merge(line.channel, line.line, key[2], framing, numbers)
        return stream

    def _merge(self, channel: int, line: int, scope: int, framing: Framing, numbers: Numbers) -> None:
        limit = len(self._following.channels) * MERGED_EACH
        full = len(self._channels) >= limit or len(self._streams) + len(self._channels) >= STREAMS
        if (channel, scope) not in self._channels:
            if full:
                return
            self._channels[channel, scope] = (_Channel(), framing)
        self._channels[channel, scope][0].follow(line, numbers)

    def followed(self, histograms: bool = True) -> Followed:
        """See ``ingest.rings.walk.Walker``."""
        streams = [
            self._stream(key, stream, framing, line, histograms) for key, (stream, framing, line) in self._streams.items()
        ]
        channels = [
            ChannelCounters(
                name=self._following.channels[channel],
                scope=scope if framing.scope_width else None,
                received=found.merged.received,
                lost=found.merged.lost,
                both=found.arrivals.both,
                wins=(found.arrivals.wins[0], found.arrivals.wins[1]),
                skew=(found.arrivals.skew[0].read(), found.arrivals.skew[1].read()),
            )
            for (channel, scope), (found, framing) in self._channels.items()
        ]
        return Followed(
            tuple(sorted(streams, key=lambda s: (s.address, s.port, s.scope or 0))),
            tuple(sorted(channels, key=lambda c: (c.name, c.scope or 0))),
            self._unread,
            self._unfollowed,
            self._ignored,
        )

    def _stream(
        self, key: _Key, stream: SequencedStream, framing: Framing, line: Group | None, histograms: bool
    ) -> StreamCounters:
        channel = line.channel if line is not None else None
        return StreamCounters(
            address=key[0],
            port=key[1],
            framing=framing.name,
            scope=key[2] if framing.scope_width else None,
            received=stream.received,
            lost=stream.lost,
            duplicate=stream.duplicate,
            reordered=stream.reordered,
            outside=stream.outside,
            resets=stream.resets,
            heartbeats=stream.heartbeats,
            channel=self._following.channels[channel] if channel is not None else None,
            line="AB"[line.line] if line is not None and channel is not None else "",
            latency=stream.latency.read() if histograms else EMPTY,
            sent=stream.sent.read() if histograms and framing.time_kind else EMPTY,
            nearest_ns=stream.nearest_ns,
        )


def needed(framing: Framing) -> int:
    """Bytes of payload that hold all of its fields."""
    ends = [
        (framing.sequence_offset, framing.sequence_width),
        (framing.count_offset, framing.count_width),
        (framing.scope_offset, framing.scope_width),
        (framing.epoch_offset, framing.epoch_width),
        (framing.chain_offset, framing.chain_width),
        (framing.time_offset, 8 if framing.time_kind else 0),
        (framing.high_offset, 1 if framing.high_mask else 0),
        (framing.flag_offset, framing.flag_width),
    ]
    return max(offset + width for offset, width in ends if width)


def _usual(framing: Framing) -> struct.Struct | None:
    rest = (framing.scope_width, framing.flag_ignored, framing.flag_resets, framing.high_mask, framing.chain_width)
    if any(rest) or framing.time_kind or framing.zero_unsequenced or framing.epoch_mask:
        return None
    between = framing.sequence_offset - framing.epoch_offset - framing.epoch_width
    behind = framing.count_offset - framing.sequence_offset - framing.sequence_width
    if framing.sequence_width != 8 or not framing.count_width or between < 0 or behind < 0:
        return None
    count = {1: "B", 2: "H", 4: "I"}[framing.count_width]
    order = ">" if framing.big_endian else "<"
    return struct.Struct(f"{order}{framing.epoch_offset}x{framing.epoch_width}s{between}xQ{behind}x{count}")


def _count(framing: Framing, data: bytes, order: Literal["big", "little"]) -> int:
    if not framing.count_width:
        return 1
    count = int.from_bytes(data[framing.count_offset :][: framing.count_width], order)
    return 0 if framing.end_count and count == framing.end_count else count


def _chained(framing: Framing, data: bytes, order: Literal["big", "little"]) -> int:
    count = at = 0
    while at + framing.chain_offset + framing.chain_width <= len(data):
        length = int.from_bytes(data[at + framing.chain_offset :][: framing.chain_width], order)
        if not length:
            break
        count += 1
        at += length
    return count


def _scope(framing: Framing, data: bytes) -> int:
    return int.from_bytes(data[framing.scope_offset :][: framing.scope_width], "little")


def _epoch(framing: Framing, data: bytes) -> bytes:
    raw = data[framing.epoch_offset :][: framing.epoch_width]
    return bytes((raw[0] & framing.epoch_mask,)) if framing.epoch_mask and raw else raw


def is_narrow(framing: Framing) -> bool:
    """Whether a number is less than the whole one: 0 comes after 4294967295."""
    return framing.sequence_width == 4 and not framing.high_mask


def whole(stream: SequencedStream, sequence: int) -> int:
    """The number that a narrow one stands for: that nearest to the expected."""
    if not stream.started:
        return sequence | 1 << 32
    step = (sequence - stream.expected) & 0xFFFFFFFF
    return stream.expected + step - (step >> 31 << 32)


def _timed(framing: Framing, stream: SequencedStream, data: bytes, now_ns: int) -> None:
    sent_ns = _TIMES[framing.time_kind](data[framing.time_offset :][:8], "big" if framing.big_endian else "little")
    if not sent_ns & 0xFFFFFFFFFFFFFFFF:
        return
    wrapped = (now_ns - sent_ns) & 0xFFFFFFFFFFFFFFFF  # a send time may be anything
    difference = wrapped - (wrapped >> 63 << 64)
    stream.nearest_ns = difference if stream.nearest_ns is None else min(stream.nearest_ns, difference)
    stream.sent.add(difference)
