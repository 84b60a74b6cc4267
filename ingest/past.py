"""The last minutes of a stream in memory, packed as a recording packs them, to look back and to keep what just happened."""

import contextlib
import errno
import os
import threading
from bisect import bisect_right
from typing import NamedTuple

from ingest.blocks import MAX_GROUP, Header, RecordingError, deflate, header_of, inflate
from ingest.recording import RecordingWriter, Replayed, in_ns
from ingest.sample import Sample

_OVERHEAD = 160  # bytes of a kept line beside its payload: a tuple, two numbers, the head of a bytes object


class _Kept(NamedTuple):
    time_ns: int
    whole: bool
    payload: bytes


class Past:
    """Samples as ``Samples``, the newest of a stream. One thread may append while another reads.

    Args:
        limit_bytes: of memory, about.
        limit_s: how far back they reach, where memory allows; whole lines are where it is cut.
    """

    cut = ""

    def __init__(self, limit_bytes: int = 8 << 20, limit_s: float = 900.0) -> None:
        self._limit_bytes, self._limit_ns = limit_bytes, in_ns(limit_s)
        self._lock = threading.Lock()
        self._kept: list[_Kept] = []
        self._wholes: list[int] = []  # the numbers of whole lines, ascending
        self._first = 0
        self._bytes = 0
        self._replayed = Replayed()

    def append(self, line: bytes, time_s: float, whole: bool) -> None:
        """The next line of the stream, whole or of changes.

        It costs what packing costs. Lines of changes that stand upon none that is kept are left out.
        """
        kept = _Kept(in_ns(time_s), whole, deflate(line))
        with self._lock:
            if not whole and (not self._wholes or self._next - self._wholes[-1] >= MAX_GROUP):
                return
            if whole:
                self._wholes.append(self._next)
            self._kept.append(kept)
            self._bytes += len(kept.payload) + _OVERHEAD
            self._drop(kept.time_ns)

    @property
    def _next(self) -> int:
        return self._first + len(self._kept)

    def _drop(self, now_ns: int) -> None:
        """Drops the oldest up to the next whole line, as long as there is too much, or that line itself is old enough."""
        while len(self._wholes) > 1 and (self._bytes > self._limit_bytes or self._old(self._wholes[1], now_ns)):
            self._forget(self._wholes[1])
        if self._bytes > self._limit_bytes:  # one group is too much: the next whole line begins anew
            self._forget(self._next)

    def _old(self, index: int, now_ns: int) -> bool:
        return now_ns - self._kept[index - self._first].time_ns >= self._limit_ns

    def _forget(self, until: int) -> None:
        count = until - self._first
        self._bytes -= sum(len(each.payload) + _OVERHEAD for each in self._kept[:count])
        del self._kept[:count]
        del self._wholes[0]
        self._first = until

    @property
    def header(self) -> Header:
        """See Samples."""
        with contextlib.suppress(IndexError, RecordingError):
            return header_of(self.sample(self.first))
        return Header()

    @property
    def first(self) -> int:
        """See Samples."""
        return self._first

    @property
    def end(self) -> int:
        """See Samples."""
        return self._next

    @property
    def held_bytes(self) -> int:
        """What is held, about."""
        return self._bytes

    def __len__(self) -> int:
        """See Samples."""
        return len(self._kept)

    def time_s(self, index: int) -> float:
        """See Samples."""
        with self._lock:
            return self._at(index).time_ns / 1e9

    def sample(self, index: int) -> Sample:
        """See Samples. One that is dropped while it is read is not there any more."""
        with self._lock:
            self._at(index)
            whole = self._wholes[bisect_right(self._wholes, index) - 1]
        return self._replayed.sample(index, whole, self._line)

    def at(self, time_s: float) -> int:
        """See Samples. Where the clock was set back meanwhile, one of those that it may be."""
        with self._lock:
            if not self._kept:
                raise IndexError("no samples")
            found = bisect_right(self._kept, in_ns(time_s), key=lambda kept: kept.time_ns) - 1
            return self._first + max(0, found)

    def write(self, path: str, from_s: float, to_s: float) -> int:
        """Writes what is kept of a span to a new recording, from the whole line before it on; how many samples.

        The file is there when it is whole and on the disk, or not at all.

        Raises:
            FileExistsError: there is something of that name.
            IndexError: nothing of the span is kept.
            OSError: it cannot be written, with the file's name.
        """
        start, end = self.at(from_s), self.at(to_s)
        with self._lock:
            if start < self._first or self._at(end).time_ns < in_ns(from_s):
                raise IndexError("nothing is kept of that time")
            start = self._wholes[bisect_right(self._wholes, start) - 1]
            kept = self._kept[start - self._first : end + 1 - self._first]
        header = header_of(Replayed().sample(0, 0, lambda _: inflate(kept[0].payload)))
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "there is such a file already", path)
        place = f"{path}.{os.urandom(4).hex()}.part"
        try:
            with RecordingWriter.create(place, header) as writer:
                for each in kept:
                    writer.add_packed(each.payload, each.time_ns, each.whole)
                writer.sync()
            os.rename(place, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(place)
            raise OSError(error.errno, error.strerror, path) from error
        return len(kept)

    def _at(self, index: int) -> _Kept:
        if not self._first <= index < self._next:
            raise IndexError(f"no sample {index}: there are {len(self._kept)} from {self._first} on")
        return self._kept[index - self._first]

    def _line(self, index: int) -> bytes:
        with self._lock:
            payload = self._at(index).payload
        return inflate(payload)
