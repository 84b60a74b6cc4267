"""Inference: finds every format behind random bodies, losses and reordering; finds nothing in noise; says what else fits."""

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from feed_streams import Sender, through_a_network

from ingest.feeds.formats import parse_feed, read_formats, shipped
from ingest.feeds.inference import NAME, Certainty, Inference, as_table, describe, infer, size_fields
from ingest.feeds.steps import FEWEST, play, without_repeats
from ingest.rings.layout import Framing

FOLLOWED = [entry.name for entry in shipped().values() if entry.framing is not None]


def sample_of(framing: Framing, seed: str, datagrams: int = 1000, **network: float) -> list[bytes]:
    randoms = random.Random(seed)
    return through_a_network(Sender(framing, randoms).stream(datagrams), randoms, **network)


def names(inference: Inference) -> set[str]:
    """Every known format that gives the numbers of the best."""
    return {str(each) for each in (inference.best, *inference.also) if each is not None and each.known and each.alike}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", FOLLOWED)
def test_every_format_is_found(name: str, seed: int) -> None:
    found = infer(sample_of(parse_feed(name), f"{name} {seed}"))
    assert found.best is not None
    assert found.best.known
    assert name in names(found)
    # only formats whose headers lie alike may be taken for each other
    alike = {"cboe_pitch_sequenced_unit", "lse_mitch_unit", "hkex_omd"}, {"memx_memoir", "moldudp64"}
    assert names(found) == {name} or any(names(found) <= group for group in alike) or name in ("eurex_eobi", "b3_umdf_sbe")
    assert found.best.gaps > 0
    assert found.best.late > 0
    assert found.certainty == (Certainty.SOLE if names(found) == {name} else Certainty.ALIKE)
    assert all(each.known for each in found.also)  # what else explains a known header is a part of it


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_whole_stream_has_no_gaps(name: str) -> None:
    found = infer(sample_of(parse_feed(name), name, lose=0, swap=0))
    assert found.best is not None
    assert (found.best.gaps, found.best.missing, found.best.late, found.best.resets) == (0, 0, 0, 0)


def test_what_was_lost_is_what_is_missing() -> None:
    framing = parse_feed("moldudp64")
    randoms = random.Random(4)
    sent = [Sender(framing, randoms).datagram(count=3)]
    sender = Sender(framing, randoms)
    sent = [sender.datagram(count=3) for _ in range(500)]
    del sent[100:102], sent[300]
    found = infer(sent)
    assert found.best is not None
    assert (found.best.gaps, found.best.missing, found.best.late) == (2, 9, 0)


def test_a_new_session_is_no_gap() -> None:
    framing = parse_feed("moldudp64")
    randoms = random.Random(5)
    days = [Sender(framing, randoms, first=first).stream(200) for first in (90_000, 1)]
    found = infer([*days[0], *days[1]])
    assert found.best is not None
    assert (str(found.best), found.best.resets, found.best.gaps) == ("moldudp64", 1, 0)


HOUSES = [
    Framing("house", 12, 4, big_endian=True),
    Framing("house", 3, 8, big_endian=False),
    Framing("house", 9, 4, big_endian=False, count_offset=7, count_width=1),
    Framing("house", 20, 8, big_endian=True, count_offset=2, count_width=2, size_offset=5, size_width=2),
    Framing("house", 1, 4, big_endian=True, size_offset=9, size_width=2, size_excludes=11),
    Framing("house", 30, 4, big_endian=False, count_offset=40, count_width=2, size_offset=0, size_width=2),
]


@pytest.mark.parametrize("framing", HOUSES, ids=describe)
def test_an_unknown_format_is_found(framing: Framing) -> None:
    sample = sample_of(framing, describe(framing))
    found = infer(sample)
    assert found.best is not None
    assert not found.best.known
    best = found.best.framing
    assert best.name == NAME
    # a number of 8 bytes whose upper half stays 0 may be read as one of 4
    assert play(best, without_repeats(sample)).alike(play(framing, without_repeats(sample)))
    lowest = [each.sequence_offset + each.sequence_width * each.big_endian for each in (best, framing)]
    assert lowest[0] == lowest[1]
    assert bool(best.count_width) == bool(framing.count_width)
    if framing.size_width:
        assert (best.size_offset, best.size_width, best.size_excludes) == (
            framing.size_offset,
            framing.size_width,
            framing.size_excludes,
        )
    assert found.certainty in (Certainty.SOLE, Certainty.ALIKE)
    assert not found.one_each or not framing.count_width


