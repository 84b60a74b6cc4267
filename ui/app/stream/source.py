"""Where samples come from: a child process, a stream on stdin, a recording, a list. Nothing else in the app knows which.

The child is the collector: a process of its own, so that a stalled terminal, which blocks this process within seconds, never
stops it from counting, and so that what drawing costs is never taken for what watching costs. A thread reads what comes: the
newest sample is what is drawn, all of them are kept for some minutes, packed, and events are told whether anybody draws or not.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import IO, Protocol

from ingest.blocks import RecordingError
from ingest.incoming import Incoming
from ingest.past import Past
from ingest.recording import Recording, Samples
from ingest.sample import Event, Sample
from tuner.host.text import printable
from ui.app.aside import weigh_as_before
from ui.app.stream.past import ListPast

_PR_SET_PDEATHSIG = 1
_CHUNK = 1 << 16
PAST_BYTES = 4 << 20  # two minutes of a busy host of 128 CPUs at 2 Hz, a quarter of an hour of a calm one
STEADY_S = 10.0  # a collector that ran this long may be started again without anybody asked
Saw = Callable[[Event, float, Sample], None]


class Source(Protocol):
    """A stream of samples, of which the newest counts, and those that can be looked back at."""

    name: str  # what to call it in the header; empty: this host
    saw: Saw | None  # called with each event, its time and its sample, where samples come in; it must return at once

    @property
    def past(self) -> Samples:
        """What came so far, as far as it is kept."""

    @property
    def ended(self) -> str:
        """Why there will be no more; empty while there will."""

    def newest(self) -> Sample | None:
        """The newest sample, None before the first."""

    def events(self) -> list[tuple[float, Event]]:
        """The events since the last call, with their wall-clock times: also those of samples that nobody drew."""

    def pace(self, interval_s: float) -> None:
        """Asks for samples at another interval, where that can be had."""

    def restart(self) -> bool:
        """Begins anew where it ended, and where that can be had; whether it did."""

    def again(self) -> bool:
        """The same, of itself: if it had gone well for a while."""

    def close(self) -> None:
        """Ends it."""


class AsItComes:
    """What a source offers that can neither be paced nor started again."""

    def pace(self, interval_s: float) -> None:
        """See Source."""

    def restart(self) -> bool:
        """See Source."""
        return False

    def again(self) -> bool:
        """See Source."""
        return False


class ListSource(AsItComes):
    """Samples that are already there: each call takes the next, the last one stays."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = list(samples)
        self._next = 0
        self.name = ""
        self.saw: Saw | None = None
        self.past = ListPast()
        self.ended = ""
        self.interval_s = 0.5
        self._events: list[tuple[float, Event]] = []

    def newest(self) -> Sample | None:
        """See Source."""
        if self._next < len(self._samples):
            self.past.samples.append(self._samples[self._next])
            self._events += [(self._samples[self._next].time_s, event) for event in self._samples[self._next].events]
            self._next += 1
        return self.past.samples[-1] if self.past.samples else None

    def events(self) -> list[tuple[float, Event]]:
        """See Source."""
        found, self._events = self._events, []
        return found

    def pace(self, interval_s: float) -> None:
        """See Source."""
        self.interval_s = interval_s

    def close(self) -> None:
        """See Source."""


