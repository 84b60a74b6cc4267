"""Streams as a venue would send them by a framing, with random bodies; what the network does to them comes after."""

import random
from dataclasses import dataclass

from ingest.rings.layout import MILLISECONDS, NANOSECONDS, SECONDS_AND_NANOSECONDS, Framing

START_NS = 1_700_000_000_123_456_789


@dataclass
class Sender:
    """One venue's stream with ``scopes`` parallel numberings where the framing has a scope."""

    framing: Framing
    randoms: random.Random
    first: int = 1000
    most_messages: int = 6
    now_ns: int = START_NS

    def __post_init__(self) -> None:
        width = self.framing.scope_width
        self.scopes = [self.randoms.randbytes(width) for _ in range(3)] if width else [b""]
        self.next = dict.fromkeys(self.scopes, self.first)
        self.epoch = bytes(self.randoms.randrange(0x30, 0x5B) for _ in range(self.framing.epoch_width))
        # what no framing names: some of it stays as it is, some changes with each datagram
        self.constant = self.randoms.randbytes(64)

    @property
    def header(self) -> int:
        framing = self.framing
        time = {NANOSECONDS: 8, SECONDS_AND_NANOSECONDS: 8, MILLISECONDS: 8}.get(framing.time_kind, 0)
        return max(
            framing.sequence_offset + framing.sequence_width,
            framing.count_offset + framing.count_width,
            framing.scope_offset + framing.scope_width,
            framing.epoch_offset + framing.epoch_width,
            framing.flag_offset + framing.flag_width,
            framing.chain_offset + framing.chain_width,
            framing.time_offset + time,
            framing.size_offset + framing.size_width,
        )

    def datagram(self, count: int | None = None, flag: int | None = None, scope: bytes | None = None) -> bytes:
        """The next datagram, with ``count`` messages."""
        framing = self.framing
        scope = self.randoms.choice(self.scopes) if scope is None else scope
        if count is None:
            count = self.randoms.randint(1, self.most_messages)
        if not framing.count_width and not framing.chain_width:
            count = 1
        sequence = self.next[scope]
        self.now_ns += self.randoms.randint(1_000, 3_000_000)
        if framing.chain_width:
            data = b"".join(self._one(sequence + n, 1, flag, scope) for n in range(count))
        else:
            data = self._one(sequence, count, flag, scope)
        self.next[scope] = sequence + count
        return data

    def _one(self, sequence: int, count: int, flag: int | None, scope: bytes) -> bytes:
        framing = self.framing
        body = self.randoms.randbytes(self.randoms.randint(3, 40) * max(count, 1))
        data = bytearray(self.constant[: self.header])
        for at in range(2, self.header, 3):
            data[at] = self.randoms.randrange(256)
        data += body
        order = "big" if framing.big_endian else "little"

        def put(offset: int, width: int, number: int) -> None:
            data[offset : offset + width] = number.to_bytes(width, order)

        data[framing.epoch_offset : framing.epoch_offset + framing.epoch_width] = self.epoch
        data[framing.scope_offset : framing.scope_offset + framing.scope_width] = scope
        put(framing.sequence_offset, framing.sequence_width, sequence & ((1 << 8 * framing.sequence_width) - 1))
        if framing.high_mask:
            mask = framing.high_mask
            data[framing.high_offset] = data[framing.high_offset] & ~mask | (sequence >> 32) * (mask & -mask)
        if framing.count_width:
            put(framing.count_offset, framing.count_width, count)
        if framing.flag_width:
            usual = sorted(set(range(256)) - framing.flag_ignored - framing.flag_resets)
            data[framing.flag_offset] = usual[0] if flag is None else flag
        if framing.time_kind == SECONDS_AND_NANOSECONDS:
            put(framing.time_offset, 4, self.now_ns // 10**9)
            put(framing.time_offset + 4, 4, self.now_ns % 10**9)
        elif framing.time_kind:
            put(framing.time_offset, 8, self.now_ns // (10**6 if framing.time_kind == MILLISECONDS else 1))
        if framing.size_width:
            put(framing.size_offset, framing.size_width, len(data) - framing.size_excludes)
        if framing.chain_width:
            put(framing.chain_offset, framing.chain_width, len(data))
        return bytes(data)

    def stream(self, datagrams: int) -> list[bytes]:
        """Datagrams with a heartbeat and an unaccounted one now and then."""
        ignored = sorted(self.framing.flag_ignored)
        sent = []
        for n in range(datagrams):
            if self.framing.count_width and n % 37 == 36:
                sent.append(self.datagram(count=0))
            if ignored and n % 41 == 40:
                scope = self.randoms.choice(self.scopes)
                before = self.next[scope]
                sent.append(self.datagram(flag=self.randoms.choice(ignored), scope=scope))
                self.next[scope] = before
            sent.append(self.datagram())
        return sent


def through_a_network(sent: list[bytes], randoms: random.Random, lose: float = 0.02, swap: float = 0.03) -> list[bytes]:
    """What is left, in the order of arrival."""
    arrived = [datagram for datagram in sent if randoms.random() >= lose]
    for at in range(1, len(arrived) - 3):
        if randoms.random() < swap:
            arrived[at], arrived[at + 1] = arrived[at + 1], arrived[at]
    return arrived
