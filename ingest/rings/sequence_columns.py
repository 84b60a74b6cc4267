"""The numbers of many datagrams as columns of numpy, and the rows in which they follow each other.

What is read of a payload is what ``datagram_python.py`` reads of it. The columns are in the order of streams, and within a
stream in that of arrival; where a number is not the one that follows, a new row of datagrams begins.
"""

import numpy as np
from numpy.typing import NDArray

from ingest.rings.datagram_python import is_narrow, needed
from ingest.rings.frames_numpy import UDP_BYTES, Column, Frames, Mask, Words, count_of
from ingest.rings.layout import MILLISECONDS, NO_TIME, SECONDS_AND_NANOSECONDS, Framing

REACH = 256  # bytes of payload: a framing whose fields lie beyond is read packet by packet
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_IGNORED, _BEGINS = 1, 2
_NONE = np.zeros(0, np.int64)
_FIRST = np.zeros(1, np.int64)


def is_constant(column: Words) -> bool:
    """Whether all are the same, of one at least."""
    return not count_of(column != column[0])


def by_stream(keys: Words, scopes: Words | None = None) -> Column | None:
    """The order that puts a stream's datagrams together and leaves them in theirs; None where all are of one stream.

    Sorted by 16 bits of a hash, which numpy does without comparing. Streams that share them lie mixed: slower, not wrong.
    """
    if (scopes is None or is_constant(scopes)) and is_constant(keys):
        return None
    spread = keys * _SPREAD
    if scopes is not None:
        spread ^= scopes
        spread ^= spread >> np.uint64(29)
        spread *= _SPREAD
    return (spread >> np.uint64(48)).astype(np.uint16).argsort(kind="stable")


class Numbered:
    """Datagrams of one framing, by stream.

    ``at``: their places among the frames; None: all, as they lie. ``starts``: where rows begin. ``sent``: the sender's clock
    (ns modulo 2^64, 0: none). ``unread`` and ``ignored`` are no longer among the columns.
    """

    def __init__(self, framing: Framing, at: Column | None, keys: Words) -> None:
        self.framing, self.at, self.keys = framing, at, keys
        self.unread = self.ignored = 0
        self.sequence = self.count = self.starts = _NONE
        self.epoch: tuple[Words, ...] = ()
        self.scopes: Words | None = None
        self.begins: Mask | None = None
        self.sent: Words | None = None

    def picked(self, column: NDArray[np.int64]) -> NDArray[np.int64]:
        """A column of the frames as one of these."""
        return column if self.at is None else column[self.at]

    def epoch_of(self, row: int) -> bytes:
        """The epoch of a datagram, as ``SequencedStream`` compares it."""
        return b"".join([int(word[row]).to_bytes(8, "little") for word in self.epoch])[: self.framing.epoch_width]

    def keep(self, wanted: Mask | Column) -> None:
        """Only these of what was read so far, or all of it in another order."""
        self.at = (np.arange(self.keys.size) if self.at is None else self.at)[wanted]
        self.keys = self.keys[wanted]
        if self.sequence.size:
            self.sequence = self.sequence[wanted]
        if self.begins is not None:
            self.begins = self.begins[wanted]
        if self.scopes is not None:
            self.scopes = self.scopes[wanted]

    def leave_out(self, unwanted: Mask) -> int:
        """How many these are."""
        count = count_of(unwanted)
        if count:
            self.keep(~unwanted)
        return count