def test_a_guess_can_be_written_down() -> None:
    for framing in HOUSES:
        found = infer(sample_of(framing, describe(framing)))
        assert found.best is not None
        (read,) = read_formats(as_table(found.best.framing, NAME), "x.toml").values()
        assert read.framing == found.best.framing


def test_one_message_each_cannot_tell_datagrams_from_messages() -> None:
    sender = Sender(HOUSES[2], random.Random(6), most_messages=1)
    found = infer([sender.datagram() for _ in range(400)])
    assert found.best is not None
    assert found.one_each
    assert found.certainty == Certainty.ALIKE  # a count of 1 somewhere fits as well
    assert any(each.framing.count_width for each in found.also)


def test_a_hypothesis_with_more_gaps_than_another_is_dropped() -> None:
    # nine datagrams of ten hold one message: one number for each datagram would explain most steps, too
    sender = Sender(HOUSES[2], random.Random(8))
    found = infer([sender.datagram(count=4 if n % 10 == 9 else 1) for n in range(600)])
    assert found.best is not None
    assert all(each.framing.count_width for each in (found.best, *found.also))


def altered(name: str, alter: Callable[[int, bytearray], None], datagrams: int = 600) -> Inference:
    """What is inferred of a format's stream, with something wrong in it."""
    sender = Sender(parse_feed(name), random.Random(name))
    sample = [bytearray(sender.datagram(scope=sender.scopes[0])) for _ in range(datagrams)]
    for number, datagram in enumerate(sample):
        alter(number, datagram)
    return infer([bytes(datagram) for datagram in sample])


def test_one_number_that_came_before_is_enough() -> None:
    assert str(altered("moldudp64", lambda number, datagram: None).best) == "moldudp64"

    def again(number: int, datagram: bytearray) -> None:
        if number == 590:
            datagram[10:18] = struct.pack(">Q", 1000)

    assert altered("moldudp64", again).best is None


def test_a_clock_of_another_century_is_none() -> None:
    def stopped(_: int, datagram: bytearray) -> None:
        datagram[4:12] = struct.pack("<Q", 5)

    found = altered("cme_mdp3", stopped)
    assert found.best is not None
    assert not found.best.known


def test_a_length_that_is_not_the_datagram_s_is_none() -> None:
    def shorter(_: int, datagram: bytearray) -> None:
        datagram[0:2] = struct.pack("<H", 8)

    found = altered("cboe_pitch", shorter)
    assert found.best is not None
    assert not found.best.known


