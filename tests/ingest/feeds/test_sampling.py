"""Which packets are datagrams of a sample; hostile ones are none."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.feeds.sampling import SampleError, take_sample, udp_payload

ADDRESS = ipaddress.ip_address("239.1.1.1").packed


def udp(payload: bytes, length: int | None = None) -> bytes:
    return struct.pack(">HHHH", 1, 30001, 8 + len(payload) if length is None else length, 0) + payload


def ipv4(carried: bytes, protocol: int = 17, fragment: int = 0x4000, words: int = 5) -> bytes:
    options = bytes(4 * (words - 5)) if words > 5 else b""
    return struct.pack(">BBHHHBBH4s4s", 0x40 | words, 0, 0, 0, fragment, 1, protocol, 0, bytes(4), ADDRESS) + options + carried


def ipv6(carried: bytes, next_header: int = 17) -> bytes:
    return struct.pack(">IHBB16s16s", 6 << 28, len(carried), next_header, 1, bytes(16), bytes(range(16))) + carried


def test_datagrams() -> None:
    assert udp_payload(ipv4(udp(b"abc")), 0x0800) == (ADDRESS, 30001, b"abc")
    assert udp_payload(ipv4(udp(b"abc"), words=7), 0x0800) == (ADDRESS, 30001, b"abc")
    assert udp_payload(ipv4(udp(b"abc")) + bytes(20), 0x0800) == (ADDRESS, 30001, b"abc")  # padded to Ethernet's smallest
    assert udp_payload(ipv6(udp(b"abc")), 0x86DD) == (bytes(range(16)), 30001, b"abc")
    tagged = struct.pack(">HH", 7, 0x0800) + ipv4(udp(b"abc"))
    assert udp_payload(tagged, 0x8100) == (ADDRESS, 30001, b"abc")
    assert udp_payload(struct.pack(">HH", 7, 0x8100) + tagged, 0x88A8) == (ADDRESS, 30001, b"abc")
    assert udp_payload(ipv4(udp(b"")), 0x0800) == (ADDRESS, 30001, b"")


@pytest.mark.parametrize(
    ("data", "protocol"),
    [
        (b"", 0x0800),
        (ipv4(udp(b"abc")), 0x86DD),
        (ipv4(udp(b"abc")), 0x0806),
        (ipv4(udp(b"abc"), protocol=6), 0x0800),
        (ipv4(udp(b"abc"), fragment=0x2000), 0x0800),
        (ipv4(udp(b"abc"), fragment=1), 0x0800),
        (ipv4(udp(b"abc"), words=4), 0x0800),
        (ipv4(udp(b"abc"), words=15)[:60], 0x0800),
        (ipv4(udp(b"abc", length=7)), 0x0800),
        (ipv4(udp(b"abc", length=12)), 0x0800),
        (ipv6(udp(b"abc"), next_header=0), 0x86DD),
        (ipv6(udp(b"abc"))[:45], 0x86DD),
        (b"\0\7\x08", 0x8100),
    ],
)
def test_what_is_no_whole_datagram(data: bytes, protocol: int) -> None:
    assert udp_payload(data, protocol) is None


@given(st.binary(max_size=120), st.sampled_from([0x0800, 0x86DD, 0x8100, 0x88A8]))
def test_no_packet_is_too_hostile(data: bytes, protocol: int) -> None:
    found = udp_payload(data, protocol)
    assert found is None or found[2] in data


def test_an_interface_that_is_not_there() -> None:
    try:
        with pytest.raises(SampleError, match="there is no interface 'nosuch0'"):
            take_sample("nosuch0", 0, 0.1, 10)
    except SampleError as refused:
        pytest.skip(str(refused))
