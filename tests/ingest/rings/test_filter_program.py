"""Compiled filters in an interpreter of classic BPF mean what their expressions mean."""

from itertools import chain

import pytest
from bpf_machine import Packet, headerless, received, run
from filter_corpus import corpus, single_tests, telling_tests
from filter_oracle import GROUP, OTHER, OWN, Dissected, Pair, dissect, expressions, frames, means
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.rings import bpf
from ingest.rings.bpf import Assembly, Label, ProgramTooLong
from ingest.rings.filter import FilterError, Not, parse_filter
from ingest.rings.filter_program import ARPHRD_ETHER, compile_filter

ARPHRD_NONE = 0xFFFE
WHOLE = 0xFFFFFFFF


def compiled(text: str, hardware_type: int) -> bpf.Program | None:
    """None: it says that no packet can match."""
    try:
        return compile_filter(parse_filter(text), hardware_type)
    except FilterError as error:
        assert "no packet can match" in str(error)  # noqa: PT017
        return None


WIRE = [(frame, packet) for frame in chain(*corpus()) if (packet := received(frame, OWN)) is not None]
SEEN = [(packet, headerless(packet), dissect(frame)) for frame, packet in WIRE]


def check(pair: Pair, seen: list[tuple[Packet, Packet, Dissected]]) -> tuple[int, int]:
    """Both programs take those packets that the expression means; how many it means, of how many."""
    text, test = pair
    ethernet, anywhere = compiled(text, ARPHRD_ETHER), compiled(text, ARPHRD_NONE)
    assert (ethernet is None) == (anywhere is None)
    wanted = 0
    for packet, bare, dissected in seen:
        expected = WHOLE if means(test, dissected) else 0
        wanted += expected > 0
        assert (run(ethernet, packet) if ethernet else 0) == expected, (text, packet)
        assert (run(anywhere, bare) if anywhere else 0) == expected, (text, bare)
    return wanted, len(seen)


@pytest.mark.parametrize("word", ["", "not "])
def test_every_single_test_on_every_kind_of_packet(word):
    for text, test in single_tests():
        pair = (word + text, Not(test) if word else test)
        wanted, among = check(pair, SEEN)
        if "0.0.0.0/" not in text and "::/0" not in text and text != "vlan 7":
            assert 0 < wanted < among, text  # the packets tell


@pytest.mark.parametrize("part", range(2))
def test_places_that_are_reached_in_several_ways(part):
    for number, pair in enumerate(telling_tests()[part::2]):
        check(pair, SEEN[number % 4 :: 4])


@settings(max_examples=150, deadline=None)
@given(expressions, st.integers(0, 39))
def test_random_expressions_on_every_kind_of_packet(pair, first):
    check(pair, SEEN[first::40])


@settings(max_examples=100, deadline=None)
@given(expressions, st.lists(frames(), min_size=1, max_size=8))
def test_random_expressions_on_random_packets(pair, wire):
    seen = [(packet, headerless(packet), dissect(frame)) for frame in wire if (packet := received(frame, OWN)) is not None]
    check(pair, seen)


@settings(deadline=None)
@given(expressions, frames())
def test_outgoing_packets_are_never_wanted(pair, frame):
    program, packet = compiled(pair[0], ARPHRD_ETHER), received(frame, OWN)
    if program and packet:
        assert run(program, Packet(packet.data, 14, packet.protocol, bpf.PACKET_OUTGOING, packet.tag)) == 0


@pytest.mark.parametrize(
    ("text", "instructions"),
    [("udp dst 239.1.1.1:30001", 42), ("arp", 12), ("not arp", 12), ("ip or ip6 or arp or not arp", 4)],
)
def test_only_what_can_be_true_is_asked(text, instructions):
    assert len(compile_filter(parse_filter(text), ARPHRD_ETHER)) <= instructions


def test_addresses_one_after_the_other_are_loaded_once():
    def loads(text: str) -> int:
        return sum(code == bpf.LOAD_WORD for code, *_ in compile_filter(parse_filter(text), ARPHRD_ETHER))

    assert loads("ip dst 10.0.0.1") == loads("ip (dst 10.0.0.1 or dst 10.0.0.2 or dst 10.0.0.3)")


@pytest.mark.parametrize(
    "text",
    [
        "udp tcp",
        "ip ip6",
        "arp port 53",
        "arp ::1",
        "src 10.0.0.1 and src 10.0.0.2",
        "port 53 and not (udp or tcp)",
        "not (ip or not ip)",
        "vlan 5 not vlan",
        "udp port 53 and igmp",
    ],
)
def test_what_no_packet_can_match_is_refused(text):
    with pytest.raises(FilterError, match="no packet can match"):
        compile_filter(parse_filter(text), ARPHRD_ETHER)


def frame_to(address: str, port: int) -> bytes:
    packed = bytes(map(int, address.split(".")))
    header = bytes([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0]) + b"\x0a\x00\x00\x01" + packed
    return GROUP + OTHER + b"\x08\x00" + header + b"\x30\x39" + port.to_bytes(2) + bytes(4)


def test_programs_beyond_the_reach_of_a_jump():
    wanted = [(f"239.1.{number // 100}.{number % 100}", 30000 + number) for number in range(250)]
    text = "udp (" + " or ".join(f"dst {address}:{port}" for address, port in wanted) + ")"
    program = compile_filter(parse_filter(text), ARPHRD_ETHER)
    assert 1000 < len(program) <= 4096
    assert any(code == bpf.JUMP for code, *_ in program)
    for address, port in wanted[::7] + wanted[-1:]:
        assert run(program, received(frame_to(address, port), OWN))
        assert not run(program, received(frame_to(address, port + 1), OWN))
    negated = compile_filter(parse_filter(f"not ({text})"), ARPHRD_ETHER)
    assert not run(negated, received(frame_to(*wanted[0]), OWN))
    assert run(negated, received(frame_to("239.2.0.0", 1), OWN))


def test_a_program_that_the_kernel_would_refuse_is_refused_first():
    text = "udp (" + " or ".join(f"239.1.{number // 100}.{number % 100}:{number}" for number in range(500)) + ")"
    with pytest.raises(FilterError, match=r"too long: \d{4,5} instructions; the kernel takes 4096; use networks"):
        compile_filter(parse_filter(text), ARPHRD_ETHER)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 400)), min_size=1, max_size=40))
def test_labels_at_any_distance(shape):
    """A chain of questions with gaps between them: each answer leads to another, and the machine finds it."""
    code = Assembly()
    labels = [Label() for _ in range(len(shape) + 41)]
    for number, (yes, no, gap) in enumerate(shape):
        code.place(labels[number])
        code.add(bpf.LOAD_WORD, bpf.PACKET_TYPE)
        code.jump(bpf.JUMP_EQUAL, 2, labels[number + 1 + yes], labels[number + 1 + no])
        for _ in range(min(gap, 3000 // len(shape))):
            code.add(bpf.RETURN, 9999)  # must be jumped over
    for number, label in enumerate(labels[len(shape) :]):
        code.place(label)
        code.add(bpf.RETURN, 1000 + number)
    program = code.program()
    for packet_type in (2, 0):
        at = 0
        while at < len(shape):
            at += 1 + shape[at][0 if packet_type == 2 else 1]
        assert run(program, Packet(b"", 0, 0, packet_type)) == 1000 + at - len(shape)


def test_the_limit_is_the_kernels():
    code = Assembly()
    for _ in range(4096):
        code.add(bpf.RETURN)
    assert len(code.program()) == 4096
    code.add(bpf.RETURN)
    with pytest.raises(ProgramTooLong):
        code.program()
