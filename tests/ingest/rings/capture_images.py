"""Capture files made byte by byte, as the formats' drafts describe them: for tests that trust no other program's writer."""

import struct
from dataclasses import dataclass, field

from ring_images import NOW_NS

ETHERNET = 1


def ethernet(data: bytes, protocol: int = 0x0800) -> bytes:
    return b"\x01\x00\x5e\x01\x01\x01" + bytes(6) + struct.pack(">H", protocol) + data


def pcap_header(
    order: str = "<", nanoseconds: bool = False, link_type: int = ETHERNET, version: tuple[int, int] = (2, 4), snap: int = 65535
) -> bytes:
    return struct.pack(f"{order}IHHiIII", 0xA1B23C4D if nanoseconds else 0xA1B2C3D4, *version, 0, 0, snap, link_type)


def pcap_record(
    data: bytes, stamp_ns: int = NOW_NS, order: str = "<", nanoseconds: bool = False, length: int | None = None
) -> bytes:
    seconds, rest = divmod(stamp_ns, 1_000_000_000)
    length = len(data) if length is None else length
    return struct.pack(f"{order}IIII", seconds & 0xFFFFFFFF, rest if nanoseconds else rest // 1000, len(data), length) + data


def pcap(packets: list[bytes], order: str = "<", nanoseconds: bool = False, link_type: int = ETHERNET) -> bytes:
    records = (pcap_record(data, NOW_NS + n * 1000, order, nanoseconds) for n, data in enumerate(packets))
    return pcap_header(order, nanoseconds, link_type) + b"".join(records)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    total = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + total + body + total


def section(order: str = "<", version: tuple[int, int] = (1, 0), options: bytes = b"") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, *version, -1) + options, order)


def interface(order: str = "<", link_type: int = ETHERNET, snap: int = 0, options: bytes = b"") -> bytes:
    return block(1, struct.pack(f"{order}HHI", link_type, 0, snap) + options, order)


def enhanced(
    data: bytes, units: int = NOW_NS // 1000, number: int = 0, order: str = "<", length: int | None = None, options: bytes = b""
) -> bytes:
    length = len(data) if length is None else length
    head = struct.pack(f"{order}IIIII", number, units >> 32, units & 0xFFFFFFFF, len(data), length)
    return block(6, head + data + bytes(-len(data) % 4) + options, order)


def old_packet(data: bytes, units: int = NOW_NS // 1000, number: int = 0, order: str = "<") -> bytes:
    head = struct.pack(f"{order}HHIIII", number, 7, units >> 32, units & 0xFFFFFFFF, len(data), len(data))
    return block(2, head + data, order)


def simple(data: bytes, length: int | None = None, order: str = "<") -> bytes:
    return block(3, struct.pack(f"{order}I", len(data) if length is None else length) + data, order)


def statistics(number: int = 0, drops: int | None = None, kernel: int | None = None, order: str = "<") -> bytes:
    options = option(4, struct.pack(f"{order}Q", 1 << 40), order)
    if drops is not None:
        options += option(5, struct.pack(f"{order}Q", drops), order)
    if kernel is not None:
        options += option(7, struct.pack(f"{order}Q", kernel), order)
    return block(5, struct.pack(f"{order}III", number, 0, 0) + options, order)


@dataclass(frozen=True)
class Section:
    """A section of pcapng with its interfaces and blocks, in one byte order."""

    order: str = "<"
    blocks: list[bytes] = field(default_factory=list)

    def image(self) -> bytes:
        return section(self.order) + b"".join(self.blocks)
