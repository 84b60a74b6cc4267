"""One datagram read by a framing, in Python: for samples and for tests, not for the ring."""

from collections.abc import Iterator
from dataclasses import dataclass

from ingest.rings.layout import MILLISECONDS, NANOSECONDS, NO_TIME, SECONDS_AND_NANOSECONDS, Framing


@dataclass(frozen=True, slots=True)
class Numbered:
    """What a datagram says of itself. ``count`` numbers from ``sequence`` on; ``time_ns`` is 0 without a send time."""

    scope: bytes
    epoch: bytes
    sequence: int
    count: int
    reset: bool
    time_ns: int


class Unread(ValueError):
    """The datagram is too short for the framing, or its chain is none."""


def read_number(framing: Framing, payload: bytes) -> Numbered | None:
    """What the datagram says; None for one that is not accounted.

    Raises:
        Unread: it cannot be of this format.
    """
    flag = _bytes(payload, framing.flag_offset, framing.flag_width)
    if flag and flag[0] in framing.flag_ignored:
        return None
    sequence = _number(framing, payload, framing.sequence_offset, framing.sequence_width)
    if framing.high_mask:
        mask = framing.high_mask
        high = (_bytes(payload, framing.high_offset, 1)[0] & mask) // (mask & -mask)
        sequence |= high << 32
    if framing.zero_unsequenced and sequence == 0:
        return None
    count = 1
    if framing.count_width:
        count = _number(framing, payload, framing.count_offset, framing.count_width)
        if framing.end_count and count == framing.end_count:
            count = 0
    elif framing.chain_width:
        count = sum(1 for _ in _chain(framing, payload))
    epoch = _bytes(payload, framing.epoch_offset, framing.epoch_width)
    if framing.epoch_mask:
        epoch = bytes([epoch[0] & framing.epoch_mask])
    return Numbered(
        scope=_bytes(payload, framing.scope_offset, framing.scope_width),
        epoch=epoch,
        sequence=sequence,
        count=count,
        reset=bool(flag) and flag[0] in framing.flag_resets,
        time_ns=send_time_ns(framing, payload),
    )


def send_time_ns(framing: Framing, payload: bytes) -> int:
    """The sender's clock, nanoseconds since 1970; 0 where the format has none.

    Raises:
        Unread: the datagram ends before it.
    """
    if framing.time_kind == NO_TIME:
        return 0
    at = framing.time_offset
    if framing.time_kind == SECONDS_AND_NANOSECONDS:
        return _number(framing, payload, at, 4) * 1_000_000_000 + _number(framing, payload, at + 4, 4)
    factor = {NANOSECONDS: 1, MILLISECONDS: 1_000_000}[framing.time_kind]
    return _number(framing, payload, at, 8) * factor


def said_size(framing: Framing, payload: bytes) -> int | None:
    """How long the datagram says that it is, in bytes; None where the format does not say.

    Raises:
        Unread: the datagram ends before the field.
    """
    if not framing.size_width:
        return None
    return _number(framing, payload, framing.size_offset, framing.size_width) + framing.size_excludes


def _chain(framing: Framing, payload: bytes) -> Iterator[int]:
    """Where each header of the datagram begins."""
    at = 0
    while at < len(payload):
        length = _number(framing, payload, at + framing.chain_offset, framing.chain_width)
        if length < framing.chain_offset + framing.chain_width or length > len(payload) - at:
            raise Unread(f"a header at {at} that is {length} bytes long")
        yield at
        at += length


def _number(framing: Framing, payload: bytes, offset: int, width: int) -> int:
    return int.from_bytes(_bytes(payload, offset, width), "big" if framing.big_endian else "little")


def _bytes(payload: bytes, offset: int, width: int) -> bytes:
    if len(payload) < offset + width and width:
        raise Unread(f"{len(payload)} bytes; the format needs {offset + width}")
    return payload[offset : offset + width]
