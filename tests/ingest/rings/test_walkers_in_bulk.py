"""The walkers alike on what numpy takes as columns: full blocks and wrapping rings, with everything odd strewn among them."""

import random
import struct
from dataclasses import replace

import pytest
from ring_images import Packet, block, blocks, frames, mold, udp4, udp6
from walker_kinds import KINDS, agreed

from ingest.feeds.formats import parse_feed, shipped
from ingest.rings.layout import (
    MILLISECONDS,
    NANOSECONDS,
    SECONDS_AND_NANOSECONDS,
    Area,
    Following,
    Framing,
    Group,
)
from ingest.rings.walk_numpy import NumpyWalker

MOLD = parse_feed("moldudp64")
FRAMINGS = [
    MOLD,
    replace(MOLD, name="any count", end_count=0, zero_unsequenced=True),
    Framing("narrow", 2, 4, big_endian=False, time_offset=6, time_kind=NANOSECONDS),
    Framing("narrow and counted", 8, 4, big_endian=True, count_offset=13, count_width=1, scope_offset=14, scope_width=5),
    Framing("seconds", 8, 8, big_endian=True, time_offset=16, time_kind=SECONDS_AND_NANOSECONDS, flag_offset=30, flag_width=1),
    Framing("milliseconds", 0, 8, big_endian=False, count_offset=8, count_width=4, time_offset=12, time_kind=MILLISECONDS),
    Framing("long epoch", 17, 8, big_endian=False, epoch_offset=1, epoch_width=16, scope_offset=26, scope_width=8, port=30001),
    Framing(
        "flags", 4, 4, True, flag_offset=9, flag_width=1, flag_ignored=frozenset({7}), flag_resets=frozenset({9}), epoch_width=3
    ),
    Framing("high", 4, 4, False, high_offset=8, high_mask=0x70, epoch_offset=9, epoch_width=1, epoch_mask=0x0E),
    Framing("chain", 4, 8, True, chain_offset=0, chain_width=2),
    Framing("far", 260, 8, True),
]