class PayloadReader:
    """Reads what one framing says of payloads."""

    def __init__(self, framing: Framing) -> None:
        self.framing = framing
        self.needed = needed(framing)
        self.reach = max(self.needed, framing.flag_offset + 1)
        self._flags: NDArray[np.uint8] | None = None
        if framing.flag_ignored or framing.flag_resets:
            self._flags = np.zeros(256, np.uint8)
            self._flags[list(framing.flag_ignored)] = _IGNORED
            self._flags[list(framing.flag_resets)] = _BEGINS

    @property
    def reads(self) -> bool:
        """Whether it can: a chain has to be followed, and fields that lie far apart are not worth it."""
        return not self.framing.chain_width and self.reach <= REACH

    def read(self, frames: Frames, at: Column | None, keys: Words) -> Numbered:
        """The numbers of the datagrams ``at`` those places, whose streams have these keys."""
        base = frames.net + UDP_BYTES
        found = Numbered(self.framing, at, keys)
        self._leave_out(frames, base, found)
        self._number(frames, base, found)
        if not found.keys.size:
            return found
        framing = self.framing
        if framing.scope_width:
            found.scopes = self._bytes(frames, base + framing.scope_offset, framing.scope_width, found)
            order = by_stream(found.keys, found.scopes)
            if order is not None:
                found.keep(order)
        found.count = self._count(frames, base, found)
        found.epoch = self._epoch(frames, base + framing.epoch_offset, found)
        if framing.time_kind != NO_TIME:
            found.sent = self._sent(frames, base + framing.time_offset, found)
        found.starts = self._starts(found)
        return found

    def scopes(self, frames: Frames, at: Column) -> Words | None:
        """The scopes of datagrams, also of those that are too short to have one; None where they cannot be read as a column."""
        if not self.framing.scope_width:
            return np.zeros(at.size, np.uint64)
        if not self.reads:
            return None
        return frames.words.value(frames.net + UDP_BYTES + self.framing.scope_offset, self.framing.scope_width, False)[at]

    def _leave_out(self, frames: Frames, base: int, found: Numbered) -> None:
        """What the format does not count, and what is too short to be read."""
        length = self._value(frames, frames.net + 24, 2, found, big_endian=True)
        captured = found.picked(frames.captured)
        before = UDP_BYTES + frames.net - frames.mac
        if self._flags is not None:
            offset = self.framing.flag_offset
            flags = self._flags[self._value(frames, base + offset, 1, found).astype(np.intp)]
            flags[(length < offset + 9) | (captured < before + offset + 1)] = 0
            found.begins = flags == _BEGINS
            ignored = flags == _IGNORED
            found.ignored += found.leave_out(ignored)
            if found.ignored:
                length, captured = length[~ignored], captured[~ignored]
        found.unread += found.leave_out((length < self.needed + 8) | (captured < before + self.needed))

    def _number(self, frames: Frames, base: int, found: Numbered) -> None:
        framing = self.framing
        value = self._value(frames, base + framing.sequence_offset, framing.sequence_width, found, framing.big_endian)
        found.sequence = value.view(np.int64)
        if framing.zero_unsequenced:
            found.ignored += found.leave_out(found.sequence == 0)
        if framing.sequence_width == 8:
            found.unread += found.leave_out(found.sequence < 0)  # beyond LAST_SEQUENCE
        if framing.high_mask:
            high = self._value(frames, base + framing.high_offset, 1, found).view(np.int64) & framing.high_mask
            found.sequence = found.sequence | high // (framing.high_mask & -framing.high_mask) << 32

    @staticmethod
    def _value(frames: Frames, offset: int, width: int, found: Numbered, big_endian: bool = False) -> Words:
        value = frames.words.value(offset, width, big_endian)
        return value if found.at is None else value[found.at]

    def _count(self, frames: Frames, base: int, found: Numbered) -> Column:
        framing = self.framing
        if not framing.count_width:
            return np.ones(found.keys.size, np.int64)
        value = self._value(frames, base + framing.count_offset, framing.count_width, found, framing.big_endian)
        count = value.view(np.int64)
        if framing.end_count:
            ends = count == framing.end_count
            if count_of(ends):
                count = np.where(ends, 0, count)
        return count

    def _bytes(self, frames: Frames, offset: int, width: int, found: Numbered) -> Words:
        return self._value(frames, offset, min(width, 8), found)

    def _epoch(self, frames: Frames, offset: int, found: Numbered) -> tuple[Words, ...]:
        width = self.framing.epoch_width
        if not width:
            return ()
        first = self._bytes(frames, offset, width, found)
        if self.framing.epoch_mask:
            first = first & np.uint64(self.framing.epoch_mask)
        return (first,) if width <= 8 else (first, self._bytes(frames, offset + 8, width - 8, found))

    def _sent(self, frames: Frames, offset: int, found: Numbered) -> Words:
        big_endian = self.framing.big_endian
        if self.framing.time_kind == SECONDS_AND_NANOSECONDS:
            seconds, nanoseconds = (self._value(frames, offset + part, 4, found, big_endian) for part in (0, 4))
            return seconds * np.uint64(1_000_000_000) + nanoseconds
        sent = self._value(frames, offset, 8, found, big_endian)
        return sent * np.uint64(1_000_000) if self.framing.time_kind == MILLISECONDS else sent

    def _starts(self, found: Numbered) -> Column:
        """Where something else comes than the next number of the same stream and epoch."""
        following = found.sequence[:-1] + found.count[:-1]
        if is_narrow(self.framing):
            following &= 0xFFFFFFFF
        breaks = following != found.sequence[1:]
        for column in (found.keys, found.scopes, *found.epoch):
            if column is not None and not is_constant(column):
                breaks |= column[1:] != column[:-1]
        return np.concatenate((_FIRST, breaks.nonzero()[0] + 1))
