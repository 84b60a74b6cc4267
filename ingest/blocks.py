"""The blocks of a recording: how they lie in a file or a pipe, and how they are found again where something is damaged.

A recording is a head and blocks, all numbers little-endian. The head: ``MAGIC``, version u32, length u32, then CRC-32 u32 of
all that and of the JSON object that follows, which says whose samples these are. A block: ``SYNC``, length u32, time i64 (ns
since 1970), flags u32 (bit 0: the line stands for itself), CRC-32 u32 of the payload, CRC-32 u32 of the 24 bytes before it,
then the payload: a line of ``ingest.changes``, deflated. A block's head has a sum of its own: a length that was damaged must
not carry the reader away, and what is damaged costs the lines up to the next whole one, which is found by ``SYNC``.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple

from ingest.rows import MAX_LINE, from_line
from ingest.sample import SCHEMA, Sample

MAGIC = b"\x89QCREC\r\n"  # neither text nor whole after a transfer that takes it for text
VERSION = 1
SYNC = b"\xa5QCb"
WHOLE = 1
LEVEL = 1  # of deflate: a third of what level 6 costs, a seventh more bytes
MAX_GROUP = 4096  # lines from a whole one on: what one look may have to read
_HEAD = struct.Struct("<8sII")
_BLOCK = struct.Struct("<4sIqII")
_SUM = struct.Struct("<I")
BLOCK_BYTES = _BLOCK.size + _SUM.size
MAX_PAYLOAD = MAX_LINE + (MAX_LINE >> 8)  # deflate never makes more of a line
_MAX_HEAD = 1 << 16


class RecordingError(ValueError):
    """What is no recording, or cannot be read as one; the text says what and why."""


@dataclass(frozen=True, slots=True)
class Header:
    """Whose samples these are, as of the first of them. ``source`` is the samples' own, ``started_s`` seconds since 1970."""

    host: str = ""
    kernel: str = ""
    source: str = ""
    started_s: float = 0.0


class Block(NamedTuple):
    """One line as it is kept. ``offset`` is where its head begins."""

    offset: int
    time_ns: int
    whole: bool
    payload: bytes

    @property
    def line(self) -> bytes:
        """The line.

        Raises:
            RecordingError: it is none, or longer than a line may be.
        """
        return inflate(self.payload)


def header_of(sample: Sample) -> Header:
    """The header of a recording that begins with ``sample``."""
    return Header(sample.host, sample.kernel, sample.source, sample.time_s)


def head(header: Header) -> bytes:
    """A recording's first bytes."""
    text = json.dumps({"schema": SCHEMA, **asdict(header)}).encode()
    first = _HEAD.pack(MAGIC, VERSION, len(text))
    return first + _SUM.pack(zlib.crc32(first + text)) + text


def deflate(line: bytes) -> bytes:
    """A line as a payload."""
    return zlib.compress(line, LEVEL)


def inflate(payload: bytes) -> bytes:
    """A payload's line.

    Raises:
        RecordingError: no deflated line, or a longer one than there may be.
    """
    unpacking = zlib.decompressobj()
    try:
        line = unpacking.decompress(payload, MAX_LINE)
    except zlib.error as error:
        raise RecordingError(f"a block that cannot be unpacked: {error}") from error
    if not unpacking.eof:
        raise RecordingError(f"a block of more than {MAX_LINE} bytes, or of half a line")
    return line


def pack(payload: bytes, time_ns: int, whole: bool) -> bytes:
    """A block."""
    first = _BLOCK.pack(SYNC, len(payload), time_ns, WHOLE if whole else 0, zlib.crc32(payload))
    return first + _SUM.pack(zlib.crc32(first)) + payload


def unpack(data: bytes, at: int = 0) -> tuple[int, int, bool, int] | None:
    """Length, time, whether it is whole, and sum of the payload by the block's head at ``at``; None where there is none."""
    if len(data) - at < BLOCK_BYTES:
        return None
    sync, length, time_ns, flags, payload_sum = _BLOCK.unpack_from(data, at)
    (own_sum,) = _SUM.unpack_from(data, at + _BLOCK.size)
    if sync != SYNC or length > MAX_PAYLOAD or zlib.crc32(data[at : at + _BLOCK.size]) != own_sum:
        return None
    return length, time_ns, bool(flags & WHOLE), payload_sum


