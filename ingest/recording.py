"""Recordings: samples in a file, for as long as somebody wants them. ``ingest.blocks`` says how they lie in it.

A file may end anywhere: what was whole before the cut is there. It is read by ``pread``, not mapped: a file that somebody cuts
while it is read would end a process that has it mapped (SIGBUS), and mapped pages count as its memory.
"""

import contextlib
import errno
import fcntl
import os
from array import array
from bisect import bisect_right
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from ingest.blocks import BLOCK_BYTES, Header, RecordingError, Scanner, deflate, head, inflate, pack, unpack
from ingest.changes import Decoder
from ingest.sample import Sample, SampleError
from tuner.host.text import printable

_CHUNK = 1 << 20
_LONGEST_S = 9e9  # what 64 bits of nanoseconds hold


class Samples(Protocol):
    """Samples that were kept, by number. Numbers stay what they are; the oldest may be dropped meanwhile."""

    @property
    def header(self) -> Header:
        """Whose they are."""

    @property
    def first(self) -> int:
        """The number of the oldest that is kept."""

    @property
    def end(self) -> int:
        """One more than the number of the newest; ``first`` where there is none."""

    @property
    def cut(self) -> str:
        """What is missing of them, and why; empty where nothing is."""

    def __len__(self) -> int:
        """How many there are."""

    def time_s(self, index: int) -> float:
        """When number ``index`` was taken, seconds since 1970.

        Raises:
            IndexError: there is none.
        """

    def sample(self, index: int) -> Sample:
        """Number ``index``. The one after the last asked for costs one line; any other up to a whole line and what follows it.

        Raises:
            IndexError: there is none.
            RecordingError: it cannot be read.
        """

    def at(self, time_s: float) -> int:
        """The number of the last one not after ``time_s``; the first, where all are after it.

        Raises:
            IndexError: there is none at all.
        """


class Replayed:
    """Makes samples of lines by their number, and remembers where it was."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._index = -1
        self._sample: Sample | None = None

    def sample(self, index: int, whole: int, line: Callable[[int], bytes]) -> Sample:
        """Number ``index``, where number ``whole`` is the whole line at or before it.

        Raises:
            RecordingError: a line on the way is none.
        """
        if self._sample is not None and index == self._index:
            return self._sample
        start = self._index + 1 if self._sample is not None and whole <= self._index < index else whole
        try:
            for number in range(start, index + 1):
                self._sample = self._decoder.take(line(number))
                self._index = number
        except SampleError as error:
            self._sample = None
            raise RecordingError(f"sample {index} cannot be read: {error}") from error
        except BaseException:
            self._sample = None
            raise
        if self._sample is None:
            raise IndexError(index)
        return self._sample


class Recording:
    """A recording that is read; also one that is still being written. Made by ``open``. Of one thread."""

    first = 0

    def __init__(self, path: str, fd: int) -> None:
        self.path, self._fd = path, fd
        self._scanner = Scanner()
        self._read = 0
        self._times = array("q")
        self._places = array("Q")  # offset and, in the lowest bit, whether the line is whole: 16 bytes a sample in all
        self._replayed = Replayed()

    @classmethod
    def open(cls, path: str) -> Self:
        """The recording in a file, with all that is whole in it.

        Raises:
            OSError: it cannot be read.
            RecordingError: it is none, or of another version.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe without a writer must not be waited for
        found = cls(path, fd)
        try:
            os.lseek(fd, 0, os.SEEK_SET)
            found.refresh()
        except BaseException:
            os.close(fd)
            raise
        return found

    def refresh(self) -> int:
        """Takes what was written since it was looked at last; how many samples came.

        Raises:
            OSError: it cannot be read.
            RecordingError: what came makes it none.
        """
        before = len(self._times)
        while data := os.pread(self._fd, _CHUNK, self._read):
            self._read += len(data)
            for block in self._scanner.feed(data):
                self._times.append(block.time_ns)
                self._places.append(block.offset << 1 | block.whole)
        return len(self._times) - before

    @property
    def header(self) -> Header:
        """See Samples."""
        return self._scanner.header or Header()

    @property
    def cut(self) -> str:
        """See Samples. A recording that is being written may end within a sample for a moment."""
        scanner, said = self._scanner, []
        if scanner.header is None:
            said.append("it ends within its head")
        elif scanner.pending:
            said.append(f"it ends within a sample: {scanner.pending} bytes are left out")
        if scanner.damages:
            where = f"{scanner.damages} places" if scanner.damages > 1 else "one place"
            said.append(f"it is damaged in {where}: {scanner.skipped} bytes and {scanner.lost} samples are left out")
        elif scanner.lost:
            said.append(f"{scanner.lost} samples stand upon what is not in it")
        return "; ".join(said)

    @property
    def end(self) -> int:
        """See Samples."""
        return len(self)

    def __len__(self) -> int:
        """See Samples."""
        return len(self._times)

    def time_s(self, index: int) -> float:
        """See Samples."""
        return self._times[self._checked(index)] / 1e9

    def sample(self, index: int) -> Sample:
        """See Samples."""
        whole = self._checked(index)
        while not self._places[whole] & 1:
            whole -= 1
        return self._replayed.sample(index, whole, self._line)

    def at(self, time_s: float) -> int:
        """See Samples. Where the clock was set back meanwhile, one of those that it may be."""
        if not self._times:
            raise IndexError("no samples")
        return max(0, bisect_right(self._times, in_ns(time_s)) - 1)

    def close(self) -> None:
        """Lets go of the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes it."""
        self.close()

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self._times):
            raise IndexError(f"no sample {index}: there are {len(self._times)}")
        return index

    def _line(self, index: int) -> bytes:
        offset = self._places[index] >> 1
        known = unpack(os.pread(self._fd, BLOCK_BYTES, offset))
        payload = os.pread(self._fd, known[0], offset + BLOCK_BYTES) if known is not None else b""
        if known is None or len(payload) != known[0]:
            raise RecordingError(f"sample {index} is not where it was; the file was changed")
        return inflate(payload)