class Feed:
    """One stream of a framing, mostly in order."""

    def __init__(self, framing: Framing, noise: random.Random, scope: int) -> None:
        self.framing, self.noise, self.scope = framing, noise, scope
        self.next = noise.choice([1, 1000, 0xFFFFFFF0 if framing.sequence_width == 4 else (1 << 63) - 40])
        self.epoch = noise.randbytes(16)

    def payload(self, odd: bool) -> bytes:
        framing, noise = self.framing, self.noise
        count = noise.choice([1, 1, 1, 2, 5]) if framing.count_width else 1
        number, flag, epoch, sent = self.next, 0, self.epoch, 1_700_000_000_499_000_000 + noise.randrange(2_000_000)
        if odd:
            number += noise.choice([0, 0, 1, 3, 40, -1, -2, -10, 9000, -9000, 1 << 29, 1 << 62])
            count = noise.choice([count, 0, framing.end_count])
            flag = noise.choice([0, 7, 9])
            sent = noise.choice([sent, 0, 1 << 63])
            if noise.random() < 0.2:
                epoch = self.epoch = noise.randbytes(16)
        self.next = number + (0 if framing.end_count and count == framing.end_count else count)
        data = bytearray(300 if framing.name == "far" else noise.choice([40, 60]))
        order = "big" if framing.big_endian else "little"

        def put(offset: int, width: int, value: int, order: str = order) -> None:
            data[offset : offset + width] = (value % (1 << 8 * width)).to_bytes(width, order)

        if framing.chain_width:
            put(framing.chain_offset, framing.chain_width, 24)
        data[framing.epoch_offset : framing.epoch_offset + framing.epoch_width] = epoch[: framing.epoch_width]
        put(framing.scope_offset, framing.scope_width, self.scope)
        if framing.time_kind == SECONDS_AND_NANOSECONDS:
            put(framing.time_offset, 4, sent // 10**9)
            put(framing.time_offset + 4, 4, sent % 10**9)
        elif framing.time_kind:
            put(framing.time_offset, 8, sent // 10**6 if framing.time_kind == MILLISECONDS else sent)
        put(framing.flag_offset, framing.flag_width, flag)
        put(framing.count_offset, framing.count_width, count)
        put(framing.sequence_offset, framing.sequence_width, number)
        return bytes(data[: noise.choice([len(data), 5, 12])] if odd else data)


def odd_packet(noise: random.Random, payload: bytes, address: str) -> Packet:
    """The same datagram, but not as a plain one; or no datagram at all."""
    plain = udp4(payload, address)
    tcp, short, other, words = bytearray(plain), bytearray(plain), bytearray(plain), bytearray(plain)
    tcp[9], other[0], words[0] = 6, 0x65, 0x44
    struct.pack_into(">H", short, 24, noise.choice([0, 8, 20]))
    return noise.choice(
        [
            Packet(udp6(payload), 0x86DD),
            Packet(udp6(payload)[:6] + b"\x06" + udp6(payload)[7:], 0x86DD),
            Packet(struct.pack(">HH", 5, 0x0800) + plain, 0x8100),
            Packet(udp4(payload, address, options=bytes(4))),
            Packet(udp4(payload, address, fragment=noise.choice([1, 0x2000]))),
            Packet(plain, 0x0806),
            Packet(plain[: noise.choice([0, 12, 24, 30, 40])]),
            *(Packet(bytes(data)) for data in (tcp, short, other, words)),
            Packet(plain, status=noise.choice([5, 0x11, 0x101, 0x80000001])),
            Packet(plain, length=noise.choice([1518, 1519, 9000, 70_000])),
            Packet(plain, packet_type=3),
            Packet(plain, age_ns=noise.choice([-5, 0, 1 << 41])),
        ]
    )


def storm(framing: Framing, seed: int, count: int, odd: float) -> list[Packet]:
    """Five streams by turns, in which that share is odd in its numbers or in its headers."""
    noise = random.Random(seed)
    feeds = [Feed(framing, noise, scope) for scope in (1, 2, 7, 1, 1)]
    packets = []
    for _ in range(count):
        which = noise.randrange(5)
        payload = feeds[which].payload(noise.random() < odd)
        address = f"239.1.1.{which % 3}"
        packet = Packet(udp4(payload, address, 30001 + which // 3), age_ns=1 + noise.randrange(1 << noise.randrange(8, 30)))
        packets.append(odd_packet(noise, payload, address) if noise.random() < odd else packet)
    return packets


def packed(packets: list[Packet], unit_bytes: int = 16384) -> Area:
    """Blocks as full as whole packets fill them."""
    parts: list[list[Packet]] = [[]]
    at = 48
    for packet in packets:
        stride = 96 + len(packet.data) + 7 & ~7
        if at + stride > unit_bytes:
            parts.append([])
            at = 48
        parts[-1].append(packet)
        at += stride
    return blocks([block(part, unit_bytes) for part in parts], len(parts))


@pytest.mark.parametrize("odd", [0, 0.01, 0.2])
@pytest.mark.parametrize("framing", FRAMINGS, ids=lambda framing: framing.name)
def test_full_rings(framing: Framing, odd: float) -> None:
    packets = storm(framing, 7, 900, odd)
    following = Following((framing,))
    areas = [packed(packets), frames(packets[:500], 512, 512)]
    if odd:
        areas = [replace(area, super_bytes=1514, stamp_kind=1 << 31 if odd > 0.1 else 0) for area in areas]
    _, walked, followed, _ = agreed(areas, following)
    assert [each.packets for each in walked] == [900, 500]
    if not odd:
        assert all(stream.received > 100 for stream in followed.streams)
        assert followed.unfollowed == 0


@pytest.mark.parametrize("name", sorted(name for name, entry in shipped().items() if entry.framing is not None))
def test_every_format(name: str) -> None:
    framing = parse_feed(name)
    packets = storm(framing, 3, 300, 0.02)
    agreed([packed(packets), frames(packets, 300, 512)], Following((framing,)))


def test_thousands_in_order_with_a_gap_here_and_there() -> None:
    noise, following, packets, lost = random.Random(5), [1] * 8, [], 0
    for index in range(6000):
        which = noise.randrange(8)
        gap = index > 100 and not index % 997
        lost += gap * 3
        following[which] += gap * 3
        packets.append(Packet(udp4(mold(following[which], 2), port=30001 + which), age_ns=10**9 - index))
        following[which] += 2
    _, walked, followed, _ = agreed([packed(packets, 1 << 16)], Following((MOLD,)))
    assert walked[0].packets == 6000
    assert sum(stream.received for stream in followed.streams) == 12_000
    assert sum(stream.lost for stream in followed.streams) == lost > 0
    assert all(stream.latency.total for stream in followed.streams)


def test_lines_of_a_channel_and_groups_of_their_own_among_others() -> None:
    both = [udp4(mold(number), address) for number in range(1, 200) for address in ("239.1.1.1", "239.1.1.2")]
    iex = parse_feed("iex_tp")
    others = [udp4(mold(number), "239.9.9.9", port) for number in range(1, 100) for port in (30001, 30005)]
    packets = [Packet(data, age_ns=50_000 - n) for n, data in enumerate([*both, *others, *storm_of(iex)])]
    lines = (
        Group(b"\xef\1\1\1", 30001, 0, 0, 0),
        Group(b"\xef\1\1\2", 30001, 0, 0, 1),
        Group(b"\xef\x09\x09\x09", 30005, 1),
    )
    for rest in (None, 0, 1):
        following = Following((MOLD, iex), rest, lines, ("one",))
        _, _, followed, _ = agreed([packed(packets), frames(packets, 1024)], following)
        assert followed.channels[0].both > 100


def storm_of(framing: Framing) -> list[bytes]:
    return [packet.data for packet in storm(framing, 1, 200, 0)]


def test_where_one_stream_ends_another_does_not_go_on() -> None:
    scoped = Framing("scoped", 8, 8, big_endian=True, scope_offset=0, scope_width=2)
    halves = [(b"\1\0", range(1, 101)), (b"\2\0", range(101, 201))]
    packets = [Packet(udp4(scope + bytes(6) + number.to_bytes(8, "big"))) for scope, numbers in halves for number in numbers]
    groups = [Packet(udp4(mold(number), f"239.1.1.{1 + (number > 100)}")) for number in range(1, 201)]
    sessions = [Packet(udp4(b"QUIETCORE%d" % (number > 100) + mold(number)[10:])) for number in range(1, 201)]
    for each, framing in ((packets, scoped), (groups, MOLD)):
        _, _, followed, _ = agreed([packed(each)], Following((framing,)))
        assert [stream.received for stream in followed.streams] == [100, 100]
    _, _, followed, _ = agreed([packed(sessions)], Following((MOLD,)))
    assert [(stream.received, stream.resets) for stream in followed.streams] == [(200, 1)]


# ---- frames that are not where they seem to be


@pytest.mark.parametrize("version", [2, 3])
def test_what_is_plain_is_read_as_columns_alone(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """Round and round, part of each block left over from the turn before."""
    unit_bytes = 256 if version == 2 else 1 << 14
    ring = Area(bytearray(unit_bytes * 600), version, unit_bytes, 600)
    walker = NumpyWalker([ring], Following((MOLD,)))
    for name in ("_chained", "_packed_frame"):  # and _fixed_frame, but for what lies at the memory's very end
        monkeypatch.setattr(walker._rings[0], name, None)
    number, at = 1, 0
    for count in (500, 450, 350, 300):
        packets = [Packet(udp4(mold(number + index))) for index in range(count)]
        number += count
        made = frames(packets, count) if version == 2 else packed(packets, unit_bytes)
        for unit in range(made.units):
            new = made.memory[unit * unit_bytes : (unit + 1) * unit_bytes]
            (end,) = struct.unpack_from("=I", new, 20) if version == 3 else (unit_bytes,)
            place = (at if version == 2 else unit) % 600 * unit_bytes
            ring.memory[place : place + end] = new[:end]
            at += 1
        if version == 3:  # the same blocks again, some of them less full
            walker._rings[0]._cursor = 0
        assert walker.drain() == made.units
    assert walker.take()[0].packets == number - 1
    assert walker.followed().streams[0].received == number - 1


def test_the_last_frame_ends_with_its_block_whatever_it_says_of_the_next() -> None:
    packets = [Packet(udp4(mold(n))) for n in range(100)]
    for following, captured in ((0, 16000), (1 << 20, 16000), (0xFFFFFFFF, 70_000), (72, 54)):
        area = packed(packets, 1 << 14)
        at = 48
        while (step := struct.unpack_from("=I", area.memory, at)[0]) and at < area.unit_bytes:
            at += step
        struct.pack_into("=I", area.memory, at, following)
        struct.pack_into("=II", area.memory, at + 12, captured, captured)
        agreed([area], Following((MOLD,)))


FAKE = struct.pack("=HHI", 82, 96, 0)


@pytest.mark.parametrize("poisoned", [1, 30, 200])
def test_payload_that_looks_like_a_frame_deceives_nobody(poisoned: int) -> None:
    """A message lies 144 bytes behind its frame's start: what looks like tp_mac and tp_net, at multiples of eight."""
    packets = [Packet(udp4(mold(n) + FAKE * 12 if n % (400 // poisoned) == 3 else mold(n))) for n in range(400)]
    for size in (1 << 15, 1 << 17):
        _, walked, followed, _ = agreed([packed(packets, size)], Following((MOLD,)))
        assert (walked[0].packets, walked[0].malformed_blocks, walked[0].malformed_frames) == (400, 0, 0)
        assert followed.streams[0].received == 400


def test_fakes_in_the_place_of_a_frame_that_was_left_out() -> None:
    """As many signatures as frames, the first where it should be: only the chain tells that one is false."""
    packets = [Packet(udp4(mold(n, 1, bytes(100)))) for n in range(100)]
    image = bytearray(block(packets, 1 << 16))
    (stride,) = struct.unpack_from("=I", image, 48)
    hidden = 48 + 50 * stride
    struct.pack_into("=I", image, 48 + 49 * stride, 2 * stride)  # the 50th is jumped over
    struct.pack_into("=I", image, 12, 100)
    struct.pack_into("=Q", image, hidden + 24, 0)
    image[hidden + 160 : hidden + 168] = FAKE
    agreed([blocks([bytes(image)], 1)], Following((MOLD,)))
    struct.pack_into("=I", image, 12, 99)
    _, walked, followed, _ = agreed([blocks([bytes(image)], 1)], Following((MOLD,)))
    assert (walked[0].packets, followed.streams[0].lost) == (99, 1)


def test_what_an_earlier_turn_left_behind_a_block_is_not_read() -> None:
    packets = [Packet(udp4(mold(n))) for n in range(200)]
    images = [bytearray(block(packets[at : at + 100], 1 << 15)) for at in (0, 100)]
    for image in images:
        (stride,) = struct.unpack_from("=I", image, 48)
        struct.pack_into("=I", image, 12, 60)
        struct.pack_into("=I", image, 20, 48 + 60 * stride)
        struct.pack_into("=I", image, 48 + 59 * stride, 0)
    for length in (48 + 60 * stride, 1 << 15, 0, 0xFFFFFFFF, 100):  # hostile lengths, too: nobody else reads them
        struct.pack_into("=I", images[0], 20, length)
        _, walked, _, _ = agreed([blocks(list(map(bytes, images)), 2)], Following((MOLD,)))
        assert walked[0].packets == 120


@pytest.mark.parametrize("seed", range(12))
def test_full_blocks_whose_headers_lie(seed: int) -> None:
    noise = random.Random(seed)
    area = packed(storm(MOLD, seed, 400, 0.01), 1 << 14)
    fixed = frames(storm(MOLD, seed, 200, 0.01), 200)
    for each in (area, fixed):
        for _ in range(noise.choice([1, 3, 30])):
            at = noise.randrange(len(each.memory) // 4) * 4 if noise.random() < 0.5 else noise.randrange(0, 400, 4)
            value = noise.choice([0, 1, 48, 68, 72, 0xFFFF, 0x00600052, 0xFFFFFFFF, 0x80000000, noise.randrange(1 << 32)])
            struct.pack_into("=I", each.memory, min(at, len(each.memory) - 4), value)
    agreed([area, fixed], Following((MOLD,)))
    agreed([area, fixed], None)


def test_streams_beyond_the_limit_in_any_order() -> None:
    noise = random.Random(1)
    groups = [f"239.{noise.randrange(8)}.{noise.randrange(256)}.1" for _ in range(3000)]
    packets = [Packet(udp4(mold(n % 5), group)) for n, group in enumerate(groups)]
    _, _, followed, _ = agreed([packed(packets[:1500]), frames(packets[1500:], 1500)], Following((MOLD,)))
    assert len(followed.streams) == 1024
    assert followed.unfollowed > 100


@pytest.mark.parametrize("scopes", [3, 700])
def test_channels_and_streams_share_the_limit(scopes: int) -> None:
    scoped = Framing("scoped", 8, 8, big_endian=True, scope_offset=0, scope_width=2)
    noise = random.Random(2)
    lines = (Group(b"\xef\1\1\1", 30001, 0, 0, 0), Group(b"\xef\1\1\2", 30001, 0, 0, 1))
    packets = []
    for number in range(3000):
        payload = struct.pack("<H6x", noise.randrange(scopes)) + number.to_bytes(8, "big")
        packets.append(Packet(udp4(payload, f"239.1.1.{noise.choice([1, 2, 3])}"), age_ns=10**9 - number))
    _, _, followed, _ = agreed([packed(packets)], Following((scoped,), 0, lines, ("one",)))
    assert (followed.unfollowed > 0) == (scopes == 700)
    assert {channel.scope for channel in followed.channels} >= {0, 1, 2} if scopes == 3 else followed.channels


def test_a_ring_of_frames_that_goes_round_in_full_batches() -> None:
    packets = [Packet(udp4(mold(n))) for n in range(1, 2001)]
    filled = frames(packets, 2000)
    for walker_kind in KINDS.values():
        area = frames([], 300)
        walker = walker_kind([area], Following((MOLD,)))
        at = read = 0
        while read < 2000:
            ready = min(170, 2000 - read)
            for index in range(read, read + ready):
                area.memory[at * 256 : (at + 1) * 256] = filled.memory[index * 256 : (index + 1) * 256]
                at = (at + 1) % 300
            assert walker.drain() == ready
            assert walker.drain() == 0
            read += ready
        assert walker.take()[0].packets == 2000
        assert walker.followed().streams[0].received == 2000
        assert not any(area.memory[unit * 256] for unit in range(300))
        walker.close()
