"""/proc/net/packet: who listens by AF_PACKET. Presence only: what a ring lost is told to its owner alone, and once.

Source: net/packet/af_packet.c packet_seq_show; PACKET_STATISTICS clears on read. Ring sockets do not count sk_drops, so no
other process can see their losses. A read costs a µs per socket.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PacketSocket:
    """One socket. ``ifindex`` is 0 where it listens on all interfaces."""

    ifindex: int
    inode: int


def parse(raw: bytes) -> tuple[PacketSocket, ...]:
    """The sockets; a line that is none is left out."""
    found = []
    for line in raw.split(b"\n")[1:]:
        words = line.split()
        # sk RefCnt Type Proto Iface R Rmem User Inode
        if len(words) >= 9 and words[4].isdigit() and words[8].isdigit():
            found.append(PacketSocket(int(words[4]), int(words[8])))
    return tuple(found)
