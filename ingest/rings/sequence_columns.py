"""The numbers of many datagrams as columns of numpy, and the rows in which they follow each other.

What is read of a payload is what ``datagram_python.py`` reads of it. The columns are in the order of streams, and within a
stream in that of arrival; where a number is not the one that follows, a new row of datagrams begins.
"""

import sys
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingest.rings.datagram_python import is_narrow, needed
from ingest.rings.frames_numpy import UDP_BYTES, Column, Frames, Mask
from ingest.rings.layout import MILLISECONDS, NO_TIME, SECONDS_AND_NANOSECONDS, Framing

REACH = 256  # bytes of payload: a framing whose fields lie beyond is read packet by packet
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_SPREAD_SCOPE = np.uint64(0xC2B2AE3D27D4EB4F)
_IGNORED, _BEGINS = 1, 2
_NATIVE = "<" if sys.byteorder == "little" else ">"

Words = NDArray[np.uint64]


def by_stream(keys: Words, scopes: Words | None = None) -> Column | None:
    """The order that puts a stream's datagrams together and leaves them in theirs; None where all are of one stream.

    Sorted by 16 bits of a hash, which numpy does without comparing. Streams that share them lie mixed: slower, not wrong.
    """
    if (scopes is None or (scopes == scopes[0]).all()) and (keys == keys[0]).all():
        return None
    spread = keys * _SPREAD
    if scopes is not None:
        spread ^= scopes * _SPREAD_SCOPE
        spread ^= spread >> np.uint64(23)
        spread *= _SPREAD
    return (spread >> np.uint64(48)).astype(np.uint16).argsort(kind="stable")


def low_bytes(width: int) -> np.uint64:
    """A mask of so many bytes, the first the lowest."""
    return np.uint64((1 << 8 * min(width, 8)) - 1)


@dataclass(slots=True)
class Numbered:
    """Datagrams of one framing, by stream. ``starts``: where rows begin that need no second look.

    ``at``: their places among the frames. ``sent``: the sender's clock (ns modulo 2^64, 0: none).
    """

    framing: Framing
    at: Column
    keys: Words
    unread: int = 0
    ignored: int = 0
    scopes: Words | None = None
    sequence: Column = field(default_factory=lambda: np.zeros(0, np.int64))
    count: Column = field(default_factory=lambda: np.zeros(0, np.int64))
    epoch: tuple[Words, ...] = ()
    begins: Mask | None = None
    sent: Words | None = None
    starts: Column = field(default_factory=lambda: np.zeros(0, np.int64))

    def epoch_of(self, row: int) -> bytes:
        """The epoch of a datagram, as ``SequencedStream`` compares it."""
        return b"".join(int(word[row]).to_bytes(8, "little") for word in self.epoch)[: self.framing.epoch_width]


