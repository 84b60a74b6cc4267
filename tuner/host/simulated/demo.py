"""A simulated host for as long as somebody looks at it."""

import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tuner.host.host import Host, open_host
from tuner.host.simulated.life import Simulation
from tuner.host.simulated.tree import write_tree

_MEMORY = "/dev/shm"  # noqa: S108 - a directory of our own is made in it, readable by nobody else
PAST_S = 3600.0


@contextmanager
def demo_place() -> Iterator[str]:
    """A directory of our own that is gone afterwards, also after an exception or SIGTERM.

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
def demo_host() -> Iterator[tuple[Host, Simulation]]:
    """A simulated host of the default size, as its distribution left it, that has lived for an hour; and its life.

    Raises:
        OSError: there is no place for 25 MB of files.
    """
    with demo_place() as directory:
        write_tree(directory)
        host = open_host(directory)
        simulation = Simulation(host)
        simulation.advance(PAST_S)
        yield host, simulation


@contextmanager
def _terminated_as_exit() -> Iterator[None]:
    """Turns SIGTERM into SystemExit, so that what is open gets closed; whoever handles it already goes on doing so."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    if ours:
        signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
