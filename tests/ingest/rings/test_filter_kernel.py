"""The kernel runs compiled filters: it takes them, and lets through exactly the packets that they mean."""

import contextlib
import ctypes
import fcntl
import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filter_corpus import corpus, single_tests
from filter_oracle import OTHER, OWN, Pair, dissect, expressions, frames, means
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from veth_pair import VethPair, veth_pair

from ingest.rings.bpf import TAKE_NOTHING, TAKE_RECEIVED, Program
from ingest.rings.counters import RingReport
from ingest.rings.filter import FilterError, parse_filter
from ingest.rings.filter_program import ARPHRD_ETHER, compile_filter
from ingest.rings.packet import PacketRing
from ingest.rings.tpacket import RingError

ARPHRD_NONE = 0xFFFE
SO_ATTACH_FILTER, SO_RCVBUFFORCE, SOL_PACKET, PACKET_STATISTICS = 26, 33, 263, 6
ETH_P_ALL = 3
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_TAP, IFF_NAPI, IFF_NAPI_FRAGS, IFF_NO_PI = 1, 2, 0x10, 0x20, 0x1000
EXPRESSIONS = 25  # at a time
LAST = 0xFFFFFF


def attach(tapped: socket.socket, program: Program) -> None:
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    held = ctypes.create_string_buffer(code, len(code))
    tapped.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(held)))


def tap(ifname: str) -> socket.socket:
    """A packet socket that takes nothing yet, in this thread's namespace."""
    tapped = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    attach(tapped, TAKE_NOTHING)
    tapped.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    tapped.bind((ifname, ETH_P_ALL))
    tapped.setblocking(False)
    return tapped


def numbered(frame: bytes, number: int) -> bytes:
    """The frame from a sender of that number."""
    return frame[:6] + b"\x02\x51\x43" + number.to_bytes(3) + frame[12:]


def taken(tapped: socket.socket) -> list[int]:
    """The numbers of the frames that it got, but for the last of all."""
    return [number for number in numbers_of(tapped) if number != LAST]


def numbers_of(tapped: socket.socket) -> list[int]:
    numbers = []
    with contextlib.suppress(BlockingIOError):
        while True:
            frame = tapped.recv(2048)
            if frame[6:9] == b"\x02\x51\x43":
                numbers.append(int.from_bytes(frame[9:12]))
    return numbers