class RecordingWriter:
    """A recording that is written. Each block goes out by one write: a process that is killed leaves at most one torn.

    Attributes:
        size: of the file, bytes.
        samples: that were written by this writer.
    """

    def __init__(self, path: str, fd: int, size: int) -> None:
        self.path = path
        self.size = size
        self.samples = 0
        self._fd = fd

    @classmethod
    def create(cls, path: str, header: Header) -> Self:
        """A new recording.

        Raises:
            FileExistsError: there is something of that name.
            OSError: it cannot be written.
        """
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        made = cls(path, fd, 0)
        try:
            _lock(fd, path)
            made._put(head(header))
        except BaseException:
            os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        return made

    @classmethod
    def append(cls, path: str, header: Header) -> Self:
        """Goes on with a recording of the same host, behind its last whole sample; what is torn there is cut off.

        Raises:
            OSError: it cannot be written, or somebody else writes it.
            RecordingError: it is none, or of another host.
        """
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _lock(fd, path)
            with Recording.open(path) as there:
                if not len(there) and there.cut:
                    raise RecordingError(f"nothing to go on with: {there.cut}")
                if there.header.host != header.host:
                    raise RecordingError(f"a recording of the host {printable(there.header.host, 60)!r}, not of this one")
                end = there._scanner.done  # noqa: SLF001 - both are this file's
            os.ftruncate(fd, end)
            os.lseek(fd, end, os.SEEK_SET)
        except BaseException:
            os.close(fd)
            raise
        return cls(path, fd, end)

    def add(self, line: bytes, time_s: float, whole: bool, limit: int | None = None) -> bool:
        """A line, whole or of changes; the first one of a writer has to be whole.

        Returns:
            False where it would make the file longer than ``limit`` bytes; it is not written then.

        Raises:
            OSError: it could not be written; what was before it is there.
        """
        return self.add_packed(deflate(line), in_ns(time_s), whole, limit)

    def add_packed(self, payload: bytes, time_ns: int, whole: bool, limit: int | None = None) -> bool:
        """As ``add``, of a payload that is made already."""
        data = pack(payload, time_ns, whole)
        if limit is not None and self.size + len(data) > limit:
            return False
        self._put(data)
        self.samples += 1
        return True

    def sync(self) -> None:
        """Brings it to the disk, where it outlives a power cut.

        Raises:
            OSError: it cannot be.
        """
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Lets go of the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes it."""
        self.close()

    def _put(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.size)
                os.lseek(self._fd, self.size, os.SEEK_SET)
            raise OSError(error.errno, os.strerror(error.errno or errno.EIO), self.path) from error
        self.size += len(data)


def in_ns(time_s: float) -> int:
    """Seconds as nanoseconds that 64 bits hold."""
    return round(max(-_LONGEST_S, min(_LONGEST_S, time_s)) * 1e9)


def _lock(fd: int, path: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(errno.EBUSY, "somebody else is writing it", path) from error
