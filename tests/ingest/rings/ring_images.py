"""Ring memory as the kernel would leave it, made by hand: for walkers that run without a kernel."""

import ipaddress
import struct
from dataclasses import dataclass

from ingest.rings.layout import V2, Area

NOW_NS = 1_700_000_000_500_000_000


@dataclass(frozen=True)
class Packet:
    """One packet: its network part, and what the kernel says of it."""

    data: bytes
    protocol: int = 0x0800
    age_ns: int = 1000
    length: int | None = None  # on the wire; None: all of it was captured
    status: int = 1
    packet_type: int = 0  # PACKET_HOST


def udp4(payload: bytes, address: str = "239.1.1.1", port: int = 30001, fragment: int = 0x4000, options: bytes = b"") -> bytes:
    udp = struct.pack(">HHHH", 30000, port, 8 + len(payload), 0) + payload
    words = 5 + len(options) // 4
    total = words * 4 + len(udp)
    header = struct.pack(
        ">BBHHHBBH4s4s",
        0x40 | words,
        0,
        total & 0xFFFF,
        0,
        fragment,
        1,
        17,
        0,
        b"\x0a\0\0\1",
        ipaddress.ip_address(address).packed,
    )
    return header + options + udp


def udp6(payload: bytes, address: str = "ff15::1", port: int = 30001) -> bytes:
    udp = struct.pack(">HHHH", 30000, port, 8 + len(payload), 0) + payload
    return struct.pack(">IHBB16s16s", 6 << 28, len(udp), 17, 1, bytes(16), ipaddress.ip_address(address).packed) + udp


def mold(sequence: int, count: int = 1, body: bytes = b"") -> bytes:
    return b"QUIETCORE0" + struct.pack(">QH", sequence, count) + body


def _frame(packet: Packet, version: int, room: int) -> bytes:
    """A frame without the chain: header, address, Ethernet and packet, cut at ``room``."""
    ethernet = bytes(12) + struct.pack(">H", packet.protocol) + packet.data
    mac, net = (66, 80) if version == V2 else (82, 96)
    captured = ethernet[: max(0, room - mac)]
    length = packet.length if packet.length is not None else len(ethernet)
    length = max(length, len(captured))
    seconds, nanoseconds = divmod(NOW_NS - packet.age_ns, 1_000_000_000)
    address = struct.pack("=HHiHBB8s", 17, 0, 3, 1, packet.packet_type, 6, b"")
    address = address[:2] + struct.pack(">H", packet.protocol) + address[4:]
    if version == V2:
        header = struct.pack("=IIIHHIIHHI", packet.status, length, len(captured), mac, net, seconds, nanoseconds, 0, 0, 0)
        return (header + address).ljust(mac, b"\0") + captured
    header = struct.pack(
        "=IIIIIIHHIIHHQ", 0, seconds, nanoseconds, len(captured), length, packet.status, mac, net, 0, 0, 0, 0, 0
    )
    return (header + address).ljust(mac, b"\0") + captured


def frames(packets: list[Packet], units: int, unit_bytes: int = 256) -> Area:
    """A V2 ring whose first frames hold the packets."""
    memory = bytearray(units * unit_bytes)
    for index, packet in enumerate(packets[:units]):
        frame = _frame(packet, V2, unit_bytes)
        memory[index * unit_bytes : index * unit_bytes + len(frame)] = frame
    return Area(memory, V2, unit_bytes, units)


def block(packets: list[Packet], unit_bytes: int = 4096) -> bytes:
    """One V3 block with as many of the packets as fit, handed to the user."""
    at, chain = 48, []
    for packet in packets:
        frame = _frame(packet, 3, min(unit_bytes - at, 2048))
        if at + max(len(frame), 82) > unit_bytes:
            break
        chain.append(frame)
        at += (len(frame) + 7) & ~7
    image = bytearray(unit_bytes)
    at = 48
    for index, frame in enumerate(chain):
        stride = (len(frame) + 7) & ~7
        image[at : at + len(frame)] = frame
        struct.pack_into("=I", image, at, stride if index + 1 < len(chain) else 0)
        at += stride
    struct.pack_into("=IIIII", image, 0, 1, 48, 1, len(chain), 48)
    struct.pack_into("=I", image, 20, at)
    return bytes(image)


def blocks(images: list[bytes], units: int) -> Area:
    """A V3 ring whose first blocks are given."""
    unit_bytes = len(images[0]) if images else 4096
    memory = bytearray(units * unit_bytes)
    for index, image in enumerate(images[:units]):
        memory[index * unit_bytes : (index + 1) * unit_bytes] = image
    return Area(memory, 3, unit_bytes, units)
