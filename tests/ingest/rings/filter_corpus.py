"""Frames and expressions for filters, made without a draw: every kind of packet, every cut, and every single test."""

import ipaddress
import itertools
import random
import struct

from filter_oracle import (
    ADDRESSES,
    ADDRESSES6,
    BROADCAST,
    GROUP,
    NETWORKS,
    NETWORKS6,
    OTHER,
    OWN,
    TAG_IDS,
    Pair,
    address,
    destination,
    port,
    vlan,
)

from ingest.rings.filter import And, Cast, Not, Or, Protocol

PORTS = [0, 1, 53, 30000, 30001, 30002, 30009, 30010, 30011, 65534, 65535]
RANGES = [[30001, 30010], [0, 53], [30010, 65535], [0, 65535]]
TAGS = [[], [0x8100], [0x88A8], [0x88A8, 0x8100], [0x8100, 0x8100], [0x8100, 0x88A8, 0x8100]]
FRAGMENTS = [0, 0x4000, 0x2000, 0x2001, 1, 0x1FFF]


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def ip_packet(transport: int, fragment: int, words: int, ends: tuple[str, str], ports: tuple[int, int]) -> bytes:
    header = struct.pack(">BBHHHBBH", 0x40 | words, 0, words * 4 + 8, 1, fragment, 64, transport, 0)
    options = struct.pack(">H", 30001) * (words * 2 - 10)  # that would be a port, were they not skipped
    return b"\x08\x00" + header + packed(ends[0]) + packed(ends[1]) + options + struct.pack(">HHHH", *ports, 8, 0)


def ip6_packet(transport: int, ends: tuple[str, str], ports: tuple[int, int]) -> bytes:
    header = struct.pack(">IHBB", 6 << 28, 8, transport, 64)
    return b"\x86\xdd" + header + packed(ends[0]) + packed(ends[1]) + struct.pack(">HHHH", *ports, 8, 0)


def arp_packet(kind: bytes, ends: tuple[str, str]) -> bytes:
    return b"\x08\x06\x00\x01" + kind + b"\x00\x01" + OWN + packed(ends[0]) + OTHER + packed(ends[1])


def corpus() -> tuple[list[bytes], list[bytes]]:
    """The same frames each time: a spread over all kinds; and some of each kind at every length from 14 on."""
    chance = random.Random(5)
    pairs, pairs6 = (list(itertools.product(pool, repeat=2)) for pool in (ADDRESSES, ADDRESSES6))
    ports = list(itertools.product(PORTS, repeat=2))
    bodies = [
        ip_packet(*kind, chance.choice(pairs), chance.choice(ports))
        for kind in itertools.product((17, 17, 6, 6, 1, 2, 58), FRAGMENTS, (5, 6, 15))
    ]
    bodies += [ip_packet(17, 0, 5, ends, chance.choice(ports)) for ends in pairs]
    bodies += [ip_packet(chance.choice((6, 17)), 0, 5, chance.choice(pairs), both) for both in ports[::2]]
    bodies += [ip6_packet(number, ends, chance.choice(ports)) for number in (17, 6, 58, 1, 2, 44, 0) for ends in pairs6[::2]]
    bodies += [ip6_packet(17, ends, both) for ends in pairs6 for both in ((30001, 30010), (53, 30001))]
    bodies += [arp_packet(kind, ends) for kind in (b"\x08\x00\x06\x04", b"\x08\x00\x08\x04") for ends in pairs[::3]]
    bodies += [kind + bytes(50) for kind in (b"\x88\xcc", b"\x00\x26", b"\x91\x00")]
    frames = [framed(chance, body, TAGS[number % len(TAGS)]) for number, body in enumerate(bodies)]
    cut: list[bytes] = []
    long = (bodies[0], bodies[2], bodies[18], ip6_packet(17, pairs6[1], ports[50]), arp_packet(b"\x08\x00\x06\x04", pairs[1]))
    for tags, body in itertools.product(TAGS[:5], long):
        whole = framed(chance, body, tags)
        cut += [whole[:length] for length in range(14, len(whole), 1 if len(tags) % 2 == 0 else 3)]
    return frames, cut


def framed(chance: random.Random, body: bytes, tags: list[int]) -> bytes:
    bits = [struct.pack(">HH", tag, chance.choice(TAG_IDS) | chance.choice((0, 0x2000, 0xF000))) for tag in tags]
    return chance.choice((OWN, GROUP, BROADCAST, OTHER)) + OTHER + b"".join(bits) + body


def single_tests() -> list[Pair]:
    """Each test that there is, alone."""
    found: list[Pair] = [(name, Protocol(name)) for name in ("ip", "ip6", "arp", "udp", "tcp", "icmp", "igmp")]
    found += [vlan(number) for number in (None, *TAG_IDS, 7)]
    found += [("multicast", Cast("multicast")), ("broadcast", Cast("broadcast"))]
    for side in ("src", "dst", "either"):
        found += [address(side, text) for text in (*ADDRESSES[:4], *ADDRESSES6[:4], *NETWORKS, *NETWORKS6)]
        found += [port(side, ends) for ends in ([53], [30001], *RANGES)]
        found += [destination(side, "239.1.1.1", [30001]), destination(side, "ff15::1", [30001, 30010])]
    return found


def telling_tests() -> list[Pair]:
    """Expressions in which a place of the program is reached in several ways, with different things loaded."""
    one, two, three = address("dst", "239.1.1.1"), port("dst", [30001, 30010]), address("dst", "10.0.0.1")
    four, five = address("src", "10.0.0.0/8"), ("tcp", Protocol("tcp"))
    found: list[Pair] = [("0.0.0.0/0 or ::/0", Or((address("either", "0.0.0.0/0")[1], address("either", "::/0")[1])))]
    for a, b, c in itertools.permutations((one, two, three, four, five), 3):
        found.append((f"({a[0]} and {b[0]}) or {c[0]}", Or((And((a[1], b[1])), c[1]))))
        found.append((f"not ({a[0]} and {b[0]}) and {c[0]}", And((Not(And((a[1], b[1]))), c[1]))))
        found.append((f"({a[0]} or {b[0]}) and {c[0]}", And((Or((a[1], b[1])), c[1]))))
        found.append((f"not ({a[0]} or not {b[0]}) or {c[0]}", Or((Not(Or((a[1], Not(b[1])))), c[1]))))
    return found