def test_a_numbering_that_begins_anew_all_the_time_is_none() -> None:
    def session(number: int, datagram: bytearray) -> None:
        datagram[0:10] = b"%010d" % (number // 5)

    found = altered("moldudp64", session)
    assert found.best is not None
    assert not found.best.known


def test_scopes_of_one_datagram_each_prove_nothing() -> None:
    framing = Framing("scoped", 0, 4, big_endian=True, scope_offset=4, scope_width=2)
    sample = [struct.pack(">IH", number, number) for number in range(500)]
    steps = play(framing, sample)
    assert (steps.scopes, steps.broken) == (500, 0)
    assert not steps.fits(framing)
    assert play(replace(framing, scope_width=0), sample).fits(framing)


def noise(make: Callable[[random.Random, int], bytes]) -> Callable[[int], list[bytes]]:
    def sample(seed: int) -> list[bytes]:
        randoms = random.Random(seed)
        return [make(randoms, number) for number in range(1000)]

    return sample


def sized(randoms: random.Random, _: int) -> bytes:
    size = randoms.randint(20, 300)
    return struct.pack(">H", size) + randoms.randbytes(size - 2)


NOISE = {
    "any length": noise(lambda randoms, _: randoms.randbytes(randoms.randint(0, 400))),
    "one length": noise(lambda randoms, _: randoms.randbytes(128)),
    "zeros before": noise(lambda randoms, _: bytes(20) + randoms.randbytes(100)),
    "few values": noise(lambda randoms, _: bytes(randoms.choices(range(3), k=100))),
    "a clock": noise(lambda randoms, n: struct.pack(">Q", 1_700_000_000 * 10**9 + n * 900 + randoms.randrange(800))),
    "a clock and more": noise(lambda randoms, n: struct.pack("<Q", 1_700_000_000_000 + n * 3) + randoms.randbytes(60)),
    "a length": noise(sized),
    "always the same": noise(lambda randoms, _: b"the same header" + randoms.randbytes(4)),
    "numbers that lack most": noise(lambda randoms, n: struct.pack(">Q", 9 * n + randoms.randrange(9)) + bytes(40)),
    "numbers back and forth": noise(lambda randoms, n: struct.pack(">Q", n % 50) + randoms.randbytes(40)),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", NOISE)
def test_noise_is_no_feed(kind: str, seed: int) -> None:
    found = infer(NOISE[kind](seed))
    assert found.best is None, found
    assert found.certainty == Certainty.NOTHING


def test_what_is_too_little() -> None:
    sample = sample_of(parse_feed("moldudp64"), "few", datagrams=FEWEST - 1)
    assert infer(sample[: FEWEST - 1]).best is None
    assert infer([]).best is None
    assert infer([b""] * 1000).best is None
    assert infer([sample[0]] * 1000).best is None


def test_copies_of_the_other_line_are_no_steps_backwards() -> None:
    sample = sample_of(parse_feed("iex_tp"), "copies")
    doubled = [copy for datagram in sample[:490] for copy in (datagram, datagram)]
    found = infer(doubled)
    assert str(found.best) == "iex_tp"
    assert found.datagrams < 500


def test_size_fields() -> None:
    datagrams = [struct.pack(">HHB", n + 5, n, 7) + bytes(n) for n in range(3, 60)]
    found = size_fields(datagrams)
    assert found[0] == (0, 2, True, 0)
    assert {(2, 2, True, 5), (1, 1, True, 0), (3, 1, True, 5)} < set(found)
    assert size_fields([struct.pack(">H", 64) + bytes(62)] * 50) == []  # a constant proves nothing


def verdicts(sample: Sequence[bytes], framing: Framing) -> tuple[int, int, int, int]:
    steps = play(framing, sample)
    return steps.contiguous, steps.ahead, steps.late, steps.broken


def test_steps() -> None:
    framing = Framing("plain", 0, 4, big_endian=True)

    def numbered(*numbers: int) -> list[bytes]:
        return [struct.pack(">I", number) for number in numbers]

    assert verdicts(numbered(1, 2, 3), framing) == (2, 0, 0, 0)
    assert verdicts(numbered(1, 3, 2, 4), framing) == (1, 1, 1, 0)
    assert verdicts(numbered(1, 2, 2), framing) == (1, 0, 0, 1)  # it came before
    assert verdicts(numbered(5, 4, 6), framing) == (1, 0, 1, 0)  # the first two changed places
    assert verdicts(numbered(5, 2, 3, 4, 6, 3), framing) == (1, 0, 3, 1)
    assert verdicts(numbered(*range(5, 20), 4), framing) == (14, 0, 0, 1)  # too late for that
    assert verdicts(numbered(1, 100_000), framing) == (0, 0, 0, 1)
    messages = Framing("messages", 0, 4, big_endian=True, count_offset=4, count_width=1)
    sample = [struct.pack(">IB", *each) for each in ((1, 3), (4, 0), (8, 2), (4, 2), (6, 2), (10, 1))]
    assert verdicts(sample, messages) == (1, 1, 2, 0)
    assert verdicts([*sample, struct.pack(">IB", 3, 2)], messages) == (1, 1, 2, 1)
