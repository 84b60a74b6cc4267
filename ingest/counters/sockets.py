"""/proc/net/udp and udp6: what each UDP socket dropped, and who owns it.

Source: net/ipv4/udp.c udp4_format_sock, net/ipv6/udp.c; struct sock sk_drops. The last column is the socket's drops, 32 bits
that wrap: datagrams for which its buffer was full, whose checksum was wrong, or that its filter refused. The owner is told by
its inode, as /proc/PID/fd shows it; whose descriptors those are costs a walk over all processes and is not looked for here.

A read walks the whole hash table of the namespace and prints 128 bytes a socket (some 0.3 ms per thousand): once a second, and
no more than 4 MiB of it.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

LIMIT = 4 << 20


@dataclass(frozen=True, slots=True)
class UdpSocket:
    """One bound socket. ``queued`` are the bytes that wait in its receive buffer."""

    address: str
    port: int
    inode: int
    drops: int
    queued: int

    @property
    def name(self) -> str:
        """``239.1.1.1:30001``."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def parse(raw: bytes) -> tuple[UdpSocket, ...]:
    """The sockets; a line that is none is left out, and so is what lies beyond 4 MiB."""
    found = []
    for line in raw[:LIMIT].split(b"\n")[1:]:
        words = line.split()
        if len(words) < 13:
            continue
        try:
            local, _, port = words[1].partition(b":")
            queued = int(words[4].partition(b":")[2], 16)
            socket = UdpSocket(_address(local), int(port, 16), int(words[9]), int(words[-1]) & 0xFFFFFFFF, queued)
        except (ValueError, struct.error):
            continue
        found.append(socket)
    return tuple(found)


def _address(text: bytes) -> str:
    """The kernel prints the words of an address as numbers of this machine's byte order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    raw = struct.pack(f"={len(words)}I", *words)
    return str(IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw))
