"""How the app ends, whatever ends it: the terminal as it was, the children gone, a traceback in a file and not over the shell.

A signal asks the loop to end. Where the loop is stuck, because the terminal takes nothing, the terminal is put back without it
and the process goes. Nothing here touches a transaction: its undo timer is a process of its own.
"""

import contextlib
import os
import signal
import sys
import termios
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from tuner.host.text import printable

PATIENCE_S = 2.0  # for a loop that was asked to end
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# what Textual's driver turns on, off again: paste, focus, mouse, keys, resize reports, sync; wrap and cursor on; main screen
_RESTORED = "".join(
    f"\x1b{each}"
    for each in (
        "[?2004l", "[?1004l", "[?1000l", "[?1002l", "[?1003l", "[?1015l", "[?1006l", "[?1016l", "[<u", "[?2048l", "[?2026l",
        "[0m", "[?7h", "[?1049l", "[?25h",
    )
)  # fmt: skip


class Ending:
    """The end of one app, in whatever way it comes.

    Args:
        state: directory for a crash's traceback, tried before the user's own.
    """

    def __init__(self, state: str | None = None) -> None:
        self._state = state
        self._ask: Callable[[int], None] | None = None
        self._status = 0
        self._modes: list[Any] | None = None
        with contextlib.suppress(OSError, termios.error, ValueError):
            self._modes = termios.tcgetattr(0)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Around the app: signals end it, failures are told behind it."""
        before = {number: signal.signal(number, self._signalled) for number in (*_SIGNALS, signal.SIGALRM)}
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def asks(self, ask: Callable[[int], None]) -> None:
        """How the loop is asked to end, with an exit status; called from a signal handler."""
        self._ask = ask

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        ask = self._ask
        if number == signal.SIGALRM or ask is None:
            self.force(self._status or 128 + number)
        if not self._status:
            self._status = 128 + number
            signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
            ask(self._status)

    def force(self, status: int) -> NoReturn:
        """Puts the terminal back without asking anybody, and goes."""
        self.restore()
        os._exit(status)

    def restore(self) -> None:
        """The terminal as it was; one that takes nothing gets its modes back, at least."""
        with contextlib.suppress(OSError, termios.error):
            if self._modes is not None:
                termios.tcsetattr(0, termios.TCSANOW, self._modes)
        with contextlib.suppress(OSError):
            termios.tcflush(1, termios.TCOFLUSH)  # what waits there would draw over the shell
            os.set_blocking(1, False)
            os.write(1, _RESTORED.encode())
        with contextlib.suppress(OSError):
            os.set_blocking(1, True)

    # failures

    def told(self, error: BaseException) -> str:
        """Words for a failure of ours: what, where its traceback is, and what to do."""
        where = self._kept(error)
        what = printable(f"{type(error).__name__}: {error}".strip(), 300)
        told = [
            f"quietcore: the app failed: {what}",
            f"its traceback is in {printable(where)}" if where else printable_lines(error).rstrip(),
            "nothing was changed by that: a transaction that waits is undone by its own timer, or quietcore confirm keeps it",
            "quietcore status and quietcore watch show the same without the app",
        ]
        return "\n".join(told) + "\n"

    def _kept(self, error: BaseException) -> str:
        name = f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
        for directory in self._places():
            path = os.path.join(directory, name)
            try:
                os.makedirs(directory, mode=0o700, exist_ok=True)
                held = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except OSError:
                continue
            with contextlib.suppress(OSError), open(held, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"Python {sys.version}\n{printable_lines(error)}")
                return path
        return ""

    def _places(self) -> list[str]:
        own = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        places = [self._state] if self._state else ["/var/lib/quietcore"] if os.geteuid() == 0 else []
        return [*places, os.path.join(own, "quietcore")]


def printable_lines(error: BaseException) -> str:
    """A traceback without anything that a terminal could take for a command."""
    text = "".join(traceback.format_exception(error))
    return "".join(f"{printable(line, 500)}\n" for line in text.splitlines())


@contextlib.contextmanager
def threads_told(tell: Callable[[BaseException], None]) -> Iterator[None]:
    """A thread that fails is told of: it would go on looking alive. One that cannot write has lost its terminal."""

    def failed(what: threading.ExceptHookArgs) -> None:
        if isinstance(what.exc_value, OSError) and what.thread is not None and what.thread.name == "textual-output":
            os.kill(os.getpid(), signal.SIGHUP)
        elif what.exc_value is not None:
            tell(what.exc_value)

    before, threading.excepthook = threading.excepthook, failed
    try:
        yield
    finally:
        threading.excepthook = before
