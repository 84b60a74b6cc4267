"""The walkers: right about what they know, and alike about everything, corrupt memory included."""

import os
import random
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring_images import NOW_NS, Packet, block, blocks, frames, mold, udp4, udp6
from walker_kinds import KINDS, agreed, native_or_skip

from ingest.feeds.formats import parse_feed
from ingest.histogram import Histogram
from ingest.rings.layout import V2, Area, Following, Framing, Group
from ingest.rings.walk import Walker, WalkerMissing, open_walker
from ingest.rings.walk_python import memory_fence

PROJECT = Path(__file__).parents[3]
MOLD_FRAMING = parse_feed("moldudp64")
MOLD = Following((MOLD_FRAMING,))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> type[Walker]:
    if request.param == "native":
        native_or_skip()
    return KINDS[request.param]


def ring_of(version: int, packets: list[Packet]) -> Area:
    return frames(packets, 64) if version == V2 else blocks([block(packets)], 4)


@pytest.mark.parametrize("version", [2, 3])
def test_counts_lengths_and_latencies(kind: type[Walker], version: int) -> None:
    ages = [0, 1, 15, 16, 1000, 65_000, 3_000_000_000, -7]
    area = ring_of(version, [Packet(bytes(40), age_ns=age) for age in ages] + [Packet(bytes(30), status=5, length=9000)])
    walker = kind([area], fixed_now_ns=NOW_NS)
    walker.drain()
    (walked,) = walker.take()
    assert walked.packets == len(ages) + 1
    assert walked.bytes == len(ages) * 54 + 9000
    assert (walked.truncated, walked.losing) == (1, 1)
    assert (walked.malformed_frames, walked.malformed_blocks) == (0, 0)
    assert walked.latency == Histogram.of([*ages, 1000])
    assert walked.latency.total == walked.packets
    assert walker.take()[0].packets == 0


@pytest.mark.parametrize("version", [2, 3])
def test_hands_everything_back_and_goes_round(kind: type[Walker], version: int) -> None:
    area = frames([], 8) if version == V2 else blocks([], 8)
    walker = kind([area], fixed_now_ns=NOW_NS)
    total = 0
    for turn in range(5):  # 5 x 3 units in a ring of 8: past its end
        for step in range(3):
            unit = (turn * 3 + step) % 8
            image = bytes(frames([Packet(bytes(40))], 1).memory) if version == V2 else block([Packet(bytes(40))] * 4)
            area.memory[unit * area.unit_bytes : (unit + 1) * area.unit_bytes] = image
        assert walker.drain() == 3
        total += walker.take()[0].packets
    assert total == (15 if version == V2 else 60)
    status_at = 0 if version == V2 else 8
    assert all(area.memory[unit * area.unit_bytes + status_at] == 0 for unit in range(8))
    assert walker.drain() == 0


def test_an_empty_ring_and_a_whole_one(kind: type[Walker]) -> None:
    walker = kind([frames([], 16), frames([Packet(bytes(40))] * 16, 16)], fixed_now_ns=NOW_NS)
    assert walker.drain() == 16
    assert [walked.packets for walked in walker.take()] == [0, 16]


SEQUENCES = [
    ("in order", [(1, 1), (2, 1), (3, 1)], (3, 0, 0, 0)),
    ("messages", [(1, 10), (11, 5), (16, 1)], (16, 0, 0, 0)),
    ("gap", [(1, 1), (5, 1)], (2, 3, 0, 0)),
    ("late", [(1, 1), (3, 1), (2, 1), (4, 1)], (4, 0, 0, 1)),
    ("repeated", [(1, 1), (2, 1), (2, 1), (1, 1)], (2, 0, 2, 0)),
    ("late twice", [(1, 1), (3, 1), (2, 1), (2, 1)], (3, 0, 1, 1)),
    ("overlap", [(1, 4), (3, 4)], (6, 0, 2, 0)),
    ("heartbeat tells of a gap", [(1, 1), (4, 0)], (1, 2, 0, 0)),
    ("end of session", [(1, 1), (2, 0xFFFF)], (1, 0, 0, 0)),
    ("before the first", [(100, 1), (99, 1)], (1, 0, 0, 0)),
    ("far behind", [(100_000, 1), (1, 1)], (1, 0, 0, 0)),
    ("far ahead", [(1, 1), (1 << 40, 1), (2, 1)], (2, 0, 0, 0)),
    ("starts anew", [(100_000, 1), *((n, 1) for n in range(1, 41))], (1 + 25, 0, 0, 0)),
    ("late by the whole window", [(1, 1), (8193, 1), (2, 1)], (3, 8190, 0, 1)),
    ("late by more", [(1, 1), (8194, 1), (2, 1)], (2, 8192, 0, 0)),
    ("a gap wider than the window", [(1, 1), (20_000, 1), (20_001, 1)], (3, 19_998, 0, 0)),
]


