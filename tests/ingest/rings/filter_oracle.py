"""What a filter means, read off the frame as it was on the wire; and expressions and frames at random."""

import ipaddress
import struct
from dataclasses import dataclass

from hypothesis import strategies as st

from ingest.rings.filter import Address, And, Cast, Not, Or, Port, Protocol, Test, Vlan

OWN = b"\x02\x00\x00\x00\x00\x01"
BROADCAST = b"\xff" * 6
GROUP = b"\x01\x00\x5e\x01\x01\x01"
OTHER = b"\x02\x00\x00\x00\x99\x99"


# ------------------------------------------------------------------------------------------------------- the meaning


@dataclass(frozen=True)
class Dissected:
    link: bytes
    tags: list[int]
    version: int  # 4, 6, 0x806 or 0
    header: bytes  # the network header and what follows; empty when it is cut short
    transport: int | None
    ports: tuple[int, int] | None
    addresses: tuple[bytes, bytes] | None


def dissect(frame: bytes) -> Dissected:
    kind, rest = int.from_bytes(frame[12:14]), frame[14:]
    tags: list[int] = []
    while kind in (0x8100, 0x88A8) and len(tags) < 2 and len(rest) >= 4:
        tags.append(int.from_bytes(rest[:2]) % 4096)
        kind, rest = int.from_bytes(rest[2:4]), rest[4:]
    transport = ports = addresses = None
    version = {0x0800: 4, 0x86DD: 6, 0x0806: 0x806}.get(kind, 0)
    if version == 4 and len(rest) >= 20:
        transport, addresses = rest[9], (rest[12:16], rest[16:20])
        fragment = (rest[6] & 0x1F) * 256 + rest[7]
        behind = rest[(rest[0] % 16) * 4 :]
        if transport in (6, 17) and fragment == 0 and len(behind) >= 4:
            ports = struct.unpack(">HH", behind[:4])
    elif version == 6 and len(rest) >= 40:
        transport, addresses = rest[6], (rest[8:24], rest[24:40])
        if transport in (6, 17) and len(rest) >= 44:
            ports = struct.unpack(">HH", rest[40:44])
    elif version == 0x806 and len(rest) >= 28 and rest[2:6] == b"\x08\x00\x06\x04":
        addresses = (rest[14:18], rest[24:28])
    return Dissected(frame[:6], tags, version, rest, transport, ports, addresses)


def means(test: Test, seen: Dissected) -> bool:
    match test:
        case Not(inner):
            return not means(inner, seen)
        case And(tests):
            return all(means(each, seen) for each in tests)
        case Or(tests):
            return any(means(each, seen) for each in tests)
        case Protocol(name):
            if name in ("ip", "ip6", "arp"):
                return seen.version == {"ip": 4, "ip6": 6, "arp": 0x806}[name]
            numbers = {"udp": (17, 17), "tcp": (6, 6), "icmp": (1, 58), "igmp": (2, -1)}[name]
            return seen.transport == numbers[seen.version == 6]
        case Vlan(number):
            return bool(seen.tags) if number is None else number in seen.tags
        case Cast("broadcast"):
            return seen.link == BROADCAST or (
                seen.version == 4 and seen.addresses is not None and seen.addresses[1] == BROADCAST[:4]
            )
        case Cast():
            to_group = bool(seen.link[0] & 1) and seen.link not in (BROADCAST, OWN)
            if seen.version in (4, 6) and seen.addresses is not None:
                to_group |= ipaddress.ip_address(seen.addresses[1]).is_multicast
            return to_group
        case Address(side, network):
            pair = seen.addresses or ()
            ends = pair if side == "either" else pair[:1] if side == "src" else pair[1:]
            return any(len(end) * 8 == network.max_prefixlen and ipaddress.ip_address(end) in network for end in ends)
        case Port(side, lowest, highest):
            numbers = seen.ports or ()
            ends = numbers if side == "either" else numbers[:1] if side == "src" else numbers[1:]
            return any(lowest <= end <= highest for end in ends)
    raise AssertionError(test)


# ------------------------------------------------------------------------------------------------------- expressions

ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.128.0.1", "239.1.1.1", "224.0.0.251", "255.255.255.255", "0.0.0.0"]
ADDRESSES6 = ["fe80::1", "2001:db8::1", "2001:db8:0:1::1", "ff15::1", "::"]
NETWORKS = ["10.0.0.0/8", "10.0.0.0/24", "10.0.0.0/31", "239.1.1.1/32", "224.0.0.0/4", "0.0.0.0/0"]
NETWORKS6 = ["2001:db8::/32", "2001:db8::/63", "2001:db8::/65", "ff00::/8", "::/0", "fe80::1/128"]
PORTS = [0, 53, 30001, 30002, 30010, 65535]
TAG_IDS = [0, 5, 100, 4095]

Pair = tuple[str, Test]
sides = st.sampled_from(["src", "dst", "either"])


def behind(side: str, text: str) -> str:
    return text if side == "either" else f"{side} {text}"


def port_range(ends: list[int]) -> tuple[str, int, int]:
    lowest, highest = min(ends), max(ends)
    return (f"{lowest}-{highest}" if len(ends) > 1 else str(lowest)), lowest, highest


def address(side: str, text: str) -> Pair:
    return behind(side, text), Address(side, ipaddress.ip_network(text))


def port(side: str, ends: list[int]) -> Pair:
    text, lowest, highest = port_range(ends)
    return behind(side, f"port {text}"), Port(side, lowest, highest)