class Bench:
    """A sender at one end of a veth pair; sockets at the other, of which the first takes everything."""

    def __init__(self, pair: VethPair) -> None:
        # a tap that is there first is served last: what it has, all others have had
        with pair.inside():
            self.everything = tap(pair.into)
            self.taps = [tap(pair.into) for _ in range(2 * EXPRESSIONS)]
        attach(self.everything, TAKE_RECEIVED)
        with VethPair(pair.far, pair.near, pair.sender).inside():
            self.sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.sender.bind((pair.out, 0))

    def send(self, wire: list[bytes]) -> list[int]:
        """Sends all from one CPU, which keeps their order; the numbers of those that arrived."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        arrived: list[int] = []
        try:
            for first in range(0, len(wire), 200):  # fewer than the receiver's backlog holds
                for number, frame in enumerate(wire[first : first + 200], first):
                    self.sender.send(numbered(frame, number))
                self.sender.send(numbered(OWN + OTHER + b"\x88\xb5" + bytes(46), LAST))
                arrived += self.until_the_last()
        finally:
            os.sched_setaffinity(0, before)
        return arrived

    def until_the_last(self) -> list[int]:
        arrived: list[int] = []
        limit = time.monotonic() + 20
        while LAST not in arrived:
            assert time.monotonic() < limit
            select.select([self.everything], [], [], 1)
            arrived += numbers_of(self.everything)
        return arrived[:-1]

    def close(self) -> None:
        for each in (self.sender, self.everything, *self.taps):
            each.close()


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with veth_pair(Path("/nothing/to/send")) as pair:
        pair.link("set", pair.into, "address", OWN.hex(":"))
        bench = Bench(pair)
        yield bench
        bench.close()


def program_of(text: str, hardware_type: int) -> Program:
    try:
        return compile_filter(parse_filter(text), hardware_type)
    except FilterError as error:
        assert "no packet can match" in str(error)  # noqa: PT017
        return TAKE_NOTHING


def check(bench: Bench, pairs: list[Pair], whole: list[bytes], cut: list[bytes]) -> None:
    """Each tap has exactly the frames that its expression means."""
    # a tag that is cut short is dropped by skb_vlan_untag, before any filter
    wire = whole + [frame for frame in cut if len(frame) >= 20 or frame[12:14] not in (b"\x81\x00", b"\x88\xa8")]
    for number, (text, _) in enumerate(pairs):
        attach(bench.taps[number], program_of(text, ARPHRD_ETHER))
        attach(bench.taps[EXPRESSIONS + number], program_of(text, ARPHRD_NONE))
    assert bench.send(wire) == list(range(len(wire)))
    dissected = [dissect(frame) for frame in wire]
    for number, (text, test) in enumerate(pairs):
        expected = [place for place, seen in enumerate(dissected) if means(test, seen)]
        assert taken(bench.taps[number]) == expected, text
        # what is cut short is not certain to be told where the link header's length is not known
        by_network_header = [place for place in taken(bench.taps[EXPRESSIONS + number]) if place < len(whole)]
        assert by_network_header == [place for place in expected if place < len(whole)], text
    for each in bench.taps:
        assert struct.unpack("=2I", each.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1] == 0
        attach(each, TAKE_NOTHING)


def test_every_single_test_on_every_kind_of_packet(bench):
    singles = single_tests()
    for first in range(0, len(singles), EXPRESSIONS):
        check(bench, singles[first : first + EXPRESSIONS], *corpus())


# shrinking would take minutes, and the same is shrunk well without a kernel
@settings(max_examples=10, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(
    st.lists(expressions, min_size=EXPRESSIONS, max_size=EXPRESSIONS),
    st.lists(frames(complete=True), min_size=30, max_size=30),
    st.lists(frames(), min_size=10, max_size=10),
)
def test_random_expressions_on_random_packets(bench, pairs, whole, cut):
    check(bench, pairs, whole, cut)


def udp(destination: str, port: int) -> bytes:
    """An IPv4 packet."""
    header = (
        struct.pack(">BBHHHBBH", 0x45, 0, 36, 1, 0, 64, 17, 0) + socket.inet_aton("10.0.0.1") + socket.inet_aton(destination)
    )
    return header + struct.pack(">HHHH", 1000, port, 16, 0) + bytes(8)


def test_a_program_with_long_jumps(bench):
    text = "udp (" + " or ".join(f"dst 239.1.1.1:{port}" for port in range(1000, 1160)) + ")"
    program = program_of(text, ARPHRD_ETHER)
    assert len(program) > 600
    attach(bench.taps[0], program)
    attach(bench.taps[1], program_of(f"not ({text})", ARPHRD_ETHER))
    attach(bench.taps[2], TAKE_NOTHING)
    wire = [OWN + OTHER + b"\x08\x00" + udp("239.1.1.1", port) for port in range(990, 1170)]
    bench.send(wire)
    assert taken(bench.taps[0]) == list(range(10, 170))
    assert taken(bench.taps[1]) == [*range(10), *range(170, 180)]
    assert taken(bench.taps[2]) == []


# ------------------------------------------------------------------------------------------------------- other links


@contextlib.contextmanager
def tunnel(pair: VethPair, kind: int) -> Iterator[int]:
    """A tun or tap interface ``qctun`` in the far namespace, up; its descriptor."""
    try:
        with pair.inside():
            descriptor = os.open("/dev/net/tun", os.O_RDWR)
            try:
                fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", b"qctun", kind | IFF_NO_PI))
            except BaseException:
                os.close(descriptor)
                raise
    except OSError as error:
        pytest.skip(f"no tun interfaces here: {error.strerror}")
    try:
        pair.link("set", "qctun", "up")
        yield descriptor
    finally:
        os.close(descriptor)


def counted(pair: VethPair, ifname: str, text: str, action: Callable[[], object], **options: object) -> RingReport:
    """A ring's report of what came while ``action`` ran."""
    with pair.inside():
        ring = PacketRing.open(ifname, filter=parse_filter(text), **options)
    with ring:
        action()
        threading.Timer(0.1, ring.stop).start()
        list(ring.run(30))
        report = ring.report()
    assert report.filter == text
    assert report.total.unaccounted == 0
    assert report.total.walked.packets + report.total.drops == report.total.reached
    return report