@pytest.mark.parametrize(("packets", "expected"), [s[1:] for s in SEQUENCES], ids=[s[0] for s in SEQUENCES])
@pytest.mark.parametrize("version", [2, 3])
def test_sequence_accounting(
    kind: type[Walker], version: int, packets: list[tuple[int, int]], expected: tuple[int, int, int, int]
) -> None:
    # one block would not hold all of them, so each has its own
    images = [Packet(udp4(mold(*packet)), age_ns=10_000 - index) for index, packet in enumerate(packets)]
    area = frames(images, 64) if version == V2 else blocks([block([image]) for image in images], 64)
    walker = kind([area], MOLD, NOW_NS)
    walker.drain()
    (stream,) = walker.followed().streams
    assert (stream.received, stream.lost, stream.duplicate, stream.reordered) == expected
    assert stream.stream == "239.1.1.1:30001"


def test_a_stream_that_changes_its_ring_was_not_reordered(kind: type[Walker]) -> None:
    older = [Packet(udp4(mold(n)), age_ns=10_000 - n) for n in range(1, 6)]
    newer = [Packet(udp4(mold(n)), age_ns=10_000 - n) for n in range(6, 11)]
    walker = kind([frames(newer, 8), frames(older, 8)], MOLD, NOW_NS)
    walker.drain()
    assert walker.followed().streams[0].received == 5  # numbers before the first that was read
    walker = kind([frames([older[0], *newer], 8), frames(older[1:], 8)], MOLD, NOW_NS)
    walker.drain()
    (stream,) = walker.followed().streams
    assert (stream.received, stream.lost, stream.reordered) == (10, 0, 0)


def test_a_format_without_a_count_has_no_end_count(kind: type[Walker]) -> None:
    framing = Following((Framing("plain", 10, 8, big_endian=True, end_count=1),))
    walker = kind([frames([Packet(udp4(mold(n, 1))) for n in (1, 2)], 4)], framing, NOW_NS)
    walker.drain()
    assert walker.followed().streams[0].received == 2


def followed_of(kind: type[Walker], packets: list[bytes], following: Following = MOLD) -> tuple[int, int, int, int, int]:
    """Of both kinds of ring, which have to agree."""
    images = [Packet(data, age_ns=10_000 - n) for n, data in enumerate(packets)]
    found = set()
    for area in (frames(images, 64), blocks([block(images, 65536)], 1)):
        walker = kind([area], following, NOW_NS)
        walker.drain()
        followed = walker.followed()
        (stream,) = followed.streams
        found.add((stream.received, stream.lost, stream.outside, stream.resets, followed.unread))
    (both,) = found
    return both


def test_padding_is_no_payload(kind: type[Walker]) -> None:
    short = bytearray(udp4(mold(2)))
    short[24:26] = (8 + 19).to_bytes(2, "big")  # the UDP length ends amid the count; the bytes behind are there
    assert followed_of(kind, [udp4(mold(1)), bytes(short)]) == (1, 0, 0, 0, 1)


def test_the_next_number_in_a_packet_that_is_not_ipv4(kind: type[Walker]) -> None:
    other = bytearray(udp4(mold(2)))
    other[0] = 0x65
    assert followed_of(kind, [udp4(mold(1)), bytes(other)]) == (1, 0, 0, 0, 0)


def test_numbers_end_at_two_to_the_63(kind: type[Walker]) -> None:
    last = (1 << 63) - 1
    packets = [udp4(mold(number)) for number in (last - 1, last, last + 1, last + 2)]
    assert followed_of(kind, packets) == (2, 0, 0, 0, 2)


def test_a_count_of_one_that_means_none(kind: type[Walker]) -> None:
    framing = Following((Framing("odd", 10, 8, big_endian=True, count_offset=18, count_width=2, end_count=1),))
    assert followed_of(kind, [udp4(mold(1, 3)), udp4(mold(4, 1))], framing) == (3, 0, 0, 0, 0)


