"""The terminal: Textual's driver for Linux, with less work for it.

It sleeps where that one wakes ten times a second, sends rows that changed without composing them again, and says whether
anybody takes what is written.

A terminal that takes nothing (Ctrl-S, an SSH session that hangs) fills the driver's queue of 30 writes; the next one blocks the
loop. So a frame that nobody would take is not made: ``takes`` asks the kernel, as poll(2) does (drivers/tty/n_tty.c,
n_tty_poll: no EPOLLOUT while another write waits, or while the other end has no room).
"""

import contextlib
import locale
import os
import select
import signal
import sys
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Any

from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key
from textual.message import Message
from textual.messages import TerminalSupportsSynchronizedOutput

if TYPE_CHECKING:
    from ui.app.app import QuietcoreApp

_SYNC_START, _SYNC_END = "\x1b[?2026h", "\x1b[?2026l"
_QUIET_S = 0.1  # how long an escape sequence may stay torn before it counts as keys (textual.constants.ESCAPE_DELAY)
_ROUNDS = 3  # looks of that length after the last input


def fits() -> bool:
    """Whether the toolkit's driver still has what this one takes from it: not all of that is promised."""
    methods = ("run_input_thread", "process_message", "disable_input", "suspend_application_mode", "resume_application_mode")
    made = {"_file", "fileno", "exit_event", "_must_signal_resume"}
    return all(hasattr(LinuxDriver, name) for name in methods) and made <= set(LinuxDriver.__init__.__code__.co_names)


class Terminal(LinuxDriver):
    """The driver of the app."""

    def __init__(self, app: "QuietcoreApp", **options: Any) -> None:
        super().__init__(app, **options)
        # Textual takes stderr, which may be a log; an unfit character must not end the thread that writes
        self._fd = sys.__stdout__.fileno() if sys.__stdout__ is not None else 1
        self._file = open(self._fd, "w", encoding=locale.getencoding(), errors="replace", closefd=False)  # noqa: SIM115
        self._parts: list[str] = []
        self._syncs = self._away = False
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        self._asleep, self._alarm = os.pipe()
        app.terminal = self

    def start_application_mode(self) -> None:
        """See Driver. Another program may have left the terminal in a mode in which a write that does not fit fails."""
        with contextlib.suppress(OSError):
            os.set_blocking(self._fd, True)
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self.write("\x1b[?1003l\x1b[?1000h")  # clicks and the wheel, but not each cell that the mouse passes

    def suspend_application_mode(self) -> None:
        """See Driver."""
        self._away = True
        super().suspend_application_mode()

    def resume_application_mode(self) -> None:
        """See Driver. After SIGCONT without SIGTSTP nothing was put away: only what is on the screen may be gone."""
        if self._away:
            self._away = self._must_signal_resume = False
            super().resume_application_mode()
        self.send_message(self.SignalResume())

    # output

    def takes(self) -> bool:
        """Whether the terminal takes what is written to it."""
        return any(event & select.POLLOUT for _, event in self._poll.poll(0))

    def paint(self, x: int, y: int, text: str) -> None:
        """A text with its escape sequences at a place; sent by ``send``."""
        self._parts.append(f"\x1b[{y + 1};{x + 1}H{text}")

    def send(self, x: int, y: int) -> None:
        """Sends what was painted, and leaves the cursor at a place, where an input method looks for it."""
        if not self._parts:
            return
        painted = "".join(self._parts)
        self._parts.clear()
        painted = f"{painted}\x1b[{y + 1};{x + 1}H"
        self.write(f"{_SYNC_START}{painted}{_SYNC_END}" if self._syncs else painted)

    def process_message(self, message: Message) -> None:
        """See Driver."""
        if isinstance(message, TerminalSupportsSynchronizedOutput):
            self._syncs = True
        if isinstance(message, Key) and message.key == "ctrl+z":
            os.kill(os.getpid(), signal.SIGTSTP)  # the terminal does not send it in raw mode
            return
        super().process_message(message)

    # input

    def disable_input(self) -> None:
        """See Driver."""
        os.write(self._alarm, b"x")
        super().disable_input()

    def run_input_thread(self) -> None:
        """Waits for input, and only then for the rest of it."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        quiet = _ROUNDS
        while not self.exit_event.is_set():
            ready, _, _ = select.select([self.fileno, self._asleep], [], [], None if quiet >= _ROUNDS else _QUIET_S)
            quiet += 1
            if self._asleep in ready:
                os.read(self._asleep, 1)
                break
            if self.fileno in ready:
                quiet = 0
                data = self._read()
                if not data:
                    self._hung_up()
                    break
                for event in parser.feed(decode(data)):
                    self.process_message(event)
            for event in parser.tick():
                self.process_message(event)

    def _read(self) -> bytes:
        try:
            return os.read(self.fileno, 4096)
        except OSError:  # EIO: the terminal is gone
            return b""

    def _hung_up(self) -> None:
        """There will be no key any more: the app ends as if the kernel had said so."""
        os.kill(os.getpid(), signal.SIGHUP)
