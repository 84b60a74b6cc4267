"""The two walkers of capture files: right about what they know, and alike about everything, damaged files included."""

import struct
from dataclasses import replace

import pytest
from capture_images import (
    block,
    enhanced,
    ethernet,
    interface,
    old_packet,
    option,
    pcap,
    pcap_header,
    pcap_record,
    section,
    simple,
    statistics,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from ring_images import NOW_NS, mold, udp4, udp6

from ingest.feeds.formats import parse_feed
from ingest.rings.capture_facts import CaptureEnd, CaptureFacts, Undecoded
from ingest.rings.capture_native import NativeCaptureWalker
from ingest.rings.capture_python import PythonCaptureWalker
from ingest.rings.counters import Followed, Walked
from ingest.rings.layout import Following
from ingest.rings.walk import WalkerMissing
from ingest.rings.walk_native import load

MOLD_FRAMING = parse_feed("moldudp64")
MOLD = Following((MOLD_FRAMING,))
CAPACITY = 300_000
Outcome = tuple[CaptureEnd, int, Walked, Followed, CaptureFacts]
Kind = type[NativeCaptureWalker | PythonCaptureWalker]


def native_or_skip() -> None:
    try:
        load()
    except WalkerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(params=["native", "python"])
def kind(request: pytest.FixtureRequest) -> Kind:
    if request.param == "python":
        return PythonCaptureWalker
    native_or_skip()
    return NativeCaptureWalker


def walked(
    kind: Kind, image: bytes, following: Following | None = MOLD, piece: int = CAPACITY, capacity: int = CAPACITY
) -> Outcome:
    """The file in pieces of at most ``piece`` bytes, or as many more as a record wants; where it stopped."""
    buffer = bytearray(capacity)
    walker = kind(buffer, following)
    offset, more = 0, 0
    while not walker.ended:
        left = len(image) - offset
        assert left >= 0
        size = min(left, piece + more, capacity)
        buffer[:size] = image[offset : offset + size]
        buffer[size:] = b"\xa5" * (capacity - size)
        step = walker.walk(size, left)
        more = 0 if step else more + piece
        assert step or walker.ended or size < min(left, capacity), "it stands still"
        offset += step
    (counters,) = walker.take()
    outcome = walker.ended, offset, counters, walker.followed(), walker.facts()
    walker.close()
    return outcome


NUMBERS = [1, 2, 5, 3, 3, 6]  # one gap of 1 that stays, one late, one repeated
PACKETS = [ethernet(udp4(mold(number))) for number in NUMBERS]


def of_the_feed(followed: Followed) -> tuple[int, int, int, int]:
    (stream,) = followed.streams
    return stream.received, stream.lost, stream.duplicate, stream.reordered


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_pcap(kind: Kind, order: str, nanoseconds: bool) -> None:
    image = pcap(PACKETS, order, nanoseconds)
    ended, offset, counters, followed, facts = walked(kind, image)
    assert (ended, offset) == (CaptureEnd.WHOLE, len(image))
    assert counters == Walked(packets=6, bytes=sum(map(len, PACKETS)))
    assert of_the_feed(followed) == (5, 1, 1, 1)
    assert facts == CaptureFacts("pcap", "2.4", NOW_NS, NOW_NS + 5000, stamped=6)


def test_nanoseconds_are_kept(kind: Kind) -> None:
    records = [pcap_record(b"x", NOW_NS + extra, nanoseconds=True) for extra in (999, 1, 7)]
    facts = walked(kind, pcap_header(nanoseconds=True) + b"".join(records))[4]
    assert (facts.first_ns, facts.last_ns) == (NOW_NS + 1, NOW_NS + 999)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng(kind: Kind, order: str) -> None:
    units = NOW_NS // 1000
    image = section(order) + interface(order) + block(0x0BAD, b"nobody knows this", order)
    image += b"".join(enhanced(data, units + n, order=order) for n, data in enumerate(PACKETS[:4]))
    image += old_packet(PACKETS[4], units + 4, order=order) + simple(PACKETS[5], order=order)
    image += statistics(0, drops=3, kernel=4, order=order)
    ended, offset, counters, followed, facts = walked(kind, image)
    assert (ended, offset) == (CaptureEnd.WHOLE, len(image))
    assert counters == Walked(packets=6, bytes=sum(map(len, PACKETS)))
    assert of_the_feed(followed) == (5, 1, 1, 1)
    assert facts == CaptureFacts("pcapng", "1.0", NOW_NS, NOW_NS + 4000, stamped=5, drops=7, sections=1)


RESOLUTIONS = [  # if_tsresol, stamp in its units, nanoseconds
    (0, 1_700_000_000, 1_700_000_000_000_000_000),
    (3, 1_700_000_000_123, 1_700_000_000_123_000_000),
    (6, 1_700_000_000_123_456, 1_700_000_000_123_456_000),
    (9, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
    (10, 17_000_000_001_234_567_899, 1_700_000_000_123_456_789),
    (19, 12_345_678_901_234_567_890, 1_234_567_890),
    (0x80, 1_700_000_000, 1_700_000_000_000_000_000),
    (0x80 | 20, (5 << 20) + (1 << 19), 5_500_000_000),
    (0x80 | 32, (1_700_000_000 << 32) + (1 << 30), 1_700_000_000_250_000_000),
    (0x80 | 63, (1 << 63) + (1 << 62), 1_500_000_000),
]


@pytest.mark.parametrize(("resolution", "units", "stamp_ns"), RESOLUTIONS)
@pytest.mark.parametrize("offset_s", [0, 1_000_000, -1])
def test_clocks(kind: Kind, resolution: int, units: int, stamp_ns: int, offset_s: int) -> None:
    options = option(14, struct.pack("<q", offset_s)) if offset_s else b""
    options += option(2, b"eth0") + option(9, bytes([resolution])) + option(0, b"")
    facts = walked(kind, section() + interface(options=options) + enhanced(b"x", units))[4]
    assert facts.first_ns == facts.last_ns == stamp_ns + offset_s * 1_000_000_000


def test_sections_have_their_own_order_and_interfaces(kind: Kind) -> None:
    fast = option(9, b"\x09", ">")
    image = section("<") + interface("<") + interface("<", link_type=101) + enhanced(udp4(mold(1)), number=1)
    image += statistics(0, drops=5) + statistics(0, drops=8)
    image += section(">", version=(1, 2)) + interface(">", options=fast) + enhanced(PACKETS[1], NOW_NS, order=">")
    image += enhanced(PACKETS[2], number=1, order=">")  # which this section does not have
    image += statistics(0, drops=2, order=">")
    ended, _, counters, followed, facts = walked(kind, image)
    assert ended is CaptureEnd.WHOLE
    assert (counters.packets, counters.malformed_frames) == (2, 1)
    assert of_the_feed(followed) == (2, 0, 0, 0)
    assert (facts.sections, facts.drops, facts.version) == (2, 10, "1.2")  # the last of each interface


LINKS = [
    (1, ethernet(udp4(mold(1)))),
    (1, ethernet(struct.pack(">HH", 5, 0x0800) + udp4(mold(1)), 0x8100)),
    (12, udp4(mold(1))),
    (14, udp4(mold(1))),
    (101, udp4(mold(1))),
    (228, udp4(mold(1))),
    (113, bytes(14) + b"\x08\x00" + udp4(mold(1))),
    (276, b"\x08\x00" + bytes(18) + udp4(mold(1))),
    (0, b"\x02\0\0\0" + udp4(mold(1))),
    (0, b"\0\0\0\x02" + udp4(mold(1))),
    (108, b"\0\0\0\x02" + udp4(mold(1))),
    (101, udp6(mold(1))),
    (229, udp6(mold(1))),
    *((0, bytes([family, 0, 0, 0]) + udp6(mold(1))) for family in (10, 24, 28, 30)),
    (108, b"\0\0\0\x1e" + udp6(mold(1))),
    (276, b"\x86\xdd" + bytes(18) + udp6(mold(1))),
]


@pytest.mark.parametrize(("link_type", "packet"), LINKS)
@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_link_types(kind: Kind, form: str, link_type: int, packet: bytes) -> None:
    if form == "pcap":
        image = pcap([packet], link_type=link_type | 0x2400_0000)  # frames that end with a checksum say so above the type
    else:
        image = section() + interface(link_type=link_type) + enhanced(packet)
    _, _, counters, followed, facts = walked(kind, image)
    assert counters.packets == 1
    assert of_the_feed(followed) == (1, 0, 0, 0)
    assert facts.undecoded == ()


def test_a_link_header_that_is_not_whole(kind: Kind) -> None:
    for link_type, packet in LINKS:
        for size in range(24):
            _, _, counters, followed, _ = walked(kind, pcap([packet[:size]], link_type=link_type))
            assert counters.packets == 1
            assert not followed.streams


def test_other_link_types_are_counted_by_name(kind: Kind) -> None:
    image = section() + b"".join(interface(link_type=1000 + n) for n in range(20)) + interface(link_type=127)
    image += enhanced(b"abc", number=20) + enhanced(b"abcd", number=20, length=100)
    image += b"".join(enhanced(b"x", number=n) for n in range(20))
    _, _, counters, _, facts = walked(kind, image)
    assert (counters.packets, counters.bytes, counters.truncated) == (22, 123, 1)
    assert facts.undecoded[:2] == (Undecoded(127, 2, 103), Undecoded(1000, 1, 1))
    assert facts.undecoded[-1] == Undecoded(None, 6, 6)
    assert len(facts.undecoded) == 16
    assert [each.name for each in facts.undecoded[::15]] == ["127 (IEEE 802.11 with radiotap)", "others"]


def test_what_a_snap_length_cut(kind: Kind) -> None:
    image = section() + interface(snap=60) + simple(PACKETS[0][:60], length=len(PACKETS[0]))
    image += enhanced(PACKETS[1][:62], length=1500)
    _, _, counters, followed, _ = walked(kind, image)
    assert counters == Walked(packets=2, bytes=len(PACKETS[0]) + 1500, truncated=2)
    assert of_the_feed(followed)[0] == 1  # the other ends within its count
    assert followed.unread == 1


MALFORMED = [  # frames, then blocks
    ("captured more than was sent", enhanced(b"abcd", length=3), (1, 0)),
    ("captured more than the block holds", block(6, struct.pack("<IIIII", 0, 0, 0, 5, 9) + b"abcd"), (1, 0)),
    ("captured nearly 2^32", block(6, struct.pack("<IIIII", 0, 0, 0, 0xFFFFFFF0, 0xFFFFFFFF) + b"abcd"), (1, 0)),
    ("an interface that is not there", enhanced(b"abcd", number=1), (1, 0)),
    ("an interface far away", enhanced(b"abcd", number=0xFFFFFFFF), (1, 0)),
    ("a stamp beyond 64 bits of nanoseconds", enhanced(b"abcd", units=0xFFFFFFFFFFFFFFFF), (1, 0)),
    ("longer than a packet can be", enhanced(bytes(262_145)), (1, 0)),
    ("simple, but longer than its block", simple(b"abcd", length=5), (1, 0)),
    ("statistics of no interface", statistics(1, drops=1), (0, 1)),
    ("statistics with a short counter", block(5, struct.pack("<III", 0, 0, 0) + option(5, b"1234")), (0, 1)),
    ("statistics that cannot be", statistics(0, drops=1 << 48), (0, 1)),
    ("an option beyond its block", block(5, struct.pack("<IIIHH", 0, 0, 0, 5, 8)), (0, 1)),
    ("a clock of another size", interface(options=option(9, b"\6\6")) + enhanced(b"x", number=1), (1, 1)),
    ("a clock too fine", interface(options=option(9, b"\x14")) + enhanced(b"x", number=1), (1, 1)),
    ("a clock too fine by twos", interface(options=option(9, b"\xc0")) + enhanced(b"x", number=1), (1, 1)),
    ("an offset too far", interface(options=option(14, struct.pack("<q", -(1 << 63)))) + enhanced(b"x", number=1), (1, 1)),
    ("a stamp before 1970", interface(options=option(14, struct.pack("<q", -9))) + enhanced(b"x", 8_999_999, 1), (1, 0)),
    ("an option of the interface beyond it", interface(options=b"\x09\0\x05\0") + enhanced(b"x", number=1), (1, 1)),
    ("a known block that is longer than any packet", block(6, bytes(CAPACITY)), (0, 1)),
]


@pytest.mark.parametrize(("image", "malformed"), [m[1:] for m in MALFORMED], ids=[m[0] for m in MALFORMED])
def test_what_does_not_hold_together_is_counted_and_passed(kind: Kind, image: bytes, malformed: tuple[int, int]) -> None:
    image = section() + interface() + enhanced(PACKETS[0]) + image + enhanced(PACKETS[1])
    ended, _, counters, followed, _ = walked(kind, image)
    assert ended is CaptureEnd.WHOLE
    assert (counters.malformed_frames, counters.malformed_blocks) == malformed
    assert counters.packets == 2
    assert of_the_feed(followed) == (2, 0, 0, 0)


@pytest.mark.parametrize("record", [pcap_record(b"abcd", length=3), pcap_record(b"x")[:4] + b"\x40\x42\x0f\0\1\0\0\0\1\0\0\0x"])
def test_a_pcap_record_that_does_not_hold_together(kind: Kind, record: bytes) -> None:
    ended, _, counters, _, _ = walked(kind, pcap_header() + record + pcap_record(PACKETS[0]))
    assert (ended, counters.packets, counters.malformed_frames) == (CaptureEnd.WHOLE, 1, 1)


START = section() + interface() + enhanced(PACKETS[0])
BROKEN = [
    ("a length of none", block(6, bytes(20))[:4] + bytes(60)),
    ("a length shorter than a block", struct.pack("<III", 0xBAD, 8, 8) + bytes(60)),
    ("shorter than such a block", block(6, bytes(16)) + bytes(60)),
    ("no multiple of four", struct.pack("<II", 0xBAD, 30) + bytes(18) + struct.pack("<I", 30) + bytes(60)),
    ("another length at its end", enhanced(PACKETS[1])[:-4] + struct.pack("<I", 64)),
    ("another length at the end of an unknown one", block(0xBAD, bytes(40))[:-4] + struct.pack("<I", 64)),
    ("another length at the end of a skipped one", block(0xBAD, bytes(CAPACITY * 2))[:-4] + struct.pack("<I", 64)),
    ("a section of no byte order", section()[:8] + b"abcd" + section()[12:]),
    ("a section longer than any", section(options=option(1, bytes(65000)) * 5)),
]


@pytest.mark.parametrize("image", [b[1] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_where_no_next_block_can_be_found_it_ends(kind: Kind, image: bytes) -> None:
    ended, offset, counters, _, _ = walked(kind, START + image + enhanced(PACKETS[2]))
    assert ended is CaptureEnd.BROKEN
    assert offset in (len(START), len(START) + len(image) - 4)  # the block, or the length behind it
    assert (counters.packets, counters.malformed_blocks) == (1, 1)


def test_a_pcap_record_longer_than_any_ends_it(kind: Kind) -> None:
    start = pcap(PACKETS)
    image = start + struct.pack("<IIII", 1, 1, 262_145, 262_145) + bytes(300_000)
    ended, offset, counters, _, _ = walked(kind, image)
    assert (ended, offset, counters.packets, counters.malformed_blocks) == (CaptureEnd.BROKEN, len(start), 6, 1)


def test_the_longest_packet(kind: Kind) -> None:
    data = bytes(262_144)
    for image in (pcap([data, PACKETS[0]]), section() + interface() + enhanced(data) + enhanced(PACKETS[0])):
        ended, _, counters, _, _ = walked(kind, image)
        assert (ended, counters) == (CaptureEnd.WHOLE, Walked(packets=2, bytes=262_144 + len(PACKETS[0])))


@pytest.mark.parametrize(
    ("image", "ended"),
    [
        (b"#!/bin/sh\nexit 0\n", CaptureEnd.UNKNOWN),
        (b"abc", CaptureEnd.CUT),
        (b"\xd4\xc3\xb2\xa1\x02\0\x04\0", CaptureEnd.CUT),
        (b"\n\r\r\n", CaptureEnd.CUT),
        (b"\n\r\r\nand more text", CaptureEnd.BROKEN),
        (struct.pack("<I", 0xA1B2CD34) + bytes(40), CaptureEnd.MODIFIED),
        (struct.pack(">I", 0xA1B2CD34) + bytes(40), CaptureEnd.MODIFIED),
        (pcap_header(version=(2, 3)), CaptureEnd.VERSION),
        (section(version=(2, 0)), CaptureEnd.VERSION),
    ],
)
def test_what_is_no_capture(kind: Kind, image: bytes, ended: CaptureEnd) -> None:
    found = walked(kind, image)
    assert (found[0], found[1], found[2].packets) == (ended, 0, 0)


def test_more_interfaces_than_are_held(kind: Kind) -> None:
    image = section() + interface() * 4096 + enhanced(b"x", number=4095)
    assert walked(kind, image)[2].packets == 1
    ended, offset, counters, _, _ = walked(kind, image + interface() + enhanced(b"x"))
    assert (ended, offset, counters.packets) == (CaptureEnd.CROWDED, len(image), 1)


def test_cut_anywhere_what_is_whole_is_counted(kind: Kind) -> None:
    images = (
        pcap(PACKETS[:3]),
        START + block(0xBAD, bytes(30)) + enhanced(PACKETS[1]) + simple(PACKETS[2]) + statistics(0, 1),
    )
    for image in images:
        whole = [walked(kind, image[:size]) for size in range(len(image) + 1)]
        counts = [outcome[2].packets for outcome in whole]
        assert counts == sorted(counts)
        assert set(counts) == {0, 1, 2, 3}
        for size, (ended, offset, counters, _, _) in enumerate(whole):
            assert ended is (CaptureEnd.WHOLE if offset == size and size else CaptureEnd.CUT)
            assert counters.malformed_frames == counters.malformed_blocks == 0


# ---- alike, whatever the file holds

DATA = st.one_of(
    st.builds(
        ethernet,
        st.builds(udp4, st.builds(mold, st.integers(0, 40), st.integers(0, 3)), st.sampled_from(["239.1.1.1", "239.1.1.2"])),
        st.sampled_from([0x0800, 0x0800, 0x0800, 0x86DD, 0x8100]),
    ),
    st.sampled_from([packet for _, packet in LINKS]),
    st.binary(max_size=100),
)
LINK_TYPE = st.sampled_from([1, 1, 1, 0, 12, 101, 108, 113, 228, 229, 276, 127, 9, 65535])
OPTIONS = st.one_of(
    st.just(b""),
    st.builds(lambda unit: option(9, bytes([unit])), st.integers(0, 255)),
    st.builds(lambda seconds: option(14, struct.pack("<q", seconds)), st.integers(-(1 << 63), (1 << 63) - 1)),
    st.builds(lambda seconds: option(14, struct.pack("<q", seconds)) + option(9, b"\x09"), st.integers(-1000, 1000)),
    st.builds(option, st.integers(0, 20), st.binary(max_size=12)),
    st.binary(max_size=12),
)
LENGTH = st.one_of(st.none(), st.integers(0, 200), st.integers(0, 0xFFFFFFFF))
UNITS = st.one_of(st.integers(0, (1 << 64) - 1), st.integers(0, 1000).map(lambda n: NOW_NS // 1000 + n))
BLOCKS = st.one_of(
    st.builds(enhanced, DATA, UNITS, st.sampled_from([0, 0, 0, 1, 2, 1 << 31]), st.just("<"), LENGTH, OPTIONS),
    st.builds(enhanced, DATA, UNITS),
    st.builds(old_packet, DATA, UNITS, st.sampled_from([0, 1, 65535])),
    st.builds(simple, DATA, LENGTH),
    st.builds(interface, st.just("<"), LINK_TYPE, st.sampled_from([0, 0, 60, 0xFFFFFFFF]), OPTIONS),
    st.builds(statistics, st.integers(0, 2), st.one_of(st.none(), st.integers(0, (1 << 64) - 1)), st.integers(0, 9)),
    st.builds(block, st.integers(0, 0xFFFFFFFF), st.binary(max_size=40)),
    st.builds(section, st.sampled_from(["<", "<", ">"])),
)
PCAPNG = st.builds(
    lambda start, blocks: section() + interface(link_type=start) + b"".join(blocks), LINK_TYPE, st.lists(BLOCKS, max_size=16)
)
PCAP = st.builds(
    lambda order, fine, link, records: (
        pcap_header(order, fine, link)
        + b"".join(pcap_record(data, NOW_NS + age, order, fine, length) for data, age, length in records)
    ),
    st.sampled_from("<>"),
    st.booleans(),
    LINK_TYPE,
    st.lists(st.tuples(DATA, st.integers(-1000, 1 << 40), LENGTH), max_size=16),
)
FOLLOWING = st.sampled_from(
    [
        None,
        MOLD,
        MOLD,
        Following((replace(MOLD_FRAMING, port=30001),)),
        Following((replace(parse_feed("cme_mdp3"), time_offset=4, time_kind=1),)),
    ]
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    image = bytearray(draw(st.one_of(PCAP, PCAPNG)))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2, 6]))):  # hostile: bits anywhere
        at = draw(st.integers(0, len(image) - 1))
        image[at] ^= draw(st.sampled_from([1, 2, 4, 16, 128, 255]))
    if draw(st.integers(0, 3)) == 0:
        del image[draw(st.integers(0, len(image))) :]
    return bytes(image)


@settings(max_examples=500, deadline=None)
@given(files(), FOLLOWING, st.sampled_from([1, 7, 64, 300, CAPACITY]))
def test_native_and_python_agree_however_the_file_is_cut_into_pieces(
    image: bytes, following: Following | None, piece: int
) -> None:
    native_or_skip()
    whole = walked(NativeCaptureWalker, image, following)
    assert whole == walked(PythonCaptureWalker, image, following)
    assert whole == walked(NativeCaptureWalker, image, following, piece) == walked(PythonCaptureWalker, image, following, piece)


@settings(max_examples=200, deadline=None)
@given(files(), st.sampled_from([64, 200]))
def test_native_and_python_agree_on_blocks_longer_than_a_piece(image: bytes, capacity: int) -> None:
    native_or_skip()
    if image[:4] != b"\n\r\r\n":
        return  # a packet of pcap is never longer than a piece: see PIECE_BYTES
    native = walked(NativeCaptureWalker, image, MOLD, 64, capacity)
    assert native == walked(PythonCaptureWalker, image, MOLD, 64, capacity)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([pcap_header(), pcap_header(">"), section() + interface(), section(">")]), st.binary(max_size=400))
def test_native_and_python_agree_on_noise(start: bytes, noise: bytes) -> None:
    native_or_skip()
    assert walked(NativeCaptureWalker, start + noise) == walked(PythonCaptureWalker, start + noise)


def test_a_piece_that_the_buffer_does_not_hold_is_refused(kind: Kind) -> None:
    walker = kind(bytearray(100), None)
    for size, left in ((101, 200), (50, 40), (-1, 5)):
        with pytest.raises(ValueError, match="no piece"):
            walker.walk(size, left)


def test_a_library_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from ingest.rings import capture_native

    native_or_skip()
    monkeypatch.setattr(capture_native, "_Capture", capture_native._Interface)
    with pytest.raises(WalkerMissing, match="another version"):
        NativeCaptureWalker(bytearray(CAPACITY))