def die_with_parent() -> None:
    """In a child, before it becomes another program: SIGTERM when the app dies, however it dies (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


class Stream(AsItComes):
    """Samples from a descriptor, read by a thread of its own."""

    def __init__(self) -> None:
        self.name = ""
        self.past = Past(PAST_BYTES)
        self.ended = ""
        self.saw: Saw | None = None
        self.refused = 0  # lines that were no samples
        self._newest: Sample | None = None
        self._events: deque[tuple[float, Event]] = deque(maxlen=1000)
        self._reader: threading.Thread | None = None

    def _start(self, fd: int) -> None:
        self._reader = threading.Thread(target=self._read, args=(fd,), name="samples", daemon=True)
        self._reader.start()

    def _read(self, fd: int) -> None:
        incoming = Incoming()
        try:
            while data := os.read(fd, _CHUNK):
                for arrived in incoming.feed(data):
                    self._take(arrived.sample, arrived.line, arrived.whole)
                self.refused = incoming.refused
        except (OSError, RecordingError) as error:
            self.ended = printable(str(error), 120)
            return
        self.ended = self._why(incoming)

    def _take(self, sample: Sample, line: bytes, whole: bool) -> None:
        self.past.append(line, sample.time_s, whole)
        self._newest = sample
        for event in sample.events:
            self._events.append((sample.time_s, event))
            if self.saw is not None:
                self.saw(event, sample.time_s, sample)

    def _why(self, incoming: Incoming) -> str:
        """Why there is no more, at its end."""
        if self._newest is None and incoming.refused:
            return f"what came is no stream of samples: {printable(incoming.why, 90)}"
        return incoming.left or "the stream is over"

    def newest(self) -> Sample | None:
        """See Source."""
        return self._newest

    def events(self) -> list[tuple[float, Event]]:
        """See Source."""
        found = []
        with contextlib.suppress(IndexError):
            while True:
                found.append(self._events.popleft())
        return found

    def close(self) -> None:
        """See Source."""


class ChildSource(Stream):
    """``quietcore watch --json --changes`` as a child. One that ends after it went well for a while is started again, once.

    Args:
        options: the global ones.
        interval: between samples.
        words: more of its options: rings and feeds, a story.
    """

    def __init__(self, options: Sequence[str], interval: str, words: Sequence[str] = ()) -> None:
        super().__init__()
        self._interval = interval
        self._words = (*options, "--json", "watch", "--changes", "--paced", "--live", *words)
        self._heard: deque[str] = deque(maxlen=8)
        self._hearer: threading.Thread
        self._closed = False
        self._began_s = 0.0
        self._process = self._begun()

    def _begun(self) -> "subprocess.Popen[bytes]":
        self._began_s = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "ui.cli.main", *self._words, "--interval", self._interval],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=_as_collector,  # noqa: PLW1509 - two system calls and nothing of Python's that another thread may hold
        )
        if process.stdout is not None and process.stderr is not None:
            # heard at once: a pipe that nobody reads holds up who writes when it is full
            self._heard.clear()
            self._hearer = threading.Thread(target=_hear, args=(process.stderr, self._heard), name="words", daemon=True)
            self._hearer.start()
            self._start(process.stdout.fileno())
        return process

    def restart(self) -> bool:
        """Starts it again, where it ended; whether it did."""
        if not self.ended or self._closed:
            return False
        try:
            self._release()
            self._process = self._begun()
        except OSError as error:
            self.ended = f"the collector: {error.strerror}"
            return False
        self.ended = ""
        return True

    def again(self) -> bool:
        """The same, if it had gone well for a while: one that cannot run is not tried for ever."""
        return time.monotonic() - self._began_s >= STEADY_S and self._newest is not None and self.restart()

    def _why(self, incoming: Incoming) -> str:
        del incoming
        self._hearer.join(2.0)
        status = self._process.wait()
        if self._heard:
            return printable(self._heard[-1], 120)
        return f"the collector was ended by signal {-status}" if status < 0 else f"the collector ended with status {status}"

    def pace(self, interval_s: float) -> None:
        """See Source."""
        self._interval = f"{round(interval_s * 1000)}ms"
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it ended
                self._process.stdin.write(f"interval {self._interval}\n".encode())
                self._process.stdin.flush()

    def close(self) -> None:
        """See Source."""
        self._closed = True
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(2.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
        if self._reader is not None:
            self._reader.join(2.0)

    def _release(self) -> None:
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _hear(stderr: IO[bytes], heard: deque[str]) -> None:
    """The last words of a child, as they come; a line of many is cut."""
    with contextlib.suppress(OSError, ValueError):
        while line := stderr.readline(4096):
            if words := line.decode("utf-8", "replace").strip():
                heard.append(words)


def _as_collector() -> None:
    weigh_as_before()
    die_with_parent()


class PipeSource(Stream):
    """Another host's samples, on a descriptor that somebody else writes to."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self.name = "from stdin"
        self._start(fd)


class ReplaySource(AsItComes):
    """A recording: nothing comes, all is there."""

    def __init__(self, recording: Recording) -> None:
        self.name = printable(os.path.basename(recording.path), 60)
        self.saw: Saw | None = None
        self.past = recording
        self.ended = recording.cut

    def newest(self) -> Sample | None:
        """See Source."""
        return None

    def events(self) -> list[tuple[float, Event]]:
        """See Source."""
        return []

    def close(self) -> None:
        """See Source."""
        self.past.close()
