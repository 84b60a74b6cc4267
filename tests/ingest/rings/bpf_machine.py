"""Classic BPF as a Linux socket filter runs it, on a packet as the receive path leaves it. For the tests only."""

from dataclasses import dataclass

TAGS = (0x8100, 0x88A8)
NET_OFF = -0x100000
AD_OFF = -0x1000


@dataclass(frozen=True)
class Packet:
    """An skb as tpacket_rcv shows it to a filter: ``network`` is where the network header begins in ``data``."""

    data: bytes
    network: int
    protocol: int
    packet_type: int = 0
    tag: int | None = None


def received(frame: bytes, own: bytes) -> Packet | None:
    """What eth_type_trans and skb_vlan_untag make of a frame on the wire; None: they drop it."""
    kind, tag = int.from_bytes(frame[12:14]), None
    if kind in TAGS:
        if len(frame) < 20:
            return None
        tag = int.from_bytes(frame[14:16])
        kind = int.from_bytes(frame[16:18])
        frame = frame[:12] + frame[16:]
    packet_type = 0 if frame[:6] == own else 1 if frame[:6] == b"\xff" * 6 else 2 if frame[0] & 1 else 3
    return Packet(frame, 14, kind if kind >= 0x600 else 4, packet_type, tag)


def headerless(packet: Packet) -> Packet:
    """The same on a link without a header."""
    return Packet(packet.data[packet.network :], 0, packet.protocol, packet.packet_type, packet.tag)


class Beyond(Exception):
    """A load from where there is nothing."""


LOADS = {0x20: 4, 0x28: 2, 0x30: 1}
CALCULATIONS = {0x04: lambda a, x, k: a + k, 0x1C: lambda a, x, k: a - x, 0x54: lambda a, x, k: a & k}
JUMPS = {0x15: lambda a, k: a == k, 0x25: lambda a, k: a > k, 0x35: lambda a, k: a >= k, 0x45: lambda a, k: a & k}


def run(program: tuple[tuple[int, int, int, int], ...], packet: Packet) -> int:
    """What the program returns. Checks what the kernel checks when it takes a program."""
    assert 0 < len(program) <= 4096
    assert program[-1][0] == 0x06
    a = x = at = 0
    while True:
        code, yes, no, k = program[at]
        assert min(yes, no, k) >= 0
        assert max(yes, no) < 256
        assert k < 1 << 32
        at += 1
        if code == 0x06:
            return k
        if code == 0x05:
            at += k
        elif code in JUMPS:
            at += yes if JUMPS[code](a, k) else no
        else:
            try:
                a, x = step(code, a, x, k, packet)
            except Beyond:
                return 0


def step(code: int, a: int, x: int, k: int, packet: Packet) -> tuple[int, int]:
    """One instruction that goes on to the next; the new A and X."""
    if code == 0xB1:
        return a, 4 * (load(packet, signed(k), 1) & 15)
    if code == 0x80:
        return len(packet.data), x
    if code == 0x48:
        return load(packet, x + signed(k), 2), x
    if code in LOADS:
        return load(packet, signed(k), LOADS[code]), x
    return CALCULATIONS[code](a, x, k) & 0xFFFFFFFF, x


def signed(k: int) -> int:
    return k - (1 << 32) if k >= 1 << 31 else k


def load(packet: Packet, k: int, size: int) -> int:
    if k >= AD_OFF and k < 0:
        return {
            0: packet.protocol,
            4: packet.packet_type,
            44: packet.tag or 0,
            48: int(packet.tag is not None),
        }[k - AD_OFF]
    start = k if k >= 0 else packet.network + k - NET_OFF
    assert start >= 0
    if start + size > len(packet.data):
        raise Beyond
    return int.from_bytes(packet.data[start : start + size])
