"""The journal of one transaction: append-only records, each with its length and CRC, in a file of its own.

A record is one line: eight hexadecimal digits of CRC-32, the length of the JSON text, the JSON text. People can read it with
``less``; nothing in it is ever executed. A file that ends in the middle of a record was cut by a crash while that record was
being written: what stands before it is the truth. A bad record in front of good ones is damage, and is said to be.

Records, by their first key ``record``: ``begin`` ``plan`` (together they make the transaction *prepared*) ``armed``
``write``/``wrote`` (before and after each change) ``collateral`` ``applied`` ``confirmed`` ``rolling-back`` ``undid``
``rolled-back`` ``degraded`` ``void``.
"""

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

SCHEMA = 1
SIZE_LIMIT = 16 << 20

Record = Mapping[str, Any]


class JournalError(OSError):
    """The journal cannot be kept: disk full, read-only, I/O error. Nothing may be changed without it."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a journal holds: its good records from the start, and what is wrong behind them (empty: nothing)."""

    records: tuple[Record, ...]
    damage: str = ""


def encode(record: Record) -> bytes:
    """One record as the line that stands in the file."""
    text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x %d %s\n" % (zlib.crc32(text), len(text), text)


def decode(raw: bytes) -> Contents:
    """The records of a journal. Never raises: a torn end is silent, anything else is told in ``damage``."""
    records: list[Record] = []
    lines = raw.split(b"\n")
    for number, line in enumerate(lines):
        if not line and number == len(lines) - 1:
            break
        record = _decode_line(line)
        if record is None:
            torn = number >= len(lines) - 2 and not raw.endswith(b"\n")
            return Contents(tuple(records), "" if torn else f"record {number + 1} is damaged")
        records.append(record)
    if records and records[0].get("schema") != SCHEMA:
        return Contents((), f"schema {records[0].get('schema')!r}, which this version does not read")
    return Contents(tuple(records))


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

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd

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
            os.unlink(path)
            raise JournalError(error.errno, f"cannot write the journal: {error.strerror}", path) from error
        return journal

    @classmethod
    def reopen(cls, path: str) -> Self:
        """Opens an existing journal; an unfinished last record is cut off first.

        Raises:
            JournalError: it cannot be opened or cut.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
            raw = read_all(fd)
            good = sum(len(encode(record)) for record in decode(raw).records)
            if good < len(raw):
                os.ftruncate(fd, good)
        except OSError as error:
            raise JournalError(error.errno, f"cannot open the journal: {error.strerror}", path) from error
        return cls(path, fd)

    def append(self, record: Record, durable: bool = False) -> None:
        """Adds one record. It survives a kill at once; with ``durable`` it survives a power cut, too.

        Raises:
            JournalError: it could not be written; a failed fsync counts as not written.
        """
        try:
            self._write(encode(record))
            if durable:
                os.fsync(self._fd)
        except OSError as error:
            raise JournalError(error.errno, f"cannot write the journal: {error.strerror}", self.path) from error

    def _write(self, data: bytes) -> None:
        written = os.write(self._fd, data)
        if written != len(data):
            raise OSError(28, "no space left for a whole record")

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
        return Contents((), f"cannot be opened: {error.strerror}")
    try:
        return decode(read_all(fd))
    except OSError as error:
        return Contents((), f"cannot be read: {error.strerror}")
    finally:
        os.close(fd)


def read_all(fd: int) -> bytes:
    """The whole open file, refusing one of more than 16 MiB."""
    size = os.fstat(fd).st_size
    if size > SIZE_LIMIT:
        raise OSError(27, "too large for a journal")
    return os.pread(fd, size, 0)


def sync_directory(path: str) -> None:
    """Makes a new name in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
