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
from collections.abc import Sequence
from typing import Protocol

from ingest.sample import Sample, SampleError, from_json
from tuner.host.text import printable

_PR_SET_PDEATHSIG = 1


class SampleSource(Protocol):
    """A stream of samples, of which the newest counts."""

    def newest(self) -> Sample | None:
        """The newest sample, None before the first."""

    @property
    def ended(self) -> str:
        """Why there will be no more; empty while there will."""

    def close(self) -> None:
        """Ends it."""


class ListSource:
    """Samples that are already there: each call takes the next, the last one stays."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = list(samples)
        self.ended = ""

    def newest(self) -> Sample | None:
        """See SampleSource."""
        if len(self._samples) > 1:
            return self._samples.pop(0)
        return self._samples[0] if self._samples else None

    def close(self) -> None:
        """See SampleSource."""


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
                self._newest = from_json(line)
        words = process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        status = process.wait()
        self._ended = printable(words[-1], 120) if words else f"the collector ended with status {status}"

    def newest(self) -> Sample | None:
        """See SampleSource."""
        return self._newest

    @property
    def ended(self) -> str:
        """See SampleSource."""
        return self._ended

    def close(self) -> None:
        """See SampleSource."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(2.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._reader.join(2.0)
