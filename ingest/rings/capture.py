"""A capture file, walked like a ring: the same counters and the same sequence accounting, with the file's stamps.

The file is not mapped: a mapped file that somebody truncates kills its reader (SIGBUS), and one that somebody writes to
changes between the check of a length and its use. It is read in pieces into one buffer that stays in the cache and that the
walker's checks then hold for. That costs 20 ns a packet of 150 bytes where a mapping costs 11 (measured, file in memory).

A symbolic link is followed: it was named by whoever reads, and nothing but counts comes out. What is no regular file is
refused before a byte of it was read.
"""

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Self

from ingest.rings.capture_facts import CaptureEnd, CaptureFacts
from ingest.rings.capture_walk import CaptureWalker, open_capture_walker
from ingest.rings.counters import ReaderUse, RingCounters, RingReport
from ingest.rings.layout import Following
from tuner.host.text import printable
from tuner.host.threads import current_cpu

PIECE_BYTES = 1 << 20  # more than any packet
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zX": "xz", b"BZh": "bzip2", b"\x04\x22\x4d\x18": "lz4"}


class CaptureError(Exception):
    """A file that cannot be walked at all; the text says why and what to do."""


class CaptureFile:
    """One capture file. ``run`` reads it to its end, ``report`` says what was counted, ``stop`` may come from a signal.

    Made by ``open``; a context manager. What is appended to the file after that is not read.
    """

    mode = "capture"

    def __init__(self, name: str, fd: int, size: int, walker: CaptureWalker, buffer: bytearray, feed: str) -> None:
        self.source = f"capture:{printable(name)}"
        self.walker = walker.name
        self.feed = feed
        self.filter: str | None = None
        self._shown = f"'{printable(name)}'"
        self._fd = fd
        self._size = size
        self._walker = walker
        self._buffer = memoryview(buffer)
        self._offset = 0
        self._stopped = False
        self._error: str | None = None
        self._reader = (-1, 0)
        self._counters = RingCounters(None)

    @classmethod
    def open(
        cls, name: str, *, cpu: int | None = None, following: Following | None = None, walker: str | None = None
    ) -> "CaptureFile":
        """Opens a file and reads its header.

        Args:
            name: the path.
            cpu: where this thread is to run from now on; None: wherever it may.
            following: which datagrams' sequence numbers to follow.
            walker: one of ``ingest.rings.walk.WALKERS``, or None for the best.

        Raises:
            CaptureError: no capture file, one that may not be read, or no such CPU.
            WalkerMissing: the walker that was insisted on cannot run.
        """
        if cpu is not None:
            _pin(cpu)
        fd, size = _open_regular(name)
        try:
            buffer = bytearray(PIECE_BYTES)
            opened = cls(
                name, fd, size, open_capture_walker(buffer, following, walker), buffer, following.name if following else ""
            )
        except BaseException:
            os.close(fd)
            raise
        try:
            opened._begin()
        except BaseException:
            opened.close()
            raise
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, seconds: float | None = None, interval: float | None = None) -> Iterator[RingReport]:
        """Reads to the end, or until ``stop``. Yields nothing: a file has no intervals.

        Raises:
            CaptureError: ``seconds`` or ``interval`` were given, which are of live sources.
        """
        if seconds is not None or interval is not None:
            raise CaptureError("a capture file is read to its end: it has neither seconds nor intervals")
        while not (self._stopped or self._error or self._walker.ended):
            self._step()
        yield from ()

    def report(self) -> RingReport:
        """What was counted so far."""
        self._collect()
        facts = self._facts()
        return RingReport(
            source=self.source,
            walker=self.walker,
            mode=self.mode,
            part="whole",
            seconds=facts.span_ns / 1e9,
            rings=(self._counters,),
            followed=self._walker.followed(),
            feed=self.feed,
            readers=(ReaderUse(*self._reader, 1),),
            error=self._error,
            capture=facts,
        )

    def stop(self) -> None:
        """Ends ``run`` before its next piece."""
        self._stopped = True

    def close(self) -> None:
        """Closes the file."""
        if self._fd < 0:
            return
        self._walker.close()
        self._buffer.release()
        os.close(self._fd)
        self._fd = -1

    # ---- reading

    def _begin(self) -> None:
        """The first piece, which tells whether this is a capture file."""
        self._step()
        ended, facts = self._walker.ended, self._walker.facts()
        if self._error is None or (facts.format == "pcap" and ended is not CaptureEnd.VERSION) or facts.sections:
            return
        raise CaptureError(_refusal(self._shown, ended, facts, bytes(self._buffer[:4])) or self._error)

    def _step(self) -> None:
        started = time.thread_time_ns()
        wanted = min(len(self._buffer), self._size - self._offset)
        size = self._read(wanted)
        if self._error is None:
            left = self._size - self._offset if size == wanted else size
            self._offset += self._walker.walk(size, left)
            self._error = self._fault(shrunk=size < wanted)
        self._reader = (current_cpu(), self._reader[1] + time.thread_time_ns() - started)

    def _read(self, wanted: int) -> int:
        """Fills the buffer from the offset on; fewer bytes than wanted where the file became shorter."""
        size = 0
        try:
            while size < wanted and (got := os.preadv(self._fd, [self._buffer[size:wanted]], self._offset + size)):
                size += got
        except OSError as error:
            self._error = f"{self._shown} cannot be read at byte {self._offset + size:,}: {error.strerror}"
        return size

    def _fault(self, *, shrunk: bool) -> str | None:
        """What is wrong with the file where the walk has ended."""
        ended, facts = self._walker.ended, self._walker.facts()
        where = f"at byte {self._offset:,} of {self._size:,}"
        counted = "what stands before is counted"
        if shrunk:
            return f"{self._shown} became shorter while it was read, {where}; {counted}"
        if ended is CaptureEnd.CUT:
            grows = os.fstat(self._fd).st_size > self._size
            return (
                f"{self._shown} {'is still being written: it ended' if grows else 'ends'} within a record, {where}; {counted}"
            )
        if ended is CaptureEnd.BROKEN:
            return f"{self._shown} is damaged {where}: no record can begin there; {counted}, nothing behind it"
        if ended is CaptureEnd.VERSION:
            return f"{self._shown} has a section of {facts.format} version {facts.version}, {where}; {counted}"
        if ended is CaptureEnd.CROWDED:
            return f"{self._shown} has a section of more than 4,096 interfaces, {where}; {counted}"
        return None if ended in (CaptureEnd.GOES_ON, CaptureEnd.WHOLE) else f"{self._shown} is no capture file"

    def _facts(self) -> CaptureFacts:
        return replace(self._walker.facts(), bytes=self._size, read=self._offset)

    def _collect(self) -> None:
        """Every packet of a file reached us, but those that the capturing side says it lost."""
        (walked,) = self._walker.take()
        walked = self._counters.walked.merged(walked)
        drops = self._walker.facts().drops
        reached = walked.packets + walked.malformed_frames + drops
        self._counters = RingCounters(None, walked, reached, drops)


