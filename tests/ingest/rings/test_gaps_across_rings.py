"""A stream whose packets lie in several rings, far apart: read in any order, nothing of it is lost that came."""

import random
import struct

import pytest
from ring_images import Packet, block, blocks, mold, udp4
from walker_kinds import agreed

from ingest.feeds.formats import parse_feed
from ingest.rings.counters import Followed, StreamCounters
from ingest.rings.layout import WINDOW, Area, Following

MOLD = Following((parse_feed("moldudp64"),))
SECOND_NS = 1_000_000_000


def numbered(sequence: int, age_ns: int, count: int = 1, session: bytes = b"QUIETCORE0") -> Packet:
    return Packet(udp4(session + mold(sequence, count)[10:]), age_ns=age_ns)


def ring(packets: list[Packet]) -> Area:
    images = [block(packets[at : at + 20]) for at in range(0, len(packets), 20)]
    assert sum(struct.unpack_from("=I", image, 12)[0] for image in images) == len(packets)
    return blocks(images or [bytes(4096)], len(images) + 1)


def told(*rings: list[Packet]) -> StreamCounters:
    followed = agreed([ring(packets) for packets in rings], MOLD)[2]
    assert isinstance(followed, Followed)
    (stream,) = followed.streams
    return stream


def test_the_older_half_is_read_later_and_far_behind_the_window() -> None:
    newer = [numbered(1, 400_000), *(numbered(3 * WINDOW + at, 100_000 - at) for at in range(100))]
    older = [numbered(2 + at * 100, 300_000 - at, 100) for at in range(3 * WINDOW // 100)]
    stream = told(newer, older)
    missing = 3 * WINDOW - (2 + len(older) * 100)
    assert (stream.received, stream.lost) == (1 + 100 + len(older) * 100, missing)
    assert (stream.duplicate, stream.reordered, stream.outside, stream.resets) == (0, 0, 0, 0)


def test_three_rings_of_a_stream_that_went_on_each_time() -> None:
    far = 2 * WINDOW
    first = [numbered(1, 900_000), *(numbered(2 * far + at, 100_000 - at) for at in range(50))]
    second = [numbered(far + at, 300_000 - at) for at in range(50)]
    third = [numbered(2 + at, 600_000 - at) for at in range(50)]
    stream = told(first, second, third)
    assert (stream.received, stream.outside, stream.resets) == (151, 0, 0)
    assert stream.lost == 2 * far + 50 - 1 - 151
    assert told(first, third, second) == stream


def test_what_came_later_over_the_network_stays_outside_of_the_window() -> None:
    behind = [numbered(1, 900_000), numbered(3 * WINDOW, 800_000), numbered(2, 700_000)]
    stream = told(behind)
    assert (stream.received, stream.outside, stream.lost) == (2, 1, 3 * WINDOW - 2)


def test_a_number_is_filled_in_once() -> None:
    newer = [numbered(1, 900_000), numbered(3 * WINDOW, 100_000)]
    older = [numbered(5, 500_000, 10), numbered(10, 500_000, 10), numbered(5, 500_000, 10)]
    stream = told(newer, older)
    # the second has five numbers of the first; the third has none that is missing, and what is behind the window is not known
    assert (stream.received, stream.duplicate, stream.outside) == (2 + 15, 5, 1)


def test_the_end_of_the_former_session_lies_in_a_ring_that_is_read_later() -> None:
    newer = [numbered(1000, 900_000), *(numbered(1 + at, 300_000 - at, session=b"QUIETCORE1") for at in range(60))]
    older = [numbered(1001 + at, 800_000 - at) for at in range(60)]
    after = [numbered(61 + at, 200_000 - at, session=b"QUIETCORE1") for at in range(60)]
    stream = told(newer, older, after)
    assert (stream.received, stream.lost, stream.outside, stream.resets) == (121, 0, 60, 1)


def test_the_end_of_a_sequence_that_began_anew_is_no_gap() -> None:
    # without a session: sixteen numbers from the beginning are a new one, and then the former one's end is read
    newer = [numbered(100_000, 900_000), *(numbered(1 + at, 300_000 - at) for at in range(60))]
    older = [numbered(100_001 + at, 800_000 - at) for at in range(60)]
    stream = told(newer, older)
    assert (stream.lost, stream.resets) == (0, 1)
    assert stream.outside == 16 + 60


def test_a_clock_that_was_set_back_hides_no_new_beginning() -> None:
    before = [numbered(100_000 + at, 900_000 - at) for at in range(10)]
    after = [numbered(1 + at, 5 * SECOND_NS - at) for at in range(40)]
    assert told([*before, *after]).resets == 1


@pytest.mark.parametrize("seed", range(6))
def test_all_walkers_remember_the_same_gaps(seed: int) -> None:
    draw = random.Random(seed)
    rings: list[list[Packet]] = [[], [], []]
    number, age, at = 1, 1_500_000_000, 0
    for _ in range(900):
        if draw.random() < 0.06:
            at = draw.randrange(3)
        count = draw.choice((1, 1, 7, 60, 600))
        age -= draw.choice((10, 1_000, 3_000_000))
        if draw.random() > 0.03:
            rings[at].append(numbered(number, age, count))
        if draw.random() < 0.03:
            rings[draw.randrange(3)].append(numbered(max(1, number - draw.randrange(20_000)), age, draw.choice((1, 300))))
        number += count
    stream = told(*rings)
    assert stream.received > 10_000
