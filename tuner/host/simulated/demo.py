"""A place for a simulated host, for as long as somebody looks at it."""

import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_MEMORY = "/dev/shm"  # noqa: S108 - a directory of our own is made in it, readable by nobody else
PAST_S = 3600.0  # that a simulated host has lived for: counters that stand at 0 are on no host


@contextmanager
def demo_place() -> Iterator[str]:
    """A directory of our own that is gone afterwards, also after an exception, SIGTERM or SIGHUP.

    It lies in memory where the machine has /dev/shm: a host that lives there is rewritten at every tick, and the disk of a
    trading host has other things to do.

    Raises:
        OSError: there is no place for it.
    """
    place = _MEMORY if os.path.isdir(_MEMORY) and os.access(_MEMORY, os.W_OK | os.X_OK) else None
    with _terminated_as_exit():
        directory = tempfile.mkdtemp(prefix=f"quietcore-demo-{os.getpid()}-", dir=place)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _terminated_as_exit() -> Iterator[None]:
    """Turns SIGTERM, and the SIGHUP of a closed terminal, into SystemExit, so that what is open gets closed.

    Whoever handles one of them already goes on doing so.
    """
    main = threading.current_thread() is threading.main_thread()
    ours = [each for each in (signal.SIGTERM, signal.SIGHUP) if main and signal.getsignal(each) is signal.SIG_DFL]

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    for number in ours:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