def test_a_packet_in_order_ends_a_row_of_strays(kind: type[Walker]) -> None:
    strays = [udp4(mold(1))] * 15
    packets = [udp4(mold(50_000)), *strays, udp4(mold(50_001)), *strays, udp4(mold(50_002))]
    assert followed_of(kind, packets) == (3, 0, 30, 0, 0)
    assert followed_of(kind, [udp4(mold(50_000)), *strays, strays[0]]) == (2, 0, 16, 1, 0)


def test_what_came_between_two_of_another_ring_was_not_reordered(kind: type[Walker]) -> None:
    read_first = [Packet(udp4(mold(number)), age_ns=10_000 - number * 100) for number in (1, 2, 5, 6, 7)]
    read_later = [Packet(udp4(mold(number)), age_ns=10_000 - 650) for number in (3, 4)]
    for first, later in (
        (frames(read_first, 8), frames(read_later, 8)),
        (blocks([block(read_first)], 1), blocks([block(read_later)], 1)),
    ):
        walker = kind([first, later], MOLD, NOW_NS)
        walker.drain()
        (stream,) = walker.followed().streams
        assert (stream.received, stream.lost, stream.reordered) == (7, 0, 0)


def test_streams_ports_and_families(kind: type[Walker]) -> None:
    packets = [
        Packet(udp4(mold(1))),
        Packet(udp4(mold(7), address="239.1.1.2")),
        Packet(udp6(mold(9)), 0x86DD),
        Packet(struct.pack(">HH", 5, 0x0800) + udp4(mold(2)), 0x8100),
        Packet(struct.pack(">HHHH", 5, 0x8100, 6, 0x0800) + udp4(mold(3)), 0x88A8),
        Packet(udp4(mold(4), options=bytes(8))),
        Packet(udp4(mold(1), port=9)),
        Packet(udp4(mold(5), fragment=0x2000)),
        Packet(udp4(b"short")),
        Packet(udp4(mold(5))[:24]),
        Packet(b"", 0x0806),
    ]
    walker = kind([frames(packets, 16)], Following((replace(MOLD_FRAMING, port=30001),)), NOW_NS)
    walker.drain()
    followed = walker.followed()
    found = {stream.stream: stream.received for stream in followed.streams}
    assert found == {"239.1.1.1:30001": 4, "239.1.1.2:30001": 1, "[ff15::1]:30001": 1}
    assert followed.unread == 3  # the fragment, the short payload, the cut header


def test_a_group_of_no_address_and_no_port(kind: type[Walker]) -> None:
    """The one that a table of zeroes would know already."""
    assert followed_of(kind, [udp4(mold(n)) for n in (1, 2, 3)]) == (3, 0, 0, 0, 0)
    nothing = [Packet(udp4(mold(n), address="0.0.0.0", port=0), age_ns=9 - n) for n in (1, 2, 3)]
    known = [Packet(udp4(mold(n)), age_ns=20 - n) for n in (1, 2, 3)]
    walker = kind([blocks([block(known + nothing)], 1)], MOLD, NOW_NS)
    walker.drain()
    assert [stream.received for stream in walker.followed().streams] == [3, 3]


def test_more_streams_than_are_followed(kind: type[Walker]) -> None:
    packets = [Packet(udp4(mold(1), address=f"239.2.{n // 256}.{n % 256}")) for n in range(1030)]
    walker = kind([frames(packets, 2048)], MOLD, NOW_NS)
    walker.drain()
    followed = walker.followed()
    assert (len(followed.streams), followed.unfollowed) == (1024, 6)


MALFORMED_BLOCKS = [
    ("more packets than fit", 12, 0xFFFFFFFF),
    ("first frame in the header", 16, 8),
    ("first frame beyond the end", 16, 4096),
    ("first frame at the last byte", 16, 4095),
    ("first frame far away", 16, 0xFFFFFFF8),
    ("next is this one", 48, 0),
    ("next is far away", 48, 0xFFFFFFF0),
    ("next within the header", 48, 60),
]


