"""Signals that ask a command to stop while it changes the host: they are noted, and the host is not left between two states."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Stopped:
    """The signal that asked to stop, by name; empty until one came."""

    def __init__(self) -> None:
        self.name = ""

    def __call__(self) -> str:
        """The reason to stop, as the transaction asks for it."""
        return self.name

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Handler: the change at hand is finished first; a second signal changes nothing."""
        self.name = signal.Signals(number).name


@contextlib.contextmanager
def noted() -> Iterator[Stopped]:
    """Notes SIGINT, SIGTERM and SIGHUP (a lost SSH session) instead of dying of them.

    Ctrl-Z does nothing meanwhile: a process that is stopped half-way would hold the host and its lock.
    """
    stopped = Stopped()
    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stopped.note) for number in caught}
    before |= {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTSTP, signal.SIGTTOU)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
