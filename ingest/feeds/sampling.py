"""UDP payloads of an interface, for inference: a plain packet socket that copies, since a sample needs no ring."""

import errno
import socket
import struct
import time
from dataclasses import dataclass

from tuner.host.text import printable

STREAMS = 16  # of one sample
_ETH_P_ALL = 3  # linux/if_ether.h
_VLANS = (0x8100, 0x88A8)
_OUTGOING = 4  # linux/if_packet.h PACKET_OUTGOING: the loopback shows each packet twice
_RECEIVE_BUFFER = 4 << 20
_FRAGMENT = 0x3FFF  # more fragments, or an offset


class SampleError(Exception):
    """Nothing can be read from this interface; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The datagrams of one destination, in their order of arrival."""

    address: bytes
    port: int
    payloads: tuple[bytes, ...]


def take_sample(ifname: str, port: int, seconds: float, limit: int) -> tuple[Stream, ...]:
    """What comes in within ``seconds``, or until every stream that came has ``limit`` datagrams; the fullest first.

    Args:
        ifname: the interface.
        port: UDP destination port; 0: any.
        seconds: at most.
        limit: datagrams of each stream; at most ``STREAMS`` of these are kept.

    Raises:
        SampleError: no such interface, or no right to read it.
        OSError: the kernel refused what it never refuses.
    """
    found: dict[tuple[bytes, int], list[bytes]] = {}
    end = time.monotonic() + seconds
    with _opened(ifname) as packets:
        while (left := end - time.monotonic()) > 0:
            packets.settimeout(left)
            try:
                data, address = packets.recvfrom(65535)
            except TimeoutError:
                break
            if address[2] == _OUTGOING:
                continue
            datagram = udp_payload(data, address[1])
            if datagram is None or (port and datagram[1] != port):
                continue
            key = datagram[:2]
            if key not in found and len(found) >= STREAMS:
                continue
            kept = found.setdefault(key, [])
            if len(kept) < limit:
                kept.append(datagram[2])
                if len(kept) == limit and all(len(each) == limit for each in found.values()):
                    break
    streams = [Stream(*key, tuple(payloads)) for key, payloads in found.items()]
    return tuple(sorted(streams, key=lambda stream: (-len(stream.payloads), stream.address, stream.port)))


def _opened(ifname: str) -> socket.socket:
    try:
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)  # protocol 0: nothing comes before the bind
    except PermissionError as error:
        raise SampleError("a packet socket needs CAP_NET_RAW: run as root") from error
    try:
        packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        packets.bind((ifname, _ETH_P_ALL))
    except OSError as error:
        packets.close()
        if error.errno == errno.ENODEV:
            raise SampleError(f"there is no interface '{printable(ifname)}' here") from error
        raise
    return packets


def udp_payload(data: bytes, protocol: int) -> tuple[bytes, int, bytes] | None:
    """(destination address, port, payload) of a packet from its network header on; None for what is no whole UDP datagram."""
    for _ in range(2):
        if protocol not in _VLANS or len(data) < 4:
            break
        protocol, data = data[2] << 8 | data[3], data[4:]
    found = _carried(data, protocol)
    if found is None:
        return None
    address, at = found
    if len(data) < at + 8:
        return None
    port, length = struct.unpack_from(">2xHH", data, at)
    if length < 8 or len(data) < at + length:
        return None
    return address, port, data[at + 8 : at + length]


def _carried(data: bytes, protocol: int) -> tuple[bytes, int] | None:
    """Destination address and where the UDP header begins."""
    if protocol == 0x0800 and len(data) >= 20:
        header = (data[0] & 15) * 4
        fragment = data[6] << 8 | data[7]
        if data[0] >> 4 == 4 and data[9] == 17 and header >= 20 and not fragment & _FRAGMENT:
            return data[16:20], header
    elif protocol == 0x86DD and len(data) >= 40 and data[0] >> 4 == 6 and data[6] == 17:
        return data[24:40], 40
    return None
