"""Where samples come from: a child process that prints them, or a list. Nothing else in the app knows which.

The child is the collector: a process of its own, so that a stalled terminal, which blocks this process within seconds, never
stops it from counting, and so that what drawing costs is never taken for what watching costs. Only the newest sample is kept.
"""

import contextlib
import ctypes
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from ingest.sample import Event, Sample, SampleError, from_json
from tuner.host.text import printable
from ui.app.past import ListPast, Samples

_PR_SET_PDEATHSIG = 1


class Source(Protocol):
    """A stream of samples, of which the newest counts, and those that can be looked back at."""

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

    def close(self) -> None:
        """Ends it."""


class ListSource:
    """Samples that are already there: each call takes the next, the last one stays."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = list(samples)
        self._next = 0
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


class ChildSource:
    """``quietcore watch --json`` as a child: its lines are read by a thread, the newest is kept.

    Args:
        options: the global ones.
        interval: between samples.
        rings: words that name packet rings and feeds.
    """

    def __init__(self, options: Sequence[str], interval: str, rings: Sequence[str] = ()) -> None:
        self._newest: Sample | None = None
        self._ended = ""
        self.past: Samples = ListPast()
        self._events: deque[tuple[float, Event]] = deque(maxlen=1000)
        self.saw: Callable[[Event, float, Sample], None] = lambda *_: None  # called by the reader, for each event
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "ui.cli.main", *options, "--json", "watch", "--interval", interval, "--live", *rings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl, before any thread of ours exists in the child
        )
        self._reader = threading.Thread(target=self._read, name="samples", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        process = self._process
        if process.stdout is None or process.stderr is None:
            return
        for line in process.stdout:
            with contextlib.suppress(SampleError):  # a line torn by the child's end
                self._newest = sample = from_json(line)
                self._events.extend((sample.time_s, event) for event in sample.events)
                for event in sample.events:
                    self.saw(event, sample.time_s, sample)
        words = process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        status = process.wait()
        self._ended = printable(words[-1], 120) if words else f"the collector ended with status {status}"

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

    @property
    def ended(self) -> str:
        """See Source."""
        return self._ended

    def pace(self, interval_s: float) -> None:
        """See Source."""

    def close(self) -> None:
        """See Source."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(2.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._reader.join(2.0)