def test_a_link_without_a_header(pair):
    with tunnel(pair, IFF_TUN) as descriptor:

        def act() -> None:
            for port in (30001, 30002, 30001, 30003):
                os.write(descriptor, udp("239.1.1.1", port))
                os.write(descriptor, udp("239.1.1.2", port))

        assert counted(pair, "qctun", "udp dst 239.1.1.1:30001", act).total.reached == 2
        assert counted(pair, "qctun", "not port 30001 and multicast", act).total.reached == 4


def test_headers_in_pages(pair):
    """As some NICs deliver them: nothing but the Ethernet header is in the packet's linear part."""
    with tunnel(pair, IFF_TAP | IFF_NAPI | IFF_NAPI_FRAGS) as descriptor:

        def act() -> None:
            for port in (30001, 30002, 30001):
                os.writev(descriptor, [b"\x01\x00\x5e\x01\x01\x01" + OTHER + b"\x08\x00", udp("239.1.1.1", port) + bytes(900)])

        assert counted(pair, "qctun", "udp dst 239.1.1.1:30001", act).total.reached == 2


def test_loopback(pair):
    pair.link("set", "lo", "up")

    def act() -> None:
        with pair.inside():
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sender:
            for port in (30001, 30002, 30003):
                for _ in range(port - 30000):
                    sender.sendto(b"x", ("127.0.0.1", port))

    # each is seen going out and coming in; port unreachable messages come back for all
    assert counted(pair, "lo", "udp port 30002-30003", act).total.reached == 5
    assert counted(pair, "lo", "icmp dst 127.0.0.1", act, rings=1).total.reached > 0


# --------------------------------------------------------------------------------------------------------- the ring


@pytest.mark.parametrize("mode", ["latency", "throughput"])
@pytest.mark.parametrize("rings", [None, 1])
def test_what_is_not_wanted_does_not_reach_the_ring(pair, mode, rings):
    arrived = 0

    def act() -> None:
        nonlocal arrived
        arrived = pair.send(3_000, 30_000, streams=3)

    report = counted(pair, pair.into, "udp dst 239.1.1.1:30002", act, mode=mode, rings=rings)
    assert arrived == 3_000
    assert report.total.reached == report.total.walked.packets == 1_000
    assert report.to_json()["filter"] == "udp dst 239.1.1.1:30002"


def test_a_small_ring_is_not_filled_by_what_is_not_wanted(pair):
    def act() -> None:
        pair.send(6_000, 60_000, streams=3)  # nobody reads: 256 frames

    report = counted(pair, pair.into, "udp dst port 40000", act, rings=1, ring_bytes=1 << 16)
    assert (report.total.reached, report.total.drops) == (0, 0)
    report = counted(pair, pair.into, "udp dst port 30003", act, rings=1, ring_bytes=1 << 16)
    assert report.total.reached == 2_000
    assert report.total.drops > 1_000


def test_a_filter_for_which_the_kernel_has_no_room(pair):
    room = "/proc/sys/net/core/optmem_max"
    limited = subprocess.run(["ip", "netns", "exec", pair.far, "sh", "-c", f"echo 4096 > {room}"], capture_output=True)
    if limited.returncode:
        pytest.skip("net.core.optmem_max is not a namespace's own before Linux 6.8")
    wanted = parse_filter("udp (" + " or ".join(f"dst 239.1.1.{last}:{last}" for last in range(100)) + ")")
    before = len(os.listdir("/proc/self/fd"))
    with pair.inside(), pytest.raises(RingError, match=r"does not take a filter of \d+ instructions: .*net.core.optmem_max"):
        PacketRing.open(pair.into, filter=wanted)
    assert len(os.listdir("/proc/self/fd")) == before