@pytest.mark.parametrize(("at", "value"), [m[1:] for m in MALFORMED_BLOCKS], ids=[m[0] for m in MALFORMED_BLOCKS])
def test_a_block_that_does_not_hold_together_is_counted_and_handed_back(kind: type[Walker], at: int, value: int) -> None:
    image = bytearray(block([Packet(udp4(mold(1)))] * 4))
    struct.pack_into("=I", image, at, value)
    area = blocks([bytes(image), block([Packet(bytes(40))] * 2)], 4)
    walker = kind([area], MOLD, NOW_NS)
    assert walker.drain() == 2
    (walked,) = walker.take()
    assert walked.malformed_blocks == 1
    assert walked.packets == 2
    assert area.memory[8] == 0


MALFORMED_FRAMES = [
    ("packet in the header", "=HH", 12, (20, 80)),
    ("packet beyond the frame", "=HH", 12, (65535, 65535)),
    ("network before link", "=HH", 12, (66, 60)),
    ("captured more than was sent", "=II", 4, (10, 54)),
    ("captured more than fits", "=II", 4, (5000, 5000)),
    ("captured nearly 2^32", "=II", 4, (0xFFFFFFFF, 0xFFFFFFF0)),
    ("a second of more than 10^9 ns", "=I", 20, (1_000_000_000,)),
]


@pytest.mark.parametrize(("form", "at", "values"), [m[1:] for m in MALFORMED_FRAMES], ids=[m[0] for m in MALFORMED_FRAMES])
def test_a_frame_that_does_not_hold_together_is_counted(
    kind: type[Walker], form: str, at: int, values: tuple[int, ...]
) -> None:
    area = frames([Packet(udp4(mold(1)))] * 3, 8)
    struct.pack_into(form, area.memory, at, *values)
    walker = kind([area], MOLD, NOW_NS)
    walker.drain()
    (walked,) = walker.take()
    assert (walked.malformed_frames, walked.packets) == (1, 2)


# ---- alike, whatever the memory holds

PACKETS = st.builds(
    Packet,
    data=st.one_of(
        st.builds(
            udp4,
            st.one_of(st.builds(mold, st.integers(0, 40), st.integers(0, 3)), st.binary(max_size=40)),
            st.sampled_from(["239.1.1.1", "239.1.1.2"]),
            st.sampled_from([30001, 30002]),
            st.sampled_from([0x4000, 0x4000, 0x4000, 0x2000, 1]),
            st.sampled_from([b"", b"", bytes(4)]),
        ),
        st.builds(udp6, st.builds(mold, st.integers(0, 40), st.integers(0, 3))),
        st.binary(max_size=120),
    ),
    protocol=st.sampled_from([0x0800, 0x0800, 0x86DD, 0x8100, 0x88A8, 0x0806]),
    age_ns=st.integers(-1000, 1 << 41),
    length=st.one_of(st.none(), st.integers(0, 70_000)),
    status=st.sampled_from([1, 5, 0x11, 0x101, 0x20000001, 0x20000005, 0x80000001]),
)
OFFSETS = st.integers(0, 40)
BYTES = st.frozensets(st.integers(0, 255), max_size=200)


def framing_of(
    *, high_mask: int, sequence_width: int, flag_width: int, chain_width: int, count_width: int, **fields
) -> Framing:
    """Whatever was drawn, but for what a framing refuses to be."""
    fields["flag_ignored"] = fields["flag_ignored"] - fields["flag_resets"] if flag_width else frozenset()
    fields["flag_resets"] = fields["flag_resets"] if flag_width else frozenset()
    return Framing(
        high_mask=high_mask,
        sequence_width=4 if high_mask else sequence_width,
        flag_width=flag_width,
        chain_width=chain_width,
        count_width=0 if chain_width else count_width,
        **fields,
    )


