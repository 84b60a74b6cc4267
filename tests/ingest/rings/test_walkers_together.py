"""Native walkers that share one sequence accounting, each on a thread: they count what one walker of all rings counts."""

import random
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
from ring_images import NOW_NS, Packet, block, blocks, frames, mold, udp4
from walker_kinds import native_or_skip

from ingest.feeds.formats import parse_feed
from ingest.rings.counters import Followed, Walked
from ingest.rings.layout import Area, Following, Group
from ingest.rings.shares import deal
from ingest.rings.tpacket import RingError
from ingest.rings.walk import Walker, WalkerMissing, open_walkers
from ingest.rings.walk_native import NativeWalker

FRAMING = parse_feed("moldudp64")
MOLD = Following((FRAMING,))
A, B = "239.1.1.1", "239.2.2.2"
LINES = Following(
    (FRAMING,), 0, tuple(Group(bytes(map(int, a.split("."))), 30001, 0, 0, line) for line, a in enumerate((A, B))), ("two",)
)
STAYING, WANDERING, NUMBERS = 4, 5, 900


def _numbers(draw: random.Random, rings: int) -> list[list[Packet]]:
    """What each ring holds: streams that stay with their ring and such that wander, with losses, repetitions and bundles."""
    held: list[list[Packet]] = [[] for _ in range(rings)]
    streams = [("10.1.1.1", 30001 + place, place % rings, False) for place in range(STAYING)]
    streams += [("10.2.2.2", 30001 + place, 0, True) for place in range(WANDERING)]
    streams += [(A, 30001, 0, True), (B, 30001, 1 % rings, True)]
    at = dict.fromkeys(streams, 2)
    ring_of = {stream: stream[2] for stream in streams}
    age = 400_000_000
    while at:
        stream = draw.choice(list(at))
        address, port, _, wanders = stream
        if wanders and draw.random() < 0.05:
            ring_of[stream] = draw.randrange(rings)
        for _ in range(draw.randrange(1, 12)):
            count = draw.choice((1, 1, 1, 2, 5))
            age -= 100
            packet = Packet(udp4(mold(at[stream], count), address, port), age_ns=age)
            if draw.random() > 0.02:
                held[ring_of[stream]].append(packet)
            if draw.random() < 0.01:
                held[draw.randrange(rings)].append(replace(packet, age_ns=age - 10))
            at[stream] += count
        if at[stream] > NUMBERS:
            del at[stream]
    return held


def _beginning() -> list[Packet]:
    """The first number of each stream."""
    names = [("10.1.1.1", 30001 + place) for place in range(STAYING)]
    names += [("10.2.2.2", 30001 + place) for place in range(WANDERING)] + [(A, 30001), (B, 30001)]
    return [Packet(udp4(mold(1), *name), age_ns=450_000_000) for name in names]


def _areas(held: list[list[Packet]], version: int) -> list[Area]:
    held = [[*_beginning(), *held[0]], *held[1:]]
    if version == 2:
        return [frames(packets, len(packets) + 2) for packets in held]
    made = []
    for packets in held:
        images, left = [], packets
        while left:
            images.append(block(left))
            left = left[int.from_bytes(images[-1][12:16], "little") :]
        made.append(blocks(images, len(images) + 2))
    return made


def _counts(followed: Followed) -> tuple[object, ...]:
    streams = [
        (each.stream, each.received, each.lost, each.duplicate, each.outside, each.resets, each.line, each.latency)
        for each in followed.streams
    ]
    channels = [(each.name, each.received, each.lost, each.both, each.wins, each.skew) for each in followed.channels]
    return streams, channels, followed.unread, followed.unfollowed, followed.ignored


def _raced(walkers: Sequence[Walker]) -> tuple[list[Walked], Followed]:
    """All of it read by a thread each, while the counts are asked for from here."""

    def read(walker: Walker) -> None:
        while walker.drain():
            pass

    threads = [threading.Thread(target=read, args=(walker,)) for walker in walkers]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        meanwhile = walkers[-1].followed(histograms=False)
        assert all(stream.received > 0 and stream.lost >= 0 for stream in meanwhile.streams)
    for thread in threads:
        thread.join()
    return [walked for walker in walkers for walked in walker.take()], walkers[0].followed()