class PayloadReader:
    """Reads what one framing says of payloads."""

    def __init__(self, framing: Framing) -> None:
        self.framing = framing
        self.needed = needed(framing)
        # eight bytes are read where a scope or an epoch begins, whatever its width, and the flag of whatever is too short
        scope, epoch = framing.scope_width and framing.scope_offset + 8, framing.epoch_width and framing.epoch_offset + 16
        self.reach = max(self.needed, scope, epoch, framing.flag_offset + 1)
        self._order = ">" if framing.big_endian else "<"
        self._flags: NDArray[np.uint8] | None = None
        if framing.flag_ignored or framing.flag_resets:
            self._flags = np.zeros(256, np.uint8)
            self._flags[list(framing.flag_ignored)] = _IGNORED
            self._flags[list(framing.flag_resets)] = _BEGINS

    @property
    def reads(self) -> bool:
        """Whether it can: a chain has to be followed, and far fields would make rows too wide."""
        return not self.framing.chain_width and self.reach <= REACH

    def read(self, frames: Frames, at: Column, keys: Words) -> Numbered:
        """The numbers of the datagrams ``at`` those places, whose streams have these keys."""
        base = frames.net + UDP_BYTES
        found = self._sound(frames, base, at, keys)
        if not found.at.size:
            return found
        framing = self.framing
        if framing.scope_width:
            found.scopes = self._bytes(frames, base + framing.scope_offset, found.at, framing.scope_width)
            order = by_stream(found.keys, found.scopes)
            if order is not None:
                found.at, found.keys, found.scopes = found.at[order], found.keys[order], found.scopes[order]
                found.sequence = found.sequence[order]
                if found.begins is not None:
                    found.begins = found.begins[order]
        found.count = self._count(frames, base, found.at)
        found.epoch = self._epoch(frames, base, found.at)
        if framing.time_kind != NO_TIME:
            found.sent = self._sent(frames, base + framing.time_offset, found.at)
        found.starts = self._starts(found)
        return found

    def _sound(self, frames: Frames, base: int, at: Column, keys: Words) -> Numbered:
        """Those datagrams that have a number. The others are counted as what they are, in this order."""
        found = Numbered(self.framing, at, keys)
        length = frames.rows.field(frames.net + 24, ">u2")[at].astype(np.int64)
        size = np.minimum(frames.size[at] - UDP_BYTES, np.maximum(length - 8, 0))
        if self._flags is not None:
            offset = self.framing.flag_offset
            flags = self._flags[frames.rows.field(base + offset, "u1")[at]]
            flags[size <= offset] = 0
            found.ignored += self._without(found, ignored := flags == _IGNORED)
            if ignored.any():
                size, flags = size[~ignored], flags[~ignored]
            found.begins = flags == _BEGINS
        found.unread += self._without(found, size < self.needed)
        found.sequence = self._number(frames, base + self.framing.sequence_offset, self.framing.sequence_width, found.at)
        if self.framing.zero_unsequenced:
            found.ignored += self._without(found, found.sequence == 0)
        found.unread += self._without(found, found.sequence < 0)  # beyond LAST_SEQUENCE
        if self.framing.high_mask:
            mask = self.framing.high_mask
            high = frames.rows.field(base + self.framing.high_offset, "u1")[found.at] & np.uint8(mask)
            found.sequence |= high.astype(np.int64) // (mask & -mask) << 32
        return found

    @staticmethod
    def _without(found: Numbered, unwanted: Mask) -> int:
        count = int(np.count_nonzero(unwanted))
        if count:
            wanted = ~unwanted
            found.at, found.keys = found.at[wanted], found.keys[wanted]
            if found.sequence.size:
                found.sequence = found.sequence[wanted]
            if found.begins is not None:
                found.begins = found.begins[wanted]
        return count

    def _number(self, frames: Frames, offset: int, width: int, at: Column) -> Column:
        """Read as signed where it has eight bytes."""
        kind = f"{self._order}{'i' if width == 8 else 'u'}{width}"
        column: Column = frames.rows.field(offset, kind).astype(np.int64)[at]
        return column

    def _count(self, frames: Frames, base: int, at: Column) -> Column:
        framing = self.framing
        if not framing.count_width:
            return np.ones(at.size, np.int64)
        count = self._number(frames, base + framing.count_offset, framing.count_width, at)
        if framing.end_count:
            count[count == framing.end_count] = 0
        return count

    def _bytes(self, frames: Frames, offset: int, at: Column, width: int) -> Words:
        column: Words = frames.rows.field(offset, "<u8").astype(np.uint64)[at]
        return column & low_bytes(width)

    def _epoch(self, frames: Frames, base: int, at: Column) -> tuple[Words, ...]:
        framing = self.framing
        offset, width = base + framing.epoch_offset, framing.epoch_width
        if not width:
            return ()
        first = self._bytes(frames, offset, at, width)
        if framing.epoch_mask:
            first &= np.uint64(framing.epoch_mask)
        return (first,) if width <= 8 else (first, self._bytes(frames, offset + 8, at, width - 8))

    def _sent(self, frames: Frames, offset: int, at: Column) -> Words:
        if self.framing.time_kind == SECONDS_AND_NANOSECONDS:
            seconds, nanoseconds = (
                frames.rows.field(offset + part, f"{self._order}u4").astype(np.uint64)[at] for part in (0, 4)
            )
            return seconds * np.uint64(1_000_000_000) + nanoseconds
        sent: Words = frames.rows.field(offset, f"{self._order}u8").astype(np.uint64)[at]
        return sent * np.uint64(1_000_000) if self.framing.time_kind == MILLISECONDS else sent

    def _starts(self, found: Numbered) -> Column:
        """Where something else comes than the next number of the same stream and epoch."""
        following = found.sequence[:-1] + found.count[:-1]
        if is_narrow(self.framing):
            following &= 0xFFFFFFFF
        breaks = following != found.sequence[1:]
        for column in (found.keys, found.scopes, *found.epoch):
            if column is not None:
                breaks |= column[1:] != column[:-1]
        return np.concatenate((np.zeros(1, np.int64), np.flatnonzero(breaks) + 1))