FRAMINGS_OF_ANY_KIND = st.builds(
    framing_of,
    name=st.just("any"),
    sequence_offset=OFFSETS,
    sequence_width=st.sampled_from([4, 8]),
    big_endian=st.booleans(),
    count_offset=OFFSETS,
    count_width=st.sampled_from([0, 1, 2, 4]),
    end_count=st.sampled_from([0, 1, 0xFFFF]),
    port=st.sampled_from([0, 30001]),
    scope_offset=OFFSETS,
    scope_width=st.sampled_from([0, 0, 1, 5, 8]),
    epoch_offset=OFFSETS,
    epoch_width=st.sampled_from([0, 0, 2, 10, 16]),
    flag_offset=OFFSETS,
    flag_width=st.sampled_from([0, 1]),
    flag_ignored=BYTES,
    flag_resets=BYTES,
    high_offset=OFFSETS,
    high_mask=st.sampled_from([0, 0, 0x70]),
    zero_unsequenced=st.booleans(),
    chain_offset=OFFSETS,
    chain_width=st.sampled_from([0, 0, 2]),
    time_offset=OFFSETS,
    time_kind=st.integers(0, 3),
)
FRAMING = st.one_of(
    st.none(),
    st.just(MOLD),
    st.builds(lambda framing: Following((framing,)), FRAMINGS_OF_ANY_KIND),
    st.builds(
        lambda framing, others: Following(
            (MOLD_FRAMING, framing),
            others,
            (
                Group(b"\xef\1\1\1", 30001, 0, 0, 0),
                Group(b"\xef\1\1\2", 30001, 0, 0, 1),
                Group(b"\xef\1\1\1", 30002, 1, None),
                Group(b"\xef\1\1\2", 30002, 1, 1, 0),
            ),
            ("one", "two"),
        ),
        FRAMINGS_OF_ANY_KIND,
        st.sampled_from([None, 0, 1]),
    ),
)
WORDS = st.one_of(st.sampled_from([0, 1, 0xFF, 0xFFFF, 0xFFFFFFFF, 0x80000000, 48, 68, 4096]), st.integers(0, 0xFFFFFFFF))


@st.composite
def rings(draw: st.DrawFn) -> Area:
    packets = draw(st.lists(PACKETS, max_size=24))
    if draw(st.booleans()):
        area = frames(packets, draw(st.integers(1, 24)), draw(st.sampled_from([64, 128, 256])))
    else:
        size = draw(st.integers(1, 12))
        images = [block(packets[at : at + size], 2048) for at in range(0, len(packets), size)]
        area = blocks(images, max(1, len(images)))
    for _ in range(draw(st.integers(0, 8))):  # hostile: words anywhere, headers above all
        unit = draw(st.integers(0, area.units - 1)) * area.unit_bytes
        at = unit + draw(st.one_of(st.integers(0, 120), st.integers(0, area.unit_bytes - 4)))
        struct.pack_into("=I", area.memory, min(at, len(area.memory) - 4), draw(WORDS))
    stamp_kind = draw(st.sampled_from([0, 0, 1 << 29, 1 << 31]))
    return replace(area, stamp_kind=stamp_kind, super_bytes=draw(st.sampled_from([0, 90, 9018])))


@settings(max_examples=400, deadline=None)
@given(st.lists(rings(), min_size=1, max_size=3), FRAMING)
def test_the_walkers_agree(areas: list[Area], framing: Following | None) -> None:
    for walked in agreed(areas, framing)[1]:
        assert walked.latency.total + walked.unstamped == walked.packets


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from([2, 3]))
def test_the_walkers_agree_on_noise(seed: int, version: int) -> None:
    noise = random.Random(seed)
    memory = bytearray(noise.randbytes(8 * 1024))
    size = 256 if version == V2 else 2048
    for unit in range(len(memory) // size):
        memory[unit * size + (0 if version == V2 else 8)] |= 1
        if version == 3:
            struct.pack_into("=II", memory, unit * size + 12, noise.randint(0, 40), noise.choice([48, 48, 56, 2000]))
    area = Area(memory, version, size, len(memory) // size)
    agreed([area], MOLD)


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0] * 12 + [1, -1, 7, 100, 9000, -3, -9000, 1 << 29]),  # off the next number
        st.sampled_from([1] * 8 + [2, 3, 0, 0xFFFF]),
        st.sampled_from([b"QUIETCORE0"] * 8 + [b"QUIETCORE1"]),
        st.sampled_from([1, 1, 1, 2]),  # which group
        st.sampled_from([1] * 8 + [5, 0x11, 0x20000001]),
        st.sampled_from([b"", b"", b"x" * 30, b"x" * 1400, b"x" * 1500]),
        st.sampled_from([0, 0, 0, 0, 0, 2, 3]),  # to whom
        st.sampled_from([0] * 9 + [-3000]),  # older
        st.sampled_from([None] * 9 + [8, 27]),  # what the UDP header says of its length
    ),
    max_size=120,
)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(0, 2000))
def test_the_walkers_agree_on_what_comes_mostly_in_order(
    steps: list[tuple[int, int, bytes, int, int, bytes, int, int, int | None]], age_ns: int
) -> None:
    """Blocks as feeds fill them: here the native walker goes its short way, and has to leave it for whatever is odd."""
    following, packets = {1: 1000, 2: 1000}, []
    for off, count, session, group, status, body, packet_type, older_ns, length in steps:
        number = max(0, following[group] + off)
        following[group] = number + (0 if count == 0xFFFF else count)
        payload = session + struct.pack(">QH", number, count) + body
        data = bytearray(udp4(payload, f"239.1.1.{group}"))
        if length is not None:
            data[24:26] = length.to_bytes(2, "big")
        age = age_ns - len(packets) + older_ns
        packets.append(Packet(bytes(data), age_ns=age, status=status, packet_type=packet_type))
    images = [block(packets[at : at + 20], 65536) for at in range(0, len(packets), 20)]
    area = blocks(images, max(1, len(images)))
    for chosen in (MOLD, Following((MOLD_FRAMING, parse_feed("iex_tp")), 1)):
        agreed([area], chosen)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 4), st.integers(0, 3)), max_size=80))