@pytest.mark.parametrize("following", [MOLD, LINES], ids=["streams", "lines"])
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_several_count_as_one(seed: int, version: int, following: Following) -> None:
    native_or_skip()
    areas = _areas(_numbers(random.Random(seed), 3), version)

    def copies() -> list[Area]:
        return [replace(area, memory=bytearray(area.memory)) for area in areas]

    one = NativeWalker(copies(), following, NOW_NS)
    while one.drain():
        pass
    walked, followed = list(one.take()), one.followed()
    one.close()
    assert sum(each.packets for each in walked) > 2_000
    assert sum(stream.lost for stream in followed.streams) > 20
    assert sum(stream.duplicate for stream in followed.streams) > 5

    several = open_walkers([[area] for area in copies()], following, NOW_NS, "native")
    # the streams begin in the first ring: which number is the first of a stream must not hang on who is faster
    begun = _begin(several[0], version)
    raced, together = _raced(several)
    for walker in several:
        walker.close()
    raced[0] = raced[0].merged(begun)
    assert raced == walked
    assert _counts(together) == _counts(followed)
    assert {stream.reordered for stream in together.streams} == {0}


def _begin(walker: Walker, version: int) -> Walked:
    """Reads the first unit or two of a walker's only ring: the first numbers."""
    assert isinstance(walker, NativeWalker)
    ring = walker._rings[0]
    whole, ring.units = ring.units, len(_beginning()) if version == 2 else 1
    walker.drain()
    ring.units, ring.cursor = whole, ring.units
    return walker.take()[0]


def test_the_other_walkers_are_refused_several_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    areas = [frames([], 4), frames([], 4)]
    for choice in ("numpy", "python"):
        with pytest.raises(WalkerMissing, match=f"several readers need the native walker: threads of the {choice} walker"):
            open_walkers([areas[:1], areas[1:]], None, choice=choice)
        open_walkers([areas], None, choice=choice)[0].close()
    monkeypatch.setenv("QUIETCORE_WALKER", "python")
    with pytest.raises(WalkerMissing, match="name one CPU"):
        open_walkers([areas[:1], areas[1:]])


@pytest.mark.parametrize(
    ("cores", "cpus", "shares"),
    [
        ([0, 1, 2, 3], [], [[0, 1, 2, 3]]),
        ([0, 1, 2, 3], [7], [[0, 1, 2, 3]]),
        ([0, 1, 2, 3], [2, 3], [[0, 2], [1, 3]]),
        ([0, 1, 2, 3], [3, 2], [[0, 3], [1, 2]]),
        ([0, 1, 2, 3], [3, 9], [[1, 3], [0, 2]]),
        ([0, 1, 0, 1], [0, 1], [[0, 2], [1, 3]]),  # two interfaces
        ([None, None], [4, 5], [[0], [1]]),
        ([0, 1, 2, 3, 4], [8, 9], [[0, 2, 4], [1, 3]]),
    ],
)
def test_a_ring_is_read_where_its_packets_are_received(
    cores: list[int | None], cpus: list[int], shares: list[list[int]]
) -> None:
    assert deal(cores, cpus) == shares


@pytest.mark.parametrize(
    ("cores", "cpus", "words"),
    [
        ([None], [0, 1], "2 readers for 1 ring: nothing is left for CPU 1; name fewer CPUs"),
        ([0, 1], [2, 3, 4], "3 readers for 2 rings: nothing is left for CPU 4"),
        ([0, 1, 0, 1], [0, 1, 5], "nothing is left for CPU 5"),
        ([0, 1], [1, 1], "each CPU once"),
    ],
)
def test_a_reader_without_a_ring_is_refused(cores: list[int | None], cpus: list[int], words: str) -> None:
    with pytest.raises(RingError, match=words):
        deal(cores, cpus)
