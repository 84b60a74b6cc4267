"""What a packet is, by name, as ``frames.h`` tells it: for the walker in Python."""

from ingest.rings.layout import STATUS_GSO_TCP, STATUS_VLAN

ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, ETHERTYPE_QINQ = 0x0800, 0x86DD, 0x8100, 0x88A8
PACKET_OTHERHOST = 3
STANDARD_BYTES = 1518  # Ethernet header, tag and an MTU of 1500


def untagged(buffer: memoryview, start: int, end: int, protocol: int) -> tuple[int, int]:
    """(ethertype, network header) behind at most two VLAN tags."""
    for _ in range(2):
        if protocol not in (ETHERTYPE_VLAN, ETHERTYPE_QINQ) or end - start < 4:
            break
        protocol, start = buffer[start + 2] << 8 | buffer[start + 3], start + 4
    return protocol, start


def names(
    buffer: memoryview, start: int, end: int, protocol: int, status: int, length: int, packet_type: int, super_bytes: int
) -> list[str]:
    """Those of ``ingest.rings.counters.KINDS`` that the packet is."""
    found = []
    if packet_type == PACKET_OTHERHOST:
        found.append("other_host")
    if status & STATUS_GSO_TCP or (super_bytes and length > super_bytes):
        found.append("super_frames")
    elif length > STANDARD_BYTES:
        found.append("jumbo")
    if status & STATUS_VLAN or protocol in (ETHERTYPE_VLAN, ETHERTYPE_QINQ):
        found.append("vlan")
    protocol, start = untagged(buffer, start, end, protocol)
    if protocol == ETHERTYPE_IPV6:
        found.append("ipv6")
    elif protocol != ETHERTYPE_IPV4:
        found.append("not_ip")
    elif end - start >= 20 and (buffer[start + 6] << 8 | buffer[start + 7]) & 0x3FFF:
        found.append("fragments")
    return found