def test_the_walkers_agree_on_disorder(numbers: list[tuple[int, int, int]]) -> None:
    packets = [
        Packet(udp4(mold(first, count)), age_ns=10_000 - index * shift) for index, (first, count, shift) in enumerate(numbers)
    ]
    areas = [frames(packets[0::2], 64), frames(packets[1::2], 64)]
    native = agreed(areas, MOLD)
    seen = {number for first, count, _ in numbers for number in range(first, first + count)}
    for stream in native[2].streams:
        assert stream.lost >= 0
        assert stream.received <= len(seen)


# ---- which walker


def test_the_environment_insists_on_a_walker(monkeypatch: pytest.MonkeyPatch) -> None:
    area = frames([], 4)
    for name in ("native", "numpy", "python"):
        monkeypatch.setenv("QUIETCORE_WALKER", name)
        assert open_walker([area]).name == name
    monkeypatch.setenv("QUIETCORE_WALKER", "rust\x1b[31m")
    with pytest.raises(WalkerMissing, match="must be native, numpy or python") as raised:
        open_walker([area])
    assert "\x1b" not in str(raised.value)


def test_without_the_library_numpy_stands_in_and_without_that_python(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    from ingest.rings import walk_native

    monkeypatch.delenv("QUIETCORE_WALKER", raising=False)
    real = walk_native.load
    monkeypatch.setattr(walk_native, "load", lambda: real(tmp_path / "_walk.so"))
    assert open_walker([frames([], 4)]).name == "numpy"
    with pytest.raises(WalkerMissing, match="not built"):
        open_walker([frames([], 4)], choice="native")
    monkeypatch.setitem(sys.modules, "ingest.rings.walk_numpy", None)
    assert open_walker([frames([], 4)]).name == "python"
    with pytest.raises(WalkerMissing, match="needs numpy"):
        open_walker([frames([], 4)], choice="numpy")


def test_numpy_starts_no_threads_on_this_host() -> None:
    program = (
        "import os; from ingest.rings.walk import open_walker; assert open_walker([], choice='numpy').name == 'numpy';"
        "print(len(os.listdir('/proc/self/task')))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    ran = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert ran.stdout.strip() == "1", ran.stderr


def test_a_library_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from ingest.rings import native

    native_or_skip()
    monkeypatch.setattr(native, "ABI", 999)
    with pytest.raises(WalkerMissing, match="another version"):
        native.load()


def test_a_processor_that_reorders_gets_a_fence() -> None:
    memory_fence("x86_64")()
    try:
        fence = memory_fence("aarch64")
    except WalkerMissing as missing:
        pytest.skip(str(missing))
    fence()


def test_without_a_fence_such_a_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    def missing(_name: str) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(WalkerMissing, match="libatomic1"):
        memory_fence("aarch64")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    for name in ("numpy", "python"):
        with pytest.raises(WalkerMissing, match="libatomic1"):
            KINDS[name]([frames([], 4)])


def test_a_ring_larger_than_its_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Area(bytearray(1024), V2, 256, 5)
    with pytest.raises(ValueError, match="no such ring"):
        Area(bytearray(1024), 1, 256, 4)
