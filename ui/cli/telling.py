"""Words that must not hold anything up: told from a thread of their own while the host is being changed.

A terminal that takes nothing any more (a lost SSH connection, Ctrl-S, a NIC that is being reset) blocks write(2) for minutes.
Whoever waits there in the middle of a transaction holds the lock and keeps the undo timer from undoing.
"""

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator

from tuner.host.text import printable

# What is still unsaid when the work is done gets this long; more only delays the exit status.
_PATIENCE_S = 0.5


@contextlib.contextmanager
def unhindered() -> Iterator[Callable[[str], None]]:
    """A function that takes a line for stderr and never waits until it was read."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    try:
        fd = sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):  # closed, or not a file
        yield lambda _line: None
        return
    # os.write, not the stream: the interpreter waits at its end for the lock of a stream that somebody writes to
    thread = threading.Thread(target=_write, args=(fd, lines), daemon=True, name="words")
    thread.start()
    try:
        yield lambda line: lines.put(printable(line, 4000))
    finally:
        lines.put(None)
        thread.join(_PATIENCE_S)


def _write(fd: int, lines: "queue.SimpleQueue[str | None]") -> None:
    with contextlib.suppress(OSError):  # nobody is there any more
        while (line := lines.get()) is not None:
            rest = f"{line}\n".encode(errors="backslashreplace")
            while rest:
                rest = rest[os.write(fd, rest) :]
