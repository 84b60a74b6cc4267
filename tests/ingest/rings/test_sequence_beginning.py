"""Numbers from before a stream's beginning: they are no sequence that began anew, unless they go on to come."""

import pytest
from ring_images import NOW_NS, Packet, frames, mold, udp4
from walker_kinds import KINDS, native_or_skip

from ingest.feeds.formats import parse_feed
from ingest.rings.layout import AGAIN_NS, Following, Group
from ingest.rings.walk import Walker

MOLD = parse_feed("moldudp64")
A, B = "239.1.1.1", "239.1.1.2"
CHANNEL = Following(
    (MOLD,), None, (Group(b"\xef\1\1\1", 30001, 0, 0, 0), Group(b"\xef\1\1\2", 30001, 0, 0, 1)), ("itch",)
)  # fmt: skip


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> type[Walker]:
    if request.param == "native":
        native_or_skip()
    return KINDS[request.param]


def numbered(numbers: range, age_ns: int = 10_000, address: str = A) -> list[Packet]:
    return [Packet(udp4(mold(number), address=address), age_ns=age_ns) for number in numbers]


def test_what_lay_in_a_ring_that_is_read_later(kind: type[Walker]) -> None:
    older, newer = numbered(range(1, 301), 20_000), numbered(range(301, 601), 10_000)
    walker = kind([frames(newer, 512), frames(older, 512)], Following((MOLD,)), NOW_NS)
    walker.drain()
    (stream,) = walker.followed().streams
    assert (stream.received, stream.lost, stream.outside, stream.resets) == (300, 0, 300, 0)


def test_the_slower_line_of_a_channel(kind: type[Walker]) -> None:
    fast, slow = numbered(range(100, 400), 20_000, A), numbered(range(50, 400), 10_000, B)
    walker = kind([frames(fast, 512), frames(slow, 512)], CHANNEL, NOW_NS)
    walker.drain()
    followed = walker.followed()
    (channel,) = followed.channels
    assert (channel.received, channel.lost, channel.both, channel.wins) == (300, 0, 300, (300, 0))
    assert [(stream.received, stream.lost) for stream in followed.streams] == [(300, 0), (350, 0)]


@pytest.mark.parametrize(("later_ns", "resets"), [(AGAIN_NS - 1, 0), (AGAIN_NS, 1)])
def test_a_sequence_that_begins_anew_just_below_is_found_a_second_later(kind: type[Walker], later_ns: int, resets: int) -> None:
    age_ns = 2 * AGAIN_NS
    packets = numbered(range(5_000, 5_010), age_ns) + numbered(range(1, 40), age_ns - later_ns)
    walker = kind([frames(packets, 64)], Following((MOLD,)), NOW_NS)
    walker.drain()
    (stream,) = walker.followed().streams
    assert stream.resets == resets
    assert stream.outside == (16 if resets else 39)


def test_a_sequence_that_begins_anew_far_below_is_found_at_once(kind: type[Walker]) -> None:
    walker = kind([frames(numbered(range(50_000, 50_010)) + numbered(range(1, 40)), 64)], Following((MOLD,)), NOW_NS)
    walker.drain()
    (stream,) = walker.followed().streams
    assert (stream.resets, stream.outside, stream.received) == (1, 16, 10 + 24)