def destination(side: str, where: str, ends: list[int]) -> Pair:
    text, lowest, highest = port_range(ends)
    network = ipaddress.ip_network(where)
    written = f"[{where}]:{text}" if network.version == 6 else f"{where}:{text}"
    both = [And((Address(end, network), Port(end, lowest, highest))) for end in ("src", "dst") if side in (end, "either")]
    return behind(side, written), Or(tuple(both)) if len(both) > 1 else both[0]


def vlan(number: int | None) -> Pair:
    return ("vlan" if number is None else f"vlan {number}"), Vlan(number)


some_ports = st.lists(st.sampled_from(PORTS), min_size=1, max_size=2, unique=True)
protocols: st.SearchStrategy[Pair] = st.one_of(
    st.sampled_from(["ip", "ip6", "arp", "udp", "tcp", "icmp", "igmp"]).map(lambda name: (name, Protocol(name))),
    st.one_of(st.none(), st.sampled_from(TAG_IDS)).map(vlan),
)
tests: st.SearchStrategy[Pair] = st.one_of(
    st.builds(address, sides, st.sampled_from(ADDRESSES + ADDRESSES6 + NETWORKS + NETWORKS6)),
    st.builds(port, sides, some_ports),
    st.builds(destination, sides, st.sampled_from(ADDRESSES + ADDRESSES6), some_ports),
    st.sampled_from(["multicast", "broadcast"]).map(lambda kind: (kind, Cast(kind))),
)


def joined(parts: list[Pair], words: tuple[str, type]) -> Pair:
    word, kind = words
    return "(" + word.join(text for text, _ in parts) + ")", kind(tuple(test for _, test in parts))


def negated(word: str, pair: Pair) -> Pair:
    return f"{word}{pair[0]}", Not(pair[1])


def adjacent(before: Pair, after: Pair) -> Pair:
    return f"({before[0]} {after[0]})", And((before[1], after[1]))


def chained(before: Pair, after: Pair) -> Pair:
    """Behind a not without parentheses, which reaches over all that is adjacent."""
    return f"(not {before[0]} {after[0]})", Not(And((before[1], after[1])))


def mixed(one: Pair, two: Pair, three: Pair) -> Pair:
    """``and`` binds tighter than ``or``."""
    return f"({one[0]} or {two[0]} && {three[0]})", Or((one[1], And((two[1], three[1]))))


joints = st.sampled_from([(" and ", And), ("&&", And), (" or ", Or), ("||", Or)])
expressions: st.SearchStrategy[Pair] = st.recursive(
    st.one_of(protocols, tests),
    lambda inner: st.one_of(
        st.builds(joined, st.lists(inner, min_size=2, max_size=4), joints),
        st.builds(negated, st.sampled_from(["not ", "!"]), inner),
        st.builds(adjacent, protocols, inner),
        st.builds(chained, protocols, tests),
        st.builds(mixed, inner, inner, inner),
    ),
    max_leaves=10,
)


# ------------------------------------------------------------------------------------------------------------ frames


def pick(draw: st.DrawFn, choices: list) -> object:
    return draw(st.sampled_from(choices))


@st.composite
def frames(draw: st.DrawFn, complete: bool = False) -> bytes:
    """A frame on the wire: what the expressions ask about, often; cut short, sometimes, unless it has to be ``complete``."""
    tags = b"".join(
        pick(draw, [b"\x81\x00", b"\x88\xa8"]) + struct.pack(">H", pick(draw, TAG_IDS) | pick(draw, [0, 0x2000, 0xF000]))
        for _ in range(pick(draw, [0, 0, 0, 1, 1, 2, 3]))
    )
    kind = pick(draw, ["ip", "ip", "ip", "ip6", "ip6", "arp", "other"])
    body = {"ip": ip_packet, "ip6": ip6_packet, "arp": arp_packet, "other": other_packet}[kind](draw)
    frame = pick(draw, [OWN, OWN, GROUP, BROADCAST, OTHER]) + OTHER + tags + body
    if not complete and draw(st.booleans()):
        frame = frame[: draw(st.integers(14, len(frame)))]
    return frame


def segment(draw: st.DrawFn) -> bytes:
    return struct.pack(">HHHH", pick(draw, PORTS), pick(draw, PORTS), 8, 0)


def ip_packet(draw: st.DrawFn) -> bytes:
    words = draw(st.sampled_from([5, 5, 5, 6, 15]))
    fragment = pick(draw, [0, 0, 0, 0x4000, 0x2000, 0x2001, 1, 0x1FFF])
    transport = pick(draw, [17, 17, 6, 1, 2, 58])
    ends = b"".join(ipaddress.ip_address(pick(draw, ADDRESSES)).packed for _ in range(2))
    header = struct.pack(">BBHHHBBH", 0x40 | words, 0, words * 4 + 8, 1, fragment, 64, transport, 0) + ends
    return b"\x08\x00" + header + b"\x01" * (words * 4 - 20) + segment(draw)


def ip6_packet(draw: st.DrawFn) -> bytes:
    transport = pick(draw, [17, 17, 6, 58, 44, 0, 2])
    ends = b"".join(ipaddress.ip_address(pick(draw, ADDRESSES6)).packed for _ in range(2))
    return b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, 8, transport, 64) + ends + segment(draw)


def arp_packet(draw: st.DrawFn) -> bytes:
    ends = [ipaddress.ip_address(pick(draw, ADDRESSES)).packed for _ in range(2)]
    kind = pick(draw, [b"\x08\x00\x06\x04", b"\x08\x00\x06\x04", b"\x08\x00\x08\x04"])
    return b"\x08\x06\x00\x01" + kind + b"\x00\x01" + OWN + ends[0] + OTHER + ends[1]


def other_packet(draw: st.DrawFn) -> bytes:
    return pick(draw, [b"\x88\xcc", b"\x00\x26", b"\x91\x00"]) + draw(st.binary(min_size=40, max_size=60))
