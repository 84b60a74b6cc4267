"""What ``watch`` and ``record`` have in common: the samples of a host, their pace, and how a stream of them ends."""

import argparse
import atexit
import contextlib
import errno
import gc
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Collection, Generator, Iterator
from types import FrameType

from ingest.collector import Collector, pin_to_housekeeping
from ingest.sample import Sample
from tuner.host.host import Host
from tuner.host.text import printable
from ui.cli.context import Context, open_context
from ui.cli.drifting import Drifting
from ui.cli.durations import duration, parse_duration
from ui.cli.output import say
from ui.cli.ring_sources import ring_options

MINIMUM_S = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
LAST_LINE_S = 1.0  # how long an end may wait for whoever reads
_LONGEST_WORD = 256  # bytes of a line that sets the pace


def sampling_options(parser: argparse.ArgumentParser) -> None:
    """What there is to say of samples: how often, of what, with which rings."""
    parser.add_argument("--interval", metavar="TIME", type=duration, default=1.0, help="time between samples (default: 1s)")
    parser.add_argument("--live", action="store_true", help="on a simulated --root: let it live while this watches")
    parser.add_argument(
        "--story",
        metavar="PACE",
        type=story_pace,
        nargs="?",
        const=1.0,
        help="with --live: the minute of --demo happens on it, PACE seconds of it in a second (default: 1)",
    )
    ring_options(parser)


def story_pace(text: str) -> float:
    """``10``: how many seconds of a story in a second."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.01 <= number <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no pace: a number from 0.01 to 10000, 1 being as fast as time")
    return number


class Ended(Exception):
    """Somebody asked for the end."""


class Ending:
    """Ends the stream at SIGINT or SIGTERM: at once while nothing is written, else behind the line that is being written.

    A line that nobody takes within a second of the signal, or before a second signal, stays torn: an end must not wait for a
    reader that is stopped. Later signals change nothing: the end is under way.
    """

    def __init__(self) -> None:
        self._writing = self._asked = False
        for number in _SIGNALS:
            signal.signal(number, self._end)
        atexit.register(_ignore, _SIGNALS)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        if self._writing and not self._asked:
            self._asked = True
            signal.setitimer(signal.ITIMER_REAL, LAST_LINE_S)
            return
        for number in _SIGNALS:
            signal.signal(number, _nothing)
        raise Ended

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Around what is to be written whole; a signal ends the stream behind it.

        Raises:
            Ended: a signal came.
        """
        self._writing = True
        try:
            yield
        finally:
            self._writing = False
        if self._asked:
            self._end(signal.SIGTERM, None)

    def write(self, text: str) -> None:
        """A line, or several, on stdout, and out with them.

        Raises:
            Ended: they were the last.
        """
        # not by print: with PYTHONUNBUFFERED that forgets what a signal leaves unwritten
        line = memoryview(f"{text}\n".encode(sys.stdout.encoding, sys.stdout.errors or "strict"))
        with self.whole():
            while line:
                line = line[os.write(sys.stdout.fileno(), line) :]


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """For a signal that changes nothing any more."""


def _ignore(numbers: Collection[signal.Signals]) -> None:
    """While the interpreter ends, and its handlers with it, these must not kill.

    Not sooner: it complains of one that came before SIG_IGN and is handled after it (Modules/signalmodule.c). Those are handled
    when the others are blocked, and what is blocked the kernel throws away (signal(7)).
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


class Pace:
    """The time between samples, which lines on a descriptor change while it goes on: ``interval 0.5s``.

    Args:
        interval_s: to begin with.
        fd: where such lines come from; None: from nowhere. Its end changes nothing.
    """

    def __init__(self, interval_s: float, fd: int | None = None) -> None:
        self.interval_s = max(MINIMUM_S, interval_s)
        self.may_change = fd is not None
        self._fd = fd
        self._line = b""
        self._poll = select.poll()
        if fd is not None:
            self._poll.register(fd, select.POLLIN)

    def wait(self, seconds: float) -> float | None:
        """Waits that long, or until it is told something; the interval to go on with, None: as before."""
        if self._fd is None:
            time.sleep(seconds)
            return None
        limit = time.monotonic() + seconds
        while self._fd is not None:
            # poll(2) counts in milliseconds: the rest is slept
            left_ms = int(max(0.0, limit - time.monotonic()) * 1000)
            if not self._poll.poll(left_ms):
                break
            told = self._read(self._fd)
            if told is not None:
                self.interval_s = told
                return told
        time.sleep(max(0.0, limit - time.monotonic()))
        return None

    def _read(self, fd: int) -> float | None:
        try:
            data = os.read(fd, 4096)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self._poll.unregister(fd)
            self._fd = None
            return None
        *lines, self._line = (self._line + data).split(b"\n")
        self._line = self._line[:_LONGEST_WORD]
        told = None
        for line in lines:
            told = self._told(line.decode("utf-8", "replace").strip()) or told
        return told

    def _told(self, line: str) -> float | None:
        word, _, value = line.partition(" ")
        try:
            if word != "interval":
                raise ValueError(f"not understood on stdin: {printable(line, 60)!r}")
            return max(MINIMUM_S, parse_duration(value))
        except ValueError as error:
            say(f"quietcore: {error}; it goes on as before. A line may be: interval 0.5s")
            return None


def sampled(
    arguments: argparse.Namespace, pace: Pace, count: int | None = None, begun: Callable[[Host], None] | None = None
) -> Generator[Sample, None, None]:
    """The samples of the host that the global options name, with what drifted; to be closed by who takes them.

    What is to be done between samples is done when the next one is asked for: behind the writing, it delays none. ``begun`` is
    told the host, before rings are opened and the rights to do so are given up.

    Raises:
        OSError: no host there.
        RingError: a ring cannot be had.
    """
    with open_context(arguments) as context, contextlib.ExitStack() as held:
        if begun is not None:
            begun(context.host)
        drift = held.enter_context(contextlib.closing(Drifting(context)))
        for number, sample in enumerate(_samples(context, arguments, pace, count, held)):
            yield drift.told(sample)
            drift.step(pace.interval_s)
            if number == 0:  # what is there by now stays: no later collection has to look at it again
                gc.collect()
                gc.freeze()


def _samples(
    context: Context, arguments: argparse.Namespace, pace: Pace, count: int | None, held: contextlib.ExitStack
) -> Iterator[Sample]:
    rings = None
    if arguments.ring:
        from ui.cli.watch_rings import opened

        rings = opened(context, arguments, MINIMUM_S if pace.may_change else pace.interval_s, held)
    if arguments.story is not None and not context.host.simulated:
        raise OSError(errno.EINVAL, "no simulated host, and a story happens on no other", context.root)
    if context.simulation is not None or arguments.story is not None:
        from ui.cli.story import told_samples

        yield from told_samples(context, pace.interval_s, count, arguments.story or 1.0, held, wait=pace.wait)
        return
    collector = Collector(context.host, context.profile_and_roles, rings)
    held.callback(collector.close)
    if context.host.files.real and rings is None:  # the CPUs of another host are not ours to run on
        pin_to_housekeeping(collector.topology, collector.roles)
    before = None
    if arguments.live and context.host.simulated:
        from tuner.host.simulated import Simulation

        before = Simulation(context.host).advance
    yield from collector.stream(pace.interval_s, count, before, pace.wait)
