"""The journal of one transaction: append-only records, each with its length and CRC, in a file of its own.

A record is one line: eight hexadecimal digits of CRC-32, the length of the JSON text, the JSON text. People can read it with
``less``; nothing in it is ever executed. A file that ends in the middle of a record was cut by a crash while that record was
being written: what stands before it is the truth. A bad record in front of good ones is damage, and is said to be.
The first record names the schema, and the oldest one whose readers may go by it: an update or a downgrade of the tool between
apply and rollback loses nothing.

Records, by their first key ``record``: ``begin`` ``plan`` (together they make the transaction *prepared*) ``armed``
``write``/``wrote`` (before and after each change) ``collateral``/``settled`` (before and after a reset) ``applied``
``confirmed`` ``rolling-back`` ``undo``/``undid`` ``rolled-back`` ``degraded`` ``void``.
"""

import contextlib
import errno
import json
import os
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

SCHEMA = 1
# The oldest schema whose readers understand what this version writes. New keys and new kinds of records leave it as it is:
# readers pass over what they do not know. Only what an older reader would undo wrongly may raise it.
READABLE_FROM = 1
SIZE_LIMIT = 16 << 20
_GLANCE = 4096

Record = Mapping[str, Any]


class JournalError(OSError):
    """The journal cannot be kept: disk full, read-only, I/O error. Nothing may be changed without it."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a journal holds: its good records from the start, their bytes, and what is wrong behind them (empty: nothing)."""

    records: tuple[Record, ...]
    size: int = 0
    damage: str = ""


def encode(record: Record) -> bytes:
    """One record as the line that stands in the file."""
    text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x %d %s\n" % (zlib.crc32(text), len(text), text)


def decode(raw: bytes) -> Contents:
    """The records of a journal. Never raises: a torn end is silent, anything else is told in ``damage``."""
    records: list[Record] = []
    size = 0
    while (end := raw.find(b"\n", size)) >= 0:  # what has no line end is torn
        record = _decode_line(raw[size:end])
        if record is None:
            return Contents(tuple(records), size, f"record {len(records) + 1} is damaged")
        if not records and not _readable(record):
            return Contents((), 0, f"schema {str(record.get('schema'))[:20]!r}, which this version does not read")
        records.append(record)
        size = end + 1
    return Contents(tuple(records), size)


def _readable(begin: Record) -> bool:
    """Whether a journal is of this schema, an older one, or a newer one that says that this version may read it."""
    schema, oldest = begin.get("schema"), begin.get("readable_from")
    if type(schema) is not int or schema < 1:
        return False
    return schema <= SCHEMA or (type(oldest) is int and 1 <= oldest <= SCHEMA)


def _decode_line(line: bytes) -> Record | None:
    crc, _, rest = line.partition(b" ")
    length, _, text = rest.partition(b" ")
    try:
        if len(crc) != 8 or int(crc, 16) != zlib.crc32(text) or not length.isdigit() or int(length) != len(text):
            return None
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("record"), str) else None


class Journal:
    """A journal that is open for appending."""

    def __init__(self, path: str, fd: int, size: int = 0) -> None:
        self.path = path
        self._fd = fd
        self._size = size

    @classmethod
    def create(cls, path: str, records: Iterable[Record]) -> Self:
        """Makes the file with its first records and returns once file and directory are on the disk.

        Raises:
            JournalError: it could not be made durable; the file is removed again, nothing was begun.
        """
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise JournalError(error.errno, f"cannot make the journal: {error.strerror}", path) from error
        journal = cls(path, fd)
        try:
            journal._write(b"".join(encode(record) for record in records))
            os.fsync(fd)
            sync_directory(os.path.dirname(path))
        except OSError as error:
            os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise JournalError(error.errno, f"cannot write the journal: {error.strerror}", path) from error
        return journal

    @classmethod
    def reopen(cls, path: str) -> Self:
        """Opens an existing journal; what stands behind its last good record is cut off first.

        Raises:
            JournalError: it cannot be opened or cut.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise JournalError(error.errno, f"cannot open the journal: {error.strerror}", path) from error
        try:
            raw = read_all(fd)
            good = decode(raw).size
            if good < len(raw):
                os.ftruncate(fd, good)
        except OSError as error:
            os.close(fd)
            raise JournalError(error.errno, f"cannot open the journal: {error.strerror}", path) from error
        return cls(path, fd, good)

    def append(self, record: Record, durable: bool = False) -> None:
        """Adds one record. It survives a kill at once; with ``durable`` it survives a power cut, too, and is dated.

        Raises:
            JournalError: it could not be written; a failed fsync counts as not written.
        """
        before = self._size
        if durable:  # a change of state: people ask when; nothing is ever decided by it
            record = {**record, "time_s": round(time.time(), 3)}
        try:
            self._write(encode(record))
            if durable:
                os.fsync(self._fd)
        except OSError as error:
            # half a record would make damage of the next one, and a record that was told to have failed must not count
            self._size = before
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, before)
            raise JournalError(error.errno, f"cannot write the journal: {error.strerror}", self.path) from error

    def _write(self, data: bytes) -> None:
        written = os.write(self._fd, data)
        if written != len(data):
            raise OSError(errno.ENOSPC, "no space left for a whole record")
        self._size += written

    def close(self) -> None:
        """Closes the file."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_journal(path: str) -> Contents:
    """What a journal on disk holds; a file that cannot be read is damage."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        return Contents((), damage=f"cannot be opened: {error.strerror}")
    try:
        return decode(read_all(fd))
    except OSError as error:
        return Contents((), damage=f"cannot be read: {error.strerror}")
    finally:
        os.close(fd)


def glance(path: str) -> tuple[str, str]:
    """The boot in which a journal was begun and the kind of its last record, without reading what is between.

    Either is empty where the first or the last 4 KiB do not tell: then the whole journal has to be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return "", ""
    try:
        size = os.fstat(fd).st_size
        head = os.pread(fd, _GLANCE, 0).partition(b"\n")
        tail = os.pread(fd, _GLANCE, max(0, size - _GLANCE))
    except OSError:
        return "", ""
    finally:
        os.close(fd)
    begin = _decode_line(head[0]) if head[1] else None
    last = _decode_line(tail[:-1].rpartition(b"\n")[2]) if tail.endswith(b"\n") else None
    boot_id = str(begin.get("boot_id", "")) if begin and _readable(begin) else ""
    return boot_id, str(last["record"]) if last else ""


def read_all(fd: int) -> bytes:
    """The whole open file, refusing one of more than 16 MiB."""
    size = os.fstat(fd).st_size
    if size > SIZE_LIMIT:
        raise OSError(errno.EFBIG, "too large for a journal")
    return os.pread(fd, size, 0)


def sync_directory(path: str) -> None:
    """Makes a new name in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