def _refusal(shown: str, ended: CaptureEnd, facts: CaptureFacts, magic: bytes) -> str | None:
    if ended is CaptureEnd.UNKNOWN:
        for begin, compressed in _COMPRESSED.items():
            if magic.startswith(begin):
                return f"{shown} is compressed by {compressed}; decompress it first"
        return f"{shown} is no capture file: it begins with {magic.hex(' ')}; pcap and pcapng can be read"
    if ended is CaptureEnd.MODIFIED:
        return f"{shown} is in Kuznetzov's modified pcap format, which is not read; convert it, as with: editcap -F pcapng"
    if ended is CaptureEnd.VERSION:
        readable = "2.4" if facts.format != "pcapng" else "1.0"
        return f"{shown} is a capture file of version {facts.version}; version {readable} can be read"
    if ended is CaptureEnd.CUT:
        return f"{shown} is no capture file: it ends within its header"
    return f"{shown} is no capture file: its header does not hold together" if ended is CaptureEnd.BROKEN else None


def _open_regular(name: str) -> tuple[int, int]:
    """The descriptor and the size of a regular file that is not empty. Opening a FIFO does not wait."""
    shown = f"'{printable(name)}'"
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError as error:
        raise CaptureError(f"no file {shown}") from error
    except PermissionError as error:
        raise CaptureError(f"{shown} may not be read: {error.strerror}; run as its owner, or as root") from error
    except (OSError, ValueError) as error:
        raise CaptureError(f"{shown} cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    found = os.fstat(fd)
    fault = None
    if stat.S_ISDIR(found.st_mode):
        fault = f"{shown} is a directory; name a capture file in it"
    elif not stat.S_ISREG(found.st_mode):
        fault = f"{shown} is no regular file; write its packets to one first"
    elif not found.st_size:
        fault = f"{shown} is empty"
    if fault is not None:
        os.close(fd)
        raise CaptureError(fault)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    return fd, found.st_size


def _pin(cpu: int) -> None:
    try:
        os.sched_setaffinity(0, {cpu})
    except (OSError, ValueError, OverflowError) as error:
        raise CaptureError(f"the reader cannot run on CPU {cpu}: it is not online, or not in this cpuset") from error