class Scanner:
    """Finds the blocks in bytes that come bit by bit, from a file or a pipe.

    Only lines that can be made samples again come out: behind damage the next one is a whole one.

    Attributes:
        header: known once the head has come; an empty one where it is damaged.
        damages: places where bytes had to be left out.
        skipped: bytes that were left out there.
        lost: whole blocks that were left out because what they stand upon was.
    """

    def __init__(self) -> None:
        self.header: Header | None = None
        self.damages = self.skipped = self.lost = 0
        self._data = bytearray()
        self._offset = 0  # of the data's first byte
        self._group = 0  # lines since a whole one; 0: one is awaited
        self._damaged = False

    @property
    def pending(self) -> int:
        """Bytes that are no block yet: at the end of a file, what a cut left over."""
        return len(self._data)

    @property
    def done(self) -> int:
        """The offset behind all that was looked at."""
        return self._offset

    def feed(self, data: bytes) -> Iterator[Block]:
        """The blocks that end in ``data``; to be exhausted.

        Raises:
            RecordingError: no recording, or one of another version.
        """
        self._data += data
        at = 0
        if self.header is None:
            taken = self._head()
            if taken is None:
                return
            at = taken
        while True:
            found = self._data.find(SYNC, at)
            if found < 0:
                at = self._skip(at, max(at, len(self._data) - len(SYNC) + 1))
                break
            at = self._skip(at, found)
            if len(self._data) - at < BLOCK_BYTES:
                break
            known = unpack(bytes(self._data[at : at + BLOCK_BYTES]))
            if known is None:
                at = self._skip(at, at + 1)
                continue
            length, time_ns, whole, payload_sum = known
            end = at + BLOCK_BYTES + length
            if len(self._data) < end:
                break
            payload = bytes(self._data[at + BLOCK_BYTES : end])
            if zlib.crc32(payload) != payload_sum:
                at = self._skip(at, at + 1)
                continue
            self._damaged = False
            if self._follows(whole):
                yield Block(self._offset + at, time_ns, whole, payload)
            at = end
        del self._data[:at]
        self._offset += at

    def _follows(self, whole: bool) -> bool:
        """Whether what a line stands upon came out before it."""
        if not whole and not 0 < self._group < MAX_GROUP:
            self.lost += 1
            self._group = 0
            return False
        self._group = 1 if whole else self._group + 1
        return True

    def _skip(self, start: int, end: int) -> int:
        if end > start:
            self.damages += not self._damaged
            self.skipped += end - start
            self._damaged, self._group = True, 0
        return end

    def _head(self) -> int | None:
        """Where the blocks begin; None where the head has not come yet."""
        wrong = sum(one != two for one, two in zip(self._data, MAGIC, strict=False))
        if wrong > (len(self._data) >= len(MAGIC)):  # one damaged byte is not to cost the rest
            raise RecordingError("not a recording of quietcore")
        start = _HEAD.size + _SUM.size
        if len(self._data) < start:
            return None
        first = bytes(self._data[: _HEAD.size])
        _, version, length = _HEAD.unpack(first)
        if length <= _MAX_HEAD and len(self._data) < start + length and self._data.find(SYNC) < 0:
            return None
        text = bytes(self._data[start : start + length])
        if wrong or length > _MAX_HEAD or (zlib.crc32(first + text),) != _SUM.unpack_from(self._data, _HEAD.size):
            self.header = Header()
            return 0
        if version != VERSION:
            raise RecordingError(f"a recording of version {version}; this quietcore reads version {VERSION}")
        self.header = _header(text)
        return start + int(length)


def _header(text: bytes) -> Header:
    try:
        record = from_line(text)
    except (ValueError, RecursionError):
        return Header()
    words = {name: value for name in ("host", "kernel", "source") if isinstance(value := record.get(name), str)}
    started_s = record.get("started_s")
    return Header(**words, started_s=float(started_s) if isinstance(started_s, int | float) else 0.0)
