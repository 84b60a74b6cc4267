"""/proc/net/igmp: which multicast groups this host has joined, and where. A group that is silent has no counter.

Source: net/ipv4/igmp.c igmp_mc_seq_show. A line for each interface, one for each of its groups below it. Groups are 32-bit
words of this machine's byte order in hexadecimal. A read costs some µs per hundred groups.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

ALL_HOSTS = "224.0.0.1"  # joined by every interface that speaks multicast


@dataclass(frozen=True, slots=True)
class Joined:
    """The groups of one interface. ``version`` is the IGMP version that is spoken there, ``V3``."""

    ifname: str
    version: str
    groups: tuple[str, ...]


def parse(raw: bytes) -> tuple[Joined, ...]:
    """The interfaces with their groups, the group of all hosts left out."""
    found: list[tuple[str, str, list[str]]] = []
    for line in raw.split(b"\n")[1:]:
        if line[:1].isdigit():
            # the name may hold blanks of Unicode and colons never: number, tab, name, colon, count, version
            head, colon, tail = line.partition(b"\t")[2].rpartition(b":")
            words = tail.split()
            if colon and len(words) >= 2:
                found.append((head.rstrip(b" ").decode("utf-8", "surrogateescape"), words[1].decode("ascii", "replace"), []))
        elif found and line.startswith(b"\t"):
            group = _group(line)
            if group not in ("", ALL_HOSTS):
                found[-1][2].append(group)
    return tuple(Joined(name, version, tuple(groups)) for name, version, groups in found)


def _group(line: bytes) -> str:
    words = line.split()
    try:
        return str(IPv4Address(struct.pack("=I", int(words[0], 16))))
    except (ValueError, IndexError, struct.error):
        return ""
